"""Grams (stimulus x stimulus): centring, kernels, and the inner product of two.

Products of linear Grams that need no such matrix are in ``hsic``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from reptools.arrays import Array, array_namespace, device, float64, matmul, to_host
from reptools.errors import DataError
from reptools.statistics.rdms.distances import square
from reptools.statistics.rdms.pairs import upper

# Similarity of two patterns whose square is rounding beside that of a pattern with itself: a Gram
# with no larger one is the identity, whatever the data.
ALIKE = 1e-6


def centred(x: Array, /) -> Array:
    """Each unit to mean 0, in float64; a constant unit becomes exactly 0.

    The first row goes first: the mean of equal numbers can differ from them in the last digit,
    and a mean of 1000 would eat digits of the sum.
    """
    xp = array_namespace(x)
    wide = float64(x)
    wide = wide - wide[:1, :]
    return wide - xp.mean(wide, axis=0, keepdims=True)


def u_centred(gram: Array, /) -> Array:
    """K~: zero diagonal, and rows that sum to zero without it.

    References
    ----------
    Szekely & Rizzo (2014), Partial distance correlation with methods for dissimilarities,
    Annals of Statistics 42, eq. 2.7.
    """
    xp = array_namespace(gram)
    n = gram.shape[0]
    diagonal = xp.eye(n, dtype=xp.bool, device=device(gram))
    zero = xp.zeros((), dtype=gram.dtype, device=device(gram))
    off = xp.where(diagonal, zero, gram)
    rows = xp.sum(off, axis=1) / (n - 2)
    grand = xp.sum(rows) / (n - 1)
    return xp.where(diagonal, zero, off - rows[:, None] - rows[None, :] + grand)


def product_of_grams(k: Array, second: Array, /) -> float:
    """<K, L> of two centred Grams; both U-centred for the unbiased one."""
    xp = array_namespace(k, second)
    return float(xp.sum(k * second))


def double_centred(gram: Array, /) -> Array:
    """HKH: rows and columns that sum to zero."""
    xp = array_namespace(gram)
    rows = xp.mean(gram, axis=1)
    return gram - rows[:, None] - rows[None, :] + xp.mean(rows)


def linear(batches: Sequence[Array], /) -> list[Array]:
    """Inner products of the centred patterns within each batch of stimuli, on one scale."""
    return [matmul(x, x.T) for x in _scaled(batches)]


def _scaled(batches: Sequence[Array]) -> list[Array]:
    """Batches, centred each, in units of the largest value: products would overflow at 1e77."""
    xp = array_namespace(batches[0])
    patterns = [centred(x) for x in batches]
    largest = max(float(xp.max(xp.abs(x))) for x in patterns)
    return [x / largest for x in patterns] if largest > 0 else patterns


def rbf(batches: Sequence[Array], bandwidth: float, /) -> list[Array]:
    """exp(-d^2 / (2 s^2)) - 1 of the Euclidean distances d within each batch of stimuli.

    s is ``bandwidth`` times the median distance of all pairs of all batches. The constant leaves
    with any centring, and beside it a wide kernel would lose its digits.

    Raises
    ------
    DataError
        The median distance is 0, or the kernel is so narrow that no pattern is like another one.
    """
    xp = array_namespace(batches[0])
    squared = [square(x, "sqeuclidean") for x in _scaled(batches)]
    pairs = np.concatenate([upper(to_host(each)) for each in squared])
    median = float(np.median(np.sqrt(pairs)))
    if median == 0:
        raise DataError(
            "half of its pairs of patterns or more are equal, so the median distance, which sets "
            "the bandwidth, is 0. Use kernel='linear', or leave repeated patterns out."
        )
    width = bandwidth * median
    most = float(np.exp(-pairs.min() / (2 * width * width)))
    if most < ALIKE:
        raise DataError(
            f"with bandwidth={bandwidth:g} the similarity of any two of its patterns is {most:.2g} "
            "at most: each is like itself alone, as in any other data. Pass a larger bandwidth."
        )
    return [xp.expm1(-each / (2 * width * width)) for each in squared]
