"""Commands that compute: any metric of the registry, and a report of several."""

from __future__ import annotations

import json as _json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import xarray as xr

from reptools import schema
from reptools.cli import output
from reptools.cli.sources import (
    Asked,
    Selection,
    check_asked,
    features_of,
    layers_at,
    listed,
    rdms_at,
    split,
    wanted,
)
from reptools.cli.stacking import stacked
from reptools.cli.words import option_name, plain
from reptools.engine.calling import evaluate, grid, read_side
from reptools.engine.operation import ON_RDMS, Metric
from reptools.engine.options import bind
from reptools.engine.registry import find
from reptools.errors import DimensionError, ParameterError, ReptoolsError, naming, some

Notes = list[str]


def compute(
    record: Metric,
    *,
    x: str,
    y: str | None = None,
    models: Sequence[str] = (),
    step: str | None = None,
    at: Sequence[str] | None = None,
    layers: str | None = None,
    features: str | None = None,
    long: bool,
    json: bool,
    out: str | None,
    overwrite: bool,
    **options: str | None,
) -> None:
    """Evaluate a metric on addresses and hand the result out.

    Pairs give a grid (x, y), the others a dimension ``layer`` (``rdm`` where the inputs are
    dissimilarity matrices), also for a single one: the shape of a result does not depend on how
    many layers an address names.
    """
    addresses = [address for address in (x, y, *models) if address is not None]
    output.check_out(out, [split(address)[0] for address in addresses], overwrite=overwrite)
    asked = Asked(wanted(at, step), listed(layers))
    with naming(record.name):
        bound = bind(record.parameters, _given(record, options), text=True)
    with ExitStack() as files:
        with naming(record.name):
            chosen = [
                files.enter_context(
                    rdms_at(address, asked) if record.kind in ON_RDMS else layers_at(address, asked)
                )
                for address in addresses
            ]
            notes = check_asked(asked, chosen)
        if record.kind in ("pair", "rdms"):
            result = _grid(record, chosen, bound)
        elif record.kind == "models":
            result = _against_models(record, chosen[0], chosen[1:], bound)
        elif record.kind == "transfer":
            result = _between(record, chosen, features, bound)
        else:
            result = _by_layer(record, chosen[0], features, bound)
        _keep_places(result, chosen)
    notes = [*(note for one in chosen for note in one.picked.notes), *notes]
    if out is not None:
        output.write(result, out)
        notes.append(f"written to {out}")
    if json:
        output.print_json(output.as_json(result))
        return
    print(_headline(result))
    output.show(result, long=long)
    for note in dict.fromkeys(notes):
        print(note)


def compare(*, metric: str, **rest: Any) -> None:
    """Evaluate a pair metric that is named as an option."""
    compute(find(metric, kind="pair"), **rest)


def report(
    *,
    files: list[str],
    out: str,
    title: str | None,
    metrics: str | None,
    layers: str | None,
    step: str | None,
    at: Sequence[str] | None,
    overwrite: bool,
    json: bool,
) -> None:
    """Write the HTML page."""
    from reptools.report.build import build_report

    output.check_out(out, files, overwrite=overwrite, suffixes=output.PAGE)
    build_report(
        files,
        out,
        title=title,
        metrics=listed(metrics),
        layers=listed(layers),
        at={place.dim: place.value for place in wanted(at, step) if not place.hint},
    )
    if json:
        output.print_json({"page": out})
        return
    print(f"written to {out}")


def _given(record: Metric, options: Mapping[str, str | None]) -> dict[str, str]:
    """The options that were written, under the metric's own names; foreign ones stay to fail."""
    own = {option_name(name): name for name in record.parameters}
    return {own.get(key, key): text for key, text in options.items() if text is not None}


# --- kinds of metrics ---------------------------------------------------------------------------


def _grid(record: Metric, chosen: Sequence[Selection], bound: Mapping[str, Any]) -> xr.DataArray:
    """Everything at x against everything at y; x against itself without y."""
    with naming(record.name):
        for one in chosen:
            _refuse_mixed(one.arrays, {schema.STIMULUS, f"{schema.STIMULUS}_", schema.UNIT})
        # full addresses, so that messages tell fc1 of one file from fc1 of another
        sides = [
            {name: read_side(record, data, name) for name, data in one.arrays.items()}
            for one in chosen
        ]
        result = grid(record, sides[0], sides[-1], bound)
    names = [list(one.names.values()) for one in chosen]
    return result.assign_coords(x=names[0], y=names[-1])


def _by_layer(
    record: Metric, chosen: Selection, features: str | None, bound: Mapping[str, Any]
) -> xr.DataArray:
    """Every layer by itself, with or without features."""
    with naming(record.name):
        own = () if schema.UNIT in record.dims else (schema.UNIT,)
        _refuse_mixed(chosen.arrays, {schema.STIMULUS, *own})
    extra = [features_of(chosen, features)] if record.kind == "feature" else []
    results = {}
    for address, data in chosen.arrays.items():
        with about(address):
            results[chosen.names[address]] = evaluate(record, (data, *extra), bound)
    return stacked(results, "layer", record, chosen.arrays.values())


