"""Whatever is handed in: labels line it up, masks and what cannot be read are refused by name."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

import reptools as rt
from reptools.errors import (
    DataError,
    DimensionError,
    FeatureError,
    ParameterError,
    StimulusError,
)

N = 24
IDS = [f"s{i:02}" for i in range(N)]
EASY = np.arange(N) % 2


@pytest.fixture
def values(rng: np.random.Generator) -> np.ndarray:
    return rng.normal(size=(N, 6)) + EASY[:, None]


@pytest.fixture
def table(values: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame(values, index=IDS)


@pytest.fixture
def array(values: np.ndarray) -> xr.DataArray:
    return xr.DataArray(values, dims=("stimulus", "unit"), coords={"stimulus": IDS})


# --- pandas ---------------------------------------------------------------------------------------


def test_the_index_of_a_table_labels_its_stimuli(table: pd.DataFrame, array: xr.DataArray) -> None:
    shuffled = table.sample(frac=1, random_state=0)
    assert float(rt.cka(table, shuffled)) == pytest.approx(1.0, abs=1e-12)
    assert float(rt.cka(array, shuffled)) == pytest.approx(1.0, abs=1e-12)
    with pytest.raises(StimulusError, match=r"cka: .* 24 only in x \('s00', .* 24 only in y \('z"):
        rt.cka(table, table.set_axis([f"z{i}" for i in IDS]))


def test_the_columns_of_a_table_label_its_units(table: pd.DataFrame) -> None:
    named = table.set_axis(list("abcdef"), axis=1)
    assert rt.lifetime_sparseness(named**2).unit.values.tolist() == list("abcdef")


def test_the_numbering_of_pandas_labels_nothing(
    table: pd.DataFrame, values: np.ndarray, array: xr.DataArray
) -> None:
    plain = table.reset_index(drop=True)
    assert float(rt.cka(plain, values)) == pytest.approx(1.0, abs=1e-12)
    with pytest.raises(StimulusError, match=r"cka: x has no stimulus labels while the other side"):
        rt.cka(plain, array)
    with pytest.raises(StimulusError, match="cka: x has no stimulus labels"):
        rt.cka(plain, plain.iloc[::-1])  # no longer a plain numbering: these are labels
    unnamed = array.drop_vars("stimulus").to_pandas()  # xarray numbers what has no labels
    assert float(rt.cka(unnamed, values)) == pytest.approx(1.0, abs=1e-12)


def test_labels_of_several_levels_are_refused(table: pd.DataFrame) -> None:
    levels = pd.MultiIndex.from_product([range(4), range(6)], names=["run", "trial"])
    with pytest.raises(DimensionError, match=r"x is labelled by 2 levels 'run', 'trial' \(a Multi"):
        rt.total_variance(table.set_axis(levels))
    with pytest.raises(DimensionError, match=r"the columns of x is labelled by 2 levels"):
        rt.total_variance(table.set_axis(levels[:6], axis=1))
    stacked = xr.DataArray(table.to_numpy(), dims=("stimulus", "unit"))
    stacked = stacked.assign_coords(xr.Coordinates.from_pandas_multiindex(levels, "stimulus"))
    with pytest.raises(StimulusError, match=r"x has stimulus labels of 2 levels, such as \(0, 0\)"):
        rt.total_variance(stacked)


def test_a_label_that_is_missing_is_refused(table: pd.DataFrame, array: xr.DataArray) -> None:
    with pytest.raises(StimulusError, match="x has 1 labels that are missing"):
        rt.total_variance(table.set_axis([None, *IDS[1:]]))
    gaps = array.assign_coords(stimulus=[np.nan, *range(1, N)])
    with pytest.raises(StimulusError, match="x has 1 stimulus labels that are NaN"):
        rt.total_variance(gaps)


def test_features_come_as_a_table_or_a_column(table: pd.DataFrame, array: xr.DataArray) -> None:
    features = pd.DataFrame({"easy": EASY, "shade": np.arange(N) / 7}, index=IDS)
    whole = rt.variance_explained(array, features, cv=4)
    shuffled = features.sample(frac=1, random_state=1)
    xr.testing.assert_allclose(rt.variance_explained(array, shuffled, cv=4), whole)
    one = rt.variance_explained(array, shuffled["easy"], cv=4)
    assert float(one) == pytest.approx(float(whole.sel(feature="easy")))
    mapping = {name: shuffled[name] for name in shuffled}
    xr.testing.assert_allclose(rt.variance_explained(table, mapping, cv=4), whole)
    both = rt.interactions({"a": features["easy"], "b": features["shade"].sample(frac=1)})
    assert both.stimulus.values.tolist() == IDS
    np.testing.assert_array_equal(both["b"], features["shade"])


def test_a_table_of_features_says_what_it_holds(array: xr.DataArray) -> None:
    column = pd.DataFrame({"easy": EASY, "stimulus": IDS})
    with pytest.raises(DimensionError, match="target has a column 'stimulus' beside its index"):
        rt.probe(array, column)
    twice = pd.DataFrame(np.stack([EASY, EASY], axis=1), index=IDS, columns=["a", "a"])
    with pytest.raises(DimensionError, match="target has several columns called 'a'"):
        rt.probe(array, twice)
    with pytest.raises(FeatureError, match=r"target holds names of one text: 3, '3'"):
        rt.probe(array, {3: EASY, "3": 1 - EASY})


@pytest.mark.parametrize("dtype", ["Int64", "Float64", "boolean", "category", "string"])
def test_columns_of_any_type_of_pandas(array: xr.DataArray, dtype: str) -> None:
    column = pd.Series(EASY, index=IDS).astype(dtype)
    bare = array.assign_coords(easy=("stimulus", EASY))["easy"]
    bare = bare.astype(float) if dtype == "Float64" else bare
    assert float(rt.probe(array, column, cv=4)) == float(rt.probe(array, bare, cv=4))
    column = column.copy()
    column.iloc[3] = pd.NA
    with pytest.raises(FeatureError, match=r"feature 'feature' is (missing|not finite) for 1 sti"):
        rt.probe(array, column, cv=4)


def test_a_category_says_that_its_numbers_are_classes(array: xr.DataArray) -> None:
    three = pd.Series(np.arange(N) % 3, index=IDS, name="shape")
    with pytest.raises(FeatureError, match="holds 3 different integers"):
        rt.probe(array, three, cv=4)
    assert rt.probe(array, three.astype("category"), cv=4).attrs["metric"] == "probe"


def test_missing_numbers_of_a_table_are_not_finite(table: pd.DataFrame) -> None:
    gap = table.astype("Float64")
    gap.iloc[3, 2] = pd.NA
    with pytest.raises(DataError, match="x is not finite for 1 of 24 stimuli"):
        rt.total_variance(gap)


def test_groups_are_lined_up_by_label(array: xr.DataArray) -> None:
    groups = pd.Series(np.arange(N) // 6, index=IDS)
    target = xr.DataArray(EASY, dims="stimulus", coords={"stimulus": IDS})
    expected = rt.probe(array, target, groups=groups, cv=4)
    again = rt.probe(array, target, groups=groups.sample(frac=1, random_state=0), cv=4)
    assert float(again) == float(expected)
    with pytest.raises(StimulusError, match="groups were not shown the same stimuli: 24 only in x"):
        rt.probe(array, target, groups=groups.set_axis([f"z{i}" for i in IDS]), cv=4)
    with pytest.raises(DimensionError, match="groups is a table of 1 columns"):
        rt.probe(array, target, groups=groups.to_frame(), cv=4)


def test_rdms_come_as_tables(array: xr.DataArray) -> None:
    a, b = rt.rdm(array), rt.rdm(array**2)
    expected = float(rt.compare_rdms(a, b))
    table = pd.DataFrame(b.values, index=IDS, columns=IDS)
    shuffled = table.sample(frac=1, random_state=0)
    assert float(rt.compare_rdms(a, table)) == pytest.approx(expected, abs=1e-12)
    assert float(rt.compare_rdms(a, shuffled)) == pytest.approx(expected, abs=1e-12)
    models = {"b": shuffled, "c": a}
    assert rt.regression_rsa(a, models).model.values.tolist() == ["b", "c"]
    with pytest.raises(DimensionError, match="x has the same labels along both dimensions"):
        rt.rsa(table, table)


# --- masks ----------------------------------------------------------------------------------------


def test_a_mask_is_never_dropped(values: np.ndarray, array: xr.DataArray) -> None:
    masked = np.ma.masked_array(values.copy(), np.zeros(values.shape, dtype=bool))
    assert float(rt.total_variance(masked)) == float(rt.total_variance(values))
    masked[3] = np.ma.masked
    masked.data[3] = 1e6
    with pytest.raises(
        DataError, match=r"^total_variance: x masks 6 of 144 entries, in 1 of 24 ro"
    ):
        rt.total_variance(masked)
    gaps = np.ma.masked_array(EASY, EASY > 5)
    gaps[3] = np.ma.masked
    with pytest.raises(DataError, match="feature 'feature' masks 1 of 24 entries"):
        rt.probe(values, gaps)
    with pytest.raises(DataError, match="feature 'a' masks 1 of 24 entries"):
        rt.probe(values, {"a": gaps})
    with pytest.raises(DataError, match="groups masks 1 of 24 entries"):
        rt.probe(values, EASY, groups=gaps)
    with pytest.raises(DataError, match="an entry of x masks 6 of 6 entries"):
        rt.total_variance(list(masked))
    square = np.ma.masked_array(rt.rdm(array).values)
    square[0, 1] = square[1, 0] = np.ma.masked
    with pytest.raises(DataError, match="b masks 2 of 576 entries"):
        rt.compare_rdms(rt.rdm(array), square)


def test_masks_inside_lazy_blocks_and_tensors(values: np.ndarray) -> None:
    da = pytest.importorskip("dask.array")
    blocks = da.from_array(np.ma.masked_array(values, values > 1), chunks=(6, 6), asarray=False)
    lazy = xr.DataArray(
        blocks, dims=("stimulus", "unit")
    )  # xarray from 2026.4 on makes NaN of them
    rows = int((values > 1).any(axis=1).sum())
    with pytest.raises(DataError, match=f"x is (not finite for {rows} of 24 st|made of masked)"):
        rt.total_variance(lazy)
    with pytest.raises(DataError, match="x is made of masked arrays"):
        rt.total_variance(blocks)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, once in a process
        tensor = torch.masked.masked_tensor(torch.as_tensor(values), torch.as_tensor(values < 1))
    with pytest.raises(DataError, match="x is a masked tensor"):
        rt.total_variance(tensor)


def test_lists_of_labelled_arrays_are_refused(table: pd.DataFrame, array: xr.DataArray) -> None:
    with pytest.raises(DimensionError, match="x is a list of DataArray, whose labels"):
        rt.total_variance(list(array))
    with pytest.raises(DimensionError, match="x is a list of Series, whose labels"):
        rt.total_variance([row for _, row in table.iterrows()])
    assert float(rt.total_variance(array.values.tolist())) == float(rt.total_variance(array))


def test_a_variable_is_read_by_the_names_of_its_dimensions(array: xr.DataArray) -> None:
    assert float(rt.participation_ratio(array.T.variable)) == pytest.approx(
        float(rt.participation_ratio(array)), rel=1e-12
    )


# --- RDMs for activations, outer dimensions -------------------------------------------------------


@pytest.mark.parametrize("metric", ["rsa", "cka", "procrustes", "mutual_knn"])
def test_an_rdm_is_no_representation(metric: str, array: xr.DataArray) -> None:
    rdm = rt.rdm(array)
    call = getattr(rt, metric)
    with pytest.raises(
        DimensionError,
        match=rf"^{metric}: x has the dimensions \('stimulus', 'stimulus_'\), so it is an RDM "
        r"already, .* Compare RDMs with rt\.compare_rdms\(a, b\)",
    ):
        call(rdm, rdm)
    with pytest.raises(DimensionError, match="x has the same labels along both dimensions"):
        call(rdm.rename(stimulus_="unit"), rdm.rename(stimulus_="unit"))
    with pytest.raises(DimensionError, match="x is symmetric with zeros on its diagonal"):
        call(rdm.values, rdm.values)
    with pytest.raises(DimensionError, match="y is symmetric with zeros on its diagonal"):
        call(array.values, torch.as_tensor(rdm.values))
    group = xr.DataTree(xr.Dataset({"dissimilarity": rdm}))
    with pytest.raises(
        DimensionError, match="x is a group with a 'dissimilarity', so it is an RDM"
    ):
        call(group, group)
    graph = xr.DataArray(rdm.values, dims=("stimulus", "unit"))  # named so, it is what is meant
    assert call(graph, graph).name == metric


@pytest.mark.parametrize("labelled", ["x", "y"])
def test_steps_that_one_side_labels_are_refused(labelled: str, array: xr.DataArray) -> None:
    steps = xr.concat([array, array**2], "step")
    named = steps.assign_coords(step=[0, 1])
    pair = (named, steps) if labelled == "x" else (steps, named)
    with pytest.raises(
        DimensionError,
        match=rf"cka: {'y' if labelled == 'x' else 'x'} does not label 'step', and {labelled} "
        r"does \(0, 1\)",
    ):
        rt.cka(*pair)
    assert rt.cka(steps, steps).sizes == {"step": 2}


def test_features_over_steps_are_labelled_like_the_activations(array: xr.DataArray) -> None:
    steps = xr.concat([array, array**2], "step").assign_coords(step=[0, 1])
    easy = xr.DataArray(
        np.stack([EASY, 1 - EASY]), dims=("step", "stimulus"), coords={"stimulus": IDS}
    )
    with pytest.raises(DimensionError, match="feature 'easy' does not label 'step', and x does"):
        rt.probe(steps, {"easy": easy})


def test_an_outer_dimension_called_feature_is_refused(array: xr.DataArray) -> None:
    with pytest.raises(
        DimensionError, match=r"^rdm: a dimension of x is called 'feature'.*rename\("
    ):
        rt.rdm(array.expand_dims(feature=2))
    with pytest.raises(
        DimensionError, match=r"^compare_rdms: a dimension of a is called 'feature'"
    ):
        rt.compare_rdms(rt.rdm(array).expand_dims(feature=2), rt.rdm(array))


@pytest.mark.parametrize(
    ("time", "fact"),
    [
        (np.r_[np.nan, np.arange(1, N)], "time is missing for 1 of 24 stimuli"),
        (np.array(IDS), r"time holds text such as 's00'"),
    ],
)
def test_time_is_a_number_for_every_stimulus(array: xr.DataArray, time: Any, fact: str) -> None:
    x = array.assign_coords(time=("stimulus", time))
    with pytest.raises(ParameterError, match=rf"^probe: {fact}"):
        rt.probe(x, xr.DataArray(EASY, dims="stimulus", coords={"stimulus": IDS}), cv=4)


def test_units_of_two_recordings_are_lined_up(array: xr.DataArray) -> None:
    x = array.assign_coords(unit=list("abcdef"))
    target = xr.DataArray(EASY, dims="stimulus", coords={"stimulus": IDS})
    expected = float(rt.probe_transfer(x, x, target, cv=4))
    assert float(rt.probe_transfer(x, x[:, ::-1], target, cv=4)) == expected
    with pytest.raises(DimensionError, match=r"y has units that x lacks: 'z'"):
        rt.probe_transfer(x, x.assign_coords(unit=list("abcdez")), target, cv=4)


def test_an_rdm_labelled_along_one_dimension_is_labelled(array: xr.DataArray) -> None:
    a = rt.rdm(array)
    order = np.arange(N)[::-1]
    b = a.isel(stimulus=order, stimulus_=order)
    for dim in ("stimulus", "stimulus_"):
        assert float(rt.compare_rdms(a, b.drop_vars(dim))) == pytest.approx(1.0, abs=1e-12)
