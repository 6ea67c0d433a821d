"""A killed writer's file opens everywhere and holds every batch that was reported."""

import functools
import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import h5py
import numpy as np
import pytest
import xarray as xr

from reptools.errors import IncompleteWarning, StoreError
from reptools.store import Writer, open, repair, validate
from tests.store import kills

ENGINES = ("h5netcdf", "netcdf4")


def killed(folder, scenario, count, seed):
    command = [sys.executable, kills.__file__, str(folder), scenario, str(count), str(seed)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2],
        env={"PYTHONPATH": str(Path(__file__).parents[2]), "PATH": ""},
    )  # fmt: skip
    return [json.loads(line) for line in done.stdout.splitlines()]


def check_rows(read, last, scenario):
    """Every reported row is there, bit-exact. ``read(path)`` gives a variable as an array."""
    step, rows = last
    stepped = bool(kills.STEPS[scenario])
    read = functools.cache(read)
    for k in range(step + 1):
        known = range(rows if k == step else kills.STIMULI)
        for layer in ("narrow", "wide", "tokens"):
            found = read(f"layers/{layer}/activation")
            found = found[k] if stepped else found
            if layer == "tokens":
                assert (found[0] == found[1])[: len(known)].all()
                found = found[0]
            np.testing.assert_array_equal(found[: len(known)], kills.value(layer, k, known))
        odd = read("outputs/odd")
        odd = odd[k] if stepped else odd
        np.testing.assert_array_equal(odd[: len(known)], kills.value("odd", k, known)[:, 0])
        if stepped:
            assert read("outputs/accuracy")[k].tolist() == [k / 8, 1.0]


def check_extent(tree, last, scenario):
    """Nothing is shown beyond the record: at most one batch after the last report."""
    activation = tree["layers/wide"].activation
    step, rows = last if last is not None else (0, 0)
    whole = 40 * kills.BATCH if not kills.STEPS[scenario] else kills.STIMULI
    if kills.STEPS[scenario]:
        assert activation.sizes["step"] <= step + 1 + (rows == whole or last is None)
        if activation.sizes["step"] == 0:
            return 0
        final = activation.isel(step=-1).values
    else:
        assert activation.sizes["stimulus"] <= rows + kills.BATCH
        final = activation.values
    # whatever is shown is either right or, in a step that was only begun, missing
    at = activation.sizes["step"] - 1 if kills.STEPS[scenario] else 0
    expected = kills.value("wide", at, range(len(final)))
    missing = np.isnan(final).any(axis=1)
    np.testing.assert_array_equal(final[~missing], expected[~missing])
    assert not missing.any() or kills.STEPS[scenario]
    shown = int((~missing).sum())
    assert not missing[:shown].any()
    if kills.STEPS[scenario] and at == step:
        assert rows <= shown <= rows + kills.BATCH
    return shown


def check_leftover(path, last, scenario, engine):
    """Untouched: HDF5 and xarray open it and hold what was reported."""
    partial = path.with_name(path.name + ".partial")
    with h5py.File(partial) as file:
        if last:
            check_rows(lambda name: file[name][()], last, scenario)
    with xr.open_datatree(partial, engine=engine) as tree:
        if last:
            check_rows(lambda name: tree[name].values, last, scenario)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        tree = open(path)
    with tree:
        # killed between the last mark and the last rename, the file is whole
        expected = [] if tree.attrs["complete"] else [IncompleteWarning]
        assert [w.category for w in caught] == expected
        if last:
            check_rows(lambda name: tree[name].values, last, scenario)
        return check_extent(tree, last, scenario)


def check_repaired(path, last, scenario, shown, engine):
    assert not path.with_name(path.name + ".partial").exists()
    with xr.open_datatree(path, engine=engine) as tree:
        check_rows(lambda name: tree[name].values, last, scenario)
        assert check_extent(tree, last, scenario) == shown
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", IncompleteWarning)
        with open(path) as tree:
            assert check_extent(tree, last, scenario) == shown
            complete = tree.attrs["complete"]
    deviations = [] if complete else ["complete"]
    found = validate(path, deep=True)
    assert len(found) == len(deviations), found
    assert [text for text in found if not text.startswith("/complete: incomplete")] == []


@pytest.mark.parametrize(
    ("scenario", "count"),
    [("known", 22), ("steps", 24), ("stimuli", 24), ("text", 16), ("both", 16)],
)
def test_kills(tmp_path, scenario, count):
    outcomes = {"nothing yet": 0, "leftover": 0, "whole": 0}
    seed = int(os.environ.get("STORE_KILL_SEED", "7"))
    for i, case in enumerate(killed(tmp_path, scenario, count, seed)):
        # h5netcdf takes ten times as long to open a tree, so it has every fourth file
        engine, other = ENGINES[i % 4 != 0], ENGINES[i % 4 != 1]
        path, last = Path(case["path"]), case["last"]
        if path.exists():
            outcomes["whole"] += 1
            assert validate(path, deep=True) == []
            with open(path) as tree:
                check_rows(lambda name: tree[name].values, last, scenario)
        elif path.with_name(path.name + ".partial").exists():
            outcomes["leftover"] += 1
            shown = check_leftover(path, last, scenario, engine)
            if shown:
                assert repair(path) == path
                check_repaired(path, last or (0, 0), scenario, shown, other)
        else:
            outcomes["nothing yet"] += 1
            assert last is None
            with pytest.raises(StoreError, match="does not exist"):
                open(path)
    print("outcomes", scenario, outcomes)
    assert outcomes["leftover"] == count, outcomes


