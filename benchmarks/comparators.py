"""Comparing dissimilarity matrices: models with subjects, by every method that peers have."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from .rows import Contender, Row

Array = np.ndarray[Any, Any]
# ours: (rsatoolbox's word, whether it has to sort)
METHODS = {
    "pearson": ("corr", False),
    "cosine": ("cosine", False),
    "spearman": ("spearman", True),
    "rho_a": ("rho-a", True),
    "kendall_tau_a": ("tau-a", True),
    "kendall_tau_b": ("tau-b", True),
    "whitened_cosine": ("cosine_cov", False),
    "whitened_pearson": ("corr_cov", False),
}


def condensed(folder: Path, *, n: int, models: int, subjects: int, dtype: str) -> dict[str, Array]:
    """Noisy distances of subjects and models, condensed; the first model is categorical."""
    rng = np.random.default_rng(0)
    pairs = n * (n - 1) // 2
    truth = rng.gamma(4.0, size=pairs)
    a = truth + rng.gamma(4.0, size=(models, pairs))
    category = np.arange(n) % 4
    a[0] = (category[:, None] != category)[np.triu_indices(n, k=1)]
    b = truth + rng.gamma(4.0, size=(subjects, pairs))
    return {"a": a.astype(dtype), "b": b.astype(dtype)}


def ours(a: Array, b: Array, *, method: str) -> Callable[[], Any]:
    import xarray as xr
    from scipy.spatial.distance import squareform

    import reptools as rt

    def labelled(rdms: Array, dim: str) -> xr.DataArray:
        squares = np.stack([squareform(rdm) for rdm in rdms])
        return xr.DataArray(squares, dims=(dim, "stimulus", "stimulus_"))

    x, y = labelled(a, "model"), labelled(b, "subject")
    return lambda: rt.compare_rdms(x, y, method=method).transpose("model", "subject").values


def sorts(a: Array, b: Array) -> Callable[[], Any]:
    return lambda: [np.argsort(rdm) for rdm in (*a, *b)]


def gemm(a: Array, b: Array) -> Callable[[], Any]:
    return lambda: a @ b.T


def rsatoolbox(a: Array, b: Array, *, method: str) -> Callable[[], Any]:
    from rsatoolbox.rdm import RDMs, compare

    x, y = RDMs(a), RDMs(b)
    return lambda: compare(x, y, method=method)


def scipy_loop(a: Array, b: Array, *, function: str) -> Callable[[], Any]:
    import scipy.stats

    score = getattr(scipy.stats, function)
    return lambda: [[score(x, y).statistic for y in b] for x in a]


def rows(quick: bool) -> list[Row]:
    sizes = [(20, 2, 3)] if quick else [(92, 5, 10), (300, 5, 10)]
    return [_row(method, *size) for size in sizes for method in METHODS]


def _row(method: str, n: int, models: int, subjects: int) -> Row:
    theirs, sorting = METHODS[method]
    target = 1.0 if sorting else None
    peers = [Contender("rsatoolbox", rsatoolbox, "arrays", {"method": theirs}, target)]
    loop = {"spearman": "spearmanr", "kendall_tau_b": "kendalltau"}.get(method)
    if loop is not None:
        peers.append(Contender("scipy loop", scipy_loop, "arrays", {"function": loop}))
    return Row(
        work=f"comparing RDMs, {method}",
        inputs=condensed,
        sizes={"n": n, "models": models, "subjects": subjects, "dtype": "float64"},
        ours=Contender("reptools", ours, options={"method": method}),
        limit=Contender("a sort per RDM", sorts) if sorting else Contender("one GEMM", gemm),
        peers=tuple(peers),
        bound="reading and checking square matrices, where rsatoolbox is given bare vectors",
    )
