"""Geometry of one representation: its spectrum, and in how many dimensions its variance lies."""

from __future__ import annotations

from typing import Annotated, Literal

from reptools.arrays import Array, array_namespace, vecdot
from reptools.engine.operation import Score
from reptools.engine.options import Range
from reptools.engine.registry import metric
from reptools.errors import DataError, StimulusError
from reptools.statistics.blocks import Blocks, shape
from reptools.statistics.moments import moments
from reptools.statistics.shapes.spectrum import cross_product, eigenvalues, scaled

INFINITY = float("inf")
TINY = 2.0**-1022  # below it digits are lost
# an unbiased sum of squares below this share of the biased one is rounding
NOTHING_LEFT = 1e-12


@metric(
    kind="single",
    better="neither",
    bounds=(0.0, INFINITY),
    invariances=("shift", "rotation"),
    backends=("numpy", "torch", "dask"),
    dims=("component",),
    estimator="sample covariance, divided by n - 1",
)
def pca_spectrum(
    x: Array | Blocks, /, *, n_components: Annotated[int, Range(1)] | None = None
) -> Score:
    """Variances along the principal components of a representation.

    Parameters
    ----------
    x : DataArray (..., stimulus, unit), DataTree node or array (stimulus, unit)
        Activations; outer dimensions such as step or token are kept. Units are centred, not
        scaled (for that: ``prepare="zscore"``). Dask-backed activations are read in one pass.
    n_components : int or None, default None
        How many components to return, largest variance first; None for all there can be: as many
        as units that vary, at most n - 1.
    prepare : str, sequence of str or None, default None
        Done first: "zscore", "unit_norm", "drop_top:K", or several.

    Returns
    -------
    DataArray (..., component)
        Eigenvalues of the sample covariance with the divisor n - 1, in the square of the unit of
        x, named "pca_spectrum"; components are counted from 1. Directions in which nothing varies
        beyond rounding are exactly 0. Coordinate ``share``: each eigenvalue over the sum of all.

    Raises
    ------
    DataError
        A value is not finite, no unit varies, or the variances are beyond the range of float64.
    ParameterError
        An option is unknown or not allowed.

    Notes
    -----
    The eigenvalues of a sample are spread out beside those of the population (Marchenko & Pastur
    1967): of equal variances with p = 4 n, the largest comes out 9 times as large, and three in
    four come out 0. Compare spectra at one n only.

    Examples
    --------
    >>> import numpy as np
    >>> import reptools as rt
    >>> x = np.array([[2.0, 0.0], [-2.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    >>> spectrum = rt.pca_spectrum(x)
    >>> spectrum.values.round(3).tolist(), spectrum.share.values.round(3).tolist()
    ([2.667, 0.667], [0.8, 0.2])
    """
    x, factor = scaled(x)
    values = eigenvalues(x)
    n = shape(x)[0]
    if not TINY <= float(values[0]) / (n - 1) * factor * factor < INFINITY:
        raise DataError(
            f"its largest variance is {float(values[0]) / (n - 1):.2g} times {factor:.2g} squared, "
            "beyond the range of float64. Divide the activations by the latter."
        )
    variances = values / (n - 1) * factor * factor
    shares = values / array_namespace(values).sum(values)
    return Score(variances[:n_components], {"share": shares[:n_components]})


