"""``python -m benchmarks [SUITE ...]``: reptools against its peers and against the machine."""

from __future__ import annotations

import argparse
import importlib
import json
import platform
import signal
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from . import table
from .against import ROUNDS, Comparison, against
from .harness import measure
from .peers import VARIABLE, environments
from .rows import Row, without_targets

SUITES = (
    "cka",
    "rdm",
    "comparators",
    "ridge",
    "probes",
    "variance",
    "streaming",
    "store",
    "training",
)
ON_REQUEST = ("large",)  # takes 8 GB of disk and the better part of an hour


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "suites",
        nargs="*",
        metavar="SUITE",
        help=f"{', '.join(SUITES)} (all of these by default), {', '.join(ON_REQUEST)}",
    )
    parser.add_argument("--quick", action="store_true", help="tiny sizes, few rounds, no targets")
    parser.add_argument("--rounds", type=int, help="how often the contenders run in turn")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write all findings there")
    parser.add_argument(
        "--peers",
        metavar="FOLDER",
        help=f"where their environments are kept (${VARIABLE}, or .venv-peers of the checkout)",
    )
    parser.add_argument("--without-peers", action="store_true", help="only against the limits")
    parser.add_argument(
        "--only", default="", metavar="TEXT", help="rows with this in their heading"
    )
    parser.add_argument(
        "--against",
        type=Path,
        metavar="CHECKOUT",
        help="another checkout of reptools, in place of all peers: the time of this one over that "
        "of the other, row by row; returns 1 unless no row is slower",
    )
    chosen = parser.parse_args(arguments)
    if chosen.against and not (chosen.against / "benchmarks" / "__init__.py").exists():
        parser.error(f"{chosen.against} has no folder benchmarks. Give the root of a checkout.")
    chosen.suites = chosen.suites or list(SUITES)
    if unknown := [name for name in chosen.suites if name not in SUITES + ON_REQUEST]:
        parser.error(f"no suite {unknown[0]!r}. Choose from {', '.join(SUITES + ON_REQUEST)}.")
    return chosen


def rows_of(suite: str, quick: bool) -> list[Row]:
    """The rows of a suite; targets hold for the full sizes only."""
    rows: list[Row] = importlib.import_module(f".{suite}", __package__).rows(quick)
    return [without_targets(row) for row in rows] if quick else rows


def processor() -> str:
    """Name of the processor, as far as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(": ")[2] for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _against(chosen: argparse.Namespace) -> int:
    """Print the comparison of two checkouts as it goes; 0 where every row is as fast."""
    rounds = chosen.rounds or ROUNDS
    print(f"time of this checkout over that of {chosen.against}, median and 95 % interval")
    found: dict[object, Comparison] = {}  # of a row that was run twice, the second one
    for one in against(
        chosen.against, chosen.suites, quick=chosen.quick, only=chosen.only, rounds=rounds
    ):
        print(one, flush=True)
        found[one.key] = one
    counts = Counter(one.verdict for one in found.values())
    print(f"{len(found)} rows: {', '.join(f'{n} {verdict}' for verdict, n in counts.items())}")
    if chosen.json:
        records = [{**asdict(one), "verdict": one.verdict} for one in found.values()]
        chosen.json.write_text(json.dumps(records, indent=1) + "\n")
    return int(any(one.flagged for one in found.values()))


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table, row by row as they are measured."""
    chosen = parse(arguments)
    if chosen.against:
        return _against(chosen)
    known = environments(chosen.peers)
    rounds = chosen.rounds or (3 if chosen.quick else 9)
    print(f"{table.LEGEND}\n{processor()}, Python {platform.python_version()}", flush=True)
    everything, found = [], []
    for suite in chosen.suites:
        print(f"\n=== {suite}", flush=True)
        rows = [r for r in rows_of(suite, chosen.quick) if chosen.only in table.heading(r)]
        with_peers = not chosen.without_peers
        for row, findings in measure(rows, known, rounds=rounds, with_peers=with_peers):
            print("\n".join(["", *table.lines(row, findings)]), flush=True)
            found += findings
            everything += table.records(suite, row, findings)
    print(f"\n{table.summary(found)}")
    if chosen.json:
        chosen.json.write_text(json.dumps(everything, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    # so that what was written for a row is removed when somebody ends the run
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    sys.exit(main())
