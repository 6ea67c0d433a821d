"""Variance explained: golden values against scikit-learn 1.9.1 and loops, then laws."""

from __future__ import annotations

import json

import numpy as np
import pytest
import xarray as xr
from scipy.stats import f_oneway
from sklearn.linear_model import LinearRegression
from sklearn.metrics import r2_score
from sklearn.model_selection import ShuffleSplit, StratifiedKFold

from reptools.errors import (
    DataError,
    DeadUnitWarning,
    DimensionError,
    FeatureError,
    ParameterError,
    ReptoolsWarning,
    StimulusError,
)
from reptools.metrics.sparseness import sparseness
from reptools.metrics.total_variance import total_variance
from reptools.metrics.unit_variance_explained import unit_variance_explained
from reptools.metrics.variance_explained import variance_explained
from reptools.statistics.features.design import Feature
from reptools.statistics.features.projection import explain
from reptools.statistics.moments import SMALL
from tests.planted import activations, by_sklearn, columns, feature, folds_of, planted, time_course

ESTIMATORS = ("pooled", "per_stimulus", "per_unit")


def expected(x, values, folds, estimator):
    residual, total = by_sklearn(x, values, folds)
    if estimator == "pooled":
        return 1 - (residual**2).sum() / (total**2).sum()
    axis = 1 if estimator == "per_stimulus" else 0
    return (1 - (residual**2).sum(axis=axis) / (total**2).sum(axis=axis)).mean()


# --- golden values ------------------------------------------------------------------------------


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("cv", ["split", 5, None, ShuffleSplit(3, random_state=0)], ids=str)
@pytest.mark.parametrize("p", [1, 130])
def test_equals_scikit_learn_fold_by_fold(estimator, cv, p):
    x, features = planted(n=120, p=p)
    result = variance_explained(x, features, cv=cv, estimator=estimator)
    for name, values in features.items():
        oracle = expected(x, values.values, folds_of(x, cv), estimator)
        assert result.sel(feature=name).item() == pytest.approx(oracle, rel=1e-9, abs=1e-12)


def test_equals_r2_score_in_sample():
    x, features = planted()
    predicted = {
        name: LinearRegression().fit(columns(v.values), x).predict(columns(v.values))
        for name, v in features.items()
    }
    for estimator, averaged in (("pooled", "variance_weighted"), ("per_unit", "uniform_average")):
        result = variance_explained(x, features, cv=None, estimator=estimator)
        oracle = [r2_score(x, y, multioutput=averaged) for y in predicted.values()]
        np.testing.assert_allclose(result, oracle, atol=1e-12)
    by_unit = unit_variance_explained(x, features, cv=None)
    oracle = [r2_score(x, y, multioutput="raw_values") for y in predicted.values()]
    np.testing.assert_allclose(by_unit, oracle, atol=1e-12)


def test_rank_deficient_columns_equal_scikit_learn():
    x, features = planted()
    place = features["place"].values
    redundant = np.column_stack([place, place @ [1.0, -2.0], np.full(len(place), 0.1)])
    redundant = feature(redundant, x)
    result = variance_explained(x, redundant, cv=5)
    assert result.item() == pytest.approx(
        expected(x, redundant.values, folds_of(x, 5), "pooled"), abs=1e-12
    )
    assert result.item() == pytest.approx(
        variance_explained(x, features["place"], cv=5).item(), abs=1e-12
    )


def test_large_and_nearly_collinear_amounts_keep_their_digits():
    x, features = planted()
    place = features["place"].values[:, :1]
    close = 1e6 + np.column_stack([place, place + 1e-4 * features["place"].values[:, 1:]])
    residual, total = by_sklearn(
        x, np.column_stack([place, (close[:, 1:] - close[:, :1])]), folds_of(x, 5)
    )
    oracle = 1 - (residual**2).sum() / (total**2).sum()
    assert variance_explained(x, feature(close, x), cv=5).item() == pytest.approx(oracle, abs=1e-5)


