"""The solvers of probes, against scikit-learn 1.9.1."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.covariance import ledoit_wolf
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression, Ridge, RidgeClassifier
from sklearn.metrics import log_loss
from sklearn.neighbors import NearestCentroid
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from reptools.statistics.readout import discriminants, logistic
from reptools.statistics.readout.classifiers import Problem, fit_readouts
from reptools.statistics.readout.standard import Standard


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Small fits of scikit-learn are many times slower on two threads."""
    with threadpool_limits(1, "blas"):
        yield


def data(n, p, k, seed=0, strength=0.7):
    rng = np.random.default_rng(seed)
    codes = rng.permutation(np.arange(n) % k)
    x = rng.normal(size=(n, p)) + rng.normal(size=(n, 3)) @ rng.normal(size=(3, p))
    x += strength * rng.normal(size=(k, p))[codes]
    return x * rng.uniform(0.2, 5, p) + rng.normal(size=p), codes


def answered(x, codes, fit, method, C=1.0, scaling="zscore"):
    """The read-out of some rows, and all rows in its coordinates, which other fits may share."""
    standard = Standard.of(x, np.arange(len(x)), scaling)
    (readout,) = fit_readouts(x, standard, [Problem(codes, fit, C)], method)
    return readout, standard.of_rows(x, np.arange(len(x)))


def scaled(x, fit):
    return StandardScaler().fit(x[fit]).transform(x)


# --- logistic -----------------------------------------------------------------------------------


@pytest.mark.parametrize("C", [1.0, 1e-3])
@pytest.mark.parametrize("k", [2, 5])
@pytest.mark.parametrize("p", [12, 160])
def test_logistic_reaches_the_minimum_of_scikit_learn(k, p, C, monkeypatch):
    x, codes = data(90, p, k)
    fit = np.arange(0, 90, 2)
    z = scaled(x, fit)
    oracle = LogisticRegression(C=C, max_iter=5000, tol=1e-7).fit(z[fit], codes[fit])
    monkeypatch.setattr(logistic, "TOLERANCE", 2e-6)
    readout, shown = answered(x, codes, fit, "logistic", C)
    assert readout.converged
    expected = oracle.predict_log_proba(z)
    np.testing.assert_allclose(readout.log_probabilities(shown), expected, rtol=2e-3, atol=0.01)
    np.testing.assert_array_equal(readout.answers(shown), oracle.predict(z))


def loss(readout, z, codes, fit, C):
    """The penalised mean loss, from outputs, with coefficients turned back to z-scored units."""
    chance = np.exp(readout.log_probabilities(z[fit]))
    weights = readout.coefficients * z[fit].std(axis=0)
    return log_loss(codes[fit], chance) + (weights**2).sum() / (2 * C * len(fit))


@pytest.mark.parametrize("k", [2, 4])
def test_logistic_stops_as_near_the_minimum_as_scikit_learn(k):
    x, codes = data(200, 40, k, strength=0.2)
    fit = np.arange(150)
    z = scaled(x, fit)
    readout, shown = answered(x, codes, fit, "logistic")
    best = LogisticRegression(max_iter=5000, tol=1e-7).fit(z[fit], codes[fit])
    least = log_loss(codes[fit], best.predict_proba(z[fit])) + (best.coef_**2).sum() / (2 * 150)
    reached = loss(readout, shown, codes, fit, 1.0)
    assert least - 1e-6 < reached < least + 1e-5


def test_many_fits_together_are_the_fits_alone():
    x, codes = data(120, 30, 2)
    other = data(120, 30, 3, seed=1)[1]
    rng = np.random.default_rng(2)
    problems = [
        Problem(target, np.sort(rng.permutation(120)[:80]), C)
        for target in (codes, other)
        for C in (1.0, 0.01)
        for _ in range(40)
    ]
    standard = Standard.of(x, np.arange(120), "zscore")
    z = standard.of_rows(x, np.arange(120))
    together = fit_readouts(x, standard, problems, "logistic")
    assert len(together) == 160 and all(readout.converged for readout in together)
    for number in (0, 41, 85, 159):
        (alone,) = fit_readouts(x, standard, [problems[number]], "logistic")
        np.testing.assert_allclose(
            together[number].amounts(z),
            alone.amounts(z),
            atol=2e-3 * np.abs(alone.amounts(z)).max(),
        )


