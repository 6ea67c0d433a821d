"""rsa: both halves against rsatoolbox, alignment by label, and errors that name the side."""

from __future__ import annotations

import warnings
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
import xarray as xr

from reptools.engine.calling import grid
from reptools.engine.context import Context
from reptools.engine.registry import find
from reptools.errors import DataError, DeadUnitWarning, ParameterError, StimulusError
from reptools.metrics.compare_rdms import compare_rdms
from reptools.metrics.rdm import rdm
from reptools.metrics.rsa import LINEAR, rsa
from tests.conftest import labelled

DISTANCES = ("correlation", "euclidean", "sqeuclidean", "cosine")
COMPARATORS = (
    "pearson",
    "spearman",
    "kendall_tau_a",
    "cosine",
    "kendall_tau_b",
    "rho_a",
    "whitened_cosine",
    "whitened_pearson",
    "bures",
)


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        (
            "correlation",
            (0.0496322568614702, 0.11275314723590588, 2 / 27, 0.6535328576080458),
        ),
        (
            "sqeuclidean",
            (-0.049208653889393425, 0.06841817186644773, 11 / 189, 0.8498547034751606),
        ),
    ],
)
def test_values_of_rsatoolbox_0_3_2(method: str, expected: tuple[float, ...]) -> None:
    x, y = (
        np.sin(f * np.arange(1, 8 * p + 1) ** 1.5).reshape(8, p) + np.arange(p)
        for f, p in ((1.0, 5), (0.7, 4))
    )
    scores = [float(rsa(x, y, rdm=method, compare=compare)) for compare in COMPARATORS[:4]]
    np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize(("method", "compare"), list(product(DISTANCES, COMPARATORS)))
def test_equals_its_two_halves(x: xr.DataArray, y: xr.DataArray, method: Any, compare: str) -> None:
    halves = compare_rdms(rdm(x, method=method), rdm(y, method=method), method=compare)
    whole = rsa(x, y, rdm=method, compare=compare)
    assert float(whole) == pytest.approx(float(halves), abs=1e-14)
    assert float(rsa(x, x, rdm=method, compare=compare)) == pytest.approx(1)


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-10), (np.float32, 1e-6)])
def test_shuffled_stimuli(
    x: xr.DataArray, y: xr.DataArray, rng: np.random.Generator, dtype: type, tolerance: float
) -> None:
    x, y = x.astype(dtype), y.astype(dtype)
    shuffled = y.isel(stimulus=rng.permutation(24))
    for method, compare in product(DISTANCES, COMPARATORS):
        options = {"rdm": method, "compare": compare}
        expected = float(rsa(x, y, **options))
        assert float(rsa(x, shuffled, **options)) == pytest.approx(expected, abs=tolerance)


@pytest.mark.parametrize("method", DISTANCES)
def test_tied_distances_of_shuffled_binary_patterns(rng: np.random.Generator, method: str) -> None:
    """Rounding differs with the order of rows and must not rank equal distances."""
    x = labelled(rng.integers(0, 2, size=(40, 5)) * 0.1 + np.array([0.3, 0.7, 0, 0.1, 0.9]))
    y = labelled(rng.normal(size=(40, 5)))
    for compare in ("spearman", "kendall_tau_a", "kendall_tau_b", "rho_a"):
        scores = []
        for _ in range(5):
            shuffled = x.isel(stimulus=rng.permutation(40))
            scores.append(float(rsa(shuffled, y, rdm=method, compare=compare)))
        assert np.ptp(scores) < 1e-13


@pytest.mark.parametrize("compare", COMPARATORS)
def test_float32_with_a_mean_of_1000(rng: np.random.Generator, compare: str) -> None:
    x, y = ((rng.normal(size=(30, 50)) + 1000).astype(np.float32) for _ in range(2))
    for method in DISTANCES:
        options = {"rdm": method, "compare": compare}
        exact = float(rsa(x.astype(np.float64), y.astype(np.float64), **options))
        tolerance = 1e-6 if compare in LINEAR else 1e-12  # products in float32, or not
        assert float(rsa(x, y, **options)) == pytest.approx(exact, abs=tolerance)


@pytest.mark.parametrize("method", DISTANCES)
def test_large_float32_with_a_mean_of_1000(rng: np.random.Generator, method: str) -> None:
    """Beyond the size from which other metrics take products in float32."""
    x, y = (labelled(rng.normal(size=(120, 2200)) + 1000).astype(np.float32) for _ in range(2))
    for compare in ("spearman", "whitened_cosine"):
        exact = float(rsa(x.astype(float), y.astype(float), rdm=method, compare=compare))
        assert float(rsa(x, y, rdm=method, compare=compare)) == pytest.approx(exact, abs=1e-4)