def test_two_halves_are_fitted_both_ways_and_pooled():
    x, features = planted()
    result = variance_explained(x, features["easy"])
    (a, b), (c, d) = folds_of(x, "split")
    assert (a == d).all() and (b == c).all()
    residual, total = by_sklearn(x, features["easy"].values, [(a, b), (b, a)])
    assert result.item() == pytest.approx(1 - (residual**2).sum() / (total**2).sum(), abs=1e-12)
    assert "two halves" in result.attrs["cv"] and "both ways" in result.attrs["cv"]


def test_split_coordinate_is_used_and_the_rest_left_alone():
    x, features = planted()
    split = np.array(["train", "validation", "test"])[np.arange(len(x)) % 3]
    x = x.assign_coords(split=("stimulus", split))
    result = variance_explained(x, features)
    folds = [(np.flatnonzero(split == "validation"), np.flatnonzero(split == "test"))]
    for name, values in features.items():
        oracle = expected(x, values.values, folds, "pooled")
        assert result.sel(feature=name).item() == pytest.approx(oracle, abs=1e-12)
    assert "fit on validation (80), test on test (80)" in result.attrs["cv"]
    elsewhere = x.copy()
    elsewhere[split == "train"] = 1e6
    xr.testing.assert_allclose(variance_explained(elsewhere, features), result, rtol=1e-12)


def test_groups_stay_together():
    x, features = planted()
    run = np.arange(len(x)) // 20
    result = variance_explained(x.assign_coords(run=("stimulus", run)), features, cv=4)
    folds = folds_of(x, 4, groups=run)
    oracle = expected(x, features["easy"].values, folds, "pooled")
    assert result.sel(feature="easy").item() == pytest.approx(oracle, abs=1e-12)
    assert "whole run" in result.attrs["cv"]


def test_companions_are_mean_squared_norms_per_test_stimulus():
    x, features = planted()
    result = variance_explained(x, features["easy"], cv=5)
    residual, total = by_sklearn(x, features["easy"].values, folds_of(x, 5))
    everything = (total**2).sum() / len(total)
    assert result.total.item() == pytest.approx(everything)
    assert result.explained.item() == pytest.approx(everything - (residual**2).sum() / len(total))
    assert result.item() == pytest.approx(result.explained.item() / result.total.item())


# --- omega squared ------------------------------------------------------------------------------


def anova(x, classes):
    """Sums of squares of a one-way analysis of each unit, with scipy's F as a check of them."""
    groups = [x[classes == c] for c in np.unique(classes)]
    between = sum(len(g) * (g.mean(axis=0) - x.mean(axis=0)) ** 2 for g in groups)
    within = sum(((g - g.mean(axis=0)) ** 2).sum(axis=0) for g in groups)
    df, rest = len(groups) - 1, len(x) - len(groups)
    np.testing.assert_allclose(f_oneway(*groups).statistic, (between / df) / (within / rest))
    return between, within, df, rest


@pytest.mark.parametrize("name", ["easy", "hard", "shape"])
@pytest.mark.parametrize("p", [1, 300])
def test_omega_squared_equals_the_anova_table(name, p):
    x, features = planted(n=120, p=p)
    between, within, df, rest = anova(x.values, features[name].values)
    error = (within / rest).sum()
    oracle = (between.sum() - df * error) / (between.sum() + within.sum() + error)
    result = variance_explained(x, features[name], cv=None, estimator="omega_squared")
    assert result.item() == pytest.approx(oracle, abs=1e-12)
    assert result.item() == pytest.approx(result.explained.item() / result.total.item(), abs=1e-12)
    assert result.attrs["estimator"] == "omega_squared" and result.attrs["cv"] == "in sample"


def test_omega_squared_of_nothing_has_mean_0_in_sample():
    shape = xr.DataArray(np.arange(60) % 4, dims="stimulus", attrs={"kind": "categorical"})
    rng = np.random.default_rng(0)
    draws = [rng.normal(size=(60, 20)) for _ in range(50)]
    plain, corrected = (
        [variance_explained(x, shape, cv=None, estimator=name).item() for x in draws]
        for name in ("pooled", "omega_squared")
    )
    assert np.mean(plain) == pytest.approx(3 / 59, abs=0.005)
    assert abs(np.mean(corrected)) < 0.005 and min(corrected) < 0


