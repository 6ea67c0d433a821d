"""Centring, and inner products of centred Grams (stimulus x stimulus) in their cheapest form.

With K = XX' and L = YY' of centred X and Y, <K, L> = |X'Y|^2. The unbiased estimator replaces K
by its U-centred form K~, which ignores the diagonal; it is a projection, so <K~, L~> = <K~, L>.
"""

from __future__ import annotations

from reptools.arrays import Array, array_namespace, device, float64


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


def product_of_features(x: Array, y: Array, /, *, debiased: bool) -> float:
    """<K, L> or <K~, L~> of centred ``x`` and ``y`` without a stimulus x stimulus matrix.

    References
    ----------
    Song et al. (2007), Supervised feature selection via dependence estimation, eq. 5, times
    n(n-3), with the sums over the diagonal written out by the squared row norms d:
    |X'Y|^2 - d_x.d_y + (sum d_x)(sum d_y)/((n-1)(n-2)) - 2 d_x.d_y/(n-2).
    """
    xp = array_namespace(x, y)
    plain = float(xp.sum((x.T @ y) ** 2))
    if not debiased:
        return plain
    n = x.shape[0]
    dx, dy = xp.sum(x**2, axis=1), xp.sum(y**2, axis=1)
    both, sums = float(xp.sum(dx * dy)), float(xp.sum(dx)) * float(xp.sum(dy))
    return float(plain - both + sums / ((n - 1) * (n - 2)) - 2 * both / (n - 2))


def product_of_grams(k: Array, second: Array, /) -> float:
    """<K, L> of two centred Grams; both U-centred for the unbiased one."""
    xp = array_namespace(k, second)
    return float(xp.sum(k * second))


def product_mixed(k: Array, y: Array, /) -> float:
    """<K, YY'> of a centred (or U-centred) Gram and centred ``y``, without forming YY'."""
    xp = array_namespace(k, y)
    return float(xp.sum((k @ y) * y))
