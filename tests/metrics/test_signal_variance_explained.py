"""Variance explained across repetitions: a loop over pairs of them, and what noise does."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from sklearn.linear_model import LinearRegression

from reptools.errors import DimensionError, ParameterError, ReptoolsWarning
from reptools.metrics.signal_variance_explained import signal_variance_explained
from reptools.metrics.variance_explained import variance_explained
from tests.planted import columns, folds_of, planted


def repeated(noise, n=200, p=20, repetitions=3, seed=0):
    """Repetitions of planted patterns with independent noise, and the patterns themselves."""
    x, features = planted(n, p, seed)
    rng = np.random.default_rng(seed + 100)
    trials = x.values + noise * rng.normal(size=(repetitions, n, p))
    dims = ("repetition", *x.dims)
    return xr.DataArray(trials, dims=dims, coords={"stimulus": x.stimulus.values}), x, features


def test_products_across_repetitions_equal_a_loop_over_pairs():
    x, _, features = repeated(noise=3.0)
    result = signal_variance_explained(x, features, cv=5)
    values, folds = x.values, folds_of(x, 5)
    for name, feature_values in features.items():
        design = columns(feature_values.values)
        explained = total = power = 0.0
        for a in range(3):
            for b in range(3):
                for fit, test in folds:
                    if a == b:
                        power += ((values[a][test] - values[a][fit].mean(axis=0)) ** 2).sum()
                        continue
                    fits = [LinearRegression().fit(design[fit], values[i][fit]) for i in (a, b)]
                    means = [values[i][fit].mean(axis=0) for i in (a, b)]
                    ya, yb = (f.predict(design[test]) - m for f, m in zip(fits, means, strict=True))
                    xa, xb = (values[i][test] - m for i, m in zip((a, b), means, strict=True))
                    explained += (ya * xb).sum() + (yb * xa).sum() - (ya * yb).sum()
                    total += (xa * xb).sum()
        one = result.sel(feature=name)
        assert one.item() == pytest.approx(explained / total, abs=1e-10)
        assert one.total.item() == pytest.approx(total / 6 / 200, rel=1e-10)
        assert one.reliability.item() == pytest.approx(total / 6 / (power / 3), rel=1e-10)


def test_equal_repetitions_give_the_plain_score():
    _, x, features = repeated(noise=0.0)
    same = xr.concat([x, x, x], dim="repetition")
    result = signal_variance_explained(same, features, cv=5)
    np.testing.assert_allclose(result, variance_explained(x, features, cv=5), atol=1e-12)
    np.testing.assert_allclose(result.reliability, 1, atol=1e-12)


def test_noise_does_not_shrink_the_shares():
    gaps, plain = [], []
    for seed in range(10):
        x, clean, features = repeated(noise=4.0, seed=seed)
        truth = variance_explained(clean, features, cv=5)
        gaps.append((signal_variance_explained(x, features, cv=5) - truth).values)
        plain.append((variance_explained(x.mean("repetition"), features, cv=5) - truth).values)
    error = np.std(gaps, axis=0) / np.sqrt(10)
    assert (np.abs(np.mean(gaps, axis=0)) < 4 * error).all()
    assert np.mean(plain, axis=0)[0] < -0.05  # the strong bit, although noise is averaged


def test_repetitions_stay_with_the_other_estimators():
    x, _, features = repeated(noise=1.0)
    result = variance_explained(x, features, cv=5)
    assert result.dims == ("repetition", "feature")
    steps = xr.concat([x, x * 2], dim="step")
    assert signal_variance_explained(steps, features).dims == ("step", "feature")


def test_signal_in_float32_with_a_large_mean():
    x, _, features = repeated(noise=1.0)
    large = (x + 1000).astype(np.float32)
    exact = signal_variance_explained(large.astype(np.float64), features)
    np.testing.assert_allclose(signal_variance_explained(large, features), exact, atol=1e-5)


def test_what_cannot_be_repeated_is_named():
    x, plain, features = repeated(noise=1.0)
    with pytest.raises(DimensionError, match="x has no repetition. It needs two or more"):
        signal_variance_explained(plain, features)
    with pytest.raises(DimensionError, match="x has 1 repetition. It needs two or more"):
        signal_variance_explained(x[:1], features)
    opposite = xr.concat([plain, -plain], dim="repetition")
    with pytest.warns(ReptoolsWarning, match="no variance in common; score missing"):
        assert signal_variance_explained(opposite, features).isnull().all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cv": 1}, "cv must be.*got 1"),
        ({"groups": "story"}, "groups='story' is no coordinate"),
        ({"seed": "a"}, "seed must be int, got 'a'"),
        ({"prepare": "whiten"}, "prepare must.*'whiten'"),
    ],
)
def test_bad_options_are_named_with_their_value(options, message):
    x, _, features = repeated(noise=1.0, n=40, p=4)
    with pytest.raises(ParameterError, match=f"signal_variance_explained: {message}"):
        signal_variance_explained(x, features, **options)
