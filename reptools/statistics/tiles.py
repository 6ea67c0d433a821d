"""Inner products of centred linear Grams by stimuli: tiles of the Grams of all sides at once.

The formulas are those of ``hsic``, which takes them by units.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement
from math import prod
from typing import Any

import numpy as np

from reptools.arrays import Array, array_namespace, device, float64, to_host
from reptools.statistics.blocks import as_blocks
from reptools.statistics.hsic import QUIET, fits, largest_of, row_norms, square_sum
from reptools.statistics.moments import (
    Shifted,
    column_sums,
    in_one_piece,
    needs_float64,
    rescaling,
)

TILE = 512  # stimuli of a tile: two of 1,000 units and their Gram stay in cache
FEW = 8  # sides whose tiles may be larger
IN_CACHE = 2**17  # values of a few rows that are used again at once
PIECE = 2**14  # products that float32 may sum before they are widened
UNFELT = 1e-13  # share of a side's squares that a mean may keep


@dataclass(frozen=True)
class Centred:
    """A side that is centred as it is read: a copy of all of it would cost more than that.

    Attributes
    ----------
    x : array (stimulus, unit)
        As it was given.
    shifted : Shifted
        Takes off the mean, as near as one number of its dtype comes to it, and scales.
    mean : array (unit,) or None
        What is left of the mean after that, where it can be felt.
    offsets : array (stimulus,) or None
        Where the mean is small: what an inner product of two patterns as they were given has too
        much by each of them. Taking it off a Gram costs less than centring what goes into it.
    """

    x: Array
    shifted: Shifted
    mean: Array | None
    offsets: Array | None = None

    @property
    def dtype(self) -> Any:
        """Of the centred rows."""
        return self.shifted.shift.dtype

    def rows(self, rows: slice, out: np.ndarray[Any, Any] | None = None) -> Array:
        """Some rows, centred; numpy's into ``out``, a few at a time, which stay in cache."""
        if self.mean is None:
            return self.shifted(self.x[rows, :], out=out)
        if out is None:
            return self.shifted(self.x[rows, :]) - self.mean
        x, step = self.x[rows], _few(self.x)
        for start in range(0, len(x), step):
            part = self.shifted(x[start : start + step], out=out[start : start + step])
            part -= self.mean
        return out


def centred_side(x: Array, *, wide: bool = False, largest: float | None = None) -> Centred:
    """Centre a side, in float32 where it is large."""
    xp = array_namespace(x)
    wide = wide or needs_float64(as_blocks(x), x)
    shifted = Shifted(x, wide, factor=rescaling(x, largest))
    step = _few(x) if isinstance(x, np.ndarray) else x.shape[0]
    total, squares = xp.zeros_like(float64(shifted.shift)), 0.0
    with QUIET():  # looked at below
        for start in range(0, x.shape[0], step):
            part = shifted(x[start : start + step, :])
            total = total + column_sums(part)
            squares += square_sum(part)
    if largest is None and not fits(squares / x.shape[0], shifted.dtype):
        # other stimuli are of another scale than the first ones
        return centred_side(x, wide=True, largest=largest_of(as_blocks(x)))
    mean = total / x.shape[0]
    left = shifted.move(mean)
    if x.shape[0] * square_sum(left) <= UNFELT * squares:
        return Centred(x, shifted, None, _offsets(x, shifted, squares))
    return Centred(x, shifted, xp.astype(left, shifted.dtype))


def _offsets(x: Array, shifted: Shifted, squares: float) -> Array | None:
    """``x_i.m - |m|^2 / 2`` of the mean m, None where taking it off would cost digits."""
    mean = shifted.shift
    as_given = x.dtype == mean.dtype and shifted.factor == 1
    if not (as_given and isinstance(x, np.ndarray) and x.flags.c_contiguous):
        return None
    middle = square_sum(mean)
    if x.shape[0] * middle > squares:
        return None
    with QUIET():
        return x @ mean - x.dtype.type(middle / 2)