def test_a_unit_of_another_scale_slows_no_fit_down(monkeypatch):
    monkeypatch.setattr(logistic, "MAX_ITERATIONS", 60)
    x, codes = data(200, 20, 2)
    x[:, :5] *= 1e4
    readout, _ = answered(x, codes, np.arange(150), "logistic", scaling="none")
    assert readout.converged


@pytest.mark.parametrize("method", ["logistic", "ridge", "lda", "mean_difference"])
def test_a_single_class_is_what_is_answered(method):
    x, codes = data(30, 5, 2)
    fit = np.flatnonzero(codes == 1)
    readout, z = answered(x, codes, fit, method)
    assert (readout.answers(z) == 1).all()


def test_classes_that_were_not_seen_are_not_answered():
    x, codes = data(60, 8, 4, strength=3)
    fit = np.flatnonzero(codes != 1)
    for method in ("logistic", "ridge", "lda", "mean_difference"):
        readout, z = answered(x, codes, fit, method)
        assert set(readout.answers(z)) <= {0, 2, 3}
        assert (readout.answers(z)[fit] == codes[fit]).mean() > 0.6


# --- closed forms -------------------------------------------------------------------------------


@pytest.mark.parametrize("p", [10, 150])
@pytest.mark.parametrize("k", [2, 5])
def test_ridge_classifies_as_scikit_learn(k, p):
    x, codes = data(80, p, k)
    fit = np.arange(60)
    z = scaled(x, fit)
    oracle = RidgeClassifier(alpha=1 / 0.3).fit(z[fit], codes[fit])
    readout, shown = answered(x, codes, fit, "ridge", C=0.3)
    expected = oracle.decision_function(z).reshape(80, -1)
    np.testing.assert_allclose(readout.amounts(shown), expected, atol=1e-10)
    np.testing.assert_array_equal(readout.answers(shown), oracle.predict(z))


def test_ridge_of_amounts_shares_its_products():
    x, _ = data(80, 20, 2)
    y = np.random.default_rng(5).normal(size=(80, 3)) + x[:, :3]
    fit = np.arange(60)
    standard = Standard.of(x, fit, "zscore")
    problems = [Problem(y[:, [0]], fit, 1.0), Problem(y, fit, 0.1), Problem(y[:, 1:], fit, 1.0)]
    z = scaled(x, fit)
    for problem, readout in zip(
        problems, fit_readouts(x, standard, problems, "logistic"), strict=True
    ):
        oracle = Ridge(alpha=1 / problem.C).fit(z[fit], problem.target[fit])
        predicted = readout.amounts(standard.of_rows(x, np.arange(80)))
        np.testing.assert_allclose(predicted, oracle.predict(z).reshape(80, -1), atol=1e-10)


@pytest.mark.parametrize("p", [10, 150])
@pytest.mark.parametrize("k", [2, 4])
def test_lda_is_scikit_learn_with_the_same_shrinkage(k, p):
    x, codes = data(81, p, k)
    fit = np.arange(60)
    z = scaled(x, fit)
    means = np.stack([z[fit][codes[fit] == c].mean(axis=0) for c in range(k)])
    shrinkage = ledoit_wolf(z[fit] - means[codes[fit]], assume_centered=True)[1]
    assert 0 < shrinkage < 1
    oracle = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage)
    oracle.fit(z[fit], codes[fit])
    readout, shown = answered(x, codes, fit, "lda")
    outputs = readout.amounts(shown)
    expected = oracle.decision_function(z)
    if k == 2:
        outputs = outputs[:, 1] - outputs[:, 0]
    else:  # one common number per stimulus says nothing
        outputs, expected = (v - v.mean(axis=1, keepdims=True) for v in (outputs, expected))
    np.testing.assert_allclose(outputs, expected, rtol=1e-7, atol=1e-8)
    np.testing.assert_array_equal(readout.answers(shown), oracle.predict(z))


@pytest.mark.parametrize("shape", [(40, 9), (12, 30)])
def test_shrinkage_is_that_of_scikit_learn(shape):
    x = np.random.default_rng(0).normal(size=shape) * np.linspace(1, 3, shape[1])
    expected = ledoit_wolf(x, assume_centered=True)[1]
    for products in (x @ x.T, x.T @ x):
        assert discriminants.ledoit_wolf(x, products)[0] == pytest.approx(expected, abs=1e-12)


