"""Linear probes: one at a time, and many that share their activations."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from .rows import Contender, Row

Array = np.ndarray[Any, Any]
FOLDS = 5


def readable(folder: Path, *, n: int, p: int, features: int, dtype: str) -> dict[str, Array]:
    """Binary features (feature, stimulus), each readable with errors."""
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 2, (features, n))
    x = codes.T @ rng.standard_normal((features, p)) / np.sqrt(features)
    x += 2 * rng.standard_normal((n, p))
    permuted = np.stack([rng.permutation(code) for code in codes])
    return {"x": x.astype(dtype), "codes": codes, "permuted": permuted}


def contiguous(n: int) -> list[tuple[Array, Array]]:
    """Folds that need no rule: runs of rows."""
    rows = np.arange(n)
    return [(np.setdiff1d(rows, test), test) for test in np.array_split(rows, FOLDS)]


class Contiguous:
    """:func:`contiguous` as a splitter."""

    def split(self, X: Any, y: Any = None, groups: Any = None) -> Any:
        return iter(contiguous(len(X)))

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:
        return FOLDS


def ours(x: Array, codes: Array, permuted: Array) -> Callable[[], Any]:
    """Its permuted target is part of every probe."""
    import reptools as rt

    features = {f"f{i:03}": code for i, code in enumerate(codes)}
    return lambda: rt.probe(x, features, cv=Contiguous()).values


def scikit_learn(x: Array, codes: Array, permuted: Array) -> tuple[Callable[[], Any], Any]:
    """The same targets and permuted targets, one fit after another."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import balanced_accuracy_score
    from sklearn.preprocessing import StandardScaler

    folds = contiguous(len(x))

    def score(target: Array) -> float:
        answers = np.empty_like(target)
        for fit, test in folds:
            scaler = StandardScaler().fit(x[fit])
            model = LogisticRegression(C=1.0, max_iter=1000)
            model.fit(scaler.transform(x[fit]), target[fit])
            answers[test] = model.predict(scaler.transform(x[test]))
        return float(balanced_accuracy_score(target, answers))

    def act() -> list[tuple[float, float]]:
        return [(score(code), score(null)) for code, null in zip(codes, permuted, strict=True)]

    return act, lambda pairs: [real for real, _ in pairs]


def rows(quick: bool) -> list[Row]:
    if quick:
        return [_row(120, 20, 1, None, "float32"), _row(120, 20, 4, None, "float32")]
    return [
        _row(1000, 128, 1, 1.0, "float32"),
        _row(4000, 512, 1, 1.0, "float32"),
        _row(2000, 256, 20, 3.0, "float32"),
        _row(1000, 128, 32, 3.0, "float32"),
    ]


def _row(n: int, p: int, features: int, target: float | None, dtype: str) -> Row:
    return Row(
        work=f"logistic probe, {FOLDS} folds, each with a permuted target",
        inputs=readable,
        sizes={"n": n, "p": p, "features": features, "dtype": dtype},
        ours=Contender("reptools", ours),
        peers=(Contender("scikit-learn", scikit_learn, "arrays", target=target),),
        tolerance=0.01,  # an answer at the boundary may fall on either side
        bound="iterations of the solver, each a product with all of x",
    )
