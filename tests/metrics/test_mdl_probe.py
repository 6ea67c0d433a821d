"""Minimum description length probe: brute force, hand-computed codes, and what it means."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import xarray as xr
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from reptools.errors import (
    DeadUnitWarning,
    FeatureError,
    ParameterError,
    ReptoolsWarning,
    StimulusError,
)
from reptools.metrics.mdl_probe import mdl_probe
from reptools.statistics.folds import hash_rank
from reptools.statistics.readout import logistic


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Small fits of scikit-learn are many times slower on two threads."""
    with threadpool_limits(1, "blas"):
        yield


def labelled(values, **coords):
    labels = np.array([f"s{i:04d}" for i in range(len(values))])
    along = {name: ("stimulus", np.asarray(v)) for name, v in coords.items()}
    return xr.DataArray(values, dims=("stimulus", "unit"), coords={"stimulus": labels, **along})


def planted(n=160, p=6, seed=0):
    rng = np.random.default_rng(seed)
    bit, shape = rng.integers(0, 2, n), rng.permutation(np.arange(n) % 3)
    x = rng.normal(size=(n, p)) + np.outer(bit, np.ones(p)) + rng.normal(size=(3, p))[shape]
    names = np.array(["ball", "cone", "cube"])[shape]
    return labelled(x), {"bit": bit, "shape": names}


def along(x, features):
    coords = {"stimulus": x.stimulus.values}
    return {k: xr.DataArray(v, dims="stimulus", coords=coords, name=k) for k, v in features.items()}


def brute(x, codes, ends, C, order, scaling="zscore"):
    """Online codelength in bits, a scikit-learn pipeline for each block."""
    k = codes.max() + 1
    x, codes = x[order], codes[order]
    bits = ends[0] * math.log2(k)
    for start, stop in pairwise(ends):
        scaler = StandardScaler(with_std=scaling == "zscore").fit(x[:start])
        model = LogisticRegression(C=C, max_iter=5000, tol=1e-7)
        model.fit(scaler.transform(x[:start]), codes[:start])
        chance = model.predict_proba(scaler.transform(x[start:stop]))
        assert len(model.classes_) == k
        bits -= np.log2(chance[np.arange(stop - start), codes[start:stop]]).sum()
    return bits


ENDS = {"bit": [4, 6, 10, 20, 40, 80, 160], "shape": [6, 10, 20, 40, 80, 160]}


@pytest.mark.parametrize(("C", "scaling"), [(1.0, "zscore"), (0.01, "zscore"), (0.1, "none")])
def test_equals_a_brute_force_loop(C, scaling, monkeypatch):
    monkeypatch.setattr(logistic, "TOLERANCE", 1e-6)
    x, features = planted()
    x = x * np.linspace(0.5, 3, x.sizes["unit"])
    order = np.argsort(hash_rank(x.stimulus.values, 0))  # all classes in the first block
    options = {"regularization": "fixed", "C": C, "scaling": scaling}
    result = mdl_probe(x, along(x, features), seed=0, **options)
    for name, values in features.items():
        codes = np.unique(values, return_inverse=True)[1]
        bits = brute(x.values, codes, ENDS[name], C, order, scaling)
        one = result.sel(feature=name)
        assert one.online_codelength.item() == pytest.approx(bits, rel=2e-4)
        assert one.uniform_codelength.item() == pytest.approx(160 * math.log2(codes.max() + 1))
        assert one.item() == pytest.approx(160 * math.log2(codes.max() + 1) / bits, rel=2e-4)


def test_a_mixture_is_the_mean_probability_of_its_coders():
    x, features = planted()
    fixed = np.array(
        [
            mdl_probe(
                x, along(x, features), regularization="fixed", C=10.0**k
            ).online_codelength.values
            for k in range(-5, 3)
        ]
    )
    result = mdl_probe(x, along(x, features))
    coders = np.vstack([fixed, result.marginal_codelength])
    bits = -np.log2(np.mean(2.0**-coders, axis=0))
    np.testing.assert_allclose(result.online_codelength, bits, rtol=1e-3)
    assert (result.online_codelength <= coders.min(axis=0) + math.log2(9) + 1e-6).all()


