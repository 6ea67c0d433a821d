"""What is measured in one run: every function gives one number for a run and some options.

The first two arguments are the run and all runs of the study that count, by condition; the rest
are options that rows of the experiment files set.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

import numpy as np
import xarray as xr

import reptools as rt
from reptools.errors import ParameterError
from reptools.metrics.variance_explained import Estimator
from reptools.provenance import to_json
from reptools.statistics.readout.standard import Scaling

from .runs import HEAD, Run, Runs

Quantity = Callable[..., float]
QUANTITIES: dict[str, Quantity] = {}
UNITS: dict[str, str] = {}
PAIRWISE: set[str] = set()  # means over pairs of networks
PARTS = "parts of "
LOWEST_ALPHA = 1e-9  # features of a network without noise ask for next to no penalty


def quantity(unit: str, *, pairwise: bool = False) -> Callable[[Quantity], Quantity]:
    """Make a function known to the rows, with what its axis says; {options} are filled in."""

    def register(function: Quantity) -> Quantity:
        QUANTITIES[function.__name__] = function
        UNITS[function.__name__] = unit
        if pairwise:
            PAIRWISE.add(function.__name__)
        return function

    return register


def find(name: str) -> Quantity:
    """A quantity by name.

    Raises
    ------
    ParameterError
        There is none of this name.
    """
    if name not in QUANTITIES:
        raise ParameterError(f"find: no quantity {name!r}. There are {', '.join(QUANTITIES)}.")
    return QUANTITIES[name]


# --- variance -----------------------------------------------------------------------------------


@quantity("variance explained (R²)")
def explained(
    run: Run,
    runs: Runs,
    *,
    feature: str,
    layer: str = HEAD,
    step: str | int = "last",
    estimator: str = "pooled",
    tokens: str = "mean",
) -> float:
    """Share of a layer's variance that a feature explains, held out.

    ``feature="parts of hard"`` stands for all parts of a feature, which are orthogonal, together.
    With ``tokens="each"``, of the activations at every token, pooled over them.
    """
    shares = all_shares(run, layer, step, estimator, tokens)
    if feature.startswith(PARTS):
        whole = feature.removeprefix(PARTS)
        return sum(
            shares[str(f)] for f, v in run.features.items() if v.attrs.get("part_of") == whole
        )
    return shares[feature]


@quantity("variance explained (R²),\n{of} less {over}")
def gap(
    run: Run,
    runs: Runs,
    *,
    of: str = "easy",
    over: str = "hard",
    layer: str = HEAD,
    step: str | int = "last",
    estimator: str = "pooled",
    tokens: str = "mean",
) -> float:
    """How much more a layer spends on one feature than on another."""
    shares = all_shares(run, layer, step, estimator, tokens)
    return shares[of] - shares[over]


@quantity("share of the easy features\nin what is explained")
def preference(
    run: Run,
    runs: Runs,
    *,
    layer: str = HEAD,
    step: str | int = "last",
    estimator: str = "pooled",
    tokens: str = "mean",
) -> float:
    """Mean share of the easy features trained on, over its sum with that of the hard ones.

    Features ``easy``, ``easy_2`` ... are easy ones. 0.5 is no preference.
    """
    shares = all_shares(run, layer, step, estimator, tokens)
    easy, hard = (
        float(np.mean([shares[name] for name in run.trained_on if name.startswith(kind)]))
        for kind in ("easy", "hard")
    )
    return easy / (easy + hard)


@quantity("variance explained\n(over the last step's total)")
def over_final(run: Run, runs: Runs, *, feature: str, step: str | int, layer: str = HEAD) -> float:
    """Variance explained at a step, as a share of the total at the last one."""
    course = over_training(run, layer).sel(feature=feature)
    return float(course.isel(step=run.at(step)))


@quantity("squared difference of means\n/ variance")
def separation(
    run: Run, runs: Runs, *, feature: str, layer: str = HEAD, step: str | int = "last"
) -> float:
    """Squared distance of a binary feature's two means over a layer's total variance.

    Free of p(1 - p), which R2 of a feature of prevalence p contains.
    """
    x, values = run.layer(layer, step), run.features[feature]
    ones, zeros = (x.isel(stimulus=np.flatnonzero(values.values == v)) for v in (1, 0))
    gap = ones.mean("stimulus") - zeros.mean("stimulus")
    total = x.var("stimulus").sum("unit")
    return float(((gap**2).sum("unit") / total).mean())


@quantity("fall of R² with each\nplace in the output")
def falls_with_rank(
    run: Run,
    runs: Runs,
    *,
    layer: str,
    step: str | int = "last",
    estimator: str = "pooled",
    tokens: str = "mean",
) -> float:
    """How fast variance explained falls with the place of a feature among the outputs."""
    shares = all_shares(run, layer, step, estimator, tokens)
    rank = run.tree["outputs"].dataset["rank"].isel(step=-1)
    places = rank.values.astype(float)
    values = np.array([shares[str(name)] for name in rank["feature"].values])
    return -float(np.polyfit(places, values, 1)[0])


def all_shares(
    run: Run, layer: str, step: str | int, estimator: str, tokens: str
) -> Mapping[str, float]:
    """Of all features at once: they share the pass over the activations."""

    def compute() -> Mapping[str, float]:
        x = run.layer(layer, step, tokens=tokens)
        chosen = cast(Estimator, estimator)  # text of a row, checked by the metric
        result = rt.variance_explained(x, run.features, estimator=chosen, cv="split")
        if "token" in result.dims and estimator == "pooled":
            result = result["explained"].sum("token") / result["total"].sum("token")
        elif "token" in result.dims:
            result = result.mean("token")
        return {str(name): float(result.sel(feature=name)) for name in result["feature"].values}

    return run.once(("shares", layer, step, estimator, tokens), compute)


def over_training(run: Run, layer: str) -> xr.DataArray:
    """Variance explained (step, feature), as a share of the total at the last step."""
    return run.once(
        ("course", layer),
        lambda: rt.variance_explained(
            run.layer(layer, "all"), run.features, denominator="final", cv="split"
        ),
    )


# --- units and components -----------------------------------------------------------------------


@quantity("Gini index of R² over live units")
def sparseness(
    run: Run, runs: Runs, *, feature: str, layer: str = HEAD, step: str | int = "last"
) -> float:
    """How few units carry what is explained of a layer."""
    return float(rt.sparseness(run.layer(layer, step), run.features[feature]))


@quantity("R² of the component's scores")
def component_share(
    run: Run, runs: Runs, *, feature: str, component: int = 1, layer: str = HEAD
) -> float:
    """How much of a principal component a feature accounts for."""
    found = rt.principal_components(run.layer(layer), run.features)
    return float(found["share"].sel(feature=feature, component=component))


@quantity("components that must be kept")
def components_needed(run: Run, runs: Runs, *, feature: str) -> float:
    """The least number of top principal components from which the head still answers."""
    return float(truncated(run)["k_kept"].sel(output=feature))


# --- what the network and others make of it -----------------------------------------------------


@quantity("L2 norm that flips half of the answers")
def norm_to_flip(run: Run, runs: Runs, *, feature: str) -> float:
    """The dose of a feature's direction at which half of its answers flip."""
    return float(steered(run)["norm_50"].sel(feature=feature, direction="both"))


