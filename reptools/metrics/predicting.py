"""What the metrics of linear predictivity share: options, fits over all folds, ceilings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from reptools.arrays import to_host
from reptools.engine.operation import Context
from reptools.errors import ParameterError, StimulusError, warn
from reptools.statistics.regression.linear_sides import LinearSide
from reptools.statistics.regression.nested import Nested, Scored, nested, scored
from reptools.statistics.regression.pls import MOST

Values = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class Options:
    """What is fitted, checked for options of the other method."""

    method: Literal["ridge", "pls"]
    n_alphas: int
    lowest_alpha: float
    highest_alpha: float
    n_components: int | None

    def __post_init__(self) -> None:
        if self.method == "ridge" and self.n_components is not None:
            raise ParameterError(
                f"n_components={self.n_components} is an option of method='pls'. Pass that, or "
                "leave it out."
            )
        if self.n_alphas > 1 and not self.lowest_alpha < self.highest_alpha:
            raise ParameterError(
                f"lowest_alpha={self.lowest_alpha:g} is not below "
                f"highest_alpha={self.highest_alpha:g}. Swap them, or pass n_alphas=1."
            )

    @property
    def choose(self) -> bool:
        """Whether anything is left to be chosen by inner folds."""
        return self.n_alphas > 1 if self.method == "ridge" else self.n_components is None

    @property
    def alphas(self) -> Values:
        """Penalties in units of the mean eigenvalue."""
        if self.n_alphas == 1:
            return np.array([self.lowest_alpha])
        return np.geomspace(self.lowest_alpha, self.highest_alpha, self.n_alphas)

    def counts(self, x: LinearSide, plan: Nested) -> tuple[int, ...]:
        """Numbers of components that are tried."""
        if self.n_components is not None:
            return (self.n_components,)
        return tuple(range(1, min(MOST, x.width, plan.smallest_fit - 1) + 1))


@dataclass(frozen=True)
class Predicted:
    """Scores of every unit of y by name, and what was chosen for it."""

    scores: Mapping[str, Values]
    what: Literal["alpha", "n_components"]
    chosen: Values


def predict(
    x: LinearSide, y: LinearSide, options: Options, context: Context, score: str, name: str
) -> Predicted:
    """Fit and score all units of y over all outer folds.

    Raises
    ------
    StimulusError
        The score is "r" and no fold has two test stimuli.
    """
    plans = nested(context.sampling, choose=options.choose)
    if score == "r":
        _check_tests(plans)
    results: list[Scored] = []
    choices: list[Values] = []
    for number, plan in enumerate(plans):
        if options.method == "ridge":
            values = options.alphas
            results.append(scored(x.ridge(y, plan, values, number), plan))
        else:
            counts = options.counts(x, plan)
            values = np.array(counts, dtype=np.float64)
            results.append(scored(x.pls(y, plan, counts, number), plan))
        choices.append(np.log(values)[results[-1].options])
    sums = results[0].sums
    for result in results[1:]:
        sums = sums + result.sums
    if options.choose:
        _warn_ends(name, options, sum(r.at_low for r in results), sum(r.at_high for r in results))
    return Predicted(
        {"r2": to_host(sums.r2), "r": to_host(sums.r)},
        "alpha" if options.method == "ridge" else "n_components",
        np.exp(np.concatenate(choices).mean(axis=0)),
    )


def _check_tests(plans: tuple[Nested, ...]) -> None:
    """A correlation needs two stimuli."""
    if all(plan.rows(outer.test).size < 2 for plan in plans for outer in plan.outer):
        raise StimulusError(
            "score='r' correlates over the test stimuli of a fold, and each fold has 1. "
            "Use fewer folds, or score='r2'."
        )


def _warn_ends(name: str, options: Options, low: Any, high: Any) -> None:
    """Count the units whose errors still fell at an end of what was tried."""
    if options.method == "pls":
        return  # the first is the fewest there can be, and 25 are told in the docstring
    for end, found, mend in (
        (options.lowest_alpha, low, "lowest_alpha"),
        (options.highest_alpha, high, "highest_alpha"),
    ):
        if np.any(found):
            warn(
                f"{name}: the errors of {int(np.sum(found > 0))} of {found.size} units still fell "
                f"at {mend}={end:g} in a fold; widen the range for them"
            )


def normalised(
    value: Values, score: str, y: LinearSide, min_reliability: float
) -> tuple[Values, np.ndarray[Any, np.dtype[np.bool_]]]:
    """Scores over their ceiling where one is asked for, and which units they hold for.

    Raises
    ------
    ParameterError
        A ceiling is asked for and y has no repetitions.
    """
    kept = np.isfinite(value)
    if not y.ceiling:
        return value, kept
    if y.reliability is None:
        raise ParameterError(
            "ceiling='reliability' needs repetitions of y, and y has no dimension 'repetition' "
            "(of two or more). Pass the repetitions, or ceiling='none'."
        )
    # a unit whose repetitions do not correlate has no ceiling, whatever the least is
    reliable = y.reliability >= max(min_reliability, np.finfo(np.float64).eps)
    attainable = np.where(reliable, y.reliability, 1.0)
    return value / (attainable if score == "r2" else np.sqrt(attainable)), kept & reliable


def warn_unreliable(
    name: str, y: LinearSide, lost: np.ndarray[Any, np.dtype[np.bool_]], min_reliability: float
) -> None:
    """Count the units whose score a ceiling takes away."""
    if y.reliability is None or not lost.any():
        return
    known = y.reliability[lost & np.isfinite(y.reliability)]
    most = f", the best has {known.max():.3g}" if known.size else ""
    warn(
        f"{name}: {int(lost.sum())} of {lost.size} units of y do not reach "
        f"min_reliability={min_reliability:g}{most}; score missing (NaN)"
    )


def median(values: Values) -> float:
    """Median, NaN of nothing."""
    return float(np.median(values)) if values.size else float("nan")
