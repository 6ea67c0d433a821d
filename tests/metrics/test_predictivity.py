"""predictivity and unit_reliability: held out, in one direction, under a ceiling where asked."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import xarray as xr
from sklearn.cross_decomposition import PLSRegression
from sklearn.linear_model import Ridge
from sklearn.model_selection import LeaveOneOut

import reptools as rt
from reptools.errors import (
    DataError,
    DeadUnitWarning,
    DimensionError,
    ParameterError,
    ReptoolsWarning,
    StimulusError,
)
from reptools.metrics.predictivity import predictivity
from reptools.metrics.unit_predictivity import unit_predictivity
from reptools.metrics.unit_reliability import unit_reliability
from reptools.statistics.folds import Sampling
from reptools.statistics.regression import linear_sides
from reptools.statistics.regression.nested import nested
from reptools.statistics.regression.reliability import reliabilities
from tests.conftest import labelled

METHODS: tuple[Any, ...] = ("ridge", "pls")


def pair(n: int = 60, p: int = 8, q: int = 5, noise: float = 1.0) -> tuple[Any, Any]:
    rng = np.random.default_rng(n + p)
    x = rng.normal(size=(n, p))
    y = x[:, :4] @ rng.normal(size=(4, q)) + noise * rng.normal(size=(n, q))
    return labelled(x + 2), labelled(3 * y - 1)


def folds_of(x: xr.DataArray) -> Any:
    return Sampling(5, 0, x.stimulus.values).folds()


# --- what it is ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "p"), ((60, 8), (40, 70)))
def test_one_penalty_is_scikit_learn(n: int, p: int) -> None:
    x, y = pair(n, p)
    residual = total = 0.0
    correlations = []
    for fit, test in folds_of(x):
        centred = x.values - x.values.mean(axis=0)
        mean_eigenvalue = (centred**2).sum() / min(p, n - 1)
        model = Ridge(alpha=0.1 * mean_eigenvalue).fit(x[fit], y[fit])
        predicted, truth = model.predict(x[test]), y[test].values
        residual = residual + ((truth - predicted) ** 2).sum(axis=0)
        total = total + ((truth - y[fit].values.mean(axis=0)) ** 2).sum(axis=0)
        correlations.append(
            [np.corrcoef(a, b)[0, 1] for a, b in zip(predicted.T, truth.T, strict=True)]
        )
    found = unit_predictivity(x, y, n_alphas=1, lowest_alpha=0.1)
    np.testing.assert_allclose(found, 1 - residual / total, rtol=1e-9)
    np.testing.assert_allclose(found.r, np.mean(correlations, axis=0), rtol=1e-9)
    np.testing.assert_allclose(found.alpha, 0.1)
    assert found.dims == ("unit",)
    median = predictivity(x, y, n_alphas=1, lowest_alpha=0.1)
    assert float(median) == pytest.approx(np.median(1 - residual / total))
    assert float(median.r) == pytest.approx(np.median(np.mean(correlations, axis=0)))
    by_r = predictivity(x, y, n_alphas=1, lowest_alpha=0.1, score="r")
    assert (float(by_r), float(by_r.r2)) == (float(median.r), float(median))


@pytest.mark.parametrize(("n", "p"), ((60, 8), (40, 70)))
def test_the_penalty_is_chosen_in_the_range_that_is_passed(n: int, p: int) -> None:
    # oracle: sklearn.linear_model.Ridge of the installed version on the same inner folds
    x, y = pair(n, p, noise=3.0)
    (plan,) = nested(Sampling(5, 0, x.stimulus.values), choose=True)
    mean_eigenvalue = ((x.values - x.values.mean(axis=0)) ** 2).sum() / min(p, n - 1)
    grid = np.array([0.02, 0.2, 2.0])
    residual = total = 0.0
    chosen = []
    for outer in plan.outer:
        errors = np.zeros((3, 5))
        for fit, test in ([plan.rows(part) for part in inner] for inner in outer.inner):
            for i, alpha in enumerate(grid * mean_eigenvalue):
                predicted = Ridge(alpha=alpha).fit(x[fit], y[fit]).predict(x[test])
                errors[i] += ((predicted - y[test].values) ** 2).sum(axis=0)
        fit, test = plan.rows(outer.fit), plan.rows(outer.test)
        chosen.append(grid[errors.argmin(axis=0)])
        model = Ridge(alpha=chosen[-1] * mean_eigenvalue).fit(x[fit], y[fit])
        residual = residual + ((y[test].values - model.predict(x[test])) ** 2).sum(axis=0)
        total = total + ((y[test].values - y[fit].values.mean(axis=0)) ** 2).sum(axis=0)
    assert len(np.unique(chosen)) > 1
    options: Any = {"n_alphas": 3, "lowest_alpha": 0.02, "highest_alpha": 2.0}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*widen the range")
        found, median = unit_predictivity(x, y, **options), predictivity(x, y, **options)
    np.testing.assert_allclose(found, 1 - residual / total, rtol=1e-9)
    np.testing.assert_allclose(found.alpha, np.exp(np.log(chosen).mean(axis=0)), rtol=1e-12)
    assert float(median) == pytest.approx(np.median(1 - residual / total), rel=1e-9)


@pytest.mark.parametrize(("n", "p"), ((60, 8), (40, 70)))
def test_a_number_of_components_is_scikit_learn(n: int, p: int) -> None:
    x, y = pair(n, p)
    y = y * [1.0, 1e-3, 1.0, 30.0, 1.0]  # what a unit weighs in the components
    residual = total = 0.0
    for fit, test in folds_of(x):
        model = PLSRegression(3, scale=False, tol=1e-14, max_iter=5000).fit(x[fit], y[fit])
        residual = residual + ((y[test].values - model.predict(x[test].values)) ** 2).sum(axis=0)
        total = total + ((y[test].values - y[fit].values.mean(axis=0)) ** 2).sum(axis=0)
    found = unit_predictivity(x, y, method="pls", n_components=3)
    np.testing.assert_allclose(found, 1 - residual / total, rtol=1e-6)
    np.testing.assert_allclose(found.n_components, 3)


@pytest.mark.parametrize("method", METHODS)
def test_planted_variance_is_found(method: Any) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2000, 10))
    y = x[:, :3] / np.sqrt(3) @ rng.normal(size=(3, 1)) * np.ones(4)
    y = y / y.std(axis=0) + np.sqrt([0.01, 1.0, 3.0, 99.0]) * rng.normal(size=(2000, 4))
    found = unit_predictivity(x, y, method=method)
    np.testing.assert_allclose(found, [1 / 1.01, 1 / 2, 1 / 4, 1 / 100], atol=0.03)
    np.testing.assert_allclose(found.r, np.sqrt([1 / 1.01, 1 / 2, 1 / 4, 1 / 100]), atol=0.04)


@pytest.mark.parametrize("method", METHODS)
def test_noise_scores_nothing(method: Any) -> None:
    scores = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        x, y = rng.normal(size=(40, 20)), rng.normal(size=(40, 6))
        scores.append([float(predictivity(x, y, method=method)), float(predictivity(x, y).r)])
    r2, r = np.mean(scores, axis=0)
    assert r2 < 0
    assert abs(r) < 3 * np.std(scores, axis=0)[1] / np.sqrt(20)


def test_no_test_stimulus_is_seen() -> None:
    """Changing y of one fold's stimuli leaves the predictions for that fold as they are."""
    x, y = pair(noise=3.0)
    (_, test), *_ = folds_of(x)
    split = np.full(60, "train", dtype=object)
    split[test] = "test"
    x = x.assign_coords(split=("stimulus", split.astype(str)))
    before = unit_predictivity(x, y, cv="split")
    changed = y.copy(deep=True)
    changed[test] = np.random.default_rng(1).permutation(changed[test], axis=0)
    after = unit_predictivity(x, changed, cv="split")
    np.testing.assert_array_equal(before.alpha, after.alpha)
    assert (before.values != after.values).all()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("n", "p"), ((60, 8), (40, 70)))
