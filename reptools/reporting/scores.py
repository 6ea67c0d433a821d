"""Every registered operation, evaluated on the files of a report by the one loop over layers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr

from reptools import schema
from reptools.engine.inputs import FEATURE, ActivationsInput, FeaturesInput
from reptools.engine.loops import Asked, Compared, asked, compared, gathered, over_sites
from reptools.engine.operation import Operation
from reptools.engine.systems import Site
from reptools.engine.table import by_layer
from reptools.entering.labels import REPETITION
from reptools.interventions.readout import readout
from reptools.interventions.shared.inputs import ReadoutInput
from reptools.plots import similarity_map
from reptools.reporting.log import Log
from reptools.reporting.systems import System, at_last_step
from reptools.reporting.tables import joined

COMMON = ("estimator", "cv", "groups", "prepare")  # named by attributes, or the default
ROWS = 60  # a longer table is folded away
WHOLE = (schema.STIMULUS, f"{schema.STIMULUS}_")  # dimensions that no table of a page holds


def left_out(operation: Operation, systems: Sequence[System]) -> str | None:
    """Why an automatic page has no place for an operation; None where it has."""
    repeated = any(REPETITION in x.dims for system in systems for x in system.layers.values())
    if operation.repeats == "required" and not repeated:
        return "of repeated stimuli, and these files hold each once"
    if operation.takes(FeaturesInput) and all(s.features is None for s in systems):
        return "of features, and these files have none"
    if not all(isinstance(one, ActivationsInput) for one in operation.sides.values()):
        return "of dissimilarity matrices, and these files hold activations"
    if not operation.compares and len(operation.sides) > 1:
        return "of two recordings of the same units"
    if operation.takes(ReadoutInput) and not any(map(_has_head, systems)):
        return "of a network's linear head, and these files save none"
    if any(dim in WHOLE for dim in operation.dims):
        return "a result over the stimuli"
    return None


def _has_head(system: System) -> bool:
    outputs = system.tree.children.get(schema.OUTPUTS)
    return outputs is not None and "readout_weight" in outputs.data_vars


# --- one representation -------------------------------------------------------------------------


def layer_scores(operation: Operation, systems: Sequence[System], log: Log) -> None:
    """A table: a row per layer, a column per feature; what is longer, below it."""
    page = log.page
    page.heading(operation.name, operation.summary)
    what = replace(asked(operation, {}, missing="nan"), caught=Exception)
    rows: list[dict[str, Any]] = []
    beside: list[dict[str, Any]] = []
    averaged: dict[str, None] = {}
    shown: xr.DataArray | xr.Dataset | None = None
    for system in systems:
        if operation.takes(FeaturesInput) and system.features is None:
            continue  # which its own section says
        for sites in _alike(_sites(system)):
            found = _computed(what, system, sites, log)
            if found is None:
                continue
            shown = found
            place = {"system": system.name} if len(systems) > 1 else {}
            averaged |= dict.fromkeys(_averaged(operation, found))
            rows += [place | row for row in _rows(operation, found)]
            beside += [place | row for row in _beside(operation, found)]
    if shown is None:
        return
    caption = _caption(operation, shown, list(averaged))
    if len(rows) > ROWS:
        page.text(caption)
        page.details(f"{operation.name}: {len(rows)} rows", rows)
    else:
        page.table(rows, caption)
    if beside:
        page.details(f"Beside {operation.name}: {', '.join(operation.plain.extras)}", beside)


def _sites(system: System) -> list[Site]:
    """The layers of a system at the last step."""
    return [
        Site("", name, x, f"{system.name}, layer {name}", {})
        for name, x in system.final_layers.items()
    ]


def _alike(sites: Sequence[Site]) -> list[list[Site]]:
    """Sites that have the same outer dimensions together; a head without tokens is apart."""
    groups: dict[tuple[Any, ...], list[Site]] = {}
    for site in sites:
        groups.setdefault(_outer(site.data), []).append(site)
    return list(groups.values())


def _outer(x: xr.DataArray) -> tuple[Any, ...]:
    return tuple(sorted(str(dim) for dim in x.dims if dim not in (schema.STIMULUS, schema.UNIT)))


def _computed(
    what: Asked, system: System, sites: list[Site], log: Log
) -> xr.DataArray | xr.Dataset | None:
    """One result over layers; those that failed are named on the page."""
    operation = what.operation
    inputs: dict[str, Any] = {}

    def evaluate() -> xr.DataArray | xr.Dataset | None:
        chosen = list(sites)
        for name, kind in operation.inputs.items():
            if isinstance(kind, FeaturesInput):
                inputs[name] = system.features
            elif isinstance(kind, ReadoutInput):
                inputs[name] = head = readout(system.tree)
                names = kind.layers(head, [site.layer for site in chosen])
                chosen = [site for site in chosen if site.layer in names]
        parts, failures = over_sites(what, chosen, {"": inputs})
        for said, layers in _by_reason(failures).items():
            what_failed = f"layer{'s' * (len(layers) > 1)} {joined(layers)}"
            log.failed(f"{operation.name} of {system.name}, {what_failed}", said)
        return gathered(what, chosen, [""], parts, failures) if parts else None

    return log.attempt(f"{operation.name} of {system.name}", evaluate)


def _by_reason(failures: Mapping[str, str]) -> dict[str, list[str]]:
    """Layers by why they failed: one note for all of which the same is said."""
    found: dict[str, list[str]] = {}
    for layer, said in failures.items():
        found.setdefault(said, []).append(layer)
    return found


def _averaged(operation: Operation, result: xr.DataArray | xr.Dataset) -> list[str]:
    """Outer dimensions and units, over which a table shows means."""
    kept = {"layer", *operation.dims} - {schema.UNIT}
    return [str(dim) for dim in result.dims if dim not in kept]


def _rows(operation: Operation, result: xr.DataArray | xr.Dataset) -> list[dict[str, Any]]:
    """A row for each layer, with features side by side; own dimensions further down as rows."""
    if isinstance(result, xr.Dataset):
        return [
            {"layer": row["layer"], "quantity": str(name), **row}
            for name, one in result.data_vars.items()
            for row in _rows(operation, one)
        ]
    means = result.mean([dim for dim in _averaged(operation, result) if dim in result.dims])
    across = FEATURE if FEATURE in means.dims else None
    down = [str(dim) for dim in means.dims if dim != across]
    table = means.transpose(*down, *([across] if across else []))
    columns = [str(f) for f in table[across].values] if across else ["value"]
    rows: list[dict[str, Any]] = []
    for at, label in enumerate(table["layer"].values):
        here = table.isel(layer=at)
        values = here.values.reshape(*here.shape, *(() if across else (1,)))
        known = np.asarray(~np.isnan(values).all(axis=-1))
        for n, place in enumerate(np.ndindex(known.shape)):
            # past the end of a shorter layer; of a layer without any value one row says so
            if not known[place] and (known.any() or n > 0):
                continue
            row: dict[str, Any] = {"layer": label}
            for dim, i in zip(down[1:], place, strict=True):
                row[dim] = here[dim].values[i] if dim in here.coords else i
            if known.any():
                row |= dict(zip(columns, values[place].tolist(), strict=True))
            else:
                row = {"layer": label, **dict.fromkeys(down[1:]), **dict.fromkeys(columns)}
            rows.append(row)
    return rows


def _beside(operation: Operation, result: xr.DataArray | xr.Dataset) -> list[dict[str, Any]]:
    """What came with the scores, a row per layer and feature."""
    names = operation.plain.extras
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for name in names:
        extra = result.coords[name].reset_coords(drop=True)
        means = extra.mean([dim for dim in _averaged(operation, result) if dim in extra.dims])
        for place in np.ndindex(*means.shape):
            here = tuple(
                means[dim].values[i] if dim in means.coords else i
                for dim, i in zip(means.dims, place, strict=True)
            )
            row = found.setdefault(here, dict(zip(map(str, means.dims), here, strict=True)))
            row[name] = float(means.values[place])
    return [row for row in found.values() if any(not np.isnan(row.get(n, np.nan)) for n in names)]


# --- pairs --------------------------------------------------------------------------------------


def pair_scores(operation: Operation, systems: Sequence[System], log: Log) -> None:
    """A map of layers by layers, and the last layers of all files against each other."""
    log.page.heading(operation.name, operation.summary)
    _layer_map(operation, systems[0], systems[min(1, len(systems) - 1)], log)
    if len(systems) > 1:
        _last_layers(operation, systems, log)


def _layer_map(operation: Operation, first: System, second: System, log: Log) -> None:
    same = first is second
    names = first.name if same else f"{first.name} and {second.name}"
    grid = log.attempt(
        f"{operation.name} between layers of {names}",
        lambda: _grid(operation, first.final_layers, None if same else second.final_layers),
    )
    if grid is None:
        return
    low, high = float(grid.min()), float(grid.max())
    log.page.figure(
        similarity_map(grid, xlabel=f"layer of {first.name}", ylabel=f"layer of {second.name}"),
        f"Layers of {first.name} against layers of {'itself' if same else second.name}. "
        + _caption(operation, grid, json.loads(grid.attrs["averaged"])),
        alt=f"Heat map of {operation.name} between layers of {names}, from {low:.2f} to "
        f"{high:.2f}.",
    )


def _last_layers(operation: Operation, systems: Sequence[System], log: Log) -> None:
    last = {system.name: at_last_step(system.layers[system.last_layer]) for system in systems}
    scores = log.attempt(
        f"{operation.name} between the last layers of all files",
        lambda: _grid(operation, last, None),
    )
    if scores is None:
        return
    cells = scores.transpose("x", "y").values
    rows = [
        {"system": name} | dict(zip(last, row, strict=True))
        for name, row in zip(last, cells, strict=True)
    ]
    sides = "" if operation.symmetric else " Rows are x, columns are y."
    log.page.table(
        rows,
        f"Last layer of each file against those of the others.{sides} "
        + _caption(operation, scores, json.loads(scores.attrs["averaged"])),
    )


def _grid(
    operation: Operation,
    xs: Mapping[str, xr.DataArray],
    ys: Mapping[str, xr.DataArray] | None,
) -> xr.DataArray:
    """All of x against all of y, averaged over outer dimensions and live units.

    Layers that differ in their outer dimensions, as a head without tokens does, are taken in
    groups, and each y by itself where a result has a value for each of its units.
    """
    what = asked(operation, {})
    groups_x = _groups(xs)
    groups_y = _groups(xs if ys is None else ys, single=schema.UNIT in operation.dims)
    if ys is None and len(groups_x) == len(groups_y) == 1:
        return _mean(compared(what, _side(groups_x[0]), None))
    rows, averaged = [], dict[str, None]()
    for group_x in groups_x:
        cells = [_mean(compared(what, _side(group_x), _side(group_y))) for group_y in groups_y]
        averaged |= dict.fromkeys(dim for one in cells for dim in json.loads(one.averaged))
        rows.append(xr.concat(cells, "y", combine_attrs="override"))
    order = {"x": list(xs), "y": list(xs if ys is None else ys)}
    grid = xr.concat(rows, "x", combine_attrs="override").sel(order)
    return grid.assign_attrs(averaged=json.dumps(list(averaged)))


def _groups(
    layers: Mapping[str, xr.DataArray], *, single: bool = False
) -> list[dict[str, xr.DataArray]]:
    groups: dict[Any, dict[str, xr.DataArray]] = {}
    for name, x in layers.items():
        groups.setdefault(name if single else _outer(x), {})[name] = x
    return list(groups.values())


def _side(layers: Mapping[str, xr.DataArray]) -> Compared:
    return Compared({name: (x, name) for name, x in layers.items()})


def _mean(grid: xr.DataArray) -> xr.DataArray:
    """Means over everything but x and y; an attribute keeps over what, for the caption."""
    rest = [str(dim) for dim in grid.dims if dim not in ("x", "y")]
    means = grid.mean(rest, keep_attrs=True).reset_coords(drop=True)
    return means.assign_attrs(averaged=json.dumps(rest))


# --- how the numbers came about -----------------------------------------------------------------


def _worth_saying(option: str, value: Any) -> bool:
    return option not in COMMON and not option.endswith("seed") and value is not None


def _said(value: Any, limit: int = 6) -> str:
    """An option in a caption: of many values the first ones and the last."""
    if not isinstance(value, list):
        return str(value)
    shown = [*map(str, value[:3]), "...", str(value[-1])] if len(value) > limit else value
    return ", ".join(map(str, shown))


def _caption(
    operation: Operation, result: xr.DataArray | xr.Dataset, averaged: Sequence[str]
) -> str:
    """Estimator, folds, options, stimuli, and how to read the numbers."""
    attrs = result.attrs
    every = [json.loads(one) for one in (by_layer(result, "params") or {}).values()]
    options = every[0] if every else json.loads(attrs["params"])
    named = [
        f"{k} {_said(v)}" if all(one[k] == v for one in every) else f"{k} by layer"
        for k, v in options.items()
        if _worth_saying(k, v)
    ]
    facts = {
        key: "by layer" if by_layer(result, key) else str(attrs[key])
        for key in ("estimator", "cv", "n_stimuli")
        if key in attrs
    }
    parts = [] if facts["estimator"] == "plug-in" else [facts["estimator"]]
    parts += named + ([facts["cv"]] if "cv" in facts else [])
    parts.append(f"stimuli {n}" if (n := facts["n_stimuli"]) == "by layer" else f"{n} stimuli")
    rest = [f"live {dim}s" if dim == schema.UNIT else dim for dim in averaged]
    parts += [f"mean over {joined(rest)}"] if rest else []
    low, high = operation.bounds
    sentence = f"{operation.name}: {'; '.join(parts)}."
    if np.isfinite(low) and np.isfinite(high):
        sentence += f" From {low:g} to {high:g}."
    elif np.isfinite(high):
        sentence += f" At most {high:g}."
    return sentence + (" Lower is more alike." if operation.better == "lower" else "")
