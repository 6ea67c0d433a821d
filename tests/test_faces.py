"""One number, whichever face shows it: Python, the command line in four forms, and the report.

Every registered operation is asked of the same files, in which a layer without variance stands
first, in the middle and last: whatever leaves out a layer must not move the numbers of another.
"""

from __future__ import annotations

import csv
import json
import sys
import warnings
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import reptools as rt
from reptools import schema
from reptools.cli.app import build_app
from reptools.engine.inputs import ModelsInput
from reptools.engine.operation import Operation
from reptools.engine.registry import operations
from reptools.engine.table import recorded
from reptools.errors import ReptoolsWarning
from reptools.reporting.scores import left_out
from reptools.reporting.systems import read_systems
from reptools.reporting.tables import cell_text

N = 32
WIDTHS = {"dead.first": 3, "conv": 5, "dead.middle": 4, "fc1": 6, "fc2": 4, "dead.last": 2}
LIVE = [name for name in WIDTHS if not name.startswith("dead")]
STIMULI = [f"s{i:02d}" for i in range(N)]
FEATURES = {name: np.arange(N) >> k & 1 for k, name in enumerate(("easy", "hard"))}
STEPS = (0, 10)

# operations that a page of files like these has no table or map for, and why
RDMS = "of dissimilarity matrices, and these files hold activations"
TWO = "of two recordings of the same units"
WHOLE = "a result over the stimuli"
NOT_ON_THE_PAGE = {
    "compare_rdms": RDMS,
    "flexible_rsa": RDMS,
    "flexible_rsa_weights": RDMS,
    "partial_rsa": RDMS,
    "regression_rsa": RDMS,
    "variance_partition_rsa": RDMS,
    "effect": TWO,
    "population_sparseness": WHOLE,
    "principal_components": WHOLE,
    "probe_transfer": TWO,
    "rdm": WHOLE,
    "remove": WHOLE,
}


@dataclass(frozen=True)
class Files:
    """Where everything lies."""

    a: Path
    b: Path
    repeated: Path
    rdms: Path
    models: Path
    page: Path
    page_of_live: Path
    page_of_repeated: Path


def layers_of(rng: np.random.Generator, *shape: int, gain: float = 1.0) -> dict[str, Any]:
    """Six layers, three of them dead, of which the others hold the features."""
    bits = np.stack(list(FEATURES.values()), axis=1).astype(float)
    found = {}
    for name, width in WIDTHS.items():
        x = gain * bits @ rng.normal(size=(2, width)) + rng.normal(size=(*shape, N, width))
        found[name] = np.full_like(x, 1.5) if name.startswith("dead") else x
    return found


