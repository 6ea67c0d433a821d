"""The standard figures of one file: its last layer over training, in components, and by unit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Literal

import numpy as np

from reptools.metrics.principal_components import principal_components
from reptools.metrics.unit_variance_explained import unit_variance_explained
from reptools.metrics.variance_explained import variance_explained
from reptools.plots import (
    component_scatter,
    feature_colours,
    sparseness_curves,
    variance_over_training,
)
from reptools.reporting.log import Log
from reptools.reporting.page import Page
from reptools.reporting.systems import System, at_last_step, by_feature
from reptools.reporting.tables import joined
from reptools.statistics.varying import varying


def portraits(systems: Sequence[System], log: Log) -> None:
    """Figures of every file that has features, a feature in one colour throughout."""
    names = [str(name) for s in systems if s.features is not None for name in s.features]
    colours = feature_colours(names)
    for system in systems:
        log.page.section(system.name)
        if system.features is None:
            log.page.note(
                "The file has no features, so there is nothing to explain its variance by, and "
                "it is missing from the tables that need them."
            )
            continue
        if outer := system.outer_dims:
            log.page.note(
                f"Layer {system.last_layer} has {joined(outer)}, and a figure shows one position. "
                f"Choose it with --at {outer[0]}=first (in Python at={{{outer[0]!r}: 'first'}})."
            )
            continue
        last = at_last_step(system.layers[system.last_layer]).transpose("stimulus", "unit")
        if varying(last.values).dead.size == last.sizes["unit"]:
            log.page.note(
                f"No unit of layer {system.last_layer} varies at the last step, so there is "
                "nothing to draw. Choose another last layer with --layers (in Python layers=)."
            )
            continue
        for draw in (_time_course, _components, _sparseness):
            what = f"{draw.__name__.strip('_').replace('_', ' ')} of {system.name}"
            log.attempt(what, partial(draw, log.page, system, colours))


def _time_course(page: Page, system: System, colours: Mapping[str, str]) -> None:
    if len(system.steps) < 2:
        return
    layer = system.layers[system.last_layer]
    accuracy = system.per_step("accuracy")
    portions: tuple[tuple[Literal["own", "final"], str], ...] = (
        ("own", "of the variance at the same step"),
        ("final", "of the variance at the last step, so that growth shows"),
    )
    for denominator, words in portions:
        result = variance_explained(layer, system.known_features, denominator=denominator)
        last = ", ".join(f"{k} {v:.2f}" for k, v in by_feature(at_last_step(result)).items())
        page.figure(
            variance_over_training(
                result,
                accuracy=accuracy,
                colours=colours,
                title=f"{system.name}, {system.last_layer}",
            ),
            f"How much of layer {system.last_layer} each feature explains over training, as a "
            f"share {words} ({result.attrs['cv']}).",
            alt=f"Variance explained over training steps; at the last step: {last}.",
        )


def _components(page: Page, system: System, colours: Mapping[str, str]) -> None:
    x = at_last_step(system.layers[system.last_layer])
    parts = principal_components(x, system.known_features)
    shares = "; ".join(
        f"{name}: {', '.join(f'{v:.2f}' for v in parts.share.sel(feature=name).values[:3])}"
        for name in parts["feature"].values
    )
    page.figure(
        component_scatter(parts, colours=colours, title=system.place),
        f"The {x.sizes['stimulus']} stimuli on the first two principal components, coloured by "
        "each feature; below, how much of each component's variance the feature accounts for.",
        alt=f"Share of the first components: {shares}.",
    )


def _sparseness(page: Page, system: System, colours: Mapping[str, str]) -> None:
    x = at_last_step(system.layers[system.last_layer])
    units = unit_variance_explained(x, system.known_features)
    live = int(np.isfinite(units.values).any(axis=units.get_axis_num("feature")).sum())
    page.figure(
        sparseness_curves(units, colours=colours, title=system.place),
        f"Variance explained in single units ({live} of {x.sizes['unit']} are live; "
        f"{units.attrs['cv']}), in descending order. A curve that falls fast is a sparse code.",
    )
