"""One network in training: all that its further numbers depend on, to be kept and restored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .architectures import make_model
from .phases import Course
from .settings import RunConfig
from .stimuli import Stimuli, labelled, tensors


@dataclass(frozen=True)
class Lesson:
    """What networks of one output order are trained on.

    Attributes
    ----------
    inputs, targets
        Training stimuli (stimulus, ...) and their true values (stimulus, output), int64.
    labelled
        Which of these values may be trained on (stimulus, output), 1 or 0; None: all.
    outputs
        Number of classes of each output.
    """

    inputs: Tensor
    targets: Tensor
    labelled: Tensor | None
    outputs: tuple[int, ...]

    @classmethod
    def of(cls, stimuli: Stimuli, features: Sequence[str]) -> Lesson:
        """Take the training stimuli, with these features in the order of the outputs."""
        outputs = stimuli.classes(features)
        part = stimuli.train
        return cls(*tensors(part, features), labelled(part, features), outputs)

    def noise(self, count: int) -> Lesson:
        """Make a lesson of these shapes that teaches nothing: normal inputs, random answers."""
        draw = torch.Generator().manual_seed(0)
        inputs = torch.randn(count, *self.inputs.shape[1:], generator=draw)
        answers = [torch.randint(k, (count,), generator=draw) for k in self.outputs]
        return Lesson(inputs, torch.stack(answers, dim=1), None, self.outputs)


class Learner:
    """A network, its generators, its course and what its optimizer remembers.

    Parameters
    ----------
    config
        The run's settings.
    seed
        Seeds initialisation, batch order, dropout and the draws of partial rates.
    lesson
        Sets the shapes of input and outputs.
    """

    def __init__(self, config: RunConfig, seed: int, lesson: Lesson) -> None:
        self.config, self.seed = config, seed
        self.features = config.outputs(seed)
        self.course = Course(config, self.features)
        self.step = 0
        self.looked = -1  # the last checkpoint that is in the file
        self.epoch = len(lesson.inputs) // config.training.batch  # in steps
        self.optimizer: dict[str, Tensor] = {}  # what it remembers, as rows of a stack
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.model = make_model(config.model, tuple(lesson.inputs.shape[1:]), lesson.outputs)
            self.dropout = torch.Generator().set_state(torch.get_rng_state())
        self.shuffle = torch.Generator().manual_seed(seed)
        # another stream than that of the batches: a mask must not follow the order of stimuli
        drawn = np.random.SeedSequence([seed, 1]).generate_state(1, np.uint64)
        self.masks = torch.Generator().manual_seed(int(drawn[0] >> np.uint64(1)))
        self._epoch = self.shuffle.get_state()  # where the present epoch's order is drawn from

    @property
    def over(self) -> bool:
        """Whether this network has come to its end."""
        return self.looked == self.step and self.course.over(self.step)

    def shuffled(self, count: int) -> Tensor:
        """Draw the order of the stimuli in the next epoch."""
        self._epoch = self.shuffle.get_state()
        return torch.randperm(count, generator=self.shuffle)

    def rewind(self) -> None:
        """Let the next draw be the present epoch's order again."""
        self.shuffle.set_state(self._epoch)

    def twin(self, lesson: Lesson) -> Learner:
        """Make another learner that will come to the same numbers."""
        twin = Learner(self.config, self.seed, lesson)
        twin.restore(self.state())
        return twin

    def state(self) -> dict[str, Any]:
        """All that :meth:`restore` needs."""
        used_up = self.step % self.epoch == 0  # the epoch's order: the next is drawn then
        return {
            "step": self.step,
            "looked": self.looked,
            "course": self.course.state(),
            "model": {name: value.clone() for name, value in self.model.state_dict().items()},
            "optimizer": {name: value.clone() for name, value in self.optimizer.items()},
            "dropout": self.dropout.get_state(),
            "masks": self.masks.get_state(),
            "shuffle": self.shuffle.get_state() if used_up else self._epoch,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Become the network that the state was taken of."""
        self.step, self.looked = state["step"], state["looked"]
        self.course.restore(state["course"])
        self.model.load_state_dict(state["model"])
        self.optimizer = dict(state["optimizer"])
        self.dropout.set_state(state["dropout"])
        self.masks.set_state(state["masks"])
        self.shuffle.set_state(state["shuffle"])
        self._epoch = state["shuffle"]
