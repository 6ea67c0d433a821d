"""What is written comes back bit-exact, through reptools and through tools that do not know it."""

import pickle
import shutil
import subprocess
from itertools import pairwise

import h5py
import netCDF4  # noqa: F401 - its first import warns on some systems; let it happen here
import numpy as np
import pytest
import xarray as xr

from reptools.errors import IncompleteWarning, ReptoolsError
from reptools.store import Writer, open, repair, validate

ENGINES = ("h5netcdf", "netcdf4")
STEPS = (0, 10, 100)
N_STEPS = len(STEPS)


def numbers(seed=0, steps=N_STEPS, stimuli=50):
    rng = np.random.default_rng(seed)
    return {
        "fc1": rng.normal(size=(steps, stimuli, 7)).astype("f4"),
        "blocks.0": rng.normal(size=(steps, 3, stimuli, 4)).astype("f4"),
    }


def write(path, labels, *, known_stimuli=True, steps="known", batch=16, **options):
    """Write the same numbers in every way the Writer knows; returns them."""
    stimuli = len(labels)
    data = numbers(steps=len(STEPS) if steps else 1, stimuli=stimuli)
    odd = np.arange(stimuli) % 2
    if known_stimuli:
        options |= {
            "stimulus": labels,
            "features": {"odd": odd, "size": (odd * 0.5, {"complexity": 2})},
            "coords": {"split": np.where(odd, "train", "test"), "seen": odd == 1},
        }
    if steps == "known":
        options["steps"] = STEPS
    with Writer(path, system="toy", **options) as writer:
        for k, step in enumerate(STEPS if steps else [None]):
            for start in range(0, stimuli, batch):
                rows = slice(start, start + batch)
                extra = {}
                if not known_stimuli and k == 0:
                    extra = {"stimulus": labels[rows], "features": {"odd": odd[rows]}}
                if step is not None and start == 0:
                    accuracy = xr.DataArray(
                        [k / 10, k / 5], dims="feature", coords={"feature": ["odd", "size"]}
                    )
                    extra["per_step"] = {"accuracy": accuracy, "readout_bias": np.ones(2) * k}
                layers = {
                    "fc1": data["fc1"][k, rows],
                    "blocks/0": data["blocks.0"][k, :, rows].swapaxes(0, 1),
                }
                done = writer.append(
                    layers, step=step, outputs={"odd": data["fc1"][k, rows, 0]}, **extra
                )
                assert done == min(start + batch, stimuli)
    return data if steps else {name: values[0] for name, values in data.items()}


LABELS = {
    "str": np.array([f"stimulus é{i:03d}" for i in range(50)]),
    "int": np.arange(50)[::-1] * 7,
}


@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS.keys())
@pytest.mark.parametrize("known_stimuli", [True, False])
@pytest.mark.parametrize("steps", ["known", "grow", None])
def test_every_way_of_writing_comes_back(tmp_path, labels, known_stimuli, steps):
    path = tmp_path / "run.h5"
    data = write(path, labels, known_stimuli=known_stimuli, steps=steps)
    assert [p.name for p in tmp_path.iterdir()] == ["run.h5"]
    assert validate(path, deep=True) == []
    with open(path) as tree:
        for name, values in data.items():
            found = tree["layers"][name].activation
            np.testing.assert_array_equal(found.values, values)
            assert found.stimulus.values.tolist() == labels.tolist()
            assert found.attrs["layer"] == name.replace("blocks.", "blocks/")
            assert found.attrs["system"] == "toy"
            assert found.attrs["source_path"] == str(path)
            if steps:
                assert found.step.values.tolist() == list(STEPS)
            if known_stimuli:
                assert found.split.values[:2].tolist() == ["test", "train"]
                assert found.seen.dtype == bool
        odd = tree["features"]["odd"]
        assert odd.values.tolist() == (np.arange(50) % 2).tolist()
        assert odd.attrs["kind"] in ("binary", "categorical")
        assert tree.attrs["complete"] == 1
        assert tree.attrs["path"] == str(path)
        if steps:
            accuracy = tree["outputs"].accuracy
            assert accuracy.sel(feature="size").values.tolist() == [0.0, 0.2, 0.4]
            assert tree["outputs"].odd.dims == ("step", "stimulus")
    for engine in ENGINES:
        with xr.open_datatree(path, engine=engine) as tree:
            for name, values in data.items():
                np.testing.assert_array_equal(tree["layers"][name].activation.values, values)
            assert tree.stimulus.values.tolist() == labels.tolist()
            assert tree["layers/fc1"].activation.stimulus.values.tolist() == labels.tolist()
            assert "unit" not in tree["layers/fc1"].coords
    with h5py.File(path) as file:
        np.testing.assert_array_equal(file["layers/fc1/activation"][()], data["fc1"])


