"""What all read-outs share: options that fit each other, fits over folds, penalties within them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any, Literal, TypeAlias, get_args

import numpy as np

from reptools.engine.context import Context
from reptools.engine.options import Option
from reptools.errors import FeatureError, ParameterError, StimulusError, some, warn
from reptools.statistics.features.design import Feature
from reptools.statistics.folds import Folds, Rows, Sampling
from reptools.statistics.readout import logistic
from reptools.statistics.readout.classifiers import (
    Method,
    Problem,
    Readout,
    Values,
    fit_readouts,
)
from reptools.statistics.readout.estimators import (
    Answering,
    Estimator,
    Foreign,
    described,
    fit_estimator,
    kind_of,
    short,
)
from reptools.statistics.readout.scores import Confusion, Squares
from reptools.statistics.readout.standard import Scaling, Standard

Regularization: TypeAlias = Literal["fixed", "nested"]

GRID = tuple(10.0**k for k in range(-5, 3))  # what a nested C is chosen from
INNER = 5
DEFAULT_C = 1.0
PENALISED = ("logistic", "ridge")
METHODS = "|".join(get_args(Method))


def _check_method(name: str, value: Any) -> Any:
    if isinstance(value, str) and value in get_args(Method):
        return str(value)  # numpy has text of its own
    if kind_of(value) is not None:
        return value
    a_class = isinstance(value, type)
    mend = f"Pass an instance: {value.__name__}()." if a_class else "Pass a name, or an instance."
    raise ParameterError(
        f"{name} must be {METHODS} or a classifier or regressor of scikit-learn, got {value!r}. "
        f"{mend}"
    )


ReadoutMethod: TypeAlias = Annotated[
    Method | Estimator,
    Option(f"{METHODS}, in Python also an estimator of scikit-learn", _check_method),
]


@dataclass(frozen=True)
class Settings:
    """How every read-out of a call is fitted."""

    function: str
    method: Method | Estimator
    C: float
    scaling: Scaling
    regularization: Regularization = "fixed"

    @property
    def chosen(self) -> Mapping[str, str]:
        """An estimator by name and parameters, for ``params`` of a result."""
        return {} if isinstance(self.method, str) else {"method": described(self.method)}

    def check_options(self) -> None:
        """Options that say nothing together are refused."""
        if not isinstance(self.method, str):
            self._check_beside_estimator()
            return
        penalised = self.method in PENALISED
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

    def _check_beside_estimator(self) -> None:
        if self.C != DEFAULT_C:
            raise ParameterError(
                f"C={self.C:g} is not used by method={short(self.method)}, which has parameters of "
                "its own. Leave C out, and set what it is called there."
            )
        if self.regularization == "nested":
            raise ParameterError(
                f"regularization='nested' chooses C, and method={short(self.method)} has "
                "parameters of its own. Leave it out, and wrap the estimator in a GridSearchCV."
            )

    def check(self, features: Sequence[Feature]) -> None:
        """The same, and features that the method cannot read out."""
        self.check_options()
        amounts = [feature.name for feature in features if feature.kind == "continuous"]
        classes = [feature.name for feature in features if feature.kind != "continuous"]
        if isinstance(self.method, str):
            named, of_classes, of_amounts = repr(self.method), True, self.method in PENALISED
        else:
            named, kind = short(self.method), kind_of(self.method)
            of_classes, of_amounts = kind == "classifier", kind == "regressor"
        if amounts and not of_amounts:
            other = "method='ridge'" if isinstance(self.method, str) else "a regressor"
            raise FeatureError(
                f"method={named} tells classes apart, and these features are continuous: "
                f"{some(amounts)}. Pass {other}, or class features only."
            )
        if classes and not of_classes:
            raise FeatureError(
                f"method={named} predicts amounts, and these features are classes: "
                f"{some(classes)}. Pass a classifier, or continuous features only."
            )


@dataclass(frozen=True)
class Task:
    """One target over one set of folds.

    ``target`` is class numbers (stimulus,) or amounts (stimulus, component) divided by
    2**exponent; ``which`` is put before the feature's name in warnings.
    """

    name: str
    target: Values
    folds: Folds
    which: str = ""
    exponent: int = 0

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
        exponent = int(np.frexp(np.abs(columns).max())[1])
        return cls(feature.name, np.ldexp(columns, -exponent), folds, which, exponent)


@dataclass(frozen=True)
class Learned:
    """Read-outs of every task and fold, in common coordinates of the activations."""

    standard: Standard
    readouts: list[list[Answering]]
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
    readouts: Sequence[Answering]
    if isinstance(settings.method, str):
        pairs = zip(every, chosen, strict=True)
        problems = [Problem(task.target, fit, C) for (task, fit), C in pairs]
        readouts = fit_readouts(x, standard, problems, settings.method)
    else:
        readouts = _by_estimator(x, standard, every, settings.method, context.seed)
    spans = list(pairwise(np.cumsum([0] + [len(task.folds) for task in tasks])))
    grouped: list[list[Answering]] = [list(readouts[a:b]) for a, b in spans]
    learned = Learned(standard, grouped, [chosen[a:b] for a, b in spans])
    for task, group in zip(tasks, learned.readouts, strict=True):
        _name_stuck(task, group, settings)
    return learned


def _by_estimator(
    x: Values,
    standard: Standard,
    every: Sequence[tuple[Task, Rows]],
    estimator: Estimator,
    seed: int,
) -> list[Foreign]:
    """A clone of an estimator for every task and fold."""
    from threadpoolctl import threadpool_limits

    rows = np.arange(len(x))
    with np.errstate(over="ignore"):  # rows that no fold uses may lie anywhere
        z = standard.of_rows(x, rows)
    said: set[str] = set()
    with threadpool_limits(1, "blas"):  # as for all other read-outs
        return [
            fit_estimator(
                z,
                standard,
                task.target,
                fit,
                estimator,
                seed=seed,
                what=f"method={short(estimator)} on {task.which}feature {task.name!r}",
                exponent=task.exponent,
                said=said,
            )
            for task, fit in every
        ]


def _name_stuck(task: Task, readouts: Sequence[Answering], settings: Settings) -> None:
    stuck = sum(not readout.converged for readout in readouts)
    if not stuck:
        return
    if isinstance(settings.method, str):
        within = f"did not converge in {logistic.MAX_ITERATIONS} iterations"
        mend = "scaling='zscore' or a smaller C makes it easier"
    else:
        within = f"did not converge by method={short(settings.method)}"
        mend = "it is scored all the same; raise max_iter, or scale units by scaling='zscore'"
    warn(
        f"{settings.function}: {task.which}feature {task.name!r} {within} in {stuck} of "
        f"{len(readouts)} folds; {mend}"
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
    assert isinstance(settings.method, str)  # estimators choose for themselves
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


def table(scored: Sequence[dict[str, float]]) -> dict[str, Any]:
    """One array for each name that any feature has; NaN where a feature has none."""
    names = dict.fromkeys(name for row in scored for name in row)
    return {name: np.array([row.get(name, np.nan) for row in scored]) for name in names}
