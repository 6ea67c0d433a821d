"""A training that was killed, wherever, is finished to the numbers it would have had."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from datasets.prepare import prepare_stimuli
from models.architectures.mlp import MLPConfig
from models.learner import Learner, Lesson
from models.loop import run, train_runs
from models.settings import RunConfig, TrainingConfig
from models.state import load_state, save_state, state_path
from models.steps import Together
from models.stimuli import load_stimuli
from models.train import main, run_experiment
from reptools import store
from reptools.errors import NotLearnedWarning, ParameterError, StoreError

ROOT = Path(__file__).resolve().parents[2]
TRAINING = TrainingConfig(batch=32, checkpoints=(0, 4, 8, 20))
BOTH = RunConfig("both", ("easy", "hard"), MLPConfig((16, 16)), TRAINING)
SIZES = {"units": 12, "train": 200, "validation": 32, "test": 32}
RULES = {"easy": "copy", "hard": "xor"}
PARTS = ("whole", "killed")


class StoppedError(Exception):
    """What ends a training in these tests."""


@contextmanager
def one_thread() -> Iterator[None]:
    """Numbers and provenance hang on the number of threads; what was not learned is no news."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotLearnedWarning)
        yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with one_thread():
        yield


@pytest.fixture(scope="module")
def stimuli(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare_stimuli("binary", tmp_path_factory.mktemp("s") / "stimuli.h5", RULES, **SIZES)


@pytest.fixture(scope="module")
def whole(stimuli: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    with one_thread():
        return run(BOTH, tmp_path_factory.mktemp("whole") / "both.h5", stimuli=stimuli, seed=3)


def contents(path: Path) -> dict[str, bytes]:
    """Every variable's bytes, by group and name, and what the file says of its making."""
    with store.open(path) as tree:
        found = {
            f"{node.path}/{name}": np.ascontiguousarray(variable.values).tobytes()
            if variable.dtype.kind != "O"
            else repr(variable.values.tolist()).encode()
            for node in tree.subtree
            for name, variable in node.variables.items()
        }
        return {**found, "provenance": tree.attrs["provenance"].encode()}


def stop_at(step: int, config: RunConfig, out: Path, stimuli: Path, seed: int = 3) -> None:
    """Train up to a step and leave what a kill would leave."""

    def progress(done: int, _: int) -> None:
        if done == step:
            raise StoppedError

    with pytest.raises(StoppedError):
        run(config, out, stimuli=stimuli, seed=seed, progress=progress, resume=True)


def test_killed_anywhere_any_number_of_times(tmp_path: Path) -> None:
    script = Path(__file__).with_name("kills.py")
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path), "3", "7"],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert [record["setting"] for record in records] == ["stacked", "alone", "open-ended"]
    assert sum(record["kills"] for record in records) >= 5
    for record in records:
        folder = tmp_path / record["setting"]
        for seed in record["seeds"]:
            names = [f"{folder}/{part}/{record['setting']}-seed{seed}.h5" for part in PARTS]
            assert contents(Path(names[0])) == contents(Path(names[1])), names[1]
            assert store.validate(names[1]) == []
        assert not list(folder.glob("*/*.partial*"))
        assert not list(folder.glob("*/*.state*"))


@pytest.mark.parametrize("step", [0, 1, 4, 13])
def test_resumed_is_the_same(stimuli: Path, whole: Path, tmp_path: Path, step: int) -> None:
    out = tmp_path / "both.h5"
    stop_at(step, BOTH, out, stimuli)
    stop_at(max(step, 5), BOTH, out, stimuli)
    assert not out.exists()
    run(BOTH, out, stimuli=stimuli, seed=3, resume=True)
    assert contents(out) == contents(whole)
    assert [path.name for path in tmp_path.iterdir()] == ["both.h5"]


def test_the_state_may_be_a_checkpoint_behind_the_file(
    stimuli: Path, whole: Path, tmp_path: Path
) -> None:
    out = tmp_path / "both.h5"
    stop_at(5, BOTH, out, stimuli)
    behind = state_path(out).read_bytes()
    stop_at(9, BOTH, out, stimuli)
    state_path(out).write_bytes(behind)  # as if killed between the commit and the state
    run(BOTH, out, stimuli=stimuli, seed=3, resume=True)
    assert contents(out) == contents(whole)
    stop = tmp_path / "again.h5"
    stop_at(9, BOTH, stop, stimuli)
    state_path(stop).unlink()
    run(BOTH, stop, stimuli=stimuli, seed=3, resume=True)
    assert contents(stop) == contents(whole)


def test_seeds_at_different_steps(stimuli: Path, whole: Path, tmp_path: Path) -> None:
    outs = {seed: tmp_path / f"{seed}.h5" for seed in (1, 2, 3, 4)}
    stop_at(9, BOTH, outs[3], stimuli)
    stop_at(5, BOTH, outs[2], stimuli, seed=2)
    run(BOTH, outs[1], stimuli=stimuli, seed=1)
    before = outs[1].read_bytes()
    train_runs(BOTH, outs, stimuli=stimuli, progress=lambda *_: None, resume=True)
    assert contents(outs[3]) == contents(whole)
    assert outs[1].read_bytes() == before
    assert all(store.validate(path) == [] for path in outs.values())


