"""Writing rows where HDF5 has already put their chunks: plain bytes, no metadata, no HDF5.

A chunked dataset without filters, allocated early, is a set of byte ranges that never move. Once
their addresses are known, a batch can be written by seek and write alone. So nothing that a kill
interrupts can break the file's structure, and a full disk raises an OSError instead of taking
HDF5, and the process with it, down.
"""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, TypeAlias

import h5py
import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]


@dataclass(frozen=True)
class Raw:
    """One dataset and the file addresses of its chunks.

    Attributes
    ----------
    path
        Path inside the file, e.g. ``layers/fc1/activation``.
    dims
        Name of each axis.
    shape, chunk
        Capacity and chunk shape of the dataset.
    offsets
        Byte address of every chunk, as a grid.
    """

    path: str
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    chunk: tuple[int, ...]
    dtype: np.dtype[Any]
    offsets: NDArray[np.int64]

    @classmethod
    def of(cls, dataset: h5py.Dataset, dims: tuple[str, ...]) -> Raw:
        """Read the chunk addresses of an open dataset."""
        chunk = dataset.chunks
        grid = tuple(-(-n // c) for n, c in zip(dataset.shape, chunk, strict=True))
        offsets = np.full(grid, -1, dtype=np.int64)

        def note(info: Any) -> None:
            offsets[tuple(o // c for o, c in zip(info.chunk_offset, chunk, strict=True))] = (
                info.byte_offset
            )

        dataset.id.chunk_iter(note)
        if offsets.size and offsets.min() < 0:
            raise OSError(f"{dataset.name} has chunks that were never allocated")
        path = dataset.name.lstrip("/")
        return cls(path, dims, dataset.shape, chunk, dataset.dtype, offsets)

    @property
    def chunk_bytes(self) -> int:
        """Bytes of one chunk."""
        return int(np.prod(self.chunk)) * self.dtype.itemsize

    def ranges(self) -> Iterator[tuple[int, int]]:
        """Byte ranges [start, stop) of all chunks."""
        for offset in self.offsets.ravel().tolist():
            yield offset, offset + self.chunk_bytes

    def write(self, file: BinaryIO, origin: tuple[int, ...], values: Array) -> None:
        """Write ``values`` so that its first element lands at ``origin``."""
        for offset, part in self._pieces(origin, values):
            file.seek(offset)
            left = np.ascontiguousarray(part).reshape(-1).view(np.uint8).data
            while left:
                left = left[file.write(left) :]

    def read(self, file: BinaryIO, origin: tuple[int, ...], shape: tuple[int, ...]) -> Array:
        """Read the values of ``shape`` whose first lies at ``origin``."""
        found = np.empty(shape, dtype=self.dtype)
        for offset, part in self._pieces(origin, found):
            file.seek(offset)
            data = bytearray()
            while len(data) < part.nbytes and (more := file.read(part.nbytes - len(data))):
                data += more
            part[...] = np.frombuffer(data, dtype=self.dtype).reshape(part.shape)
        return found

    def _pieces(self, origin: tuple[int, ...], values: Array) -> Iterator[tuple[int, Array]]:
        """Cut ``values`` into parts that are contiguous on disk, each with its address."""
        if values.size == 0:
            return
        lows = origin
        highs = tuple(o + n for o, n in zip(origin, values.shape, strict=True))
        spans = [
            range(lo // c, -(-hi // c)) for lo, hi, c in zip(lows, highs, self.chunk, strict=True)
        ]
        for index in itertools.product(*spans):
            base = tuple(i * c for i, c in zip(index, self.chunk, strict=True))
            start = tuple(max(lo, b) for lo, b in zip(lows, base, strict=True))
            stop = tuple(min(h, b + c) for h, b, c in zip(highs, base, self.chunk, strict=True))
            inside = tuple(slice(a - o, b - o) for a, b, o in zip(start, stop, origin, strict=True))
            corner = tuple(a - b for a, b in zip(start, base, strict=True))
            yield from self._runs(int(self.offsets[index]), corner, values[inside])

    def _runs(
        self, address: int, corner: tuple[int, ...], part: Array
    ) -> Iterator[tuple[int, Array]]:
        # axes after the last one that covers only a part of the chunk are contiguous with it
        split = max((axis for axis, n in enumerate(self.chunk) if part.shape[axis] != n), default=0)
        for lead in np.ndindex(part.shape[:split]):
            at = tuple(c + i for c, i in zip(corner, lead, strict=False)) + corner[split:]
            element = int(np.ravel_multi_index(at, self.chunk))
            yield address + element * self.dtype.itemsize, part[lead]


def checksum(values: Array) -> int:
    """CRC-32 of the bytes of an array in C order."""
    return zlib.crc32(np.ascontiguousarray(values).reshape(-1).view(np.uint8).data)
