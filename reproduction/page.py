"""The page: one section a row, with its verdicts, its figures and who counts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from math import exp
from pathlib import Path
from typing import Any

from reptools import plots
from reptools.provenance import to_json, versions
from reptools.reporting import Page

from .figures import FIGURES, pairs, place_names
from .measuring import Measured, Outcome
from .rows import Row, Study
from .runs import Records

FAST = "These are the settings of seconds, which show that everything runs. No verdict counts."
NO_BREAK = "\u00a0"  # an interval is read in one piece


def write_page(
    path: Path, outcomes: Sequence[tuple[Study, Outcome]], *, fast: bool, failed: Records
) -> Path:
    """Write the report of all rows that were measured."""
    counted = [one for _, outcome in outcomes for one in outcome.measured]
    page = Page(
        "Biases of learned representations, claim by claim",
        summary=f"{len(outcomes)} claims after Lampinen, Chan & Hermann (2024), arXiv 2405.05847, "
        f"in {len(counted)} variants: {_tally(counted)}. Networks and numbers are ours.",
    )
    page.section(
        "Verdicts",
        "Each claim says that one quantity is larger than another within a network. It is shown if "
        "the two-sided 95 % t interval of the effect over seeds lies above 0, reversed if below, "
        "and else not decided; a claim that nothing differs is shown if the interval lies inside a "
        "bound. Means over pairs of networks are judged by the jackknife over seeds. Effects, "
        "places and rules were written down before the runs; what came later, the row says.",
    )
    if fast:
        page.note(FAST, tone="warning")
    for record in failed:
        page.note(f"{record['study']} was not run to its end: {record['error']}", tone="error")
    page.table(
        [_short(r) for _, o in outcomes for r in verdict_records(o)],
        "All claims and variants: the effect with its interval over seeds, and the verdict.",
    )
    for study in dict.fromkeys(study.name for study, _ in outcomes):
        mine = [(s, outcome) for s, outcome in outcomes if s.name == study]
        page.section(mine[0][0].title)
        for _, outcome in mine:
            _show(page, outcome)
        everyone = {id(run): run for _, o in mine for g in o.runs.values() for run in g}
        if everyone:
            first = next(iter(everyone.values()))
            page.details("Settings and provenance of the first run", first.tree.attrs["provenance"])
    return page.write(path)


def verdict_records(outcome: Outcome) -> Records:
    """The variants of a row as lines of a table."""
    row = outcome.row
    return [
        {
            "row": row.name,
            "claim": row.claim,
            "variant": one.words.replace("_", " "),
            "larger": _spread(one.larger),
            "smaller": _spread(one.smaller) if row.smaller is not None else "0",
            "effect [95 %]": _interval(row, one),
            "seeds": f"{len(one.seeds)}",
            "verdict": one.verdict,
            "expected": "yes" if row.expected else "",
        }
        for one in outcome.measured
    ]


def write_numbers(path: Path, outcomes: Sequence[tuple[Study, Outcome]], *, fast: bool) -> Path:
    """Write every number behind the page, with what it was computed from."""
    found = [
        {
            "row": outcome.row.name,
            "claim": outcome.row.claim,
            "study": study.path.name,
            "quantity": outcome.row.quantity,
            "options": one.options,
            "larger at": outcome.row.larger,
            "smaller at": outcome.row.smaller,
            "scale": outcome.row.scale,
            "within": outcome.row.within,
            "seeds": list(one.seeds),
            "larger": one.larger.tolist(),
            "smaller": one.smaller.tolist(),
            "effect": None
            if one.effect is None
            else [one.effect.mean, one.effect.low, one.effect.high],
            "verdict": one.verdict,
            "accounts": outcome.accounts,
        }
        for study, outcome in outcomes
        for one in outcome.measured
    ]
    everything = {"fast": fast, "versions": versions(), "rows": found}
    path.write_text(json.dumps(json.loads(to_json(everything)), indent=1) + "\n")
    return path


def _show(page: Page, outcome: Outcome) -> None:
    row = outcome.row
    page.heading(f"{row.name}: {row.claim}", row.note)
    names = sorted({str(name) for g in outcome.runs.values() for run in g for name in run.features})
    colours = plots.feature_colours(_easy_first(names))
    if any(len(one.seeds) for one in outcome.measured):
        larger, *rest = (name.replace("\n", ", ") for name in place_names(row))
        against = f"against {rest[0]}" if rest else "against 0"
        page.figure(
            pairs(row, outcome.measured, colours),
            f"{row.name}. Predicted larger at {larger}, {against}. Each thin line and point is a "
            "seed, each bar a mean.",
        )
    if row.figure and all(outcome.runs.values()):
        figure, caption = FIGURES[row.figure](outcome.runs, row, colours)
        page.figure(figure, f"{row.name}. {caption}")
    columns = ["larger", "smaller", "effect [95 %]", "seeds", "verdict"]
    if len(outcome.measured) > 1:
        columns.insert(0, "variant")
    page.table([{key: r[key] for key in columns} for r in verdict_records(outcome)])
    if row.tried:
        page.text("Also tried: " + "; ".join(row.tried) + ".")
    page.details("Which runs count", _accounts(outcome.accounts))


def _short(record: dict[str, Any]) -> dict[str, Any]:
    """A line of the table of all claims: without the means, which its section has."""
    variant = f" ({record['variant']})" if record["variant"] else ""
    kept = ("effect [95 %]", "seeds", "verdict", "expected")
    claim = {"row": record["row"], "claim": record["claim"] + variant}
    return claim | {key: record[key] for key in kept}


def _easy_first(names: Sequence[str]) -> list[str]:
    """Features in an order that gives equal names equal colours in every study."""
    known = [name for name in ("easy", "hard", "colour", "shape") if name in names]
    return [*known, *(name for name in names if name not in known)]


def _accounts(records: Records) -> Records:
    return [{**record, "counts": "yes" if record["counts"] else "NO"} for record in records]


def _spread(values: Any) -> str:
    if not len(values):
        return "n/a"
    return f"{values.mean():.3g} ({values.min():.3g} to {values.max():.3g})"


def _interval(row: Row, one: Measured) -> str:
    found = one.effect
    if found is None:
        return "n/a"
    if row.scale == "log_ratio":
        text = f"x {exp(found.mean):.2f} [{exp(found.low):.2f}, {exp(found.high):.2f}]"
    else:
        text = f"{found.mean:+.3f} [{found.low:+.3f}, {found.high:+.3f}]"
    bound = "" if row.within is None else f", bound ±{row.within:g}"
    return text.replace(" ", NO_BREAK) + bound


def _tally(measured: Sequence[Measured]) -> str:
    found = [one.verdict for one in measured]
    kinds = ("shown", "reversed", "not decided", "does not count")
    return ", ".join(f"{found.count(kind)} {kind}" for kind in kinds if found.count(kind))