def _few(x: np.ndarray[Any, Any]) -> int:
    """Number of rows that stay in cache."""
    return max(1, IN_CACHE // len(x[0]))


def by_stimuli(sides: Sequence[Centred]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Plain and debiased products of all pairs of sides, each (side, side).

    Products are those of sides whose patterns have the root mean square norm 1.
    Tiles of all Grams are made side by side, and one product of these flattened tiles gives all
    pairs at once: no Gram is ever whole. Diagonals go apart, so that debiasing cancels little.
    """
    n, m = sides[0].x.shape[0], len(sides)
    xp = array_namespace(sides[0].x)
    # equal tiles: thin ones at the end would take as long as others
    tile = -(-n // -(-n // _tile_of(m)))
    slices = [slice(start, min(start + tile, n)) for start in range(0, n, tile)]
    host = all(isinstance(side.x, np.ndarray) for side in sides)
    work = _OnHost(sides, tile) if host else _OnDevice(sides)
    off = np.zeros((m, m))
    with QUIET():
        for rows, columns in combinations_with_replacement(slices, 2):
            off += (1 if rows == columns else 2) * work.tile(rows, columns)
        d = xp.stack([xp.concat(norms) for norms in work.norms])
        diagonal, squares = to_host(d @ d.T), to_host(xp.sum(d, axis=1)) / n
    squares = np.where(squares > 0, squares, 1.0)  # plain products of such a side are 0
    scale = np.outer(squares, squares)
    plain = (off + diagonal) / scale
    if n < 4:
        return plain, np.full_like(plain, np.nan)
    return plain, (off - 2 * diagonal / (n - 2)) / scale + n**2 / ((n - 1) * (n - 2))


def _tile_of(m: int) -> int:
    """Stimuli of a tile: few sides have large ones, for these are centred less often."""
    if m <= FEW:
        return 2 * TILE
    return TILE if m <= 64 else max(64, int((64 * TILE**2 / m) ** 0.5))


class _OnHost:
    """Tiles in numpy: all of them in the same memory, for new memory costs as much as centring."""

    def __init__(self, sides: Sequence[Centred], tile: int) -> None:
        self.sides = sides
        self.norms: list[list[Array]] = [[] for _ in sides]
        tile = min(tile, sides[0].x.shape[0])
        # products of float32 and float64 sides meet in the wider
        dtype = np.result_type(*[side.dtype for side in sides])
        most = max(side.shifted.shift.nbytes for side in sides) * tile
        shapes = [(len(sides) * tile**2,), (most,), (most,)]
        self.flat, *self.rooms = in_one_piece(shapes, [dtype, np.uint8, np.uint8])

    def tile(self, rows: slice, columns: slice) -> np.ndarray[Any, Any]:
        """Sums of products of all pairs of sides over one tile of their Grams, no diagonals."""
        shape = (rows.stop - rows.start, columns.stop - columns.start)
        flat = self.flat[: len(self.sides) * prod(shape)].reshape(len(self.sides), -1)
        for side, norms, values in zip(self.sides, self.norms, flat, strict=True):
            gram = values.reshape(shape)
            self._gram(side, rows, columns, gram)
            if rows == columns:
                norms.append(np.diagonal(gram).astype(np.float64))
                np.fill_diagonal(gram, 0)
        return _all_pairs(flat)

    def _gram(self, side: Centred, rows: slice, columns: slice, out: np.ndarray[Any, Any]) -> None:
        if side.offsets is not None:
            some, others = side.x[rows], side.x[columns]
        else:
            some = self._centred(side, rows, 0)
            others = some if rows == columns else self._centred(side, columns, 1)
        np.matmul(some, others.T, out=out)
        if side.offsets is not None:
            out -= side.offsets[rows, None]
            out -= side.offsets[columns]

    def _centred(self, side: Centred, rows: slice, room: int) -> np.ndarray[Any, Any]:
        n, row = rows.stop - rows.start, side.shifted.shift
        memory = self.rooms[room][: n * row.nbytes].view(row.dtype)
        return np.asarray(side.rows(rows, out=memory.reshape(n, row.size)))


class _OnDevice:
    """Tiles in any library."""

    def __init__(self, sides: Sequence[Centred]) -> None:
        self.sides = sides
        self.norms: list[list[Array]] = [[] for _ in sides]

    def tile(self, rows: slice, columns: slice) -> np.ndarray[Any, Any]:
        """Sums of products of all pairs of sides over one tile of their Grams, no diagonals."""
        xp = array_namespace(self.sides[0].x)
        dtype = xp.result_type(*[side.dtype for side in self.sides])
        tiles = []
        for side, norms in zip(self.sides, self.norms, strict=True):
            some = side.rows(rows)
            gram = some @ (some if rows == columns else side.rows(columns)).T
            if rows == columns:
                norms.append(row_norms(some))
                diagonal = xp.eye(gram.shape[0], dtype=xp.bool, device=device(gram))
                gram = xp.where(diagonal, xp.zeros_like(gram), gram)
            tiles.append(xp.astype(xp.reshape(gram, (-1,)), dtype, copy=False))
        return _all_pairs(xp.stack(tiles))


def _all_pairs(flat: Array) -> np.ndarray[Any, Any]:
    """Sums of products of all pairs of rows, in float64."""
    total = np.zeros((flat.shape[0], flat.shape[0]))
    for start in range(0, flat.shape[1], PIECE):
        piece = flat[:, start : min(start + PIECE, flat.shape[1])]
        total += to_host(piece @ piece.T)
    return total
