"""A unit that varies by the rounding of its own numbers is dead; whatever varies by more is not."""

from __future__ import annotations

import array_api_strict
import numpy as np
import pytest
import torch

import reptools as rt
from reptools.errors import DeadUnitWarning
from reptools.statistics import prepare
from reptools.statistics.blocks import Blocks
from reptools.statistics.varying import Varying, varying
from tests.conftest import labelled

N = 200  # more than the rows that are looked at first


def steps_apart(rng: np.random.Generator, ulps: float, dtype: type, value: float) -> np.ndarray:
    """Numbers in the precision of ``dtype`` up to ``ulps`` units in the last place from value."""
    gap = ulps * np.finfo(dtype).eps * abs(value)
    values = (value + gap * rng.uniform(-1, 1, size=N)).astype(dtype)
    values[0], values[-1] = value, value + gap
    return values


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("value", [1.0, -3e-30, 1e20])
def test_the_line_is_drawn_relative_to_the_unit(
    rng: np.random.Generator, dtype: type, value: float
) -> None:
    columns = [steps_apart(rng, ulps, dtype, value) for ulps in (0, 1, 7, 9, 100)]
    seen = varying(np.stack(columns, axis=1), None)
    assert seen.dead.tolist() == [0, 1, 2] and not seen.nothing
    assert varying(np.stack(columns[:3], axis=1)).nothing


def test_a_unit_that_varies_late_or_about_zero_is_alive(rng: np.random.Generator) -> None:
    x = np.zeros((N, 3))
    x[-1, 1] = 5e-324  # nothing is rounding beside 0
    x[N // 2 :, 2] = 1e-30
    assert varying(x).dead.tolist() == [0]


@pytest.mark.parametrize("library", [np, torch, array_api_strict])
def test_dead_units_become_their_first_value(library, rng: np.random.Generator) -> None:
    x = rng.normal(size=(N, 3))
    x[:, 1] = np.where(np.arange(N) % 3, 0.3, 0.1 + 0.2)
    given = library.asarray(x.copy())
    settled = np.asarray(varying(given).settled(given))
    assert (settled[:, 1] == x[0, 1]).all() and (np.asarray(given) == x).all()
    np.testing.assert_array_equal(settled[:, [0, 2]], x[:, [0, 2]])
    alive = library.asarray(x[:, [0, 2]])
    assert varying(alive).settled(alive) is alive


def test_rows_may_come_in_any_blocks(rng: np.random.Generator) -> None:
    x = np.stack([np.full(N, 2.0), steps_apart(rng, 3, np.float64, 2.0), rng.normal(size=N)], 1)
    for cut in (1, 63, 64, 65, 199):
        seen = Varying(2e-15)
        seen.see(x[:cut])
        seen.see(x[cut:])
        assert seen.dead.tolist() == [0, 1] and seen.n == N and not seen.equal


# --- what divides by a spread --------------------------------------------------------------------


def noisy(rng: np.random.Generator, n: int = 96) -> tuple[np.ndarray, np.ndarray]:
    """A signal, and the same beside units that take 0.3 and 0.1 + 0.2 at random."""
    signal = rng.normal(size=(n, 2))
    return signal, np.c_[signal, np.where(rng.integers(0, 2, size=(n, 40)), 0.3, 0.1 + 0.2)]


def test_zscore_makes_no_signal_of_rounding(rng: np.random.Generator) -> None:
    signal, x = noisy(rng)
    with pytest.warns(DeadUnitWarning, match="x has 40 of 42 units .*after prepare='zscore'"):
        score = rt.cka(x, signal, prepare="zscore")
    assert score.item() == pytest.approx(1, abs=1e-12)
    assert score.attrs["n_dead_units_x"] == 40


@pytest.mark.parametrize("scale", [1.0, 1e-200, 1e200])
def test_zscore_at_any_scale(rng: np.random.Generator, scale: float) -> None:
    x = rng.normal(size=(50, 4)) + 2
    np.testing.assert_allclose(prepare.zscore(x * scale), prepare.zscore(x), rtol=1e-12)
    np.testing.assert_allclose(prepare.unit_norm(x * scale), prepare.unit_norm(x), rtol=1e-12)
    mixed = x * [1, scale, 1, 1 / scale]
    np.testing.assert_allclose(prepare.zscore(mixed), prepare.zscore(x), rtol=1e-12)
    mixed = x * ([[scale], [1.0]] * 25)
    np.testing.assert_allclose(prepare.unit_norm(mixed), prepare.unit_norm(x), rtol=1e-12)


def test_zscore_of_blocks(rng: np.random.Generator) -> None:
    """One pass tells which units are rounding; those too small to square count as dead."""
    _, x = noisy(rng)
    x = np.c_[x[:, :5], 1e-200 * x[:, 0], np.full(96, 0.1)]
    blocks = Blocks(96, 7, x.dtype, lambda rows: x[rows], [0, 50, 96])
    found = np.concatenate([block for _, block in prepare.zscore(blocks)])
    np.testing.assert_allclose(found[:, :2], prepare.zscore(x)[:, :2], rtol=1e-12, atol=1e-14)
    assert (found[:, 2:] == 0).all()


def test_zscore_after_a_step_knows_the_precision_the_data_came_in(rng: np.random.Generator) -> None:
    """Patterns of rank one in float32 have norm 1 up to float32's rounding, not float64's."""
    x = np.outer(rng.uniform(1, 2, 60), [1, 2, 3, 4, 5.0]).astype(np.float32)
    x = np.outer(rng.uniform(1, 2, 60), rng.normal(size=5)).astype(np.float32)
    normed = prepare.apply(x, ("unit_norm",))
    assert 1e-9 < np.ptp(normed, axis=0).max() < 1e-6
    assert (prepare.apply(x, ("unit_norm", "zscore")) == 0).all()


# --- patterns of rank one ------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("metric", [rt.cka, rt.procrustes, rt.cca])
def test_one_direction_divided_by_its_norm_is_one_pattern(
    rng: np.random.Generator, dtype: type, metric
) -> None:
    x = (np.abs(rng.normal(size=(96, 1))) * [1, 2, 3, 4, 5.0]).astype(dtype)
    other = rng.normal(size=(96, 6))
    with pytest.warns(DeadUnitWarning, match="x has 5 of 5 .*'unit_norm'; the score is missing"):
        assert np.isnan(metric(x, other, prepare="unit_norm").item())
    lazy = labelled(x).chunk(stimulus=32)
    with pytest.warns(DeadUnitWarning, match="x has 5 of 5 .*'unit_norm'; the score is missing"):
        assert np.isnan(rt.cka(lazy, labelled(other), prepare="unit_norm").item())
