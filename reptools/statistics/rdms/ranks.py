"""Ranks with ties, and exact counts of concordant pairs without looking at every pair."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from reptools.arrays import matmul

Vector = np.ndarray[Any, Any]
Integers = np.ndarray[Any, np.dtype[np.int64]]
# runs up to this length are counted by comparing all their pairs, longer ones by merging
SHORT = 64


@dataclass(frozen=True)
class Ranking:
    """Values by their order alone.

    Attributes
    ----------
    number : array of int64
        Of each value among the different ones, from 0.
    counts : array of int64
        How many values share each number.
    """

    number: Integers
    counts: Integers

    @property
    def ranks(self) -> Vector:
        """Ranks from 1; tied values share their mean rank."""
        return np.asarray((np.cumsum(self.counts) - (self.counts - 1) / 2)[self.number])

    @property
    def tied_pairs(self) -> int:
        """Pairs of equal values."""
        return _pairs(self.counts)


def ranking(values: Vector, tolerance: float = 0.0) -> Ranking:
    """Rank values in one sort; neighbours in the order that differ by ``tolerance`` are tied.

    >>> import numpy as np
    >>> ranking(np.array([0.5, 2.0, 0.5, 1.0])).ranks.tolist()
    [1.5, 4.0, 1.5, 3.0]
    """
    order = np.argsort(values)  # any order of ties will do: they share a number
    steps = np.diff(values[order]) > tolerance
    sorted_number = np.concatenate([[0], np.cumsum(steps)])
    number = np.empty(values.size, dtype=np.int64)
    number[order] = sorted_number
    return Ranking(number, np.bincount(sorted_number))


def concordance(a: Ranking, b: Ranking) -> int:
    """Pairs that both sides order alike, less those they order oppositely; ties are neither.

    Sorted by ``a`` and then by ``b``, the discordant pairs are the inversions of ``b``.

    References
    ----------
    Knight (1966), A computer method for calculating Kendall's tau with ungrouped data, Journal of
    the American Statistical Association 61.
    """
    shift = int(b.counts.size).bit_length()
    key = np.sort((a.number << shift) | b.number)
    runs = np.flatnonzero(np.concatenate([[True], key[1:] != key[:-1], [True]]))
    tied_on_both = _pairs(np.diff(runs))
    discordant = inversions(key & ((1 << shift) - 1))
    n = key.size
    untied = n * (n - 1) // 2 - a.tied_pairs - b.tied_pairs + tied_on_both
    return untied - 2 * discordant


def inversions(sequence: Integers) -> int:
    """Number of pairs whose first value is the larger one, in O(m log m).

    A bottom-up merge sort of whole rows. In a merged row an element of the right half stands
    behind its own predecessors and all left elements that are not larger, so the sum of these
    positions tells how many left ones are.

    >>> import numpy as np
    >>> inversions(np.array([3, 1, 2, 1]))
    4
    """
    levels = (sequence.size // SHORT).bit_length()
    width = -(-sequence.size // 2**levels)
    rows = np.full(width << levels, sequence.max(), dtype=np.int64)  # padding inverts nothing
    rows[: sequence.size] = sequence
    rows = rows.reshape(-1, width)
    columns = np.ascontiguousarray(rows.T)
    found = sum(int(np.count_nonzero(columns[:-g] > columns[g:])) for g in range(1, width))
    # the row's number breaks ties, so that equal values keep their order; its bits tell the half
    rows = np.sort((rows << levels) | np.arange(len(rows))[:, None], axis=1)
    for level in range(levels):
        rows = rows.reshape(len(rows) // 2, -1)
        rows.sort(axis=1, kind="stable")  # merges two runs in one pass
        half = rows.shape[1] // 2
        right = (rows & (1 << level)).sum(axis=0) >> level
        position_sum = int(matmul(right, np.arange(2 * half)))
        found += len(rows) * (half * half + half * (half - 1) // 2) - position_sum
    return found


def _pairs(counts: Integers) -> int:
    return int((counts * (counts - 1) // 2).sum())
