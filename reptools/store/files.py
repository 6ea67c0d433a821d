"""The files beside ``run.h5``, the lock, free space, and what must reach the disk."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from .. import schema
from ..errors import StoreError

if sys.platform != "win32":
    import fcntl
    import resource


@dataclass(frozen=True)
class Paths:
    """The names of one run: all in one directory, so that renaming is atomic."""

    final: Path

    @classmethod
    def of(cls, path: str | os.PathLike[str]) -> Paths:
        """Accept ``run.h5`` as well as ``run.h5.partial``."""
        name = os.fspath(path)
        if not name:
            raise StoreError("path is empty. Name a file, such as 'run.h5'.")
        return cls(Path(name.removesuffix(schema.PARTIAL_SUFFIX)).absolute())

    def _beside(self, suffix: str) -> Path:
        return self.final.with_name(self.final.name + suffix)

    @property
    def partial(self) -> Path:
        """Being written, or left by a writer that was killed."""
        return self._beside(schema.PARTIAL_SUFFIX)

    @property
    def new(self) -> Path:
        """Being created; never read."""
        return self._beside(schema.NEW_SUFFIX)

    @property
    def undo(self) -> Path:
        """The rollback journal of a structural edit under way."""
        return self._beside(schema.UNDO_SUFFIX)

    @property
    def undo_new(self) -> Path:
        """A journal that is not yet valid."""
        return self._beside(schema.UNDO_NEW_SUFFIX)

    @property
    def lock(self) -> Path:
        """Held by the one writer or repairer."""
        return self._beside(schema.LOCK_SUFFIX)


class Lock:
    """An exclusive lock on ``run.h5.lock``; it dies with its process.

    Where the platform or the file system has no ``flock`` (Windows, some network mounts) it is
    best effort: nothing is locked and nothing is refused.
    """

    def __init__(self, paths: Paths) -> None:
        self._path = paths.lock
        self._file: BinaryIO | None = None
        while self._file is None:
            self._file = self._acquire(paths)

    def _acquire(self, paths: Paths) -> BinaryIO | None:
        file = open(self._path, "ab")  # noqa: SIM115 - open for as long as the lock is held
        if sys.platform != "win32":
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.close()
                raise StoreError(
                    f"{paths.final} is being written by another process, which holds "
                    f"{self._path.name}. Wait until it has finished."
                ) from None
            except OSError:  # the file system knows no locks
                return file
        try:
            same = os.path.samestat(os.fstat(file.fileno()), os.stat(self._path))
        except FileNotFoundError:
            same = False
        if same:
            return file
        file.close()  # the last holder removed the name between our open and our lock
        return None

    def release(self) -> None:
        """Remove the lock file and let go; harmless when done twice."""
        if self._file is not None:
            self._path.unlink(missing_ok=True)
            self._file.close()
            self._file = None


def sync_directory(path: Path) -> None:
    """Make a rename in ``path`` survive a loss of power."""
    if sys.platform != "win32":
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def sync_file(path: Path) -> None:
    """Make the bytes of ``path`` survive a loss of power."""
    with open(path, "r+b") as file:
        os.fsync(file.fileno())


def require_room(path: Path, more: int, total: int) -> None:
    """Refuse before HDF5 is asked: it may take the process down when the disk is full.

    Parameters
    ----------
    path
        A file in the directory that must hold the bytes.
    more
        Bytes that will be added to the disk.
    total
        Size of the file afterwards, held against the process's limit.
    """
    if sys.platform == "win32":
        return
    disk = os.statvfs(path.parent)
    free = disk.f_bavail * disk.f_frsize
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    if more > free:
        raise StoreError(
            f"{path.name} needs {_size(more)}, {_size(free)} are free in {path.parent}. "
            "Free some space, or store fewer layers or steps."
        )
    if limit != resource.RLIM_INFINITY and total > limit:
        raise StoreError(
            f"{path.name} needs {_size(total)}, and this process may write files of "
            f"{_size(limit)}. Raise the limit (ulimit -f), or store fewer layers or steps."
        )


def reserve(file: BinaryIO, size: int) -> None:
    """Claim the disk blocks of a file of known size, where the system can do so."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), 0, size)


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.4g} GB"