@pytest.mark.skipif(shutil.which("ncdump") is None, reason="ncdump is not installed")
@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS.keys())
def test_ncdump_reads_it(tmp_path, labels):
    write(tmp_path / "run.h5", labels)
    command = ["ncdump", "-v", "stimulus,split", str(tmp_path / "run.h5")]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "activation(step, stimulus, unit)" in text
    assert str(labels[49]) in text
    assert '"train"' in text


def test_every_root_coordinate_is_on_every_variable_over_stimuli(tmp_path):
    write(tmp_path / "run.h5", LABELS["str"])
    with open(tmp_path / "run.h5") as tree:
        over = [
            variable
            for node in tree.subtree
            for variable in node.data_vars.values()
            if "stimulus" in variable.dims
        ]
        assert len(over) == 5
        for variable in over:
            assert {"stimulus", "split", "seen"} <= set(variable.coords), variable.name
            assert ("step" in variable.coords) == ("step" in variable.dims)


def test_units_have_coordinates_or_none(tmp_path):
    path = tmp_path / "run.h5"
    units = {"a": {"channel": np.arange(3), "region": ["V1", "V1", "IT"]}, "b": {"unit": [5, 6]}}
    with Writer(path, system="x", stimulus=["s", "t"], units=units) as writer:
        writer.append({"a": np.zeros((2, 3)), "b": np.ones((2, 2)), "c": np.ones((2, 1))})
    with open(path) as tree:
        assert tree["layers/a"].activation.region.values.tolist() == ["V1", "V1", "IT"]
        assert tree["layers/b"].activation.sel(unit=6).values.tolist() == [1, 1]
        assert "unit" not in tree["layers/c"].activation.coords
    for engine in ENGINES:
        with xr.open_datatree(path, engine=engine) as tree:
            assert tree["layers/a"].activation.channel.values.tolist() == [0, 1, 2]


def test_lazy_reading_equals_numpy(tmp_path):
    data = numbers(stimuli=700)
    data["fc1"] = np.repeat(data["fc1"], 30, axis=2)
    with Writer(tmp_path / "run.h5", system="x", stimulus=np.arange(700), steps=STEPS) as writer:
        for k, step in enumerate(STEPS):
            writer.append({"fc1": data["fc1"][k]}, step=step)
    keys = [
        (slice(None), slice(None), slice(None)),
        (1, slice(3, 600, 7), 0),
        (-1, slice(None, None, -1), slice(2, 5)),
        ([2, 0], [5, 3, 699, 3], slice(None)),
        (slice(0, 0), [1], [1, 2]),
        (0, np.arange(700)[::3], [4, -1]),
        (0, [], slice(None)),
        (slice(None, None, 2), slice(690, None), -2),
    ]
    with open(tmp_path / "run.h5") as tree:
        found = tree["layers/fc1"].activation
        assert found.variable._data.__class__.__name__ == "LazilyIndexedArray"
        for key in keys:
            indexers = dict(zip(("step", "stimulus", "unit"), key, strict=True))
            expected = data["fc1"]
            for axis in (2, 1, 0):
                expected = expected[(slice(None),) * axis + (key[axis],)]
            got = found.isel(indexers)
            np.testing.assert_array_equal(got.values, expected, err_msg=str(key))
        pointwise = found.isel(
            stimulus=xr.DataArray([3, 1], dims="p"), unit=xr.DataArray([0, 2], dims="p")
        )
        np.testing.assert_array_equal(pointwise.values, data["fc1"][:, [3, 1], [0, 2]])


