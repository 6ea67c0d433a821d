"""Least squares of one RDM on several model RDMs, reduced to a triangle of models once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from reptools.arrays import matmul
from reptools.errors import DataError, StimulusError

Vector = np.ndarray[Any, Any]
# a combination of unit models that keeps this share of their norm is rounding
NOTHING_LEFT = 1e-6


@dataclass(frozen=True)
class Reduced:
    """The problem |X w - y| with X = Q R, in the coordinates of Q.

    Attributes
    ----------
    triangle : array (model, model)
        R.
    target : array (model,)
        Q'y.
    outside : float
        Squared norm of what no combination of models reaches in y.
    """

    triangle: Vector
    target: Vector
    outside: float

    @property
    def joint(self) -> float:
        """Squared norm of the part of y that all models reach together."""
        return float(matmul(self.target, self.target))


def reduced(y: Vector, models: Sequence[Vector], names: Sequence[str]) -> Reduced:
    """Reduce least squares of ``y`` on ``models`` (vectors of one length).

    Raises
    ------
    StimulusError
        There are too few distances to tell the models apart.
    DataError
        A weighted sum of models is 0: they are named.
    """
    X = np.column_stack(models)
    if X.shape[0] < X.shape[1] + 2:
        raise StimulusError(
            f"{X.shape[0]} distances cannot tell {X.shape[1]} models apart. Pass more stimuli, or "
            "fewer models."
        )
    Q, R = np.linalg.qr(X)
    refuse_collinear(R, names)
    target = matmul(Q.T, y)
    rest = y - matmul(Q, target)
    return Reduced(R, target, float(matmul(rest, rest)))


def refuse_collinear(triangle: Vector, names: Sequence[str]) -> None:
    """Name the models of which a weighted sum is 0.

    Raises
    ------
    DataError
        There are such models.
    """
    norms = np.linalg.norm(triangle, axis=0)
    flat = [name for name, norm in zip(names, norms, strict=True) if not norm]
    if flat:
        raise DataError(
            f"model {_listed(flat)} has one value for all pairs it is fitted on. Leave it out."
        )
    _, singular, rows = np.linalg.svd(triangle / norms)
    if singular[-1] > NOTHING_LEFT:
        return
    involved = np.abs(rows[singular <= NOTHING_LEFT]).max(axis=0) > 1e-3
    alike = [name for name, one in zip(names, involved, strict=True) if one]
    raise DataError(
        f"models {_listed(alike)} are collinear (a weighted sum of them is 0 within "
        f"{singular[-1]:.2g} of their norm), so their shares cannot be told apart. "
        "Leave one of them out."
    )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(repr(name) for name in names)


def weights(problem: Reduced, *, nonnegative: bool) -> Vector:
    """Least-squares weights of the models, in any sign or not negative."""
    if nonnegative:
        from scipy.optimize import nnls  # slow to import

        return np.asarray(nnls(problem.triangle, problem.target)[0])
    return np.asarray(np.linalg.solve(problem.triangle, problem.target))


def explained(problem: Reduced, chosen: Sequence[int], *, nonnegative: bool) -> float:
    """Squared norm of the part of y that the chosen models reach."""
    columns = problem.triangle[:, list(chosen)]
    if not columns.size:
        return 0.0
    if nonnegative:
        from scipy.optimize import nnls  # slow to import

        fitted = matmul(columns, nnls(columns, problem.target)[0])
        return float(matmul(fitted, fitted))  # the projection on a cone is orthogonal to its rest
    reached = matmul(np.linalg.qr(columns)[0].T, problem.target)
    return float(matmul(reached, reached))
