"""From runs to the numbers of a row: who counts, the quantity at both places, the verdict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .quantities import find
from .rows import Row
from .runs import HEAD, Records, Run, Runs, account, counting
from .verdicts import FEWEST, Effect, Values, effect


@dataclass(frozen=True)
class Measured:
    """One variant of a row: both quantities of every seed that counts, and the verdict.

    ``effect`` is None where too few seeds count.
    """

    words: str
    options: Mapping[str, Any]
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
    runs: Runs


def measure(row: Row, runs: Runs) -> Outcome:
    """Measure a row on the runs of its study."""
    used = {str(c): runs[str(c)] for c in conditions_of(row)}
    accounts = [record for group in used.values() for run in group for record in _account(row, run)]
    kept = counting(used, accounts)
    return Outcome(row, tuple(_variant(row, v, kept) for v in row.variants), accounts, kept)


def _account(row: Row, run: Run) -> Records:
    """Who counts is decided once for rows that ask for the same."""
    wanted, layer = _wanted(row, run), str(row.options.get("layer", HEAD))
    key = ("account", layer, row.decodable, *wanted)
    return run.once(key, lambda: account(run, layer, wanted, decodable=row.decodable))


def conditions_of(row: Row) -> list[str]:
    """Every condition that a row looks at."""
    tables = [row.options, *row.places]
    named = [table[key] for table in tables for key in ("condition", "to", "by") if key in table]
    return list(dict.fromkeys(str(name) for name in named))


def _wanted(row: Row, run: Run) -> list[str]:
    """Features that have to be learned and decodable in a run."""
    named = [str(place["feature"]) for place in row.places if "feature" in place]
    wanted = row.features or tuple(dict.fromkeys(named)) or tuple(run.trained_on)
    return [name for name in wanted if name in run.trained_on]


def _variant(row: Row, variant: dict[str, Any], runs: Runs) -> Measured:
    sides = [_taken(row, {**variant, **place}, runs) for place in row.places]
    seeds = tuple(sorted(set.intersection(*(set(side) for side in sides))))
    larger, smaller = (
        np.array([side[seed] for seed in seeds]) for side in (*sides, dict.fromkeys(seeds, 0.0))[:2]
    )
    found = None
    if len(seeds) >= FEWEST:
        found = effect(larger, smaller, scale=row.scale, within=row.within)
    return Measured(row.words(variant), variant, seeds, larger, smaller, found)


def _taken(row: Row, options: dict[str, Any], runs: Runs) -> dict[int, float]:
    """The quantity of every seed of a condition."""
    chosen = dict(options)
    group = runs[str(chosen.pop("condition"))]
    compute = find(row.quantity)
    return {run.seed: compute(run, runs, **chosen) for run in group}
