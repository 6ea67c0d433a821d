"""What an experiment file says: conditions times seeds, each condition's run and its stimuli."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from reptools.errors import ParameterError

from .architectures import ARCHITECTURES
from .settings import DumpConfig, Phase, RunConfig, TrainingConfig

__all__ = [
    "Condition",
    "DumpConfig",
    "Experiment",
    "Phase",
    "RunConfig",
    "TrainingConfig",
    "experiment_files",
    "load_experiment",
    "settings_of",
]

TABLES = ("model", "training", "data")  # what a condition may override in part
ELSEWHERE = ("title", "fast", "rows")  # for the reproduction, which reads the same file
KINDS = {"model": "mlp", "data": "binary"}
T = TypeVar("T")


@dataclass(frozen=True)
class Condition:
    """A run of every seed, and the stimuli it is trained on.

    `data` is the kind of stimuli and the options of ``python -m datasets.prepare`` for it, with
    the table ``features``, name -> rule; `stimuli` the name of the file they are written to.
    """

    run: RunConfig
    data: Mapping[str, Any]
    stimuli: str = "stimuli.h5"

    def __post_init__(self) -> None:
        name = self.run.name
        if not name.replace("-", "_").isidentifier():
            raise ParameterError(
                f"Experiment: a condition is named {name!r}. Use letters, digits, '_' and '-', "
                "for files are named after it."
            )
        features = self.data.get("features")
        if not isinstance(features, Mapping):
            raise ParameterError(
                f"Experiment: data.features is {features!r}. Write a table, name = rule."
            )
        if unknown := sorted(set(self.run.train_on) - set(features)):
            raise ParameterError(
                f"Experiment: condition {name!r} trains on {unknown}, but the stimuli have "
                f"{sorted(features)}. Correct the condition or data.features."
            )


@dataclass(frozen=True)
class Experiment:
    """An experiment file: conditions times seeds."""

    name: str
    conditions: tuple[Condition, ...]
    seeds: tuple[int, ...] = (0,)

    def __post_init__(self) -> None:
        if not self.conditions:
            raise ParameterError(
                "Experiment: conditions is empty. Name the features each condition trains on: "
                'both = ["easy", "hard"].'
            )
        check_seeds(self.seeds)
        runs = {f"{run.name}-seed{seed}.h5" for run in self.runs for seed in self.seeds}
        if clash := sorted(runs & set(self.stimuli)):
            raise ParameterError(
                f"Experiment: {clash[0]!r} would be a run's file and one of stimuli. "
                "Rename the condition."
            )

    @property
    def runs(self) -> tuple[RunConfig, ...]:
        """The settings of each condition's networks."""
        return tuple(condition.run for condition in self.conditions)

    @property
    def stimuli(self) -> dict[str, Mapping[str, Any]]:
        """Name of a file of stimuli -> the settings it is prepared with."""
        return {condition.stimuli: condition.data for condition in self.conditions}


def check_seeds(seeds: tuple[int, ...]) -> None:
    """Refuse seeds that would train nothing, or one network twice."""
    wrong = any(type(seed) is not int or not 0 <= seed < 2**63 for seed in seeds)
    if not seeds or wrong or len(set(seeds)) < len(seeds):
        raise ParameterError(
            f"Experiment: seeds is {seeds!r}. List whole numbers from 0 on, each once."
        )


def settings_of(config: RunConfig) -> dict[str, Any]:
    """All settings of a run as a table, with the architecture's kind among the model's."""
    kinds = {cls: kind for kind, cls in ARCHITECTURES.items()}
    table = asdict(config)
    return {**table, "model": {"kind": kinds[type(config.model)], **table["model"]}}


