"""Labelled data at the edge: read any input, line its stimuli up by label, take bare slabs.

This is the only module that turns labelled data into the bare (stimulus, unit) arrays of the
kernels. Stimuli are matched by label, never by position unless neither side has labels.
"""

from __future__ import annotations

import sys
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import product
from os import PathLike, fspath
from typing import Any

import numpy as np
import xarray as xr
from array_api_compat import is_torch_array

from reptools.arrays import Array, to_host
from reptools.errors import DimensionError, ParameterError, StimulusError, some

STIMULUS, UNIT, REPETITION = "stimulus", "unit", "repetition"
Index = tuple[tuple[str, int], ...]  # a position along the outer dimensions
Rows = np.ndarray[Any, np.dtype[np.intp]]


@dataclass(frozen=True)
class Side:
    """One representation: data with named dimensions, its labels, and its row order.

    Attributes
    ----------
    name : str
        What messages call it: the argument, or the layer in a grid.
    data : DataArray or torch tensor
        Dimensions ([outer,] stimulus, unit) in any order.
    labels : array (stimulus,) or None
        None: matched by position, with unlabelled sides only.
    rows : array of int or None
        Row order that lines this side up with the others; None for as stored.
    """

    name: str
    data: Any
    labels: np.ndarray[Any, Any] | None
    rows: Rows | None = None
    outer: dict[str, int] = field(default_factory=dict)
    leading: tuple[str, ...] = ()  # dimensions that a slab keeps, before (stimulus, unit)

    @property
    def n_stimuli(self) -> int:
        """Number of stimuli."""
        return self.data.sizes[STIMULUS] if isinstance(self.data, xr.DataArray) else len(self.data)

    @property
    def n_units(self) -> int:
        """Number of units."""
        if isinstance(self.data, xr.DataArray):
            return int(self.data.sizes[UNIT])
        return int(self.data.shape[1])

    def indices(self) -> Iterator[Index]:
        """Every position along the outer dimensions."""
        return positions(self.outer)

    def slab(self, index: Index) -> Array:
        """The bare array ([repetition,] stimulus, unit) at one outer position, rows lined up."""
        if not isinstance(self.data, xr.DataArray):
            return self.data if self.rows is None else self.data[self.rows]
        data = self.data.isel(dict(index)) if index else self.data
        dims = (*self.leading, STIMULUS, UNIT)
        chosen = data.values if data.dims == dims else data.transpose(*dims).values
        return chosen if self.rows is None else chosen[..., self.rows, :]

    def read(self, index: Index, rows: slice) -> np.ndarray[Any, Any]:
        """Some rows (stimulus, unit) of a slab, without loading the others."""
        wanted = rows if self.rows is None else self.rows[rows]
        chosen = self.data.isel(dict(index)).isel({STIMULUS: wanted}).transpose(STIMULUS, UNIT)
        values: np.ndarray[Any, Any] = chosen.values
        return values

    def coordinate(self, name: str) -> np.ndarray[Any, Any] | None:
        """A coordinate over stimuli in the lined-up order, or None where there is none."""
        if not isinstance(self.data, xr.DataArray) or name not in self.data.coords:
            return None
        coord = self.data.coords[name]
        if coord.dims != (STIMULUS,):
            return None
        return reordered(coord.values, self.rows)

    def stimulus_coords(self) -> dict[Hashable, Any]:
        """Coordinates over stimuli, in the lined-up order."""
        if not isinstance(self.data, xr.DataArray):
            return {}
        return {
            name: (STIMULUS, reordered(coord.values, self.rows), coord.attrs)
            for name, coord in self.data.coords.items()
            if coord.dims == (STIMULUS,)
        }

    def unit_coords(self) -> dict[Hashable, Any]:
        """Coordinates along units, for results that keep the unit dimension."""
        if not isinstance(self.data, xr.DataArray):
            return {}
        return {name: c for name, c in self.data.coords.items() if c.dims == (UNIT,)}


def positions(outer: Mapping[str, int]) -> Iterator[Index]:
    """Every position along dimensions of the given sizes; one empty position for none."""
    for position in product(*(range(size) for size in outer.values())):
        yield tuple(zip(outer, position, strict=True))


def place(side: Any, index: Index) -> str:
    """A position in words, by coordinate value where there is one: ``step=100``."""
    coords = side.data.coords if isinstance(side.data, xr.DataArray) else {}
    return ", ".join(f"{d}={coords[d].values[i] if d in coords else i}" for d, i in index)


