"""Pytest plugin: the session fails unless the BLAS that computes is the one that was asked for."""

from __future__ import annotations

import os

import numpy as np
import pytest
import scipy.linalg  # noqa: F401  (brings a BLAS of its own)
import threadpoolctl


def pytest_sessionstart() -> None:
    """Ask every OpenBLAS of the process."""
    kernel, threads = os.environ["REPTOOLS_BLAS"].split()
    np.ones((2, 2)) @ np.ones((2, 2))
    found = {
        (library.get("architecture"), library["num_threads"])
        for library in threadpoolctl.threadpool_info()
        if library["internal_api"] == "openblas"
    }
    if found != {(kernel, int(threads))}:
        pytest.exit(f"asked for {kernel} with {threads} threads, OpenBLAS runs {found}", 3)
