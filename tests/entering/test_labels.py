"""Inputs at the edge: what is read, how sides line up, and what is refused by name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas
import pytest
import torch
import xarray as xr

import reptools as rt
from reptools.engine.common import CV, Groups, Seed
from reptools.engine.declaring import metric
from reptools.engine.registry import forget, metrics
from reptools.entering.features import as_features
from reptools.entering.labels import as_side
from reptools.errors import (
    DataError,
    DeadUnitWarning,
    DimensionError,
    FeatureError,
    ParameterError,
    ReptoolsWarning,
    StimulusError,
)
from tests.conftest import labelled


@pytest.fixture
def gap() -> Iterator[Any]:
    """Row-sensitive pair metric: mean of |first unit of x - first unit of y|."""

    @metric(symmetric=True)
    def gap(x, y, /):  # type: ignore[no-untyped-def]
        """Mean gap of the first units."""
        return abs(x[:, 0] - y[:, 0]).mean()

    yield gap
    forget("gap")


@pytest.fixture
def share() -> Iterator[Any]:
    """Feature metric: mean of the first unit where the feature's first column is set."""

    @metric
    def share(  # type: ignore[no-untyped-def]
        x, features, /, *, context, cv: CV = "split", groups: Groups = None, seed: Seed = 0
    ):
        """Mean of the first unit under a feature."""
        rows = np.concatenate([test for _, test in context.folds()])
        return np.array([x[rows, 0] @ f.columns[rows, 0] for f in features])

    yield share
    forget("share")


def test_sides_are_matched_by_label(gap: Any, x: xr.DataArray) -> None:
    assert float(gap(x, x.isel(stimulus=slice(None, None, -1)))) == 0
    assert gap(x, x).attrs["n_stimuli"] == 24


def test_unlabelled_sides_are_matched_by_position(gap: Any, x: xr.DataArray) -> None:
    assert float(gap(x.values, x.values)) == 0
    assert float(gap(x.values, x.values[::-1])) > 0
    assert float(gap(torch.from_numpy(x.values), x.values)) == 0
    assert float(gap(x.drop_vars("stimulus"), x.values)) == 0


def test_integer_labels(gap: Any, x: xr.DataArray) -> None:
    numbered = x.assign_coords(stimulus=np.arange(24))
    assert float(gap(numbered, numbered[::-1])) == 0
    with pytest.raises(StimulusError, match="like 's000' and y like 0. Use one type"):
        gap(x, numbered)


def test_different_stimuli_are_counted_and_named(gap: Any, x: xr.DataArray) -> None:
    with pytest.raises(StimulusError, match=r"gap: x and y .*: 2 only in x \('s000', 's001'\), 0"):
        gap(x, x[2:])
    with pytest.raises(StimulusError, match="x has 24 stimuli and y has 22, without labels"):
        gap(x.values, x.values[2:])


def test_labelled_against_unlabelled_is_refused(gap: Any, x: xr.DataArray) -> None:
    with pytest.raises(StimulusError, match="y has no stimulus labels"):
        gap(x, x.values)
    with pytest.raises(StimulusError, match="x has no stimulus labels"):
        gap(x.values, x)


def test_repeated_labels_are_refused(gap: Any, x: xr.DataArray) -> None:
    again = x.assign_coords(stimulus=["a", "a", *x.stimulus.values[2:]])
    with pytest.raises(StimulusError, match="y has repeated stimulus labels: 'a'"):
        gap(x, again)


def test_shared_outer_dimensions_are_paired_and_others_crossed(
    gap: Any, rng: np.random.Generator
) -> None:
    steps = labelled(rng.normal(size=(3, 24, 6)))
    assert gap(steps, steps).values.tolist() == [0, 0, 0]
    crossed = gap(steps, steps.rename(step="time"))
    assert crossed.dims == ("step", "time")
    np.testing.assert_array_equal(np.diag(crossed), 0)
    expected = float(gap(steps[0], steps[2]))
    assert float(crossed[0, 2]) == expected
    one = gap(steps, steps.isel(step=1, drop=True))
    assert one.dims == ("step",) and float(one[1]) == 0


def test_shared_dimensions_must_agree(gap: Any, rng: np.random.Generator) -> None:
    steps = labelled(rng.normal(size=(3, 24, 6)))
    with pytest.raises(DimensionError, match="x has 3 values along 'step' and y has 2"):
        gap(steps, steps[:2])
    with pytest.raises(DimensionError, match="different values along 'step', first .*10.* .*11"):
        gap(steps, steps.assign_coords(step=[0, 11, 20]))


