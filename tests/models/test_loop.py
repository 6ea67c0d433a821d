"""One run: what is in its file is what the network did."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

from datasets.prepare import prepare_stimuli
from models.architectures.mlp import MLP, MLPConfig
from models.config import RunConfig, TrainingConfig
from models.loop import final_accuracy, run
from models.stimuli import load_stimuli, tensors
from reptools import store
from reptools.errors import (
    FeatureError,
    NotLearnedWarning,
    ParameterError,
    StimulusError,
    StoreError,
)

TRAINING = TrainingConfig(learning_rate=1e-2, batch=64, checkpoints=(0, 3, 200))
BOTH = RunConfig("both", ("easy", "hard"), MLPConfig(widths=(16, 8), dropout=0.0), TRAINING)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """For networks this small, threads only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def stimuli(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("stimuli") / "stimuli.h5"
    sizes = {"units": 12, "train": 512, "validation": 32, "test": 64}
    return prepare_stimuli("binary", path, {"easy": "copy", "hard": "xor", "idle": "or-2"}, **sizes)


@pytest.fixture(scope="module")
def path(stimuli: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(BOTH, tmp_path_factory.mktemp("run") / "both.h5", stimuli=stimuli, seed=1)


@pytest.fixture(scope="module")
def tree(path: Path) -> xr.DataTree:
    return store.open(path)


def independent(stimuli: Path, step: int, config: RunConfig = BOTH, seed: int = 1) -> MLP:
    """The network of a run at a step, trained again by a plain loop over PyTorch's own parts."""
    inputs, targets = tensors(load_stimuli(stimuli).train, config.train_on)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = MLP(12, len(config.train_on), config.model)
        optimizer = torch.optim.Adam(model.parameters(), config.training.learning_rate, fused=True)
        shuffle, rows = torch.Generator().manual_seed(seed), torch.arange(0)
        for _ in range(step):
            if len(rows) < config.training.batch:
                rows = torch.randperm(len(inputs), generator=shuffle)
            batch, rows = rows[: config.training.batch], rows[config.training.batch :]
            loss = torch.nn.functional.binary_cross_entropy_with_logits(
                model(inputs[batch]), targets[batch].float(), reduction="sum"
            )
            optimizer.zero_grad()
            torch.autograd.backward(loss / len(batch))
            optimizer.step()
    return model.eval()


def contents(path: Path) -> dict[str, bytes]:
    """Every variable's bytes, by group and name."""
    return {
        f"{node.path}/{name}": np.ascontiguousarray(variable.values).tobytes()
        if variable.dtype.kind != "O"
        else repr(variable.values.tolist()).encode()
        for node in store.open(path).subtree
        for name, variable in node.variables.items()
    }


def test_shape_of_the_file(path: Path, tree: xr.DataTree) -> None:
    assert store.validate(path) == []
    assert tree.attrs["system"] == "both-seed1"
    assert tree.coords["step"].values.tolist() == [0, 3, 200]
    assert {name: tree[f"layers/{name}"]["activation"].shape for name in tree["layers"]} == {
        "fc1": (3, 96, 16),
        "fc2": (3, 96, 8),
    }
    assert set(tree["features"].data_vars) == {"easy", "hard", "idle"}
    assert tree["features/hard"].attrs["complexity"] == 2.0
    assert tree["outputs/accuracy"].coords["feature"].values.tolist() == ["easy", "hard"]
    assert "idle" not in tree["outputs"]


def test_stimuli_are_the_held_out_ones(stimuli: Path, tree: xr.DataTree) -> None:
    data = load_stimuli(stimuli).held_out
    for name in ("stimulus", "split"):
        assert tree.coords[name].values.tolist() == data[name].values.tolist()
    assert sorted(set(tree.coords["split"].values)) == ["test", "validation"]
    for name in ("easy", "hard", "idle"):
        assert (tree["features"][name].values == data[name].values).all()


@pytest.mark.parametrize("step", [0, 3, 200])
def test_activations_are_those_of_an_independent_pass(
    stimuli: Path, tree: xr.DataTree, step: int
) -> None:
    model = independent(stimuli, step)
    inputs, _ = tensors(load_stimuli(stimuli).held_out, ["easy"])
    with torch.no_grad():
        for name, values in model.activations(inputs).items():
            saved = tree[f"layers/{name}"]["activation"].sel(step=step).values
            # the same sums in another order: PyTorch's products against those of a stack
            np.testing.assert_allclose(saved, values.numpy(), rtol=1e-4, atol=1e-4)
            if step == 0:
                np.testing.assert_array_equal(saved, values.numpy())


def test_readout_maps_the_last_layer_to_the_answers(tree: xr.DataTree) -> None:
    hidden = tree["layers/fc2"]["activation"].values  # (step, stimulus, unit)
    weight = tree["outputs/readout_weight"].values  # (step, output, unit)
    bias = tree["outputs/readout_bias"]
    assert bias.coords["output"].values.tolist() == ["easy", "hard"]
    logits = np.einsum("tsu,tou->tso", hidden, weight) + bias.values[:, None]
    for i, name in enumerate(["easy", "hard"]):
        np.testing.assert_allclose(tree["outputs"][name].values, logits[..., i], atol=1e-4)


def test_accuracy_is_that_of_the_saved_answers(tree: xr.DataTree) -> None:
    test = tree.coords["split"].values == "test"
    for name in ("easy", "hard"):
        right = (tree["outputs"][name].values > 0) == tree["features"][name].values.astype(bool)
        accuracy = tree["outputs/accuracy"].sel(feature=name).values
        np.testing.assert_array_equal(accuracy, right[:, test].mean(axis=1))
    assert (tree["outputs/accuracy"].sel(step=200).values >= 0.99).all()
    learned = tree["outputs/learned"]
    assert learned.dtype == np.uint8
    assert (learned.values == (tree["outputs/accuracy"].values >= 0.99)).all()
    assert learned.values[0].tolist() == [0, 0]


def test_provenance(stimuli: Path, tree: xr.DataTree) -> None:
    provenance = json.loads(tree.attrs["provenance"])
    assert provenance["seed"] == 1
    assert provenance["config"]["train_on"] == ["easy", "hard"]
    assert provenance["config"]["training"]["checkpoints"] == [0, 3, 200]
    assert provenance["stimuli"] == {
        "file": "stimuli.h5",
        "sha256": load_stimuli(stimuli).digest,
    }
    assert provenance["threads"] == torch.get_num_threads()
    assert provenance["versions"]["torch"] == torch.__version__


@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_same_seed_same_file_and_nothing_global_moves(
    stimuli: Path, tmp_path: Path, dropout: float
) -> None:
    config = replace(
        BOTH,
        model=replace(BOTH.model, dropout=dropout),
        training=replace(TRAINING, checkpoints=(0, 40), threshold=0.51),
    )
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotLearnedWarning)
        first = run(config, tmp_path / "a.h5", stimuli=stimuli, seed=2)
        assert torch.equal(torch.get_rng_state(), before)
        torch.rand(3)  # the state of the global generator must not matter
        second = run(config, tmp_path / "b.h5", stimuli=stimuli, seed=2)
        other = run(config, tmp_path / "c.h5", stimuli=stimuli, seed=3)
    assert torch.get_num_threads() == threads
    assert contents(first) == contents(second)
    name = "/layers/fc1/activation"
    assert contents(first)[name] != contents(other)[name]


def test_not_learned_is_said_aloud(stimuli: Path, tmp_path: Path) -> None:
    config = replace(BOTH, training=replace(TRAINING, checkpoints=(0, 2)))
    with pytest.warns(NotLearnedWarning, match=r"short ends with 'hard' at \d+\.\d+%") as caught:
        path = run(config, tmp_path / "short.h5", stimuli=stimuli, seed=1)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    accuracy, learned = final_accuracy(path)["hard"]
    assert accuracy < 0.99
    assert not learned


def test_one_feature_alone(stimuli: Path, tmp_path: Path) -> None:
    config = replace(BOTH, train_on=("easy",), training=replace(TRAINING, checkpoints=(100,)))
    tree = store.open(run(config, tmp_path / "easy.h5", stimuli=stimuli, seed=1))
    assert set(tree["features"].data_vars) == {"easy", "hard", "idle"}
    assert set(tree["outputs"].data_vars) == {
        "easy", "accuracy", "validation_accuracy", "learned", "rank",
        "readout_weight", "readout_bias",
    }  # fmt: skip
    assert tree["outputs/readout_weight"].shape == (1, 1, 8)


def test_progress_counts_the_steps(stimuli: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    config = replace(BOTH, training=replace(TRAINING, checkpoints=(0, 5), threshold=0.51))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotLearnedWarning)
        run(
            config,
            tmp_path / "a.h5",
            stimuli=stimuli,
            seed=1,
            progress=lambda *counts: seen.append(counts),
        )
    assert seen == [(step, 5) for step in range(6)]  # 0 too


@pytest.mark.parametrize(
    ("config", "seed", "error", "seen"),
    [
        (replace(BOTH, train_on=("easy", "shape")), 1, FeatureError, "'shape'.*'easy', 'hard'"),
        (replace(BOTH, train_on=("input",)), 1, FeatureError, "'input'"),
        (replace(BOTH, training=replace(TRAINING, batch=513)), 1, ParameterError, "513.*512"),
        (BOTH, -1, ParameterError, r"\(-1,\)"),
    ],
)
def test_what_cannot_be_run(
    stimuli: Path, tmp_path: Path, config: RunConfig, seed: int, error: type, seen: str
) -> None:
    with pytest.raises(error, match=seen):
        run(config, tmp_path / "a.h5", stimuli=stimuli, seed=seed)
    assert list(tmp_path.iterdir()) == []


def test_existing_file_is_kept(stimuli: Path, path: Path) -> None:
    before = hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(StoreError, match=r"both\.h5"):
        run(BOTH, path, stimuli=stimuli, seed=1)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == before


def test_files_that_are_no_stimuli(path: Path, stimuli: Path, tmp_path: Path) -> None:
    with pytest.raises(StimulusError, match="no layer 'input'"):
        load_stimuli(path)
    data = load_stimuli(stimuli).held_out
    partial = tmp_path / "partial.h5"
    with store.Writer(
        partial,
        system="s",
        stimulus=data["stimulus"].values,
        features={"easy": data["easy"].values},
        coords={"split": data["split"].values},
    ) as writer:
        writer.append({"input": data["input"].values})
    with pytest.raises(StimulusError, match=r"splits \['test', 'validation'\]"):
        load_stimuli(partial)
    with pytest.raises(StoreError, match=r"absent\.h5"):
        load_stimuli(tmp_path / "absent.h5")
