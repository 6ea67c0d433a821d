"""Designs are as even as their sizes allow, and rounding takes no side."""

from __future__ import annotations

import numpy as np
import pytest

from datasets.sampling import draw_labelled, draw_values, value_shares

LEVELS = {"a": 2, "b": 3, "c": 4}


def test_shares_of_values() -> None:
    shares = value_shares(LEVELS, {"a": 0.2, "c": 0.4})
    np.testing.assert_allclose(shares["a"], [0.8, 0.2])
    np.testing.assert_allclose(shares["b"], [1 / 3] * 3)
    np.testing.assert_allclose(shares["c"], [0.2, 0.4, 0.2, 0.2])


def test_whole_numbers_are_exact() -> None:
    shares = value_shares(LEVELS, {"a": 0.25, "c": 0.4})
    values = draw_values(240, list(shares.values()), np.random.default_rng(0))
    for a in range(2):
        for b in range(3):
            for c in range(4):
                count = (values == (a, b, c)).all(axis=1).sum()
                assert count == round(240 * shares["a"][a] * shares["b"][b] * shares["c"][c])


def test_every_combination_is_rounded_down_or_up() -> None:
    shares = list(value_shares(LEVELS, {"a": 0.3, "b": 0.1}).values())
    for n in (1, 7, 100, 1001):
        values = draw_values(n, shares, np.random.default_rng(n))
        assert len(values) == n
        index = values @ np.array([1, 2, 6])
        counts = np.bincount(index, minlength=24)
        expected = n * np.array(
            [a * b * c for c in shares[2] for b in shares[1] for a in shares[0]]
        )
        assert (abs(counts - expected) < 1).all()


def test_rounding_is_not_biased() -> None:
    # 24 combinations for 10 stimuli: nearly everything is rounded.
    shares = list(value_shares(LEVELS, {"a": 0.1}).values())
    rng = np.random.default_rng(0)
    values = np.concatenate([draw_values(10, shares, rng) for _ in range(2000)])
    # the share itself is within 1 % of a binomial's for 20,000 draws
    assert abs(values[:, 0].mean() - 0.1) < 0.01
    for column, share in zip(values.T[1:], shares[1:], strict=True):
        np.testing.assert_allclose(np.bincount(column) / len(column), share, atol=0.01)


def test_order_is_random() -> None:
    values = draw_values(4000, [np.array([0.5, 0.5])], np.random.default_rng(1))[:, 0]
    runs = (np.diff(values.astype(int)) != 0).sum()
    assert abs(runs - 2000) < 4 * np.sqrt(1000)


@pytest.mark.parametrize("share", [0.001, 0.1, 0.5, 2 / 3, 1.0])
def test_labels_follow_their_share_in_every_stratum(share: float) -> None:
    rng = np.random.default_rng(2)
    values = draw_values(1000, list(value_shares(LEVELS, {"a": 0.2}).values()), rng)
    seen = draw_labelled(values, {"a": share, "b": 0.3}, rng)
    assert abs(seen["a"].sum() - 1000 * share) < 1
    assert abs(seen["b"].sum() - 300) < 1
    index = values @ np.array([1, 2, 6])
    for i in range(24):
        rows = index == i
        assert abs(seen["a"][rows].sum() - share * rows.sum()) < 1
        for first in (0, 1):
            both = rows & (seen["a"] == first)
            assert abs(seen["b"][both].sum() - 0.3 * both.sum()) < 1


def test_which_labels_are_seen_is_random() -> None:
    values = np.zeros((1000, 1), np.uint8)
    rng = np.random.default_rng(3)
    first, second = (draw_labelled(values, {"a": 0.5}, rng)["a"] for _ in range(2))
    assert abs((first == second).mean() - 0.5) < 4 * 0.5 / np.sqrt(1000)
