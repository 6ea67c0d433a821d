"""Ranks, exact counts of concordant pairs, and the whitening of distances, by brute force."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from scipy.stats import kendalltau, rankdata

from reptools.statistics.rdms.pairs import among, count_stimuli, row_sums, sums_of_two, upper
from reptools.statistics.rdms.ranks import SHORT, concordance, inversions, ranking
from reptools.statistics.rdms.whitening import whitened


def brute_force(sequence: np.ndarray) -> int:
    larger = sequence[:, None] > sequence[None, :]
    return int(larger[np.triu_indices(sequence.size, k=1)].sum())


@pytest.mark.parametrize("m", [1, 2, 3, SHORT - 1, SHORT, SHORT + 1, 2 * SHORT, 300, 1023, 1024])
@pytest.mark.parametrize("different", [1, 2, 7, 10**6])
def test_inversions_by_brute_force(rng: np.random.Generator, m: int, different: int) -> None:
    sequence = rng.integers(0, different, size=m)
    before = sequence.copy()
    assert inversions(sequence) == brute_force(sequence)
    np.testing.assert_array_equal(sequence, before)
    assert inversions(np.sort(sequence)) == 0


def test_inversions_of_a_reversed_sequence_are_all_pairs() -> None:
    assert inversions(np.arange(10_000)[::-1]) == 10_000 * 9_999 // 2


@pytest.mark.parametrize("decimals", [0, 1, 8])
def test_ranks_of_scipy(rng: np.random.Generator, decimals: int) -> None:
    values = np.round(rng.normal(size=200), decimals)
    found = ranking(values)
    np.testing.assert_array_equal(found.ranks, rankdata(values))
    equal = sum(values[i] == values[j] for i, j in combinations(range(200), 2))
    assert found.tied_pairs == equal


def test_a_tolerance_ties_neighbours() -> None:
    assert ranking(np.array([1.0, 1.0 + 1e-13, 2.0]), 1e-12).ranks.tolist() == [1.5, 1.5, 3.0]


@pytest.mark.parametrize("decimals", [0, 1, 8])
def test_concordance_by_brute_force_and_by_scipy(rng: np.random.Generator, decimals: int) -> None:
    a = np.round(rng.normal(size=150), decimals)
    b = np.round(a + rng.normal(size=150), decimals)
    signs = [np.sign(a[i] - a[j]) * np.sign(b[i] - b[j]) for i, j in combinations(range(150), 2)]
    first, second = ranking(a), ranking(b)
    found = concordance(first, second)
    assert found == concordance(second, first) == sum(signs)
    pairs = 150 * 149 // 2
    tau_b = found / np.sqrt(float(pairs - first.tied_pairs) * float(pairs - second.tied_pairs))
    assert tau_b == pytest.approx(kendalltau(a, b).statistic, abs=1e-14)


def test_pairs_and_row_sums_of_a_condensed_vector(rng: np.random.Generator) -> None:
    square = rng.normal(size=(7, 7))
    square = square + square.T
    np.fill_diagonal(square, 0)
    triangle = np.triu_indices(7, k=1)
    pairs = upper(square)
    np.testing.assert_array_equal(pairs, square[triangle])
    np.testing.assert_allclose(row_sums(pairs), square.sum(axis=0), atol=1e-14)
    rows = np.array([5, 0, 3, 6])  # in any order
    chosen = square[np.ix_(rows, rows)][np.triu_indices(4, k=1)]
    np.testing.assert_array_equal(pairs[among(7, rows)], chosen)
    effects = rng.normal(size=7)
    expected = (effects[:, None] + effects[None, :])[triangle]
    np.testing.assert_allclose(sums_of_two(effects), expected, atol=1e-15)
    assert [count_stimuli(m) for m in (0, 1, 21, 22)] == [0, 2, 7, 0]


@pytest.mark.parametrize("n", [3, 4, 5, 9])
def test_whitening_against_the_explicit_covariance(rng: np.random.Generator, n: int) -> None:
    pairs = list(combinations(range(n), 2))
    contrasts = np.zeros((len(pairs), n))
    for row, (i, j) in enumerate(pairs):
        contrasts[row, [i, j]] = 1, -1
    V = (contrasts @ contrasts.T) ** 2
    W = np.stack([whitened(unit) for unit in np.eye(len(pairs))], axis=1)
    np.testing.assert_allclose(W, W.T, atol=1e-15)
    np.testing.assert_allclose(W @ V @ W, np.eye(len(pairs)), atol=1e-13)


def test_whitening_decorrelates_estimated_distances() -> None:
    """The covariance V itself, from squared distances of pure noise."""
    rng = np.random.default_rng(1)
    noise = rng.normal(size=(4000, 5, 30))
    gaps = np.stack([noise[:, i] - noise[:, j] for i, j in combinations(range(5), 2)], axis=1)
    distances = (gaps**2).sum(axis=2)
    covariance = np.cov(np.stack([whitened(d) for d in distances]).T)
    off = covariance / covariance.diagonal().mean() - np.eye(10)
    raw = np.corrcoef(distances.T) - np.eye(10)
    assert np.abs(off).max() < 0.12
    assert np.abs(raw).max() > 0.2  # a quarter where two distances share a stimulus
