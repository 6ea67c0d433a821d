"""Every misuse is named, with the value seen; it costs nothing that was written before."""

import numpy as np
import pytest
import xarray as xr

from reptools.errors import (
    DimensionError,
    FeatureError,
    IncompleteWarning,
    ParameterError,
    ReptoolsError,
    StimulusError,
    StoreError,
)
from reptools.store import Writer, open, validate

ONES = np.ones((2, 3))


def writer(tmp_path, **options):
    options = {"system": "x", "stimulus": ["a", "b", "c", "d"]} | options
    return Writer(tmp_path / "run.h5", **options)


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"dtype": "int8"}, ParameterError, "Writer: dtype is 'int8'"),
        ({"kind": "movie"}, ParameterError, "kind is 'movie'"),
        ({"stimulus": ["a", "b", "a", "a"]}, StimulusError, "must be unique, repeated: 'a', 'a'"),
        ({"stimulus": [1.5, 2.0]}, StimulusError, "str or int, got 1.5 of float64"),
        ({"stimulus": np.array(["a", 1], object)}, StimulusError, "str or int, got 1 of object"),
        ({"stimulus": [[1, 2]]}, StimulusError, r"stimulus has shape \(1, 2\)"),
        ({"stimulus": []}, StimulusError, r"stimulus has shape \(0,\)"),
        ({"steps": [0, 5, 5]}, ParameterError, "steps 0, 5, 5 do not increase"),
        ({"steps": [0.5]}, ParameterError, r"steps has shape \(1,\) and type float64"),
        (
            {"features": {"f": [1, 2, 3]}},
            DimensionError,
            r"feature 'f' has shape \(3,\).*4 stimuli",
        ),
        ({"features": {"f": ([1, 2, 3, 4], {"kind": "odd"})}}, FeatureError, "'f' has kind 'odd'"),
        ({"features": {"step": [1, 2, 3, 4]}}, ParameterError, "feature name 'step' is a word"),
        ({"features": {"f": np.array(["2020-01-01"] * 4, "M8[s]")}}, ParameterError, "datetime64"),
        ({"coords": {"split": ["x"]}}, DimensionError, r"'split' has shape \(1,\)"),
        ({"coords": {"crc": [1, 2, 3, 4]}}, ParameterError, "name 'crc' is a word of the file"),
        ({"coords": {"a/b": [1, 2, 3, 4]}}, ParameterError, "'a/b' contains '/'"),
        ({"coords": {"t": ["a\0b"] * 4}}, ParameterError, "'t' holds text with a NUL"),
        ({"coords": {"z": np.ones(4) * 1j}}, ParameterError, "'z' is of type complex128"),
        ({"stimulus": None, "coords": {"split": [1]}}, StimulusError, r"coords \('split'\) need"),
        ({"stimulus": None, "features": {"f": [1]}}, StimulusError, r"features \('f'\) need"),
    ],
)
def test_writer_refuses(tmp_path, options, error, match):
    with pytest.raises(error, match=match):
        writer(tmp_path, **options)
    assert list(tmp_path.iterdir()) == []


def test_features_must_be_labelled_by_the_stimuli(tmp_path):
    features = xr.Dataset({"f": ("stimulus", [1, 2, 3, 4])}, coords={"stimulus": list("abxy")})
    with pytest.raises(
        StimulusError,
        match=r"this file and feature 'f' .*: 2 only in this file \('c', 'd'\), 2 only in .* \('x'",
    ):
        writer(tmp_path, features=features)


