"""Addresses on the command line: ``run.h5``, ``run.h5::fc2``, ``run.h5::rdms/NAME``."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import xarray as xr

from reptools import schema, store
from reptools.errors import FeatureError, ParameterError, StoreError, some

SEPARATOR = "::"


@dataclass(frozen=True)
class Selection:
    """What an address takes from an open file, each piece under its full address.

    Attributes
    ----------
    path : str
        The file, as it was written.
    tree : DataTree
        The whole file.
    names : dict of str to str
        Full address to the name that results show.
    arrays : dict of str to DataArray
        Full address to data at the chosen step.
    step : int or None
        The one step that was chosen; None where there is no step or all are kept.
    note : str
        What was chosen without being asked for, for the screen; empty otherwise.
    """

    path: str
    tree: xr.DataTree
    names: dict[str, str]
    arrays: dict[str, xr.DataArray]
    step: int | None = None
    note: str = ""


@contextmanager
def opened(path: str) -> Iterator[xr.DataTree]:
    """The file as a tree; closed afterwards."""
    tree = store.open(path)
    try:
        yield tree
    finally:
        tree.close()


@contextmanager
def layers_at(address: str, step: str) -> Iterator[Selection]:
    """Activations of one layer, or of all, at a step.

    Raises
    ------
    ParameterError
        The address names no layer of the file, or the step is not in it.
    StoreError
        The file cannot be read, or holds no layer.
    """
    path, name = split(address)
    with opened(path) as tree:
        groups = tree.children.get(schema.LAYERS)
        layers = {} if groups is None else dict(groups.children)
        if not layers:
            raise StoreError(f"{path} holds no layers. `reptools info {path}` shows what it holds.")
        if name is None:
            chosen = list(layers)
        else:
            chosen = [_known(name.replace("/", "."), list(layers), "layer", path)]
        activations = {layer: layers[layer].data_vars[schema.ACTIVATION] for layer in chosen}
        position, value, note = _step(tree, activations[chosen[0]], step, path)
        arrays = {}
        for layer, data in activations.items():
            if position is not None and schema.STEP in data.dims:
                data = data.isel({schema.STEP: position})
            arrays[f"{path}{SEPARATOR}{layer}"] = data
        names = dict(zip(arrays, chosen, strict=True))
        yield Selection(path, tree, names, arrays, value, note)


@contextmanager
def rdm_at(address: str) -> Iterator[Selection]:
    """One dissimilarity matrix of a file, with all its outer dimensions.

    Raises
    ------
    ParameterError
        The address is that of a layer, or names no matrix of the file.
    """
    path, name = split(address)
    if name is None or not name.startswith(f"{schema.RDMS}/"):
        raise ParameterError(
            f"{address!r} is no address of a dissimilarity matrix. "
            f"Write FILE::{schema.RDMS}/NAME, or "
            "compare activations by `reptools compute rsa`."
        )
    with opened(path) as tree:
        group = tree.children.get(schema.RDMS)
        if group is None:
            raise StoreError(f"{path} has no group /{schema.RDMS}, so no dissimilarity matrices.")
        known = _known(name.partition("/")[2], list(group.children), "dissimilarity matrix", path)
        data = group.children[known].data_vars[schema.DISSIMILARITY]
        yield Selection(path, tree, {address: known}, {address: data})


def split(address: str) -> tuple[str, str | None]:
    """Path and inner name of an address; a file that has ``::`` in its name is a file."""
    if SEPARATOR not in address or Path(address).exists():
        return address, None
    path, _, name = address.rpartition(SEPARATOR)
    if not path or not name:
        raise ParameterError(f"{address!r} is no address. Write FILE or FILE::LAYER.")
    return path, name


def features_of(selection: Selection, names: str | None) -> xr.Dataset:
    """The chosen features of the selection's file; all without ``names``.

    Raises
    ------
    FeatureError
        The file has no features, or not the one that is named.
    """
    group = selection.tree.children.get(schema.FEATURES)
    features = xr.Dataset() if group is None else group.to_dataset()
    if not features.data_vars:
        raise FeatureError(f"{selection.path} holds no features. Write them with its stimuli.")
    if names is None:
        return features
    known = [str(name) for name in features.data_vars]
    wanted = [part.strip() for part in names.split(",")]
    return features[[_known(part, known, "feature", selection.path) for part in wanted]]


def _step(
    tree: xr.DataTree, layer: xr.DataArray, step: str, path: str
) -> tuple[int | None, int | None, str]:
    """Position, number and note of the wanted step; (None, None, "") where none is picked."""
    if step not in ("last", "all") and not step.removeprefix("-").isdecimal():
        raise ParameterError(f"--step must be last, all or a number, got {step!r}.")
    if schema.STEP not in layer.dims:
        if step in ("last", "all"):
            return None, None, ""
        raise ParameterError(f"{path} has no steps, got --step {step}. Leave it out.")
    if step == "all":
        return None, None, ""
    steps = layer[schema.STEP].values.tolist()
    if step == "last":
        position = len(steps) - 1 - _begun_only(tree, layer)
        last = "last" if position == len(steps) - 1 else "last complete"
        note = f"step {steps[position]} is the {last} of {len(steps)} in {path}"
        return position, steps[position], f"{note}; --step all keeps all"
    if int(step) not in steps:
        near = sorted(sorted(steps, key=lambda value: abs(value - int(step)))[:2])
        raise ParameterError(
            f"{path} has no step {step}. The nearest of {len(steps)} are {some(near)}."
        )
    return steps.index(int(step)), int(step), ""


def _begun_only(tree: xr.DataTree, layer: xr.DataArray) -> bool:
    """Whether a writer was killed within the last step, whose last stimuli then are missing."""
    if tree.attrs.get(schema.COMPLETE, 1) or layer.sizes[schema.STEP] < 2:
        return False
    return bool(layer.isel({schema.STEP: -1, schema.STIMULUS: -1}).isnull().all())


def _known(name: str, names: list[str], what: str, path: str) -> str:
    """``name`` if it is one of ``names``; otherwise an error that shows the close ones."""
    if name in names:
        return name
    close = difflib.get_close_matches(name, names, n=3)
    hint = f"Close ones: {some(close)}." if close else f"It has {some(names, 8)}."
    error = FeatureError if what == "feature" else ParameterError
    raise error(f"{path} has no {what} {name!r}. {hint}")
