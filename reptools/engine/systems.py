"""Open files as systems: which layers are meant, and at which positions."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike, fspath
from typing import Any

import xarray as xr

from reptools import schema
from reptools.engine.inputs import Input
from reptools.engine.selecting import Picked, Place, check_found, meant, pick, place_of
from reptools.errors import ParameterError, StoreError, some

VARIABLE = {schema.LAYERS: schema.ACTIVATION, schema.RDMS: schema.DISSIMILARITY}
AXIS = {schema.LAYERS: "layer", schema.RDMS: "rdm"}
WHAT = {schema.LAYERS: "layer", schema.RDMS: "dissimilarity matrix"}


@dataclass(frozen=True)
class Site:
    """One layer of one system, at the wanted positions.

    Attributes
    ----------
    system : str
        Its name; empty for a single file.
    layer : str
        As the file has it.
    data : DataArray
        Not yet read.
    said : str
        What messages call it.
    at : dict of str to value
        Positions that were picked, by dimension.
    """

    system: str
    layer: str
    data: xr.DataArray
    said: str
    at: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Its label among others: ``fc1``, or ``mlp-0/fc1`` of a collection."""
        return place_name(self.system, self.layer)


def place_name(system: str, layer: str = "") -> str:
    """What a layer, or a whole system, is called: ``fc1``, or ``mlp-0/fc1`` of a collection."""
    return "/".join(part for part in (system, layer) if part)


def systems_of(tree: Any, name: str = "tree") -> dict[str, xr.DataTree]:
    """The systems of an open file (named ``""``) or of a collection of several.

    Raises
    ------
    ParameterError
        It is a path, no tree, or empty.
    """
    if isinstance(tree, (str, PathLike)):
        path = fspath(tree)
        raise ParameterError(f"{name} is the path {path!r}. Open it first: rt.open({path!r}).")
    if not isinstance(tree, xr.DataTree):
        raise ParameterError(
            f"{name} is a {type(tree).__name__}. Pass an open file: rt.open(path), or "
            "rt.open('runs/*.h5') for several."
        )
    if _is_file(tree):
        return {"": tree}
    found = {str(key): child for key, child in tree.children.items() if _is_file(child)}
    if not found or len(found) < len(tree.children):
        raise ParameterError(
            f"{name} holds the groups {some(tree.children)}, which are no layers, dissimilarity "
            "matrices or systems. Pass an open file, or a tree of open files."
        )
    return found


def _is_file(node: xr.DataTree) -> bool:
    return any(group in node.children for group in (*VARIABLE, schema.FEATURES))


def places_of(at: Mapping[str, Any] | None) -> list[Place]:
    """Wanted positions of ``at=``.

    Raises
    ------
    ParameterError
        It is no mapping, or names a dimension that is no outer one.
    """
    if at is None:
        return []
    if not isinstance(at, Mapping):
        raise ParameterError(
            f"at must map dimensions to positions, got {at!r}. Pass at={{'step': 'last'}}."
        )
    return [place_of(str(dim), value) for dim, value in at.items()]


Layers = str | Sequence[str] | Mapping[str, Sequence[str] | None] | None


@dataclass(frozen=True)
class Files:
    """Open files of one side, and which layers of them are meant.

    Attributes
    ----------
    systems : mapping of str to DataTree
        By system; a single file is called ``""``.
    layers : str, sequence of str, mapping of str to these, or None
        Names or patterns, for all systems or by system; all layers where there is none.
    called : callable
        (system, layer) to what messages call it; (system, "") for the whole.
    """

    systems: Mapping[str, xr.DataTree]
    layers: Layers = None
    called: Callable[[str, str], str] = place_name

    def where(self, system: str) -> str:
        """What messages call one of the files."""
        return self.called(system, "") or str(
            self.systems[system].attrs.get(schema.PATH, "the file")
        )


