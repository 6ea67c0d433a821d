"""Experiment files are read strictly: what is misspelt or impossible is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from models.architectures.cnn import CNNConfig
from models.architectures.mlp import MLPConfig
from models.config import (
    DumpConfig,
    Phase,
    TrainingConfig,
    experiment_files,
    load_experiment,
    settings_of,
)
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
    assert (run.phases, run.order, run.dump) == ((), "as_listed", DumpConfig())
    assert list(experiment.stimuli) == ["stimuli.h5"]


def test_overrides(file: Path) -> None:
    overrides = {"training.optimizer": "sgd", "seeds": [7], "data.features.hard": "xor"}
    experiment = load_experiment(file, overrides)
    (condition,) = experiment.conditions
    assert condition.run.training.optimizer == "sgd"
    assert condition.run.training.batch == 16
    assert experiment.seeds == (7,)
    assert condition.data["features"] == {"easy": "copy", "hard": "xor"}


TABLE = """
[dump]
layers = ["fc2"]
[conditions.rare]
train_on = ["easy", "hard"]
order = "rotate"
model = {widths = [4]}
training = {optimizer = "momentum", beyond = 5}
data = {features = {hard = "xor"}, prevalence = {hard = 0.1}, train = 64}
phases = [
    {train = ["hard"], until = "learned"},
    {train = ["hard"], rates = {hard = 0.5}, steps = 3},
    {train = ["easy", "hard"]},
]
[conditions.images]
train_on = ["easy"]
model = {kind = "cnn"}
"""


def test_a_condition_says_what_differs(file: Path) -> None:
    file.write_text(TEXT.replace("[conditions]", TABLE + "[conditions]"))
    experiment = load_experiment(file)
    rare, images, alone = experiment.conditions
    assert alone.run.training == TrainingConfig(batch=16, checkpoints=(0, 10))
    assert alone.run.dump == rare.run.dump == DumpConfig(("fc2",))
    assert rare.run.model == MLPConfig(widths=(4,))
    assert rare.run.training == TrainingConfig("momentum", batch=16, checkpoints=(0, 10), beyond=5)
    assert rare.data == {
        "kind": "binary",
        "features": {"easy": "copy", "hard": "xor"},
        "prevalence": {"hard": 0.1},
        "train": 64,
    }
    assert rare.run.phases == (
        Phase(("hard",), until="learned"),
        Phase(("hard",), {"hard": 0.5}, steps=3),
        Phase(("easy", "hard")),
    )
    assert [rare.run.outputs(seed) for seed in (0, 1, 4)] == [
        ("easy", "hard"),
        ("hard", "easy"),
        ("easy", "hard"),
    ]
    assert images.run.model == CNNConfig()  # a kind of its own does not take the MLP's widths
    assert {c.run.name: c.stimuli for c in experiment.conditions} == {
        "rare": "stimuli-rare.h5",
        "images": "stimuli.h5",
        "alone": "stimuli.h5",
    }
    assert set(experiment.stimuli) == {"stimuli.h5", "stimuli-rare.h5"}
    assert settings_of(images.run)["model"]["kind"] == "cnn"
    assert settings_of(rare.run)["model"] == {**settings_of(rare.run)["model"], "kind": "mlp"}


@pytest.mark.parametrize("path", experiment_files(), ids=lambda path: path.stem)
def test_shipped_experiments(path: Path) -> None:
    experiment = load_experiment(f"experiments/{path.name}")
    assert experiment.name == path.stem
    for condition in experiment.conditions:
        assert condition.run.training.checkpoints[0] == 0, "the untrained baseline"
    trained = {name for run in experiment.runs for name in run.train_on}
    assert trained == {name for data in experiment.stimuli.values() for name in data["features"]}


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
        ({"training.schedule": "step"}, "schedule is 'step'"),
        ({"training.warmup": -1}, "warmup is -1"),
        ({"training.clip": 0}, "clip is 0"),
        ({"training.beyond": 1.5}, r"beyond is 1\.5"),
        ({"dump.layers": ["fc1", "fc1"]}, r"layers is \('fc1', 'fc1'\)"),
        ({"dump.units": 3}, r"\[dump\] has unknown keys \['units'\]"),
        ({"model.kind": "rnn"}, "model.kind is 'rnn'"),
        ({"conditions.alone": {"model": {}}}, "condition 'alone' is"),
        ({"conditions.alone": {"train_on": ["easy"], "model": 3}}, "alone.model is 3"),
        ({"conditions.alone": {"train_on": ["easy"], "dump": {}}}, r"\['dump'\].*whole file"),
        ({"conditions.alone": {"train_on": ["easy"], "colour": 1}}, r"alone has unknown.*colour"),
        ({"conditions.alone": {"train_on": ["easy"], "order": "random"}}, "order of 'alone' is"),
        (
            {
                "conditions.stimuli-a": ["easy"],
                "conditions.a-seed1": {"train_on": ["easy"], "data": {"seed": 3}},
            },
            r"'stimuli-a-seed1\.h5' would be",
        ),
    ],
)
def test_impossible_settings(file: Path, overrides: dict[str, Any], seen: str) -> None:
    with pytest.raises(ParameterError, match=seen):
        load_experiment(file, overrides).runs  # noqa: B018


@pytest.mark.parametrize(
    ("phases", "seen"),
    [
        (5, "alone.phases is 5"),
        ([{"steps": 3}], "a phase of conditions.alone: .*'train'"),
        ([{"train": []}], r"train is \(\)"),
        ([{"train": ["easy"], "colour": 1}], r"unknown keys \['colour'\]"),
        ([{"train": ["hard"]}], r"phase 1 of 'alone' trains \['hard'\]"),
        ([{"train": ["easy"], "steps": 3}], "phase 1 of 'alone' is the last"),
        ([{"train": ["easy"]}] * 2, "phase 1 of 'alone' never ends"),
        ([{"train": ["easy"], "rates": {"hard": 0.5}}], r"rates names \['hard'\]"),
        ([{"train": ["easy"], "rates": 0.5}], r"rates is 0\.5"),
        ([{"train": ["easy"], "rates": {"easy": 0}}], "the rate of 'easy' is 0"),
        ([{"train": ["easy"], "steps": 0}], "steps is 0"),
        ([{"train": ["easy"], "until": "bored"}], "until is 'bored'"),
        ([{"train": ["easy"], "until": "learned", "steps": 2}], "after 2 steps and when learned"),
        ([{"train": ["second"]}], r"no phase of 'alone' trains \['easy'\]"),
    ],
)
def test_impossible_phases(file: Path, phases: Any, seen: str) -> None:
    train_on = ["easy", "second"] if "second" in str(phases) else ["easy"]
    overrides = {
        "data.features.second": "copy",
        "conditions.alone": {"train_on": train_on, "phases": phases},
    }
    with pytest.raises(ParameterError, match=seen):
        load_experiment(file, overrides)


def test_missing_key(tmp_path: Path) -> None:
    path = tmp_path / "short.toml"
    path.write_text('[data.features]\neasy = "copy"\n[conditions]\nalone = ["easy"]')
    with pytest.raises(ParameterError, match="the file: .*'name'"):
        load_experiment(path)
    path.write_text('name = "short"\n[conditions]\nalone = ["easy"]')
    with pytest.raises(ParameterError, match=r"data\.features is None"):
        load_experiment(path)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match=r"no file 'nowhere.toml'.*complexity\.toml"):
        load_experiment("nowhere.toml")
    broken = tmp_path / "broken.toml"
    broken.write_text("name = ")
    with pytest.raises(ParameterError, match=r"broken\.toml is not TOML"):
        load_experiment(broken)
    broken.write_bytes(b"\xff\xfe")
    with pytest.raises(ParameterError, match=r"broken\.toml is not TOML"):
        load_experiment(broken)