def test_without_weights_it_is_the_majority_coder_computed_by_hand():
    # 8 stimuli, blocks 4 | 4: a probe penalised to nothing answers the shares of the first block
    x = labelled(np.random.default_rng(0).normal(size=(8, 2)))
    order = np.argsort(hash_rank(x.stimulus.values, 0))
    sent = np.array([0, 0, 0, 1, 0, 1, 0, 0])
    codes = np.empty(8, dtype=int)
    codes[order] = sent
    result = mdl_probe(x, along(x, {"bit": codes})["bit"], regularization="fixed", C=1e-12)
    by_hand = 4 * 1 - 3 * math.log2(3 / 4) - 1 * math.log2(1 / 4)
    assert result.online_codelength.item() == pytest.approx(by_hand, rel=1e-4)
    assert result.uniform_codelength.item() == 8
    smoothed = 4 - 3 * math.log2(4 / 6) - math.log2(2 / 6)
    assert result.marginal_codelength.item() == pytest.approx(smoothed, rel=1e-12)


def test_a_class_not_seen_yet_has_the_probability_of_laplace():
    # 12 stimuli, 3 classes, blocks 6 | 12; the third class comes in the second block only
    x = labelled(np.random.default_rng(0).normal(size=(12, 2)))
    order = np.argsort(hash_rank(x.stimulus.values, 0))
    sent = np.array([0, 1, 0, 1, 0, 1, 2, 2, 0, 1, 0, 1])
    codes = np.empty(12, dtype=int)
    codes[order] = sent
    values = np.array(["a", "b", "c"])[codes]
    result = mdl_probe(x, along(x, {"f": values})["f"], regularization="fixed", C=1e-12)
    seen = (1 - 1 / 9) / 2  # six labels of three classes so far
    by_hand = 6 * math.log2(3) - 2 * math.log2(1 / 9) - 4 * math.log2(seen)
    assert result.online_codelength.item() == pytest.approx(by_hand, rel=1e-4)


# --- what the number means ----------------------------------------------------------------------


def test_noise_costs_hardly_more_than_a_uniform_code_and_bounds_hold():
    rng = np.random.default_rng(0)
    x = labelled(rng.normal(size=(200, 300)))
    noise = along(x, {f"n{i}": rng.permutation(np.arange(200) % 2) for i in range(6)})
    mixed = mdl_probe(x, noise)
    assert (mixed.online_codelength <= mixed.marginal_codelength + math.log2(9) + 1e-9).all()
    assert (mixed < 1.1).all()
    assert (mdl_probe(x, noise, regularization="fixed") < 0.8).all()  # confident and wrong
    best = 200 / 4  # all but the first block for nothing
    assert ((mixed > 0) & (mixed < best)).all()


def test_the_sooner_a_feature_is_read_out_the_shorter_the_code():
    # a weaker code needs more stimuli before the probe knows it
    rng = np.random.default_rng(0)
    bit, other = rng.permutation(np.arange(400) % 2), rng.integers(0, 2, 400)
    noise = rng.normal(size=(400, 60))
    strong, weak = (labelled(noise + size * bit[:, None]) for size in (1.5, 0.5))
    target = along(strong, {"bit": bit})["bit"]
    assert mdl_probe(strong, target).item() > mdl_probe(weak, target).item() + 1
    assert 0.9 < mdl_probe(strong, along(strong, {"o": other})["o"]).item() < 1.1


def test_unequal_classes_compress_without_activations():
    rng = np.random.default_rng(0)
    x = labelled(rng.normal(size=(300, 5)))
    rare = rng.permutation(np.arange(300) % 10 == 0)
    result = mdl_probe(x, along(x, {"rare": rare})["rare"])
    assert result.item() > 1.5
    assert result.online_codelength.item() == pytest.approx(
        result.marginal_codelength.item(), abs=4
    )


def test_groups_share_a_block():
    # four copies of each: sent apart, later copies cost next to nothing
    rng = np.random.default_rng(0)
    original = np.repeat(np.arange(60), 4)
    bit = rng.permutation(np.arange(60) % 2)[original]
    x = rng.normal(size=(60, 40))[original] + 0.01 * rng.normal(size=(240, 40))
    x = labelled(x, original=original)
    target = along(x, {"bit": bit})["bit"]
    assert mdl_probe(x, target).item() > 1.2
    assert mdl_probe(x, target, groups="original").item() == pytest.approx(1, abs=0.1)


