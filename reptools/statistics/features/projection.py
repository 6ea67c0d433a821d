"""What small designs explain of many units: all features in one pass over the activations.

Each feature brings a few design columns; the activations are wide. So the products of all columns
with all units are taken together (one skinny matrix product), and every fit, residual and total
follows from them in closed form, for each feature alone and for any features together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from reptools.arrays import Array, array_namespace, asarray_like, matmul, rows_of
from reptools.statistics.blocks import Rows as Activations
from reptools.statistics.blocks import as_blocks
from reptools.statistics.features.design import Feature
from reptools.statistics.features.skinny import design_moments, pieces
from reptools.statistics.folds import Folds, Rows
from reptools.statistics.moments import Moments

Matrix = np.ndarray[Any, np.dtype[np.float64]]
Mask = np.ndarray[Any, np.dtype[np.bool_]]

ESTIMABLE = 1e-12  # smallest share of a design direction's variance that the fit rows must hold
WELL_CONDITIONED = 1e-6  # ratio of eigenvalues above which a Gram matrix keeps its digits


@dataclass(frozen=True)
class Designs:
    """Design columns of all features side by side, orthonormal within each feature.

    Attributes
    ----------
    columns : array (stimulus, column)
        The features' columns: mean 0, mean square 1 over the rows in use.
    covariance : array (column, column)
        Over the rows in use.
    spans : tuple of slice
        Columns of each feature; empty for a constant feature.
    """

    columns: Matrix
    covariance: Matrix
    spans: tuple[slice, ...]

    @cached_property
    def widths(self) -> np.ndarray[Any, np.dtype[np.intp]]:
        """Number of columns of each feature."""
        return np.array([span.stop - span.start for span in self.spans])

    @cached_property
    def members(self) -> Matrix:
        """1 where a column (feature, column) belongs to the feature, else 0."""
        owner = np.repeat(np.arange(len(self.spans)), self.widths)
        members: Matrix = (np.arange(len(self.spans))[:, None] == owner).astype(np.float64)
        return members

    @cached_property
    def same(self) -> Matrix:
        """1 where two columns belong to one feature, else 0."""
        same: Matrix = matmul(self.members.T, self.members)
        return same


def designs(features: Sequence[Feature], rows: Rows) -> Designs:
    """Columns of all features, made orthonormal over ``rows``, the stimuli in use."""
    n = len(features[0].values)
    chosen: Any = slice(None) if rows.size == n else rows
    # columns lie along memory until the end, where sums over stimuli are cheap
    scaled, alive = _standardised(
        np.concatenate([feature.columns[chosen].T for feature in features])
    )
    ends = np.cumsum([feature.columns.shape[1] for feature in features]).tolist()
    bases = [
        _basis(scaled[start:end], alive[start:end])
        for start, end in zip([0, *ends[:-1]], ends, strict=True)
    ]
    ends = np.cumsum([len(basis) for basis in bases]).tolist()
    spans = tuple(slice(end - len(b), end) for end, b in zip(ends, bases, strict=True))
    together = np.concatenate(bases)
    covariance = matmul(together, together.T) / rows.size
    if rows.size == n:
        return Designs(together.T, covariance, spans)
    columns = np.zeros((ends[-1], n))
    columns[:, rows] = together
    return Designs(columns.T, covariance, spans)


def _standardised(columns: Matrix) -> tuple[Matrix, Mask]:
    """Columns (column, stimulus), in place with mean 0 and mean square 1, and which ones vary."""
    largest = np.maximum(columns.max(axis=1), -columns.min(axis=1))[:, None]
    columns /= np.where(largest > 0, largest, 1.0)  # so that no square is out of range
    size = _root_mean_square(columns)
    columns -= columns.mean(axis=1, keepdims=True)
    columns -= columns.mean(axis=1, keepdims=True)  # what a large mean left
    spread = _root_mean_square(columns)
    alive = spread > 1e-14 * size
    columns /= np.where(alive, spread, 1.0)[:, None]
    return columns, alive


def _root_mean_square(columns: Matrix) -> Matrix:
    root: Matrix = np.sqrt(np.einsum("ij,ij->i", columns, columns) / columns.shape[1])
    return root


def _basis(scaled: Matrix, alive: Mask) -> Matrix:
    """Orthonormal basis of standardised columns (mean square 1); dependent ones are dropped."""
    centred: Matrix = scaled if alive.all() else scaled[alive]
    if len(centred) < 2:
        return centred
    n = centred.shape[1]
    values, vectors = np.linalg.eigh(matmul(centred, centred.T))
    if values[0] > WELL_CONDITIONED * values[-1]:
        basis: Matrix = matmul((vectors * np.sqrt(n / values)).T, centred)
        return basis
    # near dependence the products have lost half the digits
    _, s, vt = np.linalg.svd(centred, full_matrices=False)
    rank = int((s > s[0] * max(centred.shape) * np.finfo(np.float64).eps).sum())
    basis = vt[:rank] * np.sqrt(n)
    return basis


@dataclass(frozen=True)
class Fold:
    """One fold: covariances of its fit rows, and sums over its test rows about the fit means.

    Attributes
    ----------
    n_fit, n_test : int
        Stimuli.
    mean_d, mean_x : arrays (column,), (unit,)
        Means over the fit rows, ``mean_x`` about the shift.
    dd, dx : arrays (column, column), (column, unit)
        Covariances over the fit rows.
    test_dd, test_dx, total : arrays (column, column), (column, unit), (unit,)
        Sums of products and of squared units over the test rows, about the fit means.
    """

    n_fit: int
    n_test: int
    mean_d: Matrix
    mean_x: Array
    dd: Matrix
    dx: Array
    test_dd: Matrix
    test_dx: Array
    total: Array


def _fold(own: tuple[Moments, Moments], units: tuple[Moments, Moments]) -> Fold:
    """From moments of columns and of units (fit, test): the test rows about the fit means."""
    (fit_d, test_d), (fit_x, test_x) = own, units
    tested = test_x.about(fit_x.means)
    return Fold(
        n_fit=fit_d.n,
        n_test=test_d.n,
        mean_d=fit_d.means["d"],
        mean_x=fit_x.means["x"],
        dd=fit_d["d", "d"] / fit_d.n,
        dx=fit_x["d", "x"] / fit_d.n,
        test_dd=test_d.about(fit_d.means)["d", "d"],
        test_dx=tested["d", "x"],
        total=tested.squares["x"],
    )


@dataclass(frozen=True)
class Projected:
    """Activations as the designs see them, fold by fold.

    Attributes
    ----------
    designs : Designs
    folds : tuple of Fold
    shift : array (unit,)
        What ``mean_x`` of the folds is counted from.
    """

    designs: Designs
    folds: tuple[Fold, ...]
    shift: Array

    @property
    def n_test(self) -> int:
        """Test rows of all folds."""
        return sum(fold.n_test for fold in self.folds)

    @cached_property
    def total(self) -> Array:
        """Sum of squares (unit,) of the test rows of all folds about the means of the fit rows."""
        total = self.folds[0].total
        for fold in self.folds[1:]:
            total = total + fold.total
        return total


def project(x: Activations, features: Sequence[Feature], folds: Folds) -> Projected:
    """All products of the features' designs with the units, in one pass over ``x``."""
    used = np.zeros(len(features[0].values), dtype=bool)
    for pair in folds:
        for rows in pair:
            used[rows] = True
    design = designs(features, np.flatnonzero(used))
    own, units, shift = design_moments(x, design.columns, folds)
    return Projected(design, tuple(map(_fold, own, units)), shift)


