"""``prepare=``: what is done to activations before any metric sees them; never silent.

Each step is a pure function of one array (stimulus, unit), or of its blocks. The statistics are
taken over all aligned stimuli, test stimuli included, and from no label.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from reptools.arrays import (
    Array,
    array_namespace,
    columns_of,
    divisor,
    float64,
    matmul,
    rows_of,
    to_host,
)
from reptools.errors import DataError, ParameterError
from reptools.statistics.blocks import Blocks, Rows
from reptools.statistics.gram import centred
from reptools.statistics.moments import moments
from reptools.statistics.shapes.spectrum import leading, leading_axes
from reptools.statistics.varying import rounding, varying

Steps = tuple[str, ...]

SMALLEST, LARGEST = 1e-280, 1e280  # sums of squares that keep all their digits


def zscore(x: Rows, tolerance: float | None = None, /) -> Rows:
    """Each unit to mean 0 and standard deviation 1; a unit without variance becomes 0.

    ``tolerance`` is the share of a unit's values that is rounding, by default that of their dtype.
    """
    if isinstance(x, Blocks):
        return _zscore_blocks(x, rounding(x.dtype) if tolerance is None else tolerance)
    rows, norm = _normed(centred(varying(x, tolerance).settled(x)), axis=0)
    return rows / (norm / rows.shape[0] ** 0.5)


def _zscore_blocks(x: Blocks, tolerance: float) -> Blocks:
    """The same from one pass of moments, for units whose squares float64 holds; others become 0."""
    m = moments({"x": x}, squares=["x"])
    xp, mean = array_namespace(m.means["x"]), m.means["x"]
    sd = xp.sqrt(m.squares["x"] / m.n)
    # beyond float64 the inverse is 0 as well
    inverse = xp.where(sd > tolerance * xp.abs(mean), 1 / divisor(sd), xp.zeros_like(sd))
    return x.map(lambda block: (float64(block) - mean) * inverse, sd.dtype)


def unit_norm(x: Rows, /) -> Rows:
    """Each stimulus pattern to Euclidean norm 1; an all-zero pattern stays 0."""
    if isinstance(x, Blocks):
        return x.map(unit_norm, array_namespace(x.read(slice(0, 1))).float64)
    x, norm = _normed(float64(x), axis=-1)
    return x / norm


def _normed(x: Array, axis: int) -> tuple[Array, Array]:
    """``x`` on a scale that float64 can square, and its norms along an axis, 1 where it is 0."""
    xp = array_namespace(x)
    with np.errstate(over="ignore", under="ignore"):  # looked at in the next lines
        squares = xp.sum(x**2, axis=axis, keepdims=True)
    out = to_host((squares < SMALLEST) | (squares > LARGEST))
    if out.any():
        chosen = np.flatnonzero(out)
        few = columns_of(x, chosen) if axis == 0 else rows_of(x, chosen)
        if bool(xp.any(few != 0)):  # others than dead units
            x = x / divisor(xp.max(xp.abs(x), axis=axis, keepdims=True))
            squares = xp.sum(x**2, axis=axis, keepdims=True)
    return x, xp.sqrt(divisor(squares))


def drop_top(x: Rows, k: int, /) -> Rows:
    """Remove the ``k`` leading principal components (rogue dimensions of residual streams)."""
    mean: Array = 0.0
    if isinstance(x, Blocks):
        m = moments({"x": x}, products=[("x", "x")])
        mean, axes = m.means["x"], leading(m["x", "x"], x.n, x.width, k + 1)[1]
    else:
        x = centred(x)
        axes = leading_axes(x, k + 1)[1]
    if axes.shape[1] <= k:  # what would be left is rounding
        raise DataError(
            f"prepare='drop_top:{k}' would leave nothing of the {axes.shape[1]} components that "
            "vary. Drop fewer, or leave it out."
        )
    top = axes[:, :k]

    def without(rows: Array) -> Array:
        wide = float64(rows) - mean
        return wide - matmul(wide, top, top.T)

    return x.map(without, top.dtype) if isinstance(x, Blocks) else without(x)


_PLAIN = ("zscore", "unit_norm")


def check(prepare: str | Sequence[str] | None) -> Steps:
    """The steps of ``prepare=`` as a tuple of names, each one known.

    >>> check("zscore"), check("zscore,drop_top:2"), check(None)
    (('zscore',), ('zscore', 'drop_top:2'), ())
    """
    if prepare is None or (isinstance(prepare, str) and prepare == "none"):
        return ()
    if isinstance(prepare, str):
        prepare = [step.strip() for step in prepare.split(",")]
    steps = list(prepare) if isinstance(prepare, Sequence) else [prepare]
    for step in steps:
        name, _, argument = step.partition(":") if isinstance(step, str) else ("", "", "")
        drop = name == "drop_top" and argument.isdecimal() and int(argument) > 0
        if not (drop or (name in _PLAIN and step == name)):
            raise ParameterError(
                f"prepare must be made of zscore, unit_norm and drop_top:K, got {step!r}. "
                "Join several by a comma."
            )
    return tuple(steps)


def apply(x: Rows, steps: Steps) -> Rows:
    """Run checked steps in order, on (stimulus, unit) or on (repetition, stimulus, unit)."""
    if isinstance(x, Blocks) or x.ndim == 2:
        tolerance = rounding(x.dtype)  # whatever float64 the steps hand on
        for step in steps:
            if step == "zscore":
                x = zscore(x, tolerance)
            elif step == "unit_norm":
                x = unit_norm(x)
            else:
                x = drop_top(x, int(step.partition(":")[2]))
        return x
    shape = x.shape  # the statistics of all repetitions together
    together: Array = apply(x.reshape((-1, shape[-1])), steps)
    return together.reshape(shape)
