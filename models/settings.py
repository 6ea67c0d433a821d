"""What one run is: the features it answers, its training in phases, and what of it is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from reptools.errors import ParameterError

from .architectures.mlp import MLPConfig

OPTIMIZERS = ("sgd", "momentum", "adam", "adamw")
SCHEDULES = ("constant", "cosine")
ORDERS = ("as_listed", "rotate")


@dataclass(frozen=True)
class TrainingConfig:
    """How a network is trained and when it is looked at.

    The loss is the cross-entropy, summed over the features trained on, so a feature's gradient is
    the same whether or not others are learned beside it, and averaged over all stimuli of the
    batch: a feature trained on 10 % of the stimuli gets 10 % of the gradient.

    Parameters
    ----------
    optimizer
        ``"sgd"``, ``"momentum"`` (SGD with it), ``"adam"`` or ``"adamw"``.
    learning_rate, momentum, weight_decay
        Of the optimizer; `momentum` belongs to ``"momentum"`` only. The decay is decoupled from the
        gradient in ``"adamw"`` and an L2 penalty elsewhere; it acts on all parameters.
    schedule, warmup
        The learning rate rises linearly over the first `warmup` steps and is ``"constant"`` from
        then on, or falls to 0 at the last checkpoint along half a ``"cosine"``.
    clip
        Largest L2 norm of the gradient over all parameters; a longer one is scaled down to it.
        None: never.
    batch
        Stimuli per step. Each epoch reshuffles the training stimuli and leaves out the remainder.
    checkpoints
        Steps after which activations are dumped, increasing. Step 0 is the untrained network, and
        training ends with the last one.
    beyond
        Ends the run earlier: at the first checkpoint at least this many steps after the one at
        which, in the last phase, all features trained on first reach the threshold together on
        the validation stimuli. None: at the last checkpoint.
    threshold
        Balanced accuracy from which a feature counts as learned.

    Raises
    ------
    ParameterError
        A value out of its range.
    """

    optimizer: str = "adam"
    learning_rate: float = 1e-3
    momentum: float = 0.9
    weight_decay: float = 0.0
    schedule: str = "constant"
    warmup: int = 0
    clip: float | None = None
    batch: int = 512
    checkpoints: tuple[int, ...] = (0, 2560)
    beyond: int | None = None
    threshold: float = 0.99

    def __post_init__(self) -> None:
        for name, allowed in (("optimizer", OPTIMIZERS), ("schedule", SCHEDULES)):
            if (value := getattr(self, name)) not in allowed:
                raise ParameterError(f"TrainingConfig: {name} is {value!r}. Use one of {allowed}.")
        whole = "that is whole and of at least"
        for name, fits, words in [
            ("learning_rate", self.learning_rate > 0, "above 0"),
            ("momentum", 0 <= self.momentum < 1, "from 0 to below 1"),
            ("weight_decay", self.weight_decay >= 0, "of at least 0"),
            ("warmup", type(self.warmup) is int and self.warmup >= 0, f"{whole} 0"),
            ("clip", self.clip is None or self.clip > 0, "above 0, or leave it out"),
            ("batch", type(self.batch) is int and self.batch > 0, "that is whole and above 0"),
            ("beyond", self.beyond is None or _counts(self.beyond, 0), f"{whole} 0"),
            ("threshold", 0.5 < self.threshold <= 1, "above 0.5, to 1"),
        ]:
            if not fits:
                raise ParameterError(
                    f"TrainingConfig: {name} is {getattr(self, name)!r}. Give a number {words}."
                )
        steps = self.checkpoints
        if not steps or any(not _counts(step, 0) for step in steps):
            raise ParameterError(
                f"TrainingConfig: checkpoints is {steps!r}. List steps from 0 on: (0, 100, 1000)."
            )
        if any(b <= a for a, b in pairwise(steps)):
            raise ParameterError(
                f"TrainingConfig: checkpoints is {steps!r}. Order the steps, each once."
            )


@dataclass(frozen=True)
class Phase:
    """A stretch of training, in which some features get a gradient and others none.

    Parameters
    ----------
    train
        The features trained in this phase.
    rates
        Feature -> share of the stimuli that it is trained on in this phase, drawn for every batch
        anew and for every feature by itself; 1 where none is named. The loss stays the mean over
        the whole batch, so a rate of 0.1 leaves 10 % of the gradient.
    steps
        Length of the phase.
    until
        ``"learned"``: the phase ends at the first checkpoint at which all its features reach the
        threshold on the validation stimuli. Every phase but the last has `steps` or `until`;
        the last goes on to the end of the run.

    Raises
    ------
    ParameterError
        A value out of its range.
    """

    train: tuple[str, ...]
    rates: Mapping[str, float] = field(default_factory=dict)
    steps: int | None = None
    until: str | None = None

    def __post_init__(self) -> None:
        if not self.train or len(set(self.train)) < len(self.train):
            raise ParameterError(
                f"Phase: train is {self.train!r}. Name at least one feature, each once."
            )
        if not isinstance(self.rates, Mapping):
            raise ParameterError(f"Phase: rates is {self.rates!r}. Write a table, feature = share.")
        if unknown := sorted(set(self.rates) - set(self.train)):
            raise ParameterError(
                f"Phase: rates names {unknown}, but the phase trains {list(self.train)}. "
                "Give rates to features of train."
            )
        for name, rate in self.rates.items():
            if not 0 < rate <= 1:
                raise ParameterError(
                    f"Phase: the rate of {name!r} is {rate!r}. Give a share above 0, to 1, or "
                    "leave the feature out of train."
                )
        if self.steps is not None and not _counts(self.steps, 1):
            raise ParameterError(f"Phase: steps is {self.steps!r}. Give a whole number from 1.")
        if self.until not in (None, "learned"):
            raise ParameterError(f'Phase: until is {self.until!r}. Write until = "learned".')
        if self.steps is not None and self.until is not None:
            raise ParameterError(
                f"Phase: it ends after {self.steps} steps and when {self.until}. Give one of them."
            )


@dataclass(frozen=True)
class DumpConfig:
    """What is written at a checkpoint.

    Parameters
    ----------
    layers
        Names of the layers whose activations are written; none named: all of them. Accuracy,
        answers and readout are always written.
    """

    layers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(set(self.layers)) < len(self.layers):
            raise ParameterError(f"DumpConfig: layers is {self.layers!r}. Name each layer once.")


@dataclass(frozen=True)
class RunConfig:
    """One condition's network: what it is trained to answer, shape, training and dump.

    Parameters
    ----------
    name
        Of the condition; files are named after it.
    train_on
        The features answered, in the order of the outputs and of emission.
    model
        Configuration of the architecture (:data:`models.architectures.ARCHITECTURES`).
    training, dump
        How it is trained and what of it is written.
    phases
        Stretches of training; none named: one, in which everything is trained together.
    order
        ``"as_listed"``, or ``"rotate"``: the outputs of the network of seed s are `train_on`
        rotated by s places, so that over as many successive seeds as features every feature
        stands once at every place (a Latin square).

    Raises
    ------
    ParameterError
        The settings do not hold together.
    """

    name: str
    train_on: tuple[str, ...]
    model: Any = field(default_factory=MLPConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    phases: tuple[Phase, ...] = ()
    order: str = "as_listed"
    dump: DumpConfig = field(default_factory=DumpConfig)

    def __post_init__(self) -> None:
        if not self.train_on or len(set(self.train_on)) < len(self.train_on):
            raise ParameterError(
                f"RunConfig: {self.name!r} trains on {self.train_on!r}. "
                "Name at least one feature, each once."
            )
        if self.order not in ORDERS:
            raise ParameterError(
                f"RunConfig: order of {self.name!r} is {self.order!r}. Use one of {ORDERS}."
            )
        self._check_phases()

    def _check_phases(self) -> None:
        where = f"RunConfig: phase {{}} of {self.name!r}"
        for number, phase in enumerate(self.phases, start=1):
            if unknown := sorted(set(phase.train) - set(self.train_on)):
                raise ParameterError(
                    f"{where.format(number)} trains {unknown}, but train_on is "
                    f"{list(self.train_on)}. Name them there too."
                )
            last, ends = number == len(self.phases), (phase.steps or phase.until) is not None
            if last and ends:
                raise ParameterError(
                    f"{where.format(number)} is the last and ends by itself. Drop its steps or "
                    "until: the run ends by training.checkpoints and training.beyond."
                )
            if not last and not ends:
                raise ParameterError(
                    f'{where.format(number)} never ends. Give it steps = N or until = "learned".'
                )
        trained = {name for phase in self.phases for name in phase.train}
        if self.phases and (never := sorted(set(self.train_on) - trained)):
            raise ParameterError(
                f"RunConfig: no phase of {self.name!r} trains {never}. Add them to one, or drop "
                "them from train_on."
            )

    def outputs(self, seed: int) -> tuple[str, ...]:
        """The features in the order of the outputs of the network of a seed."""
        turn = seed % len(self.train_on) if self.order == "rotate" else 0
        return self.train_on[turn:] + self.train_on[:turn]


def _counts(value: object, least: int) -> bool:
    """Whether a value is a whole number of at least `least`; True and False are none."""
    return type(value) is int and value >= least
