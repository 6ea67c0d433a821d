"""Trials of conditions in runs: averages and residuals, for any numbers of trials."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from reptools.arrays import (
    Array,
    array_namespace,
    asarray_like,
    columns_of,
    device,
    float64,
    matmul,
    rows_of,
    to_host,
)

ROUNDED = 64 * 2.0**-52
Codes = np.ndarray[Any, np.dtype[np.intp]]


@dataclass(frozen=True)
class Trials:
    """Patterns of single trials.

    Attributes
    ----------
    values : array (trial, unit)
        In float32 or float64.
    condition, run : array of int (trial,)
        Number of the condition and of the run of each trial.
    conditions, runs : array
        Their names, sorted.
    """

    values: Array
    condition: Codes
    run: Codes
    conditions: np.ndarray[Any, Any]
    runs: np.ndarray[Any, Any]

    @property
    def cell(self) -> Codes:
        """Number of the condition and run together: run by run within each condition."""
        return self.condition * self.runs.size + self.run

    def of_runs(self, chosen: np.ndarray[Any, Any]) -> Trials:
        """The trials of some runs, given by their numbers."""
        rows = np.flatnonzero(np.isin(self.run, chosen))
        values = rows_of(self.values, rows)
        return Trials(values, self.condition[rows], self.run[rows], self.conditions, self.runs)

    def of_units(self, chosen: Codes) -> Trials:
        """The same trials with some of the units."""
        values = columns_of(self.values, chosen)
        return Trials(values, self.condition, self.run, self.conditions, self.runs)


@dataclass(frozen=True)
class Residuals:
    """What is left of trials once their conditions are taken out, in float64.

    Attributes
    ----------
    values : array (trial, unit)
        Trials that were repeated; the others leave nothing.
    degrees : int
        Degrees of freedom.
    rounding : array (unit,)
        Standard deviations that rounding of the trials alone can leave.
    """

    values: Array
    degrees: int
    rounding: Array

    @property
    def scale(self) -> float:
        """Largest magnitude, or 1 where nothing is left."""
        xp = array_namespace(self.values)
        return (float(xp.max(xp.abs(self.values))) if self.degrees else 0.0) or 1.0

    def divided(self, scale: float) -> Residuals:
        """The same in other units."""
        return Residuals(self.values / scale, self.degrees, self.rounding / scale)


def averaged(x: Array, codes: Codes, n: int) -> Array:
    """Mean of the rows of each code 0..n-1 in float64; a code without rows gives zeros.

    The k-th rows of all codes are added at once, so codes with many rows come first meanwhile.

    Examples
    --------
    >>> import numpy as np
    >>> averaged(np.array([[1.0], [5.0], [3.0]]), np.array([1, 0, 1]), 3).tolist()
    [[5.0], [2.0], [0.0]]
    """
    xp = array_namespace(x)
    counts = np.bincount(codes, minlength=n)
    largest = np.argsort(-counts, kind="stable")
    place = np.argsort(largest)
    order = np.argsort(place[codes], kind="stable")
    starts = np.cumsum(counts[largest]) - counts[largest]
    means = xp.zeros((n, x.shape[1]), dtype=xp.float64, device=device(x))
    if n < counts.max():  # few codes of many rows
        for k in range(n):
            rows = order[starts[k] : starts[k] + counts[largest[k]]]
            means[k, :] = xp.sum(float64(rows_of(x, rows)), axis=0)
    else:
        for k in range(int(counts.max())):
            m = int(np.count_nonzero(counts > k))
            means[:m, :] += float64(rows_of(x, order[starts[:m] + k]))
    means /= asarray_like(np.maximum(counts[largest], 1).astype(np.float64), x)[:, None]
    return rows_of(means, place)


def varying(x: Array) -> Codes:
    """Numbers of the columns of ``x`` that hold more than one value."""
    xp = array_namespace(x)
    return np.flatnonzero(to_host(xp.any(x != x[:1, :], axis=0)))


def within_cells(trials: Trials) -> Residuals:
    """Trials less the mean of their condition in their run."""
    n = trials.conditions.size * trials.runs.size
    return _less_means(trials.values, trials.cell, n)


def between_runs(trials: Trials) -> Residuals:
    """Trials less the effects of their condition and of their run, by least squares.

    Conditions are averaged out first, so that only the few runs are left to regress on.
    """
    left = _less_means(trials.values, trials.condition, trials.conditions.size)
    if not left.degrees:
        return left
    runs = np.eye(trials.runs.size)[trials.run]
    design = _less_means(runs, trials.condition, trials.conditions.size).values
    basis, sizes, _ = np.linalg.svd(design, full_matrices=False)
    rank = int(np.count_nonzero(sizes > 1e-10 * max(1.0, float(sizes[0]))))
    q = asarray_like(np.ascontiguousarray(basis[:, :rank]), trials.values)
    values = left.values - matmul(q, matmul(q.T, left.values)) if rank else left.values
    return Residuals(values, left.degrees - rank, left.rounding)


def _repeated(codes: Codes, n: int) -> Codes:
    """Rows whose code occurs more than once."""
    return np.flatnonzero(np.bincount(codes, minlength=n)[codes] > 1)


def _less_means(x: Array, codes: Codes, n: int) -> Residuals:
    xp = array_namespace(x)
    rows = _repeated(codes, n)
    here = codes[rows]
    values = float64(rows_of(x, rows))
    if not rows.size:
        return Residuals(values, 0, xp.zeros(x.shape[1], dtype=xp.float64, device=device(x)))
    rounding = ROUNDED * xp.max(xp.abs(values), axis=0)
    values = values - rows_of(averaged(values, here, n), here)
    return Residuals(values, rows.size - np.unique(here).size, rounding)
