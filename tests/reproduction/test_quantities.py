"""Every quantity of networks with known weights; what a run remembers; who counts for a row."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import xarray as xr

import reptools as rt
from reproduction.measuring import conditions_of, measure
from reproduction.quantities import find
from reproduction.rows import EXPERIMENTS, Row, load_studies, load_study
from reproduction.runs import Run, account
from tests.reproduction.networks import NOISE, WIDTH, network

UNEXPLAINED = WIDTH * NOISE**2


def share(weight: float, *others: float) -> float:
    """What a feature of this weight explains beside the others."""
    return weight**2 / (weight**2 + sum(w**2 for w in others) + UNEXPLAINED)


def near(value: float) -> Any:
    return pytest.approx(value, abs=0.02)


# --- quantities ---------------------------------------------------------------------------------


def test_a_gap_is_negative_where_the_hard_feature_wins() -> None:
    run = network({"fc1": {"easy": 1.0, "hard": 2.0}})
    assert find("gap")(run, {}) == near(share(1, 2) - share(2, 1))
    assert find("gap")(run, {}, of="hard", over="easy") == near(share(2, 1) - share(1, 2))


def test_parts_of_a_feature_are_those_of_no_other() -> None:
    weights = {"easy": 1.0, "hard_1": 2.0, "hard_2": 1.5, "easy_1": 0.5}
    parts = {"hard_1": "hard", "hard_2": "hard", "easy_1": "easy"}
    run = network({"fc1": weights}, parts=parts)
    found = find("explained")(run, {}, feature="parts of hard")
    assert found == near((2**2 + 1.5**2) / (1 + 4 + 2.25 + 0.25 + UNEXPLAINED))


def test_preference_is_of_means_over_the_features_trained_on() -> None:
    weights = {"easy": 2.0, "easy_2": 1.0, "hard": 1.0, "hard_2": 3.0}
    trained = dict.fromkeys(("easy", "easy_2", "hard"), (0.5, 1.0))
    run = network({"fc1": weights}, accuracy=trained)
    assert find("preference")(run, {}) == near(2.5 / 3.5)


def test_tokens_apart_are_pooled_and_together_averaged() -> None:
    tokens = [{"easy": 2.0, "hard": 1.0}, {"easy": 0.5, "hard": 1.0}]
    run = network({"block": tokens})
    apart = find("explained")(run, {}, feature="easy", tokens="each")
    assert apart == near(4.25 / (4.25 + 2 + 2 * UNEXPLAINED))  # sums, no mean of ratios
    mean = find("explained")(run, {}, feature="easy")
    assert mean == near(1.25**2 / (1.25**2 + 1 + UNEXPLAINED / 2))
    assert run.layer("block", tokens="each").dims == ("token", "stimulus", "unit")
    other = find("explained")(run, {}, feature="easy", tokens="each", estimator="per_stimulus")
    wanted = rt.variance_explained(
        run.layer("block", tokens="each"), run.features, estimator="per_stimulus", cv="split"
    )
    assert other == pytest.approx(float(wanted.sel(feature="easy").mean("token")))


def test_a_share_of_the_last_steps_total_is_taken_at_its_step() -> None:
    run = network({"fc1": {"easy": 2.0, "hard": 1.0}})
    at = {s: find("over_final")(run, {}, feature="easy", step=s) for s in ("first", "last")}
    assert at["first"] == near(0) and at["last"] == near(share(2, 1))
    # at the first step all is noise: the share of its own total is another one
    own = find("explained")(run, {}, feature="easy", step="first")
    assert abs(at["first"]) < abs(own) / 5


def test_separation_is_a_squared_distance_over_the_variance() -> None:
    run = network({"fc1": {"easy": 1.5, "hard": 0.5}})
    total = 1.5**2 + 0.5**2 + UNEXPLAINED
    assert find("separation")(run, {}, feature="easy") == pytest.approx(9 / total, rel=0.03)
    assert find("separation")(run, {}, feature="hard") == pytest.approx(1 / total, rel=0.05)


def test_components_are_told_apart() -> None:
    run = network({"fc1": {"easy": 2.0, "hard": 1.0}})
    at = {
        (f, k): find("component_share")(run, {}, feature=f, component=k)
        for f in ("easy", "hard")
        for k in (1, 2)
    }
    assert at["easy", 1] > 0.95 and at["hard", 2] > 0.95
    assert at["hard", 1] < 0.05 and at["easy", 2] < 0.05


def test_what_the_head_answers_from() -> None:
    run = network({"fc1": {"easy": 2.0, "hard": 1.0}})
    for feature, weight, needed in (("easy", 2.0, 1), ("hard", 1.0, 2)):
        # the means are two weights apart, so half of the answers flip after one of them
        assert find("norm_to_flip")(run, {}, feature=feature) == pytest.approx(weight, rel=0.05)
        assert find("components_needed")(run, {}, feature=feature) == needed
    # along its own direction, orthogonal to the other's
    assert find("others_flipped")(run, {}, feature="easy", other="hard") == 0
    assert find("others_flipped")(run, {}, feature="easy", other="easy") == pytest.approx(
        0.5, abs=0.1
    )


def test_read_out_is_above_chance() -> None:
    run = network({"fc1": {"easy": 2.0, "hard": 0.0}})
    assert find("read_out")(run, {}, feature="easy") == 0.5
    assert abs(find("read_out")(run, {}, feature="hard")) < 0.25


def test_units_are_predicted_by_the_condition_and_not_the_other_way_round() -> None:
    easy = [network({"fc1": {"easy": 2.0, "hard": 0.0}}, seed=s, condition="easy") for s in (0, 1)]
    both = [network({"fc1": {"easy": 2.0, "hard": 2.0}}, seed=s) for s in (0, 1)]
    runs = {"easy": easy, "both": both}
    assert find("predicted")(easy[0], runs, by="both") > 0.8
    # of two equal features the condition's runs know one
    assert find("predicted")(both[0], runs, by="easy") < 0.7


def test_what_a_run_remembers_is_told_apart_by_all_options() -> None:
    def fresh() -> dict[str, list[Run]]:
        layers = {"fc1": {"easy": 1.0, "hard": 2.0}, "fc2": {"easy": 2.0, "hard": 0.4}}
        return {"both": [network(layers, seed=seed) for seed in (0, 1)]}

    asked: list[tuple[str, dict[str, Any]]] = [
        *(("explained", {"feature": "easy", "estimator": e}) for e in ("pooled", "per_stimulus")),
        *(("explained", {"feature": "easy", "step": step}) for step in ("first", "last")),
        *(("explained", {"feature": "easy", "layer": layer}) for layer in ("fc1", "fc2")),
        *(("over_final", {"feature": "easy", "step": 1, "layer": n}) for n in ("fc1", "fc2")),
        *(
            ("likeness", {"to": "both", "metric": metric})
            for metric in ("CKA, debiased", "CKA, biased", "RSA, Spearman of Euclidean RDMs")
        ),
        *(("likeness", {"to": "both", "metric": "cka", "layer": n}) for n in ("fc1", "fc2")),
        *(("predicted", {"by": "both", "layer": layer}) for layer in ("fc1", "fc2")),
    ]
    shared = fresh()
    for name, options in asked:
        runs = fresh()
        alone = find(name)(runs["both"][0], runs, **options)
        assert find(name)(shared["both"][0], shared, **options) == pytest.approx(alone, abs=1e-12)
    biased, debiased = (
        float(rt.cka(*(run.layer("head") for run in shared["both"]), estimator=estimator))
        for estimator in ("biased", "debiased")
    )
    found = find("likeness")(shared["both"][0], shared, to="both", metric="CKA, biased")
    assert found == pytest.approx(biased) and found != pytest.approx(debiased, abs=1e-6)


def test_likeness_does_not_ask_runs_of_the_same_seed() -> None:
    runs = {
        name: [network({"fc1": weights}, seed=seed, condition=name) for seed in (0, 1)]
        for name, weights in (
            ("both", {"easy": 2.0, "hard": 1.0}),
            ("other", {"easy": 1.0, "hard": 2.0}),
        )
    }
    one, same, another = runs["both"][0], runs["other"][0], runs["other"][1]
    found = find("likeness")(one, runs, to="other", metric="cka")
    scores = [float(rt.cka(one.layer("fc1"), run.layer("fc1"))) for run in (another, same)]
    assert found == pytest.approx(scores[0]) and found != pytest.approx(scores[1], abs=1e-9)


# --- runs ---------------------------------------------------------------------------------------


def test_learned_is_when_a_feature_stays_learned() -> None:
    course = {"easy": (0.5, 1.0, 0.9, 0.99, 1.0), "hard": (1.0,) * 5}
    run = network({"fc1": {"easy": 2.0, "hard": 1.0}}, accuracy=course)
    assert run.threshold == 0.99
    assert (run.at("learned easy"), run.at("learned hard")) == (3, 0)
    assert float(run.layer("fc1", "learned easy")["step"]) == 30


@pytest.mark.parametrize(("wrong", "decodable"), [(1, 31 / 32), (2, 30 / 32)])
def test_decodable_is_from_95_percent_on(wrong: int, decodable: float) -> None:
    run = network({"fc1": {"easy": 2.0, "hard": 1.0}}, wrong=wrong)
    _, record = account(run, "head", ["easy", "hard"])
    assert record["decodable"] == decodable
    assert record["counts"] is (decodable > 0.95)
    (waived,) = account(run, "head", ["hard"], decodable=False)
    assert waived["counts"]


@pytest.mark.parametrize(("accuracy", "counts"), [(0.99, True), (0.98, False)])
def test_the_threshold_itself_is_learned(accuracy: float, counts: bool) -> None:
    course = {"easy": (0.5, 1.0), "hard": (0.5, accuracy)}
    run = network({"fc1": {"easy": 2.0, "hard": 1.0}}, accuracy=course)
    assert account(run, "head", ["hard"])[0]["counts"] is counts


def test_units_of_a_coordinate() -> None:
    run = network({"fc1": {"easy": 2.0, "hard": 1.0}})
    layer = run.layer("fc1")
    xr.testing.assert_identical(run.layer("fc1[entry=6]"), layer.isel(unit=[0, 2, 4, 6]))
    xr.testing.assert_identical(run.layer("fc1[entry=64]"), layer.isel(unit=[1, 3, 5, 7]))


# --- rows ---------------------------------------------------------------------------------------

EXPLAINED = Row(
    "C1", "more", "explained", larger={"feature": "easy"}, options={"condition": "both"}
)


def group(*weights: float, **kinds: Any) -> dict[str, list[Run]]:
    """Four networks of a layer ``fc1`` and of one that lacks the hard feature after it."""
    easy, hard = weights
    layers = {"fc1": {"easy": easy, "hard": hard}, "fc2": {"easy": 1.0, "hard": 0.0}}
    return {"both": [network(layers, seed=seed, **kinds) for seed in range(4)]}


def test_who_counts_depends_on_layer_and_on_what_a_row_waives() -> None:
    runs = group(2.0, 1.0)  # shared by all rows, as runs remember their accounts
    hard = replace(EXPLAINED, larger={"feature": "hard"})
    at_fc1 = replace(hard, options={"condition": "both", "layer": "fc1"})
    for row, count in (
        (hard, 0),  # not decodable at the head
        (at_fc1, 4),
        (replace(hard, decodable=False), 4),
        (replace(hard, features=("easy",)), 4),
        (replace(EXPLAINED, features=("hard",)), 0),
        (EXPLAINED, 4),
        (hard, 0),
    ):
        assert len(measure(row, runs).measured[0].seeds) == count


def test_features_that_a_run_is_not_trained_on_are_not_asked_for() -> None:
    runs = group(2.0, 1.0, accuracy={"easy": (0.5, 1.0)})
    row = replace(EXPLAINED, larger={"feature": "easy"}, smaller={"feature": "hard"})
    assert measure(row, runs).measured[0].seeds == (0, 1, 2, 3)


def test_only_seeds_at_both_places_are_compared() -> None:
    runs = group(2.0, 1.0) | {"easy": group(1.0, 1.0)["both"][1:]}
    row = replace(
        EXPLAINED, larger={"condition": "both"}, smaller={"condition": "easy"},
        options={"feature": "easy", "layer": "fc1"},
    )  # fmt: skip
    (found,) = measure(row, runs).measured
    assert found.seeds == (1, 2, 3)
    np.testing.assert_allclose(found.larger, share(2, 1), atol=0.03)
    np.testing.assert_allclose(found.smaller, share(1, 1), atol=0.03)


def test_a_place_overrides_what_the_row_says_of_both() -> None:
    row = replace(EXPLAINED, larger={"feature": "easy", "layer": "fc2"}, smaller={"feature": "easy"},
                  options={"condition": "both", "layer": "fc1"})  # fmt: skip
    (found,) = measure(row, group(2.0, 1.0)).measured
    np.testing.assert_allclose(found.larger, share(1), atol=0.03)
    np.testing.assert_allclose(found.smaller, share(2, 1), atol=0.03)


def test_scale_and_bound_of_a_row_reach_the_verdict() -> None:
    runs = group(2.0, 1.0)
    row = replace(
        EXPLAINED, smaller={"feature": "hard"}, options={"condition": "both", "layer": "fc1"}
    )
    (ratio,) = measure(replace(row, scale="log_ratio"), runs).measured
    assert ratio.effect is not None
    np.testing.assert_allclose(ratio.effect.values, np.log(ratio.larger / ratio.smaller))
    assert ratio.effect.mean == near(np.log(4))
    alone = replace(EXPLAINED, options={"condition": "both", "layer": "fc1"})
    verdicts = {
        within: measure(replace(alone, within=within), runs).measured[0].verdict
        for within in (None, 0.5, 0.9)
    }
    assert verdicts == {None: "shown", 0.5: "reversed", 0.9: "shown"}
    (found,) = measure(alone, runs).measured
    assert (found.smaller == 0).all() and found.effect is not None
    np.testing.assert_allclose(found.effect.values, found.larger)


def test_every_condition_that_a_row_names_is_asked() -> None:
    row = replace(EXPLAINED, larger={"by": "b", "to": "c"}, smaller={"to": "d", "condition": "a"})
    assert conditions_of(row) == ["both", "c", "b", "a", "d"]


def test_studies_come_in_the_order_of_their_rows() -> None:
    first = [
        min((row.name[0], int(row.name[1:].rstrip("abcd"))) for row in study.rows)
        for study in load_studies()
    ]
    assert first == sorted(first) and first[0] == ("C", 1)
    named = load_studies(["C2", "order"])
    assert [study.name for study in named] == ["complexity", "order"]
    assert {row.name for row in named[0].rows} == {"C2"}


def test_fast_settings_are_laid_over_a_file() -> None:
    study = load_study(EXPERIMENTS / "encryption.toml")
    whole, fast = study.table(False), study.table(True)
    assert (len(whole["seeds"]), whole["data"]["test"]) == (10, 512)
    assert (len(fast["seeds"]), fast["data"]["test"]) == (3, 128)
    assert whole["data"]["units"] == fast["data"]["units"]


def test_a_rows_keys_and_its_options_are_told_apart(tmp_path: Any) -> None:
    file = tmp_path / "study.toml"
    file.write_text(
        '[[rows]]\nname = "C1"\nclaim = "more"\nquantity = "explained"\nlayer = "fc1"\n'
        'larger = {feature = "easy"}\nfeatures = ["easy"]\ntried = ["wider: shown"]\n'
    )
    (row,) = load_study(file).rows
    assert (row.features, row.tried) == (("easy",), ("wider: shown",))
    assert row.options == {"layer": "fc1"} and row.places == [{"feature": "easy"}]
