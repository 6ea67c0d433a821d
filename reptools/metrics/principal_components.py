"""Principal components of a layer, and how much of each one a feature accounts for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Annotated, Any, TypeAlias

import numpy as np
import xarray as xr

from reptools.arrays import matmul
from reptools.engine.common import Prepare
from reptools.engine.declaring import metric
from reptools.engine.inputs import FEATURE, Activations, Truths
from reptools.engine.operation import Score, Wiring
from reptools.engine.options import Range
from reptools.errors import FeatureError, some, warn
from reptools.statistics.features.design import Feature
from reptools.statistics.shapes.spectrum import leading_axes, scaled

Values: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]
ALONE = "target"  # what a feature without a name is called; "feature" names a dimension
MEANINGS = {
    "explained": "fraction of variance",
    "share": "R2 of the component's scores on the feature, in sample",
}


def decomposed(x: Values, features: Sequence[Feature], /, *, n_components: int) -> Score:
    """Scores, fractions of variance, and shares of all features, in full size."""
    n, width = x.shape
    count = most_components(n, width, n_components)
    centred, factor = scaled(x)
    values, axes = leading_axes(centred, count)
    varying = axes.shape[1]
    largest = np.abs(axes).argmax(axis=0)
    axes = axes * np.sign(axes[largest, np.arange(varying)])
    found = matmul(centred, axes)
    scores, explained = np.zeros((n, count)), np.zeros(count)
    scores[:, :varying] = found * factor
    explained[:varying] = values / (centred**2).sum()
    share = np.full((len(features), count), np.nan)
    for row, feature in zip(share, features, strict=True):
        if not feature.constant:
            row[:varying] = _share(found, feature.columns)
    return Score({"scores": scores, "explained": explained, "share": share})


def most_components(n: int, width: int, n_components: int) -> int:
    """How many components the result has, whatever varies."""
    return min(n - 1, width, n_components)


def _share(scores: Values, columns: Values) -> Values:
    """R2 of every score (stimulus, component) on a feature's design columns."""
    design = columns - columns.mean(axis=0)
    residual = scores - matmul(design, np.linalg.lstsq(design, scores, rcond=None)[0])
    return np.asarray(1 - (residual**2).sum(axis=0) / (scores**2).sum(axis=0))


def with_features(result: xr.Dataset, inputs: Mapping[str, Any], /) -> xr.Dataset:
    """The features as coordinates, and what the variables mean."""
    features: list[Feature] = inputs["features"]
    names = [feature.name for feature in features]
    if names == [FEATURE]:
        names = [ALONE]
    taken = {str(name) for name in (*result.data_vars, *result.dims)}
    if clashing := [name for name in names if name in taken]:
        raise FeatureError(
            f"a feature is called {clashing[0]!r}, which names a part of the result. Rename it."
        )
    lost = result["share"].isnull() & (result["explained"] > 0)
    flat = lost.any([dim for dim in lost.dims if dim != FEATURE]).values
    if flat.any():
        constant = [name for name, one in zip(names, flat, strict=True) if one]
        warn(f"principal_components: constant, share missing (NaN): {some(constant)}")
    beside = {
        name: ("stimulus", feature.values, {"kind": feature.kind})
        for name, feature in zip(names, features, strict=True)
        if feature.values.ndim == 1
    }
    result = result.assign_coords({FEATURE: names, **beside})
    for name, meaning in MEANINGS.items():
        result[name].attrs["long_name"] = meaning
    return result


@metric(better="neither", estimator="in sample")
def principal_components(
    x: Activations,
    features: Truths,
    /,
    *,
    n_components: Annotated[int, Range(1)] = 10,
    prepare: Prepare = None,
) -> Wiring[xr.Dataset]:
    """Principal components of activations, with each feature's share of every component.

    A component's share of a feature is the R2 of the component's scores regressed on the feature's
    design columns (with intercept), in sample. Shares of one component sum to at most 1 where the
    features are orthogonal. A picture of the first two components shows a feature only where its
    share in them is large, whatever the network computes with it. Units are centred, not scaled.

    Parameters
    ----------
    features : Dataset, DataTree node, mapping, table, DataArray or array
        Features of the same stimuli, lined up with ``x`` by label; one without a name is called
        "target".
    n_components : int, default 10
        Largest number of components, in order of variance; there are no more than units, and at
        most n - 1 for n stimuli. The default is what a figure can show.

    Returns
    -------
    Dataset
        ``scores`` ([outer,] stimulus, component), in units of x; ``explained`` ([outer,]
        component), fractions of the total variance; ``share`` ([outer,] feature, component), in
        sample, missing (NaN) for a constant feature. Components are numbered from 1. Where fewer
        directions vary, the scores and fractions of the others are 0 and their shares missing
        (NaN). Features with one value per stimulus come along as coordinates. Each component's
        sign makes its largest loading positive.

    Raises
    ------
    DataError
        x is not finite.
    StimulusError
        ``x`` and a feature were not shown the same stimuli, or only one of them has labels.
    FeatureError
        No feature can be read, or one is called as a part of the result is.
    ParameterError
        An option is unknown or has a value that is not listed above.

    Examples
    --------
    >>> import numpy as np
    >>> import reptools as rt
    >>> easy, hard = np.tile([0, 1], 8), np.repeat([0, 1], 8)
    >>> x = np.stack([4 * easy, easy + hard], axis=1)
    >>> parts = rt.principal_components(x, {"easy": easy, "hard": hard})
    >>> parts.share.sel(component=1).round(2).values.tolist()
    [1.0, 0.0]
    """

    def count(inputs: Mapping[str, Any]) -> int:
        return most_components(inputs["x"].n_stimuli, inputs["x"].n_units, n_components)

    return Wiring(
        partial(decomposed, n_components=n_components),
        outputs={
            "scores": ("stimulus", "component"),
            "explained": ("component",),
            "share": (FEATURE, "component"),
        },
        coords={"component": count},
        finish=with_features,
    )
