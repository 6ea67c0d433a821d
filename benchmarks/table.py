"""Findings as lines of text and as records."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from .rows import Finding, Row

LEGEND = """\
limit   how many times as long reptools takes as the bare kernels of the same inputs
peer    how many times as long the peer takes as reptools
memory  growth of the resident size during the first run, in MB
Ratios are medians of times taken in turn in one run, one thread; least and most in brackets.
Numbers are compared before: "apart" is the largest difference as a share of the largest value."""
WIDTHS = {"role": 7, "against": 34, "ratio": 8, "range": 15, "target": 14, "verdict": 15}


def sizes_of(sizes: Mapping[str, Any]) -> str:
    """``n 2,000, p 768, float32``."""
    return ", ".join(
        value if isinstance(value, str) else f"{name} {value:,}" for name, value in sizes.items()
    )


def heading(row: Row) -> str:
    """What a row is called."""
    return f"{row.work} | {sizes_of(row.sizes)}"


def lines(row: Row, findings: Iterable[Finding]) -> list[str]:
    """A heading and one line per finding; what bounds the work where a target is missed."""
    findings = list(findings)
    found = [heading(row), *map(_line, findings)]
    if row.bound and any(finding.met is False for finding in findings):
        found.append(f"  {'bound':{WIDTHS['role']}} {row.bound}")
    return found


def _line(finding: Finding) -> str:
    cells = {"role": finding.role, "against": finding.against}
    if finding.ratio is None:
        target = f" ({_target(finding)})" if finding.target is not None else ""
        apart = "" if finding.difference is None else f", apart {finding.difference:.0e}"
        return f"  {_cells(cells)} {finding.note}{apart}{target}"
    in_mb = finding.role == "memory"
    cells["ratio"] = f"{finding.ratio:.0f} MB" if in_mb else f"{_short(finding.ratio)} x"
    if finding.least is not None and finding.most is not None:
        cells["range"] = f"({_short(finding.least)}-{_short(finding.most)})"
    else:
        cells["range"] = ""
    cells["target"] = _target(finding)
    cells["verdict"] = _verdict(finding)
    apart = "" if finding.difference is None else f"apart {finding.difference:.0e}"
    return f"  {_cells(cells)} {finding.note or apart}".rstrip()


def _cells(cells: Mapping[str, str]) -> str:
    right = ("ratio",)
    return " ".join(
        f"{text:{'>' if name in right else '<'}{WIDTHS[name]}}" for name, text in cells.items()
    )


def _short(ratio: float) -> str:
    return f"{ratio:.0f}" if ratio >= 100 else f"{ratio:.1f}" if ratio >= 10 else f"{ratio:.2f}"


def _target(finding: Finding) -> str:
    if finding.target is None:
        return ""
    return f"{'at least' if finding.role == 'peer' else 'at most'} {finding.target:.3g}"


def _verdict(finding: Finding) -> str:
    if finding.met is None:
        return ""
    if finding.met:
        return "met"
    assert finding.ratio is not None and finding.target is not None
    return f"missed by {abs(finding.ratio / finding.target - 1):.0%}"


def records(suite: str, row: Row, findings: Iterable[Finding]) -> list[dict[str, Any]]:
    """One flat record per finding, for JSON."""
    about = {"suite": suite, "work": row.work, "clock": row.clock}
    return [
        {**about, "sizes": dict(row.sizes), **asdict(finding), "met": finding.met}
        for finding in findings
    ]


def summary(findings: Iterable[Finding]) -> str:
    """How many targets are met, missed, or have no number."""
    findings = list(findings)
    aimed = [finding for finding in findings if finding.target is not None]
    met, missed = (sum(finding.met is wanted for finding in aimed) for wanted in (True, False))
    ours = sum(f.role == "ours" and f.difference is None for f in findings)
    return (
        f"Targets: {met} met, {missed} missed, {len(aimed) - met - missed} where the other gives "
        f"no number. Rows where reptools gives no number: {ours}."
    )
