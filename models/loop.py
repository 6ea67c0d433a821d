"""Train one network and dump what it represents at every checkpoint, into one file."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor, nn

from reptools import store
from reptools.errors import NotLearnedWarning, ParameterError

from .config import RunConfig, TrainingConfig, check_seeds
from .dump import Dump
from .mlp import MLP
from .stimuli import Stimuli, load_stimuli, tensors

Progress = Callable[[int, int], None]  # (steps done, steps in all)


def run(
    config: RunConfig,
    out: str | Path,
    *,
    stimuli: str | Path,
    seed: int,
    progress: Progress | None = None,
    overwrite: bool = False,
) -> Path:
    """Train one network and write its activations at every checkpoint.

    Parameters
    ----------
    config
        Shape, training, and the features trained on. The file holds all features of the stimuli;
        outputs, readout and accuracy are those of the trained ones.
    out
        The file to write, ``both-seed0.h5``.
    stimuli
        File of stimuli (``python -m datasets.prepare``); validation and test are dumped.
    seed
        Seeds initialisation, batch order and dropout. Runs of one seed that differ only in
        `train_on` start with equal hidden layers and see the same batches.
    progress
        Called with the steps done and the steps in all.
    overwrite
        Replace an existing file.

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
        A file cannot be read or written, or `out` exists.

    Notes
    -----
    The same seed gives the same numbers for the same versions and ``torch.get_num_threads()``,
    both of which are in the file's provenance. torch's global generator is left as it was.
    """
    path = train(config, out, stimuli=stimuli, seed=seed, progress=progress, overwrite=overwrite)
    warn_not_learned("run", [path])
    return path


def train(
    config: RunConfig,
    out: str | Path,
    *,
    stimuli: str | Path,
    seed: int,
    progress: Progress | None,
    overwrite: bool,
) -> Path:
    """Do what :func:`run` does, without the warning."""
    check_seeds((seed,))
    shown = load_stimuli(stimuli)
    check_batch(config, shown)
    inputs, targets = tensors(shown.train, config.train_on)
    provenance = {
        "config": asdict(config),
        "seed": seed,
        "stimuli": {"file": Path(stimuli).name, "sha256": shown.digest},
        "threads": torch.get_num_threads(),
    }
    # Initialisation and dropout draw from torch's global generator only: fork it.
    with (
        torch.random.fork_rng(devices=[]),
        Dump(out, config, seed, shown.held_out, provenance, overwrite=overwrite) as dump,
    ):
        torch.manual_seed(seed)
        model = MLP(inputs.shape[1], targets.shape[1], config.model)
        for step in steps(model, inputs, targets, config.training, seed):
            if step in config.training.checkpoints:
                dump.write(model, step)
            if progress is not None:
                progress(step, config.training.checkpoints[-1])
    return Path(out)


def check_batch(config: RunConfig, shown: Stimuli) -> None:
    """Refuse a batch that the training stimuli cannot fill: no step would ever be taken."""
    if config.training.batch > (n := shown.train.sizes["stimulus"]):
        raise ParameterError(
            f"run: training.batch is {config.training.batch}, but there are {n} training stimuli. "
            "Use a smaller batch."
        )


def steps(
    model: nn.Module, inputs: Tensor, targets: Tensor, config: TrainingConfig, seed: int
) -> Iterator[int]:
    """Train the model in place, yielding the number of steps done: 0 before the first.

    Parameters
    ----------
    model
        Maps inputs (stimulus, unit) to logits (stimulus, output).
    inputs, targets
        Training stimuli (stimulus, unit) and what to answer, 0 or 1 (stimulus, output).
    config
        Optimizer, batch and the last checkpoint, at which training ends.
    seed
        Seeds the order of the batches.
    """
    yield 0
    optimizer = make_optimizer(model, config)
    shuffle = torch.Generator().manual_seed(seed)
    step = 0
    while True:
        order = torch.randperm(len(inputs), generator=shuffle)
        for rows in torch.split(order, config.batch):
            if step == config.checkpoints[-1]:
                return
            if len(rows) < config.batch:
                break
            model.train()
            logits = model(inputs[rows])  # (batch, output)
            loss = nn.functional.binary_cross_entropy_with_logits(
                logits, targets[rows], reduction="sum"
            )
            optimizer.zero_grad()
            torch.autograd.backward(loss / config.batch)  # mean over stimuli, sum over features
            optimizer.step()
            step += 1
            yield step


def make_optimizer(model: nn.Module, config: TrainingConfig) -> torch.optim.Optimizer:
    """Make the optimizer that the config names, over all the model's parameters."""
    rate, decay = config.learning_rate, config.weight_decay
    parameters = model.parameters()
    if config.optimizer == "sgd":
        return torch.optim.SGD(parameters, lr=rate, weight_decay=decay)
    if config.optimizer == "momentum":
        return torch.optim.SGD(parameters, lr=rate, momentum=config.momentum, weight_decay=decay)
    if config.optimizer == "adam":
        return torch.optim.Adam(parameters, lr=rate, weight_decay=decay)
    return torch.optim.AdamW(parameters, lr=rate, weight_decay=decay)


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
