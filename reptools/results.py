"""Results: scores collected over positions, with labels and provenance put on."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from reptools.arrays import to_host
from reptools.errors import DimensionError
from reptools.labels import Index
from reptools.provenance import versions
from reptools.record import Context, Metric, Score


class Stack:
    """Values and extras of many positions, collected into arrays; missing stays NaN."""

    def __init__(self, sizes: Mapping[str, int]) -> None:
        self.sizes = dict(sizes)
        self.values = np.full(tuple(self.sizes.values()), np.nan)
        self.extras: dict[str, np.ndarray[Any, Any]] = {}

    def put(self, index: Index, score: Score, rows: list[int] | None = None) -> None:
        """Store one score at its outer position (and feature rows)."""
        at: tuple[Any, ...] = tuple(dict(index)[dim] for dim in self.sizes if dim in dict(index))
        at = at if rows is None else (*at, rows)
        self.values[at] = to_host(score.value)
        for name, extra in score.extras.items():
            if name not in self.extras:
                self.extras[name] = np.full_like(self.values, np.nan)
            self.extras[name][at] = to_host(extra)


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
        if isinstance(side.data, xr.DataArray):
            for name, coord in side.data.coords.items():
                if coord.dims and set(coord.dims) <= set(side.outer):
                    found.setdefault(name, coord.variable)
    return found


def finish(
    record: Metric,
    stack: Stack,
    coords: Mapping[Any, Any],
    bound: Mapping[str, Any],
    context: Context,
    sides: Sequence[Any],
    attrs: Mapping[str, Any],
) -> xr.DataArray:
    """The labelled result, with everything that is needed to compute it again."""
    result = xr.DataArray(stack.values, dims=list(stack.sizes), coords=coords, name=record.name)
    extras = {name: (list(stack.sizes), values) for name, values in stack.extras.items()}
    result = result.assign_coords(extras)
    result.attrs = {
        "metric": record.name,
        "estimator": bound.get("estimator", record.estimator),
        "params": json.dumps({name: _plain(value) for name, value in bound.items()}),
        "n_stimuli": int(context.stimulus.size),
        **attrs,
        "inputs": json.dumps([_describe(side) for side in sides]),
        "versions": json.dumps(versions()),
    }
    if record.resamples:
        result.attrs |= {"cv": context.sampling.description, "seed": context.seed}
    return result if record.finish is None else record.finish(result, **bound)


def _plain(value: Any) -> Any:
    """An option as JSON: arrays and splitters by what they are."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, tuple):
        return list(value)
    return repr(value) if hasattr(value, "split") else f"array of {len(value)}"


def source_of(side: Any) -> dict[str, str]:
    """Where an input came from, as far as it knows itself."""
    attrs = getattr(side.data, "attrs", {})
    known = ("source_path", "system", "layer", "fingerprint")
    return {key: str(attrs[key]) for key in known if key in attrs}


def _describe(side: Any) -> dict[str, Any]:
    return {
        "name": side.name,
        "shape": [int(n) for n in side.data.shape],
        "dtype": str(side.data.dtype),
        **source_of(side),
    }
