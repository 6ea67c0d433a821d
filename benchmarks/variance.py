"""Variance explained by features: many binary ones, and some of several dimensions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from .rows import Contender, Row

Array = np.ndarray[Any, Any]


def coded(
    folder: Path, *, n: int, p: int, features: int, dimensions: int, dtype: str
) -> dict[str, Array]:
    """Activations that encode every feature weakly; features (feature, stimulus, dimension)."""
    rng = np.random.default_rng(0)
    if dimensions == 1:
        codes = rng.integers(0, 2, (features, n, 1)).astype(np.float64)
    else:
        codes = rng.standard_normal((features, n, dimensions))
    x = sum(code @ rng.standard_normal((dimensions, p)) for code in codes)
    return {"x": (x + 3 * rng.standard_normal((n, p)) + 1).astype(dtype), "codes": codes}


def halves(n: int) -> list[tuple[Array, Array]]:
    """Both ways of fitting on one half and testing on the other."""
    rows = np.arange(n)
    first, second = rows[: n // 2], rows[n // 2 :]
    return [(second, first), (first, second)]


class Halves:
    """:func:`halves` as a splitter."""

    def split(self, X: Any, y: Any = None, groups: Any = None) -> Any:
        return iter(halves(len(X)))

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:
        return 2


def ours(x: Array, codes: Array) -> Callable[[], Any]:
    import reptools as rt

    features = {
        f"f{i:03}": code[:, 0] if code.shape[1] == 1 else code for i, code in enumerate(codes)
    }
    return lambda: rt.variance_explained(x, features, cv=Halves()).values


def two_gemms(x: Array, codes: Array) -> Callable[[], Any]:
    """Products of all design columns with the data of either half."""
    columns = np.concatenate(list(codes), axis=1).astype(x.dtype)
    products = [(columns[rows].T, x[rows]) for rows, _ in halves(len(x))]
    return lambda: [design @ part for design, part in products]


def scikit_learn(x: Array, codes: Array) -> Callable[[], Any]:
    """One regression per feature and half, scored against the mean of the fit rows."""
    from sklearn.linear_model import LinearRegression

    x = x.astype(np.float64)

    def act() -> list[float]:
        shares = []
        for code in codes:
            left = total = 0.0
            for fit, test in halves(len(x)):
                model = LinearRegression().fit(code[fit], x[fit])
                left += float(((x[test] - model.predict(code[test])) ** 2).sum())
                total += float(((x[test] - x[fit].mean(axis=0)) ** 2).sum())
            shares.append(1 - left / total)
        return shares

    return act


def rows(quick: bool) -> list[Row]:
    n, p = (300, 40) if quick else (10000, 1024)
    return [
        _row(n, p, features, dimensions, target, dtype)
        for features, dimensions, target in ((32, 1, 120.0), (8, 10, 20.0))
        for dtype in ("float32", "float64")
    ]


def _row(n: int, p: int, features: int, dimensions: int, target: float, dtype: str) -> Row:
    return Row(
        work="variance explained, held out",
        inputs=coded,
        sizes={
            "n": n,
            "p": p,
            "features": features,
            "dimensions": dimensions,
            "dtype": dtype,
        },
        ours=Contender("reptools", ours),
        limit=Contender("two skinny GEMMs", two_gemms, target=1.6),
        peers=(Contender("scikit-learn loop", scikit_learn, "arrays", target=target),),
        tolerance=1e-5 if dtype == "float32" else 1e-9,
        bound="checking, centring and squaring all of x, and the designs: more than the products",
    )
