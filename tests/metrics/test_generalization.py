"""Cross-condition and cross-time generalisation against scikit-learn 1.9.1 and planted codes."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from sklearn.covariance import ledoit_wolf
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression, Ridge, RidgeClassifier
from sklearn.metrics import balanced_accuracy_score
from sklearn.neighbors import NearestCentroid
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from reptools.errors import (
    DimensionError,
    FeatureError,
    ParameterError,
    ReptoolsWarning,
    StimulusError,
)
from reptools.metrics import readout
from reptools.metrics.generalization import ccgp, probe_transfer
from reptools.metrics.probing import probe
from reptools.statistics.folds import Sampling


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Small fits of scikit-learn are many times slower on two threads."""
    with threadpool_limits(1, "blas"):
        yield


def labelled(values, dims=("stimulus", "unit"), **coords):
    n = values.shape[dims.index("stimulus")]
    along = {name: ("stimulus", np.asarray(v)) for name, v in coords.items()}
    stimulus = np.array([f"s{i:04d}" for i in range(n)])
    return xr.DataArray(values, dims=dims, coords={"stimulus": stimulus, **along})


def along(x, features):
    coords = {"stimulus": x.stimulus.values}
    return {
        k: xr.DataArray(v, dims=("stimulus", "component")[: np.ndim(v)], coords=coords, name=k)
        for k, v in features.items()
    }


def planted(n=240, p=12, seed=0, noise=1.0):
    """A bit and three shapes, coded in directions of their own."""
    rng = np.random.default_rng(seed)
    bit, shape = rng.integers(0, 2, n), rng.integers(0, 3, n)
    x = noise * rng.normal(size=(n, p))
    x[:, 0] += 2 * bit
    x[:, 1:4] += 2 * np.eye(3)[shape]
    names = np.array(["ball", "cone", "cube"])[shape]
    return labelled(x), {"bit": bit, "shape": names}


# --- ccgp ---------------------------------------------------------------------------------------


def by_hand(x, f, g, model):
    """Mean over the values of g of the balanced accuracy on the value left out."""
    found = []
    for value in np.unique(g):
        fitted = model.fit(x[g != value], f[g != value])
        found.append(balanced_accuracy_score(f[g == value], fitted.predict(x[g == value])))
    return np.mean(found)


@pytest.mark.parametrize("p", [12, 300])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_ccgp_equals_a_loop_over_held_out_values(p, dtype):
    x, features = planted(p=p, noise=2)
    result = ccgp(x.astype(dtype), along(x, features))
    assert result.dims == ("feature", "across")
    assert result.across.values.tolist() == ["bit", "shape"]
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    for f, g in (("bit", "shape"), ("shape", "bit")):
        oracle = by_hand(x.values, features[f], features[g], model)
        assert result.sel(feature=f, across=g).item() == pytest.approx(oracle, abs=0.012)
    assert np.isnan(np.diag(result)).all()
    assert result.chance.dims == ("feature",) and result.chance.values.tolist() == [1 / 2, 1 / 3]
    np.testing.assert_array_equal(result.n_held_out, [[np.nan, 3], [2, np.nan]])


def test_a_feature_of_its_own_direction_generalises_and_a_mixed_one_does_not():
    # a in most units; b in one where a is 0, and there with the opposite sign where a is 1
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 2, (2, 400))
    x = 0.4 * rng.normal(size=(400, 10))
    x[:, 3:] += a[:, None]
    x[:, 1] += np.where(a == 1, -1, 1) * (2 * b - 1)
    x[:, 2] += (2 * b - 1) * a  # so that b can be read out by a plane
    x = labelled(x)
    features = along(x, {"a": a, "b": b})
    result = ccgp(x, features)
    assert result.sel(feature="a", across="b").item() > 0.85
    assert result.sel(feature="b", across="a").item() < 0.35
    assert probe(x, features["b"]).item() > 0.65
    rotated = x.copy(data=x.values @ np.linalg.qr(rng.normal(size=(10, 10)))[0])
    np.testing.assert_allclose(
        ccgp(rotated, features, scaling="none"), ccgp(x, features, scaling="none"), atol=0.02
    )


