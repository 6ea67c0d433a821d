"""Procrustes shape distance: how far two representations are apart after the best rotation."""

from __future__ import annotations

from functools import partial
from math import acos, pi, sqrt
from typing import Literal, TypeAlias

import xarray as xr

from reptools.arrays import Array, array_namespace, matmul
from reptools.engine.common import CV, Groups, Prepare, Seed
from reptools.engine.context import Context
from reptools.engine.declaring import metric
from reptools.engine.inputs import Activations
from reptools.engine.operation import Wiring
from reptools.errors import DataError
from reptools.statistics.blocks import Rows
from reptools.statistics.folds import Folds
from reptools.statistics.moments import Moments, fold_moments, moments
from reptools.statistics.shapes.spectrum import EPS, compact, scaled

Distance: TypeAlias = Literal["angular", "euclidean"]
# share of the squares that is rounding: of the test stimuli, and of the fit stimuli, whose moments
# may be those of all less those of the test stimuli
NOTHING_TESTED, NOTHING_FITTED = 1e-26, 1e-12


def shape_side(x: Rows, /) -> Rows:
    """Centre and scale one side, and turn it into at most n dimensions."""
    return compact(scaled(x)[0])


def shape_distance(x: Rows, y: Rows, /, *, context: Context, distance: Distance) -> float:
    """The angle between two sides after the best rotation, or the straight line."""
    if context.sampling.cv is None:
        m = moments({"x": x, "y": y}, products=[("x", "y")], squares=["x", "y"])
        xp = array_namespace(m["x", "y"])
        product = float(xp.sum(xp.linalg.svdvals(m["x", "y"])))
        norms = [float(xp.sum(m.squares[side])) for side in "xy"]
    else:
        product, norms = _held_out(x, y, context.folds())
    # rounding may exceed 1; the factors are rooted apart, as their product may underflow
    cosine = min(1.0, max(-1.0, product / (sqrt(norms[0]) * sqrt(norms[1]))))
    return acos(cosine) if distance == "angular" else sqrt(2 - 2 * cosine)


def _held_out(x: Rows, y: Rows, folds: Folds) -> tuple[float, list[float]]:
    """Inner product of the aligned test stimuli and squared norms, summed over folds."""
    product, norms, spreads = 0.0, [0.0, 0.0], [0.0, 0.0]
    both = fold_moments({"x": x, "y": y}, folds, products=[("x", "y")], squares=["x", "y"])
    for fitted, tested in both:
        xp = array_namespace(fitted["x", "y"])
        tested = tested.about(fitted.means)
        product += float(xp.sum(_rotation(fitted) * tested["x", "y"]))
        for i, side in enumerate("xy"):
            norms[i] += float(xp.sum(tested.squares[side]))
            spreads[i] += float(xp.sum(fitted.squares[side]))
    for side, norm, spread in zip("xy", norms, spreads, strict=True):
        if spread <= NOTHING_FITTED * norm:
            raise DataError(f"{side}: no unit varies over the fit stimuli. Choose other folds.")
        if norm <= NOTHING_TESTED * spread:
            raise DataError(
                f"{side}: all test stimuli lie at the mean of the fit stimuli. Choose other folds."
            )
    return product, norms


def _rotation(fitted: Moments) -> Array:
    """The orthogonal factor of X'Y, zero along directions that it does not determine."""
    xp = array_namespace(fitted["x", "y"])
    u, s, vt = xp.linalg.svd(fitted["x", "y"], full_matrices=False)
    determined = int(xp.count_nonzero(s > max(fitted["x", "y"].shape) * EPS * s[0]))
    return matmul(u[:, :determined], vt[:determined, :])


@metric(
    better="lower",
    bounds=(0.0, pi),
    symmetric=True,
    invariances=("shift", "scale", "rotation"),
    proper=True,
    backends=("numpy", "torch", "dask"),
    estimator="aligned on the fit stimuli",
)
def procrustes(
    x: Activations,
    y: Activations,
    /,
    *,
    distance: Distance = "angular",
    cv: CV = None,
    groups: Groups = None,
    seed: Seed = 0,
    prepare: Prepare = None,
) -> Wiring[xr.DataArray]:
    """Procrustes distance: what is left between two representations after the best rotation.

    Both sides are centred, divided by their Frobenius norm and padded with zeros to the same
    width; then y is rotated (and reflected) onto x.

    Parameters
    ----------
    distance : {"angular", "euclidean"}, default "angular"
        "angular" is the angle between the aligned sides in radians, the length of the shortest
        path between them; "euclidean" is the straight line, 2 sin(angle / 2). In sample both are
        metrics: zero between equal shapes only, symmetric, and no detour is shorter, so clustering
        and embedding may build on them.
    cv : int, "split", splitter or None, default None
        None aligns and measures on the same stimuli, as the shape metric is defined. It shrinks
        with the number of units: the cosine between unrelated sides is near
        0.85 sqrt(p / n) for p equal units each, and 1 where p is far above n. Folds, or "split",
        fit the rotation on some stimuli and measure it on others, about the means of the fit
        stimuli; unrelated sides are then pi / 2 apart on average whatever n and p. Held out it is
        no metric: where the fit stimuli do not span the patterns, a side is not at 0 from itself.

    Returns
    -------
    DataArray
        The distance, named "procrustes", over the outer dimensions. In sample it is from 0 to
        pi / 2 (Euclidean: sqrt(2)); held out, sides that point apart reach pi (2).

    Raises
    ------
    StimulusError
        The sides have different or repeated stimuli, or only one has labels.
    DataError
        A value is not finite, or no unit varies over the fit stimuli of a fold.
    ParameterError
        An option is unknown or has a value that is not listed above.

    Notes
    -----
    The cosine of the angle is the nuclear norm of X'Y over |X| |Y|, for centred X and Y, and needs
    no padding. It equals the normalised Bures similarity of the squared Euclidean distances.
    Equal shapes come out below 1e-7, not at 0: that is the square root of rounding. Dask-backed
    activations are read once, block by block.

    Held out, the inner products <X_test Q, Y_test> and the squared norms of the test stimuli are
    pooled over folds before they are divided. Q turns only the directions that the fit stimuli
    determine; what lies outside counts in the norms and not in the product, which is its mean
    over all ways to complete the rotation.

    References
    ----------
    Williams, Kunz, Kornblith & Linderman (2021), Generalized shape metrics on neural
    representations, NeurIPS 34; their package netrep fits and scores held out.
    Harvey, Larsen & Williams (2024), Duality of Bures and shape distances with implications for
    comparing neural representations, PMLR 243.
    Pospisil, Larsen, Harvey & Williams (2024), Estimating shape distances on neural
    representations with limited samples, ICLR (on the bias of the in-sample distance).

    Examples
    --------
    >>> import numpy as np
    >>> import reptools as rt
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(200, 10))
    >>> turned = np.linalg.qr(rng.normal(size=(10, 10)))[0]
    >>> round(float(rt.procrustes(x, 3 * x @ turned + 1)), 6)
    0.0
    >>> unrelated = rng.normal(size=(200, 10))
    >>> in_sample, held_out = rt.procrustes(x, unrelated), rt.procrustes(x, unrelated, cv=5)
    >>> round(float(in_sample), 2), round(float(held_out), 2)
    (1.38, 1.55)
    """
    return Wiring(partial(shape_distance, distance=distance), each=shape_side)