def as_side(x: Any, name: str = "x") -> Side:
    """Read activations from a DataTree node, a DataArray, or an array (stimulus, unit).

    Raises
    ------
    DimensionError
        The dimensions ``stimulus`` and ``unit`` are not there, or a bare array is not 2-D.
    StimulusError
        A stimulus label is repeated.
    """
    if isinstance(x, (str, PathLike)):
        path = fspath(x)
        raise ParameterError(f"{name} is the path {path!r}. Open it first: rt.open({path!r}).")
    if isinstance(x, (xr.DataTree, xr.Dataset)):
        x = _activation(x, name)
    if isinstance(x, xr.DataArray):
        repeated = {dim for dim in x.dims if x.dims.count(dim) > 1}
        if repeated:
            raise DimensionError(
                f"{name} has the dimensions {x.dims} and repeats {some(repeated)}. "
                "Give each dimension a name of its own."
            )
        missing = {STIMULUS, UNIT} - set(x.dims)
        if missing:
            raise DimensionError(
                f"{name} has the dimensions {x.dims} and lacks {sorted(missing)}. "
                "Rename yours with x.rename(...)."
            )
        labels = x.coords[STIMULUS].values if STIMULUS in x.coords else None
        check_unique(labels, name)
        _refuse_empty(x.sizes, name)
        outer = {str(dim): size for dim, size in x.sizes.items() if dim not in (STIMULUS, UNIT)}
        return Side(name, x, labels, outer=outer)
    if not ("torch" in sys.modules and is_torch_array(x)):
        try:
            x = np.asarray(x)
        except ValueError as error:  # lists of different lengths
            raise DimensionError(
                f"{name} is no array: {error} Pass as many values for every stimulus."
            ) from None
    if len(x.shape) != 2:
        raise DimensionError(
            f"{name} has the shape {tuple(x.shape)}; a bare array is (stimulus, unit). "
            "Wrap it in an xarray.DataArray that names its dimensions."
        )
    _refuse_empty(dict(zip((STIMULUS, UNIT), x.shape, strict=True)), name)
    if isinstance(x, np.ndarray):
        return Side(name, xr.DataArray(x, dims=(STIMULUS, UNIT)), None)
    return Side(name, x.detach(), None)


def _refuse_empty(sizes: Mapping[Any, int], name: str) -> None:
    empty = [str(dim) for dim, size in sizes.items() if size == 0]
    if empty:
        raise DimensionError(f"{name} is empty along {some(empty)}. Pass one {empty[0]} or more.")


def _activation(node: xr.DataTree | xr.Dataset, name: str) -> xr.DataArray:
    if "activation" in node:
        found = node["activation"]
        if isinstance(found, xr.DataArray):
            return found
    inside = node["layers"] if isinstance(node, xr.DataTree) and "layers" in node else node
    layers = list(inside.children) if isinstance(inside, xr.DataTree) else list(inside)
    raise DimensionError(
        f"{name} is a group without activations; it holds {some(layers)}. "
        "Pass one layer, for instance tree['layers/NAME'], or use compare() for a grid."
    )


def check_unique(labels: np.ndarray[Any, Any] | None, name: str) -> None:
    """Refuse repeated stimulus labels: which row belongs to which would be a guess."""
    if labels is None:
        return
    try:
        values, counts = np.unique(labels, return_counts=True)
    except TypeError:  # no order among them
        types = sorted({type(label).__name__ for label in labels.tolist()})
        raise StimulusError(
            f"{name} has stimulus labels of several types: {some(types)}. Use one type of label."
        ) from None
    if values.size < labels.size:
        repeated = values[counts > 1].tolist()
        raise StimulusError(
            f"{name} has repeated stimulus labels: {some(repeated)}. Give each trial its own "
            "label and keep the repeated name in a coordinate 'condition'."
        )


def align(first: Side, second: Side) -> Side:
    """``second`` with its rows in the order of ``first``.

    Raises
    ------
    StimulusError
        Only one side is labelled, the stimuli differ (counted and named), or the numbers of
        unlabelled stimuli differ.
    """
    rows = match_rows(first.name, first.n_stimuli, ordered(first), second.name, second)
    return replace(second, rows=rows)


def ordered(side: Any) -> np.ndarray[Any, Any] | None:
    """Stimulus labels of a side in its lined-up order, or None."""
    return None if side.labels is None else reordered(side.labels, side.rows)


def reordered(values: np.ndarray[Any, Any], rows: Rows | None) -> np.ndarray[Any, Any]:
    """``values`` in the order ``rows``; None for as they are."""
    return values if rows is None else np.asarray(values[rows])