def test_a_finished_run_is_kept(stimuli: Path, whole: Path) -> None:
    before = whole.read_bytes(), whole.stat().st_mtime_ns
    state_path(whole).touch()  # killed after the last rename
    seen: list[tuple[int, int]] = []
    run(
        BOTH, whole, stimuli=stimuli, seed=3, resume=True,
        progress=lambda *counts: seen.append(counts),
    )  # fmt: skip
    assert (whole.read_bytes(), whole.stat().st_mtime_ns) == before
    assert seen == [(20, 20)]
    assert not state_path(whole).exists()


@pytest.mark.parametrize("finished", [True, False])
@pytest.mark.parametrize(
    ("config", "seed", "seen"),
    [
        (replace(BOTH, training=replace(TRAINING, batch=16)), 3, "config.training.batch 32, not"),
        (replace(BOTH, model=MLPConfig((16, 8))), 3, r"config.model.widths \[16, 16\], not \[16"),
        (BOTH, 4, "seed 3, not 4"),
    ],
)
def test_other_settings_are_refused_by_name(
    stimuli: Path, tmp_path: Path, config: RunConfig, seed: int, seen: str, finished: bool
) -> None:
    out = tmp_path / "both.h5"
    if finished:
        run(BOTH, out, stimuli=stimuli, seed=3)
    else:
        stop_at(9, BOTH, out, stimuli)
    files = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(StoreError, match=rf"run: both\.h5 cannot be resumed.*{seen}"):
        run(config, out, stimuli=stimuli, seed=seed, resume=True)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == files


def test_other_stimuli_and_other_versions_are_refused(stimuli: Path, tmp_path: Path) -> None:
    out = tmp_path / "both.h5"
    stop_at(9, BOTH, out, stimuli)
    other = prepare_stimuli("binary", tmp_path / "other.h5", RULES, **SIZES, seed=1)
    with pytest.raises(StoreError, match=r"made with stimuli \"\w{8}\", not \"\w{8}\""):
        run(BOTH, out, stimuli=other, seed=3, resume=True)
    state = load_state(out)
    assert state is not None
    state["source"] = state["source"].replace(torch.__version__, "1.0")
    save_state(out, state)
    with pytest.raises(StoreError, match=r'made with torch "1\.0", not'):
        run(BOTH, out, stimuli=stimuli, seed=3, resume=True)


def test_what_is_no_state(stimuli: Path, tmp_path: Path) -> None:
    out = tmp_path / "both.h5"
    assert load_state(out) is None
    state_path(out).write_bytes(b"what?")
    with pytest.raises(StoreError, match=r"both\.h5\.state holds no state"):
        run(BOTH, out, stimuli=stimuli, seed=3, resume=True)
    with pytest.raises(ParameterError, match="overwrite and resume are both on"):
        run(BOTH, out, stimuli=stimuli, seed=3, resume=True, overwrite=True)
    run(BOTH, out, stimuli=stimuli, seed=3)  # a new run takes no old state
    assert not state_path(out).exists()


def test_a_learner_restored_has_every_number(stimuli: Path) -> None:
    lesson = Lesson.of(load_stimuli(stimuli), ("easy", "hard"))
    one = Learner(replace(BOTH, model=MLPConfig((16,), dropout=0.5)), 0, lesson)
    Together([one], lesson).advance(8, lambda _: None)  # in the middle of the second epoch
    twin = one.twin(lesson)
    for learner in (one, twin):
        learner.optimizer = {}
        Together([learner], lesson).advance(15, lambda _: None)
    for ours, theirs in zip(one.model.parameters(), twin.model.parameters(), strict=True):
        assert torch.equal(ours, theirs)


TEXT = """
name = "tiny"
seeds = [0, 1]
[data]
units = 12
train = 200
validation = 32
test = 32
[data.features]
easy = "copy"
hard = "xor"
[conditions]
both = ["easy", "hard"]
rare = {train_on = ["easy"], data = {prevalence = {easy = 0.25}}}
[model]
widths = [16]
[training]
batch = 32
learning_rate = 1e-2
checkpoints = [0, 20, 1000]
"""


def test_an_experiment_that_was_killed_is_completed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, out = tmp_path / "tiny.toml", tmp_path / "runs"
    file.write_text(TEXT)
    arguments = [str(file), "--out", str(out), "--jobs", "1"]
    with subprocess.Popen(
        [sys.executable, "-m", "models.train", *arguments], cwd=ROOT,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        first, end = out / "both-seed0.h5", time.monotonic() + 300  # however busy the machine
        while not state_path(first).exists() and time.monotonic() < end:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)  # its worker has to end by itself
    assert not first.exists()
    with pytest.raises(StoreError, match=r"already holds 'both-seed0\.h5\.partial'.*Resume"):
        run_experiment(file, out, progress=False)
    with pytest.raises(ParameterError, match="overwrite and resume are both on"):
        run_experiment(file, out, progress=False, resume=True, overwrite=True)
    end = time.monotonic() + 60
    while True:  # until the worker has let go of its file
        try:
            store.Writer(first, system="x", overwrite=True).abandon()
            break
        except StoreError:
            assert time.monotonic() < end, "the worker still runs"
            time.sleep(0.05)
    assert main([*arguments, "--resume"]) == 0
    assert "both-seed1" in capsys.readouterr().out
    runs = {f"{name}-seed{seed}.h5" for name in ("both", "rare") for seed in (0, 1)}
    assert {path.name for path in out.iterdir()} == {"stimuli.h5", "stimuli-rare.h5", *runs}
    with store.open(out / "rare-seed0.h5") as tree:
        provenance = json.loads(tree.attrs["provenance"])
    assert provenance["stimuli"]["file"] == "stimuli-rare.h5"
