"""Covariance of the noise of units, and patterns in which this noise is white."""

from __future__ import annotations

from typing import Literal

import numpy as np
from array_api_compat import is_numpy_array, is_torch_array

from reptools.arrays import Array, array_namespace, matmul, to_host, vecdot
from reptools.errors import DataError, StimulusError, some
from reptools.statistics.rdms.distances import diagonal
from reptools.statistics.rdms.trials import Residuals

Noise = Literal["identity", "diag", "full", "shrinkage_eye", "shrinkage_diag"]
EPS = 2.0**-52


def without_noise(patterns: Array, residuals: Residuals, how: Noise) -> Array:
    """Patterns (row, unit) in which noise like the residuals is white and of variance 1."""
    refuse_unrepeated(residuals, "no condition is repeated")
    scale = residuals.scale  # fourth powers of the residuals would overflow at 1e77
    return whiten(patterns / scale, covariance(residuals.divided(scale), how))


def refuse_unrepeated(residuals: Residuals, fact: str) -> None:
    """Refuse to estimate noise from nothing."""
    if residuals.degrees < 1:
        raise StimulusError(
            f"{fact}, so there is no noise to estimate. Name condition= and groups= such that "
            "trials are repeated, or pass noise='identity'."
        )


def covariance(residuals: Residuals, how: Noise) -> Array:
    """Estimate of the covariance (unit, unit), or for "diag" of the variances (unit,).

    Parameters
    ----------
    residuals : Residuals
        Of a size that can be raised to the fourth power.
    how : {"diag", "full", "shrinkage_eye", "shrinkage_diag"}
        Variances only; the sample covariance; the sample covariance shrunk towards a multiple
        of the identity, or towards its own diagonal. Names and estimates are those of
        rsatoolbox 0.3.2.

    Raises
    ------
    DataError
        A unit has no residual variance, or there are too few residuals for "full".

    References
    ----------
    Ledoit & Wolf (2004), A well-conditioned estimator for large-dimensional covariance matrices,
    Journal of Multivariate Analysis 88, eq. 14 with lemmas 3.2-3.4 ("shrinkage_eye").
    Schaefer & Strimmer (2005), A shrinkage approach to large-scale covariance matrix estimation,
    Statistical Applications in Genetics and Molecular Biology 4, table 2 D ("shrinkage_diag").
    """
    x, dof = residuals.values, residuals.degrees
    xp = array_namespace(x)
    n, p = x.shape
    variances = xp.sum(x * x, axis=0) / dof
    flat = np.flatnonzero(to_host(variances <= residuals.rounding**2))
    if flat.size:
        raise DataError(
            f"{flat.size} of {p} units vary between conditions and never within one, so their "
            f"noise is 0 and the distance infinite: {some(flat.tolist())}. Leave these units "
            "out, or pass noise='identity'."
        )
    if how == "diag":
        return variances
    if how == "full" and dof < p:
        raise DataError(
            f"the covariance of {p} units has no inverse with {dof} degrees of freedom. "
            "Pass noise='shrinkage_diag' or 'shrinkage_eye', or record more trials."
        )
    estimate = matmul(x.T, x)
    if how == "shrinkage_eye":
        mean = float(xp.sum(variances)) * dof / n / p
        spread = float(xp.sum((variances * (dof / n) - mean) ** 2))
        distance = (
            max(_squares(estimate) / n**2 - _squares(variances) * (dof / n) ** 2, 0.0) + spread
        )
        fourth = float(xp.sum(vecdot(x, x) ** 2)) / n
        error = min(distance, (fourth - _squares(estimate) / n**2) / n)
        share = error / distance if distance > 0 else 0.0
        estimate *= (1 - share) / dof
        on = diagonal(estimate)
        on += share * mean * n / dof
        return estimate
    if how == "shrinkage_diag":
        z2 = x * x / variances
        inverse = 1 / variances
        off = float(matmul(inverse, estimate * estimate, inverse)) / (n - 1) ** 2
        off -= p * (dof / (n - 1)) ** 2
        fourth = float(xp.sum(xp.sum(z2, axis=1) ** 2)) - _squares(z2)
        error = n / dof**2 * (fourth / (n - 1) - off)
        estimate *= (1 - min(max(error / off, 0.0), 1.0) if off > 0 else 1.0) / dof
        diagonal(estimate)[...] = variances
        return estimate
    estimate /= dof
    return estimate


def _squares(x: Array) -> float:
    xp = array_namespace(x)
    flat = xp.reshape(x, (-1,))
    return float(vecdot(flat, flat))


def whiten(patterns: Array, noise: Array) -> Array:
    """Patterns (row, unit) whose inner products are a' N b, N the inverse of the covariance.

    ``noise`` is a covariance (unit, unit) or variances (unit,).

    Raises
    ------
    DataError
        The covariance has no inverse.
    """
    xp = array_namespace(patterns)
    if noise.ndim == 1:
        return patterns / xp.sqrt(noise)
    factor = _cholesky(noise)
    if is_numpy_array(patterns):
        from scipy.linalg import solve_triangular  # slow to import

        return np.ascontiguousarray(
            solve_triangular(factor, patterns.T, lower=True, check_finite=False).T
        )
    if is_torch_array(patterns):
        import torch

        return torch.linalg.solve_triangular(factor, patterns.T, upper=False).T.contiguous()
    return xp.linalg.solve(factor, patterns.T).T


def _cholesky(covariance: Array) -> Array:
    """Lower factor; a covariance that is singular up to rounding is refused."""
    xp = array_namespace(covariance)
    pivots = None
    try:
        factor = xp.linalg.cholesky(covariance)
        pivots = xp.linalg.diagonal(factor) ** 2 / xp.linalg.diagonal(covariance)
    except Exception as error:  # each library has its own
        if "LinAlg" not in type(error).__name__:
            raise
    if pivots is None or float(xp.min(pivots)) < 4 * EPS * covariance.shape[0]:
        raise DataError(
            f"the noise covariance of {covariance.shape[0]} units has no inverse: some units are "
            "sums of others. Pass noise='shrinkage_diag' or 'shrinkage_eye'."
        )
    return factor
