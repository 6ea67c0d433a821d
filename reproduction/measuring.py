"""From runs to the numbers of a row: who counts, the quantity at both places, the verdict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from .quantities import PAIRWISE, find
from .rows import Row
from .runs import HEAD, Records, Run, Runs, account, counting, without
from .verdicts import FEWEST, Effect, Values, effect, pseudo_values


@dataclass(frozen=True)
class Measured:
    """One variant of a row: both quantities of every seed that counts, and the verdict.

    `runs` are those that count; ``effect`` is None where they are too few.
    """

    words: str
    options: Mapping[str, Any]
    runs: Runs
    seeds: tuple[int, ...]
    larger: Values
    smaller: Values
    effect: Effect | None

    @property
    def verdict(self) -> str:
        """Shown, reversed, not decided, or that too few seeds count."""
        return "does not count" if self.effect is None else self.effect.verdict


@dataclass(frozen=True)
class Outcome:
    """A row with all that was found."""

    row: Row
    measured: tuple[Measured, ...]
    accounts: Records

    @property
    def runs(self) -> dict[str, list[Run]]:
        """All runs that count for a variant, by condition."""
        return {name: group for one in self.measured for name, group in one.runs.items()}


def measure(row: Row, runs: Runs) -> Outcome:
    """Measure a row on the runs of its study."""
    accounts = {
        name: [record for run in runs[name] for record in _account(row, run)]
        for name in conditions_of(row)
    }
    measured = []
    for variant in row.variants:
        used = conditions_of(row, variant)
        records = list(chain.from_iterable(accounts[name] for name in used))
        kept = counting({name: runs[name] for name in used}, records)
        measured.append(_variant(row, variant, kept))
    return Outcome(row, tuple(measured), list(chain.from_iterable(accounts.values())))


def _account(row: Row, run: Run) -> Records:
    """Who counts is decided once for rows that ask for the same."""
    wanted, layer = _wanted(row, run), str(row.options.get("layer", HEAD))
    key = ("account", layer, row.decodable, *wanted)
    return run.once(key, lambda: account(run, layer, wanted, decodable=row.decodable))


def conditions_of(row: Row, variant: Mapping[str, Any] | None = None) -> list[str]:
    """Every condition that a row looks at, or one variant of it."""
    variants = row.variants if variant is None else [variant]
    tables = [*variants, *row.places]
    named = [table[key] for table in tables for key in ("condition", "to", "by") if key in table]
    return list(dict.fromkeys(str(name) for name in named))


def _wanted(row: Row, run: Run) -> list[str]:
    """Features that have to be learned and decodable in a run."""
    named = [str(place["feature"]) for place in row.places if "feature" in place]
    wanted = row.features or tuple(dict.fromkeys(named)) or tuple(run.trained_on)
    return [name for name in wanted if name in run.trained_on]


def _variant(row: Row, variant: dict[str, Any], runs: Runs) -> Measured:
    seeds, larger, smaller = _sides(row, variant, runs)
    found = None
    if len(seeds) >= FEWEST:
        judged = (larger, smaller)
        if row.quantity in PAIRWISE:
            judged = _contributions(row, variant, runs)
        found = effect(*judged, scale=row.scale, within=row.within)
    return Measured(row.words(variant), variant, runs, seeds, larger, smaller, found)


def _sides(row: Row, variant: dict[str, Any], runs: Runs) -> tuple[tuple[int, ...], Values, Values]:
    """The seeds, and the quantity of each at the larger and at the smaller place."""
    sides = [_taken(row, {**variant, **place}, runs) for place in row.places]
    seeds = tuple(sorted(set.intersection(*(set(side) for side in sides))))
    larger, smaller = (
        np.array([side[seed] for seed in seeds]) for side in (*sides, dict.fromkeys(seeds, 0.0))[:2]
    )
    return seeds, larger, smaller


def _contributions(row: Row, variant: dict[str, Any], runs: Runs) -> tuple[Values, Values]:
    """What each seed contributes to both means over pairs of networks."""
    seeds, *whole = _sides(row, variant, runs)
    left_out = [_sides(row, variant, without(runs, seed))[1:] for seed in seeds]
    larger, smaller = (
        pseudo_values(float(side.mean()), np.array([rest[i].mean() for rest in left_out]))
        for i, side in enumerate(whole)
    )
    return larger, smaller


def _taken(row: Row, options: dict[str, Any], runs: Runs) -> dict[int, float]:
    """The quantity of every seed of a condition."""
    chosen = dict(options)
    group = runs[str(chosen.pop("condition"))]
    compute = find(row.quantity)
    return {run.seed: compute(run, runs, **chosen) for run in group}
