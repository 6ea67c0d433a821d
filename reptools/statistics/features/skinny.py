"""Moments of a few design columns with many units: one pass, in pieces that stay in cache.

The moments are those of :mod:`reptools.statistics.moments`. A product of 30 columns with 1,000
units costs little more than reading the units, so what counts here is that each piece is read
once and shifted, multiplied and squared while it is in cache.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from reptools.arrays import Array, array_namespace, asarray_like, device, float64, matmul, rows_of
from reptools.errors import DataError
from reptools.statistics.blocks import Blocks, as_blocks
from reptools.statistics.blocks import Rows as Activations
from reptools.statistics.folds import Folds, Rows
from reptools.statistics.moments import Moments, Shifted, head_of, pairs_of, rows_within

Matrix = np.ndarray[Any, np.dtype[np.float64]]
Values = np.ndarray[Any, Any]

BYTES = 2**21  # of a piece: it is used four times before the next one
FLOAT32_ROWS = 512  # rows whose products are summed in float32; sums of more are in float64
FLOAT32_TINY = 1e-30  # a sum of squares below it has lost digits to underflow
FLOAT64_TINY = 1e-305


Pairs = list[tuple[Moments, Moments]]  # of the fit and of the test rows of each fold


def design_moments(x: Activations, columns: Matrix, folds: Folds) -> tuple[Pairs, Pairs, Array]:
    """Moments of the fit and of the test rows of each fold, in one pass over ``x``.

    Parameters
    ----------
    x : array or Blocks (stimulus, unit)
        Products of float32 pieces are taken in float32 where its range allows, and summed in
        float64.
    columns : array (stimulus, column)
        On the host, where their own moments stay.
    folds : Folds

    Returns
    -------
    list of (Moments, Moments)
        Of the columns, with ``["d", "d"]``.
    list of (Moments, Moments)
        Of the units, with ``["d", "x"]`` and ``squares["x"]``, where ``x`` lies.
    array (unit,)
        The shift that the means of "x" are counted from.

    Raises
    ------
    DataError
        Squares of the activations are beyond float64, or all of them are 0 in it.
    """
    parts = folds.parts(len(columns))
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        taken = _take(x, columns, parts.rows)
        if taken.single and not taken.in_range():
            taken = _take(x, columns, parts.rows, widened=True)
    if not taken.finite():
        raise DataError("x has values whose squares are beyond float64. Scale it down.")
    if taken.vanishes():
        raise DataError("x varies so little that its squares are 0 in float64. Scale it up.")
    own = [_own(taken.design[rows]) for rows in parts.rows]
    units = [taken.moments(part, moments) for part, moments in enumerate(own)]
    return pairs_of(parts, own), pairs_of(parts, units), float64(taken.shift)


def _own(design: Values) -> Moments:
    """Moments of design columns on the host."""
    mean = design.mean(axis=0, dtype=np.float64)
    centred = design - mean
    return Moments(len(design), {"d": mean}, {("d", "d"): matmul(centred.T, centred)}, {})


def _take(x: Activations, columns: Matrix, parts: list[Rows], *, widened: bool = False) -> _Taken:
    """Sums of each part of the rows, in one pass over the blocks."""
    blocks = as_blocks(x)
    if not isinstance(x, Blocks):  # in memory a block is a view, so the whole is one
        blocks = replace(blocks, edges=[0, blocks.n])
    taken: _Taken | None = None
    for rows, block in blocks:
        here = rows_within(parts, rows.start, rows.stop)
        if not any(part.size for part in here):
            continue
        if taken is None:
            shift = Shifted(rows_of(block, head_of(here)), widened).shift
            taken = _Taken(shift, columns, len(parts))
        for number, part in enumerate(here):
            for piece in pieces(part, blocks.width, single=taken.single):
                taken.add(number, block, piece, rows.start)
    assert taken is not None
    return taken


class _Taken:
    """Running sums of each part: of ones and columns times units, and of squared units."""

    def __init__(self, shift: Array, design: Matrix, n_parts: int) -> None:
        xp, where = array_namespace(shift), device(shift)
        width = shift.shape[0]
        self.shift, self.single = shift, shift.dtype == xp.float32
        # what enters the products is what counts as the design, rounded or not
        columns = np.ones((len(design), 1 + design.shape[1]), np.float32 if self.single else None)
        columns[:, 1:] = design
        self.design = columns[:, 1:]
        self.columns = asarray_like(columns, shift)
        self.buffer = np.empty((0, width))
        self.products = [
            xp.zeros((columns.shape[1], width), dtype=xp.float64, device=where)
            for _ in range(n_parts)
        ]
        self.squares = [xp.zeros(width, dtype=xp.float64, device=where) for _ in range(n_parts)]

    def add(self, part: int, block: Array, rows: Rows, start: int) -> None:
        """Add some rows of a block that begins at the stimulus ``start``."""
        wide = self._shifted(block, rows)
        self.products[part] += matmul(rows_of(self.columns, start + rows).T, wide)
        if isinstance(wide, np.ndarray):
            self.squares[part] += np.einsum("ij,ij->j", wide, wide)
        else:
            xp = array_namespace(wide)
            self.squares[part] += xp.sum(wide * wide, axis=0, dtype=xp.float64)

    def _shifted(self, block: Array, rows: Rows) -> Array:
        """The rows less the shift; in numpy in one buffer, since fresh memory costs more."""
        if not isinstance(block, np.ndarray):
            return rows_of(block, rows) - self.shift
        if len(self.buffer) < rows.size:
            self.buffer = np.empty((rows.size, block.shape[1]), self.shift.dtype)
        wide = self.buffer[: rows.size]
        if rows[-1] - rows[0] + 1 == rows.size:
            return np.subtract(block[rows[0] : rows[-1] + 1], self.shift, out=wide)
        if block.dtype != wide.dtype or not block.flags.c_contiguous:
            return np.subtract(block[rows], self.shift, out=wide)
        np.take(block, rows, axis=0, out=wide, mode="clip")
        return np.subtract(wide, self.shift, out=wide)

    def finite(self) -> bool:
        """Whether no square was beyond the range of the sums."""
        xp = array_namespace(self.shift)
        return all(bool(xp.all(xp.isfinite(squares))) for squares in self.squares)

    def in_range(self) -> bool:
        """Whether float32 could hold the squares of every unit that varies."""
        xp = array_namespace(self.shift)
        lost = [
            (products[0, :] != 0) & (squares < FLOAT32_TINY)
            for products, squares in zip(self.products, self.squares, strict=True)
        ]
        return self.finite() and not any(bool(xp.any(one)) for one in lost)

    def vanishes(self) -> bool:
        """Whether units vary and float64 could not hold the square of any."""
        xp = array_namespace(self.shift)
        held = any(bool(xp.any(squares >= FLOAT64_TINY)) for squares in self.squares)
        return not held and any(bool(xp.any(products[0, :] != 0)) for products in self.products)

    def moments(self, part: int, own: Moments) -> Moments:
        """Sums about the shift become centred ones."""
        n, products = own.n, self.products[part]
        gap = products[0, :] / n
        mean = asarray_like(own.means["d"], gap)
        return Moments(
            n,
            {"d": mean, "x": gap},
            {("d", "x"): products[1:, :] - n * mean[:, None] * gap[None, :]},
            {"x": self.squares[part] - n * gap * gap},
        )


def pieces(rows: Rows, width: int, *, single: bool = False) -> Iterator[Rows]:
    """Pieces of ``rows`` that stay in cache at ``width`` units (in single precision: and short)."""
    size = max(16, BYTES // (4 * width if single else 8 * width))
    size = min(size, FLOAT32_ROWS) if single else size
    for start in range(0, len(rows), size):
        yield rows[start : start + size]
