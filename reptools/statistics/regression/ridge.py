"""The ridge path: every penalty, fold and target from one reduction for each set of fit rows.

With centred fit rows X, the weights for a penalty a are (X'X + a)^-1 X'y = X'(XX' + a)^-1 y, from
the smaller of X'X (unit x unit) and XX' (stimulus x stimulus), reduced once in float64. X'X of any
fit rows is a sum over cells, XX' a part of one kernel.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from reptools.arrays import Array, array_namespace, asarray_like, matmul, rows_of
from reptools.statistics import blocks
from reptools.statistics.folds import Rows
from reptools.statistics.moments import Moments, fold_moments, total
from reptools.statistics.regression.held_out import HeldMoments, HeldRows, more_than_rounding
from reptools.statistics.regression.nested import Cells, Nested
from reptools.statistics.regression.shifted_systems import Reduction, Reductions


@dataclass(frozen=True)
class RidgePath:
    """Weights in the directions of one fit's reduced cross-product, for each alpha and target."""

    reduced: Reduction
    projected: Array  # X'y or U'y in these directions (direction, target)
    alphas: Array

    @property
    def basis(self) -> Array:
        """The directions."""
        return self.reduced.basis

    @property
    def n_options(self) -> int:
        """Number of alphas."""
        return int(self.alphas.shape[0])

    def weights(self, targets: slice) -> Array:
        """For all alphas."""
        return self.reduced.solve(self.projected[:, targets], self.alphas)

    def chosen(self, option: Array) -> Array:
        """For one alpha of each target."""
        alphas = array_namespace(option).take(self.alphas, option)
        return self.reduced.solve_each(self.projected, alphas)


@dataclass(frozen=True)
class DualRidge:
    """Ridge from the kernel of all stimuli, for fewer stimuli than units.

    Attributes
    ----------
    kernel : array (stimulus, stimulus)
        Inner products of patterns, counted from any origin.
    y : array (stimulus, target)
    plan : Nested
    alphas : array (option,)
    kept : Reductions
        What is known of ``kernel``; ``number`` tells the plans of one call apart.
    """

    kernel: Array
    y: Array
    plan: Nested
    alphas: Array
    kept: Reductions = field(default_factory=Reductions)
    number: int = 0

    @property
    def n_targets(self) -> int:
        """Units of y."""
        return int(self.y.shape[1])

    @property
    def n_options(self) -> int:
        """Number of alphas."""
        return int(self.alphas.shape[0])

    def path(self, fit: Cells) -> RidgePath:
        """Reduce the centred part of the kernel."""
        rows = self.plan.rows(fit)
        key = (self.number, fit)
        reduced = self.kept.known.get(key) or self.kept.of(
            key, self._part(rows, rows), self.alphas, self.n_targets
        )
        y = rows_of(self.y, rows)
        return RidgePath(reduced, matmul(reduced.basis.T, y - mean_row(y)), self.alphas)

    def held(self, fit: Cells, test: Cells) -> HeldRows:
        """Kernel of held-out with fit rows, both about the mean of the fit rows."""
        fitted, tested = self.plan.rows(fit), self.plan.rows(test)
        y, y_fitted = (rows_of(self.y, rows) for rows in (tested, fitted))
        return HeldRows.of(self._part(tested, fitted), y - mean_row(y_fitted))

    def _part(self, chosen: Rows, among: Rows) -> Array:
        """Inner products of some rows with others, counted from the mean of the others."""
        xp = array_namespace(self.kernel)
        share = np.zeros(self.kernel.shape[0])
        share[among] = 1 / among.size
        member = asarray_like(share, self.kernel)
        rows, fitted = (asarray_like(r, self.kernel) for r in (chosen, among))
        mean = matmul(self.kernel, member)
        part = xp.take(xp.take(self.kernel, rows, axis=0), fitted, axis=1)
        part -= xp.take(mean, rows)[:, None]
        part -= (xp.take(mean, fitted) - matmul(member, mean))[None, :]
        return part


