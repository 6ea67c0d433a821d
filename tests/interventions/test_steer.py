"""Steering: exact doses against brute force, and truncation against scikit-learn's PCA."""

from __future__ import annotations

import json

import numpy as np
import pytest
import xarray as xr
from sklearn.decomposition import PCA
from sklearn.metrics import balanced_accuracy_score

from reptools.errors import (
    DataError,
    DeadUnitWarning,
    DimensionError,
    FeatureError,
    ParameterError,
    StimulusError,
)
from reptools.interventions import Readout, steer, truncate
from reptools.interventions.steer import flip_doses, half_dose
from tests.interventions.test_interventions import planted


def halves(features):
    split = features.split.values
    return np.flatnonzero(split == "validation"), np.flatnonzero(split == "test")


def answers(head, at, x):
    """Answers (stimulus,) of every output by hand, a k-class output by its largest logit."""
    logits = x @ head.weight.values[at].T + head.bias.values[at]
    return {
        "easy": (logits[:, 0] > 0).astype(int),
        "hard": (logits[:, 1] > 0).astype(int),
        "shape": logits[:, 2:].argmax(axis=1),
    }


def steered(x, features, head, at, name, dose, direction):
    """Changed answers (stimulus,) of every output after moving the test half by an L2 norm."""
    fit, test = halves(features)
    present = features[name].values == 1
    values = x.values[at].astype(float)
    difference = values[fit[present[fit]]].mean(axis=0) - values[fit[~present[fit]]].mean(axis=0)
    unit = difference / np.linalg.norm(difference)
    rows, sign = (test[~present[test]], 1) if direction == "add" else (test[present[test]], -1)
    before = answers(head, at, values[rows])
    after = answers(head, at, values[rows] + sign * dose * unit)
    return {output: before[output] != after[output] for output in before}, difference


# --- doses --------------------------------------------------------------------------------------


def test_shares_agree_with_moving_the_activations():
    features, x, head = planted()
    doses = [0.0, 0.5, 1.7, 4.0, 11.0]
    found = steer(x, features, head, doses=doses, scale="norm")
    assert found.flipped.dims == ("step", "feature", "direction", "dose", "output")
    for at, step in enumerate(x.step.values):
        for name in ("easy", "hard"):
            for dose in doses:
                here = found.flipped.sel(step=step, feature=name, dose=dose)
                flips = {
                    direction: steered(x, features, head, at, name, dose, direction)[0]
                    for direction in ("add", "subtract")
                }
                for output in head.names:
                    add, subtract = (flips[d][output] for d in ("add", "subtract"))
                    expected = [add.mean(), subtract.mean(), np.r_[add, subtract].mean()]
                    np.testing.assert_array_equal(here.sel(output=output), expected)
    assert 0 < found.flipped.sel(dose=4.0).mean() < 1
    assert (found.flipped.sel(dose=0.0) == 0).all()


@pytest.mark.parametrize("direction", ["add", "subtract", "both"])
def test_half_doses_are_where_a_fine_grid_finds_them(direction):
    features, x, head = planted()
    found = steer(x, features, head)
    for at, step in enumerate(x.step.values):
        for name in ("easy", "hard"):
            exact = float(found.norm_50.sel(step=step, feature=name, direction=direction))
            ways = ["add", "subtract"] if direction == "both" else [direction]
            for dose, reached in ((exact * (1 - 1e-9), False), (exact * (1 + 1e-9), True)):
                flips = [steered(x, features, head, at, name, dose, way)[0] for way in ways]
                flipped = {o: np.concatenate([f[o] for f in flips]).mean() for o in head.names}
                assert (flipped[name] >= 0.5) == reached
            at_half = found.flipped_at_50.sel(step=step, feature=name, direction=direction)
            np.testing.assert_allclose(at_half, list(flipped.values()))


def test_one_dose_in_three_scales():
    features, x, head = planted()
    found = steer(x, features, head)
    fit, _ = halves(features)
    for at, step in enumerate(x.step.values):
        here = found.sel(step=step)
        rms = np.sqrt((x.values[at, fit] ** 2).sum(axis=1).mean())
        np.testing.assert_allclose(here.rms, rms)
        np.testing.assert_allclose(here.rms_50, here.norm_50 / rms)
        for name in ("easy", "hard"):
            difference = steered(x, features, head, at, name, 1.0, "add")[1]
            size = float(here.difference.sel(feature=name))
            np.testing.assert_allclose(size, np.linalg.norm(difference))
            one = here.sel(feature=name)
            np.testing.assert_allclose(one.difference_50, one.norm_50 / size)
    for scale, size in (("norm", 1.0), ("rms", found.rms.values[0])):
        doses = np.array([0.3, 0.9]) * float(found.difference[0, 0]) / size
        curves = steer(x, features, head, doses=doses, scale=scale).isel(step=0, feature=0)
        expected = found.flipped.isel(step=0, feature=0).sel(dose=[0.3, 0.9])
        np.testing.assert_array_equal(curves.flipped, expected)


