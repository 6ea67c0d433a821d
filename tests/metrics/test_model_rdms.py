"""Partial and regression RSA: residuals, scipy, brute force over subsets of models."""

from __future__ import annotations

import re
from itertools import combinations
from typing import Any

import numpy as np
import pytest
import xarray as xr
from scipy.optimize import nnls
from scipy.spatial.distance import pdist, squareform
from scipy.stats import pearsonr, rankdata

from reptools.errors import DataError, DimensionError, ParameterError, StimulusError
from reptools.metrics.compare_rdms import compare_rdms
from reptools.metrics.partial_rsa import partial_rsa
from reptools.metrics.regression_rsa import regression_rsa
from reptools.metrics.variance_partition_rsa import variance_partition_rsa
from reptools.statistics.rdms.model_fits import reduced

N = 10
NAMES = ("shape", "colour", "place")
METRICS = (partial_rsa, regression_rsa, variance_partition_rsa)


@pytest.fixture
def models(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Three related model RDMs, the last one with ties."""
    first = pdist(rng.normal(size=(N, 6)), "sqeuclidean")
    second = first + 2 * pdist(rng.normal(size=(N, 4)), "sqeuclidean")
    groups = squareform((np.arange(N)[:, None] % 2 != np.arange(N) % 2).astype(float))
    return dict(zip(NAMES, (first, second, groups), strict=True))


@pytest.fixture
def rdm(models: dict[str, np.ndarray], rng: np.random.Generator) -> np.ndarray:
    return models["shape"] + models["colour"] + 5 * models["place"] + 8 * rng.uniform(size=45)


def residual(values: np.ndarray, others: list[np.ndarray]) -> np.ndarray:
    design = np.stack([np.ones_like(values), *others], axis=1)
    return values - design @ np.linalg.lstsq(design, values, rcond=None)[0]


def r2(y: np.ndarray, others: list[np.ndarray], nonnegative: bool = False) -> float:
    centred = y - y.mean()
    if not others:
        return 0.0
    if nonnegative:
        design = np.stack([v - v.mean() for v in others], axis=1)
        left = nnls(design, centred)[1] ** 2
    else:
        left = float((residual(y, others) ** 2).sum())
    return float(1 - left / (centred @ centred))


# --- partial ------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["pearson", "spearman"])
def test_partial_correlation_is_that_of_residuals(
    rdm: np.ndarray, models: dict[str, np.ndarray], method: str
) -> None:
    scores = partial_rsa(rdm, models, method=method)
    assert scores.model.values.tolist() == list(NAMES)
    transform = rankdata if method == "spearman" else np.asarray
    y, columns = transform(rdm), [transform(model) for model in models.values()]
    for i, name in enumerate(NAMES):
        others = [column for j, column in enumerate(columns) if j != i]
        expected = pearsonr(residual(y, others), residual(columns[i], others)).statistic
        assert float(scores.sel(model=name)) == pytest.approx(expected, abs=1e-12)
        plain = pearsonr(y, columns[i]).statistic
        assert float(scores.correlation.sel(model=name)) == pytest.approx(plain, abs=1e-12)


@pytest.mark.parametrize("method", ["pearson", "spearman", "whitened_pearson"])
def test_partial_of_one_model_is_compare_rdms(
    rdm: np.ndarray, models: dict[str, np.ndarray], method: str
) -> None:
    score = partial_rsa(rdm, {"shape": models["shape"]}, method=method)
    expected = float(compare_rdms(rdm, models["shape"], method=method))
    assert float(score[0]) == pytest.approx(expected, abs=1e-13)


def root_of_whitening() -> np.ndarray:
    """R' R is the inverse covariance of distances under pure noise (Diedrichsen et al. 2021)."""
    contrasts = np.zeros((45, N))
    for row, (i, j) in enumerate(combinations(range(N), 2)):
        contrasts[row, [i, j]] = 1, -1
    return np.linalg.cholesky(np.linalg.inv((contrasts @ contrasts.T) ** 2)).T


def test_whitened_partial_correlation_is_that_of_white_residuals(
    rdm: np.ndarray, models: dict[str, np.ndarray]
) -> None:
    y, *columns = (root_of_whitening() @ (v - v.mean()) for v in (rdm, *models.values()))
    scores = partial_rsa(rdm, models, method="whitened_pearson")
    for i in range(3):
        others = np.stack(columns[:i] + columns[i + 1 :], axis=1)
        a, b = (v - others @ np.linalg.lstsq(others, v, rcond=None)[0] for v in (y, columns[i]))
        expected = a @ b / np.sqrt((a @ a) * (b @ b))
        assert float(scores[i]) == pytest.approx(expected, abs=1e-12)


def test_partial_of_a_mediated_model_vanishes() -> None:
    """x -> y -> z: x says nothing of z beyond y, though they correlate."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=19900)
    y = x + rng.normal(size=19900)
    z = y + rng.normal(size=19900)
    scores = partial_rsa(z, {"x": x, "y": y}, method="pearson")
    assert float(scores.correlation.sel(model="x")) > 0.5
    assert abs(float(scores.sel(model="x"))) < 0.03
    assert float(scores.sel(model="y")) > 0.5


def test_a_perfect_fit_is_refused_where_nothing_is_left(models: dict[str, np.ndarray]) -> None:
    with pytest.raises(DataError, match="partial_rsa: rdm: the other models reproduce it to"):
        partial_rsa(models["shape"], models, method="pearson")
    both = 2 * models["shape"] + models["colour"]
    scores = partial_rsa(both, {k: models[k] for k in ("shape", "colour")}, method="pearson")
    np.testing.assert_allclose(scores, 1, atol=1e-12)


# --- regression ---------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["linear", "rank"])
@pytest.mark.parametrize("nonnegative", [False, True])
def test_regression_by_brute_force(
    rdm: np.ndarray, models: dict[str, np.ndarray], method: str, nonnegative: bool
) -> None:
    models = {**models, "against": -models["shape"] + 20 * np.sin(np.arange(45.0))}
    scores = regression_rsa(rdm, models, method=method, nonnegative=nonnegative)
    transform = rankdata if method == "rank" else np.asarray
    columns = [transform(model) for model in models.values()]
    y = transform(rdm)
    standard = [(v - v.mean()) / v.std() for v in columns]
    target = (y - y.mean()) / y.std()
    if nonnegative:
        expected = nnls(np.stack(standard, axis=1), target)[0]
        assert (expected == 0).any()  # the constraint matters here
    else:
        expected = np.linalg.lstsq(np.stack(standard, axis=1), target, rcond=None)[0]
    np.testing.assert_allclose(scores, expected, atol=1e-12)
    whole = r2(y, columns, nonnegative)
    assert float(scores.r2) == pytest.approx(whole, abs=1e-12)
    for i in range(4):
        without = r2(y, columns[:i] + columns[i + 1 :], nonnegative)
        assert float(scores.unique_r2[i]) == pytest.approx(whole - without, abs=1e-12)
    total = float(scores.unique_r2.sum() + scores.shared_r2)
    assert total == pytest.approx(float(scores.r2), abs=1e-14)


def test_whitened_regression_is_generalised_least_squares(
    rdm: np.ndarray, models: dict[str, np.ndarray]
) -> None:
    contrasts = np.zeros((45, N))
    for row, (i, j) in enumerate(combinations(range(N), 2)):
        contrasts[row, [i, j]] = 1, -1
    inverse = np.linalg.inv((contrasts @ contrasts.T) ** 2)
    vectors = [v - v.mean() for v in (rdm, *models.values())]
    y, *columns = [v / np.sqrt(v @ inverse @ v) for v in vectors]
    X = np.stack(columns, axis=1)
    expected = np.linalg.solve(X.T @ inverse @ X, X.T @ inverse @ y)
    scores = regression_rsa(rdm, models, method="whitened")
    np.testing.assert_allclose(scores, expected, atol=1e-12)
    assert float(scores.r2) == pytest.approx(float(expected @ X.T @ inverse @ y), abs=1e-12)


def test_one_model_explains_its_squared_correlation(
    rdm: np.ndarray, models: dict[str, np.ndarray]
) -> None:
    scores = regression_rsa(rdm, [models["place"]])
    r = pearsonr(rdm, models["place"]).statistic
    found = [float(v) for v in (scores[0], scores.r2, scores.unique_r2[0], scores.shared_r2)]
    np.testing.assert_allclose(found, [r, r**2, r**2, 0], atol=1e-14)


# --- partition ----------------------------------------------------------------------------------


@pytest.mark.parametrize("nonnegative", [False, True])
def test_parts_by_brute_force_sum_to_r2(
    rdm: np.ndarray, models: dict[str, np.ndarray], nonnegative: bool
) -> None:
    parts = variance_partition_rsa(rdm, models, nonnegative=nonnegative)
    assert parts.dims == ("part",) and parts.sizes["part"] == 7
    a, b, c = models.values()
    R = {
        subset: r2(rdm, [m for m, used in zip((a, b, c), subset, strict=True) if used], nonnegative)
        for subset in np.ndindex(2, 2, 2)
    }
    by_label = {str(k): float(v) for k, v in zip(parts.part.values, parts.values, strict=True)}
    first, *_ = by_label  # named by the engine, or numbered
    assert by_label[first] == pytest.approx(R[1, 1, 1] - R[0, 1, 1], abs=1e-12)
    only_two = R[1, 0, 1] + R[0, 1, 1] - R[0, 0, 1] - R[1, 1, 1]
    pair = next(k for k in by_label if k.count("+") == 1)
    assert by_label[pair] == pytest.approx(only_two, abs=1e-12)
    everyone = (
        R[1, 0, 0] + R[0, 1, 0] + R[0, 0, 1] + R[1, 1, 1] - R[1, 1, 0] - R[1, 0, 1] - R[0, 1, 1]
    )
    all_three = next(k for k in by_label if k.count("+") == 2)
    assert by_label[all_three] == pytest.approx(everyone, abs=1e-12)
    assert float(parts.sum()) == pytest.approx(R[1, 1, 1], abs=1e-12)
    assert float(parts.r2) == pytest.approx(R[1, 1, 1], abs=1e-12)


@pytest.mark.parametrize("method", ["rank", "whitened"])
def test_parts_of_ranks_and_of_white_distances(
    rdm: np.ndarray, models: dict[str, np.ndarray], method: str
) -> None:
    """Two models: three R2 without an intercept, since all vectors are centred first."""
    vectors = [rdm, models["shape"], models["place"]]
    vectors = [rankdata(v) for v in vectors] if method == "rank" else vectors
    root = np.eye(45) if method == "rank" else root_of_whitening()
    y, a, b = (root @ (v - v.mean()) for v in vectors)

    def explained(*others: np.ndarray) -> float:
        design = np.stack(others, axis=1)
        left = y - design @ np.linalg.lstsq(design, y, rcond=None)[0]
        return float(1 - left @ left / (y @ y))

    expected = [explained(a, b) - explained(b), explained(a, b) - explained(a)]
    expected.append(explained(a) + explained(b) - explained(a, b))
    chosen = {name: models[name] for name in ("shape", "place")}
    parts = variance_partition_rsa(rdm, chosen, method=method)
    np.testing.assert_allclose(parts, expected, atol=1e-12)
    assert float(parts.r2) == pytest.approx(explained(a, b), abs=1e-12)


def test_suppression_is_a_negative_shared_part(rng: np.random.Generator) -> None:
    signal, noise = rng.normal(size=(2, 1225))
    models = {"noisy": signal + noise, "noise": noise}
    parts = variance_partition_rsa(signal, models)
    assert float(parts[2]) < -0.3
    assert float(parts.sum()) == pytest.approx(1, abs=1e-12)
    assert float(regression_rsa(signal, models).shared_r2) == pytest.approx(float(parts[2]))


def test_too_many_models_to_partition(rng: np.random.Generator) -> None:
    rdm, *models = (rng.uniform(size=66) for _ in range(12))
    with pytest.raises(ParameterError, match="11 models have 2047 parts. Pass at most 10"):
        variance_partition_rsa(rdm, models)


# --- all three ----------------------------------------------------------------------------------


def labelled(vector: np.ndarray) -> xr.DataArray:
    stimulus = [f"s{i}" for i in range(N)]
    coords = {"stimulus": stimulus, "stimulus_": stimulus}
    return xr.DataArray(squareform(vector), dims=("stimulus", "stimulus_"), coords=coords)


@pytest.mark.parametrize("metric", METRICS)
def test_time_is_kept_and_models_are_lined_up_by_label(
    metric: Any, rdm: np.ndarray, models: dict[str, np.ndarray], rng: np.random.Generator
) -> None:
    times = xr.concat([labelled(rdm), labelled(rdm + 5 * rng.uniform(size=45))], dim="time")
    times = times.assign_coords(time=[0.1, 0.2])
    order = rng.permutation(N)
    shuffled = {
        name: labelled(model).isel(stimulus=order, stimulus_=order)
        for name, model in models.items()
    }
    scores = metric(times, shuffled)
    assert scores.dims[0] == "time" and scores.time.values.tolist() == [0.1, 0.2]
    np.testing.assert_allclose(scores[0], metric(rdm, models), atol=1e-12)
    np.testing.assert_allclose(scores[1], metric(times[1], shuffled), atol=1e-12)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_extreme_scales_and_float32(
    metric: Any, rdm: np.ndarray, models: dict[str, np.ndarray], scale: float
) -> None:
    scaled = {name: model / scale for name, model in models.items()}
    np.testing.assert_allclose(metric(rdm * scale, scaled), metric(rdm, models), atol=1e-11)
    single = [(v + 1000).astype(np.float32) for v in (rdm, *models.values())]
    double = [v.astype(np.float64) for v in single]
    np.testing.assert_array_equal(
        metric(single[0], single[1:]).values, metric(double[0], double[1:]).values
    )


@pytest.mark.parametrize("metric", METRICS)
def test_collinear_models_are_refused(
    metric: Any, rdm: np.ndarray, models: dict[str, np.ndarray]
) -> None:
    summed = {**models, "sum": models["shape"] + 2 * models["place"]}
    with pytest.raises(DataError, match=f"{metric.__name__}: rdm: models .* are collinear"):
        metric(rdm, summed, method={"partial_rsa": "pearson"}.get(metric.__name__, "linear"))


def test_models_are_called_by_name_or_by_number(
    rdm: np.ndarray, models: dict[str, np.ndarray]
) -> None:
    assert partial_rsa(rdm, models).model.values.tolist() == list(NAMES)
    vectors = list(models.values())
    assert partial_rsa(rdm, vectors).model.values.tolist() == ["0", "1", "2"]
    parts = ["0", "1", "2", "0+1", "0+2", "1+2", "0+1+2"]
    assert sorted(variance_partition_rsa(rdm, vectors).part.values) == sorted(parts)


def test_messages_name_the_models_involved_alone(
    rdm: np.ndarray, models: dict[str, np.ndarray]
) -> None:
    vectors = [*models.values(), models["shape"] + 2 * models["place"]]
    unit = [(v - v.mean()) / np.linalg.norm(v - v.mean()) for v in vectors]
    with pytest.raises(DataError, match="^models 'shape', 'place', 'sum' are collinear"):
        reduced(rdm, unit, [*NAMES, "sum"])
    flat = [unit[0], 0 * unit[1]]
    with pytest.raises(DataError, match="^model 'colour' has one value for all pairs"):
        reduced(rdm, flat, NAMES[:2])
    with pytest.raises(StimulusError, match="3 distances cannot tell 2 models apart"):
        reduced(rdm[:3], [unit[0][:3], unit[1][:3]], NAMES[:2])


def test_close_models_are_not_called_collinear(
    rdm: np.ndarray, models: dict[str, np.ndarray], rng: np.random.Generator
) -> None:
    close = models["shape"] + 1e-3 * rng.normal(size=45)
    scores = regression_rsa(rdm, [models["shape"], close])
    assert np.isfinite(scores).all()
    expected = r2(rdm, [models["shape"], close])
    assert float(scores.r2) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("metric", METRICS)
def test_bad_input(metric: Any, rdm: np.ndarray, models: dict[str, np.ndarray]) -> None:
    name = metric.__name__
    with pytest.raises(ParameterError, match=f"{name}: method must be .*, got 'kendall'"):
        metric(rdm, models, method="kendall")
    with pytest.raises(DataError, match=f"{name}: model 'place': all 45 distances are 2"):
        metric(rdm, {**models, "place": np.full(45, 2.0)})
    with pytest.raises(DataError, match=f"{name}: rdm: all 45 distances are 2"):
        metric(np.full(45, 2.0), models)
    with pytest.raises(StimulusError, match=re.escape("rdm has 10 stimuli and model 'shape'")):
        metric(rdm, {"shape": models["shape"][:36]})
    with pytest.raises(DimensionError, match="models must be a mapping, a list"):
        metric(rdm, 3)
    bad = rdm.copy()
    bad[[2, 7]] = np.nan
    with pytest.raises(DataError, match=f"{name}: rdm has 2 of 45 distances that are not finite"):
        metric(bad, models)
    with pytest.raises(DataError, match="model 'bad' has 2 of 45 distances that are not finite"):
        metric(rdm, {**models, "bad": bad})
    with pytest.raises(DataError, match="model 'shape' has 1 on its diagonal"):
        metric(rdm, {"shape": np.eye(N)})


@pytest.mark.parametrize("metric", [regression_rsa, variance_partition_rsa])
def test_nonnegative_is_a_truth_value(
    metric: Any, rdm: np.ndarray, models: dict[str, np.ndarray]
) -> None:
    with pytest.raises(ParameterError, match="nonnegative must be bool, got 'yes'"):
        metric(rdm, models, nonnegative="yes")
