"""Linear read-outs in closed form, from the centred activations of the fit rows.

Each answers with coefficients (output, unit) and intercepts (output,), solved on the smaller side.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from reptools.arrays import matmul

Values = np.ndarray[Any, Any]
Codes = np.ndarray[Any, np.dtype[np.intp]]
Map = tuple[Values, Values]

ROUNDING = 10 * float(np.finfo(float).eps)  # share of a trace that sums of products cannot resolve


def ridge(x: Values, targets: Sequence[Values], penalties: Sequence[float]) -> list[Map]:
    """Least squares of targets (stimulus, column), each with a penalty on the squared weights.

    The intercept is free. One factorisation serves all targets of one penalty.
    """
    from scipy.linalg import cho_factor, cho_solve

    dual = len(x) < x.shape[1]
    products = matmul(x, x.T) if dual else matmul(x.T, x)
    tiny = ROUNDING * float(np.trace(products)) or 1.0
    found: dict[int, Map] = {}
    for penalty in sorted(set(penalties)):
        same = [number for number, other in enumerate(penalties) if other == penalty]
        y = np.concatenate([targets[number] for number in same], axis=1)
        means = y.mean(axis=0)
        y = y - means
        penalised = products.copy()
        penalised[np.diag_indices_from(penalised)] += penalty + tiny
        factor = cho_factor(penalised, overwrite_a=True, check_finite=False)
        weights = cho_solve(factor, y if dual else matmul(x.T, y), check_finite=False)
        weights = matmul(x.T, weights) if dual else weights
        edges = np.cumsum([0] + [targets[number].shape[1] for number in same])
        for number, (start, stop) in zip(same, pairwise(edges), strict=True):
            found[number] = (weights[:, start:stop].T, means[start:stop])
    return [found[number] for number in range(len(targets))]


def nearest_mean(x: Values, target: Codes) -> Map:
    """The output of a class is largest where the squared distance to its mean is least."""
    means, _, _ = _class_means(x, target)
    return means, -(means**2).sum(axis=1) / 2


def lda(x: Values, target: Codes) -> Map:
    """Linear discriminants of Gaussian classes of one covariance, with its shrinkage estimated.

    Covariance (1 - a) S + a tr(S)/p I, of the residuals about the class means; priors are the
    shares of the classes.
    """
    from scipy.linalg import cho_factor, cho_solve

    means, counts, codes = _class_means(x, target)
    residuals = x - means[codes]
    n, p = x.shape
    dual = n < p
    products = matmul(residuals, residuals.T) if dual else matmul(residuals.T, residuals)
    shrinkage, average = ledoit_wolf(residuals, products)
    # what rounding hides of a covariance without full rank, or of classes without spread
    floor = ROUNDING * float((x**2).sum()) / n or 1.0
    diagonal = max(shrinkage * average, floor)
    if not dual:
        covariance = (1 - shrinkage) / n * products
        covariance[np.diag_indices_from(covariance)] += diagonal
        coefficients = cho_solve(cho_factor(covariance), means.T).T
    elif shrinkage < 1:  # Woodbury's identity
        products[np.diag_indices_from(products)] += n * diagonal / (1 - shrinkage)
        inside = cho_solve(cho_factor(products), matmul(residuals, means.T))
        coefficients = (means - matmul(residuals.T, inside).T) / diagonal
    else:
        coefficients = means / diagonal
    intercepts = np.log(counts / n) - (coefficients * means).sum(axis=1) / 2
    return coefficients, intercepts


def _class_means(x: Values, target: Codes) -> tuple[Values, Values, Codes]:
    """Means (class, unit), counts (class,), and the number of each row's class."""
    _, codes, counts = np.unique(target, return_inverse=True, return_counts=True)
    hits = (np.arange(len(counts))[:, None] == codes).astype(np.float64)
    return matmul(hits, x) / counts[:, None], counts, codes


def ledoit_wolf(residuals: Values, products: Values) -> tuple[float, float]:
    """Share of the identity in the covariance, and the mean variance that scales it.

    ``products`` are those of the residuals (stimulus, unit), over either side.

    References
    ----------
    Ledoit and Wolf (2004), A well-conditioned estimator for large-dimensional covariance
    matrices, Journal of Multivariate Analysis 88: the share is b^2 / d^2 of section 3.2.
    """
    n, p = residuals.shape
    average = float(np.trace(products)) / n / p
    squared = float((products**2).sum()) / n**2  # |S|^2
    noise = (float(((residuals**2).sum(axis=1) ** 2).sum()) / n - squared) / (p * n)
    away = squared / p - average**2  # |S - average I|^2 / p
    noise = min(noise, away)
    return (noise / away if noise > 0 else 0.0), average
