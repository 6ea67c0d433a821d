"""From what a user hands to the Writer to plain arrays that can be stored, or a named error."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from .. import schema
from ..arrays import to_host
from ..entering import door
from ..entering.door import Part
from ..errors import DimensionError, FeatureError, ParameterError, StimulusError, some
from ..provenance import to_json
from .names import check_coordinate
from .plan import Static
from .raw import Array


def labels(values: Any) -> Array:
    """Check stimulus labels: one axis, str or int, each once."""
    door.refuse_own_labels(values, "stimulus")
    if isinstance(values, (list, tuple)):
        _refuse_mixed(values)
    given = values if isinstance(values, str) else door.read(values, "stimulus", (schema.STIMULUS,))
    array = to_host(getattr(given, "values", given))
    if array.ndim != 1 or array.size == 0:
        raise StimulusError(
            f"stimulus has shape {array.shape}. Pass one label for each stimulus, in order."
        )
    if array.dtype.kind in "iu":
        if (most := int(array.max())) > np.iinfo("i8").max:
            raise StimulusError(
                f"stimulus label {most} is above {np.iinfo('i8').max}, the largest number that a "
                "file holds as a label. Convert them with .astype(str)."
            )
        array = array.astype("<i8")
    elif array.dtype.kind in "UTO" and all(isinstance(label, str) for label in array.tolist()):
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


def _refuse_mixed(values: Any) -> None:
    """Numpy would make text of the numbers."""
    text = next((value for value in values if isinstance(value, str)), None)
    number = next((value for value in values if isinstance(value, (int, float, np.number))), None)
    if text is not None and number is not None:
        raise StimulusError(
            f"stimulus labels mix text and numbers, such as {number!r} and {text!r}. "
            "Convert them with str()."
        )


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
    if array.dtype.kind in "UTO" and all(isinstance(x, str) for x in array.ravel().tolist()):
        if any("\0" in text for text in array.ravel().tolist()):
            raise ParameterError(f"{what} holds text with a NUL character. Remove it.")
        return array.astype(object), {}
    raise ParameterError(
        f"{what} is of type {array.dtype}, and a file holds numbers, booleans and text. "
        "Convert it, e.g. with .astype(str) or .astype(float)."
    )


def coordinates(
    values: Any, dim: str, size: int, what: str, own_labels: Array | None = None
) -> dict[str, Static]:
    """Check coordinates along one dimension; labelled ones are aligned to ``own_labels``."""
    found = {}
    for name, given in values.items():
        check_coordinate(name, what)
        said = f"{what} {name!r}"
        part = door.arranged(given, said, (dim,), mend=f"Pass one value for each {dim}.")
        if own_labels is not None:
            part = part.along(said, own_labels, "this file", dim)
        array, attrs = storable(part.values, said)
        if array.shape != (size,):
            raise DimensionError(
                f"{said} has shape {array.shape}, and there are {size} along {dim!r}. "
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


def split_features(features: Any) -> dict[str, Part]:
    """Features by name, over stimuli, with attributes that can be stored."""
    found = {}
    for key, item in door.entries(features, "features").items():
        name = check_coordinate(key, "feature")
        values, attrs = item if isinstance(item, tuple) else (item, {})
        orders = (schema.STIMULUS,), (schema.STIMULUS, schema.COMPONENT)
        part = door.arranged(values, f"feature {name!r}", *orders)
        found[name] = replace(part, attrs=attributes({**part.attrs, **attrs}))
    return found


def features_of(features: Any, stimulus: Array) -> dict[str, Static]:
    """Align features to the stimuli by label and make them storable."""
    found: dict[str, Static] = {}
    for name, part in split_features(features).items():
        what = f"feature {name!r}"
        part = part.along(what, stimulus, "this file", schema.STIMULUS)
        values, extra = storable(part.values, what)
        if len(values) != len(stimulus):
            raise DimensionError(
                f"{what} has shape {values.shape}, and there are {len(stimulus)} "
                "stimuli. Pass (stimulus,) or (stimulus, component)."
            )
        attrs = feature_kind(name, values, dict(part.attrs))
        found[name] = Static((), values, {**attrs, **extra})
    names = component_dims({name: item.values.shape[1:] for name, item in found.items()})
    return {
        name: Static((schema.STIMULUS, *names[name]), item.values, item.attrs)
        for name, item in found.items()
    }


def component_dims(
    shapes: Mapping[str, tuple[int, ...]], labelled: Container[str] = ()
) -> dict[str, tuple[str, ...]]:
    """Name the second axis ``component`` where one length serves all, else by its variable.

    So is one whose components have labels, since others need not have the same.
    """
    one = len({shape for shape in shapes.values() if shape}) <= 1
    return {
        name: (schema.COMPONENT if one and name not in labelled else f"{name}_{schema.COMPONENT}",)
        if shape
        else ()
        for name, shape in shapes.items()
    }