def test_kernel_and_units_agree(n: int, p: int, method: Any) -> None:
    """A rotation into more units than stimuli changes the side that is computed, not the score."""
    x, y = pair(n, p)
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(90, p)))[0]
    wide = labelled(x.values @ turn.T)
    options: Any = {"method": method} | ({"n_components": 4} if method == "pls" else {})
    narrow, other = unit_predictivity(x, y, **options), unit_predictivity(wide, y, **options)
    # the mean non-zero eigenvalue counts units, so the penalties are not quite the same ones
    same = {"n_alphas": 1, "lowest_alpha": 0.05 / 8} if method == "ridge" else {}
    np.testing.assert_allclose(narrow, other, atol=0.03)
    if p == 70 or method == "pls":
        exact = unit_predictivity(x, y, **options, **same)
        exact_other = unit_predictivity(wide, y, **options, **same)
        np.testing.assert_allclose(exact, exact_other, rtol=1e-8)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("n", "p"), ((60, 8), (40, 70)))
def test_float32_far_from_zero(n: int, p: int, method: Any) -> None:
    x, y = pair(n, p)
    far, near = ((side + 1000).astype(np.float32) for side in (x, y))
    found = unit_predictivity(far, near, method=method)
    expected = unit_predictivity(far.astype(np.float64), near.astype(np.float64), method=method)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    np.testing.assert_allclose(found.r, expected.r, atol=1e-4)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("scale", (1e-150, 1e150))
