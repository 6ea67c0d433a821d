"""Mutual nearest neighbours: whether two representations agree on which stimuli are close."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from math import sqrt
from typing import TYPE_CHECKING, Annotated

import xarray as xr

from reptools.arrays import Array
from reptools.engine.common import Prepare
from reptools.engine.declaring import metric
from reptools.engine.inputs import Activations
from reptools.engine.operation import Score, Wiring
from reptools.engine.options import Range
from reptools.errors import DataError, StimulusError
from reptools.statistics.shapes.nearest import Distance, neighbour_weights

if TYPE_CHECKING:
    from scipy.sparse import csr_array

NOTHING = 1e-12


@dataclass(frozen=True)
class Neighbours:
    """One side: who is a neighbour of whom, and the spread of that about chance.

    Attributes
    ----------
    weights : sparse array (stimulus, stimulus)
        A row sums to ``k``.
    k : int
    spread : float
        Sum of the squared weights less what chance gives; 0 where all are equally near.
    """

    weights: csr_array
    k: int
    spread: float


def neighbours(x: Array, /, *, k: int, distance: Distance) -> Neighbours:
    """Find the ``k`` nearest neighbours of every stimulus."""
    n = x.shape[0]
    if k > n - 2:
        raise StimulusError(
            f"k={k} neighbours need at least {k + 2} stimuli, got {n}: with all others as "
            "neighbours there is nothing to agree on. Pass a smaller k."
        )
    weights = neighbour_weights(x, k, distance)
    spread = float((weights.data**2).sum()) - n * k**2 / (n - 1)
    if spread <= NOTHING * n * k:
        raise DataError(
            f"all {n} stimuli are equally far from each other, so none has nearest neighbours. "
            "Leave it out."
        )
    return Neighbours(weights, k, spread)


def agreement(x: Neighbours, y: Neighbours, /, *, corrected: bool) -> Score:
    """Share of common neighbours, with or without chance taken out."""
    n = x.weights.shape[0]
    common, chance = float((x.weights * y.weights).sum()), x.k / (n - 1)
    overlap = common / (n * x.k)
    above = (common - n * x.k * chance) / (sqrt(x.spread) * sqrt(y.spread))
    return Score(above if corrected else overlap, {"overlap": overlap, "chance": chance})


@metric(
    better="higher",
    bounds=(-1.0, 1.0),
    symmetric=True,
    invariances=("shift", "scale", "rotation"),
    backends=("numpy", "torch"),
)
def mutual_knn(
    x: Activations,
    y: Activations,
    /,
    *,
    k: Annotated[int, Range(1)] = 10,
    distance: Distance = "euclidean",
    corrected: bool = True,
    prepare: Prepare = None,
) -> Wiring[xr.DataArray]:
    """Share of nearest neighbours that two representations have in common, above chance.

    For every stimulus, the k nearest others are found on either side.

    Parameters
    ----------
    k : int, default 10
        Neighbours of each stimulus, at most n - 2. Small k compares local structure only. 10 is
        the value of Huh et al. for 1,024 stimuli; scores are comparable at one k and one n.
    distance : {"euclidean", "cosine"}, default "euclidean"
        What makes a neighbour. "cosine" compares directions of patterns from the origin: it
        ignores the scale of each pattern, and changes when units are shifted.
    corrected : bool, default True
        Whether chance is taken out: 0 for unrelated sides, 1 for the same neighbours. False gives
        the plain share of common neighbours, which is k / (n - 1) for unrelated sides.

    Returns
    -------
    DataArray
        The score, named "mutual_knn", over the outer dimensions; below 0 where the sides share
        fewer neighbours than unrelated ones. Coordinates: ``overlap``, the plain share, and
        ``chance``, k / (n - 1).

    Raises
    ------
    StimulusError
        There are fewer than k + 2 stimuli, the sides have different or repeated stimuli, or only
        one has labels.
    DataError
        A value is not finite, all stimuli are equally far from each other, or a pattern is zero
        and has no cosine.
    ParameterError
        An option is unknown or not allowed.

    Notes
    -----
    A stimulus is never its own neighbour: it is left out by its number, so a copy of it counts.

    Ties do not depend on the order of rows: stimuli at the distance of the k-th neighbour share
    the places that are left, each weighing its chance of a place if ties were broken at random,
    independently on both sides. Squared distances within 1e-12 of the squared norms are ties.

    The corrected score is the correlation of the two sides' neighbour weights over all ordered
    pairs of stimuli. Without ties that is (overlap - chance) / (1 - chance); with ties a side
    still scores 1 with itself. Distances are taken a block of stimuli at a time.

    References
    ----------
    Huh, Cheung, Wang & Isola (2024), The platonic representation hypothesis, ICML (mutual
    nearest-neighbour alignment).

    Examples
    --------
    >>> import numpy as np
    >>> import reptools as rt
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(300, 20))
    >>> y = x + 0.5 * rng.normal(size=(300, 20))
    >>> score = rt.mutual_knn(x, y)
    >>> round(float(score), 2), round(float(score.overlap), 2), round(float(score.chance), 2)
    (0.39, 0.41, 0.03)
    """
    return Wiring(
        partial(agreement, corrected=corrected),
        each=partial(neighbours, k=k, distance=distance),
        extras={"overlap": (), "chance": ()},
        estimator="above chance" if corrected else "plain",
    )
