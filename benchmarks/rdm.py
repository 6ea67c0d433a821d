"""Dissimilarity matrices: correlation, squared Euclidean, crossnobis."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from .rows import Contender, Row

Array = np.ndarray[Any, Any]
REPEATS = 2  # trials of a condition in a run


def patterns(folder: Path, *, n: int, p: int, dtype: str, mean: float = 0.5) -> dict[str, Array]:
    """Patterns that are alike in 20 dimensions, with a mean over units."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n, 20)) @ rng.standard_normal((20, p)) / 4
    return {"x": (x + rng.standard_normal((n, p)) + mean).astype(dtype)}


def trials(folder: Path, *, conditions: int, runs: int, p: int, dtype: str) -> dict[str, Array]:
    """Two trials per condition and run, with noise that units share."""
    rng = np.random.default_rng(0)
    truth = np.repeat(rng.standard_normal((conditions, p)), REPEATS, axis=0)
    mixing = np.eye(p) + rng.standard_normal((p, p)) / (2 * np.sqrt(p))
    noise = rng.standard_normal((runs * len(truth), p)) @ mixing
    return {
        "x": (np.tile(truth, (runs, 1)) + noise).astype(dtype),
        "condition": np.tile(np.repeat(np.arange(conditions), REPEATS), runs),
        "run": np.repeat(np.arange(runs), len(truth)),
    }


def triangle(square: Any) -> Array:
    """Upper triangle, row by row."""
    values = np.asarray(square)
    return values[np.triu_indices(len(values), k=1)]


# --- ours and the limit -------------------------------------------------------------------------


def ours(x: Array, *, method: str) -> tuple[Callable[[], Any], Any]:
    import reptools as rt

    return lambda: rt.rdm(x, method=method), triangle


def in_float64(x: Array, *, metric: str) -> Callable[[], Any]:
    """The result on the same values in float64, pair by pair."""
    from scipy.spatial.distance import pdist

    centred = x.astype(np.float64) - x.astype(np.float64).mean(axis=0)
    return lambda: pdist(centred, metric)


def syrk(x: Array) -> Callable[[], Any]:
    return lambda: x @ x.T


# --- peers --------------------------------------------------------------------------------------


def rsatoolbox(x: Array, *, method: str) -> tuple[Callable[[], Any], Any]:
    from rsatoolbox.data import Dataset
    from rsatoolbox.rdm import calc_rdm

    data = Dataset(x)
    width = x.shape[1] if method == "euclidean" else 1  # its Euclidean is squared and divided by p
    return lambda: calc_rdm(data, method=method).dissimilarities[0], lambda d: d * width


def pdist(x: Array, *, metric: str) -> Callable[[], Any]:
    from scipy.spatial.distance import pdist

    return lambda: pdist(x, metric)


def mne_rsa(x: Array, *, metric: str) -> Callable[[], Any]:
    from mne_rsa import compute_rdm

    return lambda: compute_rdm(x, metric=metric)


# --- crossnobis ---------------------------------------------------------------------------------


def our_crossnobis(
    x: Array, condition: Array, run: Array, *, noise: str
) -> tuple[Callable[[], Any], Any]:
    import xarray as xr

    import reptools as rt

    coords = {"condition": ("stimulus", condition), "run": ("stimulus", run)}
    labelled = xr.DataArray(x, dims=("stimulus", "unit"), coords=coords)

    def act() -> Any:
        return rt.rdm(
            labelled, method="crossnobis", condition="condition", groups="run", noise=noise
        )

    return act, triangle


def two_syrks(x: Array, condition: Array, run: Array, *, noise: str) -> Callable[[], Any]:
    """The patterns of all runs, and their sum; the covariance of the trials where it is asked."""
    count, p = int(condition.max()) + 1, x.shape[1]
    runs = x.reshape(-1, count, REPEATS, p)[:, :, 0]
    patterns = np.ascontiguousarray(runs.transpose(1, 0, 2)).reshape(count, -1)
    total = runs.sum(axis=0)

    def act() -> Any:
        covariance = x.T @ x if noise == "full" else None
        return total @ total.T, patterns @ patterns.T, covariance

    return act


