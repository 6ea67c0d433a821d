"""A resumed file is the one that would have been written undisturbed, wherever a kill struck."""

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from reptools.errors import IncompleteWarning, ParameterError, StimulusError, StoreError
from reptools.provenance import from_json
from reptools.store import Writer, finishing, journal, open, repair, resuming, validate
from reptools.store.files import Paths
from reptools.store.order import Written
from reptools.store.raw import Raw
from tests.store import kills
from tests.store import test_journal as edits


class Killed(BaseException):
    pass


def content(path):
    """Every value, dimension and attribute of a file, but for when it was begun and by what."""
    found = {}

    def note(name, item):
        own = {
            key: value if isinstance(value, (str, bytes)) else np.asarray(value).tolist()
            for key, value in item.attrs.items()
            if key not in ("DIMENSION_LIST", "REFERENCE_LIST", "created")
            and not key.startswith("_Netcdf4")
        }
        if "provenance" in own:
            own["provenance"] = from_json(own["provenance"]) | {"versions": None}
        found[name] = own
        if isinstance(item, h5py.Dataset) and not own.get("NAME", b"").startswith(b"This is a"):
            values = item[()]
            data = values.tolist() if values.dtype.kind == "O" else values.tobytes()
            scales = [item.dims[i].keys() for i in range(item.ndim)]
            found[name] |= {"": (str(values.dtype), values.shape, data, scales)}
        elif isinstance(item, h5py.Dataset):
            found[name] |= {"": item.shape}

    with h5py.File(path) as file:
        note("/", file)
        file.visititems(note)
    return found


def check_same(path, whole):
    found, wanted = content(path), content(whole)
    assert found.keys() == wanted.keys()
    for name, values in wanted.items():
        assert found[name] == values, name
    assert validate(path, deep=True) == validate(whole, deep=True)


# --- runs: each is a list of appends, and what its Writer is told


def value(step, rows):
    return (1000 * step + np.arange(len(rows) * 700).reshape(len(rows), 700) + rows[0]) / 8


def batches(count, size, steps, label=None):
    """Batches of `count` stimuli for each of some steps; labelled in the first where they grow."""
    for step in steps:
        for start in range(0, count, size):
            rows = range(start, min(start + size, count))
            extra = {} if step is None else {"step": step}
            if step is not None and not start:
                extra["per_step"] = {"accuracy": np.array([step, 0.5])}
            if label and step == steps[0]:
                extra |= {"stimulus": [label(i) for i in rows], "features": {"f": np.array(rows)}}
            layers = {"l": value(step or 0, rows), "m": value(step or 0, rows)[:, :2]}
            yield {"layers": layers, "outputs": {"o": np.arange(len(rows)) - 0.5}, **extra}


IDS = [f"é{i}" for i in range(7)]
KNOWN = {"stimulus": IDS, "features": {"odd": np.arange(7) % 2}, "coords": {"split": ["a"] * 7}}
RUNS = {
    "known": ({**KNOWN, "steps": [0, 5, 9]}, lambda: batches(7, 3, (0, 5, 9))),
    "steps": (KNOWN, lambda: batches(7, 4, range(10))),
    "stimuli": ({}, lambda: batches(39, 2, (None,), int)),
    "text": ({}, lambda: batches(39, 2, (None,), lambda i: f"é{i}")),
    "both": ({}, lambda: batches(39, 2, (3, 4), lambda i: f"é{i}")),
    "flat": (KNOWN, lambda: batches(7, 2, (None,))),
    "batches": (KNOWN, lambda: iter([*batches(4, 4, (1,)), *one_by_one(1, range(4, 7))])),
}


def one_by_one(step, rows):
    for i in rows:
        layers = {"l": value(step, [i]), "m": value(step, [i])[:, :2]}
        yield {"layers": layers, "outputs": {"o": np.arange(1) - 0.5}, "step": step}


def label(name, i):
    return i if name == "stimuli" else f"é{i}"


def begin(path, name, **options):
    return Writer(path, system="x", provenance={"seed": 3}, **RUNS[name][0], **options)


def write(path, name, stop=None, **options):
    """Write a run, or its first batches; the writer is left open then."""
    writer = begin(path, name, **options)
    for batch in [*RUNS[name][1]()][:stop]:
        writer.append(**batch)
    if stop is None:
        writer.close()
    return writer


def finish(path, name):
    """Run the same program again."""
    write(path, name, resume=True)


