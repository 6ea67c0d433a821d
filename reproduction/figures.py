"""Figures of the rows: seeds as pairs of points for every row, and what some rows show besides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil
from textwrap import fill
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

import reptools as rt
from reptools import plots
from reptools.plots.style import INK, SOFT, bare, blank, say

from .quantities import PRESETS, UNITS, all_shares, at_head, over_training, steered
from .rows import Row
from .runs import HEAD, Run, Runs

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from .measuring import Measured

Colours = Mapping[str, str]
# what an option of a place is called; others by their value alone
WORDS = {"to": "to {}", "by": "by {}", "other": "answer of {}"}
STEPS = {"first": "first step", "last": "last step"}
PLAIN = ("#444444", "#999999")  # of places that no feature names


def pairs(row: Row, measured: Sequence[Measured], colours: Colours) -> Figure:
    """One panel a variant: a line for each seed from the larger to the smaller place."""
    columns = 2 if len(measured) == 4 else min(3, len(measured))
    rows = ceil(len(measured) / columns)
    figure = blank(max(3.4, 2.4 * columns), 3.1 * rows)
    grid = figure.subplots(rows, columns, squeeze=False, sharey=len(measured) > 1)
    axes = grid.ravel()[: len(measured)]
    for spare in grid.ravel()[len(measured) :]:
        spare.remove()
    names = ["\n".join(fill(line, 14) for line in n.splitlines()) for n in place_names(row)]
    tints = [
        colours.get(str(place.get("feature", "")), grey)
        for place, grey in zip(row.places, PLAIN, strict=False)
    ]
    for ax, one in zip(axes, measured, strict=True):
        bare(ax)
        values = [one.larger, one.smaller][: len(row.places)]
        places = np.arange(len(values))
        if len(values) == 2:
            ax.plot(places, np.array(values), color=SOFT, lw=0.6, alpha=0.6)
        for at, seeds, tint in zip(places, values, tints, strict=True):
            ax.plot(np.full(len(seeds), at), seeds, "o", ms=4, color=tint, alpha=0.75, mew=0)
            ax.plot([at - 0.16, at + 0.16], [seeds.mean()] * 2, color=tint, lw=2.5)
        if len(values) == 1 or row.within is not None:
            ax.axhline(0, color=INK, lw=0.7)
        if row.within is not None:
            ax.axhspan(-row.within, row.within, color=SOFT, alpha=0.12, lw=0)
        ax.set_xlim(-0.5, len(values) - 0.5)
        ax.set_xticks(places, names)
        if all((seeds > 0).all() for seeds in values) and row.scale == "log_ratio":
            ax.set_yscale("log")
        say(ax, "", unit_of(row) if ax in grid[:, 0] else "", fill(one.words.replace("_", " "), 24))
    return figure


def unit_of(row: Row) -> str:
    """What the axis of a row's quantity says."""
    return UNITS[row.quantity].format(**{"of": "easy", "over": "hard", **row.options})


def place_names(row: Row) -> list[str]:
    """What the two places of a row are called: the options in which they differ."""
    keys = dict.fromkeys(key for place in row.places for key in place)
    return [
        "\n".join(
            WORDS.get(key, "{}").format(STEPS.get(str(place[key]), str(place[key])))
            for key in keys
            if key in place
        ).replace("_", " ")
        for place in row.places
    ]


def course(runs: Runs, row: Row, colours: Colours) -> tuple[Figure, str]:
    """Variance explained over training, with the steps at which features are learned."""
    group = runs[str(row.options["condition"])]
    result = _over_seeds(group, [over_training(run, HEAD) for run in group])
    accuracy = _over_seeds(group, [run.accuracy for run in group])
    figure = plots.variance_over_training(result, accuracy=accuracy, colours=colours)
    return figure, "Variance explained over training, as a share of the total at the last step."


def units(runs: Runs, row: Row, colours: Colours) -> tuple[Figure, str]:
    """Variance of each unit explained, in the run of the median seed."""
    run = _median(runs[str(row.options["condition"])])
    found = rt.unit_variance_explained(run.layer(HEAD), run.features)
    words = f"Variance of each unit explained, units in order; seed {run.seed}."
    return plots.sparseness_curves(found, colours=colours), words


def components(runs: Runs, row: Row, colours: Colours) -> tuple[Figure, str]:
    """The first two principal components, in the run of the median seed."""
    run = _median(runs[str(row.options["condition"])])
    found = rt.principal_components(run.layer(HEAD), run.features)
    words = f"The first two principal components, coloured by each feature; seed {run.seed}."
    return plots.component_scatter(found, colours=colours), words


def similarity(runs: Runs, row: Row, colours: Colours) -> tuple[Figure, str]:
    """Every network of the row against every other."""
    metric = row.variants[0]["metric"]
    layers = {run.name: run.layer(HEAD) for group in runs.values() for run in group}
    grid = rt.compare(layers, **PRESETS.get(metric, {"metric": metric}))
    figure = plots.similarity_map(grid, xlabel="network", ylabel="network")
    return figure, f"{metric}, between all networks, at the layer that feeds the readout."


def doses(runs: Runs, row: Row, colours: Colours) -> tuple[Figure, str]:
    """Share of answers that flip by the norm that is added, mean over seeds."""
    figure = blank(7.2, 3.1)
    group = runs[str(row.options["condition"])]
    names = group[0].trained_on
    axes = figure.subplots(1, len(names), squeeze=False, sharey=True)[0]
    half = max(float(steered(run)["norm_50"].sel(direction="both").max()) for run in group)
    norms = np.linspace(0, 1.5 * half, 61)
    flipped = [
        rt.interventions.steer(*at_head(run), doses=norms.tolist(), scale="norm")["flipped"]
        for run in group
    ]
    curves = _over_seeds(group, flipped).sel(direction="both")
    for ax, name in zip(axes, names, strict=True):
        bare(ax)
        for output in names:
            line = curves.sel(feature=name, output=output).transpose("run", ...)
            ax.plot(norms, line.values.T, color=colours[output], lw=0.6, alpha=0.4)
            ax.plot(norms, line.mean("run"), color=colours[output], lw=2, label=output)
        say(
            ax,
            "L2 norm added",
            "share of answers that flip" if ax is axes[0] else "",
            f"along {name}",
        )
        ax.set_ylim(-0.02, 1.02)
    axes[0].legend(title="answer of", frameon=False, fontsize=9, title_fontsize=9)
    return figure, "Steering along each feature: thin lines are seeds, thick ones their mean."


FIGURES = {
    "course": course,
    "units": units,
    "components": components,
    "similarity": similarity,
    "doses": doses,
}


def _over_seeds(group: Sequence[Run], results: Sequence[xr.DataArray]) -> xr.DataArray:
    """One result per run, stacked along ``run``."""
    stacked = xr.concat(results, dim="run", coords="minimal", compat="override", join="inner")
    return stacked.assign_coords(run=[run.seed for run in group])


def _median(group: Sequence[Run]) -> Run:
    """The run whose first feature takes the median share, so that no run is picked by eye."""
    shares = [next(iter(all_shares(run, HEAD, "last", "pooled", "mean").values())) for run in group]
    return group[int(np.argsort(shares)[len(shares) // 2])]
