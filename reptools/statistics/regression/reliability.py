"""How much of a unit's mean response over repetitions belongs to the stimuli."""

from __future__ import annotations

from reptools.arrays import Array, array_namespace, divisor, float64


def reliabilities(x: Array) -> tuple[Array, Array]:
    """Mean correlation of a unit's repetitions (unit,), and Spearman-Brown's value for all.

    With z the repetitions at norm 1 and s their sum, |s|^2 = R + R (R - 1) c. NaN for a unit
    that does not vary in a repetition; the second value means nothing where the first is not
    positive.
    """
    xp = array_namespace(x)
    n = x.shape[0]
    z = float64(x)
    z = z - z[:, :1, :]  # a constant unit becomes exactly 0
    z = z - xp.mean(z, axis=1, keepdims=True)
    largest = xp.max(xp.abs(z), axis=1, keepdims=True)
    varies = xp.all(largest > 0, axis=0)[0, :]
    z = z / divisor(largest)  # squares could overflow
    norm = xp.sqrt(xp.sum(z * z, axis=1, keepdims=True))
    z = z / divisor(norm)
    square = xp.sum(xp.sum(z, axis=0) ** 2, axis=0)
    correlation = (square - n) / (n * (n - 1))
    ok = varies & (correlation > 0)
    whole = n * n * correlation / xp.where(ok, square, xp.ones_like(square))
    missing = xp.nan * xp.ones_like(square)
    return xp.where(varies, correlation, missing), xp.where(varies, whole, missing)