def test_noise_is_at_chance():
    rng = np.random.default_rng(0)
    x = labelled(rng.normal(size=(600, 10)))
    bits = along(x, {f"f{i}": rng.integers(0, 2, 600) for i in range(5)})
    values = ccgp(x, bits).values
    assert np.nanmean(values) == pytest.approx(0.5, abs=0.02)


def test_a_criterion_that_shifts_with_the_value_is_no_generalisation():
    # f is rare at one value of g and frequent at the other; no unit says anything of f
    rng = np.random.default_rng(0)
    g = np.repeat([0, 1], 300)
    f = (rng.uniform(size=600) < np.where(g == 0, 0.15, 0.85)).astype(int)
    x = labelled(rng.normal(size=(600, 5)) + 3 * g[:, None])
    result = ccgp(x, along(x, {"f": f, "g": g}))
    assert result.sel(feature="f", across="g").item() == pytest.approx(0.5, abs=0.05)


class Lda(LinearDiscriminantAnalysis):
    """With the shrinkage of Ledoit and Wolf, taken within classes."""

    def fit(self, x, y):
        classes, codes = np.unique(y, return_inverse=True)
        means = np.stack([x[y == c].mean(axis=0) for c in classes])
        self.shrinkage = ledoit_wolf(x - means[codes], assume_centered=True)[1]
        return super().fit(x, y)


def by_sklearn(method, C, scaling):
    model = {
        "logistic": LogisticRegression(C=C, max_iter=2000),
        "ridge": RidgeClassifier(alpha=1 / C),
        "lda": Lda(solver="lsqr"),
        "mean_difference": NearestCentroid(),
    }[method]
    return make_pipeline(StandardScaler(with_std=scaling == "zscore"), model)


METHODS = [("logistic", 0.01), ("ridge", 0.01), ("lda", 1.0), ("mean_difference", 1.0)]


@pytest.mark.parametrize("scaling", ["zscore", "none"])
@pytest.mark.parametrize(("method", "C"), METHODS)
def test_all_options_of_ccgp_equal_a_loop_over_held_out_values(method, C, scaling):
    x, features = planted(noise=2)
    x = x * np.linspace(0.2, 3, 12)
    result = ccgp(x, along(x, features), method=method, C=C, scaling=scaling)
    # float32 fits against float64: at most one answer of a value may fall on the other side
    tolerance = 0.012 if method == "logistic" else 1e-9
    for f, g in (("bit", "shape"), ("shape", "bit")):
        oracle = by_hand(x.values, features[f], features[g], by_sklearn(method, C, scaling))
        assert result.sel(feature=f, across=g).item() == pytest.approx(oracle, abs=tolerance)


def test_values_that_cannot_be_held_out_are_named():
    x, features = planted()
    # a subordinate class belongs to one bit only; a third value lacks one shape
    features["kind"] = np.char.add(
        features["bit"].astype(str), np.where(np.arange(240) % 2, "x", "y")
    )
    with pytest.warns(ReptoolsWarning, match=r"ccgp: some values.*'bit' across 'kind' \(0 of 4"):
        result = ccgp(x, along(x, features))
    assert np.isnan(result.sel(feature="bit", across="kind"))
    assert result.n_held_out.sel(feature="bit", across="kind") == 0
    # of two bits, a kind seen at one only is lacking at the other
    assert result.n_held_out.sel(feature="kind", across="bit") == 0
    assert result.sel(feature="kind", across="shape").notnull()


def test_ccgp_of_a_confounded_pair_alone_is_missing():
    x, features = planted(n=40)
    with pytest.warns(ReptoolsWarning, match=r"'copy' across 'bit' \(0 of 2 values\)"):
        result = ccgp(x, along(x, {"bit": features["bit"], "copy": 1 - features["bit"]}))
    assert result.isnull().all()


