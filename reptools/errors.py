"""Errors and warnings of reptools: one root, so that a script can catch them all.

Inner code raises the small fact ("k must be at least 1, got 0. Pass ..."); the public function
that was called adds its name through ``naming``, so a message always reads
``<function>: <fact with the value seen>. <the mend>.``
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class ReptoolsError(Exception):
    """Root of every error that reptools raises on purpose."""


class StimulusError(ReptoolsError, ValueError):
    """Stimuli are missing, repeated, or not the same on both sides."""


class DimensionError(ReptoolsError, ValueError):
    """An array has the wrong number, names or sizes of dimensions."""


class ParameterError(ReptoolsError, ValueError):
    """An option is unknown, of the wrong type, or outside its range."""


class FeatureError(ReptoolsError, ValueError):
    """A feature is constant, of an unknown kind, or does not fit the metric."""


class DataError(ReptoolsError, ValueError):
    """Values cannot be analysed: NaN, infinity, or no variance at all."""


class StoreError(ReptoolsError, OSError):
    """A file cannot be written or read, or breaks a rule of the schema."""


class MissingExtraError(ReptoolsError, ImportError):
    """An optional dependency is needed and not installed."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs the package {package!r}, which is not installed. "
            f'Install it with: pip install "reptools[{extra}]".'
        )


class ReptoolsWarning(UserWarning):
    """Root of every warning of reptools."""


class DeadUnitWarning(ReptoolsWarning):
    """Units without any variance were found; they are counted and named."""


class IncompleteWarning(ReptoolsWarning):
    """A file holds less than was planned: a killed or a running writer."""


class NotLearnedWarning(ReptoolsWarning):
    """A training run ended with a feature that was not learned."""


@contextmanager
def naming(function: str) -> Iterator[None]:
    """Prefix every ReptoolsError raised inside with the public function's name.

    The first name wins, so a metric called by another public function is named once.
    """
    try:
        yield
    except MissingExtraError:
        raise
    except ReptoolsError as error:
        message = str(error)
        if getattr(error, "function", None) is not None:
            raise
        named = type(error)(f"{function}: {message}")
        named.function = function  # type: ignore[attr-defined]
        for note in getattr(error, "__notes__", []):
            named.add_note(note)
        raise named from None


def warn(message: str, category: type[ReptoolsWarning] = ReptoolsWarning) -> None:
    """Warn at the user's own line: the first caller outside this package."""
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("reptools."):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


def some(values: Iterable[object], limit: int = 3) -> str:
    """Name the first few values of a long list: ``'s0', 's1', ... (17 in all)``."""
    values = list(values)
    shown = ", ".join(repr(value) for value in values[:limit])
    return shown if len(values) <= limit else f"{shown}, ... ({len(values)} in all)"
