"""A check: commands that must succeed, in an environment of their own, with their output kept."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

OK, FAILED, NOT_RUN = "ok", "FAILED", "not run"


class NotHereError(Exception):
    """This machine lacks what a check needs; the text says what."""


@dataclass(frozen=True)
class Outcome:
    """What became of a check."""

    name: str
    state: str
    seconds: float = 0.0
    note: str = ""


@dataclass(frozen=True)
class Place:
    """Where a check runs.

    Attributes
    ----------
    clone : Path
        A fresh clone of the last commit, shared by all checks that do not make their own.
    cache : Path
        Where environments are kept from run to run.
    log : Path
        What the commands print.
    """

    clone: Path
    cache: Path
    log: Path

    def run(
        self,
        command: Sequence[str | Path],
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        only: Collection[str] | None = None,
    ) -> None:
        """Run one command in the clone; ``only`` names the variables that it may see.

        Raises
        ------
        CheckError
            It did not return 0.
        """
        words = [str(word) for word in command]
        seen = {key: value for key, value in os.environ.items() if only is None or key in only}
        with open(self.log, "a", encoding="utf-8") as log:
            print(f"\n$ {' '.join(words)}", file=log, flush=True)
            done = subprocess.run(
                words,
                cwd=cwd or self.clone,
                env=seen | dict(env or {}),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                check=False,
            )
        if done.returncode:
            raise CheckError(f"exit status {done.returncode}")

    def said(self, command: Sequence[str | Path], env: Mapping[str, str]) -> tuple[int, str]:
        """Exit status and output of a short question."""
        done = subprocess.run(
            [str(word) for word in command],
            cwd=self.clone,
            env=os.environ | dict(env),
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout.strip()


class CheckError(Exception):
    """A command of a check failed."""


@dataclass(frozen=True)
class Check:
    """One row of the table.

    Attributes
    ----------
    name : str
        What ``--only`` takes, such as ``kernel-Nehalem-2`` or ``python-3.12``.
    what : str
        What is run, in a few words.
    body : callable
        Runs it at a place and returns a note, which may be empty.
    """

    name: str
    what: str
    body: Callable[[Place], str] = field(repr=False)

    def outcome(self, clone: Path, cache: Path, logs: Path) -> Outcome:
        """Run it, whatever happens."""
        place = Place(clone, cache, logs / f"{self.name}.log")
        place.log.unlink(missing_ok=True)
        start = time.monotonic()
        try:
            state, note = OK, self.body(place)
        except NotHereError as reason:
            state, note = NOT_RUN, str(reason)
        except CheckError as error:
            state, note = FAILED, f"{error}; {last_line(place.log)} ({place.log})"
        return Outcome(self.name, state, time.monotonic() - start, note)


def last_line(log: Path) -> str:
    """The last line that a command printed; pytest's says how many failed."""
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
    return next((line.strip(" =") for line in reversed(lines) if line.strip()), "no output")