def test_a_scalar_step_of_another_value_is_no_conflict(gap: Any, rng: np.random.Generator) -> None:
    steps = labelled(rng.normal(size=(3, 24, 6)))
    assert gap(steps.isel(step=0), steps.isel(step=2)).dims == ()


@pytest.mark.parametrize("shape", [(24,), (2, 24, 6)])
def test_a_bare_array_is_two_dimensional(gap: Any, shape: tuple[int, ...]) -> None:
    with pytest.raises(DimensionError, match=f"shape .{shape[0]},.*bare array is"):
        gap(np.zeros(shape), np.zeros((24, 6)))


def test_dimensions_are_named(gap: Any, x: xr.DataArray) -> None:
    with pytest.raises(DimensionError, match=r"lacks \['unit'\]. Rename"):
        gap(x.rename(unit="neuroid"), x)


def test_a_tree_node_is_read_and_a_group_is_refused(gap: Any, x: xr.DataArray) -> None:
    tree = xr.DataTree.from_dict({"/layers/fc1": xr.Dataset({"activation": x})})
    assert float(gap(tree["layers/fc1"], tree["layers/fc1"].to_dataset())) == 0
    with pytest.raises(DimensionError, match="it holds 'fc1'. Pass one layer"):
        gap(tree, x)


def test_not_finite_is_refused_and_overflow_is_not(gap: Any, x: xr.DataArray) -> None:
    bad = x.copy(deep=True)
    bad[3, 2] = np.inf
    with pytest.raises(DataError, match="y is not finite for 1 of 24 stimuli .rows 3"):
        gap(x, bad)
    huge = x.astype(np.float32) * 0 + np.float32(3e38)
    huge[0] = 0
    assert np.isfinite(float(gap(huge, huge)))


def test_half_precision_and_integers_are_widened(gap: Any) -> None:
    small = np.full((4, 2), 60000, dtype=np.float16)
    small[0] = 0
    assert float(gap(small, small.astype(np.float64))) == 0
    assert float(gap(np.eye(3, dtype=np.int8), np.eye(3, dtype=bool))) == 0
    assert float(gap(torch.eye(3, dtype=torch.bfloat16), np.eye(3))) == 0


def test_dead_units_are_counted_and_a_dead_layer_is_missing(gap: Any, x: xr.DataArray) -> None:
    dead = x.copy(deep=True)
    dead[:, [2, 5]] = 1
    with pytest.warns(DeadUnitWarning, match="gap: y has 2 of 6 units .* 24 stimuli; .*: 2, 5"):
        result = gap(x, dead)
    assert result.attrs["n_dead_units_y"] == 2 and result.attrs["n_dead_units_x"] == 0
    with pytest.warns(DeadUnitWarning, match="6 of 6 units .* missing"):
        assert np.isnan(float(gap(x * 0, x)))


def test_a_unit_that_varies_late_is_alive(gap: Any, rng: np.random.Generator) -> None:
    values = rng.normal(size=(200, 3))
    values[:199, 1] = 0
    values[199, 1] = 1
    assert gap(values, values).attrs["n_dead_units_x"] == 0


def test_the_kernel_sees_what_prepare_made(gap: Any, x: xr.DataArray) -> None:
    assert float(gap(x, x * 3 + 1, prepare="zscore")) == pytest.approx(0, abs=1e-12)
    assert '"prepare": ["zscore"]' in gap(x, x, prepare="zscore").attrs["params"]


def test_a_lazy_slab_above_the_limit_is_refused_by_name(
    gap: Any, x: xr.DataArray, monkeypatch: pytest.MonkeyPatch
) -> None:
    lazy = x.chunk(stimulus=5)
    assert float(gap(lazy, x)) == 0
    monkeypatch.setattr("reptools.engine.reading.LOAD_LIMIT", 1000)
    with pytest.raises(DataError, match="gap: x is a dask array .* no streaming form"):
        gap(lazy, x)


# --- features -----------------------------------------------------------------------------------


def kinds(features: Any, x: xr.DataArray) -> dict[str, str]:
    return {f.name: f.kind for f in as_features(features, as_side(x))}


