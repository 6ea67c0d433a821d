"""Linear read-outs of classes and amounts: fitted on some stimuli, asked about others.

Every method ends in coefficients and intercepts, so that a read-out is one matrix product whoever
fitted it. Scaling uses the fit rows of each fit alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from reptools.arrays import matmul
from reptools.statistics.folds import Rows
from reptools.statistics.readout import discriminants
from reptools.statistics.readout.logistic import fit_logistic
from reptools.statistics.readout.standard import Own, Standard

Values = np.ndarray[Any, Any]
Codes = np.ndarray[Any, np.dtype[np.intp]]
Method = Literal["logistic", "ridge", "lda", "mean_difference"]

NARROW = 1e-4  # variance over mean square of fit rows below which shared coordinates are too coarse
OUTPUTS = 64  # outputs fitted together: enough for products at full speed, and small in memory


@dataclass(frozen=True)
class Problem:
    """Something to read out, and the stimuli to learn it from.

    Attributes
    ----------
    target : int array (stimulus,) or float array (stimulus, component)
        Class numbers, or amounts.
    fit : array of int
        Rows to learn from.
    C : float
        Inverse strength of the penalty; the ridge penalty is 1 / C.
    """

    target: Values
    fit: Rows
    C: float = 1.0


@dataclass(frozen=True)
class Readout:
    """A fitted linear map from standardised activations to amounts or to scores of classes.

    Attributes
    ----------
    coefficients : array (output, unit)
    intercepts : array (output,)
    classes : int array (class,)
        Class numbers seen in the fit rows. One output for two classes means: above 0, the second.
    converged : bool
    """

    coefficients: Values
    intercepts: Values
    classes: Codes
    converged: bool = True

    def amounts(self, z: Values) -> Values:
        """Outputs (stimulus, output)."""
        outputs: Values = matmul(z, self.coefficients.T) + self.intercepts
        return outputs

    def answers(self, z: Values) -> Codes:
        """The class number answered for each stimulus."""
        outputs = self.amounts(z)
        if outputs.shape[1] == 1 and len(self.classes) == 2:
            return np.asarray(self.classes[(outputs[:, 0] > 0).astype(np.intp)])
        return np.asarray(self.classes[outputs.argmax(axis=1)])

    def log_probabilities(self, z: Values) -> Values:
        """Natural logarithm (stimulus, class) of each seen class's probability, if logistic."""
        logits = self.amounts(z)
        if logits.shape[1] == 1 and len(self.classes) == 2:
            logits = np.concatenate([np.zeros_like(logits), logits], axis=1)
        return np.asarray(logits - np.logaddexp.reduce(logits, axis=1, keepdims=True))


def fit_readouts(
    x: Values, standard: Standard, problems: Sequence[Problem], method: Method
) -> list[Readout]:
    """Fit read-outs that share activations (stimulus, unit); amounts by ridge whatever the method.

    Methods for classes:

    - ``logistic``: L2-penalised logistic regression (softmax beyond two classes), many together.
    - ``ridge``: least squares on +1 for the class and -1 for all others, one output a class.
    - ``lda``: Gaussian classes of one covariance S. Ledoit and Wolf's estimate from the pooled
      residuals about the class means, (1 - a) S + a tr(S)/p I, with the shares of the classes in
      the fit rows as priors.
    - ``mean_difference``: the class whose mean is nearest; with two, the projection on the
      difference of the means, cut half way.
    """
    from threadpoolctl import threadpool_limits

    used = np.unique(np.concatenate([problem.fit for problem in problems]))
    z = standard.of_rows(x, used)
    inner = [replace(p, target=p.target[used], fit=np.searchsorted(used, p.fit)) for p in problems]
    found: list[Readout | None] = [None] * len(problems)
    iterative = []
    closed: dict[bytes, list[int]] = {}
    for number, problem in enumerate(inner):
        if problem.target.ndim == 1 and method == "logistic":
            iterative.append(number)
        else:
            closed.setdefault(problem.fit.tobytes(), []).append(number)
    # one thread: answers near the boundary would depend on how many there are, and the small
    # products of an iterative fit gain nothing from more
    with threadpool_limits(1, "blas"):
        for numbers, readouts in _logistic(z, standard, inner, iterative):
            for number, readout in zip(numbers, readouts, strict=True):
                found[number] = readout
        for numbers in closed.values():  # those of the same rows share their products
            same = [inner[number] for number in numbers]
            for number, readout in zip(numbers, _closed(z, standard, same, method), strict=True):
                found[number] = readout
    return [readout for readout in found if readout is not None]


# --- logistic -----------------------------------------------------------------------------------