@pytest.fixture(scope="module")
def wholes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    for name in RUNS:
        write(folder / f"{name}.h5", name)
    return lambda name: folder / f"{name}.h5"


@pytest.mark.parametrize("name", RUNS)
def test_every_batch_is_a_place_to_resume_at(tmp_path, wholes, name):
    every = [*RUNS[name][1]()]
    stops = sorted({*range(0, len(every), 1 + len(every) // 12), 16, 17, 20, len(every)})
    for turn, stop in enumerate(stop for stop in stops if stop <= len(every)):
        path = tmp_path / f"run{stop}.h5"
        write(path, name, stop).abandon()
        if turn % 2:
            finish(path, name)
        else:  # only what is missing
            with begin(path, name, resume=True) as writer:
                done, begun = writer.written.stimuli, writer.written.begun
                for i, batch in enumerate(every[stop:]):
                    if (
                        not i and done and batch.get("step") == begun
                    ):  # else it would be taken for the first of its step
                        rows = range(done, done + len(batch["outputs"]["o"]))
                        batch = batch | {"stimulus": [label(name, r) for r in rows]}
                    writer.append(**batch)
        check_same(path, wholes(name))
        assert not path.with_name(path.name + ".partial").exists()


@pytest.mark.parametrize("name", ["known", "both", "text"])
def test_every_write_of_a_batch_is_a_moment_to_resume_from(tmp_path, wholes, monkeypatch, name):
    """Writes in their order, each also cut at its pages: what a kill may leave of an append."""
    path, crash = tmp_path / "run.h5", tmp_path / "crash.h5"
    every = [*RUNS[name][1]()]
    at = {"known": 4, "both": 21, "text": 3}[name]
    writer = write(path, name, at)
    before, parts = Paths.of(path).partial.read_bytes(), []
    put = Raw.write

    def record(raw, file, origin, values):
        for offset, part in raw._pieces(origin, values):
            data = np.ascontiguousarray(part).tobytes()
            while data:
                n = journal.PAGE - offset % journal.PAGE
                parts.append((offset, data[:n]))
                offset, data = offset + n, data[n:]
        put(raw, file, origin, values)

    monkeypatch.setattr(Raw, "write", record)
    writer.append(**every[at])
    monkeypatch.undo()
    writer.abandon()
    assert len(parts) > 6
    image = bytearray(before)
    for offset, data in [(0, b""), *parts]:
        image[offset : offset + len(data)] = data
        Paths.of(crash).partial.write_bytes(image)
        finish(crash, name)
        check_same(crash, wholes(name))
        crash.unlink()


GROWTHS = {"steps": 16, "text": 16, "both": 16, "batches": 2}


@pytest.mark.filterwarnings("ignore::reptools.errors.IncompleteWarning")
@pytest.mark.parametrize(
    ("name", "at"), [*GROWTHS.items(), ("known", "close"), ("flat", "close"), ("both", "close")]
)
def test_every_crash_point_of_an_edit_is_resumed_from(tmp_path, wholes, monkeypatch, name, at):
    path, crash = tmp_path / "run.h5", Paths.of(tmp_path / "crash.h5")
    every = [*RUNS[name][1]()]
    early = {"known": 4, "flat": 2, "both": len(every)}
    writer = write(path, name, early[name] if at == "close" else at)

    def provoke():
        writer.close() if at == "close" else writer.append(**every[at])

    points = list(edits.crash_points(monkeypatch, Paths.of(path), provoke))
    writer.abandon()
    assert len(points) > 4
    for image, undo in points:
        crash.partial.write_bytes(image)
        if undo is not None:
            crash.undo.write_bytes(undo)
        finish(crash.final, name)
        check_same(crash.final, wholes(name))
        crash.final.unlink()


def closed_early(path, name):
    """A leftover that was being closed or repaired: cut, filled, its labels text."""
    stop = {"known": 4, "flat": 2, "steps": 5, "text": 5, "both": 22}[name]
    writer = write(path, name, stop)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        patch.setattr(finishing.os, "replace", replace_but_last)
        writer.close()


def replace_but_last(source, target):
    if Path(target).suffix == ".h5":
        raise Killed
    os.rename(source, target)


@pytest.mark.parametrize("name", ["known", "flat", "steps", "text", "both"])
def test_a_leftover_killed_while_closed_is_resumed(tmp_path, wholes, name):
    path = tmp_path / "run.h5"
    closed_early(path, name)
    finish(path, name)
    check_same(path, wholes(name))


STAGES = {
    "undoing": (resuming, "rollback"),
    "marking": (resuming, "mark"),
    "restoring": (resuming, "_restore"),
    "making labels bytes": (resuming, "coded_labels"),
    "in the copy": (finishing, "_coded"),
    "widening": (resuming, "resize"),
    "overwriting": (journal, "_in_order"),
    "forgetting": (resuming, "_clear"),
    "lowering": (resuming, "write_record"),
}


@pytest.mark.parametrize("name", ["known", "flat", "text"])
@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize(("where", "stage"), STAGES.values(), ids=STAGES.keys())
def test_a_killed_resumption_is_resumed(tmp_path, wholes, monkeypatch, where, stage, moment, name):
    path = tmp_path / "run.h5"
    closed_early(path, name)
    if stage == "write_record":
        spoil_last(path)
    act, reached = getattr(where, stage), []

    def kill(*args, **options):
        reached.append(stage)
        if moment == "after":
            act(*args, **options)
        raise Killed

    monkeypatch.setattr(where, stage, kill)
    with contextlib.suppress(Killed):
        begin(path, name, resume=True).abandon()
    monkeypatch.undo()
    only = {
        "coded_labels": {"text"}, "_coded": {"text"}, "resize": {"known", "flat"},
        "_in_order": {"known", "flat"},
    }  # fmt: skip
    assert bool(reached) == (name in only.get(stage, RUNS))
    finish(path, name)
    check_same(path, wholes(name))


def spoil_last(path):
    """Lose the last batch, as a loss of power may."""
    with h5py.File(Paths.of(path).partial, "r+", locking=False) as file:
        data, k = file["layers/l/activation"], int((file["committed"][:] > 0).sum()) - 1
        at = int(file["committed"][k]) - 1
        data[(k, at) if data.ndim == 3 else at] = 0


@pytest.mark.filterwarnings("ignore::reptools.errors.IncompleteWarning")
@pytest.mark.parametrize("name", ["known", "flat", "text"])
def test_every_crash_point_of_a_widening(tmp_path, wholes, monkeypatch, name):
    path, crash = tmp_path / "run.h5", Paths.of(tmp_path / "crash.h5")
    if name == "text":  # the labels lie last in the file then, and grow
        every = [*RUNS[name][1]()]
        closed_early(path, name)
        writer = begin(path, name, resume=True)

        def provoke():
            writer.append(**every[5])
    else:
        closed_early(path, name)

        def provoke():
            begin(path, name, resume=True)

    with h5py.File(Paths.of(path).partial, locking=False) as file:
        whole, data = int(file["committed"][0]), file["layers/l/activation"]
        known = data[:1, :whole] if name == "known" else data[:whole]
    points = list(edits.crash_points(monkeypatch, Paths.of(path), provoke))
    if name == "text":
        writer.abandon()
    assert len(points) > 4
    for image, undo in points:
        crash.partial.write_bytes(image)
        if undo is not None:
            crash.undo.write_bytes(undo)
        # of the stimuli, data may be shorter or longer than labels until this is undone, which
        # h5py reads, and xarray only by reptools.open
        edits.check_plainly(crash.partial, known, ["h5netcdf"] if name == "known" else [])
        with open(crash.final) as tree:
            found = tree["layers/l"].activation.values
            np.testing.assert_array_equal(found[tuple(slice(n) for n in known.shape)], known)
        finish(crash.final, name)
        check_same(crash.final, wholes(name))
        crash.final.unlink()


@pytest.mark.parametrize("how", ["repeat", "go on"])
@pytest.mark.parametrize(
    ("scenario", "count"), [("known", 8), ("steps", 8), ("stimuli", 8), ("text", 8), ("both", 8)]
)
def test_kills(tmp_path, scenario, count, how):
    seed, root = os.environ.get("STORE_KILL_SEED", "7"), str(Path(__file__).parents[2])
    count = os.environ.get("STORE_KILLS", count)
    command = [sys.executable, kills.__file__, str(tmp_path), scenario, str(count), seed, how]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, cwd=root,
        env={"PYTHONPATH": root, "PATH": ""},
    )  # fmt: skip
    cases = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.stderr == ""
    assert sum(case["struck"] for case in cases) >= int(count)
    for case in cases:
        check_same(case["path"], tmp_path / "whole0.h5")
        assert not Paths.of(case["path"]).partial.exists()


# --- what a user meets


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"system": "y"}, "system is 'x', not 'y'"),
        ({"source": "web"}, "source is '', not 'web'"),
        ({"kind": "recording"}, "kind is 'activations', not 'recording'"),
        ({"dtype": "float64"}, "dtype is float32, not float64"),
        ({"provenance": {"seed": {"a": 4}}}, r"provenance\.seed is 3, not {\"a\": 4}"),
        ({"provenance": {}}, r"provenance\.seed is 3, not absent"),
        ({"stimulus": [*IDS[:6], "z"]}, "stimulus is 'é6' at position 6, not 'z'"),
        ({"stimulus": range(7)}, "stimulus is of type object, not int64"),
        ({"stimulus": IDS[:6], "features": None, "coords": None}, "planned_stimuli .* 7, not 6"),
        ({"steps": [0, 5, 8]}, "step is 9 at position 2, not 8"),
        ({"steps": [0, 5]}, "planned_steps .* 3, not 2"),
        ({"steps": None}, "planned_steps .* 3, not unknown"),
        ({"features": None}, "features/odd is there, and not given"),
        ({"features": {"odd": [1, 1, 0, 1, 0, 1, 0]}}, "features/odd is 0 at position 0, not 1"),
        ({"features": {"odd": np.arange(7) % 2.0}}, "features/odd is of type int64, not float64"),
        (
            {"features": {"odd": (np.arange(7) % 2, {"complexity": 2})}},
            r"features/odd\.complexity is absent, not 2",
        ),
        ({"coords": {"part": ["a"] * 7}}, "part is not there; split is there, and not given"),
        ({"units": {"l": {"row": range(700)}}}, "layers/l/row is not there"),
        ({"units": {"k": {"row": range(700)}}}, "units name layer 'k', which it does not have"),
    ],
)
def test_other_arguments_are_named_and_change_nothing(tmp_path, changed, text):
    path = tmp_path / "run.h5"
    write(path, "known", 4).abandon()
    before = Paths.of(path).partial.read_bytes()
    given = {**RUNS["known"][0], "system": "x", "provenance": {"seed": 3}} | changed
    with pytest.raises(StoreError, match=rf"Writer: .*begun with other arguments: .*{text}"):
        Writer(path, **given, resume=True)
    assert Paths.of(path).partial.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["run.h5.partial"]


