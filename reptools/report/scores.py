"""Every registered metric, evaluated on the files of a report."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import xarray as xr

from reptools import schema
from reptools.engine.calling import evaluate
from reptools.engine.loops import compare
from reptools.engine.operation import ON_RDMS, Metric
from reptools.entering.labels import REPETITION
from reptools.plots import similarity_map
from reptools.report.log import Log
from reptools.report.systems import System, at_last_step, by_feature
from reptools.report.tables import joined

AVERAGED = "averaged"
COMMON = ("estimator", "cv", "groups", "prepare")  # named by attributes, or the default


def left_out(record: Metric, systems: Sequence[System]) -> str | None:
    """Why an automatic page has no place for a metric; None where it has."""
    repeated = any(REPETITION in x.dims for system in systems for x in system.layers.values())
    if record.repeats == "required" and not repeated:
        return "of repeated stimuli, and these files hold each once"
    if record.takes_features and all(s.features is None for s in systems):
        return "of features, and these files have none"
    if record.kind in ON_RDMS:
        return "of dissimilarity matrices, and these files hold activations"
    if record.kind == "transfer":
        return "of two recordings of the same units"
    if own := [dim for dim in record.dims if dim != schema.UNIT]:
        return f"a result over {joined(own)}"
    return None


def layer_scores(record: Metric, systems: Sequence[System], log: Log) -> None:
    """A table of one feature or single metric: a row per layer, a column per feature."""
    page = log.page
    page.heading(record.name, record.summary)
    rows: list[dict[str, Any]] = []
    beside: list[dict[str, Any]] = []
    averaged: dict[str, None] = {}
    result = None
    for system in systems:
        features = system.features
        if record.kind == "feature" and features is None:
            continue  # which its own section says
        for layer, x in system.final_layers.items():
            inputs = (x,) if record.kind == "single" else (x, features)
            what = f"{record.name} of {system.name}, layer {layer}"
            found = log.attempt(what, partial(evaluate, record, inputs, {}))
            if found is None:
                continue
            result = found
            place = (
                {"system": system.name, "layer": layer} if len(systems) > 1 else {"layer": layer}
            )
            averaged |= dict.fromkeys(str(dim) for dim in found.dims if dim != "feature")
            mean = _over_rest(found, keep=("feature",))
            values = by_feature(mean) if "feature" in mean.dims else {record.name: float(mean)}
            rows.append(place | values)
            beside += [place | extra for extra in _extras(found, record.name)]
    if result is None:
        return
    page.table(rows, _caption(record, result, list(averaged)))
    if beside:
        page.details(f"Beside {record.name}: {', '.join(_extra_names(result))}", beside)


def pair_scores(record: Metric, systems: Sequence[System], log: Log) -> None:
    """A map of layers by layers, and the last layers of all files against each other."""
    log.page.heading(record.name, record.summary)
    _layer_map(record, systems[0], systems[min(1, len(systems) - 1)], log)
    if len(systems) > 1:
        _last_layers(record, systems, log)


def _layer_map(record: Metric, first: System, second: System, log: Log) -> None:
    same = first is second
    names = first.name if same else f"{first.name} and {second.name}"
    grid = log.attempt(
        f"{record.name} between layers of {names}",
        lambda: _grid(record, first.final_layers, None if same else second.final_layers),
    )
    if grid is None:
        return
    low, high = float(grid.min()), float(grid.max())
    log.page.figure(
        similarity_map(grid, xlabel=f"layer of {first.name}", ylabel=f"layer of {second.name}"),
        f"Layers of {first.name} against layers of {'itself' if same else second.name}. "
        + _caption(record, grid, json.loads(grid.attrs[AVERAGED])),
        alt=f"Heat map of {record.name} between layers of {names}, from {low:.2f} to {high:.2f}.",
    )


def _last_layers(record: Metric, systems: Sequence[System], log: Log) -> None:
    last = {system.name: at_last_step(system.layers[system.last_layer]) for system in systems}
    scores = log.attempt(
        f"{record.name} between the last layers of all files",
        lambda: _grid(record, last, None),
    )
    if scores is None:
        return
    cells = scores.transpose("x", "y").values
    rows = [
        {"system": name} | dict(zip(last, row, strict=True))
        for name, row in zip(last, cells, strict=True)
    ]
    sides = "" if record.symmetric else " Rows are x, columns are y."
    log.page.table(
        rows,
        f"Last layer of each file against those of the others.{sides} "
        + _caption(record, scores, json.loads(scores.attrs[AVERAGED])),
    )


def _grid(
    record: Metric, xs: Mapping[str, xr.DataArray], ys: Mapping[str, xr.DataArray] | None
) -> xr.DataArray:
    """All of x against all of y, averaged over outer dimensions and live units.

    One by one where layers differ in their outer dimensions, as a head without tokens does, or
    where a result has a value for each unit of y.
    """
    if schema.UNIT not in record.dims and not any(map(_mixed, (xs, ys or {}))):
        grid = compare(xs, ys, metric=record.name)
        return _averaged([[grid]])[0][0]
    ys = xs if ys is None else ys
    cells = [[evaluate(record, (x, y), {}) for y in ys.values()] for x in xs.values()]
    rows = [
        xr.concat(row, xr.Variable("y", list(ys)), combine_attrs="override")
        for row in _averaged(cells)
    ]
    return xr.concat(rows, xr.Variable("x", list(xs)), combine_attrs="override")


def _mixed(layers: Mapping[str, xr.DataArray]) -> bool:
    outer = [set(layer.dims) - {schema.UNIT} for layer in layers.values()]
    return any(dims != outer[0] for dims in outer)


def _averaged(cells: Sequence[Sequence[xr.DataArray]]) -> list[list[xr.DataArray]]:
    """Means over everything but x and y; an attribute keeps over what, for the caption."""
    dims = dict.fromkeys(
        str(d) for row in cells for c in row for d in c.dims if d not in ("x", "y")
    )
    return [
        [
            cell.mean([d for d in dims if d in cell.dims], keep_attrs=True)
            .reset_coords(drop=True)
            .assign_attrs({AVERAGED: json.dumps(list(dims))})
            for cell in row
        ]
        for row in cells
    ]


def _over_rest(result: xr.DataArray, keep: tuple[str, ...]) -> xr.DataArray:
    """Mean over every dimension that a table or map has no place for; missing units left out."""
    return result.mean([dim for dim in result.dims if dim not in keep])


def _extra_names(result: xr.DataArray) -> list[str]:
    """Coordinates that a kernel returned beside its score: of the same shape, and numbers."""
    return [
        str(key)
        for key, coord in result.coords.items()
        if coord.dims == result.dims and key not in result.dims and coord.dtype.kind == "f"
    ]


def _extras(result: xr.DataArray, name: str) -> list[dict[str, Any]]:
    """Numbers that came with the scores (chance, a permuted target ...), a row per feature."""
    extras = _extra_names(result)
    if not extras:
        return []
    columns = {name: result, **{key: result.coords[key] for key in extras}}
    means = {key: _over_rest(column, ("feature",)) for key, column in columns.items()}
    if "feature" not in result.dims:
        return [{key: float(value) for key, value in means.items()}]
    return [
        {"feature": str(feature)} | {key: float(means[key][at]) for key in means}
        for at, feature in enumerate(result["feature"].values)
    ]


def _worth_saying(option: str, value: Any) -> bool:
    return option not in COMMON and not option.endswith("seed") and value is not None


def _caption(record: Metric, result: xr.DataArray, averaged: Sequence[str]) -> str:
    """How the numbers came about: estimator, folds, options, stimuli, and how to read them."""
    attrs = result.attrs
    options = json.loads(attrs["params"])
    named = [f"{k} {v}" for k, v in options.items() if _worth_saying(k, v)]
    parts = [] if attrs["estimator"] == "plug-in" else [attrs["estimator"]]
    parts += named + ([attrs["cv"]] if "cv" in attrs else [])
    parts.append(f"{attrs['n_stimuli']} stimuli")
    rest = [f"live {dim}s" if dim == schema.UNIT else dim for dim in averaged]
    parts += [f"mean over {joined(rest)}"] if rest else []
    low, high = record.bounds
    sentence = f"{record.name}: {'; '.join(parts)}."
    if np.isfinite(low) and np.isfinite(high):
        sentence += f" From {low:g} to {high:g}."
    elif np.isfinite(high):
        sentence += f" At most {high:g}."
    return sentence + (" Lower is more alike." if record.better == "lower" else "")