def rsatoolbox_crossnobis(
    x: Array, condition: Array, run: Array, *, noise: str
) -> tuple[Callable[[], Any], Any]:
    """Its distances are divided by the number of units."""
    from rsatoolbox.data import Dataset
    from rsatoolbox.data.noise import prec_from_unbalanced
    from rsatoolbox.rdm import calc_rdm

    cell = condition + (int(condition.max()) + 1) * run
    data = Dataset(x, obs_descriptors={"condition": condition, "run": run, "cell": cell})

    def act() -> Any:
        given = None if noise == "identity" else prec_from_unbalanced(data, "cell", method=noise)
        return calc_rdm(
            data, method="crossnobis", descriptor="condition", cv_descriptor="run", noise=given
        ).dissimilarities[0]

    return act, lambda distances: distances * x.shape[1]


# what keeps a row from its limit
WRITING = "the n x n result in float64, written and checked, beside the product"
BOUND = {
    "float64": WRITING,
    "float32": f"products in float64, for rounded ones order equal distances; {WRITING}",
}

# --- rows ---------------------------------------------------------------------------------------


def rows(quick: bool) -> list[Row]:
    sizes = [(60, 30)] if quick else [(500, 1000), (1000, 768), (2000, 2048)]
    kinds = ("float32", "float64")
    found = [_correlation(n, p, dtype) for n, p in sizes for dtype in kinds]
    found += [_euclidean(n, p, dtype, 0.5) for n, p in sizes[-1:] for dtype in kinds]
    found.append(_euclidean(*sizes[0], "float32", 1000.0))
    designs = [(12, 3, 20)] if quick else [(92, 8, 200), (200, 10, 500)]
    return found + [
        _crossnobis(*design, noise) for design in designs for noise in ("identity", "full")
    ]


def _correlation(n: int, p: int, dtype: str) -> Row:
    return Row(
        work="RDM, correlation",
        inputs=patterns,
        sizes={"n": n, "p": p, "dtype": dtype},
        ours=Contender("reptools", ours, options={"method": "correlation"}),
        limit=Contender("one SYRK", syrk, target=1.2),
        peers=(
            Contender("rsatoolbox", rsatoolbox, "arrays", {"method": "correlation"}, target=12),
            Contender("scipy pdist", pdist, "arrays", {"metric": "correlation"}, target=6),
            Contender("mne-rsa", mne_rsa, "arrays", {"metric": "correlation"}),
        ),
        tolerance=1e-5 if dtype == "float32" else 1e-9,
        bound=BOUND[dtype],
    )


def _euclidean(n: int, p: int, dtype: str, mean: float) -> Row:
    # over one round of float32 the difference to float64 stays; at mean 1000 it must still be small
    return Row(
        work=f"RDM, squared Euclidean, mean {mean:g}",
        inputs=patterns,
        sizes={"n": n, "p": p, "dtype": dtype, "mean": mean},
        ours=Contender("reptools", ours, options={"method": "sqeuclidean"}),
        limit=Contender("one SYRK", syrk),
        peers=(
            Contender("rsatoolbox", rsatoolbox, "arrays", {"method": "euclidean"}, target=1.0),
            Contender("scipy pdist", pdist, "arrays", {"metric": "sqeuclidean"}),
        ),
        reference=Contender("float64", in_float64, options={"metric": "sqeuclidean"}),
        tolerance=1e-4 if dtype == "float32" else 1e-9,
        bound=BOUND[dtype],
    )


def _crossnobis(conditions: int, runs: int, p: int, noise: str) -> Row:
    target = {"identity": 6.0, "full": 1.5}[noise]
    options = {"noise": noise}
    return Row(
        work=f"crossnobis, {noise} noise",
        inputs=trials,
        sizes={"conditions": conditions, "runs": runs, "p": p, "dtype": "float64"},
        ours=Contender("reptools", our_crossnobis, options=options),
        limit=Contender(
            "two SYRKs" + (", and one for noise" if noise == "full" else ""),
            two_syrks,
            options=options,
        ),
        peers=(Contender("rsatoolbox", rsatoolbox_crossnobis, "arrays", options, target),),
        bound="means of trials by condition and run",
    )