@pytest.mark.parametrize(
    ("batch", "error", "match"),
    [
        ({"layers": {}}, ParameterError, "append was given no layer"),
        ({"layers": {"l": np.ones(3)}}, DimensionError, r"layer 'l' has shape \(3,\)"),
        ({"layers": {"l": np.ones((2, 3, 4, 5))}}, DimensionError, r"shape \(2, 3, 4, 5\)"),
        ({"layers": {"l": np.ones((2, 0))}}, DimensionError, r"shape \(2, 0\)"),
        ({"layers": {"l": ONES * 1j}}, ParameterError, "layer 'l' is of type complex128"),
        ({"layers": {"l": ONES.astype(str)}}, ParameterError, "layer 'l' is of type <U"),
        (
            {"layers": {"l": ONES * 1e300}},
            ParameterError,
            r"reaches 1e\+300, too large for float32",
        ),
        ({"layers": {"": ONES}}, ParameterError, "layer name '' is empty"),
        ({"layers": {"..": ONES}}, ParameterError, r"layer name '\.\.' means a folder"),
        ({"layers": {"/": ONES}}, None, None),
        ({"layers": {" a": ONES}}, ParameterError, "' a' starts or ends with white space"),
        ({"layers": {"a\n": ONES}}, ParameterError, r"'a\\n' starts or ends|control"),
        ({"layers": {"a\x01b": ONES}}, ParameterError, "contains a control character"),
        ({"layers": {"é" * 128: ONES}}, ParameterError, "takes 256 bytes, and netCDF holds 255"),
        ({"layers": {7: ONES}}, ParameterError, "layer name 7 is not a string"),
        ({"layers": {"a/b": ONES, "a.b": ONES}}, ParameterError, "'a/b' and 'a.b' .* as 'a.b'"),
        (
            {"layers": {"a": ONES, "b": np.ones((3, 3))}},
            StimulusError,
            "activation 2, .*activation 3",
        ),
        ({"outputs": {"f": np.ones(3)}}, StimulusError, "outputs/f 3"),
        (
            {"outputs": {"f": np.ones((2, 1, 1))}},
            DimensionError,
            r"output 'f' has shape \(2, 1, 1\)",
        ),
        ({"outputs": {"committed": np.ones(2)}}, ParameterError, "output name 'committed'"),
        ({"per_step": {"acc": 1.0}}, ParameterError, "per_step 'acc' is given without a step"),
        (
            {"per_step": {"f": 1.0}, "outputs": {"f": np.ones(2)}, "step": 0},
            ParameterError,
            "twice",
        ),
        ({"per_step": {"w": ["a"]}, "step": 0}, ParameterError, "per_step 'w' holds text"),
        (
            {"per_step": {"w": xr.DataArray([1], dims="stimulus")}, "step": 0},
            DimensionError,
            r"per_step 'w' has dims \('stimulus',\)",
        ),
        ({"features": {"f": [1, 2]}}, ParameterError, "features are given for stimuli .* known"),
        ({"stimulus": ["b", "a"]}, StimulusError, "stimulus 'b' stands at position 0, where 'a'"),
        ({"stimulus": ["a"]}, StimulusError, "1 labels for a batch of 2"),
        ({"stimulus": ["a", "a"]}, StimulusError, "must be unique, repeated: 'a'"),
        ({"layers": {"l": np.ones((5, 3))}}, StimulusError, "a batch of 5 after 0 .* than the 4"),
        ({"step": 1.5}, ParameterError, "step 1.5 is not an integer"),
        (
            {"layers": {"l": np.ones((2, 17_000_000), "f2")}},
            ParameterError,
            "68000000 bytes for one",
        ),
    ],
)
def test_first_append_refuses(tmp_path, batch, error, match):
    w = writer(tmp_path)
    batch = {"layers": {"l": ONES}} | batch
    if error is not None:
        with pytest.raises(error, match=match):
            w.append(**batch)
        assert {p.name for p in tmp_path.iterdir()} <= {"run.h5.lock"}
        assert w.append({"l": ONES}) == 2
    w.abandon()