def test_any_scale(scale: float, method: Any) -> None:
    x, y = pair()
    expected = unit_predictivity(x, y, method=method)
    found = unit_predictivity(x * scale, y / scale, method=method)
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    if method == "ridge":  # units of very different scales do not hide one another
        uneven = y * [scale, 1.0, 1.0, 1.0, 1.0]
        np.testing.assert_allclose(unit_predictivity(x, uneven), expected, rtol=1e-9)


def test_large_arrays_are_taken_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = pair()
    expected = unit_predictivity(x, y), unit_predictivity(x, y, method="pls")
    monkeypatch.setattr(linear_sides, "IN_BLOCKS", 100)
    for scale in (1.0, 1e140, 1e-170, 1e170):
        found = unit_predictivity(x * scale, y), unit_predictivity(x * scale, y, method="pls")
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-9)
            np.testing.assert_allclose(one.r, other.r, rtol=1e-9)


# --- folds and sides ----------------------------------------------------------------------------


def test_the_score_has_a_direction_and_a_grid_both() -> None:
    x, y = pair(noise=0.3)
    forth, back = (predictivity(*sides, lowest_alpha=1e-9) for sides in ((x, y), (y, x)))
    assert float(forth) > float(back) + 0.2
    table = rt.compare({"x": x, "y": y}, metric="predictivity", lowest_alpha=1e-9)
    assert float(table.sel(x="x", y="y")) == float(forth)
    assert float(table.sel(x="y", y="x")) == float(back)
    assert float(table.sel(x="x", y="x")) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_every_kind_of_fold(method: Any) -> None:
    x, y = pair()
    x = x.assign_coords(run=("stimulus", np.arange(60) // 10))
    bare = x.drop_vars("run")
    for options in ({"cv": "split"}, {"cv": None}, {"cv": LeaveOneOut()}, {"cv": 12}):
        assert 0.2 < float(predictivity(bare, y, method=method, **options)) < 1
    grouped = predictivity(x, y, method=method, cv=6)
    assert "whole run" in grouped.attrs["cv"]
    assert 0.2 < float(grouped) < 1
    fixed: Any = {"n_alphas": 1} if method == "ridge" else {"n_components": 3}
    for options in ({}, fixed):
        in_sample = unit_predictivity(bare, y, method=method, cv=None, **options)
        held_out = unit_predictivity(bare, y, method=method, **options)
        assert (in_sample.values > held_out.values).all()
    for cv in ("split", LeaveOneOut(), 3):
        assert 0.2 < float(predictivity(bare, y, method=method, cv=cv, **fixed)) < 1


def test_outer_dimensions_are_crossed_or_paired() -> None:
    x, y = pair()
    steps = xr.concat([x, x + 1, x * 0 + np.random.default_rng(0).normal(size=x.shape)], "step")
    found = unit_predictivity(steps, y)
    assert found.dims == ("step", "unit")
    np.testing.assert_allclose(found[0], found[1])
    np.testing.assert_array_equal(found[0], unit_predictivity(x, y))


def test_constant_units_are_left_out_and_counted() -> None:
    x, y = pair()
    y[:, 1] = 4.0
    with pytest.warns(DeadUnitWarning, match="y has 1 of 5 units without variance"):
        found, by_unit = predictivity(x, y), unit_predictivity(x, y)
    live = predictivity(x, y.drop_isel(unit=1))
    assert float(found) == pytest.approx(float(live))
    assert (float(found.n_excluded), float(live.n_excluded)) == (1, 0)
    assert np.isnan(by_unit.values).tolist() == [False, True, False, False, False]
    dead = x.copy()
    dead[:, 2] = 1e6
    with pytest.warns(DeadUnitWarning, match="x has 1 of 8"):
        with_dead = unit_predictivity(dead, y.drop_isel(unit=1))
    without = unit_predictivity(x.drop_isel(unit=2), y.drop_isel(unit=1))
    np.testing.assert_allclose(with_dead, without, rtol=1e-9)


def test_the_ends_of_the_range_are_named() -> None:
    x, y = pair()
    with pytest.warns(ReptoolsWarning, match=r"of 5 units still fell at lowest_alpha=1 in a fold"):
        predictivity(x, y, lowest_alpha=1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        predictivity(x, y)
        predictivity(x, x)
        predictivity(x, labelled(np.random.default_rng(0).normal(size=(60, 9))))


# --- repetitions --------------------------------------------------------------------------------


def repeated(y: xr.DataArray, noise: Any, n: int = 4) -> xr.DataArray:
    rng = np.random.default_rng(5)
    trials = [y + noise * rng.normal(size=y.shape) for _ in range(n)]
    return xr.concat(trials, "repetition")


def test_reliability_is_spearman_brown() -> None:
    _, y = pair(200)
    halves = repeated(y, [0.5, 1.0, 2.0, 5.0, 10.0], n=2)
    r = np.array([np.corrcoef(*halves.values[:, :, unit])[0, 1] for unit in range(5)])
    found = unit_reliability(halves)
    np.testing.assert_allclose(found.correlation, r, rtol=1e-12)
    np.testing.assert_allclose(found, 2 * r / (1 + r), rtol=1e-12)
    five = repeated(y, 5.0, n=5).values
    c = np.array([np.corrcoef(five[:, :, unit])[np.triu_indices(5, 1)].mean() for unit in range(5)])
    correlation, whole = reliabilities(five * 1e150)
    np.testing.assert_allclose(correlation, c, rtol=1e-10)
    np.testing.assert_allclose(whole, 5 * c / (1 + 4 * c), rtol=1e-10)


def test_a_unit_that_is_still_in_one_repetition_has_no_reliability() -> None:
    """Whatever its value: the mean of equal numbers may differ from them in the last digit."""
    trials = repeated(pair()[1], 1.0).values
    odd = next(v for v in np.linspace(0.1, 1, 200) if np.full(60, v).mean() != v)
    trials[1, :, 2] = odd
    found = [np.asarray(values) for values in reliabilities(trials)]
    assert all(np.isnan(values).tolist() == [0, 0, 1, 0, 0] for values in found)


def test_reliability_recovers_what_was_planted() -> None:
    rng = np.random.default_rng(0)
    noise = np.array([0.5, 1.0, 2.0])
    x = xr.DataArray(
        rng.normal(size=(5000, 3)) + noise * rng.normal(size=(3, 5000, 3)),
        dims=("repetition", "stimulus", "unit"),
    )
    np.testing.assert_allclose(unit_reliability(x), 3 / (3 + noise**2), atol=0.02)


def test_units_that_do_not_repeat_are_counted() -> None:
    _, y = pair()
    trials = repeated(y, 0.5, n=2)
    trials[1, :, 2] = -trials[0, :, 2]
    trials[1, :, 3] = 7.0
    with pytest.warns(ReptoolsWarning, match=r"repetitions of 1 of 5 units .* correlation -1\)"):
        found = unit_reliability(trials)
    assert np.isnan(found.values).tolist() == [False, False, True, True, False]
    assert float(found.correlation[2]) == pytest.approx(-1)
    for bad in (y, trials[:1]):
        with pytest.raises(DimensionError, match="unit_reliability: x has .* repetition"):
            unit_reliability(bad)


@pytest.mark.parametrize("method", METHODS)
def test_a_ceiling_gives_back_what_measurement_noise_took(method: Any) -> None:
    rng = np.random.default_rng(0)
    x = labelled(rng.normal(size=(1500, 6)))
    clean = x.values @ rng.normal(size=(6, 5)) / np.sqrt(6)
    clean = clean / clean.std(axis=0) + rng.normal(size=clean.shape)  # x explains half
    y = repeated(labelled(clean), [0.1, 1.0, 2.0, 4.0, 4.0])
    raw = unit_predictivity(x, y, method=method)
    np.testing.assert_allclose(raw, unit_predictivity(x, y.mean("repetition"), method=method))
    found = unit_predictivity(x, y, method=method, ceiling="reliability")
    assert raw.values[-1] < 0.3
    np.testing.assert_allclose(found, 0.5, atol=0.08)
    np.testing.assert_allclose(found.reliability, unit_reliability(y))
    np.testing.assert_allclose(found, raw / found.reliability)
    by_r = unit_predictivity(x, y, method=method, score="r", ceiling="reliability")
    np.testing.assert_allclose(by_r, raw.r / np.sqrt(found.reliability))
    strict = predictivity(x, y, method=method, ceiling="reliability", min_reliability=0.6)
    assert float(strict.n_excluded) == 2
    assert float(strict) == pytest.approx(float(found[:3].median()))


def test_unreliable_units_are_never_divided_by() -> None:
    x, y = pair()
    trials = repeated(y, 0.5, n=2)
    trials[1, :, 2] = -trials[0, :, 2] + 1e-9 * trials[1, :, 0].values
    for least in (0.0, 0.1):
        with pytest.warns(ReptoolsWarning, match=f"1 of 5 .* reach min_reliability={least:g}; sc"):
            found = unit_predictivity(x, trials, ceiling="reliability", min_reliability=least)
        assert np.isnan(found.values).tolist() == [False, False, True, False, False]
    with pytest.warns(ReptoolsWarning, match="predictivity: none of 1 units of y is left"):
        nothing = predictivity(x, trials[:, :, 2:3], ceiling="reliability")
    assert np.isnan(nothing.item()) and float(nothing.n_excluded) == 1
    with pytest.warns(
        ReptoolsWarning, match=r"5 of 5 .* min_reliability=1, the best has 0\.9.*NaN"
    ):
        found = unit_predictivity(x, trials, ceiling="reliability", min_reliability=1.0)
    assert np.isnan(found.values).all()


def test_repetitions_of_the_predictor_are_averaged() -> None:
    x, y = pair()
    trials = repeated(x, 1.0)
    expected = predictivity(trials.mean("repetition"), y)
    assert float(predictivity(trials, y)) == pytest.approx(float(expected))


# --- refusals -----------------------------------------------------------------------------------


def test_bad_input() -> None:
    x, y = pair()
    for metric in (predictivity, unit_predictivity):
        name = metric.__name__
        with pytest.raises(ParameterError, match=f"{name}: method must be .* got 'lasso'"):
            metric(x, y, method="lasso")
        with pytest.raises(ParameterError, match="score must be .* got 'mse'"):
            metric(x, y, score="mse")
        with pytest.raises(ParameterError, match="n_alphas must be .* got 0"):
            metric(x, y, n_alphas=0)
        with pytest.raises(ParameterError, match="lowest_alpha must be .* got -1"):
            metric(x, y, lowest_alpha=-1)
        with pytest.raises(ParameterError, match="highest_alpha must be .* got inf"):
            metric(x, y, highest_alpha=float("inf"))
        with pytest.raises(ParameterError, match="lowest_alpha=10 is not below highest_alpha=1"):
            metric(x, y, lowest_alpha=10.0, highest_alpha=1.0)
        with pytest.raises(ParameterError, match="n_components=3 is an option of method='pls'"):
            metric(x, y, n_components=3)
        with pytest.raises(ParameterError, match="n_alphas=3 is an option of method='ridge', got"):
            metric(x, y, method="pls", n_alphas=3)
        with pytest.raises(ParameterError, match="lowest_alpha=0.1 is an option of .*'pls'"):
            metric(x, y, method="pls", lowest_alpha=0.1)
        with pytest.raises(ParameterError, match="highest_alpha=7 ends a range"):
            metric(x, y, n_alphas=1, highest_alpha=7.0)
        with pytest.raises(ParameterError, match="min_reliability=0.3 leaves units out"):
            metric(x, y, min_reliability=0.3)
        with pytest.raises(ParameterError, match="n_components must be .* got 0"):
            metric(x, y, method="pls", n_components=0)
        with pytest.raises(ParameterError, match="n_components=9 is more than the 8 components"):
            metric(x, y, method="pls", n_components=9)
        with pytest.raises(ParameterError, match="n_components=1000000000 is more than the 8 comp"):
            metric(x, y, method="pls", n_components=10**9)  # which no memory holds
        with pytest.raises(ParameterError, match="ceiling must be .* got 'snr'"):
            metric(x, y, ceiling="snr")
        with pytest.raises(ParameterError, match="min_reliability must be .* got 2"):
            metric(x, y, min_reliability=2)
        with pytest.raises(ParameterError, match="ceiling='reliability' needs repetitions of y"):
            metric(x, y, ceiling="reliability")
        with pytest.raises(ParameterError, match="cv must be .* got 1"):
            metric(x, y, cv=1)
        with pytest.raises(ParameterError, match="groups='session' is no coordinate"):
            metric(x, y, groups="session")
        with pytest.raises(ParameterError, match="seed must be .* got 'a'"):
            metric(x, y, seed="a")
        with pytest.raises(ParameterError, match="prepare must be .* got 'pca'"):
            metric(x, y, prepare="pca")
        with pytest.raises(StimulusError, match="score='r' correlates .* each fold has 1"):
            metric(x, y, score="r", cv=60)
        with pytest.raises(StimulusError, match="a fold fits on 1 stimulus"):
            metric(x[:3], y[:3], cv=3)
        with pytest.raises(StimulusError, match="not shown the same stimuli"):
            metric(x[:50], y)
    y[3, 1] = np.nan
    with pytest.raises(DataError, match="y is not finite for 1 of 60"):
        predictivity(x, y)


@pytest.mark.parametrize("method", METHODS)
def test_moments_that_would_fill_the_memory(method: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = pair()
    monkeypatch.setattr(linear_sides, "MOST_MOMENTS", 8 * 30 * 8 * 12)
    with pytest.raises(ParameterError, match="moments of 8 by 5 units for 60 folds"):
        predictivity(x, y, method=method, cv=60)


def test_units_without_variance_in_use() -> None:
    x, y = pair()
    split = np.array(["train"] * 20 + ["test"] * 20 + ["other"] * 20)
    y[:40, 2] = 1.7
    found = unit_predictivity(x.assign_coords(split=("stimulus", split)), y, cv="split")
    assert np.isnan(found.values).tolist() == [False, False, True, False, False]
    assert np.isnan(found.r.values).tolist() == [False, False, True, False, False]
    x[:40] = 1.0
    x = x.assign_coords(split=("stimulus", split))
    with pytest.raises(DataError, match="no unit of x varies over the stimuli of the folds"):
        predictivity(x, y, cv="split")