def test_written_tells_what_is_there(tmp_path):
    every = [*RUNS["known"][1]()]
    told = [
        Written((), None, 0), Written((), 0, 3), Written((), 0, 6), Written((0,), None, 0),
        Written((0,), 5, 3),
    ]  # fmt: skip
    for stop, wanted in enumerate(told):
        path = tmp_path / f"{stop}.h5"
        writer = write(path, "known", stop)
        assert writer.written == wanted
        writer.abandon()
        again = begin(path, "known", resume=True)
        assert again.written == wanted
        assert [again.append(**batch) for batch in every[:2]] == [3, 6]
        again.abandon()
    writer = write(tmp_path / "text.h5", "text", 2)
    assert writer.written == Written((), None, 4)
    writer.abandon()


def test_a_repeated_batch_must_be_the_same(tmp_path):
    path = tmp_path / "run.h5"
    write(path, "known", 5).abandon()
    every = [*RUNS["known"][1]()]
    before = Paths.of(path).partial.read_bytes()
    w = begin(path, "known", resume=True)
    layers = {name: values.copy() for name, values in every[1]["layers"].items()}
    layers["l"][1, 6] += 0.25
    w.append(**every[0])
    with pytest.raises(
        StoreError,
        match=r"Writer\.append: layers/l/activation is 88\.875 at step 0, stimulus 'é4', unit 6, "
        r"and .*run\.h5\.partial holds 88\.625",
    ):
        w.append(**every[1] | {"layers": layers})
    with pytest.raises(StoreError, match=r"outputs/accuracy is 1\.0 at step 0, accuracy_0 0"):
        w.append(**every[0] | {"per_step": {"accuracy": np.array([1, 0.5])}, "stimulus": IDS[:3]})
    with pytest.raises(ParameterError, match="lacks outputs/o"):
        w.append(**every[1] | {"outputs": {}})
    # other batches than before, where all of them are there
    whole = {"layers": {k: value(0, range(7))[:, :n] for k, n in (("l", 700), ("m", 2))}}
    whole["layers"] = {
        k: np.concatenate([batch["layers"][k] for batch in every[:3]]) for k in ("l", "m")
    }
    outputs = {"o": np.concatenate([batch["outputs"]["o"] for batch in every[:3]])}
    w.append(**every[0] | {"stimulus": IDS} | whole | {"outputs": outputs})
    with pytest.raises(StimulusError, match="a batch of 7 after 0 stimuli of step 5 reaches beyond "
                       "the 6 that"):  # fmt: skip
        w.append(**every[3] | whole | {"outputs": outputs})
    assert Paths.of(path).partial.read_bytes() == before
    # new ones: behind what is there, and not before it
    with pytest.raises(ParameterError, match="step 9 begins, but step 5 has only 6 of 7"):
        w.append(**every[6])
    w.append(**every[5] | {"stimulus": IDS[6:]})
    with pytest.raises(ParameterError, match="step 0 was written already"):
        w.append(**every[0])
    w.abandon()