def sites_of(
    sides: Sequence[Files],
    kind: Input,
    places: Sequence[Place],
    notes: list[str] | None = None,
) -> list[list[Site]]:
    """All layers that are meant, in the order of depth or of the patterns, side by side.

    What one side lacks and another has is no error, but told.

    Parameters
    ----------
    sides : sequence of Files
        One for each side of a comparison.
    kind : Input
        What is read of them.
    places : sequence of Place
        Positions along outer dimensions.
    notes : list of str, optional
        What a reader should be told is added.

    Raises
    ------
    ParameterError
        A pattern matches no layer of any system, a side has no layer that is meant, or a position
        is nowhere.
    StoreError
        A system holds no layer at all.
    """
    lacking: dict[str, list[str]] = {}  # where a pattern matches nothing
    asked: dict[str, int] = {}  # in how many systems it is looked for
    known: dict[str, None] = {}
    picked_all: list[tuple[str, Picked]] = []
    found: list[list[Site]] = []
    for files in sides:
        sites: list[Site] = []
        by_system = _by_system(files.systems, files.layers)
        for system, node in files.systems.items():
            where = files.where(system)
            names = _names(node, kind.group, where)
            known |= dict.fromkeys(names)
            chosen, patterns = names, by_system[system]
            if patterns is not None:
                chosen, unmatched = meant(patterns, names)
                for pattern in patterns:
                    asked[pattern] = asked.get(pattern, 0) + 1
                    lacking.setdefault(pattern, [])
                for pattern in unmatched:
                    lacking[pattern].append(where)
            group, variable = node.children[kind.group], VARIABLE[kind.group]
            arrays = {name: group.children[name].data_vars[variable] for name in chosen}
            picked = pick(where, node, arrays, places)
            picked_all.append((where, picked))
            sites += [
                Site(
                    system,
                    name,
                    picked.arrays[name],
                    files.called(system, name),
                    picked.at_of(name),
                )
                for name in chosen
            ]
        found.append(sites)
    for pattern, places_without in lacking.items():
        if len(places_without) == asked[pattern]:
            _refuse_unknown(pattern, list(known), kind.group, places_without)
    for files, sites in zip(sides, found, strict=True):
        if not sites:
            _refuse_nothing(files, kind.group)
    check_found(places, picked_all)
    if notes is not None:
        notes += _told(picked_all)
        notes += [
            f"{where} has no {WHAT[kind.group]} that matches {pattern}"
            for pattern, places_without in lacking.items()
            for where in dict.fromkeys(places_without)
        ]
    return found


def at_places(
    tree: xr.DataTree, group: str, places: Sequence[Place], notes: list[str]
) -> xr.DataTree:
    """An open file with each layer at the wanted positions, for another side of the same layers."""
    variable = VARIABLE[group]
    arrays = {
        str(name): child.data_vars[variable]
        for name, child in tree.children[group].children.items()
    }
    path = str(tree.attrs.get(schema.PATH, "the other file"))
    picked = pick(path, tree, arrays, places)
    notes += picked.notes
    return xr.DataTree.from_dict(
        {f"/{group}/{name}": one.to_dataset(name=variable) for name, one in picked.arrays.items()}
    )


def _told(picked_all: Sequence[tuple[str, Picked]], limit: int = 3) -> list[str]:
    """What was picked, once for all files of which the same is said."""
    alike: dict[str, list[str]] = {}
    for where, picked in picked_all:
        for note in picked.notes:
            one = note.count(where) == 1
            alike.setdefault(note.replace(where, "\0") if one else note, []).append(where)
    told = []
    for note, every in alike.items():
        names = list(dict.fromkeys(every))
        more = f" and {len(names) - limit} more" if len(names) > limit else ""
        told.append(note.replace("\0", ", ".join(names[:limit]) + more))
    return told


