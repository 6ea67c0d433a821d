"""Standard output and error of the process: full, closed, or not able to show every letter."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

BROKEN_PIPE = 141  # what a shell reports of a program that SIGPIPE ended
FAILED = 2


class OutputError(Exception):
    """Standard output took no more; not an OSError, which typer and rich answer in their own way.

    Attributes
    ----------
    cause : OSError
        What the system said.
    """

    def __init__(self, cause: OSError) -> None:
        super().__init__(str(cause))
        self.cause = cause


class _Output(io.FileIO):
    """The file under standard output, whose failures no other failure can be taken for."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            raise OutputError(error) from None


class _Messages(io.FileIO):
    """The file under standard error: what cannot be said there is no reason to stop."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError:
            return memoryview(data).nbytes


@contextmanager
def checked() -> Iterator[None]:
    r"""Run a program whose output may be cut off, cannot be written, or knows ASCII only.

    A reader who has enough (``| head``) ends the program quietly with the exit status of SIGPIPE.
    Output that cannot be written is one line on stderr and exit status 2. Letters that the
    encoding of the terminal lacks are shown as escapes such as ``\xe9``.
    """
    before = sys.stdout, sys.stderr
    sys.stderr = _stream(sys.stderr, _Messages, 2)
    sys.stdout = _stream(sys.stdout, _Output, 1)
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except OutputError as error:
        _drain(sys.stdout.fileno())
        if isinstance(error.cause, BrokenPipeError):
            sys.exit(BROKEN_PIPE)
        print(f"error: stdout cannot be written: {error.cause.strerror}.", file=sys.stderr)
        sys.exit(FAILED)
    finally:
        with suppress(OutputError):  # told above
            sys.stdout.flush()
        sys.stderr.flush()
        sys.stdout, sys.stderr = before


def _stream(found: Any, kind: type[io.FileIO], number: int) -> Any:
    """A text stream over the same file; where that is closed, over one that cannot be written.

    What is no file, such as the output of a notebook, stays as it is.
    """
    if found is None:  # its number would be taken by the next file that is opened
        file = os.open(os.devnull, os.O_RDONLY)
        if file != number:
            os.dup2(file, number)
        encoding, by_line = "utf-8", False
    else:
        found.flush()
        try:
            number = found.fileno()
        except io.UnsupportedOperation:
            return found
        encoding, by_line = found.encoding, found.line_buffering
    return io.TextIOWrapper(
        io.BufferedWriter(kind(number, "w", closefd=False)),
        encoding=encoding,
        errors="backslashreplace",
        line_buffering=by_line,
    )


def _drain(number: int) -> None:
    """Send what is left in buffers nowhere, so that closing them does not fail once more."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, number)
    os.close(nowhere)
