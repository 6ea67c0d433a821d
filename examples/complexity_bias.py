"""The main job: train networks on an easy and a hard feature, and see what each analysis sees.

    python examples/complexity_bias.py            # 3 conditions x 5 seeds, some minutes on 2 cores
    python examples/complexity_bias.py --fast     # seconds a run, to see that everything works

Networks learn an easy feature (one input bit), a hard one (the parity of four), or both, equally
well. After Lampinen, Chan and Hermann (2024) the script then asks, at the last hidden layer:

- C1   does the easy feature explain more of the variance than the hard one?
- C2   does its variance go on growing after it is mastered, and while the hard one is learned?
- C3   is the hard feature coded by fewer units?
- C4   is the first principal component about the easy feature?
- E3   do RSA and CKA find "both" like "easy only" (a) and unlike "hard only" (b)?
- C14  is any of it there before training?

Every row compares two quantities within a run. Its verdict was fixed here before the runs, from
the two-sided 95 % t interval of their difference over seeds: *shown* (above 0), *reversed* (below
0) or *not decided*. All settings are ours (models/experiments/). A seed counts if in all of its
runs every feature trained on reaches 99 % balanced test accuracy and is linearly decodable (95 %)
at the layer.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import xarray as xr
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from scipy.stats import t as student

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # models/ is not installed

import reptools as rt
from models.train import run_experiment
from reptools import plots
from reptools.report import Page

EASY, HARD = "easy", "hard"
LEARNED, DECODABLE = 0.99, 0.95
ESTIMATORS = ("pooled", "per_stimulus", "per_unit")
SCORES = {
    "RSA (Spearman of Euclidean RDMs)": {"metric": "rsa", "rdm": "euclidean"},
    "CKA, debiased": {"metric": "cka"},
    "CKA, biased": {"metric": "cka", "estimator": "biased"},
}
Records = list[dict[str, object]]


# --- runs ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Run:
    """One trained network; what is measured is its last hidden layer."""

    condition: str
    seed: int
    tree: xr.DataTree

    @property
    def name(self) -> str:
        """Condition and seed."""
        return f"{self.condition} {self.seed}"

    @property
    def features(self) -> xr.DataTree:
        """All features of the stimuli, trained on or not."""
        return self.tree["features"]

    @cached_property
    def layers(self) -> dict[str, xr.DataArray]:
        """Activations (step, stimulus, unit) of every layer."""
        return {name: node["activation"] for name, node in self.tree["layers"].children.items()}

    @property
    def hidden(self) -> xr.DataArray:
        """The last hidden layer (step, stimulus, unit)."""
        return list(self.layers.values())[-1]

    @property
    def last(self) -> xr.DataArray:
        """The last hidden layer at the last step."""
        return self.hidden.isel(step=-1)

    @property
    def accuracy(self) -> xr.DataArray:
        """Balanced test accuracy (step, feature) of the features trained on."""
        return self.tree["outputs"]["accuracy"]

    def mastered(self, feature: str) -> int:
        """First step from which on the feature stays learned, by position."""
        learned = self.accuracy.sel(feature=feature).values >= LEARNED
        return len(learned) - int(np.argmin(learned[::-1])) if not learned.all() else 0


Runs = Mapping[str, list[Run]]


def open_runs(paths: Sequence[Path]) -> Runs:
    runs: dict[str, list[Run]] = {}
    for path in paths:
        condition, _, seed = path.stem.rpartition("-seed")
        runs.setdefault(condition, []).append(Run(condition, int(seed), rt.open(path)))
    return runs


def counted(runs: Runs) -> tuple[Runs, Records]:
    """The runs of the seeds that count, and a record of why."""
    records: Records = []
    failed = set()
    for run in (run for group in runs.values() for run in group):
        for name in run.accuracy.feature.values.tolist():
            accuracy = float(run.accuracy.isel(step=-1).sel(feature=name))
            probe = rt.probe(run.last, run.features[name])
            counts = accuracy >= LEARNED and float(probe) >= DECODABLE
            if not counts:
                failed.add(run.seed)
            records.append(
                {
                    "condition": run.condition,
                    "seed": run.seed,
                    "feature": name,
                    "test accuracy": accuracy,
                    "decodable": float(probe),
                    "dead units": f"{probe.attrs['n_dead_units']} of {probe.attrs['n_units']}",
                    "counts": "yes" if counts else "NO",
                }
            )
    kept = {name: [r for r in group if r.seed not in failed] for name, group in runs.items()}
    return kept, records


# --- rows ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """One claim: two quantities per seed, of which the first is predicted to be larger."""

    name: str
    claim: str
    labels: tuple[str, str]
    seeds: tuple[int, ...]
    first: np.ndarray
    second: np.ndarray

    @property
    def against(self) -> list[int]:
        """Seeds in which the first is not larger."""
        return [s for s, a, b in zip(self.seeds, self.first, self.second, strict=True) if a <= b]

    def record(self) -> dict[str, str]:
        """The row in words."""
        effect = self.first - self.second
        n = effect.size
        half = student.ppf(0.975, n - 1) * effect.std(ddof=1) / n**0.5
        low, high = effect.mean() - half, effect.mean() + half
        a, b = (
            f"{label} {x.mean():.3f} ({x.min():.3f} to {x.max():.3f})"
            for label, x in zip(self.labels, (self.first, self.second), strict=True)
        )
        return {
            "row": self.name,
            "claim": self.claim,
            "predicted larger": a,
            "predicted smaller": b,
            "difference [95 %]": f"{effect.mean():+.3f} [{low:+.3f}, {high:+.3f}]",
            "holds in": f"{n - len(self.against)} of {n} seeds",
            "verdict": "shown" if low > 0 else "reversed" if high < 0 else "not decided",
        }


def over_seeds(runs: Sequence[Run], results: Sequence[xr.DataArray]) -> xr.DataArray:
    """One result per run, stacked along ``run``."""
    seeds = xr.Variable("run", [run.seed for run in runs])
    return xr.concat(results, dim="run", coords="minimal", compat="override").assign_coords(
        run=seeds
    )


def variance(runs: Sequence[Run], **options: str) -> xr.DataArray:
    """Variance explained (run, step, feature) at the last hidden layer."""
    return over_seeds(
        runs, [rt.variance_explained(run.hidden, run.features, **options) for run in runs]
    )


def likeness(runs: Runs, options: Mapping[str, str]) -> xr.DataArray:
    """Every run against every run, last hidden layer at the last step."""
    layers = {run.name: run.last for group in runs.values() for run in group}
    return rt.compare(layers, **options)


def to_both(grid: xr.DataArray, runs: Runs, other: str) -> np.ndarray:
    """Per seed of "both": mean score against all runs of the other condition."""
    names = [run.name for run in runs[other]]
    return np.array([float(grid.sel(x=run.name, y=names).mean()) for run in runs["both"]])


def measure(runs: Runs) -> tuple[list[Row], dict[str, xr.DataArray], list[xr.Dataset]]:
    """All rows, the results behind the figures, and the components of each "both" run."""
    both = runs["both"]
    by = {name: variance(both, estimator=name) for name in ESTIMATORS}
    course = variance(both, denominator="final")
    sparse = over_seeds(both, [rt.sparseness(run.last, run.features) for run in both])
    components = [rt.principal_components(run.last, run.features) for run in both]
    grids = {name: likeness(runs, options) for name, options in SCORES.items()}

    def at(result: xr.DataArray, feature: str, step: int = -1) -> np.ndarray:
        return result.sel(feature=feature).isel(step=step).values

    def share(feature: str) -> np.ndarray:
        return np.array([float(c.share.sel(feature=feature)[0]) for c in components])

    def gini(feature: str) -> np.ndarray:
        return sparse.sel(feature=feature).values

    def others(grid: xr.DataArray) -> list[np.ndarray]:
        return [to_both(grid, runs, condition) for condition in ("easy_only", "hard_only")]

    mastered, learned = (
        np.array(
            [float(course.sel(feature=EASY)[i, run.mastered(name)]) for i, run in enumerate(both)]
        )
        for name in (EASY, HARD)
    )
    seeds = tuple(run.seed for run in both)

    def row(name: str, claim: str, labels: tuple[str, str], *values: np.ndarray) -> Row:
        return Row(name, claim, labels, seeds, *values)

    pair, alike = (EASY, HARD), ("easy only", "hard only")
    rows = [
        *(
            row("C1", f"easy explains more variance, {name}", pair, at(r, EASY), at(r, HARD))
            for name, r in by.items()
        ),
        row("C2", "easy grows after it is mastered", ("end", "then"), at(course, EASY), mastered),
        row("C2", "and while hard is learned", ("hard learned", "then"), learned, mastered),
        row("C3", "hard is coded more sparsely (Gini)", (HARD, EASY), gini(HARD), gini(EASY)),
        row("C4", "component 1 is about easy (R2)", pair, share(EASY), share(HARD)),
        *(
            row("E3a, b", f'"both" is like "easy only", {name}', alike, *others(grid))
            for name, grid in grids.items()
        ),
        row(
            "C14",
            "untrained: easy explains more, pooled",
            pair,
            *(at(by["pooled"], name, 0) for name in pair),
        ),
    ]
    return rows, {"course": course, **grids}, components


# --- what is shown ------------------------------------------------------------------------------


def component_table(components: Sequence[xr.Dataset]) -> Records:
    """Mean over seeds of each component's variance and of its share of each feature."""
    stacked = xr.concat(components, dim="run", coords="minimal", compat="override", join="inner")
    mean = stacked[["explained", "share"]].mean("run").isel(component=slice(6))
    return [
        {
            "component": int(c.component),
            "variance": float(c.explained),
            **{f"share of {name}": float(c.share.sel(feature=name)) for name in (EASY, HARD)},
        }
        for c in (mean.isel(component=i) for i in range(mean.sizes["component"]))
    ]


