"""Inner products of centred linear Grams, <K, L> with K = XX' and L = YY', in the cheaper form.

Biased: <K, L> = |X'Y|^2 of centred X and Y. Debiased: the U-centred inner product, which ignores
the diagonals. With d the squared row norms of a centred side,

    <K~, L~> = |X'Y|^2 - d_x.d_y + (sum d_x)(sum d_y)/((n-1)(n-2)) - 2 d_x.d_y/(n-2),

so neither form needs a stimulus x stimulus matrix: not by units (one pass over the stimuli), and
not by stimuli, where Grams are made a tile at a time, all sides together.

References
----------
Song et al. (2007), Supervised feature selection via dependence estimation, eq. 5, times n(n-3),
with the sums over the diagonals written out by d.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from reptools.arrays import Array, array_namespace, device, float64, matmul, to_host
from reptools.statistics.blocks import Blocks, Rows, as_blocks, together
from reptools.statistics.moments import (
    Shifted,
    column_sums,
    needs_float64,
    rescaling,
    share_buffer,
)

TILE = 512  # stimuli of a tile: two of 1,000 units and their Gram stay in cache
IN_CACHE = 2**17  # values of a few rows that are used again at once
AT_ONCE = 64  # rows of cross-products that are centred together
PIECE = 2**14  # products that float32 may sum before they are widened


@dataclass(frozen=True)
class Product:
    """<K, L> of two sides, plain and debiased (NaN below four stimuli)."""

    plain: float
    debiased: float

    def of(self, estimator: str) -> float:
        """The product that an estimator takes."""
        return self.debiased if estimator == "debiased" else self.plain


def debiased(plain: float, n: int, norms: float, sum_x: float, sum_y: float) -> float:
    """The debiased product from the plain one, d_x.d_y, sum d_x and sum d_y."""
    if n < 4:
        return float("nan")
    return plain - norms + sum_x * sum_y / ((n - 1) * (n - 2)) - 2 * norms / (n - 2)


# --- by units: one pass over the stimuli --------------------------------------------------------


def by_units(
    x: Rows, y: Rows, *, wide: bool = False, with_self: tuple[bool, bool] = (True, True)
) -> tuple[Product | None, Product | None, Product]:
    """Products (x, x), (y, y) and (x, y); those of a side with itself only where asked.

    Products are those of x / s_x and y / s_y, with s the root mean square norm of a pattern.
    """
    sides = as_blocks(x), as_blocks(y)
    sums = _summed(sides, wide, with_self, None)
    if not sums.in_range:  # other stimuli are of another scale than the first ones
        sums = _summed(sides, True, with_self, [_largest(side) for side in sides])
    return sums.finish()


def _summed(
    sides: Sequence[Blocks],
    wide: bool,
    with_self: tuple[bool, bool],
    largest: Sequence[float] | None,
) -> _Sums:
    """One pass over two sides, scaled by their largest values, or by those of the first rows."""
    sums: _Sums | None = None
    for blocks in together(*sides):
        if sums is None:
            need = zip(sides, blocks, strict=True)
            wide = wide or any(needs_float64(side, block) for side, block in need)
            scales = largest or (None, None)
            shifted = [
                Shifted(block, wide, factor=rescaling(block, scale))
                for block, scale in zip(blocks, scales, strict=True)
            ]
            share_buffer(shifted, blocks)
            sums = _Sums(shifted, with_self)
        with np.errstate(over="ignore", invalid="ignore"):  # looked at by in_range
            sums.add(blocks)
    assert sums is not None
    return sums


def _largest(x: Blocks) -> float:
    """Largest magnitude of all values."""
    return max(float(array_namespace(block).max(abs(block))) for _, block in x)


@dataclass
class _Sums:
    """Sums over stimuli about a shift near the mean, from which those about the mean follow."""

    shifted: Sequence[Shifted]
    with_self: tuple[bool, bool]
    n: int = 0
    sums: dict[Any, Any] = field(default_factory=dict)

    def add(self, blocks: tuple[Array, ...]) -> None:
        """Add one block of both sides."""
        z = [shift(block) for shift, block in zip(self.shifted, blocks, strict=True)]
        if z[0].dtype != z[1].dtype:
            z = [float64(side) for side in z]
        self.n += z[0].shape[0]
        norms = [row_norms(side) for side in z]
        xp = array_namespace(z[0])
        rows = xp.stack([xp.ones_like(norms[0]), *norms])
        for i in (0, 1):
            self._add(("norm", i), float(_total(norms[i])))
            # sums of a side, plain and weighted by the norms of each side
            weights = xp.astype(rows, z[i].dtype)
            self._add(("sums", i), xp.stack([matmul(weights[k, :], z[i]) for k in range(3)]))
            for j in range(i, 2):
                if i != j or self.with_self[i]:
                    self._add(("product", i, j), matmul(z[i].T, z[j]))
                    self._add(("norms", i, j), float(matmul(norms[i], norms[j])))

    def _add(self, key: Any, value: Any) -> None:
        if key not in self.sums:
            self.sums[key] = value  # widened when there is more to add
            return
        if not isinstance(value, float):
            self.sums[key] = float64(self.sums[key])
        self.sums[key] += value

    @property
    def in_range(self) -> bool:
        """Whether nothing has overflowed or vanished."""
        totals = [t if isinstance(t, float) else float(_total(t)) for t in self.sums.values()]
        norms = [self.sums["norm", i] / self.n for i in (0, 1)]
        fit = all(_fits(norm, side.dtype) for norm, side in zip(norms, self.shifted, strict=True))
        return fit and bool(np.isfinite(totals).all())

    def finish(self) -> tuple[Product | None, Product | None, Product]:
        """The three products about the means."""
        of_x = self._product(0, 0) if self.with_self[0] else None
        of_y = self._product(1, 1) if self.with_self[1] else None
        return of_x, of_y, self._product(0, 1)

    def _product(self, i: int, j: int) -> Product:
        n, s = self.n, self.sums
        of_i, of_j = float64(s["sums", i]), float64(s["sums", j])
        u, v = of_i[0, :] / n, of_j[0, :] / n  # the means, counted from the shifts
        uu, vv = float(matmul(u, u)), float(matmul(v, v))
        sum_x, sum_y = s["norm", i] - n * uu, s["norm", j] - n * vv
        squares, bilinear = _about_means(s["product", i, j], u, v, n)
        # d = e - 2 z.u + |u|^2 with e the norms and z the patterns about the shift
        norms = (
            s["norms", i, j]
            - 2 * float(matmul(of_j[1 + i, :], v))
            - 2 * float(matmul(of_i[1 + j, :], u))
            + vv * s["norm", i]
            + uu * s["norm", j]
            + 4 * bilinear
            - 3 * n * uu * vv
        )
        scale = sum_x * sum_y / n**2
        if scale <= 0:  # a side without variance
            return Product(0.0, 0.0)
        plain = squares / scale
        return Product(plain, debiased(plain, n, norms / scale, n, n))


def _fits(norm: float, dtype: Any) -> bool:
    """Whether squares of squared norms like this one keep within a dtype."""
    limit = 1e15 if str(dtype).endswith("float32") else 1e120
    return 1 / limit < norm < limit


def row_norms(x: Array) -> Array:
    """Squared norm of each row, in float64."""
    if isinstance(x, np.ndarray):
        return np.einsum("ij,ij->i", x, x).astype(np.float64)
    xp = array_namespace(x)
    return xp.sum(x * x, axis=1, dtype=xp.float64)


def square_sum(x: Array) -> float:
    """Sum of squares of all values of a float64 array."""
    if isinstance(x, np.ndarray):
        flat = x.ravel()
        return float(matmul(flat, flat))
    return float(array_namespace(x).sum(x * x))


def _about_means(cross: Array, u: Array, v: Array, n: int) -> tuple[float, float]:
    """Sum of squares of ``cross - n u v'``, and ``u' cross v``, from a few rows at a time."""
    squares = bilinear = 0.0
    for start in range(0, cross.shape[0], AT_ONCE):
        rows = slice(start, min(start + AT_ONCE, cross.shape[0]))
        part, some = float64(cross[rows, :]), u[rows]
        squares += square_sum(part - n * some[:, None] * v[None, :])
        bilinear += float(matmul(some, matmul(part, v)))
    return squares, bilinear


def _total(x: Array) -> Array:
    return array_namespace(x).sum(x)


# --- by stimuli: tiles of the Grams of all sides ------------------------------------------------


@dataclass(frozen=True)
class Centred:
    """A centred side and its squared row norms."""

    x: Array
    norms: Array


def centred_side(x: Array, *, wide: bool = False, largest: float | None = None) -> Centred:
    """Centre a side, in float32 where it is large."""
    wide = wide or needs_float64(as_blocks(x), x)
    with np.errstate(over="ignore", invalid="ignore"):  # looked at below
        centred, norms = _centred(x, Shifted(x, wide, factor=rescaling(x, largest)))
    fits = _fits(float(_total(norms)) / x.shape[0], centred.dtype)
    if largest is None and not fits:  # other stimuli are of another scale than the first ones
        return centred_side(x, wide=True, largest=_largest(as_blocks(x)))
    return Centred(centred, norms)


def _centred(x: Array, shifted: Shifted) -> tuple[Array, Array]:
    """``x`` about its mean, with its row norms: shifted near the mean first, then all the way.

    Numpy takes a few rows at a time, so that what follows a pass over them finds them in cache.
    """
    xp = array_namespace(x)
    step = max(1, IN_CACHE // x.shape[1]) if isinstance(x, np.ndarray) else x.shape[0]
    pieces = [slice(start, start + step) for start in range(0, x.shape[0], step)]
    if len(pieces) == 1:
        centred = shifted(x)
        total = column_sums(centred)
    else:
        centred = np.empty(x.shape, shifted.dtype)
        total = sum(column_sums(shifted(x[rows], out=centred[rows])) for rows in pieces)
    mean = xp.astype(total / x.shape[0], centred.dtype)
    norms = []
    for rows in pieces:
        part = centred[rows, :]
        part -= mean
        norms.append(row_norms(part))
    return centred, xp.concat(norms)


def by_stimuli(sides: Sequence[Centred]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Plain and debiased products of all pairs of sides, each (side, side).

    Products are those of sides whose patterns have the root mean square norm 1.
    Tiles of all Grams are made side by side, and one product of these flattened tiles gives all
    pairs at once: no Gram is ever whole. Diagonals go apart, so that debiasing cancels little.
    """
    n, m = sides[0].x.shape[0], len(sides)
    off = np.zeros((m, m))
    tile = TILE if m <= 64 else max(64, int((64 * TILE**2 / m) ** 0.5))
    for first in range(0, n, tile):
        rows = slice(first, min(first + tile, n))
        for second in range(first, n, tile):
            columns = slice(second, min(second + tile, n))
            twice = 1 if first == second else 2
            off += twice * _tile(sides, rows, columns)
    xp = array_namespace(sides[0].norms)
    d = xp.stack([side.norms for side in sides])
    diagonal, squares = to_host(matmul(d, d.T)), to_host(xp.sum(d, axis=1)) / n
    varies = squares > 0
    squares = np.where(varies, squares, 1.0)
    scale = np.outer(squares, squares)
    plain = (off + diagonal) / scale
    if n < 4:
        return plain, np.full_like(plain, np.nan)
    pairs = np.outer(varies, varies) * n**2 / ((n - 1) * (n - 2))
    return plain, (off - 2 * diagonal / (n - 2)) / scale + pairs


