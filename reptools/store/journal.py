"""Changing the structure of a file so that a kill at any moment can be undone.

HDF5 makes the change in memory, over a view of the file, so every byte that will differ is known
before the first is written. What lies past the end of the file is written first, where nothing
refers to it yet. Then the old content of the pages that will be overwritten goes into
``run.h5.partial.undo``, and only then are they overwritten. If that does not finish, playing the
journal back gives the file as it was, byte for byte; a reader that may not write lays it over the
file in memory.
"""

from __future__ import annotations

import atexit
import io
import os
import struct
import zlib
from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, TypeAlias, TypeVar
from weakref import WeakValueDictionary

import h5py

from ..errors import StoreError
from .files import Paths, require_room, sync_directory
from .skeleton import FORMAT

PAGE = 4096  # a kill may cut a write in two, but only between aligned pages
_MAGIC = b"RTUNDO2\n"
_HEAD = struct.Struct("<8sQQ")  # magic, file size, number of pages
_NUMBER = struct.Struct("<Q")
T = TypeVar("T")
Part: TypeAlias = tuple[int, bytes]  # offset and content, within one page
_INDEX = b"TREE"  # how HDF5 begins a node of the index that finds chunks


@dataclass
class Journal:
    """The size of a file, and whole pages of it by their number."""

    size: int
    pages: dict[int, bytes] = field(default_factory=dict)

    def pack(self) -> bytes:
        """Serialize, with a checksum at the end."""
        parts = [_HEAD.pack(_MAGIC, self.size, len(self.pages))]
        parts += [_NUMBER.pack(number) for number in self.pages]
        body = b"".join([*parts, *self.pages.values()])
        return body + struct.pack("<I", zlib.crc32(body))

    @classmethod
    def unpack(cls, data: bytes) -> Journal | None:
        """Read a journal; None where it is not whole, so that it was never put to use."""
        body, crc = data[:-4], data[-4:]
        if len(body) < _HEAD.size or struct.pack("<I", zlib.crc32(body)) != crc:
            return None
        magic, size, count = _HEAD.unpack_from(body)
        start = _HEAD.size + count * _NUMBER.size
        if magic != _MAGIC or len(body) != start + count * PAGE:
            return None
        numbers = (number for (number,) in _NUMBER.iter_unpack(body[_HEAD.size : start]))
        pages = (body[at : at + PAGE] for at in range(start, len(body), PAGE))
        return cls(size, dict(zip(numbers, pages, strict=True)))


