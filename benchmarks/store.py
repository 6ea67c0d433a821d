"""What safety costs: each row is the ratio of two timings taken in turn, on this machine.

``python -m benchmarks.store [MEGABYTES] [PAIRS]`` prints the median, least and largest ratio of

append   ``Writer.append`` of all batches and ``close``, against writing the same bytes by
         ``write`` into a file that ``posix_fallocate`` has reserved
grow     the same with steps that are not known beforehand, so that the file grows by doubling
read     one whole layer through ``reptools.open``, against ``readinto`` of as many bytes,
         2 MB at a time
open     ``reptools.open`` of 500 layers by 200 steps, against one second

Seconds of a single run say little: memory and disk of a machine vary more than the ratio does.
The data come from the page cache, so that the code is measured and not the disk.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

import reptools as rt

LAYERS = {"a": 512, "b": 2048, "c": 4096}
STIMULI, BATCH = 1024, 256


def seconds(act: Callable[[], object]) -> float:
    start = time.perf_counter()
    act()
    return time.perf_counter() - start


def append(path: Path, batch: dict[str, np.ndarray], steps: int, *, known: bool) -> None:
    schedule = range(steps) if known else None
    with rt.Writer(
        path, system="x", stimulus=range(STIMULI), steps=schedule, overwrite=True
    ) as writer:
        for step in range(steps):
            for _ in range(0, STIMULI, BATCH):
                writer.append(batch, step=step)


def write(path: Path, batch: dict[str, np.ndarray], steps: int) -> None:
    """The least that could be done with the same bytes, with the one fsync that close() has."""
    with path.open("wb", buffering=0) as file:
        size = sum(values.nbytes for values in batch.values()) * steps * (STIMULI // BATCH)
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)
        for _ in range(steps * (STIMULI // BATCH)):
            for values in batch.values():
                file.write(values.data)
        os.fsync(file.fileno())


def read_layer(path: Path) -> None:
    with rt.open(path) as tree:
        tree["layers/c"].activation.values  # noqa: B018 - reading is the work


def read_into(path: Path, count: int) -> None:
    with path.open("rb", buffering=0) as file:
        view = memoryview(np.empty(count, "u1"))
        while view and (got := file.readinto(view[: 2 * 2**20])):
            view = view[got:]


def many_layers(path: Path) -> None:
    layers = {f"layer.{i}": np.ones((8, 16), "f4") for i in range(500)}
    with rt.Writer(path, system="x", stimulus=range(8), steps=range(200)) as writer:
        for step in range(200):
            writer.append(layers, step=step)


def main(megabytes: int = 256, pairs: int = 7) -> None:
    rng = np.random.default_rng(0)
    batch = {k: rng.normal(size=(BATCH, n)).astype("f4") for k, n in LAYERS.items()}
    steps = max(1, megabytes * 2**20 // (sum(LAYERS.values()) * 4 * STIMULI))
    count = steps * STIMULI * LAYERS["c"] * 4
    found: dict[str, list[float]] = {"append": [], "grow": [], "read": [], "open": []}
    with tempfile.TemporaryDirectory() as folder:
        run, plain, many = (Path(folder) / name for name in ("run.h5", "plain", "many.h5"))
        many_layers(many)
        for pair in range(-1, pairs):  # the first one warms up
            least = seconds(lambda: write(plain, batch, steps))
            safe = seconds(lambda: append(run, batch, steps, known=True))
            grown = seconds(lambda: append(run, batch, steps, known=False))
            read_layer(run)  # so that both readers find the memory that they fill already mapped
            read_into(plain, count)
            into = seconds(lambda: read_into(plain, count))
            layer = seconds(lambda: read_layer(run))
            opened = seconds(lambda: rt.open(many).close())
            if pair >= 0:
                for name, ratio in zip(
                    found, (safe / least, grown / least, layer / into, opened), strict=True
                ):
                    found[name].append(ratio)
    print(f"{'':8}{'median':>8}{'least':>8}{'most':>8}   of {pairs} pairs, {megabytes} MB")
    for name, ratios in found.items():
        shown = (statistics.median(ratios), min(ratios), max(ratios))
        print(f"{name:8}" + "".join(f"{value:8.2f}" for value in shown))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
