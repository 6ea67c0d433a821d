"""Addresses on the command line: ``run.h5``, ``run.h5::fc2``, ``run.h5::rdms/NAME``."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import xarray as xr

from reptools import schema, store
from reptools.engine.selecting import (
    ALL,
    LAST,
    Picked,
    Place,
    check_found,
    matching,
    meant,
    pick,
    place_of,
)
from reptools.errors import FeatureError, ParameterError, StoreError, some

SEPARATOR = "::"


@dataclass(frozen=True)
class Asked:
    """What the options of a command ask of every address.

    Attributes
    ----------
    places : sequence of Place
        Positions along outer dimensions.
    layers : sequence of str or None
        Names or patterns of layers, for addresses that are whole files.
    """

    places: Sequence[Place]
    layers: Sequence[str] | None = None


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
    picked : Picked
        Full address to data at the wanted positions, and which these were.
    unmatched : list of str or None
        Patterns of ``--layers`` that no layer of the file has; None where the address names
        layers itself.
    """

    path: str
    tree: xr.DataTree
    names: dict[str, str]
    picked: Picked
    unmatched: list[str] | None = field(default=None)

    @property
    def arrays(self) -> dict[str, xr.DataArray]:
        """Full address to data."""
        return self.picked.arrays

    @property
    def at(self) -> dict[str, Any]:
        """Dimension to the position that was picked."""
        return self.picked.at


def wanted(at: Sequence[str] | None, step: str | None) -> list[Place]:
    """Read ``--at`` and ``--step``, which is short for ``--at step=``; the step comes first.

    Raises
    ------
    ParameterError
        An option is no DIMENSION=VALUE, or names a dimension twice, or one that is not outer.
    """
    places: dict[str, Place] = {}
    for text in [*([] if step is None else [f"{schema.STEP}={step}"]), *(at or ())]:
        dim, sign, value = (part.strip() for part in text.partition("="))
        if not (dim and sign and value):
            raise ParameterError(f"--at is {text!r}. Write DIMENSION=VALUE, such as token=last.")
        if dim in places:
            raise ParameterError(
                f"{dim} is picked twice, by {places[dim]} and {text}. Give one of them "
                "(--step is short for --at step=)."
            )
        places[dim] = place_of(dim, value)
    last = Place(schema.STEP, LAST, hint=f"--step {ALL} keeps all")
    return [places.pop(schema.STEP, last), *places.values()]


@contextmanager
def opened(path: str) -> Iterator[xr.DataTree]:
    """The file as a tree; closed afterwards."""
    tree = store.open(path)
    try:
        yield tree
    finally:
        tree.close()


@contextmanager
def layers_at(address: str, asked: Asked) -> Iterator[Selection]:
    """Activations of the layers that an address and the options name, at the wanted positions.

    Raises
    ------
    ParameterError
        No layer of the file is meant, or a position is not in it.
    StoreError
        The file cannot be read, or holds no layer.
    """
    path, name = split(address)
    with opened(path) as tree:
        _refuse_rdms_as_layers(path, tree)
        groups = tree.children.get(schema.LAYERS)
        layers = {} if groups is None else dict(groups.children)
        if not layers:
            raise StoreError(f"{path} holds no layers. `reptools info {path}` shows what it holds.")
        unmatched = None
        if name is not None:
            chosen = _known(name, list(layers), "layer", path)
        elif asked.layers is None:
            chosen = list(layers)
        else:
            chosen, unmatched = meant(asked.layers, list(layers))
            if not chosen:
                _known(unmatched[0], list(layers), "layer", path)
        activations = {
            f"{path}{SEPARATOR}{layer}": layers[layer].data_vars[schema.ACTIVATION]
            for layer in chosen
        }
        names = dict(zip(activations, chosen, strict=True))
        picked = pick(path, tree, activations, asked.places)
        yield Selection(path, tree, names, picked, unmatched)


@contextmanager
def rdms_at(address: str, asked: Asked) -> Iterator[Selection]:
    """The dissimilarity matrices that an address names, at the wanted positions.

    Raises
    ------
    ParameterError
        The address is that of a layer, or names no matrix of the file.
    """
    path, name = split(address)
    if name is not None and not name.startswith(f"{schema.RDMS}/"):
        raise ParameterError(
            f"{address!r} is no address of a dissimilarity matrix. Write FILE for all of a file, "
            f"or FILE::{schema.RDMS}/NAME. `reptools compute rdm {address} --out rdms.h5` makes "
            "them of activations, and `reptools compute rsa` compares these at once."
        )
    with opened(path) as tree:
        group = tree.children.get(schema.RDMS)
        if group is None or not group.children:
            _refuse_rdms_as_layers(path, tree)
            raise StoreError(
                f"{path} has no group /{schema.RDMS}, so no dissimilarity matrices. Make them of "
                f"its activations: reptools compute rdm {path} --out rdms.h5."
            )
        known = list(group.children)
        if name is not None:
            known = _known(name.partition("/")[2], known, "dissimilarity matrix", path)
        matrices = {
            f"{path}{SEPARATOR}{schema.RDMS}/{one}": group.children[one].data_vars[
                schema.DISSIMILARITY
            ]
            for one in known
        }
        names = dict(zip(matrices, known, strict=True))
        yield Selection(path, tree, names, pick(path, tree, matrices, asked.places))


def _refuse_rdms_as_layers(path: str, tree: xr.DataTree) -> None:
    """RDMs that were written as activations: any command would make RDMs of RDMs."""
    if tree.attrs.get(schema.KIND) == "rdms" and schema.LAYERS in tree.children:
        raise StoreError(
            f"{path} is of the kind 'rdms' and holds layers, so its RDMs were written as "
            "activations. Make them anew: reptools compute rdm FILE --out rdms.h5, of the file of "
            "the activations."
        )


def check_asked(asked: Asked, selections: Sequence[Selection]) -> list[str]:
    """Refuse what was asked for and no input has; tell which file lacks what.

    Raises
    ------
    ParameterError
        A pattern matches no layer of any file, no address leaves a choice of layers, or a
        dimension is in no input.
    """
    check_found(asked.places, [(one.path, one.picked) for one in selections])
    if asked.layers is None:
        return []
    files = {one.path: one.unmatched for one in selections if one.unmatched is not None}
    if not files:
        raise ParameterError(
            "--layers chooses layers of whole files, and the addresses name layers already. "
            "Leave out one of the two."
        )
    notes = []
    for pattern in asked.layers:
        without = [path for path, unmatched in files.items() if pattern in (unmatched or ())]
        if len(without) == len(files):
            paths = " and ".join(files)
            raise ParameterError(
                f"--layers: no layer of {paths} matches {pattern!r}. "
                f"`reptools info {selections[0].path}` lists the layers."
            )
        notes += [f"{path} has no layer that matches {pattern}" for path in without]
    return notes


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
    wanted = listed(names) or []
    found = [one for part in wanted for one in _known(part, known, "feature", selection.path)]
    return features[list(dict.fromkeys(found))]


def listed(names: str | None) -> list[str] | None:
    """Names that are joined by commas."""
    return None if names is None else [name.strip() for name in names.split(",")]


def _known(name: str, names: list[str], what: str, path: str) -> list[str]:
    """What a name or pattern means among ``names``; an error that shows close ones if nothing."""
    if found := matching(name, names):
        return found
    close = difflib.get_close_matches(name, names, n=3)
    hint = f"Close ones: {some(close)}." if close else f"It has {some(names, 8)}."
    error = FeatureError if what == "feature" else ParameterError
    raise error(f"{path} has no {what} {name!r}. {hint}")