def test_features_are_matched_by_label(share: Any, x: xr.DataArray) -> None:
    feature = xr.DataArray(
        np.arange(24) % 2, dims="stimulus", coords={"stimulus": x.stimulus}, name="odd"
    )
    result = share(x, feature)
    assert result.dims == () and result.feature.item() == "odd"
    assert float(share(x, feature[::-1])) == pytest.approx(float(result), abs=1e-12)
    assert float(share(x[::-1], {"odd": feature})[0]) == pytest.approx(float(result), abs=1e-12)
    assert "both ways" in result.attrs["cv"]


def test_the_split_of_the_file_is_used(share: Any, x: xr.DataArray) -> None:
    split = xr.DataArray(["validation"] * 12 + ["test"] * 12, dims="stimulus")
    feature = xr.DataArray(np.arange(24.0), dims="stimulus", coords={"stimulus": x.stimulus})
    result = share(x.assign_coords(split=split), feature)
    assert result.attrs["cv"] == "split: fit on validation (12), test on test (12)"
    assert float(result) == pytest.approx(float(x[12:, 0] @ feature[12:]))


def test_kinds_are_stated_or_plain(x: xr.DataArray) -> None:
    bare = x.values
    found = {
        "flag": np.arange(24) % 2,
        "word": np.array(["a", "b", "c"] * 8),
        "amount": np.linspace(0, 1, 24),
        "level": xr.DataArray(np.arange(24) % 3, dims="stimulus", attrs={"kind": "categorical"}),
    }
    assert kinds(found, bare) == {
        "flag": "binary", "word": "categorical", "amount": "continuous", "level": "categorical",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.arange(24) % 3, "holds 3 different integers"),
        (xr.DataArray(np.arange(24), dims="stimulus", attrs={"kind": "odd"}), "the kind 'odd'"),
        (xr.DataArray(np.arange(24), dims="stimulus", attrs={"kind": "binary"}), "has 24 values"),
        (np.array([np.nan] + [0.5] * 23), "not finite for 1 stimuli"),
        (np.array([[np.nan] * 2] + [[0.5, 1.0]] * 23), "not finite for 1 stimuli"),
        (np.zeros((24, 2, 2)), r"shape \(24, 2, 2\)"),
        (np.arange(23) % 2, "23, without labels"),
    ],
)
def test_a_feature_that_could_mean_two_things_is_refused(
    share: Any, x: xr.DataArray, values: Any, message: str
) -> None:
    with pytest.raises((FeatureError, DimensionError, StimulusError), match=message):
        share(x.values, {"f": values})


def test_one_hot_drops_a_level_and_keeps_components(x: xr.DataArray) -> None:
    word, vector = as_features(
        {"word": np.array(["a", "b", "c"] * 8), "vector": np.ones((24, 4))}, as_side(x.values)
    )
    assert word.columns.shape == (24, 2) and word.columns.sum() == 16
    assert vector.columns.shape == (24, 4) and vector.constant


def test_a_constant_feature_is_named_and_missing(share: Any, x: xr.DataArray) -> None:
    features = {"odd": np.arange(24) % 2, "same": np.zeros(24)}
    with pytest.warns(ReptoolsWarning, match="share: constant over all stimuli, .*'same'"):
        result = share(x.values, features)
    assert np.isnan(result.sel(feature="same")) and np.isfinite(result.sel(feature="odd"))
    with pytest.raises(FeatureError, match="constant over all stimuli: 'same'"):
        share(x.values, {"same": np.zeros(24)})


def test_groups_come_from_a_coordinate_or_an_array(share: Any, x: xr.DataArray) -> None:
    feature = xr.DataArray(np.arange(24) % 2, dims="stimulus", coords={"stimulus": x.stimulus})
    run = np.repeat(np.arange(4), 6)
    with_run = x.assign_coords(run=("stimulus", run))
    by_default, by_name = share(with_run, feature, cv=4), share(with_run, feature, groups="run")
    assert by_default.attrs["cv"] == "4 folds, whole run"
    assert "whole run" in by_name.attrs["cv"]
    assert share(x, feature, groups=run, cv=4).attrs["cv"] == "4 folds, whole groups"
    with pytest.raises(ParameterError, match="groups='story' is no coordinate"):
        share(x, feature, groups="story")


