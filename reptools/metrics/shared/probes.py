"""What probes share that are scored fold by fold: their tasks, and scores of what was learned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from reptools.engine.context import Context
from reptools.engine.operation import Dims, Score
from reptools.errors import FeatureError, some, warn
from reptools.metrics.shared.readout import Learned, Settings, Task, table
from reptools.statistics.features.design import Feature
from reptools.statistics.folds import Folds, Rows, hash_rank
from reptools.statistics.readout.classifiers import Codes, Values
from reptools.statistics.readout.estimators import Answering
from reptools.statistics.readout.scores import Confusion, Squares

NOTHING = float("nan")


def beside(settings: Settings) -> dict[str, Dims]:
    """What stands beside the score of every probe, and over which dimensions."""
    names = ["chance", "permuted", "accuracy", "majority"]
    if settings.regularization == "nested":
        names.append("chosen_C")
    return dict.fromkeys(names, ("feature",))


# --- what is fitted -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Plan:
    """The tasks of one feature: itself, permuted, and a control task, the last two if possible."""

    main: Task
    chance: float
    permuted: Task | None
    control: Task | None = None

    @property
    def tasks(self) -> list[Task]:
        """Those that there are."""
        return [task for task in (self.main, self.permuted, self.control) if task is not None]


def planned(features: Sequence[Feature], context: Context) -> list[Plan]:
    """What each feature is scored by, but for control tasks."""
    # rows come sorted by label; ~seed gives another order than the one that made the folds
    order = np.argsort(hash_rank(context.stimulus, ~context.seed))
    return [_plan(feature, order, context) for feature in features]


def _plan(feature: Feature, order: Rows, context: Context) -> Plan:
    folds = context.folds(feature.strata)
    chance = 1 / check_classes(feature, folds) if feature.strata is not None else 0.0
    values = np.empty_like(feature.values)
    values[order] = feature.values
    permuted = replace(feature, values=values)
    anew = context.folds(permuted.strata)
    task = Task.of(permuted, anew, "permuted ")
    lacking = task.of_classes and any(m.size for m in missing_classes(task.target, anew))
    return Plan(Task.of(feature, folds), chance, None if lacking else task)


def check_classes(feature: Feature, folds: Folds) -> int:
    """Number of classes in use, all of which the fit rows of every fold must hold."""
    names = np.unique(feature.values)
    for number, missing in enumerate(missing_classes(feature.codes, folds)):
        if missing.size:
            raise FeatureError(
                f"feature {feature.name!r}: the fit rows of fold {number} ({folds.description}) "
                f"lack the classes {some(names[missing].tolist())}. Use fewer folds, groups that "
                "mix classes, or drop these stimuli."
            )
    used = classes_used(feature.codes, folds)
    if used.size < 2:
        raise FeatureError(
            f"feature {feature.name!r} has the single class {names[used].tolist()[0]!r} among the "
            f"stimuli of the folds ({folds.description}). Use stimuli with two classes or more."
        )
    return int(used.size)


def missing_classes(codes: Codes, folds: Folds) -> list[Codes]:
    """For each fold, the classes that occur among the stimuli in use but not in its fit rows."""
    used = classes_used(codes, folds)
    return [np.setdiff1d(used, codes[fit]) for fit, _ in folds]


def classes_used(codes: Codes, folds: Folds) -> Codes:
    """Classes that occur among the fit and test rows of any fold."""
    return np.unique(codes[np.concatenate([rows for pair in folds for rows in pair])])


# --- scores -------------------------------------------------------------------------------------


def scores(plans: Sequence[Plan], learned: Learned, x: Values, settings: Settings) -> Score:
    """Scores of what was learned on the test rows of ``x``, and what stands beside them."""
    z = learned.shown(x)
    groups = iter(zip(learned.readouts, learned.C, strict=True))
    values, rows = [], []
    for p in plans:
        fitted = {id(task): next(groups) for task in p.tasks}
        readouts, C = fitted[id(p.main)]
        value, extras = _score(p.main, readouts, z, settings)
        null = NOTHING
        if p.permuted is not None:
            null = _score(p.permuted, fitted[id(p.permuted)][0], z, settings)[0]
        extras = {"chance": p.chance, "permuted": null, **extras}
        if settings.regularization == "nested":
            extras["chosen_C"] = float(np.exp(np.log(C).mean()))
        if p.control is not None:
            reached = confusion(p.control, fitted[id(p.control)][0], z).accuracy
            extras["control_accuracy"] = reached
            extras["control_selectivity"] = extras["accuracy"] - reached
        values.append(value)
        rows.append(extras)
    return Score(np.array(values), table(rows))


def _score(
    task: Task, readouts: Sequence[Answering], z: Values, settings: Settings
) -> tuple[float, dict[str, float]]:
    """Balanced accuracy or R2, and what only classes have beside it."""
    if task.of_classes:
        counts = confusion(task, readouts, z)
        return counts.balanced, {"accuracy": counts.accuracy, "majority": counts.majority}
    sums = squares(task, readouts, z)
    if np.isnan(sums.r2):
        why = (
            "does not vary over the test stimuli"
            if sums.total <= 0
            else "is predicted by numbers that are not finite"
        )
        warn(f"{settings.function}: {task.which}feature {task.name!r} {why}; score missing (NaN)")
    return sums.r2, {"accuracy": NOTHING, "majority": NOTHING}


def confusion(task: Task, readouts: Sequence[Answering], z: Values) -> Confusion:
    """Answers of one task to the test rows of all its folds."""
    counts = Confusion(int(task.target.max()) + 1)
    for (_, test), readout in zip(task.folds, readouts, strict=True):
        counts.add(task.target[test], readout.answers(z[test]))
    return counts


def squares(task: Task, readouts: Sequence[Answering], z: Values) -> Squares:
    """Residual and total of one task of amounts, pooled over folds."""
    sums = Squares()
    for (fit, test), readout in zip(task.folds, readouts, strict=True):
        sums.add(task.target[test], readout.amounts(z[test]), task.target[fit].mean(axis=0))
    return sums
