"""Variance explained, unit by unit."""

from __future__ import annotations

from collections.abc import Sequence

import xarray as xr

from reptools.arrays import Array, ratio
from reptools.engine.common import CV, Groups, Prepare, Seed
from reptools.engine.context import Context
from reptools.engine.declaring import metric
from reptools.engine.inputs import Activations, Features
from reptools.engine.operation import Wiring
from reptools.metrics.shared.variance import estimable, folds_for, name_unseen
from reptools.statistics.blocks import Rows
from reptools.statistics.features.design import Feature
from reptools.statistics.features.projection import explain


def shares(x: Rows, features: Sequence[Feature], /, *, context: Context) -> Array:
    """R2 (feature, unit), pooled over folds."""
    parts = explain(x, features, folds_for(context, features))
    name_unseen("unit_variance_explained", x, parts, "score missing (NaN)")
    by_unit = ratio(parts.explained, parts.total)
    return estimable("unit_variance_explained", features, parts, by_unit)


@metric(
    bounds=(float("-inf"), 1.0),
    invariances=("shift", "scale"),
    backends=("numpy", "torch", "dask"),
    estimator="R2 of each unit, pooled over folds",
)
def unit_variance_explained(
    x: Activations,
    features: Features,
    /,
    *,
    cv: CV = "split",
    groups: Groups = None,
    seed: Seed = 0,
    prepare: Prepare = None,
) -> Wiring[xr.DataArray]:
    """Share of each unit's variance that each feature explains, held out.

    The same fits as ``variance_explained``, kept apart by unit: one minus the residual over the
    total sum of squares of the unit, both summed over the test stimuli of all folds, about the
    mean of the fit rows.

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
    return Wiring(shares, dims=("feature", "unit"))