def test_dask_chunks_and_pickles(tmp_path):
    data = write(tmp_path / "run.h5", LABELS["int"])
    with open(tmp_path / "run.h5") as tree:
        chunked = tree["layers/fc1"].activation.chunk()
        np.testing.assert_array_equal(chunked.compute().values, data["fc1"])
        copy = pickle.loads(pickle.dumps(tree["layers/fc1"].activation))
        np.testing.assert_array_equal(copy.values, data["fc1"])


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_stored_types(tmp_path, dtype):
    values = np.random.default_rng(0).normal(size=(4, 5))
    with Writer(tmp_path / "run.h5", system="x", stimulus=list("abcd"), dtype=dtype) as writer:
        writer.append({"l": values}, outputs={"f": values[:, :2]})
    with open(tmp_path / "run.h5") as tree:
        assert tree["layers/l"].activation.dtype == dtype
        np.testing.assert_array_equal(tree["layers/l"].activation.values, values.astype(dtype))
        assert tree["outputs"].f.dims == ("stimulus", "component")
        assert tree["outputs"].f.dtype == max(np.dtype(dtype), np.dtype("f4"))


def test_torch_tensors_are_taken_as_they_are(tmp_path):
    torch = pytest.importorskip("torch")
    tensor = torch.arange(8.0, requires_grad=True).reshape(2, 4)
    with Writer(tmp_path / "run.h5", system="x", stimulus=[0, 1]) as writer:
        writer.append({"a": tensor, "b": tensor.to(torch.bfloat16)}, outputs={"f": tensor[:, 0]})
    with open(tmp_path / "run.h5") as tree:
        for name in "ab":
            expected = np.arange(8.0).reshape(2, 4)
            np.testing.assert_array_equal(tree["layers"][name].activation.values, expected)


def test_features_are_aligned_by_label(tmp_path):
    labels = ["a", "b", "c"]
    dataset = xr.Dataset(
        {
            "easy": ("stimulus", [3, 1, 2], {"kind": "categorical", "complexity": 1.5}),
            "pair": (("stimulus", "component"), [[3.0, 0], [1, 0], [2, 0]]),
        },
        coords={"stimulus": ["c", "a", "b"], "split": ("stimulus", ["z", "x", "y"])},
    )
    with Writer(tmp_path / "run.h5", system="x", stimulus=labels, features=dataset) as writer:
        writer.append({"l": np.zeros((3, 2))})
    with open(tmp_path / "run.h5") as tree:
        assert tree["features"].easy.values.tolist() == [1, 2, 3]
        assert tree["features"].easy.attrs == {"kind": "categorical", "complexity": 1.5}
        assert tree["features"].pair.values[:, 0].tolist() == [1, 2, 3]
        assert tree["features"].pair.attrs["kind"] == "continuous"
        assert tree.split.values.tolist() == ["x", "y", "z"]


def test_fingerprint_follows_the_values(tmp_path):
    def fingerprint(name, values):
        with Writer(tmp_path / name, system="x", stimulus=[0, 1]) as writer:
            writer.append({"l": values})
        with open(tmp_path / name) as tree:
            return tree["layers/l"].activation.attrs["fingerprint"]

    first = fingerprint("a.h5", np.ones((2, 2)))
    assert first == fingerprint("b.h5", np.ones((2, 2)))
    assert first != fingerprint("c.h5", np.ones((2, 2)) * 1.001)


