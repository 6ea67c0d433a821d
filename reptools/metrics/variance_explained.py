"""How much of a representation's variance each feature explains, and how it is spread over units.

The direction is from feature to representation: how much of the space is spent on the feature.
Whether the feature can be read out is another question, which ``probe`` answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Literal, TypeAlias

import numpy as np
import xarray as xr

from reptools.arrays import Array, array_namespace, asarray_like, ratio
from reptools.engine.common import CV, Groups, Prepare, Seed
from reptools.engine.context import Context
from reptools.engine.declaring import metric
from reptools.engine.inputs import Activations, Features
from reptools.engine.operation import Score, Wiring
from reptools.errors import DataError, FeatureError, ParameterError, some
from reptools.metrics.shared.variance import estimable, folds_for, name_unseen
from reptools.statistics.blocks import Rows
from reptools.statistics.features.design import Feature
from reptools.statistics.features.projection import Explained, explain, explained_by_stimulus
from reptools.statistics.folds import Folds

Estimator: TypeAlias = Literal["pooled", "per_stimulus", "per_unit", "omega_squared"]
INFINITY = float("inf")
NEGLIGIBLE = 1e-24  # squared norm, relative to the mean, that is rounding and not a pattern


def _over_final_total(result: xr.DataArray, inputs: object, /) -> xr.DataArray:
    """Divide by the total variance of the last step, so that all steps share one scale."""
    if "step" not in result.dims:
        raise ParameterError(
            f"denominator='final' needs a dimension 'step', got {result.dims or 'none'}. Pass "
            "activations of several steps, or denominator='own'."
        )
    total, at = result.coords["total"], int(result["step"].values.argmax())
    last = total.isel(step=at, drop=True)
    lost = (last.isnull() & total.notnull().any("step")).values
    if lost.any():
        where = f"step {result['step'].values[at].item()}"
        beside = [dim for dim in last.dims if dim != "feature"]
        where += f" and {int(lost.sum())} positions of {some(beside)}" if beside else ""
        raise DataError(
            f"denominator='final' divides by the total of the last step, and no unit varies at "
            f"{where}. Leave that step out, or pass denominator='own'."
        )
    scaled = result.copy(data=(result.coords["explained"] / last).values)
    scaled.attrs["estimator"] += ", over the total of the last step"
    return scaled


def shares(
    x: Rows, features: Sequence[Feature], /, *, context: Context, estimator: Estimator
) -> Score:
    """Share of every feature, by one of the estimators."""
    folds = folds_for(context, features)
    parts = explain(x, features, folds)
    if estimator == "omega_squared":
        return _omega_squared(features, parts)
    xp = array_namespace(parts.total)
    explained, total = xp.sum(parts.explained, axis=1), xp.sum(parts.total)
    extras = {
        "explained": estimable("variance_explained", features, parts, explained / parts.n_test),
        "total": total / parts.n_test + xp.zeros_like(explained),
    }
    if estimator == "pooled":
        value = ratio(explained, total)
    elif estimator == "per_unit":
        name_unseen("variance_explained", x, parts, "left out")
        value = _mean_over_live(ratio(parts.explained, parts.total), parts.total)
    else:
        value, zero = _per_stimulus(x, parts, folds)
        extras["n_zero_patterns"] = zero + xp.zeros_like(explained)
    return Score(xp.where(xp.isnan(extras["explained"]), xp.nan, value), extras)


def _omega_squared(features: Sequence[Feature], parts: Explained) -> Score:
    """Explained less what noise explains, over total plus error variance, summed over units."""
    xp = array_namespace(parts.total)
    n, width = parts.n_test, parts.projected.designs.widths
    short = [f.name for f, d in zip(features, width.tolist(), strict=True) if n - 1 - d < 1]
    if short:
        raise FeatureError(
            f"{some(short)} leave no error variance: {n} stimuli, {int(width.max())} design "
            "columns. Pass more stimuli, or estimator='pooled' with cv=5."
        )
    freedom = asarray_like(width.astype(np.float64), parts.total)
    explained, total = xp.sum(parts.explained, axis=1), xp.sum(parts.total)
    error = (total - explained) / (n - 1 - freedom)
    corrected, whole = explained - freedom * error, total + error
    extras = {
        "explained": estimable("variance_explained", features, parts, corrected / n),
        "total": whole / n,
    }
    return Score(xp.where(xp.isnan(extras["explained"]), xp.nan, ratio(corrected, whole)), extras)


def _mean_over_live(by_unit: Array, total: Array) -> Array:
    """Mean over the units that have variance."""
    xp = array_namespace(by_unit)
    live = total > 0
    summed = xp.sum(xp.where(live, by_unit, xp.zeros_like(by_unit)), axis=1)
    return ratio(summed, xp.sum(xp.astype(live, xp.float64)))


def _per_stimulus(x: Rows, parts: Explained, folds: Folds) -> tuple[Array, Array]:
    """Mean over test stimuli of the explained share of each, and how many have no share."""
    xp = array_namespace(parts.total)
    floor = NEGLIGIBLE * xp.sum(parts.total) / parts.n_test
    summed, counted = 0.0, 0.0
    for explained, norm in explained_by_stimulus(x, parts, folds):
        live = norm > floor
        share = explained / xp.where(live, norm, xp.ones_like(norm))[:, None]
        summed = summed + xp.sum(xp.where(live[:, None], share, xp.zeros_like(share)), axis=0)
        counted = counted + xp.sum(xp.astype(live, xp.float64))
    return ratio(summed, counted), parts.n_test - counted


@metric(
    bounds=(-INFINITY, 1.0),
    invariances=("shift", "scale", "rotation"),
    backends=("numpy", "torch", "dask"),
)
def variance_explained(
    x: Activations,
    features: Features,
    /,
    *,
    estimator: Estimator = "pooled",
    denominator: Literal["own", "final"] = "own",
    cv: CV = "split",
    groups: Groups = None,
    seed: Seed = 0,
    prepare: Prepare = None,
) -> Wiring[xr.DataArray]:
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
        ``repetition`` is one of them: each repetition is scored by itself, noise included
        (``signal_variance_explained`` combines them).
    estimator : {"pooled", "per_stimulus", "per_unit", "omega_squared"}
        They take different values on trained networks; the result names the one used.

        - ``pooled`` (default): ratio of sums over stimuli, units and folds. It is additive and
          is the share of variance that PCA and CKA see.
        - ``per_stimulus``: mean over test stimuli of one minus the ratio of squared norms. A
          stimulus whose centred pattern is zero has no ratio; it is left out and counted.
        - ``per_unit``: mean over units of each unit's R2, so that every unit weighs the same.
          Units without variance are left out.
        - ``omega_squared``: in sample, less what noise explains by chance; ``pooled`` without a
          split, for few stimuli. It is asked for with ``cv=None``, since nothing is held out.
    denominator : {"own", "final"}
        What ``pooled`` and ``omega_squared`` divide by: the total variance at the same step
        (default), or that of the last step, so that the steps of a time course share one scale.
        A value over the final total can exceed 1 where the total shrank later.
    cv : int, "split", splitter or None
        "split" (default): fit on the file's validation stimuli, test on its test stimuli; where
        there is no split coordinate, two halves by label, fitted both ways and pooled. An int is
        a number of folds; None scores in sample, which is optimistic. All features have the same
        folds, whichever are asked for together, so none is stratified by a feature's classes; a
        scikit-learn splitter that stratifies is given the combinations of all classes.

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
        An option is not allowed, ``denominator="final"`` is asked of ``per_stimulus`` or
        ``per_unit`` or of a result without steps, ``omega_squared`` of held-out stimuli, or the
        folds cannot be made.
    DataError
        ``denominator="final"`` and no unit varies at the last step.
    StimulusError
        ``x`` and a feature were not shown the same stimuli, or only one of them has labels.

    References
    ----------
    Lampinen, Chan and Hermann (2024), Learned feature representations are biased by complexity,
    learning order, position, and more, TMLR, arXiv 2405.05847. With W_f fitted on V,
    R2_f = E_T[1 - |W_f f - phi|^2 / |phi|^2] is ``per_stimulus`` as written; ``pooled`` is
    1 - E_T|W_f f - phi|^2 / E_T|phi|^2.
    Olejnik and Algina (2003), Generalized eta and omega squared statistics, Psychological Methods
    8: omega^2 = (SS_f - df_f MS_error) / (SS_total + MS_error), each summed over units.

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
    if denominator == "final" and estimator not in ("pooled", "omega_squared"):
        raise ParameterError(
            f"denominator='final' is defined for estimator='pooled' and 'omega_squared', got "
            f"{estimator!r}. Pass one of the two, or denominator='own'."
        )
    if estimator == "omega_squared" and cv is not None:
        raise ParameterError(
            f"estimator='omega_squared' is in sample and corrects for it, got "
            f"cv={cv!r}. Pass cv=None with it, or another estimator."
        )
    extras = {"explained": ("feature",), "total": ("feature",)}
    if estimator == "per_stimulus":
        extras["n_zero_patterns"] = ("feature",)
    return Wiring(
        partial(shares, estimator=estimator),
        dims=("feature",),
        extras=extras,
        finish=_over_final_total if denominator == "final" else None,
    )
