"""Train an experiment: ``python -m models.train experiments/complexity.toml --out runs``.

One file per network: the activations of every layer on the validation and test stimuli at every
checkpoint, with features, answers, readout and accuracy.
"""

from __future__ import annotations

import argparse
import os
import sys
import tomllib
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from reptools.errors import NotLearnedWarning, ParameterError, ReptoolsError, StoreError, some

from .config import Experiment, load_experiment
from .loop import check_batch, final_accuracy, is_finished, run, settings, warn_not_learned
from .pool import Task, train_all
from .stimuli import load_stimuli, prepare

__all__ = ["main", "run", "run_experiment"]


def run_experiment(
    experiment: str | Path | Experiment,
    out: str | Path,
    *,
    seeds: Sequence[int] | None = None,
    jobs: int | None = None,
    overrides: Mapping[str, Any] | None = None,
    progress: bool = True,
    overwrite: bool = False,
    resume: bool = False,
) -> list[Path]:
    """Train every condition of an experiment with every seed.

    Parameters
    ----------
    experiment
        An experiment file, or what :func:`models.config.load_experiment` made of one.
    out
        Folder for ``stimuli.h5`` (prepared if absent, compared if there), one such file more for
        each condition that has stimuli of its own, and one file per run,
        ``<condition>-seed<seed>.h5``.
    seeds
        In place of the experiment's own.
    jobs
        Processes training at a time, by default the number of cores. The numbers do not depend on
        it, nor on which seeds are trained.
    overrides
        Dotted key -> value in place of the file's: ``{"training.batch": 128}``.
    progress
        Show progress bars on stderr.
    overwrite
        Train again where a run's file or a leftover of it exists, and replace it, and the stimuli
        if they are others.
    resume
        Complete the folder after a kill or an error: keep finished runs, go on with unfinished
        ones and train those that are missing. All numbers are those of an undisturbed experiment,
        bit for bit.

    Returns
    -------
    list of pathlib.Path
        The runs' files, condition after condition, in each the seeds in order.

    Warns
    -----
    NotLearnedWarning
        Once, naming every run that ends with a feature below the threshold.

    Raises
    ------
    ParameterError, FeatureError, StimulusError
        The settings cannot be kept.
    StoreError
        A run's file or a leftover of it exists, and neither `overwrite` nor `resume` is on; or it
        is there to be resumed, but of other settings. Nothing is trained then.
    """
    if isinstance(experiment, Experiment) and overrides:
        raise ParameterError(
            f"run_experiment: overrides {some(overrides)} are for an experiment file, but "
            "experiment is already read. Give the overrides to load_experiment."
        )
    if not isinstance(experiment, Experiment):
        experiment = load_experiment(experiment, overrides)
    if seeds is not None:
        experiment = replace(experiment, seeds=tuple(seeds))
    jobs = _cores() if jobs is None else jobs
    if type(jobs) is not int or jobs < 1:
        raise ParameterError(f"run_experiment: jobs is {jobs!r}. Give a whole number from 1.")
    if overwrite and resume:
        raise ParameterError(
            "run_experiment: overwrite and resume are both on. Resume keeps what overwrite would "
            "replace: choose one."
        )
    folder = Path(out).resolve()
    tasks = [
        Task(one.run, seed, folder / one.stimuli, folder / f"{one.run.name}-seed{seed}.h5")
        for one in experiment.conditions
        for seed in experiment.seeds
    ]
    files = [Path(f"{task.out}{end}") for task in tasks for end in ("", ".partial")]
    there = [file.name for file in files if file.exists()]
    if there and not (overwrite or resume):
        raise StoreError(
            f"run_experiment: {folder} already holds {some(there)}. "
            "Resume them, overwrite them, or use another folder."
        )
    folder.mkdir(parents=True, exist_ok=True)
    shown = {
        name: load_stimuli(prepare(data, folder / name, overwrite=overwrite))
        for name, data in experiment.stimuli.items()
    }
    for one in experiment.conditions:
        check_batch(one.run, shown[one.stimuli])
    if resume:
        for task in tasks:  # refuse before anything is trained
            is_finished(
                task.out,
                settings(task.config, task.seed, task.stimuli, shown[task.stimuli.name]),
            )
    paths = train_all(tasks, jobs=jobs, progress=progress, overwrite=overwrite, resume=resume)
    warn_not_learned("run_experiment", paths)
    return paths


def _cores() -> int:
    """Cores that this process may use, where the system tells."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m models.train", description=__doc__, allow_abbrev=False
    )
    parser.add_argument("experiment", help="experiment file (TOML)")
    parser.add_argument("--out", required=True, type=Path, help="folder for the runs")
    parser.add_argument("--seeds", type=int, nargs="+", help="default: those of the file")
    parser.add_argument("--jobs", type=int, help="processes; default: number of cores")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="replace a value of the file: training.optimizer='\"sgd\"'",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace existing files")
    parser.add_argument("--resume", action="store_true", help="complete what was interrupted")
    return parser


def _overrides(texts: Sequence[str]) -> dict[str, Any]:
    overrides: dict[str, Any] = {}
    for text in texts:
        key, _, value = text.partition("=")
        try:
            overrides[key] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            raise ParameterError(
                f"train: --set is {text!r}. Write KEY=VALUE with a TOML value, strings in quotes: "
                "training.optimizer='\"sgd\"'."
            ) from None
    return overrides


def _print_accuracies(paths: Sequence[Path]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("run", "feature", "test accuracy", "learned", title="at the last checkpoint")
    for path in paths:
        for name, (accuracy, learned) in final_accuracy(path).items():
            verdict = "yes" if learned else "[bold red]NO[/]"
            table.add_row(path.stem, name, f"{accuracy:.2%}", verdict)
    Console().print(table)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Returns 0; 1 after an error, which is one line on stderr; 3 when a feature was not learned.
    """
    options = _parser().parse_args(arguments)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", NotLearnedWarning)
            paths = run_experiment(
                options.experiment,
                options.out,
                seeds=options.seeds,
                jobs=options.jobs,
                overrides=_overrides(options.set),
                overwrite=options.overwrite,
                resume=options.resume,
            )
    except ReptoolsError as error:
        print(error, file=sys.stderr)
        return 1
    _print_accuracies(paths)
    for warning in caught:
        print(f"WARNING: {warning.message}", file=sys.stderr)
    return 3 if any(w.category is NotLearnedWarning for w in caught) else 0


if __name__ == "__main__":
    sys.exit(main())
