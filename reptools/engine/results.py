"""Results: in full shape from the first, with labels and provenance put on."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from reptools.arrays import to_host
from reptools.engine.context import Context
from reptools.engine.inputs import Given
from reptools.engine.operation import Operation, Result, Score, Wiring
from reptools.entering.labels import Index
from reptools.errors import DataError, DimensionError
from reptools.provenance import versions_json

SCORE = ""  # the field of a result that is no extra
Values = np.ndarray[Any, Any]
UNNUMBERED = ("unit", "stimulus", "stimulus_")


class Room:
    """Arrays of a result in full shape, NaN until a score is put in its place.

    Parameters
    ----------
    wiring : Wiring
        Says what there is and over which dimensions.
    outer : mapping of str to int
        Sizes of the outer dimensions.
    sizes : mapping of str to int
        Sizes of own dimensions.
    labels : mapping of str to sequence
        Labels along them, by which a score with labels finds its places.
    """

    def __init__(
        self,
        wiring: Wiring[Any],
        outer: Mapping[str, int],
        sizes: Mapping[str, int],
        labels: Mapping[str, Sequence[Any]],
    ) -> None:
        self.wiring = wiring
        self.outer = dict(outer)
        self.sizes = dict(sizes)
        self.labels = labels
        self.arrays: dict[str, Values] = {}
        self.attrs: dict[str, Any] = {}
        joined(outer, sizes)

    def put(self, index: Index, answer: Any, besides: Sequence[Given] = ()) -> None:
        """Store a kernel's answer at its outer position."""
        score = answer if isinstance(answer, Score) else Score(answer)
        places: dict[str, Any] = {}
        for given in besides:
            places |= given.places
        for dim, labels in score.coords.items():
            places[dim] = self._places(dim, labels)
        where = dict(index)
        at = tuple(where[dim] for dim in self.outer)
        found = score.value if self.wiring.outputs else {SCORE: score.value}
        if unknown := (found.keys() | score.extras.keys()) - self.wiring.fields.keys():
            raise DimensionError(
                f"its score has {sorted(unknown)}, which its declaration does not name. Declare "
                "them as extras=."
            )
        for name, value in {**found, **score.extras}.items():
            self._store(name, value, at, places)
        self.attrs |= score.attrs

    def _store(self, name: str, value: Any, at: tuple[int, ...], places: Mapping[str, Any]) -> None:
        dims = self.wiring.fields[name]
        values = _numbers(f"its extra {name!r}" if name else "its score", value)
        wanted = tuple(len(places[d]) if d in places else self.sizes[d] for d in dims)
        if values.shape != wanted:
            raise DimensionError(
                f"{f'its extra {name!r}' if name else 'its score'} has the shape {values.shape}, "
                f"and its dimensions are {_sized(dims, wanted)}. Return one value for each."
            )
        in_order = all(list(places[d]) == list(range(self.sizes[d])) for d in dims if d in places)
        if in_order and not at:
            self.arrays[name] = values  # as large as an RDM: not copied
        elif in_order:
            self.array(name)[at] = values
        else:
            along = (places.get(dim, range(self.sizes[dim])) for dim in dims)
            self.array(name)[at][np.ix_(*along)] = values

    def _places(self, dim: str, labels: Sequence[Any]) -> list[int]:
        known = {label: i for i, label in enumerate(np.asarray(self.labels[dim]).tolist())}
        return [known[label] for label in np.asarray(labels).tolist()]

    def array(self, name: str) -> Values:
        """The values of one field in full shape."""
        if name not in self.arrays:
            own = (self.sizes[dim] for dim in self.wiring.fields[name])
            self.arrays[name] = np.full((*self.outer.values(), *own), np.nan)
        return self.arrays[name]

    def variable(self, name: str) -> xr.Variable:
        """The same with its dimensions."""
        return xr.Variable((*self.outer, *self.wiring.fields[name]), self.array(name))

    def result(self, name: str, coords: Mapping[Any, Any], attrs: Mapping[str, Any]) -> Result:
        """The labelled result of the operation ``name``."""
        numbered = {
            dim: np.arange(1, self.sizes[dim] + 1)
            for dim in self.wiring.own
            if dim not in coords and dim not in UNNUMBERED
        }
        extras = {extra: self.variable(extra) for extra in self.wiring.extras}
        every = {**numbered, **coords, **extras}
        if self.wiring.outputs:
            outputs = {output: self.variable(output) for output in self.wiring.outputs}
            return xr.Dataset(outputs, every, {**attrs, **self.attrs})
        whole = self.variable(SCORE)
        return xr.DataArray(
            whole.values, every, whole.dims, name=name, attrs={**attrs, **self.attrs}
        )


