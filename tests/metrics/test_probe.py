"""The linear probe: golden values against scikit-learn 1.9.1 pipelines, then laws."""

from __future__ import annotations

import gzip

import numpy as np
import pytest
import xarray as xr
from sklearn.covariance import ledoit_wolf
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression, Ridge, RidgeClassifier
from sklearn.metrics import accuracy_score, balanced_accuracy_score
from sklearn.model_selection import LeaveOneGroupOut, PredefinedSplit, cross_val_predict
from sklearn.neighbors import NearestCentroid
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from reptools.engine.context import Context
from reptools.errors import (
    DeadUnitWarning,
    FeatureError,
    ParameterError,
    ReptoolsWarning,
    StimulusError,
)
from reptools.metrics.probe import probe
from reptools.metrics.shared import probes, readout
from reptools.statistics.features.design import Feature
from reptools.statistics.folds import Sampling, hash_rank
from reptools.statistics.readout import logistic
from tests.shared_data import shared


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Small fits of scikit-learn are many times slower on two threads."""
    with threadpool_limits(1, "blas"):
        yield


def activations(values, **coords):
    labels = np.array([f"s{i:04d}" for i in range(len(values))])
    along = {name: ("stimulus", np.asarray(v)) for name, v in coords.items()}
    return xr.DataArray(values, dims=("stimulus", "unit"), coords={"stimulus": labels, **along})


def feature(values, x):
    values = np.asarray(values)
    dims = ("stimulus", "component")[: values.ndim]
    return xr.DataArray(values, dims=dims, coords={"stimulus": x.stimulus.values})


def planted(n=150, p=20, seed=0):
    """Activations with a bit, three unequal classes, an amount in 1-d and in 2-d."""
    rng = np.random.default_rng(seed)
    bit, shape = rng.integers(0, 2, n), rng.choice(3, size=n, p=[0.5, 0.3, 0.2])
    place = rng.normal(size=(n, 2))
    x = rng.normal(size=(n, p)) * rng.uniform(0.1, 10, p) + 5
    x += np.outer(bit, rng.normal(size=p)) + rng.normal(size=(3, p))[shape]
    x = activations(x + place @ rng.normal(size=(2, p)))
    return x, {
        "bit": feature(bit, x),
        "shape": feature(np.array(["cube", "ball", "cone"])[shape], x),
        "size": feature(place[:, 0], x),
        "place": feature(place, x),
    }


def fold_numbers(x, strata, cv=5, seed=0):
    """Number of the fold that tests each stimulus."""
    number = np.empty(len(x), dtype=int)
    for i, (_, test) in enumerate(Sampling(cv, seed, x.stimulus.values).folds(strata)):
        number[test] = i
    return number


def codes(values):
    return np.unique(values, return_inverse=True)[1]


# --- golden values ------------------------------------------------------------------------------


@pytest.mark.parametrize("scaling", ["zscore", "none"])
@pytest.mark.parametrize("C", [1.0, 0.01])
def test_classes_equal_a_scikit_learn_pipeline_on_the_same_folds(C, scaling):
    x, features = planted()
    scaler = StandardScaler(with_std=scaling == "zscore")
    model = make_pipeline(scaler, LogisticRegression(C=C, max_iter=2000))
    result = probe(x, {name: features[name] for name in ("bit", "shape")}, C=C, scaling=scaling)
    for name in ("bit", "shape"):
        y = features[name].values
        split = PredefinedSplit(fold_numbers(x, codes(y)))
        answered = cross_val_predict(model, x.values, y, cv=split)
        one = result.sel(feature=name)
        # float32 against float64: at most one of 150 answers may fall on the other side
        assert one.item() == pytest.approx(balanced_accuracy_score(y, answered), abs=0.012)
        assert one.accuracy.item() == pytest.approx(accuracy_score(y, answered), abs=0.007)
        assert one.majority.item() == np.bincount(codes(y)).max() / len(y)
        assert one.chance.item() == 1 / len(np.unique(y))


@pytest.mark.parametrize("scaling", ["zscore", "none"])
@pytest.mark.parametrize("C", [1.0, 0.01])
@pytest.mark.parametrize("p", [20, 300])
def test_amounts_equal_ridge_on_the_same_folds(C, scaling, p):
    x, features = planted(p=p)
    scaler = StandardScaler(with_std=scaling == "zscore")
    model = make_pipeline(scaler, Ridge(alpha=1 / C))
    result = probe(x, {name: features[name] for name in ("size", "place")}, C=C, scaling=scaling)
    number = fold_numbers(x, None)
    for name in ("size", "place"):
        y = features[name].values
        answered = cross_val_predict(model, x.values, y, cv=PredefinedSplit(number))
        total = sum(((y[number == i] - y[number != i].mean(axis=0)) ** 2).sum() for i in range(5))
        one = result.sel(feature=name)
        assert one.item() == pytest.approx(1 - ((y - answered) ** 2).sum() / total, abs=1e-9)
        assert one.chance.item() == 0
        assert np.isnan(one.accuracy) and np.isnan(one.majority)


def test_split_coordinate_is_used():
    x, features = planted()
    split = np.array(["train", "validation", "test"])[np.arange(len(x)) % 3]
    x = x.assign_coords(split=("stimulus", split))
    result = probe(x, features, cv="split")
    fit, test = split == "validation", split == "test"
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    answered = model.fit(x[fit], features["bit"][fit]).predict(x[test])
    oracle = balanced_accuracy_score(features["bit"][test], answered)
    assert result.sel(feature="bit").item() == pytest.approx(oracle, abs=0.025)
    assert "fit on validation (50), test on test (50)" in result.attrs["cv"]
    elsewhere = x.copy()
    elsewhere[split == "train"] = 1e6
    xr.testing.assert_equal(probe(elsewhere, features, cv="split"), result)


def test_unequal_classes_do_not_lift_the_score():
    # 90 % of one class and nothing to read: accuracy is high, balanced accuracy is chance
    rng = np.random.default_rng(0)
    rare = (np.arange(1000) % 10 == 0).astype(int)
    x = activations(rng.normal(size=(1000, 2)))
    result = probe(x, feature(rare, x))
    assert result.item() == pytest.approx(0.5, abs=0.01)
    assert result.accuracy.item() == pytest.approx(0.9, abs=0.01)
    assert result.majority.item() == 0.9


# --- what the number means ----------------------------------------------------------------------


def test_planted_features_are_read_out_and_permuted_ones_are_not():
    rng = np.random.default_rng(0)
    bit, shape = rng.integers(0, 2, 400), rng.integers(0, 4, 400)
    amount = rng.normal(size=400)
    x = rng.normal(size=(400, 40))
    x[:, 0] += 8 * bit
    x[:, 1:5] += 8 * np.eye(4)[shape]
    x[:, 5] += 8 * amount
    x = activations(x)
    features = {"bit": bit, "shape": np.array(list("abcd"))[shape], "amount": amount}
    result = probe(x, {name: feature(values, x) for name, values in features.items()})
    assert (result > 0.95).all()
    np.testing.assert_allclose(result.permuted, [0.5, 0.25, -0.1], atol=0.12)


def test_permuted_labels_are_at_chance_on_average():
    x, features = planted(n=120, p=10)
    at_chance = {"bit": 1 / 2, "shape": 1 / 3}
    nulls = [
        probe(x, {n: features[n] for n in at_chance}, seed=seed).permuted.values
        for seed in range(12)
    ]
    np.testing.assert_allclose(np.mean(nulls, axis=0), list(at_chance.values()), atol=0.04)
    assert len({tuple(null) for null in nulls}) > 6  # another seed, another permutation


def test_a_feature_in_little_variance_is_found_after_scaling():
    rng = np.random.default_rng(0)
    bit = rng.integers(0, 2, 300)
    x = activations(np.column_stack([rng.normal(size=(300, 5)), 1e-3 * bit]))
    target = feature(bit, x)
    assert probe(x, target).item() > 0.99
    assert probe(x, target, scaling="none").item() < 0.7


# --- laws ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("cv", ["split", 5])
def test_shuffling_a_file_changes_no_prediction(cv, dtype):
    x, features = planted()
    x = x.astype(dtype)
    before = probe(x, features, cv=cv)
    for order in (np.random.default_rng(2).permutation(len(x)), np.arange(len(x))[::-1]):
        xr.testing.assert_identical(probe(x[order], features, cv=cv), before)
        moved = {name: values[order] for name, values in features.items()}
        xr.testing.assert_identical(probe(x, moved, cv=cv), before)


def test_memory_layout_changes_no_prediction():
    x, features = planted()
    bare = {name: values.values for name, values in features.items()}
    xr.testing.assert_equal(probe(np.asfortranarray(x.values), bare), probe(x.values, bare))


def test_shift_and_scale_change_nothing():
    x, features = planted()
    rng = np.random.default_rng(1)
    moved = x.copy(data=x.values * 3.7 + rng.normal(size=20))
    np.testing.assert_allclose(probe(moved, features), probe(x, features), atol=1e-9)


def test_float32_with_a_large_mean():
    x, features = planted()
    large = (x + 1000).astype(np.float32)
    exact = probe(large.astype(np.float64), features)
    np.testing.assert_allclose(probe(large, features), exact, atol=1e-4)


def test_seed_moves_folds_and_one_seed_gives_one_number():
    x, features = planted()
    xr.testing.assert_identical(probe(x, features, seed=3), probe(x, features, seed=3))
    assert (probe(x, features, seed=3) != probe(x, features, seed=4)).any()


def test_groups_stay_together():
    # four copies of each stimulus: without groups the copies leak from fit to test
    rng = np.random.default_rng(0)
    original = np.repeat(np.arange(60), 4)
    bit = rng.integers(0, 2, 60)[original]
    x = rng.normal(size=(60, 40))[original] + 0.01 * rng.normal(size=(240, 40))
    x = activations(x)
    target = feature(bit, x)
    assert probe(x, target).item() > 0.9
    apart = probe(x, target, groups=original)
    assert apart.item() == pytest.approx(0.5, abs=0.15)
    assert "whole groups" in apart.attrs["cv"]


def test_outer_dimensions_stay():
    x, features = planted()
    steps = xr.concat([x, x[:, ::-1] * 2], dim="step").assign_coords(step=[0, 10])
    result = probe(steps, features)
    assert result.dims == ("step", "feature") and result.step.values.tolist() == [0, 10]
    np.testing.assert_array_equal(result.sel(step=0), probe(x, features))
    single = probe(steps, features["bit"])
    assert single.dims == ("step",) and single.permuted.dims == ("step",)


def test_torch_tensors_are_taken():
    torch = pytest.importorskip("torch")
    x, features = planted()
    bare = {name: values.values for name, values in features.items()}
    tensor = torch.from_numpy(x.values.copy())
    xr.testing.assert_equal(probe(tensor, bare), probe(x.values, bare))


def test_dead_units_carry_no_weight():
    x, features = planted()
    dead = x.copy()
    dead[:, [3, 8]] = 0.1
    alive = dead.isel(unit=np.delete(np.arange(20), [3, 8]))
    with pytest.warns(DeadUnitWarning, match="2 of 20 units"):
        result = probe(dead, features)
    np.testing.assert_allclose(result, probe(alive, features), atol=1e-9)


def test_a_unit_that_is_constant_in_the_fit_rows_carries_no_weight():
    x, features = planted()
    split = np.array(["validation", "test"])[np.arange(len(x)) % 2]
    x = x.assign_coords(split=("stimulus", split))
    lively = x.copy()
    lively[split == "validation", 4] = 0.1  # its standard deviation is rounding, not 0
    without = probe(lively.isel(unit=np.delete(np.arange(20), 4)), features, cv="split")
    np.testing.assert_allclose(probe(lively, features, cv="split"), without, atol=1e-9)


# --- what cannot be scored ----------------------------------------------------------------------


def test_a_class_may_be_missing_from_test_rows_only():
    x, _ = planted()
    split = np.array(["validation", "test"])[np.arange(len(x)) % 2]
    x = x.assign_coords(split=("stimulus", split))
    bit = np.array(["a", "b"])[np.arange(len(x)) // 2 % 2]
    for where in ("validation", "test"):
        rare = np.where((np.arange(len(x)) // 10 == 3) & (split == where), "c", bit)
        if where == "validation":
            assert probe(x, feature(rare, x), cv="split").chance == pytest.approx(1 / 3)
            continue
        with pytest.raises(FeatureError, match="the fit rows of fold 0 .* lack the classes 'c'"):
            probe(x, feature(rare, x), cv="split")


def test_a_class_missing_from_fit_rows_is_an_error_by_name():
    x, features = planted()
    rare = np.where(np.arange(len(x)) == 7, "rare", features["shape"].values)
    with pytest.raises(FeatureError, match=r"probe: feature 'rarity'.*lack the classes 'rare'"):
        probe(x, {"rarity": feature(rare, x)})
    halves = x.assign_coords(run=("stimulus", codes(features["shape"].values)))
    with pytest.raises(FeatureError, match=r"'shape'.*fold 0 \(3 folds, whole run\) lack"):
        probe(halves, {"shape": features["shape"]}, cv=3, groups="run")


def test_a_single_class_among_the_stimuli_used_is_an_error_by_name():
    x, features = planted()
    split = np.repeat(["train", "validation", "test"], 50)
    x = x.assign_coords(split=("stimulus", split))
    only = np.where(split == "train", "other", "same")
    with pytest.raises(FeatureError, match=r"'kind' has the single class 'same'.*split"):
        probe(x, {"kind": feature(only, x)}, cv="split")
    unused = feature(np.where(split == "train", only, features["shape"].values), x)
    result = probe(x, unused, cv="split")  # a class outside the split does no harm
    assert result.chance.item() == 1 / 3


def test_constant_features_are_named_and_missing():
    x, features = planted()
    features["flat"] = feature(np.zeros(len(x), dtype=int), x)
    with pytest.warns(ReptoolsWarning, match=r"probe: constant over all stimuli.*'flat'"):
        result = probe(x, features)
    assert np.isnan(result.sel(feature="flat")) and result.count() == 4


def test_a_permuted_target_that_lacks_a_class_is_missing():
    # every group holds both classes, but few groups hold the rare one after permutation
    x, _ = planted(n=40)
    groups = np.repeat([0, 1], 20)
    rare = np.isin(np.arange(40), [0, 20]).astype(int)
    nulls = [
        probe(x, feature(rare, x), cv=2, groups=groups, seed=seed).permuted.item()
        for seed in range(8)
    ]
    assert np.isnan(nulls).any() and not np.isnan(nulls).all()


def test_a_fit_that_does_not_converge_is_named(monkeypatch):
    monkeypatch.setattr(logistic, "MAX_ITERATIONS", 2)
    x, features = planted()
    with pytest.warns(ReptoolsWarning) as caught:
        result = probe(x, {"bit": features["bit"]})
    messages = [str(w.message) for w in caught]
    assert "probe: feature 'bit' did not converge in 2 iterations in 5 of 5 folds" in messages[0]
    assert "probe: permuted feature 'bit'" in messages[1] and len(messages) == 2
    assert result.item() > 0.65  # it answers by what it has learned


def test_amounts_that_do_not_vary_over_the_test_stimuli_are_missing_by_name():
    x, _ = planted(n=90)
    split = np.repeat(["train", "validation", "test"], 30)
    x = x.assign_coords(split=("stimulus", split))
    size = feature(np.where(split == "train", np.arange(90.0), 0.5), x)
    with pytest.warns(ReptoolsWarning) as caught:
        assert probe(x, {"size": size}, cv="split").isnull().all()
    assert "probe: feature 'size' does not vary over the test stimuli" in str(caught[0].message)


# --- methods ------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["ridge", "lda", "mean_difference"])
@pytest.mark.parametrize("scaling", ["zscore", "none"])
def test_methods_equal_scikit_learn_on_the_same_folds(method, scaling):
    x, features = planted()
    for name in ("bit", "shape"):
        y = features[name].values
        answered = np.empty_like(y)
        for fit, test in Sampling(5, 0, x.stimulus.values).folds(codes(y)):
            z = StandardScaler(with_std=scaling == "zscore").fit(x.values[fit])
            z_fit, z_test = z.transform(x.values[fit]), z.transform(x.values[test])
            if method == "ridge":
                model = RidgeClassifier(alpha=2.0)
            elif method == "mean_difference":
                model = NearestCentroid()
            else:
                means = np.stack([z_fit[y[fit] == c].mean(axis=0) for c in np.unique(y)])
                shrunk = ledoit_wolf(z_fit - means[codes(y[fit])], assume_centered=True)[1]
                model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrunk)
            answered[test] = model.fit(z_fit, y[fit]).predict(z_test)
        options = {"C": 0.5} if method == "ridge" else {}
        result = probe(x, features[name], method=method, scaling=scaling, **options)
        assert result.item() == pytest.approx(balanced_accuracy_score(y, answered), abs=1e-9)
        assert result.accuracy.item() == pytest.approx(accuracy_score(y, answered), abs=1e-9)


def test_methods_that_tell_classes_apart_refuse_amounts_by_name():
    x, features = planted()
    np.testing.assert_array_equal(
        probe(x, features["size"], method="ridge"), probe(x, features["size"])
    )
    for method in ("lda", "mean_difference"):
        with pytest.raises(FeatureError, match=rf"probe: method='{method}'.*'size', 'place'"):
            probe(x, features, method=method)


def test_a_feature_scores_the_same_in_any_company():
    x, features = planted()
    together = probe(x, features)
    for name in ("bit", "shape", "size"):
        alone = probe(x, features[name])
        assert together.sel(feature=name).item() == pytest.approx(alone.item(), abs=1e-9)
        assert together.permuted.sel(feature=name).item() == pytest.approx(
            alone.permuted.item(), abs=1e-9
        )


@pytest.mark.parametrize("method", ["logistic", "ridge"])
@pytest.mark.parametrize("factor", [1e-200, 1e-38, 1e38, 1e200])
def test_no_scale_is_too_large_or_too_small(factor, method):
    x, features = planted(n=80)
    target = {name: features[name] for name in ("bit", "size")}
    expected = probe(x, target, method=method)
    np.testing.assert_allclose(probe(x * factor, target, method=method), expected, atol=0.026)
    amounts = features["size"] * factor
    assert probe(x, amounts).item() == pytest.approx(probe(x, features["size"]).item(), abs=1e-9)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_more_units_than_stimuli(dtype):
    x, features = planted(n=60, p=400)
    x = x.astype(dtype)
    for method in ("logistic", "ridge", "lda", "mean_difference"):
        classes = {name: features[name] for name in ("bit", "shape")}
        assert (probe(x, classes, method=method) > 0.6).all()


# --- the permuted target ------------------------------------------------------------------------


def test_the_permutation_is_not_the_order_that_made_the_folds():
    # a target with the period of the folds: dealt in the folds' own order, each fold holds one
    # value, and classes that the fit rows lack would be tested
    stimulus = np.array([f"s{i:03d}" for i in range(100)])
    context = Context(stimulus, Sampling(5, 0, stimulus))
    values = np.arange(100) % 5
    for kind in ("continuous", "categorical"):
        (plan,) = probes.planned([Feature("f", kind, values)], context)
        for _, test in context.folds():
            assert len(np.unique(plan.permuted.target[test])) > 2


# --- a penalty chosen within --------------------------------------------------------------------


def test_nested_amounts_equal_a_loop_over_inner_folds():
    x, features = planted(n=100, p=120)
    y, labels = features["size"].values, x.stimulus.values
    residual = total = 0.0
    chosen = []
    for fit, test in Sampling(5, 0, labels).folds():
        errors = []
        for C in readout.GRID:
            model = make_pipeline(StandardScaler(), Ridge(alpha=1 / C))
            inner = Sampling(5, 0, labels[fit]).folds()
            parts = [(fit[a], fit[b]) for a, b in inner]
            errors.append(
                sum(((y[b] - model.fit(x[a], y[a]).predict(x[b])) ** 2).sum() for a, b in parts)
            )
        chosen.append(readout.GRID[np.argmin(errors)])
        model = make_pipeline(StandardScaler(), Ridge(alpha=1 / chosen[-1]))
        residual += ((y[test] - model.fit(x[fit], y[fit]).predict(x[test])) ** 2).sum()
        total += ((y[test] - y[fit].mean()) ** 2).sum()
    result = probe(x, features["size"], regularization="nested")
    assert result.item() == pytest.approx(1 - residual / total, abs=1e-9)
    assert result.chosen_C.item() == pytest.approx(np.exp(np.log(chosen).mean()), rel=1e-9)
    assert result.item() > probe(x, features["size"], C=100).item()


@pytest.mark.parametrize("method", ["logistic", "ridge"])
def test_nested_finds_a_strong_penalty_where_it_helps(method):
    # one direction of many carries the bit, weakly
    rng = np.random.default_rng(0)
    bit = rng.permutation(np.arange(120) % 2)
    x = activations(rng.normal(size=(120, 200)) + 0.25 * bit[:, None])
    nested = probe(x, feature(bit, x), method=method, regularization="nested")
    assert nested.item() >= probe(x, feature(bit, x), method=method, C=100).item()
    assert nested.chosen_C.item() < 1


def test_of_equally_good_penalties_the_strongest_is_chosen():
    # two clouds far apart: every C from 0.001 to 100 answers all inner folds right
    bit = np.arange(60) % 2
    x = activations(20.0 * bit[:, None] + np.random.default_rng(0).normal(size=(60, 3)))
    result = probe(x, feature(bit, x), regularization="nested")
    assert result.item() == 1
    assert all(probe(x, feature(bit, x), C=C).item() == 1 for C in (0.001, 100))
    assert result.chosen_C.item() == pytest.approx(0.001)


def test_nested_never_looks_at_test_rows():
    x, features = planted(n=90)
    split = np.array(["validation", "test"])[np.arange(90) % 3 // 2]
    x = x.assign_coords(split=("stimulus", split))
    before = probe(x, features, cv="split", regularization="nested").chosen_C
    elsewhere = x.copy()
    elsewhere[split == "test"] = np.random.default_rng(0).normal(size=(30, 20))
    after = probe(elsewhere, features, cv="split", regularization="nested").chosen_C
    np.testing.assert_array_equal(before, after)


def test_nested_inner_folds_keep_groups_whole():
    labels = np.array([f"s{i:03d}" for i in range(90)])
    groups = np.arange(90) % 15
    sampling = Sampling(3, 0, labels, groups=groups)
    for fit, _ in sampling.folds():
        inner = readout._inner_folds(sampling, fit, np.zeros(90, dtype=int))
        assert len(inner) == 5
        for a, b in inner:
            assert set(a) | set(b) == set(fit) and not set(groups[a]) & set(groups[b])
    x, features = planted(n=90)
    with pytest.raises(
        StimulusError, match=r"probe: x: the fit rows of a fold have 1 of the groups"
    ):
        probe(x, features["bit"], cv=2, groups=np.arange(90) % 2, regularization="nested")


# --- control tasks ------------------------------------------------------------------------------


def words(n_types=30, repeats=8, seed=0, identity=3.0, meaning=0.0):
    """Stimuli of recurring types, a class for each type, and units for identity or class."""
    rng = np.random.default_rng(seed)
    kind = np.repeat(np.arange(n_types), repeats)
    noun = (rng.permutation(n_types) % 2)[kind]
    x = rng.normal(size=(len(kind), 60))
    x[:, :n_types] += identity * np.eye(n_types)[kind]
    x[:, n_types:] += meaning * noun[:, None]
    names = np.array([f"word{i}" for i in range(n_types)])[kind]
    return activations(x, word=names), noun


def test_control_accuracy_equals_scikit_learn_on_labels_drawn_by_type():
    x, noun = words()
    target = feature(noun, x)
    result = probe(x, target, control="word")
    types, number = np.unique(x.word.values, return_inverse=True)
    rank = hash_rank(np.array([f"control:{t}" for t in types]), 0)
    drawn = (rank >= len(types) * (1 - noun.mean()) - 0.5).astype(int)[number]
    assert drawn.mean() == pytest.approx(noun.mean(), abs=0.05)
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    split = PredefinedSplit(fold_numbers(x, noun))
    answered = cross_val_predict(model, x.values, drawn, cv=split)
    oracle = accuracy_score(drawn, answered)
    assert result.control_accuracy.item() == pytest.approx(oracle, abs=0.009)
    assert result.control_selectivity.item() == pytest.approx(
        result.accuracy.item() - result.control_accuracy.item(), abs=1e-12
    )
    xr.testing.assert_equal(
        result.drop_vars(["control_accuracy", "control_selectivity"]), probe(x, target)
    )


def test_a_probe_that_memorises_types_is_not_selective():
    x, noun = words(identity=12.0)
    memorised = probe(x, feature(noun, x), control="word")
    assert memorised.accuracy > 0.85 and abs(memorised.control_selectivity) < 0.1
    x, noun = words(identity=0.0, meaning=1.0)
    known = probe(x, feature(noun, x), control="word")
    assert known.accuracy > 0.9 and known.control_selectivity > 0.25


def test_the_control_task_follows_seed_and_type_not_order():
    x, noun = words()
    target = feature(noun, x)
    order = np.random.default_rng(1).permutation(len(x))
    before = probe(x, target, control="word")
    xr.testing.assert_identical(probe(x[order], target, control="word"), before)
    other = probe(x, target, control="word", seed=1)
    assert other.control_accuracy != before.control_accuracy


def test_control_is_missing_with_a_warning_where_types_do_not_recur():
    x, noun = words()
    target = feature(noun, x)
    alone = x.assign_coords(token=("stimulus", np.arange(len(x))))
    for options in ({"control": "token"}, {"control": "word", "groups": "word"}):
        with pytest.warns(ReptoolsWarning, match=r"probe: control_selectivity is missing.* 0% of"):
            result = probe(alone, target, **options)
        assert result.control_selectivity.isnull() and result.control_accuracy.isnull()
        assert result.accuracy.notnull()
    # half of what is tested recurs, and most must
    split, word = np.repeat(["validation", "test"], 20), np.repeat(["a", "a", "a", "b"], 10)
    half = activations(x.values[:40], word=word, split=split)
    with pytest.warns(ReptoolsWarning, match="missing.* 50% of its test stimuli"):
        result = probe(half, feature(np.arange(40) % 2, half), control="word", cv="split")
    assert result.control_selectivity.isnull()
    amounts = {"noun": target, "size": feature(x.values[:, 0], x)}
    mixed = probe(x, amounts, control="word")
    assert mixed.control_selectivity.isnull().values.tolist() == [False, True]


def test_bad_controls_are_refused_by_name():
    x, noun = words()
    with pytest.raises(ParameterError, match="probe: control='verb' is no coordinate"):
        probe(x, feature(noun, x), control="verb")
    with pytest.raises(ParameterError, match="probe: control='word' needs a class feature"):
        probe(x, feature(x.values[:, 0], x), control="word")
    gaps = x.assign_coords(word=("stimulus", np.where(np.arange(len(x)) < 3, np.nan, 1.0)))
    with pytest.raises(ParameterError, match="word is missing for 3 of 240 stimuli"):
        probe(gaps, feature(noun, x), control="word")


# --- published data -----------------------------------------------------------------------------


def nifti(path):
    """Values of an uncompressed-in-memory NIfTI-1 image without scaling."""
    raw = gzip.decompress(path.read_bytes())
    dims = np.frombuffer(raw[40:56], "<i2")
    kind = {2: "u1", 4: "<i2", 8: "<i4", 16: "<f4", 64: "<f8"}[
        int(np.frombuffer(raw[70:72], "<i2")[0])
    ]
    start = int(np.frombuffer(raw[108:112], "<f4")[0])
    return np.frombuffer(raw[start:], kind).reshape(dims[1 : 1 + dims[0]], order="F").astype(float)


def test_haxby_categories_are_read_out_across_runs():
    # data/README.md: leave-one-run-out, 8 categories: .708 by logistic regression (at C=0.01)
    from scipy.signal import detrend

    folder = shared("haxby2001_slice")
    x = nifti(folder / "bold.nii.gz")[nifti(folder / "mask.nii.gz") > 0].T
    names, run = np.loadtxt(folder / "attributes_literal.txt", dtype=str, unpack=True)
    run = run.astype(int)
    patterns, category, of_run = [], [], []
    for r in np.unique(run):
        volumes, name = detrend(x[run == r], axis=0), names[run == r]
        rest = volumes[name == "rest"]
        volumes = (volumes - rest.mean(axis=0)) / rest.std(axis=0)
        for c in sorted(set(name) - {"rest"}):
            patterns.append(volumes[name == c].mean(axis=0))
            category.append(c)
            of_run.append(r)
    x = activations(np.array(patterns), run=of_run)
    assert x.shape == (96, 530)
    result = probe(x, feature(category, x), C=0.01, cv=LeaveOneGroupOut(), groups="run")
    assert result.item() == pytest.approx(0.708, abs=0.0005) and result.chance == 0.125
    assert probe(x, feature(category, x), cv=12).item() > 0.7  # run is the default group


# --- bad input ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"C": 0}, "probe: C must be float at least 1e-12, got 0"),
        ({"C": "1"}, "C must be float at least 1e-12, got '1'"),
        ({"scaling": "minmax"}, r"scaling must be zscore\|none, got 'minmax'"),
        ({"cv": 1}, "cv must be.*got 1"),
        ({"cv": 999}, "cv must be from 2 to 150.*got 999"),
        ({"groups": "story"}, "groups='story' is no coordinate"),
        ({"method": "svm"}, r"method must be logistic\|ridge\|lda\|mean_difference or.*got 'svm'"),
        ({"regularization": "cv"}, r"regularization must be fixed\|nested, got 'cv'"),
        ({"regularization": "nested", "C": 0.1}, "C=0.1 is not used by regularization='nested'"),
        ({"method": "lda", "C": 0.1}, "probe: C=0.1 has no meaning for method='lda'"),
        ({"method": "lda", "regularization": "nested"}, "nothing to choose for method='lda'"),
        ({"control": 3}, "control must be str or none, got 3"),
        ({"seed": 1.5}, "seed must be int, got 1.5"),
        ({"prepare": "whiten"}, "prepare must.*'whiten'"),
        ({"penalty": "l1"}, "no option 'penalty'"),
    ],
)
def test_bad_options_are_named_with_their_value(options, message):
    x, features = planted()
    with pytest.raises(ParameterError, match=message):
        probe(x, features, **options)


def test_stimuli_must_be_the_same():
    x, features = planted()
    with pytest.raises(StimulusError, match="3 only in x"):
        probe(x, features["bit"][3:])
    with pytest.raises(StimulusError, match="feature 'bit' has no stimulus labels"):
        probe(x, {"bit": features["bit"].values})
    with pytest.raises(FeatureError, match="holds 5 different integers"):
        probe(x, feature(np.arange(len(x)) % 5, x))
