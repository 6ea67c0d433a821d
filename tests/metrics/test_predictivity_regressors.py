"""predictivity by regressors of scikit-learn, against a plain loop of scikit-learn."""

from __future__ import annotations

import json
import warnings
from typing import Any

import numpy as np
import pytest
import xarray as xr
from sklearn.base import clone
from sklearn.cross_decomposition import PLSRegression
from sklearn.dummy import DummyRegressor
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import Lasso, LinearRegression, LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.multioutput import MultiOutputRegressor
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVR

from reptools.errors import DeadUnitWarning, ParameterError, ReptoolsWarning, StimulusError
from reptools.metrics.predictivity import predictivity
from reptools.metrics.unit_predictivity import unit_predictivity
from reptools.metrics.unit_reliability import unit_reliability
from reptools.statistics.folds import Sampling
from tests.conftest import labelled

REGRESSORS = (
    Lasso(alpha=0.3),
    LinearRegression(fit_intercept=False),  # the origin of the units matters
    RandomForestRegressor(5, random_state=1),  # the order of rows matters
    make_pipeline(StandardScaler(), Ridge(2.0)),
    GridSearchCV(Ridge(), {"alpha": [0.1, 10.0]}),
    KNeighborsRegressor(),
    PLSRegression(3),
    MultiOutputRegressor(SVR()),
)


def pair(n: int = 60, p: int = 6, q: int = 4) -> tuple[Any, Any]:
    rng = np.random.default_rng(n + p)
    x = 3 * rng.normal(size=(n, p)) + 5
    y = x @ rng.normal(size=(p, q)) + 3 * rng.normal(size=(n, q)) - 20
    return labelled(x), labelled(y)


def by_hand(x: Any, y: Any, regressor: Any, cv: int | None = 5) -> tuple[Any, Any]:
    """R2 pooled over folds and the mean r, of each unit of y."""
    residual = total = 0.0
    correlations = []
    for fit, test in Sampling(cv, 0, x.stimulus.values).folds():
        fit = np.sort(fit)  # the labels are in order
        model = clone(regressor).fit(x.values[fit], y.values[fit])
        predicted, truth = model.predict(x.values[test]), y.values[test]
        residual = residual + ((truth - predicted) ** 2).sum(axis=0)
        total = total + ((truth - y.values[fit].mean(axis=0)) ** 2).sum(axis=0)
        correlations.append(
            [np.corrcoef(a, b)[0, 1] for a, b in zip(predicted.T, truth.T, strict=True)]
        )
    return 1 - residual / total, np.mean(correlations, axis=0)


