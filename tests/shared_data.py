"""Public data sets that some tests reproduce published numbers from; not part of the project."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

FOLDER = Path(
    os.environ.get("REPTOOLS_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data"
)


def shared(name: str) -> Path:
    """A file below the data folder; the test is skipped where the folder is absent."""
    if not FOLDER.is_dir():
        pytest.skip(f"no public data at {FOLDER}; set REPTOOLS_DATA to their folder")
    return FOLDER / name
