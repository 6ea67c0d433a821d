"""``prepare=``: what is done to activations before any metric sees them; never silent.

Each step is a pure function of one array (stimulus, unit), or of its blocks. The statistics are
taken over all aligned stimuli, test stimuli included, and from no label.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from reptools.arrays import Array, array_namespace, divisor, float64, matmul
from reptools.errors import DataError, ParameterError
from reptools.statistics.blocks import Blocks, Rows
from reptools.statistics.gram import centred
from reptools.statistics.moments import moments
from reptools.statistics.shapes.spectrum import leading, leading_axes

Steps = tuple[str, ...]


def zscore(x: Rows, /) -> Rows:
    """Each unit to mean 0 and standard deviation 1; a unit without variance becomes 0."""
    if isinstance(x, Blocks):
        m = moments({"x": x}, squares=["x"])
        mean, sd = m.means["x"], array_namespace(m.means["x"]).sqrt(m.squares["x"] / m.n)
        return x.map(lambda block: (float64(block) - mean) / divisor(sd), sd.dtype)
    centre = centred(x)
    xp = array_namespace(centre)
    return centre / divisor(xp.sqrt(xp.mean(centre**2, axis=0)))


def unit_norm(x: Rows, /) -> Rows:
    """Each stimulus pattern to Euclidean norm 1; an all-zero pattern stays 0."""
    if isinstance(x, Blocks):
        return x.map(unit_norm, array_namespace(x.read(slice(0, 1))).float64)
    xp = array_namespace(x)
    wide = float64(x)
    return wide / divisor(xp.sqrt(xp.sum(wide**2, axis=-1, keepdims=True)))


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


_PLAIN: dict[str, Callable[[Rows], Rows]] = {"zscore": zscore, "unit_norm": unit_norm}


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
        for step in steps:
            x = _PLAIN[step](x) if step in _PLAIN else drop_top(x, int(step.partition(":")[2]))
        return x
    shape = x.shape  # the statistics of all repetitions together
    together: Array = apply(x.reshape((-1, shape[-1])), steps)
    return together.reshape(shape)
