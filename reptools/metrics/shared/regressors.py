"""Predictions by a regressor of scikit-learn, fitted to all units of y at once in each fold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from reptools.arrays import to_host
from reptools.engine.context import Context
from reptools.errors import ParameterError, warn
from reptools.statistics.blocks import Blocks, Rows
from reptools.statistics.readout.estimators import FAILURES, Estimator, fitted, short
from reptools.statistics.regression.held_out import HeldRows, Sums, sums_of
from reptools.statistics.regression.linear_sides import Ceiling, averaged
from reptools.statistics.regression.nested import Nested

Values: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True, eq=False)
class PlainSide:
    """One representation as it is, since a regressor may mind its scale and origin.

    Attributes
    ----------
    x : array (stimulus, unit)
        In float64.
    ceiling : bool
        Whether scores are to be divided by what is attainable.
    reliability : array (unit,) or None
        Of the mean over repetitions, where a ceiling is asked for and there are two or more.
    """

    x: Values
    ceiling: bool
    reliability: Values | None


def plain_side(x: Rows, /, *, ceiling: Ceiling) -> PlainSide:
    """Average the repetitions of one side in memory."""
    if isinstance(x, Blocks):
        raise ParameterError(
            f"a scikit-learn regressor needs the whole side in memory, and its {x.n} stimuli are "
            "read in blocks. Load it with .load(), or pass method='ridge', which streams."
        )
    x, reliability = averaged(x, ceiling)
    return PlainSide(np.asarray(to_host(x), np.float64), ceiling == "reliability", reliability)


def regressed(
    x: PlainSide,
    y: PlainSide,
    plans: tuple[Nested, ...],
    estimator: Estimator,
    context: Context,
    name: str,
) -> Sums:
    """Sums over the test stimuli of all folds, by a clone of the estimator in each.

    Raises
    ------
    ParameterError
        The estimator cannot be fitted to a fold, or its predictions are not one finite number for
        each stimulus and unit.
    """
    place = np.argsort(np.argsort(context.stimulus))
    shift = y.x[:1]
    truth = y.x - shift  # a unit that does not vary is exactly 0
    scale = _powers(truth)
    parts: list[Sums] = []
    stuck = 0
    said: set[str] = set()  # so that all folds say one thing once
    for plan in plans:
        for outer in plan.outer:
            fit, test = plan.rows(outer.fit), plan.rows(outer.test)
            fit = fit[np.argsort(place[fit])]  # a fit may hang on the order of rows
            regressor = _Fitted(estimator, x.x[fit], y.x[fit], context.seed, said)
            stuck += not regressor.converged
            predicted = regressor.predict(x.x[test])
            mean = truth[fit].mean(axis=0)
            held = HeldRows.of((predicted - shift - mean) / scale, (truth[test] - mean) / scale)
            parts.append(sums_of(held.x, held.y, held.total))
    if stuck:
        warn(f"{name}: {short(estimator)} did not converge in {stuck} of {len(parts)} folds")
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


class _Fitted:
    """A clone of a regressor, fitted to the rows of one fold."""

    def __init__(
        self, estimator: Estimator, x: Values, y: Values, seed: int, said: set[str]
    ) -> None:
        self.what = f"method={short(estimator)} for {x.shape[1]} units of x and {y.shape[1]} of y"
        self.width = y.shape[1]
        # one target is a vector by the rules of scikit-learn, but for those that take only several
        target = y[:, 0] if self.width == 1 and _takes_one(estimator) else y
        self.model, self.converged = fitted(
            estimator, x, target, seed=seed, what=self.what, said=said
        )

    def predict(self, x: Values) -> Values:
        """Predictions (stimulus, unit)."""
        try:
            answer = np.asarray(self.model.predict(x), dtype=np.float64)
        except FAILURES as error:
            raise ParameterError(
                f"{self.what} cannot predict: {error}. Change its parameters, or pass another."
            ) from error
        if answer.size != len(x) * self.width or not np.isfinite(answer).all():
            bad = int(answer.size - np.isfinite(answer).sum())
            raise ParameterError(
                f"{self.what} predicts an array of {answer.shape} with {bad} values that are not "
                f"finite for {len(x)} stimuli. Change its parameters, or pass another."
            )
        return answer.reshape(len(x), self.width)


def _takes_one(estimator: Estimator) -> bool:
    from sklearn.utils import get_tags

    return bool(get_tags(estimator).target_tags.single_output)


def _powers(truth: Values) -> Values:
    """Powers of two that bring each unit's largest magnitude to between 0.5 and 1."""
    largest = np.abs(truth).max(axis=0)
    return np.where(largest > 0, np.ldexp(1.0, np.frexp(largest)[1]), 1.0)
