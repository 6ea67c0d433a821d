"""Comparing dissimilarity matrices: each is ranked, whitened or normalised once, then a product."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any, Literal, TypeAlias

import numpy as np

from reptools.arrays import matmul
from reptools.errors import DataError, StimulusError
from reptools.statistics.rdms.bures import fidelity, unit_factor
from reptools.statistics.rdms.ranks import Ranking, concordance, ranking
from reptools.statistics.rdms.whitening import whitened

Comparator: TypeAlias = Literal[
    "pearson",
    "spearman",
    "kendall_tau_a",
    "kendall_tau_b",
    "rho_a",
    "cosine",
    "whitened_cosine",
    "whitened_pearson",
    "bures",
]
Vector = np.ndarray[Any, Any]
# distances closer than this share of the largest are one value: rounding must not rank them
ROUNDING = 1e-12
# an RDM of one value has no order and no deviations, but it still has a direction
NEEDS_NO_SPREAD = ("cosine", "whitened_cosine", "bures")
BLOCK = 2**15  # distances of all RDMs that are multiplied at once


@dataclass(frozen=True)
class PreparedRdm:
    """One condensed RDM as its comparator needs it.

    ``values`` is a vector whose product with another is the score; for Kendall's taus the
    ``ranking`` stands instead, for Bures patterns (stimulus, dimension) with these distances.
    """

    method: Comparator
    values: Vector
    ranking: Ranking | None = None


def prepared_rdm(rdm: Vector, /, *, method: Comparator) -> PreparedRdm:
    """Rank, whiten or normalise a condensed RDM (float64, finite).

    Raises
    ------
    StimulusError
        It has fewer than 3 stimuli.
    DataError
        All distances are equal (zero, for the cosines and Bures), or no patterns have them (Bures).
    """
    if rdm.size < 3:
        raise StimulusError(
            f"comparing RDMs needs at least 3 stimuli, got {rdm.size + 1}. Pass more stimuli."
        )
    largest = max(float(rdm.max()), -float(rdm.min()))
    scaled = rdm / (largest or 1.0)  # so that no square overflows
    spread = largest if method in NEEDS_NO_SPREAD else float(np.ptp(scaled))
    if spread <= (0.0 if method in NEEDS_NO_SPREAD else ROUNDING):
        raise DataError(
            f"all {rdm.size} distances are {float(rdm[0]):.6g}, so a {method} with this RDM is "
            "undefined. Leave this RDM out."
        )
    if method in ("pearson", "whitened_pearson"):
        scaled -= scaled.mean()
    if method in ("whitened_cosine", "whitened_pearson"):
        scaled = whitened(scaled)
    if method == "bures":
        return PreparedRdm(method, unit_factor(scaled))
    if method in ("spearman", "rho_a", "kendall_tau_a", "kendall_tau_b"):
        return _ranked(ranking(scaled, ROUNDING), method)
    return PreparedRdm(method, _unit(scaled))


def _ranked(order: Ranking, method: Comparator) -> PreparedRdm:
    if method in ("kendall_tau_a", "kendall_tau_b"):
        return PreparedRdm(method, np.empty(0), order)
    m = order.number.size
    centred = order.ranks - (m + 1) / 2
    if method == "rho_a":  # the norm of ranks without ties, whatever ties there are
        return PreparedRdm(method, centred / sqrt((m**3 - m) / 12))
    return PreparedRdm(method, _unit(centred))


def _unit(values: Vector) -> Vector:
    values /= np.linalg.norm(values)
    return values


def similarity(a: PreparedRdm, b: PreparedRdm, /) -> float:
    """The comparator's value for two RDMs prepared for the same method."""
    if a.ranking is not None and b.ranking is not None:
        value = _tau(a.ranking, b.ranking, ties_count=a.method == "kendall_tau_a")
    elif a.method == "bures":
        value = fidelity(a.values, b.values)
    else:
        value = float(matmul(a.values, b.values))
    return min(1.0, max(-1.0, value))  # rounding may exceed 1


def similarities(a: Sequence[PreparedRdm], b: Sequence[PreparedRdm], /) -> Vector:
    """Scores (a, b) of all pairs: one matrix product where the score is a product of vectors."""
    method = a[0].method
    if method in ("kendall_tau_a", "kendall_tau_b", "bures"):
        return np.array([[similarity(one, other) for other in b] for one in a])
    table = np.zeros((len(a), len(b)))
    for start in range(0, a[0].values.size, BLOCK):
        here = slice(start, start + BLOCK)
        table += matmul(
            np.stack([s.values[here] for s in a]), np.stack([s.values[here] for s in b]).T
        )
    return np.clip(table, -1.0, 1.0)


def _tau(a: Ranking, b: Ranking, *, ties_count: bool) -> float:
    """Concordant less discordant pairs over all pairs, or over those untied on either side."""
    pairs = a.number.size * (a.number.size - 1) // 2
    if ties_count:
        return concordance(a, b) / pairs
    return concordance(a, b) / sqrt(pairs - a.tied_pairs) / sqrt(pairs - b.tied_pairs)
