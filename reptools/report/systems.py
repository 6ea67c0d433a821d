"""What a report knows about one activation file."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xarray as xr

from reptools import schema, store
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
        The layers of the report, in the order of the file.
    """

    name: str
    path: Path
    tree: xr.DataTree
    layers: dict[str, xr.DataArray]

    @property
    def features(self) -> xr.Dataset | None:
        """Features of the stimuli, or None where the file has none."""
        node = self.tree.children.get(schema.FEATURES)
        return node.to_dataset() if node is not None and node.data_vars else None

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
        return value.sel({schema.STEP: self.steps}) if schema.STEP in value.dims else value

    @property
    def place(self) -> str:
        """System, last layer and last step, for headings of figures."""
        step = f", step {self.steps[-1]}" if self.steps else ""
        return f"{self.name}, layer {self.last_layer}{step}"


def at_last_step(array: xr.DataArray) -> xr.DataArray:
    """The last position along ``step``, or the array itself."""
    return array.isel({schema.STEP: -1}) if schema.STEP in array.dims else array


def by_feature(values: xr.DataArray) -> dict[str, Any]:
    """Values over ``feature`` by name."""
    names = values[schema.FEATURE].values
    return {str(name): value for name, value in zip(names, values.values, strict=True)}


def read_systems(
    files: str | Path | Sequence[str | Path], layers: Sequence[str] | None, stack: ExitStack
) -> list[System]:
    """Open the files until ``stack`` closes; systems of one name get the file beside it.

    Raises
    ------
    ParameterError
        No file was given, or a layer is in none of a file's.
    StoreError
        A file cannot be opened, or has no layers.
    """
    paths = [Path(files)] if isinstance(files, (str, Path)) else [Path(file) for file in files]
    if not paths:
        raise ParameterError("files is empty. Pass at least one activation file.")
    trees = [stack.enter_context(store.open(path)) for path in paths]
    names = [
        str(tree.attrs.get(schema.SYSTEM) or path.stem)
        for tree, path in zip(trees, paths, strict=True)
    ]
    systems = []
    for name, path, tree in zip(names, paths, trees, strict=True):
        unique = name if names.count(name) == 1 else f"{name} ({path})"
        systems.append(System(unique, path, tree, _layers(tree, path, layers)))
    return systems


def _layers(tree: xr.DataTree, path: Path, chosen: Sequence[str] | None) -> dict[str, xr.DataArray]:
    group = tree.children.get(schema.LAYERS)
    names = list(group.children) if group is not None else []
    if group is None or not names:
        raise StoreError(f"{path} has no layers. Pass a file of activations.")
    unknown = [name for name in chosen or () if name not in names]
    if unknown:
        raise ParameterError(
            f"layers: {some(unknown)} not in {path}, which has {some(names, 8)}. Name one of these."
        )
    kept = [name for name in names if chosen is None or name in chosen]
    return {name: _whole_steps(group[name].to_dataset()[schema.ACTIVATION]) for name in kept}


def _whole_steps(layer: xr.DataArray) -> xr.DataArray:
    """Without a last step that a killed or running writer has not finished (NaN at its end)."""
    if layer.sizes.get(schema.STEP, 1) < 2:
        return layer
    corner = at_last_step(layer).isel({schema.STIMULUS: -1})
    return layer.isel({schema.STEP: slice(None, -1)}) if bool(corner.isnull().all()) else layer
