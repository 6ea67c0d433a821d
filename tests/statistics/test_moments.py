"""Moments of chunks, added in any order or subtracted, are the moments of the whole."""

from __future__ import annotations

from functools import reduce
from itertools import pairwise
from operator import add

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reptools.statistics.blocks import Blocks, as_blocks, edges, together
from reptools.statistics.folds import Folds, Sampling
from reptools.statistics.moments import SMALL, Moments, fold_moments, moments

WANTED = {"products": (("x", "x"), ("x", "y")), "squares": ("y",)}


def brute(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Centred cross-products by numpy's covariance."""
    joint = np.cov(np.hstack([x, y]), rowvar=False, bias=True) * len(x)
    p = x.shape[1]
    return joint[:p, :p], joint[:p, p:], np.diag(joint)[p:]


def check(m: Moments, x: np.ndarray, y: np.ndarray, rtol: float = 1e-10) -> None:
    xx, xy, yy = brute(x.astype(np.float64), y.astype(np.float64))
    scale = np.abs(xx).max()
    assert m.n == len(x)
    np.testing.assert_allclose(m["x", "x"], xx, rtol=0, atol=rtol * scale)
    np.testing.assert_allclose(m["x", "y"], xy, rtol=0, atol=rtol * scale)
    np.testing.assert_allclose(m.squares["y"], yy, rtol=0, atol=rtol * scale)
    np.testing.assert_allclose(m.means["x"], x.mean(axis=0, dtype=np.float64), rtol=rtol)


@pytest.fixture
def pair(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    x = rng.normal(3, 2, size=(60, 5))
    return x, x[:, :2] + rng.normal(size=(60, 2))


def cut(x: np.ndarray, where: list[int]) -> Blocks:
    return Blocks(len(x), x.shape[1], x.dtype, lambda rows: x[rows], where)


@settings(max_examples=40, deadline=None)
@given(
    cuts=st.lists(st.integers(1, 59), max_size=5, unique=True),
    order=st.randoms(use_true_random=False),
)
def test_chunks_added_in_any_order_are_the_whole(cuts: list[int], order: object) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(50, 2, size=(60, 5)), rng.normal(size=(60, 2))
    ends = [0, *sorted(cuts), 60]
    parts = [moments({"x": x[a:b], "y": y[a:b]}, **WANTED) for a, b in pairwise(ends)]
    order.shuffle(parts)  # type: ignore[attr-defined]
    check(reduce(add, parts), x, y)


def test_subtracting_takes_stimuli_out_again(pair: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = pair
    whole = moments({"x": x, "y": y}, **WANTED)
    part = moments({"x": x[:20], "y": y[:20]}, **WANTED)
    check(whole - part, x[20:], y[20:])
    nothing = whole - whole
    assert nothing.n == 0 and not nothing["x", "x"].any()
    check(nothing + part, x[:20], y[:20])


def test_blocks_of_any_size_are_the_whole(pair: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = pair
    check(moments({"x": cut(x, [0, 1, 7, 60]), "y": y}, **WANTED), x, y)
    check(moments({"x": cut(x, [0, 30, 60]), "y": cut(y, [0, 10, 60])}, **WANTED), x, y)


def test_each_block_is_read_once(pair: tuple[np.ndarray, np.ndarray]) -> None:
    x, y = pair
    seen: list[slice] = []

    def read(rows: slice) -> np.ndarray:
        seen.append(rows)
        return x[rows]

    moments({"x": Blocks(60, 5, x.dtype, read, edges(60, 5, [20, 20, 20])), "y": y}, **WANTED)
    assert sum(rows.stop - rows.start for rows in seen) == 60


@pytest.mark.parametrize("cv", [2, 5, None])
def test_fold_moments_are_those_of_the_rows(cv: int | None, pair: tuple[np.ndarray, ...]) -> None:
    x, y = pair
    folds = Sampling(cv, 0, np.arange(60)).folds()
    for (fit, test), (fitted, tested) in zip(
        folds, fold_moments({"x": cut(x, [0, 25, 60]), "y": y}, folds, **WANTED), strict=True
    ):
        check(fitted, x[fit], y[fit])
        check(tested, x[test], y[test])


def test_folds_that_leave_rows_out_or_use_them_twice(pair: tuple[np.ndarray, ...]) -> None:
    x, y = pair
    pairs = ((np.arange(10), np.arange(5, 20)), (np.arange(30, 50), np.arange(10)))
    folds = Folds(pairs, "by hand")
    assert not folds.complementary
    for (fit, test), (fitted, tested) in zip(
        folds, fold_moments({"x": x, "y": y}, folds, **WANTED), strict=True
    ):
        check(fitted, x[fit], y[fit])
        check(tested, x[test], y[test])


def test_many_folds_that_overlap_at_random(pair: tuple[np.ndarray, ...]) -> None:
    """More kinds of rows than sums of folds: each fold's rows are summed by themselves."""
    x, y = pair
    draws = np.random.default_rng(1)
    orders = [draws.permutation(60) for _ in range(12)]
    folds = Folds(tuple((np.sort(o[:40]), np.sort(o[40:])) for o in orders), "drawn")
    assert len(folds.parts(60).rows) == 24
    for (fit, test), (fitted, tested) in zip(
        folds, fold_moments({"x": cut(x, [0, 25, 60]), "y": y}, folds, **WANTED), strict=True
    ):
        check(fitted, x[fit], y[fit])
        check(tested, x[test], y[test])


def in_float32(x: np.ndarray) -> dict[str, np.ndarray]:
    """Two sides that are both so large that products are taken in float32, scale permitting."""
    sides = {"x": x, "y": x[:, :30]}
    assert all(side.dtype == np.float32 and side.size >= SMALL for side in sides.values())
    return sides


def test_products_of_large_sides_are_taken_in_float32(rng: np.random.Generator) -> None:
    """The difference to float64 is there, so that the tests below test what they say."""
    x = rng.normal(size=(9000, 40)).astype(np.float32)
    found = moments(in_float32(x), **WANTED)["x", "x"]
    exact = moments({"x": x.astype(np.float64)}, products=[("x", "x")])["x", "x"]
    assert 1e-9 < np.abs(found - exact).max() / np.abs(exact).max() < 1e-6


def test_a_large_mean_in_float32_costs_no_digits(rng: np.random.Generator) -> None:
    x = (1000 + rng.normal(size=(9000, 40))).astype(np.float32)
    check(moments(in_float32(x), **WANTED), x, x[:, :30], rtol=1e-6)


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_scales_that_float32_cannot_square(rng: np.random.Generator, scale: float) -> None:
    x = (scale * rng.normal(size=(9000, 40))).astype(np.float32)
    check(moments(in_float32(x), **WANTED), x, x[:, :30], rtol=1e-10)


def test_a_later_block_of_another_scale(rng: np.random.Generator) -> None:
    x = rng.normal(size=(9000, 40)).astype(np.float32)
    x[8000] = 1e25
    check(moments(in_float32(x), **WANTED), x, x[:, :30], rtol=1e-10)


def test_a_first_stimulus_far_from_the_others_costs_few_digits(rng: np.random.Generator) -> None:
    x = rng.normal(size=(9000, 40)).astype(np.float32)
    x[0] = 1e4
    check(moments(in_float32(x), **WANTED), x, x[:, :30], rtol=5e-6)


def test_a_constant_unit_is_exactly_zero(rng: np.random.Generator) -> None:
    x = rng.normal(size=(50, 3))
    x[:, 1] = 0.1
    halves = moments({"x": x[:20]}, products=[("x", "x")], squares=["x"]) + moments(
        {"x": x[20:]}, products=[("x", "x")], squares=["x"]
    )
    assert not halves["x", "x"][1].any() and halves.squares["x"][1] == 0
    assert halves.means["x"][1] == 0.1


@pytest.mark.parametrize("device", ["CPU_DEVICE", "device1"])
def test_moments_stay_on_the_device_of_the_data(device: str, rng: np.random.Generator) -> None:
    strict = pytest.importorskip("array_api_strict")
    values = rng.normal(size=(12, 3))
    x = strict.asarray(values, device=strict.Device(device))
    m = moments({"x": x}, products=[("x", "x")], squares=["x"])
    assert m["x", "x"].device == strict.Device(device)
    host = strict.asarray(m["x", "x"], device=strict.Device("CPU_DEVICE"))
    np.testing.assert_allclose(np.asarray(host), brute(values, values)[0], atol=1e-12)


def test_the_side_with_more_blocks_says_where_to_cut(pair: tuple[np.ndarray, ...]) -> None:
    """No side is read in pieces larger than its own blocks, which fit in memory."""
    x, y = pair
    for first, second in (([0, 60], [0, 20, 40, 60]), ([0, 20, 40, 60], [0, 60])):
        sizes = [len(part) for part, _ in together(cut(x, first), cut(y, second))]
        assert sizes == [20, 20, 20]


def test_moments_about_other_means(pair: tuple[np.ndarray, ...]) -> None:
    x, y = pair
    other = {"x": np.arange(5.0), "y": np.array([-2.0, 7.0])}
    m = moments({"x": x, "y": y}, **WANTED).about(other)
    dx, dy = x - other["x"], y - other["y"]
    assert m.n == 60
    np.testing.assert_allclose(m["x", "x"], dx.T @ dx, rtol=1e-12)
    np.testing.assert_allclose(m["x", "y"], dx.T @ dy, rtol=1e-10)
    np.testing.assert_allclose(m.squares["y"], (dy**2).sum(axis=0), rtol=1e-12)
    np.testing.assert_allclose(m.means["x"], dx.mean(axis=0), rtol=1e-12)


def test_views_of_an_array_are_not_copies() -> None:
    x = np.ones((10, 2))
    assert all(np.shares_memory(block, x) for _, block in as_blocks(x))
