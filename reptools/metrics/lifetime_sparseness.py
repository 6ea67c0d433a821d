"""How few stimuli each unit responds to."""

from __future__ import annotations

from functools import partial

import numpy as np
import xarray as xr

from reptools.arrays import array_namespace, to_host
from reptools.engine.common import Prepare
from reptools.engine.declaring import metric
from reptools.engine.inputs import Activations
from reptools.engine.operation import Score, Wiring
from reptools.errors import some, warn
from reptools.metrics.shared.responses import Negative, response, sparse
from reptools.statistics.blocks import Rows, as_blocks
from reptools.statistics.features.concentration import (
    largest_by_unit,
    out_of_range,
    relative,
    sums_and_squares,
)


def over_stimuli(x: Rows, /, *, negative: Negative) -> Score:
    """Sparseness of each unit's responses to all stimuli."""
    blocks = as_blocks(x)
    sums, squares, below = 0.0, 0.0, 0.0
    for _, block in blocks:
        xp = array_namespace(block)
        rates, under = response(block, negative)
        more, more_squared = sums_and_squares(rates, axis=0)
        sums, squares = sums + more, squares + more_squared
        below = below + xp.sum(xp.astype(under, xp.float64), axis=0)
    if out_of_range(sums, squares):
        largest = largest_by_unit(blocks)
        sums, squares = 0.0, 0.0
        for _, block in blocks:
            more, more_squared = sums_and_squares(
                relative(response(block, negative)[0], largest), axis=0
            )
            sums, squares = sums + more, squares + more_squared
    # a unit that is 0 for all stimuli is dead, and named as such
    silent = np.flatnonzero(to_host((sums == 0) & (below > 0)))
    if silent.size:
        warn(
            f"lifetime_sparseness: {silent.size} of {blocks.width} units have no activation above "
            f"0, score missing (NaN): {some(silent.tolist())}"
        )
    return sparse(sums, squares, below, blocks.n)


@metric(
    better="neither",
    bounds=(0.0, 1.0),
    invariances=("scale",),
    backends=("numpy", "torch", "dask"),
    estimator="1 less the Treves-Rolls ratio, over its largest value",
)
def lifetime_sparseness(
    x: Activations, /, *, negative: Negative = "rectify", prepare: Prepare = None
) -> Wiring[xr.DataArray]:
    """How few stimuli each unit responds to: 0 where it answers all alike, 1 for a single one.

    The measure is defined for responses of at least 0, such as rates or the output of a ReLU: a
    response of 0 is no response. It is not invariant to shifts, and means nothing for centred or
    z-scored activations.

    Parameters
    ----------
    negative : {"rectify", "refuse"}
        What a negative activation, a response below baseline, counts as: no response (default;
        the coordinate ``negative`` says how many there were), or an error.

    Returns
    -------
    DataArray
        Over ``unit`` and the outer dimensions of ``x``; missing (NaN), with a warning, for a unit
        that responds to nothing. Coordinates: ``treves_rolls``, the ratio (sum r / n)^2 /
        (sum r^2 / n), between 1/n and 1, small for a sparse unit; ``negative``, the share of
        stimuli with a negative activation.

    Raises
    ------
    DataError
        An activation is negative and ``negative="refuse"``.
    StimulusError
        There is one stimulus only.

    References
    ----------
    Rolls and Tovee (1995), Sparseness of the neuronal representation of stimuli in the primate
    temporal visual cortex, Journal of Neurophysiology 73: a = (sum r / n)^2 / (sum r^2 / n).
    Vinje and Gallant (2000), Science 287: S = (1 - a) / (1 - 1/n).

    Examples
    --------
    >>> import numpy as np
    >>> import reptools as rt
    >>> x = np.array([[4.0, 1.0], [0.0, 1.0], [0.0, 1.0], [0.0, 2.0]])
    >>> rt.lifetime_sparseness(x).round(3).values
    array([1.   , 0.143])
    """
    return Wiring(
        partial(over_stimuli, negative=negative),
        dims=("unit",),
        extras={"treves_rolls": ("unit",), "negative": ("unit",)},
    )