def test_omega_squared_needs_to_be_in_sample():
    x, features = planted()
    for cv in ("split", 5):
        with pytest.raises(ParameterError, match=f"is in sample.*got cv={cv!r}. Pass cv=None"):
            variance_explained(x, features, cv=cv, estimator="omega_squared")
    with pytest.raises(FeatureError, match="'feature' leave no error variance: 4 stimuli, 3"):
        variance_explained(np.eye(4), np.array(list("abcd")), cv=None, estimator="omega_squared")


# --- what the number means ----------------------------------------------------------------------


@pytest.mark.parametrize("estimator", ["pooled", "per_unit"])
def test_planted_shares_come_out(estimator):
    # two orthogonal bits of variance 4/4 and 1/4 a unit beside noise of variance 1
    rng = np.random.default_rng(0)
    bits = np.array(np.meshgrid([0, 1], [0, 1], range(500))).reshape(3, -1)[:2]
    signs = rng.choice([-1, 1], size=(2, 200))
    x = 2 * np.outer(bits[0], signs[0]) + np.outer(bits[1], signs[1])
    x = activations(x + rng.normal(size=x.shape))
    features = {"easy": feature(bits[0], x), "hard": feature(bits[1], x)}
    result = variance_explained(x, features, estimator=estimator)
    np.testing.assert_allclose(result, [1 / 2.25, 0.25 / 2.25], atol=0.01)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_an_independent_feature_explains_nothing_held_out(estimator):
    scores = []
    for seed in range(20):
        x, features = planted(n=200, p=20, seed=seed)
        scores.append(variance_explained(x, features["independent"], estimator=estimator).item())
    assert np.mean(scores) == pytest.approx(0, abs=0.02)
    assert np.mean(scores) < 0


def test_a_perfect_feature_explains_everything():
    x, features = planted()
    x = x.copy(data=np.outer(features["easy"].values, np.arange(1.0, 31.0)) + 5)
    for estimator in ESTIMATORS:
        score = variance_explained(x, features["easy"], cv=5, estimator=estimator)
        assert score.item() == pytest.approx(1, abs=1e-12)


def test_zero_patterns_are_left_out_and_counted():
    rng = np.random.default_rng(0)
    bit = np.tile([0, 1], 20)
    x = rng.normal(size=(40, 3))
    split = np.repeat(["validation", "test"], 20)
    x[:20] -= x[:20].mean(axis=0)
    x[0] -= x[:20].sum(axis=0)  # the mean of the fit rows is 0 but for rounding
    x[[25, 30]] = x[:20].mean(axis=0)
    x = activations(x, split=split)
    result = variance_explained(x, feature(bit, x), estimator="per_stimulus")
    residual, total = by_sklearn(x, bit, [(np.arange(20), np.arange(20, 40))])
    live = np.delete(np.arange(20), [5, 10])
    ratios = 1 - (residual[live] ** 2).sum(axis=1) / (total[live] ** 2).sum(axis=1)
    assert result.item() == pytest.approx(ratios.mean(), abs=1e-12)
    assert result.n_zero_patterns.item() == 2


# --- laws ---------------------------------------------------------------------------------------


def test_pooled_is_invariant_to_rotation_shift_and_isotropic_scale():
    x, features = planted()
    rng = np.random.default_rng(1)
    rotation = np.linalg.qr(rng.normal(size=(30, 30)))[0]
    moved = x.copy(data=3.7 * (x.values @ rotation) + rng.normal(size=30))
    before, after = (variance_explained(a, features, cv=5) for a in (x, moved))
    np.testing.assert_allclose(after, before, atol=1e-12)


