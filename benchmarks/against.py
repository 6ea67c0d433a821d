"""Two checkouts of reptools, row by row in turn: what a change costs.

Every row is run by both, each with its own ``benchmarks`` and inputs of its own making, so that
modules may be called otherwise and files written otherwise. Numbers are compared first.
"""

from __future__ import annotations

import math
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .harness import SAMPLE
from .processes import ROOT, Process, RefusedError, unpacked
from .table import sizes_of

LIMIT = 1.05  # the interval of a row that costs no more ends below
ROUNDS = 101  # of short rows, for a narrow interval on a busy machine
FEWEST = 6  # rounds from which the interval is one of 95 %
BUDGET = 20.0  # seconds of timing per checkout and row, but at least the fewest rounds
Key = tuple[str, str, str]


@dataclass(frozen=True)
class Comparison:
    """One row in both checkouts: the time of this one over that of the other.

    Attributes
    ----------
    key : tuple of str
        Suite, work and sizes.
    ratio, low, high : float or None
        Median over rounds and its interval of 95 %.
    note : str
        Why there is no number, or that this was the second run.
    """

    key: Key
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    note: str = ""

    @property
    def flagged(self) -> bool:
        """Whether the interval does not end below the limit, or there is no number at all."""
        return self.high is None or not self.high < LIMIT

    @property
    def verdict(self) -> str:
        """What the interval says; it may say too little to rule out that a row is slower."""
        if self.low is None or self.high is None:
            return "NO NUMBER"
        if self.flagged:
            return "SLOWER" if self.low > 1 else "UNDECIDED"
        return "faster" if self.high < 1 else "as fast"

    def __str__(self) -> str:
        suite, work, sizes = self.key
        heading = f"{suite}: {work} | {sizes}"
        if self.ratio is None:
            return f"{heading}\n  {self.verdict}: {self.note}"
        found = f"{self.ratio:.3f} ({self.low:.3f}-{self.high:.3f})"
        return f"{heading}\n  {found} {self.verdict}{self.note and f', {self.note}'}"


def against(
    other: Path, suites: Sequence[str], *, quick: bool, only: str = "", rounds: int = ROUNDS
) -> Iterator[Comparison]:
    """Compare this checkout with another one; a flagged row is run once more, which decides."""
    roots = (ROOT, other.resolve())
    ours, theirs = (_rows(root, suites, quick) for root in roots)
    for key in dict.fromkeys([*ours, *theirs]):
        if only not in f"{key[1]} | {key[2]}":
            continue
        if key not in ours or key not in theirs:
            yield Comparison(key, note=f"only in {roots[key in theirs]}")
            continue
        rows = (ours[key], theirs[key])
        found = _compare(key, roots, rows, quick, rounds)
        if found.ratio is not None and found.flagged:
            yield found
            again = _compare(key, roots, rows, quick, rounds)
            found = Comparison(key, again.ratio, again.low, again.high, again.note or "run again")
        yield found


def _rows(root: Path, suites: Sequence[str], quick: bool) -> dict[Key, dict[str, Any]]:
    process = Process(Path(sys.executable))
    try:
        request = {"root": str(root), "rows": {"suites": list(suites), "quick": quick}}
        rows = process.ask(request)["rows"]
    finally:
        process.close()
    return {(r["suite"], r["work"], sizes_of(r["sizes"])): r for r in rows}


def _compare(
    key: Key,
    roots: Sequence[Path],
    rows: Sequence[dict[str, Any]],
    quick: bool,
    rounds: int,
) -> Comparison:
    with ExitStack() as stack:
        sides, first = [], []
        try:
            for root, row in zip(roots, rows, strict=True):
                folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="reptools-"))
                side = Process(Path(sys.executable))
                stack.callback(side.close)
                number = {name: row[name] for name in ("suite", "number")}
                job = {"row": {**number, "quick": quick, "folder": folder}}
                first.append(side.ask({"root": str(root), **job, "keep": True, "package": "numpy"}))
                sides.append(side)
            mine, theirs = (unpacked(answer["result"]) for answer in first)
            if reason := _apart(mine, theirs, rows[0]["tolerance"]):
                return Comparison(key, note=reason)
            ratio, low, high = summary(_ratios(sides, rows[0]["clock"], rounds))
        except RefusedError as refusal:
            return Comparison(key, note=f"{roots[len(sides)]}: {refusal}")
    return Comparison(key, ratio, low, high)


def _apart(mine: Any, theirs: Any, tolerance: float) -> str:
    """In what way the numbers differ, or nothing. Missing ones are equal."""
    if mine.shape != theirs.shape:
        return f"DISAGREE: shapes {mine.shape} and {theirs.shape}, no time"
    if np.allclose(mine, theirs, rtol=0, atol=tolerance * _largest(theirs), equal_nan=True):
        return ""
    return f"DISAGREE by {np.nanmax(np.abs(mine - theirs)) / _largest(theirs):.1e}, no time"


def _largest(values: Any) -> float:
    finite = values[np.isfinite(values)]
    return float(np.abs(finite).max(initial=0.0)) or 1.0


def _ratios(sides: Sequence[Process], clock: str, rounds: int) -> list[float]:
    """Times of one round over each other; who goes first changes from round to round."""
    about = [side.ask(1)["seconds"] for side in sides]
    number = max(1, round(SAMPLE / max(min(a[clock] for a in about), 1e-5)))
    longest = max(a["wall"] for a in about) * number
    ratios = []
    for turn in range(min(rounds, max(FEWEST, round(BUDGET / longest)))):
        order = (0, 1) if turn % 2 == 0 else (1, 0)
        seconds = {i: sides[i].ask(number)["seconds"][clock] for i in order}
        ratios.append(seconds[0] / seconds[1])
    return ratios


def summary(ratios: Sequence[float]) -> tuple[float, float, float]:
    """Median and its interval of 95 %, from the binomial distribution of ranks.

    It holds for any distribution of times, and a few disturbed rounds do not widen it. Fewer than
    6 values have no such interval: theirs is infinite.

    Examples
    --------
    >>> summary([1.0, 5.0, 1.1, 0.9, 1.0, 1.2, 1.0])
    (1.0, 0.9, 5.0)
    """
    n, ranked = len(ratios), sorted(ratios)
    cut, tail = -1, 0.0  # so many values at each end lie outside
    while 2 * (tail := tail + math.comb(n, cut + 1) / 2**n) <= 0.05:
        cut += 1
    middle = (ranked[(n - 1) // 2] + ranked[n // 2]) / 2
    return (middle, ranked[cut], ranked[n - 1 - cut]) if cut >= 0 else (middle, 0.0, math.inf)