def _sized(dims: Sequence[str], sizes: Sequence[int]) -> str:
    return ", ".join(f"{dim} ({n})" for dim, n in zip(dims, sizes, strict=True)) or "none"


def _numbers(what: str, values: Any) -> Values:
    try:
        return np.asarray(to_host(values), dtype=np.float64)
    except (TypeError, ValueError):
        raise DataError(
            f"{what} is {values!r:.60} and no number. Return a number or an array."
        ) from None


def joined(first: Mapping[str, int], second: Mapping[str, int]) -> dict[str, int]:
    """Sizes of a result's outer and own dimensions, which must not share a name."""
    clash = [name for name in first if name in second]
    if clash:
        raise DimensionError(
            f"an outer dimension of the input is called {clash[0]!r}, as is one of the result. "
            f"Rename it, for instance x.rename({clash[0]}='{clash[0]}_in')."
        )
    return {**first, **second}


def outer_coords(sides: Sequence[Any]) -> dict[Any, Any]:
    """Coordinates along the outer dimensions of all sides."""
    found: dict[Any, Any] = {}
    for side in sides:
        if side.outer and isinstance(side.data, xr.DataArray):
            for name, coord in side.data.coords.items():
                if coord.dims and set(coord.dims) <= set(side.outer):
                    found.setdefault(name, coord.variable)
    return found


def attributes(
    operation: Operation,
    wiring: Wiring[Any],
    bound: Mapping[str, Any],
    context: Context,
    sides: Sequence[Any],
    facts: Mapping[str, Any],
) -> dict[str, Any]:
    """Everything that is needed to compute a result again."""
    estimator = wiring.estimator or bound.get("estimator", operation.estimator)
    attrs = {
        "metric": operation.name,
        "estimator": estimator,
        "params": params(bound),
        "n_stimuli": int(context.stimulus.size),
        **facts,
        "inputs": json.dumps([_describe(side) for side in sides]),
        "versions": versions_json(),
    }
    if operation.resamples:
        attrs |= {"cv": context.sampling.description, "seed": context.seed}
    return attrs


def params(bound: Mapping[str, Any]) -> str:
    """All options as JSON."""
    return json.dumps({name: plain(value) for name, value in bound.items()})


def plain(value: Any) -> Any:
    """An option as JSON: arrays, splitters and models by what they are."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, (tuple, list)):
        return [plain(one) for one in value]
    if hasattr(value, "split") or hasattr(value, "get_params") or not hasattr(value, "__len__"):
        return repr(value)
    return f"array of {len(value)}"


def source_of(side: Any) -> dict[str, str]:
    """Where an input came from, as far as it knows itself."""
    attrs = getattr(side.data, "attrs", {})
    known = ("source_path", "system", "layer", "fingerprint")
    return {key: str(attrs[key]) for key in known if key in attrs}


def _describe(side: Any) -> dict[str, Any]:
    return {
        "name": side.name,
        "shape": [int(n) for n in side.data.shape],
        "dtype": getattr(side.data.dtype, "name", None) or str(side.data.dtype),
        **source_of(side),
    }
