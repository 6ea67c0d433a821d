"""What the files of a report hold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from reptools import schema
from reptools.reporting.page import Page
from reptools.reporting.systems import System, at_last_step, by_feature
from reptools.statistics.varying import varying


def overview(page: Page, systems: Sequence[System]) -> None:
    """Tables of files, features and accuracies, and a warning for what was not learned."""
    page.section("Overview")
    page.table([_facts(system) for system in systems], "The files of this report.")
    if features := _features(systems):
        page.table(features, "Features of the stimuli.")
    accuracies = {system.name: system.per_step("accuracy") for system in systems}
    answered = [
        {"system": name, **by_feature(at_last_step(value))}
        for name, value in accuracies.items()
        if value is not None
    ]
    if answered:
        when = {
            f"step {s.at[schema.STEP]}" if schema.STEP in s.at else "last step" for s in systems
        }
        page.table(
            answered,
            f"Accuracy of answered features, {' or '.join(sorted(when))}; n/a where not answered.",
        )
    for system in systems:
        if system.notes:
            page.note(f"{system.name}: {'; '.join(system.notes)}.")
    for system in systems:
        if missed := _not_learned(system):
            page.note(
                f"{system.name} did not learn {', '.join(missed)}: what is said of it below is not "
                "about a feature that the system computes.",
                tone="warning",
            )


def _facts(system: System) -> dict[str, Any]:
    steps = system.steps
    picked = f"only {system.at[schema.STEP]}" if schema.STEP in system.at else "none"
    complete = system.tree.attrs.get(schema.COMPLETE)
    return {
        "system": system.name,
        "file": system.path.name,
        "layers": ", ".join(system.layers),
        "units": ", ".join(_width(layer) for layer in system.final_layers.values()),
        "stimuli": system.layers[system.last_layer].sizes[schema.STIMULUS],
        "steps": f"{len(steps)}, to {steps[-1]}" if steps else picked,
        "complete": None if complete is None else bool(complete),
    }


def _width(layer: Any) -> str:
    """Number of units, and how many have no variance over all that the layer was shown."""
    units = layer.sizes[schema.UNIT]
    dead = varying(layer.transpose(..., schema.UNIT).values).dead.size
    return f"{units} ({dead} dead)" if dead else str(units)


def _features(systems: Sequence[System]) -> list[dict[str, Any]]:
    found = {
        name: feature
        for system in systems
        if system.features is not None
        for name, feature in system.features.items()
    }
    known = (schema.FEATURE_KIND, schema.COMPLEXITY, schema.CHANCE)
    return [
        {"feature": name} | {key: _short(feature.attrs.get(key)) for key in known}
        for name, feature in found.items()
    ]


def _short(value: Any) -> Any:
    """A whole number without decimals: a complexity of 4.0 is 4."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _not_learned(system: System) -> list[str]:
    learned = system.per_step("learned")
    values = {} if learned is None else by_feature(at_last_step(learned))
    return [name for name, value in values.items() if not value]
