"""How unevenly a feature, a unit's responses or a pattern is spread."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from reptools.arrays import Array, array_namespace, float64, ratio, to_host
from reptools.engine.operation import Context, Score
from reptools.engine.registry import metric
from reptools.errors import DataError, some, warn
from reptools.metrics.variance import INFINITY, estimable, folds_for, name_unseen
from reptools.statistics.blocks import Rows, as_blocks
from reptools.statistics.features.concentration import (
    TINY,
    gini,
    largest_by_unit,
    out_of_range,
    relative,
    sums_and_squares,
)
from reptools.statistics.features.design import Feature
from reptools.statistics.features.projection import explain
from reptools.statistics.moments import moments


@metric(
    kind="feature",
    cv="split",
    better="neither",
    bounds=(0.0, 1.0),
    invariances=("shift", "scale"),
    backends=("numpy", "torch", "dask"),
    estimator="Gini index of held-out unit R2",
)
def sparseness(x: Rows, features: Sequence[Feature], /, *, context: Context) -> Score:
    """Sparseness of each feature's code: Gini index of the variance explained in single units.

    0 where the feature explains the same share of every unit, 1 - 1/N where it explains one unit
    of N only. Units without variance are left out. A negative held-out R2 says that the unit
    carries nothing of the feature and counts as 0: the index is defined for magnitudes.

    Parameters
    ----------
    x : DataArray, DataTree node, numpy or torch array
        Activations ([outer,] stimulus, unit).
    features : Dataset, DataTree node, DataArray, mapping or array
        Features over ``stimulus``, lined up with ``x`` by label.
    cv : int, "split", splitter or None
        What is fitted and what is tested, as in ``variance_explained``; "split" by default.
    groups : str or array, optional
        Stimulus coordinate whose values must not be divided between folds.
    seed : int
        Enters the assignment of stimuli to folds, together with their labels.
    prepare : str, optional
        "zscore", "unit_norm", "drop_top:K" or several, applied to ``x`` first.

    Returns
    -------
    DataArray
        Gini index over ``feature`` and the outer dimensions; missing (NaN) where no unit carries
        the feature. Coordinates: ``effective_units``, (sum r)^2 / sum r^2 with r the units' R2,
        between 1 and N; ``treves_rolls``, the same divided by N, which is small for a sparse code.

    Raises
    ------
    FeatureError
        No feature varies, or none can be fitted on the fit rows.
    ParameterError
        An option is not allowed, or the folds cannot be made.
    StimulusError
        ``x`` and a feature were not shown the same stimuli, or only one of them has labels.

    References
    ----------
    Hurley and Rickard (2009), Comparing measures of sparsity, IEEE Transactions on Information
    Theory 55. With r sorted upwards, G = 1 - 2 sum_k (r_k / sum r) (N - k + 1/2) / N.
    Treves and Rolls (1991), Network 2: (sum r / N)^2 / (sum r^2 / N).

    Examples
    --------
    >>> import numpy as np
    >>> import reptools as rt
    >>> rng = np.random.default_rng(0)
    >>> a, b = rng.integers(0, 2, (2, 300))
    >>> x = rng.normal(size=(300, 10)) + 3 * a[:, None] + 3 * np.outer(b, [1] + 9 * [0])
    >>> index = rt.sparseness(x, {"everywhere": a, "in one unit": b}, cv=5)
    >>> index.round(1).values
    array([0.1, 0.9])
    """
    parts = explain(x, features, folds_for(context, features))
    xp = array_namespace(parts.total)
    name_unseen("sparseness", x, parts, "left out")
    by_unit = ratio(parts.explained, parts.total)
    by_unit = estimable("sparseness", features, parts, by_unit)
    live = xp.nonzero(parts.total > 0)[0]
    carried = xp.take(xp.where(by_unit > 0, by_unit, xp.zeros_like(by_unit)), live, axis=1)
    n = carried.shape[1]
    together = xp.sum(carried, axis=1)
    of_all = zip(features, parts.estimable, to_host(together).tolist(), strict=True)
    nobody = [feature.name for feature, known, whole in of_all if known and whole == 0]
    if nobody:
        warn(
            f"sparseness: no unit carries {some(nobody)}: the held-out R2 of all {n} units that "
            "vary is 0 or less; score missing (NaN)"
        )
    effective = ratio(together**2, xp.sum(carried**2, axis=1))
    return Score(
        gini(carried), {"effective_units": effective, "treves_rolls": effective / max(n, 1)}
    )


@metric(
    kind="single",
    better="neither",
    bounds=(0.0, INFINITY),
    invariances=("shift", "rotation"),
    backends=("numpy", "torch", "dask"),
    estimator="mean over all stimuli",
)
def total_variance(x: Rows, /) -> float:
    """Total variance of a representation: mean squared norm of the centred patterns.

    The sum of all units' variances (divided by n, not n - 1) over all stimuli given. The
    coordinate ``total`` of ``variance_explained`` is its counterpart on held-out stimuli.

    Parameters
    ----------
    x : DataArray, DataTree node, numpy or torch array
        Activations ([outer,] stimulus, unit).
    prepare : str, optional
        "zscore", "unit_norm", "drop_top:K" or several, applied to ``x`` first.

    Returns
    -------
    DataArray
        Over the outer dimensions of ``x``, in squared units of ``x``.

    Raises
    ------
    DimensionError
        ``x`` lacks a dimension ``stimulus`` or ``unit``.
    DataError
        A value is NaN or infinite, or the variance is beyond the range of float64.

    Examples
    --------
    >>> import numpy as np
    >>> import reptools as rt
    >>> float(rt.total_variance(np.array([[1.0, 0.0], [3.0, 4.0]])))
    5.0
    """
    with np.errstate(over="ignore", invalid="ignore"):
        sums = moments({"x": x}, squares=("x",))
        variance = float(array_namespace(sums.squares["x"]).sum(sums.squares["x"])) / sums.n
    if not TINY <= variance < INFINITY:
        raise DataError(
            "its total variance is beyond the range of float64. Divide the activations by a "
            "constant near their size."
        )
    return variance


RATES = Literal["rectify", "refuse"]


@metric(
    kind="single",
    better="neither",
    bounds=(0.0, 1.0),
    invariances=("scale",),
    backends=("numpy", "torch", "dask"),
    dims=("unit",),
    estimator="1 less the Treves-Rolls ratio, over its largest value",
)
def lifetime_sparseness(x: Rows, /, *, negative: RATES = "rectify") -> Score:
    """How few stimuli each unit responds to: 0 where it answers all alike, 1 for a single one.

    The measure is defined for responses of at least 0, such as rates or the output of a ReLU: a
    response of 0 is no response. It is not invariant to shifts, and means nothing for centred or
    z-scored activations.

    Parameters
    ----------
    x : DataArray, DataTree node, numpy or torch array
        Activations ([outer,] stimulus, unit).
    negative : {"rectify", "refuse"}
        What a negative activation, a response below baseline, counts as: no response (default;
        the coordinate ``negative`` says how many there were), or an error.
    prepare : str, optional
        "zscore", "unit_norm", "drop_top:K" or several, applied to ``x`` first.

    Returns
    -------
    DataArray
        Over ``unit`` and the outer dimensions of ``x``; missing (NaN) for a unit that responds to
        nothing. Coordinates: ``treves_rolls``, the ratio (sum r / n)^2 / (sum r^2 / n), between
        1/n and 1, small for a sparse unit; ``negative``, the share of stimuli with a negative
        activation.

    Raises
    ------
    DataError
        An activation is negative and ``negative="refuse"``.
    StimulusError
        There is one stimulus only.

    References
    ----------
    Rolls and Tovee (1995), Sparseness of the neuronal representation of stimuli in the primate
    temporal visual cortex, Journal of Neurophysiology 73: a = (sum r / n)^2 / (sum r^2 / n).
    Vinje and Gallant (2000), Science 287: S = (1 - a) / (1 - 1/n).

    Examples
    --------
    >>> import numpy as np
    >>> import reptools as rt
    >>> x = np.array([[4.0, 1.0], [0.0, 1.0], [0.0, 1.0], [0.0, 2.0]])
    >>> rt.lifetime_sparseness(x).round(3).values
    array([1.   , 0.143])
    """
    blocks = as_blocks(x)
    sums, squares, below = 0.0, 0.0, 0.0
    for _, block in blocks:
        xp = array_namespace(block)
        response, under = _response(block, negative)
        more, more_squared = sums_and_squares(response, axis=0)
        sums, squares = sums + more, squares + more_squared
        below = below + xp.sum(xp.astype(under, xp.float64), axis=0)
    if out_of_range(sums, squares):
        largest = largest_by_unit(blocks)
        sums, squares = 0.0, 0.0
        for _, block in blocks:
            more, more_squared = sums_and_squares(
                relative(_response(block, negative)[0], largest), axis=0
            )
            sums, squares = sums + more, squares + more_squared
    return _sparseness("lifetime_sparseness", "units", sums, squares, below, blocks.n)


@metric(
    kind="single",
    better="neither",
    bounds=(0.0, 1.0),
    invariances=("scale", "pattern_scale"),
    backends=("numpy", "torch", "dask"),
    dims=("stimulus",),
    estimator="1 less the Treves-Rolls ratio, over its largest value",
)
def population_sparseness(x: Rows, /, *, negative: RATES = "rectify") -> Score:
    """How few units respond to each stimulus: 0 where all respond alike, 1 for a single one.

    As ``lifetime_sparseness``, over the units of a pattern instead of the stimuli of a unit. For
    responses of at least 0; it is not invariant to shifts of the activations.

    Parameters
    ----------
    x : DataArray, DataTree node, numpy or torch array
        Activations ([outer,] stimulus, unit).
    negative : {"rectify", "refuse"}
        What a negative activation, a response below baseline, counts as: no response (default;
        the coordinate ``negative`` says how many there were), or an error.
    prepare : str, optional
        "zscore", "unit_norm", "drop_top:K" or several, applied to ``x`` first.

    Returns
    -------
    DataArray
        Over ``stimulus`` and the outer dimensions of ``x``; missing (NaN) for a stimulus that no
        unit responds to. Coordinates: ``treves_rolls``, the ratio (sum r / p)^2 / (sum r^2 / p);
        ``negative``, the share of units with a negative activation. Dead units count as units.

    Raises
    ------
    DataError
        There is one unit only, or an activation is negative and ``negative="refuse"``.

    References
    ----------
    Treves and Rolls (1991), What determines the capacity of autoassociative memories in the
    brain?, Network 2: a = (sum r / p)^2 / (sum r^2 / p).
    Vinje and Gallant (2000), Science 287: S = (1 - a) / (1 - 1/p).

    Examples
    --------
    >>> import numpy as np
    >>> import reptools as rt
    >>> x = np.array([[4.0, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 2.0]])
    >>> rt.population_sparseness(x).round(3).values
    array([1.   , 0.143])
    """
    blocks = as_blocks(x)
    if blocks.width < 2:
        raise DataError("x has one unit; sparseness over units needs two. Pass more.")
    parts = []
    for _, block in blocks:
        xp = array_namespace(block)
        response, under = _response(block, negative)
        sums, squares = sums_and_squares(response, axis=1)
        if out_of_range(sums, squares):
            largest = xp.max(response, axis=1, keepdims=True)
            sums, squares = sums_and_squares(relative(response, largest), axis=1)
        parts.append((sums, squares, xp.sum(xp.astype(under, xp.float64), axis=1)))
    xp = array_namespace(parts[0][0])
    sums, squares, below = (xp.concat(column) for column in zip(*parts, strict=True))
    return _sparseness("population_sparseness", "stimuli", sums, squares, below, blocks.width)


def _response(block: Array, negative: str) -> tuple[Array, Array]:
    """Responses in float64, with negative ones 0, and which were negative."""
    xp = array_namespace(block)
    under = block < 0
    if negative == "refuse" and bool(xp.any(under)):
        raise DataError(
            f"x has negative activations, down to {float(xp.min(block)):.3g}; sparseness is "
            "defined for responses of at least 0. Pass rates, or negative='rectify'."
        )
    wide = float64(block)
    return xp.where(under, xp.zeros_like(wide), wide), under


def _sparseness(name: str, whose: str, sums: Array, squares: Array, below: Array, n: int) -> Score:
    """From sums over the n stimuli (or units) of responses and their squares."""
    silent, negative = to_host(sums) == 0, to_host(below) > 0
    if (silent & negative).any():
        warn(
            f"{name}: {int(silent.sum())} of {silent.size} {whose} have no response above 0 "
            f"({int((silent & negative).sum())} of them negative ones, which count as none); "
            "score missing (NaN)"
        )
    treves_rolls = ratio(sums * sums / n, squares)
    value = (1 - treves_rolls) / (1 - 1 / n)
    return Score(value, {"treves_rolls": treves_rolls, "negative": below / n})
