"""From a path to an open, checked file: which of a run's files to read, and how."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import h5py

from ..errors import StoreError
from .files import Paths
from .journal import Overlay, overlaid
from .walk import Contents, walk

T = TypeVar("T")
_TRIES = 8


class _Overlaid(h5py.File):  # type: ignore[misc]
    """A file seen through its journal, which it closes too."""

    def __init__(self, overlay: Overlay) -> None:
        self._overlay = overlay
        super().__init__(overlay, "r")

    def close(self) -> None:
        """Close the file and what it was read through."""
        super().close()
        self._overlay.close()


def choose(path: str | os.PathLike[str]) -> Path:
    """Return ``run.h5`` where it exists, else its leftover; a leftover may be named itself."""
    paths = Paths.of(path)
    given = Path(os.fspath(path)).absolute()
    for candidate in (given, paths.partial, paths.final):
        if candidate.is_file():
            return candidate
    if paths.new.exists():
        raise StoreError(
            f"{given} does not exist: its writer ended while creating it, before the first batch "
            f"({paths.new.name} holds nothing). Run it again."
        )
    raise StoreError(f"{given} does not exist. Check the path.")


def steadily(path: str | os.PathLike[str], read: Callable[[Path], T]) -> T:
    """Read a file, again where its writer changed its structure or its name meanwhile."""
    for attempt in range(_TRIES):
        place = choose(path)
        before = _structure(place)
        last = attempt == _TRIES - 1
        try:
            found = read(place)
        except StoreError:
            if last or _structure(place) == before:
                raise
        else:
            if last or _structure(place) == before:
                return found
        time.sleep(0.01 * 2**attempt)
    raise AssertionError  # the last attempt returned or raised


def _structure(place: Path) -> tuple[object, ...]:
    """What changes whenever the structure of a leftover does: its size, its journal, its name."""
    paths = Paths.of(place)
    if place != paths.partial:
        return ()
    found: list[object] = []
    for file in (place, paths.undo):
        try:
            seen = file.stat()
            found.append((seen.st_ino, seen.st_size))
        except FileNotFoundError:
            found.append(None)
    return tuple(found)


def open_hdf5(path: str) -> h5py.File:
    """Open for reading; a leftover whose structure was being changed, as it was before.

    Parameters
    ----------
    path
        What :func:`choose` returned.
    """
    paths = Paths.of(path)
    try:
        if Path(path) == paths.partial:
            overlay = overlaid(paths)
            if overlay is not None:
                return _Overlaid(overlay)
        return h5py.File(path, "r", locking=False, rdcc_nbytes=0)
    except FileNotFoundError:
        raise StoreError(f"{path} does not exist any more. Check whether it was renamed.") from None
    except (OSError, RuntimeError, ValueError) as error:
        raise StoreError(f"{path} cannot be read as HDF5: {error}. Check the file.") from None


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Name the file in every error; what HDF5 or xarray cannot digest counts as damage."""
    try:
        yield
    except StoreError as error:
        raise StoreError(f"{path}: {error}") from None
    except (OSError, RuntimeError, ValueError, LookupError, TypeError, MemoryError) as error:
        raise StoreError(f"{path} is damaged: {error}. Check where it comes from.") from error


def checked(path: Path, file: h5py.File) -> Contents:
    """Walk an open file, be it seen through its journal or not."""
    overlay = getattr(file, "_overlay", None)
    if overlay is not None:
        return walk(file, overlay)
    with open(path, "rb") as raw:
        return walk(file, raw)
