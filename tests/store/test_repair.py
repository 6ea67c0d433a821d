"""Damage is named by variable and place; a repair may itself be killed; readers let go."""

import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from reptools.errors import IncompleteWarning
from reptools.store import Writer, finishing, journal, open, reader, recovery, repair, validate

VALUES = np.random.default_rng(0).normal(size=(3, 20, 300)).astype("f4") + 5


def write(path, *, labels=str, steps=None):
    """Two whole steps and half of a third; the writer is still open."""
    writer = Writer(path, system="x", steps=steps)
    for k in range(3):
        for start in range(0, 20 if k < 2 else 10, 5):
            rows = slice(start, start + 5)
            names = [labels(i) for i in range(20)][rows] if k == 0 else None
            writer.append({"a": VALUES[k, rows], "b": VALUES[k, rows, :1]}, step=k, stimulus=names)
    return writer


def damage(path, name, place, data):
    """Write over the stored bytes of one element, behind the back of HDF5."""
    with h5py.File(path, locking=False) as file:
        dataset = file[name]
        index = np.unravel_index(place, dataset.shape)
        corner = tuple(int(i) // c * c for i, c in zip(index, dataset.chunks, strict=True))
        inside = tuple(int(i) - o for i, o in zip(index, corner, strict=True))
        info = dataset.id.get_chunk_info_by_coord(corner)
        within = int(np.ravel_multi_index(inside, dataset.chunks)) * dataset.dtype.itemsize
    with Path(path).open("r+b") as raw:
        raw.seek(info.byte_offset + within)
        old = raw.read(len(data))
        raw.seek(info.byte_offset + within)
        raw.write(data if data.strip(b"\0") else b"\0" * len(data))
    assert old != data


@pytest.mark.filterwarnings("ignore::reptools.errors.IncompleteWarning")
@pytest.mark.parametrize(
    ("place", "data", "batch"),
    [
        ((0, 0, 0), b"\1", "step 0, stimuli 0 to 5"),
        ((1, 19, 299), b"\1", "step 1, stimuli 15 to 20"),
        ((2, 9, 7), b"\1", "step 2, stimuli 5 to 10"),
        ((1, 5, 0), b"\0" * 1200 * 5, "step 1, stimuli 5 to 10"),  # a page that was never written
    ],
)
def test_damage_is_named_by_variable_and_place(tmp_path, place, data, batch):
    path = tmp_path / "run.h5"
    write(path).close()
    whole = validate(path, deep=True)
    assert [text.partition(":")[0] for text in whole] == ["/complete"]
    damage(path, "layers/a/activation", np.ravel_multi_index(place, (3, 20, 300)), data)
    assert validate(path) == whole
    assert validate(path, deep=True) == [
        *whole,
        f"/layers/a/activation: checksum differs at {batch}",
    ]


class Killed(BaseException):
    pass


STAGES = {
    "rolling back": (recovery, "rollback"),
    "lowering the record": (recovery, "write_record"),
    "filling with NaN": (finishing, "_blank"),
    "trimming": (finishing, "resize"),
    "overwriting": (journal, "_in_order"),
    "copying": (finishing.shutil, "copyfile"),
    "making labels text": (finishing, "_relabel"),
    "marking": (finishing, "mark"),
    "publishing": (finishing, "sync_directory"),
}


@pytest.mark.filterwarnings("ignore::reptools.errors.IncompleteWarning")
@pytest.mark.parametrize(("where", "name"), STAGES.values(), ids=STAGES.keys())
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_killed_repair_can_be_repeated(tmp_path, monkeypatch, where, name, moment):
    write(tmp_path / "other.h5").abandon()
    repair(tmp_path / "other.h5")
    path = tmp_path / "run.h5"
    write(path).abandon()
    act = getattr(where, name)

    def kill(*args, **options):
        if moment == "after":
            act(*args, **options)
        raise Killed

    monkeypatch.setattr(where, name, kill)
    with pytest.raises(Killed):
        repair(path)
    monkeypatch.undo()
    assert repair(path) == path
    assert repair(path) == path  # nothing is left to do
    assert sorted(p.name for p in tmp_path.iterdir()) == ["other.h5", "run.h5"]
    assert validate(path, deep=True) == validate(tmp_path / "other.h5", deep=True)
    with open(path) as tree:
        found = tree["layers/a"].activation
        assert found.stimulus.values.tolist() == [str(i) for i in range(20)]
        np.testing.assert_array_equal(found[:2], VALUES[:2])
        np.testing.assert_array_equal(found[2, :10], VALUES[2, :10])
        assert np.isnan(found[2, 10:]).all()


@pytest.mark.skipif(sys.platform != "linux", reason="counts handles in /proc")
@pytest.mark.filterwarnings("ignore::reptools.errors.IncompleteWarning")
def test_closing_lets_go_of_the_file(tmp_path):
    def held():
        links = [Path(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")]
        return [x for x in links if x.exists() and tmp_path in x.resolve().parents]

    path = tmp_path / "run.h5"
    writer = write(path)
    with open(path) as tree:
        tree["layers/a"].activation.load()
        assert len(held()) > 2
    writer.close()
    assert held() == []
    validate(path, deep=True)
    with open(path) as tree:
        values = tree["layers/a"].activation
        values[0].load()
    assert held() == []
    path.write_bytes(b"")
    with pytest.raises(OSError, match="run.h5"):
        open(path)
    assert held() == []


@pytest.mark.parametrize("event", ["grows", "closes"])
@pytest.mark.filterwarnings("ignore::reptools.errors.IncompleteWarning")
def test_a_reader_starts_again_where_the_structure_changes(tmp_path, monkeypatch, event):
    path = tmp_path / "run.h5"
    writer = Writer(path, system="x", stimulus=range(5))
    for step in range(8):
        writer.append({"a": VALUES[0, :5]}, step=step)
    check, calls = reader.checked, []

    def checked(*args):
        calls.append(check(*args))
        if len(calls) == 1:
            if event == "grows":
                writer.append({"a": VALUES[0, :5]}, step=8)
            else:
                writer.close()
        return calls[-1]

    monkeypatch.setattr(reader, "checked", checked)
    with open(path) as tree:
        assert len(calls) == 2
        steps, name = (9, "run.h5.partial") if event == "grows" else (8, "run.h5")
        assert tree["layers/a"].activation.shape == (steps, 5, 300)
        assert Path(tree.attrs["path"]).name == name
    writer.abandon()


def test_a_repaired_file_says_what_is_missing(tmp_path):
    path = tmp_path / "run.h5"
    write(path, labels=int, steps=[0, 1, 2, 7]).abandon()
    repair(path)
    with (
        pytest.warns(IncompleteWarning, match="2 of 4 steps, and 10 of 20 stimuli of the next"),
        open(path) as tree,
    ):
        assert tree.attrs["complete"] == 0
        assert tree.step.values.tolist() == [0, 1, 2]
        assert tree.stimulus.values.tolist() == list(range(20))


def test_a_program_may_end_with_a_leftover_open(tmp_path: Path) -> None:
    """HDF5 closed it after Python had gone, and crashed."""
    path = tmp_path / "run.h5"
    with (
        pytest.raises(KeyboardInterrupt),
        Writer(path, system="s", stimulus=range(4), steps=[0, 1]) as writer,
    ):
        writer.append({"fc": np.ones((4, 2))}, step=0)
        raise KeyboardInterrupt
    program = (
        "import sys, warnings; warnings.simplefilter('ignore'); from reptools import store;"
        "tree = store.open(sys.argv[1]); print(tree['layers/fc/activation'].values.sum())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (0, "8.0"), done.stderr
