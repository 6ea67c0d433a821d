"""Activations that may not fit in memory: read a block of rows at a time, as often as asked.

Everything that is a sum over stimuli takes :class:`Blocks`. An array in memory becomes blocks that
are views, so one code path serves arrays, dask and files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, TypeAlias

from reptools.arrays import Array

# A block's products are added to p x p sums in float64: with so many rows that costs a few percent
# of the product. A wide block is cut at 2**24 values.
ROWS = 4096
VALUES = 2**24


@dataclass(frozen=True)
class Blocks:
    """Activations (stimulus, unit), read in blocks of rows.

    Attributes
    ----------
    n, width : int
        Stimuli and units.
    dtype : dtype
        Of the arrays that are read: float32 or float64, numpy's or torch's.
    read : callable
        ``read(rows)`` for a slice of rows: a finite array (row, unit) that is not written to.
    edges : sequence of int
        Where blocks begin, and n at the end.
    """

    n: int
    width: int
    dtype: Any
    read: Callable[[slice], Array]
    edges: Sequence[int]

    def __iter__(self) -> Iterator[tuple[slice, Array]]:
        for start, stop in pairwise(self.edges):
            rows = slice(start, stop)
            yield rows, self.read(rows)

    def map(self, function: Callable[[Array], Array], dtype: Any) -> Blocks:
        """The same rows with ``function`` done to every block, which gives ``dtype``."""
        return replace(self, read=lambda rows: function(self.read(rows)), dtype=dtype)


Rows: TypeAlias = Array | Blocks  # activations in memory, or in blocks


def as_blocks(x: Rows) -> Blocks:
    """``x`` itself if it is in blocks, else views of an array.

    >>> import numpy as np
    >>> [rows.stop for rows, block in as_blocks(np.ones((5000, 2)))]
    [4096, 5000]
    """
    if isinstance(x, Blocks):
        return x
    n, width = x.shape
    return Blocks(n, width, x.dtype, lambda rows: x[rows, :], edges(n, width))


def edges(n: int, width: int, chunks: Sequence[int] | None = None) -> list[int]:
    """Where to cut ``n`` rows of ``width`` values: at multiples of ROWS, or at ends of chunks.

    >>> edges(10_000, 1024), edges(6, 2**23)
    ([0, 4096, 8192, 10000], [0, 2, 4, 6])
    >>> edges(9_000, 1024, chunks=[3000, 3000, 3000]), edges(5_000, 1024, chunks=[2048, 2048, 904])
    ([0, 3000, 6000, 9000], [0, 4096, 5000])
    """
    most = max(1, min(ROWS, VALUES // max(width, 1)))
    if chunks is None:
        return [*range(0, n, most), n]
    cuts, end = [0], 0
    for size in chunks:
        if end > cuts[-1] and end + size - cuts[-1] > most:  # what was gathered is a block
            cuts.append(end)
        end += size
    return [*cuts, n]


def together(*sides: Blocks) -> Iterator[tuple[Array, ...]]:
    """Blocks of the same rows of several sides; the one with the most blocks says where to cut."""
    cuts = max(sides, key=lambda side: len(side.edges)).edges
    for start, stop in pairwise(cuts):
        yield tuple(side.read(slice(start, stop)) for side in sides)


def first_row(x: Array) -> Array:
    """A copy of the first row."""
    return x[0, :] + 0


def shape(x: Rows, /) -> tuple[int, int]:
    """Stimuli and units."""
    return (x.n, x.width) if isinstance(x, Blocks) else x.shape
