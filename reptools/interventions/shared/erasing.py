"""Affine maps after which nothing linear is left of a feature."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from reptools.arrays import matmul
from reptools.statistics.shapes.spectrum import EPS, scaled

Values = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class Eraser:
    """x - left right (x - mean), with as many directions as the feature has columns at most."""

    mean: Values  # (unit,)
    left: Values  # (unit, direction)
    right: Values  # (direction, unit)

    def __call__(self, x: Values) -> Values:
        """Activations (stimulus, unit) without the feature."""
        return np.asarray(x - matmul(x - self.mean, self.right.T, self.left.T))


def leace(x: Values, z: Values) -> Eraser:
    """Least-squares concept erasure: W+ P W (x - mean) is taken away.

    W whitens x and P projects on the columns of W cov(x, z). With the singular value decomposition
    x = U S V' of centred activations, W = V S^-1 V' up to a constant, so P projects on V Q, where
    the columns of Q span U' z; what is taken away is V S Q Q' S^-1 V' (x - mean).

    Parameters
    ----------
    x : array (stimulus, unit)
        Activations to fit on.
    z : array (stimulus, column)
        Design columns of what is to be erased.

    References
    ----------
    Belrose, Schneider-Joseph, Ravfogel, Cotterell, Raff and Biderman (2023), LEACE: perfect linear
    concept erasure in closed form, NeurIPS, theorem 4.3.
    """
    centred, _ = scaled(x)
    U, S, Vt = np.linalg.svd(centred, full_matrices=False)
    kept = max(x.shape) * EPS * S[0] < S
    U, S, Vt = U[:, kept], S[kept], Vt[kept]
    Q = span(matmul(U.T, _unit_columns(z)), max(x.shape) * EPS)
    return Eraser(x.mean(axis=0), matmul(Vt.T * S, Q), matmul(Q.T / S, Vt))


def projection(x: Values, z: Values) -> Eraser:
    """Orthogonal projection away from the differences of means, the columns of cov(x, z)."""
    centred, _ = scaled(x)
    size = float(np.sqrt((centred**2).sum()))
    Q = span(matmul(centred.T, _unit_columns(z)) / size, max(x.shape) * EPS)
    return Eraser(x.mean(axis=0), Q, Q.T)


def span(columns: Values, least: float) -> Values:
    """Orthonormal basis (row, direction) of columns, without what is rounding."""
    U, S, _ = np.linalg.svd(columns, full_matrices=False)
    return np.asarray(U[:, least < S])


def _unit_columns(z: Values) -> Values:
    """Centred columns of length 1, so that sizes of amounts do not decide what is rounding."""
    z = z / np.maximum(np.abs(z).max(axis=0), np.finfo(np.float64).tiny)
    z = z - z.mean(axis=0)
    length = np.sqrt((z**2).sum(axis=0))
    return np.asarray(z[:, length > 0] / length[length > 0])
