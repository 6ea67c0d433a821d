"""One side of a linear prediction: as predictor it keeps what every target side needs again."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from math import frexp
from typing import Any, Literal, TypeAlias

import numpy as np

from reptools.arrays import Array, array_namespace, asarray_like, float64, matmul, rows_of, to_host
from reptools.errors import DataError, ParameterError
from reptools.statistics.blocks import Blocks, Rows, as_blocks
from reptools.statistics.gram import centred
from reptools.statistics.regression.nested import Cells, Nested
from reptools.statistics.regression.pls import Pls
from reptools.statistics.regression.reliability import reliabilities
from reptools.statistics.regression.ridge import CellMoments, DualRidge, PrimalRidge, cell_moments
from reptools.statistics.regression.shifted_systems import Reductions

Values: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]
Ceiling: TypeAlias = Literal["none", "reliability"]

MOST_MOMENTS = 2**34  # bytes of all cells' moments that are still taken
IN_BLOCKS = 2**28  # bytes from which an array of many rows is not copied to be centred
UNSCALED = 100  # binary exponent up to which sums of products of blocks need no scaling
ROUNDING = 1e-13  # share of the largest eigenvalue of a kernel below which there is only rounding


@dataclass(frozen=True, eq=False)
class LinearSide:
    """One representation, as predictor or as target.

    Attributes
    ----------
    x : array (stimulus, unit) or Blocks
        An array is centred, in float64, with its largest magnitude from 0.5 to 1.
    ceiling : bool
        Whether scores are to be divided by what is attainable.
    reliability : array (unit,) or None
        Of the mean over repetitions, where a ceiling is asked for and there are two or more.
    """

    x: Rows
    ceiling: bool = False
    reliability: Values | None = None
    kept: Reductions = field(default_factory=Reductions)
    known: dict[tuple[str, int], CellMoments] = field(default_factory=dict)

    @property
    def width(self) -> int:
        """Number of units."""
        return self.x.width if isinstance(self.x, Blocks) else int(self.x.shape[1])

    def ridge(self, y: LinearSide, plan: Nested, alphas: Values, number: int) -> Any:
        """Ridge of ``y`` by this side; ``alphas`` in units of the mean non-zero eigenvalue.

        ``number`` tells the plans of one call apart.
        """
        if not isinstance(self.x, Blocks) and plan.largest_fit < self.width:
            if isinstance(y.x, Blocks):
                raise AssertionError("blocks have at least as many stimuli as units of either side")
            penalties = asarray_like(alphas * self._mean_eigenvalue(plan, number), self.x)
            return DualRidge(self.kernel, y.targets, plan, penalties, self.kept, number)
        cross, rows, targets = self._cross(y, plan, self.x)
        own = self._own(plan, number, self.x, "units")
        penalties = asarray_like(
            alphas * self._mean_eigenvalue(plan, number), cross.parts[0].squares["y"]
        )
        return PrimalRidge(own, cross, plan, rows, targets, penalties, self.kept, number)

    def pls(self, y: LinearSide, plan: Nested, counts: tuple[int, ...], number: int) -> Pls:
        """Partial least squares of all units of ``y`` by this side."""
        few = not isinstance(self.x, Blocks) and plan.largest_fit < self.width
        x, name = (self.coordinates, "coordinates") if few else (self.x, "units")
        cross, rows, targets = self._cross(y, plan, x)
        own = self._own(plan, number, x, name)
        return Pls(own, cross, plan, rows, targets, counts, y.scale / y.scale.max())

    def _own(self, plan: Nested, number: int, x: Rows, name: str) -> CellMoments:
        key = (name, number)
        if key not in self.known:
            self.known[key] = cell_moments({"x": x}, plan, ("x", "x"))
        return self.known[key]

    def _cross(
        self, y: LinearSide, plan: Nested, x: Rows
    ) -> tuple[CellMoments, Array | None, Array | None]:
        """Moments with ``y``, and the rows of both sides where both are in memory."""
        targets = y.targets
        size = 8 * len(plan.cells) * self.width * (self.width + y.width)
        if size > MOST_MOMENTS:
            raise ParameterError(
                f"moments of {self.width} by {y.width} units for {len(plan.cells)} folds would "
                f"take {size / 2**30:.1f} GiB. Use fewer folds, or fewer units."
            )
        cross = cell_moments({"x": x, "y": targets}, plan, ("x", "y"), ("y",))
        if isinstance(x, Blocks) or isinstance(targets, Blocks):
            return cross, None, None
        return cross, x, targets

    @cached_property
    def kernel(self) -> Array:
        """Inner products of patterns (stimulus, stimulus)."""
        x: Array = self.x
        return matmul(x, x.T)

    @cached_property
    def coordinates(self) -> Array:
        """The patterns in as few coordinates as they span: a rotation, which PLS does not see."""
        xp = array_namespace(self.x)
        values, vectors = xp.linalg.eigh(self.kernel)
        span = int(xp.sum(xp.astype(values > ROUNDING * values[-1], xp.int64)))
        return vectors[:, -span:] * xp.sqrt(values[-span:])

    @cached_property
    def scale(self) -> Values:
        """Powers of two that bring each unit's largest magnitude to between 0.5 and 1."""
        if isinstance(self.x, Blocks):
            return np.ones(self.width)
        xp = array_namespace(self.x)
        largest = to_host(xp.max(xp.abs(self.x), axis=0))
        scale: Values = np.ldexp(1.0, np.frexp(largest)[1])  # 1 for a unit that is 0
        return scale

    @cached_property
    def targets(self) -> Rows:
        """The units, each scaled for itself, so that squares of the smallest do not vanish."""
        if isinstance(self.x, Blocks) or (self.scale == 1).all():
            return self.x
        return self.x * asarray_like(1 / self.scale, self.x)

    def _mean_eigenvalue(self, plan: Nested, number: int) -> float:
        """Of the centred X'X over the stimuli in use, those that are 0 by shape left out."""
        every: Cells = tuple(range(len(plan.cells)))
        n = sum(cell.size for cell in plan.cells)
        if isinstance(self.x, Blocks):
            products = self.known["units", number].of(every)["x", "x"]
            squares = to_host(array_namespace(products).linalg.diagonal(products))
        else:  # from the rows, where a unit that does not vary is exactly 0
            xp = array_namespace(self.x)
            rows = rows_of(self.x, plan.rows(every))
            squares = to_host(xp.sum(centred(rows) ** 2, axis=0))
        live = squares > 0
        if not live.any():
            raise DataError(
                "no unit of x varies over the stimuli of the folds. Use other folds, or leave "
                "this side out."
            )
        return float(squares[live].sum()) / min(int(live.sum()), n - 1)


