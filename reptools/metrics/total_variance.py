"""How much a representation varies in all."""

from __future__ import annotations

import numpy as np
import xarray as xr

from reptools.arrays import array_namespace
from reptools.engine.common import Prepare
from reptools.engine.declaring import metric
from reptools.engine.inputs import Activations
from reptools.engine.operation import Wiring
from reptools.errors import DataError
from reptools.statistics.blocks import Rows
from reptools.statistics.features.concentration import TINY
from reptools.statistics.moments import moments

INFINITY = float("inf")


def variance(x: Rows, /) -> float:
    """Sum of the variances of all units."""
    with np.errstate(over="ignore", invalid="ignore"):
        sums = moments({"x": x}, squares=("x",))
        found = float(array_namespace(sums.squares["x"]).sum(sums.squares["x"])) / sums.n
    if not TINY <= found < INFINITY:
        raise DataError(
            "its total variance is beyond the range of float64. Divide the activations by a "
            "constant near their size."
        )
    return found


@metric(
    better="neither",
    bounds=(0.0, INFINITY),
    invariances=("shift", "rotation"),
    backends=("numpy", "torch", "dask"),
    estimator="mean over all stimuli",
)
def total_variance(x: Activations, /, *, prepare: Prepare = None) -> Wiring[xr.DataArray]:
    """Total variance of a representation: mean squared norm of the centred patterns.

    The sum of all units' variances (divided by n, not n - 1) over all stimuli given. The
    coordinate ``total`` of ``variance_explained`` is its counterpart on held-out stimuli.

    Returns
    -------
    DataArray
        Over the outer dimensions of ``x``, in squared units of ``x``.

    Raises
    ------
    DimensionError
        ``x`` lacks a dimension ``stimulus`` or ``unit``.
    DataError
        A value is NaN or infinite, or the variance is beyond the range of float64.

    Examples
    --------
    >>> import numpy as np
    >>> import reptools as rt
    >>> float(rt.total_variance(np.array([[1.0, 0.0], [3.0, 4.0]])))
    5.0
    """
    return Wiring(variance)
