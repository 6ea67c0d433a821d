"""Labelled data at the edge: read any input, line its stimuli up by label, take bare slabs.

This is the only module that turns labelled data into the bare (stimulus, unit) arrays of the
kernels. Stimuli are matched by label, never by position unless neither side has labels.
"""

from __future__ import annotations

import sys
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np
import xarray as xr
from array_api_compat import is_torch_array

from reptools.arrays import Array
from reptools.errors import DimensionError, FeatureError, StimulusError, some
from reptools.statistics.design import Feature, FeatureKind

STIMULUS, UNIT = "stimulus", "unit"
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
        """The bare array (stimulus, unit) at one outer position, rows lined up."""
        if not isinstance(self.data, xr.DataArray):
            return self.data if self.rows is None else self.data[self.rows]
        chosen = self.data.isel(dict(index)).transpose(STIMULUS, UNIT)
        return _reordered(chosen.values, self.rows)

    def coordinate(self, name: str) -> np.ndarray[Any, Any] | None:
        """A coordinate over stimuli in the lined-up order, or None where there is none."""
        if not isinstance(self.data, xr.DataArray) or name not in self.data.coords:
            return None
        coord = self.data.coords[name]
        if coord.dims != (STIMULUS,):
            return None
        return _reordered(coord.values, self.rows)

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
    if isinstance(x, (xr.DataTree, xr.Dataset)):
        x = _activation(x, name)
    if isinstance(x, xr.DataArray):
        missing = {STIMULUS, UNIT} - set(x.dims)
        if missing:
            raise DimensionError(
                f"{name} has the dimensions {x.dims} and lacks {sorted(missing)}. "
                "Rename yours with x.rename(...)."
            )
        labels = x.coords[STIMULUS].values if STIMULUS in x.coords else None
        check_unique(labels, name)
        outer = {str(dim): size for dim, size in x.sizes.items() if dim not in (STIMULUS, UNIT)}
        return Side(name, x, labels, outer=outer)
    if not ("torch" in sys.modules and is_torch_array(x)):
        x = np.asarray(x)
    if len(x.shape) != 2:
        raise DimensionError(
            f"{name} has the shape {tuple(x.shape)}; a bare array is (stimulus, unit). "
            "Wrap it in an xarray.DataArray that names its dimensions."
        )
    if isinstance(x, np.ndarray):
        return Side(name, xr.DataArray(x, dims=(STIMULUS, UNIT)), None)
    return Side(name, x.detach(), None)


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
    values, counts = np.unique(labels, return_counts=True)
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
    return Side(
        second.name,
        second.data,
        second.labels,
        match_rows(first.name, first.n_stimuli, ordered(first), second.name, second),
        second.outer,
    )


def ordered(side: Any) -> np.ndarray[Any, Any] | None:
    """Stimulus labels of a side in its lined-up order, or None."""
    return None if side.labels is None else _reordered(side.labels, side.rows)


def _reordered(values: np.ndarray[Any, Any], rows: Rows | None) -> np.ndarray[Any, Any]:
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
    if labels.dtype.kind != theirs.dtype.kind and {"i", "u"} & {
        labels.dtype.kind,
        theirs.dtype.kind,
    }:
        raise StimulusError(
            f"{name} has stimulus labels like {labels[:1].tolist()[0]!r} and {other_name} like "
            f"{theirs[:1].tolist()[0]!r}. Use one type of label."
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
    if not isinstance(values, xr.DataArray):
        values = xr.DataArray(np.asarray(values), dims=STIMULUS)
        if side.labels is not None and values.sizes[STIMULUS] == side.n_stimuli:
            # a bare array can only mean the order in which x is stored
            return _reordered(values.values, side.rows)
    return _reordered(
        values.values, match_rows(side.name, side.n_stimuli, ordered(side), name, values)
    )


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
    return Side(side.name, side.data, side.labels, np.argsort(side.labels), side.outer)


def as_features(features: Any, side: Side, name: str = "features") -> list[Feature]:
    """Features lined up with ``side``.

    Accepts a Dataset or DataTree node, one DataArray, a mapping of names to arrays, or one bare
    array. The kind is read from ``attrs["kind"]``; without it two distinct values are binary,
    text is categorical, floats are continuous, and integers with more values are refused, since
    they could be either.
    """
    found: Mapping[Any, Any]
    if isinstance(features, xr.DataTree):
        features = features["features"] if "features" in features.children else features
        found = features.to_dataset().data_vars
    elif isinstance(features, xr.Dataset):
        found = features.data_vars
    elif isinstance(features, Mapping):
        found = features
    else:
        found = {getattr(features, "name", None) or "feature": features}
    if not found:
        raise FeatureError(f"{name} holds no feature. Pass at least one.")
    return [_feature(str(key), value, side) for key, value in found.items()]


def _feature(name: str, value: Any, side: Side) -> Feature:
    if not isinstance(value, xr.DataArray):
        value = np.asarray(value)
        dims = (STIMULUS, "component")[: value.ndim]
        if len(dims) != value.ndim or not dims:
            raise DimensionError(
                f"feature {name!r} has the shape {value.shape}; it must be (stimulus,) or "
                "(stimulus, component)."
            )
        value = xr.DataArray(value, dims=dims)
    if STIMULUS not in value.dims or value.ndim > 2:
        raise DimensionError(
            f"feature {name!r} has the dimensions {value.dims}; it must be (stimulus,) or "
            "(stimulus, component)."
        )
    rows = match_rows(side.name, side.n_stimuli, ordered(side), f"feature {name!r}", value)
    values = _reordered(value.transpose(STIMULUS, ...).values, rows)
    return Feature(name, _kind(name, values, value.attrs.get("kind")), values)


def _kind(name: str, values: np.ndarray[Any, Any], stated: Any) -> FeatureKind:
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise FeatureError(
            f"feature {name!r} is not finite for {int((~np.isfinite(values)).sum())} stimuli. "
            "Drop these stimuli first."
        )
    if stated is not None:
        if stated not in ("binary", "categorical", "continuous"):
            raise FeatureError(
                f"feature {name!r} has the kind {stated!r}. "
                "It must be binary, categorical or continuous."
            )
        if stated == "binary" and len(np.unique(values)) > 2:
            raise FeatureError(
                f"feature {name!r} is called binary and has {len(np.unique(values))} values. "
                "Call it categorical or continuous."
            )
        kind: FeatureKind = stated
        return kind
    if values.dtype.kind in "OUST":
        return "categorical"
    if values.ndim == 1 and len(np.unique(values)) <= 2:
        return "binary"
    if values.dtype.kind == "f":
        return "continuous"
    raise FeatureError(
        f"feature {name!r} holds {len(np.unique(values))} different integers, which may be classes "
        "or amounts. Say which: set attrs['kind'] of its DataArray to 'categorical' or "
        "'continuous'."
    )
