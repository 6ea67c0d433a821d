"""The standard report: what the files hold, what each layer represents, and what is alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from reptools import schema
from reptools.engine.operation import Operation
from reptools.engine.registry import find, operations
from reptools.errors import naming
from reptools.reporting.log import Log
from reptools.reporting.overview import overview
from reptools.reporting.page import Page
from reptools.reporting.portraits import portraits
from reptools.reporting.scores import layer_scores, left_out, pair_scores
from reptools.reporting.systems import System, read_systems
from reptools.reporting.tables import joined


def report(
    files: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    title: str | None = None,
    metrics: Sequence[str] | None = None,
    layers: Sequence[str] | None = None,
    at: Mapping[str, Any] | None = None,
) -> Path:
    """Write the standard report of activation files as one self-contained HTML page.

    For each file: variance explained per feature over training, principal components and
    sparseness of its last layer. Then every registered metric and intervention: a table over layers
    for those of one representation, a map of layers for those of pairs, with the last layers of all
    files against each other. What takes something else, or gives more than a table holds, is named
    at the end. Whatever fails is named on the page with its message, as are all warnings.

    Parameters
    ----------
    files : path or sequence of paths
        Activation files. Pairs are formed from the first two.
    out : path
        The page to write; an existing one is replaced.
    title : str, optional
        By default the names of the systems.
    metrics : sequence of str, optional
        Metrics to evaluate, by default all. The figures of each file are always drawn.
    layers : sequence of str, optional
        Names or shell patterns of layers, such as ``"fc*"``, by default all. A file may lack some
        of them, which the page says. The last one, in the order asked for, stands for the file
        where only one can.
    at : mapping of str to value, optional
        Outer dimension to the position along it that is shown: a coordinate value (a number from
        0 where there are none), "first" or "last", for instance ``{"token": "last"}``. By default
        scores are means over outer dimensions, and of the last step.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    ParameterError
        No file is given, or a metric, a layer or a position is unknown.
    StoreError
        A file cannot be opened or holds no layers.
    MissingExtraError
        matplotlib or jinja2 is not installed.
    """
    with naming("report"), ExitStack() as stack:
        chosen = operations() if metrics is None else {name: find(name) for name in metrics}
        page = Page(title or "")
        log = Log(page)
        with log.listening("opening the files"):
            systems = read_systems(files, layers, at, stack)
        page.title = title or _title(systems)
        overview(page, systems)
        portraits(systems, log)
        _scores(systems, chosen, log)
        _close(systems, chosen, log)
        return page.write(out)


def _title(systems: Sequence[System]) -> str:
    names = [system.name for system in systems]
    return f"Representations of {', '.join(names) if len(names) < 4 else f'{len(names)} systems'}"


def _scores(systems: Sequence[System], chosen: Mapping[str, Operation], log: Log) -> None:
    """Every operation at its defaults: of single representations, then of pairs."""
    page = log.page
    at = {f"{dim} {value}" for system in systems for dim, value in system.at.items()}
    parts = ["the last step of each file"] if any(system.steps for system in systems) else []
    where = f", at {joined([*sorted(at), *parts])}" if at or parts else ""
    settings = f"Everything at its default settings{where}."
    shown = [one for one in chosen.values() if left_out(one, systems) is None]
    alone = [one for one in shown if not one.compares]
    pairs = [one for one in shown if one.compares]
    if alone:
        page.section("Scores by layer", settings)
    for one in alone:
        layer_scores(one, systems, log)
    if pairs:
        page.section("Layers compared", settings)
    for one in pairs:
        pair_scores(one, systems, log)


def _left_out(systems: Sequence[System], chosen: Mapping[str, Operation]) -> str:
    """Operations that the page has no place for, with reasons; empty where there is none."""
    reasons: dict[str, list[str]] = {}
    for name, operation in chosen.items():
        if (reason := left_out(operation, systems)) is not None:
            reasons.setdefault(reason, []).append(name)
    said = "; ".join(f"{', '.join(names)} ({why})" for why, names in reasons.items())
    return said and f"Not in this report: {said}."


def _facts(warnings: Mapping[str, Sequence[str]], limit: int = 2) -> list[dict[str, str]]:
    """One row per warning, with the first places where it came up."""
    rows = []
    for fact, places in warnings.items():
        more = f"; and {len(places) - limit} more" if len(places) > limit else ""
        rows.append({"warning": fact, "in": "; ".join(places[:limit]) + more})
    return rows


def _close(systems: Sequence[System], chosen: Mapping[str, Operation], log: Log) -> None:
    """Failures, warnings and provenance, and the sentence at the top that points to them."""
    page = log.page
    page.section("Notes on this report")
    if log.failures:
        page.table(
            [{"what": what, "message": message} for what, message in log.failures],
            "What could not be computed.",
        )
    if log.warnings:
        page.table(_facts(log.warnings), "Warnings while the report was computed.")
    if not log.failures and not log.warnings:
        page.text("Everything that is shown was computed, without a warning.")
    if left := _left_out(systems, chosen):
        page.text(left)
    if log.dead_units:
        page.text("Units without variance are counted in the overview; where they were met:")
        page.details("Units without variance", _facts(log.dead_units))
    for system in systems:
        attrs = system.tree.attrs
        known = {key: attrs[key] for key in (schema.SOURCE, schema.CREATED) if key in attrs}
        page.details(
            f"Provenance of {system.name}",
            {"file": str(system.path), **known, **system.provenance},
        )
    failed, warned = len(log.failures), len(log.warnings)
    trouble = [f"{failed} of its results could not be computed"] if failed else []
    trouble += [f"{warned} warning{'s' if warned > 1 else ''} came up"] if warned else []
    page.summary = f"Standard report of {len(systems)} activation file{'s' * (len(systems) > 1)}."
    if trouble:
        page.summary += f" {' and '.join(trouble).capitalize()}: see the notes at the end."