@quantity("share of the other\noutput's answers that flip")
def others_flipped(run: Run, runs: Runs, *, feature: str, other: str) -> float:
    """What the dose that flips half of a feature's answers does to another output."""
    at_half = steered(run)["flipped_at_50"].sel(feature=feature, direction="both")
    return float(at_half.sel(output=other))


@quantity("balanced accuracy of a probe,\nless chance")
def read_out(run: Run, runs: Runs, *, feature: str, layer: str = HEAD) -> float:
    """How much better than chance a linear probe reads a binary feature, held out."""
    return float(rt.probe(run.layer(layer), run.features[feature], cv="split")) - 0.5


@quantity("share of conflicts\nanswered as it says")
def follows(
    run: Run,
    runs: Runs,
    *,
    feature: str,
    layer: str = HEAD,
    scaling: Scaling = "none",
    C: float = 1.0,
) -> float:
    """How often a new classifier goes by a feature where two features disagree."""
    found = rt.interventions.downstream(run.layer(layer), run.features, scaling=scaling, C=C)
    return float(found["follows"].sel(feature=feature, C=C))


def steered(run: Run) -> xr.Dataset:
    """What steering along each feature flips."""
    return run.once("steered", lambda: rt.interventions.steer(*at_head(run)))


def truncated(run: Run) -> xr.Dataset:
    """What the head answers from the leading components."""
    return run.once("truncated", lambda: rt.interventions.truncate(*at_head(run)))


def at_head(run: Run) -> tuple[xr.DataArray, xr.Dataset, rt.interventions.Readout]:
    """What every intervention takes: layer, features and the checked head."""
    head = rt.interventions.readout(run.tree, step=run.last_step)
    return run.layer(HEAD), run.features[run.trained_on], head


# --- other networks -----------------------------------------------------------------------------
# Always of other seeds: networks of one seed begin with the same weights and see the same batches.


@quantity("similarity", pairwise=True)
def likeness(
    run: Run, runs: Runs, *, to: str, metric: str, layer: str = HEAD, **options: Any
) -> float:
    """Mean score against the runs of a condition, of other seeds."""
    chosen = {**PRESETS.get(metric, {"metric": metric}), **options}

    def scores(others: Sequence[Run]) -> Iterable[float]:
        them = {other.name: other.layer(layer) for other in others}
        return rt.compare([run.layer(layer)], them, **chosen).values.ravel()

    return _mean_over(run, runs[to], ("likeness", layer, to_json(chosen)), scores)


PRESETS: dict[str, dict[str, Any]] = {
    "RSA, Spearman of Euclidean RDMs": {"metric": "rsa", "rdm": "euclidean"},
    "CKA, debiased": {"metric": "cka"},
    "CKA, biased": {"metric": "cka", "estimator": "biased"},
}


@quantity("variance of units predicted (R²)", pairwise=True)
def predicted(run: Run, runs: Runs, *, by: str, layer: str = HEAD, method: str = "ridge") -> float:
    """How well a layer's units are predicted by those of a condition's runs, of other seeds."""

    def scores(others: Sequence[Run]) -> Iterable[float]:
        options: Any = {"method": method, "lowest_alpha": LOWEST_ALPHA}
        units = run.layer(layer)
        return [float(rt.predictivity(o.layer(layer), units, **options).mean()) for o in others]

    return _mean_over(run, runs[by], ("predicted", layer, method), scores)


def _mean_over(
    run: Run,
    group: Sequence[Run],
    what: tuple[str, ...],
    scores: Callable[[Sequence[Run]], Iterable[float]],
) -> float:
    """Mean of a run's scores with others; every pair is computed once."""
    known: dict[str, float] = run.once(what, dict)
    others = [other for other in group if other.seed != run.seed]
    if missing := [other for other in others if other.name not in known]:
        names = (other.name for other in missing)
        known.update(zip(names, map(float, scores(missing)), strict=True))
    return float(np.mean([known[other.name] for other in others]))