@pytest.mark.parametrize("cv", ["split", 5])
@pytest.mark.parametrize(
    "metric", [variance_explained, unit_variance_explained, sparseness], ids=lambda m: m.__name__
)
def test_shuffling_a_file_changes_nothing(metric, cv):
    x, features = planted()
    order = np.random.default_rng(2).permutation(len(x))
    shuffled = metric(x[order], features, cv=cv)
    np.testing.assert_allclose(shuffled, metric(x, features, cv=cv), atol=1e-10)


def test_shuffling_float32_changes_little():
    x, features = planted()
    x = x.astype(np.float32)
    order = np.random.default_rng(2).permutation(len(x))
    for estimator in ESTIMATORS:
        before, after = (
            variance_explained(a, features, estimator=estimator) for a in (x, x[order])
        )
        np.testing.assert_allclose(after, before, atol=1e-6)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_float32_with_a_large_mean(estimator):
    x, features = planted()
    large = (x + 1000).astype(np.float32)
    exact = variance_explained(large.astype(np.float64), features, estimator=estimator)
    result = variance_explained(large, features, estimator=estimator)
    np.testing.assert_allclose(result, exact, atol=1e-6)  # products of float32 blocks are float32


@pytest.mark.parametrize("shape", [(1100, 250), (300, 900)])
def test_large_float32_with_a_large_mean(shape):
    """Beyond the size from which products may be taken in float32."""
    x, features = planted(*shape)
    large = (x + 1000).astype(np.float32)
    assert large.size > SMALL
    wide = large.astype(np.float64)
    for estimator in ESTIMATORS:
        exact = variance_explained(wide, features, estimator=estimator)
        result = variance_explained(large, features, estimator=estimator)
        np.testing.assert_allclose(result, exact, atol=1e-6)
    exact = variance_explained(wide, features, estimator="omega_squared", cv=None)
    result = variance_explained(large, features, estimator="omega_squared", cv=None)
    np.testing.assert_allclose(result, exact, atol=1e-6)
    result, exact = (unit_variance_explained(a, features) for a in (large, wide))
    np.testing.assert_allclose(result, exact, atol=1e-5)
    result, exact = (sparseness(a, features) for a in (large, wide))
    np.testing.assert_allclose(result, exact, atol=1e-5)
    np.testing.assert_allclose(total_variance(large), total_variance(wide), rtol=1e-6)


def test_features_do_not_depend_on_each_other():
    x, features = planted()
    together = variance_explained(x, features, cv=5)
    for name, one in features.items():
        alone = variance_explained(x, one, cv=5)
        assert alone.item() == pytest.approx(together.sel(feature=name).item(), abs=1e-13)
        assert "feature" not in alone.dims


def test_torch_equals_numpy():
    torch = pytest.importorskip("torch")
    x, features = planted()
    bare = {name: values.values for name, values in features.items()}
    tensor = torch.from_numpy(x.values)
    for estimator in ESTIMATORS:
        ours, theirs = (
            variance_explained(a, bare, cv=5, estimator=estimator) for a in (x.values, tensor)
        )
        np.testing.assert_allclose(theirs, ours, atol=1e-10)
    for metric in (unit_variance_explained, sparseness):
        ours, theirs = (metric(a, bare, cv=5) for a in (x.values, tensor))
        np.testing.assert_allclose(theirs, ours, atol=1e-10)
    assert total_variance(tensor).item() == pytest.approx(total_variance(x.values).item())
    assert torch.equal(tensor, torch.from_numpy(x.values))


def test_kernels_speak_the_array_api_and_stay_on_the_device():
    strict = pytest.importorskip("array_api_strict")
    x, _ = planted(n=60)
    device = strict.Device("device1")
    tensor = strict.asarray(x.values, device=device)
    folds = folds_of(x, 3)
    bits = [Feature("bit", "binary", np.arange(60) % 2)]
    parts = explain(tensor, bits, folds)
    assert parts.explained.device == parts.total.device == device
    oracle = explain(x.values, bits, folds).explained
    back = np.asarray(parts.explained.to_device(strict.Device("CPU_DEVICE")))
    np.testing.assert_allclose(back, oracle, atol=1e-10)