def test_a_code_of_its_own_flips_nothing_else():
    # an orthogonal code read out half way: every stimulus flips at its own distance
    n = 64
    easy, hard = np.arange(n) % 2, np.arange(n) // 2 % 2
    jitter = np.linspace(-0.4, 0.4, n // 4).repeat(4)
    x = np.stack([10 * (easy - 0.5) + jitter, 2 * (hard - 0.5) + jitter], axis=1)
    head = Readout.of(np.eye(2), [0, 0], ["easy", "hard"])
    found = steer(x, {"easy": easy, "hard": hard}, head).sel(direction="both")
    np.testing.assert_allclose(found.norm_50, [5, 1], atol=0.06)
    np.testing.assert_allclose(found.difference_50, [0.5, 0.5], atol=0.03)
    at_half = found.flipped_at_50
    assert at_half.sel(feature="easy", output="hard") == 0
    assert at_half.sel(feature="hard", output="easy") == 0
    assert "two halves" in found.attrs["cv"]


def test_what_half_the_answers_never_do():
    # the head reads the second unit only, and the feature lies in the first
    x = np.array([[0.0, 1.0], [0.0, 2.0], [4.0, 1.0], [4.0, 2.0]] * 4)
    head = Readout.of([[0.0, 1.0]], [-0.5], ["there"])
    found = steer(x, {"there": np.tile([0, 0, 1, 1], 4)}, head, cv=None)
    assert (found.norm_50 == np.inf).all()
    assert found.flipped_at_50.isnull().all()
    assert (found.flipped == 0).all()


def test_features_by_name():
    features, x, head = planted()
    assert steer(x, features, head).feature.values.tolist() == ["easy", "hard"]
    features["round"] = (features["shape"] == 2).assign_attrs(kind="binary")
    found = steer(x, features, head, feature=["round", "easy"])
    assert found.feature.values.tolist() == ["round", "easy"]
    assert found.norm_50.sel(feature="round").isnull().all()
    assert found.flipped.sel(feature="round", output="shape", dose=2.0).mean() > 0.5
    xr.testing.assert_equal(found.sel(feature=["easy"]), steer(x, features, head, feature="easy"))


def test_extreme_scales():
    features, x, head = planted()
    small = steer(x, features, head)
    for factor in (1e150, 1e-150):
        weight = head.weight / factor
        found = steer(x * factor, features, Readout.of(weight, head.bias))
        np.testing.assert_allclose(found.norm_50, small.norm_50 * factor, rtol=1e-9)
        np.testing.assert_allclose(found.rms_50, small.rms_50, rtol=1e-9)
        np.testing.assert_array_equal(found.flipped, small.flipped)


def test_a_large_mean_in_single_precision():
    features, x, head = planted()
    far = (x + 1000).astype(np.float32)
    bias = head.bias - 1000 * head.weight.sum("unit")
    moved = Readout.of(head.weight, bias)
    wide = steer(far.astype(np.float64), features, moved)
    np.testing.assert_array_equal(steer(far, features, moved).norm_50, wide.norm_50)
    np.testing.assert_allclose(wide.norm_50, steer(x, features, head).norm_50, rtol=1e-3)


def test_a_unit_without_variance_changes_nothing():
    features, x, head = planted()
    more = xr.concat([x, x.isel(unit=[0]) * 0 + 3.0], dim="unit")
    weight = xr.concat([head.weight, head.weight.isel(unit=[0])], dim="unit")
    bias = head.bias - 3.0 * head.weight.isel(unit=0)
    with pytest.warns(DeadUnitWarning, match="steer: x has 1 of 7 units without variance"):
        found = steer(more, features, Readout.of(weight, bias))
    expected = steer(x, features, head)
    np.testing.assert_allclose(found.norm_50, expected.norm_50)
    assert found.attrs["n_dead_units"] == 1


def test_more_units_than_stimuli():
    rng = np.random.default_rng(0)
    easy = np.arange(20) % 2
    x = rng.normal(size=(20, 50)) + 4 * np.outer(easy - 0.5, rng.normal(size=50))
    head = Readout.of(x[easy == 1].mean(axis=0)[None] - x[easy == 0].mean(axis=0), [0.0], ["easy"])
    found = steer(x, {"easy": easy}, head)
    assert 0 < found.difference_50.sel(feature="easy", direction="both") < 1


def test_flip_doses_of_classes():
    rng = np.random.default_rng(0)
    logits, slopes = rng.normal(size=(200, 4)), rng.normal(size=4)
    doses = flip_doses(logits, slopes)
    assert np.isinf(doses).sum() == (logits.argmax(axis=1) == slopes.argmax()).sum()
    reached = np.isfinite(doses)
    for factor, flipped in ((1 - 1e-9, False), (1 + 1e-9, True), (50, True)):
        moved = logits[reached] + factor * doses[reached, None] * slopes
        changed = moved.argmax(axis=1) != logits[reached].argmax(axis=1)
        assert (changed == flipped).all()


def test_a_tie_is_the_first_class():
    # logit 0 answers 0: any dose above 0 flips it, and 0 itself does not
    dose = flip_doses(np.array([[0.0, 0.0]]), np.array([0.0, 1.0]))[0]
    assert 0 < dose < 1e-300
    assert flip_doses(np.array([[0.0, 1.0]]), np.array([0.0, -1.0]))[0] == 1.0


def test_half_dose_is_the_first_that_reaches_half():
    assert half_dose(np.array([4.0, 1.0, 3.0, 2.0])) == 2.0
    assert half_dose(np.array([5.0, 1.0, 3.0])) == 3.0
    assert half_dose(np.array([np.inf, np.inf, 1.0])) == np.inf


@pytest.mark.parametrize(
    ("options", "error", "seen"),
    [
        ({"feature": "hue"}, FeatureError, "feature is 'hue', and features holds 'easy'"),
        ({"feature": []}, FeatureError, r"feature is \[\]"),
        ({"feature": "shape"}, FeatureError, "not binary: 'shape'"),
        ({"doses": []}, ParameterError, r"doses is \[\]"),
        ({"doses": [-1.0]}, ParameterError, r"doses holds -1\.0"),
        ({"doses": [1.0, 1.0]}, ParameterError, r"doses holds 1\.0 twice"),
        ({"doses": "much"}, ParameterError, "doses is 'much'"),
        ({"doses": [np.inf]}, ParameterError, "doses holds inf"),
        ({"scale": "sd"}, ParameterError, r"scale must be difference\|norm\|rms, got 'sd'"),
        ({"cv": 1}, ParameterError, "cv must be a number of folds from 2.*got 1"),
        ({"groups": "run"}, ParameterError, "groups='run' is no coordinate"),
        ({"seed": 0.5}, ParameterError, r"seed must be int, got 0\.5"),
    ],
)
def test_impossible_options(options, error, seen):
    features, x, head = planted()
    with pytest.raises(error, match=f"^steer: .*{seen}"):
        steer(x, features, head, **options)


def test_impossible_inputs():
    features, x, head = planted()
    with pytest.raises(FeatureError, match="the readout answers 'easy', 'hard', 'shape'"):
        steer(x, features[["shape"]], head)
    with pytest.raises(StimulusError, match="x and feature 'easy' were not shown the same"):
        steer(x.isel(stimulus=slice(50)), features, head)
    with pytest.raises(StimulusError, match="the test stimuli of a fold all have one value"):
        one = features.assign(easy=features.easy.where(features.split == "validation", 0))
        one["easy"] = one.easy.astype(int).assign_attrs(kind="binary")
        steer(x, one, head, feature="easy")
    with pytest.raises(DataError, match="x at step=0: the mean with feature 'easy' and the one"):
        steer(x * 0 + np.arange(96)[:, None] // 4 % 2, features, head, feature="easy")
    with pytest.raises(DataError, match="x at step=10 is not finite for 1 of 96 stimuli"):
        bad = x.copy()
        bad[1, 4, 2] = np.nan
        steer(bad, features, head)
    with pytest.raises(DimensionError, match="outer dimension of the input is called 'dose'"):
        renamed = Readout.of(head.weight.isel(step=0, drop=True), head.bias.isel(step=0, drop=True))
        steer(x.rename(step="dose"), features, renamed)


def test_the_result_can_be_computed_again():
    features, x, head = planted()
    x = x.assign_attrs(system="net", layer="fc2")
    found = steer(x, features, head, doses=[1, 2], seed=3)
    assert found.attrs["metric"] == "steer"
    (source,) = json.loads(found.attrs["inputs"])
    assert (source["system"], source["layer"]) == ("net", "fc2")
    params = json.loads(found.attrs["params"])
    assert params == {
        "cv": "split", "doses": [1.0, 2.0], "feature": ["easy", "hard"], "groups": None,
        "scale": "difference", "seed": 3,
    }  # fmt: skip
    assert found.attrs["n_stimuli"] == 96


# --- truncation ---------------------------------------------------------------------------------


@pytest.mark.parametrize("n_fit", [48, 5])
def test_truncation_agrees_with_scikit_learn(n_fit):
    # oracle: sklearn.decomposition.PCA and balanced_accuracy_score of the installed version
    features, x, head = planted()
    fit, test = halves(features)
    keep = np.r_[fit[:n_fit], test]  # fewer fit stimuli than units the second time
    features, x = features.isel(stimulus=keep), x.isel(stimulus=keep)
    fit, test = halves(features)
    found = truncate(x, features, head)
    assert found.accuracy.dims == ("step", "k", "output")
    assert found.k.values.tolist() == list(range(7))
    for at, step in enumerate(x.step.values):
        values = x.values[at]
        pca = PCA(svd_solver="full").fit(values[fit])
        for k in range(7):
            axes = pca.components_[: min(k, n_fit - 1)]
            kept = pca.mean_ + (values[test] - pca.mean_) @ axes.T @ axes
            given = answers(head, at, kept)
            expected = [
                balanced_accuracy_score(features[name].values[test], given[name])
                for name in head.names
            ]
            np.testing.assert_allclose(found.accuracy.sel(step=step, k=k), expected)
        share = np.r_[0, np.cumsum(pca.explained_variance_ratio_)][
            np.minimum(np.arange(7), n_fit - 1)
        ]
        np.testing.assert_allclose(found.explained.sel(step=step), share, atol=1e-12)
        full = answers(head, at, values[test])
        expected = [balanced_accuracy_score(features[n].values[test], full[n]) for n in head.names]
        np.testing.assert_allclose(found.full.sel(step=step), expected)
    if n_fit > 6:
        np.testing.assert_array_equal(found.accuracy.sel(k=6), found.full)


def test_the_easy_feature_survives_a_smaller_truncation():
    features, x, head = planted()
    found = truncate(x, features, head, threshold=0.9)
    for at in range(2):
        for output in ("easy", "hard"):
            kept = found.accuracy.isel(step=at).sel(output=output).values >= 0.9
            expected = next((k for k in range(7) if kept[k:].all()), np.nan)
            np.testing.assert_equal(found.k_kept.isel(step=at).sel(output=output).item(), expected)
    assert (found.k_kept.sel(output="easy") < found.k_kept.sel(output="hard")).all()


def test_kept_from_some_k_on():
    # the second component answers rightly, and the third spoils it
    bit, *other = (2.0 * (np.arange(80) // 2**power % 2) - 1 for power in range(3))
    x = np.stack([40 * other[0], 10 * bit, 5 * other[1]], axis=1)
    head = Readout.of([[0.0, 1.0, 4.0]], [0.0], ["bit"])
    found = truncate(x, {"bit": bit > 0}, head, k=[1, 2, 3], cv=None)
    assert found.accuracy.sel(k=2).item() == 1.0
    assert found.accuracy.sel(k=3).item() < 0.95
    assert found.k_kept.isnull().item()
    assert truncate(x, {"bit": bit > 0}, head, k=2, cv=None).k_kept.item() == 2


@pytest.mark.parametrize(
    ("options", "error", "seen"),
    [
        ({"k": 7}, ParameterError, "k holds 7, and x has 6 units"),
        ({"k": -1}, ParameterError, "k holds -1 and must hold whole numbers of at least 0"),
        ({"k": [1.5]}, ParameterError, r"k holds 1\.5"),
        ({"k": True}, ParameterError, "k is True"),
        ({"k": []}, ParameterError, r"k is \[\]"),
        ({"threshold": 1.5}, ParameterError, r"threshold must be float at least 0 and at most 1"),
        ({"cv": "fold"}, ParameterError, "cv must be a number of folds"),
        ({"groups": 3}, ParameterError, "groups must name a stimulus coordinate"),
        ({"seed": "a"}, ParameterError, "seed must be int, got 'a'"),
    ],
)
def test_impossible_truncations(options, error, seen):
    features, x, head = planted()
    with pytest.raises(error, match=f"^truncate: .*{seen}"):
        truncate(x, features, head, **options)


def test_the_truth_of_every_output_is_needed():
    features, x, head = planted()
    with pytest.raises(FeatureError, match="features holds 'easy', and the readout also answers"):
        truncate(x, features[["easy"]], head)


def test_truncation_at_extreme_scales():
    features, x, head = planted()
    expected = truncate(x, features, head)
    for factor in (1e150, 1e-150):
        found = truncate(x * factor, features, Readout.of(head.weight / factor, head.bias))
        np.testing.assert_array_equal(found.accuracy, expected.accuracy)
        np.testing.assert_allclose(found.explained, expected.explained, atol=1e-12)
