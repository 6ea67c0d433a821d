"""Training: ten seeds of an MLP as the training stage does it, and one after another."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from .rows import Contender, Row

Array = np.ndarray[Any, Any]
RATE = 1e-3
EARLY = 12  # steps after which logits are compared: later, Adam makes much of a last bit at a ReLU
SHOWN = 256  # stimuli whose logits are


def stimuli(
    folder: Path, *, widths: str, batch: int, seeds: int, steps: int, n: int, units: int
) -> dict[str, Any]:
    """Binary inputs (stimulus, unit), an easy and a hard feature (stimulus, output)."""
    inputs = np.random.default_rng(0).integers(0, 2, (n, units))
    hard = inputs[:, 1:4].sum(axis=1) % 2
    return {
        "inputs": inputs.astype(np.float32),
        "targets": np.stack([inputs[:, 0], hard], axis=1),
        "shape": tuple(map(int, widths.split("-"))),
        "batch": batch,
        "seeds": seeds,
        "steps": steps,
    }


def stage(
    inputs: Array, targets: Array, shape: tuple[int, ...], batch: int, seeds: int, steps: int
) -> Callable[[], Any]:
    """All of a condition's training but its files: the check that a stack changes no bit too."""
    import torch

    from models.architectures.mlp import MLPConfig
    from models.learner import Learner, Lesson
    from models.settings import RunConfig, TrainingConfig
    from models.steps import train

    lesson = Lesson(torch.from_numpy(inputs), torch.from_numpy(targets), None, (2, 2))
    training = TrainingConfig(
        optimizer="adam", learning_rate=RATE, batch=batch, checkpoints=(EARLY, steps)
    )
    config = RunConfig("both", ("easy", "hard"), MLPConfig(shape), training)

    def act() -> list[Any]:
        early = []

        def look(learner: Learner) -> None:
            if learner.step == EARLY:
                with torch.no_grad():
                    early.append(learner.model(lesson.inputs[:SHOWN]).numpy())

        learners = [Learner(config, seed, lesson) for seed in range(seeds)]
        train(learners, lesson, look, lambda learner: None)
        return early

    return act


def plain_loop(
    inputs: Array, targets: Array, shape: tuple[int, ...], batch: int, seeds: int, steps: int
) -> Callable[[], Any]:
    """What one writes by hand; the same first parameters, batches and loss."""
    import torch
    from torch import nn

    x, y = torch.from_numpy(inputs), torch.from_numpy(targets).float()

    def one(seed: int) -> Any:
        torch.manual_seed(seed)
        layers: list[nn.Module] = []
        for before, width in pairwise((x.shape[1], *shape)):
            layers += [nn.Linear(before, width), nn.ReLU()]
        model = nn.Sequential(*layers, nn.Linear(shape[-1], y.shape[1]))
        optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
        loss = nn.BCEWithLogitsLoss(reduction="sum")  # over features; the mean over stimuli
        shuffle = torch.Generator().manual_seed(seed)
        early, epoch = None, len(x) // batch
        for step in range(steps):
            if step % epoch == 0:
                order = torch.randperm(len(x), generator=shuffle)
            if step == EARLY:
                with torch.no_grad():
                    early = model(x[:SHOWN]).numpy()
            rows = order[step % epoch * batch :][:batch]
            optimizer.zero_grad()
            (loss(model(x[rows]), y[rows]) / batch).backward()
            optimizer.step()
        return early

    return lambda: [one(seed) for seed in range(seeds)]


def products(
    inputs: Array, targets: Array, shape: tuple[int, ...], batch: int, seeds: int, steps: int
) -> Callable[[], Any]:
    """The products of all steps, batched over seeds: of each layer forwards, and two backwards."""
    import torch

    widths = (inputs.shape[1], *shape, targets.shape[1])
    units = [torch.randn(seeds, batch, width) for width in widths]
    weights = [torch.randn(seeds, b, a) for a, b in pairwise(widths)]

    def act() -> None:
        for _ in range(steps):
            for i, weight in enumerate(weights):
                torch.bmm(units[i], weight.transpose(1, 2))
                torch.bmm(units[i + 1].transpose(1, 2), units[i])
                if i:  # the inputs have no gradient
                    torch.bmm(units[i + 1], weight)

    return act


def rows(quick: bool) -> list[Row]:
    base = "16-8" if quick else "256-128-64-64"
    return [
        _row(quick, base, 512, 200, target=3.1),
        _row(quick, base, 64, 400, target=3.1),
        _row(quick, "8-8" if quick else "64-32-32", 64, 1000, target=3.1),
    ]


def _row(quick: bool, widths: str, batch: int, steps: int, target: float) -> Row:
    return Row(
        work="training by Adam, two features",
        inputs=stimuli,
        sizes={
            "widths": widths,
            "batch": 32 if quick else batch,
            "seeds": 3 if quick else 10,
            "steps": 24 if quick else steps,
            "n": 256 if quick else 4096,
            "units": 24,
        },
        ours=Contender("reptools", stage),
        limit=Contender("its products, batched", products),
        # in our environment: the same build of torch
        peers=(Contender("torch plain loop", plain_loop, target=target),),
        tolerance=1e-3,
        bound="the products, which a plain loop takes as well, then ReLU and page faults",
    )