def test_inputs_are_left_as_they_were():
    x, features = planted()
    values = x.values.copy()
    x.values.flags.writeable = False
    variance_explained(x, features, estimator="per_stimulus")
    sparseness(x, features)
    np.testing.assert_array_equal(x.values, values)


def test_many_blocks_equal_one(monkeypatch):
    x, features = planted()
    whole = variance_explained(x, features, cv=5, estimator="per_stimulus")
    monkeypatch.setattr("reptools.statistics.features.skinny.BYTES", 1)
    pieces = variance_explained(x, features, cv=5, estimator="per_stimulus")
    xr.testing.assert_allclose(pieces, whole, rtol=1e-12)


@pytest.mark.parametrize("cv", ["split", 5, None], ids=str)
def test_blocks_equal_arrays(cv):
    pytest.importorskip("dask")
    x, features = planted()
    in_blocks = x.chunk({"stimulus": 70, "unit": 11})
    for estimator in ESTIMATORS:
        ours, theirs = (
            variance_explained(a, features, cv=cv, estimator=estimator) for a in (x, in_blocks)
        )
        xr.testing.assert_allclose(theirs, ours, rtol=1e-12)
    by_unit, in_units = (unit_variance_explained(a, features, cv=cv) for a in (x, in_blocks))
    np.testing.assert_allclose(in_units, by_unit, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("scale", [1e-150, 1e-30, 1e30, 1e150])
def test_any_scale(scale):
    x, features = planted(n=60, p=5)
    for estimator in ESTIMATORS:
        exact = variance_explained(x, features, estimator=estimator)
        result = variance_explained(x * scale, features, estimator=estimator)
        np.testing.assert_allclose(result, exact, atol=1e-10)
        if 1e-45 < scale < 1e38:  # float32 could not hold the squares
            narrow = variance_explained(
                (x * scale).astype(np.float32), features, estimator=estimator
            )
            np.testing.assert_allclose(narrow, exact, atol=1e-6)


def test_units_of_very_different_scale_in_float32():
    x, features = planted()
    scale = np.where(np.arange(30) < 3, 1e-25, 1.0)
    by_unit = unit_variance_explained((x * scale).astype(np.float32), features, cv=5)
    np.testing.assert_allclose(by_unit, unit_variance_explained(x, features, cv=5), atol=1e-5)


def test_squares_beyond_float64_are_refused():
    x, features = planted(n=40, p=3)
    with pytest.raises(DataError, match="squares are beyond float64. Scale it down"):
        variance_explained(x * 1e200, features)


@pytest.mark.parametrize("metric", [variance_explained, unit_variance_explained, sparseness])
def test_squares_that_are_0_in_float64_are_refused(metric):
    x, features = planted(n=60, p=5)
    with pytest.raises(DataError, match=f"{metric.__name__}: x: x varies so little.*Scale it up"):
        metric(x * 1e-200, features)


def test_a_stratifying_splitter_is_given_all_classes():
    x, features = planted()
    chosen = {"easy": features["easy"], "hard": features["hard"]}
    cv = StratifiedKFold(4, shuffle=True, random_state=0)
    result = variance_explained(x, chosen, cv=cv)
    joint = chosen["easy"].values * 2 + chosen["hard"].values
    folds = list(cv.split(x.values, joint))
    for name, values in chosen.items():
        oracle = expected(x, values.values, folds, "pooled")
        assert result.sel(feature=name).item() == pytest.approx(oracle, abs=1e-12)


# --- what has no variance -----------------------------------------------------------------------


def test_dead_units_are_counted_and_carry_no_weight():
    x, features = planted()
    dead = x.copy()
    dead[:, [3, 8]] = 0.1
    alive = dead.isel(unit=np.delete(np.arange(30), [3, 8]))
    for estimator in ESTIMATORS:
        with pytest.warns(DeadUnitWarning, match="2 of 30 units"):
            result = variance_explained(dead, features, cv=5, estimator=estimator)
        np.testing.assert_allclose(
            result, variance_explained(alive, features, cv=5, estimator=estimator), atol=1e-12
        )
        assert result.attrs["n_dead_units"] == 2
    with pytest.warns(DeadUnitWarning, match="2 of 30 units"):
        by_unit = unit_variance_explained(dead, features, cv=5)
    assert np.isnan(by_unit[:, [3, 8]]).all() and by_unit.count() == 5 * 28
    with pytest.warns(DeadUnitWarning, match="2 of 30 units"):
        gini = sparseness(dead, features, cv=5)
    np.testing.assert_allclose(gini, sparseness(alive, features, cv=5), atol=1e-12)


def test_a_unit_that_lives_only_outside_the_split_is_missing():
    x, features = planted()
    split = np.array(["train", "validation", "test"])[np.arange(len(x)) % 3]
    x = x.assign_coords(split=("stimulus", split)).copy()
    x[split != "train", 4] = 0.1
    unseen = "1 of 30 units vary, but over the test stimuli not by what float64 can square .4.; "
    with pytest.warns(ReptoolsWarning, match=f"unit_variance_explained: {unseen}score missing"):
        by_unit = unit_variance_explained(x, features)
    assert np.isnan(by_unit[:, 4]).all() and by_unit.count() == 5 * 29
    with pytest.warns(ReptoolsWarning, match=f"^variance_explained: {unseen}left out"):
        per_unit = variance_explained(x, features, estimator="per_unit")
    np.testing.assert_allclose(per_unit, by_unit.mean("unit"), rtol=1e-12)


@pytest.mark.parametrize("chunks", [None, 40])
def test_a_unit_too_small_to_square_is_named(chunks):
    x, features = planted(p=6)
    x = x * [1, 1, 1e-200, 1, 1, 1]
    x = x if chunks is None else x.chunk(stimulus=chunks)
    with pytest.warns(
        ReptoolsWarning, match=r"1 of 6 units vary, .* not by what float64 .* .2.; s"
    ):
        by_unit = unit_variance_explained(x, features)
    assert np.isnan(by_unit[:, 2]).all() and by_unit.count() == 5 * 5
    if chunks is None:
        scaled = unit_variance_explained(x, features, prepare="zscore")
        whole = unit_variance_explained(planted(p=6)[0], features, prepare="zscore")
        np.testing.assert_allclose(scaled, whole, rtol=1e-9)


def test_constant_features_are_named_and_missing():
    x, features = planted()
    features["flat"] = feature(np.zeros(len(x), dtype=int), x)
    with pytest.warns(ReptoolsWarning, match="constant over all stimuli.*'flat'"):
        result = variance_explained(x, features)
    assert np.isnan(result.sel(feature="flat"))
    assert result.drop_sel(feature="flat").notnull().all()
    with pytest.raises(FeatureError, match=r"variance_explained: constant over all.*'flat'"):
        variance_explained(x, {"flat": features["flat"]})


@pytest.mark.parametrize("metric", [variance_explained, unit_variance_explained, sparseness])
def test_a_class_that_a_fit_lacks_is_named_and_missing(metric):
    x, features = planted()
    rare = np.where(np.arange(len(x)) == 7, "rare", features["shape"].values)
    with pytest.warns(ReptoolsWarning, match=f"{metric.__name__}: the fit rows.*'rarity'"):
        result = metric(x, {"easy": features["easy"], "rarity": feature(rare, x)})
    assert np.isnan(result.sel(feature="rarity")).all()
    assert result.sel(feature="easy").notnull().all()
    for name in result.coords:
        if name in ("explained", "effective_units", "treves_rolls"):
            assert np.isnan(result.coords[name].sel(feature="rarity"))
    with pytest.raises(FeatureError, match=f"{metric.__name__}: the fit rows.*'feature'"):
        metric(x, feature(rare, x))


@pytest.mark.parametrize("slope", [0.1, 0.3, 2, 7])
def test_a_direction_that_a_fit_does_not_vary_along_is_missing(slope):
    x, features = planted()
    split = np.array(["validation", "test"])[np.arange(len(x)) % 2]
    x = x.assign_coords(split=("stimulus", split))
    place = features["place"].values.copy()
    place[split == "validation", 1] = slope * place[split == "validation", 0] + 0.7
    with pytest.warns(ReptoolsWarning, match="do not vary along, 'place'"):
        result = variance_explained(x, {"easy": features["easy"], "place": feature(place, x)})
    assert np.isnan(result.sel(feature="place"))


def test_a_class_outside_the_split_does_no_harm():
    x, features = planted()
    split = np.array(["train", "validation", "test"])[np.arange(len(x)) % 3]
    x = x.assign_coords(split=("stimulus", split))
    shape = np.where((split == "train"), "elsewhere", features["shape"].values)
    result = variance_explained(x, feature(shape, x))
    oracle = variance_explained(x, features["shape"])
    assert result.item() == pytest.approx(oracle.item(), abs=1e-12)


# --- time courses -------------------------------------------------------------------------------


def test_outer_dimensions_stay():
    steps, features = time_course()
    result = variance_explained(steps, features, cv=5)
    assert result.dims == ("step", "feature") and result.step.values.tolist() == [0, 10, 20]
    one = variance_explained(steps.sel(step=10), features, cv=5)
    np.testing.assert_allclose(result.sel(step=10), one, atol=1e-13)
    by_unit = unit_variance_explained(steps, features, cv=5)
    assert by_unit.dims == ("step", "feature", "unit")


def test_a_feature_of_each_token_is_scored_token_by_token():
    x, features = planted()
    rng = np.random.default_rng(3)
    word = rng.integers(0, 2, (3, len(x)))
    tokens = xr.concat([x + 2 * w[:, None] * rng.normal(size=30) for w in word], dim="token")
    steps = xr.concat([tokens, tokens * 2 + 1], dim="step")
    of_token = feature(word.T, x).rename(component="token")
    result = variance_explained(steps, {"easy": features["easy"], "word": of_token}, cv=5)
    assert result.dims == ("step", "token", "feature")
    for t in range(3):
        alone = variance_explained(tokens[t], feature(word[t], x), cv=5).item()
        np.testing.assert_allclose(result.sel(feature="word").isel(token=t), alone, atol=1e-12)
    parts = variance_explained(steps.isel(token=1), feature(word[2], x), cv=5)
    assert (parts < 0.1).all() and (result.sel(feature="word") > 0.1).all()
    # constant at one token: missing there, by name
    word[1] = 1
    of_token = feature(word.T, x).rename(component="token")
    with pytest.warns(ReptoolsWarning, match="constant.*'word at step=0, token=1'"):
        result = variance_explained(steps, {"easy": features["easy"], "word": of_token}, cv=5)
    lost = result.sel(feature="word").isnull().values
    assert lost.all(axis=0).tolist() == [False, True, False] and lost.sum() == 2
    assert result.sel(feature="easy").notnull().all()


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 0, 1]])
def test_final_denominator_puts_all_steps_on_one_scale(order):
    steps, features = time_course()
    steps = steps[order]
    own = variance_explained(steps, features, cv=5)
    final = variance_explained(steps, features, cv=5, denominator="final")
    assert final.dims == own.dims and final.name == "variance_explained"
    np.testing.assert_allclose(final, own.explained / own.total.sel(step=20), rtol=1e-12)
    np.testing.assert_allclose(final.sel(step=20), own.sel(step=20), rtol=1e-12)
    ratio = final.sel(step=0) / final.sel(step=20)  # the same patterns at a quarter of the size
    np.testing.assert_allclose(ratio, 1 / 16, rtol=1e-12)
    assert final.attrs["estimator"] == "pooled, over the total of the last step"
    assert json.loads(final.attrs["params"])["denominator"] == "final"
    single = variance_explained(steps, features["easy"], cv=5, denominator="final")
    np.testing.assert_allclose(single, final.sel(feature="easy"), rtol=1e-12)


