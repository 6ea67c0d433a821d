"""The state of an unfinished run, beside its file: what training continues from after a kill."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import torch

from reptools.errors import StoreError

SUFFIX = ".state"


def state_path(out: Path) -> Path:
    """Where the state of a run is kept."""
    return out.with_name(out.name + SUFFIX)


def save_state(out: Path, state: dict[str, Any]) -> None:
    """Put a state in place of the one before: at every moment one of them is there, whole."""
    path = state_path(out)
    beside = path.with_name(path.name + ".new")
    torch.save(state, beside)
    os.replace(beside, path)


def load_state(out: Path) -> dict[str, Any] | None:
    """Read the state of a run; None where there is none.

    Raises
    ------
    StoreError
        The file is not a state.
    """
    path = state_path(out)
    if not path.exists():
        return None
    try:
        state: dict[str, Any] = torch.load(path, weights_only=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise StoreError(
            f"load_state: {path} holds no state of a run ({type(error).__name__}). "
            "Remove it; the run then starts from its first step."
        ) from None
    return state


def drop_state(out: Path) -> None:
    """Remove the state of a run, where there is one."""
    path = state_path(out)
    for file in (path, path.with_name(path.name + ".new")):
        file.unlink(missing_ok=True)
