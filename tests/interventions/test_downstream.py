"""New classifiers: what they go by in conflict, and what they do with a new combination."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

import reptools as rt
from reptools.errors import FeatureError, ParameterError, ReptoolsWarning, StimulusError
from reptools.interventions import downstream, transfer
from tests.interventions.test_interventions import planted


def halves(features):
    split = features.split.values
    return np.flatnonzero(split == "validation"), np.flatnonzero(split == "test")


# --- conflicts ----------------------------------------------------------------------------------


@pytest.mark.parametrize("scaling", ["none", "zscore"])
def test_agrees_with_scikit_learn(scaling):
    # oracle: sklearn LogisticRegression (and StandardScaler) of the installed version
    features, x, _ = planted()
    fit, test = halves(features)
    easy, hard = features.easy.values, features.hard.values
    grid = [1e-3, 0.1, 10.0]
    found = downstream(x, features, agree=["easy", "hard"], C=grid, scaling=scaling)
    assert found.follows.dims == ("step", "C", "feature")
    fit, same = fit[(easy == hard)[fit]], test[(easy == hard)[test]]
    for at, step in enumerate(x.step.values):
        values = x.values[at]
        scaler = StandardScaler(with_std=scaling == "zscore").fit(values[fit])
        z = scaler.transform(values)
        for C in grid:
            model = LogisticRegression(C=C, tol=1e-8, max_iter=5000).fit(z[fit], easy[fit])
            shares = [
                model.score(z[rows], easy[rows])
                for value in (0, 1)
                for rows in [test[((easy == value) & (hard != value))[test]]]
            ]
            here = found.sel(step=step, C=C)
            np.testing.assert_allclose(here.follows, [np.mean(shares), 1 - np.mean(shares)])
            np.testing.assert_allclose(here.accuracy, model.score(z[same], easy[same]))
    assert (found.n_fit == len(fit)).all()
    assert (found.n_conflict == 24).all()


def test_the_larger_code_is_relied_on():
    rng = np.random.default_rng(0)
    easy, hard = np.tile([0, 1], 150), np.tile([0, 0, 1, 1], 75)
    noise = rng.normal(size=(300, 2))
    for sizes, expected in (([9, 1], [1, 0]), ([1, 9], [0, 1])):
        x = np.stack([easy, hard], axis=1) * sizes + 0.1 * noise
        found = downstream(x, {"easy": easy, "hard": hard})
        np.testing.assert_allclose(found.follows.sel(C=1.0), expected, atol=0.02)
        assert found.accuracy.item() > 0.99
    # codes of equal size in opposite conflicts cancel; the order of the names changes nothing
    even = downstream(np.stack([easy, hard], axis=1) + 0.3 * noise, {"easy": easy, "hard": hard})
    assert abs(even.follows[0, 0] - 0.5) < 0.2
    turned = downstream(x, {"easy": easy, "hard": hard}, agree=("hard", "easy"))
    np.testing.assert_array_equal(turned.follows.sel(feature=["easy", "hard"]), found.follows)


def test_a_classifier_that_says_one_thing_follows_neither():
    # one class wins everywhere in conflict: right by easy on half of the kinds, by hard on others
    easy, hard = np.tile([0, 1], 40), np.tile([0, 0, 1, 1], 20)
    keep = ~((easy == 1) & (hard == 0)) | (np.arange(80) % 20 == 1)  # fewer of one kind
    both = (easy & hard)[keep]
    x = np.stack([both, 0.01 * np.sin(np.arange(keep.sum()))], axis=1)
    found = downstream(x, {"easy": easy[keep], "hard": hard[keep]}, cv=None)
    np.testing.assert_allclose(found.follows.values, [[0.5, 0.5]])


def test_three_classes():
    rng = np.random.default_rng(0)
    colour, shape = np.arange(270) % 3, np.arange(270) // 3 % 3
    x = np.concatenate([6 * np.eye(3)[colour], np.eye(3)[shape]], axis=1)
    x = x + 0.1 * rng.normal(size=x.shape)
    names = np.array(["a", "b", "c"])
    found = downstream(x, {"colour": names[colour], "shape": names[shape]})
    np.testing.assert_allclose(found.follows, [[1, 0]], atol=0.02)
    assert found.n_conflict.item() == 180


def test_other_methods_and_paths():
    features, x, _ = planted()
    for method in ("ridge", "lda", "mean_difference"):
        found = downstream(x, features, agree=("easy", "hard"), method=method)
        np.testing.assert_allclose(found.follows.sum("feature"), 1)
        assert (found.follows.sel(feature="easy") > 0.5).all()
    one = downstream(x, features, agree=("easy", "hard"), C=10)
    several = downstream(x, features, agree=("easy", "hard"), C=[10, 0.1])
    assert several.C.values.tolist() == [0.1, 10.0]
    xr.testing.assert_allclose(several.sel(C=[10.0]), one)


@pytest.mark.parametrize("function", [downstream, transfer])
def test_order_of_stimuli_changes_nothing(function):
    features, x, _ = planted()
    two = features[["easy", "hard"]]
    order = np.random.default_rng(0).permutation(96)
    for given in (x, x.drop_vars("split")):
        expected = function(given, two)
        xr.testing.assert_equal(function(given.isel(stimulus=order), two), expected)
        xr.testing.assert_equal(function(given, two.isel(stimulus=order)), expected)
    wide = function(x.astype(np.float32).astype(np.float64), two)
    xr.testing.assert_equal(function(x.astype(np.float32), two), wide)


@pytest.mark.parametrize(
    ("options", "error", "seen"),
    [
        ({}, FeatureError, "two features against each other, got 'easy', 'hard', 'shape'"),
        ({"agree": ["easy"]}, FeatureError, "two features against each other, got 'easy'"),
        ({"agree": ["easy", "hue"]}, FeatureError, r"agree is \['easy', 'hue'\]"),
        ({"agree": ["easy", "shape"]}, FeatureError, r"\{'easy': 2, 'shape': 3\} classes"),
        ({"C": 0}, ParameterError, "C holds 0 and must hold numbers of above 0"),
        ({"C": []}, ParameterError, r"C is \[\]"),
        ({"C": 0.1, "method": "lda"}, ParameterError, r"C=0\.1 has no meaning for method='lda'"),
        ({"method": "svm"}, ParameterError, "method must be logistic.*got 'svm'"),
        ({"scaling": "robust"}, ParameterError, r"scaling must be zscore\|none, got 'robust'"),
        ({"cv": 0}, ParameterError, "cv must be a number of folds from 2"),
        ({"groups": "run"}, ParameterError, "groups='run'"),
        ({"seed": None}, ParameterError, "seed must be int, got None"),
    ],
)
def test_impossible_options(options, error, seen):
    features, x, _ = planted()
    options = {"agree": ["easy", "hard"]} | options if options else options
    with pytest.raises(error, match=f"^downstream: .*{seen}"):
        downstream(x, features, **options)


def test_impossible_conflicts():
    features, x, _ = planted()
    easy = features.easy
    with pytest.raises(StimulusError, match="'easy' and 'same' conflict on none of the 48 test"):
        downstream(x, {"easy": easy, "same": easy})
    with pytest.raises(StimulusError, match="'easy' and 'other' agree, 0 in all, none has class 0"):
        downstream(x, {"easy": easy, "other": 1 - easy})
    amount = features.easy + np.linspace(0, 1, 96)
    with pytest.raises(FeatureError, match="continuous, without classes: 'amount'"):
        downstream(x, {"easy": easy, "amount": amount.assign_attrs(kind="continuous")})


# --- new combinations ---------------------------------------------------------------------------


def test_transfer_agrees_with_scikit_learn():
    # oracle: sklearn LogisticRegression and StandardScaler of the installed version
    features, x, _ = planted()
    fit, test = halves(features)
    found = transfer(x, features[["easy", "hard"]], C=0.5)
    assert found.new.dims == ("step", "feature", "combination")
    values = {name: features[name].values for name in ("easy", "hard")}
    for at, step in enumerate(x.step.values):
        for a in (0, 1):
            for b in (0, 1):
                inside = (values["easy"] == a) & (values["hard"] == b)
                for part, rows in (("new", fit[~inside[fit]]), ("seen", fit)):
                    z = StandardScaler().fit(x.values[at, rows]).transform(x.values[at])
                    for name, target in values.items():
                        model = LogisticRegression(C=0.5, tol=1e-8, max_iter=5000)
                        model.fit(z[rows], target[rows])
                        held = test[inside[test]]
                        here = found[part].sel(
                            step=step, feature=name, combination=f"easy={a},hard={b}"
                        )
                        np.testing.assert_allclose(here, model.score(z[held], target[held]))
    assert (found.n_test == 12).all()
    assert (found.seen > found.new).any()


def test_codes_of_their_own_transfer_and_mixed_ones_do_not():
    rng = np.random.default_rng(0)
    a, b = np.tile([0, 1], 100), np.tile([0, 0, 1, 1], 50)
    noise = 0.1 * rng.normal(size=(200, 4))
    own = transfer(np.stack([a, b, 0 * a, 0 * a], axis=1) + noise, {"a": a, "b": b})
    assert (own.new > 0.9).all()
    assert (own.seen > 0.99).all()
    corners = transfer(np.eye(4)[2 * a + b] + noise, {"a": a, "b": b})
    assert (corners.seen > 0.99).all()
    assert (corners.new < 0.1).all()


def test_one_combination():
    features, x, _ = planted()
    every = transfer(x, features[["easy", "shape"]])
    assert every.sizes["combination"] == 6
    one = transfer(x, features[["easy", "shape"]], hold_out={"shape": 2, "easy": 1})
    assert one.combination.values.tolist() == ["easy=1,shape=2"]
    xr.testing.assert_allclose(one, every.sel(combination=["easy=1,shape=2"]))


def test_a_value_that_no_other_combination_has():
    features, x, _ = planted()
    keep = ~((features["shape"] == 2) & (features.easy == 0)).values
    two, some = features[["easy", "shape"]].isel(stimulus=keep), x.isel(stimulus=keep)
    with pytest.warns(ReptoolsWarning, match="in no other combination.*'shape at easy=1,shape=2'"):
        found = transfer(some, two)
    assert found.sizes["combination"] == 5
    lacking = found.new.sel(feature="shape", combination="easy=1,shape=2")
    assert lacking.isnull().all()
    assert found.new.sel(feature="easy").notnull().all()
    assert found.seen.notnull().all()


@pytest.mark.parametrize(
    ("options", "error", "seen"),
    [
        ({"hold_out": {"easy": 1}}, FeatureError, r"hold_out is \{'easy': 1\} and must give"),
        ({"hold_out": "easy"}, ParameterError, "hold_out must map features to values, got 'easy'"),
        ({"hold_out": {"easy": 1, "hard": 7}}, FeatureError, "hold_out has hard=7.*are 0, 1"),
        ({"C": 0.0}, ParameterError, r"C must be float at least 1e-12, got 0\.0"),
        ({"C": 2.0, "method": "lda"}, ParameterError, "C=2 has no meaning"),
        ({"method": "svm"}, ParameterError, "method must be logistic"),
        ({"scaling": "robust"}, ParameterError, "scaling must be"),
        ({"cv": "no"}, ParameterError, "cv must be"),
        ({"groups": 1}, ParameterError, "groups must name"),
        ({"seed": "a"}, ParameterError, "seed must be"),
    ],
)
def test_impossible_transfers(options, error, seen):
    features, x, _ = planted()
    with pytest.raises(error, match=f"^transfer: .*{seen}"):
        transfer(x, features[["easy", "hard"]], **options)


def test_features_that_do_not_combine():
    features, x, _ = planted()
    with pytest.raises(FeatureError, match="a combination takes two features, got 'easy'"):
        transfer(x, features[["easy"]])
    with pytest.raises(FeatureError, match="constant over all stimuli: 'same'"):
        transfer(x, {"easy": features.easy, "same": features.easy * 0})
    amount = (features.easy + np.linspace(0, 1, 96)).assign_attrs(kind="continuous")
    with pytest.raises(FeatureError, match="continuous, without values to combine: 'amount'"):
        transfer(x, {"easy": features.easy, "amount": amount})
    with pytest.raises(StimulusError, match="no test stimulus has easy=1,late=1"):
        late = features.easy * (features.split == "validation")
        two = {"easy": features.easy, "late": late.astype(int).assign_attrs(kind="binary")}
        transfer(x, two, hold_out={"easy": 1, "late": 1})


def test_they_are_reached_from_the_face():
    assert rt.interventions.downstream is downstream
    assert set(rt.interventions.__all__) == {
        "Readout", "downstream", "effect", "readout", "remove", "steer", "transfer", "truncate",
    }  # fmt: skip
