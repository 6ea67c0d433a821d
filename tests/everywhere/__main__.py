"""Run the checks: ``python -m tests.everywhere``."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from tests.everywhere import clones, kernels, pythons
from tests.everywhere.checks import FAILED, NOT_RUN, Check, Outcome

ROOT = Path(__file__).resolve().parents[2]
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "reptools" / "everywhere"


def parser() -> argparse.ArgumentParser:
    """The options."""
    options = argparse.ArgumentParser(
        prog="python dev.py everywhere",
        description="Run the tests on other kernels, Pythons, versions and environments.",
        allow_abbrev=False,
    )
    options.add_argument(
        "--only",
        action="append",
        metavar="PATTERN",
        help="checks by name, such as 'kernel-*' or python-3.12; may be repeated",
    )
    options.add_argument("--list", action="store_true", help="show the checks and run none")
    options.add_argument(
        "--python",
        action="append",
        type=Path,
        default=[],
        metavar="PATH",
        help="a Python to use besides those on PATH; may be repeated",
    )
    options.add_argument(
        "--without",
        action="append",
        choices=sorted(set(pythons.EXTRAS) - {"all", "dev", "docs"}),
        default=[],
        help="an extra that the environments of the Pythons lack; what needs it is skipped",
    )
    options.add_argument(
        "--demo",
        choices=("fast", "full"),
        default="fast",
        help="settings of the demo on the fresh clones (default: fast)",
    )
    options.add_argument(
        "--cache",
        type=Path,
        default=CACHE,
        help=f"where environments, the clone and logs are kept (default: {CACHE})",
    )
    return options


def all_checks(options: argparse.Namespace) -> list[Check]:
    """Every check, the quick ones first."""
    demo = ["--fast"] if options.demo == "fast" else []
    found = [
        *kernels.checks(),
        *pythons.checks(options.python, frozenset(options.without)),
        *clones.checks(demo),
    ]
    wanted = options.only or ["*"]
    return [c for c in found if any(fnmatch(c.name, pattern) for pattern in wanted)]


def main(argv: Sequence[str] | None = None) -> int:
    """Run what is asked for; 1 where a check failed."""
    options = parser().parse_args(argv)
    chosen = all_checks(options)
    if not chosen:
        raise SystemExit(f"no check is called {options.only}. --list shows all.")
    if options.list:
        show([Outcome(check.name, "", note=check.what) for check in chosen])
        return 0
    cache = options.cache.resolve()
    logs = cache / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    if uncommitted():
        print("only what is committed is tested; this checkout has changes that are not")
    clones.clone(ROOT, cache / "checkout")
    outcomes = []
    for check in chosen:
        print(f"{check.name}: {check.what}", flush=True)
        outcomes.append(check.outcome(cache / "checkout", cache, logs))
        print(f"  {outcomes[-1].state} {outcomes[-1].note}", flush=True)
    show(outcomes)
    states = [outcome.state for outcome in outcomes]
    passed = len(states) - states.count(FAILED) - states.count(NOT_RUN)
    print(f"{passed} passed, {states.count(FAILED)} failed, {states.count(NOT_RUN)} not run here")
    return 1 if FAILED in states else 0


def uncommitted() -> bool:
    """Whether the checkout differs from its last commit."""
    command = ["git", "status", "--porcelain", "--untracked-files=no"]
    return bool(subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout)


def show(outcomes: Sequence[Outcome]) -> None:
    """Print the table."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False)
    for header in ("check", "result", "minutes", "note"):
        table.add_column(header, justify="right" if header == "minutes" else "left")
    for outcome in outcomes:
        minutes = f"{outcome.seconds / 60:.1f}" if outcome.seconds else ""
        table.add_row(outcome.name, outcome.state, minutes, outcome.note)
    console = Console(markup=False, highlight=False)
    console.print(table, soft_wrap=not console.is_terminal)


if __name__ == "__main__":
    sys.exit(main())
