"""Several trainings side by side, each in a process of one thread, with progress bars."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from .config import RunConfig
from .loop import train

Report = Callable[[int, int, int], None]  # (index of the task, steps done, steps in all)
_reports: Any = None  # a worker process's end of the queue


@dataclass(frozen=True)
class Task:
    """One network to train."""

    config: RunConfig
    seed: int
    stimuli: Path
    out: Path


def train_all(tasks: Sequence[Task], *, jobs: int, progress: bool, overwrite: bool) -> list[Path]:
    """Train every task; the files come back in the order of the tasks.

    Each network has a process's only thread, whatever `jobs` is: for networks this small a second
    thread gains nothing, and sums over another number of threads would differ in the last bits.
    The first error cancels what has not started and is raised.
    """
    context = get_context("spawn")  # fork would copy torch's locked thread pools
    queue = context.SimpleQueue()
    with (
        ProcessPoolExecutor(
            min(jobs, len(tasks)), mp_context=context, initializer=_start, initargs=(queue,)
        ) as pool,
        _bars([task.out.stem for task in tasks]) if progress else nullcontext(_silent) as report,
    ):
        futures = [pool.submit(_work, i, task, overwrite) for i, task in enumerate(tasks)]
        pending: set[Future[Path]] = set(futures)
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
    return [future.result() for future in futures]


def _start(queue: Any) -> None:
    global _reports
    _reports = queue
    torch.set_num_threads(1)


def _work(index: int, task: Task, overwrite: bool) -> Path:
    def report(step: int, total: int) -> None:
        if step % 64 == 0 or step == total:  # a full pipe would stall the worker
            _reports.put((index, step, total))

    return train(
        task.config,
        task.out,
        stimuli=task.stimuli,
        seed=task.seed,
        progress=report,
        overwrite=overwrite,
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
            bars.update(started[index], completed=step)
            if step == total:
                bars.advance(every)

        yield report
