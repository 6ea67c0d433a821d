"""Linear predictivity: how well one representation predicts the units of another, held out."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np

from reptools.engine.operation import Context, Score
from reptools.engine.options import Range
from reptools.engine.registry import metric
from reptools.errors import warn
from reptools.metrics.predicting import Options, median, normalised, predict, warn_unreliable
from reptools.statistics.regression.linear_sides import LinearSide, linear_side

Alpha = Annotated[float, Range(1e-9, 1e9)]
INFINITY = float("inf")


@metric(
    kind="pair",
    each=linear_side,
    cv=5,
    bounds=(-INFINITY, INFINITY),
    invariances=("shift", "scale", "rotation"),
    backends=("numpy", "torch", "dask"),
    repeats=True,
    estimator="median over units of y, held out, pooled over folds",
)
def predictivity(
    x: LinearSide,
    y: LinearSide,
    /,
    *,
    context: Context,
    method: Literal["ridge", "pls"] = "ridge",
    score: Literal["r2", "r"] = "r2",
    n_alphas: Annotated[int, Range(1)] = 21,
    lowest_alpha: Alpha = 1e-5,
    highest_alpha: Alpha = 1e5,
    n_components: Annotated[int, Range(1)] | None = None,
    min_reliability: Annotated[float, Range(0.0, 1.0)] = 0.1,
) -> Score:
    """How well x predicts the units of y on held-out stimuli: the median over units.

    A linear map from all units of ``x`` to each unit of ``y`` is fitted on some stimuli and
    scored on others. What the fit needs chosen (the ridge penalty of each unit, or the number of
    PLS components) is chosen within the fit stimuli: by the other folds, where these divide the
    stimuli, so that groups stay together there too.

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
    method : {"ridge", "pls"}
        Ridge regression (default) of each unit of ``y`` for itself, or partial least squares of
        all units together. Neither scales units: ``prepare="zscore"`` lets all weigh the same.
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
    cv : int, "split", splitter or None
        Outer folds, 5 by default; "split" fits on the file's validation stimuli and tests on its
        test stimuli; None scores in sample, which is optimistic.
    groups : str or array, optional
        Stimulus coordinate whose values must not be divided between folds, outer or inner.
    seed : int
        Enters the folds, together with the stimulus labels.
    prepare : str, optional
        "zscore", "unit_norm", "drop_top:K" or several, applied to each side first, with the
        statistics of all stimuli.

    Returns
    -------
    DataArray
        Median over the units of ``y`` that vary (and are reliable, under a ceiling), over the
        outer dimensions. Coordinates: the other score (``r`` or ``r2``), without a ceiling;
        ``n_excluded``, units left out; ``alpha`` or ``n_components``, median over units of what
        was chosen (geometric mean over folds).

    Raises
    ------
    StimulusError
        The sides have different stimuli, only one has labels, or a fold is too small to fit.
    ParameterError
        An option is not allowed or belongs to the other method, ``n_components`` is more than
        the fit stimuli carry, or a ceiling is asked of a y without repetitions.
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
    found = predict(x, y, options, context, score, "predictivity")
    value, kept = normalised(found.scores[score], score, y, min_reliability)
    other = "r" if score == "r2" else "r2"
    beside = found.scores[other]
    n_units = value.size
    if not kept.any():
        warn(f"predictivity: none of {n_units} units of y is left; score missing (NaN)")
    return Score(
        median(value[kept]),
        {
            other: median(beside[kept & np.isfinite(beside)]),
            "n_excluded": n_units - int(kept.sum()),
            found.what: median(found.chosen[kept]),
        },
    )


@metric(
    kind="pair",
    each=linear_side,
    cv=5,
    bounds=(-INFINITY, INFINITY),
    invariances=("shift", "scale", "rotation"),
    backends=("numpy", "torch", "dask"),
    repeats=True,
    dims=("unit",),
    estimator="each unit of y, held out, pooled over folds",
)
def unit_predictivity(
    x: LinearSide,
    y: LinearSide,
    /,
    *,
    context: Context,
    method: Literal["ridge", "pls"] = "ridge",
    score: Literal["r2", "r"] = "r2",
    n_alphas: Annotated[int, Range(1)] = 21,
    lowest_alpha: Alpha = 1e-5,
    highest_alpha: Alpha = 1e5,
    n_components: Annotated[int, Range(1)] | None = None,
    min_reliability: Annotated[float, Range(0.0, 1.0)] = 0.1,
) -> Score:
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
    cv : int, "split", splitter or None
        Outer folds, 5 by default.
    groups : str or array, optional
        Stimulus coordinate whose values must not be divided between folds, outer or inner.
    seed : int
        Enters the folds, together with the stimulus labels.
    prepare : str, optional
        "zscore", "unit_norm", "drop_top:K" or several, applied to each side first.

    Returns
    -------
    DataArray
        Dimensions ([outer,] unit), the units of ``y``; a unit that does not vary is missing
        (NaN). Coordinates over units: the other score, ``alpha`` or ``n_components``, the choice
        (geometric mean over folds; alpha in units of the mean non-zero eigenvalue of X'X), and,
        under a ceiling, ``reliability``.

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
    found = predict(x, y, options, context, score, "unit_predictivity")
    value, kept = normalised(found.scores[score], score, y, min_reliability)
    warn_unreliable("unit_predictivity", y, np.isfinite(value) & ~kept, min_reliability)
    other = "r" if score == "r2" else "r2"
    extras = {other: found.scores[other], found.what: found.chosen}
    if y.reliability is not None:
        extras["reliability"] = y.reliability
    return Score(np.where(kept, value, np.nan), extras)
