"""Commands that compute: any metric of the registry, and a report of several."""

from __future__ import annotations

import json as _json
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import xarray as xr

from reptools import schema
from reptools.calling import evaluate, grid
from reptools.cli import output
from reptools.cli.sources import Selection, features_of, layers_at, rdm_at, split
from reptools.cli.words import option_name, plain
from reptools.errors import DimensionError, ReptoolsError, naming
from reptools.labels import as_side
from reptools.parameters import bind
from reptools.rdms import as_rdm_side
from reptools.record import Metric
from reptools.registry import find


def compute(
    record: Metric,
    *,
    x: str,
    y: str | None = None,
    step: str = "last",
    features: str | None = None,
    long: bool,
    json: bool,
    out: str | None,
    overwrite: bool,
    **options: str | None,
) -> None:
    """Evaluate a metric on addresses and hand the result out.

    Pairs give a grid (x, y), the others a dimension ``layer``, also for a single one: the shape
    of a result does not depend on how many layers an address names.
    """
    addresses = [address for address in (x, y) if address is not None]
    output.check_out(out, [split(address)[0] for address in addresses], overwrite=overwrite)
    with naming(record.name):
        bound = bind(record.parameters, _given(record, options), text=True)
    if record.kind in ("pair", "rdms"):
        result, notes = _of_two(record, x, y, step, bound)
    else:
        result, notes = _of_layers(record, x, step, features, bound)
    if out is not None:
        output.write(result, out)
    if json:
        output.print_json(output.as_json(result))
        return
    print(_headline(result))
    output.show(result, long=long)
    for note in [*notes, *([] if out is None else [f"written to {out}"])]:
        print(note)


def compare(*, metric: str, **rest: Any) -> None:
    """Evaluate a pair metric that is named as an option."""
    compute(find(metric, kind="pair"), **rest)


def report(
    *, files: list[str], out: str, title: str | None, metrics: str | None, layers: str | None
) -> None:
    """Write the HTML page; an earlier one of that name is replaced."""
    from reptools.report.build import build_report

    output.check_out(out, files, overwrite=True, suffixes=output.PAGE)
    build_report(files, out, title=title, metrics=_listed(metrics), layers=_listed(layers))
    print(f"written to {out}")


def _listed(names: str | None) -> list[str] | None:
    return None if names is None else [name.strip() for name in names.split(",")]


def _given(record: Metric, options: Mapping[str, str | None]) -> dict[str, str]:
    """The options that were written, under the metric's own names; foreign ones stay to fail."""
    own = {option_name(name): name for name in record.parameters}
    return {own.get(key, key): text for key, text in options.items() if text is not None}


# --- kinds of metrics ---------------------------------------------------------------------------


def _of_two(
    record: Metric, x: str, y: str | None, step: str, bound: Mapping[str, Any]
) -> tuple[xr.DataArray, list[str]]:
    """Everything at x against everything at y; x against itself without y."""
    with ExitStack() as files, naming(record.name):

        def at(address: str) -> Selection:
            pick = rdm_at(address) if record.kind == "rdms" else layers_at(address, step)
            return files.enter_context(pick)

        chosen = [at(address) for address in (x, y) if address is not None]
        as_one = as_rdm_side if record.kind == "rdms" else as_side
        # full addresses, so that messages tell fc1 of one file from fc1 of another
        sides = [{name: as_one(data, name) for name, data in c.arrays.items()} for c in chosen]
        result = grid(record, sides[0], sides[-1], bound)
    names = [list(selection.names.values()) for selection in chosen]
    return _with_steps(result.assign_coords(x=names[0], y=names[-1]), chosen)


def _of_layers(
    record: Metric, x: str, step: str, names: str | None, bound: Mapping[str, Any]
) -> tuple[xr.DataArray, list[str]]:
    with layers_at(x, step) as chosen:
        _refuse_ragged(record, chosen.arrays)
        extra = [features_of(chosen, names)] if record.kind == "feature" else []
        results = {}
        for address, data in chosen.arrays.items():
            with about(address):
                results[chosen.names[address]] = evaluate(record, (data, *extra), bound)
        return _with_steps(stacked(results), [chosen])


def _refuse_ragged(record: Metric, arrays: Mapping[str, xr.DataArray]) -> None:
    """Layers whose results have different shapes make no table: one has to be named."""
    core = {schema.STIMULUS, *(() if schema.UNIT in record.dims else (schema.UNIT,))}
    shapes = {
        address: {dim: size for dim, size in data.sizes.items() if dim not in core}
        for address, data in arrays.items()
    }
    (first, shape), *others = shapes.items()
    for address, other in others:
        if other != shape:
            raise DimensionError(
                f"a result has one value for each of {shape or 'no dimensions'} in {first}, and of "
                f"{other or 'no dimensions'} in {address}. Name one layer, such as {first}."
            )


@contextmanager
def about(address: str) -> Iterator[None]:
    """Name the input in every warning and error of a call that sees only one, called x."""
    with warnings.catch_warnings(record=True) as caught:
        try:
            yield
        except ReptoolsError as error:
            error.args = (f"{address}: {error}",)
            raise
    for warning in caught:
        warnings.warn(f"{address}: {warning.message}", warning.category, stacklevel=3)


def stacked(results: Mapping[str, xr.DataArray]) -> xr.DataArray:
    """Results of several layers along a new first dimension ``layer``.

    What was counted for each layer becomes a coordinate; the inputs are listed one after another.
    """
    first = next(iter(results.values()))
    counted = [name for name in ("n_units", "n_dead_units") if name in first.attrs]
    extras = [str(name) for name, coord in first.coords.items() if coord.dims == first.dims]
    extras = [name for name in extras if name not in first.dims]
    parts = [result.reset_coords(extras).drop_attrs(deep=False) for result in results.values()]
    layer = xr.DataArray(list(results), dims="layer", name="layer")
    joined = xr.concat(
        parts, layer, data_vars="all", coords="minimal", compat="override", join="exact"
    )
    counts = {name: ("layer", [r.attrs[name] for r in results.values()]) for name in counted}
    result: xr.DataArray = joined.set_coords(extras)[first.name].assign_coords(counts)
    inputs = [entry for r in results.values() for entry in _json.loads(r.attrs["inputs"])]
    result.attrs = {key: value for key, value in first.attrs.items() if key not in counted}
    result.attrs["inputs"] = _json.dumps(inputs)
    return result


def _with_steps(
    result: xr.DataArray, selections: list[Selection]
) -> tuple[xr.DataArray, list[str]]:
    """Keep which step was chosen, in the result and for the screen."""
    steps = {selection.path: selection.step for selection in selections}
    if any(step is not None for step in steps.values()):
        result.attrs["steps"] = _json.dumps(steps)
    if len(set(steps.values())) == 1 and "step" not in result.dims:
        (step,) = set(steps.values())
        result = result if step is None else result.assign_coords(step=step)
    return result, list(dict.fromkeys(s.note for s in selections if s.note))


def _headline(result: xr.DataArray) -> str:
    """What was computed, from what: the options are part of the number's meaning."""
    attrs = result.attrs
    said = {"estimator", "cv"} if "cv" in attrs else {"estimator"}
    options = {k: v for k, v in _json.loads(attrs["params"]).items() if k not in said}
    parts = [f"{attrs['n_stimuli']} stimuli", str(attrs["estimator"])]
    parts += [f"{name}={plain(value)}" for name, value in options.items() if plain(value) != "none"]
    parts += [str(attrs["cv"])] if "cv" in attrs else []
    return f"{result.name}: {'; '.join(parts)}"
