"""Results: scores collected over positions, with labels and provenance put on."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from reptools.arrays import to_host
from reptools.engine.operation import Context, Metric, Score
from reptools.entering.labels import Index
from reptools.errors import DataError, DimensionError
from reptools.provenance import versions

FEATURE = "feature"


@dataclass(frozen=True)
class _Placed:
    """One score with its extras (the score itself is ``""``), and where it belongs.

    ``outer`` is its outer position, ``along`` the places along ``feature`` and own dimensions.
    """

    outer: tuple[int, ...]
    along: dict[str, np.ndarray[Any, Any]]
    parts: dict[str, np.ndarray[Any, Any]]

    def fills(self, sizes: Mapping[str, int], dims: Sequence[str]) -> bool:
        """Whether it alone, in its order, is the result."""
        in_order = (
            dim in self.along and np.array_equal(self.along[dim], np.arange(sizes[dim]))
            for dim in dims
        )
        return not self.outer and all(in_order)


class Stack:
    """Values and extras of many positions, collected into arrays; missing stays NaN.

    Parameters
    ----------
    record : Metric
        Says which dimensions a score has of its own. Values along them are placed by label where
        a score has labels; their sizes are those of all labels, or of the largest score.
    sizes : mapping of str to int
        Outer dimensions, then ``feature`` where the score has one value for each.
    """

    def __init__(self, record: Metric, sizes: Mapping[str, int]) -> None:
        self.record = record
        self.sizes = dict(sizes)
        self.own = dict.fromkeys(record.dims, 0)
        self.placed: list[_Placed] = []
        self.labels: dict[str, dict[Any, int]] = {}
        self.attrs: dict[str, Any] = {}

    def put(self, index: Index, score: Score, rows: list[int] | None = None) -> None:
        """Store one score at its outer position (and feature rows)."""
        where = dict(index)
        value = _numbers("its score", score.value)
        inner = [*([FEATURE] if rows is not None else []), *self.own]
        if value.ndim != len(inner) or (rows is not None and value.shape[0] != len(rows)):
            features = f" ({len(rows)} features)" if rows is not None else ""
            raise DimensionError(
                f"its score has the shape {value.shape}, and its dimensions are "
                f"{', '.join(inner) or 'none'}{features}. Return one value for each."
            )
        along: dict[str, np.ndarray[Any, Any]] = {} if rows is None else {FEATURE: np.array(rows)}
        for dim, size in zip(self.own, value.shape[len(along) :], strict=True):
            along[dim] = self._places(dim, size, score)
            self.own[dim] = max(self.own[dim], 1 + int(along[dim].max(initial=-1)))
        parts = {"": value}
        for name, extra in score.extras.items():
            if name in (self.record.name, *self.sizes, *self.own):
                raise DimensionError(
                    f"its extra {name!r} is called like the result or one of its dimensions. "
                    "Give it another name."
                )
            part = parts[name] = _numbers(f"its extra {name!r}", extra)
            if part.shape != value.shape[: part.ndim]:
                raise DimensionError(
                    f"its extra {name!r} has the shape {part.shape} beside a score of the shape "
                    f"{value.shape}. Give it the leading dimensions of the score."
                )
        outer = tuple(where[dim] for dim in self.sizes if dim != FEATURE)
        self.placed.append(_Placed(outer, along, parts))
        self.attrs |= score.attrs

    def _places(self, dim: str, size: int, score: Score) -> np.ndarray[Any, Any]:
        """Places of a score's values along an own dimension."""
        if dim not in score.coords:
            return np.arange(size)
        labels = np.asarray(score.coords[dim]).tolist()
        if len(labels) != size:
            raise DimensionError(
                f"its score has {size} values along {dim!r} and {len(labels)} labels. "
                "Return one label for each."
            )
        known = self.labels.setdefault(dim, {})
        return np.array([known.setdefault(label, len(known)) for label in labels], dtype=np.intp)

    def collected(self, name: str = "") -> tuple[list[str], np.ndarray[Any, Any]]:
        """Dimensions and values of the score (``""``) or of one extra."""
        having = [placed for placed in self.placed if name in placed.parts]
        inner = [*([FEATURE] if FEATURE in self.sizes else []), *self.own]
        if having:  # an extra may have the leading dimensions only
            inner = inner[: having[0].parts[name].ndim]
        dims = [*(dim for dim in self.sizes if dim != FEATURE), *inner]
        if len(having) == 1 and having[0].fills(self.sizes | self.own, dims):
            return dims, having[0].parts[name]  # as large as an RDM: not copied
        values = np.full([(self.sizes | self.own)[dim] for dim in dims], np.nan)
        for placed in having:
            at = np.ix_(*(placed.along[dim] for dim in inner))
            values[placed.outer + at] = placed.parts[name]
        return dims, values

    @property
    def coords(self) -> dict[str, np.ndarray[Any, Any]]:
        """Labels along own dimensions that scores have given."""
        return {dim: np.asarray(list(known)) for dim, known in self.labels.items()}

    @property
    def extras(self) -> list[str]:
        """Names of all extras."""
        return list(dict.fromkeys(name for placed in self.placed for name in placed.parts if name))


def _numbers(what: str, values: Any) -> np.ndarray[Any, Any]:
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
    extras = {name: stack.collected(name) for name in stack.extras}
    labels = {**_counted(stack), **coords, **stack.coords, **extras}
    result = xr.DataArray(values, dims=dims, coords=labels, name=record.name)
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
