"""Where the next batch belongs, and what is wrong when it does not come in order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import schema
from ..arrays import to_host
from ..entering import door
from ..errors import ParameterError, StimulusError, some
from . import inputs
from .raw import Array


@dataclass(frozen=True)
class Place:
    """Position of a batch: the index of its step, its first stimulus, its number in the step."""

    step_index: int
    start: int
    slot: int

    @property
    def opens_step(self) -> bool:
        """Whether this is the first batch of its step."""
        return self.slot == 0


@dataclass(frozen=True)
class Written:
    """What a Writer's file holds.

    Attributes
    ----------
    steps
        The steps that are complete; empty where batches have no step.
    begun
        The step after them, where some of its stimuli are there. The first step of stimuli that
        become known batch by batch counts as begun until the next begins.
    stimuli
        Leading stimuli of the step that was begun, or of a file without steps.
    """

    steps: tuple[int, ...]
    begun: int | None
    stimuli: int


class Order:
    """Keeps count of steps and stimuli; nothing moves until :meth:`advance`."""

    def __init__(self, stimulus: Array | None, steps: Array | None) -> None:
        self.planned = None if stimulus is None else stimulus.tolist()
        self.schedule = None if steps is None else steps.tolist()
        self.labels: list[Any] = list(self.planned or [])  # grows where nothing is planned
        self._index = {label: i for i, label in enumerate(self.labels)}
        self.values: list[int] = []  # the steps begun so far
        self.rows = 0  # stimuli committed in the present step
        self.slot = 0
        self.has_step: bool | None = True if steps is not None else None

    def restore(
        self, values: Sequence[int], labels: Sequence[Any], rows: int, slot: int, *, stepped: bool
    ) -> None:
        """Go on where a leftover ends."""
        self.values, self.rows, self.slot = list(values), rows, slot
        self.has_step = stepped
        if self.planned is None:
            self.labels = list(labels)
            self._index = {label: i for i, label in enumerate(self.labels)}

    @property
    def written(self) -> Written:
        """What is complete, and what was begun."""
        if not self.has_step or not self.values:
            return Written((), None, self.rows)
        known = self.planned is not None or len(self.values) > 1
        if known and self.rows == self.total:
            return Written(tuple(self.values), None, 0)
        return Written(tuple(self.values[:-1]), self.values[-1], self.rows)

    @property
    def total(self) -> int:
        """Number of stimuli that a whole step has, as far as it is known."""
        return len(self.labels)

    def place(self, step: int | None, stimulus: Any, rows: int) -> tuple[Place, Array | None]:
        """Find where a batch belongs; also its labels, where it brings new ones."""
        self.check_use(step)
        new = step is not None and (not self.values or step != self.values[-1])
        if new:
            self._check_next(int(step))  # type: ignore[arg-type]
        start, slot = (0, 0) if new else (self.rows, self.slot)
        growing = self.planned is None and len(self.values) + new <= 1
        labels = self._new_labels(stimulus, rows, start) if growing else None
        if not growing:
            self.check_known(step, stimulus, start, rows)
        index = max(len(self.values) - (not new), 0)
        return Place(index, start, slot), labels

    def advance(self, place: Place, step: int | None, labels: Array | None, rows: int) -> None:
        """Take note of a batch that is being written."""
        self.has_step = step is not None
        if step is not None and place.opens_step:
            self.values.append(int(step))
        self.rows, self.slot = place.start + rows, place.slot + 1
        if labels is not None:
            for label in labels.tolist():
                self._index[label] = len(self.labels)
                self.labels.append(label)

    def arranged(self, labels: Array, what: str) -> Array:
        """Labels of a batch in the order of the file; new ones stay as they come."""
        unknown = [label for label in labels.tolist() if label not in self._index]
        if unknown and self.planned is not None:
            raise StimulusError(
                f"{what} has {len(unknown)} stimuli that this file lacks: {some(unknown)}. "
                "Append those of Writer(stimulus=...)."
            )
        if unknown:
            return labels
        return labels[np.argsort([self._index[label] for label in labels.tolist()])]

    def next_labels(self, start: int, rows: int) -> Array:
        """Labels of the stimuli that a batch at ``start`` holds."""
        return inputs.labels(self.labels[start : start + rows])

    def position(self, stimulus: Any) -> int | None:
        """Return where a batch of these labels begins; None where the first is unknown."""
        return self._index.get(inputs.labels(stimulus).tolist()[0])

    def check_use(self, step: int | None) -> None:
        """Refuse a step that is no integer, or that is named in some batches only."""
        if step is not None and (
            isinstance(step, (bool, np.bool_)) or not isinstance(step, (int, np.integer))
        ):
            raise ParameterError(f"step {step!r} is not an integer. Pass the step number.")
        if self.has_step is not None and (step is not None) != self.has_step:
            fact = (
                "has no step, earlier batches or steps= have"
                if step is None
                else (f"has step {step}, earlier batches had none")
            )
            raise ParameterError(f"this batch {fact}. Name a step in every batch or in none.")

    def _check_next(self, step: int) -> None:
        if self.values and self.rows < self.total:
            raise ParameterError(
                f"step {step} begins, but step {self.values[-1]} has only {self.rows} of "
                f"{self.total} stimuli. Append the rest of it first."
            )
        if step in self.values:
            raise ParameterError(f"step {step} was written already. Write each step once.")
        if self.schedule is None:
            if self.values and step < self.values[-1]:
                raise ParameterError(
                    f"step {step} comes after step {self.values[-1]}. Write steps in order."
                )
            return
        at = len(self.values)
        expected = self.schedule[at] if at < len(self.schedule) else None
        if step != expected:
            raise ParameterError(
                f"step {step} is not the next of the schedule, which is {expected}. "
                "Write the steps of steps= in order."
            )

    def check_known(self, step: int | None, stimulus: Any, start: int, rows: int) -> None:
        """Refuse stimuli that are too many, or not those that stand at this place."""
        where = "" if step is None else f" at step {step}"
        if start + rows > self.total:
            raise StimulusError(
                f"a batch of {rows} after {start} stimuli{where} is more than the {self.total} of "
                "this file. "
                + (
                    "This step is complete; name the next."
                    if start == self.total
                    else "Pass the stimuli once each."
                )
            )
        if stimulus is None:
            return
        given, expected = inputs.labels(stimulus).tolist(), self.labels[start : start + rows]
        if len(given) != rows:
            raise StimulusError(f"{len(given)} labels for a batch of {rows}. Pass one for each.")
        for i, (have, want) in enumerate(zip(given, expected, strict=True)):
            if have != want:
                raise StimulusError(
                    f"stimulus {have!r} stands at position {start + i}{where}, where {want!r} is "
                    "expected. Append the batches in the order of the stimuli."
                )

    def _new_labels(self, stimulus: Any, rows: int, start: int) -> Array:
        if stimulus is None:
            raise StimulusError(
                f"the batch after {start} stimuli names none of its own. Pass stimulus=labels to "
                "append, or all of them to Writer(stimulus=...)."
            )
        labels = inputs.labels(stimulus)
        if len(labels) != rows:
            raise StimulusError(f"{len(labels)} labels for a batch of {rows}. Pass one for each.")
        if self.labels and isinstance(self.labels[0], str) != (labels.dtype.kind == "O"):
            raise StimulusError(
                f"stimulus {labels.tolist()[0]!r} follows {self.labels[-1]!r}. "
                "Label all stimuli by str, or all by int."
            )
        again = [label for label in labels.tolist() if label in self._index]
        if again:
            raise StimulusError(
                f"stimulus labels must be unique, written before: {some(again)}. "
                "Append every stimulus once."
            )
        return labels


def schedule(steps: Any) -> Array:
    """Check a known schedule of steps."""
    array = to_host(door.read(steps, "steps", (schema.STEP,)))
    if array.ndim != 1 or array.size == 0 or array.dtype.kind not in "iu":
        raise ParameterError(
            f"steps has shape {array.shape} and type {array.dtype}. Pass a list of integers."
        )
    if (np.diff(array.astype("<i8")) <= 0).any():
        raise ParameterError(
            f"steps {some(array.tolist())} do not increase. Pass each step once, in order."
        )
    return array.astype("<i8")
