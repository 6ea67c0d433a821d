"""Crossvalidated squared distances: products across independent runs only, so never biased.

With a_fi the mean pattern of condition i in run f and N a noise precision,
    d_ij = mean over pairs of runs f != g that have both conditions of
           (a_fi - a_fj)' N (a_gi - a_gj).
Every pair of runs has the same weight, whatever its numbers of trials.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from typing import Any, Literal

import numpy as np

from reptools.arrays import (
    Array,
    array_namespace,
    asarray_like,
    columns_of,
    device,
    matmul,
    vecdot,
)
from reptools.errors import StimulusError, some
from reptools.statistics.rdms.distances import MODERATE, refuse_range, tiles
from reptools.statistics.rdms.noise import (
    Noise,
    covariance,
    refuse_unrepeated,
    whiten,
    without_noise,
)
from reptools.statistics.rdms.trials import (
    Trials,
    averaged,
    between_runs,
    varying,
    within_cells,
)

Scope = Literal["pooled", "run", "other_runs"]
LOW, HIGH = (limit**0.5 for limit in MODERATE["float64"])  # magnitudes that can be squared
Present = np.ndarray[Any, np.dtype[np.bool_]]
Whitened = Callable[[Array, int, int], Array]  # patterns (row, unit) for the runs f and g


def crossvalidated(
    trials: Trials, noise: Noise, scope: Scope | None
) -> tuple[Array, dict[str, Any]]:
    """Crossnobis distances (condition, condition) of trials, and how the noise was estimated.

    Parameters
    ----------
    trials : Trials
        Of two runs or more.
    noise : {"identity", "diag", "full", "shrinkage_eye", "shrinkage_diag"}
        How the covariance is estimated; "identity" leaves squared Euclidean distances.
    scope : {"pooled", "run", "other_runs"} or None
        From which residuals: of all trials within condition and run; those of the two runs of
        a product, whose covariances are averaged before they are inverted; or of the runs that
        are not in the product, within condition over runs. None is "pooled" where a condition is
        repeated within a run, and else "other_runs".

    Raises
    ------
    StimulusError
        There are too few runs, or repeats, for the distances or for the noise.
    DataError
        The covariance has no inverse, or distances are outside float64.
    """
    means, present = run_means(trials)
    refuse_unpaired(present, trials.conditions)
    xp = array_namespace(means)
    if noise == "identity":
        largest = float(xp.max(xp.abs(means)))
        scale = 1.0 if largest == 0.0 or LOW < largest < HIGH else largest
        refuse_range(scale, float(means.shape[2]))
        return crossnobis(means / scale, present) * (scale * scale), {"noise": noise}
    live = varying(trials.values)
    trials, means = trials.of_units(live), columns_of(means, live)
    within = within_cells(trials)
    if scope is None:
        scope = "pooled" if within.degrees else "other_runs"
    facts = {"noise": noise, "noise_scope": scope}
    if scope == "pooled":
        white = without_noise(xp.reshape(means, (-1, live.size)), within, noise)
        return crossnobis(xp.reshape(white, means.shape), present), facts
    if scope == "run":
        pairwise = _of_the_two_runs(trials, noise)
    else:
        pairwise = _of_the_other_runs(trials, noise)
    return crossnobis_by_pairs(means, present, pairwise), facts


def _of_the_two_runs(trials: Trials, noise: Noise) -> Whitened:
    """Inverse of the mean of the covariances of the two runs, as in rsatoolbox."""
    parts = [within_cells(trials.of_runs(np.array([run]))) for run in range(trials.runs.size)]
    for name, part in zip(trials.runs.tolist(), parts, strict=True):
        refuse_unrepeated(part, f"no condition is repeated within the run {name!r}")
    scale = max(part.scale for part in parts)
    covariances = [covariance(part.divided(scale), noise) for part in parts]
    return lambda patterns, f, g: whiten(patterns / scale, (covariances[f] + covariances[g]) / 2)


def _of_the_other_runs(trials: Trials, noise: Noise) -> Whitened:
    """Residuals that share no trial with the product, so that it stays unbiased."""
    if trials.runs.size < 4:
        raise StimulusError(
            "no condition is repeated within a run, so the noise of two runs is estimated from "
            f"two others, and there are {trials.runs.size} runs. Pass noise='identity', or "
            "record 4 runs or repeat conditions."
        )

    def whitened(patterns: Array, f: int, g: int) -> Array:
        others = np.setdiff1d(np.arange(trials.runs.size), [f, g])
        return without_noise(patterns, between_runs(trials.of_runs(others)), noise)

    return whitened


def run_means(trials: Trials) -> tuple[Array, Present]:
    """Mean pattern (condition, run, unit) around the mean of each run, and which ones exist.

    What all conditions of a run have in common drops out of every difference, so it is taken off
    before it can eat digits. Patterns that do not exist hold a number that nobody looks at.
    """
    xp = array_namespace(trials.values)
    shape = (trials.conditions.size, trials.runs.size)
    n = shape[0] * shape[1]
    present = np.bincount(trials.cell, minlength=n).reshape(shape) > 0
    means = averaged(trials.values, trials.cell, n)
    means = xp.reshape(means, (*shape, means.shape[1]))
    counts = asarray_like(present.sum(axis=0).astype(np.float64), means)
    means = means - (xp.sum(means, axis=0) / counts[:, None])[None, :, :]
    return means, present


def refuse_unpaired(present: Present, conditions: np.ndarray[Any, Any]) -> None:
    """Refuse pairs of conditions that fewer than two runs have together."""
    if present.all() and present.shape[1] > 1:
        return
    shared = matmul(present.astype(np.int32), present.T.astype(np.int32))
    first, second = np.nonzero(np.triu(shared < 2, k=1))
    if not first.size:
        return
    pairs = [
        f"{conditions[i]} and {conditions[j]}: {shared[i, j]}"
        for i, j in zip(first[:4].tolist(), second[:4].tolist(), strict=True)
    ]
    n = present.shape[0]
    raise StimulusError(
        f"{first.size} of {n * (n - 1) // 2} pairs of conditions have fewer than 2 of the "
        f"{present.shape[1]} runs in common ({some(pairs)}), and a crossvalidated distance needs "
        "two independent runs of both. Leave these conditions out, or name other groups=."
    )


def crossnobis(means: Array, present: Present, /) -> Array:
    """Crossvalidated squared distances (condition, condition) of white patterns.

    Parameters
    ----------
    means : array (condition, run, unit)
        Mean patterns of which one noise precision N has been made the identity.
    present : array of bool (condition, run)
        Which ones exist; any two conditions share two runs or more.

    Notes
    -----
    Products across runs are all products less those within runs. With S the sum over the R runs
    that two groups of conditions share, the products that d is made of are
        sum over f != g of A_f N A_g' = S N S' - sum_f A_f N A_f',
    divided by R (R - 1): no loop over folds. Where conditions are missing in some runs, those
    present in the same runs form a group, and the formula holds for every pair of groups.
    """
    xp = array_namespace(means)
    n = means.shape[0]
    patterns, group = np.unique(present, axis=0, return_inverse=True)
    order = np.argsort(group, kind="stable")
    if patterns.shape[0] > 1:
        means, present = xp.take(means, asarray_like(order, means), axis=0), present[order]
    rows = [
        slice(start + part.start, start + part.stop)
        for start, size in _extents(group[order])
        for part in tiles(size)
    ]
    square = xp.empty((n, n), dtype=xp.float64, device=device(means))
    for k, a in enumerate(rows):
        for b in rows[k:]:
            runs = np.flatnonzero(present[a.start] & present[b.start])
            one = _products(means[a, :, :], runs)
            other = one if a == b else _products(means[b, :, :], runs)
            tile = matmul(one[0], other[0].T)
            tile -= matmul(one[1], other[1].T)
            tile *= -2.0
            tile += one[2][:, None]
            tile += other[2][None, :]
            tile /= runs.size * (runs.size - 1)
            if a == b:
                tile = xp.triu(tile, k=1)
                tile = tile + tile.T
            square[a, b] = tile
            if a != b:
                square[b, a] = tile.T
    if patterns.shape[0] > 1:
        back = asarray_like(np.argsort(order), means)
        square = xp.take(xp.take(square, back, axis=0), back, axis=1)
    return square


def _extents(sorted_codes: np.ndarray[Any, Any]) -> list[tuple[int, int]]:
    """Start and size of each run of equal codes."""
    sizes = np.bincount(sorted_codes)
    return list(zip((np.cumsum(sizes) - sizes).tolist(), sizes.tolist(), strict=True))


def _products(means: Array, runs: np.ndarray[Any, Any]) -> tuple[Array, Array, Array]:
    """Sum over the runs, the runs side by side, and the part of the diagonal across runs."""
    xp = array_namespace(means)
    if runs.size < means.shape[1]:
        means = xp.take(means, asarray_like(runs, means), axis=1)
    total = xp.sum(means, axis=1)
    beside = xp.reshape(means, (means.shape[0], -1))
    return total, beside, vecdot(total, total) - vecdot(beside, beside)


def crossnobis_by_pairs(means: Array, present: Present, whitened: Whitened, /) -> Array:
    """The same with a noise precision for each pair of runs, which leaves no closed form.

    ``whitened(patterns, f, g)`` makes the noise of patterns (row, unit) white for the runs f, g.
    """
    xp = array_namespace(means)
    n, n_runs = means.shape[:2]
    total = xp.zeros((n, n), dtype=xp.float64, device=device(means))
    count = np.zeros((n, n))
    for f, g in combinations(range(n_runs), 2):
        both = (present[:, f] & present[:, g]).astype(np.float64)
        patterns = whitened(xp.concat([means[:, f, :], means[:, g, :]], axis=0), f, g)
        one, other = patterns[:n, :], patterns[n:, :]
        products = matmul(one, other.T)
        products = products + products.T
        norms = vecdot(one, other)
        weight = np.outer(both, both)
        total += (norms[:, None] + norms[None, :] - products) * asarray_like(weight, means)
        count += weight
    np.fill_diagonal(count, 1.0)
    total *= asarray_like(1.0 - np.eye(n), means)
    return total / asarray_like(count, means)