def _between(
    record: Metric, chosen: Sequence[Selection], features: str | None, bound: Mapping[str, Any]
) -> xr.DataArray:
    """Fitted on each layer of x, tested on the layer of y of the same name.

    Without y on x itself, whose outer dimensions are crossed: time against time_.
    """
    first, second = chosen[0], chosen[-1]
    theirs = {second.names[address]: data for address, data in second.arrays.items()}
    if len(first.arrays) == len(theirs) == 1:
        pairs = [(*next(iter(first.arrays.items())), next(iter(theirs.values())))]
    else:
        pairs = [
            (address, data, theirs[first.names[address]])
            for address, data in first.arrays.items()
            if first.names[address] in theirs
        ]
    if not pairs:
        raise ParameterError(
            f"{record.name}: {first.path} and {second.path} share no layer by name: "
            f"{some(first.names.values())} against {some(theirs)}. Name one of each."
        )
    with naming(record.name):
        _refuse_mixed({address: x for address, x, _ in pairs}, {schema.STIMULUS, schema.UNIT})
    table = features_of(first, features)
    results = {}
    for address, x, y in pairs:
        if first is second:
            outer = [dim for dim in x.dims if dim not in (schema.STIMULUS, schema.UNIT)]
            y = y.rename({dim: f"{dim}_" for dim in outer})
        with about(address):
            results[first.names[address]] = evaluate(record, (x, y, table), bound)
    return stacked(results, "layer", record, [data for _, *pair in pairs for data in pair])


def _against_models(
    record: Metric, chosen: Selection, models: Sequence[Selection], bound: Mapping[str, Any]
) -> xr.DataArray:
    """Every dissimilarity matrix at x against all models together."""
    found = [(one, address) for one in models for address in one.arrays]
    names = [one.names[address] for one, address in found]
    twice = {name for name in names if names.count(name) > 1}
    named = {
        # the name alone, unless two files have a matrix of that name
        address if name in twice else name: one.arrays[address]
        for (one, address), name in zip(found, names, strict=True)
    }
    with naming(record.name):
        _refuse_mixed(chosen.arrays, {schema.STIMULUS, f"{schema.STIMULUS}_"})
    results = {}
    for address, data in chosen.arrays.items():
        with about(address):
            results[chosen.names[address]] = evaluate(record, (data, named), bound)
    return stacked(results, "rdm", record, chosen.arrays.values())


def _refuse_mixed(arrays: Mapping[str, xr.DataArray], core: set[str]) -> None:
    """Layers whose results have different shapes make no table: some have to be chosen."""
    groups: dict[tuple[tuple[str, int], ...], list[str]] = {}
    for address, data in arrays.items():
        outer = {str(dim): size for dim, size in data.sizes.items() if dim not in core}
        groups.setdefault(tuple(sorted(outer.items())), []).append(address)
    if len(groups) < 2:
        return
    said = [
        f"{dict(shape) or 'no dimensions'} in {names[0]}"
        + (f" and {len(names) - 1} more" if len(names) > 1 else "")
        for shape, names in groups.items()
    ]
    dims = {dim for shape in groups for dim, _ in shape} - {schema.UNIT}
    position = f", or one position with --at {min(dims)}=last" if dims else ""
    largest = max(groups.values(), key=len)
    layers = ",".join(split(address)[1] or "" for address in largest[:2])
    more = ",..." if len(largest) > 2 else ""
    raise DimensionError(
        f"layers differ in the dimensions of their results: {'; '.join(said)}. Choose layers that "
        f"agree, such as --layers {layers}{more}{position}."
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


# --- what is said of a result -------------------------------------------------------------------


def _keep_places(result: xr.DataArray, chosen: Sequence[Selection]) -> None:
    """Keep in the result which positions were chosen; where all agree, as a coordinate too."""
    at = {one.path: one.at for one in chosen if one.at}
    if not at:
        return
    result.attrs["at"] = _json.dumps(at)
    for dim in dict.fromkeys(dim for one in chosen for dim in one.at):
        values = {one.at.get(dim) for one in chosen}
        if len(values) == 1 and dim not in result.dims and dim not in result.coords:
            result.coords[dim] = values.pop()


def _headline(result: xr.DataArray) -> str:
    """What was computed, from what: the options are part of the number's meaning."""
    attrs = result.attrs
    said = {"estimator", "cv"} if "cv" in attrs else {"estimator"}
    options = {k: v for k, v in _json.loads(attrs["params"]).items() if k not in said}
    parts = [f"{attrs['n_stimuli']} stimuli", str(attrs["estimator"])]
    parts += [f"{name}={plain(value)}" for name, value in options.items() if plain(value) != "none"]
    parts += [str(attrs["cv"])] if "cv" in attrs else []
    return f"{result.name}: {'; '.join(parts)}"
