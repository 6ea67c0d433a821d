"""Activations with planted features, and what scikit-learn 1.9.1 makes of them."""

from __future__ import annotations

import numpy as np
import xarray as xr
from sklearn.linear_model import LinearRegression

from reptools.statistics.folds import Sampling


def activations(values, **coords):
    labels = np.array([f"s{i:04d}" for i in range(len(values))])
    along = {name: ("stimulus", np.asarray(v)) for name, v in coords.items()}
    return xr.DataArray(
        values, dims=("stimulus", "unit"), coords={"stimulus": labels, **along}, name="fc"
    )


def feature(values, x, kind=None):
    values = np.asarray(values)
    dims = ("stimulus", "component")[: values.ndim]
    attrs = {} if kind is None else {"kind": kind}
    return xr.DataArray(values, dims=dims, coords={"stimulus": x.stimulus.values}, attrs=attrs)


def planted(n=240, p=30, seed=0):
    """Activations with a strong and a weak bit, three classes and a 2-d amount."""
    rng = np.random.default_rng(seed)
    easy, hard = rng.integers(0, 2, (2, n))
    shape, place = rng.integers(0, 3, n), rng.normal(size=(n, 2))
    noise = rng.normal(size=(n, p)) * rng.uniform(0.5, 2, p)
    x = noise + 2 * np.outer(easy, rng.normal(size=p)) + 0.7 * np.outer(hard, rng.normal(size=p))
    x += rng.normal(size=(3, p))[shape] + place @ rng.normal(size=(2, p))
    x = activations(x + rng.normal(size=p))
    features = {
        "easy": feature(easy, x),
        "hard": feature(hard, x),
        "shape": feature(np.array(["cube", "ball", "cone"])[shape], x),
        "place": feature(place, x),
        "independent": feature(rng.integers(0, 2, n), x),
    }
    return x, features


def columns(values):
    """Design matrix by hand: one-hot with the first level dropped, or the components."""
    if values.dtype.kind == "f":
        return values.reshape(len(values), -1)
    return (values[:, None] == np.unique(values)[1:]).astype(float)


def folds_of(x, cv, seed=0, **coords):
    return Sampling(cv, seed, x.stimulus.values, **coords).folds()


def by_sklearn(x, values, folds):
    """Residual and total of every test stimulus and unit, from LinearRegression."""
    design, x = columns(values), np.asarray(x, dtype=float)
    residual, total = [], []
    for fit, test in folds:
        model = LinearRegression().fit(design[fit], x[fit])
        residual.append(x[test] - model.predict(design[test]))
        total.append(x[test] - x[fit].mean(axis=0))
    return np.concatenate(residual), np.concatenate(total)


def time_course():
    x, features = planted()
    growing = xr.concat([x * 0.5, x + features["easy"], x * 2], dim="step")
    return growing.assign_coords(step=[0, 10, 20]), features
