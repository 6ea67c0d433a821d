"""``python -m reproduction [NAME ...]``: train, measure, and write results/report.html.

Started again after a kill it goes on where it was, to the same numbers.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

import reptools as rt
from reptools.errors import ReptoolsError

from .making import make
from .measuring import Outcome, measure
from .page import verdict_records, write_numbers, write_page
from .rows import Study, load_studies
from .runs import Records


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Returns 0; 1 after an error that left no row; 3 where a study failed or a row does not count.
    """
    options = _parser().parse_args(arguments)
    # a run is never resumed with other settings
    options.out = options.out or Path("results-fast" if options.fast else "results")
    console = Console()
    began = time.monotonic()
    # dead ReLU units are expected here; who has learned what is in the table
    warnings.simplefilter("ignore", rt.errors.DeadUnitWarning)
    warnings.simplefilter("ignore", rt.errors.NotLearnedWarning)
    try:
        studies = load_studies(options.names)
    except ReptoolsError as error:
        print(error, file=sys.stderr)
        return 1
    outcomes: list[tuple[Study, Outcome]] = []
    failed: Records = []
    for study in studies:
        console.rule(f"{study.title} ({', '.join(dict.fromkeys(r.name for r in study.rows))})")
        try:
            runs = make(study, options.out, options)
            mine = [measure(row, runs) for row in study.rows]
        except ReptoolsError as error:
            console.print(f"[bold red]{study.name} failed:[/] {error}", highlight=False)
            failed.append({"study": study.name, "error": str(error)})
            continue
        outcomes += [(study, outcome) for outcome in mine]
        show(console, mine)
    if not outcomes:
        return 1
    write_numbers(options.out / "rows.json", outcomes, fast=options.fast)
    page = write_page(options.out / "report.html", outcomes, fast=options.fast, failed=failed)
    console.print(f"Report: {page} ({time.monotonic() - began:.0f} s)")
    unclear = any(one.effect is None for _, outcome in outcomes for one in outcome.measured)
    return 3 if failed or unclear else 0


def show(console: Console, outcomes: Sequence[Outcome]) -> None:
    """Print the verdicts of a study."""
    table = Table(show_edge=False, pad_edge=False)
    columns = ("row", "variant", "effect [95 %]", "seeds", "verdict")
    for name in columns:
        table.add_column(name, overflow="fold")
    for outcome in outcomes:
        for record in verdict_records(outcome):
            table.add_row(*(record[name] for name in columns))
    console.print(table)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m reproduction", description=__doc__, allow_abbrev=False
    )
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="rows (C1 ... E5) or studies; default: all"
    )
    parser.add_argument(
        "--fast", action="store_true", help="settings of seconds, no verdict counts"
    )
    parser.add_argument("--out", type=Path, help="default: results, or results-fast")
    parser.add_argument("--seeds", type=int, help="number of seeds; default: those of the files")
    parser.add_argument("--jobs", type=int, help="processes; default: number of cores")
    parser.add_argument("--overwrite", action="store_true", help="train all anew")
    return parser


if __name__ == "__main__":
    sys.exit(main())
