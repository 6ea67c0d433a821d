"""Removal: nothing linear is left, as little as possible is changed, the rest is as it was."""

from __future__ import annotations

import json

import numpy as np
import pytest
import xarray as xr
from sklearn.linear_model import LinearRegression, LogisticRegression

import reptools as rt
from reptools.errors import DataError, DimensionError, FeatureError, ParameterError, StimulusError
from reptools.interventions import effect, remove
from reptools.interventions.shared.erasing import leace, projection
from tests.interventions.test_interventions import planted
from tests.planted import planted as many_features

METHODS = ["leace", "projection"]


def columns(values):
    """Design columns by hand: one-hot with the first level dropped, or the amounts."""
    if values.dtype.kind == "f":
        return values.reshape(len(values), -1)
    return (values[:, None] == np.unique(values)[1:]).astype(float)


def covariance(x, z):
    return (x - x.mean(axis=0)).T @ (z - z.mean(axis=0)) / len(x)


def golden_data():
    i, j = np.arange(12.0)[:, None], np.arange(4.0)
    kind = np.arange(12) % 3
    x = np.sin(1.7 * i + 2.3 * j * j + 0.4 * i * j) + 3
    return x + (kind == 0)[:, None] * np.array([2.0, 0.5, 0.0, -1.0]), kind


# from concept-erasure 0.2.4: LeaceEraser.fit(x, z, method=, shrinkage=False,
# constrain_cov_trace=False, svd_tol=1e-8), rows 0 and 7; three classes one-hot
GOLDEN = [
    ("leace", 2, [
        [4.041253533997, 3.26198810277, 3.443617606791, 3.469505456048],
        [3.202973628659, 2.881099156796, 3.81095327626, 2.406002701053],
    ]),
    ("projection", 2, [
        [4.051836810461, 3.272847021682, 3.441181068793, 3.463893922978],
        [3.52767058876, 3.214252880278, 3.736199821235, 2.233839785783],
    ]),
    ("leace", 3, [
        [4.085632260687, 3.165587534742, 3.474004665244, 3.335543437688],
        [3.075360198205, 3.158304207527, 3.723573645078, 2.791217735106],
    ]),
    ("projection", 3, [
        [4.152355583206, 3.022818828218, 3.519070947393, 3.135819661847],
        [3.418598351219, 3.485556774713, 3.651682043025, 2.589830938126],
    ]),
]  # fmt: skip


@pytest.mark.parametrize(("method", "classes", "rows"), GOLDEN)
def test_agrees_with_concept_erasure(method, classes, rows):
    x, kind = golden_data()
    feature = np.array(["a", "b", "c"])[kind] if classes == 3 else (kind == 0).astype(int)
    found = remove(x, {"kind": feature}, method=method)
    np.testing.assert_allclose(found[[0, 7]], rows, atol=1e-11)


