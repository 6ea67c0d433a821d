"""Labelled data at the edge: activations read, lined up by stimulus, and taken as bare slabs.

This is the only module that turns labelled data into the bare (stimulus, unit) arrays of the
kernels. Stimuli are matched by label, never by position unless neither side has labels.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

import numpy as np
import xarray as xr

from reptools.arrays import Array, to_host
from reptools.entering import door
from reptools.errors import DimensionError, ParameterError, StimulusError, some
from reptools.schema import OTHER

STIMULUS, UNIT, REPETITION = "stimulus", "unit", "repetition"
ROUNDING = 1e-5  # of the largest distance: halves and the diagonal as float32 leaves them
Index = tuple[tuple[str, int], ...]  # a position along the outer dimensions
Rows = np.ndarray[Any, np.dtype[np.intp]]


@dataclass(slots=True)
class Side:
    """One representation: data with named dimensions, its labels, and its row order.

    Attributes
    ----------
    name : str
        What messages call it: the argument, or the layer in a grid.
    data : DataArray, numpy array or torch tensor
        Dimensions ([outer,] stimulus, unit), of a DataArray in any order.
    labels : array (stimulus,) or None
        None: matched by position, with unlabelled sides only.
    n_stimuli, n_units : int
        Sizes.
    rows : array of int or None
        Row order that lines this side up with the others; None for as stored.
    outer : dict of str to int
        Sizes of all other dimensions.
    leading : tuple of str
        Dimensions that a slab keeps, before (stimulus, unit).
    values : numpy array or None
        All values, where they lie in memory as numpy: looked up once, for every step needs them.
    """

    name: str
    data: Any
    labels: np.ndarray[Any, Any] | None
    n_stimuli: int
    n_units: int
    rows: Rows | None = None
    outer: dict[str, int] = field(default_factory=dict)
    leading: tuple[str, ...] = ()
    values: np.ndarray[Any, Any] | None = None

    @property
    def labelled(self) -> bool:
        """Whether the data are a DataArray."""
        return isinstance(self.data, xr.DataArray)

    @property
    def device(self) -> str:
        """Where the values lie: ``host``, or the device of a tensor."""
        return "host" if self.labelled or self.values is not None else str(self.data.device)

    def indices(self) -> Iterator[Index]:
        """Every position along the outer dimensions."""
        return positions(self.outer)

    def slab(self, index: Index) -> Array:
        """The bare array ([repetition,] stimulus, unit) at one outer position, rows lined up."""
        if not self.labelled:
            return self.data if self.rows is None else self.data[self.rows]
        wanted = (*self.leading, STIMULUS, UNIT)
        if self.values is None:
            data = self.data.isel(dict(index)) if index else self.data
            chosen = data.values if data.dims == wanted else data.transpose(*wanted).values
        else:
            chosen, dims = self.values, self.data.dims
            if index:
                at = dict(index)
                chosen = chosen[tuple(at.get(dim, slice(None)) for dim in dims)]
                dims = tuple(dim for dim in dims if dim not in at)
            if dims != wanted:
                chosen = chosen.transpose([dims.index(dim) for dim in wanted])
        return chosen if self.rows is None else chosen[..., self.rows, :]

    def read(self, index: Index, rows: slice) -> np.ndarray[Any, Any]:
        """Some rows (stimulus, unit) of a slab, without loading the others."""
        wanted = rows if self.rows is None else self.rows[rows]
        chosen = self.data.isel(dict(index)).isel({STIMULUS: wanted}).transpose(STIMULUS, UNIT)
        values: np.ndarray[Any, Any] = chosen.values
        return values

    def coordinate(self, name: str) -> np.ndarray[Any, Any] | None:
        """A coordinate over stimuli in the lined-up order, or None where there is none."""
        coord = self.data.coords.variables.get(name) if self.labelled else None
        if coord is None or coord.dims != (STIMULUS,):
            return None
        return reordered(coord.values, self.rows)

    def stimulus_coords(self) -> dict[Hashable, Any]:
        """Coordinates over stimuli, in the lined-up order."""
        if not self.labelled:
            return {}
        return {
            name: (STIMULUS, reordered(coord.values, self.rows), coord.attrs)
            for name, coord in self.data.coords.items()
            if coord.dims == (STIMULUS,)
        }

    def unit_coords(self) -> dict[Hashable, Any]:
        """Coordinates along units, for results that keep the unit dimension."""
        if not self.labelled:
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
    """Read activations ([outer,] stimulus, unit) of any kind that the door takes.

    Raises
    ------
    DimensionError
        The dimensions ``stimulus`` and ``unit`` are not there, a bare array is not 2-D, or it is
        an RDM.
    StimulusError
        A stimulus label is repeated.
    """
    x = door.read(x, name, (STIMULUS, UNIT))
    if isinstance(x, xr.DataArray):
        return _labelled(x, name)
    if len(x.shape) != 2:
        raise DimensionError(
            f"{name} has the shape {tuple(x.shape)}; a bare array is (stimulus, unit). "
            "Wrap it in an xarray.DataArray that names its dimensions."
        )
    _refuse_empty(dict(zip((STIMULUS, UNIT), x.shape, strict=True)), name)
    if x.shape[0] == x.shape[1] and _is_rdm(x):
        raise door.rdm_for_activations(
            name,
            "is symmetric with zeros on its diagonal",
            "a DataArray whose dimensions are called stimulus and unit is taken for activations",
        )
    n, width = x.shape
    return Side(name, x, None, n, width, values=x if isinstance(x, np.ndarray) else None)


def _labelled(x: xr.DataArray, name: str) -> Side:
    """A side of named dimensions, which must be those of activations."""
    dims = x.dims
    if STIMULUS not in dims or UNIT not in dims:
        if {STIMULUS, OTHER} <= set(dims):
            raise door.rdm_for_activations(name, f"has the dimensions {dims}")
        missing = sorted({STIMULUS, UNIT} - set(dims))
        raise DimensionError(
            f"{name} has the dimensions {dims} and lacks {missing}. "
            "Rename yours with x.rename(...)."
        )
    if len(set(dims)) < len(dims):
        repeated = {dim for dim in dims if dims.count(dim) > 1}
        raise DimensionError(
            f"{name} has the dimensions {dims} and repeats {some(repeated)}. "
            "Give each dimension a name of its own."
        )
    refuse_reserved(x, name)
    labels = labels_along(x, STIMULUS)
    door.check_unique(labels, name)
    sizes = dict(zip(dims, x.shape, strict=True))
    _refuse_empty(sizes, name)
    n, width = sizes.pop(STIMULUS), sizes.pop(UNIT)
    if labels is not None and not sizes and n == width:
        _refuse_rdm(x, labels, name)
    outer = {str(dim): size for dim, size in sizes.items()}
    # xarray has no public word for it that neither loads a file nor takes as long as a kernel
    values = x.variable.values if getattr(x.variable, "_in_memory", False) else None
    return Side(name, x, labels, n, width, outer=outer, values=values)


def labels_along(x: xr.DataArray, dim: str) -> np.ndarray[Any, Any] | None:
    """Labels along a dimension, or None."""
    coord = x.coords.variables.get(dim)
    return None if coord is None else coord.values


def refuse_reserved(x: xr.DataArray, name: str) -> None:
    """A dimension of the input cannot be called like the one that tells features apart."""
    if "feature" in x.dims:
        raise DimensionError(
            f"a dimension of {name} is called 'feature', which tells features apart in results. "
            "Rename it, for instance x.rename(feature='feature_in')."
        )


def _refuse_empty(sizes: Mapping[Any, int], name: str) -> None:
    if 0 in sizes.values():
        empty = [str(dim) for dim, size in sizes.items() if size == 0]
        raise DimensionError(f"{name} is empty along {some(empty)}. Pass one {empty[0]} or more.")


def _refuse_rdm(x: xr.DataArray, labels: np.ndarray[Any, Any], name: str) -> None:
    """An RDM whose second dimension was called unit carries the stimuli along both."""
    units = labels_along(x, UNIT)
    if units is None or set(units.tolist()) != set(labels.tolist()):
        return
    if _is_rdm(x.sel({UNIT: labels}).transpose(STIMULUS, UNIT).values):
        raise door.rdm_for_activations(name, "has the same labels along both dimensions")


def _is_rdm(square: Any) -> bool:
    """Whether three stimuli or more are at distance 0 from themselves and symmetric otherwise."""
    square = to_host(square)
    if len(square) < 3 or square.dtype.kind not in "iuf":
        return False
    largest = float(square.max())
    if not 0 < largest < np.inf or abs(square.diagonal()).max() > ROUNDING * largest:
        return False
    return bool(square.min() >= 0) and np.allclose(
        square, square.T, rtol=0, atol=ROUNDING * largest
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


def align_units(first: Side, second: Side) -> Side:
    """``second`` with its units in the order of ``first``, where both label them.

    Raises
    ------
    DimensionError
        They have different numbers of units, or units of different labels.
    """
    if first.n_units != second.n_units:
        raise DimensionError(
            f"{first.name} has {first.n_units} units and {second.name} has {second.n_units}. What "
            f"is fitted on {first.name} is tested on {second.name}: pass two recordings of the "
            "same units."
        )
    if not (isinstance(first.data, xr.DataArray) and isinstance(second.data, xr.DataArray)):
        return second
    ours, theirs = labels_along(first.data, UNIT), labels_along(second.data, UNIT)
    if ours is None or theirs is None or np.array_equal(ours, theirs):
        return second
    position = {label: column for column, label in enumerate(theirs.tolist())}
    unknown = set(theirs.tolist()) - set(ours.tolist())
    if unknown or len(position) < len(ours):
        raise DimensionError(
            f"{second.name} has units that {first.name} lacks: {some(sorted(unknown, key=str))}. "
            "Pass two recordings of the same units, each labelled once."
        )
    columns = [position[label] for label in ours.tolist()]
    data = second.data.isel({UNIT: columns})
    return replace(second, data=data, values=None if second.values is None else data.values)


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
    other: Any,
) -> Rows | None:
    """Row order that brings ``other`` to the stimuli ``labels``; None where it is in order.

    ``other`` is a DataArray, or a side of activations or of an RDM.
    """
    if isinstance(other, xr.DataArray):
        theirs, size = labels_along(other, STIMULUS), other.sizes[STIMULUS]
        door.check_unique(theirs, other_name)
    else:
        theirs, size = other.labels, other.n_stimuli
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
    return door.line_up(name, labels, other_name, theirs)


def match_values(side: Side, values: Any, name: str) -> np.ndarray[Any, Any]:
    """One value per stimulus, lined up with ``side`` (by label where ``values`` has labels)."""
    labelled = isinstance(values, xr.DataArray)
    values = door.read(values, name, (STIMULUS,))
    if isinstance(values, xr.DataArray) and values.dims == (STIMULUS,):
        if labelled or STIMULUS in values.coords:
            rows = match_rows(side.name, side.n_stimuli, ordered(side), name, values)
            return reordered(values.values, rows)
        values = values.values  # a column of pandas that has no labels
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


def in_time(side: Any) -> np.ndarray[Any, Any] | None:
    """The coordinate ``time`` over stimuli, by which folds are cut: a number for each of them."""
    values = side.coordinate("time")
    if values is None:
        return None
    text = [value for value in values.tolist() if isinstance(value, str)]
    if text:
        raise ParameterError(
            f"time holds text such as {text[0]!r}, and folds are cut along it. Pass numbers or "
            "dates, or drop it with drop_vars('time')."
        )
    return no_gaps(values, "time")


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
    ours, theirs = (labels_along(side.data, dim) for side in (x, y))
    known = theirs if ours is None else ours
    if known is not None and (ours is None or theirs is None):
        bare, named = (x, y) if ours is None else (y, x)
        raise DimensionError(
            f"{bare.name} does not label {dim!r}, and {named.name} does "
            f"({some(known.tolist())}), so their order cannot be checked. Label it on both "
            "sides, or on neither."
        )
    if ours is not None and theirs is not None and (ours != theirs).any():
        at = ours != theirs
        raise DimensionError(
            f"{x.name} and {y.name} have different values along {dim!r}, first "
            f"{ours[at][0]!r} against {theirs[at][0]!r}. "
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
