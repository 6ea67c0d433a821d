"""What all probes share: fits over folds, penalties chosen within them, and scores of answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np

from reptools.engine.operation import Context
from reptools.errors import FeatureError, ParameterError, StimulusError, some, warn
from reptools.statistics.features.design import Feature
from reptools.statistics.folds import Folds, Rows, Sampling
from reptools.statistics.readout import logistic
from reptools.statistics.readout.classifiers import (
    Codes,
    Method,
    Problem,
    Readout,
    Values,
    fit_readouts,
)
from reptools.statistics.readout.standard import Scaling, Standard

Regularization = Literal["fixed", "nested"]

GRID = tuple(10.0**k for k in range(-5, 3))  # what a nested C is chosen from
INNER = 5
DEFAULT_C = 1.0


@dataclass(frozen=True)
class Settings:
    """How every read-out of a call is fitted."""

    function: str
    method: Method
    C: float
    scaling: Scaling
    regularization: Regularization = "fixed"

    def check(self, features: Sequence[Feature]) -> None:
        """Options that say nothing together are refused."""
        penalised = self.method in ("logistic", "ridge")
        if self.C != DEFAULT_C and not penalised:
            raise ParameterError(
                f"C={self.C:g} has no meaning for method={self.method!r}, which has no penalty. "
                "Leave C out, or pass method='logistic' or 'ridge'."
            )
        if self.regularization == "nested" and not penalised:
            raise ParameterError(
                f"regularization='nested' has nothing to choose for method={self.method!r}. "
                "Pass method='logistic' or 'ridge'."
            )
        if self.regularization == "nested" and self.C != DEFAULT_C:
            raise ParameterError(
                f"C={self.C:g} is not used by regularization='nested', which chooses it. "
                "Leave one of the two out."
            )
        amounts = [feature.name for feature in features if feature.kind == "continuous"]
        if amounts and not penalised:
            raise FeatureError(
                f"method={self.method!r} tells classes apart, and these features are continuous: "
                f"{some(amounts)}. Pass method='ridge', or class features only."
            )


@dataclass(frozen=True)
class Task:
    """One target over one set of folds.

    ``target`` is class numbers (stimulus,) or amounts (stimulus, component); ``which`` is put
    before the feature's name in warnings.
    """

    name: str
    target: Values
    folds: Folds
    which: str = ""

    @property
    def of_classes(self) -> bool:
        """Whether it is classes that are read out."""
        return self.target.ndim == 1

    @classmethod
    def of(cls, feature: Feature, folds: Folds, which: str = "") -> Task:
        """A feature as a target; amounts without their order of magnitude, which R2 ignores."""
        if feature.kind != "continuous":
            return cls(feature.name, feature.codes, folds, which)
        columns = feature.columns
        return cls(
            feature.name, np.ldexp(columns, -np.frexp(np.abs(columns).max())[1]), folds, which
        )


@dataclass(frozen=True)
class Learned:
    """Read-outs of every task and fold, in common coordinates of the activations."""

    standard: Standard
    readouts: list[list[Readout]]
    C: list[list[float]]

    def shown(self, x: Values) -> Values:
        """All rows of activations in the coordinates of the read-outs."""
        with np.errstate(over="ignore"):  # rows that no fold uses may lie anywhere
            return self.standard.of_rows(x, np.arange(len(x)))


def learn(x: Values, tasks: Sequence[Task], settings: Settings, context: Context) -> Learned:
    """Fit all tasks on the fit rows of their folds, and name the fits that did not converge."""
    every = [(task, fit) for task in tasks for fit, _ in task.folds]
    used = np.unique(np.concatenate([fit for _, fit in every]))
    standard = Standard.of(x, used, settings.scaling)
    if settings.regularization == "nested":
        chosen = _choose(x, standard, every, settings, context)
    else:
        chosen = [settings.C] * len(every)
    problems = [Problem(task.target, fit, C) for (task, fit), C in zip(every, chosen, strict=True)]
    readouts = fit_readouts(x, standard, problems, settings.method)
    spans = list(pairwise(np.cumsum([0] + [len(task.folds) for task in tasks])))
    learned = Learned(standard, [readouts[a:b] for a, b in spans], [chosen[a:b] for a, b in spans])
    for task, group in zip(tasks, learned.readouts, strict=True):
        _name_stuck(task, group, settings)
    return learned


def _name_stuck(task: Task, readouts: Sequence[Readout], settings: Settings) -> None:
    stuck = sum(not readout.converged for readout in readouts)
    if stuck:
        warn(
            f"{settings.function}: {task.which}feature {task.name!r} did not converge in "
            f"{logistic.MAX_ITERATIONS} iterations in {stuck} of {len(readouts)} folds; "
            "scaling='zscore' or a smaller C makes it easier"
        )


# --- penalties chosen on inner folds ------------------------------------------------------------


def _choose(
    x: Values,
    standard: Standard,
    every: Sequence[tuple[Task, Rows]],
    settings: Settings,
    context: Context,
) -> list[float]:
    """The C of the best inner score of each fit; of equal ones the smallest."""
    inner = [_inner_folds(context.sampling, fit, task.target) for task, fit in every]
    problems = [
        Problem(task.target, fit, C)
        for (task, _), pairs in zip(every, inner, strict=True)
        for C in GRID
        for fit, _ in pairs
    ]
    readouts = iter(fit_readouts(x, standard, problems, settings.method))
    chosen = []
    for (task, _), pairs in zip(every, inner, strict=True):
        rows = np.sort(np.concatenate([test for _, test in pairs]))
        z = standard.of_rows(x, rows)
        scores = []
        for _ in GRID:
            folds = [(f, np.searchsorted(rows, test), next(readouts)) for f, test in pairs]
            scores.append(_inner_score(task.target, rows, z, folds))
        chosen.append(GRID[int(np.argmax(np.nan_to_num(scores, nan=-np.inf)))])
    return chosen


def _inner_folds(sampling: Sampling, fit: Rows, target: Values) -> tuple[tuple[Rows, Rows], ...]:
    """Folds of the fit rows of one outer fold, made as the outer ones are."""
    part = sampling.within(fit, INNER)
    if part.cv < 2:
        what = "stimulus" if part.groups is None else f"of the {sampling.groups_name}"
        raise StimulusError(
            f"the fit rows of a fold have 1 {what}, so no C can be chosen within them. "
            "Pass regularization='fixed', or use folds with more."
        )
    strata = target[fit] if target.ndim == 1 else None
    return tuple((fit[inner], fit[test]) for inner, test in part.folds(strata))


def _inner_score(
    target: Values, rows: Rows, z: Values, folds: Sequence[tuple[Rows, Rows, Readout]]
) -> float:
    """Balanced accuracy or R2 of one C, pooled over inner folds; ``test`` counts in ``rows``."""
    if target.ndim == 1:
        counts = Confusion(int(target.max()) + 1)
        for _, test, readout in folds:
            counts.add(target[rows[test]], readout.answers(z[test]))
        return counts.balanced
    sums = Squares()
    for fit, test, readout in folds:
        sums.add(target[rows[test]], readout.amounts(z[test]), target[fit].mean(axis=0))
    return sums.r2


# --- scores -------------------------------------------------------------------------------------


class Confusion:
    """Counts (true class, answered class) over test rows."""

    def __init__(self, n_classes: int) -> None:
        self.counts = np.zeros((n_classes, n_classes), dtype=np.intp)

    def add(self, truth: Codes, answers: Codes) -> None:
        """Count the answers for some test rows."""
        np.add.at(self.counts, (truth, answers), 1)

    @property
    def balanced(self) -> float:
        """Mean over the tested classes of the share answered rightly."""
        tested = self.counts.sum(axis=1)
        return float((np.diag(self.counts)[tested > 0] / tested[tested > 0]).mean())

    @property
    def accuracy(self) -> float:
        """Share of all test rows answered rightly."""
        return float(np.trace(self.counts) / self.counts.sum())

    @property
    def majority(self) -> float:
        """Share of the most frequent class among the test rows."""
        return float(self.counts.sum(axis=1).max() / self.counts.sum())


class Squares:
    """Residual and total sums of squares over test rows."""

    def __init__(self) -> None:
        self.residual = self.total = 0.0

    def add(self, truth: Values, predicted: Values, mean: Values) -> None:
        """Add some test rows; ``mean`` is that of their fit rows."""
        self.residual += float(((truth - predicted) ** 2).sum())
        self.total += float(((truth - mean) ** 2).sum())

    @property
    def r2(self) -> float:
        """One minus residual over total; NaN where the truth does not vary."""
        return 1 - self.residual / self.total if self.total > 0 else float("nan")


def confusion(task: Task, readouts: Sequence[Readout], z: Values) -> Confusion:
    """Answers of one task to the test rows of all its folds."""
    counts = Confusion(int(task.target.max()) + 1)
    for (_, test), readout in zip(task.folds, readouts, strict=True):
        counts.add(task.target[test], readout.answers(z[test]))
    return counts


def r2(task: Task, readouts: Sequence[Readout], z: Values) -> float:
    """R2 of one task of amounts, pooled over folds."""
    sums = Squares()
    for (fit, test), readout in zip(task.folds, readouts, strict=True):
        sums.add(task.target[test], readout.amounts(z[test]), task.target[fit].mean(axis=0))
    return sums.r2


# --- folds that can be scored -------------------------------------------------------------------


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


def table(scored: Sequence[dict[str, float]]) -> dict[str, Any]:
    """One array for each name that any feature has; NaN where a feature has none."""
    names = dict.fromkeys(name for row in scored for name in row)
    return {name: np.array([row.get(name, np.nan) for row in scored]) for name in names}
