"""Nearest neighbours of every stimulus, a block of stimuli at a time, ties shared."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import array_api_extra as xpx
import numpy as np

from reptools.arrays import Array, array_namespace, asarray_like, device, float64, matmul, to_host
from reptools.errors import DataError, some
from reptools.statistics.shapes.spectrum import scaled

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Host = np.ndarray[Any, Any]
Distance = Literal["euclidean", "cosine"]
# squared distances that differ by less than this share of the squared norms are one value: they
# are sums of products, whose rounding must not rank them
ROUNDING = 1e-12
BLOCK = 2**21  # distances of a block of stimuli: 16 MB


def neighbour_weights(x: Array, k: int, distance: Distance) -> csr_array:
    """Weight (stimulus, stimulus) of each as a neighbour of each; a row sums to ``k``.

    What is nearer than the k-th place weighs 1. Several at the distance of the k-th place share
    what is left of k, each getting the chance of being among the k if ties were broken at random.
    A stimulus is no neighbour of itself; a copy of it is.
    """
    from scipy.sparse import csr_array  # slow to import

    x = _placed(x, distance)
    n = x.shape[0]
    squares = array_namespace(x).sum(x * x, axis=1)
    size = max(1, BLOCK // n)
    cuts = [slice(start, min(start + size, n)) for start in range(0, n, size)]
    doubled = -2 * x
    blocks = [_block(x, doubled, squares, k, rows) for rows in cuts]
    counts, columns, weights = (np.concatenate(part) for part in zip(*blocks, strict=True))
    ends = np.concatenate([[0], np.cumsum(counts)])
    return csr_array((weights, columns, ends), shape=(n, n))


def _placed(x: Array, distance: Distance) -> Array:
    """Points whose Euclidean distances rank as the ones asked for; a shift changes none."""
    if distance == "cosine":
        xp = array_namespace(x)
        x = float64(x)
        x = x / (xp.max(xp.abs(x)) or 1.0)
        norms = xp.sqrt(xp.sum(x * x, axis=1, keepdims=True))
        zero = np.flatnonzero(to_host(norms[:, 0] == 0))
        if zero.size:
            raise DataError(
                f"{zero.size} of {x.shape[0]} patterns are zero (rows {some(zero.tolist())}), so "
                "their cosine is undefined. Drop these stimuli, or pass distance='euclidean'."
            )
        x = x / norms
    placed: Array = scaled(x)[0]
    return placed


def _block(
    x: Array, doubled: Array, squares: Array, k: int, rows: slice
) -> tuple[Host, Host, Host]:
    """Number of neighbours of each stimulus of a block, which they are, and their weights.

    ``doubled`` is -2 ``x``, so that its products are those in the squared distances.
    """
    xp = array_namespace(x)
    gaps = matmul(x[rows, :], doubled.T)  # filled in place: a pass over fresh memory costs more
    gaps += squares[None, :]
    gaps += squares[rows][:, None]
    own = xp.eye(rows.stop - rows.start, dtype=xp.bool, device=device(x))
    gaps[:, rows] = xp.where(own, asarray_like(float("inf"), gaps), gaps[:, rows])
    last = xpx.partition(gaps, k - 1, axis=1)[:, k - 1]
    tolerance = ROUNDING * (squares[rows] + last)
    within = gaps <= (last + tolerance)[:, None]
    nearer = gaps < (last - tolerance)[:, None]
    n_within, n_nearer = (to_host(xp.count_nonzero(w, axis=1)) for w in (within, nearer))
    shared = (k - n_nearer) / (n_within - n_nearer)
    found = to_host(xp.nonzero(xp.reshape(within, (-1,)))[0])
    row, column = np.divmod(found, x.shape[0])
    weights = np.where(to_host(xp.reshape(nearer, (-1,)))[found], 1.0, shared[row])
    return n_within, column, weights