@pytest.mark.parametrize("compare", COMPARATORS)
def test_tied_distances_of_float32_patterns(rng: np.random.Generator, compare: str) -> None:
    x, y = (rng.integers(0, 2, size=(30, p)).astype(np.float32) * 0.1 for p in (6, 7))
    for method in ("euclidean", "sqeuclidean"):
        options = {"rdm": method, "compare": compare}
        exact = float(rsa(x.astype(np.float64), y.astype(np.float64), **options))
        assert float(rsa(x, y, **options)) == pytest.approx(exact, abs=1e-6)


def test_invariances_of_the_correlation_distance(
    x: xr.DataArray, y: xr.DataArray, rng: np.random.Generator
) -> None:
    changed = x * rng.uniform(0.5, 2, size=(24, 1)) + rng.normal(size=(24, 1))
    assert float(rsa(changed, y)) == pytest.approx(float(rsa(x, y)), abs=1e-12)


def test_steps_are_paired_and_other_dimensions_crossed(rng: np.random.Generator) -> None:
    x, y = (labelled(rng.normal(size=(3, 12, 5))) for _ in range(2))
    paired = rsa(x, y)
    assert paired.dims == ("step",)
    assert paired.step.values.tolist() == [0, 10, 20]
    assert float(paired[1]) == pytest.approx(float(rsa(x[1], y[1])))
    assert rsa(x, y[0]).dims == ("step",)
    crossed = rsa(x, y.rename(step="time"))
    assert crossed.dims == ("step", "time")
    assert float(crossed[0, 2]) == pytest.approx(float(rsa(x[0], y[2])))


@pytest.mark.parametrize("compare", ["spearman", "kendall_tau_a", "whitened_cosine", "bures"])
def test_resolved_in_time_and_across_times(rng: np.random.Generator, compare: str) -> None:
    """Times of both sides are paired; renamed on one side they are crossed. Against a loop."""
    x, y = (labelled(rng.normal(size=(4, 10, p))).rename(step="time") for p in (5, 8))
    options: dict[str, Any] = {"rdm": "sqeuclidean", "compare": compare}
    loop = [[float(rsa(x[s].values, y[t].values, **options)) for t in range(4)] for s in range(4)]
    resolved = rsa(x, y, **options)
    assert resolved.dims == ("time",)
    np.testing.assert_allclose(resolved, np.diagonal(loop), rtol=0, atol=1e-13)
    crossed = rsa(x, y.rename(time="time_"), **options)
    assert crossed.dims == ("time", "time_")
    assert crossed.time_.values.tolist() == [0, 10, 20, 30]
    np.testing.assert_allclose(crossed, loop, rtol=0, atol=1e-13)
    itself = rsa(x, x.rename(time="time_"), **options)
    np.testing.assert_allclose(np.diagonal(itself), 1, atol=1e-12)
    np.testing.assert_allclose(itself, itself.T, rtol=0, atol=1e-13)


def test_times_against_one_model_and_subjects(rng: np.random.Generator) -> None:
    x = labelled(rng.normal(size=(3, 10, 5))).rename(step="time")
    both = xr.concat([x, x + 1.5 * rng.normal(size=x.shape)], dim="subject")
    model = labelled(rng.normal(size=(10, 4)))
    scores = rsa(both, model)
    assert scores.dims == ("subject", "time")
    assert float(scores[1, 2]) == pytest.approx(float(rsa(both[1, 2], model)), abs=1e-14)


@pytest.mark.parametrize("p", [5, 40])
def test_whitened_cosine_of_squared_distances_is_biased_cka(
    rng: np.random.Generator, p: int
) -> None:
    x, y = rng.normal(size=(12, p)), rng.normal(size=(12, 7))
    y[:, :5] += x[:, :5]
    X, Y = x - x.mean(0), y - y.mean(0)
    cka = np.sum((X.T @ Y) ** 2) / (np.linalg.norm(X @ X.T) * np.linalg.norm(Y @ Y.T))
    score = float(rsa(x, y, rdm="sqeuclidean", compare="whitened_cosine"))
    assert score == pytest.approx(cka, abs=1e-13)


@pytest.mark.parametrize("p", [5, 40])
def test_bures_of_squared_distances_is_the_cosine_of_procrustes(
    rng: np.random.Generator, p: int
) -> None:
    x, y = rng.normal(size=(12, p)), rng.normal(size=(12, 7))
    y[:, :5] += x[:, :5]
    X, Y = x - x.mean(0), y - y.mean(0)
    nuclear = np.linalg.svd(X.T @ Y, compute_uv=False).sum()
    expected = nuclear / (np.linalg.norm(X) * np.linalg.norm(Y))
    score = float(rsa(x, y, rdm="sqeuclidean", compare="bures"))
    assert score == pytest.approx(expected, abs=1e-12)  # 2e-8 where roots of rounding are kept


@pytest.mark.parametrize("scale", [1e-200, 1e-150, 1e150, 1e200])
@pytest.mark.parametrize("method", DISTANCES)
def test_extreme_scales(x: xr.DataArray, y: xr.DataArray, method: str, scale: float) -> None:
    expected = float(rsa(x, y, rdm=method))
    assert float(rsa(x * scale, y, rdm=method)) == pytest.approx(expected, abs=1e-12)
    assert float(rsa(x * scale, y / scale, rdm=method)) == pytest.approx(expected, abs=1e-12)


