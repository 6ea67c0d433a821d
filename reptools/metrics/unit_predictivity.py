"""Linear predictivity, unit by unit."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import numpy as np
import xarray as xr

from reptools.engine.common import CV, Groups, Prepare, Seed
from reptools.engine.context import Context
from reptools.engine.declaring import metric
from reptools.engine.inputs import Recordings
from reptools.engine.operation import Score, Wiring
from reptools.engine.options import Range
from reptools.metrics.shared.predicting import (
    HIGHEST_ALPHA,
    LOWEST_ALPHA,
    MIN_RELIABILITY,
    N_ALPHAS,
    OTHER,
    Alpha,
    Measure,
    Method,
    Options,
    Side,
    Values,
    normalised,
    predict,
    refuse_unused,
    warn_unreliable,
)
from reptools.statistics.regression.linear_sides import Ceiling

INFINITY = float("inf")
ESTIMATOR = "each unit of y, held out, pooled over folds"


def unit_scores(
    x: Side,
    y: Side,
    /,
    *,
    context: Context,
    options: Options,
    score: Measure,
    min_reliability: float,
) -> Score:
    """The score of each unit of y, and what stands beside it."""
    found = predict(x, y, options, context, score, "unit_predictivity")
    value, kept = normalised(found.scores[score], score, y, min_reliability)
    warn_unreliable("unit_predictivity", y, np.isfinite(value) & ~kept, min_reliability)
    extras: dict[str, Values] = {OTHER[score]: found.scores[OTHER[score]]}
    if options.what is not None and found.chosen is not None:
        extras[options.what] = found.chosen
    if y.reliability is not None:
        extras["reliability"] = y.reliability
    return Score(np.where(kept, value, np.nan), extras)


@metric(
    bounds=(-INFINITY, INFINITY),
    invariances=("shift", "scale", "rotation"),
    backends=("numpy", "torch", "dask"),
    estimator=ESTIMATOR,
)
def unit_predictivity(
    x: Recordings,
    y: Recordings,
    /,
    *,
    method: Method = "ridge",
    score: Measure = "r2",
    n_alphas: Annotated[int, Range(1)] = N_ALPHAS,
    lowest_alpha: Alpha = LOWEST_ALPHA,
    highest_alpha: Alpha = HIGHEST_ALPHA,
    n_components: Annotated[int, Range(1)] | None = None,
    ceiling: Ceiling = "none",
    min_reliability: Annotated[float, Range(0.0, 1.0)] = MIN_RELIABILITY,
    cv: CV = 5,
    groups: Groups = None,
    seed: Seed = 0,
    prepare: Prepare = None,
) -> Wiring[xr.DataArray]:
    """How well x predicts each unit of y on held-out stimuli.

    The same fits as :func:`predictivity`, which is the median of these over units.

    Parameters
    ----------
    x, y : DataArray, DataTree node, numpy or torch array
        Predictor and what is predicted, ([outer,] [repetition,] stimulus, unit).
    method, score, n_alphas, lowest_alpha, highest_alpha, n_components
        As in :func:`predictivity`.
    ceiling, min_reliability
        As in :func:`predictivity`; a unit with less reliability is missing (NaN).

    Returns
    -------
    DataArray
        Dimensions ([outer,] unit), the units of ``y``; a unit that does not vary is missing
        (NaN). Coordinates over units: the other score; with an own method ``alpha`` or
        ``n_components``, the choice (geometric mean over folds; alpha in units of the mean
        non-zero eigenvalue of X'X); under a ceiling, ``reliability``.

    Raises
    ------
    StimulusError
        The sides have different stimuli, only one has labels, or a fold is too small to fit.
    ParameterError
        As in :func:`predictivity`.
    DataError
        A value is not finite.

    References
    ----------
    As in :func:`predictivity`.

    Examples
    --------
    >>> import numpy as np
    >>> import reptools as rt
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(2000, 5))
    >>> y = x[:, :1] + [0.1, 0.5, 1.0] * rng.normal(size=(2000, 3))
    >>> rt.unit_predictivity(x, y).round(1).values
    array([1. , 0.8, 0.5])
    """
    options = Options(method, n_alphas, lowest_alpha, highest_alpha, n_components)
    refuse_unused(ceiling, min_reliability)
    extras = options.extras(score, ("unit",))
    if ceiling == "reliability":
        extras["reliability"] = ("unit",)
    kernel = partial(unit_scores, options=options, score=score, min_reliability=min_reliability)
    return Wiring(
        kernel,
        each=options.side(ceiling),
        dims=("unit",),
        extras=extras,
        estimator=options.estimator(ESTIMATOR),
        chosen=options.described,
    )
