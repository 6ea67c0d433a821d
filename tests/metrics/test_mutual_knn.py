"""mutual_knn: the same neighbours as by brute force, ties shared fairly, chance taken out."""

from __future__ import annotations

from typing import Any

import array_api_strict
import numpy as np
import pytest
import xarray as xr
from sklearn.neighbors import NearestNeighbors

from reptools.engine.registry import find
from reptools.errors import DataError, DeadUnitWarning, ParameterError, StimulusError
from reptools.metrics.mutual_knn import mutual_knn
from reptools.statistics.shapes import nearest
from tests.conftest import labelled


def related(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Three shared latent dimensions (of the first seed) and noise, off the origin."""
    shared = np.random.default_rng(7).normal(size=(shape[0], 3))
    return shared @ rng.normal(size=(3, shape[1])) + 0.5 * rng.normal(size=shape) + 1.0


def bare(x: Any, y: Any, **options: Any) -> float:
    """The kernels alone, without the labelled edge."""
    wiring = find(mutual_knn).wire(find(mutual_knn).bind(options))
    assert wiring.each is not None
    return float(wiring.score(wiring.each(x), wiring.each(y)).value)


def weights_by_hand(x: np.ndarray, k: int) -> np.ndarray:
    """Chance of each to be among the k nearest of each, ties broken at random."""
    weights = np.zeros((len(x), len(x)))
    for i, row in enumerate(x):
        gaps = ((x - row) ** 2).sum(axis=1)
        gaps[i] = np.inf
        last = np.sort(gaps)[k - 1]
        nearer, tied = gaps < last * (1 - 1e-9), np.isclose(gaps, last, rtol=1e-9, atol=1e-12)
        weights[i, nearer] = 1.0
        weights[i, tied] = (k - nearer.sum()) / tied.sum()
    return weights


@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
@pytest.mark.parametrize("k", [1, 10, 58])
@pytest.mark.parametrize("shape", [(60, 7), (60, 200)])
def test_against_scikit_learn(rng: np.random.Generator, shape: Any, k: int, distance: str) -> None:
    # oracle: sklearn.neighbors.NearestNeighbors of the installed version
    x, y = related(rng, shape), related(rng, (60, 5))
    search = NearestNeighbors(n_neighbors=k, metric=distance)
    found = [search.fit(v).kneighbors(return_distance=False) for v in (x, y)]
    overlap = np.mean([len(set(a) & set(b)) / k for a, b in zip(*found, strict=True)])
    score = mutual_knn(x, y, k=k, distance=distance)
    assert float(score.overlap) == pytest.approx(overlap, abs=1e-12)
    assert float(score.chance) == k / 59
    assert float(score) == pytest.approx((overlap - k / 59) / (1 - k / 59), abs=1e-10)
    plain = mutual_knn(x, y, k=k, distance=distance, corrected=False)
    assert float(plain) == pytest.approx(overlap, abs=1e-12)
    assert (score.attrs["estimator"], plain.attrs["estimator"]) == ("above chance", "plain")


@pytest.mark.parametrize("k", [1, 4, 7])
def test_ties_are_shared_as_by_random_breaking(rng: np.random.Generator, k: int) -> None:
    x = rng.integers(0, 3, size=(30, 2)).astype(float)  # a grid: copies and many equal distances
    y = rng.integers(0, 2, size=(30, 4)).astype(float)
    by_hand = [weights_by_hand(v, k) for v in (x, y)]
    for v, weights in zip((x, y), by_hand, strict=True):
        found = nearest.neighbour_weights(v * 0.1 + 1000, k, "euclidean").toarray()
        np.testing.assert_allclose(found, weights, atol=1e-12)
        assert (np.diag(found) == 0).all()
    score = mutual_knn(x, y, k=k)
    assert float(score.overlap) == pytest.approx((by_hand[0] * by_hand[1]).sum() / (30 * k))
    others = ~np.eye(30, dtype=bool)
    correlation = np.corrcoef(by_hand[0][others], by_hand[1][others])[0, 1]
    assert float(score) == pytest.approx(correlation, abs=1e-12)


def test_ties_do_not_know_the_order_of_rows(rng: np.random.Generator) -> None:
    x = labelled(rng.integers(0, 3, size=(40, 3)).astype(float))
    y = labelled(rng.integers(0, 3, size=(40, 3)).astype(float))
    expected = float(mutual_knn(x, y, k=5))
    for _ in range(5):
        shuffled = x.isel(stimulus=rng.permutation(40))
        assert float(mutual_knn(shuffled, y, k=5)) == pytest.approx(expected, abs=1e-12)


def test_a_side_scores_1_with_itself(rng: np.random.Generator) -> None:
    tied = rng.integers(0, 3, size=(40, 2)).astype(float)
    for x in (related(rng, (40, 6)), tied, np.repeat(related(rng, (20, 6)), 2, axis=0)):
        assert bare(x, x, k=5) == pytest.approx(1, abs=1e-12)


def test_a_copy_is_a_neighbour_and_a_stimulus_is_not_its_own(rng: np.random.Generator) -> None:
    x = np.repeat(related(rng, (20, 6)), 2, axis=0)
    found = nearest.neighbour_weights(x, 1, "euclidean").toarray()
    np.testing.assert_array_equal(found.argmax(axis=1), np.arange(40) ^ 1)


@pytest.mark.parametrize("k", [3, 30])
def test_unrelated_sides_score_0(k: int) -> None:
    rng = np.random.default_rng(4)
    tied = rng.integers(0, 2, size=(60, 3)).astype(float)
    for other in (None, tied):
        draws = []
        for _ in range(60):
            x, y = rng.normal(size=(2, 60, 5))
            y = y if other is None else other[rng.permutation(60)]
            draws.append(bare(x, y, k=k))
        assert np.mean(draws) == pytest.approx(0, abs=4 * np.std(draws) / np.sqrt(60))
        assert min(draws) < 0, "it must not be clipped"


def test_its_lowest_score(rng: np.random.Generator) -> None:
    line = np.arange(4.0)[:, None]  # neighbours 0-1 and 2-3 against 0-2, 1-3
    x, y = line * [[1.0]] + (line >= 2) * 9.0, line[[0, 2, 1, 3]] + (line % 2) * 9.0
    assert bare(x, y, k=1) == pytest.approx(-0.5)
    for n, k in ((9, 4), (9, 7)):
        for _ in range(20):
            assert bare(*rng.normal(size=(2, n, 2)), k=k) >= -1


@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
def test_blocks_of_stimuli_change_nothing(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch, distance: Any
) -> None:
    x = related(rng, (50, 6))
    whole = nearest.neighbour_weights(x, 4, distance).toarray()
    monkeypatch.setattr(nearest, "BLOCK", 50 * 7)
    np.testing.assert_allclose(
        nearest.neighbour_weights(x, 4, distance).toarray(), whole, atol=1e-12
    )


def test_invariances(rng: np.random.Generator) -> None:
    x, y = related(rng, (40, 6)), related(rng, (40, 9))
    turn = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    expected = {d: bare(x, y, distance=d) for d in ("euclidean", "cosine")}
    for changed in (x @ turn, x * 1e150, x * 1e-150):
        for distance, value in expected.items():
            assert bare(changed, y, distance=distance) == pytest.approx(value, abs=1e-12)
    assert bare(x + np.arange(6), y) == pytest.approx(expected["euclidean"], abs=1e-12)
    lengths = rng.uniform(0.5, 2, size=(40, 1))
    assert bare(x * lengths, y, distance="cosine") == pytest.approx(expected["cosine"], abs=1e-12)


@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
@pytest.mark.parametrize("shape", [(40, 6), (40, 90)])
def test_float32_with_a_mean_of_1000(rng: np.random.Generator, shape: Any, distance: str) -> None:
    x, y = ((related(rng, shape) + 1000).astype(np.float32) for _ in range(2))
    exact = bare(x.astype(np.float64), y.astype(np.float64), distance=distance)
    assert bare(x, y, distance=distance) == pytest.approx(exact, abs=1e-12)


@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
def test_other_libraries(rng: np.random.Generator, distance: Any) -> None:
    torch = pytest.importorskip("torch")
    grid = rng.integers(0, 3, size=(40, 2)) + 1.0
    for x, y in ((related(rng, (40, 6)), related(rng, (40, 60))), (grid, related(rng, (40, 3)))):
        expected = bare(x, y, distance=distance)
        for convert in (torch.from_numpy, array_api_strict.asarray):
            score = bare(convert(x), convert(y), distance=distance)
            assert score == pytest.approx(expected, abs=1e-12)


def test_a_dead_unit_carries_no_weight(x: xr.DataArray, y: xr.DataArray) -> None:
    dead = x.copy()
    dead[:, 2] = 1e8
    with pytest.warns(DeadUnitWarning, match="x has 1 of 6 units without variance"):
        score = float(mutual_knn(dead, y, k=4))
    assert score == float(mutual_knn(x.drop_isel(unit=2), y, k=4))


def test_bad_input(x: xr.DataArray, y: xr.DataArray) -> None:
    with pytest.raises(
        StimulusError, match="mutual_knn: x: k=23 neighbours need .* 25 stimuli, got 24"
    ):
        mutual_knn(x, y, k=23)
    with pytest.raises(ParameterError, match="k must be int at least 1, got 0"):
        mutual_knn(x, y, k=0)
    with pytest.raises(ParameterError, match="distance must be .*, got 'manhattan'"):
        mutual_knn(x, y, distance="manhattan")
    with pytest.raises(ParameterError, match="corrected must be bool, got 1"):
        mutual_knn(x, y, corrected=1)
    with pytest.raises(ParameterError, match="got 'pca'"):
        mutual_knn(x, y, prepare="pca")
    with pytest.raises(StimulusError, match="24 only in x"):
        mutual_knn(x, y.assign_coords(stimulus=[f"t{i}" for i in range(24)]))
    with pytest.raises(DataError, match="y: all 24 stimuli are equally far from each other"):
        mutual_knn(x.values, 3 * np.eye(24) + 1)
    nothing = x.copy()
    nothing[5] = 0.0
    with pytest.raises(DataError, match=r"1 of 24 patterns are zero \(rows 5\)"):
        mutual_knn(nothing, y, distance="cosine")
    y[3, 1] = np.nan
    with pytest.raises(DataError, match="y is not finite for 1 of 24 stimuli"):
        mutual_knn(x, y)
