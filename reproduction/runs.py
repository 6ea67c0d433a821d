"""The networks of an experiment, opened; and which seeds count."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import xarray as xr

import reptools as rt

DECODABLE = 0.95  # balanced accuracy of a linear probe from which a feature is there to be measured
HEAD = "head"  # stands for the layer that feeds the linear readout
Records = list[dict[str, Any]]
T = TypeVar("T")


@dataclass(frozen=True)
class Run:
    """One trained network."""

    condition: str
    seed: int
    tree: xr.DataTree
    threshold: float = 0.99
    known: dict[Any, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def name(self) -> str:
        """Condition and seed."""
        return f"{self.condition} {self.seed}"

    @property
    def last_step(self) -> int:
        """The last step, as the file counts."""
        return int(self.accuracy["step"][-1])

    @property
    def features(self) -> xr.Dataset:
        """All features of the stimuli, trained on or not."""
        return self.tree["features"].to_dataset()

    @property
    def accuracy(self) -> xr.DataArray:
        """Balanced test accuracy (step, feature) of the features trained on."""
        return self.tree["outputs"].dataset["accuracy"]

    @property
    def trained_on(self) -> list[str]:
        """The features that it answers."""
        return [str(name) for name in self.accuracy["feature"].values]

    @cached_property
    def layers(self) -> dict[str, xr.DataArray]:
        """Activations (step, ..., stimulus, unit) of every layer that was written."""
        children = self.tree["layers"].children
        return {name: node.dataset["activation"] for name, node in children.items()}

    def layer(self, name: str, step: str | int = "last", *, tokens: str = "mean") -> xr.DataArray:
        """A layer at one step; "head" is the last one, which feeds the readout.

        Of layers with tokens their mean over tokens, or ``tokens="each"``.
        ``"computed[entry=64]"`` stands for the units of which a coordinate has this value.
        """
        name, _, chosen = name.rstrip("]").partition("[")
        found = list(self.layers.values())[-1] if name == HEAD else self.layers[name]
        if chosen:
            coordinate, _, value = chosen.partition("=")
            found = found.isel(unit=np.flatnonzero(found[coordinate].values.astype(str) == value))
        found = found if step == "all" else found.isel(step=self.at(step))
        return found.mean("token") if "token" in found.dims and tokens == "mean" else found

    def once(self, key: Any, compute: Callable[[], T]) -> T:
        """What several rows ask of a run is computed once."""
        if key not in self.known:
            self.known[key] = compute()
        found: T = self.known[key]
        return found

    def at(self, step: str | int) -> int:
        """Position of a step: "first", "last", "learned FEATURE", or a position."""
        if isinstance(step, int):
            return step
        if step in ("first", "last"):
            return 0 if step == "first" else self.accuracy.sizes["step"] - 1
        return self.learned(step.removeprefix("learned "))

    def learned(self, feature: str) -> int:
        """Position of the first step from which on the feature stays learned."""
        there = self.accuracy.sel(feature=feature).values >= self.threshold
        return 0 if there.all() else len(there) - int(np.argmin(there[::-1]))


Runs = Mapping[str, list[Run]]


def open_runs(paths: Sequence[Path], threshold: float) -> dict[str, list[Run]]:
    """Runs by condition, in each the seeds in order; files are named ``<condition>-seed<seed>``."""
    runs: dict[str, list[Run]] = {}
    for path in paths:
        condition, _, seed = path.stem.rpartition("-seed")
        run = Run(condition, int(seed), rt.open(path), threshold)
        runs.setdefault(condition, []).append(run)
    return runs


def account(run: Run, layer: str, names: Iterable[str], *, decodable: bool = True) -> Records:
    """Whether the features are learned, and linearly decodable at a layer, at the last step."""
    records = []
    x = run.layer(layer)
    for name in names:
        accuracy = float(run.accuracy.isel(step=-1).sel(feature=name))
        probe = float(rt.probe(x, run.features[name], cv="split"))
        counts = accuracy >= run.threshold and (probe >= DECODABLE or not decodable)
        records.append(
            {
                "condition": run.condition,
                "seed": run.seed,
                "feature": name,
                "test accuracy": accuracy,
                "decodable": probe,
                "counts": counts,
            }
        )
    return records


def counting(runs: Runs, records: Records) -> dict[str, list[Run]]:
    """The runs of the seeds of which every record counts."""
    failed = {record["seed"] for record in records if not record["counts"]}
    return {name: [run for run in group if run.seed not in failed] for name, group in runs.items()}


def without(runs: Runs, seed: int) -> dict[str, list[Run]]:
    """The runs of all other seeds."""
    return {name: [run for run in group if run.seed != seed] for name, group in runs.items()}