@dataclass(frozen=True)
class Explained:
    """What each feature explains on its own, held out, pooled over folds.

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
    weights : tuple of array (column, unit)
        Least-squares maps of each fold; one feature's rows are its W_f.
    projected : Projected
        What they were fitted from.
    """

    explained: Array
    total: Array
    n_test: int
    estimable: Mask
    weights: tuple[Array, ...]
    projected: Projected


def explain(x: Activations, features: Sequence[Feature], folds: Folds) -> Explained:
    """Fit on the fit rows and score on the test rows of each fold, each feature on its own."""
    projected = project(x, features, folds)
    design = projected.designs
    explained: Any = 0.0
    estimable = np.ones(len(features), dtype=bool)
    weights = []
    for fold in projected.folds:
        inverse, good = _inverse(fold.dd, design)
        estimable &= good
        w = matmul(asarray_like(inverse, fold.dx), fold.dx)
        weights.append(w)
        # |x|^2 - |x - Wd|^2 = 2 <Wd, x> - <Wd, Wd> over test rows, both about the fit means
        gain = w * (2 * fold.test_dx - matmul(asarray_like(fold.test_dd * design.same, w), w))
        explained = explained + matmul(asarray_like(design.members, gain), gain)
    return Explained(
        explained, projected.total, projected.n_test, estimable, tuple(weights), projected
    )


def _inverse(covariance: Matrix, design: Designs) -> tuple[Matrix, Mask]:
    """Inverse of each feature's own block, and which blocks vary along all their directions."""
    inverse = np.zeros_like(covariance)
    estimable = np.zeros(len(design.spans), dtype=bool)
    starts = np.array([span.start for span in design.spans])
    for width in np.unique(design.widths[design.widths > 0]).tolist():
        chosen = np.flatnonzero(design.widths == width)
        columns = starts[chosen, None] + np.arange(width)
        at = columns[:, :, None], columns[:, None, :]
        values, vectors = np.linalg.eigh(covariance[at])
        good = values[:, 0] > ESTIMABLE
        scaled = vectors / np.where(good[:, None], values, np.inf)[:, None, :]
        inverse[at] = matmul(scaled, vectors.transpose(0, 2, 1))
        estimable[chosen] = good
    return inverse, estimable


def explained_by_stimulus(
    x: Activations, parts: Explained, folds: Folds
) -> Iterator[tuple[Array, Array]]:
    """Explained sum of squares (stimulus, feature) and squared norm (stimulus,), piece by piece.

    The second pass over the activations, which only the scores of single stimuli need.
    """
    projected, design = parts.projected, parts.projected.designs
    plans = []
    for w, fold, (_, test) in zip(parts.weights, projected.folds, folds, strict=True):
        inner = asarray_like(design.same, w) * matmul(w, w.T)
        plans.append((w, inner, fold, np.isin(np.arange(len(design.columns)), test)))
    members = asarray_like(design.members, projected.shift)
    for rows, block in as_blocks(x):
        for w, inner, fold, tested in plans:
            for piece in pieces(np.flatnonzero(tested[rows]), block.shape[1]):
                xp = array_namespace(block)
                wide = rows_of(block, piece)
                wide = xp.astype(wide, xp.float64) - projected.shift - fold.mean_x
                d = asarray_like(design.columns[rows][piece] - fold.mean_d, wide)
                gain = d * (2 * matmul(wide, w.T) - matmul(d, inner))
                yield matmul(gain, members.T), xp.sum(wide * wide, axis=1)
