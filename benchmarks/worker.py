"""One contender in a process of its own: it prepares, runs once, then is timed when asked.

Run as ``python -P worker.py`` by whichever Python holds the contender's package, so nothing but
the standard library, numpy and threadpoolctl may be used here. Requests come in on stdin, answers
leave on what was stdout; whatever a package prints goes to stderr.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import importlib.util
import io
import os
import pickle
import resource
import sys
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent


def load(path: str) -> Any:
    """The module of a file; those of this folder as ``benchmarks.NAME``, never on sys.path.

    On the path, ``cka.py`` would hide the package of that name.
    """
    if "benchmarks" not in sys.modules:
        _execute("benchmarks", HERE / "__init__.py", [str(HERE)])
    if Path(path).parent == HERE:
        return importlib.import_module(f"benchmarks.{Path(path).stem}")
    return _execute(Path(path).stem, Path(path), None)


def _execute(name: str, path: Path, search: list[str] | None) -> Any:
    spec = importlib.util.spec_from_file_location(name, path, submodule_search_locations=search)
    assert spec is not None and spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def resident(which: str) -> int:
    """``VmRSS`` (now) or ``VmHWM`` (the most so far), in bytes."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except FileNotFoundError:  # no Linux: the most so far is all that is known
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(which))


def forget_peak() -> None:
    """Let VmHWM start anew from what is resident now."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def of_file(job: dict[str, Any]) -> Any:
    """What is timed of one contender, given by the file and the name of its function."""
    start = getattr(load(job["file"]), job["function"])
    arrays = {name: np.load(path) for name, path in job["arrays"].items()}
    return start(**arrays, **job["options"])


def listed(suites: list[str], quick: bool) -> list[dict[str, Any]]:
    """All rows of suites of the checkout on the path, and how their numbers are compared."""
    found = []
    for suite in suites:
        try:
            rows = importlib.import_module(f"benchmarks.{suite}").rows(quick)
        except ModuleNotFoundError as error:
            if error.name != f"benchmarks.{suite}":
                raise
            continue  # a suite that the checkout does not have
        for number, row in enumerate(rows):
            about = {"suite": suite, "number": number, "work": row.work, "sizes": dict(row.sizes)}
            found.append({**about, "tolerance": row.tolerance, "clock": row.clock})
    return found


def of_row(suite: str, number: int, quick: bool, folder: str) -> Any:
    """What is timed of reptools in a row, with inputs that its own checkout makes."""
    row = importlib.import_module(f"benchmarks.{suite}").rows(quick)[number]
    return row.ours.start(**row.inputs(Path(folder), **row.sizes), **row.ours.options)


def timed(act: Callable[[], Any], number: int) -> tuple[dict[str, float], Any]:
    gc.collect()
    wall, cpu, result = time.perf_counter(), time.process_time(), None
    for _ in range(number):
        result = act()
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return {"wall": wall / number, "cpu": cpu / number}, result


def packed(result: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.asarray(result, dtype=np.float64), allow_pickle=False)
    return buffer.getvalue()


def describe(package: str) -> dict[str, Any]:
    from threadpoolctl import threadpool_info

    try:
        release = version(package)
    except PackageNotFoundError:
        release = ""
    pools = threadpool_info()
    return {
        "version": release,
        "threads": max((pool["num_threads"] for pool in pools), default=1),
        "blas": sorted({f"{p['internal_api']} {p.get('architecture', '')}".strip() for p in pools}),
    }


def main() -> None:
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)

    def answer(**message: Any) -> None:
        pickle.dump(message, answers)
        answers.flush()

    try:
        from threadpoolctl import threadpool_limits

        job = pickle.load(requests)
        if job["root"]:
            sys.path.insert(0, job["root"])
        if "rows" in job:
            answer(rows=listed(**job["rows"]))
            job = pickle.load(requests)
        act = of_row(**job["row"]) if "row" in job else of_file(job)
        act, read = act if isinstance(act, tuple) else (act, None)
        with threadpool_limits(1):
            forget_peak()
            before = resident("VmRSS")
            seconds, result = timed(act, 1)
            peak = resident("VmHWM")
            answer(
                seconds=seconds,
                result=packed(read(result) if read else result) if job["keep"] else None,
                peak=peak,
                growth=peak - before,
                **describe(job["package"]),
            )
            del result
            while number := pickle.load(requests):
                answer(seconds=timed(act, number)[0])
    except EOFError:
        pass
    except BaseException as error:
        answer(error=type(error).__name__, text=str(error).strip() or "no message")
        raise


if __name__ == "__main__":
    main()
