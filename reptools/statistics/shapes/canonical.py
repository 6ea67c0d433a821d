"""Canonical correlations: each side is whitened on the fit rows of every fold, then pairs meet.

Held-out correlations are functions of second moments: projections by fitted weights of the fit
and test moments of both sides. So each side is whitened once, and a pair costs one cross-product.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from reptools.arrays import Array, array_namespace, matmul
from reptools.errors import DataError, StimulusError
from reptools.statistics.blocks import Rows
from reptools.statistics.folds import Folds
from reptools.statistics.moments import Moments, fold_moments
from reptools.statistics.shapes.spectrum import compact, live_units, rounding, scaled

# share of the squares that is rounding: of the test stimuli, and of the fit stimuli, whose moments
# may be those of all less those of the test stimuli
NOTHING_TESTED, NOTHING_FITTED = 1e-26, 1e-12
# Variances of the fit rows (largest first, none of them rounding), their mean over units and the
# number of fit rows, to the variances by which the leading directions are whitened. Fewer come
# back where directions are left out.
Weigh = Callable[[Array, float, int], Array]


@dataclass(frozen=True)
class Whitening:
    """One side in one fold.

    Attributes
    ----------
    mean : array (unit,)
        Over the fit rows.
    weights : array (unit, direction)
        Projections onto the directions that were kept, each divided by its standard deviation.
    tested : array (direction, direction)
        Second moments of the projected test rows about ``mean``.
    n_fit : int
        Fit rows.
    held : float
        Share of the variance over the fit rows along the directions that were kept.
    """

    mean: Array
    weights: Array
    tested: Array
    n_fit: int
    held: float


@dataclass(frozen=True)
class WhitenedSide:
    """One side, whitened.

    Attributes
    ----------
    rows : array or Blocks
        Activations, scaled, in at most n columns.
    folds : Folds
    fits : tuple of Whitening
        One a fold.
    mend : str or None
        For whitening without shrinkage: what to do where the fit rows are so few that some fitted
        correlations are 1 for any data, which is then an error.
    """

    rows: Rows
    folds: Folds
    fits: tuple[Whitening, ...]
    mend: str | None


def whitened_side(x: Rows, folds: Folds, weigh: Weigh, mend: str | None) -> WhitenedSide:
    """Whiten one side on the fit rows of each fold."""
    wide, _ = scaled(x)
    rows = compact(wide)
    parts = fold_moments({"x": rows}, folds, products=[("x", "x")])
    # by dead units the mean variance would fall, and depend on how a layer was padded
    live = live_units(wide, (fitted["x", "x"] for fitted, _ in parts))
    fits = tuple(_whitening(fitted, tested, live, weigh) for fitted, tested in parts)
    return WhitenedSide(rows, folds, fits, mend)


def _whitening(fitted: Moments, tested: Moments, live: int, weigh: Weigh) -> Whitening:
    covariance = fitted["x", "x"] / fitted.n
    xp = array_namespace(covariance)
    values, vectors = xp.linalg.eigh(covariance)
    values, vectors = xp.flip(values), xp.flip(vectors, axis=1)
    mean = fitted.means["x"]
    second = tested.about(fitted.means)["x", "x"] / tested.n
    largest, beyond = float(values[0]), float(xp.linalg.trace(second))
    if largest <= NOTHING_FITTED * beyond:
        raise DataError(
            f"no unit varies over the {fitted.n} fit stimuli of a fold. Choose other folds."
        )
    least = rounding(max(largest, beyond), fitted.n, values.shape[0])
    varying = int(xp.count_nonzero(values > least))
    whole = float(xp.sum(values[:varying]))
    kept = weigh(values[:varying], whole / live, fitted.n)
    held = float(xp.sum(values[: kept.shape[0]])) / whole
    weights = vectors[:, : kept.shape[0]] / xp.sqrt(kept)
    return Whitening(mean, weights, matmul(weights.T, second, weights), fitted.n, held)


def canonical_correlations(
    x: WhitenedSide, y: WhitenedSide, n_components: int | None = None
) -> Array:
    """Correlations of the canonical pairs over the test rows of all folds, in the order of the fit.

    Parameters
    ----------
    x, y : WhitenedSide
    n_components : int or None
        The most pairs to take; never more than every fold has.

    Notes
    -----
    Sums of squares and products about the means of the fit rows are pooled over folds, each fold
    weighing by its test rows, before they are divided. A pair's sign is that of the fit, so a
    correlation that is not there comes out as often below 0 as above.
    """
    parts = fold_moments({"x": x.rows, "y": y.rows}, x.folds, products=[("x", "y")])
    xp = array_namespace(x.fits[0].mean)
    pooled = []
    for (fitted, tested), fx, fy in zip(parts, x.fits, y.fits, strict=True):
        if x.mend is not None:
            _refuse_forced(fx, fy, x.mend)
        u, _, vt = xp.linalg.svd(
            matmul(fx.weights.T, fitted["x", "y"], fy.weights), full_matrices=False
        )
        u, v = u[:, :n_components], vt.T[:, :n_components]
        tested = tested.about({"x": fx.mean, "y": fy.mean})
        cross = matmul(fx.weights.T, tested["x", "y"] / tested.n, fy.weights)
        xx, yy = (
            xp.sum(u * matmul(fx.tested, u), axis=0),
            xp.sum(v * matmul(fy.tested, v), axis=0),
        )
        pooled.append(tested.n * xp.stack([xx, yy, xp.sum(u * matmul(cross, v), axis=0)]))
    pairs = min(sums.shape[1] for sums in pooled)
    total: Array = sum(sums[:, :pairs] for sums in pooled)
    # over the fit stimuli, variates have variance 1
    if float(xp.min(total[:2, :])) <= NOTHING_TESTED:
        raise DataError(
            "a canonical variate does not vary over the test stimuli. Use fewer folds or pairs."
        )
    return total[2, :] / xp.sqrt(total[0, :]) / xp.sqrt(total[1, :])


def _refuse_forced(x: Whitening, y: Whitening, mend: str) -> None:
    """Two subspaces of the n - 1 centred dimensions must meet where theirs add up to more."""
    p, q = x.weights.shape[1], y.weights.shape[1]
    forced = min(p, q, p + q - (x.n_fit - 1))
    if forced > 0:
        raise StimulusError(
            f"with {x.n_fit} fit stimuli for {p} + {q} dimensions, {forced} correlations of the "
            f"fit are 1 for any data. {mend}"
        )