def load_experiment(path: str | Path, overrides: Mapping[str, Any] | None = None) -> Experiment:
    """Read an experiment file.

    Parameters
    ----------
    path
        A TOML file with name, seeds and the tables data, model, training, dump and conditions;
        looked for in the models folder too, so ``experiments/complexity.toml`` is found
        anywhere. A condition is a list of features to train on, or a table: ``train_on``,
        ``phases`` and ``order``, and the tables ``model``, ``training`` and ``data`` with what
        differs from the file's own. Where one of these names another ``kind``, it stands for
        itself. Conditions with ``data`` have stimuli of their own, ``stimuli-<condition>.h5``.
        title, fast and rows are for those who analyse the runs, and not read here.
    overrides
        Dotted key -> value in place of the file's: ``{"training.batch": 128}``. What a condition
        says for itself is overridden by its own key, ``conditions.both.training.batch``.

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
        override(table, key, value)
    return _experiment(table)


def experiment_files() -> list[Path]:
    """The experiment files that come with the project and train networks."""
    files = sorted((Path(__file__).parent / "experiments").glob("*.toml"))
    return [f for f in files if "conditions" in tomllib.loads(f.read_text(encoding="utf-8"))]


def override(table: dict[str, Any], key: str, value: Any) -> None:
    """Set a dotted key of nested tables in place: ``"training.batch"``."""
    *parents, last = key.split(".")
    for parent in parents:
        inner = table.setdefault(parent, {})
        if not isinstance(inner, dict):
            raise ParameterError(f"load_experiment: override {key!r}: {parent!r} is not a table.")
        table = inner
    table[last] = value


def _experiment(table: Mapping[str, Any]) -> Experiment:
    values = {key: value for key, value in table.items() if key not in ELSEWHERE}
    base = {name: _table(values.pop(name, {}), f"[{name}]") for name in TABLES}
    dump = _build(DumpConfig, values.pop("dump", {}), "[dump]")
    conditions = _table(values.get("conditions", {}), "conditions")
    values["conditions"] = [
        _condition(name, entry, base, dump) for name, entry in conditions.items()
    ]
    return _build(Experiment, values, "the file")


def _condition(
    name: str, entry: object, base: Mapping[str, Mapping[str, Any]], dump: DumpConfig
) -> Condition:
    own = dict(entry) if isinstance(entry, Mapping) else {"train_on": entry}
    train_on = own.get("train_on")
    if not isinstance(train_on, list) or not all(isinstance(f, str) for f in train_on):
        raise ParameterError(
            f"load_experiment: condition {name!r} is {entry!r}. List names of features, "
            "or write a table with train_on = [...]."
        )
    whose = f"conditions.{name}"
    merged = {}
    for part in TABLES:
        overrides = _table(own.pop(part, {}), f"{whose}.{part}")
        merged[part] = _merge(base[part], overrides, KINDS.get(part))
    phases = own.pop("phases", [])
    if not isinstance(phases, list):
        raise ParameterError(f"load_experiment: {whose}.phases is {phases!r}. List tables.")
    own["phases"] = [_build(Phase, phase, f"a phase of {whose}") for phase in phases]
    training = _build(TrainingConfig, merged["training"], "[training]")
    given = {"name": name, "model": _model(merged["model"]), "training": training, "dump": dump}
    if taken := sorted(set(own) & {"name", "dump"}):
        raise ParameterError(
            f"load_experiment: {whose} has the keys {taken}, which hold for the whole file. "
            "Move them there."
        )
    run = _build(RunConfig, {**own, **given}, whose)
    differs = merged["data"] != base["data"]
    return Condition(run, merged["data"], f"stimuli-{name}.h5" if differs else "stimuli.h5")


def _model(table: Mapping[str, Any]) -> object:
    values = dict(table)
    kind = values.pop("kind", KINDS["model"])
    if kind not in ARCHITECTURES:
        raise ParameterError(
            f"load_experiment: model.kind is {kind!r}. Use one of {sorted(ARCHITECTURES)}."
        )
    return _build(ARCHITECTURES[kind], values, "[model]")


def _merge(
    base: Mapping[str, Any], own: Mapping[str, Any], kind: str | None = None
) -> dict[str, Any]:
    """Lay a table over another, table by table; a table of another kind stands for itself."""
    if kind and "kind" in own and own["kind"] != base.get("kind", kind):
        return dict(own)
    inner = {
        key: _merge(base[key], value)
        for key, value in own.items()
        if isinstance(value, Mapping) and isinstance(base.get(key), Mapping)
    }
    return {**base, **own, **inner}


def _table(value: object, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ParameterError(f"load_experiment: {where} is {value!r}. Write a table.")
    return value


def _build(cls: type[T], table: object, where: str) -> T:
    """Make a config dataclass from a TOML table; its keys are the fields, arrays are tuples."""
    given = _table(table, where)
    known = [f.name for f in fields(cls)]  # type: ignore[arg-type]
    if unknown := [key for key in given if key not in known]:
        raise ParameterError(
            f"load_experiment: {where} has unknown keys {unknown}. Known: {known}."
        )
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in given.items()}
    try:
        return cls(**values)
    except TypeError as error:  # a required key is missing, or a value cannot be compared
        raise ParameterError(f"load_experiment: {where}: {error}. Correct the key.") from None
