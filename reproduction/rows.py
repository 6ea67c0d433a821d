"""What the rows of an experiment file claim: a quantity, two places to take it, and a rule.

::

    [[rows]]
    name = "C1"
    claim = "the easy feature explains more of the variance than the hard one"
    quantity = "explained"                    # of reproduction.quantities
    estimator = ["pooled", "per_stimulus"]    # a list: one verdict for each
    condition = "both"
    larger = {feature = "easy"}
    smaller = {feature = "hard"}              # left out: 0
    scale = "difference"

Everything but the keys of :class:`Row` is an option of the quantity; `larger` and `smaller` say
what differs between its two places.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import product
from pathlib import Path
from typing import Any

from models.config import override
from reptools.errors import ParameterError

from .verdicts import Scale

EXPERIMENTS = Path(__file__).resolve().parents[1] / "models" / "experiments"


@dataclass(frozen=True)
class Row:
    """One claim of the paper, as it was written down before the runs.

    Parameters
    ----------
    name, claim
        ``"C1"``, and what it says.
    quantity
        Name of a function of :mod:`reproduction.quantities`.
    larger, smaller
        Options of the quantity where the claim says it is larger, and where smaller. Without
        `smaller` the other side is 0.
    options
        Options of the quantity that hold at both places. Lists are tried one by one.
    features
        Those that have to be learned and linearly decodable in the runs of the row; by default
        those that `larger` and `smaller` name, or all that a run is trained on.
    decodable
        Whether the features have to be linearly decodable too, for the row to count.
    scale, within
        Of :func:`reproduction.verdicts.effect`.
    figure
        Name of a further figure of :mod:`reproduction.figures`.
    expected
        Whether it was expected to show at the settings frozen beforehand.
    note
        What a reader has to know beside the claim.
    tried
        Every other setting that was tried, and what it gave.
    """

    name: str
    claim: str
    quantity: str
    larger: Mapping[str, Any]
    smaller: Mapping[str, Any] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    features: tuple[str, ...] = ()
    decodable: bool = True
    scale: Scale = "difference"
    within: float | None = None
    figure: str = ""
    expected: bool = False
    note: str = ""
    tried: tuple[str, ...] = ()

    @property
    def places(self) -> list[Mapping[str, Any]]:
        """Where the quantity is taken: the larger one, and the smaller if it is not 0."""
        return [self.larger] if self.smaller is None else [self.larger, self.smaller]

    @property
    def variants(self) -> list[dict[str, Any]]:
        """The shared options, once for each choice of those that are lists."""
        lists = {key: value for key, value in self.options.items() if isinstance(value, list)}
        fixed = {key: value for key, value in self.options.items() if key not in lists}
        return [
            {**fixed, **dict(zip(lists, chosen, strict=True))}
            for chosen in product(*lists.values())
        ]

    def words(self, variant: Mapping[str, Any]) -> str:
        """What tells a variant from the others of its row."""
        return ", ".join(
            str(variant[key]) for key, value in self.options.items() if isinstance(value, list)
        )


@dataclass(frozen=True)
class Study:
    """An experiment file: what is made, and the rows that are measured on it.

    `fast` holds dotted key -> value for a setting of seconds, in which no verdict counts; `scheme`
    the settings of encryption, where a computation is encrypted instead of networks trained.
    """

    name: str
    path: Path
    rows: tuple[Row, ...]
    fast: Mapping[str, Any]
    title: str
    scheme: Mapping[str, Any] | None = None

    def table(self, fast: bool) -> dict[str, Any]:
        """All that the file says, with its fast settings laid over."""
        table = tomllib.loads(self.path.read_text(encoding="utf-8"))
        for key, value in (self.fast if fast else {}).items():
            override(table, key, value)
        return table


def load_study(path: Path) -> Study:
    """Read the rows of an experiment file.

    Raises
    ------
    ParameterError
        A row lacks a key or has one of the wrong kind.
    """
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    rows = tuple(_row(row, path.name) for row in table.get("rows", []))
    return Study(
        str(table.get("name", path.stem)),
        path,
        rows,
        table.get("fast", {}),
        str(table.get("title", path.stem)),
        table.get("scheme"),
    )


def load_studies(wanted: Sequence[str] = ()) -> list[Study]:
    """All experiment files with rows, or what is wanted of them: studies and rows, by name.

    In the order of the rows, C1 first.

    Raises
    ------
    ParameterError
        No study and no row has a name that is wanted.
    """
    studies = [load_study(path) for path in sorted(EXPERIMENTS.glob("*.toml"))]
    studies.sort(key=lambda study: min((_place(row.name) for row in study.rows), default=("", 0)))
    rows = list(dict.fromkeys(row.name for study in studies for row in study.rows))
    names = [study.name for study in studies]
    if unknown := [name for name in wanted if name not in (*rows, *names)]:
        raise ParameterError(
            f"load_studies: {unknown[0]!r} is no row and no study. Rows: {', '.join(rows)}. "
            f"Studies: {', '.join(names)}."
        )
    chosen = [
        replace(study, rows=tuple(row for row in study.rows if row.name in wanted))
        if wanted and study.name not in wanted
        else study
        for study in studies
    ]
    return [study for study in chosen if study.rows]


def _place(name: str) -> tuple[str, int]:
    """Where a row stands: C2 before C10, and both before E1."""
    return name[0], int("".join(c for c in name if c.isdigit()) or 0)


def _row(table: Mapping[str, Any], file: str) -> Row:
    own = {f.name for f in fields(Row)} - {"options"}
    values = {key: value for key, value in table.items() if key in own}
    options = {key: value for key, value in table.items() if key not in own}
    for key in ("features", "tried"):
        if key in values:
            values[key] = tuple(values[key])
    try:
        return Row(**values, options=options)
    except TypeError as error:
        raise ParameterError(
            f"load_study: a row of {file} ({table.get('name', 'without a name')}): {error}."
        ) from None
