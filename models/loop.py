"""Runs: networks trained and what they represent dumped at every checkpoint, a file for each."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch

from reptools import store
from reptools.errors import NotLearnedWarning, ParameterError, StoreError
from reptools.provenance import from_json, to_json

from .config import check_seeds, settings_of
from .dump import Dump
from .learner import Learner, Lesson
from .settings import RunConfig
from .state import drop_state, load_state, save_state
from .steps import train
from .stimuli import Stimuli, load_stimuli

Progress = Callable[[int, int], None]  # (steps done, steps in all)


def run(
    config: RunConfig,
    out: str | Path,
    *,
    stimuli: str | Path,
    seed: int,
    progress: Progress | None = None,
    overwrite: bool = False,
    resume: bool = False,
) -> Path:
    """Train one network and write its activations at every checkpoint.

    Parameters
    ----------
    config
        Shape, training, and the features trained on. The file holds all features of the stimuli;
        outputs, readout and accuracy are those of the trained ones.
    out
        The file to write, ``both-seed0.h5``. Until it is finished, ``both-seed0.h5.partial`` and
        ``both-seed0.h5.state`` stand in its place.
    stimuli
        File of stimuli (``python -m datasets.prepare``); validation and test are dumped.
    seed
        Seeds initialisation, batch order, dropout and the draws of partial rates. Runs of one seed
        that differ only in `train_on` start with equal hidden layers and see the same batches.
    progress
        Called with the steps done and the steps in all.
    overwrite
        Replace an existing file.
    resume
        Keep a finished file and go on with an unfinished one, to the same numbers, bit for bit, as
        if it had never stopped.

    Returns
    -------
    pathlib.Path
        The finished file.

    Warns
    -----
    NotLearnedWarning
        A feature ends below ``config.training.threshold`` on the test stimuli. The file says the
        same, per checkpoint, in ``/outputs/learned``.

    Raises
    ------
    ParameterError, FeatureError, StimulusError
        The stimuli do not serve these settings.
    StoreError
        A file cannot be read or written, or `out` exists, or what is there to resume is of other
        settings.

    Notes
    -----
    The same seed gives the same numbers for the same versions and ``torch.get_num_threads()``,
    both of which are in the file's provenance. torch's global generator is left as it was.
    """

    def told(_: int, step: int, total: int) -> None:
        if progress is not None:
            progress(step, total)

    train_runs(
        config,
        {seed: Path(out)},
        stimuli=stimuli,
        progress=told,
        overwrite=overwrite,
        resume=resume,
    )
    warn_not_learned("run", [Path(out)])
    return Path(out)


def train_runs(
    config: RunConfig,
    outs: Mapping[int, Path],
    *,
    stimuli: str | Path,
    progress: Callable[[int, int, int], None],
    overwrite: bool = False,
    resume: bool = False,
) -> None:
    """Do what :func:`run` does for several seeds, side by side, without the warning.

    Parameters
    ----------
    config, stimuli, overwrite, resume
        As in :func:`run`.
    outs
        Seed -> file.
    progress
        Called with the seed, the steps done and the steps in all.
    """
    if overwrite and resume:
        raise ParameterError(
            "run: overwrite and resume are both on. Resume keeps what overwrite would replace: "
            "choose one."
        )
    check_seeds(tuple(outs))
    shown = load_stimuli(stimuli)
    check_batch(config, shown)
    sources = {
        seed: {**settings(config, seed, Path(stimuli), shown), "threads": torch.get_num_threads()}
        for seed in outs
    }
    last = config.training.checkpoints[-1]
    todo: dict[tuple[str, ...], dict[int, Path]] = {}  # networks of one order of outputs
    for seed, out in outs.items():
        if resume and is_finished(out, sources[seed]):
            drop_state(out)  # a kill between the last rename and this leaves it
            progress(seed, last, last)
        else:
            todo.setdefault(config.outputs(seed), {})[seed] = out
    for features, group in todo.items():
        lesson = Lesson.of(shown, features)
        learners, dumps = [], {}
        with ExitStack() as stack:
            stack.enter_context(torch.random.fork_rng(devices=[]))
            for seed, out in group.items():
                learner = Learner(config, seed, lesson)
                if not resume:
                    drop_state(out)
                elif state := load_state(out):
                    _check_same(out, _exactly(sources[seed]), state["source"])
                    learner.restore(state)
                dump = Dump(out, learner, shown, sources[seed], overwrite=overwrite, resume=resume)
                dumps[seed] = stack.enter_context(dump)
                learners.append(learner)
                progress(seed, learner.step, last)
            _train(learners, lesson, dumps, group, sources, progress)


def _train(
    learners: list[Learner],
    lesson: Lesson,
    dumps: Mapping[int, Dump],
    outs: Mapping[int, Path],
    sources: Mapping[int, Mapping[str, Any]],
    progress: Callable[[int, int, int], None],
) -> None:
    """Train networks of one order of outputs, each into its file and with its state beside it."""

    def look(learner: Learner) -> None:
        seed = learner.seed
        dumps[seed].write(learner)
        if not learner.over:
            source = to_json(_exactly(sources[seed]))
            save_state(outs[seed], {**learner.state(), "source": source})
            return
        dumps[seed].close()
        drop_state(outs[seed])
        if learner.step < last:
            progress(seed, learner.step, learner.step)

    def told(learner: Learner) -> None:
        progress(learner.seed, learner.step, last)

    last = learners[0].config.training.checkpoints[-1]
    train(learners, lesson, look, told)


def settings(config: RunConfig, seed: int, stimuli: Path, shown: Stimuli) -> dict[str, Any]:
    """What a run's numbers follow from, for the provenance of its file."""
    return {
        "config": settings_of(config),
        "seed": seed,
        "stimuli": {"file": stimuli.name, "sha256": shown.digest},
    }


