"""What is meant in an open file: layers by name or pattern, positions by coordinate value."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
import xarray as xr

from reptools import schema
from reptools.errors import ParameterError, some

FIRST, LAST, ALL = WORDS = ("first", "last", "all")
CORE = (schema.STIMULUS, schema.UNIT, f"{schema.STIMULUS}_")  # what every metric reads whole


def matching(pattern: str, names: Sequence[str]) -> list[str]:
    """Names that a pattern means, in their order: the one of that very name, or all it matches.

    Examples
    --------
    >>> matching("fc*", ["fc1", "conv", "fc2"]), matching("block/0", ["block.0", "block.1"])
    (['fc1', 'fc2'], ['block.0'])
    """
    pattern = pattern.replace("/", ".")  # as the file spells a path
    return [pattern] if pattern in names else [n for n in names if fnmatchcase(n, pattern)]


def meant(patterns: Sequence[str], names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Names that any of several patterns means, each once, and the patterns that mean none.

    Examples
    --------
    >>> meant(["fc2", "fc*", "pool"], ["fc1", "conv", "fc2"])
    (['fc2', 'fc1'], ['pool'])
    """
    found = {pattern: matching(pattern, names) for pattern in patterns}
    chosen = list(dict.fromkeys(name for matched in found.values() for name in matched))
    return chosen, [pattern for pattern, matched in found.items() if not matched]


def begun_only(tree: xr.DataTree, data: xr.DataArray) -> bool:
    """Whether the last step was only begun: its writer was killed, or is still writing.

    The file must say that it is not complete, and the last stimuli of the step be missing: a
    complete file may hold NaN that its writer was given. One step alone is never dropped.
    """
    if tree.attrs.get(schema.COMPLETE, 1) or data.sizes.get(schema.STEP, 1) < 2:
        return False
    return bool(data.isel({schema.STEP: -1, schema.STIMULUS: -1}).isnull().all())


@dataclass(frozen=True)
class Place:
    """What is wanted along one dimension.

    Attributes
    ----------
    dim, value : str
        As they were written; ``value`` is a coordinate value, or first, last or all.
    hint : str
        Empty where it was asked for; for a default, how to get something else.
    """

    dim: str
    value: str
    hint: str = ""

    def __str__(self) -> str:
        """As it is asked for: ``token=last``."""
        return f"{self.dim}={self.value}"


@dataclass
class Picked:
    """Arrays at the wanted positions, which these were, and what a reader should be told."""

    arrays: dict[str, xr.DataArray]
    at: dict[str, Any] = field(default_factory=dict)
    found: set[str] = field(default_factory=set)  # wanted dimensions that an array has
    notes: list[str] = field(default_factory=list)
    each: dict[str, dict[str, Any]] = field(default_factory=dict)  # positions array by array

    def at_of(self, name: str) -> dict[str, Any]:
        """Positions that were picked of one array, by dimension."""
        return self.each.get(name, {})


def place_of(dim: str, value: object) -> Place:
    """One wanted position.

    Raises
    ------
    ParameterError
        The dimension is not an outer one.
    """
    if dim in CORE:
        raise ParameterError(
            f"{dim}={value} picks along {dim}, which a metric reads whole. "
            "Name an outer dimension, such as step, token, time or subject."
        )
    return Place(str(dim), str(value))


def pick(
    path: str, tree: xr.DataTree, arrays: Mapping[str, xr.DataArray], places: Sequence[Place]
) -> Picked:
    """Take the wanted positions from arrays of one file; those without a dimension stay.

    Raises
    ------
    ParameterError
        A value is not there; the nearest are named.
    """
    picked = Picked(dict(arrays))
    for place in places:
        dim = place.dim
        holders = {name: data for name, data in picked.arrays.items() if dim in data.dims}
        if not holders:
            if not (place.hint or _is_whole(place)):
                picked.notes.append(f"{path} has no {dim}")
            continue
        picked.found.add(dim)
        if place.value == ALL:
            continue
        at = {
            name: _position(path, data, place, last=_last(tree, data, dim))
            for name, data in holders.items()
        }
        picked.arrays |= {name: data.isel({dim: at[name]}) for name, data in holders.items()}
        values = {name: _value(data, dim, at[name]) for name, data in holders.items()}
        for name, value in values.items():
            picked.each.setdefault(name, {})[dim] = value
        same = len(set(values.values())) == 1
        picked.at[dim] = next(iter(values.values())) if same else place.value
        without = [name for name in arrays if name not in holders]
        picked.notes += _notes(path, place, holders, at, values) if same else []
        if without and not place.hint:
            named = ", ".join(f"{path}::{name}" for name in without)
            picked.notes.append(f"without {dim}: {named}")
    return picked