# --- laws ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_order_of_a_file_and_a_large_mean_change_nothing(dtype):
    x, features = planted(n=80)
    x = x.astype(dtype)
    before = mdl_probe(x, along(x, features))
    order = np.random.default_rng(2).permutation(80)
    xr.testing.assert_identical(mdl_probe(x[order], along(x, features)), before)
    large = (x + 1000).astype(np.float32)
    exact = mdl_probe(large.astype(np.float64), along(x, features))
    np.testing.assert_allclose(mdl_probe(large, along(x, features)), exact, rtol=1e-4)


def test_another_seed_is_another_order():
    x, features = planted(n=80)
    values = [mdl_probe(x, along(x, features), seed=seed).values for seed in (0, 0, 1)]
    np.testing.assert_array_equal(values[0], values[1])
    assert (values[0] != values[2]).all()


@pytest.mark.parametrize("factor", [1e-200, 1e200])
def test_no_scale_is_too_large_or_too_small(factor):
    x, features = planted(n=80)
    expected = mdl_probe(x, along(x, features))
    np.testing.assert_allclose(mdl_probe(x * factor, along(x, features)), expected, rtol=1e-3)


def test_dead_units_carry_no_weight():
    x, features = planted(n=80)
    dead = xr.concat([x, x[:, :2] * 0 + 0.1], dim="unit")
    with pytest.warns(DeadUnitWarning, match="2 of 8 units"):
        result = mdl_probe(dead, along(x, features))
    np.testing.assert_allclose(result, mdl_probe(x, along(x, features)), rtol=1e-6)


def test_more_units_than_stimuli():
    x, features = planted(n=60, p=200)
    assert (mdl_probe(x, along(x, features)) > 1.2).all()


# --- what cannot be coded -----------------------------------------------------------------------


def test_continuous_features_are_missing_or_refused():
    x, features = planted(n=80)
    features = along(x, features | {"size": np.linspace(0, 1, 80)})
    with pytest.warns(ReptoolsWarning, match=r"mdl_probe: not class features.*'size'"):
        result = mdl_probe(x, features)
    assert np.isnan(result.sel(feature="size")) and result.count() == 2
    with pytest.raises(FeatureError, match=r"mdl_probe: continuous features.*'size'"):
        mdl_probe(x, features["size"])


def test_too_few_stimuli_are_refused_by_name():
    for n in (10, 12):
        x, features = planted(n=n)
        with pytest.raises(FeatureError, match=rf"feature 'kind' has 6 classes among {n} stimuli"):
            mdl_probe(x, along(x, {"kind": np.array(list("abcdef"))[np.arange(n) % 6]}))
    halves = x.assign_coords(half=("stimulus", np.arange(12) // 12))
    with pytest.raises(FeatureError, match=r"'bit' has 2 classes.*first block of 12 leaves"):
        mdl_probe(halves, along(x, features)["bit"], groups="half")


def test_a_fit_that_does_not_converge_is_named(monkeypatch):
    monkeypatch.setattr(logistic, "MAX_ITERATIONS", 1)
    x, features = planted(n=80)
    with pytest.warns(ReptoolsWarning, match=r"mdl_probe: feature 'bit' did not converge in 1"):
        mdl_probe(x, along(x, features)["bit"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"C": 0.0, "regularization": "fixed"}, "C must be float at least 1e-12, got 0"),
        ({"C": 0.5}, "mdl_probe: C=0.5 is not used by regularization='mixture'"),
        ({"regularization": "nested"}, r"must be mixture\|fixed, got 'nested'"),
        ({"scaling": "minmax"}, r"scaling must be zscore\|none, got 'minmax'"),
        ({"groups": "story"}, "'story' is no coordinate"),
        ({"seed": 1.5}, "seed must be int, got 1.5"),
        ({"cv": 5}, "no option 'cv'"),
    ],
)
def test_bad_options_are_named_with_their_value(options, message):
    x, features = planted(n=40)
    with pytest.raises(ParameterError, match=message):
        mdl_probe(x, along(x, features), **options)


def test_stimuli_must_be_the_same():
    x, features = planted(n=40)
    with pytest.raises(StimulusError, match="3 only in x"):
        mdl_probe(x, along(x, features)["bit"][3:])
