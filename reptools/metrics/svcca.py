"""SVCCA: correlations of matched directions within leading components, held out."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import xarray as xr

from reptools.arrays import Array, array_namespace
from reptools.engine.common import CV, Groups, Prepare, Seed
from reptools.engine.context import Context
from reptools.engine.declaring import metric
from reptools.engine.inputs import Activations
from reptools.engine.operation import Score, Wiring
from reptools.engine.options import Range
from reptools.metrics.shared.canonical import ESTIMATOR, Summary, summarised
from reptools.statistics.blocks import Rows
from reptools.statistics.shapes.canonical import WhitenedSide, canonical_correlations, whitened_side


def leading_side(x: Rows, /, *, context: Context, variance: float) -> WhitenedSide:
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


def correlation(x: WhitenedSide, y: WhitenedSide, /, *, score: Summary) -> Score:
    """The mean over all pairs, and what the components hold."""
    held = {f"held_{name}": min(f.held for f in s.fits) for name, s in (("x", x), ("y", y))}
    return summarised(canonical_correlations(x, y), score, held)


@metric(
    better="higher",
    bounds=(-1.0, 1.0),
    symmetric=True,
    invariances=("shift", "scale", "rotation"),
    backends=("numpy", "torch", "dask"),
    estimator=ESTIMATOR,
)
def svcca(
    x: Activations,
    y: Activations,
    /,
    *,
    variance: Annotated[float, Range(1e-6, 1.0)] = 0.99,
    score: Summary = "mean",
    cv: CV = 5,
    groups: Groups = None,
    seed: Seed = 0,
    prepare: Prepare = None,
) -> Wiring[xr.DataArray]:
    """Mean canonical correlation of the leading principal components, held out.

    Each side is reduced to the fewest components that hold a share of its variance; then plain CCA
    matches directions within these. Components, directions and means all come from the fit
    stimuli of a fold, correlations from its test stimuli.

    Parameters
    ----------
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
    Correlations are pooled over folds as in :func:`cca`, and blocks are read as there. Within the
    components all directions count alike, whatever their variance; invertible maps that change
    which components lead change the score.

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
    return Wiring(
        partial(correlation, score=score),
        each=partial(leading_side, variance=variance),
        extras={"first": (), "n_pairs": (), "held_x": (), "held_y": ()},
    )
