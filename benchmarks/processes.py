"""Contenders in processes of their own, each run by the Python that has its package."""

from __future__ import annotations

import io
import os
import pickle
import select
import subprocess
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .rows import OURS, Contender

ROOT = Path(__file__).resolve().parent.parent
WORKER = Path(__file__).with_name("worker.py")
# set for old OpenBLAS builds, they make a current one slow; and nobody else's modules
UNWANTED = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "PYTHONPATH", "PYTHONHOME")
THREADS = ("OPENBLAS", "OMP", "MKL", "BLIS", "VECLIB", "NUMBA", "NUMEXPR")
PATIENCE = 1800.0  # seconds until a contender counts as hung


class RefusedError(Exception):
    """A contender that gives no number, with the reason."""


class Process:
    """A process that runs ``worker.py`` and answers requests."""

    def __init__(self, python: Path) -> None:
        self.errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        self.process = subprocess.Popen(
            [python, "-P", WORKER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            env=clean_environment(),
            cwd=tempfile.gettempdir(),
        )

    def ask(self, request: Any) -> dict[str, Any]:
        """Send a request and wait for its answer."""
        assert self.process.stdin is not None and self.process.stdout is not None
        try:
            pickle.dump(request, self.process.stdin)
            self.process.stdin.flush()
            if not select.select([self.process.stdout], [], [], PATIENCE)[0]:
                raise RefusedError(f"no answer within {PATIENCE:.0f} seconds")
            answer: dict[str, Any] = pickle.load(self.process.stdout)
        except (EOFError, BrokenPipeError):
            raise RefusedError(
                f"its process ended with {self.process.wait()}: {self.last()}"
            ) from None
        if "error" in answer:
            raise RefusedError(f"{answer['error']}: {answer['text'].splitlines()[0]}")
        return answer

    def last(self) -> str:
        """What the process wrote last."""
        self.errors.seek(0)
        lines = self.errors.read().decode(errors="replace").split("\n")
        return next((line for line in reversed(lines) if line.strip()), "without a word")

    def close(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.errors):
            assert stream is not None
            with suppress(BrokenPipeError):
                stream.close()


class Worker(Process):
    """The process of one contender."""

    def __init__(self, contender: Contender, python: Path) -> None:
        super().__init__(python)
        self.contender = contender
        self.first: dict[str, Any] = {}

    def begin(self, inputs: Mapping[str, Any], *, keep: bool) -> None:
        """Prepare and run once; ``keep`` the numbers."""
        start = self.contender.start
        assert start is not None
        plain = {name: value for name, value in inputs.items() if not isinstance(value, Stored)}
        self.first = self.ask(
            {
                "root": str(ROOT) if self.contender.environment == OURS else "",
                "file": start.__code__.co_filename,
                "function": start.__name__,
                "arrays": {k: v.path for k, v in inputs.items() if isinstance(v, Stored)},
                "options": {**plain, **self.contender.options},
                "package": self.contender.name.split()[0],
                "keep": keep,
            }
        )
        if self.first["threads"] > 1:
            raise RefusedError(f"uses {self.first['threads']} threads")

    @property
    def name(self) -> str:
        """Package with its release, then the other words."""
        package, *words = self.contender.name.split()
        return " ".join(
            [package, *([self.first["version"]] if self.first["version"] else []), *words]
        )

    def result(self) -> Any:
        """The numbers of the first run."""
        return unpacked(self.first["result"])


def unpacked(result: bytes) -> Any:
    """Numbers as a process sends them."""
    return np.load(io.BytesIO(result), allow_pickle=False)


@dataclass(frozen=True)
class Stored:
    """An array of the inputs, which every process reads for itself."""

    path: str


def clean_environment() -> dict[str, str]:
    """The environment of a worker: one thread, and the kernels that suit the processor."""
    kept = {name: value for name, value in os.environ.items() if name not in UNWANTED}
    return kept | {f"{library}_NUM_THREADS": "1" for library in THREADS}