def _tile(sides: Sequence[Centred], rows: slice, columns: slice) -> np.ndarray[Any, Any]:
    """Sums of products of all pairs of sides over one tile of their Grams, without diagonals."""
    xp = array_namespace(sides[0].x)
    size = (rows.stop - rows.start) * (columns.stop - columns.start)
    # products of float32 and float64 sides meet in the wider
    dtype = xp.result_type(*[side.x for side in sides])
    if all(isinstance(side.x, np.ndarray) for side in sides):
        flat = np.empty((len(sides), size), dtype)
        for side, out in zip(sides, flat, strict=True):
            gram = out.reshape(rows.stop - rows.start, -1)
            matmul(side.x[rows], side.x[columns].T, out=gram)
            if rows == columns:
                np.fill_diagonal(gram, 0)
    else:
        flat = xp.stack([xp.reshape(_gram(side.x, rows, columns), (-1,)) for side in sides])
    total = np.zeros((len(sides), len(sides)))
    for start in range(0, size, PIECE):
        piece = flat[:, start : min(start + PIECE, size)]
        total += to_host(matmul(piece, piece.T))
    return total


def _gram(x: Array, rows: slice, columns: slice) -> Array:
    xp = array_namespace(x)
    gram = matmul(x[rows, :], x[columns, :].T)
    if rows != columns:
        return gram
    diagonal = xp.eye(gram.shape[0], dtype=xp.bool, device=device(x))
    return xp.where(diagonal, xp.zeros_like(gram), gram)
