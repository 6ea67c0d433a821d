"""Kill writers at random moments: run as a script, so that it forks before any thread exists.

``python kills.py FOLDER SCENARIO KILLS SEED [RESUME]`` leaves KILLS leftovers in FOLDER and prints
one line of JSON for each: the file, and the batches that its writer had reported. Writers that
had made no file yet, or had finished, come on top of these. With RESUME ("repeat": append all
again; "go on": append what is missing), every leftover is resumed and killed again, up to four
times, and then finished; ``struck`` counts the kills that left a file.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np

from reptools.store import Writer
from reptools.store.order import Written

STIMULI = 90
BATCH = 13  # not a multiple of anything: chunks are shared between batches
STEPS = {"known": 6, "steps": 20, "stimuli": 0, "text": 0, "both": 10}
WIDTHS = {"narrow": 5, "wide": 2500}


def value(layer, step, stimuli):
    """The numbers of some stimuli of a layer: each tells where it belongs."""
    width = WIDTHS.get(layer, 3)
    base = np.arange(width) + 10_000 * len(layer) + 100_000 * step
    return (base + 1000.0 * np.asarray(stimuli)[:, None] + 0.125).astype("f4")


def labels(scenario, rows):
    return [f"é{i}" for i in rows] if scenario == "text" else list(rows)


def write(path, scenario, report, resume=None):
    """Write a whole file; ``report`` hears of every append that returned."""
    count = 40 * BATCH if scenario in ("stimuli", "text") else STIMULI
    steps = STEPS[scenario]
    options = {}
    if scenario in ("known", "steps"):
        options["stimulus"] = labels(scenario, range(STIMULI))
        options["features"] = {"odd": np.arange(STIMULI) % 2}
    if scenario == "known":
        options["steps"] = range(steps)
    with Writer(path, system="kill", **options, resume=bool(resume)) as writer:
        there = writer.written if resume == "go on" else Written((), None, 0)
        for step in range(max(steps, 1)):
            if step in there.steps:
                continue
            for start in range(0, count, BATCH):
                begun = not steps or step == there.begun
                if begun and start < there.stimuli:
                    continue
                rows = range(start, min(start + BATCH, count))
                layers = {name: value(name, step, rows) for name in WIDTHS}
                layers["tokens"] = np.stack([value("tokens", step, rows)] * 2, axis=1)
                extra = {"outputs": {"odd": value("odd", step, rows)[:, 0]}}
                if steps:
                    extra["step"] = step
                if steps and start == 0:
                    extra["per_step"] = {"accuracy": np.array([step / 8, 1.0])}
                if ("stimulus" not in options and step == 0) or (begun and there.stimuli):
                    extra["stimulus"] = labels(scenario, rows)
                if "stimulus" not in options and step == 0:
                    extra["features"] = {"half": np.array(rows) / 2}
                report(step, writer.append(layers, **extra))


def run(path, scenario, delay, resume=None):
    """Fork a writer, kill it after ``delay`` seconds (None: let it finish); its last report."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        write(path, scenario, lambda *at: os.write(writing, b"%d %d\n" % at), resume)
        os._exit(0)
    os.close(writing)
    if delay is not None:
        time.sleep(delay)
        os.kill(child, signal.SIGKILL)
    with os.fdopen(reading) as pipe:
        lines = pipe.read().splitlines()
    os.waitpid(child, 0)
    return [int(n) for n in lines[-1].split()] if lines else None


def resumed(path, scenario, rng, longest, resume):
    """Kill a writer and those that resume what it left, then finish; how many left a file."""
    struck = 0
    for _ in range(5):
        run(path, scenario, rng.uniform(0, longest), resume)
        if path.exists():
            return struck
        struck += path.with_name(path.name + ".partial").exists()
    run(path, scenario, None, resume)
    return struck


def main(folder, scenario, kills, seed, resume=None):
    rng = np.random.default_rng(int(seed))
    times = []
    for i in range(2):  # the first one warms up
        start = time.perf_counter()
        run(Path(folder) / f"whole{i}.h5", scenario, None)
        times.append(time.perf_counter() - start)
    left, tries, longest = 0, 0, 1.1 * times[-1]
    while resume and left < int(kills):
        path = Path(folder) / f"{scenario}{tries}.h5"
        struck = resumed(path, scenario, rng, longest, resume)
        print(json.dumps({"path": str(path), "struck": struck}), flush=True)
        tries, left = tries + 1, left + struck
    if resume:
        return
    while left < int(kills) and tries < 10 * int(kills):
        path = Path(folder) / f"{scenario}{tries}.h5"
        delay = rng.uniform(0, longest)
        last = run(path, scenario, delay)
        longest = 1.1 * delay if path.exists() else longest  # it took less than the first did
        print(json.dumps({"path": str(path), "last": last}), flush=True)
        tries, left = tries + 1, left + path.with_name(path.name + ".partial").exists()


if __name__ == "__main__":
    main(*sys.argv[1:])
