"""What went wrong while a report was computed, kept for the page."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from reptools.errors import DeadUnitWarning
from reptools.reporting.page import Page

T = TypeVar("T")


@dataclass
class Log:
    """Failures and warnings, in the order in which they came.

    Attributes
    ----------
    page : Page
        Where a failure is shown in place of its result.
    failures : list of (str, str)
        What was asked for, and the message.
    warnings : dict of str to list of str
        What was said, without the name of the function, and what was being computed then.
    dead_units : dict of str to list of str
        The same of units without variance: the overview counts them, so they come last.
    """

    page: Page
    failures: list[tuple[str, str]] = field(default_factory=list)
    warnings: dict[str, list[str]] = field(default_factory=dict)
    dead_units: dict[str, list[str]] = field(default_factory=dict)

    @contextmanager
    def listening(self, what: str) -> Iterator[None]:
        """Keep the warnings of a block instead of showing them."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                yield
            finally:
                for warning in caught:
                    # metrics that see the same data say the same, after their own name
                    fact = str(warning.message)
                    head, colon, rest = fact.partition(": ")
                    fact = rest if colon and head.isidentifier() else fact
                    dead = issubclass(warning.category, DeadUnitWarning)
                    kept = self.dead_units if dead else self.warnings
                    places = kept.setdefault(fact, [])
                    if what not in places:
                        places.append(what)

    def attempt(self, what: str, compute: Callable[[], T]) -> T | None:
        """Run ``compute``; a failure is shown and kept with its name, and gives None.

        A report is worth having when one metric fails, a plugin's included: so any exception is
        caught here, and none is lost.
        """
        try:
            with self.listening(what):
                return compute()
        except Exception as error:
            kind = type(error).__name__
            message = f"{kind}: {error}" if str(error) else kind
            self.failed(what, message)
            return None

    def failed(self, what: str, message: str) -> None:
        """Show and keep a failure."""
        self.failures.append((what, message))
        self.page.note(f"{what} could not be computed. {message}", tone="error")