def is_finished(out: Path, source: Mapping[str, Any]) -> bool:
    """Whether a run's file is there; refuse one, or a state, of other settings.

    Parameters
    ----------
    out
        The file of the run.
    source
        Its :func:`settings`; other entries are not compared.

    Raises
    ------
    StoreError
        What is there was made by other settings, another seed or from other stimuli.
    """
    source = {name: source[name] for name in ("config", "seed", "stimuli")}
    if out.exists():
        with store.open(out) as tree:
            _check_same(out, source, tree.attrs["provenance"])
        return True
    if state := load_state(out):
        _check_same(out, source, state["source"])
    return False


def _exactly(source: Mapping[str, Any]) -> dict[str, Any]:
    """Settings, and what else the bits of the numbers depend on."""
    return {**source, "torch": torch.__version__}


def _check_same(out: Path, wanted: Mapping[str, Any], held_json: str) -> None:
    held = from_json(held_json)
    for name, ours in from_json(to_json(wanted)).items():  # tuples are lists there
        theirs = held.get(name)
        if name == "stimuli" and theirs:  # the name of their file does not matter
            ours, theirs = ours["sha256"][:8], str(theirs.get("sha256"))[:8]
        if ours != theirs:
            facts = _difference(name, theirs, ours)
            raise StoreError(
                f"run: {out.name} cannot be resumed, it was made with {facts}. Use another folder, "
                "or overwrite it."
            )


def _difference(name: str, held: object, wanted: object) -> str:
    """The first setting that differs, as the file has it and as it is wanted."""
    if isinstance(held, Mapping) and isinstance(wanted, Mapping):
        for key in sorted({*held, *wanted}):
            if held.get(key) != wanted.get(key):
                return _difference(f"{name}.{key}", held.get(key), wanted.get(key))
    return f"{name} {json.dumps(held)}, not {json.dumps(wanted)}"


def check_batch(config: RunConfig, shown: Stimuli) -> None:
    """Refuse a batch that the training stimuli cannot fill: no step would ever be taken."""
    if config.training.batch > (n := shown.train.sizes["stimulus"]):
        raise ParameterError(
            f"run: training.batch is {config.training.batch}, but there are {n} training stimuli. "
            "Use a smaller batch."
        )


def final_accuracy(path: str | Path) -> dict[str, tuple[float, bool]]:
    """Read a run's balanced test accuracy at its last step, and whether that counts as learned."""
    with store.open(path) as tree:
        outputs = tree["outputs"].dataset
        last = outputs["accuracy"].isel(step=-1).load()
        learned = outputs["learned"].isel(step=-1).load()
    return {
        str(name): (float(value), bool(flag))
        for name, value, flag in zip(
            last["feature"].values, last.values, learned.values, strict=True
        )
    }


def warn_not_learned(function: str, paths: list[Path]) -> None:
    """Warn, once, of all features that were not learned in these runs."""
    missed = [
        f"{path.stem} ends with {name!r} at {accuracy:.2%}"
        for path in paths
        for name, (accuracy, learned) in final_accuracy(path).items()
        if not learned
    ]
    if missed:
        warnings.warn(
            f"{function}: not learned: {'; '.join(missed)} balanced test accuracy. "
            "These runs do not count: train longer (training.checkpoints) or otherwise.",
            NotLearnedWarning,
            stacklevel=3,
        )
