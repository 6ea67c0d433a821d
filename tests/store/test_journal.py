"""Every write of a change of structure is a moment to be killed at; none may lose anything."""

import h5py
import numpy as np
import pytest
import xarray as xr

from reptools.errors import IncompleteWarning, StoreError
from reptools.store import Writer, finishing, journal, open, repair, sink
from reptools.store.files import Paths


def grow_steps(path):
    writer = Writer(path, system="x", stimulus=list("abcde"))
    for step in range(8):
        writer.append({"l": np.full((3, 700), step), "m": np.ones((3, 1))}, step=step)
        writer.append({"l": np.full((2, 700), step), "m": np.ones((2, 1))}, step=step)
    return writer, lambda: writer.append({"l": np.full((3, 700), 8), "m": np.ones((3, 1))}, step=8)


def grow_stimuli(path, label=int):
    writer = Writer(path, system="x")
    batch = {"l": np.ones((5, 300))}
    for start in range(0, 80, 5):
        names = [label(i) for i in range(start, start + 5)]
        writer.append(batch, stimulus=names, features={"f": np.ones(5)})
    return writer, lambda: writer.append(
        batch, stimulus=[label(i) for i in range(80, 85)], features={"f": np.ones(5)}
    )


def grow_text(path):
    return grow_stimuli(path, lambda i: f"label {i}")


def grow_batches(path):
    writer = Writer(path, system="x", stimulus=range(20))
    writer.append({"l": np.ones((9, 300))})
    writer.append({"l": np.ones((2, 300))})
    writer.append({"l": np.ones((1, 300))})
    return writer, lambda: writer.append({"l": np.ones((1, 300))})


def trim_steps(path):
    writer = Writer(path, system="x", stimulus=list("abcde"), steps=range(40))
    for step in range(3):
        writer.append({"l": np.full((5, 700), step), "m": np.ones((5, 1))}, step=step)
    return writer, writer.close


def trim_stimuli(path):
    writer = Writer(
        path, system="x", stimulus=[f"s{i}" for i in range(900)], coords={"c": range(900)}
    )
    writer.append({"l": np.ones((300, 50))})
    return writer, writer.close


def trim_grown(path):
    writer, provoke = grow_steps(path)
    provoke()
    return writer, writer.close


GROWN = [grow_steps, grow_stimuli, grow_text, grow_batches, trim_grown]
EDITS = [*GROWN, trim_steps, trim_stimuli]


class Killed(BaseException):
    pass


def crash_points(monkeypatch, paths, provoke):
    """Every state that a kill during an edit may leave: the file, and its journal or None.

    A kill cuts a write only between pages, and no write here lies on two: these are all of them.
    """
    before = paths.partial.read_bytes()
    batches = []  # what is written past the end, then what is overwritten

    def record(file, parts):
        undo = paths.undo.read_bytes() if paths.undo.exists() else None
        batches.append((paths.partial.read_bytes(), undo, list(parts)))
        if undo is not None:
            raise Killed
        write(file, batches[-1][-1])

    write = journal._write
    monkeypatch.setattr(journal, "_write", record)
    monkeypatch.setattr(journal, "rollback", lambda paths: True)  # the kill allows none
    with pytest.raises(Killed):
        provoke()
    monkeypatch.undo()
    for before_, undo, parts in batches:
        image = bytearray(before_)
        yield bytes(image), undo
        for offset, data in parts:
            assert offset // journal.PAGE == (offset + len(data) - 1) // journal.PAGE
            image[offset : offset + len(data)] = data
            yield bytes(image), undo
    paths.undo.unlink()
    paths.partial.write_bytes(before)


def check_plainly(partial, known, engines):
    """Tools that know no journal find all that was committed, even before it is played back."""
    inside = tuple(slice(n) for n in known.shape)
    with h5py.File(partial, locking=False) as file:
        np.testing.assert_array_equal(file["layers/l/activation"][()][inside], known)
    for engine in engines:
        with xr.open_datatree(partial, engine=engine) as tree:
            found = tree["layers/l"].activation.values
            np.testing.assert_array_equal(found[inside], known)


@pytest.mark.filterwarnings("ignore::reptools.errors.IncompleteWarning")
@pytest.mark.parametrize("prepare", EDITS)
def test_every_crash_point_of_an_edit(tmp_path, monkeypatch, prepare):
    path = tmp_path / "run.h5"
    paths = Paths.of(path)
    writer, provoke = prepare(path)
    before = paths.partial.read_bytes()
    with open(path) as tree:
        expected = {node.path: node.to_dataset().load() for node in tree.subtree}

    crash = Paths.of(tmp_path / "crash" / "run.h5")
    crash.final.parent.mkdir()
    points = 0
    for image, undo in crash_points(monkeypatch, paths, provoke):
        if not points:  # close() has put NaN into a step that was only begun
            before = image[: len(before)]
        points += 1
        crash.partial.write_bytes(image)
        if undo is not None:
            crash.undo.write_bytes(undo)
        # netCDF-C does not read a variable that is shorter than a dimension of planned size
        engines = ("h5netcdf", "netcdf4") if prepare in GROWN else ("h5netcdf",)
        check_plainly(crash.partial, expected["/layers/l"].activation, engines)
        with open(crash.partial) as tree:
            for name, dataset in expected.items():
                xr.testing.assert_equal(tree[name].to_dataset(), dataset)
        assert journal.rollback(crash) == (undo is not None)
        assert crash.partial.read_bytes()[: len(before)] == before
        assert undo is None or len(before) == crash.partial.stat().st_size
    writer.abandon()
    assert points > 4
    assert not crash.undo.exists()


