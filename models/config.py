"""What an experiment file says: stimuli, network, training, and which features are trained on."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

from reptools.errors import ParameterError

from .mlp import MLPConfig

OPTIMIZERS = ("sgd", "momentum", "adam", "adamw")
T = TypeVar("T")


@dataclass(frozen=True)
class TrainingConfig:
    """How a network is trained and when it is looked at.

    The loss is the cross-entropy of the logits, summed over the features trained on, so a feature's
    gradient is the same whether or not others are learned beside it.

    Parameters
    ----------
    optimizer
        ``"sgd"``, ``"momentum"`` (SGD with it), ``"adam"`` or ``"adamw"``.
    learning_rate, momentum, weight_decay
        Of the optimizer; `momentum` belongs to ``"momentum"`` only. The decay is decoupled from the
        gradient in ``"adamw"`` and an L2 penalty elsewhere.
    batch
        Stimuli per step. Each epoch reshuffles the training stimuli and leaves out the remainder.
    checkpoints
        Steps after which activations are dumped, increasing. Step 0 is the untrained network, and
        training ends with the last one.
    threshold
        Balanced test accuracy from which a feature counts as learned.

    Raises
    ------
    ParameterError
        A value out of its range.
    """

    optimizer: str = "adam"
    learning_rate: float = 1e-3
    momentum: float = 0.9
    weight_decay: float = 0.0
    batch: int = 512
    checkpoints: tuple[int, ...] = (0, 2560)
    threshold: float = 0.99

    def __post_init__(self) -> None:
        if self.optimizer not in OPTIMIZERS:
            raise ParameterError(
                f"TrainingConfig: optimizer is {self.optimizer!r}. Use one of {OPTIMIZERS}."
            )
        for name, allowed, words in [
            ("learning_rate", self.learning_rate > 0, "above 0"),
            ("momentum", 0 <= self.momentum < 1, "from 0 to below 1"),
            ("weight_decay", self.weight_decay >= 0, "of at least 0"),
            ("batch", type(self.batch) is int and self.batch > 0, "that is whole and above 0"),
            ("threshold", 0.5 < self.threshold <= 1, "above 0.5, to 1"),
        ]:
            if not allowed:
                raise ParameterError(
                    f"TrainingConfig: {name} is {getattr(self, name)!r}. Give a number {words}."
                )
        steps = self.checkpoints
        if not steps or any(type(step) is not int for step in steps) or steps[0] < 0:
            raise ParameterError(
                f"TrainingConfig: checkpoints is {steps!r}. List steps from 0 on: (0, 100, 1000)."
            )
        if any(b <= a for a, b in pairwise(steps)):
            raise ParameterError(
                f"TrainingConfig: checkpoints is {steps!r}. Order the steps, each once."
            )


@dataclass(frozen=True)
class RunConfig:
    """One network: its name, the features it is trained to answer, shape and training."""

    name: str
    train_on: tuple[str, ...]
    model: MLPConfig = field(default_factory=MLPConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)

    def __post_init__(self) -> None:
        if not self.train_on or len(set(self.train_on)) < len(self.train_on):
            raise ParameterError(
                f"RunConfig: {self.name!r} trains on {self.train_on!r}. "
                "Name at least one feature, each once."
            )


@dataclass(frozen=True)
class Experiment:
    """An experiment file: conditions (name -> features trained on) times seeds, all else equal.

    `data` is the kind of stimuli and the options of ``python -m datasets.prepare`` for it, with
    the table ``features``, name -> rule.
    """

    name: str
    data: Mapping[str, Any]
    conditions: Mapping[str, tuple[str, ...]]
    seeds: tuple[int, ...] = (0,)
    model: MLPConfig = field(default_factory=MLPConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)

    def __post_init__(self) -> None:
        if not self.conditions:
            raise ParameterError(
                "Experiment: conditions is empty. Name the features each condition trains on: "
                'both = ["easy", "hard"].'
            )
        features = self.data.get("features")
        if not isinstance(features, Mapping):
            raise ParameterError(
                f"Experiment: data.features is {features!r}. Write a table, name = rule."
            )
        for name, train_on in self.conditions.items():
            if not name.replace("-", "_").isidentifier():
                raise ParameterError(
                    f"Experiment: a condition is named {name!r}. Use letters, digits, '_' and '-', "
                    "for files are named after it."
                )
            if unknown := sorted(set(train_on) - set(features)):
                raise ParameterError(
                    f"Experiment: condition {name!r} trains on {unknown}, but the stimuli have "
                    f"{sorted(features)}. Correct the condition or data.features."
                )
        check_seeds(self.seeds)

    @property
    def runs(self) -> tuple[RunConfig, ...]:
        """The settings of each condition's networks."""
        return tuple(
            RunConfig(name, train_on, self.model, self.training)
            for name, train_on in self.conditions.items()
        )


