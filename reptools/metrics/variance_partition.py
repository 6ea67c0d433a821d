"""What several features explain of a representation together: unique and common parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import xarray as xr

from reptools.engine.common import CV, Groups, Prepare, Seed
from reptools.engine.context import Context
from reptools.engine.declaring import metric
from reptools.engine.inputs import Activations, Features
from reptools.engine.operation import Score, Wiring
from reptools.errors import FeatureError
from reptools.metrics.shared.together import joint_shares, refuse_too_few
from reptools.statistics.blocks import Rows
from reptools.statistics.features.commonality import parts_of, subsets
from reptools.statistics.features.design import Feature

INFINITY = float("inf")
MOST_FEATURES = 8  # 255 parts, more than anyone reads


def parts(x: Rows, features: Sequence[Feature], /, *, context: Context) -> Score:
    """Parts of the features that vary here."""
    refuse_too_few(features)
    shares = joint_shares(x, features, context, subsets(len(features)))
    here = part_names(features)
    return Score(parts_of(shares, len(features)), {"joint": shares[-1]}, {"part": here})


def part_names(features: Sequence[Feature]) -> list[str]:
    """Names of all parts, in the order in which they are computed."""
    n = len(features)
    if n > MOST_FEATURES:
        raise FeatureError(
            f"{n} features have {2**n - 1} parts; at most {MOST_FEATURES} features are taken. "
            "Pass fewer, or use unique_variance."
        )
    return ["+".join(features[i].name for i in subset) for subset in subsets(n)]


def _all_parts(inputs: Mapping[str, Any]) -> list[str]:
    return part_names(inputs["features"])


@metric(
    better="neither",
    bounds=(-INFINITY, INFINITY),
    invariances=("shift", "scale", "rotation"),
    backends=("numpy", "torch", "dask"),
    estimator="pooled, commonality parts",
)
def variance_partition(
    x: Activations,
    features: Features,
    /,
    *,
    cv: CV = "split",
    groups: Groups = None,
    seed: Seed = 0,
    prepare: Prepare = None,
) -> Wiring[xr.DataArray]:
    """Parts of the jointly explained variance: unique to one feature, or common to several.

    All 2^k - 1 subsets of k features are fitted on the same folds. The part ``a+b`` is what a and
    b both explain and no other feature does; ``a`` is what a alone adds to all others
    (``unique_variance``). The parts sum to what all features explain together.

    Parameters
    ----------
    features : Dataset, DataTree node, mapping or table
        Two features or more over ``stimulus``, lined up with ``x`` by label. A class feature
        enters one-hot with one level dropped, a continuous one as its components; products of
        features come from :func:`reptools.interactions`.

    Returns
    -------
    DataArray
        Share of variance over ``part`` and the outer dimensions of ``x``; parts are named by
        their features, joined by "+". The coordinate ``joint`` is their sum. A common part is
        negative where features suppress each other, such as two amounts of which only the
        difference is represented; any part may be slightly negative held out. None is clipped.

    Raises
    ------
    FeatureError
        There are fewer than two features that vary or more than 8, or the fit rows of a fold do
        not vary along all directions of the features together.
    ParameterError
        An option is not allowed, or the folds cannot be made.
    StimulusError
        ``x`` and a feature were not shown the same stimuli, or only one of them has labels.

    References
    ----------
    Nimon, Lewis, Kane and Haynes (2008), An R package to compute commonality coefficients in the
    multiple regression case, Behavior Research Methods 40. With g(S) = R2(all) - R2(all but S),
    the part of S is the sum over T in S of (-1)^(|S| - |T|) g(T).

    Examples
    --------
    >>> import numpy as np
    >>> import reptools as rt
    >>> rng = np.random.default_rng(0)
    >>> bit = rng.integers(0, 2, 400)
    >>> copy = np.where(rng.random(400) < 0.8, bit, 1 - bit)  # follows the bit 80 % of the time
    >>> x = np.outer(bit, np.ones(4)) + 0.1 * rng.normal(size=(400, 4))
    >>> parts = rt.variance_partition(x, {"bit": bit, "copy": copy}, cv=5)
    >>> dict(zip(parts.part.values.tolist(), parts.values.round(1).tolist()))
    {'bit': 0.6, 'copy': 0.0, 'bit+copy': 0.3}
    """
    return Wiring(parts, dims=("part",), extras={"joint": ()}, coords={"part": _all_parts})
