"""Commands that describe: what a file holds, whether it is sound, which metrics there are."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import xarray as xr

from reptools import schema, store
from reptools.cli import output
from reptools.cli.sources import one_file
from reptools.cli.words import allowed, plain, short, unmarked
from reptools.engine.operation import Operation
from reptools.engine.registry import MetricTable, find, interventions, list_metrics
from reptools.errors import some
from reptools.provenance import from_json

# --- info ---------------------------------------------------------------------------------------


def info(*, file: str, json: bool) -> None:
    """Print what a file holds; no activation is read."""
    with one_file(file) as tree:
        found = contents(tree, file)
    if json:
        output.print_json(found)
        return
    state = "complete" if found["complete"] else "INCOMPLETE"
    print(f"{file}: {found['kind']} of {found['system']}, {state}, created {found['created']}")
    if found["source"]:
        print(f"source: {found['source']}")
    print(f"stimuli: {found['stimuli']['count']}, first {some(found['stimuli']['first'])}")
    for name, text in found["stimuli"]["coords"].items():
        print(f"  {name}: {text}")
    steps = found["steps"]
    if steps:
        print(f"steps: {len(steps)}, from {steps[0]} to {steps[-1]}")
    for title in ("layers", "features", "outputs", "rdms"):
        rows = found[title]
        print(f"\n{title}: {len(rows) or 'none'}")
        if rows:
            output.print_table(list(rows[0]), [list(row.values()) for row in rows])
    print("\nprovenance")
    output.print_table(["", ""], _flat(found["provenance"]))


def contents(tree: xr.DataTree, file: str) -> dict[str, Any]:
    """What a file holds, as plain data."""
    attrs = tree.attrs
    labels = tree.coords[schema.STIMULUS].values if schema.STIMULUS in tree.coords else np.array([])
    coords = {
        str(name): _summary(coord)
        for name, coord in tree.coords.items()
        if coord.dims == (schema.STIMULUS,) and name != schema.STIMULUS
    }
    return {
        "file": file,
        "kind": attrs.get(schema.KIND, "unknown"),
        "system": attrs.get(schema.SYSTEM, "unknown"),
        "source": attrs.get(schema.SOURCE, ""),
        "created": attrs.get(schema.CREATED, "unknown"),
        "complete": bool(attrs.get(schema.COMPLETE, 1)),
        "stimuli": {"count": labels.size, "first": labels[:3].tolist(), "coords": coords},
        "steps": tree.coords[schema.STEP].values.tolist() if schema.STEP in tree.coords else [],
        "layers": [_layer(name, group) for name, group in _children(tree, schema.LAYERS)],
        "features": [_feature(name, data) for name, data in _variables(tree, schema.FEATURES)],
        "outputs": [
            {"name": name, "shape": shape(data)} for name, data in _variables(tree, schema.OUTPUTS)
        ],
        "rdms": [
            {"name": name, "shape": shape(data)}
            for name, group in _children(tree, "rdms")
            for data in group.data_vars.values()
        ],
        "provenance": from_json(attrs.get(schema.PROVENANCE, "{}")),
    }


def shape(data: xr.DataArray) -> str:
    """Dimensions with their sizes, as in ``step 12 x stimulus 64 x unit 100``."""
    return " x ".join(f"{dim} {size}" for dim, size in data.sizes.items()) or "one value"


def _children(tree: xr.DataTree, group: str) -> list[tuple[str, xr.DataTree]]:
    return list(tree.children[group].children.items()) if group in tree.children else []


def _variables(tree: xr.DataTree, group: str) -> list[tuple[str, xr.DataArray]]:
    found = tree.children[group].data_vars if group in tree.children else {}
    return [(str(name), data) for name, data in found.items()]


def _layer(name: str, group: xr.DataTree) -> dict[str, Any]:
    data = group.data_vars[schema.ACTIVATION]
    path = group.attrs.get(schema.LAYER, name)
    return {"name": name, "shape": shape(data), "type": str(data.dtype), "module": path}


def _feature(name: str, data: xr.DataArray) -> dict[str, Any]:
    attrs = data.attrs
    return {
        "name": name,
        "kind": attrs.get(schema.FEATURE_KIND, "unknown"),
        "values": _summary(data),
        "complexity": attrs.get(schema.COMPLEXITY),
        "chance": attrs.get(schema.CHANCE),
    }


def _summary(data: xr.DataArray) -> str:
    """Classes with their counts where they are few, otherwise the range or their number."""
    values = data.values
    if values.dtype.kind == "f":
        return f"{np.nanmin(values):.4g} to {np.nanmax(values):.4g}"
    found, counts = np.unique(values, return_counts=True)
    if found.size > 6:
        return f"{found.size} values"
    pairs = zip(found.tolist(), counts.tolist(), strict=True)
    return ", ".join(f"{value} ({count})" for value, count in pairs)


def _flat(data: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Nested data as lines: ``config.lr  0.1``."""
    rows: list[tuple[str, str]] = []
    for key, value in data.items():
        if isinstance(value, dict):
            rows += _flat(value, f"{prefix}{key}.")
        else:
            rows.append((f"{prefix}{key}", plain(value)))
    return rows


