"""Kill trainings at random moments and resume them: run as a script, so that it forks early.

``python kills.py FOLDER KILLS SEED`` prepares stimuli, trains the networks of every
setting undisturbed into FOLDER/<setting>/whole and, killed KILLS times or more, into
FOLDER/<setting>/killed. It prints one line of JSON for each setting: the seeds and the number of
kills that hit a running training.
"""

import json
import os
import signal
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import torch

from datasets.prepare import prepare_stimuli
from models.architectures.mlp import MLPConfig
from models.loop import train_runs
from models.settings import Phase, RunConfig, TrainingConfig

PHASES = (Phase(("hard",), {"hard": 0.5}, steps=17), Phase(("easy", "hard"), {"easy": 0.7}))
TRAINING = TrainingConfig(
    batch=32, checkpoints=tuple(range(0, 41, 4)), warmup=5, schedule="cosine", clip=1.0
)
SETTINGS = {
    "stacked": RunConfig(
        "stacked", ("easy", "hard"), MLPConfig((32, 16), dropout=0.2), TRAINING, PHASES
    ),
    "alone": RunConfig(
        "alone", ("easy", "hard"), MLPConfig((16,), dropout=0.2, normalisation="batch"), TRAINING
    ),
    "open-ended": RunConfig(
        "open-ended",
        ("easy",),
        MLPConfig((16,)),
        TrainingConfig(
            "momentum", 0.3, batch=32, checkpoints=tuple(range(0, 161, 8)), beyond=20,
            threshold=0.9,
        ),
    ),
}  # fmt: skip
SEEDS = (0, 1, 5)


def train(folder, config, stimuli, resume):
    outs = {seed: folder / f"{config.name}-seed{seed}.h5" for seed in SEEDS}
    train_runs(config, outs, stimuli=stimuli, progress=lambda *_: None, resume=resume)


def run(folder, config, stimuli, delay):
    """Fork a training, kill it after `delay` seconds (None: let it finish); whether it was."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            train(folder, config, stimuli, resume=True)
            status = 0
        finally:
            os._exit(status)
    if delay is not None:
        time.sleep(delay)
        os.kill(child, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status not in (0, -signal.SIGKILL):
        sys.exit(f"a training of {config.name} failed")
    return status != 0


def main(folder, kills, seed):
    torch.set_num_threads(1)
    torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))])  # loads what every child would
    warnings.simplefilter("error")
    rng = np.random.default_rng(int(seed))
    folder = Path(folder)
    sizes = {"units": 12, "train": 200, "validation": 32, "test": 32}
    rules = {"easy": "copy", "hard": "xor"}
    stimuli = prepare_stimuli("binary", folder / "stimuli.h5", rules, **sizes)
    for name, config in SETTINGS.items():
        for part in ("whole", "killed"):
            (folder / name / part).mkdir(parents=True)
        start = time.perf_counter()
        run(folder / name / "whole", config, stimuli, None)
        longest, hits = time.perf_counter() - start, 0
        while hits < int(kills):
            if not run(folder / name / "killed", config, stimuli, rng.uniform(0, longest / 3)):
                break
            hits += 1
        run(folder / name / "killed", config, stimuli, None)
        print(json.dumps({"setting": name, "seeds": SEEDS, "kills": hits}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
