"""CCA and SVCCA: correlations of matched directions of two representations, held out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from reptools.arrays import Array, array_namespace
from reptools.engine.operation import Context, Score
from reptools.engine.options import Range
from reptools.engine.registry import metric
from reptools.statistics.blocks import Blocks
from reptools.statistics.shapes.canonical import WhitenedSide, canonical_correlations, whitened_side

Summary = Literal["mean", "mean_squared"]
ESTIMATOR = "correlations of canonical pairs, pooled over folds"


def shrunk_side(
    x: Array | Blocks,
    /,
    *,
    context: Context,
    regularization: Annotated[float, Range(0.0, 1.0)] = 0.1,
) -> WhitenedSide:
    """Whiten one side by its covariance, shrunk towards a sphere of the same mean variance."""

    def weigh(variances: Array, mean_variance: float, _: int) -> Array:
        return (1 - regularization) * variances + regularization * mean_variance

    mend = None if regularization else "Pass regularization=0.1, use svcca, or add stimuli."
    return whitened_side(x, context.folds(), weigh, mend)


def leading_side(
    x: Array | Blocks, /, *, context: Context, variance: Annotated[float, Range(1e-6, 1.0)] = 0.99
) -> WhitenedSide:
    """Whiten the fewest leading components that hold the wanted share of the variance."""
    in_sample = context.sampling.cv is None

    def weigh(variances: Array, _: float, n_fit: int) -> Array:
        xp = array_namespace(variances)
        held = xp.cumulative_sum(variances)
        wanted = 1 + int(xp.count_nonzero(held[:-1] < variance * float(held[-1])))
        # two sides of more than half the dimensions would meet whatever the data
        return variances[: wanted if in_sample else min(wanted, max(1, (n_fit - 1) // 2))]

    mend = "Lower variance=, hold out by cv=5, or add stimuli."
    return whitened_side(x, context.folds(), weigh, mend)


def _summary(correlations: Array, score: Summary, beside: Mapping[str, float]) -> Score:
    xp = array_namespace(correlations)
    values = correlations if score == "mean" else correlations * xp.abs(correlations)
    pairs = {"first": correlations[0], "n_pairs": correlations.shape[0]}
    return Score(float(xp.mean(values)), {**pairs, **beside})


@metric(
    kind="pair",
    each=shrunk_side,
    better="higher",
    bounds=(-1.0, 1.0),
    symmetric=True,
    invariances=("shift", "scale", "rotation"),
    backends=("numpy", "torch", "dask"),
    cv=5,
    estimator=ESTIMATOR,
)
def cca(
    x: WhitenedSide,
    y: WhitenedSide,
    /,
    *,
    n_components: Annotated[int, Range(1)] | None = None,
    score: Summary = "mean",
) -> Score:
    """Mean canonical correlation of two representations, regularised and held out.

    Pairs of directions, one of each side, are fitted so that they correlate as highly as
    possible, each uncorrelated with those before; then their correlations are taken over stimuli
    that the fit did not see.

    Parameters
    ----------
    x, y : DataArray (..., stimulus, unit), DataTree node or array (stimulus, unit)
        Activations; the numbers of units may differ. Labelled sides are lined up by stimulus
        label; outer dimensions (step, time) that both sides have are paired, the others crossed.
        Dask-backed activations are read block by block.
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
    groups : str or array, optional
        Stimulus coordinate whose values must not be divided between folds.
    seed : int, default 0
        Enters the folds, together with the stimulus labels.
    prepare : str, sequence of str or None, default None
        Done to each side first: "zscore", "unit_norm", "drop_top:K", or several.

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
    regularisation, prepare="zscore" gives units of small variance the same say.

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
    return _summary(canonical_correlations(x, y, n_components), score, {})


@metric(
    kind="pair",
    each=leading_side,
    better="higher",
    bounds=(-1.0, 1.0),
    symmetric=True,
    invariances=("shift", "scale", "rotation"),
    backends=("numpy", "torch", "dask"),
    cv=5,
    estimator=ESTIMATOR,
)
def svcca(x: WhitenedSide, y: WhitenedSide, /, *, score: Summary = "mean") -> Score:
    """Mean canonical correlation of the leading principal components, held out.

    Each side is reduced to the fewest components that hold a share of its variance; then plain CCA
    matches directions within these. Components, directions and means all come from the fit
    stimuli of a fold, correlations from its test stimuli.

    Parameters
    ----------
    x, y : DataArray (..., stimulus, unit), DataTree node or array (stimulus, unit)
        Activations; the numbers of units may differ. Labelled sides are lined up by stimulus
        label; outer dimensions (step, time) that both sides have are paired, the others crossed.
        Dask-backed activations are read block by block.
    variance : float from 1e-6 to 1, default 0.99
        Share of the variance over the fit stimuli that the components of each side are to hold.
        Held out, they are at most (n - 1) / 2 for n fit stimuli: with more on both sides, some
        correlations of the fit would be 1 and their directions arbitrary.
    score : {"mean", "mean_squared"}, default "mean"
        What is averaged over pairs: the correlations, as Raghu et al. do, or their squares, which
        then keep the correlations' signs, so that chance is 0 held out.
    cv : int, "split", splitter or None, default 5
        Directions are fitted on some stimuli and correlated on others; "split" takes the file's
        split. None correlates the stimuli of the fit, which is far too high unless these are
        many times the dimensions: of unrelated sides with 50 dimensions each, the mean is
        0.27 with 500 stimuli.
    groups : str or array, optional
        Stimulus coordinate whose values must not be divided between folds.
    seed : int, default 0
        Enters the folds, together with the stimulus labels.
    prepare : str, sequence of str or None, default None
        Done to each side first: "zscore", "unit_norm", "drop_top:K", or several.

    Returns
    -------
    DataArray
        The score, named "svcca", over the outer dimensions. Coordinates: ``first``, the
        correlation of the first pair; ``n_pairs``, how many were averaged: the components of the
        side with fewer, in the fold with fewest; ``held_x`` and ``held_y``, the share of variance
        that the components do hold, in the fold where it is least.

    Raises
    ------
    StimulusError
        In sample, the stimuli do not exceed the components of both sides together, so that some
        correlations are 1 for any data; or stimuli differ or repeat.
    DataError
        A value is not finite, or no unit varies over the fit stimuli of a fold.
    ParameterError
        An option is unknown or not allowed, or the folds cannot be made.

    Notes
    -----
    Correlations are pooled over folds as in :func:`cca`. Within the components all directions
    count alike, whatever their variance; invertible maps that change which components lead change
    the score.

    References
    ----------
    Raghu, Gilmer, Yosinski & Sohl-Dickstein (2017), SVCCA: singular vector canonical correlation
    analysis for deep learning dynamics and interpretability, NeurIPS 30, section 2.

    Examples
    --------
    >>> import numpy as np
    >>> import reptools as rt
    >>> rng = np.random.default_rng(0)
    >>> common = rng.normal(size=(300, 5))
    >>> x, y = (common @ rng.normal(size=(5, 40)) for _ in range(2))
    >>> result = rt.svcca(x, y + 0.01 * rng.normal(size=(300, 40)))
    >>> result.item() > 0.999, int(result.n_pairs)
    (True, 5)
    """
    held = {f"held_{name}": min(f.held for f in s.fits) for name, s in (("x", x), ("y", y))}
    return _summary(canonical_correlations(x, y), score, held)
