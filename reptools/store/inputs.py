"""From what a user hands to the Writer to plain arrays that can be stored, or a named error."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from .. import schema
from ..arrays import to_host
from ..errors import DimensionError, FeatureError, ParameterError, StimulusError, some
from ..provenance import to_json
from .names import check_coordinate
from .plan import Static
from .raw import Array


def labels(values: Any) -> Array:
    """Check stimulus labels: one axis, str or int, each once."""
    array = to_host(values)
    if array.ndim != 1 or array.size == 0:
        raise StimulusError(
            f"stimulus has shape {array.shape}. Pass one label for each stimulus, in order."
        )
    if array.dtype.kind in "iu":
        array = array.astype("<i8")
    elif array.dtype.kind in "UO" and all(isinstance(label, str) for label in array.tolist()):
        array = array.astype(object)
    else:
        odd = next(x for x in array.tolist() if not isinstance(x, str))
        raise StimulusError(
            f"stimulus labels are str or int, got {odd!r} of {array.dtype}. "
            "Convert them with .astype(str)."
        )
    seen: set[Any] = set()
    twice = [x for x in array.tolist() if x in seen or seen.add(x)]  # type: ignore[func-returns-value]
    if twice:
        raise StimulusError(
            f"stimulus labels must be unique, repeated: {some(twice)}. "
            "Label trials uniquely and name what they show in coords={'condition': ...}."
        )
    return array


def storable(values: Any, what: str) -> tuple[Array, dict[str, Any]]:
    """Convert values to a type every netCDF reader knows, with the attributes that say so."""
    array = to_host(values)
    if array.dtype.kind == "b":
        return array.astype("i1"), {schema.DTYPE: schema.BOOL}
    if array.dtype.kind == "f":
        wide = array.astype(np.float32) if array.dtype.itemsize == 2 else array
        return wide.astype("<f8" if wide.dtype.itemsize > 8 else wide.dtype.newbyteorder("<")), {}
    if array.dtype.kind in "iu":
        return array.astype(array.dtype.newbyteorder("<")), {}
    if array.dtype.kind in "UO" and all(isinstance(x, str) for x in array.ravel().tolist()):
        if any("\0" in text for text in array.ravel().tolist()):
            raise ParameterError(f"{what} holds text with a NUL character. Remove it.")
        return array.astype(object), {}
    raise ParameterError(
        f"{what} is of type {array.dtype}, and a file holds numbers, booleans and text. "
        "Convert it, e.g. with .astype(str) or .astype(float)."
    )


def coordinates(
    values: Mapping[str, Any], dim: str, size: int, what: str, own_labels: Array | None = None
) -> dict[str, Static]:
    """Check coordinates along one dimension; labelled ones are aligned to ``own_labels``."""
    found = {}
    for name, given in values.items():
        check_coordinate(name, what)
        if own_labels is not None and isinstance(given, xr.DataArray) and dim in given.coords:
            order = _order(f"{what} {name!r}", given.coords[dim].values, own_labels)
            given = given.values[order]
        array, attrs = storable(given, f"{what} {name!r}")
        if array.shape != (size,):
            raise DimensionError(
                f"{what} {name!r} has shape {array.shape}, and there are {size} along {dim!r}. "
                "Pass one value for each."
            )
        found[name] = Static((dim,), array, attrs)
    return found


def attributes(attrs: Mapping[Any, Any]) -> dict[str, Any]:
    """Keep numbers and text as they are, write anything else as JSON."""
    kept = {}
    for key, value in attrs.items():
        if isinstance(value, (bool, np.bool_)):
            value = int(value)
        if isinstance(value, (str, int, float, np.integer, np.floating)):
            kept[str(key)] = value
        elif value is not None:
            kept[str(key)] = to_json(value)
    return kept


def feature_kind(name: str, values: Array, attrs: dict[str, Any]) -> dict[str, Any]:
    """Return ``attrs`` with a kind: the given one, else read off the values."""
    if schema.FEATURE_KIND not in attrs:
        two = values.dtype.kind != "O" and np.unique(values).size <= 2
        other = "continuous" if values.dtype.kind == "f" else "categorical"
        return {**attrs, schema.FEATURE_KIND: "binary" if two else other}
    if attrs[schema.FEATURE_KIND] not in schema.FEATURE_KINDS:
        raise FeatureError(
            f"feature {name!r} has kind {attrs[schema.FEATURE_KIND]!r}. "
            f"Choose one of {', '.join(schema.FEATURE_KINDS)}."
        )
    return attrs


def split_features(
    features: xr.Dataset | Mapping[str, Any],
) -> dict[str, tuple[Any, dict[str, Any], Array | None]]:
    """Take features apart into name -> (values, attrs, labels or None)."""
    found = {}
    for key, item in features.items():
        name = check_coordinate(key, "feature")
        values, attrs = item if isinstance(item, tuple) else (item, {})
        own = None
        if isinstance(values, xr.DataArray):
            attrs = {**values.attrs, **attrs}
            if values.ndim and schema.STIMULUS in values.dims:
                values = values.transpose(schema.STIMULUS, ...)
            if schema.STIMULUS in values.coords:
                own = values.coords[schema.STIMULUS].values
            values = values.values
        found[name] = (values, attributes(attrs), own)
    return found


def features_of(features: xr.Dataset | Mapping[str, Any], stimulus: Array) -> dict[str, Static]:
    """Align features to the stimuli by label and make them storable."""
    found: dict[str, Static] = {}
    for name, (given, attrs, own) in split_features(features).items():
        values, extra = storable(given, f"feature {name!r}")
        if own is not None:
            values = values[_order(f"feature {name!r}", own, stimulus)]
        if values.ndim not in (1, 2) or len(values) != len(stimulus):
            raise DimensionError(
                f"feature {name!r} has shape {values.shape}, and there are {len(stimulus)} "
                "stimuli. Pass (stimulus,) or (stimulus, component)."
            )
        attrs = feature_kind(name, values, attrs)
        found[name] = Static((), values, {**attrs, **extra})
    names = component_dims({name: item.values.shape[1:] for name, item in found.items()})
    return {
        name: Static((schema.STIMULUS, *names[name]), item.values, item.attrs)
        for name, item in found.items()
    }


def component_dims(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[str, ...]]:
    """Name the second axis ``component`` where one length serves all, else by its variable."""
    one = len({shape for shape in shapes.values() if shape}) <= 1
    return {
        name: ((schema.COMPONENT if one else f"{name}_{schema.COMPONENT}"),) if shape else ()
        for name, shape in shapes.items()
    }


def _order(what: str, own: Array, stimulus: Array) -> list[int]:
    """Position of every stimulus among the labels that something came with."""
    have, want = own.tolist(), stimulus.tolist()
    place = {label: i for i, label in enumerate(have)}
    missing = [label for label in want if label not in place]
    wanted = set(want)
    surplus = [label for label in have if label not in wanted]
    if missing or surplus or len(place) != len(have):
        raise StimulusError(
            f"{what} is not labelled by the stimuli of this file: {len(missing)} without "
            f"a value ({some(missing) or 'none'}), {len(surplus)} unknown "
            f"({some(surplus) or 'none'}). Select the same stimuli for both."
        )
    return [place[label] for label in want]
