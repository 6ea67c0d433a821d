"""How much of a representation's variance each feature explains, and how it is spread over units.

The direction is from feature to representation: how much of the space is spent on the feature.
Whether the feature can be read out is another question, which ``probe`` answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import xarray as xr

from reptools.arrays import Array, array_namespace, asarray_like, float64
from reptools.errors import FeatureError, ParameterError, some, warn
from reptools.record import Context, Score
from reptools.registry import metric
from reptools.statistics.concentration import gini
from reptools.statistics.design import Feature
from reptools.statistics.folds import Folds
from reptools.statistics.projection import Explained, explain, explained_by_stimulus, moments

INFINITY = float("inf")
NEGLIGIBLE = 1e-24  # squared norm, relative to the mean, that is rounding and not a pattern


def _over_final_total(result: xr.DataArray, /, *, denominator: str, **_: Any) -> xr.DataArray:
    """Divide by the total variance of the last step, so that all steps share one scale."""
    if denominator == "own":
        return result
    if "step" not in result.dims:
        raise ParameterError(
            f"denominator='final' needs a dimension 'step', got {result.dims or 'none'}. Pass "
            "activations of several steps, or denominator='own'."
        )
    last = result.coords["total"].isel(step=int(result["step"].values.argmax()), drop=True)
    scaled = result.copy(data=(result.coords["explained"] / last).values)
    scaled.attrs["estimator"] += ", over the total of the last step"
    return scaled


@metric(
    kind="feature",
    cv="split",
    bounds=(-INFINITY, 1.0),
    invariances=("shift", "scale", "rotation"),
    backends=("numpy", "torch"),
    finish=_over_final_total,
)
def variance_explained(
    x: Array,
    features: Sequence[Feature],
    /,
    *,
    context: Context,
    estimator: Literal["pooled", "per_stimulus", "per_unit"] = "pooled",
    denominator: Literal["own", "final"] = "own",
) -> Score:
    """Share of the representation's variance that each feature explains, held out.

    For each feature on its own, a linear map from the feature to all units is fitted on one part
    of the stimuli and scored on the other. The feature enters as design columns: a class feature
    one-hot with one level dropped, a continuous one as its components.

    Activations are centred by the mean of the **fit** rows, on both sides of the split. So nothing
    of the test stimuli enters the fit, a feature that says nothing scores 0 or a little less (the
    price of fitting noise), and a perfect one scores 1.

    Parameters
    ----------
    x : DataArray, DataTree node, numpy or torch array
        Activations ([outer,] stimulus, unit); outer dimensions such as step or token are kept.
    features : Dataset, DataTree node, DataArray, mapping or array
        Features over ``stimulus``, lined up with ``x`` by label. One DataArray or array gives a
        result without the dimension ``feature``.
    estimator : {"pooled", "per_stimulus", "per_unit"}
        The three take different values on trained networks; the result names the one used.

        - ``pooled`` (default): ratio of sums over stimuli, units and folds. It is additive and
          is the share of variance that PCA and CKA see.
        - ``per_stimulus``: mean over test stimuli of one minus the ratio of squared norms. A
          stimulus whose centred pattern is zero has no ratio; it is left out and counted.
        - ``per_unit``: mean over units of each unit's R2, so that every unit weighs the same.
          Units without variance are left out.
    denominator : {"own", "final"}
        What ``pooled`` divides by: the total variance at the same step (default), or that of the
        last step, so that the steps of a time course share one scale. A value over the final
        total can exceed 1 where the total shrank later.
    cv : int, "split", splitter or None
        "split" (default): fit on the file's validation stimuli, test on its test stimuli; where
        there is no split coordinate, two halves by label, fitted both ways and pooled. An int is
        a number of folds; None scores in sample, which is optimistic.
    groups : str or array, optional
        Stimulus coordinate whose values must not be divided between folds.
    seed : int
        Enters the assignment of stimuli to folds, together with their labels.
    prepare : str, optional
        "zscore", "unit_norm", "drop_top:K" or several, applied to ``x`` first.

    Returns
    -------
    DataArray
        Share of variance over ``feature`` and the outer dimensions of ``x``. Coordinates
        ``explained`` and ``total`` are mean squared norms per test stimulus, in squared units of
        ``x``; ``per_stimulus`` adds ``n_zero_patterns``, the stimuli left out. A feature that some
        fold cannot fit, such as a class that its fit rows lack, is missing (NaN) and named in a
        warning.

    Raises
    ------
    FeatureError
        No feature varies, or none can be fitted on the fit rows.
    ParameterError
        An option is not allowed, ``denominator="final"`` is asked of another estimator than
        ``pooled`` or of a result without steps, or the folds cannot be made.
    StimulusError
        ``x`` and a feature were not shown the same stimuli, or only one of them has labels.

    References
    ----------
    Lampinen, Chan and Hermann (2024), Learned feature representations are biased by complexity,
    learning order, position, and more, TMLR, arXiv 2405.05847. With W_f fitted on V,
    R2_f = E_T[1 - |W_f f - phi|^2 / |phi|^2] is ``per_stimulus`` as written; ``pooled`` is
    1 - E_T|W_f f - phi|^2 / E_T|phi|^2.

    Examples
    --------
    >>> import numpy as np
    >>> import reptools as rt
    >>> rng = np.random.default_rng(0)
    >>> easy, hard = rng.integers(0, 2, (2, 400))
    >>> x = np.outer(easy, np.ones(8)) * 2 + np.outer(hard, [0, 1] * 4) + rng.normal(size=(400, 8))
    >>> result = rt.variance_explained(x, {"easy": easy, "hard": hard}, cv=5)
    >>> result.sel(feature="easy").item() > 5 * result.sel(feature="hard").item() > 0
    True
    """
    if denominator == "final" and estimator != "pooled":
        raise ParameterError(
            f"denominator='final' is defined for estimator='pooled', got {estimator!r}. "
            "Pass one of the two."
        )
    folds = context.folds()
    parts = explain(x, features, folds)
    xp = array_namespace(x)
    explained, total = xp.sum(parts.explained, axis=1), xp.sum(parts.total)
    extras = {
        "explained": _estimable("variance_explained", features, parts, explained / parts.n_test),
        "total": total / parts.n_test + xp.zeros_like(explained),
    }
    if estimator == "pooled":
        value = _ratio(explained, total)
    elif estimator == "per_unit":
        value = _mean_over_live(_ratio(parts.explained, parts.total), parts.total)
    else:
        value, zero = _per_stimulus(x, parts, folds)
        extras["n_zero_patterns"] = zero + xp.zeros_like(explained)
    return Score(xp.where(xp.isnan(extras["explained"]), xp.nan, value), extras)


@metric(
    kind="feature",
    cv="split",
    bounds=(-INFINITY, 1.0),
    invariances=("shift", "scale"),
    backends=("numpy", "torch"),
    dims=("unit",),
    estimator="R2 of each unit, pooled over folds",
)
def unit_variance_explained(x: Array, features: Sequence[Feature], /, *, context: Context) -> Array:
    """Share of each unit's variance that each feature explains, held out.

    The same fits as ``variance_explained``, kept apart by unit: one minus the residual over the
    total sum of squares of the unit, both summed over the test stimuli of all folds, about the
    mean of the fit rows.

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
        Dimensions ([outer,] feature, unit). A unit without variance is missing (NaN), and so is a
        feature that some fold cannot fit.

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
    Lampinen, Chan and Hermann (2024), TMLR, arXiv 2405.05847.

    Examples
    --------
    >>> import numpy as np
    >>> import reptools as rt
    >>> rng = np.random.default_rng(0)
    >>> bit = rng.integers(0, 2, 200)
    >>> x = np.stack([bit, bit + rng.normal(size=200), rng.normal(size=200)], axis=1)
    >>> rt.unit_variance_explained(x, bit, cv=5).round(1).values
    array([ 1. ,  0.2, -0. ])
    """
    parts = explain(x, features, context.folds())
    by_unit = _ratio(parts.explained, parts.total)
    return _estimable("unit_variance_explained", features, parts, by_unit)


@metric(
    kind="feature",
    cv="split",
    better="neither",
    bounds=(0.0, 1.0),
    invariances=("shift", "scale"),
    backends=("numpy", "torch"),
    estimator="Gini index of held-out unit R2",
)
def sparseness(x: Array, features: Sequence[Feature], /, *, context: Context) -> Score:
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
    xp = array_namespace(x)
    parts = explain(x, features, context.folds())
    by_unit = _ratio(parts.explained, parts.total)
    by_unit = _estimable("sparseness", features, parts, by_unit)
    live = xp.nonzero(parts.total > 0)[0]
    carried = xp.take(xp.where(by_unit > 0, by_unit, xp.zeros_like(by_unit)), live, axis=1)
    n = carried.shape[1]
    together = xp.sum(carried, axis=1)
    effective = _ratio(together**2, xp.sum(carried**2, axis=1))
    return Score(
        gini(carried), {"effective_units": effective, "treves_rolls": effective / max(n, 1)}
    )


@metric(
    kind="single",
    better="neither",
    bounds=(0.0, INFINITY),
    invariances=("shift", "rotation"),
    backends=("numpy", "torch"),
    estimator="mean over all stimuli",
)
def total_variance(x: Array, /) -> Array:
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
        A value is NaN or infinite.

    Examples
    --------
    >>> import numpy as np
    >>> import reptools as rt
    >>> float(rt.total_variance(np.array([[1.0, 0.0], [3.0, 4.0]])))
    5.0
    """
    n = x.shape[0]
    sums = moments(x, np.ones((n, 1)), np.arange(n), float64(x[0, :]))
    return array_namespace(x).sum(sums.xx - sums.dx[0, :] ** 2 / n) / n