def test_a_second_writer_is_refused(tmp_path):
    first = Writer(tmp_path / "run.h5", system="x", stimulus=[0, 1])
    with pytest.raises(StoreError, match=r"Writer: .*run\.h5 is being written by another process"):
        Writer(tmp_path / "run.h5", system="x", stimulus=[0, 1], overwrite=True)
    first.append({"l": np.ones((1, 2))})
    with pytest.raises(StoreError, match=r"repair: .*holds run\.h5\.lock"):
        repair(tmp_path / "run.h5")
    with pytest.warns(IncompleteWarning, match="incomplete: 1 of 2 stimuli"):
        open(tmp_path / "run.h5").close()
    first.append({"l": np.ones((1, 2))})
    first.close()
    assert validate(tmp_path / "run.h5") == []


def test_an_exception_leaves_what_was_appended(tmp_path):
    with (
        pytest.raises(ZeroDivisionError) as caught,
        Writer(tmp_path / "run.h5", system="x", stimulus=[0, 1], steps=[0, 1]) as writer,
    ):
        writer.append({"l": np.ones((2, 2))}, step=0)
        raise ZeroDivisionError
    assert "repair(" in caught.value.__notes__[0]
    with pytest.raises(StoreError, match=r"run\.h5\.partial exists already.*repair\(\)"):
        Writer(tmp_path / "run.h5", system="x")
    with pytest.warns(IncompleteWarning, match="incomplete: 1 of 2 steps"):
        open(tmp_path / "run.h5.partial").close()
    assert repair(tmp_path / "run.h5.partial") == tmp_path / "run.h5"
    with pytest.warns(IncompleteWarning, match="incomplete: 1 of 2 steps"):
        open(tmp_path / "run.h5").close()


def test_closing_early_says_so_and_fills_with_nan(tmp_path):
    with (
        pytest.warns(IncompleteWarning, match="incomplete: 1 of 3 steps, and 2 of 4 stimuli"),
        Writer(tmp_path / "run.h5", system="x", stimulus=range(4), steps=[0, 5, 9]) as writer,
    ):
        writer.append({"l": np.ones((4, 2))}, step=0, outputs={"f": np.ones(4)})
        writer.append({"l": np.ones((2, 2))}, step=5, outputs={"f": np.ones(2)})
    with xr.open_datatree(tmp_path / "run.h5", engine="h5netcdf") as tree:
        found = tree["layers/l"].activation
        assert found.step.values.tolist() == [0, 5]
        assert np.isnan(found.values[1, :, 0]).tolist() == [False, False, True, True]
        assert np.isnan(tree["outputs"].f.values[1]).tolist() == [False, False, True, True]
    assert validate(tmp_path / "run.h5", deep=True) == [
        "/complete: incomplete: 1 of 3 steps, and 2 of 4 stimuli of the next"
    ]
    with (
        pytest.warns(IncompleteWarning, match="incomplete: 3 of 4 stimuli"),
        Writer(tmp_path / "cut.h5", system="x", stimulus=list("abcd")) as writer,
    ):
        writer.append({"l": np.ones((3, 2))})
    with xr.open_datatree(tmp_path / "cut.h5", engine="netcdf4") as tree:
        assert tree.stimulus.values.tolist() == ["a", "b", "c"]


def test_repair_gives_up_what_a_checksum_contradicts(tmp_path):
    path = tmp_path / "run.h5"
    for deep, kept in ((False, 6), (True, 2)):
        writer = Writer(path, system="x", stimulus=range(8), overwrite=True)
        for start in range(0, 6, 2):
            writer.append({"l": np.full((2, 600), start + 1.0)})
        writer.abandon()
        partial = tmp_path / "run.h5.partial"
        with h5py.File(partial, "r+", locking=False) as file:
            file["layers/l/activation"][2] = 0  # a page that never reached the disk
        path.unlink(missing_ok=True)
        repair(path, deep=deep)
        with pytest.warns(IncompleteWarning, match=f"incomplete: {kept} of 8 stimuli"):
            open(path).close()


def test_repair_of_nothing_says_so(tmp_path):
    writer = Writer(tmp_path / "run.h5", system="x", stimulus=range(4))
    writer.append({"l": np.ones((2, 2))})
    writer.abandon()
    with h5py.File(tmp_path / "run.h5.partial", "r+", locking=False) as file:
        file["committed"][0] = 0
    with pytest.raises(StoreError, match="repair: .*holds no complete batch"):
        repair(tmp_path / "run.h5")
    with pytest.warns(IncompleteWarning, match="0 of 4 stimuli"), open(tmp_path / "run.h5") as tree:
        assert tree["layers/l"].activation.shape == (0, 2)
