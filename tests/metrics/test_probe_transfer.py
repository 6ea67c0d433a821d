"""Cross-time and cross-layer generalisation against scikit-learn 1.9.1 and planted codes."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import balanced_accuracy_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from reptools.errors import DimensionError, FeatureError, ParameterError, StimulusError
from reptools.metrics.probe import probe
from reptools.metrics.probe_transfer import probe_transfer
from reptools.metrics.shared import readout
from reptools.statistics.folds import Sampling
from tests.metrics.coded import METHODS, along, by_sklearn, labelled, planted


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Small fits of scikit-learn are many times slower on two threads."""
    with threadpool_limits(1, "blas"):
        yield


def drifting(n=150, p=12, times=3, seed=0):
    """A bit, shapes and an amount; the code turns between the second and the third time."""
    rng = np.random.default_rng(seed)
    bit, shape, amount = rng.integers(0, 2, n), rng.integers(0, 3, n), rng.normal(size=n)
    truth = np.column_stack([2 * bit - 1, np.eye(3)[shape], amount])
    first = rng.normal(size=(5, p))
    maps = [first, 1.5 * first, rng.permutation(first.T).T][:times]
    values = np.stack([truth @ m + rng.normal(size=(n, p)) + 5 for m in maps])
    x = labelled(values, ("time", "stimulus", "unit")).assign_coords(time=[0, 50, 100][:times])
    names = np.array(["ball", "cone", "cube"])[shape]
    return x, along(x, {"bit": bit, "shape": names, "amount": amount})


@pytest.mark.parametrize("method", ["logistic", "ridge"])
def test_temporal_generalisation_is_probe_on_its_diagonal(method):
    x, features = drifting()
    result = probe_transfer(x, x.rename(time="time_"), features, method=method)
    assert set(result.dims) == {"time", "time_", "feature"}
    expected = probe(x, features, method=method)
    for i in range(3):
        cell = result.isel(time=i, time_=i)
        np.testing.assert_array_equal(cell.values, expected.isel(time=i).values)
        for name in ("chance", "permuted", "accuracy", "majority"):
            np.testing.assert_array_equal(cell[name], expected[name].isel(time=i))
    bit = result.sel(feature="bit")
    assert bit.sel(time=0, time_=50) > 0.85 and bit.sel(time=0, time_=100) < 0.9


def test_transfer_equals_scikit_learn_fitted_here_and_tested_there():
    x, features = drifting()
    x, y = x[0].drop_vars("time"), x[1].drop_vars("time")
    result = probe_transfer(x, y, features)
    for name, model in (("bit", LogisticRegression(max_iter=2000)), ("amount", Ridge())):
        target = features[name].values
        strata = target if name == "bit" else None
        model = make_pipeline(StandardScaler(), model)
        predicted, total = np.empty(len(target)), 0.0
        for fit, test in Sampling(5, 0, x.stimulus.values).folds(strata):
            predicted[test] = model.fit(x.values[fit], target[fit]).predict(y.values[test])
            total += ((target[test] - target[fit].mean()) ** 2).sum()
        if name == "bit":
            oracle = balanced_accuracy_score(target, predicted)
            assert result.sel(feature=name).item() == pytest.approx(oracle, abs=0.014)
        else:
            oracle = 1 - ((target - predicted) ** 2).sum() / total
            assert result.sel(feature=name).item() == pytest.approx(oracle, abs=1e-9)


@pytest.mark.parametrize("scaling", ["zscore", "none"])
@pytest.mark.parametrize(("method", "C"), METHODS)
def test_all_options_of_transfer_equal_scikit_learn(method, C, scaling):
    x, features = drifting()
    x, y = (x[i].drop_vars("time") * np.linspace(0.2, 3, 12) for i in (0, 1))
    classes = {name: features[name] for name in ("bit", "shape")}
    result = probe_transfer(x, y, classes, method=method, C=C, scaling=scaling, cv=4, seed=3)
    for name, feature in classes.items():
        target, predicted = feature.values, np.empty_like(feature.values)
        codes = np.unique(target, return_inverse=True)[1]
        for fit, test in Sampling(4, 3, x.stimulus.values).folds(codes):
            model = by_sklearn(method, C, scaling).fit(x.values[fit], target[fit])
            predicted[test] = model.predict(y.values[test])
        oracle = balanced_accuracy_score(target, predicted)
        tolerance = 0.014 if method == "logistic" else 1e-9
        assert result.sel(feature=name).item() == pytest.approx(oracle, abs=tolerance)


