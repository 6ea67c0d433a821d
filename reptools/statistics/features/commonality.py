"""What several features explain together, and which parts of it they have alone or in common.

Every subset of features is fitted from the same products of designs and activations: these are
taken once, and a subset then costs the solution of one small system.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from reptools.arrays import Array, array_namespace, matmul, to_host
from reptools.errors import FeatureError, some
from reptools.statistics.features.design import Feature
from reptools.statistics.features.projection import ESTIMABLE, Matrix, Projected

Subset = tuple[int, ...]

SOLID = 1e-6  # smallest eigenvalue of a covariance that is inverted as it is


def subsets(n: int) -> list[Subset]:
    """All subsets of ``n`` features but the empty one, in the order of their bits.

    >>> subsets(3)
    [(0,), (1,), (0, 1), (2,), (0, 2), (1, 2), (0, 1, 2)]
    """
    return [tuple(i for i in range(n) if bits >> i & 1) for bits in range(1, 2**n)]


def explained_together(
    projected: Projected, features: Sequence[Feature], chosen: Sequence[Subset]
) -> Matrix:
    """Held-out sum of squares that each subset of features explains, fitted together.

    Raises
    ------
    FeatureError
        The fit rows of a fold do not vary along all directions of the features together.
    """
    spans = projected.designs.spans
    columns = [
        np.concatenate([np.arange(spans[i].start, spans[i].stop) for i in subset])
        for subset in chosen
    ]
    _refuse_inestimable(projected, features)
    explained = np.zeros(len(chosen))
    for fold in projected.folds:
        # |x|^2 - |x - Wd|^2 = 2 <Wd, x> - <Wd, Wd> summed over units needs no unit any more
        fitted = _host(matmul(fold.dx, fold.dx.T))
        tested = _host(matmul(fold.dx, fold.test_dx.T))
        # no part of a covariance is worse conditioned than the whole
        solid = bool(np.linalg.eigvalsh(fold.dd)[0] > SOLID)
        for number, own in enumerate(columns):
            at = np.ix_(own, own)
            inverse = np.linalg.inv(fold.dd[at]) if solid else _pseudo_inverse(fold.dd[at])
            within = np.sum(inverse * tested[at].T)
            spent = np.sum(matmul(inverse, fold.test_dd[at], inverse) * fitted[at])
            explained[number] += 2 * within - spent
    return explained


def _host(values: Array) -> Matrix:
    xp = array_namespace(values)
    return to_host(xp.astype(values, xp.float64))


def _pseudo_inverse(covariance: Matrix) -> Matrix:
    """Inverse along the directions that vary."""
    values, vectors = np.linalg.eigh(covariance)
    kept = values > ESTIMABLE
    inverse: Matrix = matmul(vectors[:, kept] / values[kept], vectors[:, kept].T)
    return inverse


def _refuse_inestimable(projected: Projected, features: Sequence[Feature]) -> None:
    """A direction that varies over the stimuli in use must vary over every fold's fit rows.

    Features may depend on each other (a sum beside its parts): along such a direction nothing
    varies anywhere, and predictions do not depend on it.
    """
    spans = projected.designs.spans
    still = [f.name for f, span in zip(features, spans, strict=True) if span.start == span.stop]
    if still:
        raise FeatureError(
            f"constant over the stimuli that are fitted and tested: {some(still)}. "
            "Leave it out, or pass cv=5."
        )
    rank = _rank(projected.designs.covariance)
    short = [fold for fold in projected.folds if _rank(fold.dd) < rank]
    if not short:
        return
    alone = [
        feature.name
        for feature, span in zip(features, spans, strict=True)
        if any(_rank(fold.dd[span, span]) < span.stop - span.start for fold in short)
    ]
    names = some(alone or [feature.name for feature in features])
    raise FeatureError(
        f"the fit rows of a fold ({min(fold.n_fit for fold in short)} stimuli, {rank} design "
        f"columns in all) lack a class of, or do not vary along, {names}. "
        "Use fewer folds, fewer features, or stimuli with all classes on both sides."
    )


def _rank(covariance: Matrix) -> int:
    return int((np.linalg.eigvalsh(covariance) > ESTIMABLE).sum()) if covariance.size else 0


def parts_of(explained: Matrix, n: int) -> Matrix:
    """Commonality parts of ``n`` features from what each subset explains.

    Parameters
    ----------
    explained : array (subset,)
        In the order of :func:`subsets`.

    Returns
    -------
    array (part,)
        In the same order: the part of (0, 2) is what features 0 and 2 have in common and no other
        feature has. They sum to what all features explain; each may be negative.

    References
    ----------
    Nimon et al. (2008), An R package to compute commonality coefficients in the multiple
    regression case, Behavior Research Methods 40. With g(S) = R2(all) - R2(all but S), the part
    of S is the sum over T in S of (-1)^(|S| - |T|) g(T).

    Examples
    --------
    >>> parts_of(np.array([0.5, 0.4, 0.6]), 2).round(1).tolist()
    [0.2, 0.1, 0.3]
    """
    full = np.concatenate([[0.0], explained])
    whole = 2**n - 1
    parts: Any = full[whole] - full[whole ^ np.arange(2**n)]
    for i in range(n):  # differences along one feature after another: Moebius inversion
        has = np.flatnonzero(np.arange(2**n) >> i & 1)
        parts[has] -= parts[has ^ (1 << i)]
    return np.asarray(parts[1:])
