"""Many logistic regressions that share activations, fitted together.

Folds, features and penalties are columns of one problem: what a single fit does by products of a
matrix and a vector becomes products of matrices, which a processor runs several times as fast.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from reptools.arrays import matmul

Values = np.ndarray[Any, Any]

MEMORY = 10  # pairs of steps and gradient changes kept by L-BFGS, as in scipy
MAX_ITERATIONS = 2000
TOLERANCE = 1e-4  # largest gradient entry of the mean loss at the end, as in scikit-learn
SMALLEST = float(np.finfo(np.float32).tiny)
LARGEST = 1e12  # a penalty that leaves no coefficient a single precision number can tell from 0
MAX_TRIALS = 20  # step lengths tried in one line search
DESCENT, OVERSHOOT = 0.9, 0.5  # slopes that end a line search, as shares of the first slope


@dataclass(frozen=True)
class Fits:
    """Coefficients (fit, output, unit), intercepts (fit, output), and which fits converged."""

    coefficients: Values
    intercepts: Values
    converged: np.ndarray[Any, np.dtype[np.bool_]]


@dataclass(frozen=True)
class _Batch:
    """Fits not yet finished. Arrays are (fit, output, ...) in float32.

    ``hits`` is 1 where an output is the class of a stimulus; ``weights`` sums to 1 over the fit
    rows of each fit and is 0 elsewhere; ``reach`` is the inverse of the largest curvature that
    the loss can have along a coefficient, and 0 where this must stay 0; ``limit`` is the slope
    along a coefficient at which a fit may end.
    """

    hits: Values
    weights: Values
    penalty: Values
    reach: Values
    limit: Values

    def kept(self, rows: Values) -> _Batch:
        parts = (self.hits, self.weights, self.penalty, self.reach, self.limit)
        return _Batch(*(part[rows] for part in parts))

    def gradient(self, design: Values, residual: Values, theta: Values) -> Values:
        """Of the loss by the coefficients that may move."""
        gradient = _times(residual, design)
        gradient += self.penalty * theta
        gradient[np.broadcast_to(self.reach == 0, gradient.shape)] = 0
        return gradient

    def residual(self, logits: Values) -> Values:
        """Weighted probability minus hit; what the gradient is made of."""
        rest = probabilities(logits)
        rest -= self.hits
        rest *= self.weights
        return rest


@dataclass(frozen=True)
class _Line:
    """The loss of each fit along its search direction: logits are linear in the step length."""

    batch: _Batch
    logits: Values
    change: Values  # of the logits for a step of length 1
    slope: Values  # of the penalty at 0
    curvature: Values  # of the penalty

    def kept(self, rows: Values) -> _Line:
        parts = (self.logits, self.change, self.slope, self.curvature)
        return _Line(self.batch.kept(rows), *(part[rows] for part in parts))

    def at(self, step: Values) -> tuple[Values, Values, Values]:
        """Logits, residual and slope at a step length."""
        logits = self.logits + step[:, None, None] * self.change
        residual = self.batch.residual(logits)
        slope = _dot(residual, self.change) + self.slope + step * self.curvature
        return logits, residual, slope

    def newton(self, slope: Values) -> Values:
        """The step length that Newton's method takes from 0."""
        chance = probabilities(self.logits)
        spread = chance * self.change
        second = _dot(self.batch.weights * spread, self.change)
        if chance.shape[1] == 1:
            second = second - _dot(self.batch.weights * spread, spread)
        else:
            second = second - _dot(self.batch.weights, spread.sum(axis=1, keepdims=True) ** 2)
        return np.asarray(-slope / np.maximum(second + self.curvature, SMALLEST))


