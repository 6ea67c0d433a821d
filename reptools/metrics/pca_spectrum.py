"""The spectrum of one representation: variances along its principal components."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any

import xarray as xr

from reptools.arrays import Array, array_namespace, device
from reptools.engine.common import Prepare
from reptools.engine.declaring import metric
from reptools.engine.inputs import Activations
from reptools.engine.operation import Score, Wiring
from reptools.engine.options import Range
from reptools.errors import DataError
from reptools.statistics.blocks import Rows, shape
from reptools.statistics.shapes.spectrum import eigenvalues, scaled

INFINITY = float("inf")
TINY = 2.0**-1022  # below it digits are lost


def spectrum(x: Rows, /, *, n_components: int | None) -> Score:
    """Variances, and each one's share of their sum."""
    n, width = shape(x)
    count = most_components(n, width, n_components)
    x, factor = scaled(x)
    values = eigenvalues(x)
    if not TINY <= float(values[0]) / (n - 1) * factor * factor < INFINITY:
        raise DataError(
            f"its largest variance is {float(values[0]) / (n - 1):.2g} times {factor:.2g} squared, "
            "beyond the range of float64. Divide the activations by the latter."
        )
    variances = values / (n - 1) * factor * factor
    shares = values / array_namespace(values).sum(values)
    return Score(_in_full(variances, count), {"share": _in_full(shares, count)})


def most_components(n: int, width: int, n_components: int | None) -> int:
    """How many components the result has, whatever varies."""
    most = min(n - 1, width)
    return most if n_components is None else min(most, n_components)


def _in_full(values: Array, count: int) -> Array:
    """The first ``count`` values, with 0 for the directions of units that do not vary."""
    xp = array_namespace(values)
    values = values[:count]
    absent = xp.zeros(count - values.shape[0], dtype=values.dtype, device=device(values))
    return xp.concat([values, absent])


@metric(
    better="neither",
    bounds=(0.0, INFINITY),
    invariances=("shift", "rotation"),
    backends=("numpy", "torch", "dask"),
    estimator="sample covariance, divided by n - 1",
)
def pca_spectrum(
    x: Activations,
    /,
    *,
    n_components: Annotated[int, Range(1)] | None = None,
    prepare: Prepare = None,
) -> Wiring[xr.DataArray]:
    """Variances along the principal components of a representation.

    Units are centred, not scaled (for that: ``prepare="zscore"``).

    Parameters
    ----------
    n_components : int or None, default None
        How many components to return, largest variance first; None for all there can be: as many
        as units, at most n - 1 for n stimuli.

    Returns
    -------
    DataArray (..., component)
        Eigenvalues of the sample covariance with the divisor n - 1, in the square of the unit of
        x, named "pca_spectrum"; components are counted from 1. Directions in which nothing varies
        beyond rounding are exactly 0. Coordinate ``share``: each eigenvalue over the sum of all.

    Raises
    ------
    DataError
        A value is not finite, or the variances are beyond the range of float64.
    ParameterError
        An option is unknown or not allowed.

    Notes
    -----
    The eigenvalues of a sample are spread out beside those of the population (Marchenko & Pastur
    1967): of equal variances with p = 4 n, the largest comes out 9 times as large, and three in
    four come out 0. Compare spectra at one n only. Dask-backed activations are read in one pass.

    Examples
    --------
    >>> import numpy as np
    >>> import reptools as rt
    >>> x = np.array([[2.0, 0.0], [-2.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    >>> spectrum = rt.pca_spectrum(x)
    >>> spectrum.values.round(3).tolist(), spectrum.share.values.round(3).tolist()
    ([2.667, 0.667], [0.8, 0.2])
    """

    def count(inputs: Mapping[str, Any]) -> int:
        return most_components(inputs["x"].n_stimuli, inputs["x"].n_units, n_components)

    return Wiring(
        partial(spectrum, n_components=n_components),
        dims=("component",),
        extras={"share": ("component",)},
        coords={"component": count},
    )
