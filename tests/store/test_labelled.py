"""What is written is lined up by label and by the names of dimensions, and what is lost is said."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

import reptools as rt
from reptools.errors import (
    DataError,
    DimensionError,
    ParameterError,
    ReptoolsWarning,
    StimulusError,
    StoreError,
)
from reptools.store import Writer, open, repair, validate

N = 12
IDS = [f"s{i:02}" for i in range(N)]
DOWN = np.arange(N)[::-1]


@pytest.fixture
def x(rng) -> xr.DataArray:
    values = rng.normal(size=(N, 5)).astype("f4")
    return xr.DataArray(values, dims=("stimulus", "unit"), coords={"stimulus": IDS})


def writer(tmp_path, **options):
    return Writer(tmp_path / "run.h5", **{"system": "toy", "stimulus": IDS, **options})


def held(tmp_path, path="layers/l/activation"):
    assert validate(tmp_path / "run.h5", deep=True) == []
    with open(tmp_path / "run.h5") as tree:
        return tree[path].load()


# --- append ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["xarray", "pandas"])
def test_a_labelled_layer_is_lined_up(tmp_path, x, kind):
    down = x[::-1]
    with writer(tmp_path) as w:
        w.append({"l": down if kind == "xarray" else down.to_pandas()})
    found = held(tmp_path)
    np.testing.assert_array_equal(found, x)
    assert float(rt.cka(found, x)) == pytest.approx(1.0, abs=1e-6)


def test_batches_hold_the_stimuli_that_come_next(tmp_path, x):
    with writer(tmp_path) as w:
        assert w.append({"l": x[[3, 0, 2, 1]]}) == 4
        with pytest.raises(
            StimulusError, match=r"^Writer.append: stimulus 's05' stands at position 4, where 's04'"
        ):
            w.append({"l": x[5:8]})
        with pytest.raises(StimulusError, match="'s00' stands at position 4"):
            w.append({"l": x[:4]})  # written already
        with pytest.raises(
            StimulusError, match=r"layer 'l' .* stimuli that this file lacks: 'z0', 'z1'\. "
        ):
            w.append({"l": x[4:6].assign_coords(stimulus=["z0", "z1"])})
        assert w.append({"l": x.values[4:8]}) == 8  # without labels by position
        assert w.append({"l": x[[11, 9, 8, 10]]}) == 12
    np.testing.assert_array_equal(held(tmp_path), x)


def test_dimensions_are_taken_by_name(tmp_path, rng):
    square = xr.DataArray(
        rng.normal(size=(N, N)).astype("f4"), dims=("unit", "stimulus"), coords={"stimulus": IDS}
    )
    tokens = xr.DataArray(
        rng.normal(size=(3, N, 4)).astype("f4"),
        dims=("token", "stimulus", "unit"),
        coords={"stimulus": IDS},
    )
    with writer(tmp_path) as w:
        w.append({"l": square, "t": tokens.transpose("unit", "stimulus", "token")[:, ::-1]})
    np.testing.assert_array_equal(held(tmp_path), square.T)
    np.testing.assert_array_equal(held(tmp_path, "layers/t/activation"), tokens)
    w = writer(tmp_path, overwrite=True)
    with pytest.raises(DimensionError, match=r"layer 'l' has the dimensions \('dim_0', 'dim_1'\)"):
        w.append({"l": xr.DataArray(square.values)})
    with pytest.raises(DimensionError, match=r"layer 'l' has .*'time'.* \(stimulus, token, unit\)"):
        w.append({"l": tokens.rename(token="time")})
    w.abandon()


def test_outputs_are_lined_up(tmp_path, x):
    answers = xr.DataArray(np.arange(N * 2.0).reshape(2, N), dims=("class", "stimulus"))
    answers = answers.assign_coords(stimulus=IDS)
    table = pd.DataFrame({"e": np.arange(N) / 4}, index=IDS)
    with writer(tmp_path) as w:
        w.append({"l": x.values}, outputs={"f": answers, "e": table["e"]})
    np.testing.assert_array_equal(held(tmp_path, "outputs/f"), answers.T)
    with writer(tmp_path, overwrite=True) as w:
        w.append({"l": x[DOWN]}, outputs={"f": answers[:, ::-1], "e": table[::-1]["e"]})
    np.testing.assert_array_equal(held(tmp_path, "outputs/f"), answers.T)
    np.testing.assert_array_equal(held(tmp_path, "outputs/e"), table["e"])
    np.testing.assert_array_equal(held(tmp_path), x)
    w = writer(tmp_path, overwrite=True)
    with pytest.raises(StimulusError, match=r"output 'f' .* 1 only in .* \('s11'\)"):
        w.append({"l": x}, outputs={"f": answers.assign_coords(stimulus=[*IDS[:-1], "z"])})
    w.abandon()


def test_a_bare_part_beside_one_of_another_order_is_refused(tmp_path, x):
    w = writer(tmp_path)
    with pytest.raises(
        StimulusError,
        match="output 'f' has no stimulus labels, and layer 'l' comes in another order than the",
    ):
        w.append({"l": x[DOWN]}, outputs={"f": np.arange(N)})
    assert w.append({"l": x}, outputs={"f": np.arange(N)}) == N
    w.close()


def test_a_labelled_batch_names_stimuli_that_grow(tmp_path, x):
    label = xr.DataArray(np.arange(N), dims="stimulus", coords={"stimulus": IDS})
    with writer(tmp_path, stimulus=None) as w:
        w.append({"l": x[:4]}, step=0, features={"k": label[3::-1]})
        w.append({"l": x[4:].to_pandas()}, step=0, features={"k": label[4:]})
        w.append({"l": x[DOWN] * 2}, step=1)
    found = held(tmp_path)
    assert found.stimulus.values.tolist() == IDS
    np.testing.assert_array_equal(found[1], 2 * x)
    np.testing.assert_array_equal(held(tmp_path, "features/k"), label)


def test_a_resumed_batch_is_found_by_its_labels(tmp_path, x):
    w = writer(tmp_path)
    w.append({"l": x[:8]})
    w.abandon()
    with writer(tmp_path, resume=True) as w:
        assert w.append({"l": x[[5, 4, 7, 6]]}) == 8
        assert w.append({"l": x[[9, 8, 11, 10]]}) == 12
    np.testing.assert_array_equal(held(tmp_path), x)


def test_labels_of_units_and_tokens_are_kept(tmp_path, x):
    named = x.assign_coords(unit=list("abcde"))
    tokens = xr.concat([x, x], "token").assign_coords(token=["was", "war"])
    with writer(tmp_path) as w:
        w.append({"l": named[:6], "t": tokens[:, :6]})
        with pytest.raises(
            ParameterError, match=r"layers/l/activation has unit \['e', 'd'.* had \['a', 'b'"
        ):
            w.append({"l": named[6:, ::-1], "t": tokens[:, 6:]})
        w.append({"l": named[6:], "t": tokens[:, 6:]})
    assert held(tmp_path).unit.values.tolist() == list("abcde")
    assert held(tmp_path, "layers/t/activation").token.values.tolist() == ["was", "war"]
    with writer(tmp_path, overwrite=True, units={"l": {"unit": list("edcba")}}) as w:
        with pytest.raises(ParameterError, match=r"layer 'l' .* unit \['a', .* units= .* \['e', "):
            w.append({"l": named})
        w.append({"l": named[:, ::-1]})
    np.testing.assert_array_equal(held(tmp_path), named[:, ::-1])
    assert held(tmp_path).unit.values.tolist() == list("edcba")


def test_labels_of_units_survive_a_kill(tmp_path, x):
    named = x.assign_coords(unit=list("abcde"))
    w = writer(tmp_path)
    w.append({"l": named[:6]})
    w.abandon()
    with writer(tmp_path, resume=True) as w:
        with pytest.raises(ParameterError, match=r"has unit \['e', 'd'"):
            w.append({"l": named[6:, ::-1]})
        w.append({"l": named[6:]})
    assert held(tmp_path).unit.values.tolist() == list("abcde")


def test_masks_are_refused_when_written(tmp_path, x):
    masked = np.ma.masked_array(x.values, x.values > 1)
    n = int((x.values > 1).sum())
    column = np.ma.masked_array(np.arange(N), np.arange(N) == 3)
    with pytest.raises(DataError, match="Writer: feature 'f' masks 1 of 12 entries"):
        writer(tmp_path, features={"f": column})
    with pytest.raises(DataError, match="Writer: coordinate 'c' masks 1 of 12 entries"):
        writer(tmp_path, coords={"c": column})
    with pytest.raises(DataError, match="Writer: stimulus masks 1 of 12 entries"):
        writer(tmp_path, stimulus=column)
    w = writer(tmp_path)
    with pytest.raises(DataError, match=rf"Writer.append: layer 'l' masks {n} of 60 entries"):
        w.append({"l": masked})
    with pytest.raises(DataError, match="output 'f' masks 1 of 12 entries"):
        w.append({"l": x}, outputs={"f": column})
    with pytest.raises(DataError, match="per_step 'p' masks 1 of 12 entries"):
        w.append({"l": x}, step=0, per_step={"p": column})
    w.append({"l": masked.filled(np.nan)})
    w.close()


# --- the Writer -----------------------------------------------------------------------------------


def test_features_and_coords_come_as_tables(tmp_path, x):
    table = pd.DataFrame({"e": np.arange(N) % 2, "c": np.arange(N) / 3}, index=IDS)
    split = pd.Series(["a", "b"] * 6, index=IDS)
    shuffled = table.sample(frac=1, random_state=0)
    with writer(tmp_path, features=shuffled, coords={"split": split[::-1]}) as w:
        w.append({"l": x})
    np.testing.assert_array_equal(held(tmp_path, "features/c"), table["c"])
    assert held(tmp_path).split.values.tolist() == split.tolist()
    with pytest.raises(StimulusError, match=r"this file and feature 'e' .* 12 only in feature 'e'"):
        writer(tmp_path, features=table.set_axis([f"z{i}" for i in IDS]), overwrite=True)


def test_units_are_lined_up_by_their_labels(tmp_path, x):
    table = pd.DataFrame({"row": np.arange(5), "col": 1}, index=list("abcde"))
    with writer(tmp_path, units={"l": table}) as w:
        w.append({"l": x.assign_coords(unit=list("abcde"))})
    found = held(tmp_path)
    assert found.unit.values.tolist() == list("abcde")
    units = {"unit": list("abcde"), "row": table["row"][::-1]}
    with writer(tmp_path, units={"l": units}, overwrite=True) as w:
        w.append({"l": x})
    assert held(tmp_path).row.values.tolist() == [0, 1, 2, 3, 4]
    units = {"row": table["row"], "col": table["col"].set_axis(list("abcdz"))}
    w = writer(tmp_path, units={"l": units}, overwrite=True)
    with pytest.raises(DimensionError, match=r"'col' .* 1 only in .* \('e'\), 1 only in .*\('z'\)"):
        w.append({"l": x})
    w.abandon()


@pytest.mark.parametrize(
    ("stimulus", "match"),
    [
        (np.array([2**63 + 1, 3], dtype="u8"), "stimulus label 9223372036854775809 is above"),
        ([1, "a"], "stimulus labels mix text and numbers, such as 1 and 'a'"),
        (pd.Series(["a", "b"], index=["b", "a"]), r"stimulus is labelled itself, .*is 'b' is 'a'"),
        (
            xr.DataArray(["a", "b"], dims="stimulus", coords={"stimulus": ["b", "a"]}),
            "stimulus is labelled itself",
        ),
        (pd.MultiIndex.from_product([[1], [2, 3]]), "stimulus is labelled by 2 levels"),
    ],
)
def test_labels_that_mean_two_things_are_refused(tmp_path, stimulus, match):
    with pytest.raises((StimulusError, DimensionError), match=match):
        writer(tmp_path, stimulus=stimulus)


@pytest.mark.parametrize("kind", [pd.Index, pd.Series, xr.Variable])
def test_labels_come_in_every_form(tmp_path, x, kind):
    labels = kind("stimulus", IDS) if kind is xr.Variable else kind(IDS)
    with writer(tmp_path, stimulus=labels) as w:
        w.append({"l": x})
    assert held(tmp_path).stimulus.values.tolist() == IDS
    with writer(tmp_path, stimulus=x.stimulus, overwrite=True) as w:
        w.append({"l": x})
    assert held(tmp_path).stimulus.values.tolist() == IDS


def test_names_are_mapped_to_arrays(tmp_path, x):
    w = writer(tmp_path)
    with pytest.raises(ParameterError, match=r"layers is a ndarray.* Pass a mapping of names"):
        w.append(x.values)
    with pytest.raises(ParameterError, match="outputs is a DataArray"):
        w.append({"l": x}, outputs=x[:, 0])
    w.abandon()
    with pytest.raises(ParameterError, match="coords is a list"):
        writer(tmp_path, coords=[1, 2])


def test_rdms_are_not_written_yet(tmp_path):
    with pytest.raises(
        ParameterError, match=r"^Writer: kind is 'rdms', .* rt\.rdm\(x\).* to_netcdf\(path\)"
    ):
        writer(tmp_path, kind="rdms")


# --- what is lost ---------------------------------------------------------------------------------


def test_values_that_run_together_are_named(tmp_path, rng):
    fine = rng.normal(size=(N, 5)) * 1e-3 + 1e6
    mixed = np.concatenate([fine, rng.normal(size=(N, 3)), np.full((N, 1), 1e6)], axis=1)
    w = writer(tmp_path)
    with pytest.warns(
        ReptoolsWarning,
        match=r"Writer.append: layer 'l': 5 of 9 units vary by less than float32 tells apart "
        r"\(unit 0 by 0\.00\d+ around 1e\+06\).* dtype='float64'",
    ):
        w.append({"l": mixed})
    w.close()
    with writer(tmp_path, dtype="float64", overwrite=True) as w:
        w.append({"l": mixed})
    np.testing.assert_array_equal(held(tmp_path), mixed)
    with writer(tmp_path, overwrite=True) as w:
        w.append({"l": rng.normal(size=(N, 5)) + 1e3})  # 60 bits of noise more are no loss
    w = writer(tmp_path, overwrite=True)
    with pytest.warns(ReptoolsWarning, match=r"5 of 5 units .* around \d\S*e-200"):
        w.append({"l": np.abs(rng.normal(size=(N, 5))) * 1e-200})
    w.close()


@pytest.mark.parametrize("make", [np.asarray, torch.as_tensor])
def test_integers_that_would_merge_are_refused(tmp_path, make):
    w = writer(tmp_path)
    with pytest.raises(
        ParameterError, match=r"layer 'l' holds 16777217, which float32 makes 16777216\.0"
    ):
        w.append({"l": make(np.full((N, 2), 2**24 + 1))})
    w.append({"l": make(np.full((N, 2), 2**25))})
    w.close()
    w = writer(tmp_path, dtype="float64", overwrite=True)
    with pytest.raises(ParameterError, match="holds 9007199254740993, which float64 makes"):
        w.append({"l": make(np.full((N, 2), 2**53 + 1))})
    w.append({"l": make(np.full((N, 2), 2**24 + 1))})
    w.close()


def test_no_path_is_no_file():
    for call in (repair, open, validate):
        with pytest.raises(StoreError, match=rf"^{call.__name__}: path is empty"):
            call("")
