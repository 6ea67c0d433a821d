"""Scores of answers to test rows, pooled over folds: balanced accuracy and R2."""

from __future__ import annotations

from typing import Any

import numpy as np

Values = np.ndarray[Any, Any]
Codes = np.ndarray[Any, np.dtype[np.intp]]


class Confusion:
    """Counts (true class, answered class) over test rows."""

    def __init__(self, n_classes: int) -> None:
        self.counts = np.zeros((n_classes, n_classes), dtype=np.intp)

    def add(self, truth: Codes, answers: Codes) -> None:
        """Count the answers for some test rows."""
        np.add.at(self.counts, (truth, answers), 1)

    @property
    def balanced(self) -> float:
        """Mean over the tested classes of the share answered rightly."""
        tested = self.counts.sum(axis=1)
        return float((np.diag(self.counts)[tested > 0] / tested[tested > 0]).mean())

    @property
    def accuracy(self) -> float:
        """Share of all test rows answered rightly."""
        return float(np.trace(self.counts) / self.counts.sum())

    @property
    def majority(self) -> float:
        """Share of the most frequent class among the test rows."""
        return float(self.counts.sum(axis=1).max() / self.counts.sum())


class Squares:
    """Residual and total sums of squares over test rows."""

    def __init__(self) -> None:
        self.residual = self.total = 0.0

    def add(self, truth: Values, predicted: Values, mean: Values) -> None:
        """Add some test rows; ``mean`` is that of their fit rows."""
        with np.errstate(over="ignore"):  # of a prediction beyond all bounds
            self.residual += float(((truth - predicted) ** 2).sum())
        self.total += float(((truth - mean) ** 2).sum())

    @property
    def r2(self) -> float:
        """One minus residual over total.

        NaN where the truth does not vary, or a prediction is not finite or has no finite square.
        """
        if self.total <= 0 or not np.isfinite(self.residual):
            return float("nan")
        return 1 - self.residual / self.total
