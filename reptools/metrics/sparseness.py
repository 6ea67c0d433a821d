"""How unevenly a feature is spread over units."""

from __future__ import annotations

from collections.abc import Sequence

import xarray as xr

from reptools.arrays import array_namespace, ratio, to_host
from reptools.engine.common import CV, Groups, Prepare, Seed
from reptools.engine.context import Context
from reptools.engine.declaring import metric
from reptools.engine.inputs import Activations, Features
from reptools.engine.operation import Score, Wiring
from reptools.errors import some, warn
from reptools.metrics.shared.variance import estimable, folds_for, name_unseen
from reptools.statistics.blocks import Rows
from reptools.statistics.features.concentration import gini
from reptools.statistics.features.design import Feature
from reptools.statistics.features.projection import explain


def concentration(x: Rows, features: Sequence[Feature], /, *, context: Context) -> Score:
    """Gini index of each feature's held-out R2 over the units that vary."""
    parts = explain(x, features, folds_for(context, features))
    xp = array_namespace(parts.total)
    name_unseen("sparseness", x, parts, "left out")
    by_unit = ratio(parts.explained, parts.total)
    by_unit = estimable("sparseness", features, parts, by_unit)
    live = xp.nonzero(parts.total > 0)[0]
    carried = xp.take(xp.where(by_unit > 0, by_unit, xp.zeros_like(by_unit)), live, axis=1)
    n = carried.shape[1]
    together = xp.sum(carried, axis=1)
    _name_carried_by_nothing(features, parts.estimable & (to_host(together) == 0))
    effective = ratio(together**2, xp.sum(carried**2, axis=1))
    return Score(
        gini(carried), {"effective_units": effective, "treves_rolls": effective / max(n, 1)}
    )


def _name_carried_by_nothing(features: Sequence[Feature], nothing: Sequence[bool]) -> None:
    lost = [feature.name for feature, none in zip(features, nothing, strict=True) if none]
    if lost:
        warn(f"sparseness: no unit has a held-out R2 above 0 for {some(lost)}; score missing (NaN)")


@metric(
    better="neither",
    bounds=(0.0, 1.0),
    invariances=("shift", "scale"),
    backends=("numpy", "torch", "dask"),
    estimator="Gini index of held-out unit R2",
)
def sparseness(
    x: Activations,
    features: Features,
    /,
    *,
    cv: CV = "split",
    groups: Groups = None,
    seed: Seed = 0,
    prepare: Prepare = None,
) -> Wiring[xr.DataArray]:
    """Sparseness of each feature's code: Gini index of the variance explained in single units.

    0 where the feature explains the same share of every unit, 1 - 1/N where it explains one unit
    of N only. Units without variance are left out. A negative held-out R2 says that the unit
    carries nothing of the feature and counts as 0: the index is defined for magnitudes.

    Returns
    -------
    DataArray
        Gini index over ``feature`` and the outer dimensions; missing (NaN), with a warning, where
        no unit carries the feature. Coordinates: ``effective_units``, (sum r)^2 / sum r^2 with r
        the units' R2, between 1 and N; ``treves_rolls``, the same divided by N, which is small for
        a sparse code.

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
    return Wiring(
        concentration,
        dims=("feature",),
        extras={
            "effective_units": ("feature",),
            "treves_rolls": ("feature",),
        },
    )
