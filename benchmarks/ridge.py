"""Ridge predictivity: a penalty per target, chosen by inner folds, scored on outer ones.

Everybody gets the same five runs of rows. Each is left out in turn, and the penalty of each target
is chosen by leaving out each of the other four; the score is R2 about the mean of the fit rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from .rows import Contender, Row

Array = np.ndarray[Any, Any]
ALPHAS, FOLDS = 20, 5
LOWEST, HIGHEST = 1e-5, 1e5  # in units of the mean eigenvalue, as reptools takes them


def linear(folder: Path, *, n: int, p: int, targets: int, dtype: str) -> dict[str, Array]:
    """Targets that x predicts with errors; its directions differ in variance."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n, p)) * np.linspace(1, 0.05, p)
    y = x @ rng.standard_normal((p, targets)) / np.sqrt(p)
    y += 0.7 * rng.standard_normal((n, targets)) + 1
    return {"x": (x + 0.5).astype(dtype), "y": y.astype(dtype)}


def membership(n: int) -> Array:
    """Number of the fold of each row."""
    return np.asarray(np.arange(n) * FOLDS // n)


class Runs:
    """:func:`membership` as a splitter."""

    def split(self, X: Any, y: Any = None, groups: Any = None) -> Any:
        fold = membership(len(X))
        return ((np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in range(FOLDS))

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:
        return FOLDS


def alphas(x: Array) -> Array:
    """The penalties that reptools tries, in the units of x'x."""
    centred = x.astype(np.float64) - x.mean(axis=0, dtype=np.float64)
    mean = float((centred**2).sum()) / min(x.shape[1], len(x) - 1)
    return np.asarray(mean * np.geomspace(LOWEST, HIGHEST, ALPHAS))


def ours(x: Array, y: Array) -> tuple[Callable[[], Any], Any]:
    import reptools as rt

    return lambda: rt.predictivity(x, y, cv=Runs(), n_alphas=ALPHAS), np.asarray


# --- limits -------------------------------------------------------------------------------------


def eighs(x: Array, y: Array, *, products: bool) -> Callable[[], Any]:
    """The product of the cheaper side, and an eigh for each set of fit rows, in float64.

    With ``products``, also held-out rows times the weights of all targets and penalties.
    """
    n, p = x.shape
    dual = n <= p
    fold = membership(n)
    fits = [*combinations(range(FOLDS), 2), *((k,) for k in range(FOLDS))]
    centred = x.astype(np.float64) - x.mean(axis=0, dtype=np.float64)
    kept = [centred[~np.isin(fold, left)] for left in fits]
    pieces = [rows @ rows.T if dual else rows.T @ rows for rows in kept]
    size = len(pieces[0])
    rng = np.random.default_rng(0)
    weights = rng.standard_normal((size, ALPHAS * y.shape[1])) if products else None
    held = rng.standard_normal((n // FOLDS, size))

    def act() -> None:
        _ = x @ x.T if dual else x.T @ x
        for piece in pieces:
            np.linalg.eigh(piece)
        if weights is not None:
            for _ in range(FOLDS * (FOLDS - 1)):
                _ = held @ weights

    return act


# --- peers --------------------------------------------------------------------------------------


def outer(x: Array, y: Array) -> Iterator[tuple[Array, Array, Array]]:
    """Fit rows, test rows, and the fold of each fit row for the inner choice."""
    fold = membership(len(x))
    for k in range(FOLDS):
        fit, test = np.flatnonzero(fold != k), np.flatnonzero(fold == k)
        yield fit, test, fold[fit]


def held_out(x: Array, y: Array, fitted: Callable[[Array, Array, Array], Any]) -> float:
    """Median R2 over targets of ``fitted(x, y, inner folds)``, pooled over outer folds."""
    left, total = np.zeros(y.shape[1]), np.zeros(y.shape[1])
    for fit, test, inner in outer(x, y):
        predicted = np.reshape(fitted(x[fit], y[fit], inner).predict(x[test]), y[test].shape)
        left += ((y[test] - predicted) ** 2).sum(axis=0)
        total += ((y[test] - y[fit].mean(axis=0)) ** 2).sum(axis=0)
    return float(np.median(1 - left / total))


def grid_search(x: Array, y: Array) -> Callable[[], Any]:
    """One penalty for all targets, which is less than the others do."""
    from sklearn.linear_model import Ridge
    from sklearn.model_selection import GridSearchCV, PredefinedSplit

    grid = {"alpha": alphas(x)}

    def fitted(x: Array, y: Array, inner: Array) -> Any:
        search = GridSearchCV(
            Ridge(), grid, scoring="neg_mean_squared_error", cv=PredefinedSplit(inner)
        )
        return search.fit(x, y)

    return lambda: held_out(x, y, fitted)


def himalaya_ridge(x: Array, y: Array) -> Callable[[], Any]:
    from himalaya.ridge import RidgeCV
    from sklearn.model_selection import PredefinedSplit

    tried = alphas(x)

    def fitted(x: Array, y: Array, inner: Array) -> Any:
        return RidgeCV(alphas=tried, fit_intercept=True, cv=PredefinedSplit(inner)).fit(x, y)

    return lambda: held_out(x, y, fitted)


def himalaya_kernel(x: Array, y: Array) -> Callable[[], Any]:
    """Knows no intercept: both sides are centred by the fit rows of the outer fold."""
    from himalaya.kernel_ridge import KernelRidgeCV
    from sklearn.model_selection import PredefinedSplit

    tried = alphas(x)

    class Centred:
        def __init__(self, x: Array, y: Array, inner: Array) -> None:
            self.x, self.y = x.mean(axis=0), y.mean(axis=0)
            model = KernelRidgeCV(alphas=tried, cv=PredefinedSplit(inner))
            self.model = model.fit(x - self.x, y - self.y)

        def predict(self, x: Array) -> Any:
            return self.model.predict(x - self.x) + self.y

    return lambda: held_out(x, y, Centred)


# --- rows ---------------------------------------------------------------------------------------


def rows(quick: bool) -> list[Row]:
    if quick:
        return [_row(150, 20, 1), _row(150, 20, 5), _row(60, 90, 5), _row(150, 20, 50, True)]
    return [
        _row(2000, 512, 1),
        _row(2000, 512, 100),
        _row(1000, 2048, 100),
        _row(2000, 512, 1000, many=True),
    ]


def _row(n: int, p: int, targets: int, many: bool = False) -> Row:
    peers = [Contender("himalaya RidgeCV", himalaya_ridge, "arrays")]
    if n <= p:
        kernel = Contender("himalaya KernelRidgeCV", himalaya_kernel, "arrays", target=2.0)
        peers.append(replace(kernel, tolerance=1e-2))  # its inner folds have no intercept
    if not many:
        shared = Contender("scikit-learn GridSearchCV", grid_search, "arrays", target=6.0)
        # with several targets it chooses one penalty for all, so its scores are its own
        peers.append(replace(shared, tolerance=5e-2) if targets > 1 else shared)
    name = "SYRK, 15 eigh" + (", GEMMs of all alphas" if many else "")
    return Row(
        work=f"ridge, {ALPHAS} alphas per target, {FOLDS} folds, nested",
        inputs=linear,
        sizes={"n": n, "p": p, "targets": targets, "dtype": "float64"},
        ours=Contender("reptools", ours),
        limit=Contender(name, eighs, options={"products": many}, target=1 / 0.6 if many else None),
        peers=tuple(peers),
        tolerance=1e-5,
        bound="the decompositions in float64, one for each of 15 sets of fit rows",
    )
