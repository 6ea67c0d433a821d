"""Products of Grams by tiles: wherever they are cut, and whatever was taken off before."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from reptools.statistics import tiles


def sides(rng: np.random.Generator, offset: float, dtype: str) -> list[Any]:
    """Three sides of other widths and scales, with a constant unit in one."""
    found = [offset + s * rng.normal(size=(23, p)) for p, s in ((5, 1.0), (40, 9.0), (3, 0.1))]
    found[1][:, 7] = offset
    return [side.astype(dtype) for side in found]


def products(xs: list[Any]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    return tiles.by_stimuli([tiles.centred_side(x) for x in xs])


def whole(xs: list[Any]) -> np.ndarray[Any, Any]:
    """Plain products of centred Grams that are held whole."""
    centred = [np.float64(x) - np.float64(x).mean(0) for x in xs]
    grams = [z @ z.T * len(z) / np.square(z).sum() for z in centred]
    return np.array([[np.sum(k * other) for other in grams] for k in grams])


@pytest.mark.parametrize("cut", [1, 4, 11, 12, 22, 23, 24])
@pytest.mark.parametrize("offset", [0.0, 1e3])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("convert", [np.asarray, torch.as_tensor], ids=["numpy", "torch"])
def test_cuts_change_nothing(
    rng: np.random.Generator,
    monkeypatch: pytest.MonkeyPatch,
    cut: int,
    offset: float,
    dtype: str,
    convert: Any,
) -> None:
    xs = sides(rng, offset, dtype)
    monkeypatch.setattr(tiles, "TILE", cut)
    monkeypatch.setattr(tiles, "FEW", 0)
    monkeypatch.setattr(tiles, "IN_CACHE", 80)
    plain, debiased = products([convert(x) for x in xs])
    assert plain == pytest.approx(whole(xs), rel=1e-9)
    monkeypatch.undo()
    one_cut = products(xs)
    assert plain == pytest.approx(one_cut[0], rel=1e-10)
    assert debiased == pytest.approx(one_cut[1], rel=1e-10)


@pytest.mark.parametrize("offset", [1.0, 3e4])
def test_a_mean_is_kept_only_where_it_can_be_felt(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch, offset: float
) -> None:
    """One number of float32 holds a mean of 1 well enough, and not one of 30,000."""
    monkeypatch.setattr("reptools.statistics.moments.SMALL", 0)
    x = (offset + rng.normal(size=(300, 20))).astype("float32")
    side = tiles.centred_side(x)
    assert side.dtype == np.float32
    assert (side.mean is None) == (offset == 1)
    left = np.float64(side.rows(slice(0, 300))).mean(0)
    assert np.abs(left).max() < 1e-6


@pytest.mark.parametrize(("offset", "as_given"), [(0.0, True), (0.9, True), (1.2, False)])
def test_a_small_mean_is_taken_off_the_grams(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch, offset: float, as_given: bool
) -> None:
    """Float32 loses no digit that counts, up to where the mean is as large as the spread."""
    monkeypatch.setattr("reptools.statistics.moments.SMALL", 0)
    common = rng.normal(size=(600, 300))
    xs = [(common + rng.normal(size=(600, 300))) / 2**0.5 + offset for _ in range(2)]
    exact = products(xs)
    single = [x.astype("float32") for x in xs]
    for side in map(tiles.centred_side, single):
        assert side.dtype == np.float32
        assert (side.offsets is not None) == as_given
    for found, right in zip(products(single), exact, strict=True):
        assert found == pytest.approx(right, rel=1e-5)
    assert exact[0] == pytest.approx(whole(xs), rel=1e-12)
    assert tiles.centred_side(single[0][:, ::2]).offsets is None


def test_inputs_that_are_not_contiguous(rng: np.random.Generator) -> None:
    x = rng.normal(size=(23, 40))
    expected = products([x[:, ::2].copy(), x[:, 1::2].copy()])
    for found, right in zip(products([x[:, ::2], x[:, 1::2]]), expected, strict=True):
        assert found == pytest.approx(right, rel=1e-12)
