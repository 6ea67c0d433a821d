"""What a report knows about one activation file."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import xarray as xr

from reptools import schema, store
from reptools.engine.selecting import (
    Picked,
    begun_only,
    check_found,
    matching,
    meant,
    pick,
    place_of,
)
from reptools.errors import ParameterError, StoreError, some
from reptools.provenance import from_json


@dataclass(frozen=True)
class System:
    """One file: its layers (all steps, lazy), features and what it says of itself.

    Attributes
    ----------
    name : str
        The system, unique within the report.
    path : Path
        The file.
    tree : DataTree
        As opened.
    layers : dict of str to DataArray
        The layers of the report at the wanted positions, in the order asked for.
    at : dict of str to int, float or str
        The positions that were picked, by dimension.
    notes : list of str
        What a reader should be told of these: layers and dimensions that were asked for and are
        not there, and which position "first" or "last" is.
    """

    name: str
    path: Path
    tree: xr.DataTree
    layers: dict[str, xr.DataArray]
    at: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def features(self) -> xr.Dataset | None:
        """Features of the stimuli, or None where the file has none."""
        node = self.tree.children.get(schema.FEATURES)
        return node.to_dataset() if node is not None and node.data_vars else None

    @property
    def known_features(self) -> xr.Dataset:
        """The same where the file is known to have some."""
        features = self.features
        assert features is not None
        return features

    @property
    def last_layer(self) -> str:
        """The deepest layer of the report."""
        return list(self.layers)[-1]

    @property
    def steps(self) -> list[int]:
        """Steps of the file; empty where it has no step dimension."""
        layer = self.layers[self.last_layer]
        return layer[schema.STEP].values.tolist() if schema.STEP in layer.dims else []

    @property
    def outer_dims(self) -> list[str]:
        """Dimensions of the last layer beside steps, such as tokens, where none is picked."""
        core = (schema.STEP, schema.STIMULUS, schema.UNIT)
        return [str(dim) for dim in self.layers[self.last_layer].dims if dim not in core]

    @property
    def final_layers(self) -> dict[str, xr.DataArray]:
        """The layers at the last step."""
        return {name: at_last_step(layer) for name, layer in self.layers.items()}

    @property
    def provenance(self) -> dict[str, Any]:
        """What the writer recorded, read from its JSON."""
        text = self.tree.attrs.get(schema.PROVENANCE, "")
        found = from_json(text) if text else {}
        return found if isinstance(found, dict) else {"recorded": found}

    def per_step(self, name: str) -> xr.DataArray | None:
        """A value per step and feature, such as ``accuracy``, or None."""
        node = self.tree.children.get(schema.OUTPUTS)
        if node is None or name not in node.data_vars:
            return None
        value = node.to_dataset()[name]
        if schema.FEATURE not in value.dims:
            return None
        if schema.STEP not in value.dims:
            return value
        return value.sel({schema.STEP: self.at.get(schema.STEP, self.steps)})

    @property
    def place(self) -> str:
        """System, last layer and the positions it is shown at, for headings of figures."""
        last = {schema.STEP: self.steps[-1]} if self.steps else {}
        where = "".join(f", {dim} {value}" for dim, value in {**last, **self.at}.items())
        return f"{self.name}, layer {self.last_layer}{where}"


def at_last_step(array: xr.DataArray) -> xr.DataArray:
    """The last position along ``step``, or the array itself."""
    return array.isel({schema.STEP: -1}) if schema.STEP in array.dims else array


def by_feature(values: xr.DataArray) -> dict[str, Any]:
    """Values over ``feature`` by name."""
    names = values[schema.FEATURE].values
    return {str(name): value for name, value in zip(names, values.values, strict=True)}


def read_systems(
    files: str | Path | Sequence[str | Path],
    layers: Sequence[str] | None,
    at: Mapping[str, Any] | None,
    stack: ExitStack,
) -> list[System]:
    """Open the files until ``stack`` closes; systems of one name get the file beside it.

    Raises
    ------
    ParameterError
        No file was given, a layer or dimension is in none of them, or a file has nothing of what
        was asked for.
    StoreError
        A file cannot be opened, or has no layers.
    """
    paths = [Path(files)] if isinstance(files, (str, Path)) else [Path(file) for file in files]
    if not paths:
        raise ParameterError("files is empty. Pass at least one activation file.")
    places = [place_of(dim, value) for dim, value in (at or {}).items()]
    trees = [stack.enter_context(store.open(path)) for path in paths]
    names = [
        str(tree.attrs.get(schema.SYSTEM) or path.stem)
        for tree, path in zip(trees, paths, strict=True)
    ]
    held = [_held(tree, path) for tree, path in zip(trees, paths, strict=True)]
    _refuse_unknown(layers, dict(zip(map(str, paths), held, strict=True)))
    systems, found = [], []
    for name, path, tree, activations in zip(names, paths, trees, held, strict=True):
        unique = name if names.count(name) == 1 else f"{name} ({path})"
        chosen, lacking = _chosen(activations, layers, path)
        picked = pick(str(path), tree, chosen, places)
        found.append((str(path), picked))
        shown = _whole_steps(tree, picked)
        systems.append(System(unique, path, tree, shown, picked.at, lacking + picked.notes))
    check_found(places, found)
    return systems


def _held(tree: xr.DataTree, path: Path) -> dict[str, xr.DataArray]:
    """All layers of a file."""
    group = tree.children.get(schema.LAYERS)
    if group is None or not group.children:
        raise StoreError(f"{path} has no layers. Pass a file of activations.")
    return {name: group[name].to_dataset()[schema.ACTIVATION] for name in group.children}


def _refuse_unknown(layers: Sequence[str] | None, held: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse a name or pattern that no file has a layer for."""
    for pattern in layers or ():
        if any(matching(pattern, list(names)) for names in held.values()):
            continue
        known = list(dict.fromkeys(name for names in held.values() for name in names))
        close = difflib.get_close_matches(pattern, known, n=3)
        hint = f"Close ones: {some(close)}." if close else f"There are {some(known, 8)}."
        raise ParameterError(f"layers: {pattern!r} is not in {' or '.join(held)}. {hint}")


def _chosen(
    held: Mapping[str, xr.DataArray], layers: Sequence[str] | None, path: Path
) -> tuple[dict[str, xr.DataArray], list[str]]:
    """The layers that are meant, in the order asked for, and what the file lacks of it."""
    if layers is None:
        return dict(held), []
    names, unmatched = meant(layers, list(held))
    if not names:
        raise ParameterError(
            f"layers: {path} has none of {some(layers, 8)}, but {some(held, 8)}. "
            "Name at least one layer of each file."
        )
    lacking = [f"{path} has no layer that matches {pattern}" for pattern in unmatched]
    return {name: held[name] for name in names}, lacking


def _whole_steps(tree: xr.DataTree, picked: Picked) -> dict[str, xr.DataArray]:
    """Without a last step that a killed or running writer has not finished."""
    return {
        name: layer.isel({schema.STEP: slice(None, -1)}) if begun_only(tree, layer) else layer
        for name, layer in picked.arrays.items()
    }
