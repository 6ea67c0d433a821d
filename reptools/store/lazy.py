"""Arrays that stay in the file until they are indexed."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray
from xarray.backends import BackendArray, CachingFileManager
from xarray.core import indexing

from .raw import Array

Run = tuple[int, int]


@dataclass(frozen=True)
class Blank:
    """The part of a step that its writer did not reach: it is read as NaN."""

    step_axis: int
    stimulus_axis: int
    step: int
    first: int  # first stimulus without values


class StoredArray(BackendArray):
    """One variable of a file, read by contiguous runs of whole chunks.

    HDF5 reads a list of rows one by one; here neighbouring chunks are read at once and the rows
    taken from memory.
    """

    def __init__(
        self,
        files: CachingFileManager[h5py.File],
        path: str,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        chunks: tuple[int, ...] | None,
        blank: Blank | None,
    ) -> None:
        self.shape = shape
        self.dtype = dtype
        self._files = files
        self._path = path
        self._chunks = chunks or shape
        self._blank = blank

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        """Read the part that the indexer names."""
        return indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.OUTER, self._read
        )

    def _read(self, key: tuple[Any, ...]) -> Array:
        wanted = [_positions(k, n) for k, n in zip(key, self.shape, strict=True)]
        runs = [_runs(w, c) for w, c in zip(wanted, self._chunks, strict=True)]
        with self._files.acquire_context() as file:
            values = _gather(file[self._path], runs)
        inner = tuple(_within(w, r) for w, r in zip(wanted, runs, strict=True))
        for axis, index in enumerate(inner):
            if index is not None:
                values = np.take(values, index, axis=axis)
        if self._blank is not None:
            _erase(values, wanted, self._blank)
        values = values.astype(self.dtype, copy=False)
        dropped = tuple(a for a, k in enumerate(key) if isinstance(k, (int, np.integer)))
        return values.squeeze(axis=dropped) if dropped else values


def _positions(key: Any, size: int) -> range | NDArray[np.int64]:
    if isinstance(key, slice):
        return range(size)[key]
    if isinstance(key, (int, np.integer)):
        at = int(key) % size
        return range(at, at + 1)
    index = np.asarray(key)
    return np.where(index < 0, index + size, index)


def _runs(wanted: range | NDArray[np.int64], chunk: int) -> list[Run]:
    """Contiguous spans to read: neighbouring chunks that hold wanted positions are joined."""
    if len(wanted) == 0:
        return []
    if isinstance(wanted, range) and abs(wanted.step) <= chunk:
        return [(min(wanted), max(wanted) + 1)]
    sorted_ = np.unique(np.asarray(wanted))
    breaks = np.flatnonzero(np.diff(sorted_ // chunk) > 1) + 1
    return [(int(part[0]), int(part[-1]) + 1) for part in np.split(sorted_, breaks)]


def _within(wanted: range | NDArray[np.int64], runs: list[Run]) -> NDArray[np.int64] | None:
    """Where the wanted positions lie in what was read; None where it is just that."""
    if isinstance(wanted, range) and wanted.step == 1:
        return None
    at = np.asarray(wanted, dtype=np.int64)
    starts = np.array([start for start, _ in runs], dtype=np.int64)
    before = np.cumsum([0, *(stop - start for start, stop in runs)])[:-1]
    which = np.searchsorted(starts, at, side="right") - 1
    return at - starts[which] + before[which] if len(at) else at


def _gather(dataset: h5py.Dataset, runs: list[list[Run]]) -> Array:
    shape = tuple(sum(stop - start for start, stop in axis) for axis in runs)
    values: Array = np.empty(shape, dtype=dataset.dtype)
    if values.size == 0:
        return values
    if not shape:
        return np.asarray(dataset[()])
    targets = []
    for axis in runs:
        ends = list(itertools.accumulate(stop - start for start, stop in axis))
        targets.append([slice(e - (b - a), e) for e, (a, b) in zip(ends, axis, strict=True)])
    sources = [[slice(a, b) for a, b in axis] for axis in runs]
    for source, target in zip(
        itertools.product(*sources), itertools.product(*targets), strict=True
    ):
        dataset.read_direct(values, source, target)
    return values


def _erase(values: Array, wanted: list[Any], blank: Blank) -> None:
    late = np.asarray(wanted[blank.stimulus_axis]) >= blank.first
    last = np.asarray(wanted[blank.step_axis]) == blank.step
    if late.any() and last.any():
        shape = [1] * values.ndim
        shape[blank.stimulus_axis] = -1
        other = [1] * values.ndim
        other[blank.step_axis] = -1
        hidden = late.reshape(shape) & last.reshape(other)
        values[np.broadcast_to(hidden, values.shape)] = np.nan
