"""One append, taken apart into the pieces that are stored."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import xarray as xr

from .. import schema
from ..arrays import to_host
from ..errors import DimensionError, ParameterError, StimulusError
from . import inputs
from .names import check_coordinate, check_name
from .plan import Piece, Plan
from .raw import Array

DTYPES = ("float16", "float32", "float64")
_LABEL_BYTES = 64  # room for a growing str label; more where the first batch needs more


def number(values: Any, dtype: str, what: str) -> Array:
    """Convert to the stored float type; a value that does not fit is an error, not infinity."""
    array = to_host(values)
    if array.dtype.kind not in "fiub":
        raise ParameterError(f"{what} is of type {array.dtype}. Pass real numbers.")
    try:
        with np.errstate(over="raise"):
            return array.astype(np.dtype(dtype).newbyteorder("<"), copy=False)
    except FloatingPointError:
        largest = float(np.nanmax(np.abs(array)))
        raise ParameterError(
            f"{what} reaches {largest:.4g}, too large for {dtype}. Pass dtype='float32'."
        ) from None


def layer_pieces(
    layers: Mapping[str, Any], groups: Mapping[str, str], dtype: str
) -> dict[str, Piece]:
    """Activations as (token, stimulus, unit) or (stimulus, unit)."""
    pieces = {}
    for layer, given in layers.items():
        values = number(given, dtype, f"layer {layer!r}")
        if values.ndim not in (2, 3) or 0 in values.shape:
            raise DimensionError(
                f"layer {layer!r} has shape {values.shape}. Pass (batch, unit) or "
                "(batch, token, unit), none of them empty; flatten other axes into units."
            )
        dims: tuple[str, ...] = (schema.STIMULUS, schema.UNIT)
        if values.ndim == 3:
            dims, values = (schema.TOKEN, *dims), values.swapaxes(0, 1)
        path = f"{schema.LAYERS}/{groups[layer]}/{schema.ACTIVATION}"
        pieces[path] = Piece(dims, values)
    return pieces


def output_pieces(outputs: Mapping[str, Any], dtype: str) -> dict[str, Piece]:
    """Raw answers as (stimulus,) or (stimulus, component); never narrower than float32."""
    dtype = "float64" if dtype == "float64" else "float32"
    arrays = {}
    for name, given in outputs.items():
        check_coordinate(name, "output")
        values = number(given, dtype, f"output {name!r}")
        if values.ndim not in (1, 2):
            raise DimensionError(
                f"output {name!r} has shape {values.shape}. Pass (batch,) or (batch, component)."
            )
        arrays[name] = values
    dims = inputs.component_dims({name: values.shape[1:] for name, values in arrays.items()})
    return {
        f"{schema.OUTPUTS}/{name}": Piece((schema.STIMULUS, *dims[name]), values)
        for name, values in arrays.items()
    }


def step_pieces(per_step: Mapping[str, Any]) -> dict[str, Piece]:
    """Values of a whole step, with the dimensions of a DataArray or generic ones."""
    pieces = {}
    for name, given in per_step.items():
        check_coordinate(name, "per_step")
        labelled = isinstance(given, xr.DataArray)
        values, attrs = inputs.storable(given.values if labelled else given, f"per_step {name!r}")
        if values.dtype.kind == "O":
            raise ParameterError(f"per_step {name!r} holds text. Pass numbers.")
        if labelled:
            dims = tuple(check_name(dim, "dimension") for dim in given.dims)
            coords = {
                str(dim): inputs.storable(given.coords[dim].values, f"coordinate {dim!r}")[0]
                for dim in given.dims
                if dim in given.coords
            }
            attrs = {**inputs.attributes(given.attrs), **attrs}
        else:
            dims, coords = tuple(f"{name}_{axis}" for axis in range(values.ndim)), {}
        taken = {schema.STEP, schema.STIMULUS, *schema.RECORD_NAMES} & set(dims)
        if taken:
            raise DimensionError(
                f"per_step {name!r} has dims {dims}. Pass the values of one step, without "
                f"{sorted(taken)[0]!r}; what varies with the stimulus goes to outputs="
            )
        pieces[f"{schema.OUTPUTS}/{name}"] = Piece(dims, values, attrs, coords)
    return pieces


def feature_pieces(features: Any) -> dict[str, Piece]:
    """Features of stimuli that become known batch by batch: numbers only."""
    arrays, found = {}, inputs.split_features(features)
    for name, (given, attrs, _) in found.items():
        values, extra = inputs.storable(given, f"feature {name!r}")
        if values.dtype.kind == "O" or values.ndim not in (1, 2):
            raise ParameterError(
                f"feature {name!r} of growing stimuli is {values.dtype} of shape {values.shape}. "
                "Pass numbers (batch,) or (batch, component); code text as integers."
            )
        if schema.FEATURE_KIND not in attrs:
            whole = "binary" if extra else "categorical"  # extra: it was boolean
            kind = "continuous" if values.dtype.kind == "f" else whole
            attrs = {**attrs, schema.FEATURE_KIND: kind}
        arrays[name] = (values, {**inputs.feature_kind(name, values, attrs), **extra})
    dims = inputs.component_dims({name: values.shape[1:] for name, (values, _) in arrays.items()})
    return {
        f"{schema.FEATURES}/{name}": Piece(
            (schema.STIMULUS, *dims[name]), values, attrs, stepped=False
        )
        for name, (values, attrs) in arrays.items()
    }


def pieces(
    layers: Mapping[str, Any],
    groups: Mapping[str, str],
    dtype: str,
    step: int | None,
    features: Any,
    outputs: Mapping[str, Any] | None,
    per_step: Mapping[str, Any] | None,
) -> dict[str, Piece]:
    """Everything that one append is given, by its path in the file."""
    unknown = sorted(set(layers) - set(groups))
    if unknown:
        raise ParameterError(
            f"layer {unknown[0]!r} was not in the first batch ({', '.join(groups)}). "
            "Append the same layers in every batch."
        )
    if per_step and step is None:
        raise ParameterError(
            f"per_step {next(iter(per_step))!r} is given without a step. Pass step=."
        )
    found = layer_pieces(layers, groups, dtype)
    for name, extra in (
        ("outputs", output_pieces(outputs or {}, dtype)),
        ("per_step", step_pieces(per_step or {})),
        ("features", feature_pieces(features if features is not None else {})),
    ):
        twice = sorted(set(extra) & set(found))
        if twice:
            raise ParameterError(f"{twice[0]} is given twice, also in {name}. Rename one.")
        found |= extra
    return found


def label_width(labels: Iterable[str]) -> int:
    """Bytes of the fixed-width labels of growing stimuli, from those of the first batch."""
    return max(_LABEL_BYTES, 4 * max((len(label.encode("utf-8")) for label in labels), default=0))


def label_piece(labels: Array, plan: Plan | None) -> Piece:
    """Labels of growing stimuli: numbers, or bytes of the width that the first batch set."""
    if labels.dtype.kind != "O":
        return Piece((schema.STIMULUS,), labels, stepped=False)
    names = labels.tolist()
    variable = plan.variables[schema.STIMULUS] if plan else None
    width = variable.dtype.itemsize if variable else label_width(names)
    longest = max(names, key=lambda label: len(label.encode("utf-8")))
    if (size := len(longest.encode("utf-8"))) > width:
        raise StimulusError(
            f"stimulus {longest!r} takes {size} bytes, and the first batch set "
            f"the most to {width}. Pass all labels to Writer(stimulus=...)."
        )
    coded = np.array([label.encode("utf-8") for label in names], dtype=f"S{width}")
    return Piece((schema.STIMULUS,), coded, stepped=False)


def batch_size(pieces: Mapping[str, Piece]) -> int:
    """Count the stimuli of a batch; every part must have the same number."""
    sizes = {
        path: piece.values.shape[piece.dims.index(schema.STIMULUS)]
        for path, piece in pieces.items()
        if schema.STIMULUS in piece.dims
    }
    if not sizes:
        raise ParameterError("append was given no layer. Pass at least one in layers=.")
    if len(set(sizes.values())) > 1:
        listed = ", ".join(f"{path} {n}" for path, n in sizes.items())
        raise StimulusError(
            f"the parts of a batch differ in their number of stimuli: {listed}. "
            "Pass the same stimuli to all."
        )
    return int(next(iter(sizes.values())))
