"""Training steps: networks at the same step, taken on together to the next checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from math import cos, pi

import torch
from torch import Tensor, nn

from .learner import Learner, Lesson
from .objective import loss
from .settings import TrainingConfig
from .stacked import ALIGNED, Stack, stackable

Told = Callable[[Learner], None]


def train(learners: Sequence[Learner], lesson: Lesson, look: Told, told: Told) -> None:
    """Train networks to their ends, side by side where that leaves their numbers as they are.

    Parameters
    ----------
    learners
        Networks of one condition, new or restored.
    lesson
        What they are trained on.
    look
        Called with every learner at every checkpoint, its model in training mode.
    told
        Called with every learner after every step.
    """
    for group in _by_step(learners):
        for company in companies(group, lesson):
            together = Together(company, lesson)
            together.look(look)
            while not any(learner.over for learner in company):
                together.advance(_next(company[0]), told)
                together.look(look)
            train([learner for learner in company if not learner.over], lesson, look, told)


def companies(learners: Sequence[Learner], lesson: Lesson) -> list[list[Learner]]:
    """Put learners at one step into stacks: all in one, or each alone.

    They are stacked where the network has a stacked form, the batch is a multiple of 16, and a
    stack gives each of them, on this machine, the very bits that it has alone. So the numbers of a
    network never depend on who is beside it.
    """
    together = (
        len(learners) > 1
        and stackable(learners[0].model)
        and learners[0].config.training.batch % ALIGNED == 0
        and agree(learners, lesson)
    )
    return [list(learners)] if together else [[learner] for learner in learners]


def agree(learners: Sequence[Learner], lesson: Lesson, steps: int = 4) -> bool:
    """Compare the gradients of a stack with those of each network alone, bit by bit.

    Which kernel of the linear algebra library multiplies depends on shapes, not on numbers, so
    it is `steps` steps on noise that are compared: sums of small whole numbers would be the same in
    any order. Gradients, for a parameter can swallow the last bit of its gradient.
    """
    noise = lesson.noise(steps * learners[0].config.training.batch)
    start = learners[0].step
    stacked = Together([learner.twin(noise) for learner in learners], noise)
    alone = [Together([learner.twin(noise)], noise) for learner in learners]
    for step in range(start, start + steps):
        for together in (stacked, *alone):
            together.advance(step + 1, lambda learner: None)
        rows = zip(stacked.stack.gradient, alone, strict=True)
        if not all(torch.equal(row, other.stack.gradient[0]) for row, other in rows):
            return False
    return True


class Together:
    """Learners at one step as a stack, with one optimizer.

    Parameters
    ----------
    learners
        Networks of equal shape, at the same step.
    lesson
        What they are trained on.
    """

    def __init__(self, learners: Sequence[Learner], lesson: Lesson) -> None:
        self._learners, self._lesson = list(learners), lesson
        self._config = learners[0].config.training
        if not stackable(learners[0].model):  # its layers know no other generator
            (alone,) = learners
            torch.set_rng_state(alone.dropout.get_state())
            alone.dropout = torch.default_generator
        self.stack = Stack([one.model for one in learners], [one.dropout for one in learners])
        self._optimizer = make_optimizer(self.stack.parameters, self._config)
        if names := learners[0].optimizer:
            self._optimizer.state[self.stack.parameters] = {
                name: _join(name, [one.optimizer[name] for one in learners]) for name in names
            }
        self._order: Tensor | None = None  # (network, stimulus) of the epoch
        for one in learners:
            if one.step % one.epoch:
                one.rewind()

    def look(self, look: Told) -> None:
        """Have those learners looked at that stand at a checkpoint and were not."""
        memory = self._optimizer.state.get(self.stack.parameters, {})
        for row, one in enumerate(self._learners):
            if one.step in self._config.checkpoints and one.looked < one.step:
                kept = {name: value for name, value in memory.items() if value is not None}
                one.optimizer = {k: v[row] if v.ndim else v for k, v in kept.items()}
                one.looked = one.step
                look(one)

    def advance(self, end: int, told: Told) -> None:
        """Train up to a step."""
        rates = self._rates()
        phased = bool(self._learners[0].config.phases)
        for step in range(self._learners[0].step, end):
            self._take(step, rates)
            for one in self._learners:
                one.step = step + 1
                one.course.advance(step + 1)
                told(one)
            rates = self._rates() if phased else rates

    def _take(self, step: int, rates: Tensor | None) -> None:
        config, lesson = self._config, self._lesson
        at = step % self._learners[0].epoch * config.batch
        if self._order is None or at == 0:
            count = len(lesson.inputs)
            self._order = torch.stack([one.shuffled(count) for one in self._learners])
        rows = self._order[:, at : at + config.batch]  # (network, stimulus)
        x, answers = _gather(lesson.inputs, rows), _gather(lesson.targets, rows)
        logits = self.stack(x, self._shown(answers, rows))  # (network, stimulus, logit)
        total = loss(logits, answers, lesson.outputs, self._weights(rates, rows))
        self.stack.backward(total / config.batch)  # mean over stimuli, sum over features
        if config.clip is not None:
            for row in self.stack.gradient:
                row.mul_(torch.clamp(config.clip / (torch.linalg.vector_norm(row) + 1e-6), max=1))
        if config.warmup or config.schedule != "constant":
            self._optimizer.param_groups[0]["lr"] = learning_rate(config, step)
        self._optimizer.step()

    def _shown(self, answers: Tensor, rows: Tensor) -> Tensor:
        """Answers that an emitting network is fed: its own (-1) where a label is hidden."""
        if self._lesson.labelled is None:
            return answers
        return answers.masked_fill(_gather(self._lesson.labelled, rows) == 0, -1)

    def _rates(self) -> Tensor | None:
        """Share of stimuli that each output is trained on (network, 1, output); None: all."""
        if not self._learners[0].config.phases:
            return None
        return torch.stack([one.course.rates for one in self._learners])[:, None]

    def _weights(self, rates: Tensor | None, rows: Tensor) -> Tensor | None:
        """Factors of the loss (network, stimulus, output): this phase, its draws, the labels."""
        weights = rates
        if rates is not None and ((rates > 0) & (rates < 1)).any():
            weights = torch.stack(
                [_drawn(one, rates[i], rows.shape[1]) for i, one in enumerate(self._learners)]
            )
        if self._lesson.labelled is not None:
            seen = _gather(self._lesson.labelled, rows)
            weights = seen if weights is None else seen * weights
        return weights


def make_optimizer(parameters: nn.Parameter, config: TrainingConfig) -> torch.optim.Optimizer:
    """Make the optimizer that the config names, in its fused form: one pass over all numbers."""
    rate, decay = config.learning_rate, config.weight_decay
    if config.optimizer in ("sgd", "momentum"):
        momentum = config.momentum if config.optimizer == "momentum" else 0
        return torch.optim.SGD([parameters], rate, momentum, weight_decay=decay, fused=True)
    if config.optimizer == "adam":
        return torch.optim.Adam([parameters], rate, weight_decay=decay, fused=True)
    return torch.optim.AdamW([parameters], rate, weight_decay=decay, fused=True)


def learning_rate(config: TrainingConfig, step: int) -> float:
    """Learning rate of the step after `step` steps.

    Examples
    --------
    >>> config = TrainingConfig(learning_rate=1, warmup=4, schedule="cosine", checkpoints=(12,))
    >>> [round(learning_rate(config, step), 2) for step in (0, 1, 3, 4, 8, 11)]
    [0.25, 0.5, 1.0, 1.0, 0.5, 0.04]
    """
    if step < config.warmup:
        return config.learning_rate * (step + 1) / config.warmup
    if config.schedule == "constant":
        return config.learning_rate
    done = (step - config.warmup) / (config.checkpoints[-1] - config.warmup)
    return config.learning_rate * (1 + cos(pi * done)) / 2


def _by_step(learners: Sequence[Learner]) -> list[list[Learner]]:
    """Learners of equal step, those furthest behind first."""
    ordered = sorted(learners, key=lambda one: one.step)
    return [list(group) for _, group in groupby(ordered, key=lambda one: one.step)]


def _next(learner: Learner) -> int:
    """The checkpoint after the learner's step."""
    return next(c for c in learner.config.training.checkpoints if c > learner.step)


def _gather(values: Tensor, rows: Tensor) -> Tensor:
    """Rows (network, stimulus) of values (stimulus, ...)."""
    return values.index_select(0, rows.reshape(-1)).view(*rows.shape, *values.shape[1:])


def _join(name: str, rows: Sequence[Tensor]) -> Tensor:
    """What the optimizer remembers of several networks; its count of steps is one for all."""
    return rows[0].clone() if rows[0].ndim == 0 else torch.stack(list(rows))


def _drawn(learner: Learner, rates: Tensor, batch: int) -> Tensor:
    """Which stimuli of a batch each output is trained on (stimulus, output), 1 or 0."""
    if not ((rates > 0) & (rates < 1)).any():
        return rates.expand(batch, -1)
    return (torch.rand(batch, rates.shape[1], generator=learner.masks) < rates).to(rates.dtype)
