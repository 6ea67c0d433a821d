"""Activations and recordings: what has stimuli and units."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, TypeAlias

import numpy as np
import xarray as xr

from reptools import schema
from reptools.engine.inputs.base import HasArray, Input, Planted
from reptools.entering import labels
from reptools.entering.labels import REPETITION, Side
from reptools.errors import DimensionError, ParameterError, some


@dataclass(frozen=True)
class ActivationsInput(Input):
    """A side ([outer,] stimulus, unit).

    Attributes
    ----------
    repeats : bool or "required"
        A dimension ``repetition`` goes to the kernel, as (repetition, stimulus, unit), instead of
        being looped over; and whether there must be one.
    same_units : bool
        Whether it must have the units of the first side.
    whole : bool
        Whether the kernel sees a position where no unit varies, too.
    """

    repeats: bool | Literal["required"] = False
    same_units: bool = False
    whole: bool = False

    side = True
    type = "DataArray (..., stimulus, unit), DataTree node or array (stimulus, unit)"
    text = (
        "Activations. Labelled sides are lined up by stimulus label; outer dimensions such as step "
        "or time are kept, those that both sides have are paired."
    )
    help = "run.h5 for all layers, run.h5::fc2 for one, 'run.h5::fc*' for some."
    address = True
    group = schema.LAYERS

    def read(self, value: Any, name: str, first: Side | None) -> Side:
        """Read one side, and bring its rows into the order of the first."""
        side = labels.as_side(value, name)
        if self.repeats:
            side = labels.with_repetitions(side)
        if self.repeats == "required" and (not side.leading or side.data.sizes[REPETITION] < 2):
            raise DimensionError(
                f"{name} has {side.data.sizes[REPETITION] if side.leading else 'no'} repetition. "
                "It needs two or more of every stimulus, along a dimension 'repetition'."
            )
        if first is None:
            return side
        side = labels.align(first, side)
        return labels.align_units(first, side) if self.same_units else side

    def of_layer(self, given: Any, x: xr.DataArray, layer: str) -> Any:
        """The layer of the same name of another file; without one the layer itself, crossed."""
        if given is None and self.whole:
            raise ParameterError(
                "what it changes to is missing. Pass changed=, such as what "
                "rt.interventions.remove(x, features) gives."
            )
        if given is None:
            outer = [dim for dim in x.dims if dim not in (schema.STIMULUS, schema.UNIT)]
            if not outer:
                raise ParameterError(
                    "the other side is missing, and the layer has no dimension such as time or "
                    "step that could be crossed with itself. Pass y=, such as an open file."
                )
            return x.rename({dim: f"{dim}_" for dim in outer})
        if isinstance(given, xr.DataTree) and schema.LAYERS in given.children:
            known = list(given[schema.LAYERS].children)
            if layer not in known:
                raise ParameterError(
                    f"there is no layer {layer!r} on the other side, which has {some(known)}. "
                    "Choose layers that both have with layers=."
                )
            return given[f"{schema.LAYERS}/{layer}/{schema.ACTIVATION}"]
        return given

    def example(self, planted: Planted, number: int) -> xr.DataArray:
        """Planted activations."""
        x = planted.activations(number, planted.widths[0] if self.same_units else None)
        if self.repeats != "required":
            return x
        rng = np.random.default_rng(number)
        return xr.concat([x, x + rng.normal(size=x.shape)], dim=REPETITION)


def sorted_by_label(kind: ActivationsInput, value: Any, name: str) -> Side:
    """A first side in label order, so that iterative fits see the same rows in any file."""
    side = kind.read(value, name, None)
    if side.labels is None:
        return side
    return replace(side, rows=np.argsort(side.labels))


_Values: TypeAlias = xr.DataArray | xr.DataTree | HasArray | list[Any]
Activations: TypeAlias = Annotated[_Values, ActivationsInput()]
Recordings: TypeAlias = Annotated[_Values, ActivationsInput(repeats=True)]
Repeated: TypeAlias = Annotated[_Values, ActivationsInput(repeats="required")]
SameUnits: TypeAlias = Annotated[_Values, ActivationsInput(same_units=True)]
Changed: TypeAlias = Annotated[_Values, ActivationsInput(same_units=True, whole=True)]
Whole: TypeAlias = Annotated[_Values, ActivationsInput(whole=True)]