def test_each_side_is_prepared_once_in_a_grid(rng: np.random.Generator) -> None:
    operation, seen = find(rsa), []
    each = operation.plain.each

    def counted(x: Any, /, *, context: Context) -> Any:
        seen.append(x)
        assert each is not None
        return each(x, context=context)

    layers = {f"fc{i}": (rng.normal(size=(10, 4)), f"fc{i}") for i in range(4)}
    counting = replace(operation.plain, each=counted)
    result = grid(operation, counting, operation.defaults, layers, None)
    assert (result.shape, len(seen)) == ((4, 4), 4)


def test_torch_gives_the_numbers_of_numpy(x: xr.DataArray, y: xr.DataArray) -> None:
    torch = pytest.importorskip("torch")
    for method, compare in [*product(DISTANCES, ["pearson"]), *product(["euclidean"], COMPARATORS)]:
        options = {"rdm": method, "compare": compare}
        expected = float(rsa(x.values, y.values, **options))
        on_torch = rsa(torch.tensor(x.values), torch.tensor(y.values), **options)
        assert float(on_torch) == pytest.approx(expected, abs=1e-13)


def test_a_dead_unit_is_counted_and_a_dead_layer_missing(x: xr.DataArray, y: xr.DataArray) -> None:
    x[:, 2] = 0
    with pytest.warns(DeadUnitWarning, match="rsa: x has 1 of 6 units without variance"):
        assert np.isfinite(float(rsa(x, y)))
    y[:] = 3
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeadUnitWarning)
        assert np.isnan(float(rsa(x, y)))


def test_a_pattern_without_variance_names_its_side(x: xr.DataArray, y: xr.DataArray) -> None:
    y[[5, 11]] = 2.0
    shuffled = y.isel(stimulus=slice(None, None, -1))
    with pytest.raises(DataError, match=r"rsa: y: 2 of 24 patterns have.*'s005', 's011'"):
        rsa(x, shuffled)
    assert np.isfinite(float(rsa(x, y, rdm="euclidean")))


def test_equal_distances_have_no_rank(x: xr.DataArray) -> None:
    one_hot = x.isel(unit=0, drop=True).expand_dims(unit=24, axis=1).copy(data=np.eye(24))
    with pytest.raises(DataError, match=r"rsa: y: all 276 distances are 1\.41421, so a spearman"):
        rsa(x, one_hot, rdm="euclidean")


def test_bad_input(x: xr.DataArray, y: xr.DataArray) -> None:
    with pytest.raises(ParameterError, match=r"rsa: rdm must be .*, got 'mahalanobis'"):
        rsa(x, y, rdm="mahalanobis")
    with pytest.raises(ParameterError, match=r"rsa: compare must be .*, got 'kendall'"):
        rsa(x, y, compare="kendall")
    with pytest.raises(ParameterError, match="got 'whiten'"):
        rsa(x, y, prepare="whiten")
    with pytest.raises(StimulusError, match=r"2 only in x \('s022', 's023'\), 0 only in y"):
        rsa(x, y[:-2])
    with pytest.raises(StimulusError, match="y has no stimulus labels"):
        rsa(x, y.values)
    with pytest.raises(StimulusError, match="x: comparing RDMs needs at least 3 stimuli, got 2"):
        rsa(x[:2], y[:2])
    with pytest.raises(StimulusError, match="y has repeated stimulus labels: 's000'"):
        rsa(x, y.assign_coords(stimulus=["s000", *y.stimulus.values[:-1]]))
    y[3, 1] = np.nan
    with pytest.raises(DataError, match="y is not finite for 1 of 24 stimuli"):
        rsa(x, y)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("compare", ["spearman", "pearson", "cosine", "bures"])
@pytest.mark.parametrize("p", [5, 300])
@pytest.mark.parametrize(
    ("method", "mean"), [("correlation", 3), ("correlation", 300), ("cosine", 3)]
)
def test_patterns_of_one_direction_have_no_geometry(
    rng: np.random.Generator, method: str, mean: float, p: int, compare: str, dtype: type
) -> None:
    """Rounding is in proportion to the numbers, and moves what is left without a large mean more."""
    x = np.outer(rng.uniform(0.1, 10, size=40), rng.normal(size=p) + mean).astype(dtype)
    with pytest.raises(DataError, match=f"rsa: x: all 780 distances are 0, so a {compare} .*"):
        rsa(x, rng.normal(size=(40, 4)), rdm=method, compare=compare)
    gap = 100 * np.finfo(dtype).eps * p**0.5
    x[7, 2] *= 1 + gap  # two patterns that are no multiples of the others
    x[8, 1] *= 1 - gap
    distances = rdm(x, method=method).values
    assert distances[7, 9] > 0 and distances[7, 8] > 0