def _by_system(
    systems: Mapping[str, xr.DataTree], layers: Layers
) -> dict[str, Sequence[str] | None]:
    if isinstance(layers, Mapping):
        return {system: layers.get(system) for system in systems}
    patterns = [layers] if isinstance(layers, str) else layers
    if patterns is not None and not all(isinstance(one, str) for one in patterns):
        raise ParameterError(f"layers must be names or patterns, got {layers!r}. Pass text.")
    return dict.fromkeys(systems, patterns)


def _names(node: xr.DataTree, group: str, where: str) -> list[str]:
    if node.attrs.get(schema.KIND) == schema.RDMS and schema.LAYERS in node.children:
        raise StoreError(  # any operation would make RDMs of RDMs
            f"{where} is of the kind 'rdms' and holds layers, so its RDMs were written as "
            "activations. Make them anew: reptools compute rdm FILE --out rdms.h5, of the file of "
            "the activations."
        )
    found = node.children.get(group)
    if found is None or not found.children:
        make = (
            f" Make them: reptools compute rdm {where} --out rdms.h5."
            if group == schema.RDMS
            else ""
        )
        raise StoreError(f"{where} holds no {WHAT[group].replace('matrix', 'matrices')}.{make}")
    return [str(name) for name in found.children]


def _refuse_unknown(pattern: str, known: Iterable[str], group: str, where: Sequence[str]) -> None:
    known = list(known)
    close = difflib.get_close_matches(pattern, known, n=3)
    hint = f"Close ones: {some(close)}." if close else f"It has {some(known, 8)}."
    raise ParameterError(f"layers: no {WHAT[group]} of {some(where)} matches {pattern!r}. {hint}")


def _refuse_nothing(files: Files, group: str) -> None:
    system = next(iter(files.systems))
    patterns = _by_system(files.systems, files.layers)[system] or []
    where = [files.where(one) for one in files.systems]
    known = _names(files.systems[system], group, where[0])
    raise ParameterError(
        f"layers: no {WHAT[group]} of {some(where)} matches {some(patterns, 8)}. It has "
        f"{some(known, 8)}. Name at least one of each side."
    )


def common_stimuli(values: Sequence[Any], elsewhere: Sequence[Any] = ()) -> tuple[list[Any], int]:
    """Labelled values cut to the stimuli that all of them share, and how many these are.

    ``elsewhere`` must have them too: the layers of the other systems.

    Raises
    ------
    ParameterError
        One has no labels, or none is shared.
    """
    labels = [_labels_of(value) for value in (*values, *elsewhere)]
    if any(one is None for one in labels):
        raise ParameterError(
            "stimuli='common' matches stimuli by label, and an input has none. Label it with a "
            "'stimulus' coordinate, or pass stimuli='exact'."
        )
    sets = [set(one) for one in labels if one is not None]
    shared = set.intersection(*sets)
    if len(shared) < 2:
        raise ParameterError(
            f"stimuli='common' finds {len(shared)} stimuli that all inputs share. Compare systems "
            "that were shown the same ones."
        )
    kept = [label for label in labels[0] or () if label in shared]
    return [_cut(value, kept) for value in values], len(kept)


def _labels_of(value: Any) -> list[Any] | None:
    if isinstance(value, Mapping) and not isinstance(value, (xr.Dataset, xr.DataTree)):
        each = [_labels_of(one) for one in value.values()]
        if any(one is None for one in each):
            return None
        return [x for x in each[0] or () if all(x in (one or ()) for one in each[1:])]
    coords = getattr(value, "coords", {})
    return coords[schema.STIMULUS].values.tolist() if schema.STIMULUS in coords else None


def _cut(value: Any, labels: Sequence[Any]) -> Any:
    if isinstance(value, Mapping) and not isinstance(value, (xr.Dataset, xr.DataTree)):
        return {key: _cut(one, labels) for key, one in value.items()}
    if isinstance(value, xr.DataTree):
        value = value.to_dataset()
    other = f"{schema.STIMULUS}_"
    square = {other: labels} if other in value.dims else {}
    return value.sel({schema.STIMULUS: labels, **square})
