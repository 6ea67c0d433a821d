"""What small designs explain of many units: all features in one pass over the activations.

Each feature brings a few design columns; the activations are wide. So the cross-products of all
columns with all units are taken together (one skinny matrix product), and every fit, residual and
total follows from them in closed form. Moments are taken about one stimulus of the data, in
float64, so that a large common mean costs no digits and a constant unit is exactly 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from reptools.arrays import Array, array_namespace, asarray_like, device, float64
from reptools.statistics.design import Feature
from reptools.statistics.folds import Folds, Rows

Matrix = np.ndarray[Any, np.dtype[np.float64]]

BLOCK = 2**18  # values of a block of rows: 2 MB of float64, which stay in cache between uses
ESTIMABLE = 1e-12  # smallest share of a design direction's variance that the fit rows must hold


@dataclass(frozen=True)
class Designs:
    """Design columns of all features side by side, orthonormal within each feature.

    Attributes
    ----------
    columns : array (stimulus, 1 + column)
        A column of ones, then the features' columns: mean 0, mean square 1 over the rows in use.
    spans : tuple of slice
        Columns of each feature, counted without the ones; empty for a constant feature.
    """

    columns: Matrix
    spans: tuple[slice, ...]

    @cached_property
    def members(self) -> Matrix:
        """1 where a column (feature, column) belongs to the feature, else 0."""
        members = np.zeros((len(self.spans), self.columns.shape[1] - 1))
        for feature, span in enumerate(self.spans):
            members[feature, span] = 1.0
        return members

    @cached_property
    def same(self) -> Matrix:
        """1 where two columns belong to one feature, else 0."""
        same: Matrix = self.members.T @ self.members
        return same


def designs(features: Sequence[Feature], rows: Rows) -> Designs:
    """Columns of all features, made orthonormal over ``rows``, the stimuli in use."""
    bases = [_basis(feature.columns[rows]) for feature in features]
    ends = np.cumsum([basis.shape[1] for basis in bases]).tolist()
    spans = tuple(slice(e - b.shape[1], e) for e, b in zip(ends, bases, strict=True))
    columns = np.zeros((len(features[0].values), 1 + ends[-1]))
    columns[:, 0] = 1.0
    columns[rows, 1:] = np.concatenate(bases, axis=1)
    return Designs(columns, spans)


def _basis(columns: Matrix) -> Matrix:
    """Orthonormal basis of the centred columns (mean square 1); dependent ones are dropped."""
    spread = columns.std(axis=0)
    alive = spread > 1e-14 * np.abs(columns).max(axis=0)
    centred = (columns - columns.mean(axis=0))[:, alive] / spread[alive]
    basis: Matrix = centred
    if centred.shape[1] > 1:
        u, s, _ = np.linalg.svd(centred, full_matrices=False)
        rank = int((s > s[0] * max(centred.shape) * np.finfo(np.float64).eps).sum())
        basis = u[:, :rank] * np.sqrt(len(columns))
    return basis


@dataclass(frozen=True)
class Moments:
    """Sums over rows of products of design columns ``d`` (ones first) and shifted units ``x``."""

    dd: Matrix
    dx: Array
    xx: Array

    @property
    def n(self) -> float:
        """Number of rows."""
        return float(self.dd[0, 0])

    def __add__(self, other: Moments) -> Moments:
        return Moments(self.dd + other.dd, self.dx + other.dx, self.xx + other.xx)

    def __sub__(self, other: Moments) -> Moments:
        return Moments(self.dd - other.dd, self.dx - other.dx, self.xx - other.xx)


def moments(x: Array, columns: Matrix, rows: Rows, shift: Array) -> Moments:
    """Moments of ``x - shift`` over ``rows``, block by block."""
    xp = array_namespace(x)
    width, where = x.shape[1], device(x)
    dx = xp.zeros((columns.shape[1], width), dtype=xp.float64, device=where)
    xx = xp.zeros(width, dtype=xp.float64, device=where)
    for block in blocks(rows, width):
        wide = take(x, block)
        wide -= shift  # in place: a fresh array a block would cost more than the product
        dx += asarray_like(columns[block].T, x) @ wide
        wide *= wide
        xx += xp.sum(wide, axis=0)
    chosen = columns[rows]
    return Moments(chosen.T @ chosen, dx, xx)


def blocks(rows: Rows, width: int) -> Iterator[Rows]:
    """Pieces of ``rows`` that are small enough to stay in cache at ``width`` units."""
    size = max(16, BLOCK // width)
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def take(x: Array, rows: Rows) -> Array:
    """A copy of some rows of ``x``, in float64."""
    return float64(array_namespace(x).take(x, asarray_like(rows, x), axis=0))


def fold_moments(
    x: Array, columns: Matrix, folds: Folds, shift: Array
) -> Iterator[tuple[Moments, Moments]]:
    """Moments of the fit and test rows of each fold; each row is read once where folds allow."""
    if _complementary(folds):
        parts = [moments(x, columns, test, shift) for _, test in folds]
        total = parts[0]
        for part in parts[1:]:
            total = total + part
        for part in parts:
            yield total - part, part
        return
    for fit, test in folds:
        fitted = moments(x, columns, fit, shift)
        in_sample = np.array_equal(fit, test)
        yield fitted, fitted if in_sample else moments(x, columns, test, shift)


def _complementary(folds: Folds) -> bool:
    """Whether every stimulus is tested once and fitted in all other folds."""
    tested = np.sort(np.concatenate([test for _, test in folds]))
    return len(folds) > 1 and all(
        np.array_equal(np.sort(np.concatenate(pair)), tested) for pair in folds
    )


@dataclass(frozen=True)
class Fit:
    """Least-squares maps of one fold, design columns to units, each feature on its own.

    Attributes
    ----------
    mean_d, mean_x : arrays (column,), (unit,)
        Means over the fit rows, ``mean_x`` about the shift.
    weights : array (column, unit)
        One feature's rows are its W_f.
    estimable : array of bool (feature,)
        Whether the fit rows vary along every direction of the feature's design.
    """

    mean_d: Matrix
    mean_x: Array
    weights: Array
    estimable: np.ndarray[Any, np.dtype[np.bool_]]


def fit_all(fitted: Moments, spans: Sequence[slice]) -> Fit:
    """Fit every feature from the moments of the fit rows."""
    mean_d, mean_x = fitted.dd[0, 1:] / fitted.n, fitted.dx[0, :] / fitted.n
    covariance = fitted.dd[1:, 1:] / fitted.n - np.outer(mean_d, mean_d)
    inverse = np.zeros_like(covariance)
    estimable = np.zeros(len(spans), dtype=bool)
    for feature, span in enumerate(spans):
        own = covariance[span, span]
        if own.size and np.linalg.eigvalsh(own)[0] > ESTIMABLE:
            inverse[span, span] = np.linalg.inv(own)
            estimable[feature] = True
    cross = fitted.dx[1:, :] / fitted.n - _outer(mean_d, mean_x)
    return Fit(mean_d, mean_x, asarray_like(inverse, mean_x) @ cross, estimable)


def _outer(columns: Matrix, units: Array) -> Array:
    return asarray_like(columns, units)[:, None] * units[None, :]


@dataclass(frozen=True)
class Explained:
    """Held-out sums of squares, pooled over folds.

    Attributes
    ----------
    explained : array (feature, unit)
        Total less residual sum of squares.
    total : array (unit,)
        Sum of squares of the test rows about the mean of the fit rows.
    n_test : int
        Test rows of all folds.
    estimable : array of bool (feature,)
        Whether every fold could fit the feature.
    fits : tuple of Fit
        One a fold.
    designs : Designs
        What was fitted.
    shift : array (unit,)
        What ``mean_x`` of the fits is counted from.
    """

    explained: Array
    total: Array
    n_test: int
    estimable: np.ndarray[Any, np.dtype[np.bool_]]
    fits: tuple[Fit, ...]
    designs: Designs
    shift: Array


def explain(x: Array, features: Sequence[Feature], folds: Folds) -> Explained:
    """Fit on the fit rows and score on the test rows of each fold, for all features and units."""
    xp = array_namespace(x)
    used = np.unique(np.concatenate([rows for pair in folds for rows in pair]))
    design = designs(features, used)
    shift = float64(x[int(used[0]), :])
    explained = xp.zeros((len(features), x.shape[1]), dtype=xp.float64, device=device(x))
    total = xp.zeros(x.shape[1], dtype=xp.float64, device=device(x))
    fits = []
    for fitted, tested in fold_moments(x, design.columns, folds, shift):
        fit = fit_all(fitted, design.spans)
        fits.append(fit)
        explained += _explained(fit, tested, design)
        total += tested.xx - 2 * fit.mean_x * tested.dx[0, :] + tested.n * fit.mean_x * fit.mean_x
    estimable = np.all([fit.estimable for fit in fits], axis=0)
    n_test = sum(len(test) for _, test in folds)
    return Explained(explained, total, n_test, estimable, tuple(fits), design, shift)


def _explained(fit: Fit, tested: Moments, design: Designs) -> Array:
    """|x|^2 - |x - Wd|^2 = 2 <Wd, x> - <Wd, Wd> over test rows, both about the fit means."""
    d_sum, x_sum = tested.dd[0, 1:], tested.dx[0, :]
    mean_d, mean_x = fit.mean_d, fit.mean_x
    dd = tested.dd[1:, 1:] - np.outer(mean_d, d_sum) - np.outer(d_sum, mean_d)
    dd += tested.n * np.outer(mean_d, mean_d)
    dx = tested.dx[1:, :] - _outer(mean_d, x_sum) - _outer(d_sum - tested.n * mean_d, mean_x)
    gain = fit.weights * (2 * dx - asarray_like(dd * design.same, dx) @ fit.weights)
    return asarray_like(design.members, dx) @ gain


def explained_by_stimulus(
    x: Array, parts: Explained, folds: Folds
) -> Iterator[tuple[Array, Array]]:
    """Explained sum of squares (stimulus, feature) and squared norm (stimulus,), block by block.

    The second product with the activations, which only the scores of single stimuli need.
    """
    xp = array_namespace(x)
    members, same = (asarray_like(m, x) for m in (parts.designs.members, parts.designs.same))
    for fit, (_, test) in zip(parts.fits, folds, strict=True):
        inner = (fit.weights @ fit.weights.T) * same
        for block in blocks(test, x.shape[1]):
            wide = take(x, block)
            wide -= parts.shift
            wide -= fit.mean_x
            d = asarray_like(parts.designs.columns[block, 1:] - fit.mean_d, x)
            gain = d * (2 * (wide @ fit.weights.T) - d @ inner)
            wide *= wide
            yield gain @ members.T, xp.sum(wide, axis=1)
