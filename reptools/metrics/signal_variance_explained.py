"""Variance explained by features where stimuli were repeated and every recording is noisy."""

from __future__ import annotations

from collections.abc import Sequence

import xarray as xr

from reptools.arrays import Array, array_namespace, float64, ratio
from reptools.engine.common import CV, Groups, Prepare, Seed
from reptools.engine.context import Context
from reptools.engine.declaring import metric
from reptools.engine.inputs import Features, Repeated
from reptools.engine.operation import Score, Wiring
from reptools.errors import warn
from reptools.metrics.shared.variance import estimable, folds_for
from reptools.statistics.features.design import Feature
from reptools.statistics.features.projection import explain

INFINITY = float("inf")


def repeatable_shares(x: Array, features: Sequence[Feature], /, *, context: Context) -> Score:
    """Share of each feature, from products of activations (repetition, stimulus, unit)."""
    xp = array_namespace(x)
    n = x.shape[0]
    folds = folds_for(context, features)
    averaged = explain(xp.mean(float64(x), axis=0), features, folds)
    single = [explain(x[i, ...], features, folds) for i in range(n)]
    alone = sum(xp.sum(parts.explained, axis=1) for parts in single) / n
    power = sum(xp.sum(parts.total) for parts in single) / n
    explained = (n * xp.sum(averaged.explained, axis=1) - alone) / (n - 1)
    total = (n * xp.sum(averaged.total) - power) / (n - 1)
    name = "signal_variance_explained"
    if not bool(total > 0):
        warn(f"{name}: the repetitions have no variance in common; score missing (NaN)")
    value = estimable(name, features, averaged, ratio(explained, total))
    nothing = xp.zeros_like(value)
    return Score(
        value,
        {
            "explained": xp.where(xp.isnan(value), value, explained / averaged.n_test),
            "total": total / averaged.n_test + nothing,
            "reliability": ratio(total, power) + nothing,
        },
    )


@metric(
    bounds=(-INFINITY, INFINITY),
    invariances=("shift", "scale", "rotation"),
    estimator="pooled, products across repetitions",
)
def signal_variance_explained(
    x: Repeated,
    features: Features,
    /,
    *,
    cv: CV = "split",
    groups: Groups = None,
    seed: Seed = 0,
    prepare: Prepare = None,
) -> Wiring[xr.DataArray]:
    """Share of the repeatable variance that each feature explains, across repetitions.

    Measurement noise adds to the total variance of a recording and shrinks every feature's share.
    Here every product of two activations is taken between two different repetitions of the same
    stimuli, whose noise is independent: numerator and denominator then are unbiased estimates of
    what a recording without noise would give. The rest is ``variance_explained``, pooled.

    Parameters
    ----------
    x : DataArray, DataTree node
        Activations ([outer,] repetition, stimulus, unit) with two repetitions or more.

    Returns
    -------
    DataArray
        Share of repeatable variance over ``feature`` and the outer dimensions of ``x``. It can
        exceed 1 or fall below 0 where little is repeatable; nothing is clipped. Where the
        repetitions have no variance in common, the score is missing (NaN) and a warning says so.
        Coordinates ``explained`` and ``total`` are mean squared norms of the repeatable part per
        test stimulus; ``reliability`` is ``total`` over the variance of one repetition.

    Raises
    ------
    DimensionError
        ``x`` has no dimension ``repetition``, or one repetition only.
    FeatureError
        No feature varies, or none can be fitted on the fit rows.
    ParameterError
        An option is not allowed, or the folds cannot be made.
    StimulusError
        ``x`` and a feature were not shown the same stimuli, or only one of them has labels.

    References
    ----------
    Sahani and Linden (2003), How linear are auditory cortical responses?, NeurIPS 15: signal
    power from the power of the mean and the mean power, (R P(mean) - mean P) / (R - 1), here for
    explained and total sums of squares alike.

    Examples
    --------
    >>> import numpy as np
    >>> import reptools as rt
    >>> import xarray as xr
    >>> rng = np.random.default_rng(0)
    >>> bit = rng.integers(0, 2, 400)
    >>> trials = 2 * np.outer(bit, np.ones(30)) + 3 * rng.normal(size=(4, 400, 30))
    >>> x = xr.DataArray(trials, dims=("repetition", "stimulus", "unit"))
    >>> round(float(rt.signal_variance_explained(x, bit)), 1)
    1.0
    >>> round(float(rt.variance_explained(x, bit)[0]), 1)
    0.1
    """
    return Wiring(
        repeatable_shares,
        dims=("feature",),
        extras={
            "explained": ("feature",),
            "total": ("feature",),
            "reliability": ("feature",),
        },
    )
