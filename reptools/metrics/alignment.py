"""Linear CKA: how much two representations agree on which stimuli are alike."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import Literal

from reptools.arrays import Array, array_namespace
from reptools.errors import DataError, StimulusError
from reptools.registry import metric
from reptools.statistics import gram

Estimator = Literal["debiased", "biased"]
FEWEST = {"debiased": 4, "biased": 3}
# a self-product below this share of the biased one is rounding: the Gram has nothing else
NOTHING_LEFT = 1e-12


@dataclass(frozen=True)
class GramSide:
    """One prepared side: centred data or centred Gram, whichever is smaller, and its norm."""

    debiased: bool
    values: Array
    is_gram: bool
    norm: float


def gram_side(
    x: Array,
    /,
    *,
    estimator: Estimator = "debiased",
    kernel: Literal["linear"] = "linear",
) -> GramSide:
    """Centre one side, choose the smaller form and take the norm of its (U-centred) Gram."""
    n, debiased = x.shape[0], estimator == "debiased"
    if n < FEWEST[estimator]:
        raise StimulusError(
            f"{estimator} {kernel} CKA needs at least {FEWEST[estimator]} stimuli, got {n}. "
            "Pass more stimuli."
        )
    xp = array_namespace(x)
    x = gram.centred(x)
    largest = float(xp.max(xp.abs(x)))
    if largest == 0.0:
        raise DataError("no unit varies over the stimuli, all are 0 once centred. Leave it out.")
    x = x / largest  # products of four values would overflow at 1e77
    is_gram = n <= x.shape[1]
    if is_gram:
        plain = x @ x.T
        x = gram.u_centred(plain) if debiased else plain
        square, whole = gram.product_of_grams(x, x), gram.product_of_grams(plain, plain)
    else:
        square = gram.product_of_features(x, x, debiased=debiased)
        whole = gram.product_of_features(x, x, debiased=False) if debiased else square
    if square <= NOTHING_LEFT * whole:
        raise DataError(
            f"its debiased self-HSIC is {square / whole:.2g} of the biased one, 0 up to rounding: "
            "all pairs of stimuli are equally alike, so there is no structure to compare. "
            "Leave it out, or pass estimator='biased'."
        )
    return GramSide(debiased, x, is_gram, sqrt(square))


@metric(
    kind="pair",
    each=gram_side,
    better="higher",
    bounds=(-1.0, 1.0),
    symmetric=True,
    invariances=("shift", "scale", "rotation"),
    backends=("numpy", "torch"),
)
def cka(x: GramSide, y: GramSide, /) -> float:
    """Centred kernel alignment of two representations of the same stimuli.

    CKA is the cosine between the centred Gram matrices (stimulus x stimulus) of the two sides.
    Shifting a unit, rotating the units, or scaling all of them alike changes nothing; the
    numbers of units may differ.

    Parameters
    ----------
    x, y : DataArray (..., stimulus, unit), DataTree node or array (stimulus, unit)
        Activations. Labelled sides are lined up by stimulus label; outer dimensions (step,
        time) that both sides have are paired, the others are crossed.
    estimator : {"debiased", "biased"}, default "debiased"
        The biased estimator grows with the number of units: independent Gaussian data score
        0.91 with 50 stimuli and 500 units. The debiased one has mean 0 there, may be negative
        (it is never clipped), and needs at least 4 stimuli. It corrects for sampled stimuli,
        not for sampled units.
    kernel : {"linear"}, default "linear"
        The inner product of two patterns.
    prepare : str, sequence of str or None, default None
        Done to each side first: "zscore", "unit_norm", "drop_top:K", or several.

    Returns
    -------
    DataArray
        The score, 1 for the same geometry, named "cka", over the outer dimensions.

    Raises
    ------
    StimulusError
        The sides have different, repeated or too few stimuli, or only one has labels.
    DataError
        A value is not finite, or all pairs of stimuli of a side are equally alike.
    ParameterError
        An option is unknown or has a value that is not listed above.

    Notes
    -----
    Computed in float64 after centring, from the smaller of Gram and cross-product of units;
    each side of a grid is prepared once.

    References
    ----------
    Kornblith et al. (2019), Similarity of neural network representations revisited, eq. 4.
    Song et al. (2007), Supervised feature selection via dependence estimation, eq. 5 (HSIC1).
    Murphy, Zylberberg & Fyshe (2024), Correcting biased centered kernel alignment measures in
    biological and artificial neural networks, arXiv:2405.01012.
    Chun et al. (2025), Estimating neural representation alignment from sparsely sampled inputs
    and features, arXiv:2502.15104.

    Examples
    --------
    >>> import numpy as np
    >>> import reptools as rt
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(50, 500))
    >>> unrelated = rng.normal(size=(50, 500))
    >>> round(float(rt.cka(x, 3 * x + 1)), 6)
    1.0
    >>> round(float(rt.cka(x, unrelated, estimator="biased")), 2)
    0.91
    >>> abs(float(rt.cka(x, unrelated))) < 0.1
    True
    """
    if x.is_gram and y.is_gram:
        product = gram.product_of_grams(x.values, y.values)
    elif x.is_gram:
        product = gram.product_mixed(x.values, y.values)
    elif y.is_gram:
        product = gram.product_mixed(y.values, x.values)
    else:
        product = gram.product_of_features(x.values, y.values, debiased=x.debiased)
    return product / (x.norm * y.norm)