@pytest.mark.parametrize("regressor", REGRESSORS, ids=lambda one: type(one).__name__)
def test_scores_are_those_of_a_loop_of_scikit_learn(regressor: Any) -> None:
    # oracle: scikit-learn of the installed version
    x, y = pair()
    r2, r = by_hand(x, y, regressor)
    found = unit_predictivity(x, y, method=regressor)
    np.testing.assert_allclose(found, r2, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(found.r, r, rtol=1e-10, atol=1e-12)
    assert set(found.coords) == {"r"}
    median = predictivity(x, y, method=regressor, score="r")
    assert float(median) == pytest.approx(np.median(r), rel=1e-10)
    assert float(median.r2) == pytest.approx(np.median(r2), rel=1e-10)
    assert float(median.n_excluded) == 0


@pytest.mark.parametrize("regressor", REGRESSORS, ids=lambda one: type(one).__name__)
def test_order_of_rows_and_data_stay_as_they_are(regressor: Any) -> None:
    x, y = pair()
    before = x.copy(deep=True), y.copy(deep=True), repr(regressor.get_params())
    shuffled = np.random.default_rng(0).permutation(60)
    found = unit_predictivity(x[shuffled], y, method=regressor)
    np.testing.assert_allclose(found, unit_predictivity(x, y, method=regressor), rtol=1e-10)
    xr.testing.assert_identical(x, before[0])
    xr.testing.assert_identical(y, before[1])
    assert repr(regressor.get_params()) == before[2]
    with pytest.raises(AttributeError):
        regressor.n_features_in_  # noqa: B018  # cloned, so not fitted itself


def test_in_sample_and_by_split() -> None:
    x, y = pair()
    r2, _ = by_hand(x, y, Lasso(0.1), cv=None)
    np.testing.assert_allclose(unit_predictivity(x, y, method=Lasso(0.1), cv=None), r2, rtol=1e-10)
    split = np.array(["validation", "test"])[np.arange(60) % 2]
    result = unit_predictivity(
        x.assign_coords(split=("stimulus", split)), y, method=Lasso(0.1), cv="split"
    )
    fit, test = split == "validation", split == "test"
    model = Lasso(0.1).fit(x.values[fit], y.values[fit])
    residual = ((model.predict(x.values[test]) - y.values[test]) ** 2).sum(axis=0)
    total = ((y.values[test] - y.values[fit].mean(axis=0)) ** 2).sum(axis=0)
    np.testing.assert_allclose(result, 1 - residual / total, rtol=1e-10)


def test_the_result_names_the_regressor_with_its_parameters() -> None:
    x, y = pair()
    found = predictivity(x, y, method=make_pipeline(StandardScaler(), Lasso(alpha=0.25)))
    assert found.attrs["estimator"].startswith("Pipeline(steps=[('standardscaler'")
    assert found.attrs["estimator"].endswith("median over units of y, held out, pooled over folds")
    named = json.loads(found.attrs["params"])["method"]
    assert "Lasso(alpha=0.25, copy_X=True, fit_intercept=True" in named
    assert "StandardScaler(copy=True, with_mean=True, with_std=True)" in named


def test_a_single_unit_is_a_vector_unless_the_regressor_takes_none() -> None:
    x, y = pair(q=1)
    for regressor in (SVR(C=10.0), RandomForestRegressor(5), MultiOutputRegressor(SVR(C=10.0))):
        assert 0.2 < unit_predictivity(x, y, method=regressor).item() < 1
    assert (
        unit_predictivity(x, y, method=SVR()).item()
        == unit_predictivity(x, y, method=MultiOutputRegressor(SVR())).item()
    )


def test_what_draws_at_random_draws_by_the_seed() -> None:
    x, y = pair()
    drawing, fixed = RandomForestRegressor(3), RandomForestRegressor(3, random_state=4)
    for seed, same in ((4, True), (5, False)):
        found, expected = (unit_predictivity(x, y, method=m, seed=seed) for m in (drawing, fixed))
        assert (found.values == expected.values).all() == same


def test_units_without_variance_and_flat_predictions() -> None:
    x, y = pair()
    y[:, 1] = 0.1
    with pytest.warns(DeadUnitWarning, match="y has 1 of 4 units"):
        found, median = (
            metric(x, y, method=LinearRegression()) for metric in (unit_predictivity, predictivity)
        )
    assert np.isnan(found.values).tolist() == [False, True, False, False]
    assert np.isnan(found.r.values).tolist() == [False, True, False, False]
    assert float(median.n_excluded) == 1
    assert float(median) == pytest.approx(np.nanmedian(found))
    flat = unit_predictivity(x, y[:, :1] + 1e6, method=DummyRegressor())
    assert flat.item() == pytest.approx(0, abs=1e-9)
    assert np.isnan(flat.r.item())


@pytest.mark.parametrize("scale", (1e-150, 1e150))
def test_units_of_any_scale(scale: float) -> None:
    x, y = pair()
    uneven = y * [scale, 1.0, 1.0, 1.0]
    found, expected = (unit_predictivity(x, v, method=LinearRegression()) for v in (uneven, y))
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    np.testing.assert_allclose(found.r, expected.r, rtol=1e-9)


def test_repetitions_steps_and_a_ceiling() -> None:
    x, y = pair()
    rng = np.random.default_rng(5)
    trials = xr.concat([y + 2 * rng.normal(size=y.shape) for _ in range(3)], "repetition")
    method = Ridge(1.0)
    raw = unit_predictivity(x, trials, method=method)
    np.testing.assert_allclose(raw, unit_predictivity(x, trials.mean("repetition"), method=method))
    found = unit_predictivity(x, trials, method=method, ceiling="reliability")
    np.testing.assert_allclose(found, raw / unit_reliability(trials))
    np.testing.assert_allclose(found.reliability, unit_reliability(trials))
    steps = xr.concat([x, x**2], "step")
    by_step = unit_predictivity(steps, y, method=method)
    assert by_step.dims == ("step", "unit")
    np.testing.assert_array_equal(by_step[0], unit_predictivity(x, y, method=method))


def test_torch_and_float32() -> None:
    torch = pytest.importorskip("torch")
    x, y = pair()
    expected = unit_predictivity(x.values, y.values, method=Ridge(1.0))
    found = unit_predictivity(torch.tensor(x.values), torch.tensor(y.values), method=Ridge(1.0))
    np.testing.assert_array_equal(found, expected)
    small = unit_predictivity(x.astype(np.float32), y.astype(np.float32), method=Ridge(1.0))
    np.testing.assert_allclose(small, unit_predictivity(x, y, method=Ridge(1.0)), rtol=1e-5)


def test_a_fit_that_does_not_converge_is_counted() -> None:
    x, y = pair()
    stuck = Lasso(alpha=1e-9, max_iter=1)
    with pytest.warns(ReptoolsWarning, match=r"predictivity: Lasso\(.*did not converge in 5 of 5"):
        predictivity(x, y, method=stuck)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        predictivity(x, y, method=Lasso(alpha=0.1))


class Broken(Ridge):
    """Predicts what is no number."""

    def predict(self, X: Any) -> Any:
        return super().predict(X) * np.nan


class Narrow(Ridge):
    """Predicts the first unit only."""

    def predict(self, X: Any) -> Any:
        return super().predict(X)[:, 0]


class Mute(Ridge):
    """Predicts nothing."""

    def predict(self, X: Any) -> Any:
        raise ValueError("no prediction")


def test_what_cannot_be_a_method_is_refused() -> None:
    x, y = pair()
    refused = (
        (Ridge, "method must be ridge, pls or an instance of a scikit-learn regressor, got <class"),
        (LogisticRegression(), r"scikit-learn regressor, got LogisticRegression\(\)"),
        (SVR(), r"method=SVR\(\) for 6 units of x and 4 of y failed: y should be a 1d array"),
        (Lasso(alpha=-3), "parameter of Lasso must be .* Got -3"),
        (Broken(), r"predicts an array of \(12, 4\) with 48 values that are not finite"),
        (Narrow(), r"predicts an array of \(12,\) with 0 values"),
        (Mute(), r"method=Mute\(\) .* cannot predict: no prediction"),
    )
    for metric in (predictivity, unit_predictivity):
        for method, message in refused:
            with pytest.raises(ParameterError, match=f"{metric.__name__}: .*{message}"):
                metric(x, y, method=method)
        for option in ({"n_alphas": 3}, {"lowest_alpha": 0.1}, {"highest_alpha": 2.0}):
            with pytest.raises(ParameterError, match=r"of method='ridge', got method=Lasso\(\)"):
                metric(x, y, method=Lasso(), **option)
        with pytest.raises(ParameterError, match=r"of method='pls', got method=Lasso\(\)"):
            metric(x, y, method=Lasso(), n_components=3)
        with pytest.raises(StimulusError, match="a fold fits on 1 stimulus"):
            metric(x[:2], y[:2], method=Lasso(), cv=2)
        with pytest.raises(StimulusError, match="score='r' correlates"):
            metric(x, y, method=Lasso(), score="r", cv=60)


def test_blocks_are_refused_by_name() -> None:
    pytest.importorskip("dask")
    x, y = (side.chunk(stimulus=20) for side in pair())
    with pytest.raises(ParameterError, match=r"60 stimuli are read in blocks\. Load it"):
        predictivity(x, y, method=Ridge())
