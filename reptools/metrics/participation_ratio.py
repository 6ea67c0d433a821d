"""Participation ratio: in how many dimensions the variance of one representation lies."""

from __future__ import annotations

from functools import partial
from typing import Literal, TypeAlias

import xarray as xr

from reptools.arrays import array_namespace, vecdot
from reptools.engine.common import Prepare
from reptools.engine.declaring import metric
from reptools.engine.inputs import Activations
from reptools.engine.operation import Wiring
from reptools.errors import DataError, StimulusError
from reptools.statistics.blocks import Blocks, Rows, shape
from reptools.statistics.moments import moments
from reptools.statistics.shapes.spectrum import cross_product, scaled

Estimator: TypeAlias = Literal["debiased", "biased"]
# an unbiased sum of squares below this share of the biased one is rounding
NOTHING_LEFT = 1e-12


def ratio(x: Rows, /, *, estimator: Estimator) -> float:
    """Squared sum of the variances over the sum of their squares."""
    n, debiased = shape(x)[0], estimator == "debiased"
    if n < (4 if debiased else 2):
        raise StimulusError(
            f"the {estimator} participation ratio needs at least {4 if debiased else 2} stimuli, "
            f"got {n}. Pass more stimuli."
        )
    x = scaled(x)[0]
    product = cross_product(x)
    xp = array_namespace(product)
    total, squares = float(xp.linalg.trace(product)), float(xp.sum(product * product))
    if not debiased:
        return total * total / squares
    fourth = _fourth_powers(x)
    above = (2 * squares + (n * n - 3 * n + 1) * total * total) / (n - 1) - n * fourth
    below = (n - 2) * squares + total * total / (n - 1) - n * fourth
    if below <= NOTHING_LEFT * (n - 2) * squares:
        raise DataError(
            f"the unbiased sum of its squared eigenvalues is {below / ((n - 2) * squares):.2g} of "
            "the biased one, which is not above 0: all pairs of stimuli are equally alike. Leave "
            "it out, or pass estimator='biased'."
        )
    return above / below


def _fourth_powers(x: Rows) -> float:
    """Sum over stimuli of the fourth power of the distance to the mean; ``x`` is scaled."""
    if not isinstance(x, Blocks):
        xp = array_namespace(x)
        return float(xp.sum(vecdot(x, x) ** 2))
    mean = moments({"x": x}).means["x"]
    return sum(_fourth_powers(block - mean) for _, block in x)


@metric(
    better="neither",
    bounds=(0.0, float("inf")),
    invariances=("shift", "scale", "rotation"),
    backends=("numpy", "torch", "dask"),
)
def participation_ratio(
    x: Activations, /, *, estimator: Estimator = "debiased", prepare: Prepare = None
) -> Wiring[xr.DataArray]:
    """Number of dimensions in which the variance of a representation lies.

    The participation ratio of the eigenvalues of the covariance, (sum)^2 / sum of squares: p for
    p equal variances, 1 where a single direction varies. Units are centred, not scaled.

    Parameters
    ----------
    estimator : {"debiased", "biased"}, default "debiased"
        "biased" takes the eigenvalues of the sample, and cannot exceed n - 1: 1 / ratio is too
        large by about 1 / n, so that 50 stimuli in 1,000 equal dimensions score 47. "debiased"
        divides the unbiased estimates of both sums, from products of distinct stimuli only; it
        scores 1,000 there, whatever n, needs at least 4 stimuli, and is not bounded by n or p. It
        corrects for sampled stimuli, not for sampled units.

    Returns
    -------
    DataArray
        The number of dimensions, named "participation_ratio", over the outer dimensions.

    Raises
    ------
    StimulusError
        There are fewer than 4 stimuli (biased: 2).
    DataError
        A value is not finite, or all pairs of stimuli are equally alike, so that the unbiased sum
        of squares is not above 0.
    ParameterError
        An option is unknown or has a value that is not listed above.

    Notes
    -----
    No eigenvalues are computed: their sum is the trace, the sum of their squares the squared
    Frobenius norm, of whichever cross-product is smaller. Dask-backed activations are read in two
    passes (biased: one).

    References
    ----------
    Gao et al. (2017), A theory of multineuronal dimensionality, dynamics and measurement,
    bioRxiv 214262.
    Himeno & Yamada (2014), Estimations for some functions of covariance matrix in high dimension
    under non-normality and its applications, J. Multivariate Analysis 130 (the unbiased sums).
    Chun, Canatar, Chung & Lee (2025), Estimating dimensionality of neural representations from
    finite samples, arXiv:2509.26560 (their gamma_row).

    Examples
    --------
    >>> import numpy as np
    >>> import reptools as rt
    >>> x = np.random.default_rng(0).normal(size=(50, 1000))
    >>> round(float(rt.participation_ratio(x, estimator="biased")))
    47
    >>> 900 < float(rt.participation_ratio(x)) < 1100
    True
    """
    return Wiring(partial(ratio, estimator=estimator))
