"""Solutions of (A + a I) w = b for many shifts a and right sides b, from one reduction of A.

A symmetric A = Q T Q' with T tridiagonal costs less than half of its eigenvectors, and T + a I is
solved in a few operations a row. Libraries without that reduction take the eigenvectors.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from reptools.arrays import Array, array_namespace, to_host

Matrix = np.ndarray[Any, np.dtype[np.float64]]

# eigenvectors pay from rows**2 / 90 columns, less a start-up of 500 (measured, 128 to 1,024 rows)
COLUMNS, STARTUP = 90, 500
KEPT = 2**27  # bytes of reductions that one side keeps, so that a grid does not repeat them


class Reduction(Protocol):
    """A symmetric positive semi-definite matrix in a basis where shifted systems are easy."""

    @property
    def basis(self) -> Array:
        """Orthogonal directions (coordinate, direction)."""

    def solve(self, right: Array, shifts: Array) -> Array:
        """Solutions (direction, shift, column) for right sides (direction, column)."""

    def solve_each(self, right: Array, shifts: Array) -> Array:
        """Solutions (direction, column) where each right side has a shift of its own."""


@dataclass(frozen=True)
class Spectrum:
    """Eigenvalues, none negative, and eigenvectors."""

    values: Array
    basis: Array

    @classmethod
    def of(cls, matrix: Array) -> Spectrum:
        """Decompose in float64; what is negative is rounding."""
        xp = array_namespace(matrix)
        values, vectors = xp.linalg.eigh(matrix)
        return cls(xp.where(values > 0, values, xp.zeros_like(values)), vectors)

    def solve(self, right: Array, shifts: Array) -> Array:
        """Each direction for itself."""
        shrink = 1 / (self.values[:, None] + shifts[None, :])
        return right[:, None, :] * shrink[:, :, None]

    def solve_each(self, right: Array, shifts: Array) -> Array:
        """Each direction for itself."""
        return right / (self.values[:, None] + shifts[None, :])


@dataclass(frozen=True)
class Tridiagonal:
    """Diagonal and off-diagonal of T, and Q."""

    diagonal: Matrix
    off: Matrix
    basis: Matrix

    @classmethod
    def of(cls, matrix: Matrix) -> Tridiagonal:
        """Householder's reduction, by LAPACK."""
        from scipy.linalg import lapack

        size = len(matrix)
        work = int(lapack.dsytrd_lwork(size, lower=1)[0])
        packed, diagonal, off, tau, _ = lapack.dsytrd(matrix, lower=1, lwork=work)
        basis = np.zeros((size, size), order="F")
        basis[0, 0] = 1.0
        if size > 1:
            below = packed[1:, :-1]
            work = int(lapack.dorgqr(below, tau, lwork=-1)[1][0])
            basis[1:, 1:] = lapack.dorgqr(below, tau, lwork=work)[0]
        return cls(diagonal, off, basis)

    def positive(self, shift: float) -> bool:
        """Whether T + shift is positive definite, as far as rounding lets it."""
        pivots, _ = self._factor(np.array([shift]))
        return bool((pivots > 0).all())

    def solve(self, right: Matrix, shifts: Matrix) -> Matrix:
        """All shifts of all columns, row by row."""
        shape = (len(right), len(shifts), right.shape[1])
        return self._substitute(np.broadcast_to(right[:, None, :], shape).copy(), shifts)

    def solve_each(self, right: Matrix, shifts: Matrix) -> Matrix:
        """All columns, row by row."""
        return self._substitute(right[:, :, None].copy(), shifts)[:, :, 0]

    def _factor(self, shifts: Matrix) -> tuple[Matrix, Matrix]:
        """Pivots and multipliers (direction, shift) of the factors L D L'."""
        pivots = self.diagonal[:, None] + shifts[None, :]
        multipliers = np.zeros_like(pivots)
        for i, off in enumerate(self.off.tolist(), start=1):
            np.divide(off, pivots[i - 1], out=multipliers[i])
            pivots[i] -= off * multipliers[i]
        return pivots, multipliers

    def _substitute(self, rows: Matrix, shifts: Matrix) -> Matrix:
        """Solve in place; ``rows`` are right sides (direction, shift, column)."""
        pivots, multipliers = (part[:, :, None] for part in self._factor(shifts))
        buffer = np.empty_like(rows[0])
        for i in range(1, len(rows)):
            rows[i] -= np.multiply(multipliers[i], rows[i - 1], out=buffer)
        rows /= pivots
        for i in range(len(rows) - 1, 0, -1):
            rows[i - 1] -= np.multiply(multipliers[i], rows[i], out=buffer)
        return rows


def reduce(matrix: Array, least_shift: float, columns: int) -> Reduction:
    """The cheapest reduction that serves shifts from ``least_shift``.

    For many ``columns`` (shifts times right sides) eigenvectors pay, since they take one product
    an element. And where rounding in ``matrix`` is larger than the least shift, only eigenvalues
    tell what is to be taken for zero.
    """
    if isinstance(matrix, np.ndarray) and COLUMNS * (columns + STARTUP) < len(matrix) ** 2:
        reduced = Tridiagonal.of(matrix)
        if reduced.positive(least_shift):
            return reduced
    return Spectrum.of(matrix)


@dataclass
class Reductions:
    """Reductions of one side's products, kept up to ``most`` bytes for the next right sides."""

    known: dict[Hashable, Reduction] = field(default_factory=dict)
    size: int = 0
    most: int = KEPT

    def of(self, key: Hashable, matrix: Array, shifts: Array, targets: int) -> Reduction:
        """Reduce, and keep where there is room."""
        shifts = to_host(shifts)
        reduced = reduce(matrix, float(shifts.min()), shifts.size * targets)
        size = 8 * int(matrix.shape[0]) ** 2
        if self.size + size <= self.most:
            self.size += size
            self.known[key] = reduced
        return reduced
