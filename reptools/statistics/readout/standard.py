"""Coordinates for fits: one choice that all fits of a call share, and those of single fits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from reptools.arrays import matmul
from reptools.statistics.folds import Rows

Values = np.ndarray[Any, Any]
Scaling = Literal["zscore", "none"]


@dataclass(frozen=True)
class Standard:
    """One choice of coordinates for all fits of a call, in which sums neither over- nor underflow.

    Each fit still centres and scales by its own rows, so this choice changes no score.

    Attributes
    ----------
    scaling : "zscore" or "none"
        Whether a unit is divided by its own spread, or all units by a common one.
    exponents : int array (unit,)
        Powers of two taken out of the units first.
    centre, spread : array (unit,)
        Subtracted and divided by, in that order.
    strength : float
        What a penalty on the given units is multiplied by here.
    """

    scaling: Scaling
    exponents: Values
    centre: Values
    spread: Values
    strength: float

    @classmethod
    def of(cls, x: Values, rows: Rows, scaling: Scaling) -> Standard:
        """Coordinates for (stimulus, unit), from the rows that any fit will use."""
        used = x[rows].astype(np.float64)
        largest = np.abs(used).max(axis=0)
        exponents = np.frexp(largest if scaling == "zscore" else largest.max())[1]
        exponents = np.broadcast_to(exponents, largest.shape)
        used = np.ldexp(used, -exponents)
        centre = used.mean(axis=0)
        used -= centre
        squares = (used**2).mean(axis=0)
        if scaling == "none":
            squares = np.broadcast_to(squares.mean(), squares.shape)
        varying = squares > 0
        spread = np.where(varying, np.sqrt(np.where(varying, squares, 1)), 1.0)
        logarithm = 2 * (float(exponents.max()) + float(np.log2(spread.max())))
        # beyond this range a penalty is everything or nothing
        strength = 1.0 if scaling == "zscore" else 2.0 ** -float(np.clip(logarithm, -900, 900))
        return cls(scaling, exponents, centre, spread, strength)

    def of_rows(self, x: Values, rows: Rows) -> Values:
        """Some rows of activations in these coordinates, in float64."""
        z = np.ldexp(x[rows].astype(np.float64), -self.exponents)
        z -= self.centre
        z /= self.spread
        return z


@dataclass(frozen=True)
class Own:
    """Fit rows (stimulus, unit) centred, and scaled if so asked, by themselves."""

    part: Values
    mean: Values
    spread: Values
    constant: Values

    @classmethod
    def of(cls, part: Values, scaling: Scaling) -> Own:
        """Rows as they are to be fitted; a constant unit is 0."""
        constant = (part == part[:1]).all(axis=0)
        mean = part.mean(axis=0)
        part = part - mean
        part[:, constant] = 0.0
        spread = np.ones(part.shape[1])
        if scaling == "zscore":
            spread = np.where(constant, 1.0, np.sqrt((part**2).mean(axis=0)))
            part /= spread
        return cls(part, mean, spread, constant)

    def applied(self, rows: Values) -> Values:
        """Other rows, centred and scaled as these were; a unit that is constant here is 0."""
        part = (rows - self.mean) / self.spread
        part[:, self.constant] = 0.0
        return part

    def restored(self, coefficients: Values, intercepts: Values) -> tuple[Values, Values]:
        """Coefficients and intercepts for the coordinates that the rows came in."""
        coefficients = np.where(self.constant, 0.0, coefficients / self.spread)
        return coefficients, intercepts - matmul(coefficients, self.mean)