def test_shrinkage_ends_at_one():
    """Where chance explains more than there is of differences between the variances."""
    draws = np.random.default_rng(0).normal(size=(200, 6, 4))
    shares = [discriminants.ledoit_wolf(x, x.T @ x)[0] for x in draws]
    expected = [ledoit_wolf(x, assume_centered=True)[1] for x in draws]
    np.testing.assert_allclose(shares, expected, rtol=1e-12)
    assert max(shares) == 1 > min(shares)


def test_ridge_without_a_penalty_takes_units_that_are_one():
    """Least squares, as far as rounding lets it: no factorisation fails."""
    x = np.repeat(np.random.default_rng(0).normal(size=(30, 2)), 2, axis=1)
    x -= x.mean(axis=0)
    y = x[:, :1] + 2 * x[:, 2:3]
    ((coefficients, _),) = discriminants.ridge(x, [y], [1e-300])
    np.testing.assert_allclose(x @ coefficients.T, y, atol=1e-9)


def test_lda_without_spread_within_classes_still_tells_them_apart():
    codes = np.arange(20) % 2
    x = 3 + np.outer(codes, [1.0, -2.0, 0.5])
    readout, z = answered(x, codes, np.arange(20), "lda")
    np.testing.assert_array_equal(readout.answers(z), codes)


@pytest.mark.parametrize("k", [2, 4])
def test_mean_difference_is_the_nearest_centroid(k):
    x, codes = data(81, 30, k)
    fit = np.arange(60)
    z = scaled(x, fit)
    readout, shown = answered(x, codes, fit, "mean_difference")
    oracle = NearestCentroid().fit(z[fit], codes[fit])
    np.testing.assert_array_equal(readout.answers(shown), oracle.predict(z))


# --- scaling ------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["logistic", "ridge", "lda", "mean_difference"])
@pytest.mark.parametrize("factor", [1e-200, 1e200])
def test_no_scale_of_the_activations_is_too_large_or_too_small(method, factor):
    x, codes = data(60, 12, 3)
    fit = np.arange(45)
    expected, shown = answered(x, codes, fit, method)
    readout, z = answered(x * factor, codes, fit, method)
    np.testing.assert_array_equal(readout.answers(z), expected.answers(shown))


def test_without_scaling_the_penalty_meets_the_units_as_they_are():
    x, codes = data(60, 12, 2, strength=3)
    x[:8], codes[:8] = x[codes == 0][0], 0  # so that one class is more frequent
    fit = np.arange(45)
    for method in ("logistic", "ridge"):
        tiny, z = answered(x * 1e-200, codes, fit, method, scaling="none")
        assert (tiny.answers(z) == 0).all()  # only the frequencies are left
        huge, z = answered(x * 1e200, codes, fit, method, scaling="none")
        assert (huge.answers(z)[fit] == codes[fit]).all()


@pytest.mark.parametrize("method", ["logistic", "ridge", "lda", "mean_difference"])
@pytest.mark.parametrize("scaling", ["zscore", "none"])
def test_units_constant_in_the_fit_rows_carry_nothing(method, scaling):
    x, codes = data(60, 12, 2)
    fit = np.arange(45)
    x[fit, 3] = 0.1
    readout, _ = answered(x, codes, fit, method, scaling=scaling)
    assert (readout.coefficients[:, 3] == 0).all() and (readout.coefficients[:, 4] != 0).all()


@pytest.mark.parametrize("method", ["logistic", "ridge", "lda", "mean_difference"])
@pytest.mark.parametrize("spread", [1e-9, 1e-3, 0.1])
def test_a_unit_that_varies_more_elsewhere_is_scaled_by_its_own_spread(spread, method):
    # shared coordinates leave its values in the fit rows few digits, and its slope small
    x, codes = data(90, 4, 2)
    fit = np.arange(75)
    x[fit, 0] = 1 + spread * (codes[fit] + 0.3 * np.random.default_rng(1).normal(size=75))
    alone, z_alone = answered(x[fit], codes[fit], fit, method)
    assert (alone.answers(z_alone) == codes[fit]).mean() > 0.85
    x[75:, 0] = 7.0
    readout, z = answered(x, codes, fit, method)
    expected = alone.amounts(z_alone)
    np.testing.assert_allclose(
        readout.amounts(z[fit]), expected, atol=0.01 * np.abs(expected).max()
    )
