"""``@metric``: declare a metric once; everything else reads the declaration.

Plugins declare theirs in a module named by an entry point of the group ``reptools.metrics``; the
module is imported when the registry is first listed or asked for a name it does not know.
"""

from __future__ import annotations

import difflib
import inspect
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any, Literal

import xarray as xr

from reptools.engine.calling import evaluate
from reptools.engine.operation import INPUTS, NO_FOLDS, Kind, Metric, parameters_of
from reptools.errors import ParameterError, warn

_METRICS: dict[str, Metric] = {}
_PLUGINS = {"loaded": False}


def metric(
    *,
    kind: Kind,
    each: Callable[..., Any] | None = None,
    many: Callable[..., Any] | None = None,
    better: Literal["higher", "lower", "neither"] = "higher",
    bounds: tuple[float, float] = (float("-inf"), float("inf")),
    symmetric: bool = False,
    invariances: tuple[str, ...] = (),
    proper: bool = False,
    backends: tuple[str, ...] = ("numpy",),
    dims: tuple[str, ...] = (),
    jointly: bool = False,
    repeats: bool | Literal["required"] = False,
    iterative: bool = False,
    cv: Any = NO_FOLDS,
    estimator: str = "plug-in",
    finish: Callable[..., xr.DataArray] | None = None,
) -> Callable[[Callable[..., Any]], Callable[..., xr.DataArray]]:
    """Declare a metric by its kernel; the public function takes its place.

    The kernel sees bare arrays; its name, docstring and keyword-only options become those of the
    public function, which reads labelled input, lines stimuli up, loops over outer dimensions and
    puts the labels back. See ``reptools.engine.operation.Metric`` for the arguments.

    Raises
    ------
    ParameterError
        The name is taken, the docstring is missing, or an option cannot be checked.

    Examples
    --------
    >>> import numpy as np
    >>> from reptools.engine.registry import forget, metric
    >>> @metric(kind="pair", symmetric=True, bounds=(0, float("inf")), better="lower")
    ... def mean_gap(x, y, /, *, power: float = 2.0):
    ...     "Mean difference of two activations, unit by unit."
    ...     return (abs(x - y) ** power).mean()
    >>> float(mean_gap(np.eye(2), 1 - np.eye(2)))
    1.0
    >>> forget("mean_gap")
    """

    def declare(kernel: Callable[..., Any]) -> Callable[..., xr.DataArray]:
        name = kernel.__name__
        if kind not in INPUTS:
            raise ParameterError(
                f"metric {name!r} has the kind {kind!r}. Use one of {list(INPUTS)}."
            )
        if name in _METRICS and not _declared_again(_METRICS[name], kernel):
            raise ParameterError(f"a metric named {name!r} exists already. Choose another name.")
        if not kernel.__doc__ and sys.flags.optimize < 2:  # python -OO removes docstrings
            raise ParameterError(
                f"metric {name!r} has no docstring. Its first line is the summary."
            )
        record = Metric(
            name=name,
            summary=(kernel.__doc__ or "").strip().partition("\n")[0],
            kind=kind,
            kernel=kernel,
            each=each,
            many=many,
            better=better,
            bounds=bounds,
            symmetric=symmetric,
            invariances=invariances,
            proper=proper,
            backends=backends,
            dims=dims,
            jointly=jointly,
            repeats=repeats,
            iterative=iterative,
            cv=cv,
            estimator=estimator,
            finish=finish,
            parameters=parameters_of(kind, kernel, each, cv),
        )
        _METRICS[name] = record
        return _public(record)

    return declare


def _declared_again(record: Metric, kernel: Callable[..., Any]) -> bool:
    """Whether one source file was run a second time, as a notebook or a doctest runner does."""
    return record.kernel.__code__.co_filename == kernel.__code__.co_filename and (
        record.kernel.__code__.co_firstlineno == kernel.__code__.co_firstlineno
    )


