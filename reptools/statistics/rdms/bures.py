"""Bures similarity of two kernels: how close two covariance-like matrices are, root by root."""

from __future__ import annotations

from math import sqrt
from typing import Any

import numpy as np

from reptools.arrays import matmul
from reptools.errors import DataError
from reptools.statistics.rdms.pairs import count_stimuli

Vector = np.ndarray[Any, Any]
# negative eigenvalues up to this share of the positive ones are rounding of float32 distances
ROUNDING = 1e-5


def unit_factor(squared: Vector) -> Vector:
    """Patterns (stimulus, dimension) with these squared distances, centred, of unit norm.

    The kernel -J D J / 2 of a condensed vector D is split into F F' by its eigenvectors.

    Raises
    ------
    DataError
        The kernel has negative eigenvalues: no patterns have these squared distances.
    """
    n = count_stimuli(squared.size)
    kernel = np.zeros((n, n))
    kernel[np.triu_indices(n, k=1)] = -squared / 2
    kernel += kernel.T
    kernel -= kernel.mean(axis=0)
    kernel -= kernel.mean(axis=1, keepdims=True)
    values, vectors = np.linalg.eigh(kernel)
    positive = float(values[values > 0].sum())
    negative = -float(values[values < 0].sum())
    if negative > ROUNDING * positive:
        raise DataError(
            f"no patterns have these squared Euclidean distances: the negative eigenvalues of its "
            f"kernel sum to {negative / positive:.2g} of the positive ones, so a Bures similarity "
            "is undefined. Pass squared Euclidean or correlation distances, not cross-validated "
            "ones, or use another comparator."
        )
    kept = values > n * np.finfo(np.float64).eps * values[-1]
    factor = vectors[:, kept] * np.sqrt(values[kept])
    return np.asarray(factor / sqrt(float(values[kept].sum())))


def fidelity(a: Vector, b: Vector) -> float:
    """Trace of (A^1/2 B A^1/2)^1/2 from the factors of A and B: the nuclear norm of their product.

    References
    ----------
    Harvey, Lipshutz & Williams (2023), Duality of Bures and shape distances with implications
    for comparing neural representations, arXiv:2311.11436 (normalised Bures similarity).
    """
    return float(np.linalg.svd(matmul(a.T, b), compute_uv=False).sum())
