"""The one loop over systems and layers: any operation on each, or on every pair."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from os import PathLike, fspath
from typing import Any, Literal

import xarray as xr

from reptools import schema
from reptools.engine.assembling import Part, assembled, refuse_mixed
from reptools.engine.calling import Named, call, grid
from reptools.engine.inputs import FeaturesInput
from reptools.engine.operation import Operation, Result, Wiring
from reptools.engine.registry import found_with_options
from reptools.engine.results import params
from reptools.engine.selecting import CORE, Place
from reptools.engine.systems import (
    AXIS,
    Files,
    Layers,
    Site,
    at_places,
    common_stimuli,
    place_name,
    places_of,
    sites_of,
    systems_of,
)
from reptools.errors import DataError, ParameterError, ReptoolsError, naming, some
from reptools.progress import showing, track

MetricName = str | Callable[..., Any] | functools.partial[Any]


@dataclass(frozen=True)
class Asked:
    """An operation with its options checked, and which layers and stimuli it is asked of.

    Attributes
    ----------
    operation, wiring, bound
        What is computed.
    layers : str or sequence of str, optional
        Names or patterns.
    places : sequence of Place
        Positions along outer dimensions.
    stimuli : "exact" or "common"
        What becomes of stimuli that not all inputs share.
    missing : "raise" or "nan"
        What becomes of a layer for which nothing can be computed.
    caught : type of exception
        What counts as "cannot be computed" where ``missing`` is "nan".
    notes : list of str
        What a reader should be told of the selection; filled on the way.
    """

    operation: Operation
    wiring: Wiring[Any]
    bound: Mapping[str, Any]
    layers: Layers = None
    places: Sequence[Place] = ()
    stimuli: str = "exact"
    missing: str = "raise"
    caught: type[Exception] = ReptoolsError
    notes: list[str] = field(default_factory=list)


def asked(
    operation: Operation,
    options: Mapping[str, Any],
    *,
    layers: Layers = None,
    places: Sequence[Place] = (),
    stimuli: str = "exact",
    missing: str = "raise",
    text: bool = False,
) -> Asked:
    """Check everything that can be checked before a file is read; ``text`` options are parsed."""
    for name, value, known in (
        ("stimuli", stimuli, ("exact", "common")),
        ("missing", missing, ("raise", "nan")),
    ):
        if value not in known:
            raise ParameterError(f"{name} must be {' or '.join(known)}, got {value!r}. Pass one.")
    bound = operation.bind(options, text=text)
    wiring = operation.wire(bound)
    return Asked(operation, wiring, bound, layers, places, stimuli, missing)


def compute(
    metric: MetricName,
    tree: xr.DataTree,
    /,
    *,
    layers: str | Sequence[str] | None = None,
    at: Mapping[str, Any] | None = None,
    stimuli: Literal["exact", "common"] = "exact",
    missing: Literal["raise", "nan"] = "raise",
    progress: bool | None = None,
    **options: Any,
) -> Any:
    """Evaluate any metric or intervention on every layer of every system.

    Parameters
    ----------
    metric : str, metric, or functools.partial of one
        What to compute; a partial binds options where a type checker sees them.
    tree : DataTree
        An open file, ``rt.open(path)``, or several, ``rt.open("runs/*.h5")``.
    layers : str or sequence of str, optional
        Names or shell patterns of layers, such as ``"fc*"``; all by default.
    at : mapping of str to value, optional
        Position along outer dimensions: a coordinate value, "first", "last" or "all", such as
        ``{"step": "last"}``, which is each system's own last. All positions by default.
    stimuli : {"exact", "common"}
        Whether the inputs of a layer must have the same stimuli (default), or all layers of all
        systems and their inputs are cut to those that all share, which the result says. By default
        systems may have different stimuli where each is scored by itself; see ``n_stimuli``.
    missing : {"raise", "nan"}
        Whether a layer for which nothing can be computed is an error (default), or missing (NaN),
        with the reason in ``attrs["failures"]``.
    progress : bool, optional
        Whether to show a bar; by default after some seconds, in a terminal.
    **options
        Options of the operation, and its inputs beside the first one by their names: ``features=``
        or ``target=`` (arrays, or names of features of the file; all of these by default), ``y=``
        (an array for all layers, or an open file, whose layer of the same name is taken; without
        it the layer itself, its outer dimensions crossed), ``models=``, ``readout=`` (by default
        the one that the file saved, at the layer that feeds it).

    Returns
    -------
    DataArray or Dataset ([system,] layer, [outer dimensions,] own dimensions)
        ``system`` is there for a collection only, also one of a single file; ``rdm`` stands in the
        place of ``layer`` for operations on dissimilarity matrices. Positions of all systems are
        united by value. ``n_units`` and ``n_dead_units`` ([system,] layer, [outer]) are 0 where
        nothing was recorded; a NaN beside units could not be computed.

    Raises
    ------
    ParameterError
        The operation, an option, a layer or a position is unknown.
    DimensionError
        Layers differ in their outer dimensions, so that they make no table.
    ReptoolsError
        What the operation raises, with the name of the layer.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> import reptools as rt
    >>> rng = np.random.default_rng(0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name in ("a", "b"):
    ...         with rt.Writer(f"{folder}/{name}.h5", system=name, stimulus=range(20)) as file:
    ...             _ = file.append({"fc1": rng.normal(size=(20, 5))})
    ...     with rt.open(f"{folder}/*.h5") as tree:
    ...         found = rt.compute("participation_ratio", tree, estimator="biased")
    >>> found.dims, found.system.values.tolist(), found.n_units.values.tolist()
    (('system', 'layer'), ['a', 'b'], [[5], [5]])
    """
    with naming("compute"):
        operation, preset = found_with_options(metric)
    with naming(operation.name):
        given = {**preset, **options}
        first, *others = operation.inputs
        if first in given:
            raise ParameterError(f"{first} is the layer of the file, and is passed as well.")
        inputs = {name: given.pop(name) for name in others if name in given}
        _refuse_other_name(operation, given)
        systems = systems_of(tree)
        what = asked(
            operation,
            given,
            layers=layers,
            places=places_of(at),
            stimuli=stimuli,
            missing=missing,
        )
        with showing(progress):
            return computed(what, Files(systems, what.layers), inputs)


def _refuse_other_name(operation: Operation, given: Mapping[str, Any]) -> None:
    """An input under the name that it has elsewhere, such as features= for target=."""
    for name, kind in operation.inputs.items():
        for other in ("features", "target"):
            if isinstance(kind, FeaturesInput) and other in given:
                raise ParameterError(
                    f"there is no option {other!r}: {operation.name} takes its features as "
                    f"{name}=. Pass {name}={given[other]!r:.40}."
                )


def computed(what: Asked, files: Files, inputs: Mapping[str, Any]) -> Result:
    """Evaluate on every layer that is asked for."""
    operation = what.operation
    kinds = list(operation.inputs.items())
    first = kinds[0][1]
    inputs = {
        name: at_places(value, kind.group, what.places, what.notes)
        if kind.side and isinstance(value, xr.DataTree) and kind.group in value.children
        else value
        for name, value in inputs.items()
        for kind in [operation.inputs[name]]
    }
    read = {
        system: {name: kind.of_file(inputs.get(name), node, name) for name, kind in kinds[1:]}
        for system, node in files.systems.items()
    }
    (sites,) = sites_of([files], first, what.places, what.notes)
    left: dict[str, Sequence[str]] = {}
    for system in files.systems:
        left[system] = [site.layer for site in sites if site.system == system]
        for name, kind in kinds[1:]:
            left[system] = kind.layers(read[system][name], left[system])
    sites = [site for site in sites if site.layer in left[site.system]]
    return gathered(what, sites, list(files.systems), *over_sites(what, sites, read))


Failures = dict[str, str]  # name of a layer to why nothing could be computed for it


def over_sites(
    what: Asked, sites: Sequence[Site], read: Mapping[str, Mapping[str, Any]]
) -> tuple[dict[tuple[str, str], Part], Failures]:
    """Evaluate on given layers, beside what was read of each system; and what failed."""
    operation = what.operation
    kinds = list(operation.inputs.items())
    parts: dict[tuple[str, str], Part] = {}
    failures: Failures = {}
    common = what.stimuli == "common"
    elsewhere = [site.data for site in sites] if common else []
    for site in track(sites, operation.name):
        try:
            values: list[Any] = [site.data]
            values += [
                kind.of_layer(read[site.system][name], site.data, site.layer)
                for name, kind in kinds[1:]
            ]
            note = {}
            if common:
                values, shared = common_stimuli(values, elsewhere)
                note = {"stimuli": f"common: {shared} of {site.data.sizes[schema.STIMULUS]}"}
            names = [site.said, *(name for name, _ in kinds[1:])]
            outcome = call(operation, what.wiring, what.bound, values, names)
        except what.caught as error:
            if what.missing == "raise":
                raise _placed(error, site.said) from None
            known = isinstance(error, ReptoolsError)
            failures[site.name] = str(error) if known else f"{type(error).__name__}: {error}"
            continue
        outcome.result.attrs |= note
        parts[site.system, site.layer] = Part(outcome, site.at, site.said)
    return parts, failures


def gathered(
    what: Asked,
    sites: Sequence[Site],
    systems: Sequence[str],
    parts: Mapping[tuple[str, str], Part],
    failures: Failures,
) -> Result:
    """What was computed of the sites, as one result.

    Raises
    ------
    DataError
        Nothing was.
    """
    if not parts:
        alike: dict[str, list[str]] = {}
        for name, said in failures.items():
            alike.setdefault(said, []).append(name)
        reasons = "; ".join(f"{', '.join(names)}: {said}" for said, names in alike.items())
        raise DataError(f"nothing could be computed for any of {len(sites)} layers: {reasons}")
    operation = what.operation
    first = next(iter(operation.inputs.values()))
    axis = AXIS[first.group]
    places = {axis: list(dict.fromkeys(site.layer for site in sites))}
    if list(systems) != [""]:
        places = {"system": list(systems), **places}
    lost = {(site.system, site.layer): site.data for site in sites if site.name in failures}
    result = assembled(operation, what.wiring, parts, lost, places)
    # what gives activations back has the attributes of activations
    facts = {
        "metric": operation.name,
        "estimator": operation.estimator,
        "params": params(what.bound),
    }
    result.attrs = {**facts, **result.attrs}
    if failures:
        result.attrs["failures"] = json.dumps(failures)
    return result


def _placed(error: Exception, name: str) -> Exception:
    """An error that says where, if it does not already."""
    if name in str(error):
        return error
    placed = type(error)(f"{name}: {error}")
    for note in getattr(error, "__notes__", []):
        placed.add_note(note)
    return placed


def compare(
    xs: Any,
    ys: Any = None,
    /,
    *,
    metric: MetricName = "cka",
    layers: str | Sequence[str] | None = None,
    at: Mapping[str, Any] | None = None,
    stimuli: Literal["exact", "common"] = "exact",
    progress: bool | None = None,
    **options: Any,
) -> xr.DataArray:
    """Compare every representation of one collection with every one of another.

    Each representation is prepared once, however many others it is compared with.

    Parameters
    ----------
    xs, ys : DataTree, mapping of str to activations, or sequence of activations
        Layers: an open file (``rt.open(path)``) or several (``rt.open("runs/*.h5")``), a mapping
        of names to activations (stimulus, unit), or a sequence (named by number). All must show
        the same stimuli, which are matched by label. Without ``ys``, ``xs`` is compared with
        itself. Operations on dissimilarity matrices take these in the same forms.
    metric : str, metric, or functools.partial of one, default "cka"
        Anything that takes two sides; see :func:`reptools.list_metrics`. A partial binds options
        where a type checker sees them.
    layers : str or sequence of str, optional
        Names or shell patterns of the layers of open files; all by default.
    at : mapping of str to value, optional
        Position along outer dimensions of open files, such as ``{"step": "last"}``, which is each
        system's own last. All positions by default.
    stimuli : {"exact", "common"}
        Whether all must have the same stimuli (default), or are cut to those that all share.
    progress : bool, optional
        Whether to show a bar; by default after some seconds, in a terminal.
    **options
        Options of that metric, checked as in a direct call.

    Returns
    -------
    DataArray (x, y, [outer dimensions])
        Named after the metric, labelled by layer (``fc1``), or by system and layer
        (``mlp-0/fc1``) for a collection of files; ``x_system``, ``x_layer`` (and ``y_``) are
        coordinates there. Outer dimensions such as ``step`` that both sides share are paired;
        others are crossed. ``n_units_x``, ``n_dead_units_x`` (and ``_y``) are coordinates.

    Raises
    ------
    ParameterError
        ``metric`` does not take two sides, an option is unknown, or a collection is empty.
    StimulusError
        Two representations were not shown the same stimuli, or only one has labels.
    DimensionError
        Layers of one collection differ in their outer dimensions.

    Examples
    --------
    >>> import numpy as np
    >>> import reptools as rt
    >>> rng = np.random.default_rng(0)
    >>> layers = {"fc1": rng.normal(size=(20, 5)), "fc2": rng.normal(size=(20, 3))}
    >>> result = rt.compare(layers, metric="cka")
    >>> result.dims, result.x.values.tolist()
    (('x', 'y'), ['fc1', 'fc2'])
    >>> round(float(result.sel(x="fc1", y="fc1")), 6)
    1.0
    """
    with naming("compare"):
        operation, preset = found_with_options(metric)
        _refuse_not_pair(operation)
        what = asked(
            operation, preset | options, layers=layers, places=places_of(at), stimuli=stimuli
        )
        with showing(progress):
            return compared(what, *_sides(what, xs, ys))


@dataclass(frozen=True)
class Compared:
    """One side of a comparison: values by their labels, and what coordinates tell of them."""

    values: Mapping[str, Named]
    coords: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    at: Mapping[str, Sequence[Any]] = field(default_factory=dict)  # positions that were picked


def _refuse_not_pair(operation: Operation) -> None:
    if not operation.compares:
        raise ParameterError(
            f"metric must take two sides and nothing else, and {operation.name} takes "
            f"{', '.join(operation.inputs)}. Pass one that does, or use compute()."
        )


def compared(what: Asked, x: Compared, y: Compared | None = None) -> xr.DataArray:
    """Every x against every y, with what is known of both axes."""
    if what.stimuli == "common":
        every = [*x.values.values(), *(y.values.values() if y is not None else ())]
        cut, n = common_stimuli([value for value, _ in every])
        what.notes.append(f"compared at {n} common stimuli")
        named = iter([(value, said) for value, (_, said) in zip(cut, every, strict=True)])
        x = replace(x, values={label: next(named) for label in x.values})
        y = None if y is None else replace(y, values={label: next(named) for label in y.values})
    result = grid(
        what.operation, what.wiring, what.bound, x.values, None if y is None else y.values
    )
    assert isinstance(result, xr.DataArray)
    if what.stimuli == "common":
        result.attrs["stimuli"] = f"common: {result.attrs['n_stimuli']}"
    sides = {"x": x, "y": x if y is None else y}
    picked = {
        dim: {value for side in sides.values() for value in side.at.get(dim, [None])}
        for dim in dict.fromkeys(dim for side in sides.values() for dim in side.at)
    }
    alike = {dim: values.pop() for dim, values in picked.items() if len(values) == 1}
    coords: dict[str, Any] = {d: value for d, value in alike.items() if d not in result.dims}
    for axis, side in sides.items():
        beside = {**side.coords, **{d: v for d, v in side.at.items() if d not in alike}}
        coords |= {f"{axis}_{name}": (axis, list(values)) for name, values in beside.items()}
    return result.assign_coords(coords)


def _sides(what: Asked, xs: Any, ys: Any) -> list[Compared]:
    """Every representation of one or two collections, by its label."""
    given = {"xs": xs} if ys is None else {"xs": xs, "ys": ys}
    files = {
        name: Files(systems_of(value, name), what.layers)
        for name, value in given.items()
        if isinstance(value, xr.DataTree) and not _is_plain_group(value)
    }
    found = dict(zip(files, sides_of(what, files), strict=True)) if files else {}
    return [
        found[name] if name in found else _of_values(what, value, name)
        for name, value in given.items()
    ]


def _of_values(what: Asked, given: Any, name: str) -> Compared:
    """Every representation of a mapping or a sequence."""
    if isinstance(given, (str, PathLike)):
        path = fspath(given)
        raise ParameterError(f"{name} is the path {path!r}. Open it first: rt.open({path!r}).")
    kind = next(iter(what.operation.sides.values()))
    if isinstance(given, xr.DataTree):
        given = dict(given.children)
    elif isinstance(given, Sequence) and not isinstance(given, str):
        given = {str(i): x for i, x in enumerate(given)}
    if not isinstance(given, Mapping):
        raise ParameterError(
            f"{name} must be a tree, a mapping or a list of {kind.group}, got "
            f"{type(given).__name__}. Put a single one in a list."
        )
    if not given:
        raise ParameterError(f"{name} holds no activations. Pass at least one layer.")
    if what.layers is not None or what.places:
        raise ParameterError(
            f"layers= and at= choose from open files, and {name} is a {type(given).__name__}. "
            "Choose before, or pass rt.open(path)."
        )
    values = {str(key): (x, f"{name}[{str(key)!r}]") for key, x in given.items()}
    if len(values) < len(given):
        raise ParameterError(f"{name} has keys of one text: {some(given)}. Rename one.")
    return Compared(values)


def _is_plain_group(tree: xr.DataTree) -> bool:
    """Whether it is a group of layers itself, such as ``tree["layers"]``."""
    return bool(tree.children) and all(
        schema.ACTIVATION in child.data_vars or schema.DISSIMILARITY in child.data_vars
        for child in tree.children.values()
    )


def sides_of(what: Asked, files: Mapping[str, Files]) -> list[Compared]:
    """All layers of open files that are asked for, by the argument that gave them."""
    kind = next(iter(what.operation.sides.values()))
    sites = sites_of(list(files.values()), kind, what.places, what.notes)
    return [
        _side_of(found, side, name, kind.group)
        for found, (name, side) in zip(sites, files.items(), strict=True)
    ]


def _side_of(sites: Sequence[Site], files: Files, name: str, group: str) -> Compared:
    _refuse_mixed(sites)
    plain = files.called is place_name
    # the argument is part of the name: both sides may have a layer of that name
    values = {
        site.name: (site.data, f"{name}[{site.name!r}]" if plain else site.said) for site in sites
    }
    coords: dict[str, list[Any]] = {}
    if "" not in files.systems:
        coords["system"] = [site.system for site in sites]
        coords[AXIS[group]] = [site.layer for site in sites]
    picked = dict.fromkeys(dim for site in sites for dim in site.at)
    return Compared(values, coords, {dim: [site.at.get(dim) for site in sites] for dim in picked})


def _refuse_mixed(sites: Sequence[Site]) -> None:
    """Layers along one axis of a grid need the same outer dimensions."""
    groups: dict[tuple[str, ...], list[Site]] = {}
    for site in sites:
        dims = (str(dim) for dim in site.data.dims if dim not in CORE)
        groups.setdefault(tuple(sorted(dims)), []).append(site)
    refuse_mixed(
        {dims: [(site.layer, site.said) for site in found] for dims, found in groups.items()}
    )
