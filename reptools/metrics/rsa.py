"""Representational similarity analysis: compare two representations by their distances."""

from __future__ import annotations

from functools import partial

import xarray as xr

from reptools.arrays import Array, array_namespace, float64, to_host
from reptools.engine.common import Prepare
from reptools.engine.context import Context
from reptools.engine.declaring import metric
from reptools.engine.inputs import Activations
from reptools.engine.operation import Wiring
from reptools.statistics.rdms.comparators import (
    Comparator,
    PreparedRdm,
    prepared_rdm,
    similarities,
    similarity,
)
from reptools.statistics.rdms.distances import Distance, condensed

SQUARES_FIT = 1e100  # magnitudes up to here, and down to its inverse, can be squared and summed
# ranks turn the rounding of equal distances into differences, and Bures takes its square root
LINEAR = ("pearson", "cosine", "whitened_pearson", "whitened_cosine")


def rdm_side(x: Array, /, *, context: Context, rdm: Distance, compare: Comparator) -> PreparedRdm:
    """The RDM of one side, made ready for its comparator."""
    distances = condensed(_moderate(x), rdm, context.stimulus, wide=compare not in LINEAR)
    return prepared_rdm(to_host(distances), method=compare)


def _moderate(x: Array) -> Array:
    """``x``, divided by its largest magnitude where squares would overflow or vanish.

    No comparator minds the scale of an RDM.
    """
    xp = array_namespace(x)
    largest = float(xp.max(xp.abs(x)))
    if largest == 0.0 or 1 / SQUARES_FIT < largest < SQUARES_FIT:
        return x
    return float64(x) / largest


@metric(
    better="higher",
    bounds=(-1.0, 1.0),
    symmetric=True,
    invariances=("scale", "pattern_scale", "pattern_shift"),
    backends=("numpy", "torch"),
)
def rsa(
    x: Activations,
    y: Activations,
    /,
    *,
    rdm: Distance = "correlation",
    compare: Comparator = "spearman",
    prepare: Prepare = None,
) -> Wiring[xr.DataArray]:
    """Similarity of the dissimilarity matrices of two representations of the same stimuli.

    Parameters
    ----------
    rdm : {"correlation", "euclidean", "sqeuclidean", "cosine"}, default "correlation"
        Distance between two patterns. The correlation distance ignores the mean and the scale
        of each pattern; see :func:`rdm`.
    compare : str, default "spearman"
        How the two RDMs are compared: "pearson", "spearman", "kendall_tau_a", "kendall_tau_b",
        "rho_a", "cosine", "whitened_cosine", "whitened_pearson" or "bures"; see
        :func:`compare_rdms`. Spearman assumes no more than the same order of distances.

    Returns
    -------
    DataArray
        The score, named "rsa", over the outer dimensions. With Spearman, 1 for the same order
        of distances.

    Raises
    ------
    StimulusError
        The sides have different, repeated or fewer than 3 stimuli, or only one has labels.
    DataError
        A value is not finite, a pattern has no variance over units (correlation) or is zero
        (cosine), or all distances of a side are equal.
    ParameterError
        An option is unknown or has a value that is not listed above.

    Notes
    -----
    Resolved in time: sides with a dimension ``time`` are compared time by time, and
    ``rsa(x, x.rename(time="time_"))`` compares every time with every other.

    References
    ----------
    Kriegeskorte, Mur & Bandettini (2008), Representational similarity analysis - connecting
    the branches of systems neuroscience, Frontiers in Systems Neuroscience 2.

    Examples
    --------
    >>> import numpy as np
    >>> import reptools as rt
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(20, 30))
    >>> noisy = x + 0.5 * rng.normal(size=x.shape)
    >>> round(float(rt.rsa(x, 2 * x + 1)), 9), float(rt.rsa(x, noisy)) > 0.5
    (1.0, True)
    >>> rt.rsa(x, noisy, rdm="sqeuclidean", compare="pearson").attrs["n_stimuli"]
    20
    """
    each = partial(rdm_side, rdm=rdm, compare=compare)
    return Wiring(similarity, each=each, many=similarities)
