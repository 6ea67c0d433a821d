"""Noise covariance: rsatoolbox's estimates, residuals by least squares, patterns made white."""

from __future__ import annotations

import array_api_strict
import numpy as np
import pytest

from reptools.errors import DataError, StimulusError
from reptools.statistics.rdms.noise import covariance, whiten, without_noise
from reptools.statistics.rdms.trials import (
    Residuals,
    Trials,
    averaged,
    between_runs,
    varying,
    within_cells,
)

ESTIMATES = ("diag", "full", "shrinkage_eye", "shrinkage_diag")


def residuals(values: np.ndarray, degrees: int) -> Residuals:
    return Residuals(values, degrees, np.zeros(values.shape[1]))


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        (
            "full",
            [
                [1.7561060298993103, 1.4148722613857387, 0.5952034082696017],
                [1.4148722613857387, 1.4174584937209251, 0.7130641920479261],
                [0.5952034082696017, 0.7130641920479261, 0.607942704256044],
            ],
        ),
        (
            "shrinkage_eye",
            [
                [1.6653213007805834, 1.1556957952611997, 0.48617397841173565],
                [1.1556957952611997, 1.3887072598398063, 0.582445010049173],
                [0.48617397841173565, 0.582445010049173, 0.7274786672558904],
            ],
        ),
        (
            "shrinkage_diag",
            [
                [1.7561060298993105, 1.2242543242730735, 0.5150149354701853],
                [1.2242543242730735, 1.4174584937209251, 0.6169969858225662],
                [0.5150149354701853, 0.6169969858225662, 0.607942704256044],
            ],
        ),
        ("diag", [1.7561060298993105, 1.4174584937209251, 0.607942704256044]),
    ],
)
def test_values_of_rsatoolbox_0_3_2(how: str, expected: list) -> None:
    # rsatoolbox.data.noise.cov_from_residuals(x, method=how)
    x = np.sin(np.arange(1, 37) ** 1.5).reshape(12, 3) @ np.tri(3)
    estimate = covariance(residuals(x - x.mean(axis=0), 11), how)  # type: ignore[arg-type]
    np.testing.assert_allclose(estimate, expected, rtol=1e-12)


def test_shrinkage_is_never_negative() -> None:
    """Products without any variance: the estimated share of the diagonal is below 0."""
    x = np.array([[1.0, 1.0], [-1.0, -1.0], [1.0, 1.0], [-1.0, -1.0]])
    estimate = covariance(residuals(x, 3), "shrinkage_diag")
    np.testing.assert_allclose(estimate, x.T @ x / 3, rtol=1e-15)


