"""Linear predictivity: how well one representation predicts the units of another, held out."""

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
from reptools.errors import warn
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
    median,
    normalised,
    predict,
    refuse_unused,
)
from reptools.statistics.regression.linear_sides import Ceiling

INFINITY = float("inf")
ESTIMATOR = "median over units of y, held out, pooled over folds"


def typical_score(
    x: Side,
    y: Side,
    /,
    *,
    context: Context,
    options: Options,
    score: Measure,
    min_reliability: float,
) -> Score:
    """Median over the units of y, and what stands beside it."""
    found = predict(x, y, options, context, score, "predictivity")
    value, kept = normalised(found.scores[score], score, y, min_reliability)
    beside = found.scores[OTHER[score]]
    n_units = value.size
    if not kept.any():
        warn(f"predictivity: none of {n_units} units of y is left; score missing (NaN)")
    extras = {
        OTHER[score]: median(beside[kept & np.isfinite(beside)]),
        "n_excluded": n_units - int(kept.sum()),
    }
    if options.what is not None and found.chosen is not None:
        extras[options.what] = median(found.chosen[kept])
    return Score(median(value[kept]), extras)


@metric(
    bounds=(-INFINITY, INFINITY),
    invariances=("shift", "scale", "rotation"),
    backends=("numpy", "torch", "dask"),
    estimator=ESTIMATOR,
)
def predictivity(
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
    """How well x predicts the units of y on held-out stimuli: the median over units.

    A map from all units of ``x`` to each unit of ``y``, by default a linear one, is fitted on
    some stimuli and scored on others. What the fit needs chosen (the ridge penalty of each unit,
    or the number of PLS components) is chosen within the fit stimuli: by the other folds, where
    these divide the stimuli, so that groups stay together there too.

    The score has a direction, from ``x`` to ``y``: call it with the sides swapped for the other.
    ``rt.compare(xs, ys, metric="predictivity")`` scores every x as predictor of every y, and
    ``rt.compare(layers, metric="predictivity")`` holds both directions of each pair, predictors
    along ``x``. Whatever is chosen by these scores, such as the best layer, has to be scored
    again on other stimuli.

    Parameters
    ----------
    x : DataArray, DataTree node, numpy or torch array
        The predictor ([outer,] [repetition,] stimulus, unit). Repetitions are averaged.
    y : DataArray, DataTree node, numpy or torch array
        What is predicted, lined up with ``x`` by stimulus label.
    method : {"ridge", "pls"} or regressor
        Ridge regression (default) of each unit of ``y`` for itself, or partial least squares of
        all units together. Neither scales units: ``prepare="zscore"`` lets all weigh the same.
        Any regressor of scikit-learn, or of a package that follows its rules, is cloned for each
        outer fold and fitted to all units of ``y`` at once, as they are; what it has to choose it
        chooses by itself within the fit stimuli, not knowing their groups. Where it draws at
        random and has no ``random_state``, it is given ``seed``. One that predicts a single target
        goes into scikit-learn's ``MultiOutputRegressor``.
    score : {"r2", "r"}
        "r2" (default): one minus residual over total sum of squares about the mean of the fit
        stimuli, both summed over folds; 0 or a little less where x says nothing. "r": Pearson
        correlation of prediction and truth in each fold, averaged over the folds in which both
        vary; 0 on average where x says nothing. It forgives a wrong scale and needs two test
        stimuli in a fold, better ten. The other one is a coordinate.
    n_alphas : int
        Ridge penalties to choose from, 21 by default, spaced evenly in logarithm. 1 takes
        ``lowest_alpha`` as it is.
    lowest_alpha, highest_alpha : float
        Ends of the penalties, 1e-5 and 1e5 by default, in units of the mean non-zero eigenvalue
        of X'X (centred, over the stimuli in use), so that the scale of ``x`` changes nothing.
        Where the errors still fall at an end, a warning counts the units.
    n_components : int or None
        For PLS. None (default): from 1 to 25 are tried and one is chosen for each unit. A number
        is taken as it is.
    ceiling : {"none", "reliability"}
        "reliability" divides by what is attainable, where ``y`` has repetitions: R2 by the unit's
        reliability (:func:`unit_reliability`), r by its square root. Such scores can exceed 1.
    min_reliability : float
        Units of ``y`` with less are left out of a score under a ceiling, and counted: 0.1.
    groups : str, array or None
        Stimulus coordinate whose values must not be divided between folds, outer or inner, or its
        values. Without it the coordinate ``groups``, else ``run``, where there is one.

    Returns
    -------
    DataArray
        Median over the units of ``y`` that vary (and are reliable, under a ceiling), over the
        outer dimensions. Coordinates: the other score (``r`` or ``r2``), without a ceiling;
        ``n_excluded``, units left out; with an own method ``alpha`` or ``n_components``, median
        over units of what was chosen (geometric mean over folds).

    Raises
    ------
    StimulusError
        The sides have different stimuli, only one has labels, or a fold is too small to fit.
    ParameterError
        An option is not allowed or belongs to another method, ``n_components`` is more than
        the fit stimuli carry, a ceiling is asked of a y without repetitions, or a regressor fails.
    DataError
        A value is not finite.

    Notes
    -----
    All penalties, folds and targets come from one eigendecomposition for each set of fit stimuli,
    in float64, of X'X (summed over folds, one or two passes over data in blocks) or of XX',
    whichever is smaller. The penalty with the least squared error, pooled over inner folds, is
    chosen.

    References
    ----------
    Schrimpf et al. (2018), Brain-Score: which artificial neural network for object recognition is
    most brain-like?, bioRxiv 407007: PLS with 25 components, median over sites of Pearson's r.
    Hoerl & Kennard (1970), Ridge regression, Technometrics 12, eq. 2.1.

    Examples
    --------
    >>> import numpy as np
    >>> import reptools as rt
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(200, 30))
    >>> y = x[:, :10] @ rng.normal(size=(10, 5)) + rng.normal(size=(200, 5))
    >>> forth, back = rt.predictivity(x, y), rt.predictivity(y, x)
    >>> forth.item() > 0.7, back.item() < 0.3
    (True, True)
    """
    options = Options(method, n_alphas, lowest_alpha, highest_alpha, n_components)
    refuse_unused(ceiling, min_reliability)
    kernel = partial(typical_score, options=options, score=score, min_reliability=min_reliability)
    return Wiring(
        kernel,
        each=options.side(ceiling),
        extras={**options.extras(score, ()), "n_excluded": ()},
        estimator=options.estimator(ESTIMATOR),
        chosen=options.described,
    )
