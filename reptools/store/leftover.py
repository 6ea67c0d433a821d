"""What a leftover holds, and where it differs from what a Writer is told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np

from .. import schema
from ..errors import StoreError
from ..provenance import from_json, to_json
from .frame import Frame
from .plan import Plan, Static, Variable
from .raw import Array
from .state import attributes, read_text
from .walk import Contents

_NEEDED = {schema.COMMITTED, schema.BATCH_STOP, schema.CRC, schema.STORED, schema.COMPLETE}
_ABSENT = object()


@dataclass(frozen=True)
class Leftover:
    """A partial file as its commit record shows it.

    Attributes
    ----------
    plan
        What the file is made of, as far as further batches are held against it.
    groups
        Layer, as the model spells it, to its group.
    committed
        Complete leading stimuli of every step that was begun (one number without steps).
    steps, labels
        The steps that were begun, and the labels of the stimuli that are there.
    slot
        Number of batches of the last step.
    """

    plan: Plan
    groups: dict[str, str]
    committed: list[int]
    steps: list[int]
    labels: list[Any]
    slot: int

    @property
    def stepped(self) -> bool:
        """Whether the batches have steps."""
        return self.plan.variables[schema.COMMITTED].dims == (schema.STEP,)

    @property
    def rows(self) -> int:
        """Committed stimuli of the last step."""
        return self.committed[-1] if self.committed else 0

    def capacity(self, dim: str) -> int:
        """Entries along a shared dimension that the file has room for."""
        sizes = (
            variable.shape[variable.dims.index(dim)]
            for variable in self.plan.variables.values()
            if dim in variable.dims
        )
        return next(sizes, 0)


def raw_dims(file: h5py.File, contents: Contents) -> dict[str, tuple[str, ...]]:
    """Variables that are written raw, with their dimensions.

    Raises
    ------
    StoreError
        If the file has no commit record.
    """
    if not set(contents.items) >= _NEEDED:
        raise StoreError("it has no commit record. It was not left by a Writer.")
    names = [*read_text(file[schema.STORED]), schema.COMMITTED, schema.BATCH_STOP, schema.CRC]
    # labels that were turned into text at the end are no longer written raw
    return {
        name: contents.items[name].dims for name in names if contents.items[name].dtype.kind != "O"
    }


def read(file: h5py.File, contents: Contents) -> Leftover:
    """Read everything but the data."""
    variables = {}
    for path, dims in raw_dims(file, contents).items():
        item = contents.items[path]
        variables[path] = Variable(dims, item.shape, item.chunks or (), item.dtype, {})
    attrs = attributes(file.id)
    stepped = variables[schema.COMMITTED].dims == (schema.STEP,)
    growing = {schema.BATCH}
    if stepped and not attrs[schema.PLANNED_STEPS]:
        growing.add(schema.STEP)
    if not attrs[schema.PLANNED_STIMULI]:
        growing.add(schema.STIMULUS)
    plan = Plan(attrs, frozenset(growing), variables=variables)
    for path, item in contents.items.items():
        if item.is_bare:
            plan.bare[path] = item.shape[0]
        elif path not in variables:
            values = _text(file[path][()]) if item.is_text else file[path][()]
            plan.static[path] = Static(item.dims, values, attributes(item.handle))
    committed = [int(n) for n in file[schema.COMMITTED][:].tolist()]
    begun = next((i for i, n in enumerate(committed) if n == 0), len(committed))
    committed = committed[:begun]
    slot = 0
    if committed:
        stops = file[schema.BATCH_STOP][begun - 1].tolist()
        slot = next((i + 1 for i, stop in enumerate(stops) if stop == committed[-1]), 0)
    labels = file[schema.STIMULUS][: max(committed, default=0)].tolist()
    return Leftover(
        plan,
        _groups(contents, plan),
        committed,
        file[schema.STEP][:begun].tolist() if stepped else [],
        [x.decode("utf-8") if isinstance(x, bytes) else x for x in labels],
        slot,
    )


def _text(values: Array) -> Array:
    found = np.empty(values.shape, dtype=object)
    for at, text in np.ndenumerate(values):
        found[at] = text.decode("utf-8") if isinstance(text, bytes) else str(text)
    return found


def _groups(contents: Contents, plan: Plan) -> dict[str, str]:
    found = {}
    for path in plan.variables:
        folder, _, name = path.rpartition("/")
        if name == schema.ACTIVATION:
            layer = attributes(contents.groups[folder])[schema.LAYER]
            found[str(layer)] = folder.rpartition("/")[2]
    return found


def differences(held: Leftover, frame: Frame, dtype: str) -> Iterator[str]:
    """Say where the arguments of a Writer are not those that a leftover was begun with."""
    attrs, wanted = held.plan.attrs, frame.attrs
    for word in (schema.SCHEMA, schema.KIND, schema.SYSTEM, schema.SOURCE):
        if attrs.get(word) != wanted[word]:
            yield f"{word} is {attrs.get(word)!r}, not {wanted[word]!r}"
    yield from _settings(
        schema.PROVENANCE,
        _without_versions(attrs.get(schema.PROVENANCE, "{}")),
        _without_versions(wanted[schema.PROVENANCE]),
    )
    planned = [
        f"{word} of {attrs[word] or 'an unknown number'}, not {wanted[word] or 'unknown'}"
        for word in (schema.PLANNED_STEPS, schema.PLANNED_STIMULI)
        if attrs[word] != wanted[word]
    ]
    yield from planned
    layers = [v for path, v in held.plan.variables.items() if path.endswith(schema.ACTIVATION)]
    if layers and layers[0].dtype != np.dtype(dtype).newbyteorder("<"):
        yield f"dtype is {layers[0].dtype}, not {dtype}"
    if not planned:
        given = _expected(held, frame)
        yield from _statics(_beforehand(held, given), given)
    if unknown := sorted(set(frame.units) - set(held.groups)):
        yield f"units name layer {unknown[0]!r}, which it does not have"


def _beforehand(held: Leftover, given: Mapping[str, Static]) -> dict[str, Static]:
    """What the leftover was told before its first batch."""
    later = {*schema.RECORD_NAMES}
    for group in held.groups.values():  # labels that came with the activations
        names = {f"{schema.LAYERS}/{group}/{dim}" for dim in (schema.UNIT, schema.TOKEN)}
        later |= names - given.keys()
    if schema.STIMULUS in held.plan.growing:
        later.add(schema.STIMULUS)  # turned into text when the leftover was being closed
    return {
        path: static
        for path, static in held.plan.static.items()
        if path not in later and not path.startswith(f"{schema.OUTPUTS}/")
    }


def _expected(held: Leftover, frame: Frame) -> dict[str, Static]:
    found = frame.statics()
    for layer, group in held.groups.items():
        path = f"{schema.LAYERS}/{group}/{schema.ACTIVATION}"
        found |= frame.unit_coords(layer, group, held.plan.variables[path].shape[-1])
    return found


def _statics(held: Mapping[str, Static], given: Mapping[str, Static]) -> Iterator[str]:
    for path in sorted(held.keys() ^ given.keys()):
        yield f"{path} is there, and not given" if path in held else f"{path} is not there"
    for path in (path for path in given if path in held):
        theirs = held[path].values
        # killed while it was closed, a leftover may be cut to what was committed
        ours = given[path].values[tuple(slice(n) for n in theirs.shape)]
        if held[path].dims != given[path].dims or ours.shape != theirs.shape:
            yield f"{path} is of shape {theirs.shape}, not {given[path].values.shape}"
        elif ours.dtype != theirs.dtype:
            yield f"{path} is of type {theirs.dtype}, not {ours.dtype}"
        elif (at := _first(theirs, ours)) is not None:
            held_one, our_one = theirs[at : at + 1].tolist()[0], ours[at : at + 1].tolist()[0]
            yield f"{path} is {held_one!r} at position {at}, not {our_one!r}"
        yield from _settings(path, held[path].attrs, given[path].attrs)


def _first(theirs: Array, ours: Array) -> int | None:
    """Where two arrays first differ; NaN is equal to itself."""
    unequal = theirs != ours
    if ours.dtype.kind == "f":
        unequal &= ~(np.isnan(theirs) & np.isnan(ours))
    return int(np.argwhere(unequal)[0][0]) if unequal.any() else None


def _without_versions(text: str) -> dict[str, Any]:
    return {key: value for key, value in from_json(text).items() if key != "versions"}


def _settings(where: str, held: object, given: object) -> Iterator[str]:
    """Name the first entry of nested settings that differs."""
    if isinstance(held, Mapping) and isinstance(given, Mapping):
        for key in sorted({*held, *given}):
            found = _settings(f"{where}.{key}", held.get(key, _ABSENT), given.get(key, _ABSENT))
            if first := next(found, None):
                yield first
                return
    elif _shown(held) != _shown(given):
        yield f"{where} is {_shown(held)}, not {_shown(given)}"


def _shown(value: object) -> str:
    return "absent" if value is _ABSENT else to_json(value)
