"""Lining a head up with activations: its layer, steps, units and saved answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from reptools.entering import labels
from reptools.entering.labels import STIMULUS, UNIT, Side
from reptools.errors import DimensionError, ParameterError, StimulusError, some

EXACT = "An intervention is exact only at the layer that feeds the saved head"
Rows = np.ndarray[Any, np.dtype[np.intp]]


def coordinate(side: Side, name: str) -> xr.DataArray | None:
    """A coordinate of labelled activations, or None."""
    return side.data.coords.get(name) if isinstance(side.data, xr.DataArray) else None


def refuse_other(side: Side, weight: xr.DataArray, origin: Mapping[str, str | None]) -> None:
    """Activations must be of the head's layer, system and step, as far as both name theirs."""
    attrs = getattr(side.data, "attrs", {})
    for what, ours in origin.items():
        theirs = attrs.get(what)
        if ours is not None and theirs is not None and str(theirs) != ours:
            raise ParameterError(
                f"{side.name} is of the {what} {str(theirs)!r}, and the readout reads {ours!r}. "
                f"{EXACT}: pass that {what}."
            )
    if side.n_units != weight.sizes[UNIT]:
        layer = origin.get("layer")
        raise DimensionError(
            f"{side.name} has {side.n_units} units, and the readout reads the "
            f"{weight.sizes[UNIT]} of {f'layer {layer!r}' if layer else 'another layer'}. "
            f"{EXACT}: pass that layer."
        )
    for dim, coord in weight.coords.items():
        theirs = coordinate(side, str(dim))
        if coord.dims == () and theirs is not None and (theirs.values != coord.values).any():
            found = np.atleast_1d(theirs.values).tolist()
            raise ParameterError(
                f"{side.name} has {dim}={some(found)}, and the readout is that of "
                f"{dim}={coord.values}. Select one {dim} on both."
            )


def places(side: Side, of_head: xr.DataArray, dim: str) -> dict[int, int]:
    """Where along a dimension of the head every position of ``side`` lies.

    Activations of one selected position have it under -1.
    """
    size, theirs, ours = of_head.sizes[dim], coordinate(side, dim), of_head.coords.get(dim)
    if theirs is None and ours is None and side.outer.get(dim) == size:
        return {i: i for i in range(size)}
    if theirs is None or ours is None:
        raise DimensionError(
            f"the readout has {size} values along {dim!r}, and {side.name} has "
            f"{side.outer.get(dim, 'none')}{'' if theirs is None else ', labelled'}. Select one "
            f"position of the readout, or label {dim!r} on both."
        )
    known = {label: i for i, label in enumerate(ours.values.tolist())}
    values = np.atleast_1d(theirs.values).tolist()
    unknown = [value for value in values if value not in known]
    if unknown:
        raise DimensionError(
            f"{side.name} has {dim}={some(unknown)}, which the readout lacks: it has "
            f"{some(known)}. Select the shared ones."
        )
    if dim not in side.outer:
        return {-1: known[values[0]]}
    return {i: known[value] for i, value in enumerate(values)}


def units(side: Side, weight: xr.DataArray) -> Rows | slice:
    """Columns of the weights in the order of the units of ``side``."""
    ours, theirs = weight.coords.get(UNIT), coordinate(side, UNIT)
    if ours is None or theirs is None or np.array_equal(ours.values, theirs.values):
        return slice(None)
    known = {unit: i for i, unit in enumerate(ours.values.tolist())}
    unknown = [unit for unit in theirs.values.tolist() if unit not in known]
    if unknown:
        raise DimensionError(
            f"{side.name} has units that the readout lacks: {some(unknown)}. "
            f"{EXACT}: pass that layer."
        )
    return np.array([known[unit] for unit in theirs.values.tolist()], dtype=np.intp)


def saved_rows(side: Side, saved: xr.DataArray) -> Rows | slice:
    """Rows of saved answers that belong to the stimuli of ``side``."""
    ours, theirs = saved.coords.get(STIMULUS), labels.ordered(side)
    if ours is None or theirs is None:
        if side.n_stimuli != saved.sizes[STIMULUS]:
            raise StimulusError(
                f"{side.name} has {side.n_stimuli} stimuli without labels, and the file holds "
                f"answers to {saved.sizes[STIMULUS]}. Label them, or pass all in the file's order."
            )
        return slice(None) if side.rows is None else side.rows
    known = {label: i for i, label in enumerate(ours.values.tolist())}
    unknown = [label for label in theirs.tolist() if label not in known]
    if unknown:
        raise StimulusError(
            f"{side.name} has {len(unknown)} stimuli to which no answer was saved "
            f"({some(unknown)}). Pass activations of the same file."
        )
    return np.array([known[label] for label in theirs.tolist()], dtype=np.intp)
