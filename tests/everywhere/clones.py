"""Both commands of the README on a fresh clone, in an environment that was empty before."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Collection, Sequence
from pathlib import Path

from tests.everywhere.checks import Check, Place

# the interpreter under the environment that runs this
BASE = getattr(sys, "_base_executable", sys.executable)
OURS = {"REPTOOLS_VENV", "PYTHONPATH", "VIRTUAL_ENV"}  # would lead a clone back to this checkout


def clone(source: Path, folder: Path) -> None:
    """Clone the last commit of a checkout."""
    shutil.rmtree(folder, ignore_errors=True)
    command = ["git", "clone", "--quiet", "--no-local", str(source), str(folder)]
    subprocess.run(command, check=True)


def checks(demo: Sequence[str]) -> list[Check]:
    """The commands with the variables of the caller, and with two of them."""
    return [
        Check(
            "clone", "both commands of the README", lambda p: _run(p, demo, set(os.environ) - OURS)
        ),
        Check(
            "clone-bare",
            "the same with HOME and PATH alone",
            lambda p: _run(p, demo, {"HOME", "PATH"}),
        ),
    ]


def _run(place: Place, demo: Sequence[str], only: Collection[str]) -> str:
    folder = place.cache / place.log.stem
    clone(place.clone, folder)
    try:
        for command in (["test"], ["demo", *demo]):
            place.run([BASE, "dev.py", *command], cwd=folder, only=only)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return f"demo {' '.join(demo)}".strip()