@pytest.mark.parametrize(
    ("batch", "error", "match"),
    [
        ({"layers": {"a": np.ones((2, 4)), "b": ONES}}, DimensionError, "has 4 along 'unit', .* 3"),
        ({"layers": {"a": ONES}}, ParameterError, "lacks layers/b/activation"),
        ({"layers": {"a": ONES, "b": ONES, "c": ONES}}, ParameterError, "layer 'c' was not in the"),
        (
            {"layers": {"a": ONES, "b": np.ones((2, 2, 3))}},
            (DimensionError, ParameterError),
            "token",
        ),
        ({"outputs": {}}, ParameterError, "lacks outputs/f"),
        ({"outputs": {"f": np.ones(2), "g": np.ones(2)}}, ParameterError, "brings outputs/g"),
        ({"stimulus": ["d", "c"]}, StimulusError, "'d' stands at position 2 at step 0, where 'c'"),
        ({"step": None}, ParameterError, "this batch has no step"),
        ({"step": 10}, ParameterError, "step 10 begins, but step 0 has only 2 of 4"),
        ({"per_step": {"acc": 1.0}}, ParameterError, "brings outputs/acc"),
    ],
)
def test_later_appends_refuse_and_cost_nothing(tmp_path, batch, error, match):
    good = {"layers": {"a": ONES, "b": ONES}, "outputs": {"f": np.ones(2)}, "step": 0}
    w = writer(tmp_path, steps=[0, 10, 20])
    w.append(**good, per_step={"acc": 0.5})
    with pytest.raises(error, match=match):
        w.append(**good | batch)
    assert w.append(**good) == 4
    with pytest.raises(StimulusError, match=r"a batch of 2 after 4 .*This step is complete"):
        w.append(**good)
    with pytest.raises(ParameterError, match="lacks outputs/acc"):
        w.append(**good | {"step": 10})
    with pytest.raises(ParameterError, match="step 20 is not the next of the schedule, .* 10"):
        w.append(**good | {"step": 20})
    for step in (10, 20):
        w.append(**good | {"step": step}, per_step={"acc": 0.5})
        w.append(**good | {"step": step})
    for step, text in ((10, "step 10 was written already"), (30, "step 30 is not the next")):
        with pytest.raises(ParameterError, match=text):
            w.append(**good | {"step": step})
    w.close()
    assert validate(tmp_path / "run.h5", deep=True) == []


def test_growing_steps_come_in_order_once(tmp_path):
    with writer(tmp_path, stimulus=[1, 2]) as w:
        w.append({"l": ONES}, step=5)
        with pytest.raises(ParameterError, match="step 3 comes after step 5"):
            w.append({"l": ONES}, step=3)
        w.append({"l": ONES}, step=7)
        with pytest.raises(ParameterError, match="step 5 was written already"):
            w.append({"l": ONES}, step=5)


def test_growing_stimuli_are_named_once(tmp_path):
    with writer(tmp_path, stimulus=None) as w:
        with pytest.raises(StimulusError, match="the batch after 0 stimuli names none"):
            w.append({"l": ONES})
        with pytest.raises(ParameterError, match="feature 'f' of growing stimuli is object"):
            w.append({"l": ONES}, stimulus=["a", "b"], features={"f": ["x", "y"]})
        w.append({"l": ONES}, stimulus=["a", "b"], features={"f": [1, 2]})
        for labels, text in (
            (["c", "a"], "written before: 'a'"),
            ([1, 2], "stimulus 1 follows 'b'"),
            (["c"], "1 labels for a batch of 2"),
            (["c", "d" * 65], "takes 65 bytes, .* to 64"),
        ):
            with pytest.raises(StimulusError, match=text):
                w.append({"l": ONES}, stimulus=labels, features={"f": [1, 2]})
        with pytest.raises(ParameterError, match="lacks features/f"):
            w.append({"l": ONES}, stimulus=["c", "d"])
        with pytest.raises(ParameterError, match="features/f is of type float64, .* int64"):
            w.append({"l": ONES}, stimulus=["c", "d"], features={"f": [1.5, 2]})
        w.append({"l": ONES}, stimulus=["c", "d"], features={"f": [3, 4]})
    with open(tmp_path / "run.h5") as tree:
        assert tree["features"].f.values.tolist() == [1, 2, 3, 4]