def _public(record: Metric) -> Callable[..., xr.DataArray]:
    """The function users call: the kernel's name and docstring, the full signature."""
    inputs = tuple(
        name
        for name, parameter in inspect.signature(record.kernel).parameters.items()
        if parameter.kind is not parameter.KEYWORD_ONLY
    )

    def function(*args: Any, **options: Any) -> xr.DataArray:
        return evaluate(record, args, options)

    positional = [inspect.Parameter(n, inspect.Parameter.POSITIONAL_ONLY) for n in inputs]
    keywords = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=parameter.default)
        for name, parameter in record.parameters.items()
    ]
    function.__name__ = function.__qualname__ = record.name
    function.__module__ = record.kernel.__module__
    function.__doc__ = record.kernel.__doc__
    function.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        positional + keywords, return_annotation=xr.DataArray
    )
    return function


def metrics() -> dict[str, Metric]:
    """All declared metrics by name, plugins included."""
    if not _PLUGINS["loaded"]:
        _PLUGINS["loaded"] = True
        for entry in entry_points(group="reptools.metrics"):
            try:
                entry.load()
            except Exception as error:  # whatever a plugin does wrong, the other metrics work
                warn(
                    f"plugin {entry.name!r} ({entry.value}) cannot be loaded, so its metrics are "
                    f"missing. {type(error).__name__}: {error}"
                )
    return dict(_METRICS)


def find(name: str | Callable[..., Any], kind: Kind | None = None) -> Metric:
    """The metric of that name (or the public function itself), checked for its kind."""
    name = name if isinstance(name, str) else str(getattr(name, "__name__", repr(name)))
    declared = _METRICS if name in _METRICS else metrics()
    known = {key: record for key, record in declared.items() if kind in (None, record.kind)}
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"Did you mean {close[0]!r}?" if close else f"Known: {', '.join(known)}."
        what = f"a {kind} metric" if kind else "a metric"
        raise ParameterError(f"metric must name {what}, got {name!r}. {hint}")
    return known[name]


def forget(name: str) -> None:
    """Remove a metric, for tests and interactive work."""
    _METRICS.pop(name)


@dataclass(frozen=True)
class MetricTable:
    """The registry as a table that prints itself; iterate over it for the records."""

    records: tuple[Metric, ...]

    def __iter__(self) -> Iterator[Metric]:
        return iter(self.records)

    def __len__(self) -> int:
        return len(self.records)

    def __contains__(self, name: object) -> bool:
        return any(record.name == name for record in self.records)

    def rows(self) -> list[dict[str, str]]:
        """One row a metric, every cell as text."""
        return [
            {
                "name": r.name,
                "takes": ", ".join(INPUTS[r.kind]),
                "better": r.better,
                "bounds": f"{r.bounds[0]:g}..{r.bounds[1]:g}",
                "symmetric": "yes" if r.symmetric else "no",
                "a metric": "yes" if r.proper else "no",
                "invariant to": ", ".join(r.invariances) or "-",
                "runs on": ", ".join(r.backends),
                "own dimensions": ", ".join(r.dims) or "-",
                "summary": r.summary,
            }
            for r in self.records
        ]

    def __repr__(self) -> str:
        rows = self.rows()
        if not rows:
            return "no metrics"
        widths = {key: max(len(key), *(len(row[key]) for row in rows)) for key in rows[0]}
        lines = ["  ".join(key.ljust(widths[key]) for key in rows[0]).rstrip()]
        lines += ["  ".join(row[k].ljust(widths[k]) for k in row).rstrip() for row in rows]
        return "\n".join(lines)


def list_metrics() -> MetricTable:
    """A table of all metrics: what they take, their bounds and what leaves them unchanged.

    Examples
    --------
    >>> import reptools as rt
    >>> "cka" in rt.list_metrics()
    True
    """
    return MetricTable(tuple(sorted(metrics().values(), key=lambda r: (r.kind, r.name))))
