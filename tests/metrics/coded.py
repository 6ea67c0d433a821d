"""Activations with a bit and three shapes, and scikit-learn's counterparts of our methods."""

from __future__ import annotations

import numpy as np
import xarray as xr
from sklearn.covariance import ledoit_wolf
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.neighbors import NearestCentroid
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


def labelled(values, dims=("stimulus", "unit"), **coords):
    n = values.shape[dims.index("stimulus")]
    along = {name: ("stimulus", np.asarray(v)) for name, v in coords.items()}
    stimulus = np.array([f"s{i:04d}" for i in range(n)])
    return xr.DataArray(values, dims=dims, coords={"stimulus": stimulus, **along})


def along(x, features):
    coords = {"stimulus": x.stimulus.values}
    return {
        k: xr.DataArray(v, dims=("stimulus", "component")[: np.ndim(v)], coords=coords, name=k)
        for k, v in features.items()
    }


def planted(n=240, p=12, seed=0, noise=1.0):
    """A bit and three shapes, coded in directions of their own."""
    rng = np.random.default_rng(seed)
    bit, shape = rng.integers(0, 2, n), rng.integers(0, 3, n)
    x = noise * rng.normal(size=(n, p))
    x[:, 0] += 2 * bit
    x[:, 1:4] += 2 * np.eye(3)[shape]
    names = np.array(["ball", "cone", "cube"])[shape]
    return labelled(x), {"bit": bit, "shape": names}


class Lda(LinearDiscriminantAnalysis):
    """With the shrinkage of Ledoit and Wolf, taken within classes."""

    def fit(self, x, y):
        classes, codes = np.unique(y, return_inverse=True)
        means = np.stack([x[y == c].mean(axis=0) for c in classes])
        self.shrinkage = ledoit_wolf(x - means[codes], assume_centered=True)[1]
        return super().fit(x, y)


def by_sklearn(method, C, scaling):
    model = {
        "logistic": LogisticRegression(C=C, max_iter=2000),
        "ridge": RidgeClassifier(alpha=1 / C),
        "lda": Lda(solver="lsqr"),
        "mean_difference": NearestCentroid(),
    }[method]
    return make_pipeline(StandardScaler(with_std=scaling == "zscore"), model)


METHODS = [("logistic", 0.01), ("ridge", 0.01), ("lda", 1.0), ("mean_difference", 1.0)]
