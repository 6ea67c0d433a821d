"""Commands that describe: what a file holds, whether it is sound, which metrics there are."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import xarray as xr

from reptools import schema, store
from reptools.cli import output
from reptools.cli.sources import opened
from reptools.cli.words import allowed, plain
from reptools.engine.operation import INPUTS, Metric
from reptools.engine.registry import find, list_metrics
from reptools.errors import some
from reptools.provenance import from_json

# --- info ---------------------------------------------------------------------------------------


def info(*, file: str, json: bool) -> None:
    """Print what a file holds; no activation is read."""
    with opened(file) as tree:
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
        record = find(name.replace("-", "_"))
        if json:
            output.print_json(described(record))
        else:
            _print_metric(record)
        return
    table = list_metrics()
    rows = table.rows()
    if json:
        output.print_json(rows)
        return
    header, cells = list(rows[0]), [list(row.values()) for row in rows]
    if output.fits(header, cells):
        output.print_table(header, cells)
    else:  # the same in paragraphs, where a table has no room
        for record in table:
            print(f"{record.name}({', '.join(INPUTS[record.kind])})")
            output.print_text([record.summary, _in_words(record)], indent=4)
    print("reptools metrics NAME tells all of one; reptools compute NAME --help its use")


def _in_words(record: Metric) -> str:
    """Everything that the columns of the table say, in one line."""
    better = {"higher": "higher is better", "lower": "lower is better", "neither": "no direction"}
    facts = [better[record.better], f"{record.bounds[0]:g} to {record.bounds[1]:g}"]
    facts += ["symmetric"] if record.symmetric else []
    facts += ["a metric in the mathematical sense"] if record.proper else []
    facts.append(f"invariant to {', '.join(record.invariances) or 'nothing declared'}")
    facts.append(f"runs on {', '.join(record.backends)}")
    facts += [f"a result over {', '.join(record.dims)}"] if record.dims else []
    facts += ["needs repetitions"] if record.repeats == "required" else []
    return "; ".join(facts)


def described(record: Metric) -> dict[str, Any]:
    """A record as plain data."""
    return {
        "name": record.name,
        "summary": record.summary,
        "kind": record.kind,
        "takes": list(INPUTS[record.kind]),
        "options": [
            {"name": p.name, "allowed": p.description, "default": plain(p.default)}
            for p in record.parameters.values()
        ],
        "better": record.better,
        "bounds": list(record.bounds),
        "symmetric": record.symmetric,
        "proper": record.proper,
        "invariances": list(record.invariances),
        "backends": list(record.backends),
        "dims": list(record.dims),
        "repetitions": record.repeats,
        "held_out": record.resamples,
    }


def _print_metric(record: Metric) -> None:
    options = [f"{p.name}={p.default!r}" for p in record.parameters.values()]
    call = f"{record.name}({', '.join([*INPUTS[record.kind], '/', '*', *options])})"
    output.print_text([call], indent=0)
    print()
    facts = [
        ("better", record.better),
        ("bounds", f"{record.bounds[0]:g} to {record.bounds[1]:g}"),
        ("symmetric", "yes" if record.symmetric else "no"),
        ("a metric in the mathematical sense", "yes" if record.proper else "no"),
        ("invariant to", ", ".join(record.invariances) or "nothing declared"),
        ("held out", "yes" if record.resamples else "no"),
        ("runs on", ", ".join(record.backends)),
        ("own dimensions", ", ".join(record.dims) or "none"),
        (
            "repetitions",
            {"True": "taken", "False": "looped over"}.get(str(record.repeats), "needed"),
        ),
    ]
    output.print_table(["", ""], facts)
    rows = [(p.name, plain(p.default), allowed(p)) for p in record.parameters.values()]
    print()
    output.print_table(["option", "default", "allowed"], rows)
    if text := inspect.getdoc(record.kernel):  # python -OO removes docstrings
        print(f"\n{text}")
