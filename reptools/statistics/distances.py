"""Distances between the patterns of all pairs of stimuli, from one Gram product.

All four distances are squared Euclidean ones of suitably prepared patterns: the correlation and
the cosine distance are half of it for patterns of norm 1.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from reptools.arrays import Array, array_namespace, float64, to_host
from reptools.errors import DataError, StimulusError, some
from reptools.statistics.gram import centred

Distance = Literal["correlation", "euclidean", "sqeuclidean", "cosine"]
EPS = 2.0**-52
# |a|^2 + |b|^2 - 2ab has lost this share of its digits when the patterns are this close
CANCELLED = 1e-6
BLOCK = 2**22  # numbers held at once where pairs are subtracted one by one


def condensed(x: Array, /, method: Distance = "correlation", stimulus: Any = None) -> Array:
    """Distances of all pairs of rows of ``x`` in float64: the upper triangle, row by row.

    Parameters
    ----------
    x : array (stimulus, unit)
    method : "correlation", "euclidean", "sqeuclidean" or "cosine"
        None is divided by the number of units.
    stimulus : array (stimulus,), optional
        What messages call the rows; their numbers by default.

    Raises
    ------
    StimulusError
        There are fewer than two rows.
    DataError
        A row has no variance (correlation) or is zero (cosine).
    """
    n = x.shape[0]
    if n < 2:
        raise StimulusError(f"an RDM needs at least 2 stimuli, got {n}. Pass more stimuli.")
    xp = array_namespace(x)
    if method in ("correlation", "cosine"):
        return _squared(_unit_patterns(x, method, range(n) if stimulus is None else stimulus)) / 2
    squared = _squared(x)
    return xp.sqrt(squared) if method == "euclidean" else squared


def _unit_patterns(x: Array, method: Distance, stimulus: Any) -> Array:
    """Rows of norm 1, for the correlation with their own mean removed first."""
    xp = array_namespace(x)
    rows = float64(x)
    if method == "correlation":
        rows = centred(rows.T).T
    largest = xp.max(xp.abs(rows), axis=1, keepdims=True)
    reference = xp.max(xp.abs(float64(x)), axis=1, keepdims=True)
    flat = to_host((largest <= 4 * EPS * reference)[:, 0])
    if flat.any():
        names = np.asarray(stimulus)[flat].tolist()
        what = "have no variance over units" if method == "correlation" else "are all zero"
        raise DataError(
            f"{len(names)} of {len(flat)} patterns {what}, so their {method} distance is "
            f"undefined: {some(names)}. Leave these stimuli out on both sides, or use a "
            "Euclidean distance."
        )
    rows = rows / largest  # so that no square overflows
    return rows / xp.sqrt(xp.sum(rows**2, axis=1, keepdims=True))


def _squared(x: Array) -> Array:
    """Squared Euclidean distances, condensed.

    The Gram form loses the distance of patterns that nearly coincide; these few pairs are
    subtracted directly, so that equal patterns have distance 0 and no root is negative.
    """
    xp = array_namespace(x)
    x = centred(x)
    norms = xp.sum(x**2, axis=1)
    sums = norms[:, None] + norms[None, :]
    square = sums - 2 * (x @ x.T)
    close = square < CANCELLED * sums
    distances, mask = upper(square), upper(close)
    first, second = xp.nonzero(xp.triu(close, k=1))
    if first.shape[0]:
        distances[mask] = _subtracted(x, first, second)
    return distances


def _subtracted(x: Array, first: Array, second: Array) -> Array:
    """Squared distances of the row pairs (first, second), a block at a time."""
    xp = array_namespace(x)
    step, count = max(1, BLOCK // x.shape[1]), first.shape[0]
    blocks = []
    for start in range(0, count, step):
        here = slice(start, min(start + step, count))
        a, b = xp.take(x, first[here], axis=0), xp.take(x, second[here], axis=0)
        blocks.append(xp.sum((a - b) ** 2, axis=1))
    return xp.concat(blocks)


def upper(square: Array, /) -> Array:
    """Upper triangle of a square array without its diagonal, row by row."""
    xp = array_namespace(square)
    return xp.concat([square[i, i + 1 :] for i in range(square.shape[0] - 1)])