def _ratio(part: Array, whole: Array) -> Array:
    """``part / whole``, missing where the whole is 0."""
    xp = array_namespace(part)
    some_left = whole > 0
    return xp.where(some_left, part / xp.where(some_left, whole, xp.ones_like(whole)), xp.nan)


def _mean_over_live(by_unit: Array, total: Array) -> Array:
    """Mean over the units that have variance."""
    xp = array_namespace(by_unit)
    live = total > 0
    summed = xp.sum(xp.where(live, by_unit, xp.zeros_like(by_unit)), axis=1)
    return _ratio(summed, xp.sum(xp.astype(live, xp.float64)))


def _per_stimulus(x: Array, parts: Explained, folds: Folds) -> tuple[Array, Array]:
    """Mean over test stimuli of the explained share of each, and how many have no share."""
    xp = array_namespace(x)
    floor = NEGLIGIBLE * xp.sum(parts.total) / parts.n_test
    summed, counted = 0.0, 0.0
    for explained, norm in explained_by_stimulus(x, parts, folds):
        live = norm > floor
        share = explained / xp.where(live, norm, xp.ones_like(norm))[:, None]
        summed = summed + xp.sum(xp.where(live[:, None], share, xp.zeros_like(share)), axis=0)
        counted = counted + xp.sum(xp.astype(live, xp.float64))
    return _ratio(summed, counted), parts.n_test - counted


def _estimable(
    function: str, features: Sequence[Feature], parts: Explained, values: Array
) -> Array:
    """``values`` (feature, ...) with those missing that a fold could not fit; these are named."""
    lost = [f.name for f, good in zip(features, parts.estimable, strict=True) if not good]
    if not lost:
        return values
    fact = f"the fit rows of a fold lack a class of, or do not vary along, {some(lost)}"
    if len(lost) == len(features):
        raise FeatureError(f"{fact}. Use fewer folds, or stimuli with all classes on both sides.")
    warn(f"{function}: {fact}; score missing (NaN)")
    xp = array_namespace(values)
    good = asarray_like(parts.estimable, values)
    return xp.where(good[:, None] if values.ndim > 1 else good, values, xp.nan)