def test_bare_groups_are_in_the_order_of_x(x: xr.DataArray, rng: np.random.Generator) -> None:
    """A fit that must repeat exactly takes rows in label order, and bare groups with them."""
    order, run = rng.permutation(24), np.arange(24) // 4
    shuffled = x[order].assign_coords(session=("stimulus", run))
    target = xr.DataArray(np.arange(24) % 2, dims="stimulus", coords={"stimulus": x.stimulus})
    by_name = rt.probe(shuffled, target, groups="session", cv=3)
    xr.testing.assert_identical(
        by_name.drop_attrs(), rt.probe(shuffled, target, groups=run, cv=3).drop_attrs()
    )
    assert by_name.item() != rt.probe(shuffled, target, groups=run[np.argsort(order)], cv=3).item()


def test_a_metric_call_is_counted_in_inputs(share: Any, x: xr.DataArray) -> None:
    with pytest.raises(ParameterError, match=r"it takes 2 inputs \(x, features\), got 1"):
        share(x)


def test_results_say_where_inputs_came_from(gap: Any, x: xr.DataArray) -> None:
    known = x.assign_attrs(source_path="run.h5", layer="fc2", fingerprint="abc")
    text = gap(known, x).attrs["inputs"]
    assert '"source_path": "run.h5"' in text and '"fingerprint": "abc"' in text
    assert metrics()["gap"].summary == "Mean gap of the first units."


# --- what a user may pass by mistake ------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ("run.h5", ParameterError, r"x is the path 'run.h5'. Open it first: rt.open\('run.h5'\)"),
        ([[1.0, 2.0], [3.0]], DimensionError, "x is no array"),
        (np.zeros((0, 3)), DimensionError, "x is empty along 'stimulus'"),
        (np.zeros((3, 0)), DimensionError, "x is empty along 'unit'"),
        (np.eye(6) * 1j, DataError, "x holds complex128 values"),
        (torch.eye(6) * 1j, DataError, "x holds complex64 values"),
        (np.eye(6).astype(str), DataError, "x holds <U[0-9]+ values"),
        (np.eye(6).astype("datetime64[s]"), DataError, "x holds datetime64"),
        (np.full((6, 6), "a", dtype=object), DataError, "x holds object values"),
    ],
)
def test_what_holds_no_numbers_is_refused(
    gap: Any, wrong: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=f"gap: {message}"):
        gap(wrong, np.eye(6))


def test_a_path_is_no_collection_of_layers() -> None:
    with pytest.raises(ParameterError, match="compare: xs is the path 'run.h5'"):
        rt.compare("run.h5")


def test_repeated_dimensions_are_refused(gap: Any) -> None:
    with pytest.warns(UserWarning, match="Duplicate dimension"):
        twice = xr.DataArray(np.zeros((2, 2, 6, 3)), dims=("a", "a", "stimulus", "unit"))
    with pytest.raises(DimensionError, match="x has the dimensions .* and repeats 'a'"):
        gap(twice, np.eye(6))


def grid_of(x: xr.DataArray, y: Any) -> xr.DataArray:
    return rt.compare([x], [y])


@pytest.mark.parametrize(("dim", "call"), [("x", grid_of), ("feature", rt.variance_explained)])
def test_an_outer_dimension_with_a_name_of_the_result_is_refused(
    rng: np.random.Generator, dim: str, call: Any
) -> None:
    x = xr.DataArray(rng.normal(size=(3, 24, 4)), dims=(dim, "stimulus", "unit"))
    other = rng.normal(size=(24, 4)) if dim == "x" else np.arange(24) % 2
    with pytest.raises(DimensionError, match=f"is called '{dim}'.*Rename it"):
        call(x, other)


def test_an_outer_dimension_called_like_the_axis_of_a_grid_stays(
    gap: Any, rng: np.random.Generator
) -> None:
    steps = labelled(rng.normal(size=(3, 24, 4)))
    place = steps.rename(step="x")
    np.testing.assert_array_equal(gap(place, place).values, gap(steps, steps).values)
    assert gap(place, place).dims == ("x",)


def test_coordinates_of_the_user_are_kept(gap: Any, rng: np.random.Generator) -> None:
    steps = labelled(rng.normal(size=(3, 24, 4))).assign_coords(n_seen=("step", [7, 8, 9]))
    result = gap(steps, steps)
    assert result.n_seen.values.tolist() == [7, 8, 9] and "n_seen" not in result.attrs


@pytest.mark.parametrize("metric", [rt.cka, rt.rsa])
def test_torch_meets_numpy(metric: Any, x: xr.DataArray, y: xr.DataArray) -> None:
    mixed = metric(torch.tensor(x.values, requires_grad=True), y.values)
    assert float(mixed) == pytest.approx(float(metric(x, y)), abs=1e-12)