def test_a_journal_that_is_not_whole_was_never_used(tmp_path):
    path = tmp_path / "run.h5"
    writer, _ = grow_steps(path)
    writer.abandon()
    paths = Paths.of(path)
    before = paths.partial.read_bytes()
    whole = journal.Journal(10, {0: b"x" * 4096}).pack()
    flipped = [whole[:at] + b"y" + whole[at + 1 :] for at in (20, 24, 100)]  # in a page too
    for torn in (b"", b"RTUNDO1\n", whole[:-1], *flipped):
        paths.undo.write_bytes(torn)
        with pytest.warns(IncompleteWarning, match="8 steps"):
            open(path).close()
        assert not journal.rollback(paths)
        assert paths.partial.read_bytes() == before


@pytest.mark.filterwarnings("ignore::reptools.errors.IncompleteWarning")
def test_a_batch_counts_only_once_its_checksum_is_written(tmp_path, monkeypatch):
    """Killed between any two writes of a commit, a file shows no batch it cannot vouch for."""
    path, crash = tmp_path / "run.h5", Paths.of(tmp_path / "crash" / "run.h5")
    crash.final.parent.mkdir()
    writer = Writer(path, system="x", stimulus=range(6))
    writer.append({"l": np.full((2, 300), 1.0)}, outputs={"f": np.ones(2)})
    write, images = sink.Raw.write, []

    def watched(raw, file, origin, values):
        write(raw, file, origin, values)
        images.append(Paths.of(path).partial.read_bytes())

    monkeypatch.setattr(sink.Raw, "write", watched)
    writer.append({"l": np.full((2, 300), 2.0)}, outputs={"f": np.ones(2)})
    monkeypatch.undo()
    writer.abandon()
    shown = []
    for image in images:
        crash.partial.write_bytes(image)
        with open(crash.final) as tree:
            shown.append(tree["layers/l"].activation.sizes["stimulus"])
        repair(crash.final, deep=True)
        with open(crash.final) as tree:
            assert tree["layers/l"].activation.sizes["stimulus"] == shown[-1]
        crash.final.unlink()
    assert shown == [2] * (len(images) - 1) + [4] and len(images) >= 5


@pytest.mark.parametrize("prepare", [grow_steps, grow_stimuli, grow_text, grow_batches])
def test_a_failed_edit_is_undone_and_ends_the_writer(tmp_path, monkeypatch, prepare):
    path = tmp_path / "run.h5"
    writer, provoke = prepare(path)
    before = Paths.of(path).partial.read_bytes()
    resize = finishing.resize

    def fail(file, dims, extents):
        resize(file, dims, extents)
        raise OSError("no space left")

    monkeypatch.setattr(finishing, "resize", fail)
    monkeypatch.setattr(sink.finishing, "resize", fail)
    with pytest.raises(StoreError, match=r"Writer\.append: .*no space left\. It is as it was"):
        provoke()
    monkeypatch.undo()
    assert Paths.of(path).partial.read_bytes() == before
    with pytest.raises(StoreError, match=r"Writer\.append: an earlier write .* failed"):
        provoke()
    with pytest.raises(StoreError, match=r"Writer\.close: an earlier write .* failed"):
        writer.close()
    assert Paths.of(path).partial.read_bytes() == before
    assert repair(path) == path


@pytest.mark.parametrize("moment", ["after the copy", "before the rename"])
def test_a_kill_while_labels_become_text(tmp_path, monkeypatch, moment):
    path = tmp_path / "run.h5"
    writer, _ = grow_text(path)

    def kill(*_, **__):
        raise Killed

    if moment == "after the copy":
        monkeypatch.setattr(finishing, "_relabel", kill)
    else:
        monkeypatch.setattr(finishing, "publish", kill)
    with pytest.raises(Killed):
        writer.close()
    monkeypatch.undo()
    for engine in ("h5netcdf", "netcdf4"):
        with xr.open_datatree(tmp_path / "run.h5.partial", engine=engine) as tree:
            assert tree["layers/l"].activation.sizes["stimulus"] == 80
    repair(path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run.h5"]
    with xr.open_datatree(path, engine="h5netcdf") as tree:
        assert tree.stimulus.values[79] == "label 79"


def test_only_raw_chunks_change_between_creation_and_close(tmp_path):
    path = tmp_path / "run.h5"
    writer = Writer(path, system="x", stimulus=[f"s{i}" for i in range(50)], steps=range(4))
    rng = np.random.default_rng(0)

    def append(step, start):
        layers = {"a": rng.normal(size=(10, 70)), "b": rng.normal(size=(10, 2, 900))}
        per_step = {"accuracy": rng.normal(size=3)} if start == 0 else None
        outputs = {"f": rng.normal(size=10)}
        writer.append(layers, step=step, outputs=outputs, per_step=per_step)

    append(0, 0)
    partial = tmp_path / "run.h5.partial"
    before = np.frombuffer(partial.read_bytes(), "u1")
    raw = np.zeros(len(before), bool)
    with h5py.File(partial, locking=False) as file:
        written = [
            "layers/a/activation", "layers/b/activation", "outputs/f", "outputs/accuracy",
            "committed", "crc", "batch_stop",
        ]  # fmt: skip
        for name in written:
            file[name].id.chunk_iter(
                lambda info: raw.__setitem__(
                    slice(info.byte_offset, info.byte_offset + info.size), True
                )
            )
    for step in range(4):
        for start in range(10 if step == 0 else 0, 50, 10):
            append(step, start)
            after = np.frombuffer(partial.read_bytes(), "u1")
            assert len(after) == len(before)
            np.testing.assert_array_equal(after[~raw], before[~raw])
    assert (after != before).any()
    writer.close()
