"""Experiment files are read strictly: what is misspelt or impossible is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from models.config import TrainingConfig, experiment_files, load_experiment
from models.mlp import MLPConfig
from reptools.errors import ParameterError

TEXT = """
name = "tiny"
seeds = [1, 2]
[data]
kind = "binary"
[data.features]
easy = "copy"
[conditions]
alone = ["easy"]
[model]
widths = [8, 4]
[training]
batch = 16
checkpoints = [0, 10]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.toml"
    path.write_text(TEXT)
    return path


def test_file_becomes_config(file: Path) -> None:
    experiment = load_experiment(file)
    (run,) = experiment.runs
    assert (experiment.name, experiment.seeds) == ("tiny", (1, 2))
    assert (run.name, run.train_on) == ("alone", ("easy",))
    assert run.model == MLPConfig(widths=(8, 4))
    assert run.training == TrainingConfig(batch=16, checkpoints=(0, 10))


def test_overrides(file: Path) -> None:
    overrides = {"training.optimizer": "sgd", "seeds": [7], "data.features.hard": "xor"}
    experiment = load_experiment(file, overrides)
    assert experiment.training.optimizer == "sgd"
    assert experiment.training.batch == 16
    assert experiment.seeds == (7,)
    assert experiment.data["features"] == {"easy": "copy", "hard": "xor"}


@pytest.mark.parametrize("path", experiment_files(), ids=lambda path: path.stem)
def test_shipped_experiments(path: Path) -> None:
    experiment = load_experiment(f"experiments/{path.name}")
    assert experiment.name == path.stem
    assert experiment.training.checkpoints[0] == 0, "the untrained baseline"
    trained = {name for train_on in experiment.conditions.values() for name in train_on}
    assert trained == set(experiment.data["features"])


@pytest.mark.parametrize(
    ("overrides", "seen"),
    [
        ({"training.optimiser": "sgd"}, r"\[training\] has unknown keys \['optimiser'\]"),
        ({"colour": 1}, r"the file has unknown keys \['colour'\]"),
        ({"training.optimizer": "lion"}, "optimizer is 'lion'"),
        ({"training.learning_rate": 0}, "learning_rate is 0"),
        ({"training.learning_rate": "fast"}, r"\[training\]: .*'str'"),
        ({"training.momentum": 1.0}, r"momentum is 1\.0"),
        ({"training.weight_decay": -0.1}, r"weight_decay is -0\.1"),
        ({"training.batch": 0}, "batch is 0"),
        ({"training.batch": 2.5}, r"batch is 2\.5"),
        ({"training.threshold": 0.5}, r"threshold is 0\.5"),
        ({"training.checkpoints": []}, r"checkpoints is \(\)"),
        ({"training.checkpoints": [-1, 5]}, r"checkpoints is \(-1, 5\)"),
        ({"training.checkpoints": [0, 5, 5]}, r"checkpoints is \(0, 5, 5\)"),
        ({"training.checkpoints": [5, 0]}, r"checkpoints is \(5, 0\)"),
        ({"training.checkpoints": 5}, r"\[training\]: .*int"),
        ({"training": 5}, r"\[training\] is 5"),
        ({"model.widths": []}, r"widths is \(\)"),
        ({"model.widths": [8, 0]}, r"widths is \(8, 0\)"),
        ({"model.nonlinearity": "swish"}, "nonlinearity is 'swish'"),
        ({"model.dropout": 1}, "dropout is 1"),
        ({"conditions": {}}, "conditions is empty"),
        ({"conditions": 5}, "conditions is 5"),
        ({"conditions.alone": []}, r"'alone' trains on \(\)"),
        ({"conditions.alone": "easy"}, "condition 'alone' is 'easy'"),
        ({"conditions.alone": ["easy", "easy"]}, r"\('easy', 'easy'\)"),
        ({"conditions.a/b": ["easy"]}, "named 'a/b'"),
        ({"conditions.both": ["easy", "hard"]}, r"'both' trains on \['hard'\].*\['easy'\]"),
        ({"data.features": "copy"}, "data.features is 'copy'"),
        ({"data": {}}, "data.features is None"),
        ({"seeds": []}, r"seeds is \(\)"),
        ({"seeds": [1, 1]}, r"seeds is \(1, 1\)"),
        ({"seeds": [-1]}, r"seeds is \(-1,\)"),
        ({"seeds": [True]}, r"seeds is \(True,\)"),
        ({"name.first": "x"}, "'name' is not a table"),
    ],
)
def test_impossible_settings(file: Path, overrides: dict[str, Any], seen: str) -> None:
    with pytest.raises(ParameterError, match=seen):
        load_experiment(file, overrides).runs  # noqa: B018


def test_missing_key(tmp_path: Path) -> None:
    path = tmp_path / "short.toml"
    path.write_text('name = "short"\n[conditions]\nalone = ["easy"]')
    with pytest.raises(ParameterError, match="'data'"):
        load_experiment(path)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match=r"no file 'nowhere.toml'.*complexity_bias\.toml"):
        load_experiment("nowhere.toml")
    broken = tmp_path / "broken.toml"
    broken.write_text("name = ")
    with pytest.raises(ParameterError, match=r"broken\.toml is not TOML"):
        load_experiment(broken)
    broken.write_bytes(b"\xff\xfe")
    with pytest.raises(ParameterError, match=r"broken\.toml is not TOML"):
        load_experiment(broken)