def _logistic(
    z: Values, standard: Standard, problems: Sequence[Problem], numbers: Sequence[int]
) -> Iterable[tuple[list[int], list[Readout]]]:
    """Logistic read-outs, those of as many classes together, a batch at a time."""
    seen = {number: np.unique(problems[number].target[problems[number].fit]) for number in numbers}
    by_size: dict[int, list[int]] = {}
    for number in numbers:
        by_size.setdefault(len(seen[number]), []).append(number)
    for size, same in sorted(by_size.items()):
        if size == 1:  # nothing to tell apart
            nothing = np.zeros((1, z.shape[1])), np.zeros(1)
            yield same, [Readout(*nothing, seen[number]) for number in same]
            continue
        step = max(1, OUTPUTS // (1 if size == 2 else size))
        for start in range(0, len(same), step):
            batch = same[start : start + step]
            chosen = [problems[number] for number in batch]
            yield batch, _logistic_batch(z, standard, chosen, [seen[n] for n in batch])


def _logistic_batch(
    z: Values, standard: Standard, problems: Sequence[Problem], seen: Sequence[Codes]
) -> list[Readout]:
    fitted = np.zeros((len(problems), len(z)), dtype=bool)
    classes = np.zeros((len(problems), len(z)), dtype=np.intp)
    for row, (problem, known) in enumerate(zip(problems, seen, strict=True)):
        fitted[row, problem.fit] = True
        classes[row, problem.fit] = np.searchsorted(known, problem.target[problem.fit])
    penalty = standard.strength / np.array([p.C * len(p.fit) for p in problems])
    variance, narrow = _variances(z, fitted)
    if standard.scaling == "none":
        spread, narrow = np.ones_like(variance), np.zeros_like(narrow)
    else:
        spread = np.sqrt(variance)
    readouts = {}
    for row in np.flatnonzero(narrow).tolist():
        rows = problems[row].fit
        readouts[row] = _logistic_alone(z[rows], classes[row, rows], penalty[row], seen[row])
    shared = np.flatnonzero(~narrow)
    if shared.size:
        parts = (classes, fitted, penalty, spread, variance)
        fits = fit_logistic(z, *(part[shared] for part in parts))
        for number, row in enumerate(shared.tolist()):
            outputs = (fits.coefficients[number], fits.intercepts[number])
            coefficients, intercepts = (part.astype(np.float64) for part in outputs)
            converged = bool(fits.converged[number])
            readouts[row] = Readout(coefficients, intercepts, seen[row], converged)
    return [readouts[row] for row in range(len(problems))]


def _logistic_alone(part: Values, classes: Codes, penalty: float, known: Codes) -> Readout:
    """One fit in coordinates of its own rows, where single precision of shared ones is too few."""
    own = Own.of(part, "zscore")
    ones = np.ones((1, part.shape[1]))
    every = np.ones((1, len(part)), dtype=bool)
    fits = fit_logistic(
        own.part, classes[None], every, np.array([penalty]), ones, 1.0 - own.constant[None]
    )
    restored = own.restored(fits.coefficients[0], fits.intercepts[0])
    return Readout(*restored, known, bool(fits.converged[0]))


def _variances(z: Values, fitted: Values) -> tuple[Values, Values]:
    """Variance (fit, unit) over the fit rows of each, and fits with a unit narrow among all rows.

    Exactly 0 where the fit rows hold one value.
    """
    shares = fitted / fitted.sum(axis=1, keepdims=True)
    mean, square = matmul(shares, z), matmul(shares, z * z)
    variance = square - mean**2
    # the difference of two equal numbers says little
    for row in np.flatnonzero((variance <= NARROW * square).any(axis=1)):
        units = np.flatnonzero(variance[row] <= NARROW * square[row])
        columns = z[np.ix_(fitted[row], units)]
        constant = (columns == columns[:1]).all(axis=0)
        variance[row, units] = np.where(constant, 0.0, columns.var(axis=0))
    return variance, ((variance > 0) & (variance <= NARROW * square)).any(axis=1)


# --- closed forms -------------------------------------------------------------------------------


def _closed(
    z: Values, standard: Standard, problems: Sequence[Problem], method: Method
) -> list[Readout]:
    """Read-outs of problems that share their fit rows."""
    rows = problems[0].fit
    own = Own.of(z[rows], standard.scaling)
    targets = [problem.target[rows] for problem in problems]
    if method in ("lda", "mean_difference"):
        solve = discriminants.lda if method == "lda" else discriminants.nearest_mean
        solved = [solve(own.part, target) for target in targets]
    else:
        columns = [_columns(target) for target in targets]
        penalties = [standard.strength / problem.C for problem in problems]
        solved = discriminants.ridge(own.part, columns, penalties)
    readouts = []
    for target, (coefficients, intercepts) in zip(targets, solved, strict=True):
        known = np.unique(target) if target.ndim == 1 else np.arange(0)
        readouts.append(Readout(*own.restored(coefficients, intercepts), known))
    return readouts


def _columns(target: Values) -> Values:
    """Amounts as they are; classes as +1 and -1, one column for two and one each for more."""
    if target.ndim == 2:
        return target
    known = np.unique(target)
    known = known[1:] if len(known) == 2 else known
    return np.where(target[:, None] == known, 1.0, -1.0)
