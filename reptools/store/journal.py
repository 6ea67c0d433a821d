"""Changing the structure of a file so that a kill at any moment can be undone.

Before HDF5 touches anything, every byte that is not activation data goes into
``run.h5.partial.undo``. If the edit does not finish, playing the journal back gives the file as
it was, byte for byte; a reader that may not write lays it over the file in memory.
"""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import h5py
import numpy as np

from .. import schema
from ..errors import StoreError
from .files import Paths, require_room, sync_directory, sync_file
from .raw import Raw
from .skeleton import open_for_edit

_SLACK = 2**20  # bytes an edit may need for structure, sparse until they are used
_MAGIC = b"RTUNDO1\n"
_HEAD = struct.Struct("<8sQQ")  # magic, file size, number of segments
_SEGMENT = struct.Struct("<QQ")  # offset, length


@dataclass(frozen=True)
class Journal:
    """The size a file had, and the bytes to put back."""

    size: int
    segments: list[tuple[int, bytes]]

    def pack(self) -> bytes:
        """Serialize, with a checksum at the end."""
        parts = [_HEAD.pack(_MAGIC, self.size, len(self.segments))]
        parts += [_SEGMENT.pack(offset, len(data)) for offset, data in self.segments]
        parts += [data for _, data in self.segments]
        body = b"".join(parts)
        return body + struct.pack("<I", zlib.crc32(body))

    @classmethod
    def unpack(cls, data: bytes) -> Journal | None:
        """Read a journal; None where it is not whole, so that it was never put to use."""
        body, crc = data[:-4], data[-4:]
        if len(body) < _HEAD.size or struct.pack("<I", zlib.crc32(body)) != crc:
            return None
        magic, size, count = _HEAD.unpack_from(body)
        if magic != _MAGIC:
            return None
        heads = list(_SEGMENT.iter_unpack(body[_HEAD.size : _HEAD.size + count * _SEGMENT.size]))
        at = _HEAD.size + count * _SEGMENT.size
        segments = []
        for offset, length in heads:
            segments.append((offset, body[at : at + length]))
            at += length
        return cls(size, segments)


def gaps(raws: Iterable[Raw], size: int) -> list[tuple[int, int]]:
    """Byte ranges that hold no activations or outputs: structure, labels, the commit record."""
    data = (schema.LAYERS + "/", schema.OUTPUTS + "/")
    spans = [np.array(list(raw.ranges())) for raw in raws if raw.path.startswith(data)]
    found, at = [], 0
    if spans:
        taken = np.concatenate([span.reshape(-1, 2) for span in spans])
        for start, stop in taken[np.argsort(taken[:, 0])].tolist():
            if start > at:
                found.append((at, start))
            at = max(at, stop)
    if at < size:
        found.append((at, size))
    return found


def edit(paths: Paths, raws: Iterable[Raw], more: int, change: Callable[[h5py.File], None]) -> None:
    """Let ``change`` alter the structure of the partial file, wholly or not at all.

    Parameters
    ----------
    paths
        The run's files; its lock must be held.
    raws
        The variables whose data the edit leaves where they are.
    more
        Bytes of data the edit may add.
    change
        Called with the open file.

    Raises
    ------
    StoreError
        If the edit failed; it has been rolled back.
    """
    rollback(paths)
    try:
        _save(paths, raws, more)
        with open_for_edit(paths.partial) as file:
            change(file)
        sync_file(paths.partial)
    except BaseException as error:
        rollback(paths)
        if isinstance(error, (OSError, RuntimeError, ValueError)) and not isinstance(
            error, StoreError
        ):
            raise StoreError(
                f"{paths.partial.name} could not be changed in size: {error}. It is as it was; "
                "free some space and continue with repair()."
            ) from error
        raise
    paths.undo.unlink()
    sync_directory(paths.final.parent)


def _save(paths: Paths, raws: Iterable[Raw], more: int) -> None:
    size, more = paths.partial.stat().st_size, more + _SLACK
    segments = []
    with open(paths.partial, "rb") as file:
        for start, stop in gaps(raws, size):
            file.seek(start)
            segments.append((start, file.read(stop - start)))
    packed = Journal(size, segments).pack()
    require_room(paths.partial, more + len(packed), size + more)
    with open(paths.undo_new, "wb") as file:
        file.write(packed)
        file.flush()
        os.fsync(file.fileno())
    os.replace(paths.undo_new, paths.undo)
    sync_directory(paths.final.parent)
    # HDF5 notes the new end of the file before it writes up to it; a file that is shorter than
    # its header says is refused, so it is made longer beforehand. HDF5 cuts it at the end.
    os.truncate(paths.partial, size + more)


def rollback(paths: Paths) -> bool:
    """Undo an edit that did not finish; True if there was one. May be repeated after a kill."""
    paths.undo_new.unlink(missing_ok=True)
    if not paths.undo.exists():
        return False
    journal = Journal.unpack(paths.undo.read_bytes())
    if journal is not None and paths.partial.exists():
        with open(paths.partial, "r+b") as file:
            for offset, data in journal.segments:
                file.seek(offset)
                file.write(data)
            file.truncate(journal.size)
            file.flush()
            os.fsync(file.fileno())
    paths.undo.unlink()
    sync_directory(paths.final.parent)
    return journal is not None


class Overlay(io.RawIOBase):
    """A read-only view of a file with its journal laid over it, for h5py."""

    def __init__(self, path: Path, journal: Journal) -> None:
        self._file: BinaryIO = open(path, "rb")  # noqa: SIM115 - closed by close()
        self._journal = journal
        self._at = 0

    def close(self) -> None:
        """Close the file beneath."""
        self._file.close()
        super().close()

    def readable(self) -> bool:
        """Say yes."""
        return True

    def seekable(self) -> bool:
        """Say yes."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move; the end is where the file ended before the edit."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._journal.size}[whence]
        self._at = base + offset
        return self._at

    def tell(self) -> int:
        """Return the present position."""
        return self._at

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """Read from the file, then put the journal's bytes over what was read."""
        view = memoryview(buffer).cast("B")
        start, count = self._at, max(0, min(len(view), self._journal.size - self._at))
        self._file.seek(start)
        got = self._file.read(count)
        # the edit may have cut the file short: what is missing comes from the journal
        view[:count] = got.ljust(count, b"\0")
        for offset, data in self._journal.segments:
            low, high = max(offset, start), min(offset + len(data), start + count)
            if low < high:
                view[low - start : high - start] = data[low - offset : high - offset]
        self._at += count
        return count


def overlaid(paths: Paths) -> Overlay | None:
    """The partial file as it was before an edit under way, or None if there is no edit."""
    try:
        journal = Journal.unpack(paths.undo.read_bytes())
    except FileNotFoundError:
        return None
    return None if journal is None else Overlay(paths.partial, journal)
