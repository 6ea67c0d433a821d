"""Sparseness: golden values from loops over units and stimuli, then what the number means."""

from __future__ import annotations

import numpy as np
import pytest

from reptools.engine.context import Context
from reptools.engine.operation import given_context
from reptools.engine.registry import metrics
from reptools.errors import (
    DataError,
    DeadUnitWarning,
    ParameterError,
    ReptoolsWarning,
    StimulusError,
)
from reptools.metrics.lifetime_sparseness import lifetime_sparseness
from reptools.metrics.population_sparseness import population_sparseness
from reptools.metrics.sparseness import sparseness
from reptools.metrics.total_variance import total_variance
from reptools.metrics.unit_variance_explained import unit_variance_explained
from reptools.statistics.blocks import Blocks
from reptools.statistics.features.concentration import gini
from reptools.statistics.folds import Sampling
from tests.planted import activations, feature, planted, time_course

# --- sparseness ---------------------------------------------------------------------------------


def gini_by_hand(values):
    """Mean absolute difference over all pairs, divided by twice the mean."""
    differences = np.abs(values[:, None] - values[None, :])
    return differences.mean() / (2 * values.mean())


def test_gini_equals_the_mean_difference_over_pairs():
    x, features = planted()
    by_unit = unit_variance_explained(x, features, cv=5)
    result = sparseness(x, features, cv=5)
    for name in features:
        values = np.clip(by_unit.sel(feature=name).values, 0, None)
        if not values.any():
            continue
        one = result.sel(feature=name)
        assert one.item() == pytest.approx(gini_by_hand(values), abs=1e-12)
        effective = values.sum() ** 2 / (values**2).sum()
        assert one.effective_units.item() == pytest.approx(effective)
        assert one.treves_rolls.item() == pytest.approx(effective / 30)


def test_gini_of_one_unit_and_of_equal_units():
    bit = np.tile([0.0, 1.0], 50)
    rng = np.random.default_rng(0)
    noise = np.repeat(rng.normal(size=(50, 9)), 2, axis=0)  # the same for both values of the bit
    local = activations(np.column_stack([bit, noise]))
    target = feature(bit.astype(int), local)
    result = sparseness(local, target, cv=None)
    assert result.item() == pytest.approx(1 - 1 / 10)
    assert result.effective_units.item() == pytest.approx(1)
    spread = activations(np.outer(bit, np.arange(1, 11)))
    result = sparseness(spread, target, cv=None)
    assert result.item() == pytest.approx(0, abs=1e-12)
    assert result.effective_units.item() == pytest.approx(10)


def test_gini_is_missing_where_no_unit_carries_the_feature():
    bit = np.tile([0, 1], 50)
    rng = np.random.default_rng(0)
    x = activations(np.repeat(rng.normal(size=(50, 9)), 2, axis=0))
    pairs = np.arange(100) // 2
    with pytest.warns(ReptoolsWarning, match="sparseness: no unit has a held-out R2.*'bit'; score"):
        result = sparseness(x, {"bit": feature(bit, x)}, cv=5, groups=pairs)
    assert np.isnan(result.item()) and np.isnan(result.treves_rolls.item())


# --- total variance -----------------------------------------------------------------------------


def test_total_variance_is_the_sum_of_unit_variances():
    steps, _ = time_course()
    result = total_variance(steps)
    np.testing.assert_allclose(result, steps.var("stimulus").sum("unit"), rtol=1e-12)
    large = (steps + 1000).astype(np.float32)
    exact = large.astype(np.float64).var("stimulus").sum("unit")
    np.testing.assert_allclose(total_variance(large), exact, rtol=1e-10)


# --- lifetime and population sparseness ---------------------------------------------------------


def by_hand(values):
    """Vinje and Gallant (2000) along the last axis, on rectified values, in a loop."""
    found = []
    for r in np.maximum(values, 0.0):
        a = (r.sum() / r.size) ** 2 / ((r**2).sum() / r.size)
        found.append((1 - a) / (1 - 1 / r.size))
    return np.array(found)


RATES = ("float64", "float32")


@pytest.mark.parametrize("dtype", RATES)
@pytest.mark.parametrize("shape", [(40, 7), (7, 40)])
def test_sparseness_of_responses_equals_a_loop(dtype, shape):
    rng = np.random.default_rng(0)
    values = (rng.normal(size=shape) + 0.5).astype(dtype)
    x = activations(values)
    exact = values.astype(float)
    lifetime, population = lifetime_sparseness(x), population_sparseness(x)
    assert lifetime.dims == ("unit",) and population.dims == ("stimulus",)
    assert population.stimulus.values.tolist() == x.stimulus.values.tolist()
    np.testing.assert_allclose(lifetime, by_hand(exact.T), atol=1e-12)
    np.testing.assert_allclose(population, by_hand(exact), atol=1e-12)
    np.testing.assert_allclose(lifetime.negative, (exact < 0).mean(axis=0), atol=1e-15)
    np.testing.assert_allclose(population.negative, (exact < 0).mean(axis=1), atol=1e-15)
    n = shape[0]
    np.testing.assert_allclose(lifetime.treves_rolls, 1 - lifetime * (1 - 1 / n), atol=1e-12)


def test_one_response_is_1_and_equal_responses_are_0():
    x = np.zeros((5, 4))
    x[2, 0] = 3.0
    x[:, 1:] = 2.0
    with pytest.warns(DeadUnitWarning, match="3 of 4"):
        assert lifetime_sparseness(x).values.tolist() == pytest.approx([1, 0, 0, 0])
    with pytest.warns(DeadUnitWarning, match="3 of 4"):
        assert population_sparseness(x[:, ::-1])[0].item() == pytest.approx(1 / 3, abs=1e-12)