@metric(
    kind="single",
    better="neither",
    bounds=(0.0, INFINITY),
    invariances=("shift", "scale", "rotation"),
    backends=("numpy", "torch", "dask"),
)
def participation_ratio(
    x: Array | Blocks, /, *, estimator: Literal["debiased", "biased"] = "debiased"
) -> float:
    """Number of dimensions in which the variance of a representation lies.

    The participation ratio of the eigenvalues of the covariance, (sum)^2 / sum of squares: p for
    p equal variances, 1 where a single direction varies.

    Parameters
    ----------
    x : DataArray (..., stimulus, unit), DataTree node or array (stimulus, unit)
        Activations; outer dimensions such as step or token are kept. Units are centred, not
        scaled. Dask-backed activations are read in two passes (biased: one).
    estimator : {"debiased", "biased"}, default "debiased"
        "biased" takes the eigenvalues of the sample, and cannot exceed n - 1: 1 / ratio is too
        large by about 1 / n, so that 50 stimuli in 1,000 equal dimensions score 47. "debiased"
        divides the unbiased estimates of both sums, from products of distinct stimuli only; it
        scores 1,000 there, whatever n, needs at least 4 stimuli, and is not bounded by n or p. It
        corrects for sampled stimuli, not for sampled units.
    prepare : str, sequence of str or None, default None
        Done first: "zscore", "unit_norm", "drop_top:K", or several.

    Returns
    -------
    DataArray
        The number of dimensions, named "participation_ratio", over the outer dimensions.

    Raises
    ------
    StimulusError
        There are fewer than 4 stimuli (biased: 2).
    DataError
        A value is not finite, no unit varies, or all pairs of stimuli are equally alike, so that
        the unbiased sum of squares is not above 0.
    ParameterError
        An option is unknown or has a value that is not listed above.

    Notes
    -----
    No eigenvalues are computed: their sum is the trace, the sum of their squares the squared
    Frobenius norm, of whichever cross-product is smaller.

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


def _fourth_powers(x: Array | Blocks) -> float:
    """Sum over stimuli of the fourth power of the distance to the mean; ``x`` is scaled."""
    if not isinstance(x, Blocks):
        xp = array_namespace(x)
        return float(xp.sum(vecdot(x, x) ** 2))
    mean = moments({"x": x}).means["x"]
    return sum(_fourth_powers(block - mean) for _, block in x)


@metric(
    kind="single",
    better="neither",
    bounds=(1.0, INFINITY),
    invariances=("shift", "scale", "rotation"),
    backends=("numpy", "torch", "dask"),
)
def effective_rank(
    x: Array | Blocks,
    /,
    *,
    spectrum: Literal["singular_values", "variances"] = "singular_values",
) -> float:
    """Effective number of dimensions by the entropy of the spectrum.

    exp(-sum p log p) for the singular values of the centred activations, each divided by their
    sum: r for r equal ones, 1 where a single direction varies.

    Parameters
    ----------
    x : DataArray (..., stimulus, unit), DataTree node or array (stimulus, unit)
        Activations; outer dimensions such as step or token are kept. Units are centred, not
        scaled. Dask-backed activations are read in one pass.
    spectrum : {"singular_values", "variances"}, default "singular_values"
        What is divided by its sum: the singular values, as Roy and Vetterli define it, or their
        squares, the variances, which weigh small directions less and so give a smaller number.
    prepare : str, sequence of str or None, default None
        Done first: "zscore", "unit_norm", "drop_top:K", or several.

    Returns
    -------
    DataArray
        The number of dimensions, named "effective_rank", over the outer dimensions.

    Raises
    ------
    DataError
        A value is not finite, or no unit varies.
    ParameterError
        An option is unknown or has a value that is not listed above.

    Notes
    -----
    A plug-in estimate: it cannot exceed the smaller of n - 1 and p, and grows with n where n is
    not far above p. For a number that does not, take :func:`participation_ratio`. Singular values
    below sqrt(2e-16 max(n, p)) of the largest (5e-7 for 1,000) are rounding and count as 0.

    References
    ----------
    Roy & Vetterli (2007), The effective rank: a measure of effective dimensionality, EUSIPCO.

    Examples
    --------
    >>> import numpy as np
    >>> import reptools as rt
    >>> x = np.array([[2.0, 0.0], [-2.0, 0.0], [0.0, 2.0], [0.0, -2.0]])
    >>> round(float(rt.effective_rank(x)), 6)
    2.0
    """
    values = eigenvalues(scaled(x)[0])
    xp = array_namespace(values)
    weights = values[values > 0.0]
    weights = xp.sqrt(weights) if spectrum == "singular_values" else weights
    shares = weights / xp.sum(weights)
    return float(xp.exp(-xp.sum(shares * xp.log(shares))))
