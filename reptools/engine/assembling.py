"""Results of many layers as one: dense over (system, layer), every label in its place.

Written by hand, since concatenation would sort the layers, make counts floats, and needs labels
along every dimension.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr

from reptools import schema
from reptools.engine.calling import Outcome
from reptools.engine.operation import Operation, Result, Wiring
from reptools.engine.results import SCORE
from reptools.errors import DimensionError
from reptools.statistics.varying import varying

Key = tuple[str, str]  # system and layer
PADDED = "padded"
PER_PLACE = ("n_units", "n_dead_units")
N_STIMULI = "n_stimuli"
LARGE, EMPTY = 2**30, 4  # bytes, and how many times what is filled, from which padding is refused


@dataclass(frozen=True)
class Part:
    """The outcome of one layer of one system.

    Attributes
    ----------
    outcome : Outcome
        What was computed.
    at : mapping of str to value
        The positions that were picked for it, by dimension.
    said : str
        What messages call the layer.
    """

    outcome: Outcome
    at: Mapping[str, Any]
    said: str


@dataclass
class Axis:
    """One dimension of the whole: its labels, and where the values of each part belong."""

    size: int
    labels: np.ndarray[Any, Any] | None
    places: dict[Key, np.ndarray[Any, np.dtype[np.intp]]] = field(default_factory=dict)


def assembled(
    operation: Operation,
    wiring: Wiring[Any],
    parts: Mapping[Key, Part],
    lost: Mapping[Key, xr.DataArray],
    places: Mapping[str, Sequence[str]],
) -> Result:
    """One result over the dimensions of ``places`` and those of the parts.

    Parameters
    ----------
    operation, wiring
        What was computed.
    parts : mapping of (system, layer) to Part
        Those for which something was computed.
    lost : mapping of (system, layer) to DataArray
        The data of those for which nothing could be; their units are counted all the same.
    places : mapping of str to sequence of str
        Labels along the new dimensions: ([system,] layer).

    Raises
    ------
    DimensionError
        Layers differ in their outer dimensions, or the whole would be mostly padding.
    """
    results = {key: part.outcome.result for key, part in parts.items()}
    outer = _outer(parts, wiring)
    own = _own(results, wiring)
    counted = next(iter(parts.values())).outcome.outer
    alike = {key: x for key, x in lost.items() if set(counted) <= set(x.dims)}
    axes = {dim: _axis(dim, results, outer=dim in outer) for dim in (*outer, *own)}
    axes |= {dim: _axis(dim, results | alike, outer=True) for dim in counted if dim in outer}
    leading = {dim: len(labels) for dim, labels in places.items()}
    _refuse_mostly_empty(results, wiring, outer, axes, leading)
    at = {key: _position(key, places) for key in (*parts, *lost)}

    def filled(name: str, dims: Sequence[str], dtype: Any = np.float64) -> xr.Variable:
        dims = [dim for dim in dims if dim in axes]  # a single array brings no ``feature``
        start: Any = np.nan if dtype is np.float64 else 0
        whole = np.full((*leading.values(), *(axes[dim].size for dim in dims)), start, dtype)
        for key, result in results.items():
            values = _values(result, name, dims)
            whole[at[key] + np.ix_(*(axes[dim].places[key] for dim in dims))] = values
        return xr.Variable((*leading, *dims), whole)

    variables = {name: filled(name, (*outer, *dims)) for name, dims in wiring.fields.items()}
    coords: dict[Any, Any] = {dim: np.asarray(labels) for dim, labels in places.items()}
    coords |= {dim: axis.labels for dim, axis in axes.items() if axis.labels is not None}
    coords |= _shared_coords(results, axes, wiring)
    coords |= {name: variables[name] for name in wiring.extras}
    coords |= _counts(parts, lost, axes, at, leading)
    coords |= _picked(parts, places, at, leading, set(axes) | set(coords))
    attrs = _attributes(results, at, leading, coords)
    if padded := _padded(own, axes):
        attrs[PADDED] = json.dumps(padded)
    if wiring.outputs:
        return xr.Dataset({name: variables[name] for name in wiring.outputs}, coords, attrs)
    score = variables[SCORE]
    return xr.DataArray(score.values, coords, score.dims, name=operation.name, attrs=attrs)


def _padded(own: Sequence[str], axes: Mapping[str, Axis]) -> dict[str, dict[str, list[int]]]:
    """By layer, the places that it has along own dimensions of which it has some only.

    So a table can tell what a layer does not have from what could not be computed.
    """
    found: dict[str, dict[str, list[int]]] = {}
    for dim in own:
        for key, places in axes[dim].places.items():
            if places.size < axes[dim].size:
                found.setdefault(_name(key), {})[dim] = places.tolist()
    return found


def _outer(parts: Mapping[Key, Part], wiring: Wiring[Any]) -> list[str]:
    """The outer dimensions, which all parts must have."""
    own = set(wiring.own)
    groups: dict[tuple[str, ...], list[tuple[str, str]]] = {}
    for (_, layer), part in parts.items():
        dims = tuple(str(dim) for dim in _dims(part.outcome.result) if dim not in own)
        groups.setdefault(dims, []).append((layer, part.said))
    refuse_mixed(groups)
    return list(next(iter(groups)))


def refuse_mixed(groups: Mapping[tuple[str, ...], Sequence[tuple[str, str]]]) -> None:
    """Refuse layers (name, what messages call it) that differ in their outer dimensions.

    Raises
    ------
    DimensionError
        There is more than one group.
    """
    if len(groups) < 2:
        return
    said = [
        f"{', '.join(dims) or 'none'} in {found[0][1]}"
        + (f" and {len(found) - 1} more" if len(found) > 1 else "")
        for dims, found in groups.items()
    ]
    every = dict.fromkeys(dim for dims in groups for dim in dims)
    differing = [dim for dim in every if any(dim not in dims for dims in groups)]
    largest = list(dict.fromkeys(name for name, _ in max(groups.values(), key=len)))
    raise DimensionError(
        f"layers differ in their outer dimensions: {'; '.join(said)}. Choose layers that agree, "
        f"such as {','.join(largest[:3])} (layers), or one position, such as "
        f"{differing[0]}=last (at)."
        if differing
        else f"layers have their outer dimensions in different order: {'; '.join(said)}. "
        "Transpose them."
    )


def _dims(result: Result) -> Sequence[Any]:
    if isinstance(result, xr.DataArray):
        return result.dims
    longest = max(result.data_vars.values(), key=lambda one: one.ndim)
    return list(dict.fromkeys([*longest.dims, *result.dims]))


def _own(results: Mapping[Key, Result], wiring: Wiring[Any]) -> list[str]:
    """Own dimensions that are left, such as ``feature`` where a single array was passed not."""
    first = next(iter(results.values()))
    return [dim for dim in wiring.own if dim in first.dims]


def _values(result: Result, name: str, dims: Sequence[str]) -> np.ndarray[Any, Any]:
    data = result if name == SCORE else result[name]
    kept = [dim for dim in dims if dim in data.dims]
    return np.asarray(data.transpose(*kept).values)


def _axis(dim: str, results: Mapping[Key, Any], *, outer: bool) -> Axis:
    """Labels of all parts united by value; padded at the end where there are none."""
    found = {
        key: result.coords[dim].values if dim in result.coords else None
        for key, result in results.items()
    }
    sizes = {key: result.sizes[dim] for key, result in results.items()}
    if any(labels is None for labels in found.values()):
        if outer and any(labels is not None for labels in found.values()):
            raise DimensionError(
                f"the dimension {dim!r} is labelled in some layers only, so that its positions "
                "cannot be united. Label it in all, or pick one position with at=."
            )
        return _numbered(dim, sizes)
    known = [labels for labels in found.values() if labels is not None]
    if all(np.array_equal(known[0], other) for other in known[1:]):
        return Axis(len(known[0]), known[0], {key: np.arange(len(known[0])) for key in found})
    if dim == schema.UNIT:
        return _numbered(dim, sizes)
    labels = list(dict.fromkeys(label for one in known for label in one.tolist()))
    if all(one.dtype.kind in "iuf" and (np.diff(one) > 0).all() for one in known):
        labels.sort()
    position = {label: i for i, label in enumerate(labels)}
    places = {
        key: np.array([position[label] for label in one.tolist()], dtype=np.intp)
        for key, one in found.items()
        if one is not None
    }
    return Axis(len(labels), np.asarray(labels), places)


def _numbered(dim: str, sizes: Mapping[Key, int]) -> Axis:
    """Positions counted from 0, the shorter ones padded at their end."""
    size = max(sizes.values())
    places = {key: np.arange(n) for key, n in sizes.items()}
    uneven = len(set(sizes.values())) > 1
    return Axis(size, np.arange(size) if uneven else None, places)


def _refuse_mostly_empty(
    results: Mapping[Key, Result],
    wiring: Wiring[Any],
    outer: Sequence[str],
    axes: Mapping[str, Axis],
    leading: Mapping[str, int],
) -> None:
    for name, dims in wiring.fields.items():
        shape = [*leading.values(), *(axes[d].size for d in (*outer, *dims) if d in axes)]
        whole = 8 * int(np.prod(shape, dtype=np.int64))
        held = sum(8 * (r if name == SCORE else r[name]).size for r in results.values())
        if whole > LARGE and whole > EMPTY * held:
            raise DimensionError(
                f"the result would take {whole / 2**30:.1f} GiB, of which {held / whole:.0%} are "
                f"filled, since systems and layers differ. Choose some with layers=, such as those "
                "that all systems have."
            )


def _position(key: Key, places: Mapping[str, Sequence[str]]) -> tuple[int, ...]:
    where = [list(labels) for labels in places.values()]
    names = key if len(where) == 2 else key[1:]
    return tuple(labels.index(name) for labels, name in zip(where, names, strict=True))


def _shared_coords(
    results: Mapping[Key, Result], axes: Mapping[str, Axis], wiring: Wiring[Any]
) -> dict[Any, Any]:
    """Coordinates along outer and own dimensions on which all parts agree."""
    first, *others = results.values()
    kept: dict[Any, Any] = {}
    for name, coord in first.coords.items():
        if name in axes or name in wiring.extras:
            continue
        whole = all(dim in axes and axes[dim].size == coord.sizes[dim] for dim in coord.dims)
        same = all(
            name in other.coords and coord.variable.equals(other.coords[name].variable)
            for other in others
        )
        if whole and same:
            kept[name] = coord.variable
    return kept


def _counts(
    parts: Mapping[Key, Part],
    lost: Mapping[Key, xr.DataArray],
    axes: Mapping[str, Axis],
    at: Mapping[Key, tuple[int, ...]],
    leading: Mapping[str, int],
) -> dict[str, Any]:
    """Units of each layer at each outer position, and how many are dead; 0 where it has none."""
    first = next(iter(parts.values())).outcome
    dims = [dim for dim in first.outer if dim in axes]
    shape = (*leading.values(), *(axes[dim].size for dim in dims))
    names = PER_PLACE if first.n_units else (N_STIMULI,)
    counts = {name: np.zeros(shape, dtype=np.intp) for name in names}

    def where(key: Key) -> Any:
        places = (axes[d].places.get(key, np.arange(axes[d].size)) for d in dims)
        return at[key] + np.ix_(*places)

    for key, part in parts.items():
        outcome = part.outcome
        if first.n_units:
            counts["n_units"][where(key)] = outcome.n_units
            counts["n_dead_units"][where(key)] = outcome.n_dead
        else:
            counts[N_STIMULI][where(key)] = outcome.result.attrs[N_STIMULI]
    for key, x in lost.items():
        if first.n_units:
            counts["n_units"][where(key)] = x.sizes[schema.UNIT]
            counts["n_dead_units"][where(key)] = _dead(x, dims)
        else:
            counts[N_STIMULI][where(key)] = x.sizes[schema.STIMULUS]
    return {name: ((*leading, *dims), values) for name, values in counts.items()}


def _dead(x: xr.DataArray, dims: Sequence[str]) -> Any:
    """Dead units at every position along ``dims``, one position in memory at a time."""
    kept = [dim for dim in dims if dim in x.dims]
    found = np.zeros(tuple(x.sizes[dim] for dim in kept), dtype=np.intp)
    for place in np.ndindex(found.shape):
        slab = x.isel(dict(zip(kept, place, strict=True))).transpose(..., schema.UNIT).values
        found[place] = varying(slab).dead.size
    return found if kept == list(dims) else found.max(initial=0)


def _picked(
    parts: Mapping[Key, Part],
    places: Mapping[str, Sequence[str]],
    at: Mapping[Key, tuple[int, ...]],
    leading: Mapping[str, int],
    taken: set[Any],
) -> dict[str, Any]:
    """Positions that were picked, as coordinates: over nothing, systems, or systems and layers."""
    found: dict[str, Any] = {}
    for dim in dict.fromkeys(dim for part in parts.values() for dim in part.at):
        if dim in taken:
            continue
        values = {key: part.at.get(dim) for key, part in parts.items()}
        if len(set(values.values())) == 1:
            found[dim] = next(iter(values.values()))
            continue
        whole = np.full(tuple(leading.values()), None, dtype=object)
        for key, value in values.items():
            whole[at[key]] = value
        by_system = len(leading) == 2 and all(
            len({v for v in row.tolist() if v is not None}) == 1 for row in whole
        )
        if by_system:
            rows = [next(v for v in row.tolist() if v is not None) for row in whole]
            found[dim] = (next(iter(leading)), np.asarray(rows))
        elif all(value is not None for value in whole.ravel().tolist()):
            found[dim] = (tuple(leading), np.asarray(whole.tolist()))
        else:
            found[dim] = (tuple(leading), np.where(whole == None, "", whole).astype(str))  # noqa: E711
    return found


def _attributes(
    results: Mapping[Key, Result],
    at: Mapping[Key, tuple[int, ...]],
    leading: Mapping[str, int],
    coords: dict[Any, Any],
) -> dict[str, Any]:
    """What holds for all; what differs by layer is a coordinate if it is a number, else JSON."""
    first = next(iter(results.values()))
    attrs: dict[str, Any] = {}
    for name in dict.fromkeys(name for result in results.values() for name in result.attrs):
        if name in PER_PLACE:
            continue
        if name == "inputs":
            every = [entry for r in results.values() for entry in json.loads(r.attrs["inputs"])]
            attrs[name] = json.dumps(every)
            continue
        values = {_name(key): result.attrs.get(name) for key, result in results.items()}
        if all(value == first.attrs.get(name) for value in values.values()):
            attrs[name] = first.attrs[name]
        elif name not in (*coords, N_STIMULI) and all(map(_is_number, values.values())):
            whole = np.full(tuple(leading.values()), np.nan)
            for key, result in results.items():
                whole[at[key]] = result.attrs[name]
            coords[name] = (tuple(leading), whole)
        else:
            attrs[name] = json.dumps(values)
    return attrs


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.number)) and not isinstance(value, bool)


def _name(key: Key) -> str:
    return "/".join(part for part in key if part)
