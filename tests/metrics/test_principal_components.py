"""Principal components and each feature's share of them."""

from __future__ import annotations

import json

import numpy as np
import pytest
import xarray as xr
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression

from reptools.errors import (
    DataError,
    DeadUnitWarning,
    DimensionError,
    FeatureError,
    ParameterError,
    ReptoolsWarning,
    StimulusError,
)
from reptools.metrics.principal_components import principal_components


@pytest.fixture
def features():
    rng = np.random.default_rng(1)
    names = np.array([f"s{i}" for i in range(40)])
    return xr.Dataset(
        {
            "easy": ("stimulus", rng.integers(0, 2, 40), {"kind": "binary"}),
            "colour": ("stimulus", rng.choice(["red", "green", "blue"], 40)),
            "size": ("stimulus", rng.normal(size=40)),
        },
        coords={"stimulus": names},
    )


def activations(features, n_units, dtype=np.float64):
    rng = np.random.default_rng(2)
    x = rng.normal(size=(40, n_units)) + 3 * features["easy"].values[:, None]
    return xr.DataArray(
        x.astype(dtype),
        dims=("stimulus", "unit"),
        coords={"stimulus": features["stimulus"].values},
        attrs={"layer": "fc2", "system": "mlp"},
    )


@pytest.mark.parametrize("n_units", [8, 100])
def test_scores_and_variance_agree_with_scikit_learn(features, n_units):
    # oracle: sklearn.decomposition.PCA and LinearRegression of the installed version
    x = activations(features, n_units)
    found = principal_components(x, features, n_components=5)
    pca = PCA(5, svd_solver="full").fit(x.values)
    np.testing.assert_allclose(found.explained, pca.explained_variance_ratio_, atol=1e-10)
    theirs = pca.transform(x.values)
    theirs *= np.sign(theirs[0] * found.scores.values[0])
    np.testing.assert_allclose(found.scores, theirs, atol=1e-8)
    one_hot = np.stack([features["colour"] == c for c in ("red", "green", "blue")], axis=1)
    columns = {"easy": features["easy"].values[:, None], "colour": one_hot, "size": None}
    columns["size"] = features["size"].values[:, None]
    for name, design in columns.items():
        for k in range(5):
            y = found.scores.values[:, k]
            r2 = LinearRegression().fit(design, y).score(design, y)
            assert float(found.share.sel(feature=name)[k]) == pytest.approx(r2, abs=1e-10)


def test_result_says_what_it_is(features):
    found = principal_components(activations(features, 8), features)
    assert found.sizes == {"stimulus": 40, "component": 8, "feature": 3}
    assert found.attrs["estimator"] == "in sample"
    (source,) = json.loads(found.attrs["inputs"])
    assert (source["layer"], found.attrs["n_units"]) == ("fc2", 8)
    assert found.share.attrs["long_name"].startswith("R2 of")
    assert found["easy"].attrs["kind"] == "binary"
    assert found["component"].values.tolist() == list(range(1, 9))


def test_row_order_changes_nothing(features):
    x = activations(features, 100)
    shuffled = x.isel(stimulus=np.random.default_rng(0).permutation(40))
    a = principal_components(x, features)
    b = principal_components(shuffled, features)
    np.testing.assert_allclose(b.scores.sel(stimulus=x.stimulus), a.scores, atol=1e-9)
    np.testing.assert_allclose(b.share, a.share, atol=1e-10)


def test_signs_are_fixed_by_the_largest_loading(features):
    x = activations(features, 6)
    found = principal_components(x, features).scores.values
    loadings = np.linalg.lstsq(found, x.values - x.values.mean(axis=0), rcond=None)[0]
    assert (loadings[np.arange(6), np.abs(loadings).argmax(axis=1)] > 0).all()


