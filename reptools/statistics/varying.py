"""Which units vary, and by more than the rounding of their own numbers.

Numbers that should be equal come out of sums and products a few units in the last place apart:
0.3 beside 0.1 + 0.2. A unit that varies by no more than that carries nothing, yet whatever divides
by its spread would make a signal of it. So everywhere a unit counts as dead whose values all lie
within ``ROUNDED`` units in the last place of its first one, and becomes that one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from reptools.arrays import Array, array_namespace, asarray_like, columns_of, to_host

Units = np.ndarray[Any, np.dtype[np.intp]]

# Patterns of rank one, divided by their norms, differ by up to 3 of them.
ROUNDED = 8
EPS = {"float32": 2.0**-23, "float64": 2.0**-52}
FEW = 64  # rows that tell of nearly all units that they vary


def rounding(dtype: Any) -> float:
    """Share of a number that is rounding; 0 unless it is float32 or float64, of any library.

    >>> bool(rounding(np.dtype(np.float64)) == 8 * np.finfo(np.float64).eps)
    True
    """
    return ROUNDED * EPS.get(str(dtype).rpartition(".")[2], 0.0)


@dataclass
class Varying:
    """Which units have had one value, up to ``rounding``, for all stimuli so far."""

    rounding: float
    n: int = 0
    width: int = 0
    dead: Units = field(default_factory=lambda: np.empty(0, dtype=np.intp))
    first: Array = None
    equal: bool = True  # whether the dead units have had one value without rounding

    @property
    def nothing(self) -> bool:
        """Whether no unit has varied."""
        return self.dead.size == self.width

    def see(self, x: Array) -> None:
        """Look at more rows. A few settle nearly all units, so that few columns are read whole."""
        if self.first is None:
            self.width = x.shape[1]
            self.first = x[:1, :] + 0
            if type(x) is np.ndarray and _all_vary(x[:FEW], self.rounding):  # nearly always
                self.n = len(x)
                return
            self.dead = np.arange(self.width)
        for rows in (x[:FEW, :], x[FEW:, :]):
            if self.dead.size and rows.shape[0]:
                self._see(rows)
        self.n += x.shape[0]

    def _see(self, rows: Array) -> None:
        xp = array_namespace(rows)
        columns, first = columns_of(rows, self.dead), columns_of(self.first, self.dead)
        equal = to_host(xp.all(columns == first, axis=0))
        if self.rounding and not equal.all():
            others = np.flatnonzero(~equal)
            columns, first = columns_of(columns, others), columns_of(first, others)
            near = xp.abs(columns - first) <= self.rounding * xp.abs(first)
            equal[others] = to_host(xp.all(near, axis=0))
            self.equal = self.equal and not equal[others].any()
        self.dead = self.dead[equal]

    def settled(self, x: Array) -> Array:
        """``x`` (..., unit) with the first value of every dead unit for all of its values."""
        if self.equal or not self.dead.size:
            return x
        xp = array_namespace(x)
        dead = np.zeros(self.width, dtype=bool)
        dead[self.dead] = True
        return xp.where(asarray_like(dead, x), self.first[0, :], x)


def _all_vary(rows: np.ndarray[Any, Any], tolerance: float) -> bool:
    """Whether a few rows show of every unit that it varies."""
    near = np.abs(rows - rows[0]) <= tolerance * np.abs(rows[0])
    return not near.all(axis=0).any()


def varying(x: Array, tolerance: float | None = None) -> Varying:
    """What varies of an array (..., unit), by more than ``tolerance`` or the rounding of ``x``."""
    seen = Varying(rounding(x.dtype) if tolerance is None else tolerance)
    seen.see(x if x.ndim == 2 else array_namespace(x).reshape(x, (-1, x.shape[-1])))
    return seen