def check_found(places: Sequence[Place], picked: Sequence[tuple[str, Picked]]) -> None:
    """Refuse a position that was asked for and that no input can have, by its dimension.

    Raises
    ------
    ParameterError
        No input has the dimension.
    """
    for place in places:
        if _is_whole(place) or any(place.dim in one.found for _, one in picked):
            continue
        paths = ", ".join(dict.fromkeys(path for path, _ in picked))
        dims = [str(d) for _, one in picked for data in one.arrays.values() for d in data.dims]
        others = [*(dim for _, one in picked for dim in one.at), *dims]
        outer = [dim for dim in dict.fromkeys(others) if dim not in CORE]
        hint = f"It has {some(outer)}." if outer else "Leave it out."
        what = "steps" if place.dim == schema.STEP else f"dimension {place.dim!r}"
        raise ParameterError(f"{paths} has no {what}, but {place} was asked for. {hint}")


def _is_whole(place: Place) -> bool:
    """Whether a file without that dimension is meant whole: its last step is the file."""
    return place.dim == schema.STEP and place.value in WORDS


def _last(tree: xr.DataTree, data: xr.DataArray, dim: str) -> int:
    """The last position that counts."""
    return data.sizes[dim] - 1 - (dim == schema.STEP and begun_only(tree, data))


def _notes(
    path: str,
    place: Place,
    holders: Mapping[str, xr.DataArray],
    at: Mapping[str, int],
    values: Mapping[str, Any],
) -> list[str]:
    """Which position a word stood for: nobody typed its value."""
    if place.value not in WORDS:
        return []
    first = next(iter(holders))
    n = holders[first].sizes[place.dim]
    word = place.value
    if word == LAST and at[first] < n - 1:
        word = "last complete"
    note = f"{place.dim} {values[first]} is the {word} of {n} in {path}"
    return [f"{note}; {place.hint}" if place.hint else note]


def _value(data: xr.DataArray, dim: str, position: int) -> Any:
    """Coordinate value at a position; the position itself where there is no coordinate."""
    return data.coords[dim].values[position].item() if dim in data.coords else position


def _position(path: str, data: xr.DataArray, place: Place, last: int) -> int:
    """Position of a value along its dimension."""
    dim, text = place.dim, place.value
    if text in (FIRST, LAST):
        return 0 if text == FIRST else last
    n = data.sizes[dim]
    values = data.coords[dim].values if dim in data.coords else np.arange(n)
    if values.dtype.kind not in "iuf":
        names = [str(value) for value in values.tolist()]
        if text in names:
            return names.index(text)
        close = difflib.get_close_matches(text, names, n=3)
        hint = f"Close ones: {some(close)}." if close else f"It has {some(names, 8)}."
        raise ParameterError(f"{path} has no {dim} {text!r}. {hint}")
    number = _number(text)
    if number is None:
        raise ParameterError(
            f"{path} has no {dim} {text!r}. "
            f"Give a number such as {values[0]}, or {', '.join(WORDS[:-1])} or {ALL}."
        )
    gaps = np.abs(values.astype(np.float64) - number)
    nearest = int(gaps.argmin())
    # 0.1 in single precision is not the 0.1 that was typed
    if gaps[nearest] <= (1e-6 * abs(number) if values.dtype.kind == "f" else 0):
        return nearest
    near = sorted(values[np.argsort(gaps, kind="stable")[:2]].tolist())
    raise ParameterError(f"{path} has no {dim} {text}. The nearest of {n} are {some(near)}.")


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
