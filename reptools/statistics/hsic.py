"""Inner products of centred linear Grams, <K, L> with K = XX' and L = YY', in the cheaper form.

Biased: <K, L> = |X'Y|^2 of centred X and Y. Debiased: the U-centred inner product, which ignores
the diagonals. With d the squared row norms of a centred side,

    <K~, L~> = |X'Y|^2 - d_x.d_y + (sum d_x)(sum d_y)/((n-1)(n-2)) - 2 d_x.d_y/(n-2),

so neither form needs a stimulus x stimulus matrix: not by units (one pass over the stimuli, here),
and not by stimuli, where Grams are made a tile at a time, all sides together (``tiles``).

References
----------
Song et al. (2007), Supervised feature selection via dependence estimation, eq. 5, times n(n-3),
with the sums over the diagonals written out by d.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from reptools.arrays import Array, array_namespace, float64, matmul
from reptools.statistics.blocks import Blocks, Rows, as_blocks, together
from reptools.statistics.moments import (
    Shifted,
    needs_float64,
    rescaling,
    share_buffer,
)

# Flags of products count for nothing here: kernels of some processors raise them falsely, and what
# has truly overflowed is found in the sums. Once for all of a small call, for it costs its time.
QUIET = partial(np.errstate, divide="ignore", over="ignore", invalid="ignore")
AT_ONCE = 64  # rows of cross-products that are centred together


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


def by_units(
    x: Rows, y: Rows, *, wide: bool = False, with_self: tuple[bool, bool] = (True, True)
) -> tuple[Product | None, Product | None, Product]:
    """Products (x, x), (y, y) and (x, y); those of a side with itself only where asked.

    Products are those of x / s_x and y / s_y, with s the root mean square norm of a pattern.
    """
    sides = as_blocks(x), as_blocks(y)
    sums = _summed(sides, wide, with_self, None)
    if not sums.in_range:  # other stimuli are of another scale than the first ones
        sums = _summed(sides, True, with_self, [largest_of(side) for side in sides])
    with QUIET():
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
        with QUIET():
            sums.add(blocks)
    assert sums is not None
    return sums


def largest_of(x: Blocks) -> float:
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
            self._add(("sums", i), xp.stack([weights[k, :] @ z[i] for k in range(3)]))
            for j in range(i, 2):
                if i != j or self.with_self[i]:
                    self._add(("product", i, j), z[i].T @ z[j])
                    self._add(("norms", i, j), float(norms[i] @ norms[j]))

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
        fit = all(fits(norm, side.dtype) for norm, side in zip(norms, self.shifted, strict=True))
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
        uu, vv = float(u @ u), float(v @ v)
        sum_x, sum_y = s["norm", i] - n * uu, s["norm", j] - n * vv
        squares, bilinear = _about_means(s["product", i, j], u, v, n)
        # d = e - 2 z.u + |u|^2 with e the norms and z the patterns about the shift
        norms = (
            s["norms", i, j]
            - 2 * float(of_j[1 + i, :] @ v)
            - 2 * float(of_i[1 + j, :] @ u)
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


def fits(norm: float, dtype: Any) -> bool:
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
    """Sum of squares of all values, summed as they are in numpy."""
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
        bilinear += float(some @ (part @ v))
    return squares, bilinear


def _total(x: Array) -> Array:
    return array_namespace(x).sum(x)