def test_continuous_features_are_missing_and_said():
    x, features = planted()
    more = along(x, features | {"size": np.linspace(0, 1, 240)})
    with pytest.warns(ReptoolsWarning, match=r"ccgp: not class features.*'size'"):
        result = ccgp(x, more)
    assert result.feature.values.tolist() == ["bit", "shape", "size"]
    assert result.across.values.tolist() == ["bit", "shape"]
    assert result.sel(feature="size").isnull().all()
    xr.testing.assert_allclose(result.isel(feature=[0, 1]), ccgp(x, along(x, features)))
    with pytest.raises(
        FeatureError, match=r"ccgp: it takes two class features.*'bit', beside.*'size'"
    ):
        ccgp(x, {"bit": more["bit"], "size": more["size"]})
    with pytest.raises(FeatureError, match="two class features"):
        ccgp(x, more["bit"])


def test_ccgp_keeps_outer_dimensions_and_ignores_order_shift_and_scale():
    x, features = planted(n=120)
    features = along(x, features)
    steps = xr.concat([x, 0.5 * x[:, ::-1] + 1000], dim="step").assign_coords(step=[0, 10])
    result = ccgp(steps, features)
    assert result.dims == ("step", "feature", "across")
    alone = ccgp(x, features)
    np.testing.assert_allclose(result, [alone.values] * 2, atol=1e-9)
    assert result.chance.dims[-1] == "feature"
    order = np.random.default_rng(1).permutation(120)
    xr.testing.assert_identical(ccgp(x[order], features), alone)
    for factor in (1e-200, 1e200):
        np.testing.assert_allclose(ccgp(x * factor, features), alone, atol=0.01)
    large = (x + 1000).astype(np.float32)
    exact = ccgp(large.astype(np.float64), features)
    np.testing.assert_allclose(ccgp(large, features), exact, atol=1e-4)


# --- transfer -----------------------------------------------------------------------------------


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

    monkeypatch.setattr("reptools.metrics.generalization.learn", counted)
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


@pytest.mark.parametrize("function", [ccgp, probe_transfer])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"C": 0}, "C must be float at least 1e-12, got 0"),
        ({"C": 0.5, "method": "lda"}, "C=0.5 has no meaning for method='lda'"),
        ({"method": "svm"}, r"method must be logistic\|ridge\|lda\|mean_difference, got 'svm'"),
        ({"scaling": "minmax"}, r"scaling must be zscore\|none, got 'minmax'"),
        ({"prepare": "whiten"}, "prepare must.*'whiten'"),
    ],
)
def test_bad_options_are_named_with_their_value(function, options, message):
    x, features = planted(n=60)
    sides = (x,) if function is ccgp else (x, x)
    with pytest.raises(ParameterError, match=rf"{function.__name__}: {message}"):
        function(*sides, along(x, features), **options)


def test_other_inputs_that_are_refused():
    x, features = planted(n=60)
    features = along(x, features)
    with pytest.raises(DimensionError, match=r"probe_transfer: x has 12 units and y has 5"):
        probe_transfer(x, x[:, :5], features)
    with pytest.raises(StimulusError, match="3 only in x"):
        probe_transfer(x, x[3:], features)
    with pytest.raises(StimulusError, match="3 only in x"):
        ccgp(x, {"a": features["bit"][3:], "b": features["shape"]})
    with pytest.raises(FeatureError, match=r"method='lda' tells classes apart.*'size'"):
        probe_transfer(x, x, along(x, {"size": np.linspace(0, 1, 60)}), method="lda")
    with pytest.raises(ParameterError, match="groups='story' is no coordinate"):
        probe_transfer(x, x, features, groups="story")
    with pytest.raises(ParameterError, match="regularization='nested' has nothing to choose"):
        probe_transfer(x, x, features, method="lda", regularization="nested")
