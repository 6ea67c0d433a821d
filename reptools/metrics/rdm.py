"""Dissimilarity matrices of the patterns of all pairs of stimuli."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Literal, TypeAlias

import numpy as np
import xarray as xr

from reptools.arrays import Array, array_namespace, columns_of
from reptools.engine.common import Prepare
from reptools.engine.context import Context, context_of
from reptools.engine.declaring import metric
from reptools.engine.inputs import Recordings
from reptools.engine.operation import Score, Wiring
from reptools.entering.labels import no_gaps
from reptools.errors import ParameterError
from reptools.statistics.gram import centred
from reptools.statistics.rdms.crossnobis import Scope, crossvalidated
from reptools.statistics.rdms.distances import square
from reptools.statistics.rdms.noise import Noise, without_noise
from reptools.statistics.rdms.trials import (
    Trials,
    averaged,
    between_runs,
    varying,
    within_cells,
)

Method: TypeAlias = Literal[
    "correlation", "euclidean", "sqeuclidean", "cosine", "mahalanobis", "crossnobis"
]
DEFAULT_NOISE: Noise = "shrinkage_diag"


def distances(
    x: Array,
    /,
    *,
    context: Context,
    method: Method,
    condition: str | None,
    groups: str | None,
    noise: Noise,
    noise_scope: Scope | None,
) -> Score:
    """The square matrix, and what was estimated on the way."""
    if method == "mahalanobis" or method == "crossnobis":
        trials, runs = _trials(x, condition, groups, context)
        facts = {"squared": 1, "runs": runs or "none", "n_runs": trials.runs.size}
        if method == "crossnobis":
            _refuse_without_runs(runs)
            values, more = crossvalidated(trials, noise, noise_scope)
            facts |= more
        else:
            values = square(_white(trials, noise), "sqeuclidean")
            facts["noise"] = noise
        names = trials.conditions
    else:
        facts = {"squared": int(method == "sqeuclidean")}
        patterns, names = x, context.stimulus
        if condition is not None or x.ndim == 3:
            trials, _ = _trials(x, condition, None, context)
            names = trials.conditions
            patterns = averaged(trials.values, trials.condition, names.size)
        values = square(patterns, method, names, wide=True)
    if condition is not None:
        facts["n_conditions"] = names.size
    return Score(values, attrs={"distance": method, "divided_by_p": 0, **facts})


def _white(trials: Trials, noise: Noise) -> Array:
    """Mean patterns in units of the noise within condition and run, or else within condition."""
    patterns = centred(averaged(trials.values, trials.condition, trials.conditions.size))
    if noise == "identity":
        return patterns
    live = varying(trials.values)
    trials = trials.of_units(live)
    residuals = within_cells(trials)
    if not residuals.degrees:
        residuals = between_runs(trials)
    return without_noise(columns_of(patterns, live), residuals, noise)


def _trials(
    x: Array, condition: str | None, groups: str | None, context: Context
) -> tuple[Trials, str | None]:
    """Rows of ``x`` with their conditions and runs, and what names the runs."""
    xp = array_namespace(x)
    repeats = x.shape[0] if x.ndim == 3 else 1
    n = x.shape[-2]
    conditions, codes = context.stimulus, np.arange(n)
    if condition is not None:
        conditions, codes = _coded(context.coordinate(condition, "condition"), condition)
    name: str | None = groups
    if groups is None and x.ndim == 3:
        name, runs, run = "repetition", np.arange(repeats), np.repeat(np.arange(repeats), n)
    else:
        if groups is None:
            found = (name for name in ("groups", "run") if context.coordinates(name) is not None)
            name = next(found, None)
        values = np.zeros(n, dtype=np.intp) if name is None else context.coordinate(name, "groups")
        runs, run = _coded(values, name or "groups")
        run = np.tile(run, repeats)
    rows = xp.reshape(x, (repeats * n, x.shape[-1]))
    return Trials(rows, np.tile(codes, repeats), run, conditions, runs), name


def _coded(values: np.ndarray[Any, Any], name: str) -> tuple[np.ndarray[Any, Any], Any]:
    names, codes = np.unique(no_gaps(values, name), return_inverse=True)
    return names, codes


def _refuse_without_runs(runs: str | None) -> None:
    if runs is None:
        raise ParameterError(
            "crossnobis multiplies independent runs, and x has no coordinate 'groups' or 'run' "
            "and no dimension 'repetition'. Name the coordinate of its runs by groups=."
        )


def _refuse_unused(method: Method, **options: str | None) -> None:
    """Refuse options of other methods, and what says where to estimate no noise."""
    used = {"mahalanobis": ("groups", "noise"), "crossnobis": tuple(options)}.get(method, ())
    for name, value in options.items():
        if value is not None and name not in used:
            raise ParameterError(
                f"{name}={value!r} has no meaning for the {method} distance. "
                "Leave it out, or pass method='crossnobis'."
            )
    # crossnobis multiplies runs whatever the noise
    idle = ("noise_scope",) if method == "crossnobis" else ("groups",)
    for name in idle if options["noise"] == "identity" else ():
        if options[name] is not None:
            raise ParameterError(
                f"{name}={options[name]!r} says where the noise of the {method} distance is "
                "estimated, and noise='identity' divides by none. Leave one of them out."
            )


@metric(better="neither", backends=("numpy", "torch"))
def rdm(
    x: Recordings,
    /,
    *,
    method: Method = "correlation",
    condition: str | None = None,
    groups: str | None = None,
    noise: Noise | None = None,
    noise_scope: Scope | None = None,
    prepare: Prepare = None,
) -> Wiring[xr.DataArray]:
    """Dissimilarity of the patterns of all pairs of stimuli (an RDM).

    Parameters
    ----------
    x : DataArray (..., stimulus, unit), DataTree node or array (stimulus, unit)
        Activations. Patterns along a dimension ``repetition`` are repeats of the same stimuli:
        they are averaged, or serve as independent runs. Other outer dimensions (step, time) stay.
    method : str, default "correlation"
        "correlation": 1 less the Pearson correlation over units, which ignores the mean and the
        scale of each pattern. "cosine": 1 less the cosine. "euclidean" and "sqeuclidean": the
        Euclidean distance, in the units of ``x``, and its square. "mahalanobis": the squared
        distance in units of the noise. "crossnobis": the same, crossvalidated over runs, which
        is unbiased: its mean is 0 where two patterns differ by noise only, so it may be negative;
        it is neither clipped nor are roots taken. None is divided by the number of units.
    condition : str, optional
        A coordinate over stimuli whose values become the stimuli of the RDM, sorted. Trials of
        a condition are averaged, for "crossnobis" within each run. By default every stimulus is
        a condition.
    groups : str, optional
        The coordinate of independent runs (sessions), for "mahalanobis" and "crossnobis". By
        default ``repetition`` where it is a dimension of ``x``, else the coordinate ``groups``,
        else ``run``.
    noise : {"identity", "diag", "full", "shrinkage_eye", "shrinkage_diag"}, optional
        Covariance of the noise between units, for "mahalanobis" and "crossnobis", estimated
        from residuals: variances only; the sample covariance; the sample covariance shrunk
        towards a multiple of the identity (Ledoit & Wolf 2004) or towards its diagonal (Schaefer
        & Strimmer 2005). "identity" divides by no noise. The default is "shrinkage_diag", which
        has an inverse with fewer trials than units and keeps the units' own variances.
    noise_scope : {"pooled", "run", "other_runs"}, optional
        Residuals that the noise of "crossnobis" is estimated from. "pooled": of all trials
        within condition and run, one precision for all. "run": of the two runs of a product, the
        inverse of the mean of their covariances, as in rsatoolbox. "other_runs": of all runs but
        the two of a product, within condition and without effects of runs, which needs 4 runs:
        residuals over the same runs would bias the distance. The default is "pooled" where a
        condition is repeated within a run, and else "other_runs".

    Returns
    -------
    DataArray (..., stimulus, stimulus_)
        Symmetric, zero on the diagonal, float64. Its attributes say which ``distance`` it is,
        with 0 or 1 whether it is ``squared`` and ``divided_by_p``, and for the last two methods
        which ``noise``, ``noise_scope`` and ``runs`` (a coordinate or dimension) were used.

    Raises
    ------
    StimulusError
        A stimulus label is repeated, there are fewer than 2 stimuli, or "crossnobis" finds two
        conditions that have fewer than two runs in common, or no repeats to estimate noise from.
    DataError
        A value is not finite; a pattern has no variance over units (correlation) or is zero
        (cosine): the stimuli are counted and named; the noise covariance has no inverse; squared
        distances are outside the range of float64.
    ParameterError
        An option is unknown, has a value that is not listed above or belongs to another method;
        there is no such coordinate, or none that names runs.

    Notes
    -----
    With a_fi the mean pattern of condition i over its trials in run f, and N the inverse of the
    noise covariance, the crossnobis distance of i and j is the mean of
    (a_fi - a_fj)' N (a_gi - a_gj) over all pairs of runs f != g in which both occur. Each pair of
    runs has the same weight, also where conditions have unequal numbers of trials. With one N and
    R runs, S the sum over runs, the sum of products is S N S' - sum_f A_f N A_f', divided by
    R (R - 1); no loop over folds is needed.

    Computed in float64, float32 activations too: rounding of float32 products would order
    distances that are equal, and rank comparators would count that order.

    References
    ----------
    Kriegeskorte, Mur & Bandettini (2008), Representational similarity analysis - connecting
    the branches of systems neuroscience, Frontiers in Systems Neuroscience 2.
    Walther, Nili, Ejaz, Alink, Kriegeskorte & Diedrichsen (2016), Reliability of dissimilarity
    measures for multi-voxel pattern analysis, NeuroImage 137, eq. 5 (crossnobis).

    Examples
    --------
    >>> import numpy as np
    >>> import xarray as xr
    >>> import reptools as rt
    >>> x = np.array([[0.0, 0.0], [3.0, 4.0], [0.0, 4.0]])
    >>> rt.rdm(x, method="euclidean").values
    array([[0., 5., 4.],
           [5., 0., 3.],
           [4., 3., 0.]])

    Two runs of three conditions, of which each pattern is shown twice in each run:

    >>> rng = np.random.default_rng(0)
    >>> trials = xr.DataArray(
    ...     np.tile(x, (4, 1)) + 0.01 * rng.normal(size=(12, 2)),
    ...     dims=("stimulus", "unit"),
    ...     coords={
    ...         "condition": ("stimulus", list("abc") * 4),
    ...         "run": ("stimulus", [1] * 6 + [2] * 6),
    ...     },
    ... )
    >>> distances = rt.rdm(trials, method="crossnobis", condition="condition", noise="identity")
    >>> distances.stimulus.values.tolist(), distances.sel(stimulus="a").round(0).values.tolist()
    (['a', 'b', 'c'], [0.0, 25.0, 16.0])
    """
    _refuse_unused(method, groups=groups, noise=noise, noise_scope=noise_scope)
    kernel = partial(
        distances,
        method=method,
        condition=condition,
        groups=groups,
        noise=noise or DEFAULT_NOISE,
        noise_scope=noise_scope,
    )

    def conditions(inputs: Mapping[str, Any]) -> np.ndarray[Any, Any]:
        assert condition is not None
        of_trials = context_of(inputs["x"], {}).coordinate(condition, "condition")
        return _coded(of_trials, condition)[0]

    return Wiring(
        kernel,
        dims=("stimulus", "stimulus_"),
        coords={} if condition is None else {"stimulus": conditions, "stimulus_": conditions},
        estimator="crossvalidated" if method == "crossnobis" else None,
    )
