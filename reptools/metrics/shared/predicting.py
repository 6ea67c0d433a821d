"""What the metrics of predictivity share: options, fits over all folds, ceilings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Literal, TypeAlias

import numpy as np

from reptools.arrays import to_host
from reptools.engine.context import Context
from reptools.engine.options import Option, Range
from reptools.errors import ParameterError, StimulusError, warn
from reptools.metrics.shared.regressors import PlainSide, plain_side, regressed
from reptools.statistics.readout.estimators import Estimator, described, kind_of, short
from reptools.statistics.regression.held_out import Sums
from reptools.statistics.regression.linear_sides import Ceiling, LinearSide, linear_side
from reptools.statistics.regression.nested import Nested, nested, scored
from reptools.statistics.regression.pls import MOST

Values: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]
Side: TypeAlias = LinearSide | PlainSide
Alpha: TypeAlias = Annotated[float, Range(1e-9, 1e9)]
Measure: TypeAlias = Literal["r2", "r"]
OTHER: dict[Measure, Measure] = {"r2": "r", "r": "r2"}

N_ALPHAS, LOWEST_ALPHA, HIGHEST_ALPHA, MIN_RELIABILITY = 21, 1e-5, 1e5, 0.1  # the defaults
OWN = ("ridge", "pls")


def _checked_method(name: str, value: Any) -> Any:
    if (isinstance(value, str) and value in OWN) or kind_of(value) == "regressor":
        return value
    raise ParameterError(
        f"{name} must be ridge, pls or an instance of a scikit-learn regressor, got {value!r}. "
        "Pass one of these."
    )


Method: TypeAlias = Annotated[
    Literal["ridge", "pls"] | Estimator,
    Option("ridge|pls, in Python also a scikit-learn regressor", _checked_method),
]


@dataclass(frozen=True)
class Options:
    """What is fitted, checked for options of another method."""

    method: Literal["ridge", "pls"] | Estimator
    n_alphas: int
    lowest_alpha: float
    highest_alpha: float
    n_components: int | None

    def __post_init__(self) -> None:
        if self.method != "pls" and self.n_components is not None:
            raise ParameterError(
                f"n_components={self.n_components} is an option of method='pls', got "
                f"method={self.named}. Pass that, or leave it out."
            )
        if self.method != "ridge":
            self._refuse_penalties()
        elif self.n_alphas == 1 and self.highest_alpha != HIGHEST_ALPHA:
            raise ParameterError(
                f"highest_alpha={self.highest_alpha:g} ends a range of penalties, and n_alphas=1 "
                "takes lowest_alpha as it is. Leave one of them out."
            )
        if self.n_alphas > 1 and not self.lowest_alpha < self.highest_alpha:
            raise ParameterError(
                f"lowest_alpha={self.lowest_alpha:g} is not below "
                f"highest_alpha={self.highest_alpha:g}. Swap them, or pass n_alphas=1."
            )

    def _refuse_penalties(self) -> None:
        for name, value, default in (
            ("n_alphas", self.n_alphas, N_ALPHAS),
            ("lowest_alpha", self.lowest_alpha, LOWEST_ALPHA),
            ("highest_alpha", self.highest_alpha, HIGHEST_ALPHA),
        ):
            if value != default:
                raise ParameterError(
                    f"{name}={value:g} is an option of method='ridge', got method={self.named}. "
                    "Pass that, or leave it out."
                )

    @property
    def named(self) -> str:
        """The method in a message."""
        return repr(self.method) if isinstance(self.method, str) else short(self.method)

    @property
    def what(self) -> Literal["alpha", "n_components"] | None:
        """What is chosen for each unit and told beside the score."""
        if not isinstance(self.method, str):
            return None
        return "alpha" if self.method == "ridge" else "n_components"

    @property
    def choose(self) -> bool:
        """Whether anything is left to be chosen by inner folds."""
        if not isinstance(self.method, str):
            return False
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

    def side(self, ceiling: Ceiling) -> Callable[..., Side]:
        """How a side is prepared."""
        if isinstance(self.method, str):
            return partial(linear_side, ceiling=ceiling)
        return partial(plain_side, ceiling=ceiling)

    def extras(self, score: Measure, dims: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
        """What stands beside each value of a score."""
        return {OTHER[score]: dims, **({self.what: dims} if self.what else {})}

    @property
    def described(self) -> dict[str, str]:
        """A user's own method with all its parameters, for ``params`` of the result."""
        return {} if isinstance(self.method, str) else {"method": described(self.method)}

    def estimator(self, words: str) -> str | None:
        """What a result is called where the method is a user's own."""
        return None if isinstance(self.method, str) else f"{short(self.method)}, {words}"


def refuse_unused(ceiling: Ceiling, min_reliability: float) -> None:
    """Refuse a least reliability that nothing asks for."""
    if ceiling == "none" and min_reliability != MIN_RELIABILITY:
        raise ParameterError(
            f"min_reliability={min_reliability:g} leaves units out of a score under a ceiling, "
            "and ceiling is 'none'. Pass ceiling='reliability' with it, or leave it out."
        )


@dataclass(frozen=True)
class Predicted:
    """Scores of every unit of y by name, and what was chosen for it, where anything was."""

    scores: Mapping[str, Values]
    chosen: Values | None


def predict(
    x: Side, y: Side, options: Options, context: Context, score: Measure, name: str
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
    chosen = None
    if isinstance(x, PlainSide) and isinstance(y, PlainSide):
        assert not isinstance(options.method, str)
        sums = regressed(x, y, plans, options.method, context, name)
    else:
        assert isinstance(x, LinearSide) and isinstance(y, LinearSide)
        sums, chosen = _linear(x, y, plans, options, name)
    return Predicted({"r2": to_host(sums.r2), "r": to_host(sums.r)}, chosen)


def _linear(
    x: LinearSide, y: LinearSide, plans: tuple[Nested, ...], options: Options, name: str
) -> tuple[Sums, Values]:
    """Sums of all folds by one of the own methods, and what was chosen for each unit."""
    results, choices = [], []
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
    return sums, np.exp(np.concatenate(choices).mean(axis=0))


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
    value: Values, score: Measure, y: Side, min_reliability: float
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
    name: str, y: Any, lost: np.ndarray[Any, np.dtype[np.bool_]], min_reliability: float
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
