"""CCA: correlations of matched directions of two representations, regularised and held out."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import xarray as xr

from reptools.arrays import Array
from reptools.engine.common import CV, Groups, Prepare, Seed
from reptools.engine.context import Context
from reptools.engine.declaring import metric
from reptools.engine.inputs import Activations
from reptools.engine.operation import Score, Wiring
from reptools.engine.options import Range
from reptools.metrics.shared.canonical import ESTIMATOR, Summary, summarised
from reptools.statistics.blocks import Rows
from reptools.statistics.shapes.canonical import WhitenedSide, canonical_correlations, whitened_side


def shrunk_side(x: Rows, /, *, context: Context, regularization: float) -> WhitenedSide:
    """Whiten one side by its covariance, shrunk towards a sphere of the same mean variance."""

    def weigh(variances: Array, mean_variance: float, _: int) -> Array:
        return (1 - regularization) * variances + regularization * mean_variance

    mend = None if regularization else "Pass regularization=0.1, use svcca, or add stimuli."
    return whitened_side(x, context.folds(), weigh, mend)


def correlation(
    x: WhitenedSide, y: WhitenedSide, /, *, n_components: int | None, score: Summary
) -> Score:
    """The mean over the first pairs, or over all."""
    return summarised(canonical_correlations(x, y, n_components), score, {})


@metric(
    better="higher",
    bounds=(-1.0, 1.0),
    symmetric=True,
    invariances=("shift", "scale", "rotation"),
    backends=("numpy", "torch", "dask"),
    estimator=ESTIMATOR,
)
def cca(
    x: Activations,
    y: Activations,
    /,
    *,
    regularization: Annotated[float, Range(0.0, 1.0)] = 0.1,
    n_components: Annotated[int, Range(1)] | None = None,
    score: Summary = "mean",
    cv: CV = 5,
    groups: Groups = None,
    seed: Seed = 0,
    prepare: Prepare = None,
) -> Wiring[xr.DataArray]:
    """Mean canonical correlation of two representations, regularised and held out.

    Pairs of directions, one of each side, are fitted so that they correlate as highly as
    possible, each uncorrelated with those before; then their correlations are taken over stimuli
    that the fit did not see.

    Parameters
    ----------
    regularization : float from 0 to 1, default 0.1
        How far each side's covariance is shrunk towards a sphere with its mean variance of a unit
        that varies: C becomes (1 - r) C + r v I. 0 is plain CCA: it ignores any invertible map of
        the units, and directions of little variance count as much as large ones. 1 finds
        directions of the largest covariance (as partial least squares does). The default is not
        tuned; it keeps directions far below the mean variance from being fitted. Compare scores
        at one value.
    n_components : int or None, default None
        How many pairs to average, in the order of the fit; None for all, which is the smaller
        rank. With few shared dimensions and many units, most pairs are noise and the mean is low.
    score : {"mean", "mean_squared"}, default "mean"
        What is averaged: the correlations, or their squares, which then keep the correlations'
        signs, so that chance is 0 held out.
    cv : int, "split", splitter or None, default 5
        Directions are fitted on some stimuli and correlated on others; "split" takes the file's
        split. None correlates the stimuli of the fit, which is far too high unless these are
        many times the dimensions: of unrelated sides with 50 dimensions each, the mean is
        0.27 with 500 stimuli.

    Returns
    -------
    DataArray
        The score, named "cca", over the outer dimensions. Coordinates: ``first``, the correlation
        of the first pair, and ``n_pairs``, how many were averaged.

    Raises
    ------
    StimulusError
        Without regularisation, the fit stimuli do not exceed the units of both sides together, so
        that some correlations of the fit are 1 for any data; or stimuli differ or repeat.
    DataError
        A value is not finite, or no unit varies over the fit stimuli of a fold.
    ParameterError
        An option is unknown or not allowed, or the folds cannot be made.

    Notes
    -----
    Held-out correlations are pooled: sums of products and squares about the means of the fit
    stimuli are added over folds before they are divided. A pair keeps the sign of its fit, so a
    correlation that is not there is as often below 0 as above. Units are not scaled; with
    regularisation, prepare="zscore" gives units of small variance the same say. Dask-backed
    activations are read block by block.

    References
    ----------
    Vinod (1976), Canonical ridge and econometrics of joint production, J. Econometrics 4.
    Hardoon, Szedmak & Shawe-Taylor (2004), Canonical correlation analysis: an overview with
    application to learning methods, Neural Computation 16.
    Kornblith et al. (2019), Similarity of neural network representations revisited, section 3 on
    the mean correlation and the mean squared one.

    Examples
    --------
    >>> import numpy as np
    >>> import reptools as rt
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(300, 20))
    >>> y = x @ rng.normal(size=(20, 20))
    >>> round(float(rt.cca(x, y, regularization=0)), 6)
    1.0
    >>> unrelated = rng.normal(size=(300, 20))
    >>> round(float(rt.cca(x, unrelated)), 2), round(float(rt.cca(x, unrelated, cv=None)), 2)
    (0.02, 0.22)
    """
    return Wiring(
        partial(correlation, n_components=n_components, score=score),
        each=partial(shrunk_side, regularization=regularization),
        extras={"first": (), "n_pairs": ()},
    )
