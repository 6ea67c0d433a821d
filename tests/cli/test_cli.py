"""The command line: every command, its output in three forms, and its errors in one line."""

from __future__ import annotations

import csv
import json
import math
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Annotated, Any, Literal

import h5py
import numpy as np
import pytest
import xarray as xr

import reptools as rt
from reptools import store
from reptools.cli import output
from reptools.cli.app import build_app
from reptools.engine.declaring import metric
from reptools.engine.inputs import Activations
from reptools.engine.operation import Score, Wiring
from reptools.engine.options import Range
from reptools.engine.registry import forget, metrics, operations
from reptools.errors import DeadUnitWarning

N = 40
STEPS = (0, 100, 200)


@dataclass(frozen=True)
class Result:
    """What a command said."""

    stdout: str
    stderr: str


Run = Callable[..., Result]


def write(path: Path, seed: int, *, prefix: str = "s", dead: bool = False, n: int = N) -> Path:
    """Three steps of two layers; both features grow with the step, ``easy`` more than ``hard``."""
    rng = np.random.default_rng(seed)
    easy, hard = np.arange(n) % 2, np.arange(n) // 2 % 2
    features = {
        "easy": (easy, {"kind": "binary", "complexity": 1.0, "chance": 0.5}),
        "hard": (hard, {"kind": "binary"}),
    }
    split = np.where(np.arange(n) // 4 % 2 == 0, "validation", "test")
    with rt.Writer(
        path,
        system=path.stem,
        stimulus=[f"{prefix}{i:02d}" for i in range(n)],
        features=features,
        coords={"split": split},
        steps=STEPS,
        provenance={"config": {"lr": 0.1}, "seed": seed},
    ) as writer:
        for k, step in enumerate(STEPS):
            fc1, conv = (
                rng.normal(size=(n, p)) + 2 * k * easy[:, None] + k * np.outer(hard, np.ones(p))
                for p in (5, 7)
            )
            if dead:
                fc1[:, 2] = 0.0
            writer.append({"fc1": fc1, "block/0": conv}, step=step, outputs={"easy": conv[:, 0]})
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("cli")
    write_tokens(folder / "tokens.h5")
    write_recording(folder / "brain.h5")
    return {
        "a": write(folder / "a.h5", 0),
        "b": write(folder / "b.h5", 1, dead=True),
        "other": write(folder / "other.h5", 2, prefix="t"),
    }


def write_tokens(path: Path, n: int = N) -> Path:
    """Two blocks with four tokens each, and a head without."""
    rng = np.random.default_rng(5)
    with rt.Writer(path, system="vit", stimulus=[f"s{i:02d}" for i in range(n)]) as writer:
        blocks = {f"blocks.{i}": rng.normal(size=(n, 4, 3)) for i in range(2)}
        writer.append({**blocks, "head": rng.normal(size=(n, 6))})
    return path


def write_recording(path: Path, n: int = N) -> Path:
    """A foreign file: one region of two named subjects at five moments, feature included."""
    x = np.random.default_rng(6).normal(size=(2, 5, n, 3))
    dims = ("subject", "time", "stimulus", "unit")
    time = np.array([-0.1, 0.0, 0.1, 0.2, 0.3], np.float32)
    region = xr.Dataset(
        {"activation": (dims, x)}, {"subject": ("subject", ["s01", "s02"]), "time": ("time", time)}
    )
    odd = xr.Dataset({"odd": ("stimulus", np.arange(n) % 2, {"kind": "binary"})})
    root = xr.Dataset(
        coords={"stimulus": [f"s{i:02d}" for i in range(n)]}, attrs={"schema": 1, "system": "IT"}
    )
    groups = {"/": root, "/layers/it": region, "/features": odd}
    xr.DataTree.from_dict(groups).to_netcdf(path, engine="h5netcdf")
    return path


@pytest.fixture
def run(
    files: dict[str, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """Run a command line in the folder of the files."""
    monkeypatch.chdir(files["a"].parent)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)  # typer puts its own in its place

    def run(*args: object, status: int = 0) -> Result:
        with pytest.raises(SystemExit) as ended:
            build_app()([str(arg) for arg in args], prog_name="reptools")
        result = Result(*capsys.readouterr())
        assert ended.value.code == status, result
        return result

    return run


@pytest.fixture
def toys() -> Iterator[None]:
    """Metrics of a plugin: a pair with options, one whose option has the name of a common one."""

    @metric(better="lower", bounds=(0.0, math.inf))
    def toy_gap(
        x: Any,
        y: Any,
        /,
        *,
        power: Annotated[float, Range(0.5, 4)] = 2.0,
        n_times: int | None = None,
        how: Literal["mean", "sum"] = "mean",
    ) -> float:
        """Gap between the means of two sides."""
        gap = abs(x.mean() - y.mean()) ** power * (n_times or 1)
        return float(gap if how == "mean" else gap * x.size)

    @metric
    def toy_step(x: Any, /, *, step: int = 3) -> float:
        """Has an option that is called like one of the command line."""
        if step == 0:
            raise KeyboardInterrupt
        return float(10 / (step - 1))

    @metric(dims=("model",), better="lower", bounds=(0.0, math.inf), proper=True)
    def toy_models(rdm: Any, models: Any, /) -> Any:
        """Mean gap to each model."""
        return np.array([abs(rdm - model).mean() for model in models.values()])

    @metric
    def toy_transfer(x: Any, y: Any, features: Any, /) -> Any:
        """Mean product, for each feature."""
        return np.full(len(features), (x.mean() - y.std()))

    @metric
    def toy_spectrum(x: Activations, /) -> Wiring[xr.DataArray]:
        """One value for each component."""

        def score(x: Any) -> Score:
            width = x.shape[1]
            return Score(np.arange(width), extras={"kept": width}, attrs={"largest": width})

        size = {"component": lambda inputs: inputs["x"].n_units}
        return Wiring(score, dims=("component",), extras={"kept": ()}, coords=size)

    names = ("toy_gap", "toy_step", "toy_models", "toy_transfer", "toy_spectrum")
    yield
    for name in names:
        forget(name)


def error_of(result: Result) -> str:
    """The one line of an error; nothing else is said."""
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1 and result.stderr.startswith("error: ")
    assert "Traceback" not in result.stderr
    return result.stderr


# --- describing ---------------------------------------------------------------------------------


def test_info_says_what_a_file_holds(run: Run) -> None:
    text = run("info", "a.h5").stdout
    assert "a.h5: activations of a, complete" in text
    assert "stimuli: 40" in text and "split: test (20), validation (20)" in text
    assert "steps: 3, from 0 to 200" in text
    assert re.search(r"block\.0 +step 3 x stimulus 40 x unit 7 +float32 +block/0", text)
    assert re.search(r"hard +binary +0 \(20\), 1 \(20\) +- +-", text)
    assert re.search(r"config\.lr +0\.1", text)


def test_info_as_json(run: Run) -> None:
    found = json.loads(run("info", "a.h5", "--json").stdout)
    assert (found["system"], found["complete"], found["steps"]) == ("a", True, list(STEPS))
    assert [layer["name"] for layer in found["layers"]] == ["fc1", "block.0"]
    assert found["features"][0]["complexity"] == 1.0
    assert found["provenance"]["config"] == {"lr": 0.1}


@pytest.fixture
def leftover(tmp_path: Path) -> Path:
    """What a writer leaves that is stopped in the middle of its second step."""
    x = np.random.default_rng(0).normal(size=(8, 3))
    ids = [f"s{i}" for i in range(8)]
    writer = rt.Writer(tmp_path / "run.h5", system="m", stimulus=ids, steps=[0, 10, 20])
    with pytest.raises(KeyboardInterrupt), writer:
        writer.append({"fc": x}, step=0)
        writer.append({"fc": x[:4]}, step=10)
        raise KeyboardInterrupt
    return tmp_path / "run.h5.partial"


def test_info_of_a_leftover_says_that_it_is_incomplete(run: Run, leftover: Path) -> None:
    result = run("info", leftover)
    assert "INCOMPLETE" in result.stdout and "steps: 2" in result.stdout
    (line,) = result.stderr.splitlines()
    assert line.startswith("warning: ") and "incomplete" in line


def test_the_last_step_of_a_leftover_is_its_last_complete_one(run: Run, leftover: Path) -> None:
    assert "step 0 is the last complete of 2" in run("compute", "total_variance", leftover).stdout
    result = run("compute", "total_variance", leftover, "--step", "10", status=2)
    assert "not finite for 4 of 8 stimuli" in result.stderr


def test_validate_passes_a_sound_file(run: Run) -> None:
    assert "no deviation from schema 1" in run("validate", "a.h5").stdout
    assert json.loads(run("validate", "a.h5", "--deep", "--json").stdout)["deviations"] == []


def test_validate_fails_with_the_list(run: Run, leftover: Path) -> None:
    deviations = store.validate(leftover)
    assert deviations
    result = run("validate", leftover, status=1)
    assert all(deviation in result.stdout for deviation in deviations)
    listed = json.loads(run("validate", leftover, "--json", status=1).stdout)["deviations"]
    assert listed == deviations


def test_metrics_lists_the_registry(run: Run) -> None:
    text = run("metrics").stdout
    assert all(name in text for name in metrics())
    rows = json.loads(run("metrics", "--json").stdout)
    assert {row["name"] for row in rows} == set(operations())
    assert re.search(r"^interventions$", text, re.MULTILINE)
    assert all(name in text for name in operations())


def test_every_fact_of_a_metric_is_readable_in_100_columns(
    run: Run, toys: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    wide = run("metrics").stdout  # a pipe has no width
    assert re.search(r"toy_models +rdm, models +lower +0\.\.inf +no +yes ", wide)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    text = run("metrics").stdout
    assert max(map(len, text.splitlines())) <= 100
    assert all(name in text for name in metrics())
    (told,) = re.findall(r"toy_models\(rdm, models\)\n(.*?)\n\S", text, re.DOTALL)
    told = " ".join(told.split())
    for fact in ("Mean gap to each model.", "lower is better", "0 to inf",
                 "a metric in the mathematical sense", "invariant to nothing declared",
                 "runs on numpy", "a result over model"):  # fmt: skip
        assert fact in told
    one = run("metrics", "toy_models").stdout
    assert re.search(r"a metric in the mathematical sense +yes", one)
    assert re.search(r"own dimensions +model", one)
    assert json.loads(run("metrics", "toy_models", "--json").stdout)["proper"] is True
    for name in metrics():
        text = re.sub("\x1b\\[[0-9;]*m", "", run("metrics", name).stdout)
        assert max(map(len, text.splitlines())) <= 100, name


@pytest.mark.parametrize("command", ["compute", "compare", "report"])
def test_help_fits_100_columns(run: Run, toys: None, command: str) -> None:
    names = [[name] for name in metrics()] if command == "compute" else [[]]
    for name in names:
        text = run(command, *name, "--help").stdout
        assert max(map(len, text.splitlines())) <= 100, name
        assert "--at DIM=VALUE" in text and "--step TEXT" in text


def test_metrics_tells_all_of_one(run: Run, toys: None) -> None:
    text = run("metrics", "toy-gap").stdout
    assert "toy_gap(x, y, /, *, power=2.0, n_times=None, how='mean', prepare=None)" in text
    assert re.search(r"power +2\.0 +float at least 0\.5 and at most 4", text)
    assert "Gap between the means of two sides." in text
    found = json.loads(run("metrics", "rsa", "--json").stdout)
    assert found["takes"] == ["x", "y"] and "scale" in found["invariances"]


# --- computing ----------------------------------------------------------------------------------


def test_compare_gives_the_grid_of_layers(run: Run) -> None:
    result = json.loads(run("compare", "a.h5", "b.h5", "--json").stdout)
    with rt.open("a.h5") as a, rt.open("b.h5") as b:
        xs, ys = (
            {name: layer.activation.isel(step=-1) for name, layer in tree["layers"].items()}
            for tree in (a, b)
        )
        with pytest.warns(DeadUnitWarning, match="1 of 5 units"):
            expected = rt.compare(xs, ys, metric="cka")
    np.testing.assert_array_equal(result["values"], expected.values)
    assert result["coords"]["x"]["values"] == ["fc1", "block.0"]
    assert result["attrs"]["params"]["estimator"] == "debiased"
    assert result["coords"]["step"] == {"dims": [], "values": 200}
    assert [entry["system"] for entry in result["attrs"]["inputs"]] == ["a", "a", "b", "b"]


def test_compare_prints_the_grid_and_the_step(run: Run) -> None:
    text = run("compare", "a.h5", "--metric", "rsa", "--rdm", "euclidean").stdout
    assert "rsa: 40 stimuli; plug-in; rdm=euclidean; compare=spearman" in text
    assert re.search(r"x \\ y +fc1 +block\.0", text)
    assert re.search(r"fc1 +1\.0000 +0\.\d{4}", text)
    assert "step 200 is the last of 3 in a.h5; --step all keeps all" in text


def test_compute_of_single_layers_names_them(run: Run) -> None:
    args = ("compute", "rsa", "a.h5::fc1", "b.h5::block/0", "--step", "100")
    result = json.loads(run(*args, "--json").stdout)
    assert (result["dims"], np.shape(result["values"])) == (["x", "y"], (1, 1))
    assert result["coords"]["y"]["values"] == ["block.0"]
    assert result["coords"]["step"] == {"dims": [], "values": 100}
    assert "last of" not in run(*args).stdout


def test_step_all_keeps_the_dimension(run: Run) -> None:
    result = json.loads(run("variance", "a.h5", "--step", "all", "--json").stdout)
    assert result["dims"] == ["layer", "step", "feature"]
    assert result["coords"]["step"]["values"] == list(STEPS)
    assert np.shape(result["values"]) == (2, 3, 2)


def test_layers_are_chosen_by_pattern_in_the_order_asked_for(run: Run) -> None:
    args = ("compare", "a.h5", "b.h5", "--json", "--layers")
    result = json.loads(run(*args, "block/*,fc?").stdout)
    assert result["coords"]["x"]["values"] == result["coords"]["y"]["values"] == ["block.0", "fc1"]
    one = json.loads(run("compute", "cka", "a.h5::fc*", "b.h5", *args[3:], "block.0").stdout)
    assert one["values"] == [[result["values"][1][0]]]
    variance = json.loads(run("variance", "a.h5", "--layers", "f*", "--json").stdout)
    assert variance["coords"]["layer"]["values"] == ["fc1"]


def test_layers_that_only_one_file_has_are_compared_and_told(run: Run) -> None:
    text = run("compare", "a.h5", "tokens.h5", "--layers", "fc1,head").stdout
    assert re.search(r"x \\ y +head|x +y +cka", text)
    assert "tokens.h5 has no layer that matches fc1" in text
    assert "a.h5 has no layer that matches head" in text


def test_a_position_is_a_coordinate_value_or_first_or_last(run: Run) -> None:
    with rt.open("tokens.h5") as tree:
        blocks = [tree[f"layers/blocks.{i}"].activation.isel(token=3) for i in range(2)]
        expected = rt.compare(dict(zip("xy", blocks, strict=True)))
    args = ("compare", "tokens.h5", "--layers", "blocks*", "--json", "--at")
    for value in ("token=last", "token=3"):
        result = json.loads(run(*args, value).stdout)
        np.testing.assert_array_equal(result["values"], expected.values)
        assert result["coords"]["token"] == {"dims": [], "values": 3}
    every = json.loads(run(*args, "token=all").stdout)
    assert every["dims"] == ["x", "y", "token"]
    with rt.open("brain.h5") as tree:
        x = tree["layers/it"].activation.sel(subject="s02").isel(time=2)
        expected = float(rt.total_variance(x))
    args = ("compute", "total_variance", "brain.h5", "--at", "subject=s02", "--at")
    for value in ("time=0.1", "time = 0.1"):
        result = json.loads(run(*args, value, "--json").stdout)
        assert result["values"] == [expected]
    assert result["coords"]["subject"]["values"] == "s02"
    assert "time 0.3" in run(*args, "time=last").stdout.replace("0.30000001192092896", "0.3")


def test_layers_without_a_picked_dimension_stay_and_are_named(run: Run) -> None:
    text = run("compare", "tokens.h5", "--at", "token=first").stdout
    assert (
        "token 0 is the first of 4 in tokens.h5" in text
        and "without token: tokens.h5::head" in text
    )
    assert re.search(r"x \\ y +blocks\.0 +blocks\.1 +head", text)
    text = run("compare", "a.h5::fc1", "tokens.h5::head", "--step", "100").stdout
    assert "tokens.h5 has no step" in text


def test_step_is_short_for_at_step(run: Run) -> None:
    args = ("variance", "a.h5", "--json")
    assert run(*args, "--step", "0").stdout == run(*args, "--at", "step=0").stdout
    assert run(*args, "--step", "first").stdout == run(*args, "--step", "0").stdout
    assert run(*args, "--at", "step=last").stdout == run(*args).stdout


def test_variance_is_that_of_python(run: Run) -> None:
    result = json.loads(run("variance", "a.h5", "--cv", "5", "--seed", "3", "--json").stdout)
    with rt.open("a.h5") as tree:
        x = tree["layers/fc1"].activation.isel(step=-1)
        expected = rt.variance_explained(x, tree["features"], cv=5, seed=3)
    np.testing.assert_array_equal(result["values"][0], expected.values)
    assert result["coords"]["total"]["values"][0][0] == float(expected.coords["total"][0])
    assert result["coords"]["n_units"] == {"dims": ["layer"], "values": [5, 7]}
    assert result["attrs"]["cv"] == expected.attrs["cv"]


def test_features_are_chosen_by_name(run: Run) -> None:
    result = json.loads(run("variance", "a.h5", "--features", "hard,easy", "--json").stdout)
    assert result["coords"]["feature"]["values"] == ["hard", "easy"]


def test_probe_shows_chance_beside_the_score(run: Run) -> None:
    text = run("probe", "a.h5::fc1", "--target", "easy").stdout
    assert re.search(r"layer +feature +probe +chance +permuted", text)
    assert re.search(r"fc1 +easy +[01]\.\d{4} +0\.5000", text)


def test_a_metric_of_units_pads_layers_that_have_fewer(run: Run) -> None:
    result = json.loads(run("compute", "unit-variance-explained", "a.h5", "--json").stdout)
    assert result["dims"] == ["layer", "feature", "unit"]
    assert np.shape(result["values"]) == (2, 2, 7)
    assert result["coords"]["unit"]["values"] == list(range(7))
    for feature in range(2):
        assert result["values"][0][feature][5:] == [None, None]
        assert None not in result["values"][1][feature]
    one = json.loads(run("compute", "unit-variance-explained", "a.h5::fc1", "--json").stdout)
    assert [row[:5] for row in result["values"][0]] == one["values"][0]


def test_compute_compares_dissimilarity_matrices(run: Run, tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(6, 6))
    square = np.abs(x + x.T) * (1 - np.eye(6))
    ids = [f"s{i}" for i in range(6)]
    coords = {"stimulus": ids, "stimulus_": ids}
    rdm = xr.Dataset({"dissimilarity": (("stimulus", "stimulus_"), square)}, coords)
    path = tmp_path / "rdms.h5"
    tree = xr.DataTree.from_dict({"/": xr.Dataset(attrs={"schema": 1}), "/rdms/it": rdm})
    tree.to_netcdf(path, engine="h5netcdf")
    address = f"{path}::rdms/it"
    result = json.loads(run("compute", "compare_rdms", address, address, "--json").stdout)
    assert result["values"] == [[pytest.approx(1.0)]]
    assert result["coords"]["x"]["values"] == ["it"]
    assert "rdms: 1" in run("info", path).stdout
    whole = json.loads(run("compute", "compare_rdms", path, "--json").stdout)
    assert whole["values"] == result["values"]
    message = error_of(run("compute", "compare_rdms", f"{path}::rdms/ti", address, status=2))
    assert f"no dissimilarity matrix of '{path}' matches 'ti'" in message
    assert "It has 'it'" in message
    message = error_of(run("compute", "compare_rdms", "a.h5::fc1", "a.h5::fc1", status=2))
    assert "'a.h5::fc1' is no address of a dissimilarity matrix" in message


def test_rdms_of_a_command_are_addresses_of_the_next(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "rdms.h5"
    with monkeypatch.context() as patch:
        patch.setattr(sys.stdout, "isatty", lambda: True)
        text = run("compute", "rdm", "a.h5", "--method", "euclidean", "--out", out).stdout
    assert "the first 200 of 3200 rows" in text and len(text.splitlines()) < 210
    assert "step 200 is the last of 3 in a.h5" in text
    with rt.open("a.h5") as tree, rt.open(out) as written:
        x = tree["layers/block.0"].activation.isel(step=-1)
        expected = rt.rdm(x, method="euclidean")
        found = written["rdms/block.0"].dissimilarity
        np.testing.assert_array_equal(found.values, expected.values)
        assert found.dims == ("stimulus", "stimulus_")
        assert found.attrs["distance"] == "euclidean"
        assert written.attrs["system"] == "a"
    assert rt.validate(out) == []
    told = run("info", out).stdout
    assert "rdms of a" in told and "rdms: 2" in told and "compute rdm" in told
    assert "stimuli: 40, first 's00'" in told
    grid = json.loads(run("compute", "compare_rdms", out, "--json").stdout)
    assert grid["coords"]["x"]["values"] == ["fc1", "block.0"]
    direct = json.loads(run("compute", "rsa", "a.h5", "--rdm", "euclidean", "--json").stdout)
    np.testing.assert_allclose(grid["values"], direct["values"], atol=1e-12)


def test_an_rdm_with_steps_is_written_with_them(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "rdms.nc"
    run("compute", "rdm", "a.h5::fc1", "--step", "all", "--out", out)
    result = json.loads(run("compute", "compare_rdms", out, "--step", "all", "--json").stdout)
    assert result["coords"]["step"]["values"] == list(STEPS)
    assert json.loads(run("compute", "compare_rdms", out, "--json").stdout)["coords"]["step"][
        "values"
    ] == STEPS[-1]  # fmt: skip


def test_models_are_given_as_addresses(run: Run, toys: None, tmp_path: Path) -> None:
    first, second = tmp_path / "first.h5", tmp_path / "second.h5"
    run("compute", "rdm", "a.h5", "--out", first)
    run("compute", "rdm", "b.h5::fc1", "--out", second)
    models = ("--models", f"{second}::rdms/fc1", "--models", f"{first}::rdms/block.0")
    args = ("compute", "toy_models", first, *models)
    result = json.loads(run(*args, "--json").stdout)
    assert result["dims"] == ["rdm", "model"]
    assert result["coords"]["model"]["values"] == ["fc1", "block.0"]
    assert result["values"][1][1] == 0.0 and result["values"][0][0] > 0
    whole = ("--models", first, "--models", second)
    both = json.loads(run("compute", "toy_models", first, *whole, "--json").stdout)
    assert both["coords"]["model"]["values"] == [
        f"{first}::rdms/fc1", "block.0", f"{second}::rdms/fc1"
    ]  # fmt: skip
    assert re.search(r"rdm +fc1 +block\.0", run(*args).stdout)
    assert "Missing option '--models'" in run(*args[:3], status=2).stderr


def test_transfer_takes_two_sides_and_features(run: Run, toys: None) -> None:
    args = ("compute", "toy_transfer", "brain.h5", "--at", "subject=s01", "--json")
    crossed = json.loads(run(*args).stdout)
    assert crossed["dims"] == ["layer", "time", "time_", "feature"]
    assert np.shape(crossed["values"]) == (1, 5, 5, 1)
    other = ("--y", "brain.h5", *args[3:])
    paired = json.loads(run("compute", "toy_transfer", "brain.h5", *other).stdout)
    assert paired["dims"] == ["layer", "time", "feature"]
    np.testing.assert_array_equal(
        np.diagonal(np.squeeze(crossed["values"])), np.squeeze(paired["values"])
    )
    steps = json.loads(run("compute", "toy_transfer", "a.h5", "--y", "a.h5", "--json").stdout)
    assert steps["coords"]["layer"]["values"] == ["fc1", "block.0"]
    message = error_of(run("compute", "toy_transfer", "a.h5", "--y", "brain.h5", status=2))
    assert "nothing could be computed for any of 2 layers: fc1: " in message
    assert "no layer 'fc1' on the other side, which has 'it'" in message


def test_own_dimensions_of_other_lengths_end_in_missing_values(run: Run, toys: None) -> None:
    result = json.loads(run("compute", "toy_spectrum", "a.h5", "--json").stdout)
    assert (result["dims"], np.shape(result["values"])) == (["layer", "component"], (2, 7))
    assert result["values"][0][5:] == [None, None] and None not in result["values"][1]
    assert result["coords"]["component"]["values"] == [1, 2, 3, 4, 5, 6, 7]
    assert result["coords"]["kept"] == {"dims": ["layer"], "values": [5.0, 7.0]}
    assert result["coords"]["largest"] == {"dims": ["layer"], "values": [5.0, 7.0]}


def test_report_takes_layers_and_positions(run: Run, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    args = ("report", "tokens.h5", "--out", page, "--metrics", "total_variance", "--layers", "b*")
    assert json.loads(run(*args, "--at", "token=last", "--json").stdout) == {"page": str(page)}
    text = page.read_text(encoding="utf-8")
    assert "at token 3" in text and ">blocks.1<" in text and ">head<" not in text


def test_report_writes_a_page(run: Run, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    args = ("report", "a.h5", "--out", page, "--title", "Of a", "--metrics", "cka,total_variance")
    assert f"written to {page}" in run(*args).stdout
    assert "Of a" in page.read_text(encoding="utf-8")
    assert "pass --overwrite" in error_of(run(*args, status=2))
    message = error_of(run("report", "a.h5", "--out", "page.pdf", status=2))
    assert "got 'page.pdf'" in message


# --- metrics of others --------------------------------------------------------------------------


def test_a_declared_metric_is_a_command(run: Run, toys: None) -> None:
    args = ("compute", "toy_gap", "a.h5::fc1", "b.h5::fc1", "--json")
    plain = json.loads(run(*args).stdout)
    given = json.loads(run(*args, "--power", "1", "--n-times", "3", "--how", "sum").stdout)
    assert plain["attrs"]["params"]["power"] == 2.0
    assert given["attrs"]["params"] == {"power": 1.0, "n_times": 3, "how": "sum", "prepare": []}
    assert given["values"][0][0] == pytest.approx(plain["values"][0][0] ** 0.5 * 3 * N * 5)
    assert json.loads(run(*args, "--n_times", "none").stdout) == plain


def test_a_declared_metric_documents_its_options(run: Run, toys: None) -> None:
    text = run("compute", "toy-gap", "--help").stdout
    assert "Gap between the means of two sides." in text
    assert re.search(r"--power TEXT +float at least 0\.5 and at most 4\s+\[default:\s+2\.0\]", text)
    assert re.search(r"--how TEXT +mean \| sum\s+\[default:\s+mean\]", text)
    assert "reptools compute toy_gap run.h5" in text
    assert re.search(r"--power TEXT +toy_gap: float", run("compare", "--help").stdout)


def test_compare_takes_the_options_of_its_metric_only(run: Run, toys: None) -> None:
    args = ("compare", "a.h5", "--metric", "toy_gap", "--how", "sum", "--json")
    assert json.loads(run(*args).stdout)["name"] == "toy_gap"
    message = error_of(run("compare", "a.h5", "--how", "sum", status=2))
    assert "cka: there is no option 'how'" in message


def test_an_option_that_is_called_like_a_common_one_is_set_apart(run: Run, toys: None) -> None:
    args = ("compute", "toy_step", "a.h5", "--step", "100", "--metric-step", "6", "--json")
    result = json.loads(run(*args).stdout)
    assert (result["values"], result["coords"]["step"]["values"]) == ([2.0, 2.0], 100)


def test_bugs_keep_their_traceback(run: Run, toys: None) -> None:
    with pytest.raises(ZeroDivisionError, match="division by zero"):
        run("compute", "toy_step", "a.h5", "--metric-step", "1")


def test_an_interruption_is_quiet(run: Run, toys: None) -> None:
    result = run("compute", "toy_step", "a.h5", "--metric-step", "0", status=130)
    assert (result.stdout, result.stderr) == ("", "")


# --- output -------------------------------------------------------------------------------------


def test_out_h5_is_netcdf_with_provenance(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "result.h5"
    text = run("variance", "a.h5", "--out", out).stdout
    assert f"written to {out}" in text
    assert re.search(r"fc1 +0\.\d{4} +-?0\.\d{4}", text)
    shown = json.loads(run("variance", "a.h5", "--json").stdout)
    with xr.open_dataarray(out, engine="h5netcdf") as result:
        assert result.name == "variance_explained" and result.dims == ("layer", "feature")
        np.testing.assert_array_equal(result.values, shown["values"])
        assert result.layer.values.tolist() == ["fc1", "block.0"]
        assert {"explained", "total", "n_units", "step"} <= set(result.coords)
        assert json.loads(result.attrs["params"])["estimator"] == "pooled"
        assert json.loads(result.attrs["inputs"])[0]["source_path"].endswith("a.h5")
        assert "numpy" in json.loads(result.attrs["versions"])


def test_out_csv_is_one_row_a_value(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "result.csv"
    args = ("compute", "cka", "a.h5", "b.h5", "--step", "all", "--out", out, "--json")
    shown = json.loads(run(*args).stdout)
    rows = list(csv.DictReader(out.read_text(encoding="utf-8").splitlines()))
    assert len(rows) == 2 * 2 * 3
    assert (rows[-1]["x"], rows[-1]["y"], rows[-1]["step"]) == ("block.0", "block.0", "200")
    assert (rows[-1]["metric"], rows[-1]["quantity"]) == ("cka", "cka")
    assert float(rows[-1]["estimate"]) == shown["values"][1][1][2]
    assert (rows[-1]["n_units_x"], rows[-1]["n_dead_units_y"]) == ("7", "0")
    assert json.loads(rows[-1]["params"])["estimator"] == "debiased"


def test_out_refuses_before_it_computes(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "result.csv"
    assert "got 'r.txt'" in error_of(run("variance", "a.h5", "--out", "r.txt", status=2))
    message = error_of(run("variance", "a.h5", "--out", tmp_path / "none" / "r.csv", status=2))
    assert str(tmp_path / "none") in message
    out.write_text("mine")
    assert "exists already" in error_of(run("variance", "a.h5", "--out", out, status=2))
    assert out.read_text() == "mine"
    run("variance", "a.h5", "--out", out, "--overwrite")
    assert out.read_text().startswith("layer,feature,metric,quantity,estimate,")
    message = error_of(run("variance", "a.h5", "--out", "./a.h5", "--overwrite", status=2))
    assert "./a.h5 is an input" in message


def test_json_writes_missing_values_as_null(capsys: pytest.CaptureFixture[str]) -> None:
    values = xr.DataArray([1.0, math.nan, math.inf], dims="x", name="score", attrs={"n": 1})
    output.print_json(output.as_json(values))
    assert json.loads(capsys.readouterr().out)["values"] == [1.0, None, None]


def test_csv_leaves_missing_values_empty(tmp_path: Path) -> None:
    output.write(xr.DataArray([1.0, math.nan], dims="x", name="score"), str(tmp_path / "r.csv"))
    lines = (tmp_path / "r.csv").read_text().split()
    assert lines == ["x,metric,quantity,estimate", "0,score,score,1.0", "1,score,score,"]


def test_a_grid_that_is_too_wide_becomes_long(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [f"layer{i}" for i in range(12)]
    grid = xr.DataArray(
        np.eye(12), dims=("x", "y"), coords={"x": names, "y": names, "step": 7}, name="cka"
    )
    output.show(grid)
    assert len(capsys.readouterr().out.splitlines()) == 14
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "60")
    output.show(grid)
    lines = re.sub("\x1b\\[[0-9;]*m", "", capsys.readouterr().out).splitlines()
    assert len(lines) == 2 + 12 * 12
    assert max(map(len, lines)) <= 60


def test_numbers_of_one_column_share_a_form() -> None:
    assert output.texts([0.5, 3e-5, math.nan]) == ["0.5000", "0.0000", "nan"]
    assert output.texts([2e-7, 0.0]) == ["2.000e-07", "0.000e+00"]
    assert output.texts([3, None, "fc1"]) == ["3", "-", "fc1"]


# --- warnings and errors ------------------------------------------------------------------------


def test_dead_units_are_warned_of_in_one_line(run: Run) -> None:
    result = run("compare", "a.h5", "b.h5", "--json")
    (line,) = result.stderr.splitlines()
    assert line.startswith("warning: cka: b.h5::fc1 has 1 of 5 units without variance")
    assert json.loads(result.stdout)["coords"]["n_dead_units_y"]["values"] == [1, 0]
    (line,) = run("variance", "b.h5").stderr.splitlines()
    assert line.startswith("warning: variance_explained: b.h5::fc1 has 1 of 5 units")


@pytest.mark.parametrize(
    ("args", "parts"),
    [
        (("compute", "rsa", "a.h5", "--rdm", "corelation"), ("rsa: rdm", "'corelation'")),
        (("compute", "rsa", "a.h5", "--prepare", "zzz"), ("'zzz'", "zscore")),
        (("variance", "a.h5", "--cv", "one"), ("cv must be", "'one'")),
        (("compute", "rsaa", "a.h5"), ("'rsaa'", "Did you mean 'rsa'?")),
        (("compare", "a.h5", "--metric", "probe"), ("two sides", "probe takes x, target")),
        (("metrics", "ckaa"), ("'ckaa'", "Did you mean 'cka'?")),
        (
            ("compute", "rsa", "a.h5::fc2"),
            ("no layer of 'a.h5' matches 'fc2'", "Close ones: 'fc1'"),
        ),
        (("compute", "rsa", "a.h5::zzz"), ("'zzz'", "It has 'fc1', 'block.0'")),
        (("compute", "rsa", "a.h5::"), ("'a.h5::' is no address",)),
        (("probe", "a.h5", "--target", "eazy"), ("no feature 'eazy'", "'easy'")),
        (("variance", "a.h5", "--step", "150"), ("no step 150", "100, 200")),
        (("variance", "a.h5", "--step", "soon"), ("no step 'soon'", "first, last or all")),
        (("variance", "a.h5", "--at", "step"), ("--at is 'step'", "DIMENSION=VALUE")),
        (("variance", "a.h5", "--at", "stimulus=s00"), ("stimulus=s00", "outer dimension")),
        (("variance", "a.h5", "--step", "0", "--at", "step=0"), ("step is picked twice",)),
        (("variance", "a.h5", "--at", "token=0"), ("a.h5 has no dimension 'token'", "'step'")),
        (("compare", "tokens.h5", "--step", "7"), ("tokens.h5 has no steps", "step=7")),
        (("compare", "brain.h5", "--at", "time=0.25"), ("no time 0.25", "0.2", "0.3")),
        (("compare", "brain.h5", "--at", "subject=s03"), ("no subject 's03'", "'s01'")),
        (("compare", "tokens.h5::blocks.0", "--at", "token=9"), ("no token 9", "of 4 are 2, 3")),
        (
            ("compare", "a.h5", "b.h5", "--layers", "conv*"),
            ("no layer of 'a.h5', 'b.h5' matches 'conv*'", "It has 'fc1'"),
        ),
        (
            ("compare", "a.h5", "b.h5", "--layers", "fc1,z"),
            ("no layer of 'a.h5', 'b.h5' matches 'z'", "It has 'fc1'"),
        ),
        (("compare", "a.h5::fc1", "--layers", "fc1"), ("--layers", "name layers already")),
        (
            ("compare", "tokens.h5"),
            (
                "token in tokens.h5::blocks.0 and 1 more",
                "none in tokens.h5::head",
                "blocks.0,blocks.1 (layers)",
                "token=last (at)",
            ),
        ),
        (("variance", "none.h5"), ("none.h5 does not exist",)),
        (("info", "none.h5"), ("none.h5 does not exist",)),
    ],
)
def test_errors_are_one_line_with_the_value(
    run: Run, args: tuple[str, ...], parts: tuple[str, ...]
) -> None:
    message = error_of(run(*args, status=2))
    assert all(part in message for part in parts), message


def test_different_stimuli_name_the_files(run: Run) -> None:
    message = error_of(run("compute", "rsa", "a.h5", "other.h5", status=2))
    assert "a.h5::fc1 and other.h5::fc1 were not shown the same stimuli" in message
    assert "40 only in a.h5::fc1 ('s00'" in message and "40 only in other.h5::fc1" in message


def test_json_errors_are_json_and_a_line_on_stderr(run: Run) -> None:
    for args, kind, part in [
        (("compute", "rsa", "a.h5::fc2"), "ParameterError", "Close ones: 'fc1'"),
        (("compute", "rsaa", "a.h5"), "ParameterError", "Did you mean 'rsa'?"),
        (("info", "none.h5"), "StoreError", "does not exist"),
        (("metrics", "ckaa"), "ParameterError", "'ckaa'"),
        (("compute", "rsa", "a.h5", "--rmd", "x"), "NoSuchOption", "--rmd"),
        (("report", "a.h5"), "MissingParameter", "--out"),
        (("nothing",), "UsageError", "nothing"),
    ]:
        result = run(*args, "--json", status=2)
        error = json.loads(result.stdout)["error"]
        assert (error["type"], set(error)) == (kind, {"type", "message"}), args
        assert part in error["message"], error
        assert part in result.stderr and '{"' not in result.stderr
        assert run(*args, status=2).stdout == ""


def test_a_folder_is_told_from_a_missing_file(run: Run, files: dict[str, Path]) -> None:
    folder = files["a"].parent
    for command in ("info", "validate", "compare"):
        message = error_of(run(command, folder, status=2))
        assert f"{folder} is a folder, of 5 files" in message
        assert f"such as {folder / 'a.h5'}; " in message and f"{folder / '*.h5'} " in message
    (folder / "empty").mkdir()
    assert "a folder without .h5 files" in error_of(run("info", "empty", status=2))


def test_traceback_shows_where_an_error_came_from(run: Run) -> None:
    result = run("info", "none.h5", "--traceback", status=2)
    assert "Traceback (most recent call last)" in result.stderr
    assert result.stderr.splitlines()[-1].startswith("error: ")


def test_a_foreign_file_is_refused(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "text.h5"
    path.write_text("no HDF5")
    assert "text.h5" in error_of(run("info", path, status=2))


def test_wrong_usage_ends_with_2(run: Run) -> None:
    assert "--rdm" in run("compute", "rsa", "a.h5", "--rmd", "x", status=2).stderr
    assert "FILE" in run("info", status=2).stderr


# --- the command itself -------------------------------------------------------------------------


def test_every_command_has_help_with_an_example(run: Run) -> None:
    commands = ["info", "validate", "metrics", "variance", "probe", "compare", "report"]
    for args in [[name] for name in commands] + [["compute", name] for name in metrics()]:
        text = run(*args, "--help").stdout
        assert re.search(rf"Example:\n +reptools {' '.join(args)} ", text), args
    top = run("--help").stdout
    assert all(re.search(rf"^  {name} ", top, re.MULTILINE) for name in [*commands, "compute"])


def test_options_say_what_they_mean_what_they_take_and_their_default(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    for name, operation in operations().items():
        text = run("compute", name, "--help").stdout
        assert max(map(len, text.splitlines())) <= 80, name
        assert "``" not in text and ":func:" not in text, name
        flat = re.sub(r"\s+", "", text)
        for option in operation.parameters.values():
            assert f"--{option.name.replace('_', '-')}TEXT" in flat, (name, option.name)
            meaning = re.sub(r":\w+:`([^`]*)`", r"\1", option.text).replace("``", "")
            assert option.text and re.sub(r"\s+", "", meaning) in flat, (name, option.name)
            values = re.sub(r"\s+", "", f"Values: {option.description}[default:")
            assert values in flat, (name, option.name)
    text = run("compute", "cka", "--help").stdout
    assert re.search(r"Values:\s+debiased\s+\|\s+biased\s+\[default:\s+debiased\]", text)


def test_what_is_many_files_has_a_dimension_system(run: Run) -> None:
    both = json.loads(run("variance", "a.h5", "b.h5", "--layers", "fc1", "--json").stdout)
    assert both["dims"] == ["system", "layer", "feature"]
    assert both["coords"]["system"]["values"] == ["a", "b"]
    pattern = json.loads(run("variance", "[ab].h5", "--layers", "fc1", "--json").stdout)
    assert pattern["values"] == both["values"]
    one = json.loads(run("variance", "[a].h5", "--layers", "fc1", "--json").stdout)
    assert one["dims"] == both["dims"] and one["values"] == both["values"][:1]
    named = run("variance", "p=a.h5", "q=a.h5", "--layers", "fc1", "--json")
    named = json.loads(named.stdout)
    assert named["coords"]["system"]["values"] == ["p", "q"]
    assert named["values"] == [both["values"][0]] * 2
    message = error_of(run("variance", "a.h5", "./a.h5", status=2))
    assert "a.h5 and ./a.h5 are both of the system 'a'. Name them, such as a=a.h5 b=" in message
    assert "no file matches 'z*.h5'" in error_of(run("variance", "z*.h5", status=2))
    grid = json.loads(run("compare", "[ab].h5", "--layers", "fc1", "--json").stdout)
    assert grid["coords"]["x"]["values"] == ["a/fc1", "b/fc1"]
    assert grid["coords"]["x_system"]["values"] == ["a", "b"]


def test_layers_that_some_files_lack_leave_no_rows(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "r.csv"
    text = run("compute", "total_variance", "a.h5", "other.h5", "--out", out,
               "--layers", "fc1,block.0").stdout  # fmt: skip
    assert "step 200 is the last of 3 in a.h5, other.h5; --step all keeps all" in text
    args = ("compute", "total_variance", "a.h5", "tokens.h5", "--layers", "fc1,head")
    text = run(*args).stdout
    assert re.search(r"^a +fc1 +\d", text, re.MULTILINE)
    assert re.search(r"^vit +head +\d", text, re.MULTILINE)
    assert not re.search(r"^a +head", text, re.MULTILINE)
    assert "tokens.h5 has no layer that matches fc1" in text
    found = json.loads(run(*args, "--json").stdout)
    assert found["coords"]["n_units"]["values"] == [[5, 0], [0, 6]]
    assert found["values"][0][1] is None and found["values"][1][0] is None


def test_what_cannot_be_computed_is_printed_with_its_reason(run: Run, tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(N, 4))
    y = x.copy()
    y[3, 1] = np.nan
    with rt.Writer(tmp_path / "nan.h5", system="m", stimulus=range(N)) as writer:
        writer.append({"whole": x, "holed": y})
    out = tmp_path / "r.csv"
    args = ("compute", "total_variance", tmp_path / "nan.h5", "--out", out)
    text = run(*args).stdout
    assert "missing (NaN): holed: " in text and "not finite for 1 of 40 stimuli" in text
    assert re.search(r"^whole +\d+\.\d{4} +4", text, re.MULTILINE)
    rows = list(csv.DictReader(out.read_text(encoding="utf-8").splitlines()))
    assert [row["layer"] for row in rows] == ["whole", "holed"]
    assert rows[1]["estimate"] == "" and rows[1]["n_units"] == "4"


def test_common_stimuli_are_asked_for(run: Run, tmp_path: Path) -> None:
    write(tmp_path / "short.h5", 4, n=20)
    args = ("compare", "a.h5::fc1", f"{tmp_path / 'short.h5'}::fc1")
    assert "20 only in" in error_of(run(*args, status=2))
    text = run(*args, "--stimuli", "common").stdout
    assert "cka: 20 stimuli" in text and "compared at 20 common stimuli" in text
    assert "stimuli must be exact or common, got 'most'" in error_of(
        run(*args, "--stimuli", "most", status=2)
    )


def test_out_parquet_is_the_tidy_table(run: Run, tmp_path: Path) -> None:
    import pandas as pd

    for suffix in ("csv", "parquet"):
        run("variance", "a.h5", "--out", tmp_path / f"r.{suffix}")
    read = pd.read_parquet(tmp_path / "r.parquet")
    pd.testing.assert_frame_equal(read, pd.read_csv(tmp_path / "r.csv"), check_dtype=False)


def test_parquet_names_the_extra(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    message = error_of(run("variance", "a.h5", "--out", tmp_path / "r.parquet", status=2))
    assert "pyarrow" in message and "reptools[table]" in message


def test_interventions_are_commands(run: Run) -> None:
    text = run("compute", "transfer", "a.h5::fc1").stdout
    assert re.search(r"^new$", text, re.MULTILINE) and re.search(r"^seen$", text, re.MULTILINE)
    found = json.loads(run("compute", "transfer", "a.h5::fc1", "--json").stdout)
    with rt.open("a.h5") as tree:
        expected = rt.compute("transfer", tree, layers="fc1", at={"step": "last"})
    assert found["variables"]["new"]["dims"] == list(expected.new.dims)
    np.testing.assert_array_equal(found["variables"]["new"]["values"], expected.new.values)
    message = error_of(run("compute", "steer", "a.h5", status=2))
    assert "linear head" in message


def test_a_bar_is_drawn_in_a_terminal_only(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from reptools import progress

    monkeypatch.setattr(progress, "PATIENCE", -1.0)
    assert list(progress.track(range(3), "counting")) == [0, 1, 2]
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert list(progress.track(range(3), "counting")) == [0, 1, 2]
    out, err = capsys.readouterr()
    assert out == "" and "counting" in err


def test_the_shell_completes_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    script = start("--show-completion", "bash")
    assert "_REPTOOLS_COMPLETE" in script.stdout or "COMPLETE" in script.stdout
    words = "reptools compute participation"
    environment = {"_REPTOOLS_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": "2"}
    for key, value in environment.items():
        monkeypatch.setenv(key, value)
    code = "import sys; sys.argv[0] = 'reptools'; from reptools.cli import main; main()"
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["participation_ratio"], done


def test_python_runs_the_package() -> None:
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-m", "reptools", "--version"],
        cwd=root, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, f"reptools {rt.__version__}\n")


def test_version(run: Run) -> None:
    assert run("--version").stdout == f"reptools {rt.__version__}\n"


def start(*args: str) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, which then says what it had to import."""
    code = (
        "import sys; from reptools.cli import main\n"
        "try: main()\n"
        "finally: print([n for n in ('torch', 'sklearn', 'matplotlib', 'scipy.stats')"
        " if n in sys.modules], file=sys.stderr)"
    )
    command = [sys.executable, "-W", "error", "-c", code, *args]
    root = Path(__file__).resolve().parents[2]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)


def test_help_imports_nothing_heavy() -> None:
    done = start("--help")
    assert (done.returncode, done.stderr) == (0, "[]\n")


def test_a_process_fails_without_a_traceback(files: dict[str, Path]) -> None:
    done = start("compute", "rsa", f"{files['a']}::fc2")
    assert (done.returncode, done.stdout) == (2, "")
    error, imported = done.stderr.splitlines()
    assert error.startswith("error: rsa: ") and imported == "[]"


def test_a_plugin_that_cannot_be_loaded_is_one_line_and_the_rest_works(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from reptools.cli import main
    from reptools.engine import registry

    broken = EntryPoint("broken", "no_such_module", "reptools.metrics")
    monkeypatch.setattr(registry, "entry_points", lambda group: [broken])
    monkeypatch.setitem(registry._PLUGINS, "loaded", False)
    monkeypatch.setattr("sys.argv", ["reptools", "metrics", "cka"])
    with pytest.raises(SystemExit, match="0"):
        main()
    out, err = capsys.readouterr()
    assert out.startswith("cka(")
    assert err.startswith("warning: plugin 'broken' (no_such_module) cannot be loaded")
    assert "ModuleNotFoundError" in err and err.count("\n") == 1


def test_rdms_that_stand_among_layers_are_refused(run: Run, tmp_path: Path) -> None:
    path = write(tmp_path / "mine.h5", 0)
    with h5py.File(path, "r+") as file:
        file.attrs["kind"] = "rdms"
    for metric_name in ("rdm", "compare_rdms", "rsa"):
        message = error_of(run("compute", metric_name, path, status=2))
        assert "mine.h5 is of the kind 'rdms' and holds layers" in message
        assert "of the file of the activations" in message
