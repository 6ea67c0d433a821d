"""A whole experiment: conditions times seeds, side by side, the same by every way to it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from datasets.prepare import prepare_stimuli
from models.config import load_experiment
from models.loop import final_accuracy
from models.stimuli import load_stimuli, prepare
from models.train import main, run_experiment
from reptools import store
from reptools.errors import ParameterError, StimulusError, StoreError

ROOT = Path(__file__).resolve().parents[2]
TEXT = """
name = "tiny"
seeds = [0, 1]
[data]
units = 12
train = 512
validation = 32
test = 32
[data.features]
easy = "copy"
hard = "xor"
[conditions]
easy_only = ["easy"]
both = ["easy", "hard"]
[model]
widths = [16, 8]
[training]
learning_rate = 1e-2
batch = 64
checkpoints = [0, 4, 200]
"""


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("experiment") / "tiny.toml"
    path.write_text(TEXT)
    return path


@pytest.fixture(scope="module")
def paths(file: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return run_experiment(file, tmp_path_factory.mktemp("runs"), jobs=2, progress=False)


def test_one_file_per_condition_and_seed(paths: list[Path]) -> None:
    assert [path.name for path in paths] == [
        "easy_only-seed0.h5",
        "easy_only-seed1.h5",
        "both-seed0.h5",
        "both-seed1.h5",
    ]
    folder = paths[0].parent
    assert {p.name for p in folder.iterdir()} == {"stimuli.h5", *(p.name for p in paths)}
    for path in paths:
        assert store.validate(path) == []
        assert all(learned for _, learned in final_accuracy(path).values())
    assert set(final_accuracy(paths[0])) == {"easy"}
    assert set(final_accuracy(paths[2])) == {"easy", "hard"}


def test_existing_runs_stop_everything(file: Path, paths: list[Path]) -> None:
    with pytest.raises(StoreError, match=r"already holds 'both-seed1\.h5'"):
        run_experiment(
            file,
            paths[0].parent,
            seeds=[1, 2],
            progress=False,
            overrides={"conditions": {"both": ["easy", "hard"]}},
        )
    assert not (paths[0].parent / "both-seed2.h5").exists()


def test_a_leftover_stops_everything(file: Path, tmp_path: Path) -> None:
    (tmp_path / "both-seed1.h5.partial").touch()
    with pytest.raises(StoreError, match=r"already holds 'both-seed1\.h5\.partial'"):
        run_experiment(file, tmp_path, progress=False)
    assert len(list(tmp_path.iterdir())) == 1


def test_stimuli_are_kept_where_equal_and_replaced_on_request(tmp_path: Path) -> None:
    sizes = {"units": 8, "train": 8, "validation": 4, "test": 4}
    settings = {"features": {"easy": "copy"}, **sizes}
    path = prepare_stimuli("binary", tmp_path / "stimuli.h5", {"easy": "copy"}, **sizes)
    digest, before = load_stimuli(path).digest, path.read_bytes()
    prepare(settings, path, overwrite=True)
    assert path.read_bytes() == before
    prepare({**settings, "seed": 1}, path, overwrite=True)
    assert load_stimuli(path).digest != digest


def test_other_stimuli_in_the_folder_are_refused(file: Path, paths: list[Path]) -> None:
    with pytest.raises(StimulusError, match=r"stimuli\.h5 holds other stimuli"):
        run_experiment(file, paths[0].parent, seeds=[9], progress=False, overrides={"data.seed": 1})


@pytest.mark.parametrize(
    ("options", "seen"),
    [
        ({"jobs": 0}, "jobs is 0"),
        ({"jobs": 1.5}, r"jobs is 1\.5"),
        ({"seeds": [0, 0]}, r"seeds is \(0, 0\)"),
        ({"overrides": {"data.units": 2}}, "units is 2"),
        ({"overrides": {"data.see": 3}}, "unrecognized arguments: --see=3"),
        ({"overrides": {"data.out": "x.h5"}}, r"\['out'\]"),
        ({"overrides": {"data.kind": "films"}}, "'films'"),
        ({"overrides": {"training.batch": 1000}}, "training.batch is 1000"),
    ],
)
def test_impossible_options(
    file: Path, tmp_path: Path, options: dict[str, object], seen: str
) -> None:
    with pytest.raises((ParameterError, StimulusError), match=seen):
        run_experiment(file, tmp_path, progress=False, **options)


def test_overrides_need_a_file(file: Path, tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="overrides 'seeds'"):
        run_experiment(load_experiment(file), tmp_path, overrides={"seeds": [1]})


def test_command_and_number_of_jobs(file: Path, paths: list[Path], tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error", "-m", "models.train", str(file)]
    options = ["--out", str(tmp_path), "--seeds", "1", "--jobs", "1"]
    settings = ["--set", "training.checkpoints=[0, 4]"]
    done = subprocess.run(
        [*command, *options, *settings], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 3, done.stderr
    assert "NO" in done.stdout
    assert "WARNING: run_experiment: not learned: " in done.stderr
    assert "both-seed1 ends with 'hard' at " in done.stderr
    with store.open(paths[3]) as one, store.open(tmp_path / "both-seed1.h5") as two:
        for tree in (one, two):
            assert tree.attrs["system"] == "both-seed1"
        saved = [tree["layers/fc2/activation"].sel(step=4).load() for tree in (one, two)]
    assert (saved[0].values == saved[1].values).all()
    assert saved[0].coords["stimulus"].equals(saved[1].coords["stimulus"])


@pytest.mark.parametrize(
    ("arguments", "seen"),
    [
        (["nowhere.toml"], "no file 'nowhere.toml'"),
        (["experiments/complexity.toml", "--set", "a=b c"], "--set is 'a=b c'"),
        (["experiments/complexity.toml", "--set", "colour=1"], "colour"),
        (["experiments/complexity.toml", "--jobs", "0"], "jobs is 0"),
    ],
)
def test_command_errors_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], seen: str
) -> None:
    assert main([*arguments, "--out", str(tmp_path)]) == 1
    message = capsys.readouterr().err
    assert seen in message
    assert message.count("\n") == 1
