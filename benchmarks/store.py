"""What safety costs: files written and read, against the same bytes without it.

The data come from the page cache, so that the code is measured and not the disk; reading is
measured in time of the process. ``open`` is held against one second: 500 layers by 200 steps should
not keep anybody waiting.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from .rows import Contender, Row

Array = np.ndarray[Any, Any]
LAYERS = {"a": 512, "b": 2048, "c": 4096}
STIMULI, BATCH = 1024, 256
SAMPLE = 5000  # random rows that are read
BUFFER = 2**18


# --- writing ------------------------------------------------------------------------------------


def batches(folder: Path, *, steps: int) -> dict[str, Any]:
    """One batch of every layer, appended over and over; and where the files go."""
    rng = np.random.default_rng(0)
    arrays = {name: rng.standard_normal((BATCH, p), dtype="f4") for name, p in LAYERS.items()}
    return {**arrays, "steps": steps, "folder": str(folder)}


def append(
    a: Array, b: Array, c: Array, steps: int, folder: str, *, known: bool
) -> tuple[Callable[[], Any], Any]:
    """``Writer.append`` of all batches and ``close``; the file grows where steps are not known."""
    import reptools as rt

    path, batch = Path(folder) / f"ours-{known}.h5", {"a": a, "b": b, "c": c}

    def act() -> Path:
        schedule = range(steps) if known else None
        with rt.Writer(
            path, system="x", stimulus=range(STIMULI), steps=schedule, overwrite=True
        ) as writer:
            for step in range(steps):
                for _ in range(0, STIMULI, BATCH):
                    writer.append(batch, step=step)
        return path

    def last_rows(path: Path) -> Array:
        with rt.open(path) as tree:
            return np.asarray(tree["layers/c"].activation[-1, -BATCH:].values)

    return act, last_rows


def write(a: Array, b: Array, c: Array, steps: int, folder: str) -> Callable[[], Any]:
    """The least that could be done with the same bytes, with the one fsync that close() has."""
    path, layers = Path(folder) / "plain", (a, b, c)

    def act() -> None:
        with path.open("wb", buffering=0) as file:
            size = sum(x.nbytes for x in layers) * steps * (STIMULI // BATCH)
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)
            for _ in range(steps * (STIMULI // BATCH)):
                for x in layers:
                    file.write(x.data)
            os.fsync(file.fileno())

    return act


def h5py_append(
    a: Array, b: Array, c: Array, steps: int, folder: str
) -> tuple[Callable[[], Any], Any]:
    """Plain h5py in chunks of its own choice: a kill leaves a file that nothing can read."""
    import h5py

    path, layers = Path(folder) / "h5py.h5", {"a": a, "b": b, "c": c}

    def act() -> Path:
        with h5py.File(path, "w") as file:
            for name, x in layers.items():
                shape = (steps, STIMULI, x.shape[1])
                file.create_dataset(name, shape=shape, dtype="f4", chunks=True)
            for step in range(steps):
                for start in range(0, STIMULI, BATCH):
                    for name, x in layers.items():
                        file[name][step, start : start + BATCH] = x
            file.flush()
        with path.open("rb+") as raw:
            os.fsync(raw.fileno())
        return path

    def last_rows(path: Path) -> Array:
        with h5py.File(path) as file:
            return np.asarray(file["c"][-1, -BATCH:])

    return act, last_rows


# --- reading ------------------------------------------------------------------------------------


def layer(folder: Path, *, n: int, p: int) -> dict[str, Any]:
    """A file with one layer, the same bytes without a format, and random rows to ask for."""
    import reptools as rt

    rng = np.random.default_rng(0)
    path, plain = folder / "layer.h5", folder / "plain"
    with (
        plain.open("wb") as raw,
        rt.Writer(path, system="x", stimulus=range(n), steps=[0]) as writer,
    ):
        for start in range(0, n, BATCH):
            batch = rng.standard_normal((min(BATCH, n - start), p), dtype="f4")
            writer.append({"layer": batch}, step=0)
            raw.write(batch.data)
    rows = rng.permutation(n)[: min(SAMPLE, n)]
    return {"path": str(path), "plain": str(plain), "rows": rows}


def read_layer(path: str, plain: str, rows: Array) -> tuple[Callable[[], Any], Any]:
    import reptools as rt

    def act() -> Array:
        with rt.open(path) as tree:
            return np.asarray(tree["layers/layer"].activation.values)

    return act, lambda x: x.reshape(-1, x.shape[-1])[:: max(1, len(x) // 100)]


def read_into(path: str, plain: str, rows: Array) -> Callable[[], Any]:
    """Through a small buffer: straight into fresh memory the kernel copies half as fast."""
    count = Path(plain).stat().st_size

    def act() -> Array:
        found, buffer, at = np.empty(count, "u1"), bytearray(BUFFER), 0
        view = np.frombuffer(buffer, "u1")
        with open(plain, "rb", buffering=0) as file:
            while got := file.readinto(buffer):
                found[at : at + got] = view[:got]
                at += got
        return found

    return act


def read_rows(path: str, plain: str, rows: Array) -> Callable[[], Any]:
    import reptools as rt

    def act() -> Array:
        with rt.open(path) as tree:
            return np.asarray(tree["layers/layer"].activation.isel(step=0, stimulus=rows).values)

    return act


def h5py_rows(path: str, plain: str, rows: Array) -> Callable[[], Any]:
    """h5py wants the rows in order, so they are sorted and put back."""
    import h5py

    order = np.argsort(rows)

    def act() -> Array:
        with h5py.File(path) as file:
            found = np.empty((len(rows), file["layers/layer/activation"].shape[-1]), "f4")
            found[order] = file["layers/layer/activation"][0, rows[order]]
            return found

    return act


def bare_rows(path: str, plain: str, rows: Array) -> Callable[[], Any]:
    """One read per row of the file without a format."""
    count = Path(plain).stat().st_size
    n = max(int(rows.max()) + 1, len(rows))
    width = count // n if count % n == 0 else 0

    def act() -> Array:
        with open(plain, "rb", buffering=0) as file:
            found = np.empty((len(rows), width), "u1")
            for at, row in enumerate(rows):
                os.preadv(file.fileno(), [found[at].data], int(row) * width)
            return found

    return act


# --- opening ------------------------------------------------------------------------------------


def many(folder: Path, *, layers: int, steps: int) -> dict[str, Any]:
    """A file of many small layers over many steps."""
    import reptools as rt

    batch = {f"layer.{i}": np.ones((8, 16), "f4") for i in range(layers)}
    path = folder / "many.h5"
    with rt.Writer(path, system="x", stimulus=range(8), steps=range(steps)) as writer:
        for step in range(steps):
            writer.append(batch, step=step)
    return {"path": str(path)}


def open_many(path: str) -> tuple[Callable[[], Any], Any]:
    import reptools as rt

    def act() -> int:
        with rt.open(path) as tree:
            return len(tree["layers"].children)

    return act, float


def one_second(path: str) -> Callable[[], Any]:
    """Of the processor, so that a busy machine makes no difference."""

    def act() -> None:
        end = time.process_time() + 1
        while time.process_time() < end:
            pass

    return act


# --- rows ---------------------------------------------------------------------------------------


def rows(quick: bool) -> list[Row]:
    steps, n, p = (2, 2000, 256) if quick else (10, 40000, 1600)
    found = [_append(steps, known=True), _append(steps, known=False)]
    found.append(
        Row(
            work="reading a layer of a file",
            inputs=layer,
            sizes={"n": n, "p": p},
            ours=Contender("reptools", read_layer),
            limit=Contender("readinto", read_into, target=1.3),
            bound="checksums of what is read",
        )
    )
    found.append(
        Row(
            work=f"reading {min(SAMPLE, n):,} random rows of a file",
            inputs=layer,
            sizes={"n": n, "p": p},
            ours=Contender("reptools", read_rows),
            limit=Contender("a pread per row", bare_rows),
            peers=(Contender("h5py fancy index", h5py_rows, target=6.0),),
            tolerance=0.0,
            bound="whole chunks are read for the rows in them",
        )
    )
    layers, steps = (20, 5) if quick else (500, 200)
    found.append(
        Row(
            work="opening a file, checked before anything is decoded",
            inputs=many,
            sizes={"layers": layers, "steps": steps},
            ours=Contender("reptools", open_many),
            limit=Contender("one second", one_second, target=1.0),
            bound="a walk over every object of the file",
        )
    )
    return found


def _append(steps: int, *, known: bool) -> Row:
    batch = sum(LAYERS.values()) * BATCH * 4
    return Row(
        work="appending to a file, " + ("sizes known" if known else "growing"),
        inputs=batches,
        sizes={"steps": steps},
        ours=Contender("reptools", append, options={"known": known}),
        limit=Contender("write, preallocated", write, target=1.4 if known else 1.7),
        peers=(Contender("h5py", h5py_append),),
        clock="wall",
        tolerance=0.0,
        memory=2.0 * batch if known else None,
        bound="checksums, commit records and the file's skeleton",
    )
