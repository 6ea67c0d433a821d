"""What each feature explains of a representation that no other one does."""

from __future__ import annotations

from collections.abc import Sequence

import xarray as xr

from reptools.engine.common import CV, Groups, Prepare, Seed
from reptools.engine.context import Context
from reptools.engine.declaring import metric
from reptools.engine.inputs import Activations, Features
from reptools.engine.operation import Score, Wiring
from reptools.metrics.shared.together import joint_shares, refuse_too_few
from reptools.statistics.blocks import Rows
from reptools.statistics.features.design import Feature

INFINITY = float("inf")


def unique_shares(x: Rows, features: Sequence[Feature], /, *, context: Context) -> Score:
    """What all features explain, less what all but one do."""
    refuse_too_few(features)
    n = len(features)
    everything = tuple(range(n))
    others = [tuple(j for j in everything if j != i) for i in everything]
    shares = joint_shares(x, features, context, [everything, *others, *((i,) for i in everything)])
    joint, without, alone = shares[0], shares[1 : n + 1], shares[n + 1 :]
    unique = joint - without
    return Score(unique, {"alone": alone, "shared": alone - unique, "joint": joint})


@metric(
    # held out, the others alone may predict worse than the mean, without bound: R2(all) - R2(all
    # but f) is then above R2(all), and above 1
    bounds=(-INFINITY, INFINITY),
    invariances=("shift", "scale", "rotation"),
    backends=("numpy", "torch", "dask"),
    estimator="pooled, joint less joint without the feature",
)
def unique_variance(
    x: Activations,
    features: Features,
    /,
    *,
    cv: CV = "split",
    groups: Groups = None,
    seed: Seed = 0,
    prepare: Prepare = None,
) -> Wiring[xr.DataArray]:
    """Share of variance that only this feature explains: all together less all others together.

    ``variance_explained`` scores each feature on its own, so correlated features share what they
    explain. Here all are fitted together, then all but one, on the same folds.

    Parameters
    ----------
    features : Dataset, DataTree node, mapping or table
        Two features or more over ``stimulus``, lined up with ``x`` by label. A class feature
        enters one-hot with one level dropped, a continuous one as its components; products of
        features come from :func:`reptools.interactions`.

    Returns
    -------
    DataArray
        Unique part over ``feature`` and the outer dimensions of ``x``. Coordinates: ``alone``,
        what the feature explains by itself (``variance_explained``); ``shared``, alone less
        unique, which is negative where the feature helps the others (suppression); ``joint``,
        what all features explain together. Held-out parts are differences of unbiased estimates:
        they may be negative, and above 1 where the others alone mislead; none is clipped.

    Raises
    ------
    FeatureError
        There are fewer than two features that vary, or the fit rows of a fold do not vary along
        all directions of the features together.
    ParameterError
        An option is not allowed, or the folds cannot be made.
    StimulusError
        ``x`` and a feature were not shown the same stimuli, or only one of them has labels.

    References
    ----------
    Newton and Spurrell (1967), A development of multiple regression for the analysis of routine
    data, Applied Statistics 16: U_f = R2(all) - R2(all but f).

    Examples
    --------
    >>> import numpy as np
    >>> import reptools as rt
    >>> rng = np.random.default_rng(0)
    >>> bit = rng.integers(0, 2, 400)
    >>> copy = np.where(rng.random(400) < 0.8, bit, 1 - bit)  # follows the bit 80 % of the time
    >>> x = np.outer(bit, np.ones(4)) + 0.1 * rng.normal(size=(400, 4))
    >>> unique = rt.unique_variance(x, {"bit": bit, "copy": copy}, cv=5)
    >>> unique.round(1).values, unique.alone.round(1).values
    (array([0.6, 0. ]), array([1. , 0.3]))
    """
    return Wiring(
        unique_shares,
        dims=("feature",),
        extras={
            "alone": ("feature",),
            "shared": ("feature",),
            "joint": (),
        },
    )