def test_any_tensor_is_a_feature_or_rdm(x: xr.DataArray) -> None:
    amount = torch.linspace(0, 1, 24)
    plain = rt.variance_explained(x.values, amount.numpy())
    assert float(rt.variance_explained(x.values, amount.requires_grad_())) == float(plain)
    assert rt.variance_explained(x.values, amount.bfloat16()).shape == ()
    rdm = rt.rdm(x.values).values
    assert float(rt.compare_rdms(torch.tensor(rdm, requires_grad=True), rdm)) == pytest.approx(1)


def test_integers_of_any_width_are_one_type_of_label(gap: Any, x: xr.DataArray) -> None:
    order = np.random.default_rng(0).permutation(24)
    numbered = x.assign_coords(stimulus=np.arange(24))
    for dtype in (np.uint8, np.int32, object, float):
        shuffled = numbered[order].assign_coords(stimulus=order.astype(dtype))
        assert float(gap(numbered, shuffled)) == 0


def test_labels_of_several_types_are_refused(gap: Any, x: xr.DataArray) -> None:
    mixed = np.array([i if i % 2 else f"s{i}" for i in range(24)], dtype=object)
    with pytest.raises(StimulusError, match="x has stimulus labels of several types: 'int', 'str'"):
        gap(x.assign_coords(stimulus=mixed), x)


@pytest.mark.parametrize("groups", [np.zeros((24, 2)), np.zeros(3), np.array(3)])
def test_groups_of_another_shape_are_refused(share: Any, x: xr.DataArray, groups: Any) -> None:
    with pytest.raises(ParameterError, match="groups has the shape .* each of the 24 stimuli"):
        share(x.values, np.arange(24) % 2, groups=groups)


@pytest.mark.parametrize("name", ["split", "story"])
def test_gaps_in_split_or_groups_are_counted(share: Any, x: xr.DataArray, name: str) -> None:
    values = np.array(["validation", "test"] * 11 + ["test", None], dtype=object)
    groups = None if name == "split" else name
    with pytest.raises(ParameterError, match=f"{name} is missing for 1 of 24 stimuli"):
        gaps = x.drop_vars("stimulus").assign_coords({name: ("stimulus", values)})
        share(gaps, np.arange(24) % 2, groups=groups)


def test_a_table_holds_one_feature_a_column(share: Any, x: xr.DataArray) -> None:
    table = pandas.DataFrame({"bit": np.arange(24) % 2, "word": ["a", "b", "c"] * 8})
    assert share(x.values, table).feature.values.tolist() == ["bit", "word"]


def test_objects_are_read_as_what_they_are(x: xr.DataArray) -> None:
    side = as_side(x.values)
    amounts = np.linspace(0, 1, 24).astype(object)
    (feature,) = as_features(amounts, side)
    assert (feature.kind, feature.values.dtype) == ("continuous", np.float64)


def data_array(values: Any, *dims: str, **attrs: str) -> xr.DataArray:
    return xr.DataArray(values, dims=dims, attrs=attrs)


@pytest.mark.parametrize(
    ("feature", "error", "message"),
    [
        (["a", None] * 12, FeatureError, "is missing for 12 stimuli"),
        (np.array(["a", 1] * 12, dtype=object), FeatureError, "mixes text and numbers"),
        (np.arange(24) * 1j, FeatureError, "holds complex128 values"),
        (
            data_array(np.zeros((24, 3)), "stimulus", "step"),
            DimensionError,
            "has the dimensions .*'step'.*Select or rename",
        ),
        (
            data_array(np.eye(24, 2), "stimulus", "component", kind="binary"),
            FeatureError,
            r"is binary with the shape \(24, 2\)",
        ),
        (
            data_array(["a", "b"] * 12, "stimulus", kind="continuous"),
            FeatureError,
            "is called continuous and holds str",
        ),
    ],
)
def test_a_feature_that_cannot_be_read_is_named(
    x: xr.DataArray, feature: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=f"feature '.*' {message}"):
        as_features(feature, as_side(x.values))


def test_a_warning_points_to_the_line_of_the_user(gap: Any, x: xr.DataArray) -> None:
    dead = x.copy()
    dead[:, 0] = 0.0
    for call in (lambda: gap(dead, x), lambda: rt.compare({"a": dead}, {"b": x})):
        with pytest.warns(DeadUnitWarning) as caught:
            call()
        assert {warning.filename for warning in caught} == {__file__}