def test_each_time_is_fitted_once(monkeypatch):
    calls = []
    learn = readout.learn

    def counted(*args):
        calls.append(args)
        return learn(*args)

    monkeypatch.setattr("reptools.metrics.probe_transfer.learn", counted)
    x, features = drifting()
    probe_transfer(x, x.rename(time="time_"), features["bit"])
    assert len(calls) == 3


def test_transfer_uses_the_scale_and_the_mean_of_where_it_was_fitted():
    x, features = drifting(times=1)
    x = x.isel(time=0, drop=True)
    bit = features["bit"]
    same = probe_transfer(x, x, bit).item()
    assert same > 0.85
    assert probe_transfer(x, x + 1000, bit).item() == pytest.approx(0.5, abs=1e-9)
    assert probe_transfer(x, 2 * x.mean("stimulus") - x, bit).item() < 0.15
    assert probe_transfer(x * 1e200, x * 1e200, bit).item() == pytest.approx(same, abs=0.01)


def test_transfer_pairs_shared_dimensions_and_takes_one_feature():
    x, features = drifting()
    paired = probe_transfer(x, x, features["bit"])
    assert paired.dims == ("time",)
    np.testing.assert_array_equal(paired, probe(x, features["bit"]))
    nested = probe_transfer(x, x, features["bit"], regularization="nested")
    assert nested.chosen_C.dims == ("time",)


def test_transfer_holds_stimuli_and_groups_out():
    rng = np.random.default_rng(0)
    original = np.repeat(np.arange(60), 4)
    bit = rng.permutation(np.arange(60) % 2)[original]
    base = rng.normal(size=(60, 40))[original]
    x, y = (labelled(base + 0.01 * rng.normal(size=base.shape), original=original) for _ in "xy")
    target = along(x, {"bit": bit})["bit"]
    assert probe_transfer(x, y, target).item() > 0.9
    apart = probe_transfer(x, y, target, groups="original")
    assert apart.item() == pytest.approx(0.5, abs=0.15) and "whole original" in apart.attrs["cv"]


# --- bad input ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"C": 0}, "C must be float at least 1e-12, got 0"),
        ({"C": 0.5, "method": "lda"}, "C=0.5 has no meaning for method='lda'"),
        ({"method": "svm"}, r"method must be logistic\|ridge.*scikit-learn, got 'svm'"),
        ({"scaling": "minmax"}, r"scaling must be zscore\|none, got 'minmax'"),
        ({"prepare": "whiten"}, "prepare must.*'whiten'"),
    ],
)
def test_bad_options_are_named_with_their_value(options, message):
    x, features = planted(n=60)
    with pytest.raises(ParameterError, match=f"probe_transfer: {message}"):
        probe_transfer(x, x, along(x, features), **options)


def test_other_inputs_that_are_refused():
    x, features = planted(n=60)
    features = along(x, features)
    with pytest.raises(DimensionError, match=r"probe_transfer: x has 12 units and y has 5"):
        probe_transfer(x, x[:, :5], features)
    with pytest.raises(StimulusError, match="3 only in x"):
        probe_transfer(x, x[3:], features)
    with pytest.raises(FeatureError, match=r"method='lda' tells classes apart.*'size'"):
        probe_transfer(x, x, along(x, {"size": np.linspace(0, 1, 60)}), method="lda")
    with pytest.raises(ParameterError, match="groups='story' is no coordinate"):
        probe_transfer(x, x, features, groups="story")
    with pytest.raises(ParameterError, match="regularization='nested' has nothing to choose"):
        probe_transfer(x, x, features, method="lda", regularization="nested")