def test_large_rows_and_many_small_batches(tmp_path):
    """Batches smaller and larger than a chunk, and more of them than the first one promised."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(600, 3000)).astype("f4")
    cuts = [0, 300, 301, 302, 310, 500, 511, 512, 513, 599, 600]
    with Writer(tmp_path / "run.h5", system="x", stimulus=np.arange(600)) as writer:
        for start, stop in pairwise(cuts):
            writer.append({"wide": values[start:stop]})
    assert validate(tmp_path / "run.h5", deep=True) == []
    with open(tmp_path / "run.h5") as tree:
        np.testing.assert_array_equal(tree["layers/wide"].activation.values, values)


def test_many_layers_and_steps_open(tmp_path):
    layers = {f"block.{i}": np.full((4, 2), i) for i in range(500)}
    w = Writer(tmp_path / "run.h5", system="x", stimulus=range_labels(4), steps=range(200))
    for step in range(3):
        w.append(layers, step=step)
    w.abandon()  # all 200 steps have their place already, and are walked
    with pytest.warns(IncompleteWarning, match="3 of 200 steps"), open(tmp_path / "run.h5") as tree:
        assert len(tree["layers"].children) == 500
        assert tree["layers/block.499"].activation.shape == (3, 4, 2)
        assert tree["layers/block.499"].activation[2].values.max() == 499


def range_labels(count):
    return [f"s{i}" for i in range(count)]


def test_provenance_and_attributes(tmp_path):
    with Writer(
        tmp_path / "run.h5",
        system="net",
        stimulus=[1],
        source="https://example.org",
        provenance={"seed": np.int64(3), "config": {"lr": 0.1}},
    ) as writer:
        writer.append({"l": np.ones((1, 1))})
    with open(tmp_path / "run.h5") as tree:
        assert tree.attrs["source"] == "https://example.org"
        assert '"seed": 3' in tree.attrs["provenance"]
        assert '"numpy"' in tree.attrs["provenance"]
        assert tree.attrs["created"].endswith("+00:00")
        assert tree.attrs["schema"] == 1


def test_overwrite_keeps_the_old_file_until_close(tmp_path):
    path = tmp_path / "run.h5"
    for value in (1, 2):
        writer = Writer(path, system="x", stimulus=[0], overwrite=value == 2)
        writer.append({"l": np.full((1, 1), value)})
        if value == 2:
            with open(path) as tree:
                assert tree["layers/l"].activation.values.item() == 1
        writer.close()
    with open(path) as tree:
        assert tree["layers/l"].activation.values.item() == 2


def test_durable_waits_for_data_before_the_record(tmp_path, monkeypatch):
    import reptools.store.sink as sink

    order = []
    write_raw = sink.Raw.write
    monkeypatch.setattr(
        sink.Raw, "write", lambda raw, *rest: (order.append(raw.path), write_raw(raw, *rest))[1]
    )
    monkeypatch.setattr(sink.os, "fdatasync", lambda handle: order.append("disk"))
    with Writer(tmp_path / "run.h5", system="x", stimulus=[0, 1], durable=True) as writer:
        writer.append({"l": np.ones((2, 1))})
    assert order == [
        "layers/l/activation", "batch_stop", "crc", "disk", "committed", "disk",
    ]  # fmt: skip


def test_repair_without_a_leftover_changes_nothing(tmp_path):
    write(tmp_path / "run.h5", LABELS["int"])
    before = (tmp_path / "run.h5").read_bytes()
    assert repair(tmp_path / "run.h5") == tmp_path / "run.h5"
    assert (tmp_path / "run.h5").read_bytes() == before
    with pytest.raises(ReptoolsError, match=r"repair: neither .*nothing.h5 nor"):
        repair(tmp_path / "nothing.h5")


def test_a_changed_byte_is_found(tmp_path):
    write(tmp_path / "run.h5", LABELS["int"])
    with h5py.File(tmp_path / "run.h5", "r+") as file:
        file["layers/fc1/activation"][1, 20, 3] = np.nan
    assert validate(tmp_path / "run.h5") == []
    assert validate(tmp_path / "run.h5", deep=True) == [
        "/layers/fc1/activation: checksum differs at step 1, stimuli 16 to 32",
        "/layers/fc1/activation: 1 values are not finite",
    ]
