"""From a study to its runs: networks are trained, or a computation is done on encrypted inputs."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from models import encrypted
from models.config import load_experiment
from models.lwe import LWE
from models.stimuli import prepare
from models.train import run_experiment

from .rows import Study
from .runs import Run, open_runs


def make(study: Study, out: Path, options: argparse.Namespace) -> dict[str, list[Run]]:
    """Make what is missing of a study's runs, and open all of them, by condition."""
    folder = out / study.name
    if study.scheme is not None:
        return _encrypt(study, folder, options)
    experiment = load_experiment(study.path, study.fast if options.fast else None)
    if options.seeds is not None:
        experiment = replace(experiment, seeds=experiment.seeds[: options.seeds])
    paths = run_experiment(
        experiment,
        folder,
        jobs=options.jobs,
        resume=not options.overwrite,
        overwrite=options.overwrite,
    )
    return open_runs(paths, min(run.training.threshold for run in experiment.runs))


def _encrypt(study: Study, folder: Path, options: argparse.Namespace) -> dict[str, list[Run]]:
    """Seconds of work, and so done anew each time."""
    table = study.table(options.fast)
    folder.mkdir(parents=True, exist_ok=True)
    stimuli = prepare(table["data"], folder / "stimuli.h5", overwrite=True)
    paths: list[Path] = []
    for seed in table["seeds"][: options.seeds]:
        written = encrypted.run(stimuli, folder, seed=seed, scheme=LWE(**(study.scheme or {})))
        paths += written.values()
    return open_runs(paths, threshold=1.0)
