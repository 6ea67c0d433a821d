"""Cross-condition generalisation against scikit-learn 1.9.1 and planted codes."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from reptools.errors import FeatureError, ParameterError, ReptoolsWarning, StimulusError
from reptools.metrics.ccgp import ccgp
from reptools.metrics.probe import probe
from tests.metrics.coded import METHODS, along, by_sklearn, labelled, planted


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Small fits of scikit-learn are many times slower on two threads."""
    with threadpool_limits(1, "blas"):
        yield


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


def test_a_class_feature_that_is_constant_keeps_its_place():
    x, features = planted(n=120)
    more = along(x, {"flat": np.zeros(120, dtype=int)} | features)
    with pytest.warns(ReptoolsWarning, match="ccgp: constant over all stimuli.*'flat'"):
        result = ccgp(x, more)
    names = ["flat", "bit", "shape"]
    assert result.feature.values.tolist() == result.across.values.tolist() == names
    assert result.sel(feature="flat").isnull().all() and result.sel(across="flat").isnull().all()
    alone = ccgp(x, along(x, features))
    np.testing.assert_array_equal(result[1:, 1:], alone)
    np.testing.assert_array_equal(result.n_held_out[1:, 1:], alone.n_held_out)


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
    with pytest.raises(ParameterError, match=f"ccgp: {message}"):
        ccgp(x, along(x, features), **options)


def test_stimuli_must_be_the_same():
    x, features = planted(n=60)
    features = along(x, features)
    with pytest.raises(StimulusError, match="3 only in x"):
        ccgp(x, {"a": features["bit"][3:], "b": features["shape"]})