@pytest.mark.parametrize("noise", ["diag", "full", "shrinkage_eye", "shrinkage_diag"])
def test_what_rounding_leaves_within_conditions_is_no_noise(
    rng: np.random.Generator, noise: str
) -> None:
    values = rng.normal(size=(12, 3))
    values[:, 1] = 0.1 * (1 + np.arange(12) // 3)  # one value for each condition
    trials = Trials(values, np.arange(12) // 3, np.zeros(12, int), np.arange(4), np.arange(1))
    left = within_cells(trials)
    assert 0 < np.abs(left.values[:, 1]).max() < 1e-15  # the mean of 0.1, 0.1 and 0.1 is not 0.1
    with pytest.raises(DataError, match="1 of 3 units vary between conditions .* infinite: 1. L"):
        covariance(left, noise)  # type: ignore[arg-type]


def test_a_covariance_whose_factor_is_rounding_has_no_inverse() -> None:
    almost = np.array([[1.0, 1.0], [1.0, 1.0 + 2.0**-52]])
    assert np.linalg.cholesky(almost)[1, 1] > 0
    with pytest.raises(DataError, match="covariance of 2 units has no inverse"):
        whiten(np.eye(2), almost)


def test_shrinkage_by_its_definition(rng: np.random.Generator) -> None:
    x = rng.normal(size=(15, 6)) @ rng.normal(size=(6, 6))
    x -= x.mean(axis=0)
    n, dof = 15, 14
    outer = x[:, :, None] * x[:, None, :]
    sample = outer.mean(axis=0)
    mean = np.trace(sample) / 6
    distance = ((sample - mean * np.eye(6)) ** 2).sum()
    error = min(distance, ((outer - sample) ** 2).sum() / n**2)
    share = error / distance
    expected = (share * mean * np.eye(6) + (1 - share) * sample) * n / dof
    np.testing.assert_allclose(covariance(residuals(x, dof), "shrinkage_eye"), expected, rtol=1e-11)


@pytest.mark.parametrize("how", ESTIMATES)
def test_one_unit_and_two_units_alike(rng: np.random.Generator, how: str) -> None:
    x = rng.normal(size=(9, 1))
    variance = float((x**2).sum()) / 9
    one = covariance(residuals(x, 9), how)  # type: ignore[arg-type]
    np.testing.assert_allclose(one.ravel(), [variance], rtol=1e-12)


@pytest.mark.parametrize("how", ["shrinkage_eye", "shrinkage_diag"])
def test_fewer_trials_than_units_have_an_inverse(rng: np.random.Generator, how: str) -> None:
    x = rng.normal(size=(6, 40))
    white = without_noise(np.eye(40), residuals(x - x.mean(0), 5), how)  # type: ignore[arg-type]
    assert np.isfinite(white).all()


@pytest.mark.parametrize("how", ESTIMATES)
@pytest.mark.parametrize("scale", [1e-150, 1e150])
def test_any_scale_of_residuals(rng: np.random.Generator, how: str, scale: float) -> None:
    x, patterns = rng.normal(size=(12, 4)), rng.normal(size=(3, 4))
    expected = without_noise(patterns, residuals(x, 12), how)  # type: ignore[arg-type]
    scaled = without_noise(patterns * scale, residuals(x * scale, 12), how)  # type: ignore[arg-type]
    np.testing.assert_allclose(scaled, expected, rtol=1e-12)


def test_white_patterns_have_the_products_of_the_inverse(rng: np.random.Generator) -> None:
    torch = pytest.importorskip("torch")
    a = rng.normal(size=(5, 4))
    noise = np.cov(rng.normal(size=(4, 30)))
    expected = a @ np.linalg.inv(noise) @ a.T
    for library in (np, torch, array_api_strict):
        white = np.asarray(whiten(library.asarray(a), library.asarray(noise)))
        np.testing.assert_allclose(white @ white.T, expected, rtol=1e-10)
    variances = np.diag(noise)
    np.testing.assert_allclose(whiten(a, variances), a / np.sqrt(variances))


def test_singular_noise_is_refused(rng: np.random.Generator) -> None:
    x = rng.normal(size=(30, 3))
    x = np.concatenate([x, x[:, :1] + x[:, 1:2]], axis=1)
    with pytest.raises(DataError, match="covariance of 4 units has no inverse: some units"):
        without_noise(x, residuals(x, 30), "full")
    with pytest.raises(DataError, match="covariance of 4 units has no inverse with 3 degrees"):
        without_noise(x, residuals(x[:3], 3), "full")


def trials(values: np.ndarray, condition: list[int], run: list[int]) -> Trials:
    names = [np.unique(codes) for codes in (condition, run)]
    return Trials(values, np.array(condition), np.array(run), *names)


def test_a_unit_without_noise_is_named(rng: np.random.Generator) -> None:
    x = rng.normal(size=(8, 3))
    x[:, 1] = [0.1, 0.1, 0.7, 0.7, 0.1, 0.1, 0.7, 0.7]
    left = within_cells(trials(x, [0, 0, 1, 1] * 2, [0] * 4 + [1] * 4))
    with pytest.raises(DataError, match=r"1 of 3 units vary between conditions.*: 1\."):
        without_noise(x, left, "shrinkage_eye")


def test_nothing_repeated_is_refused(rng: np.random.Generator) -> None:
    left = within_cells(trials(rng.normal(size=(3, 2)), [0, 1, 2], [0, 0, 0]))
    assert left.degrees == 0
    with pytest.raises(StimulusError, match="no condition is repeated, so there is no noise"):
        without_noise(np.eye(2), left, "diag")


@pytest.mark.parametrize("n", [5, 12])  # fewer codes than rows of the most frequent one, and more
def test_averages_of_unequal_numbers(rng: np.random.Generator, n: int) -> None:
    torch = pytest.importorskip("torch")
    x, codes = rng.normal(size=(30, 3)) + 1000, rng.integers(0, n, size=30)
    codes[codes == 3] = 2
    expected = np.array(
        [x[codes == k].mean(0) if (codes == k).any() else np.zeros(3) for k in range(n)]
    )
    for library in (np, torch, array_api_strict):
        means = np.asarray(averaged(library.asarray(x), codes, n))
        np.testing.assert_allclose(means, expected, rtol=1e-14)
    single = averaged(x.astype(np.float32), codes, n)
    assert single.dtype == np.float64
    np.testing.assert_allclose(single, expected, rtol=1e-6)


def test_residuals_within_cells(rng: np.random.Generator) -> None:
    condition, run = [0, 0, 0, 1, 1, 1, 0], [0, 0, 1, 0, 1, 1, 1]
    x = rng.normal(size=(7, 3))
    left = within_cells(trials(x, condition, run))
    expected = []
    for i in range(7):
        same = [j for j in range(7) if (condition[j], run[j]) == (condition[i], run[i])]
        if len(same) > 1:
            expected.append(x[i] - x[same].mean(axis=0))
    np.testing.assert_allclose(left.values, expected, atol=1e-14)
    assert left.degrees == 3


@pytest.mark.parametrize("missing", [[], [3], [0, 7, 9]])
def test_residuals_between_runs_are_least_squares(
    rng: np.random.Generator, missing: list[int]
) -> None:
    kept = np.setdiff1d(np.arange(20), missing)
    condition, run = kept % 5, kept // 5
    x = rng.normal(size=(kept.size, 3)) + 100 * run[:, None]
    design = np.concatenate([np.eye(5)[condition], np.eye(4)[run]], axis=1)
    expected = x - design @ np.linalg.lstsq(design, x, rcond=None)[0]
    left = between_runs(trials(x, condition.tolist(), run.tolist()))
    np.testing.assert_allclose(left.values, expected, atol=1e-11)
    assert left.degrees == kept.size - np.linalg.matrix_rank(design)


def test_units_that_vary() -> None:
    x = np.array([[1.0, 2.0, 3.0], [1.0, 2.0, 4.0]])
    assert varying(x).tolist() == [2]
