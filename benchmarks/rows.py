"""What is measured: rows of work, those who contend in them, and what is found.

A *contender* is a function that takes the inputs of a row and returns a callable without
arguments, which is what is timed: everything before that is preparation. It may return a pair
instead, whose second part turns the callable's result into the numbers that are compared.

Suites are read by the Python of every peer: the standard library and numpy are all that they and
this module may import before a contender starts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

OURS = "reptools"  # the environment that runs the command
Role = Literal["limit", "peer", "memory", "ours"]
Start = Callable[..., Any]


@dataclass(frozen=True)
class Contender:
    """Somebody's way of doing the work of a row.

    Attributes
    ----------
    name : str
        The package, and perhaps more words; its release is looked up.
    start : callable or None
        From inputs to what is timed. None for a peer that is not to be had; see ``absent``.
    environment : str
        Section of ``peers.txt``.
    options : mapping
        Further keyword arguments of ``start``.
    target : float, optional
        For the limit: ours takes at most so many times as long. For a peer: it takes at least so
        many times as long as ours.
    part, times : index, float
        A slow peer may do a part of the work: which part of the result, and by what its time is
        multiplied.
    tolerance : float, optional
        In place of the row's, for a contender that does not do quite the same.
    absent : str
        Why it is not there.
    """

    name: str
    start: Start | None
    environment: str = OURS
    options: Mapping[str, Any] = field(default_factory=dict)
    target: float | None = None
    part: Any = ...
    times: float = 1.0
    tolerance: float | None = None
    absent: str = ""


@dataclass(frozen=True)
class Row:
    """One piece of work at one size.

    Attributes
    ----------
    work : str
        What is done.
    inputs : callable
        From a folder and ``sizes`` to a dict of arrays (handed over as files) and plain values.
    ours, limit, peers : Contender
        The limit does no more than any solution must: its result is not compared.
    reference : Contender, optional
        Whose numbers are right; ours by default.
    tolerance : float
        Largest difference from the reference, as a share of its largest magnitude.
    clock : "cpu" or "wall"
        Time of the process, which a busy machine does not change, or, where files are read or
        written, time on the wall.
    memory : float, optional
        Growth of the resident size that ours may have at most, in bytes.
    once : bool
        The run whose numbers are compared is also the one that is timed.
    bound : str
        What stands in the way, printed where a target is missed.
    """

    work: str
    inputs: Callable[..., dict[str, Any]]
    sizes: Mapping[str, Any]
    ours: Contender
    limit: Contender | None = None
    peers: tuple[Contender, ...] = ()
    reference: Contender | None = None
    tolerance: float = 1e-9
    clock: Literal["cpu", "wall"] = "cpu"
    memory: float | None = None
    once: bool = False
    bound: str = ""


@dataclass(frozen=True)
class Finding:
    """One line of the table: ours against one other."""

    against: str
    role: Role
    ratio: float | None = None
    least: float | None = None
    most: float | None = None
    target: float | None = None
    difference: float | None = None
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None without a target or without a number."""
        if self.target is None or self.ratio is None:
            return None
        at_least = self.role == "peer"
        return self.ratio >= self.target if at_least else self.ratio <= self.target


def without_targets(row: Row) -> Row:
    """The row at a size that no target was set for."""
    limit = row.limit and replace(row.limit, target=None)
    peers = tuple(replace(peer, target=None) for peer in row.peers)
    return replace(row, limit=limit, peers=peers, memory=row.memory and float("inf"))