def test_a_last_step_without_variance_is_refused_as_denominator():
    steps, features = time_course()
    dead = steps.copy()
    dead[{"step": 2}] = 0.5
    with (
        pytest.warns(DeadUnitWarning, match="step=20"),
        pytest.raises(DataError, match="no unit varies at step 20. Leave that step out"),
    ):
        variance_explained(dead, features, cv=5, denominator="final")
    # tokens that never vary have no score under any denominator
    tokens = xr.concat([steps, steps * 0], dim="token")
    with pytest.warns(DeadUnitWarning):
        result = variance_explained(tokens, features, cv=5, denominator="final")
    assert result.isel(token=0).notnull().all() and result.isel(token=1).isnull().all()


def test_omega_squared_over_the_final_total():
    steps, features = time_course()
    own = variance_explained(steps, features, cv=None, estimator="omega_squared")
    final = variance_explained(
        steps, features, cv=None, estimator="omega_squared", denominator="final"
    )
    np.testing.assert_allclose(final, own.explained / own.total.sel(step=20), rtol=1e-12)


# --- bad input ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"estimator": "mean"}, "variance_explained: estimator must be pooled.*'mean'"),
        ({"denominator": "last"}, "denominator must be own|final, got 'last'"),
        ({"cv": 1}, "cv must be.*got 1"),
        ({"cv": 999}, "cv must be from 2 to 240.*got 999"),
        ({"cv": 2**70}, "cv must be from 2 to 240"),
        ({"cv": np.arange(3)}, "cv must be a number of folds.* got array"),
        ({"cv": "halves"}, "cv must be a number of folds.* got 'halves'"),
        ({"groups": "story"}, "groups='story' is no coordinate"),
        ({"groups": 3}, "groups must name a stimulus coordinate.* got 3"),
        ({"groups": np.arange(3)}, r"groups has the shape \(3,\) and must have one value"),
        ({"seed": 1.5}, "seed must be int, got 1.5"),
        ({"prepare": "whiten"}, "prepare must.*'whiten'"),
        ({"estimater": "pooled"}, "'estimater'. Did you mean 'estimator'"),
        ({"denominator": "final"}, r"needs a dimension 'step', got \('feature',\)"),
        (
            {"denominator": "final", "estimator": "per_unit"},
            "defined for estimator='pooled' and.* got 'per_unit'",
        ),
    ],
)
def test_bad_options_are_named_with_their_value(options, message):
    x, features = planted()
    with pytest.raises(ParameterError, match=message):
        variance_explained(x, features, **options)


