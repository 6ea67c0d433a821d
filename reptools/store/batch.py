"""One append, taken apart into the pieces that are stored."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr

from .. import schema
from ..entering import door
from ..entering.door import Part
from ..errors import DimensionError, ParameterError, StimulusError, warn
from . import inputs
from .names import check_coordinate, check_name
from .plan import Piece, Plan
from .raw import Array

DTYPES = ("float16", "float32", "float64")
LAYER_ORDERS = (schema.STIMULUS, schema.UNIT), (schema.STIMULUS, schema.TOKEN, schema.UNIT)
COLUMN_ORDERS = (schema.STIMULUS,), (schema.STIMULUS, schema.COMPONENT)
CLEARING_ROWS = 16
FEW_LEVELS = 64  # steps of the stored type over the range of a unit: fewer are worth a word
_LABEL_BYTES = 64  # room for a growing str label; more where the first batch needs more


def number(values: Array, dtype: str, what: str) -> Array:
    """Convert to the stored float type; what this would change beyond rounding is said by name."""
    if values.dtype.kind not in "fiub":
        raise ParameterError(f"{what} is of type {values.dtype}. Pass real numbers.")
    try:
        with np.errstate(over="raise"):
            stored = values.astype(np.dtype(dtype).newbyteorder("<"), copy=False)
    except FloatingPointError:
        largest = float(np.nanmax(np.abs(values)))
        raise ParameterError(
            f"{what} reaches {largest:.4g}, too large for {dtype}. {_wider(dtype)}"
        ) from None
    if values.dtype.kind in "iu":
        _refuse_merged(values, stored, dtype, what)
    elif values.dtype.kind == "f" and values.dtype.itemsize > stored.dtype.itemsize:
        _warn_of_levels(values, dtype, what)
    return stored


def _refuse_merged(values: Array, stored: Array, dtype: str, what: str) -> None:
    """Integers are exact up to a power of two, and merge with their neighbours above it."""
    exact = 2 ** (np.finfo(dtype).nmant + 1)
    if values.itemsize * 8 <= np.finfo(dtype).nmant or not values.size:
        return
    if max(int(values.max()), -int(values.min())) <= exact:
        return
    with np.errstate(invalid="ignore"):
        changed = np.flatnonzero(stored.astype(values.dtype).reshape(-1) != values.reshape(-1))
    if changed.size:
        first, kept = (array.reshape(-1)[changed[0]].item() for array in (values, stored))
        raise ParameterError(
            f"{what} holds {first}, which {dtype} makes {kept!r}. Pass smaller numbers"
            f"{', or dtype=' + repr('float64') if dtype != 'float64' else ''}."
        )


def _warn_of_levels(values: Array, dtype: str, what: str) -> None:
    """Name units whose variation is a few steps of the stored type: values would run together."""
    if len(values) < 2:
        return
    # some rows clear a unit: more rows can only widen its range, unless they double its largest
    few_rows = values[:: max(len(values) // CLEARING_ROWS, 1)]
    spread, _, step = _range(few_rows, dtype)
    if (spread >= 2 * FEW_LEVELS * step).all():
        return
    spread, size, step = _range(values, dtype)
    with np.errstate(invalid="ignore"):
        varies = spread > 16 * np.finfo(values.dtype).eps * size  # else constant but for rounding
        lost = varies & (spread < FEW_LEVELS * step)
    if not lost.any():
        return
    first = int(np.flatnonzero(lost)[0])
    by, around = (float(np.reshape(array, -1)[first]) for array in (spread, size))
    warn(
        f"Writer.append: {what}: {np.count_nonzero(lost)} of {lost.size} units vary by less than "
        f"{dtype} tells apart (unit {first} by {by:.3g} around {around:.3g}), so different values "
        "become equal. Centre them first, or pass dtype='float64' to Writer."
    )


def _range(values: Array, dtype: str) -> tuple[Array, Array, Array]:
    """Range and largest size of every unit, and the step of ``dtype`` at that size."""
    low, high = values.min(axis=0), values.max(axis=0)
    size = np.maximum(np.abs(low), np.abs(high))
    with np.errstate(invalid="ignore", over="ignore", under="ignore"):
        step = np.spacing(size.astype(dtype)).astype(np.float64)
        return np.asarray(high - low), size, step


def layer_pieces(
    layers: Mapping[str, Any], groups: Mapping[str, str], dtype: str
) -> dict[str, Piece]:
    """Activations as (token, stimulus, unit) or (stimulus, unit)."""
    pieces = {}
    mend = (
        "Pass (batch, unit) or (batch, token, unit), none of them empty; flatten other axes into "
        "units."
    )
    for layer, given in layers.items():
        what = f"layer {layer!r}"
        part = door.arranged(given, what, *LAYER_ORDERS, mend=mend)
        if 0 in part.values.shape:
            raise DimensionError(f"{what} has shape {part.values.shape}. {mend}")
        values, dims = number(part.values, dtype, what), part.dims
        if schema.TOKEN in dims:
            dims, values = (schema.TOKEN, schema.STIMULUS, schema.UNIT), values.swapaxes(0, 1)
        path = f"{schema.LAYERS}/{groups[layer]}/{schema.ACTIVATION}"
        pieces[path] = _piece(part, dims, values, what)
    return pieces


def _piece(part: Part, dims: tuple[str, ...], values: Array, what: str, **more: Any) -> Piece:
    """A part of a batch with the labels that it came with."""
    renamed = dict(zip(part.dims, dims, strict=True)) if len(dims) == 2 else {}
    coords = {
        renamed.get(dim, dim): inputs.storable(labels, f"{dim} of {what}")[0]
        for dim, labels in part.labels.items()
        if dim != schema.STIMULUS
    }
    stimulus = part.labels.get(schema.STIMULUS)
    return Piece(dims, values, coords=coords, stimulus=stimulus, what=what, **more)


def output_pieces(outputs: Any, dtype: str) -> dict[str, Piece]:
    """Raw answers as (stimulus,) or (stimulus, component); never narrower than float32."""
    dtype = "float64" if dtype == "float64" else "float32"
    found = {}
    for name, given in door.entries(outputs, "outputs").items():
        check_coordinate(name, "output")
        what = f"output {name!r}"
        mend = "Pass (batch,) or (batch, component)."
        part = door.arranged(given, what, *COLUMN_ORDERS, mend=mend)
        found[name] = replace(part, values=number(part.values, dtype, what))
    dims = _columns(found)
    return {
        f"{schema.OUTPUTS}/{name}": _piece(part, dims[name], part.values, f"output {name!r}")
        for name, part in found.items()
    }


def _columns(parts: Mapping[str, Part]) -> dict[str, tuple[str, ...]]:
    """Dimensions of values over stimuli; labelled components have a dimension of their own."""
    named = {name for name, part in parts.items() if schema.COMPONENT in part.labels}
    shapes = {name: part.values.shape[1:] for name, part in parts.items()}
    return {
        name: (schema.STIMULUS, *own) for name, own in inputs.component_dims(shapes, named).items()
    }


def step_pieces(per_step: Any) -> dict[str, Piece]:
    """Values of a whole step, with the dimensions of a DataArray or generic ones."""
    pieces = {}
    for name, given in door.entries(per_step, "per_step").items():
        check_coordinate(name, "per_step")
        what = f"per_step {name!r}"
        found = door.read(given, what, _axes(name, given))
        labelled = isinstance(found, xr.DataArray)
        values, attrs = inputs.storable(found.values if labelled else found, what)
        if values.dtype.kind == "O":
            raise ParameterError(f"{what} holds text. Pass numbers.")
        if labelled:
            dims = tuple(check_name(dim, "dimension") for dim in found.dims)
            coords = {
                str(dim): inputs.storable(found.coords[dim].values, f"coordinate {dim!r}")[0]
                for dim in found.dims
                if dim in found.coords
            }
            attrs = {**inputs.attributes(found.attrs), **attrs}
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


def _axes(name: str, given: Any) -> tuple[str, ...]:
    """Dimensions of a pandas object: the names of its index and columns, or generic ones."""
    axes = given.axes if door.is_pandas(given, "Series", "DataFrame") else ()
    words = [axis.name for axis in axes] or [None, None]
    return tuple(str(word or f"{name}_{axis}") for axis, word in enumerate(words))


def feature_pieces(features: Any) -> dict[str, Piece]:
    """Features of stimuli that become known batch by batch: numbers only."""
    found, extras = {}, {}
    for name, part in inputs.split_features(features).items():
        values, extra = inputs.storable(part.values, f"feature {name!r}")
        if values.dtype.kind == "O":
            raise ParameterError(
                f"feature {name!r} of growing stimuli is {values.dtype} of shape {values.shape}. "
                "Pass numbers (batch,) or (batch, component); code text as integers."
            )
        attrs = dict(part.attrs)
        if schema.FEATURE_KIND not in attrs:
            whole = "binary" if extra else "categorical"  # extra: it was boolean
            attrs[schema.FEATURE_KIND] = "continuous" if values.dtype.kind == "f" else whole
        found[name] = replace(part, values=values)
        extras[name] = {**inputs.feature_kind(name, values, attrs), **extra}
    dims = _columns(found)
    return {
        f"{schema.FEATURES}/{name}": _piece(
            part, dims[name], part.values, f"feature {name!r}", attrs=extras[name], stepped=False
        )
        for name, part in found.items()
    }


def pieces(
    layers: Mapping[str, Any],
    groups: Mapping[str, str],
    dtype: str,
    step: int | None,
    features: Any,
    outputs: Any,
    per_step: Any,
) -> dict[str, Piece]:
    """Everything that one append is given, by its path in the file."""
    unknown = sorted(set(layers) - set(groups))
    if unknown:
        raise ParameterError(
            f"layer {unknown[0]!r} was not in the first batch ({', '.join(groups)}). "
            "Append the same layers in every batch."
        )
    found = layer_pieces(layers, groups, dtype)
    of_step = step_pieces(per_step)
    if of_step and step is None:
        first = next(iter(of_step)).rpartition("/")[2]
        raise ParameterError(f"per_step {first!r} is given without a step. Pass step=.")
    for name, extra in (
        ("outputs", output_pieces(outputs, dtype)),
        ("per_step", of_step),
        ("features", feature_pieces(features)),
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


def own_labels(pieces: Mapping[str, Piece]) -> tuple[Array, str] | None:
    """Labels that the first labelled part of a batch came with, and what that part is called."""
    for piece in pieces.values():
        if piece.stimulus is not None:
            door.check_unique(piece.stimulus, piece.what)
            return inputs.labels(piece.stimulus), piece.what
    return None


def line_up(pieces: dict[str, Piece], labels: Array, *, named: bool) -> dict[str, Piece]:
    """Bring the rows of labelled parts to the order ``labels``; bare parts are in it already.

    Beside a part that comes in another order, whether a bare part follows that one or the file
    cannot be seen, unless the batch was ``named`` as a whole.
    """
    found, moved, bare = {}, "", ""
    for path, piece in pieces.items():
        found[path] = piece
        if schema.STIMULUS not in piece.dims:
            continue
        if piece.stimulus is None:
            bare = bare or piece.what
            continue
        rows = door.line_up("this batch", labels, piece.what, piece.stimulus)
        if rows is not None:
            moved = moved or piece.what
            values = piece.values.take(rows, axis=piece.dims.index(schema.STIMULUS))
            found[path] = replace(piece, values=values)
    if moved and bare and not named:
        raise StimulusError(
            f"{bare} has no stimulus labels, and {moved} comes in another order than the file's, "
            f"so the order of {bare} cannot be known. Label it too, or pass stimulus=."
        )
    return found


def _wider(dtype: Any) -> str:
    """What holds larger numbers than a number type."""
    wider = {"float16": "float32", "float32": "float64"}.get(np.dtype(dtype).name)
    return f"Pass dtype={wider!r}." if wider else "Divide the values by a scale."