def mean_row(x: Array) -> Array:
    """Mean over rows (1, column); exact where all rows are equal."""
    first = x[:1, :]
    return first + array_namespace(x).mean(x - first, axis=0, keepdims=True)


# --- from moments -------------------------------------------------------------------------------


@dataclass(frozen=True)
class CellMoments:
    """Moments of every cell of a plan, and of any union of cells."""

    parts: Sequence[Moments]

    @cached_property
    def _whole(self) -> Moments:
        return total(self.parts)

    def of(self, cells: Cells) -> Moments:
        """Sum over the cells; by subtraction only where that spares many additions.

        Additions lose no digits where one cell is much larger than the others.
        """
        left = [part for cell, part in enumerate(self.parts) if cell not in cells]
        if len(left) and len(cells) > 10 and len(left) < len(cells) / 2:
            return self._whole - total(left)
        return total([self.parts[cell] for cell in cells])

    def mean(self, cells: Cells, side: str) -> Array:
        """Mean of one side over the cells."""
        first = self.parts[cells[0]].means[side]  # equal means stay what they are
        n = sum(self.parts[cell].n for cell in cells)
        gaps = [self.parts[cell].n / n * (self.parts[cell].means[side] - first) for cell in cells]
        return first + sum(gaps)


def cell_moments(
    sides: Mapping[str, blocks.Rows],
    plan: Nested,
    pair: tuple[str, str],
    squares: Sequence[str] = (),
) -> CellMoments:
    """Moments of the cells in one pass over arrays or blocks."""
    folds = fold_moments(sides, plan.as_folds, products=[pair], squares=squares)
    return CellMoments([cell for _, cell in folds])


@dataclass(frozen=True)
class Crossed:
    """A linear model of y by x that needs second moments of its fit rows only.

    Attributes
    ----------
    own, cross : CellMoments
        Of x with itself, and of x with y (and the squares of y).
    plan : Nested
    x, y : arrays (stimulus, coordinate), (stimulus, target) or None
        The rows, where they are in memory: held-out rows that are fewer than units are cheaper
        than their moments.
    """

    own: CellMoments
    cross: CellMoments
    plan: Nested
    x: Array | None
    y: Array | None

    @property
    def n_targets(self) -> int:
        """Units of y."""
        return int(self.cross.parts[0].squares["y"].shape[0])

    def held(self, fit: Cells, test: Cells) -> HeldRows | HeldMoments:
        """Held-out rows or their moments, about the means of the fit rows."""
        means = {side: self.cross.mean(fit, side) for side in ("x", "y")}
        rows = self.plan.rows(test)
        if self.x is not None and self.y is not None and rows.size <= self.x.shape[1]:
            xp = array_namespace(self.x)
            chosen = asarray_like(rows, self.x)
            x, y = (xp.take(side, chosen, axis=0) for side in (self.x, self.y))
            return HeldRows.of(x - means["x"], y - means["y"])
        own, cross = (part.of(test).about(means) for part in (self.own, self.cross))
        return HeldMoments(
            own["x", "x"],
            cross["x", "y"],
            cross.squares["y"]
            if self.y is None
            else more_than_rounding(cross.squares["y"], cross.n),
            cross.means["x"],
            cross.means["y"],
            cross.n,
        )


@dataclass(frozen=True)
class PrimalRidge(Crossed):
    """Ridge from moments over units, for at least as many stimuli as units."""

    alphas: Array
    kept: Reductions = field(default_factory=Reductions)
    number: int = 0

    @property
    def n_options(self) -> int:
        """Number of alphas."""
        return int(self.alphas.shape[0])

    def path(self, fit: Cells) -> RidgePath:
        """Reduce the cross-product of units."""
        key = (self.number, fit)
        reduced = self.kept.known.get(key) or self.kept.of(
            key, self.own.of(fit)["x", "x"], self.alphas, self.n_targets
        )
        cross = self.cross.of(fit)["x", "y"]
        return RidgePath(reduced, matmul(reduced.basis.T, cross), self.alphas)
