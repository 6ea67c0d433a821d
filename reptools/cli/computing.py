"""Commands that compute: any operation of the registry, and a report of several."""

from __future__ import annotations

import json as _json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import xarray as xr

from reptools import schema
from reptools.cli import output
from reptools.cli.sources import (
    SEPARATOR,
    addresses,
    listed,
    opened,
    refuse_layers_twice,
    wanted,
)
from reptools.cli.words import option_name, short
from reptools.engine.inputs import ActivationsInput, FeaturesInput, ModelsInput, RdmInput
from reptools.engine.loops import Asked, asked, compared, computed, sides_of
from reptools.engine.operation import Operation, Result
from reptools.engine.registry import find
from reptools.engine.selecting import pick
from reptools.engine.systems import sites_of
from reptools.engine.table import by_layer
from reptools.errors import ParameterError, naming


def compute(
    operation: Operation,
    *,
    long: bool,
    json: bool,
    out: str | None,
    overwrite: bool,
    layers: str | None = None,
    step: str | None = None,
    at: Sequence[str] | None = None,
    stimuli: str | None = None,
    **given: Any,
) -> None:
    """Evaluate an operation on addresses and hand the result out.

    What takes two sides gives a grid (x, y), all else a dimension ``layer`` (``rdm`` where the
    inputs are dissimilarity matrices), and ``system`` before it where several files or a pattern
    are given: the shape hangs on what was written, not on how many layers there are.
    """
    texts = {name: _texts(given.pop(name, None)) for name in _addressed(operation)}
    features = {
        name: listed(given.pop(name, None))
        for name, kind in operation.inputs.items()
        if isinstance(kind, FeaturesInput)
    }
    every = [text for one in texts.values() for text in one]
    paths = [address.path for text in every for address in _addresses(text)]
    output.check_out(out, paths, overwrite=overwrite)
    with naming(operation.name):
        what = asked(
            operation,
            _given(operation, given),
            layers=listed(layers),
            places=wanted(at, step),
            stimuli=stimuli or "exact",
            missing="nan",
            text=True,
        )
        run = _grid if operation.compares else _by_layer
        result = run(what, texts, features)
    notes = list(what.notes)
    if "failures" in result.attrs:
        failures = _json.loads(result.attrs["failures"])
        notes += [f"missing (NaN): {place}: {said}" for place, said in failures.items()]
    if out is not None:
        output.write(result, out)
        notes.append(f"written to {out}")
    if json:
        output.print_json(output.as_json(result))
        return
    print(headline(result))
    output.show(result, long=long)
    for note in dict.fromkeys(notes):
        print(note)