def linear_side(x: Rows, /, *, ceiling: Ceiling) -> LinearSide:
    """Average repetitions, centre and scale one side; blocks stay blocks."""
    wanted = ceiling == "reliability"
    if isinstance(x, Blocks):
        return LinearSide(_tame(x), wanted, kept=Reductions(most=0))
    rows, reliability = averaged(x, ceiling)
    xp = array_namespace(rows)
    n, width = rows.shape
    if n >= 2 * width and n * width * xp.finfo(rows.dtype).bits > 8 * IN_BLOCKS:
        return LinearSide(_tame(as_blocks(rows)), wanted, reliability, Reductions(most=0))
    centre = centred(rows)
    largest = float(xp.max(xp.abs(centre)))
    return LinearSide(centre * 2.0 ** -frexp(largest)[1], wanted, reliability)


def averaged(x: Array, ceiling: Ceiling) -> tuple[Array, Values | None]:
    """The mean over repetitions, where there are any, and its reliability where it is wanted."""
    if x.ndim == 2:
        return x, None
    reliability = None
    if ceiling == "reliability" and x.shape[0] > 1:
        correlation, whole = (to_host(v) for v in reliabilities(x))
        reliability = np.where(correlation > 0, whole, np.nan)
    return array_namespace(x).mean(float64(x), axis=0), reliability


def _tame(x: Blocks) -> Blocks:
    """Blocks on a scale whose products can be summed; powers of two change no digit."""
    block = next(iter(x))[1]
    xp = array_namespace(block)
    exponent = frexp(float(xp.max(xp.abs(float64(block) - float64(block[:1, :])))))[1]
    if abs(exponent) <= UNSCALED:
        return x
    factor = 2.0**-exponent
    return x.map(lambda rows: rows * factor, x.dtype)
