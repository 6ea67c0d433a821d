"""Effective rank: the number of dimensions of one representation by the entropy of its spectrum."""

from __future__ import annotations

from functools import partial
from typing import Literal, TypeAlias

import xarray as xr

from reptools.arrays import array_namespace
from reptools.engine.common import Prepare
from reptools.engine.declaring import metric
from reptools.engine.inputs import Activations
from reptools.engine.operation import Wiring
from reptools.statistics.blocks import Rows
from reptools.statistics.shapes.spectrum import eigenvalues, scaled

Spectrum: TypeAlias = Literal["singular_values", "variances"]


def rank(x: Rows, /, *, spectrum: Spectrum) -> float:
    """Exponential of the entropy of the spectrum."""
    values = eigenvalues(scaled(x)[0])
    xp = array_namespace(values)
    weights = values[values > 0.0]
    weights = xp.sqrt(weights) if spectrum == "singular_values" else weights
    shares = weights / xp.sum(weights)
    return float(xp.exp(-xp.sum(shares * xp.log(shares))))


@metric(
    better="neither",
    bounds=(1.0, float("inf")),
    invariances=("shift", "scale", "rotation"),
    backends=("numpy", "torch", "dask"),
)
def effective_rank(
    x: Activations, /, *, spectrum: Spectrum = "singular_values", prepare: Prepare = None
) -> Wiring[xr.DataArray]:
    """Effective number of dimensions by the entropy of the spectrum.

    exp(-sum p log p) for the singular values of the centred activations, each divided by their
    sum: r for r equal ones, 1 where a single direction varies. Units are centred, not scaled.

    Parameters
    ----------
    spectrum : {"singular_values", "variances"}, default "singular_values"
        What is divided by its sum: the singular values, as Roy and Vetterli define it, or their
        squares, the variances, which weigh small directions less and so give a smaller number.

    Returns
    -------
    DataArray
        The number of dimensions, named "effective_rank", over the outer dimensions.

    Raises
    ------
    DataError
        A value is not finite.
    ParameterError
        An option is unknown or has a value that is not listed above.

    Notes
    -----
    A plug-in estimate: it cannot exceed the smaller of n - 1 and p, and grows with n where n is
    not far above p. For a number that does not, take :func:`participation_ratio`. Singular values
    below sqrt(2e-16 max(n, p)) of the largest (5e-7 for 1,000) are rounding and count as 0.
    Dask-backed activations are read in one pass.

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
    return Wiring(partial(rank, spectrum=spectrum))
