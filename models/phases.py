"""One network's way through the phases of its training: what is trained now, and when it ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from .settings import Phase, RunConfig


class Course:
    """Where a network stands in its phases; whole numbers that a resumed run continues from.

    Parameters
    ----------
    config
        The run's phases, checkpoints, threshold and `beyond`.
    outputs
        The features in the order of the outputs.
    """

    def __init__(self, config: RunConfig, outputs: Sequence[str]) -> None:
        self._phases = config.phases or (Phase(tuple(outputs)),)
        self._outputs = tuple(outputs)
        self._training = config.training
        self.phase = 0  # the present one
        self.began = 0  # the step at which it did
        self.learned = -1  # the checkpoint at which all features were, in the last phase

    @property
    def rates(self) -> Tensor:
        """Share of the stimuli that each output is trained on now (output,); 0: not trained."""
        phase = self._phases[self.phase]
        shares = [phase.rates.get(name, 1.0) * (name in phase.train) for name in self._outputs]
        return torch.tensor(shares)

    def advance(self, step: int) -> None:
        """Go on to the next phase where the present one lasts a number of steps."""
        if step - self.began == self._phases[self.phase].steps:
            self._begin(step)

    def look(self, step: int, accuracy: Mapping[str, float]) -> None:
        """Take note of the accuracy on the validation stimuli at a checkpoint."""
        phase, threshold = self._phases[self.phase], self._training.threshold
        if phase.until and all(accuracy[name] >= threshold for name in phase.train):
            self._begin(step)
        last = self.phase == len(self._phases) - 1
        if last and self.learned < 0 and min(accuracy.values()) >= threshold:
            self.learned = step

    def over(self, step: int) -> bool:
        """Whether the run ends at this checkpoint."""
        beyond = self._training.beyond
        enough = beyond is not None and 0 <= self.learned <= step - beyond
        return enough or step == self._training.checkpoints[-1]

    def state(self) -> dict[str, int]:
        """What :meth:`restore` needs."""
        return {"phase": self.phase, "began": self.began, "learned": self.learned}

    def restore(self, state: Mapping[str, int]) -> None:
        """Stand where another course stood."""
        self.phase, self.began = state["phase"], state["began"]
        self.learned = state["learned"]

    def _begin(self, step: int) -> None:
        self.phase, self.began = self.phase + 1, step