# --- validate -----------------------------------------------------------------------------------


def validate(*, file: str, deep: bool, json: bool) -> int:
    """Print every deviation from the schema; the exit status is 1 if there is one."""
    deviations = store.validate(file, deep=deep)
    if json:
        output.print_json({"file": file, "deep": deep, "deviations": deviations})
    else:
        for deviation in deviations:
            print(deviation)
        count = f"{len(deviations)} deviations" if deviations else "no deviation"
        print(f"{file}: {count} from schema {schema.VERSION}{', values included' if deep else ''}")
    return 1 if deviations else 0


# --- metrics ------------------------------------------------------------------------------------


def metrics(*, name: str | None, json: bool) -> None:
    """Print the registry, or all there is to know of one metric."""
    if name is not None:
        operation = find(name.replace("-", "_"))
        if json:
            output.print_json(described(operation))
        else:
            _print_metric(operation)
        return
    table, changing = list_metrics(), MetricTable(tuple(interventions().values()))
    if json:
        output.print_json([*table.rows(), *changing.rows()])
        return
    for listed in (table, changing):
        if listed is changing:
            print("\ninterventions")
        rows = listed.rows()
        header, cells = list(rows[0]), [[*map(unmarked, row.values())] for row in rows]
        if output.fits(header, cells):
            output.print_table(header, cells)
        else:  # the same in paragraphs, where a table has no room
            for operation in listed:
                print(f"{operation.name}({', '.join(operation.inputs)})")
                output.print_text([unmarked(operation.summary), _in_words(operation)], indent=4)
    print("reptools metrics NAME tells all of one; reptools compute NAME --help its use")


def _in_words(operation: Operation) -> str:
    """Everything that the columns of the table say, in one line."""
    better = {"higher": "higher is better", "lower": "lower is better", "neither": "no direction"}
    facts = [better[operation.better], f"{operation.bounds[0]:g} to {operation.bounds[1]:g}"]
    facts += ["symmetric"] if operation.symmetric else []
    facts += ["a metric in the mathematical sense"] if operation.proper else []
    facts.append(f"invariant to {', '.join(operation.invariances) or 'nothing declared'}")
    facts.append(f"runs on {', '.join(operation.backends)}")
    facts += [f"a result over {', '.join(operation.dims)}"] if operation.dims else []
    facts += ["needs repetitions"] if operation.repeats == "required" else []
    return "; ".join(facts)


def described(operation: Operation) -> dict[str, Any]:
    """An operation as plain data."""
    return {
        "name": operation.name,
        "summary": unmarked(operation.summary),
        "intervention": operation.intervention,
        "takes": list(operation.inputs),
        "options": [
            {
                "name": p.name,
                "allowed": p.description,
                "default": plain(p.default),
                "meaning": unmarked(p.text),
            }
            for p in operation.parameters.values()
        ],
        "better": operation.better,
        "bounds": list(operation.bounds),
        "symmetric": operation.symmetric,
        "proper": operation.proper,
        "invariances": list(operation.invariances),
        "backends": list(operation.backends),
        "dims": list(operation.dims),
        "repetitions": operation.repeats,
        "held_out": operation.resamples,
    }


def _print_metric(operation: Operation) -> None:
    options = [f"{p.name}={_as_python(p.default)}" for p in operation.parameters.values()]
    call = f"{operation.name}({', '.join([*operation.inputs, '/', '*', *options])})"
    output.print_text([call], indent=0)
    print()
    facts = [
        ("better", operation.better),
        ("bounds", f"{operation.bounds[0]:g} to {operation.bounds[1]:g}"),
        ("symmetric", "yes" if operation.symmetric else "no"),
        ("a metric in the mathematical sense", "yes" if operation.proper else "no"),
        ("invariant to", ", ".join(operation.invariances) or "nothing declared"),
        ("held out", "yes" if operation.resamples else "no"),
        ("runs on", ", ".join(operation.backends)),
        ("own dimensions", ", ".join(operation.dims) or "none"),
        (
            "repetitions",
            {"True": "taken", "False": "looped over"}.get(str(operation.repeats), "needed"),
        ),
    ]
    output.print_table(["", ""], facts)
    rows = [(p.name, short(p.default), allowed(p)) for p in operation.parameters.values()]
    print()
    output.print_table(["option", "default", "allowed"], rows)
    if text := inspect.getdoc(operation.public):  # python -OO removes docstrings
        print(f"\n{text}")


def _as_python(default: Any, limit: int = 6) -> str:
    if isinstance(default, tuple) and len(default) > limit:
        return f"({', '.join(map(repr, default[:3]))}, ..., {default[-1]!r})"
    return repr(default)
