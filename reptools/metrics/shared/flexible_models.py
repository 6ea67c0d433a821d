"""Models with free weights: fitted to the RDM of some stimuli, tested on the RDM of others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np

from reptools.arrays import matmul
from reptools.engine.context import Context
from reptools.errors import DataError, StimulusError
from reptools.statistics.rdms.comparators import ROUNDING, prepared_rdm, similarity
from reptools.statistics.rdms.model_fits import reduced, weights
from reptools.statistics.rdms.pairs import Rows, among
from reptools.statistics.rdms.whitening import whitened

Vector: TypeAlias = np.ndarray[Any, Any]
Fit: TypeAlias = Literal["nonnegative", "weighted", "select"]
Flexible: TypeAlias = Literal[
    "spearman",
    "kendall_tau_a",
    "kendall_tau_b",
    "rho_a",
    "pearson",
    "cosine",
    "whitened_cosine",
    "whitened_pearson",
]
WITHOUT_INTERCEPT = ("cosine", "whitened_cosine")


@dataclass(frozen=True)
class SizedRdm:
    """A condensed RDM of standard deviation 1 (root mean square 1 for the cosines)."""

    compare: Flexible
    values: Vector


def sized_rdm(rdm: Vector, /, *, compare: Flexible) -> SizedRdm:
    """Bring an RDM to unit size, so that weights of different models can be compared."""
    prepared_rdm(rdm, method=compare)  # refuses what cannot be compared
    scaled = rdm / np.abs(rdm).max()
    about = scaled if compare in WITHOUT_INTERCEPT else scaled - scaled.mean()
    return SizedRdm(compare, scaled / np.sqrt(np.mean(about**2)))


@dataclass(frozen=True)
class HeldOut:
    """Held-out scores (fold,), weights (fold, model), and folds with nothing predicted."""

    scores: Vector
    weights: Vector
    flat_folds: int


def held_out(rdm: SizedRdm, models: Mapping[str, SizedRdm], fit: Fit, context: Context) -> HeldOut:
    """Fit on the pairs among the fit stimuli of each fold, score on those among its test stimuli.

    Raises
    ------
    StimulusError
        A fold has fewer than 3 stimuli on one side.
    DataError
        Models are collinear among the fit stimuli, or the RDM is constant among test stimuli.
    """
    X, y, compare = np.stack([m.values for m in models.values()]), rdm.values, rdm.compare
    names = list(models)
    n = len(context.stimulus)
    scores, chosen, flat = [], [], 0
    folds = context.folds()
    for number, (fit_rows, test_rows) in enumerate(folds):
        if min(fit_rows.size, test_rows.size) < 3:
            raise StimulusError(
                f"fold {number + 1} fits on {fit_rows.size} stimuli and tests on "
                f"{test_rows.size}, and an RDM to compare has at least 3. Pass fewer folds."
            )
        pairs = among(n, test_rows)
        try:
            w = _fitted(X, y, among(n, fit_rows), fit, compare, names)
            score = _scored(y[pairs], matmul(w, X[:, pairs]), compare)
        except DataError as error:
            raise DataError(f"in fold {number + 1} of {len(folds)}: {error}") from None
        flat += score is None
        scores.append(score or 0.0)
        chosen.append(w)
    return HeldOut(np.array(scores), np.array(chosen), flat)


def _fitted(
    X: Vector, y: Vector, pairs: Rows, fit: Fit, compare: Flexible, names: Sequence[str]
) -> Vector:
    """Weights of the models on these pairs; 1 for the best model when one is selected."""
    target, predictors = y[pairs], X[:, pairs]
    if fit == "select":
        scores = [_scored(target, model, compare) or 0.0 for model in predictors]
        return np.asarray(np.eye(len(X))[int(np.argmax(scores))])
    vectors = [_in_metric(vector, compare) for vector in (target, *predictors)]
    problem = reduced(vectors[0], vectors[1:], names)
    return weights(problem, nonnegative=fit == "nonnegative")


def _in_metric(vector: Vector, compare: Flexible) -> Vector:
    """Coordinates in which least squares maximises the comparator (Pearson's for rank ones)."""
    if compare not in WITHOUT_INTERCEPT:
        vector = vector - vector.mean()
    return whitened(vector) if compare in ("whitened_cosine", "whitened_pearson") else vector


def _scored(target: Vector, prediction: Vector, compare: Flexible) -> float | None:
    """The comparator of two vectors; None where the prediction makes no difference of pairs."""
    size = float(np.abs(prediction).max())
    spread = size if compare in WITHOUT_INTERCEPT else float(np.ptp(prediction))
    one = prepared_rdm(target, method=compare)
    if size == 0.0 or spread <= ROUNDING * size:
        return None
    return similarity(one, prepared_rdm(prediction, method=compare))