def test_per_step_values_keep_their_names(tmp_path):
    def accuracy(names):
        return {"accuracy": xr.DataArray([1.0, 2.0], dims="feature", coords={"feature": names})}

    with writer(tmp_path, stimulus=[1, 2]) as w:
        w.append({"l": ONES}, step=0, per_step=accuracy(["f", "g"]))
        with pytest.raises(ParameterError, match=r"feature \['g', 'f'\], .* \['f', 'g'\]"):
            w.append({"l": ONES}, step=1, per_step=accuracy(["g", "f"]))
        w.append({"l": ONES}, step=1, per_step=accuracy(["f", "g"]))
    clash = {name: xr.DataArray(np.ones(n), dims="unit") for name, n in (("v", 2), ("w", 3))}
    w = writer(tmp_path, overwrite=True)
    with pytest.raises(ParameterError, match=r"per_step .*|outputs/.* has 3 entries along 'unit'"):
        w.append({"l": ONES}, step=0, per_step=clash)
    w.abandon()


def test_units_must_fit_their_layer(tmp_path):
    for units, error, text in (
        (
            {"l": {"channel": [1, 2]}},
            DimensionError,
            r"'channel' has shape \(2,\), and there are 3",
        ),
        ({"k": {"channel": [1, 2, 3]}}, ParameterError, "units names layer 'k', the layers are l"),
        ({"l": {"activation": [1, 2, 3]}}, ParameterError, "coordinate 'activation'"),
    ):
        w = writer(tmp_path, units=units)
        with pytest.raises(error, match=text):
            w.append({"l": ONES})
        w.abandon()


def test_files_that_exist_and_folders_that_do_not(tmp_path):
    with pytest.raises(StoreError, match=r"Writer: folder .*nowhere does not exist"):
        Writer(tmp_path / "nowhere" / "run.h5", system="x")
    with writer(tmp_path, stimulus=[1, 2]) as w:
        w.append({"l": ONES})
    with pytest.raises(StoreError, match=r"run\.h5 exists already.*overwrite=True"):
        writer(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["run.h5"]
    with pytest.raises(StoreError, match=r"Writer\.append: .*run\.h5 is closed"):
        w.append({"l": ONES})
    w.close()  # harmless
    with pytest.raises(StoreError, match="Writer.close: nothing was appended"):
        writer(tmp_path, overwrite=True).close()
    assert [p.name for p in tmp_path.iterdir()] == ["run.h5"]


def test_a_write_that_fails_ends_the_writer_and_keeps_the_rest(tmp_path, monkeypatch):
    from reptools.store import sink

    w = writer(tmp_path)
    w.append({"l": ONES})
    monkeypatch.setattr(
        sink.Raw, "write", lambda *_: (_ for _ in ()).throw(OSError("disk is gone"))
    )
    with pytest.raises(StoreError, match=r"run\.h5\.partial could not be written: disk is gone"):
        w.append({"l": ONES})
    monkeypatch.undo()
    with pytest.raises(StoreError, match="an earlier write to"):
        w.append({"l": ONES})
    with pytest.raises(StoreError, match=r"Writer\.close: an earlier write to"):
        w.close()
    with pytest.warns(IncompleteWarning, match="2 of 4"), open(tmp_path / "run.h5") as tree:
        np.testing.assert_array_equal(tree["layers/l"].activation.values, ONES)


def test_validate_names_every_deviation(tmp_path):
    import h5py

    with writer(tmp_path, stimulus=[1, 2], features={"f": [0, 1]}) as w:
        w.append({"l": ONES})
    with h5py.File(tmp_path / "run.h5", "r+") as file:
        del file.attrs["system"]
        file.attrs["kind"] = "movie"
        file["stimulus"][1] = 1
        del file["layers/l"].attrs["layer"]
        file["features/f"].attrs["kind"] = "odd"
        file.create_group("extra")
        file["committed"][0] = 1
    assert validate(tmp_path / "run.h5") == [
        "/: the attribute 'system' is missing",
        "/: kind is 'movie', not one of activations, recording, rdms",
        "/committed: counts 1 along 'stimulus', the file has 2",
        "/extra: is not a group of the schema",
        "/layers/l: the attribute 'layer' is missing",
        "/features/f: kind is 'odd', not one of binary, categorical, continuous",
    ]
    with pytest.raises(ReptoolsError, match=r"validate: .*other\.h5 does not exist"):
        validate(tmp_path / "other.h5")