class Overlay(io.RawIOBase):
    """A file with pages laid over it: h5py reads and writes these, the file stays as it is."""

    def __init__(self, path: Path, over: Journal | None = None) -> None:
        self._file: BinaryIO = open(path, "rb", buffering=0)  # noqa: SIM115 - see close()
        self.over = over or Journal(os.fstat(self._file.fileno()).st_size)
        self.written: dict[tuple[int, int], bool] = {}  # ranges within a page: of an index?
        self._at = 0

    def close(self) -> None:
        """Close the file beneath."""
        self._file.close()
        super().close()

    def readable(self) -> bool:
        """Say yes."""
        return True

    def writable(self) -> bool:
        """Say yes."""
        return True

    def seekable(self) -> bool:
        """Say yes."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move; the end is where the view ends, not the file."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self.over.size}[whence]
        self._at = base + offset
        return self._at

    def tell(self) -> int:
        """Return the present position."""
        return self._at

    def truncate(self, size: int | None = None) -> int:
        """Note a new end; the file is cut later, if at all."""
        self.over.size = self._at if size is None else size
        return self.over.size

    def beneath(self, offset: int, count: int) -> bytes:
        """Bytes of the file itself, zeros past its end."""
        self._file.seek(offset)
        found = bytearray()
        while len(found) < count and (data := self._file.read(count - len(found))):
            found += data
        return bytes(found.ljust(count, b"\0"))

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """Read from the file, then put the pages over what was read."""
        view = memoryview(buffer).cast("B")
        start, count = self._at, max(0, min(len(view), self.over.size - self._at))
        view[:count] = self.beneath(start, count)
        for number in range(start // PAGE, -(-(start + count) // PAGE)):
            if number in self.over.pages:
                low, high = max(number * PAGE, start), min((number + 1) * PAGE, start + count)
                page = self.over.pages[number]
                view[low - start : high - start] = page[low - number * PAGE : high - number * PAGE]
        self._at += count
        return count

    def write(self, data: bytes | memoryview) -> int:  # type: ignore[override]
        """Keep the pages that come to differ from the file."""
        view = memoryview(data).cast("B")
        start, stop = self._at, self._at + len(view)
        first = start // PAGE
        old = self.beneath(first * PAGE, (-(-stop // PAGE) - first) * PAGE)
        index = view[: len(_INDEX)] == _INDEX
        for number in range(first, -(-stop // PAGE)):
            base = number * PAGE
            plain = old[base - first * PAGE :][:PAGE]
            page = bytearray(self.over.pages.get(number, plain))
            low, high = max(base, start), min(base + PAGE, stop)
            page[low - base : high - base] = view[low - start : high - start]
            # HDF5 also rewrites data that it cuts at; those pages are as they were
            if number in self.over.pages or page != plain:
                self.over.pages[number] = bytes(page)
                self.written[low, high] = index
        self._at, self.over.size = stop, max(self.over.size, stop)
        return len(view)


class Seen(h5py.File):  # type: ignore[misc]
    """A file open for reading through an overlay, which it closes too.

    HDF5 shares what it knows of a file between all handles that a process has on it, so one that
    is open while the structure changes would spoil the next; through an overlay nothing is shared.
    """

    def __init__(self, overlay: Overlay) -> None:
        self.overlay = overlay
        super().__init__(overlay, "r", rdcc_nbytes=0)
        _seen[id(self)] = self

    def close(self) -> None:
        """Close the file and what it was read through."""
        super().close()
        self.overlay.close()


_seen: WeakValueDictionary[int, Seen] = WeakValueDictionary()


@atexit.register
def _close_seen() -> None:
    """HDF5 would read through an overlay after Python has taken it down, and crash."""
    for file in list(_seen.values()):
        file.close()


def look(paths: Paths) -> Seen:
    """Open the partial file for reading, as it was before an edit under way."""
    try:
        journal = Journal.unpack(paths.undo.read_bytes())
    except FileNotFoundError:
        journal = None
    return Seen(Overlay(paths.partial, journal))


def edit(paths: Paths, change: Callable[[h5py.File], T], *, shrinks: bool = False) -> T:
    """Let ``change`` alter the structure of the partial file, wholly or not at all.

    Parameters
    ----------
    paths
        The run's files; its lock must be held.
    change
        Called with the file, as it is open in memory.
    shrinks
        Whether it makes dimensions shorter, not longer.

    Returns
    -------
    object
        What ``change`` returned.

    Raises
    ------
    StoreError
        If the edit failed; the file is as it was.
    """
    rollback(paths)
    size = paths.partial.stat().st_size
    try:
        with Overlay(paths.partial) as view:
            with h5py.File(view, "r+", **FORMAT) as file:
                found = change(file)
            _apply(paths, view, size, shrinks=shrinks)
            return found
    except BaseException as error:
        if not rollback(paths):
            os.truncate(paths.partial, size)
        if isinstance(error, (OSError, RuntimeError, ValueError)) and not isinstance(
            error, StoreError
        ):
            raise StoreError(
                f"{paths.partial.name} could not be changed in size: {error}. It is as it was; "
                "free some space and continue with repair()."
            ) from error
        raise


def _apply(paths: Paths, view: Overlay, size: int, *, shrinks: bool) -> None:
    """Bring what was written to a view into the file, whose size is ``size``."""
    end, pages = view.over.size, view.over.pages
    fresh = {number: page for number, page in pages.items() if size <= number * PAGE < end}
    inside = [number for number in pages if number * PAGE < min(size, end)]
    undo = Journal(size, {number: view.beneath(number * PAGE, PAGE) for number in inside}).pack()
    require_room(paths.partial, max(end - size, 0) + len(undo), max(end, size))
    with open(paths.partial, "r+b", buffering=0) as file:
        file.truncate(max(end, size))
        _write(file, _parts(fresh))
        os.fsync(file.fileno())
        with open(paths.undo_new, "wb") as new:
            new.write(undo)
            new.flush()
            os.fsync(new.fileno())
        os.replace(paths.undo_new, paths.undo)
        sync_directory(paths.final.parent)
        _write(file, _in_order(view, set(inside), shrinks=shrinks))
        os.fsync(file.fileno())
        paths.undo.unlink()
        sync_directory(paths.final.parent)
        file.truncate(end)


def _parts(pages: Mapping[int, bytes]) -> list[Part]:
    return [(number * PAGE, page) for number, page in pages.items()]


def _in_order(view: Overlay, inside: Set[int], *, shrinks: bool) -> list[Part]:
    """What to overwrite, such that a plain reader loses nothing wherever a kill stops it.

    Where dimensions grow: the file's header first, which says how far the file goes; then the
    indexes that find the chunks, each from its end, so that it counts no entry that is not there;
    then the extents, dimensions before what has them. The other way round where they shrink.
    """

    def rank(span: tuple[int, int]) -> tuple[int, int]:
        start, _ = span
        if start == 0:
            return 0, 0
        return (1, -start) if view.written[span] else (2, start)

    spans = [span for span in view.written if span[0] // PAGE in inside]
    return [
        (start, view.over.pages[start // PAGE][start % PAGE :][: stop - start])
        for start, stop in sorted(spans, key=rank, reverse=shrinks)
    ]


def _write(file: BinaryIO, parts: Iterable[Part]) -> None:
    """Write parts that lie in one page each, so that no kill cuts one in two."""
    for offset, data in parts:
        file.seek(offset)
        left = memoryview(data)
        while left:
            left = left[file.write(left) :]


def rollback(paths: Paths) -> bool:
    """Undo an edit that did not finish; True if there was one. May be repeated after a kill."""
    paths.undo_new.unlink(missing_ok=True)
    if not paths.undo.exists():
        return False
    journal = Journal.unpack(paths.undo.read_bytes())
    if journal is not None and paths.partial.exists():
        with open(paths.partial, "r+b", buffering=0) as file:
            _write(file, _parts(journal.pages))
            file.truncate(journal.size)
            os.fsync(file.fileno())
    paths.undo.unlink()
    sync_directory(paths.final.parent)
    return journal is not None
