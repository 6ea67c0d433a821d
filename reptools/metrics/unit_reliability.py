"""How repeatable each unit's responses are: what no model of the stimuli can exceed."""

from __future__ import annotations

import numpy as np
import xarray as xr

from reptools.arrays import Array, array_namespace, to_host
from reptools.engine.common import Prepare
from reptools.engine.declaring import metric
from reptools.engine.inputs import Repeated
from reptools.engine.operation import Score, Wiring
from reptools.errors import warn
from reptools.statistics.regression.reliability import reliabilities


def reliability(x: Array, /) -> Score:
    """Reliability of each unit of (repetition, stimulus, unit), and the mean correlation."""
    xp = array_namespace(x)
    correlation, reliability = reliabilities(x)
    undefined = int(np.sum(to_host(correlation) <= 0))
    if undefined:
        least = float(np.nanmin(to_host(correlation)))
        warn(
            f"unit_reliability: the repetitions of {undefined} of {x.shape[-1]} units do not "
            f"correlate (least mean correlation {least:.2g}); reliability missing (NaN)"
        )
    return Score(
        xp.where(correlation > 0, reliability, xp.nan),
        {"correlation": correlation},
    )


@metric(
    better="neither",
    bounds=(0.0, 1.0),
    invariances=("shift", "scale"),
    estimator="Spearman-Brown of the mean correlation between repetitions",
)
def unit_reliability(x: Repeated, /, *, prepare: Prepare = None) -> Wiring[xr.DataArray]:
    """Split-half reliability of each unit's mean response over repetitions.

    The correlation over stimuli between two repetitions, averaged over all pairs of repetitions,
    and brought to the length of all R repetitions by the Spearman-Brown formula
    R c / (1 + (R - 1) c). It is the share of the variance of the unit's mean response that
    belongs to the stimuli: a model of them explains no more, and its correlation with the mean
    response cannot exceed the square root. With two repetitions it is the usual split half.

    Parameters
    ----------
    x : DataArray, DataTree node
        Activations ([outer,] repetition, stimulus, unit) with two repetitions or more.

    Returns
    -------
    DataArray
        Dimensions ([outer,] unit), dimensionless. A unit that does not vary in one of its
        repetitions is missing (NaN). So is one whose mean correlation is not positive, where the
        formula says nothing and explodes below zero: these are counted in a warning. The
        coordinate ``correlation`` holds the mean correlation as it is, negative or not.

    Raises
    ------
    DimensionError
        ``x`` has no dimension ``repetition``, or one repetition only.
    DataError
        A value is NaN or infinite.

    References
    ----------
    Spearman (1910), Correlation calculated from faulty data, British Journal of Psychology 3.
    Brown (1910), Some experimental results in the correlation of mental abilities, the same.

    Examples
    --------
    >>> import numpy as np
    >>> import xarray as xr
    >>> import reptools as rt
    >>> rng = np.random.default_rng(0)
    >>> signal = rng.normal(size=(500, 1)) * [0.5, 1.0, 2.0]
    >>> trials = signal + rng.normal(size=(4, 500, 3))
    >>> x = xr.DataArray(trials, dims=("repetition", "stimulus", "unit"))
    >>> rt.unit_reliability(x).round(1).values  # R s^2 / (R s^2 + 1)
    array([0.5, 0.8, 0.9])
    """
    return Wiring(reliability, dims=("unit",), extras={"correlation": ("unit",)})
