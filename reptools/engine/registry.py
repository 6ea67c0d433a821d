"""All declared operations by name, those of other packages included.

Plugins declare theirs in a module named by an entry point of the group ``reptools.metrics``; the
module is imported when the registry is first listed or asked for a name it does not know.
"""

from __future__ import annotations

import difflib
import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any

from reptools.engine.operation import Operation
from reptools.errors import ParameterError, warn

_OPERATIONS: dict[str, Operation] = {}
_PLUGINS = {"loaded": False}


def add(operation: Operation) -> None:
    """Make an operation known."""
    _OPERATIONS[operation.name] = operation


def refuse_taken(name: str, function: Callable[..., Any]) -> None:
    """Refuse a second declaration of a name, but for the same lines run again in a notebook."""
    if name not in _OPERATIONS:
        return
    known, new = (
        (code.co_filename, code.co_firstlineno)
        for code in (_OPERATIONS[name].public.__wrapped__.__code__, function.__code__)  # type: ignore[attr-defined]
    )
    if known != new:
        raise ParameterError(f"a metric named {name!r} exists already. Choose another name.")


def operations() -> dict[str, Operation]:
    """All declared operations by name, plugins included."""
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
    return dict(_OPERATIONS)


def metrics() -> dict[str, Operation]:
    """All that measure."""
    return {name: one for name, one in operations().items() if not one.intervention}


def interventions() -> dict[str, Operation]:
    """All that change activations and see what follows."""
    return {name: one for name, one in operations().items() if one.intervention}


def find(metric: str | Callable[..., Any]) -> Operation:
    """The operation of that name, or the public function itself."""
    name = metric if isinstance(metric, str) else getattr(metric, "__name__", repr(metric))
    known = _OPERATIONS if name in _OPERATIONS else operations()
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"Did you mean {close[0]!r}?" if close else f"Known: {', '.join(sorted(known))}."
        raise ParameterError(f"metric must name an operation, got {name!r}. {hint}")
    return known[name]


def found_with_options(
    metric: str | Callable[..., Any] | functools.partial[Any],
) -> tuple[Operation, dict[str, Any]]:
    """An operation, and the options that ``functools.partial(rt.cka, ...)`` has bound."""
    if isinstance(metric, functools.partial):
        if metric.args:
            raise ParameterError(
                f"metric is a partial with {len(metric.args)} inputs. Bind options only."
            )
        return find(metric.func), dict(metric.keywords)
    return find(metric), {}


def forget(name: str) -> None:
    """Remove an operation, for tests and interactive work."""
    _OPERATIONS.pop(name)


@dataclass(frozen=True)
class MetricTable:
    """The registry as a table that prints itself; iterate over it for the operations."""

    operations: tuple[Operation, ...]

    def __iter__(self) -> Iterator[Operation]:
        return iter(self.operations)

    def __len__(self) -> int:
        return len(self.operations)

    def __contains__(self, name: object) -> bool:
        return any(one.name == name for one in self.operations)

    def rows(self) -> list[dict[str, str]]:
        """One row an operation, every cell as text."""
        return [
            {
                "name": one.name,
                "takes": ", ".join(one.inputs),
                "better": one.better,
                "bounds": f"{one.bounds[0]:g}..{one.bounds[1]:g}",
                "symmetric": "yes" if one.symmetric else "no",
                "a metric": "yes" if one.proper else "no",
                "invariant to": ", ".join(one.invariances) or "-",
                "runs on": ", ".join(one.backends),
                "own dimensions": ", ".join(one.dims) or "-",
                "summary": one.summary,
            }
            for one in self.operations
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
    return MetricTable(
        tuple(sorted(metrics().values(), key=lambda one: (list(one.inputs), one.name)))
    )