def write(path: Path, seed: int) -> Path:
    """Two steps, with the head that reads ``fc2``."""
    rng = np.random.default_rng(seed)
    with rt.Writer(
        path,
        system=path.stem,
        stimulus=STIMULI,
        features={name: (bit, {"kind": "binary"}) for name, bit in FEATURES.items()},
        coords={"split": np.where(np.arange(N) // 8 % 2 == 0, "validation", "test")},
        steps=STEPS,
    ) as writer:
        for step in STEPS:
            layers = layers_of(rng, gain=1 + step / 10)
            layers = {name: x.astype(np.float32) for name, x in layers.items()}
            weight, bias = rng.normal(size=(2, WIDTHS["fc2"])), rng.normal(size=2)
            along = {"output": list(FEATURES)}
            head = {
                "readout_weight": xr.DataArray(weight, along, ("output", "unit")),
                "readout_bias": xr.DataArray(bias, along, ("output",)),
            }
            logits = layers["fc2"].astype(float) @ weight.T + bias
            answers = dict(zip(FEATURES, logits.T, strict=True))
            writer.append(layers, step=step, outputs=answers, per_step=head)
    return path


def write_repeated(path: Path) -> Path:
    """Three repetitions of every stimulus, as a recording has them."""
    dims = ("repetition", "stimulus", "unit")
    layers = layers_of(np.random.default_rng(2), 3)
    groups = {
        f"/layers/{name}": xr.Dataset({"activation": (dims, x)}) for name, x in layers.items()
    }
    features = {name: ("stimulus", bit, {"kind": "binary"}) for name, bit in FEATURES.items()}
    root = xr.Dataset(coords={"stimulus": STIMULI}, attrs={"schema": 1, "system": "V1"})
    whole = xr.DataTree.from_dict({"/": root, **groups, "/features": xr.Dataset(features)})
    whole.to_netcdf(path, engine="h5netcdf")
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder = tmp_path_factory.mktemp("faces")
    found = Files(
        write(folder / "a.h5", 0),
        write(folder / "b.h5", 1),
        write_repeated(folder / "repeated.h5"),
        folder / "rdms.h5",
        folder / "models.h5",
        folder / "page.html",
        folder / "live.html",
        folder / "repeated.html",
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ReptoolsWarning)
        command("compute", "rdm", f"{found.a}::{','.join(LIVE)}", "--out", found.rdms)
        command("compute", "rdm", f"{found.b}::conv,fc1", "--out", found.models)
        rt.report([found.a, found.b], found.page)
        rt.report([found.a, found.b], found.page_of_live, metrics=PAIRS, layers=LIVE)
        rt.report(found.repeated, found.page_of_repeated)
    return found


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Dead units are warned of everywhere; other tests listen to that."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ReptoolsWarning)
        yield


def command(*args: object) -> None:
    """Run a command line."""
    hook = sys.excepthook
    try:
        with pytest.raises(SystemExit) as ended:
            build_app()([str(arg) for arg in args], prog_name="reptools")
    finally:
        sys.excepthook = hook
    assert ended.value.code == 0, args


# the side that comes with a layer, and that another file gives
OTHER_SIDE = {"effect": "changed", "probe_transfer": "y"}


# --- what is asked -------------------------------------------------------------------------------


def source(operation: Operation, files: Files) -> Path:
    """The file that can feed an operation."""
    if next(iter(operation.sides.values())).group == schema.RDMS:
        return files.rdms
    return files.repeated if operation.repeats == "required" else files.a


def from_python(operation: Operation, files: Files) -> xr.DataArray | xr.Dataset:
    """The result as a call from Python gives it."""
    name, at = operation.name, {"step": "last"}
    with ExitStack() as stack:
        tree = stack.enter_context(rt.open(source(operation, files)))
        second = stack.enter_context(rt.open(files.b))
        models = stack.enter_context(rt.open(files.models))
        at = at if source(operation, files) == files.a else {}
        if operation.compares and source(operation, files) == files.rdms:
            return rt.compare(tree, metric=name)
        if "unit" in operation.dims and operation.compares:
            y = {"fc1": second["layers/fc1"].activation.isel(step=-1)}
            x = {key: tree[f"layers/{key}"].activation.isel(step=-1) for key in WIDTHS}
            return rt.compare(x, y, metric=name)
        if operation.compares:
            return rt.compare(tree, second, metric=name, at=at)
        more = {"models": models} if operation.takes(ModelsInput) else {}
        if name in OTHER_SIDE:
            more[OTHER_SIDE[name]] = second
        return rt.compute(name, tree, at=at, missing="nan", **more).load()


def from_command(operation: Operation, files: Files, *more: object) -> None:
    """The same by the command line."""
    args: list[object] = ["compute", operation.name, source(operation, files)]
    if operation.compares and source(operation, files) != files.rdms:
        args.append(f"{files.b}::fc1" if "unit" in operation.dims else files.b)
    if operation.takes(ModelsInput):
        args += ["--models", files.models]
    if operation.name in OTHER_SIDE:
        args += [f"--{OTHER_SIDE[operation.name]}", files.b]
    command(*args, *more)


NAMES = sorted(operations())
on_every_operation = pytest.mark.parametrize("name", NAMES)


def variables(result: xr.DataArray | xr.Dataset) -> dict[str, xr.DataArray]:
    """The scores of a result: one, or one for each output."""
    if isinstance(result, xr.DataArray):
        return {str(result.name): result}
    return {str(name): one.assign_attrs(result.attrs) for name, one in result.data_vars.items()}


def test_every_operation_is_fed_by_these_files(files: Files) -> None:
    """An operation that computes nothing here would pass every law below."""
    for name in NAMES:
        result = from_python(operations()[name], files)
        assert any(np.isfinite(one.values).any() for one in variables(result).values()), name


BY_ITSELF = [name for name in NAMES if not operations()[name].compares]
PAIRED = [name for name in NAMES if operations()[name].compares]


@pytest.mark.parametrize("name", BY_ITSELF)
def test_layers_are_in_their_places(files: Files, name: str) -> None:
    """What was computed layer by layer is what all at once gives, and dead layers are missing."""
    operation = operations()[name]
    whole = from_python(operation, files)
    axis = "rdm" if "rdm" in whole.dims else "layer"
    with ExitStack() as stack:
        tree = stack.enter_context(rt.open(source(operation, files)))
        at = {"step": "last"} if source(operation, files) == files.a else {}
        more = {}
        if operation.takes(ModelsInput):
            more["models"] = stack.enter_context(rt.open(files.models))
        if name in OTHER_SIDE:
            more[OTHER_SIDE[name]] = stack.enter_context(rt.open(files.b))
        for layer in whole[axis].values.tolist():
            alone = None
            if layer in LIVE:
                alone = rt.compute(name, tree, layers=layer, at=at, **more)
            for key, one in variables(whole).items():
                here = one.sel({axis: layer})
                if alone is None:
                    assert name in DEAD_HAVE_VALUES or np.isnan(here.values).all(), layer
                    continue
                expected = variables(alone)[key].sel({axis: layer})
                cut = {d: slice(0, n) for d, n in expected.sizes.items()}
                np.testing.assert_array_equal(here.isel(cut).values, expected.values)
                rest = here.values.size - expected.values.size
                assert np.isnan(here.values).sum() == np.isnan(expected.values).sum() + rest


@pytest.mark.parametrize("name", PAIRED)
def test_pairs_are_in_their_places(files: Files, name: str) -> None:
    """Every cell of a grid is what a call with these two sides gives."""
    operation = operations()[name]
    whole = from_python(operation, files)
    with rt.open(files.a) as a, rt.open(files.b) as b, rt.open(files.rdms) as rdms:
        of_rdms = source(operation, files) == files.rdms
        for x in whole.x.values.tolist():
            for y in whole.y.values.tolist():
                if of_rdms:
                    sides = [rdms[f"rdms/{one}"].dissimilarity for one in (x, y)]
                else:
                    sides = [
                        tree[f"layers/{one}"].activation.isel(step=-1)
                        for tree, one in ((a, x), (b, y))
                    ]
                expected = operation.public(*sides)
                found = whole.sel(x=x, y=y)
                np.testing.assert_allclose(found.values, expected.values, rtol=1e-9, atol=1e-12)
                live = x in LIVE and y in LIVE
                assert np.isfinite(expected.values).any() == live, (x, y)


# of a layer in which nothing varies, these say what it is
DEAD_HAVE_VALUES = {"remove"}


# --- the command line ----------------------------------------------------------------------------


@on_every_operation
def test_json_is_what_python_gives(
    files: Files, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    operation = operations()[name]
    expected = from_python(operation, files)
    capsys.readouterr()
    from_command(operation, files, "--json")
    found = json.loads(capsys.readouterr().out)
    shown = found.get("variables", {name: found})
    for key, one in variables(expected).items():
        assert shown[key]["dims"] == list(one.dims)
        assert numbers(shown[key]["values"]) == numbers(one.values.tolist())
    for key in expected.coords:
        assert found["coords"][key]["dims"] == list(expected[key].dims), key
        assert numbers(found["coords"][key]["values"]) == numbers(expected[key].values.tolist())
    assert found["attrs"]["params"] == json.loads(expected.attrs["params"])


def numbers(values: Any) -> Any:
    """Nested lists, in which what JSON does not know is null."""
    if isinstance(values, list):
        return [numbers(value) for value in values]
    if isinstance(values, float) and not np.isfinite(values):
        return None
    return values


@on_every_operation
def test_hdf5_is_what_python_gives(files: Files, name: str, tmp_path: Path) -> None:
    operation = operations()[name]
    expected = from_python(operation, files)
    out = tmp_path / "out.h5"
    from_command(operation, files, "--out", out, "--json")
    if name == "rdm":
        with rt.open(out) as tree:
            assert list(tree["rdms"].children) == list(WIDTHS)
            for layer, matrix in tree["rdms"].items():
                values = expected.sel(layer=layer).values
                np.testing.assert_array_equal(matrix.dissimilarity.values, values)
        return
    with xr.open_dataset(out, engine="h5netcdf") as written:
        for key, one in variables(expected).items():
            found = written[key]
            assert found.dims == one.dims
            np.testing.assert_array_equal(found.values, one.values)
        for key in expected.coords:
            np.testing.assert_array_equal(written[key].values, expected[key].values, err_msg=key)


@on_every_operation
def test_csv_is_what_python_gives(files: Files, name: str, tmp_path: Path) -> None:
    """Every row is looked up in the result by its labels."""
    operation = operations()[name]
    expected = from_python(operation, files)
    out = tmp_path / "out.csv"
    from_command(operation, files, "--out", out, "--json")
    rows = list(csv.DictReader(out.read_text(encoding="utf-8").splitlines()))
    for key, one in variables(expected).items():
        mine = [row for row in rows if row["quantity"] == key]
        assert len(mine) == recorded(one).sum()  # and no row for what only fills up
        labels, extras = labels_of(one), beside(one)
        places = [place_of(labels, row) for row in mine]
        assert places == sorted(set(places))  # all of them, in their order
        for row, place in zip(mine, places, strict=True):
            assert same(row["estimate"], one.values[place]), row
            for extra, values in extras.items():
                assert same(row[extra], values[place]), (row, extra)


def labels_of(result: xr.DataArray) -> dict[str, dict[str, int]]:
    """Where each label stands, dimension by dimension."""
    return {
        str(dim): {
            str(label): i
            for i, label in enumerate(
                result[dim].values.tolist() if dim in result.coords else range(result.sizes[dim])
            )
        }
        for dim in result.dims
    }


def place_of(labels: dict[str, dict[str, int]], row: dict[str, str]) -> tuple[int, ...]:
    """Where a row belongs by its labels."""
    return tuple(known[row[dim]] for dim, known in labels.items())


def beside(result: xr.DataArray) -> dict[str, np.ndarray]:
    """What came with every score, in the shape of the scores."""
    return {
        str(name): coord.broadcast_like(result).transpose(*result.dims).values
        for name, coord in result.coords.items()
        if name not in result.dims
    }


def same(text: str, value: Any) -> bool:
    """Whether a cell is a value, to its last digit."""
    if isinstance(value, str):
        return text == value
    return text in ("", "nan") if np.isnan(value) else float(text) == float(value)


@on_every_operation
def test_the_long_table_is_what_python_gives(
    files: Files, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    operation = operations()[name]
    expected = from_python(operation, files)
    capsys.readouterr()
    from_command(operation, files, "--long")
    lines = capsys.readouterr().out.splitlines()
    for key, one in variables(expected).items():
        starts = [i for i, line in enumerate(lines) if line.split()[:1] == [str(one.dims[0])]]
        start = starts[list(variables(expected)).index(key)]
        header = lines[start].split()
        assert header[: one.ndim + 1] == [*map(str, one.dims), key]
        extras = beside(one)
        places = [tuple(place) for place in np.argwhere(recorded(one).reshape(one.shape)).tolist()]
        rows = [line.split() for line in lines[start + 2 : start + 2 + len(places)]]
        for place, row in zip(places, rows, strict=True):
            cells = dict(zip(header, row, strict=True))
            for dim, i in zip(map(str, one.dims), place, strict=True):
                assert near(cells[dim], one[dim].values[i] if dim in one.coords else i), (row, dim)
            assert near(cells[key], one.values[place]), (row, key)
            for extra, values in extras.items():
                assert near(cells[extra], values[place]), (row, extra)


def near(text: str, value: Any) -> bool:
    """Whether a cell is a value, to the digits that it shows."""
    if isinstance(value, str):
        return text == value
    if not np.isfinite(value):
        return text in ("nan", "-", "inf", "-inf") and np.array_equal(
            float(text), value, equal_nan=True
        )
    if "e" in text:
        return bool(abs(float(text) - value) <= 1e-3 * abs(value) + 1e-12)
    return bool(abs(float(text) - value) <= 0.5e-4 + 1e-12)


# --- the report ----------------------------------------------------------------------------------


class Tables(HTMLParser):
    """The tables below each heading of operations: rows of cells by column, and headings."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: dict[str, list[list[dict[str, str]]]] = {}
        self.images: dict[str, list[str]] = {}
        self.heading, self.text, self.row = "", "", list[str]()
        self.header: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.text = "" if tag in ("th", "td", "h2", "h3") else self.text
        if tag == "tr":
            self.row = []
        if tag == "table":
            self.header = []
            self.found.setdefault(self.heading, []).append([])
        if tag == "img":
            self.images.setdefault(self.heading, []).append(dict(attrs)["alt"])

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_endtag(self, tag: str) -> None:
        if tag in ("h2", "h3"):
            self.heading = self.text
        if tag in ("th", "td"):
            self.row.append(self.text)
        if tag == "tr" and not self.header:
            self.header = self.row
        elif tag == "tr":
            self.found[self.heading][-1].append(dict(zip(self.header, self.row, strict=True)))


@pytest.fixture(scope="module")
def pages(files: Files) -> dict[Path, Tables]:
    """What the pages of both kinds of files show."""
    return {
        files.a: Tables(files.page.read_text(encoding="utf-8")),
        files.repeated: Tables(files.page_of_repeated.read_text(encoding="utf-8")),
    }


def test_the_list_of_what_has_no_place_on_the_page_is_right(files: Files) -> None:
    found: dict[str, str] = {}
    with ExitStack() as stack:
        single = read_systems([files.a, files.b], None, None, stack)
        repeated = read_systems(files.repeated, None, None, stack)
        for name, operation in operations().items():
            systems = repeated if operation.repeats == "required" else single
            if (reason := left_out(operation, systems)) is not None:
                found[name] = reason
    assert found == NOT_ON_THE_PAGE


BY_LAYER = [n for n, o in operations().items() if n not in NOT_ON_THE_PAGE and not o.compares]
PAIRS = [n for n, o in operations().items() if n not in NOT_ON_THE_PAGE and o.compares]


def of_page(result: xr.DataArray, operation: Operation) -> xr.DataArray:
    """What a page shows of a result: means over live units and outer dimensions."""
    kept = {"layer", *operation.dims} - {"unit"}
    return result.mean([dim for dim in result.dims if dim not in kept])


@pytest.mark.parametrize("name", BY_LAYER)
def test_tables_of_the_report_are_what_python_gives(
    files: Files, pages: dict[Path, Tables], name: str
) -> None:
    operation = operations()[name]
    path = source(operation, files)
    expected = from_python(operation, files)
    table, *rest = pages[path].found[name]
    several = path == files.a
    rows = [row for row in table if not several or row["system"] == "a"]
    assert not several or {row["system"] for row in table} == {"a", "b"}
    for key, one in variables(expected).items():
        means = of_page(one, operation)
        mine = [row for row in rows if row.get("quantity", key) == key]
        check(means, mine, "feature" if "feature" in means.dims else None, "value")
    if operation.plain.extras:
        beside = [row for row in rest[0] if not several or row["system"] == "a"]
        for extra in operation.plain.extras:
            values = of_page(expected[extra].reset_coords(drop=True), operation)
            without = [str(dim) for dim in operation.dims if dim not in values.dims]
            mine = [row for row in beside if all(row.get(dim, "n/a") == "n/a" for dim in without)]
            check(values, mine, None, extra)


def check(expected: xr.DataArray, rows: list[dict[str, str]], across: str | None, key: str) -> None:
    """Every number of a result has its cell, and no cell shows a number that is not there."""
    shown = 0
    down = [str(dim) for dim in expected.dims if dim != across]
    for place in np.ndindex(*(expected.sizes[dim] for dim in down)):
        at = dict(zip(down, place, strict=True))
        here = expected.isel(at)
        labels = {
            dim: cell_text(here[dim].item() if dim in here.coords else i, 3)
            for dim, i in at.items()
        }
        cells = {key: here.item()} if here.ndim == 0 else {}
        cells |= {str(one.feature.item()): one.item() for one in (here if across else ())}
        found = [row for row in rows if all(row.get(d) == text for d, text in labels.items())]
        if all(np.isnan(value) for value in cells.values()):
            for row in found:  # an empty row, or one that stands there for another number
                assert all(row[c] == "n/a" for c in cells), (row, cells)
            continue
        (row,) = found
        for column, value in cells.items():
            assert row[column] == cell_text(value, 3), (row, column, value)
            shown += 1
    assert shown > 0 or expected.isnull().all()


@pytest.mark.parametrize("name", PAIRS)
def test_maps_of_the_report_are_what_python_gives(
    files: Files, pages: dict[Path, Tables], name: str
) -> None:
    operation = operations()[name]
    with rt.open({"a": files.a, "b": files.b}) as tree:
        layers = {
            system: {n: tree[f"{system}/layers/{n}"].activation.isel(step=-1) for n in WIDTHS}
            for system in "ab"
        }
        if "unit" in operation.dims:
            columns = [rt.compare(layers["a"], {n: y}, metric=name) for n, y in layers["b"].items()]
            grid = xr.concat([one.mean("unit").reset_coords(drop=True) for one in columns], "y")
        else:
            grid = rt.compare(layers["a"], layers["b"], metric=name)
        last = {system: found["fc2"] for system, found in layers.items()}
        values = {
            (x, y): float(operation.public(last[x], last[y]).mean()) for x in "ab" for y in "ab"
        }
    (alt,) = pages[files.a].images[name]
    assert f"from {float(grid.min()):.2f} to {float(grid.max()):.2f}" in alt
    (table,) = Tables(files.page_of_live.read_text(encoding="utf-8")).found[name]
    for row in table:
        for y in "ab":
            assert row[y] == cell_text(values[row["system"], y], 3)
