"""How unevenly an amount is spread: the Gini index."""

from __future__ import annotations

from typing import Any

import numpy as np

from reptools.arrays import Array, array_namespace, asarray_like


def gini(amounts: Array, /) -> Array:
    """Gini index along the last axis; 0 where all share alike, up to 1 - 1/n where one has all.

    Parameters
    ----------
    amounts : array (..., n)
        Amounts of at least 0. Where they are all 0 nothing is spread, and the index is NaN.

    Examples
    --------
    >>> gini(np.array([[1.0, 1.0, 1.0, 1.0], [0.0, 0.0, 0.0, 2.0]])).tolist()
    [0.0, 0.75]

    References
    ----------
    Hurley and Rickard (2009), Comparing measures of sparsity, IEEE Trans. Information Theory 55:
    1 - 2 sum_k c_(k) (n - k + 1/2) / (n sum c), with c_(1) <= ... <= c_(n).
    """
    xp = array_namespace(amounts)
    n = amounts.shape[-1]
    weights: Any = asarray_like((n - np.arange(1, n + 1) + 0.5) / max(n, 1), amounts)
    whole = xp.sum(amounts, axis=-1)
    nothing = whole == 0
    ordered = xp.sum(xp.sort(amounts, axis=-1) * weights, axis=-1)
    index = 1 - 2 * ordered / xp.where(nothing, xp.ones_like(whole), whole)
    return xp.where(nothing, xp.full_like(index, float("nan")), index)
