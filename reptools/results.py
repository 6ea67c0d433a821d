"""Results: scores collected over positions, with labels and provenance put on."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from reptools.arrays import to_host
from reptools.errors import DataError, DimensionError, some
from reptools.labels import Index
from reptools.provenance import versions
from reptools.record import Context, Metric, Score


class Stack:
    """Values and extras of many positions, collected into arrays; missing stays NaN.

    Parameters
    ----------
    record : Metric
        Says which dimensions a score has of its own; their sizes are those of the largest score.
    sizes : mapping of str to int
        Outer dimensions, then ``feature`` where the score has one value for each.
    """

    def __init__(self, record: Metric, sizes: Mapping[str, int]) -> None:
        self.record = record
        self.sizes = dict(sizes)
        self.own = dict.fromkeys(record.dims, 0)
        self.scores: list[tuple[tuple[Any, ...], dict[str, np.ndarray[Any, Any]]]] = []
        self.coords: dict[str, np.ndarray[Any, Any]] = {}
        self.attrs: dict[str, Any] = {}

    def put(self, index: Index, score: Score, rows: list[int] | None = None) -> None:
        """Store one score at its outer position (and feature rows)."""
        at: tuple[Any, ...] = tuple(dict(index)[dim] for dim in self.sizes if dim in dict(index))
        value = self._numbers("its score", score.value)
        leading = () if rows is None else (len(rows),)
        if value.ndim != len(leading) + len(self.own) or value.shape[: len(leading)] != leading:
            dims = ", ".join([*(["feature"] if leading else []), *self.own]) or "none"
            raise DimensionError(
                f"its score has the shape {value.shape}, and its dimensions are {dims}"
                f"{f' ({leading[0]} features)' if leading else ''}. Return one value for each."
            )
        for dim, size in zip(self.own, value.shape[len(leading) :], strict=True):
            self.own[dim] = max(self.own[dim], size)
        parts = {"": value}
        for name, extra in score.extras.items():
            part = self._numbers(f"its extra {name!r}", extra)
            if part.shape != value.shape[: part.ndim]:
                raise DimensionError(
                    f"its extra {name!r} has the shape {part.shape} beside a score of the shape "
                    f"{value.shape}. Give it the leading dimensions of the score."
                )
            parts[name] = part
        self.scores.append((at if rows is None else (*at, rows), parts))
        self._label(score)

    def _numbers(self, what: str, values: Any) -> np.ndarray[Any, Any]:
        try:
            return np.asarray(to_host(values), dtype=np.float64)
        except (TypeError, ValueError):
            raise DataError(
                f"{what} is {values!r:.60} and no number. Return a number or an array."
            ) from None

    def _label(self, score: Score) -> None:
        for dim, labels in score.coords.items():
            values = np.asarray(labels)
            known = self.coords.setdefault(dim, values)
            if len(known) == len(values) and (known != values).any():
                raise DimensionError(
                    f"its labels along {dim!r} differ between positions: {some(known.tolist())} "
                    f"and {some(values.tolist())}. Give every position the same."
                )
            if len(values) > len(known):
                self.coords[dim] = values
        self.attrs |= score.attrs

    def collected(self, name: str = "") -> tuple[list[str], np.ndarray[Any, Any]]:
        """Dimensions and values of the score (``""``) or of one extra, NaN where it is missing."""
        ndims = {parts[name].ndim for _, parts in self.scores if name in parts}
        own = list(self.own)
        per_feature = "feature" in self.sizes
        outer = list(self.sizes)
        if ndims:
            kept = min(ndims)
            if per_feature and kept == 0:
                outer.remove("feature")
            own = own[: max(kept - per_feature, 0)]
        dims = [*outer, *own]
        values = np.full([(self.sizes | self.own)[dim] for dim in dims], np.nan)
        for at, parts in self.scores:
            if name in parts:
                part = parts[name]
                where = at if "feature" in outer or not per_feature else at[:-1]
                sizes = part.shape[part.ndim - len(own) :] if own else ()
                values[(*where, *(slice(size) for size in sizes))] = part
        return dims, values

    @property
    def extras(self) -> list[str]:
        """Names of all extras."""
        return list(dict.fromkeys(name for _, parts in self.scores for name in parts if name))


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
    dims, values = stack.collected()
    labels = {**_counted(stack), **coords, **stack.coords}
    result = xr.DataArray(values, dims=dims, coords=labels, name=record.name)
    result = result.assign_coords({name: stack.collected(name) for name in stack.extras})
    result.attrs = {
        "metric": record.name,
        "estimator": bound.get("estimator", record.estimator),
        "params": json.dumps({name: _plain(value) for name, value in bound.items()}),
        "n_stimuli": int(context.stimulus.size),
        **attrs,
        **stack.attrs,
        "inputs": json.dumps([_describe(side) for side in sides]),
        "versions": json.dumps(versions()),
    }
    if record.resamples:
        result.attrs |= {"cv": context.sampling.description, "seed": context.seed}
    return result if record.finish is None else record.finish(result, **bound)


def _counted(stack: Stack) -> dict[str, Any]:
    """Numbers from 1 along own dimensions, for those that nothing else labels."""
    unlabelled = (dim for dim in stack.own if dim not in ("unit", "stimulus", "stimulus_"))
    return {dim: np.arange(1, stack.own[dim] + 1) for dim in unlabelled}


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