def fit_logistic(
    x: Values, classes: Values, fitted: Values, penalty: Values, spread: Values, variance: Values
) -> Fits:
    """Fit L2-penalised logistic regressions to one array of activations.

    Each minimises (mean log loss of its fit rows) + penalty |w|^2 / 2 over w = spread * v and a
    free intercept, v being the coefficients of ``x``, by L-BFGS until no gradient entry (by w) is
    above 1e-4: the loss and the stopping rule of scikit-learn's LogisticRegression on x / spread.

    Parameters
    ----------
    x : array (stimulus, unit)
        Activations of order 1, centred or nearly so.
    classes : int array (fit, stimulus)
        Class numbers; all fits have the same number of classes. Two classes have one output, the
        logit of class 1; more have one each (softmax).
    fitted : bool array (fit, stimulus)
        Fit rows of each.
    penalty : array (fit,)
    spread : array (fit, unit)
        What each unit is divided by in the eyes of the penalty.
    variance : array (fit, unit)
        Of the fit rows; a unit with 0 keeps the coefficient 0.
    """
    n_classes = int(classes.max()) + 1
    ones = np.ones((len(x), 1), np.float32)
    design = np.concatenate([x.astype(np.float32), ones], axis=1)
    outputs = np.arange(1, 2) if n_classes == 2 else np.arange(n_classes)
    by_unit = np.minimum(penalty, LARGEST)[:, None] * spread**2
    reach = np.where(variance > 0, 1 / (by_unit + variance / 4 + SMALLEST), 0)
    intercept = np.ones((len(classes), 1))
    batch = _Batch(
        (classes[:, None, :] == outputs[:, None]).astype(np.float32),
        (fitted / fitted.sum(axis=1, keepdims=True))[:, None, :].astype(np.float32),
        np.concatenate([by_unit, 0 * intercept], axis=1)[:, None, :].astype(np.float32),
        np.concatenate([reach, 4 * intercept], axis=1)[:, None, :].astype(np.float32),
        TOLERANCE * np.concatenate([spread, intercept], axis=1)[:, None, :].astype(np.float32),
    )
    theta, converged = _minimise(design, batch)
    return Fits(theta[:, :, :-1], theta[:, :, -1], converged)


def probabilities(logits: Values) -> Values:
    """Class probabilities along axis 1; of a single output, the probability of class 1."""
    if logits.shape[1] == 1:
        chance = np.negative(logits)
        with np.errstate(over="ignore"):  # 1 / (1 + inf) is the 0 that is meant
            np.exp(chance, out=chance)
        chance += 1
        np.reciprocal(chance, out=chance)
        return np.asarray(chance)
    chance = logits - logits.max(axis=1, keepdims=True)
    np.exp(chance, out=chance)
    chance /= chance.sum(axis=1, keepdims=True)
    return np.asarray(chance)


# --- L-BFGS, one independent run per fit ---------------------------------------------------------


def _minimise(design: Values, batch: _Batch) -> tuple[Values, Values]:
    """Parameters (fit, output, unit and intercept) at the minimum, and whether it was reached."""
    n_fits, n_outputs, _ = batch.hits.shape
    found = np.zeros((n_fits, n_outputs, design.shape[1]), np.float32)
    converged = np.zeros(n_fits, dtype=bool)
    active = np.arange(n_fits)
    theta = found.copy()
    logits = _times(theta, design.T)
    gradient = batch.gradient(design, batch.residual(logits), theta)
    history = _History((), (), ())
    for _ in range(MAX_ITERATIONS):
        done = np.asarray((np.abs(gradient) <= batch.limit).all(axis=(1, 2)))
        fresh = done & ~converged[active]
        found[active[fresh]] = theta[fresh]
        converged[active[fresh]] = True
        if done.all():
            break
        if 4 * done.sum() >= len(active):  # finished fits ride along until dropping them pays
            left = ~done
            active, batch, history = active[left], batch.kept(left), history.kept(left)
            theta, logits, gradient = theta[left], logits[left], gradient[left]
        direction = history.direction(gradient, batch.reach)
        logits, residual, step = _search(design, batch, theta, logits, gradient, direction, history)
        direction *= step[:, None, None]
        theta = theta + direction
        before, gradient = gradient, batch.gradient(design, residual, theta)
        history = history.with_pair(direction, gradient - before)
    stuck = active[~converged[active]]
    found[stuck] = theta[~converged[active]]
    return found, converged