def test_directions_that_do_not_vary_are_0(features):
    x = activations(features, 3)
    wide = xr.concat([x, 2 * x, 0 * x + 1e6], dim="unit")
    with pytest.warns(DeadUnitWarning, match="3 of 9 units"):
        found = principal_components(wide, features)
    assert found.sizes["component"] == 9
    assert float(found.explained[:3].sum()) == pytest.approx(1)
    assert (found.explained[3:] == 0).all() and (found.scores[:, 3:] == 0).all()
    assert found.share[:, :3].notnull().all() and found.share[:, 3:].isnull().all()
    few = principal_components(x.isel(stimulus=slice(3)), features.isel(stimulus=slice(3)))
    assert few.sizes["component"] == 2  # of 3 stimuli


def test_half_precision_and_large_means_are_centred_in_float64(features):
    x = activations(features, 5, np.float32) + np.float32(1000)
    found = principal_components(x, features)
    reference = principal_components(x.astype(np.float64), features)
    np.testing.assert_array_equal(found.scores, reference.scores)


@pytest.mark.parametrize("scale", [1e-200, 1e200])
@pytest.mark.parametrize("n_units", [5, 100])
def test_squares_beyond_float64_change_nothing(features, n_units, scale):
    x = activations(features, n_units)
    found, expected = (principal_components(v, features) for v in (x * scale, x))
    np.testing.assert_allclose(found.scores / scale, expected.scores, rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(found.explained, expected.explained, rtol=1e-11)
    np.testing.assert_allclose(found.share, expected.share, rtol=0, atol=1e-11)


def test_constant_feature_is_missing_and_named(features):
    features["flat"] = ("stimulus", np.ones(40))
    with pytest.warns(ReptoolsWarning, match="'flat'"):
        found = principal_components(activations(features, 4), features)
    assert found.share.sel(feature="flat").isnull().all()
    assert found.share.drop_sel(feature="flat").notnull().all()


def test_what_cannot_be_decomposed_is_refused_by_name(features):
    x = activations(features, 4)
    with pytest.raises(DimensionError, match="'component', as is one of the result"):
        principal_components(x.expand_dims(component=2), features)
    with pytest.raises(DataError, match=r"1 of 40 stimuli \(rows 3\)"):
        principal_components(x.where(x.stimulus != "s3"), features)
    with pytest.raises(ParameterError, match="got 0"):
        principal_components(x, features, n_components=0)
    with pytest.raises(StimulusError, match="40 only in x"):
        principal_components(x, features.assign_coords(stimulus=[f"t{i}" for i in range(40)]))
    with pytest.raises(FeatureError, match="'share'"):
        principal_components(x, features.rename(size="share"))
    with pytest.raises(FeatureError, match="'step'"):
        principal_components(x.expand_dims(step=2), features.rename(size="step"))


def test_outer_dimensions_are_kept(features):
    x = xr.concat([activations(features, 8), 0 * activations(features, 8)], dim="step")
    x[1, :, :2] = np.random.default_rng(0).normal(size=(40, 2))
    with pytest.warns(DeadUnitWarning, match="6 of 8 units"):
        found = principal_components(x, features)
    assert found.share.dims == ("step", "feature", "component")
    assert found.scores.sizes == {"step": 2, "stimulus": 40, "component": 8}
    first = principal_components(x[0], features)
    for name in ("scores", "explained", "share"):
        np.testing.assert_array_equal(found[name][0], first[name])
    assert int((found.explained[1] > 0).sum()) == 2
    assert found["easy"].dims == ("stimulus",)


def test_nothing_varies_at_a_step(features):
    x = xr.concat([activations(features, 3), 0 * activations(features, 3)], dim="step")
    with pytest.warns(DeadUnitWarning, match="3 of 3 units .* at step=1"):
        found = principal_components(x, features)
    assert all(found[name][1].isnull().all() for name in ("scores", "explained", "share"))
    assert found.share[0].notnull().all()


def test_one_bare_feature_has_a_name_that_is_free():
    bit = np.arange(40) % 2
    parts = principal_components(np.random.default_rng(0).normal(size=(40, 5)), bit)
    assert parts.feature.values.tolist() == ["target"]