def match_rows(
    name: str,
    n: int,
    labels: np.ndarray[Any, Any] | None,
    other_name: str,
    other: Side | xr.DataArray,
) -> Rows | None:
    """Row order that brings ``other`` to the stimuli ``labels``; None where it is in order."""
    if isinstance(other, Side):
        theirs, size = other.labels, other.n_stimuli
    else:
        theirs = other.coords[STIMULUS].values if STIMULUS in other.coords else None
        size = other.sizes[STIMULUS]
        check_unique(theirs, other_name)
    if (labels is None) != (theirs is None):
        bare = name if labels is None else other_name
        raise StimulusError(
            f"{bare} has no stimulus labels while the other side has, so their order cannot be "
            f"checked. Label {bare} with a 'stimulus' coordinate, or pass both as bare arrays."
        )
    if labels is None or theirs is None:
        if n != size:
            raise StimulusError(
                f"{name} has {n} stimuli and {other_name} has {size}, without labels. "
                "Pass the same stimuli in the same order."
            )
        return None
    if labels.size == theirs.size and (labels == theirs).all():
        return None
    one, another = (values[:1].tolist()[0] for values in (labels, theirs))
    if isinstance(one, str) != isinstance(another, str):
        raise StimulusError(
            f"{name} has stimulus labels like {one!r} and {other_name} like {another!r}. "
            "Use one type of label."
        )
    position = {label: row for row, label in enumerate(theirs.tolist())}
    ours = labels.tolist()
    only_ours = [label for label in ours if label not in position]
    only_theirs = sorted(set(position) - set(ours))
    if only_ours or only_theirs:
        raise StimulusError(
            f"{name} and {other_name} were not shown the same stimuli: {len(only_ours)} only in "
            f"{name} ({some(only_ours) or 'none'}), {len(only_theirs)} only in {other_name} "
            f"({some(only_theirs) or 'none'}). "
            'Keep the shared ones with xr.align(x, y, join="inner").'
        )
    return np.array([position[label] for label in ours], dtype=np.intp)


def match_values(side: Side, values: Any, name: str) -> np.ndarray[Any, Any]:
    """One value per stimulus, lined up with ``side`` (by label where ``values`` has labels)."""
    if isinstance(values, xr.DataArray) and values.dims == (STIMULUS,):
        rows = match_rows(side.name, side.n_stimuli, ordered(side), name, values)
        return reordered(values.values, rows)
    bare = to_host(values)
    if isinstance(values, xr.DataArray) or bare.shape != (side.n_stimuli,):
        raise ParameterError(
            f"{name} has the shape {bare.shape} and must have one value for each of the "
            f"{side.n_stimuli} stimuli of {side.name}, in its order or labelled by 'stimulus'."
        )
    return reordered(bare, side.rows)  # a bare array can only mean the order x is stored in


def no_gaps(values: np.ndarray[Any, Any], name: str) -> np.ndarray[Any, Any]:
    """``values`` over stimuli, none of them None or NaN."""
    gaps = sum(value is None or value != value for value in values.tolist())
    if gaps:
        raise ParameterError(
            f"{name} is missing for {gaps} of {values.size} stimuli. "
            "Fill it, or drop these stimuli."
        )
    return values


def shared_outer(x: Any, y: Any) -> list[str]:
    """Outer dimensions that both sides have; they are paired, so they must agree."""
    shared = [dim for dim in x.outer if dim in y.outer]
    for dim in shared:
        _same_dim(x, y, dim)
    return shared


def check_same_outer(x: Any, y: Any) -> None:
    """Layers of one axis of a grid must have the same outer dimensions."""
    if dict(x.outer) != dict(y.outer):
        raise DimensionError(
            f"{x.name} has the outer dimensions {x.outer or 'none'} and {y.name} has "
            f"{y.outer or 'none'}. Select the same steps or tokens on both."
        )
    for dim in x.outer:
        _same_dim(x, y, dim)


def _same_dim(x: Any, y: Any, dim: str) -> None:
    if x.outer[dim] != y.outer[dim]:
        raise DimensionError(
            f"{x.name} has {x.outer[dim]} values along {dim!r} and {y.name} has {y.outer[dim]}. "
            "A dimension of both sides is paired: select the shared ones, or rename it on one "
            "side to cross them."
        )
    if dim in x.data.coords and dim in y.data.coords:
        ours, theirs = x.data.coords[dim].values, y.data.coords[dim].values
        if (ours != theirs).any():
            raise DimensionError(
                f"{x.name} and {y.name} have different values along {dim!r}, first "
                f"{ours[ours != theirs][0]!r} against {theirs[ours != theirs][0]!r}. "
                "Select the shared ones, or rename it on one side to cross them."
            )


def sort_by_label(side: Side) -> Side:
    """``side`` in label order, so that iterative fits see the same rows in any file."""
    if side.labels is None:
        return side
    return replace(side, rows=np.argsort(side.labels))


def with_repetitions(side: Side) -> Side:
    """``side`` whose slabs keep the dimension ``repetition``, where there is one."""
    outer = {dim: size for dim, size in side.outer.items() if dim != REPETITION}
    return side if outer == side.outer else replace(side, outer=outer, leading=(REPETITION,))
