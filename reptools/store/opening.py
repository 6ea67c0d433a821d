"""From a path to an open, checked file: which of a run's files to read, and how."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TypeVar, cast

import h5py

from ..errors import StoreError
from .files import Paths
from .journal import Seen, look
from .walk import Contents, walk

T = TypeVar("T")
_TRIES = 8


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
    if given.is_dir():
        raise StoreError(_folder(path, given))
    raise StoreError(f"{given} does not exist. Check the path.")


def _folder(path: str | os.PathLike[str], given: Path) -> str:
    """What a folder is, and how its files are passed."""
    names = sorted(file.name for file in given.iterdir() if file.suffix in (".h5", ".nc"))
    if not names:
        return f"{given} is a folder without .h5 files. Pass a file."
    first = os.path.join(os.fspath(path), names[0])
    every = os.path.join(os.fspath(path), "*.h5")
    return (
        f"{given} is a folder, of {len(names)} files. Pass one of them, such as {first}; "
        f"where several are taken, {every} stands for all."
    )


def steadily(
    path: str | os.PathLike[str],
    read: Callable[[Path], T],
    drop: Callable[[T], None] = lambda _: None,
) -> T:
    """Read a file, again where its writer changed its structure or its name meanwhile.

    What was read before such a change is dropped, which must close its file: HDF5 shares what it
    knows between all handles that a process has on a file.
    """
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
            drop(found)
        time.sleep(0.01 * 2**attempt)
    raise AssertionError  # the last attempt returned or raised


def _structure(place: Path) -> tuple[object, ...]:
    """What changes whenever the structure or the name of a leftover does.

    A change of structure makes and removes a journal, which its folder's time tells of.
    """
    if place != Paths.of(place).partial:
        return ()
    try:
        seen = place.stat()
    except FileNotFoundError:
        return (None,)
    return seen.st_ino, seen.st_size, place.parent.stat().st_mtime_ns


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
            return look(paths)
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
    if isinstance(file, Seen):
        return walk(file, cast(BinaryIO, file.overlay))
    with open(path, "rb") as raw:
        return walk(file, raw)
