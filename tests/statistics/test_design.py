"""Design columns, features with outer dimensions, and the moments of few columns with many units."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from reptools.entering.features import as_features
from reptools.entering.labels import as_side
from reptools.errors import DimensionError, FeatureError
from reptools.statistics.blocks import Blocks
from reptools.statistics.features.design import Feature, joint_classes
from reptools.statistics.features.projection import designs
from reptools.statistics.features.skinny import design_moments
from reptools.statistics.folds import Folds, Sampling

N = 90
LABELS = [f"s{i:02d}" for i in range(N)]


# --- features -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "values",
    [
        np.array([3, 1, 3, 1]),
        np.array([True, False, True, True]),
        np.array([0, 2, 1, 0]),
        np.array(["b", "a", "b", "c"]),
        np.array([-1, 1, 1, -1], dtype=np.int8),
        np.array([7, 7, 7, 7]),
    ],
)
def test_codes_are_ranks_of_classes(values):
    feature = Feature("f", "categorical", values)
    assert feature.codes.tolist() == np.unique(values, return_inverse=True)[1].tolist()
    assert feature.columns.shape == (4, len(np.unique(values)) - 1)


def test_joint_classes_number_the_combinations():
    rng = np.random.default_rng(0)
    features = [Feature(f"f{i}", "categorical", rng.integers(0, 3, 50)) for i in range(60)]
    joint = joint_classes([*features[:2], Feature("amount", "continuous", rng.normal(size=50))])
    pairs = np.stack([feature.values for feature in features[:2]])
    assert joint.tolist() == np.unique(pairs, axis=1, return_inverse=True)[1].ravel().tolist()
    assert joint_classes(features).max() == 49  # 3^60 combinations do not overflow
    assert joint_classes([Feature("amount", "continuous", rng.normal(size=50))]) is None


def test_combinations_of_many_classes_are_renumbered_before_they_overflow():
    first = Feature("first", "categorical", np.arange(50))
    others = [Feature(f"f{i}", "binary", np.arange(50) % 2) for i in range(70)]
    assert joint_classes([first, *others]).tolist() == list(range(50))


def test_constant_means_over_stimuli():
    held = Feature("f", "binary", np.array([[0, 0, 0], [1, 1, 1]]), outer=("token",))
    turns = Feature("f", "binary", np.array([[0, 1, 0], [0, 1, 0]]), outer=("token",))
    assert held.constant and not turns.constant


def test_a_large_mean_leaves_columns_of_mean_0():
    values = 1e12 + np.random.default_rng(0).normal(size=N)
    columns = designs([Feature("f", "continuous", values)], np.arange(N)).columns
    assert abs(columns.mean()) < 1e-14
    np.testing.assert_allclose((columns**2).mean(), 1, rtol=1e-14)


def test_a_column_that_varies_by_rounding_is_none():
    values = np.where(np.arange(N) % 3, 0.3, 0.1 + 0.2)
    assert designs([Feature("f", "continuous", values)], np.arange(N)).columns.shape == (N, 0)


def tokens():
    """Activations at three tokens, and features of the stimulus, of the token, and vectors."""
    rng = np.random.default_rng(0)
    x = xr.DataArray(
        rng.normal(size=(2, 3, N, 4)),
        dims=("step", "token", "stimulus", "unit"),
        coords={"stimulus": LABELS, "token": ["a", "b", "c"]},
    )
    word = rng.integers(0, 2, (N, 3))
    word[:, 2] = 0
    features = xr.Dataset(
        {
            "topic": ("stimulus", np.arange(N) % 2),
            "word": (("stimulus", "token"), word, {"kind": "binary"}),
            "vector": (("token", "component_vector", "stimulus"), rng.normal(size=(3, 5, N))),
            "place": (("stimulus", "component"), rng.normal(size=(N, 2))),
        },
        coords={"stimulus": LABELS, "token": ["a", "b", "c"]},
    )
    return x, features


def test_a_feature_of_each_token_gives_its_slice_there():
    x, features = tokens()
    order = np.random.default_rng(1).permutation(N)
    topic, word, vector, place = as_features(features.isel(stimulus=order), as_side(x))
    assert (topic.outer, word.outer, vector.outer) == ((), ("token",), ("token",))
    index = (("step", 1), ("token", 1))
    assert topic.at(index) is topic and place.at(index).columns.shape == (N, 2)
    np.testing.assert_array_equal(word.at(index).values, features["word"][:, 1])
    assert word.at(index) is word.at((("step", 0), ("token", 1)))  # made once for all steps
    np.testing.assert_array_equal(vector.at(index).columns, features["vector"][1].T)
    constant = [word.at((("step", 0), ("token", t))).constant for t in range(3)]
    assert constant == [False, False, True] and not word.constant


def test_a_feature_of_each_token_asks_for_one():
    x, features = tokens()
    (word,) = as_features(features["word"], as_side(x))
    for name in ("columns", "codes", "strata"):
        with pytest.raises(FeatureError, match="'word' has a value for each token. Select one"):
            getattr(word, name)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.isel(token=slice(2)), "x has 3 values along 'token' and feature 'word' has 2"),
        (
            lambda f: f.assign_coords(token=["a", "b", "z"]),
            "different values along 'token', first .*'c'.* against .*'z'",
        ),
        (lambda f: f.rename(token="head"), r"has the dimensions \('stimulus', 'head'\).*'step'"),
        (lambda f: f.isel(stimulus=0, drop=True), r"has the dimensions \('token',\); it must"),
    ],
)
def test_tokens_must_be_those_of_the_activations(change, message):
    x, features = tokens()
    with pytest.raises(DimensionError, match=message):
        as_features(change(features["word"]).rename("word"), as_side(x))


def test_missing_tokens_are_counted_in_stimuli():
    x, features = tokens()
    vector = features["vector"].copy()
    vector[1, 2, [3, 5]] = np.nan
    vector[2, 2, 5] = np.nan
    with pytest.raises(FeatureError, match="'vector' is not finite for 2 stimuli"):
        as_features(vector, as_side(x))


# --- design columns -----------------------------------------------------------------------------


def amounts(values):
    return Feature("f", "continuous", np.asarray(values))


@pytest.mark.parametrize("scale", [1e-200, 1e-3, 1.0, 1e200])
def test_columns_are_orthonormal_over_the_rows_in_use(scale):
    rng = np.random.default_rng(0)
    rows = np.flatnonzero(np.arange(N) % 3)
    features = [
        amounts(scale * (5 + rng.normal(size=(N, 4)))),
        Feature("shape", "categorical", rng.integers(0, 3, N)),
        amounts(scale * rng.normal(size=N)),
    ]
    design = designs(features, rows)
    assert design.widths.tolist() == [4, 2, 1]
    for span in design.spans:
        own = design.columns[rows, span]
        np.testing.assert_allclose(own.mean(axis=0), 0, atol=1e-12)
        np.testing.assert_allclose(own.T @ own / rows.size, np.eye(own.shape[1]), atol=1e-10)
    assert not design.columns[np.arange(N) % 3 == 0].any()
    np.testing.assert_allclose(
        design.covariance, design.columns[rows].T @ design.columns[rows] / rows.size, atol=1e-12
    )


def test_dependent_and_constant_columns_are_dropped():
    rng = np.random.default_rng(0)
    place = rng.normal(size=(N, 2))
    redundant = np.column_stack([place, place @ [1.0, -2.0], np.full(N, 0.1)])
    close = np.column_stack([place[:, 0], place[:, 0] + 1e-5 * place[:, 1]])
    design = designs([amounts(redundant), amounts(np.full(N, 0.1)), amounts(close)], np.arange(N))
    assert design.widths.tolist() == [2, 0, 2]
    for span in (design.spans[0], design.spans[2]):
        own = design.columns[:, span]
        np.testing.assert_allclose(own.T @ own / N, np.eye(2), atol=1e-9)


# --- moments of columns and units ---------------------------------------------------------------


def fold_sets():
    rng = np.random.default_rng(0)
    labels = np.array(LABELS)
    split = np.array(["validation", "test", "train"])[rng.integers(0, 3, N)]
    overlapping = tuple(
        (np.sort(rng.permutation(N)[:40]), np.sort(rng.permutation(N)[:30])) for _ in range(4)
    )
    repeated = tuple(pair for seed in range(8) for pair in Sampling(3, seed, labels).folds())
    return {
        "repeated": Folds(repeated, "three folds, eight times"),
        "five": Sampling(5, 0, labels).folds(),
        "in sample": Sampling(None, 0, labels).folds(),
        "split": Sampling("split", 0, labels, split=split).folds(),
        "overlapping": Folds(overlapping, "drawn"),
        "leave one out": Sampling(N, 0, labels).folds(),
    }


@pytest.mark.parametrize("name", fold_sets())
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("in_blocks", [False, True])
def test_moments_of_each_fold_equal_numpy(name, dtype, in_blocks, monkeypatch):
    monkeypatch.setattr("reptools.statistics.features.skinny.BYTES", 900)  # several pieces a part
    folds = fold_sets()[name]
    rng = np.random.default_rng(1)
    x = (rng.normal(size=(N, 6)) + 100).astype(dtype)
    design = rng.normal(size=(N, 3))
    given = x
    if in_blocks:
        given = Blocks(N, 6, x.dtype, lambda rows: x[rows], [0, 1, 40, 41, N])
    own, units, shift = design_moments(given, design, folds)
    atol = {"float64": 1e-10, "float32": 1e-4}[dtype]
    wide, d = x.astype(np.float64), design.astype(dtype).astype(np.float64)
    for (fit, test), columns, units_of in zip(folds, own, units, strict=True):
        for rows, dd, dx in zip((fit, test), columns, units_of, strict=True):
            dc, xc = d[rows] - d[rows].mean(axis=0), wide[rows] - wide[rows].mean(axis=0)
            assert dd.n == dx.n == len(rows)
            np.testing.assert_allclose(dd["d", "d"], dc.T @ dc, atol=1e-10)
            np.testing.assert_allclose(dx["d", "x"], dc.T @ xc, atol=atol)
            np.testing.assert_allclose(dx.squares["x"], (xc**2).sum(axis=0), atol=atol)
            np.testing.assert_allclose(dd.means["d"], d[rows].mean(axis=0), atol=1e-12)
            np.testing.assert_allclose(dx.means["x"] + shift, wide[rows].mean(axis=0), atol=atol)


def test_fortran_order_and_strides_change_nothing():
    rng = np.random.default_rng(0)
    wide, design = rng.normal(size=(N, 12)), rng.normal(size=(N, 2))
    folds = fold_sets()["five"]
    strided = wide[:, ::2]
    expected = design_moments(np.ascontiguousarray(strided), design, folds)[1]
    for x in (strided, np.asfortranarray(strided)):
        for (fit, test), (fit_too, test_too) in zip(
            design_moments(x, design, folds)[1], expected, strict=True
        ):
            np.testing.assert_allclose(fit["d", "x"], fit_too["d", "x"], atol=1e-12)
            np.testing.assert_allclose(test.squares["x"], test_too.squares["x"], atol=1e-12)


def test_a_constant_unit_is_exactly_0():
    x = np.random.default_rng(0).normal(size=(N, 3))
    x[:, 1] = 0.1
    for dtype in ("float64", "float32"):
        _, units, _ = design_moments(x.astype(dtype), np.ones((N, 1)), fold_sets()["five"])
        for pair in units:
            assert all(moments.squares["x"][1] == 0 for moments in pair)