def test_a_unit_without_response_is_missing():
    x = activations(np.array([[0.0, 1.0], [-1.0, 2.0], [-2.0, 0.0]]))
    with pytest.warns(ReptoolsWarning, match="lifetime_sparseness: 1 of 2 units have no.*NaN.: 0$"):
        result = lifetime_sparseness(x)
    assert np.isnan(result[0]) and result[1].item() == pytest.approx(by_hand(x.values.T[1:])[0])
    assert result.negative.values.tolist() == pytest.approx([2 / 3, 0])


def test_a_stimulus_without_response_is_missing():
    x = activations(np.array([[0.0, 1.0], [-1.0, 0.0], [2.0, 1.0]]))
    with pytest.warns(ReptoolsWarning, match="no unit responds to 1 of 3 stimuli.*NaN.: 's0001'$"):
        result = population_sparseness(x)
    assert result.isnull().values.tolist() == [False, True, False]
    assert result.negative.values.tolist() == [0, 0.5, 0]


@pytest.mark.parametrize("metric", [lifetime_sparseness, population_sparseness])
def test_negative_activations_are_refused_on_request(metric):
    x = activations(np.array([[1.0, 2.0], [-0.25, 3.0], [0.5, 1.0]]))
    with pytest.raises(
        DataError, match=f"{metric.__name__}: .*negative activations, down to -0.25"
    ):
        metric(x, negative="refuse")
    np.testing.assert_array_equal(metric(abs(x), negative="refuse"), metric(abs(x)))
    with pytest.raises(ParameterError, match="negative must be rectify|refuse, got 'clip'"):
        metric(x, negative="clip")


def test_too_little_to_be_sparse_over_is_refused():
    with pytest.raises(DataError, match="x has one unit; sparseness over units"):
        population_sparseness(np.array([[1.0], [2.0]]))
    with pytest.raises(StimulusError, match="x has 1 stimulus"):
        lifetime_sparseness(np.array([[1.0, 2.0]]))


@pytest.mark.parametrize("scale", [1e-150, 1e150])
def test_sparseness_of_responses_at_any_scale(scale):
    values = np.abs(np.random.default_rng(0).normal(size=(20, 6)))
    for metric in (lifetime_sparseness, population_sparseness):
        np.testing.assert_allclose(metric(values * scale), metric(values), rtol=1e-12)


@pytest.mark.parametrize("metric", [lifetime_sparseness, population_sparseness])
@pytest.mark.parametrize("scale", [1e-300, 1e-180, 1e180, 1e300])
@pytest.mark.filterwarnings("ignore:population_sparseness. no unit responds to 1 of 20 stimuli")
def test_responses_whose_squares_leave_float64(metric, scale):
    """In memory, in blocks, and beside units of ordinary scale."""
    values = np.abs(np.random.default_rng(0).normal(size=(20, 6)))
    values[3], values[4:, 2] = 0.0, 0.0
    expected = metric(values)
    np.testing.assert_allclose(metric(values * scale), expected, rtol=1e-12)
    kernel = metrics()[metric.__name__].plain.score
    stimulus = np.arange(20)
    beside = given_context(kernel, Context(stimulus, Sampling(None, 0, stimulus)))
    blocks = Blocks(20, 6, np.float64, lambda rows: values[rows] * scale, [0, 1, 9, 20])
    np.testing.assert_allclose(kernel(blocks, **beside).value, expected, rtol=1e-12)
    axis = 0 if metric is lifetime_sparseness else 1
    one = np.ones(values.shape[1 - axis])
    one[1] = scale
    mixed = values * (one if axis == 0 else one[:, None])
    np.testing.assert_allclose(metric(mixed), expected, rtol=1e-12)


@pytest.mark.parametrize("metric", [lifetime_sparseness, population_sparseness])
def test_large_float32_responses(metric):
    values = (np.random.default_rng(0).normal(size=(600, 450)) + 1000).astype(np.float32)
    exact = metric(values.astype(np.float64))
    np.testing.assert_allclose(metric(values), exact, atol=1e-10)


@pytest.mark.parametrize("scale", [1e-170, 1e160, 1e300])
def test_a_variance_beyond_float64_is_refused(scale):
    x = np.random.default_rng(0).normal(size=(20, 6))
    with pytest.raises(
        DataError, match="total_variance: x: its total variance is beyond the range"
    ):
        total_variance(x * scale)


def test_a_dead_layer_is_missing_for_every_stimulus():
    x = activations(np.ones((8, 3)))
    with pytest.warns(DeadUnitWarning, match="3 of 3 units.*missing"):
        result = population_sparseness(x)
    assert result.stimulus.values.tolist() == x.stimulus.values.tolist()
    assert result.isnull().all()


@pytest.mark.parametrize("metric", [lifetime_sparseness, population_sparseness, total_variance])
def test_bad_input_is_named(metric):
    x = activations(np.random.default_rng(0).normal(size=(8, 3)))
    with pytest.raises(ParameterError, match=f"{metric.__name__}: prepare must.*'whiten'"):
        metric(x, prepare="whiten")
    x[2, 1] = np.nan
    with pytest.raises(DataError, match=f"{metric.__name__}: x is not finite for 1 of 8 stimuli"):
        metric(x)


def test_gini_of_rows_and_of_nothing():
    assert gini(np.array([[0.0, 0.0], [1.0, 1.0], [0.0, 1.0]])).tolist()[1:] == [0.0, 0.5]
    assert np.isnan(gini(np.zeros((1, 3)))[0])
