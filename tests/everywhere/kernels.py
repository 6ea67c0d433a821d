"""Kernels of OpenBLAS: chosen by name, and asked which one really runs."""

from __future__ import annotations

import sys

import dev
from tests.everywhere.checks import Check, NotHereError, Place

# name for OPENBLAS_CORETYPE -> what it calls itself. OpenBLAS ignores a name that it does not
# know, and takes one of a processor that can do more until it meets the first instruction.
KERNELS = {
    "Haswell": "Haswell",
    "SkylakeX": "SkylakeX",
    "Sandybridge": "Sandybridge",
    "Nehalem": "Nehalem",
    "Prescott": "Katmai",
}
THREADS = (1, 2)

# what computes with numbers
NUMERIC = (
    "tests/statistics",
    "tests/metrics",
    "tests/interventions",
    "tests/engine/test_laws.py",
    "tests/test_arrays.py",
    "reptools",
    "README.md",
)

SUITE = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p"]  # and a plugin

PROBE = """
import numpy, scipy.linalg, threadpoolctl
for dtype in "fd":
    x = numpy.random.default_rng(0).normal(size=(300, 200)).astype(dtype)
    numpy.linalg.svd(x), scipy.linalg.cho_factor(x.T @ x), x[0] @ x[1], x @ x[0]
blas = [i for i in threadpoolctl.threadpool_info() if i["internal_api"] == "openblas"]
print(*sorted({i.get("architecture", "unknown") for i in blas}) or ["no OpenBLAS"])
"""


def checks() -> list[Check]:
    """The numeric tests under each kernel, with each number of threads."""
    return [
        Check(
            f"kernel-{kernel}-{threads}",
            f"numeric tests, {threads} BLAS thread{'s' if threads > 1 else ''}",
            lambda place, kernel=kernel, threads=threads: _run(place, kernel, threads),
        )
        for kernel in KERNELS
        for threads in THREADS
    ] + [Check("rounding", "numeric tests, products moved by a unit in the last place", _moved)]


def _run(place: Place, kernel: str, threads: int) -> str:
    chosen = {"OPENBLAS_CORETYPE": kernel}
    code, found = place.said([sys.executable, "-c", PROBE], chosen)
    if code < 0:
        raise NotHereError(f"the processor cannot run it (signal {-code})")
    if code or found != KERNELS[kernel]:
        raise NotHereError(f"OpenBLAS runs {found or 'nothing'} instead")
    number = str(threads)
    env = {
        **chosen,
        "OPENBLAS_NUM_THREADS": number,
        "OMP_NUM_THREADS": number,
        "REPTOOLS_BLAS": f"{KERNELS[kernel]} {number}",
        "PYTHONPATH": "",  # the clone is where python -m pytest starts
    }
    place.run([*SUITE, "tests.everywhere.asserting", *NUMERIC], env=env)
    return f"runs {found}"


def _moved(place: Place) -> str:
    place.run([*SUITE, "tests.everywhere.rounding", *NUMERIC], env=dev.ONE_THREAD)
    return "as processors that are not here may round"