def check_seeds(seeds: tuple[int, ...]) -> None:
    """Refuse seeds that would train nothing, or one network twice."""
    wrong = any(type(seed) is not int or not 0 <= seed < 2**63 for seed in seeds)
    if not seeds or wrong or len(set(seeds)) < len(seeds):
        raise ParameterError(
            f"Experiment: seeds is {seeds!r}. List whole numbers from 0 on, each once."
        )


def load_experiment(path: str | Path, overrides: Mapping[str, Any] | None = None) -> Experiment:
    """Read an experiment file.

    Parameters
    ----------
    path
        A TOML file with name, seeds and the tables data, model, training and conditions; looked
        for in the models folder too, so ``experiments/complexity_bias.toml`` is found anywhere.
    overrides
        Dotted key -> value in place of the file's: ``{"training.batch": 128}``.

    Raises
    ------
    ParameterError
        No such file, not TOML, an unknown or missing key, or a value out of its range.
    """
    found = next((p for p in (Path(path), Path(__file__).parent / path) if p.is_file()), None)
    if found is None:
        raise ParameterError(
            f"load_experiment: no file {str(path)!r}. Experiments here: "
            f"{sorted(f'experiments/{p.name}' for p in experiment_files())}."
        )
    try:
        table = tomllib.loads(found.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ParameterError(
            f"load_experiment: {found} is not TOML: {error}. Correct the file."
        ) from None
    for key, value in (overrides or {}).items():
        _override(table, key, value)
    return _experiment(table)


def experiment_files() -> list[Path]:
    """The experiment files that come with the project."""
    return sorted((Path(__file__).parent / "experiments").glob("*.toml"))


def _override(table: dict[str, Any], key: str, value: Any) -> None:
    *parents, last = key.split(".")
    for parent in parents:
        inner = table.setdefault(parent, {})
        if not isinstance(inner, dict):
            raise ParameterError(f"load_experiment: override {key!r}: {parent!r} is not a table.")
        table = inner
    table[last] = value


def _experiment(table: Mapping[str, Any]) -> Experiment:
    values = dict(table)
    values["model"] = _build(MLPConfig, values.get("model", {}), "[model]")
    values["training"] = _build(TrainingConfig, values.get("training", {}), "[training]")
    conditions = values.get("conditions", {})
    if not isinstance(conditions, Mapping):
        raise ParameterError(f"load_experiment: conditions is {conditions!r}. Write a table.")
    for name, train_on in conditions.items():
        if not isinstance(train_on, list) or not all(isinstance(f, str) for f in train_on):
            raise ParameterError(
                f"load_experiment: condition {name!r} is {train_on!r}. List names of features."
            )
    values["conditions"] = {name: tuple(train_on) for name, train_on in conditions.items()}
    return _build(Experiment, values, "the file")


def _build(cls: type[T], table: object, where: str) -> T:
    """Make a config dataclass from a TOML table; its keys are the fields, arrays are tuples."""
    if not isinstance(table, Mapping):
        raise ParameterError(f"load_experiment: {where} is {table!r}. Write a table.")
    known = [f.name for f in fields(cls)]  # type: ignore[arg-type]
    if unknown := [key for key in table if key not in known]:
        raise ParameterError(
            f"load_experiment: {where} has unknown keys {unknown}. Known: {known}."
        )
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in table.items()}
    try:
        return cls(**values)
    except TypeError as error:  # a required key is missing, or a value cannot be compared
        raise ParameterError(f"load_experiment: {where}: {error}. Correct the key.") from None
