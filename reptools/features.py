"""Features at the edge: any input as plain columns, lined up with a side by stimulus label."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from reptools.arrays import to_host
from reptools.errors import DimensionError, FeatureError
from reptools.labels import STIMULUS, Side, match_rows, ordered, reordered
from reptools.statistics.design import Feature, FeatureKind


def several(features: Any) -> bool:
    """Whether ``features`` are named ones (also if there is one) and not a single feature."""
    table = hasattr(features, "columns")  # a pandas or polars DataFrame
    return table or isinstance(features, (xr.Dataset, xr.DataTree, Mapping))


def as_features(features: Any, side: Side, name: str = "features") -> list[Feature]:
    """Features lined up with ``side``.

    Accepts a Dataset or DataTree node, a mapping of names to arrays or a table with named columns,
    one DataArray, or one bare array. The kind is read from ``attrs["kind"]``; without it two
    distinct values are binary, text is categorical, floats are continuous, and integers with more
    values are refused, since they could be either.
    """
    if isinstance(features, xr.DataTree):
        features = features["features"] if "features" in features.children else features
        features = features.to_dataset()
    if isinstance(features, xr.Dataset):
        found: Mapping[Any, Any] = features.data_vars
    elif several(features):
        found = {key: features[key] for key in getattr(features, "columns", features)}
    else:
        found = {getattr(features, "name", None) or "feature": features}
    if not found:
        raise FeatureError(f"{name} holds no feature. Pass at least one.")
    return [_feature(str(key), value, side) for key, value in found.items()]


def _feature(name: str, value: Any, side: Side) -> Feature:
    shape = "it must be (stimulus,) or (stimulus, component). Select or rename what is meant."
    if not isinstance(value, xr.DataArray):
        value = to_host(value)
        if value.ndim not in (1, 2):
            raise DimensionError(f"feature {name!r} has the shape {value.shape}; {shape}")
        value = xr.DataArray(value, dims=(STIMULUS, "component")[: value.ndim])
    if set(value.dims) not in ({STIMULUS}, {STIMULUS, "component"}):
        raise DimensionError(f"feature {name!r} has the dimensions {value.dims}; {shape}")
    rows = match_rows(side.name, side.n_stimuli, ordered(side), f"feature {name!r}", value)
    values = _plain(name, reordered(value.transpose(STIMULUS, ...).values, rows))
    kind = _kind(name, values, value.attrs.get("kind"))
    if kind == "continuous" and values.dtype.kind not in "biuf":
        raise FeatureError(
            f"feature {name!r} is called continuous and holds {values.dtype.name} values. "
            "Call it categorical, or pass numbers."
        )
    if kind != "continuous" and values.ndim > 1:
        raise FeatureError(
            f"feature {name!r} is {kind} with the shape {values.shape}; a class feature has one "
            "value per stimulus. Pass its columns as features of their own, or call it continuous."
        )
    return Feature(name, kind, values)


def _plain(name: str, values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Python objects as the one type that they all have; numbers are not text."""
    if values.dtype.kind in "cmM":
        raise FeatureError(
            f"feature {name!r} holds {values.dtype.name} values. Pass numbers or class names."
        )
    if values.dtype.kind != "O":
        return values
    items = values.ravel().tolist()
    missing = sum(item is None or item != item for item in items)
    if missing:
        raise FeatureError(
            f"feature {name!r} is missing for {missing} stimuli. Drop these stimuli first."
        )
    kinds = {"text" if isinstance(item, str) else "numbers" for item in items}
    if len(kinds) > 1:
        raise FeatureError(f"feature {name!r} mixes text and numbers. Pass one of the two.")
    return np.asarray(values.tolist())


def _kind(name: str, values: np.ndarray[Any, Any], stated: Any) -> FeatureKind:
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        bad = int((~np.isfinite(values.reshape(len(values), -1)).all(axis=1)).sum())
        raise FeatureError(
            f"feature {name!r} is not finite for {bad} stimuli. Drop these stimuli first."
        )
    if stated is not None:
        if stated not in ("binary", "categorical", "continuous"):
            raise FeatureError(
                f"feature {name!r} has the kind {stated!r}. "
                "It must be binary, categorical or continuous."
            )
        if stated == "binary" and len(np.unique(values)) > 2:
            raise FeatureError(
                f"feature {name!r} is called binary and has {len(np.unique(values))} values. "
                "Call it categorical or continuous."
            )
        kind: FeatureKind = stated
        return kind
    if values.dtype.kind in "UST":
        return "categorical"
    if values.ndim == 1 and len(np.unique(values)) <= 2:
        return "binary"
    if values.dtype.kind == "f":
        return "continuous"
    raise FeatureError(
        f"feature {name!r} holds {len(np.unique(values))} different integers, which may be classes "
        "or amounts. Say which: set attrs['kind'] of its DataArray to 'categorical' or "
        "'continuous'."
    )
