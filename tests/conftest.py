"""Small labelled data that many tests read."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

pytest.register_assert_rewrite("tests.laws")  # so that a law that fails shows its values


def labelled(values: np.ndarray, *, prefix: str = "s", **coords: object) -> xr.DataArray:
    """An activation array ([step,] stimulus, unit) with string labels."""
    dims = ("step", "stimulus", "unit")[-values.ndim :]
    n = values.shape[dims.index("stimulus")]
    stimulus = [f"{prefix}{i:03d}" for i in range(n)]
    steps = {"step": np.arange(values.shape[0]) * 10} if values.ndim == 3 else {}
    return xr.DataArray(values, dims=dims, coords={"stimulus": stimulus, **steps, **coords})


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20260)


@pytest.fixture
def x(rng: np.random.Generator) -> xr.DataArray:
    return labelled(rng.normal(size=(24, 6)))


@pytest.fixture
def y(rng: np.random.Generator) -> xr.DataArray:
    return labelled(rng.normal(size=(24, 4)))