def show(console: Console, title: str, records: Records) -> None:
    table = Table(title=title, title_justify="left", box=SIMPLE, pad_edge=False)
    for key in records[0]:
        table.add_column(key, overflow="fold")
    for record in records:
        table.add_row(*(f"{v:.3f}" if isinstance(v, float) else str(v) for v in record.values()))
    console.print(table)


def show_row(console: Console, row: Row) -> None:
    """Three lines a row, so that nothing wraps on a narrow terminal."""
    name, claim, larger, smaller, difference, holds, verdict = row.record().values()
    console.print(f"\n[bold]{name:<7}[/]{claim}: [bold]{verdict}[/]", highlight=False)
    console.print(f"       {larger}, {smaller}", highlight=False)
    console.print(f"       difference {difference}, holds in {holds}", highlight=False)


def expectations(rows: Sequence[Row]) -> Records:
    """What the demo was expected to show when its settings were frozen, and whether it did."""
    pooled = rows[0]
    ratio = pooled.first.mean() / pooled.second.mean()
    scores = [row for row in rows if row.name == "E3a, b"]
    against = sorted({seed for row in scores for seed in row.against})

    def seeds(numbers: Sequence[int]) -> str:
        return f"not in seed {', '.join(map(str, numbers))}" if numbers else "in every seed"

    seen = [
        ("pooled, easy explains at least 3 times what hard does", ratio >= 3, f"{ratio:.1f} times"),
        ("and more in every seed", not pooled.against, seeds(pooled.against)),
        ('"both" is closer to "easy only" by every score', not against, seeds(against)),
    ]
    return [
        {"expected": expected, "came out": "yes" if holds else "NO", "seen": what}
        for expected, holds, what in seen
    ]