@pytest.mark.parametrize("metric", [unit_variance_explained, sparseness])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cv": 1}, "cv must be.*got 1"),
        ({"groups": "story"}, "groups='story' is no coordinate"),
        ({"seed": "a"}, "seed must be int, got 'a'"),
        ({"prepare": "whiten"}, "prepare must.*'whiten'"),
    ],
)
def test_bad_options_of_its_relatives(metric, options, message):
    x, features = planted(n=40, p=4)
    with pytest.raises(ParameterError, match=f"{metric.__name__}: {message}"):
        metric(x, features, **options)


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (None, r"feature 'feature' has the shape \(\)"),
        ({"a": [[0, 1], [1]]}, "feature 'a' is no array"),
        ({"a": np.zeros((2, 3, 4))}, r"feature 'a' has the shape \(2, 3, 4\)"),
    ],
)
def test_what_is_no_feature_is_refused(features, message):
    with pytest.raises(DimensionError, match=f"variance_explained: {message}"):
        variance_explained(np.random.default_rng(0).normal(size=(8, 3)), features)


def test_stimuli_must_be_the_same():
    x, features = planted()
    with pytest.raises(StimulusError, match=r"3 only in x.*0 only in feature 'easy'"):
        variance_explained(x, features["easy"][3:].rename("easy"))
    with pytest.raises(StimulusError, match="feature 'easy' has no stimulus labels"):
        variance_explained(x, {"easy": features["easy"].values})
    amount = features["place"][:, 0].where(x.stimulus != "s0003")
    with pytest.raises(FeatureError, match="'place' is not finite for 1 stimuli"):
        variance_explained(x, {"place": amount})
