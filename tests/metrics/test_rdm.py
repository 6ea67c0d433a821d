"""rdm: against scipy and rsatoolbox, accurate where the Gram form cancels, labelled."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import array_api_strict
import numpy as np
import pytest
import xarray as xr
from scipy.io import loadmat
from scipy.spatial.distance import pdist, squareform

from reptools.errors import (
    DataError,
    DeadUnitWarning,
    DimensionError,
    ParameterError,
    StimulusError,
)
from reptools.metrics.compare_rdms import compare_rdms
from reptools.metrics.rdm import rdm
from reptools.statistics.prepare import zscore
from reptools.statistics.rdms import distances
from tests.conftest import labelled
from tests.shared_data import shared

METHODS = ("correlation", "euclidean", "sqeuclidean", "cosine")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shape", [(30, 7), (7, 30), (2, 4)])
def test_against_scipy(rng: np.random.Generator, method: str, shape: tuple[int, int]) -> None:
    x = rng.normal(size=shape) + 2
    result = rdm(x, method=method)
    np.testing.assert_allclose(result.values, squareform(pdist(x, method)), rtol=1e-11, atol=1e-14)
    assert (result.values == result.values.T).all()
    assert (np.diag(result.values) == 0).all()


@pytest.mark.parametrize(
    ("method", "row"),
    [
        (
            "correlation",
            [0.06743295, 0.17848727, 0.18791288, 0.32968577, 0.38286194, 0.3722081, 0.53595954],
        ),
        (  # rsatoolbox calls it "euclidean" and divides by the 5 units
            "sqeuclidean",
            [1.89675612, 9.35013323, 7.12290581, 4.31005806, 6.95048204, 7.30236194, 12.83647667],
        ),
    ],
)
def test_values_of_rsatoolbox_0_3_2(method: str, row: list[float]) -> None:
    x = np.sin(np.arange(1, 41) ** 1.5).reshape(8, 5) + np.arange(5)
    np.testing.assert_allclose(rdm(x, method=method).values[0, 1:], row, atol=6e-9)


@pytest.mark.parametrize("method", METHODS)
def test_float32_with_a_mean_of_1000(rng: np.random.Generator, method: str) -> None:
    x = (rng.normal(size=(40, 60)) + 1000).astype(np.float32)
    exact = squareform(pdist(x.astype(np.float64), method))
    np.testing.assert_allclose(rdm(x, method=method).values, exact, rtol=1e-7)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("block", [distances.BLOCK, 16])
def test_patterns_that_nearly_coincide(
    rng: np.random.Generator,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    block: int,
    dtype: type,
) -> None:
    monkeypatch.setattr(distances, "BLOCK", block)
    centres = rng.normal(size=(3, 12))
    x = np.repeat(centres, 4, axis=0) + 1e-6 * rng.normal(size=(12, 12))
    x[1] = x[0]
    x = x.astype(dtype)
    result = rdm(x, method=method).values
    # kernels may round the norms of equal rows apart, by where they lie
    assert result[0, 1] <= (0 if "euclidean" in method else 1e-30)
    assert (result == result.T).all()
    # scipy computes 1 - r for these two, and loses the digits
    tolerance = 1e-14 if method in ("correlation", "cosine") else 0
    exact = squareform(pdist(x.astype(np.float64), method))
    relative = 1e-7 if dtype is np.float64 else 2e-6
    np.testing.assert_allclose(result, exact, rtol=relative, atol=tolerance)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("share", [0.5, 1e-1, 1e-2, 1e-3])
def test_float32_patterns_around_a_common_one(
    rng: np.random.Generator, method: str, share: float
) -> None:
    """From spread to nearly parallel: whichever way a distance is computed, 1e-4 relative."""
    x = (rng.normal(size=50) + share * rng.normal(size=(40, 50))).astype(np.float32)
    x[::7] += np.float32(0.01 * share) * rng.normal(size=50).astype(np.float32)
    exact = squareform(pdist(x.astype(np.float64), method))
    np.testing.assert_allclose(rdm(x, method=method).values, exact, rtol=5e-6, atol=1e-14)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("n", [15, 16, 17, 33])
def test_tiles_meet(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch, n: int, method: str, dtype: type
) -> None:
    monkeypatch.setattr(distances, "TILE", 8)
    monkeypatch.setattr(distances, "CACHED", 20)
    x = (rng.normal(size=(n, 6)) + 1).astype(dtype)
    x[9] = x[2]  # a close pair off the diagonal
    expected = pdist(x.astype(np.float64), method)
    tolerance = (
        {"rtol": 1e-11, "atol": 1e-14} if dtype is np.float64 else {"rtol": 1e-5, "atol": 1e-14}
    )
    square = distances.square(x, method)  # type: ignore[arg-type]
    np.testing.assert_allclose(square, squareform(expected), **tolerance)
    assert (square == square.T).all()
    np.testing.assert_array_equal(distances.condensed(x, method), squareform(square))  # type: ignore[arg-type]


def test_tiles_cover_all_rows_and_avoid_sizes_that_share_cache_lines() -> None:
    for n in (2, 271, 272, 273, 512, 1000, 1024, 2048):
        rows = list(distances.tiles(n))
        assert np.array_equal(np.concatenate([np.arange(n)[part] for part in rows]), np.arange(n))
        assert n < 64 or (rows[0].stop - rows[0].start) % 64


def test_ranges_that_overflow_a_square() -> None:
    x = np.array([[1.0, 2.0, 4.0], [2.0, 4.0, 9.0], [3.0, 1.0, 1.0]])
    for scale in (1e200, 1e-200):
        for method in ("correlation", "cosine"):
            scaled = rdm(x * scale, method=method).values
            np.testing.assert_allclose(scaled, rdm(x, method=method).values, rtol=1e-12)
        scaled = rdm(x * scale, method="euclidean").values
        expected = rdm(x, method="euclidean").values * scale
        np.testing.assert_allclose(scaled, expected, rtol=1e-12)
        with pytest.raises(
            DataError, match="rdm: x: its patterns differ by up to .*outside float64"
        ):
            rdm(x * scale, method="sqeuclidean")
    with pytest.raises(DataError, match="outside float64"):  # (2.4e154)^2, of 1.2e154 either way
        rdm(np.array([[1.2e154, 0.0], [-1.2e154, 0.0], [0.0, 1.0]]), method="sqeuclidean")
    for scale in (1e150, 1e-150):
        scaled = rdm(x * scale, method="sqeuclidean").values
        expected = rdm(x, method="sqeuclidean").values * scale**2
        np.testing.assert_allclose(scaled, expected, rtol=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_the_ends_of_float32(rng: np.random.Generator, method: str) -> None:
    x = rng.normal(size=(12, 9))
    for scale in (1e37, 1e-30):
        small = (x * scale).astype(np.float32)
        exact = squareform(pdist(small.astype(np.float64), method))
        np.testing.assert_allclose(rdm(small, method=method).values, exact, rtol=3e-6)


def test_patterns_that_are_all_the_same() -> None:
    x = np.tile([1.0, 2.0, 4.0], (3, 1))
    x[:, 0] = [1.0, 1.0, 1.0]
    for method in METHODS:
        found = distances.square(x, method)  # type: ignore[arg-type]
        # where norms are divided by, kernels may round those of equal rows apart, by where they lie
        assert (found <= (0 if "euclidean" in method else 1e-30)).all()


def test_trials_of_a_condition_are_averaged(rng: np.random.Generator) -> None:
    x = labelled(rng.normal(size=(10, 5))).assign_coords(
        picture=("stimulus", ["b", "a", "c", "b", "b", "a", "c", "c", "c", "a"])
    )
    means = np.stack([x.values[(x.picture == name).values].mean(axis=0) for name in "abc"])
    for method in METHODS:
        result = rdm(x, method=method, condition="picture")
        assert result.stimulus.values.tolist() == result.stimulus_.values.tolist() == list("abc")
        expected = squareform(pdist(means, method))
        np.testing.assert_allclose(result.values, expected, rtol=1e-11, atol=1e-14)
    assert result.attrs["n_conditions"] == 3
    flat = x.copy()
    flat[(x.picture == "b").values] = 0.5
    with pytest.raises(DataError, match="1 of 3 patterns have no variance.*'b'"):
        rdm(flat, condition="picture")


def test_printed_values_of_simulated_patterns() -> None:
    patterns = loadmat(shared("kriegeskorte92/simTruePatterns.mat"))["simTruePatterns2"]
    row = rdm(patterns, method="sqeuclidean").values[0, 1:] / patterns.shape[1]
    # printed in the notebook of rsatoolbox' demo 92imageData
    np.testing.assert_allclose(row[:2], [1.79168033, 1.79025977], atol=5e-9)
    np.testing.assert_allclose(row[-3:], [2.34585297, 2.34306615, 2.37794181], atol=5e-9)


@pytest.mark.parametrize("method", METHODS)
def test_patterns_of_scale_1e16(method: str) -> None:
    patterns = loadmat(shared("kriegeskorte92/simTruePatterns.mat"))["simTruePatterns"]
    assert np.abs(patterns).max() > 1e15
    expected = squareform(pdist(patterns, method))
    np.testing.assert_allclose(rdm(patterns, method=method).values, expected, rtol=1e-9)


def test_zero_variance_patterns_are_counted_and_named(x: xr.DataArray) -> None:
    x[[4, 9], :] = 0.1  # the mean of equal numbers may differ from them in the last digit
    with pytest.raises(DataError, match=r"rdm: x: 2 of 24 patterns have no var.*'s004', 's009'\."):
        rdm(x)
    assert np.isfinite(rdm(x, method="euclidean").values).all()
    with pytest.raises(DataError, match=r"2 of 24 patterns.*: 4, 9\."):
        rdm(x.values)


def test_zero_patterns_have_no_cosine(x: xr.DataArray) -> None:
    x[3, :] = 0
    with pytest.raises(DataError, match=r"1 of 24 patterns are all zero.*'s003'"):
        rdm(x, method="cosine")


def test_one_unit_has_no_correlation_distance(rng: np.random.Generator) -> None:
    with pytest.raises(DataError, match="5 of 5 patterns have no variance"):
        rdm(rng.normal(size=(5, 1)))


def test_labels_outer_dimensions_and_attributes(rng: np.random.Generator) -> None:
    x = labelled(rng.normal(size=(3, 10, 5))).assign_coords(split=("stimulus", list("ab") * 5))
    result = rdm(x.transpose("stimulus", "step", "unit"))
    assert (result.name, result.dims) == ("rdm", ("step", "stimulus", "stimulus_"))
    assert result.step.values.tolist() == [0, 10, 20]
    assert result.stimulus.values.tolist() == result.stimulus_.values.tolist()
    assert result.split.dims == ("stimulus",)
    np.testing.assert_allclose(result.sel(step=10).values, rdm(x.sel(step=10)).values, rtol=1e-12)
    attrs = result.attrs
    assert (attrs["distance"], attrs["squared"], attrs["divided_by_p"]) == ("correlation", 0, 0)
    assert (attrs["n_stimuli"], attrs["n_units"]) == (10, 5)
    assert rdm(x, method="sqeuclidean").attrs["squared"] == 1


def test_the_refused_step_is_named(rng: np.random.Generator) -> None:
    x = labelled(rng.normal(size=(3, 10, 5)))
    x[2, 7] = 1.0
    with pytest.raises(DataError, match=r"rdm: x at step=20: 1 of 10 patterns.*'s007'"):
        rdm(x)


def test_a_result_can_be_written(x: xr.DataArray, tmp_path: Path) -> None:
    result = rdm(x)
    result.to_netcdf(tmp_path / "rdm.nc", engine="h5netcdf")
    with xr.open_dataarray(tmp_path / "rdm.nc", engine="h5netcdf") as again:
        xr.testing.assert_equal(again.load(), result)
        assert again.attrs["distance"] == "correlation"


def test_shuffled_stimuli_give_the_shuffled_rdm(x: xr.DataArray, rng: np.random.Generator) -> None:
    order = rng.permutation(24)
    again = rdm(x.isel(stimulus=order)).sel(stimulus=x.stimulus, stimulus_=x.stimulus.values)
    np.testing.assert_allclose(again.values, rdm(x).values, rtol=0, atol=1e-14)


def test_prepare_comes_first(x: xr.DataArray) -> None:
    np.testing.assert_allclose(rdm(x, prepare="zscore").values, rdm(zscore(x.values)).values)
    assert '"prepare": ["zscore"]' in rdm(x, prepare="zscore").attrs["params"]


def test_a_constant_unit_is_zero_after_zscore(rng: np.random.Generator) -> None:
    x = rng.normal(size=(1000, 3))
    x[:, 1] = 0.1  # its mean over 1000 stimuli is not 0.1 in floating point
    assert (zscore(x)[:, 1] == 0).all()


def test_a_dead_layer_is_missing_at_its_step_only(rng: np.random.Generator) -> None:
    x = labelled(rng.normal(size=(2, 6, 4)))
    x[0] = 0
    with pytest.warns(DeadUnitWarning, match="x has 4 of 4 units without variance"):
        result = rdm(x)
    assert np.isnan(result.values[0]).all()
    assert np.isfinite(result.values[1]).all()


@pytest.mark.parametrize("method", METHODS)
def test_other_array_libraries(rng: np.random.Generator, method: str) -> None:
    torch = pytest.importorskip("torch")
    x = rng.normal(size=(15, 8))
    x[3] = x[7]
    expected = rdm(x, method=method).values
    on_torch = rdm(torch.from_numpy(x), method=method).values
    np.testing.assert_allclose(on_torch, expected, rtol=1e-12, atol=1e-14)
    assert (on_torch == on_torch.T).all()
    single = rdm(torch.from_numpy(x.astype(np.float32)), method=method).values
    np.testing.assert_allclose(single, expected, rtol=1e-5, atol=1e-14)
    strict = distances.condensed(array_api_strict.asarray(x), method)
    np.testing.assert_allclose(squareform(np.asarray(strict)), expected, rtol=1e-12, atol=1e-14)


def test_bad_input(x: xr.DataArray) -> None:
    with pytest.raises(ParameterError, match=r"rdm: method must be .*, got 'manhattan'"):
        rdm(x, method="manhattan")  # type: ignore[arg-type]
    with pytest.raises(ParameterError, match="got 'zscor'"):
        rdm(x, prepare="zscor")
    with pytest.raises(DimensionError, match=re.escape("shape (5,)")):
        rdm(np.arange(5.0))
    with pytest.raises(StimulusError, match="at least 2 stimuli, got 1"):
        distances.condensed(np.ones((1, 4)))
    with pytest.raises(StimulusError, match="repeated stimulus labels: 's000'"):
        rdm(x.assign_coords(stimulus=["s000", *x.stimulus.values[:-1]]))
    x[2, 1] = np.nan
    with pytest.raises(DataError, match="not finite for 1 of 24 stimuli"):
        rdm(x)


def test_no_warning_on_plain_data(x: xr.DataArray) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for method in METHODS:
            rdm(x, method=method)  # type: ignore[arg-type]


def test_equal_distances_of_float32_stay_ties(rng: np.random.Generator) -> None:
    """Binary patterns over many units: float32 products ordered equal distances by rounding."""
    x, y = (rng.integers(0, 2, size=(60, 130)).astype(np.float32) for _ in range(2))
    for method in ("kendall_tau_a", "spearman"):
        single = compare_rdms(rdm(x, method="sqeuclidean"), rdm(y), method=method)
        double = compare_rdms(
            rdm(x.astype(np.float64), method="sqeuclidean"),
            rdm(y.astype(np.float64)),
            method=method,
        )
        assert float(single) == pytest.approx(float(double), abs=1e-12)
