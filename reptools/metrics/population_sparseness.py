"""How few units respond to each stimulus."""

from __future__ import annotations

from functools import partial

import numpy as np
import xarray as xr

from reptools.arrays import array_namespace, to_host
from reptools.engine.common import Prepare
from reptools.engine.context import Context
from reptools.engine.declaring import metric
from reptools.engine.inputs import Activations
from reptools.engine.operation import Score, Wiring
from reptools.errors import DataError, some, warn
from reptools.metrics.shared.responses import Negative, response, sparse
from reptools.statistics.blocks import Rows, as_blocks
from reptools.statistics.features.concentration import out_of_range, relative, sums_and_squares


def over_units(x: Rows, /, *, context: Context, negative: Negative) -> Score:
    """Sparseness of all units' responses to each stimulus."""
    blocks = as_blocks(x)
    if blocks.width < 2:
        raise DataError("x has one unit; sparseness over units needs two. Pass more.")
    parts = []
    for _, block in blocks:
        xp = array_namespace(block)
        rates, under = response(block, negative)
        sums, squares = sums_and_squares(rates, axis=1)
        if out_of_range(sums, squares):
            largest = xp.max(rates, axis=1, keepdims=True)
            sums, squares = sums_and_squares(relative(rates, largest), axis=1)
        parts.append((sums, squares, xp.sum(xp.astype(under, xp.float64), axis=1)))
    xp = array_namespace(parts[0][0])
    sums, squares, below = (xp.concat(column) for column in zip(*parts, strict=True))
    silent = np.flatnonzero(to_host(sums == 0))
    if silent.size:
        warn(
            f"population_sparseness: no unit responds to {silent.size} of {blocks.n} stimuli, "
            f"score missing (NaN): {some(context.stimulus[silent].tolist())}"
        )
    return sparse(sums, squares, below, blocks.width)


@metric(
    better="neither",
    bounds=(0.0, 1.0),
    invariances=("scale", "pattern_scale"),
    backends=("numpy", "torch", "dask"),
    estimator="1 less the Treves-Rolls ratio, over its largest value",
)
def population_sparseness(
    x: Activations, /, *, negative: Negative = "rectify", prepare: Prepare = None
) -> Wiring[xr.DataArray]:
    """How few units respond to each stimulus: 0 where all respond alike, 1 for a single one.

    As ``lifetime_sparseness``, over the units of a pattern instead of the stimuli of a unit. For
    responses of at least 0; it is not invariant to shifts of the activations.

    Parameters
    ----------
    negative : {"rectify", "refuse"}
        What a negative activation, a response below baseline, counts as: no response (default;
        the coordinate ``negative`` says how many there were), or an error.

    Returns
    -------
    DataArray
        Over ``stimulus`` and the outer dimensions of ``x``; missing (NaN), with a warning, for
        a stimulus that no unit responds to. Coordinates: ``treves_rolls``, the ratio
        (sum r / p)^2 / (sum r^2 / p); ``negative``, the share of units with a negative
        activation. Dead units count as units.

    Raises
    ------
    DataError
        There is one unit only, or an activation is negative and ``negative="refuse"``.

    References
    ----------
    Treves and Rolls (1991), What determines the capacity of autoassociative memories in the
    brain?, Network 2: a = (sum r / p)^2 / (sum r^2 / p).
    Vinje and Gallant (2000), Science 287: S = (1 - a) / (1 - 1/p).

    Examples
    --------
    >>> import numpy as np
    >>> import reptools as rt
    >>> x = np.array([[4.0, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 2.0]])
    >>> rt.population_sparseness(x).round(3).values
    array([1.   , 0.143])
    """
    return Wiring(
        partial(over_units, negative=negative),
        dims=("stimulus",),
        extras={
            "treves_rolls": ("stimulus",),
            "negative": ("stimulus",),
        },
    )