@pytest.mark.parametrize("name", ["easy", "shape", "place"])
def test_leace_is_the_closest_eraser(name):
    # oracle: the least-squares solution of min |Px - x|^2 such that P cov(x, z) = 0, by multipliers
    x, features = many_features()
    values, z = x.values, columns(features[name].values)
    cross, spread = covariance(values, z), covariance(values, values)
    solved = np.linalg.solve(spread, cross)
    P = np.eye(len(spread)) - cross @ np.linalg.solve(cross.T @ solved, solved.T)
    expected = values.mean(axis=0) + (values - values.mean(axis=0)) @ P.T
    np.testing.assert_allclose(leace(values, z)(values), expected, atol=1e-9)
    nearest = ((remove(x, features[name]) - x) ** 2).sum()
    projected = ((remove(x, features[name], method="projection") - x) ** 2).sum()
    assert nearest < 0.95 * projected


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", ["easy", "hard", "shape", "place"])
def test_nothing_linear_is_left(method, name):
    x, features = many_features()
    found = remove(x, features, feature=name, method=method)
    values, z = found.values, columns(features[name].values)
    assert np.abs(covariance(values, z)).max() < 1e-12
    assert LinearRegression().fit(values, z).score(values, z) < 1e-12
    assert LinearRegression().fit(x.values, z).score(x.values, z) > 0.2
    np.testing.assert_allclose(values.mean(axis=0), x.values.mean(axis=0), atol=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_no_probe_beats_a_constant_in_sample(method):
    x, features = many_features()
    found = remove(x, features, feature="easy", method=method)
    bit = features["easy"].values
    # the loss of an unpenalised fit is that of the intercept alone
    model = LogisticRegression(C=1e6, max_iter=2000).fit(found.values, bit)
    loss = -np.log(model.predict_proba(found.values)[np.arange(len(bit)), bit]).mean()
    share = bit.mean()
    entropy = -share * np.log(share) - (1 - share) * np.log(1 - share)
    assert abs(loss - entropy) < 1e-6
    assert rt.probe(x, features["easy"], cv=None).item() > 0.95


def test_other_features_are_kept():
    features, x, _ = planted()
    found = remove(x, features, feature="easy")
    kept = rt.probe(found, features, cv=None)
    assert (kept.sel(feature=["hard", "shape"]) > 0.9).all()
    assert (rt.variance_explained(found, features, cv=None).sel(feature="easy") < 1e-12).all()
    # a balanced design: what is orthogonal to a feature has the variance that it had
    for name in ("hard", "shape"):
        before = rt.variance_explained(x, features[name], cv=None) * x.var("stimulus").sum("unit")
        after = rt.variance_explained(found, features[name], cv=None) * found.var("stimulus").sum(
            "unit"
        )
        np.testing.assert_allclose(after / before, 1, atol=0.2)


def test_several_together():
    x, features = many_features()
    found = remove(x, features, feature=["easy", "place"])
    for name in ("easy", "place"):
        assert np.abs(covariance(found.values, columns(features[name].values))).max() < 1e-12
    every = {name: features[name] for name in ("easy", "place")}
    xr.testing.assert_equal(found, remove(x, every))


def test_collinear_features_and_units():
    x, features = many_features()
    twice = {"a": features["easy"], "b": 1 - features["easy"]}
    np.testing.assert_allclose(remove(x, twice), remove(x, {"a": features["easy"]}), atol=1e-9)
    double = xr.concat([x, 2 * x.isel(unit=slice(4))], dim="unit")
    found = remove(double, features["easy"])
    np.testing.assert_allclose(found[:, :30], remove(x, features["easy"]), atol=1e-8)
    np.testing.assert_allclose(found[:, 30:], 2 * found[:, :4], atol=1e-8)


@pytest.mark.parametrize("method", METHODS)
def test_more_units_than_stimuli(method):
    rng = np.random.default_rng(0)
    bit = np.arange(20) % 2
    x = rng.normal(size=(20, 60))
    found = remove(x, {"bit": bit}, method=method).values
    assert np.abs(covariance(found, bit[:, None])).max() < 1e-12
    assert np.abs(covariance(x, bit[:, None])).max() > 0.05


def test_what_is_not_there_is_not_removed():
    bit, other = np.tile([0, 1], 20), np.tile([0, 0, 1, 1], 10)
    x = np.stack([other * 2.0, 1.0 - other + np.arange(40) // 4], axis=1)
    for method in METHODS:
        np.testing.assert_array_equal(remove(x, {"bit": bit}, method=method), x)


def test_fitted_on_one_part():
    features, x, _ = planted()
    found = remove(x, features, feature="hard", fit="validation")
    fit = (features.split == "validation").values
    z = columns(features["hard"].values)
    for at in range(2):
        values = x.values[at]
        np.testing.assert_allclose(found[at], leace(values[fit], z[fit])(values), atol=1e-10)
        assert np.abs(covariance(found.values[at, fit], z[fit])).max() < 1e-12
        assert np.abs(covariance(found.values[at, ~fit], z[~fit])).max() > 1e-6


@pytest.mark.parametrize("method", METHODS)
def test_single_precision_and_scales(method):
    x, features = many_features()
    bit = {"easy": features["easy"]}
    expected = remove(x, bit, method=method)
    for factor in (1e150, 1e-150):
        found = remove(x * factor, bit, method=method)
        np.testing.assert_allclose(found / factor, expected, rtol=1e-9, atol=1e-9)
    far = (x + 1000).astype(np.float32)
    wide = remove(far.astype(np.float64), bit, method=method)
    np.testing.assert_array_equal(remove(far, bit, method=method), wide)
    assert np.abs(covariance(wide.values, columns(features["easy"].values))).max() < 1e-10
    tiny = remove(x, {"place": features["place"] * 1e-200}, method=method)
    np.testing.assert_allclose(tiny, remove(x, {"place": features["place"]}, method=method))


def test_labels_and_order():
    features, x, _ = planted()
    x = x.transpose("stimulus", "unit", "step").assign_attrs(system="net").rename("activation")
    found = remove(x, features, feature="easy")
    assert (found.dims, found.name, found.dtype) == (x.dims, "activation", np.float64)
    assert found.coords.equals(x.coords)
    removed = json.loads(found.attrs.pop("removed"))
    assert removed["params"] == {"feature": ["easy"], "fit": None, "method": "leace"}
    assert found.attrs == x.attrs
    order = np.random.default_rng(0).permutation(96)
    shuffled = remove(x.isel(stimulus=order), features, feature="easy")
    np.testing.assert_allclose(shuffled.sel(stimulus=x.stimulus), found, atol=1e-10)
    bare = remove(x.values[:, :, 1], features["easy"].values)
    np.testing.assert_allclose(bare, found.isel(step=1), atol=1e-12)
    assert bare.dims == ("stimulus", "unit")


def test_torch_is_taken():
    torch = pytest.importorskip("torch")
    x, features = many_features()
    bit = features["easy"].values
    np.testing.assert_array_equal(remove(torch.tensor(x.values), bit), remove(x.values, bit))


@pytest.mark.parametrize(
    ("options", "error", "seen"),
    [
        ({"method": "inlp"}, ParameterError, r"method must be leace\|projection, got 'inlp'"),
        ({"fit": "train"}, ParameterError, "fit is 'train', and split holds 'test', 'validation'"),
        ({"fit": 3}, ParameterError, "fit must be str or none, got 3"),
        ({"feature": "hue"}, FeatureError, "feature is 'hue'"),
    ],
)
def test_impossible_options(options, error, seen):
    features, x, _ = planted()
    with pytest.raises(error, match=f"^remove: .*{seen}"):
        remove(x, features, **options)


def test_impossible_inputs():
    features, x, _ = planted()
    with pytest.raises(FeatureError, match="remove: constant over the stimuli fitted on: 'easy'"):
        remove(x, {"easy": np.zeros(96, dtype=int)} | {"easy": features.easy * 0})
    with pytest.raises(ParameterError, match="fit is 'test', and x has no coordinate 'split'"):
        remove(x.drop_vars("split"), features, fit="test")
    with pytest.raises(DataError, match="x at step=0 is not finite"):
        remove(x.where(x.stimulus != "s001"), features)


# --- what becomes of the answers ----------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_effect_on_the_answers(method):
    features, x, head = planted()
    without = remove(x, features, feature="easy", method=method)
    found = effect(x, without, features, head, split="test")
    test = (features.split == "test").values
    for at, step in enumerate(x.step.values):
        said = [
            values.values[at, test] @ head.weight.values[at].T + head.bias.values[at]
            for values in (x, without)
        ]
        for i, name in enumerate(("easy", "hard")):
            here = found.sel(step=step, output=name)
            wanted = features[name].values[test] == 1
            for answered, part in zip(
                [s[:, i] > 0 for s in said], ("before", "after"), strict=True
            ):
                right = answered == wanted
                expected = (right[wanted].mean() + right[~wanted].mean()) / 2
                np.testing.assert_allclose(here[part], expected)
            np.testing.assert_allclose(here.flipped, ((said[0] > 0) != (said[1] > 0))[:, i].mean())
        shape = (said[0][:, 2:].argmax(axis=1) != said[1][:, 2:].argmax(axis=1)).mean()
        np.testing.assert_allclose(found.flipped.sel(step=step, output="shape"), shape)
    assert (found.before > 0.9).all()
    assert (found.after.sel(output="easy") < 0.65).all()
    assert (found.after.sel(output="hard") > 0.9).all()


def test_nothing_changed_has_no_effect():
    features, x, head = planted()
    order = np.random.default_rng(0).permutation(96)
    found = effect(x, x.isel(stimulus=order), features, head)
    assert (found.flipped == 0).all()
    xr.testing.assert_equal(found.before, found.after)


def test_impossible_effects():
    features, x, head = planted()
    with pytest.raises(
        DimensionError,
        match="effect: x has 2 values along 'step' and changed has 3",
    ):
        effect(x, xr.concat([x, x.isel(step=[0])], "step"), features, head)
    with pytest.raises(DimensionError, match="effect: x has 6 units and changed has 4"):
        effect(x, x.isel(unit=slice(4)), features, head)
    with pytest.raises(StimulusError, match="x and changed were not shown the same stimuli"):
        effect(x, x.isel(stimulus=slice(50)), features, head)
    with pytest.raises(ParameterError, match="split is 'train', and split holds"):
        effect(x, x, features, head, split="train")
    with pytest.raises(
        DataError, match="effect: changed at step=0 is not finite for 1 of 96 stimuli"
    ):
        effect(x, x.where(x.stimulus != "s001"), features, head)
    with pytest.raises(FeatureError, match="the readout also answers 'hard', 'shape'"):
        effect(x, x, features[["easy"]], head)


def test_erasers_are_projections():
    x, features = many_features()
    for make in (leace, projection):
        eraser = make(x.values, columns(features["shape"].values))
        once = eraser(x.values)
        assert eraser.left.shape == (30, 2)
        np.testing.assert_allclose(eraser(once), once, atol=1e-10)
