"""A progress bar for whatever takes more than a few seconds, where somebody is watching.

``track`` wraps an iterable. Nothing is drawn within the first seconds, nor where standard error is
no terminal; loops inside loops are drawn below each other.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sized
from contextlib import contextmanager
from typing import Any, TypeVar

PATIENCE = 3.0  # seconds of silence
T = TypeVar("T")


class _State(threading.local):
    """What one thread shows: whether it may, and the display once there is one."""

    wanted: bool | None = None
    started: float = 0.0
    depth: int = 0
    display: Any = None


_STATE = _State()


def track(items: Iterable[T], what: str, total: int | None = None) -> Iterator[T]:
    """The items, with a bar of how many are done.

    Parameters
    ----------
    items : iterable
        What is looped over.
    what : str
        Shown before the bar.
    total : int, optional
        How many there are, where the iterable does not say.

    Examples
    --------
    >>> sum(track([1, 2, 3], "adding"))
    6
    """
    if total is None and isinstance(items, Sized):
        total = len(items)
    outermost = _STATE.depth == 0
    if outermost:
        _STATE.started = time.monotonic()
    _STATE.depth += 1
    task: Any = None
    try:
        for number, item in enumerate(items):
            if task is None and _overdue():
                task = _display().add_task(what, total=total)
            if task is not None:
                _STATE.display.update(task, completed=number)
            yield item
    finally:
        _STATE.depth -= 1
        if task is not None and _STATE.display is not None:
            _STATE.display.remove_task(task)
        if outermost and _STATE.display is not None:
            _STATE.display.stop()
            _STATE.display = None


@contextmanager
def showing(wanted: bool | None) -> Iterator[None]:
    """Show bars inside always (True), never (False), or in a terminal only (None)."""
    before = _STATE.wanted
    _STATE.wanted = before if wanted is None else wanted
    try:
        yield
    finally:
        _STATE.wanted = before


def _overdue() -> bool:
    wanted = _STATE.wanted
    if wanted is None:
        wanted = bool(sys.stderr is not None and sys.stderr.isatty())
    return wanted and time.monotonic() - _STATE.started > PATIENCE


def _display() -> Any:
    if _STATE.display is None:
        from rich.console import Console
        from rich.progress import Progress

        _STATE.display = Progress(console=Console(stderr=True), transient=True)
        _STATE.display.start()
    return _STATE.display
