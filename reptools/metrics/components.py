"""Principal components of a layer, and how much of each one a feature accounts for."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from reptools.arrays import matmul, to_host
from reptools.engine.results import source_of
from reptools.entering import labels
from reptools.entering.features import as_features, several
from reptools.errors import (
    DataError,
    DimensionError,
    FeatureError,
    ParameterError,
    naming,
    some,
    warn,
)
from reptools.provenance import versions
from reptools.statistics.features.design import Feature
from reptools.statistics.shapes.spectrum import leading_axes, scaled

RESERVED = ("scores", "explained", "share", "stimulus", "component", "feature")
Values = np.ndarray[Any, np.dtype[np.float64]]


def principal_components(x: Any, features: Any, /, *, n_components: int = 10) -> xr.Dataset:
    """Principal components of activations, with each feature's share of every component.

    A component's share of a feature is the R2 of the component's scores regressed on the feature's
    design columns (with intercept), in sample. Shares of one component sum to at most 1 where the
    features are orthogonal. A picture of the first two components shows a feature only where its
    share in them is large, whatever the network computes with it.

    Parameters
    ----------
    x : DataArray, DataTree node or array (stimulus, unit)
        Activations of one layer at one step. Units are centred, not scaled.
    features : Dataset, DataTree node, mapping, DataArray or array
        Features of the same stimuli, matched by label.
    n_components : int
        Largest number of components, in order of variance; fewer are returned where fewer
        directions vary. The default 10 is what a figure can show.

    Returns
    -------
    Dataset
        ``scores`` (stimulus, component), in units of x; ``explained`` (component), fractions of
        the total variance; ``share`` (feature, component), in sample, NaN for a constant feature.
        Components are numbered from 1. Features with one value per stimulus come along as
        coordinates. Each component's sign makes its largest loading positive.

    Raises
    ------
    DimensionError
        x has dimensions beside stimulus and unit.
    DataError
        x is not finite, or no unit varies.
    StimulusError, FeatureError, ParameterError
        The stimuli differ, no feature can be read, or ``n_components`` is below 1.

    Examples
    --------
    >>> import numpy as np
    >>> easy, hard = np.tile([0, 1], 8), np.repeat([0, 1], 8)
    >>> x = np.stack([4 * easy, easy + hard], axis=1)
    >>> parts = principal_components(x, {"easy": easy, "hard": hard})
    >>> parts.share.sel(component=1).round(2).values.tolist()
    [1.0, 0.0]
    """
    with naming("principal_components"):
        if not isinstance(n_components, int) or n_components < 1:
            raise ParameterError(
                f"n_components must be a whole number from 1, got {n_components!r}. Pass 10."
            )
        side = labels.as_side(x)
        if side.outer:
            dim = next(iter(side.outer))
            raise DimensionError(
                f"x has the dimensions {some(side.outer)} beside stimulus and unit. "
                f"Select one position, for instance x.isel({dim}=-1)."
            )
        # "feature" is a dimension of the result
        features = (
            features
            if several(features) or getattr(features, "name", None)
            else {"target": features}
        )
        parts = as_features(features, side)
        _check_names(parts)
        values = np.asarray(to_host(side.slab(())), dtype=np.float64)
        scores, explained, factor = _decompose(values, n_components)
        share = np.stack([_share(scores, part.columns, part.constant) for part in parts])
        constant = [part.name for part in parts if part.constant]
        if constant:
            warn(f"principal_components: constant, share missing (NaN): {some(constant)}")
        return _labelled(side, parts, scores * factor, explained, share)


def _check_names(features: Sequence[Feature]) -> None:
    taken = [feature.name for feature in features if feature.name in RESERVED]
    if taken:
        raise FeatureError(
            f"a feature is called {taken[0]!r}, which names a part of the result. Rename it."
        )


def _decompose(x: Values, n_components: int) -> tuple[Values, Values, float]:
    """Scores (stimulus, component), fractions of variance, and what the scores are divided by."""
    if not np.isfinite(x).all():
        bad = np.flatnonzero(~np.isfinite(x).all(axis=1))
        raise DataError(
            f"x is not finite for {bad.size} of {len(x)} stimuli (rows {some(bad.tolist())}). "
            "Drop these stimuli first."
        )
    centred, factor = scaled(x)
    values, axes = leading_axes(centred, n_components)
    largest = np.abs(axes).argmax(axis=0)
    axes = axes * np.sign(axes[largest, np.arange(axes.shape[1])])
    return matmul(centred, axes), values / (centred**2).sum(), factor


def _share(scores: Values, columns: Values, constant: bool) -> Values:
    """R2 of every score (stimulus, component) on a feature's design columns."""
    if constant:
        return np.full(scores.shape[1], np.nan)
    design = columns - columns.mean(axis=0)
    residual = scores - matmul(design, np.linalg.lstsq(design, scores, rcond=None)[0])
    return np.asarray(1 - (residual**2).sum(axis=0) / (scores**2).sum(axis=0))


def _labelled(
    side: labels.Side,
    features: Sequence[Feature],
    scores: Values,
    explained: Values,
    share: Values,
) -> xr.Dataset:
    coords: dict[Any, Any] = {
        "component": np.arange(1, scores.shape[1] + 1),
        "feature": [feature.name for feature in features],
    }
    if isinstance(side.data, xr.DataArray):
        found = side.data.coords.items()
        coords |= {name: c.variable for name, c in found if c.dims in ((), ("stimulus",))}
    for feature in features:
        if feature.values.ndim == 1:
            coords[feature.name] = ("stimulus", feature.values, {"kind": feature.kind})
    attrs = {"method": "principal_components", "estimator": "in sample"}
    known = source_of(side)
    return xr.Dataset(
        {
            "scores": (("stimulus", "component"), scores),
            "explained": ("component", explained, {"long_name": "fraction of variance"}),
            "share": (
                ("feature", "component"),
                share,
                {"long_name": "R2 of the component's scores on the feature, in sample"},
            ),
        },
        coords=coords,
        attrs={
            **attrs,
            **known,
            "n_stimuli": side.n_stimuli,
            "n_units": side.n_units,
            "versions": json.dumps(versions()),
        },
    )
