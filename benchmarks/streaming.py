"""Layers that are read from a file in blocks: time, memory, and agreement with arrays in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from .rows import Contender, Row

Array = np.ndarray[Any, Any]
BATCH = 4096
MEGABYTE = 1e6


def file(folder: Path, *, n: int, p: int) -> dict[str, Any]:
    """Two layers of float32 that share 20 dimensions and four binary features."""
    import reptools as rt

    path = folder / "layers.h5"
    codes = np.random.default_rng(1).integers(0, 2, (4, n))
    with rt.Writer(
        path,
        system="benchmark",
        stimulus=range(n),
        steps=[0],
        features={f"f{i}": code for i, code in enumerate(codes)},
    ) as writer:
        for batch in _batches(codes, n, p):
            writer.append(batch, step=0)
    return {"path": str(path)}


def _batches(codes: Array, n: int, p: int) -> Iterator[dict[str, Array]]:
    rng = np.random.default_rng(0)
    common = {name: rng.standard_normal((20, p), dtype="f4") for name in ("a", "b")}
    shown = {name: rng.standard_normal((4, p), dtype="f4") for name in ("a", "b")}
    for start in range(0, n, BATCH):
        rows = slice(start, min(start + BATCH, n))
        shared = rng.standard_normal((rows.stop - start, 20), dtype="f4")
        yield {
            name: shared @ common[name]
            + codes[:, rows].T.astype("f4") @ shown[name]
            + 4 * rng.standard_normal((rows.stop - start, p), dtype="f4")
            + 1
            for name in ("a", "b")
        }


# --- three pieces of work, from a file, in chunks and in memory ---------------------------------


def score(work: str, a: Any, b: Any, features: Any) -> Any:
    """The public function for a piece of work."""
    import reptools as rt

    if work == "cka":
        return rt.cka(a, b).values
    if work == "variance":
        return rt.variance_explained(a, features).values
    return rt.predictivity(a, b, n_alphas=20).values


def from_file(path: str, *, work: str) -> Callable[[], Any]:
    """Lazily opened; what a user would write."""
    import reptools as rt

    def act() -> Any:
        with rt.open(path) as tree:
            return score(work, tree["layers/a"], tree["layers/b"], tree["features"])

    return act


def in_chunks(path: str, *, work: str) -> Callable[[], Any]:
    """In dask's chunks, which are always read block by block, however few there are."""
    import reptools as rt

    def act() -> Any:
        with rt.open(path) as tree:
            a, b = (tree[f"layers/{x}"].activation.chunk({"stimulus": BATCH}) for x in "ab")
            return score(work, a, b, tree["features"])

    return act


def in_memory(path: str, *, work: str) -> Callable[[], Any]:
    """Everything is loaded first."""
    import reptools as rt

    def act() -> Any:
        with rt.open(path) as tree:
            a, b = (tree[f"layers/{x}"].activation.load() for x in "ab")
            return score(work, a, b, tree["features"].load())

    return act


def resident_blocks(path: str, *, n: int, p: int, work: str) -> Callable[[], Any]:
    """The products of as many blocks, all of them the same one in memory."""
    rng = np.random.default_rng(0)
    x, y = (rng.standard_normal((BATCH, p), dtype="f4") for _ in range(2))
    design = rng.standard_normal((BATCH, 4), dtype="f4")

    def act() -> None:
        for _ in range(0, n, BATCH):
            if work != "variance":
                _ = x.T @ x, x.T @ y
            if work == "cka":
                _ = y.T @ y
            if work == "variance":
                _ = design.T @ x

    return act


# --- rows ---------------------------------------------------------------------------------------

NAMES = {
    "cka": "linear CKA, debiased",
    "variance": "variance explained by 4 features",
    "ridge": "ridge, 20 alphas per target, 5 folds, nested",
}
PRODUCTS = {
    "cka": "its GEMMs on resident blocks",
    "variance": "its GEMM on resident blocks",
    "ridge": "GEMMs of its moments",
}


def rows(quick: bool) -> list[Row]:
    n, p = (6000, 32) if quick else (200_000, 1024)
    found = [
        Row(
            work=f"{NAMES['cka']}, from a file",
            inputs=file,
            sizes={"n": n, "p": p},
            ours=Contender("reptools", from_file, options={"work": "cka"}),
            limit=limit("cka", n, p, 1.12),
            peers=(Contender("reptools in memory", in_memory, options={"work": "cka"}),),
            tolerance=1e-6,
            memory=150 * MEGABYTE + 5 * 8 * p**2,
            bound="reading, and adding float32 products to float64 sums",
        )
    ]
    n, p = (5000, 32) if quick else (50_000, 1024)
    return [*found, *(_agreement(work, n, p) for work in NAMES)]


def limit(work: str, n: int, p: int, target: float | None = None) -> Contender:
    """The bare products of a piece of work."""
    options = {"work": work, "n": n, "p": p}
    return Contender(PRODUCTS[work], resident_blocks, options=options, target=target)


def _agreement(work: str, n: int, p: int) -> Row:
    return Row(
        work=f"{NAMES[work]}, in chunks",
        inputs=file,
        sizes={"n": n, "p": p},
        ours=Contender("reptools", in_chunks, options={"work": work}),
        limit=limit(work, n, p),
        peers=(Contender("reptools in memory", in_memory, options={"work": work}),),
        tolerance=1e-6,
    )
