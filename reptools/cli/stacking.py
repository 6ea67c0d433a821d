"""Results of several layers as one result."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import xarray as xr

from reptools.engine.operation import Metric

SCORE = " score"  # which no coordinate is called
COUNTED = ("n_units", "n_dead_units")


def stacked(
    results: Mapping[str, xr.DataArray], dim: str, record: Metric, inputs: Iterable[xr.DataArray]
) -> xr.DataArray:
    """Results along a new first dimension.

    What differs between layers stays by layer: numbers that came with the scores, and attributes
    such as the number of units. The inputs are listed one after another. An own dimension that is
    longer in one layer than in another has missing values at its end.
    """
    given = {name for data in inputs for name in data.coords} | {"feature"}
    first = next(iter(results.values()))
    extras = [n for n in first.coords if n not in given and n not in first.dims]
    by_layer = [name for name in first.attrs if _differs(name, results)]
    every = {own: _union([r[own].values for r in results.values()]) for own in record.dims}
    longest = {own: labels for own, labels in every.items() if labels is not None}
    parts = [
        result.to_dataset(name=SCORE).reset_coords(extras).drop_attrs(deep=False)
        for result in results.values()
    ]
    parts = [part.reindex(longest) if longest else part for part in parts]
    along = xr.DataArray(list(results), dims=dim, name=dim)
    joined = xr.concat(
        parts, along, data_vars="all", coords="minimal", compat="override", join="exact"
    )
    counts = {name: (dim, [r.attrs.get(name) for r in results.values()]) for name in by_layer}
    result: xr.DataArray = joined.set_coords(extras)[SCORE].assign_coords(counts).rename(first.name)
    listed = [entry for r in results.values() for entry in json.loads(r.attrs["inputs"])]
    result.attrs = {key: value for key, value in first.attrs.items() if key not in by_layer}
    result.attrs["inputs"] = json.dumps(listed)
    return result


def _union(labels: list[np.ndarray[Any, Any]]) -> list[Any] | None:
    """Labels of all layers in their order; None where all have the same."""
    if all(np.array_equal(labels[0], other) for other in labels[1:]):
        return None
    return list(dict.fromkeys(label for one in labels for label in one.tolist()))


def _differs(name: str, results: Mapping[str, xr.DataArray]) -> bool:
    """Whether an attribute belongs to each layer rather than to the whole result."""
    if name == "inputs":
        return False
    values = {str(result.attrs.get(name)) for result in results.values()}
    return name in COUNTED or len(values) > 1