def write_page(
    path: Path,
    runs: Runs,
    rows: Sequence[Row],
    results: Mapping[str, xr.DataArray],
    components: Sequence[xr.Dataset],
    records: Records,
) -> Path:
    both = runs["both"]
    colours = plots.feature_colours([EASY, HARD])
    where = f"last hidden layer of {len(both)} networks that learned both features"
    page = Page(
        "An easy and a hard feature, learned equally well",
        summary="How much of a layer each one takes, and which of them RSA and CKA go by: "
        f"{len(both)} seeds each of networks trained on easy only, hard only, and both.",
    )
    page.section("Verdicts", "Mean over seeds, with the smallest and largest seed in brackets.")
    page.table([row.record() for row in rows], "Every row, its rule fixed before the runs.")
    page.table(expectations(rows), "What was expected when the settings were frozen.")

    page.section("Variance over training")
    accuracy = over_seeds(both, [run.accuracy for run in both])
    page.figure(
        plots.variance_over_training(results["course"], accuracy=accuracy, colours=colours),
        f"C1 and C2. Variance explained, as a share of the total at the last step; {where}.",
    )
    page.section("Spread over units and components")
    by_bias = np.argsort(rows[0].first - rows[0].second)
    for words, i in (("median", by_bias[len(by_bias) // 2]), ("the least", by_bias[0])):
        units = rt.unit_variance_explained(both[i].last, both[i].features)
        whose = f"seed {both[i].seed}, which shows {words} bias"
        page.figure(
            plots.sparseness_curves(units, colours=colours),
            f"C3. Variance of each unit explained, units in order; {whose}.",
        )
        page.figure(
            plots.component_scatter(components[i], colours=colours),
            f"C4. The first two principal components, coloured by each feature; {whose}.",
        )
    page.table(component_table(components), "C4. Shares of the components, mean over seeds.")

    page.section("What similarity scores see")
    for name in SCORES:
        page.figure(
            plots.similarity_map(results[name], xlabel="network", ylabel="network"),
            f"E3. {name} between all networks, last hidden layer at the last step.",
        )
    for other in ("easy_only", "hard_only"):
        xs, ys = (
            {name: layer.isel(step=-1) for name, layer in runs[c][0].layers.items()}
            for c in ("both", other)
        )
        page.figure(
            plots.similarity_map(rt.compare(xs, ys), xlabel="both", ylabel=other.replace("_", " ")),
            f"Debiased CKA, layer by layer: both against {other.replace('_', ' ')}, first seeds.",
        )
    page.section("Which runs count")
    page.table(records, "Balanced test accuracy, and held-out probe at the measured layer.")
    page.details("Provenance of the first run", both[0].tree.attrs["provenance"])
    return page.write(path)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--fast", action="store_true", help="small networks, for checking only")
    parser.add_argument("--seeds", type=int, help="number of seeds; default: those of the file")
    parser.add_argument("--jobs", type=int, help="networks at a time; default: number of cores")
    parser.add_argument("--out", type=Path, default=Path("results/complexity_bias"))
    options = parser.parse_args(arguments)
    console = Console()
    began = time.monotonic()
    experiment = f"experiments/complexity_bias{'_fast' if options.fast else ''}.toml"
    paths = run_experiment(
        experiment,
        options.out,
        seeds=None if options.seeds is None else range(options.seeds),
        jobs=options.jobs,
        overwrite=True,
    )
    # dead ReLU units are expected here: they are counted in the table instead
    warnings.simplefilter("ignore", rt.errors.DeadUnitWarning)
    runs, records = counted(open_runs(paths))
    show(console, "Which runs count", records)
    if len(runs["both"]) < 2:
        console.print("[bold red]Fewer than two seeds count, so nothing can be said.[/]")
        return 1
    rows, results, components = measure(runs)
    show(console, "C4: what the principal components carry", component_table(components))
    console.print(f"Last hidden layer, {len(runs['both'])} seeds, mean (smallest to largest)")
    for row in rows:
        show_row(console, row)
    console.print()
    show(console, "Expected when the settings were frozen", expectations(rows))
    page = write_page(options.out / "report.html", runs, rows, results, components, records)
    console.print(f"Runs and report: {page} ({time.monotonic() - began:.0f} s)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
