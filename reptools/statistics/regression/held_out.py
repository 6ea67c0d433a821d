"""What linear predictions of held-out stimuli are worth, from their rows or from their moments.

Both sides are counted from the means of the fit rows. With predictions p and truth y of a target,
everything that a score needs is a few sums over held-out stimuli, which add over folds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from reptools.arrays import Array, array_namespace, matmul, ratio
from reptools.statistics.gram import centred

# mean square of a target, of magnitude 1 elsewhere, that is the rounding of one number
ROUNDING = 1e-26


@dataclass(frozen=True)
class Sums:
    """Sums over held-out stimuli of each target, all folds together.

    Attributes
    ----------
    residual, total : array (target,)
        Squares of the errors, and of the truth about the mean of the fit rows.
    correlation, defined : array (target,)
        Sum over folds of the correlation of predictions and truth within the fold, and in how
        many folds there is one.
    """

    residual: Array
    total: Array
    correlation: Array
    defined: Array

    def __add__(self, other: Sums) -> Sums:
        return Sums(
            self.residual + other.residual,
            self.total + other.total,
            self.correlation + other.correlation,
            self.defined + other.defined,
        )

    @property
    def r2(self) -> Array:
        """One minus residual over total; NaN for a target whose total is 0."""
        return 1 - ratio(self.residual, self.total)

    @property
    def r(self) -> Array:
        """Mean over folds of the correlation; NaN where none has one.

        Pooled over folds it would be negative for noise: what one fold's truth adds to the
        predictions of the others is in the denominator.
        """
        return ratio(self.correlation, self.defined)


def _sums(residual: Array, total: Array, product: Array, predicted: Array, observed: Array) -> Sums:
    """One fold's sums, from products and squares about the means of the fold."""
    xp = array_namespace(total)
    # predictions that vary this much less than the truth are one number and its rounding
    varies = (total > 0) & (observed > 0) & (predicted > 1e-24 * observed)
    # roots first: a product of two small squares would underflow
    norm = xp.sqrt(xp.where(varies, predicted, xp.ones_like(predicted)))
    norm = norm * xp.sqrt(xp.where(varies, observed, xp.ones_like(observed)))
    correlation = xp.where(varies, product / norm, xp.zeros_like(product))
    return Sums(residual, total, correlation, xp.astype(varies, total.dtype))


class Held(Protocol):
    """Held-out stimuli about the means of the fit rows."""

    @property
    def total(self) -> Array:
        """Sum of squares of the truth (target,)."""

    def products(self, width: int) -> int:
        """Multiplications for one column of weights over so many coordinates."""
        ...

    def turning(self, directions: int) -> int:
        """Multiplications for turning the stimuli into so many directions."""
        ...

    def turned(self, basis: Array) -> Held:
        """The same stimuli in the directions of ``basis`` (coordinate, direction)."""
        ...

    def errors(self, weights: Array, targets: slice) -> Array:
        """Sums of squared errors (option, target) of weights (coordinate, option x target)."""

    def sums(self, weights: Array) -> Sums:
        """What the scores need, for weights (coordinate, target)."""
        ...


@dataclass(frozen=True)
class HeldRows:
    """Held-out rows themselves: ``x`` (stimulus, coordinate) and ``y`` (stimulus, target)."""

    x: Array
    y: Array
    total: Array

    @classmethod
    def of(cls, x: Array, y: Array) -> HeldRows:
        """Rows with the total that belongs to them; ``y`` comes with magnitudes near 1."""
        return cls(x, y, more_than_rounding(_column_squares(y), int(y.shape[0])))

    def products(self, width: int) -> int:
        """One for each row and coordinate."""
        return int(self.x.shape[0]) * width

    def turning(self, directions: int) -> int:
        """A product over the rows."""
        return int(self.x.shape[0] * self.x.shape[1]) * directions

    def turned(self, basis: Array) -> HeldRows:
        """One product over the rows."""
        return HeldRows(matmul(self.x, basis), self.y, self.total)

    def errors(self, weights: Array, targets: slice) -> Array:
        """Residuals row by row, so that a near-perfect fit loses no digits."""
        xp = array_namespace(weights)
        y = self.y[:, targets]
        residual = xp.reshape(matmul(self.x, weights), (y.shape[0], -1, y.shape[1]))
        residual -= y[:, None, :]
        residual *= residual
        return xp.sum(residual, axis=0)

    def sums(self, weights: Array) -> Sums:
        """From the predictions of all rows."""
        return sums_of(matmul(self.x, weights), self.y, self.total)


def sums_of(predicted: Array, truth: Array, total: Array) -> Sums:
    """One fold's sums, from predictions and truth (stimulus, target) and squares of the truth."""
    xp = array_namespace(predicted)
    residual = _column_squares(predicted - truth)
    predicted, observed = centred(predicted), centred(truth)
    product = xp.sum(predicted * observed, axis=0)
    squares = _column_squares(predicted), _column_squares(observed)
    return _sums(residual, total, product, *squares)


def more_than_rounding(total: Array, n: int) -> Array:
    """Sums of squares of targets with magnitudes near 1; 0 where they are those of rounding."""
    return array_namespace(total).where(total > ROUNDING * n, total, 0.0 * total)


def _column_squares(x: Array) -> Array:
    return array_namespace(x).sum(x * x, axis=0)


@dataclass(frozen=True)
class HeldMoments:
    """Held-out stimuli by their moments, for when rows are many or out of memory.

    Attributes
    ----------
    xx, xy, total : arrays (coordinate, coordinate), (coordinate, target), (target,)
        Sums of products about the means of the fit rows.
    x_mean, y_mean : arrays (coordinate,), (target,)
        Means about the means of the fit rows.
    n : int
        Stimuli.
    """

    xx: Array
    xy: Array
    total: Array
    x_mean: Array
    y_mean: Array
    n: int

    def products(self, width: int) -> int:
        """One for each pair of coordinates."""
        return width * width

    def turning(self, directions: int) -> int:
        """A product with the basis on either side."""
        width = int(self.xx.shape[0])
        return width * directions * (width + directions)

    def turned(self, basis: Array) -> HeldMoments:
        """Moments of the turned stimuli."""
        xx = matmul(basis.T, self.xx, basis)
        return HeldMoments(
            xx,
            matmul(basis.T, self.xy),
            self.total,
            matmul(basis.T, self.x_mean),
            self.y_mean,
            self.n,
        )

    def errors(self, weights: Array, targets: slice) -> Array:
        """|y|^2 - 2 w'x'y + w'x'x w."""
        xp = array_namespace(weights)
        xy = self.xy[:, targets]
        products = xp.reshape(matmul(self.xx, weights), (xy.shape[0], -1, xy.shape[1]))
        products -= 2 * xy[:, None, :]
        products *= xp.reshape(weights, products.shape)
        return self.total[targets] + xp.sum(products, axis=0)

    def sums(self, weights: Array) -> Sums:
        """From products of weights and moments."""
        xp = array_namespace(weights)
        squares = xp.sum(weights * matmul(self.xx, weights), axis=0)
        products = xp.sum(weights * self.xy, axis=0)
        mean = matmul(self.x_mean, weights)
        predicted = squares - self.n * mean * mean
        observed = self.total - self.n * self.y_mean * self.y_mean
        # what is left where nothing varies is rounding
        predicted = xp.where(predicted > 1e-14 * squares, predicted, xp.zeros_like(predicted))
        observed = xp.where(observed > 1e-14 * self.total, observed, xp.zeros_like(observed))
        product = products - self.n * mean * self.y_mean
        return _sums(self.total - 2 * products + squares, self.total, product, predicted, observed)