def test_layers_must_be_those_of_the_leftover(tmp_path):
    path, batch = tmp_path / "run.h5", next(RUNS["known"][1]())
    write(path, "known", 0).abandon()
    write(path, "known", 1, overwrite=True).abandon()
    w = begin(path, "known", resume=True)
    for layers, error, text in (
        ({"l": np.ones((3, 9)), "m": np.ones((3, 2))}, ValueError, "has 9 along 'unit', .* 700"),
        ({"l": np.ones((3, 700))}, ParameterError, "lacks layers/m/activation"),
        ({"l": np.ones((3, 700)), "k": np.ones((3, 2))}, ParameterError, "layer 'k' was not in"),
        (
            {"l": np.ones((3, 3, 700)), "m": np.ones((3, 2))},
            ValueError,
            r"has dims \('token', 'stimulus', 'unit'\), earlier batches had \('stimulus', 'unit'\)",
        ),
    ):
        with pytest.raises(error, match=text):
            w.append(**batch | {"layers": layers})
    w.abandon()


def test_what_cannot_be_resumed(tmp_path):
    path = tmp_path / "run.h5"
    with pytest.raises(ParameterError, match="overwrite and resume are both on"):
        begin(path, "flat", resume=True, overwrite=True)
    w = write(path, "flat", 1, resume=True)  # nothing was there
    with pytest.raises(StoreError, match=r"Writer: .*is being written by another process"):
        begin(path, "flat", resume=True)
    w.abandon()
    finish(path, "flat")
    with pytest.raises(StoreError, match=r"Writer: .*run\.h5 is finished already"):
        begin(path, "flat", resume=True)
    write(path, "flat", 1, overwrite=True).abandon()
    with pytest.raises(StoreError, match=r"run\.h5 exists beside run\.h5\.partial"):
        begin(path, "flat", resume=True)
    path.unlink()
    with h5py.File(Paths.of(path).partial, "r+", locking=False) as file:
        del file["committed"]
    with pytest.raises(StoreError, match="it has no commit record"):
        begin(path, "flat", resume=True)
    Paths.of(path).partial.write_bytes(b"junk")
    with pytest.raises(StoreError, match="run.h5.partial is damaged"):
        begin(path, "flat", resume=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run.h5.partial"]


def test_what_a_loss_of_power_took_is_written_again(tmp_path, wholes):
    path = tmp_path / "run.h5"
    write(path, "known", 8).abandon()
    with h5py.File(Paths.of(path).partial, "r+", locking=False) as file:
        file["layers/l/activation"][1, 3] = 0  # not the last batch
    w = begin(path, "known", resume=True)
    assert w.written == Written((0,), 5, 3)
    w.abandon()
    with pytest.warns(IncompleteWarning, match="1 of 3 steps, and 3 of 7"):
        open(path).close()
    finish(path, "known")
    check_same(path, wholes("known"))


def test_a_write_that_failed_is_resumed(tmp_path, wholes, monkeypatch):
    path = tmp_path / "run.h5"
    w = write(path, "steps", 3)
    with monkeypatch.context() as patch:
        patch.setattr(Raw, "write", lambda *_: (_ for _ in ()).throw(OSError("disk is gone")))
        with pytest.raises(StoreError, match="disk is gone"):
            w.append(**[*RUNS["steps"][1]()][3])
    w.abandon()
    finish(path, "steps")
    check_same(path, wholes("steps"))
    repair(path)
