"""How rows are measured: same inputs, numbers first, then in turn.

A contender whose numbers differ from the reference is never timed. The others run in turn, and a
ratio is the median over rounds of two times taken in one round.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from .peers import Environments
from .processes import RefusedError, Stored, Worker
from .rows import Contender, Finding, Role, Row

SAMPLE = 0.05  # seconds that one timing should take at least, by repeating what is short
BUDGET = 8.0  # seconds of timing per contender and row, but at least two rounds
LONG = 2.0  # seconds from which a first run tells how long the next ones take


def measure(
    rows: list[Row], environments: Environments, *, rounds: int = 9, with_peers: bool = True
) -> Iterator[tuple[Row, list[Finding]]]:
    """Measure rows one after another; neighbours with the same inputs share them."""
    for (make, sizes), group in groupby(rows, key=lambda row: (row.inputs, dict(row.sizes))):
        with tempfile.TemporaryDirectory(prefix="reptools-benchmark-") as folder:
            inputs = {
                name: _stored(Path(folder) / f"{name}.npy", value)
                for name, value in make(Path(folder), **sizes).items()
            }
            for row in group:
                yield row, _measure_row(row, inputs, environments, rounds, with_peers)


def _stored(path: Path, value: Any) -> Any:
    if not isinstance(value, np.ndarray):
        return value
    np.save(path, value, allow_pickle=False)
    return Stored(str(path))


def _measure_row(
    row: Row, inputs: Mapping[str, Any], environments: Environments, rounds: int, with_peers: bool
) -> list[Finding]:
    with ExitStack() as stack:

        def worker(contender: Contender, keep: bool = True) -> Worker:
            if contender.start is None:
                raise RefusedError(contender.absent)
            python = environments.python(contender.environment)
            if reason := environments.missing(contender.environment, contender.name.split()[0]):
                raise RefusedError(f"not installed. {reason}")
            found = Worker(contender, python)
            stack.callback(found.close)
            found.begin(inputs, keep=keep)
            return found

        try:
            ours = worker(row.ours)
            findings, expected = _expected(row, ours.result(), worker)
            ready, refused = [ours], dict[int, str]()
            apart: dict[Worker, float | None] = {}
            contenders = _others(row, with_peers)
            for number, (role, contender) in enumerate(contenders):
                try:
                    other = worker(contender, keep=role == "peer")
                    apart[other] = None
                    if role == "peer":
                        apart[other] = _agreed(other.result(), expected, row, contender)
                    ready.append(other)
                except RefusedError as refusal:
                    refused[number] = str(refusal)
            times = _in_turn(ready, row, rounds)
        except RefusedError as refusal:
            missing = str(refusal).startswith("AttributeError: module 'reptools'")
            return [Finding("reptools", "ours", note=f"{'not built yet: ' * missing}{refusal}")]
        others = iter(ready[1:])
        for number, (role, contender) in enumerate(contenders):
            if number in refused:
                note = refused[number]
                findings.append(Finding(contender.name, role, target=contender.target, note=note))
            else:
                other = next(others)
                findings.append(_finding(role, ours, other, apart[other], times))
        return findings + _memory(row, ready)


def _others(row: Row, with_peers: bool) -> list[tuple[Role, Contender]]:
    limit: list[tuple[Role, Contender]] = [("limit", row.limit)] if row.limit else []
    return limit + [("peer", peer) for peer in row.peers if with_peers]


def _expected(
    row: Row, ours: Any, worker: Callable[[Contender], Worker]
) -> tuple[list[Finding], Any]:
    """Whose numbers are right: ours, or those of a reference, which ours must equal."""
    if row.reference is None:
        return [], ours
    right = worker(row.reference).result()
    difference = _agreed(ours, right, row, row.ours)
    return [Finding(row.reference.name, "ours", difference=difference, note="agrees with")], right


def _agreed(result: Any, expected: Any, row: Row, contender: Contender) -> float:
    """The largest difference as a share of the largest value expected; too large is refused."""
    tolerance = row.tolerance if contender.tolerance is None else contender.tolerance
    scale = float(np.max(np.abs(expected))) or 1.0
    expected = expected[contender.part]
    if result.shape != expected.shape:
        raise RefusedError(f"DISAGREES: shape {result.shape}, not {expected.shape}, no time")
    difference = float(np.max(np.abs(result - expected))) / scale
    if not difference <= tolerance:  # NaN is not small either
        raise RefusedError(f"DISAGREES by {difference:.1e} (at most {tolerance:.0e}), no time")
    return difference


def _in_turn(workers: list[Worker], row: Row, rounds: int) -> dict[Worker, list[float]]:
    """Times per worker and round; the slow ones sit out the later rounds."""
    first = {worker: worker.first["seconds"] for worker in workers}
    if row.once or len(workers) == 1:
        return {worker: [seconds[row.clock]] for worker, seconds in first.items()}
    # a short first run may have been slow for once, as with a lazy import: ask again
    about = {
        worker: seconds if seconds["wall"] > LONG else worker.ask(1)["seconds"]
        for worker, seconds in first.items()
    }
    number = {w: max(1, round(SAMPLE / max(t[row.clock], 1e-5))) for w, t in about.items()}
    turns = {
        w: min(rounds, max(2, round(BUDGET / max(t["wall"] * number[w], 1e-6))))
        for w, t in about.items()
    }
    times: dict[Worker, list[float]] = {worker: [] for worker in workers}
    for turn in range(turns[workers[0]]):  # every ratio needs a time of ours from the same round
        for worker in workers if turn % 2 == 0 else reversed(workers):
            if turn < turns[worker]:
                times[worker].append(worker.ask(number[worker])["seconds"][row.clock])
    return times


def _finding(
    role: Role,
    ours: Worker,
    other: Worker,
    difference: float | None,
    times: Mapping[Worker, list[float]],
) -> Finding:
    """Ours over the limit; or the peer over ours."""
    pairs = list(zip(times[ours], times[other], strict=False))
    scale = other.contender.times
    if role == "limit":
        ratios = [mine / (theirs * scale) for mine, theirs in pairs]
    else:
        ratios = [theirs * scale / mine for mine, theirs in pairs]
    return Finding(
        against=other.name if role == "peer" else other.contender.name,
        role=role,
        ratio=statistics.median(ratios),
        least=min(ratios),
        most=max(ratios),
        target=other.contender.target,
        difference=difference,
    )


def _memory(row: Row, workers: list[Worker]) -> list[Finding]:
    """Growth of the resident size in the first run of each, where the row asks for it."""
    if row.memory is None:
        return []
    compared = [worker for worker in workers if worker.contender is not row.limit]
    bounded = row.memory < float("inf")
    return [
        Finding(
            worker.name,
            "memory",
            ratio=worker.first["growth"] / 1e6,
            target=row.memory / 1e6 if bounded and worker is workers[0] else None,
            note=f"{worker.first['peak'] / 1e6:.0f} MB resident at most",
        )
        for worker in compared
    ]