def compare(*, metric: str, **rest: Any) -> None:
    """Evaluate an operation on two sides that is named as an option."""
    operation = find(metric.replace("-", "_"))
    if not operation.compares:
        raise ParameterError(
            f"--metric must name what takes two sides, and {operation.name} takes "
            f"{', '.join(operation.inputs)}. Use reptools compute {operation.name}."
        )
    x, y = operation.sides
    rest[x], rest[y] = rest.pop("x"), rest.pop("y")
    compute(operation, **rest)


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
    from reptools.reporting import report as write_report

    found, _ = addresses(files)
    if named := next((one for one in found if one.patterns is not None), None):
        raise ParameterError(
            f"{named.path}::{','.join(named.patterns or [])} names layers, and a report takes "
            "whole files. Pass the file, and --layers."
        )
    output.check_out(out, [one.path for one in found], overwrite=overwrite, suffixes=output.PAGE)
    write_report(
        [one.path for one in found],
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


# --- what is written, as what is meant ----------------------------------------------------------


def _addressed(operation: Operation) -> list[str]:
    """Inputs that are written as addresses."""
    return [name for name, kind in operation.inputs.items() if kind.address]


def _texts(value: Any) -> list[str]:
    if value is None:
        return []
    return [value] if isinstance(value, str) else list(value)


def _addresses(text: str) -> list[Any]:
    group = schema.RDMS if f"::{schema.RDMS}/" in text else schema.LAYERS
    return addresses([text], group)[0]


def _given(operation: Operation, options: Mapping[str, Any]) -> dict[str, str]:
    """The options that were written, under the operation's own names; foreign ones stay to fail."""
    own = {option_name(name): name for name in operation.parameters}
    return {own.get(key, key): text for key, text in options.items() if text is not None}


def _grid(what: Asked, texts: Mapping[str, list[str]], features: Mapping[str, Any]) -> xr.DataArray:
    """Everything at x against everything at y; x against itself without y."""
    kind = next(iter(what.operation.sides.values()))
    patterns = _patterns(what)
    given = {name: texts[name] for name in what.operation.sides if texts[name]}
    refuse_layers_twice([text for side in given.values() for text in side], patterns, kind.group)
    with ExitStack() as stack:
        files = {
            name: stack.enter_context(opened(side, patterns, kind.group))
            for name, side in given.items()
        }
        return compared(what, *sides_of(what, files))


def _by_layer(what: Asked, texts: Mapping[str, list[str]], features: Mapping[str, Any]) -> Result:
    """Every layer by itself, with whatever stands beside it."""
    operation = what.operation
    first, *others = operation.inputs
    group, patterns = operation.inputs[first].group, _patterns(what)
    refuse_layers_twice(texts[first], patterns, group)
    inputs: dict[str, Any] = {name: names for name, names in features.items() if names is not None}
    with ExitStack() as stack:
        files = stack.enter_context(opened(texts[first], patterns, group))
        for name in others:
            if texts.get(name):
                inputs[name] = _other(what, name, texts[name], stack)
        return computed(what, files, inputs)


def _patterns(what: Asked) -> Sequence[str] | None:
    assert what.layers is None or isinstance(what.layers, list)
    return what.layers


def _other(what: Asked, name: str, texts: list[str], stack: ExitStack) -> Any:
    """Another side of the same layers, or models by name."""
    kind = what.operation.inputs[name]
    if isinstance(kind, ModelsInput):
        return _models(texts, stack)
    assert isinstance(kind, ActivationsInput)
    files = stack.enter_context(opened(texts, None, kind.group))
    if len(files.systems) > 1:
        raise ParameterError(f"--{name} takes one file, and {texts[0]} matches several. Pass one.")
    (system,) = files.systems
    patterns = files.layers.get(system) if isinstance(files.layers, Mapping) else None
    if patterns is None:
        return files.systems[system]
    (sites,) = sites_of([files], kind, ())
    if len(sites) > 1:
        raise ParameterError(
            f"--{name} takes a file or one layer, and {texts[0]} names {len(sites)} layers. Pass "
            "one."
        )
    tree, layer = files.systems[system], sites[0].layer
    return pick(files.where(system), tree, {layer: sites[0].data}, what.places).arrays[layer]


def _models(texts: list[str], stack: ExitStack) -> dict[str, xr.DataArray]:
    """Models by their names in the files; where two have one name, by their addresses."""
    sites = []
    for text in texts:  # each by itself: files of models need no system
        files = stack.enter_context(opened([text], None, schema.RDMS))
        sites += sites_of([files], RdmInput(), ())[0]
    names = [site.layer for site in sites]
    labels = [site.layer if names.count(site.layer) == 1 else _address(site.said) for site in sites]
    return {label: site.data for label, site in zip(labels, sites, strict=True)}


def _address(said: str) -> str:
    path, _, name = said.rpartition(SEPARATOR)
    return f"{path}{SEPARATOR}{schema.RDMS}/{name}"


# --- what is said of a result -------------------------------------------------------------------


def headline(result: Result) -> str:
    """What was computed, from what: the options are part of the number's meaning."""
    attrs = result.attrs
    facts = {
        key: f"{key} by layer" if by_layer(result, key) else str(attrs[key])
        for key in ("n_stimuli", "estimator", "cv")
        if key in attrs
    }
    every = list((by_layer(result, "params") or {"": attrs["params"]}).values())
    each = [_json.loads(one) for one in every]
    options = {
        key: short(value) if all(one[key] == value for one in each) else "by layer"
        for key, value in each[0].items()
        if key not in facts
    }
    parts = [facts["estimator"]]
    if "n_stimuli" in attrs:
        n = attrs["n_stimuli"]
        parts.insert(0, facts["n_stimuli"] if isinstance(n, str) else f"{n} stimuli")
    parts += [f"{key}={value}" for key, value in options.items() if value != "none"]
    parts += [facts["cv"]] if "cv" in facts else []
    return f"{attrs['metric']}: {'; '.join(parts)}"
