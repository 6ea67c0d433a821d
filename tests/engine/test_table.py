"""Results as tidy tables: the same columns whatever was computed, one row a value."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import reptools as rt
from reptools.errors import ParameterError

N = 24
STIMULI = [f"s{i:02d}" for i in range(N)]
BITS = {"easy": np.arange(N) % 2, "hard": np.arange(N) // 2 % 2}


@pytest.fixture
def tree(tmp_path: Path) -> xr.DataTree:
    """Two systems of which one lacks a layer; of four and of six units."""
    for seed, (system, names) in enumerate({"a": ["fc1", "fc2"], "b": ["fc1"]}.items()):
        rng = np.random.default_rng(seed)
        with rt.Writer(
            tmp_path / f"{system}.h5", system=system, stimulus=STIMULI, features=BITS
        ) as writer:
            writer.append({
                name: rng.normal(size=(N, 4 + 2 * k)) + BITS["easy"][:, None]
                for k, name in enumerate(names)
            })  # fmt: skip
    with rt.open(str(tmp_path / "*.h5")) as found:
        return found.load()


def test_columns_come_in_their_order(tree: xr.DataTree) -> None:
    result = rt.compute("variance_explained", tree)
    table = rt.table(result)
    assert list(table.columns) == [
        "system", "layer", "feature", "metric", "quantity", "estimate", "explained", "total",
        "n_units", "n_dead_units", "n_stimuli", "estimator", "cv", "params",
    ]  # fmt: skip
    assert set(table.metric) == set(table.quantity) == {"variance_explained"}
    assert set(table.n_stimuli) == {N} and set(table.estimator) == {"pooled"}
    assert json.loads(table.params[0])["estimator"] == "pooled"


def test_every_row_is_a_value_of_the_result(tree: xr.DataTree) -> None:
    result = rt.compute("variance_explained", tree)
    table = rt.table(result)
    assert len(table) == 3 * 2  # b has no fc2, and no rows of it
    for row in table.itertuples():
        cell = result.sel(system=row.system, layer=row.layer, feature=row.feature)
        assert (row.estimate, row.total) == (cell.item(), cell.total.item())
        assert row.n_units == cell.n_units.item()


def test_missing_values_stay_where_something_was_recorded(tree: xr.DataTree) -> None:
    result = rt.compute("pca_spectrum", tree)
    table = rt.table(result)
    assert len(table) == 2 * 4 + 6  # what the result is padded by is no row
    assert table[table.layer == "fc2"].estimate.notnull().all()


def test_facts_that_differ_by_layer_stand_at_each(tmp_path: Path, tree: xr.DataTree) -> None:
    result = rt.compute("total_variance", tree["a"])
    by_layer = {"fc1": "one way", "fc2": "another"}
    params = {"fc1": json.dumps({"k": 1}), "fc2": json.dumps({"k": 2})}
    told = result.assign_attrs(estimator=json.dumps(by_layer), params=json.dumps(params))
    table = rt.table(told)
    assert dict(zip(table.layer, table.estimator, strict=True)) == by_layer
    assert dict(zip(table.layer, table.params, strict=True)) == params


def test_variables_of_a_dataset_stand_under_each_other() -> None:
    whole = xr.Dataset(
        {"flipped": (("layer", "k"), [[0.1, 0.2], [0.3, 0.4]]), "norm": ("layer", [5.0, 6.0])},
        {"layer": ["p", "q"], "k": [1, 2], "n_units": ("layer", [4, 0])},
        {"metric": "steer", "n_stimuli": 9, "estimator": "e", "params": "{}"},
    )
    table = rt.table(whole)
    assert table.quantity.tolist() == ["flipped", "flipped", "norm"]
    assert table.estimate.tolist() == [0.1, 0.2, 5.0]
    assert set(table.metric) == {"steer"} and set(table.n_units) == {4}
    assert table.k.dtype == "Int64" and table.k.tolist()[:2] == [1, 2] and table.k.isnull()[2]


def test_tables_of_different_metrics_are_put_under_each_other(tree: xr.DataTree) -> None:
    results = [
        rt.compute("variance_explained", tree),
        rt.compute("participation_ratio", tree),
        rt.compare(tree),
        rt.cka(tree["a/layers/fc1"].activation, tree["b/layers/fc1"].activation),
    ]
    whole = pd.concat([rt.table(one) for one in results], ignore_index=True)
    assert len(whole) == 6 + 3 + 9 + 1
    assert (
        whole[["metric", "quantity", "estimate", "n_stimuli", "params"]].notnull().to_numpy().all()
    )
    ratio = whole[whole.metric == "participation_ratio"]
    assert ratio.feature.isnull().all() and ratio.layer.tolist() == ["fc1", "fc2", "fc1"]
    pairs = whole[whole.metric == "cka"]
    assert pairs.n_units_x.tolist()[:3] == [4, 4, 4] and pairs.x_system.tolist()[0] == "a"
    assert pairs.n_units_y.tolist()[-1] == 4  # of a single pair, too


@pytest.mark.parametrize("name", ["variance_explained", "pca_spectrum", "transfer"])
def test_tables_come_back_from_parquet_and_csv(
    tree: xr.DataTree, tmp_path: Path, name: str
) -> None:
    table = rt.table(rt.compute(name, tree, missing="nan"))
    table.to_parquet(tmp_path / "t.parquet", index=False)
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "t.parquet"), table, check_dtype=False)
    table.to_csv(tmp_path / "t.csv", index=False)
    read = pd.read_csv(tmp_path / "t.csv")
    assert list(read.columns) == list(table.columns)
    np.testing.assert_array_equal(read.estimate, table.estimate)


def test_what_is_no_result_is_refused() -> None:
    with pytest.raises(ParameterError, match="table: result is a list"):
        rt.table([1.0])  # type: ignore[arg-type]
    odd = xr.DataArray([1.0], {"metric": ["a"]}, name="score")
    with pytest.raises(ParameterError, match="table: 'metric' is a coordinate of the result"):
        rt.table(odd)


def test_units_that_a_layer_does_not_have_are_no_rows(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name, widths in {"a": (3, 5), "b": (4, 2)}.items():
        with rt.Writer(tmp_path / f"{name}.h5", system=name, stimulus=range(12)) as file:
            layers = {f"fc{i}": rng.normal(size=(12, width)) for i, width in enumerate(widths)}
            layers["fc0"][:, 0] = 1.0  # which could not be computed, and stays
            file.append(layers)
    with rt.open([tmp_path / "a.h5", tmp_path / "b.h5"]) as tree:
        for metric, per_layer in (("lifetime_sparseness", "unit"), ("pca_spectrum", "component")):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found = rt.table(rt.compute(metric, tree))
            counts = found.groupby(["system", "layer"])[per_layer].count().to_dict()
            assert counts == {("a", "fc0"): 3, ("a", "fc1"): 5, ("b", "fc0"): 4, ("b", "fc1"): 2}
