"""Condensed vectors of stimulus pairs: the upper triangle of a square matrix, row by row."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

Vector = np.ndarray[Any, Any]
Rows = np.ndarray[Any, np.dtype[np.intp]]


def count_stimuli(n_pairs: int) -> int:
    """Number of stimuli that have so many pairs, or 0 where no number has.

    >>> [count_stimuli(size) for size in (1, 3, 6, 7)]
    [2, 3, 4, 0]
    """
    n = (1 + math.isqrt(1 + 8 * n_pairs)) // 2
    return n if n >= 2 and n * (n - 1) // 2 == n_pairs else 0


def upper(square: Vector) -> Vector:
    """Upper triangle of a square matrix, row by row.

    Slices of rows: a gather by index reads memory out of order and needs two more arrays.

    >>> import numpy as np
    >>> upper(np.arange(9).reshape(3, 3)).tolist()
    [1, 2, 5]
    """
    return np.concatenate([square[row, row + 1 :] for row in range(len(square) - 1)])


def row_sums(pairs: Vector) -> Vector:
    """Sum over the pairs of each stimulus.

    >>> import numpy as np
    >>> row_sums(np.array([1.0, 2.0, 4.0])).tolist()
    [3.0, 5.0, 6.0]
    """
    n = count_stimuli(pairs.size)
    starts = np.concatenate([[0], np.cumsum(_later(n))[:-1]])
    sums = np.append(np.add.reduceat(pairs, starts), 0.0)
    for row, start in enumerate(starts.tolist()):
        sums[row + 1 :] += pairs[start : start + n - 1 - row]
    return sums


def sums_of_two(effects: Vector) -> Vector:
    """The effects of both its stimuli for every pair.

    >>> import numpy as np
    >>> sums_of_two(np.array([1.0, 10.0, 100.0])).tolist()
    [11.0, 101.0, 110.0]
    """
    pairs = np.concatenate([effects[row + 1 :] for row in range(effects.size - 1)])
    pairs += np.repeat(effects[:-1], _later(effects.size))
    return pairs


def _later(n: int) -> Rows:
    """How many stimuli come after each but the last one."""
    return np.arange(n - 1, 0, -1)


def among(n: int, rows: Rows) -> Rows:
    """Positions of the pairs among the stimuli ``rows``, as a condensed vector of these.

    >>> import numpy as np
    >>> among(4, np.array([0, 2, 3])).tolist()  # 0-2, 0-3, 2-3
    [1, 2, 5]
    """
    first, second = np.triu_indices(rows.size, k=1)
    low = np.minimum(rows[first], rows[second])
    high = np.maximum(rows[first], rows[second])
    return np.asarray(low * (2 * n - low - 1) // 2 + high - low - 1)
