"""Versions say the build, whatever the installer calls it."""

from __future__ import annotations

import importlib.metadata

import pytest
import torch

from reptools import provenance


def test_a_build_is_named_where_its_distribution_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    provenance._version.cache_clear()
    monkeypatch.setattr(torch, "__version__", "2.13.0+cu130")
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "2.13.0")
    try:
        assert provenance.versions()["torch"] == "2.13.0+cu130"
    finally:
        provenance._version.cache_clear()


def test_a_package_that_says_no_version_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    provenance._version.cache_clear()
    monkeypatch.delattr(torch, "__version__")
    try:
        assert provenance.versions()["torch"] == "unknown"
    finally:
        provenance._version.cache_clear()
