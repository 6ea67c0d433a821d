"""Unique and shared parts: golden values from scikit-learn 1.9.1, every subset fitted anew."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import xarray as xr
from sklearn.linear_model import LinearRegression
from sklearn.metrics import r2_score
from sklearn.model_selection import ShuffleSplit, StratifiedKFold

from reptools.engine.registry import metrics
from reptools.entering.features import interactions
from reptools.errors import (
    DataError,
    DeadUnitWarning,
    DimensionError,
    FeatureError,
    ParameterError,
    ReptoolsWarning,
    StimulusError,
)
from reptools.metrics.unique_variance import unique_variance
from reptools.metrics.variance_explained import variance_explained
from reptools.metrics.variance_partition import variance_partition
from reptools.statistics.features.commonality import parts_of, subsets
from reptools.statistics.moments import SMALL
from tests.planted import activations, columns, feature, folds_of, planted, time_course


def correlated(n=240, p=30, seed=0):
    """The features of ``planted``, with one more that follows the strong bit."""
    x, features = planted(n, p, seed)
    rng = np.random.default_rng(seed + 1)
    easy = features["easy"].values
    follower = np.where(rng.random(n) < 0.8, easy, 1 - easy)
    return x, {name: features[name] for name in ("easy", "hard", "shape", "place")} | {
        "follower": feature(follower, x)
    }


def by_sklearn(x, features, folds):
    """Pooled held-out R2 of features fitted together."""
    if not features:
        return 0.0
    x = np.asarray(x, dtype=float)
    design = np.hstack([columns(values.values) for values in features])
    residual = total = 0.0
    for fit, test in folds:
        model = LinearRegression().fit(design[fit], x[fit])
        residual += ((x[test] - model.predict(design[test])) ** 2).sum()
        total += ((x[test] - x[fit].mean(axis=0)) ** 2).sum()
    return 1 - residual / total


def by_brute_force(x, features, folds):
    """Commonality parts by the textbook formula, from R2 of every subset fitted anew."""
    names = list(features)
    r2 = {
        chosen: by_sklearn(x, [features[name] for name in chosen], folds)
        for size in range(len(names) + 1)
        for chosen in combinations(names, size)
    }
    whole = tuple(names)

    def beyond(chosen):
        return r2[whole] - r2[tuple(name for name in names if name not in chosen)]

    parts = {}
    for size in range(1, len(names) + 1):
        for chosen in combinations(names, size):
            terms = [
                (-1) ** (size - smaller) * beyond(inner)
                for smaller in range(size + 1)
                for inner in combinations(chosen, smaller)
            ]
            parts["+".join(chosen)] = sum(terms)
    return parts, r2


@pytest.mark.parametrize("cv", ["split", 5, None, ShuffleSplit(3, random_state=0)], ids=str)
@pytest.mark.parametrize("p", [1, 130])
def test_unique_parts_equal_scikit_learn(cv, p):
    x, features = correlated(n=120, p=p)
    result = unique_variance(x, features, cv=cv)
    folds = folds_of(x, cv)
    joint = by_sklearn(x, features.values(), folds)
    assert result.joint.item() == pytest.approx(joint, abs=1e-10)
    for name in features:
        others = [values for other, values in features.items() if other != name]
        one = result.sel(feature=name)
        unique = joint - by_sklearn(x, others, folds)
        assert one.item() == pytest.approx(unique, abs=1e-10)
        assert one.alone.item() == pytest.approx(by_sklearn(x, [features[name]], folds), abs=1e-10)
        assert one.shared.item() == pytest.approx(one.alone.item() - unique, abs=1e-10)


@pytest.mark.parametrize("cv", ["split", 5, None], ids=str)
def test_all_parts_equal_brute_force(cv):
    x, features = correlated(n=120, p=9)
    oracle, r2 = by_brute_force(x, features, folds_of(x, cv))
    result = variance_partition(x, features, cv=cv)
    assert result.dims == ("part",) and set(result.part.values.tolist()) == set(oracle)
    for name, part in oracle.items():
        assert result.sel(part=name).item() == pytest.approx(part, abs=1e-10), name
    assert result.joint.item() == pytest.approx(r2[tuple(features)], abs=1e-10)


def test_a_unique_part_exceeds_one_where_the_others_mislead():
    # b is 2a on the fit stimuli and -2a on the others, so a alone predicts x = b - a with the
    # wrong sign: R2(a) = 1 - sum (-3a - a)^2 / sum (-3a)^2 = -7/9, and all of x is b - a
    a = np.tile([-1.5, -0.5, 0.5, 1.5], 10)
    split = np.repeat(["train", "test"], 20)
    b = np.where(split == "train", 2, -2) * a
    b[:20] += 0.1 * np.repeat([1, -1, -1, 1, 0], 4)  # or the two could not be told apart
    x = activations((b - a)[:, None] * [1.0, 2.0], split=split)
    unique = unique_variance(x, {"a": feature(a, x), "b": feature(b, x)})
    assert unique.joint.item() == pytest.approx(1, abs=1e-9)
    assert unique.sel(feature="b").item() == pytest.approx(16 / 9, abs=1e-9)
    assert metrics()["unique_variance"].bounds[1] > 16 / 9


def test_in_sample_joint_equals_r2_score():
    x, features = correlated()
    design = np.hstack([columns(values.values) for values in features.values()])
    predicted = LinearRegression().fit(design, x).predict(design)
    oracle = r2_score(x, predicted, multioutput="variance_weighted")
    assert unique_variance(x, features, cv=None).joint.item() == pytest.approx(oracle, abs=1e-12)


def test_parts_and_the_metrics_beside_them_agree():
    x, features = correlated()
    parts = variance_partition(x, features, cv=5)
    unique = unique_variance(x, features, cv=5)
    alone = variance_explained(x, features, cv=5)
    assert parts.sum().item() == pytest.approx(unique.joint.item(), abs=1e-12)
    assert parts.joint.item() == pytest.approx(unique.joint.item(), abs=1e-12)
    np.testing.assert_allclose(parts.sel(part=list(features)), unique, atol=1e-12)
    np.testing.assert_allclose(unique.alone, alone, atol=1e-12)
    for name in features:
        own = [part for part in parts.part.values.tolist() if name in part.split("+")]
        total = parts.sel(part=own).sum().item()
        assert total == pytest.approx(alone.sel(feature=name).item(), abs=1e-12)


def test_suppression_is_negative_and_kept():
    # only the difference of two correlated amounts is represented
    rng = np.random.default_rng(0)
    shared, own = rng.normal(size=(2, 2000))
    a, b = shared + 0.3 * own, shared - 0.3 * own
    x = np.outer(a - b, np.ones(5)) + 0.1 * rng.normal(size=(2000, 5))
    parts = variance_partition(x, {"a": a, "b": b}, cv=5)
    assert parts.sel(part="a+b").item() < -0.5
    assert (unique_variance(x, {"a": a, "b": b}, cv=5).shared < -0.5).all()
    assert parts.joint.item() > 0.9


def test_independent_features_share_nothing():
    bits = np.array(np.meshgrid([0, 1], [0, 1], range(100))).reshape(3, -1)[:2]
    rng = np.random.default_rng(0)
    x = 2.0 * bits.T @ rng.choice([-1, 1], size=(2, 50)) + rng.normal(size=(400, 50))
    parts = variance_partition(x, {"a": bits[0], "b": bits[1]}, cv=None)
    assert parts.sel(part="a+b").item() == pytest.approx(0, abs=1e-12)
    np.testing.assert_allclose(
        parts.sel(part=["a", "b"]), variance_explained(x, {"a": bits[0], "b": bits[1]}, cv=None)
    )


def test_dependent_features_are_fitted_as_far_as_they_differ():
    x, features = correlated()
    place = features["place"].values
    both = {"place": features["place"], "sum": feature(place.sum(axis=1), x)}
    result = unique_variance(x, both, cv=5)
    joint = by_sklearn(x, [features["place"]], folds_of(x, 5))
    assert result.joint.item() == pytest.approx(joint, abs=1e-10)
    assert result.sel(feature="sum").item() == pytest.approx(0, abs=1e-10)


@pytest.mark.parametrize("metric", [unique_variance, variance_partition])
def test_float32_with_a_large_mean(metric):
    x, features = correlated()
    large = (x + 1000).astype(np.float32)
    exact = metric(large.astype(np.float64), features)
    np.testing.assert_allclose(metric(large, features), exact, atol=1e-6)


@pytest.mark.parametrize("metric", [unique_variance, variance_partition])
def test_large_float32_with_a_large_mean(metric):
    x, features = correlated(n=600, p=450)
    large = (x + 1000).astype(np.float32)
    assert large.size > SMALL
    exact = metric(large.astype(np.float64), features)
    np.testing.assert_allclose(metric(large, features), exact, atol=1e-6)


@pytest.mark.parametrize("metric", [unique_variance, variance_partition])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cv": 1}, "cv must be.*got 1"),
        ({"groups": "story"}, "groups='story' is no coordinate"),
        ({"seed": 1.5}, "seed must be int, got 1.5"),
        ({"prepare": "whiten"}, "prepare must.*'whiten'"),
    ],
)
def test_bad_options_are_named(metric, options, message):
    x, features = correlated(n=60, p=5)
    with pytest.raises(ParameterError, match=f"{metric.__name__}: {message}"):
        metric(x, features, **options)


@pytest.mark.parametrize("metric", [unique_variance, variance_partition])
def test_bad_positional_input_is_named(metric):
    x, features = correlated(n=60, p=5)
    with pytest.raises(StimulusError, match="3 only in x.*0 only in feature 'easy'"):
        metric(x, {name: values[3:] for name, values in features.items()})
    bad = x.copy()
    bad[3, 1] = np.nan
    with pytest.raises(DataError, match=f"{metric.__name__}: x is not finite for 1 of 60 stimuli"):
        metric(bad, features)
    place = features["place"].where(x.stimulus != "s0003")
    with pytest.raises(FeatureError, match="'place' is not finite for 1 stimuli"):
        metric(x, {**features, "place": place})


@pytest.mark.parametrize("scale", [1e-150, 1e150])
def test_any_scale(scale):
    x, features = correlated(n=60, p=5)
    for metric in (unique_variance, variance_partition):
        np.testing.assert_allclose(metric(x * scale, features), metric(x, features), atol=1e-10)


@pytest.mark.parametrize("metric", [unique_variance, variance_partition])
def test_blocks_and_torch_equal_numpy(metric):
    torch, _ = pytest.importorskip("torch"), pytest.importorskip("dask")
    x, features = correlated()
    expected = metric(x, features, cv=5)
    in_blocks = metric(x.chunk({"stimulus": 50}), features, cv=5)
    np.testing.assert_allclose(in_blocks, expected, atol=1e-12)
    bare = {name: values.values for name, values in features.items()}
    on_torch, on_numpy = (
        metric(a, bare, cv=5) for a in (torch.from_numpy(x.values.copy()), x.values)
    )
    np.testing.assert_allclose(on_torch, on_numpy, atol=1e-10)


def test_dead_units_and_constant_features_change_nothing():
    x, features = correlated()
    dead = x.copy()
    dead[:, [3, 8]] = 0.1
    alive = dead.isel(unit=np.delete(np.arange(30), [3, 8]))
    for metric in (unique_variance, variance_partition):
        with pytest.warns(DeadUnitWarning, match="2 of 30"):
            result = metric(dead, features, cv=5)
        np.testing.assert_allclose(result, metric(alive, features, cv=5), atol=1e-12)
    flat = {"flat": feature(np.zeros(len(x), dtype=int), x)} | features
    with pytest.warns(ReptoolsWarning, match="constant over all stimuli.*'flat'"):
        parts = variance_partition(x, flat, cv=5)
    expected = variance_partition(x, features, cv=5)
    np.testing.assert_allclose(parts.sel(part=expected.part), expected, atol=1e-12)
    assert parts.sizes["part"] == 2 ** len(flat) - 1 and parts.count() == expected.size
    assert parts.joint.item() == pytest.approx(expected.joint.item(), abs=1e-12)
    with pytest.warns(ReptoolsWarning, match="constant over all stimuli.*'flat'"):
        unique = unique_variance(x, flat, cv=5)
    assert np.isnan(unique.sel(feature="flat"))
    np.testing.assert_allclose(unique[1:], unique_variance(x, features, cv=5), atol=1e-12)


def test_outer_dimensions_stay():
    steps, features = time_course()
    parts = variance_partition(steps, features, cv=5)
    assert parts.dims == ("step", "part") and parts.joint.dims == ("step",)
    one = variance_partition(steps.sel(step=10), features, cv=5)
    np.testing.assert_allclose(parts.sel(step=10), one, atol=1e-13)
    assert unique_variance(steps, features, cv=5).joint.dims == ("step",)


def test_a_stratifying_splitter_is_given_all_classes():
    x, features = correlated()
    chosen = {name: features[name] for name in ("easy", "shape")}
    cv = StratifiedKFold(4, shuffle=True, random_state=0)
    result = unique_variance(x, chosen, cv=cv)
    joint = np.unique([chosen["easy"].values, chosen["shape"].values], axis=1, return_inverse=True)
    folds = list(cv.split(x.values, joint[1]))
    assert result.joint.item() == pytest.approx(by_sklearn(x, chosen.values(), folds), abs=1e-10)


@pytest.mark.parametrize("metric", [unique_variance, variance_partition])
def test_what_a_fit_cannot_tell_is_refused_by_name(metric):
    x, features = correlated()
    rare = np.where(np.arange(len(x)) == 7, "rare", features["shape"].values)
    with pytest.raises(
        FeatureError, match=f"{metric.__name__}: .*lack a class of.*'rarity'.*fewer"
    ):
        metric(x, {"easy": features["easy"], "rarity": feature(rare, x)}, cv=5)
    few = x[:12]
    many = {f"f{i}": feature(np.random.default_rng(i).normal(size=12), few) for i in range(8)}
    with pytest.raises(FeatureError, match=r"\(6 stimuli, 8 design columns in all\)"):
        metric(few, many)
    with pytest.raises(FeatureError, match=r"two features or more that vary, got 'feature'"):
        metric(x, features["easy"])
    with pytest.raises(StimulusError, match=r"3 only in x"):
        metric(x, {"a": features["easy"][3:], "b": features["hard"]})
    with pytest.raises(ParameterError, match="cv must be.*got 1"):
        metric(x, features, cv=1)
    with pytest.raises(ParameterError, match="groups='story' is no coordinate"):
        metric(x, features, groups="story")


def test_what_is_constant_within_the_split_is_refused_by_name():
    x, features = correlated()
    split = np.array(["validation", "test", "train"])[np.arange(len(x)) % 3]
    x = x.assign_coords(split=("stimulus", split))
    outside = {"easy": features["easy"], "outside": feature((split == "train").astype(int), x)}
    with pytest.raises(FeatureError, match="constant over the stimuli that are.*'outside'"):
        unique_variance(x, outside)


def test_too_many_parts_are_refused():
    rng = np.random.default_rng(0)
    features = {f"f{i}": rng.normal(size=100) for i in range(9)}
    with pytest.raises(FeatureError, match="9 features have 511 parts; at most 8"):
        variance_partition(rng.normal(size=(100, 3)), features)


def test_a_feature_that_is_constant_at_one_position_has_no_parts_there():
    steps, features = time_course()
    pair = {name: features[name] for name in ("easy", "hard")}
    token = np.stack([features["shape"].values == "ball", np.zeros(len(features["easy"]), bool)])
    dims = ("token", "stimulus")
    x = steps.isel(step=[0, 1]).rename(step="token").drop_vars("token")
    word = xr.DataArray(token, dims=dims, coords={"stimulus": x.stimulus.values})
    with pytest.warns(ReptoolsWarning, match="constant over all stimuli.*'word at token=1'"):
        parts = variance_partition(x, {"word": word} | pair, cv=5)
    assert parts.dims == ("token", "part") and parts.isel(token=0).notnull().all()
    expected = variance_partition(x.isel(token=1), pair, cv=5)
    last = parts.isel(token=1)
    np.testing.assert_allclose(last.sel(part=expected.part), expected, atol=1e-12)
    assert last.count() == expected.size and last.joint.item() == pytest.approx(
        expected.joint.item(), abs=1e-12
    )


def test_parts_of_a_known_overlap():
    # areas of a Venn diagram: what a subset explains is the area that it covers
    rng = np.random.default_rng(0)
    areas = dict(zip(subsets(4), rng.normal(size=15), strict=True))
    covered = [
        sum(area for atom, area in areas.items() if set(atom) & set(chosen))
        for chosen in subsets(4)
    ]
    np.testing.assert_allclose(parts_of(np.array(covered), 4), list(areas.values()), atol=1e-12)


# --- interactions -------------------------------------------------------------------------------


def test_products_of_centred_columns():
    _, features = correlated()
    result = interactions(features, order=2)
    assert list(result)[:5] == list(features) and len(result) == 5 + 10
    one_hot = columns(features["shape"].values)
    easy = features["easy"].values - features["easy"].values.mean()
    by_hand = easy[:, None] * (one_hot - one_hot.mean(axis=0))
    np.testing.assert_allclose(result["easy:shape"], by_hand, atol=1e-14)
    assert result["easy:hard"].dims == ("stimulus",)
    assert result["shape:place"].shape == (240, 4)
    assert result["easy:hard"].attrs == {"kind": "continuous"}
    xr.testing.assert_equal(result["hard"], features["hard"])
    assert list(interactions({"a": easy > 0, "b": easy, "c": easy**2}, order=3))[-1] == "a:b:c"


def test_xor_is_in_the_product_only():
    bits = np.array(np.meshgrid([0, 1], [0, 1], range(50))).reshape(3, -1)[:2]
    rng = np.random.default_rng(0)
    x = np.outer(bits[0] ^ bits[1], rng.normal(size=20)) + 0.1 * rng.normal(size=(200, 20))
    features = interactions({"a": bits[0], "b": bits[1]})
    result = variance_explained(x, features, cv=5)
    assert result.sel(feature="a:b").item() > 0.9
    assert (result.sel(feature=["a", "b"]) < 0.01).all()
    parts = unique_variance(x, features, cv=5)
    assert parts.sel(feature="a:b").item() == pytest.approx(parts.joint.item(), abs=0.05)


def test_interactions_line_up_by_label_and_keep_tokens():
    x, features = correlated()
    order = np.random.default_rng(0).permutation(len(x))
    mixed = interactions({"easy": features["easy"][order], "hard": features["hard"]})
    plain = interactions({"easy": features["easy"], "hard": features["hard"]})
    xr.testing.assert_allclose(mixed.sel(stimulus=plain.stimulus), plain)
    token = xr.DataArray(
        np.random.default_rng(1).integers(0, 2, (240, 3)),
        dims=("stimulus", "token"),
        coords={"stimulus": x.stimulus.values},
    )
    both = interactions({"word": token, "easy": features["easy"]})["word:easy"]
    assert dict(both.sizes) == {"stimulus": 240, "token": 3}
    for t in range(3):
        one = interactions({"word": token[:, t], "easy": features["easy"]})["word:easy"]
        np.testing.assert_allclose(both.isel(token=t), one, atol=1e-15)


@pytest.mark.parametrize(
    ("names", "options", "error", "message"),
    [
        (("easy",), {}, FeatureError, "it multiplies features, got only 'easy'"),
        (("easy", "hard"), {"order": 3}, ParameterError, "order must be from 2 to 2.*got 3"),
        (("easy", "hard"), {"order": 1}, ParameterError, "order must be.*got 1"),
        (("easy", "hard"), {"order": True}, ParameterError, "order must be.*got True"),
        (("easy", "hard", "easy:hard"), {}, FeatureError, "called 'easy:hard' already"),
        (("easy", "other"), {}, StimulusError, "240 only in feature 'easy'"),
        (
            ("easy", "flat"),
            {},
            DimensionError,
            r"has the dimensions \('row',\) and lacks 'stimulus'",
        ),
    ],
)
def test_bad_interactions_are_named(names, options, error, message):
    _, features = correlated()
    features["easy:hard"] = features["follower"]
    labels = [f"t{i}" for i in range(240)]
    features["other"] = features["hard"].assign_coords(stimulus=labels)
    features["flat"] = xr.DataArray(np.zeros(3), dims="row")
    with pytest.raises(error, match=f"interactions: .*{message}"):
        interactions({name: features[name] for name in names}, **options)