@dataclass(frozen=True)
class _History:
    """The last steps and gradient changes, newest last, and the inverse of their products."""

    steps: tuple[Values, ...]
    changes: tuple[Values, ...]
    inverses: tuple[Values, ...]

    def kept(self, rows: Values) -> _History:
        parts = (self.steps, self.changes, self.inverses)
        return _History(*(tuple(array[rows] for array in part) for part in parts))

    def with_pair(self, step: Values, change: Values) -> _History:
        product = _dot(step, change)
        inverse = _reciprocal(product)  # 0 skips a pair without curvature
        return replace(
            self,
            steps=(*self.steps, step)[-MEMORY:],
            changes=(*self.changes, change)[-MEMORY:],
            inverses=(*self.inverses, inverse)[-MEMORY:],
        )

    def direction(self, gradient: Values, reach: Values) -> Values:
        """Minus the inverse Hessian's estimate times the gradient (two-loop recursion)."""
        direction = -gradient
        if not self.steps:
            return direction * reach
        pairs = list(zip(self.steps, self.changes, self.inverses, strict=True))
        shares = []
        for step, change, inverse in reversed(pairs):
            share = inverse * _dot(step, direction)
            direction -= share[:, None, None] * change
            shares.append(share)
        newest = self.changes[-1]
        scale = _reciprocal(self.inverses[-1]) * _reciprocal(_dot(newest * reach, newest))
        direction *= np.where(scale > 0, scale, np.float32(1))[:, None, None] * reach
        for (step, change, inverse), share in zip(pairs, reversed(shares), strict=True):
            direction += (share - inverse * _dot(change, direction))[:, None, None] * step
        return direction


def _search(
    design: Values,
    batch: _Batch,
    theta: Values,
    logits: Values,
    gradient: Values,
    direction: Values,
    history: _History,
) -> tuple[Values, Values, Values]:
    """Logits, residual and step length where each fit's slope has shrunk enough.

    The loss is convex, so the slope alone says on which side of the minimum a step ends. The
    products with the activations are made once; a further trial costs no more than its logits.
    """
    shrunk = batch.penalty * direction
    line = _Line(
        batch,
        logits,
        _times(direction, design.T),
        _dot(shrunk, theta),
        _dot(shrunk, direction),
    )
    first = _dot(gradient, direction)
    step = np.ones(len(first), np.float32) if history.steps else line.newton(first)
    logits, residual, slope = line.at(step)
    rows = np.flatnonzero(_unfinished(slope, first))
    low, high = np.zeros_like(step), np.full_like(step, np.inf)
    at_low, at_high = first.copy(), high.copy()
    for _ in range(MAX_TRIALS):
        if not rows.size:
            break
        past = rows[slope[rows] > 0]
        short = rows[slope[rows] <= 0]
        high[past], at_high[past] = step[past], slope[past]
        longer = _extrapolated(low[short], step[short], at_low[short], slope[short])
        low[short], at_low[short] = step[short], slope[short]
        step[short] = longer
        bounded = rows[np.isfinite(high[rows])]
        step[bounded] = _interpolated(
            low[bounded], high[bounded], at_low[bounded], at_high[bounded]
        )
        logits[rows], residual[rows], slope[rows] = line.kept(rows).at(step[rows])
        rows = rows[_unfinished(slope[rows], first[rows])]
    return logits, residual, step


def _unfinished(slope: Values, first: Values) -> Values:
    return np.asarray((slope > -OVERSHOOT * first) | (slope < DESCENT * first))


def _extrapolated(low: Values, step: Values, at_low: Values, slope: Values) -> Values:
    """A longer step where the slope is still steep: secant, between 1.5 and 10 times as far."""
    gain = slope - at_low
    secant = np.where(gain > 0, step - slope * (step - low) / np.where(gain > 0, gain, 1), np.inf)
    return np.clip(secant, 1.5 * step, 10 * step)


def _interpolated(low: Values, high: Values, at_low: Values, at_high: Values) -> Values:
    """A step between two that enclose the minimum: secant, not next to either end."""
    width = high - low
    secant = low - at_low * width / (at_high - at_low)
    return np.asarray(np.clip(secant, low + 0.1 * width, high - 0.1 * width))


def _dot(a: Values, b: Values) -> Values:
    """One scalar product per fit."""
    return np.asarray(np.einsum("fi,fi->f", a.reshape(len(a), -1), b.reshape(len(b), -1)))


def _times(a: Values, b: Values) -> Values:
    """(fit, output, i) times (i, j), as one product."""
    product = matmul(a.reshape(-1, a.shape[2]), b)
    return np.asarray(product.reshape(*a.shape[:2], b.shape[1]))


def _reciprocal(values: Values) -> Values:
    positive = values > 0
    inverse = np.where(positive, 1 / np.where(positive, values, 1), 0)
    return np.asarray(inverse, dtype=np.float32)
