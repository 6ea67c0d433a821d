"""What a Writer is told before the first batch, and the plan that comes out of both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from .. import schema
from ..entering import door
from ..errors import DimensionError, ParameterError, StimulusError
from . import inputs
from .plan import (
    FIRST_BATCHES,
    FIRST_STEPS,
    MAX_VARIABLES,
    Piece,
    Plan,
    Static,
    add_record,
    add_variable,
)
from .raw import Array


@dataclass(frozen=True)
class Frame:
    """The parts of a file that do not come in batches."""

    attrs: dict[str, Any]
    stimulus: Array | None
    features: dict[str, Static]
    coords: dict[str, Static]
    steps: Array | None
    units: Mapping[str, Mapping[str, Any]]

    @classmethod
    def of(
        cls,
        attrs: dict[str, Any],
        stimulus: Array | None,
        features: Any,
        coords: Any,
        steps: Array | None,
        units: Mapping[str, Mapping[str, Any]] | None,
    ) -> Frame:
        """Check and align everything that is along the stimuli."""
        coords = door.entries(coords, "coords")
        if isinstance(features, xr.Dataset):
            coords = {**_beside(features), **coords}
        if stimulus is None:
            for name, given, mend in (
                ("features", features, "pass features= to append, as numbers,"),
                ("coords", coords, "append them as features"),
            ):
                if given is not None and len(given):
                    raise StimulusError(
                        f"{name} ({', '.join(map(repr, given))}) need stimuli that are known "
                        f"beforehand, and stimulus is None. Pass stimulus=labels, or {mend}."
                    )
            return cls(attrs, None, {}, {}, steps, units or {})
        return cls(
            attrs,
            stimulus,
            inputs.features_of(features, stimulus),
            inputs.coordinates(coords, schema.STIMULUS, len(stimulus), "coordinate", stimulus),
            steps,
            units or {},
        )

    def statics(self) -> dict[str, Static]:
        """Everything along stimuli and steps that is known beforehand."""
        found: dict[str, Static] = {}
        if self.stimulus is not None:
            found[schema.STIMULUS] = Static((schema.STIMULUS,), self.stimulus)
        if self.steps is not None:
            found[schema.STEP] = Static((schema.STEP,), self.steps)
        features = {f"{schema.FEATURES}/{name}": item for name, item in self.features.items()}
        return {**found, **self.coords, **features}

    def plan(
        self, pieces: Mapping[str, Piece], groups: Mapping[str, str], rows: int, has_step: bool
    ) -> Plan:
        """Lay out the file that holds ``pieces`` of ``rows`` stimuli again and again."""
        sizes, growing = self._sizes(rows, has_step)
        plan = Plan(dict(self.attrs), growing)
        plan.group_attrs = {schema.LAYERS: {}, schema.FEATURES: {}, schema.OUTPUTS: {}}
        if self.coords:
            plan.attrs[schema.COORDINATES] = _listed(self.coords)
        plan.static |= self.statics()
        for feature in self.features.values():
            for dim, size in zip(feature.dims[1:], feature.values.shape[1:], strict=True):
                plan.bare[f"{schema.FEATURES}/{dim}"] = size
        for path, piece in pieces.items():
            add_variable(plan, path, piece, sizes)
        for layer, group in groups.items():
            self._add_layer(plan, layer, group)
        if len(plan.variables) + len(plan.static) > MAX_VARIABLES:
            raise ParameterError(
                f"a file holds {MAX_VARIABLES} variables, these are "
                f"{len(plan.variables) + len(plan.static)}. Split the layers over several files."
            )
        unknown = sorted(set(self.units) - set(groups))
        if unknown:
            raise ParameterError(
                f"units names layer {unknown[0]!r}, the layers are {', '.join(groups)}. "
                "Name a layer of the batch."
            )
        add_record(plan, sizes)
        return plan

    def _sizes(self, rows: int, has_step: bool) -> tuple[dict[str, int], frozenset[str]]:
        sizes, growing = {}, {schema.BATCH}
        if has_step:
            sizes[schema.STEP] = FIRST_STEPS if self.steps is None else len(self.steps)
            if self.steps is None:
                growing.add(schema.STEP)
        if self.stimulus is None:
            sizes[schema.STIMULUS] = FIRST_BATCHES * rows
            sizes[schema.BATCH] = FIRST_BATCHES
            growing.add(schema.STIMULUS)
        else:
            sizes[schema.STIMULUS] = len(self.stimulus)
            sizes[schema.BATCH] = -(-len(self.stimulus) // rows)
        return sizes, frozenset(growing)

    def _add_layer(self, plan: Plan, layer: str, group: str) -> None:
        folder = f"{schema.LAYERS}/{group}"
        plan.group_attrs[folder] = {schema.LAYER: layer}
        width = plan.variables[f"{folder}/{schema.ACTIVATION}"].shape[-1]
        found = self.unit_coords(layer, group, width)
        names = f"{folder}/{schema.UNIT}"
        if names in found:
            _refuse_other_units(layer, plan.static.get(names), found[names])
            plan.bare.pop(names, None)
        plan.static |= found
        beside = [path.rpartition("/")[2] for path in found if path != names]
        if beside:
            plan.group_attrs[folder][schema.COORDINATES] = _listed(beside)

    def unit_coords(self, layer: str, group: str, width: int) -> dict[str, Static]:
        """Coordinates of the units of one layer, by their paths."""
        what = f"units of layer {layer!r}"
        given = door.entries(self.units.get(layer), what, schema.UNIT)
        for name in (schema.ACTIVATION, schema.TOKEN):
            if name in given:
                raise ParameterError(
                    f"{what} name a coordinate {name!r}, a word of the file's own. Choose another "
                    "name."
                )
        parts = [door.arranged(item, what, (schema.UNIT,)) for item in given.values()]
        if schema.UNIT in given:
            labels: Any = door.arranged(given[schema.UNIT], what, (schema.UNIT,)).values
        else:
            labels = next((p.labels[schema.UNIT] for p in parts if schema.UNIT in p.labels), None)
        if labels is not None:
            given = {schema.UNIT: labels, **given}
        checked = inputs.coordinates(given, schema.UNIT, width, f"{what}, coordinate", labels)
        return {f"{schema.LAYERS}/{group}/{name}": static for name, static in checked.items()}


def _refuse_other_units(layer: str, came: Static | None, told: Static) -> None:
    if came is not None and came.values.tolist() != told.values.tolist():
        raise ParameterError(
            f"layer {layer!r} comes with unit {came.values.tolist()}, and units= has "
            f"{told.values.tolist()}. Pass both in one order."
        )


def _beside(features: xr.Dataset) -> dict[str, Any]:
    """Coordinates that a labelled Dataset carries along its stimuli, such as the split."""
    found: dict[str, Any] = {}
    for name, values in features.coords.items():
        if values.dims == (schema.STIMULUS,) and name != schema.STIMULUS:
            found[str(name)] = values
    return found


def _listed(names: Any) -> str:
    # CF separates names by spaces, so one that has a space cannot be listed
    return " ".join(name for name in names if " " not in name)


def check_against(plan: Plan, pieces: Mapping[str, Piece], expected: set[str]) -> None:
    """Refuse a batch that differs from the first in its parts or their shapes."""
    missing, surplus = sorted(expected - set(pieces)), sorted(set(pieces) - expected)
    if missing or surplus:
        facts = [f"lacks {path}" for path in missing] + [f"brings {path}" for path in surplus]
        raise ParameterError(
            f"this batch {' and '.join(facts[:3])}, unlike the first. Append the same parts in "
            "every batch; per_step values with the first batch of every step."
        )
    for path, piece in pieces.items():
        variable = plan.variables[path]
        own = tuple(dim for dim in variable.dims if dim != schema.STEP)
        if piece.dims != own:
            raise DimensionError(
                f"{path} has dims {piece.dims}, earlier batches had {own}. "
                "Pass the same dimensions in every batch."
            )
        shape = variable.shape[len(variable.dims) - len(own) :]
        for dim, have, want in zip(own, piece.values.shape, shape, strict=True):
            if dim != schema.STIMULUS and have != want:
                raise DimensionError(
                    f"{path} has {have} along {dim!r}, earlier batches had {want}. "
                    "Pass the same width in every batch."
                )
        if not np.can_cast(piece.values.dtype, variable.dtype, "same_kind"):
            raise ParameterError(
                f"{path} is of type {piece.values.dtype}, earlier batches were {variable.dtype}. "
                "Pass the same type in every batch."
            )
        _check_coords(plan, path, piece)


def _check_coords(plan: Plan, path: str, piece: Piece) -> None:
    for dim, values in piece.coords.items():
        known = plan.static.get(f"{path.rpartition('/')[0]}/{dim}")
        names = None if known is None else known.values.tolist()
        if names != values.tolist():
            raise ParameterError(
                f"{path} has {dim} {values.tolist()}, earlier steps had {names or 'none'}. "
                "Pass the same coordinates at every step."
            )
