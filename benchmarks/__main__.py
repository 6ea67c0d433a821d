"""``python -m benchmarks [SUITE ...]``: reptools against its peers and against the machine."""

from __future__ import annotations

import argparse
import importlib
import json
import platform
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from . import table
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
    chosen = parser.parse_args(arguments)
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


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table, row by row as they are measured."""
    chosen = parse(arguments)
    known = environments(chosen.peers)
    rounds = chosen.rounds or (3 if chosen.quick else 9)
    print(f"{table.LEGEND}\n{processor()}, Python {platform.python_version()}", flush=True)
    everything, found = [], []
    for suite in chosen.suites:
        print(f"\n=== {suite}", flush=True)
        rows = rows_of(suite, chosen.quick)
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
