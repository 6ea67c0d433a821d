"""Claims: who counts, what is measured, how it is judged, and that every file holds together."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from scipy import stats

import reptools as rt
from models.config import load_experiment
from models.encrypted import SYSTEMS
from reproduction.figures import FIGURES
from reproduction.measuring import conditions_of, measure
from reproduction.page import verdict_records, write_numbers, write_page
from reproduction.quantities import QUANTITIES, UNITS, find
from reproduction.rows import EXPERIMENTS, Row, Study, load_studies, load_study
from reproduction.runs import Run, account, counting
from reproduction.verdicts import effect, pseudo_values
from reptools.errors import ParameterError

SHARE = Row(
    "C1",
    "easy explains more",
    "explained",
    larger={"feature": "easy"},
    smaller={"feature": "hard"},
    options={"condition": "both", "estimator": ["pooled", "per_stimulus"]},
)


def planted(seed: int, *, easy: float, hard: float, accuracy: tuple[float, float] = (1, 1)) -> Run:
    """A network whose one layer holds two features with known weights, learned at step 10."""
    rng = np.random.default_rng(seed)
    n, width = 128, 8
    values = np.tile([[0, 0], [0, 1], [1, 0], [1, 1]], (n // 4, 1))
    codes = 2.0 * values - 1
    basis = np.linalg.qr(rng.normal(size=(width, width)))[0]
    x = easy * codes[:, :1] * basis[0] + hard * codes[:, 1:] * basis[1]
    steps = np.stack([0.1 * rng.normal(size=x.shape), x + 0.1 * rng.normal(size=x.shape)])
    names = ["easy", "hard"]
    coords = {
        "step": [0, 10],
        "stimulus": [f"s{i}" for i in range(n)],
        "split": ("stimulus", np.repeat(["validation", "test"], n // 2)),
    }
    layer = xr.DataArray(steps, dims=("step", "stimulus", "unit"), coords=coords)
    features = xr.Dataset(
        {name: ("stimulus", values[:, i], {"kind": "binary"}) for i, name in enumerate(names)},
        coords={key: coords[key] for key in ("stimulus", "split")},
    )
    outputs = xr.Dataset(
        {
            "accuracy": (("step", "feature"), np.array([(0.5, 0.5), accuracy])),
            "rank": (("step", "feature"), np.tile([0, 1], (2, 1))),
        },
        coords={"step": [0, 10], "feature": names},
    )
    tree = xr.DataTree.from_dict(
        {
            "/layers/fc1": layer.to_dataset(name="activation"),
            "/features": features,
            "/outputs": outputs,
        }
    )
    tree.attrs["provenance"] = "{}"
    return Run("both", seed, tree)


def both(**kinds: Any) -> dict[str, list[Run]]:
    return {"both": [planted(seed, easy=2.0, hard=1.0, **kinds) for seed in range(4)]}


# --- verdicts -----------------------------------------------------------------------------------


def test_the_interval_is_students(rng: np.random.Generator) -> None:
    a, b = rng.normal(size=(2, 7))
    found = effect(a, b)
    oracle = stats.ttest_rel(a, b).confidence_interval(0.95)
    assert found.mean == pytest.approx((a - b).mean())
    assert (found.low, found.high) == pytest.approx((oracle.low, oracle.high))


@pytest.mark.parametrize(
    ("shift", "within", "verdict"),
    [
        (3.0, None, "shown"),
        (-3.0, None, "reversed"),
        (0.0, None, "not decided"),
        (0.0, 2.0, "shown"),
        (0.0, 0.01, "not decided"),
        (3.0, 0.5, "reversed"),
        (-3.0, 0.5, "reversed"),
        (2.0, 2.0, "not decided"),
        (-2.0, 2.0, "not decided"),
    ],
)
def test_verdicts(shift: float, within: float | None, verdict: str) -> None:
    values = np.array([-1.0, 1.0, -0.5, 0.5, 0.0])
    assert effect(values + shift, np.zeros(5), within=within).verdict == verdict


def test_a_ratio_is_judged_by_its_logarithm() -> None:
    smaller = np.array([1.0, 10.0, 100.0])
    found = effect(2 * smaller, smaller, scale="log_ratio")
    assert found.mean == pytest.approx(np.log(2)) and found.verdict == "shown"
    with pytest.raises(ParameterError, match="log_ratio needs positive quantities, got -1"):
        effect(-smaller, smaller, scale="log_ratio")
    for larger, other in ((0, 1), (1, 0), (1, -2)):
        with pytest.raises(ParameterError, match=f"got {min(larger, other)}"):
            effect(np.array([1, 1, larger]), np.array([1, 1, other]), scale="log_ratio")


def test_intervals_of_means_over_pairs_cover(rng: np.random.Generator) -> None:
    n, times = 8, 400
    covered = {"pairs": 0, "jackknife": 0}
    for _ in range(times):
        own = rng.normal(size=n)
        pairs = own[:, None] + own + 0.5 * rng.normal(size=(n, n))
        pairs = (pairs + pairs.T) / 2
        np.fill_diagonal(pairs, np.nan)  # a network is not compared with itself
        left_out = np.array([np.nanmean(np.delete(np.delete(pairs, i, 0), i, 1)) for i in range(n)])
        judged = {
            "pairs": np.nanmean(pairs, axis=1),
            "jackknife": pseudo_values(np.nanmean(pairs), left_out),
        }
        assert judged["jackknife"].mean() == pytest.approx(np.nanmean(pairs))
        for name, values in judged.items():
            found = effect(values, np.zeros(n))
            covered[name] += found.low < 0 < found.high
    assert covered["pairs"] < 0.8 * times  # what it is there for
    assert 0.91 * times < covered["jackknife"] < 0.98 * times


def test_two_seeds_are_too_few() -> None:
    with pytest.raises(ParameterError, match="2 seeds count, and an interval needs 3"):
        effect(np.ones(2), np.zeros(2))


# --- rows ---------------------------------------------------------------------------------------


def test_lists_of_options_are_variants() -> None:
    assert [SHARE.words(v) for v in SHARE.variants] == ["pooled", "per_stimulus"]
    assert SHARE.variants[0] == {"condition": "both", "estimator": "pooled"}


@pytest.mark.parametrize("path", sorted(EXPERIMENTS.glob("*.toml")), ids=lambda path: path.stem)
def test_every_experiment_file_holds_together(path: Path) -> None:
    study = load_study(path)
    for overrides in (None, study.fast):
        if study.scheme is not None:
            names, seeds = set(SYSTEMS), study.table(overrides is not None)["seeds"]
        else:
            experiment = load_experiment(path, overrides)
            names, seeds = {run.name for run in experiment.runs}, experiment.seeds
        for row in study.rows:
            assert row.quantity in QUANTITIES
            assert row.figure in ("", *FIGURES)
            assert conditions_of(row) and set(conditions_of(row)) <= names
            assert row.places and row.variants
        assert len(seeds) >= 3


def test_rows_are_found_by_name() -> None:
    chosen = load_studies(["C5"])
    assert [row.name for study in chosen for row in study.rows] == ["C5", "C5"]
    both = load_studies(["order", "E3a"])
    assert [study.name for study in both] == ["complexity", "order"]
    assert len(load_studies(["complexity"])[0].rows) > len(both[0].rows)
    with pytest.raises(ParameterError, match="'C99' is no row and no study. Rows: C1, C2, .*Stud"):
        load_studies(["C99"])


def test_a_row_without_its_keys_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "wrong.toml"
    file.write_text('[[rows]]\nname = "C1"\nclaim = "more"\nquantity = "explained"\n')
    with pytest.raises(ParameterError, match=r"a row of wrong.toml \(C1\).*larger"):
        load_study(file)


def test_unknown_quantities_are_refused() -> None:
    with pytest.raises(ParameterError, match="no quantity 'charm'. There are explained"):
        find("charm")
    assert set(UNITS) == set(QUANTITIES)


# --- runs and measures --------------------------------------------------------------------------


def test_steps_by_name() -> None:
    run = planted(0, easy=2, hard=1)
    assert (run.at("first"), run.at("last"), run.at("learned easy"), run.at(1)) == (0, 1, 1, 1)
    assert run.layer("head").sizes == {"stimulus": 128, "unit": 8}
    assert run.layer("fc1", "all").sizes["step"] == 2


def test_planted_shares_are_found() -> None:
    found = measure(SHARE, both())
    pooled, per_stimulus = found.measured
    assert pooled.verdict == "shown" and per_stimulus.verdict == "shown"
    noise = 8 * 0.01
    np.testing.assert_allclose(pooled.larger, 4 / (5 + noise), atol=0.01)
    np.testing.assert_allclose(pooled.smaller, 1 / (5 + noise), atol=0.01)
    assert pooled.seeds == (0, 1, 2, 3)


def test_a_seed_that_did_not_learn_does_not_count() -> None:
    runs = both()
    runs["both"][1] = planted(1, easy=2.0, hard=1.0, accuracy=(1.0, 0.9))
    found = measure(SHARE, runs)
    assert found.measured[0].seeds == (0, 2, 3)
    few = measure(SHARE, {"both": runs["both"][:3]})
    assert few.measured[0].verdict == "does not count" and few.measured[0].effect is None


def test_a_feature_that_cannot_be_decoded_does_not_count() -> None:
    run = planted(0, easy=2.0, hard=0.0)
    records = account(run, "head", ["easy", "hard"])
    assert [record["counts"] for record in records] == [True, False]
    assert counting({"both": [run]}, records) == {"both": []}


def test_quantities_of_planted_networks() -> None:
    runs = both()
    run = runs["both"][0]
    shares = {name: find("explained")(run, runs, feature=name) for name in ("easy", "hard")}
    assert find("gap")(run, runs) == pytest.approx(shares["easy"] - shares["hard"])
    assert find("preference")(run, runs) == pytest.approx(
        shares["easy"] / (shares["easy"] + shares["hard"])
    )
    assert find("falls_with_rank")(run, runs, layer="fc1") == pytest.approx(find("gap")(run, runs))
    # means are 2 * 2 apart along one direction: 16 over a variance of 4 + 1 + 8 * 0.01
    assert find("separation")(run, runs, feature="easy") == pytest.approx(16 / 5.08, rel=0.02)
    grown = [find("over_final")(run, runs, feature="easy", step=s) for s in ("first", "last")]
    assert grown[0] < 0.01 and grown[1] == pytest.approx(shares["easy"], abs=0.01)
    assert find("component_share")(run, runs, feature="easy") > 0.95
    assert find("follows")(run, runs, feature="easy") == 1.0
    assert find("likeness")(run, runs, to="both", metric="cka") > 0.95
    assert find("predicted")(run, runs, by="both") > 0.9


def test_networks_of_one_seed_are_not_compared() -> None:
    runs = {
        "both": [planted(seed, easy=2.0, hard=1.0) for seed in (0, 1)],
        "hard": [replace(planted(seed, easy=0.0, hard=1.0), condition="hard") for seed in (0, 1)],
    }
    run = runs["both"][0]
    layers = {(name, other.seed): other.layer("fc1") for name in runs for other in runs[name]}
    for to in runs:
        wanted = float(rt.cka(layers["both", 0], layers[to, 1]))
        assert find("likeness")(run, runs, to=to, metric="cka") == pytest.approx(wanted)
    wanted = float(rt.predictivity(layers["hard", 1], layers["both", 0], lowest_alpha=1e-9).mean())
    assert find("predicted")(run, runs, by="hard") == pytest.approx(wanted)


def test_pairs_of_networks_are_judged_by_the_jackknife() -> None:
    row = Row(
        "E3d",
        "alike",
        "likeness",
        larger={"condition": "both", "to": "both"},
        smaller={"condition": "hard", "to": "both"},
        options={"metric": "cka"},
        decodable=False,
    )
    weights = (1.0, 0.5, 0.8, 1.2)
    runs = {
        "both": [planted(seed, easy=2.0, hard=w) for seed, w in enumerate(weights)],
        "hard": [
            replace(planted(seed, easy=w, hard=1.0), condition="hard")
            for seed, w in enumerate(weights)
        ],
    }
    (found,) = measure(row, runs).measured
    scores = {
        name: np.array(
            [[float(rt.cka(a.layer("fc1"), b.layer("fc1"))) for b in runs["both"]] for a in group]
        )
        for name, group in runs.items()
    }
    apart = ~np.eye(4, dtype=bool)
    np.testing.assert_allclose(found.larger, scores["both"].sum(1, where=apart) / 3)

    def over(kept: list[int]) -> float:
        pick = np.ix_(kept, kept)
        both, hard = (np.mean(scores[name][pick][apart[pick]]) for name in ("both", "hard"))
        return float(both - hard)

    whole = over([0, 1, 2, 3])
    pseudo = [4 * whole - 3 * over([j for j in range(4) if j != i]) for i in range(4)]
    assert found.effect is not None
    np.testing.assert_allclose(found.effect.values, pseudo)
    assert found.effect.mean == pytest.approx(found.larger.mean() - found.smaller.mean())


def test_who_counts_is_asked_for_each_variant() -> None:
    runs = {
        name: [replace(planted(seed, easy=2.0, hard=1.0), condition=name) for seed in range(4)]
        for name in ("both", "other")
    }
    runs["other"][2] = planted(2, easy=2.0, hard=1.0, accuracy=(1.0, 0.9))
    row = replace(SHARE, options={"condition": ["both", "other"]})
    both, other = measure(row, runs).measured
    assert (both.words, other.words) == ("both", "other")
    assert (both.seeds, other.seeds) == ((0, 1, 2, 3), (0, 1, 3))


@pytest.mark.slow
def test_a_command_that_was_killed_comes_to_the_same_numbers(tmp_path: Path) -> None:
    root = Path(__file__).resolve().parents[2]

    def command(out: str) -> list[str]:
        names = ["complexity", "--fast", "--jobs", "1", "--out", str(tmp_path / out)]
        return [sys.executable, "-m", "reproduction", *names]

    def numbers(out: str) -> Any:
        return json.loads((tmp_path / out / "rows.json").read_text())

    quiet: Any = {"cwd": root, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    for seconds in (4, 7, 10):  # while starting, training, and between two networks
        process = subprocess.Popen(command("killed"), **quiet, start_new_session=True)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert subprocess.run(command("killed"), **quiet, check=False).returncode == 0
    assert subprocess.run(command("undisturbed"), **quiet, check=False).returncode == 0
    assert numbers("killed") == numbers("undisturbed")
    # and once more, which trains nothing
    assert subprocess.run(command("killed"), **quiet, check=False).returncode == 0
    assert numbers("killed") == numbers("undisturbed")


def test_page_and_numbers(tmp_path: Path) -> None:
    study = Study("planted", Path("planted.toml"), (SHARE,), {}, "Planted")
    found = [(study, measure(replace(SHARE, figure="components"), both()))]
    html = write_page(tmp_path / "report.html", found, fast=False, failed=[]).read_text()
    assert "easy explains more" in html and html.count("<img") == 2 and "shown" in html
    numbers = write_numbers(tmp_path / "rows.json", found, fast=False).read_text()
    assert '"verdict": "shown"' in numbers
    record = verdict_records(found[0][1])[0]
    assert record["variant"] == "pooled" and record["effect [95 %]"].startswith("+0.5")
