"""Several trainings side by side, each in a process of one thread, with progress bars."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from pathlib import Path
from threading import Thread
from typing import Any

import torch

from .architectures.mlp import MLPConfig
from .loop import train_runs
from .settings import RunConfig

Report = Callable[[int, int, int], None]  # (index of the task, steps done, steps in all)
LARGEST = 10  # networks in a stack: beyond that, nothing is gained
_reports: Any = None  # a worker process's end of the queue


@dataclass(frozen=True)
class Task:
    """One network to train."""

    config: RunConfig
    seed: int
    stimuli: Path
    out: Path


def train_all(
    tasks: Sequence[Task], *, jobs: int, progress: bool, overwrite: bool, resume: bool
) -> list[Path]:
    """Train every task; the files come back in the order of the tasks.

    Each process has one thread, whatever `jobs` is: for networks this small a second thread gains
    nothing, and sums over another number of threads would differ in the last bits. MLPs of one
    condition share a process, stacked. The first error cancels what has not started and is raised.
    """
    groups = in_groups(tasks, jobs)
    context = get_context("spawn")  # fork would copy torch's locked thread pools
    queue = context.SimpleQueue()
    with (
        ProcessPoolExecutor(
            min(jobs, len(groups)), mp_context=context, initializer=_start, initargs=(queue,)
        ) as pool,
        _bars([task.out.stem for task in tasks]) if progress else nullcontext(_silent) as report,
    ):
        futures = [
            pool.submit(_work, {i: tasks[i] for i in group}, overwrite, resume) for group in groups
        ]
        pending: set[Future[None]] = set(futures)
        try:
            while pending:
                done, pending = wait(pending, timeout=0.2, return_when=FIRST_COMPLETED)
                while not queue.empty():
                    report(*queue.get())
                for future in done:
                    future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return [task.out for task in tasks]


def in_groups(tasks: Sequence[Task], jobs: int) -> list[list[int]]:
    """Which tasks, by index, share a process: seeds of one condition where they can be stacked.

    Stacks are as large as leaves two for every job, so that none waits long for the last.
    """
    limit = min(LARGEST, -(-len(tasks) // (2 * jobs if jobs > 1 else 1)))
    by_run: dict[str, list[int]] = {}
    for index, task in enumerate(tasks):
        by_run.setdefault(task.config.name, []).append(index)
    groups = []
    for indices in by_run.values():
        stacked = isinstance(tasks[indices[0]].config.model, MLPConfig)
        count = -(-len(indices) // (limit if stacked else 1))
        groups += [
            indices[len(indices) * i // count : len(indices) * (i + 1) // count]
            for i in range(count)
        ]
    return groups


def _start(queue: Any) -> None:
    global _reports
    _reports = queue
    torch.set_num_threads(1)
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End at once when the parent was killed: a worker left behind would keep its files locked."""
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _work(tasks: Mapping[int, Task], overwrite: bool, resume: bool) -> None:
    """Train seeds of one condition."""
    index = {task.seed: i for i, task in tasks.items()}
    first = next(iter(tasks.values()))

    def report(seed: int, step: int, total: int) -> None:
        if step % 64 == 0 or step == total:  # a full pipe would stall the worker
            _reports.put((index[seed], step, total))

    train_runs(
        first.config,
        {task.seed: task.out for task in tasks.values()},
        stimuli=first.stimuli,
        progress=report,
        overwrite=overwrite,
        resume=resume,
    )


def _silent(index: int, step: int, total: int) -> None:
    """Report nothing."""


@contextmanager
def _bars(names: Sequence[str]) -> Iterator[Report]:
    """One bar per run, and one over all of them."""
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, TimeElapsedColumn

    columns = (*Progress.get_default_columns(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as bars:
        every = bars.add_task(f"{len(names)} runs", total=len(names))
        started: dict[int, Any] = {}

        def report(index: int, step: int, total: int) -> None:
            if index not in started:
                started[index] = bars.add_task(names[index], total=total)
            bars.update(started[index], completed=step, total=total)
            if step == total:
                bars.advance(every)

        yield report
