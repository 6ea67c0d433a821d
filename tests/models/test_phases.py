"""Phases, the end of a run, and what other kinds of stimuli and networks leave in the file."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr

from datasets.prepare import prepare_stimuli
from models.architectures.cnn import CNNConfig
from models.architectures.decoder import DecoderConfig
from models.architectures.mlp import MLPConfig
from models.learner import Learner, Lesson
from models.loop import run
from models.phases import Course
from models.settings import DumpConfig, Phase, RunConfig, TrainingConfig
from models.steps import Together
from models.stimuli import load_stimuli
from reptools import store
from reptools.errors import FeatureError, NotLearnedWarning, ParameterError

TRAINING = TrainingConfig(learning_rate=1e-2, batch=64, checkpoints=(0, 40, 80, 120, 160, 400))
BOTH = RunConfig("both", ("easy", "hard"), MLPConfig(widths=(16, 8)), TRAINING)
HARD_FIRST = (Phase(("hard",), until="learned"), Phase(("easy", "hard")))


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotLearnedWarning)
        yield
    torch.set_num_threads(threads)


def prepared(folder: Path, kind: str, rules: dict[str, str], **settings: Any) -> Path:
    return prepare_stimuli(kind, folder / f"{kind}.h5", rules, **settings)


@pytest.fixture(scope="module")
def stimuli(tmp_path_factory: pytest.TempPathFactory) -> Path:
    sizes = {"units": 12, "train": 512, "validation": 32, "test": 32}
    return prepared(
        tmp_path_factory.mktemp("a"), "binary", {"easy": "copy", "hard": "xor"}, **sizes,
        labelled={"hard": 0.25},
    )  # fmt: skip


@pytest.fixture
def lesson(stimuli: Path) -> Lesson:
    return Lesson.of(load_stimuli(stimuli), ("easy", "hard"))


def course(*phases: Phase, **training: Any) -> Course:
    return Course(
        replace(BOTH, phases=phases, training=replace(TRAINING, **training)), ("easy", "hard")
    )


def test_one_phase_trains_everything() -> None:
    one = course()
    assert one.rates.tolist() == [1, 1]
    assert [step for step in TRAINING.checkpoints if one.over(step)] == [400]


def test_a_phase_of_some_steps() -> None:
    one = course(Phase(("easy",), {"easy": 0.25}, steps=3), Phase(("hard",)))
    rates = []
    for step in range(1, 6):
        one.advance(step)
        rates.append(one.rates.tolist())
    assert rates == [[0.25, 0]] * 2 + [[0, 1]] * 3
    assert (one.phase, one.began) == (1, 3)


def test_a_phase_until_its_features_are_learned_and_the_end_after_all_are() -> None:
    one = course(*HARD_FIRST, beyond=70)
    assert one.rates.tolist() == [0, 1]
    one.look(40, {"easy": 1.0, "hard": 0.98})
    assert one.phase == 0
    one.look(80, {"easy": 0.5, "hard": 0.99})
    assert (one.phase, one.began, one.learned) == (1, 80, -1)
    assert one.rates.tolist() == [1, 1]
    one.look(120, {"easy": 0.995, "hard": 0.99})
    one.look(160, {"easy": 0.5, "hard": 0.5})  # what counts is when they first were
    assert one.learned == 120
    assert [step for step in (120, 160, 190, 400) if one.over(step)] == [190, 400]
    other = course(*HARD_FIRST, beyond=70)
    other.restore(one.state())
    assert other.state() == one.state() == {"phase": 1, "began": 80, "learned": 120}


def test_what_is_learned_from_the_start_ends_the_run_as_well() -> None:
    one = course(beyond=40)
    one.look(0, {"easy": 0.99, "hard": 1.0})
    assert one.learned == 0
    assert [step for step in TRAINING.checkpoints if one.over(step)] == [40, 80, 120, 160, 400]


def test_a_phase_counts_its_steps_from_where_it_began() -> None:
    one = course(Phase(("easy",), steps=3), Phase(("hard",), steps=3), Phase(("easy", "hard")))
    phases = []
    for step in range(1, 9):
        one.advance(step)
        phases.append(one.phase)
    assert phases == [0, 0, 1, 1, 1, 2, 2, 2]
    other = course(Phase(("easy",), steps=3), Phase(("hard",), steps=3), Phase(("easy", "hard")))
    other.restore({"phase": 1, "began": 3, "learned": -1})
    for step, phase in ((4, 1), (5, 1), (6, 2)):
        other.advance(step)
        assert other.phase == phase


def test_a_phase_of_two_features_ends_when_both_are_learned() -> None:
    one = course(Phase(("easy", "hard"), until="learned"), Phase(("hard",)))
    one.look(40, {"easy": 1.0, "hard": 0.98})
    assert one.phase == 0
    one.look(80, {"easy": 1.0, "hard": 0.99})
    assert (one.phase, one.began) == (1, 80)


def test_learned_in_an_earlier_phase_does_not_end_the_run() -> None:
    one = course(Phase(("easy", "hard"), steps=100), Phase(("easy", "hard")), beyond=0)
    one.look(80, {"easy": 1.0, "hard": 1.0})
    assert not one.over(80)


def readout(phases: tuple[Phase, ...], lesson: Lesson) -> torch.Tensor:
    """Change of the readout (output, unit) over one step of plain gradient descent."""
    training = replace(TRAINING, optimizer="sgd", batch=512)
    learner = Learner(replace(BOTH, training=training, phases=phases), 0, lesson)
    before = learner.model.readout.weight.detach().clone()
    Together([learner], lesson).advance(1, lambda _: None)
    return learner.model.readout.weight.detach() - before


def test_features_that_are_not_trained_get_no_gradient(lesson: Lesson) -> None:
    both = readout((), lesson)
    easy, hard = readout((Phase(("easy",), steps=1), Phase(("hard",))), lesson)
    assert torch.equal(hard, torch.zeros(8))
    torch.testing.assert_close(easy, both[0])
    assert (both[1] != 0).any()


def test_a_rate_leaves_its_share_of_the_gradient(lesson: Lesson) -> None:
    whole = readout((), lesson)[0]
    some = readout((Phase(("easy",), {"easy": 0.5}, steps=1), Phase(("hard",))), lesson)[0]
    share = float((some @ whole) / (whole @ whole))
    assert 0.4 < share < 0.6
    assert not torch.allclose(some, 0.5 * whole, rtol=1e-3)  # drawn, not scaled


def test_stimuli_without_a_label_give_no_gradient(lesson: Lesson) -> None:
    assert lesson.labelled is not None
    assert lesson.labelled.mean(dim=0).tolist() == [1, 0.25]
    blind = replace(lesson, labelled=lesson.labelled * torch.tensor([1.0, 0.0]))
    assert torch.equal(readout((), blind)[1], torch.zeros(8))
    seen = lesson.labelled[:, 1] == 1
    flipped = torch.where(seen, lesson.targets[:, 1], 1 - lesson.targets[:, 1])
    other = replace(lesson, targets=torch.stack([lesson.targets[:, 0], flipped], dim=1))
    assert torch.equal(readout((), other), readout((), lesson))


def test_hidden_labels_are_not_fed_back_either() -> None:
    """What is emitted later sees the answers before it: a hidden one must change nothing."""
    rng = torch.Generator().manual_seed(0)
    x = torch.nn.functional.one_hot(torch.randint(4, (64, 6), generator=rng), 4).float()
    targets = torch.randint(2, (64, 2), generator=rng)
    labelled = torch.ones(64, 2)
    labelled[::2, 0] = 0
    lesson = Lesson(x, targets, labelled, (2, 2))
    hidden = torch.where(labelled[:, 0] == 0, 1 - targets[:, 0], targets[:, 0])
    other = replace(lesson, targets=torch.stack([hidden, targets[:, 1]], dim=1))
    known = replace(other, labelled=torch.ones(64, 2))
    model = DecoderConfig(width=8, heads=2, blocks=2)
    config = replace(BOTH, model=model, training=replace(TRAINING, batch=64))

    def trained(taught: Lesson) -> torch.Tensor:
        learner = Learner(config, 0, taught)
        Together([learner], taught).advance(3, lambda _: None)
        return torch.cat([p.detach().flatten() for p in learner.model.parameters()])

    assert torch.equal(trained(lesson), trained(other))
    assert not torch.equal(trained(lesson), trained(known))


def outputs(path: Path) -> xr.Dataset:
    assert store.validate(path) == []
    with store.open(path) as tree:
        return tree["outputs"].to_dataset().load()


def test_phases_and_end_in_the_file(stimuli: Path, tmp_path: Path) -> None:
    config = replace(
        BOTH,
        phases=(
            Phase(("hard",), until="learned"),
            Phase(("easy",), steps=50),
            Phase(("easy", "hard")),
        ),
        training=replace(TRAINING, checkpoints=tuple(range(0, 1601, 40)), beyond=60, threshold=0.9),
        dump=DumpConfig(("fc2",)),
    )
    path = run(config, tmp_path / "a.h5", stimuli=stimuli, seed=1)
    found = outputs(path)
    phase, valid = found["phase"].values, found["validation_accuracy"]
    learned = int(np.argmax(valid.sel(feature="hard").values >= 0.9))
    assert phase.tolist() == [0] * learned + [1, 1] + [2] * (len(phase) - learned - 2)
    done = (valid.values >= 0.9).all(axis=1) & (phase == 2)
    step = found["step"].values
    assert step[-1] - step[np.argmax(done)] == 80  # the first checkpoint 60 steps beyond
    assert step[-1] < 1600
    assert (valid.sel(feature="easy").values[:learned] < 0.9).all()
    with store.open(path) as tree:
        assert list(tree["layers"]) == ["fc2"]
        answers, truth = found["hard"].values > 0, tree["features/hard"].values.astype(bool)
        split = tree.coords["split"].values
    for name, part in (("accuracy", "test"), ("validation_accuracy", "validation")):
        right = (answers == truth)[:, split == part].mean(axis=1)
        np.testing.assert_allclose(found[name].sel(feature="hard"), right, atol=1e-12)


def test_rotated_outputs(stimuli: Path, tmp_path: Path) -> None:
    config = replace(BOTH, order="rotate", training=replace(TRAINING, checkpoints=(0,)))
    found = [
        outputs(run(config, tmp_path / f"{seed}.h5", stimuli=stimuli, seed=seed)) for seed in (0, 1)
    ]
    ranks = [dict(zip(o["feature"].values, o["rank"].values[0], strict=True)) for o in found]
    assert ranks == [{"easy": 0, "hard": 1}, {"hard": 0, "easy": 1}]
    assert found[1]["output"].values.tolist() == ["hard", "easy"]


def test_a_layer_that_is_not_there(stimuli: Path, tmp_path: Path) -> None:
    config = replace(BOTH, dump=DumpConfig(("fc2", "fc9")))
    with pytest.raises(ParameterError, match=r"\['fc9'\], but the network has \['fc1', 'fc2'\]"):
        run(config, tmp_path / "a.h5", stimuli=stimuli, seed=1)


def test_images_and_features_of_several_classes(tmp_path: Path) -> None:
    rules = {"colour": "colour-4", "shape": "shape-3"}
    path = prepared(tmp_path, "images", rules, train=96, validation=24, test=24)
    shown = load_stimuli(path)
    assert shown.input_shape == (3, 32, 32)
    assert shown.classes(("shape", "colour")) == (3, 4)
    config = RunConfig(
        "cnn", ("colour", "shape"), CNNConfig(channels=(4, 8), dropout=0.1),
        replace(TRAINING, batch=32, checkpoints=(0, 4)),
    )  # fmt: skip
    found = outputs(run(config, tmp_path / "cnn.h5", stimuli=path, seed=0))
    assert found["colour"].shape == (2, 48, 4)
    assert found["shape"].shape == (2, 48, 3)
    names = [f"colour={i}" for i in range(4)] + [f"shape={i}" for i in range(3)]
    assert found["output"].values.tolist() == names
    with store.open(tmp_path / "cnn.h5") as tree:
        pooled = tree["layers/pooled"]["activation"].values
        truth, split = tree["features/shape"].values, tree.coords["split"].values
    logits = np.einsum("tsu,tou->tso", pooled, found["readout_weight"].values)
    logits += found["readout_bias"].values[:, None]
    np.testing.assert_allclose(logits[..., 4:], found["shape"].values, atol=1e-4)
    right = found["shape"].values[1].argmax(axis=-1) == truth
    shares = [right[(split == "test") & (truth == value)].mean() for value in range(3)]
    assert float(found["accuracy"].sel(feature="shape")[1]) == pytest.approx(np.mean(shares))


def test_sequences_are_answered_greedily(tmp_path: Path) -> None:
    rules = {"easy": "presence", "hard": "parity-2"}
    path = prepared(tmp_path, "sequences", rules, length=8, train=128, validation=16, test=16)
    config = RunConfig(
        "decoder", ("easy", "hard"), DecoderConfig(width=16, heads=2, blocks=2),
        replace(TRAINING, batch=32, checkpoints=(0, 6)),
    )  # fmt: skip
    found = outputs(run(config, tmp_path / "a.h5", stimuli=path, seed=3))
    assert "readout_weight" not in found
    shown = load_stimuli(path)
    lesson = Lesson.of(shown, ("easy", "hard"))
    learner = Learner(config, 3, lesson)
    inputs = torch.from_numpy(shown.held_out["input"].values.astype(np.float32))
    with torch.no_grad():
        logits = learner.model.eval()(inputs).numpy()
    np.testing.assert_array_equal(found["hard"].values[0], logits[:, 1])
    with store.open(tmp_path / "a.h5") as tree:
        assert tree["layers/embedded"]["activation"].dims == ("step", "token", "stimulus", "unit")


def test_features_that_cannot_be_trained_on(stimuli: Path) -> None:
    shown = load_stimuli(stimuli)
    count = shown.data.sizes["stimulus"]
    for values, seen in [
        (np.ones(count), r"has the values 1\.0"),
        (np.arange(count) % 2 * 2, r"has the values 0, 2"),
        (np.linspace(0, 1, count), r"has the values 0\.0, .* in all"),
    ]:
        odd = replace(shown, data=shown.data.assign(odd=("stimulus", values)))
        with pytest.raises(FeatureError, match=f"'odd' {seen}"):
            odd.classes(("odd",))
    odd = replace(shown, data=shown.data.assign(odd=(("stimulus", "token"), np.ones((count, 2)))))
    with pytest.raises(FeatureError, match="'odd' has dims"):
        odd.classes(("odd",))
