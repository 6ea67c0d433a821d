"""Comparing dissimilarity matrices: each is ranked or normalised once, a pair is one product."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import Any, Literal

import numpy as np

from reptools.errors import DataError, StimulusError
from reptools.registry import metric

Comparator = Literal["pearson", "spearman", "kendall_tau_a", "cosine"]
Vector = np.ndarray[Any, Any]
# distances closer than this share of the largest are one value: rounding must not rank them
ROUNDING = 1e-12


@dataclass(frozen=True)
class PreparedRdm:
    """One condensed RDM as its comparator needs it.

    ``values`` has norm 1 (centred, and ranked for Spearman), or for Kendall's tau holds the
    number of each distance among the different ones; ``tied`` is the share of tied pairs.
    """

    method: Comparator
    values: Vector
    tied: float = 0.0


def prepared_rdm(rdm: Vector, /, *, method: Comparator = "spearman") -> PreparedRdm:
    """Rank or normalise a condensed RDM (float64, finite).

    Raises
    ------
    StimulusError
        It has fewer than 3 stimuli.
    DataError
        All distances are equal (for the cosine: zero).
    """
    if rdm.size < 3:
        raise StimulusError(
            f"comparing RDMs needs at least 3 stimuli, got {rdm.size + 1}. Pass more stimuli."
        )
    largest = float(np.abs(rdm).max())
    spread = largest if method == "cosine" else float(np.ptp(rdm))
    if spread <= ROUNDING * largest:
        raise DataError(
            f"all {rdm.size} distances are {float(rdm[0]):.6g}, so a {method} with this RDM is "
            "undefined. Leave this RDM out."
        )
    if method == "cosine":
        return PreparedRdm(method, _unit(rdm / largest))
    if method == "pearson":
        return PreparedRdm(method, _unit_centred(rdm / largest))
    order, number = _numbered(rdm, ROUNDING * largest)
    counts = np.bincount(number).astype(np.float64)
    if method == "spearman":
        ranks = (np.cumsum(counts) - (counts - 1) / 2)[number]  # tied values share their mean rank
        return PreparedRdm(method, _unit_centred(_put_back(ranks, order)))
    tied = float((counts * (counts - 1)).sum()) / (rdm.size * (rdm.size - 1))
    return PreparedRdm(method, _put_back(number, order), tied)


def similarity(a: PreparedRdm, b: PreparedRdm, /) -> float:
    """The comparator's value for two RDMs prepared for the same method."""
    if a.method != "kendall_tau_a":
        return float(np.clip(a.values @ b.values, -1.0, 1.0))  # rounding may exceed 1
    from scipy.stats import kendalltau  # slow to import

    # tau-b divides by the pairs untied on either side, tau-a by all pairs
    tau_b = kendalltau(a.values, b.values, method="asymptotic").statistic
    return float(tau_b) * sqrt((1 - a.tied) * (1 - b.tied))


def _numbered(rdm: Vector, tolerance: float) -> tuple[Vector, Vector]:
    """Sorting order, and in that order the number of each distance among the different ones."""
    order = np.argsort(rdm)  # any order of ties will do: they share a number
    steps = np.diff(rdm[order]) > tolerance
    return order, np.concatenate([[0], np.cumsum(steps)])


def _put_back(values: Vector, order: Vector) -> Vector:
    unsorted = np.empty_like(values)
    unsorted[order] = values
    return unsorted


def _unit_centred(values: Vector) -> Vector:
    return _unit(values - values.mean())


def _unit(values: Vector) -> Vector:
    return np.asarray(values / np.linalg.norm(values))


@metric(
    kind="rdms",
    each=prepared_rdm,
    better="higher",
    bounds=(-1.0, 1.0),
    symmetric=True,
    invariances=("scale",),
)
def compare_rdms(a: PreparedRdm, b: PreparedRdm, /) -> float:
    """Similarity of two dissimilarity matrices of the same stimuli.

    Parameters
    ----------
    a, b : DataArray (..., stimulus, stimulus_), square array or condensed vector
        Symmetric matrices, as :func:`rdm` makes them, or their upper triangles row by row.
        Labelled ones are lined up by stimulus label; outer dimensions (subject, step) that
        both have are paired, the others are crossed.
    method : {"pearson", "spearman", "kendall_tau_a", "cosine"}, default "spearman"
        Spearman asks for the same order of distances only and gives tied distances their mean
        rank, which favours categorical models. Kendall's tau-a counts concordant less
        discordant pairs of distances over all pairs, so ties cost. Pearson asks for a linear,
        cosine for a proportional relation.

    Returns
    -------
    DataArray
        The score, named "compare_rdms", over the outer dimensions.

    Raises
    ------
    StimulusError
        The RDMs have different, repeated or fewer than 3 stimuli, or only one has labels.
    DimensionError
        An input is no square matrix and no condensed vector.
    DataError
        A distance is not finite (they are counted), an RDM is not symmetric, or it is constant.
    ParameterError
        An option is unknown or has a value that is not listed above.

    Notes
    -----
    Distances that differ by less than 1e-12 of the largest one are ties: the rounding of
    computed distances would order them at random.

    References
    ----------
    Kriegeskorte, Mur & Bandettini (2008), Representational similarity analysis.
    Nili et al. (2014), A toolbox for representational similarity analysis (Kendall's tau-a).

    Examples
    --------
    >>> import reptools as rt
    >>> a = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]  # 4 stimuli, condensed
    >>> b = [1.0, 2.0, 3.0, 4.0, 6.0, 5.0]
    >>> round(float(rt.compare_rdms(a, b)), 4)
    0.9429
    >>> round(float(rt.compare_rdms(a, b, method="kendall_tau_a")), 4)
    0.8667
    """
    return similarity(a, b)
