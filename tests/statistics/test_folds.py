"""Folds come from (seed, label): the same under shuffling, whole groups, even strata."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from sklearn.model_selection import (
    GroupKFold,
    KFold,
    PredefinedSplit,
    ShuffleSplit,
    StratifiedKFold,
)

import reptools as rt
from reptools.errors import ParameterError, StimulusError
from reptools.statistics.folds import Folds, Sampling, hash_rank

LABELS = np.array([f"s{i}" for i in range(30)], dtype=object)


def members(folds: Folds, labels: np.ndarray) -> list[set[str]]:
    return [set(labels[test].tolist()) for _, test in folds]


@pytest.mark.parametrize("cv", [3, 5, "split", KFold(4)])
def test_shuffling_changes_no_fold(cv: object) -> None:
    order = np.random.default_rng(1).permutation(30)
    strata = np.arange(30) % 2
    straight = Sampling(cv, 7, LABELS).folds(strata)
    shuffled = Sampling(cv, 7, LABELS[order]).folds(strata[order])
    assert members(straight, LABELS) == members(shuffled, LABELS[order])


def test_every_stimulus_is_tested_once_and_never_fitted_on() -> None:
    folds = Sampling(5, 0, LABELS).folds()
    assert sorted(np.concatenate([test for _, test in folds])) == list(range(30))
    assert all(not np.intersect1d(fit, test).size for fit, test in folds)
    assert [len(test) for _, test in folds] == [6] * 5


def test_another_seed_gives_other_folds() -> None:
    first, second = (members(Sampling(5, seed, LABELS).folds(), LABELS) for seed in (0, 1))
    assert first != second


def test_strata_are_spread_evenly() -> None:
    strata = np.repeat([0, 1, 2], 10)
    for _, test in Sampling(5, 0, LABELS).folds(strata):
        assert np.bincount(strata[test]).tolist() == [2, 2, 2]


def test_groups_stay_whole_and_balanced() -> None:
    groups = np.repeat(np.arange(6), 5)
    folds = Sampling(3, 0, LABELS, groups=groups, groups_name="run").folds()
    for fit, test in folds:
        assert not np.intersect1d(groups[fit], groups[test]).size
        assert len(test) == 10
    assert "whole run" in folds.description


def test_large_groups_are_dealt_first() -> None:
    groups = np.repeat(np.arange(9), [1, 1, 1, 1, 1, 1, 4, 8, 12])
    folds = Sampling(3, 0, LABELS, groups=groups).folds()
    assert sorted(len(test) for _, test in folds) == [9, 9, 12]


def test_time_is_cut_into_blocks() -> None:
    time = np.random.default_rng(3).permutation(30)
    for _, test in Sampling(3, 0, LABELS, time=time).folds():
        assert np.ptp(time[test]) == 9


def test_the_split_coordinate_is_used_and_named() -> None:
    split = np.array(["train"] * 10 + ["validation"] * 8 + ["test"] * 12)
    folds = Sampling("split", 0, LABELS, split=split).folds()
    ((fit, test),) = folds
    assert fit.tolist() == list(range(10, 18)) and test.tolist() == list(range(18, 30))
    assert folds.description == "split: fit on validation (8), test on test (12)"
    without = Sampling("split", 0, LABELS, split=np.where(split == "validation", "train", split))
    assert without.folds().description == "split: fit on train (18), test on test (12)"


def test_without_a_split_two_halves_both_ways() -> None:
    folds = Sampling("split", 0, LABELS).folds()
    (fit, test), (back_fit, back_test) = folds
    assert fit.tolist() == back_test.tolist() and test.tolist() == back_fit.tolist()
    assert "no split coordinate" in folds.description


def test_in_sample_says_so() -> None:
    assert Sampling(None, 0, LABELS).folds().description == "in sample"


@pytest.mark.parametrize("cv", [31, 1])
def test_an_impossible_number_of_folds_is_named(cv: int) -> None:
    with pytest.raises(ParameterError, match=f"from 2 to 30, the number of stimuli, got {cv}"):
        Sampling(cv, 0, LABELS).folds()


def test_more_folds_than_groups_is_named() -> None:
    with pytest.raises(ParameterError, match="from 2 to 3, the number of run, got 4"):
        Sampling(4, 0, LABELS, groups=np.arange(30) % 3, groups_name="run").folds()


def test_an_unknown_split_value_is_named() -> None:
    with pytest.raises(ParameterError, match="'held'"):
        Sampling("split", 0, LABELS, split=np.array(["train"] * 20 + ["held"] * 10)).folds()


def test_a_group_on_both_sides_of_the_split_is_named() -> None:
    split = np.array(["train", "test"] * 15)
    with pytest.raises(StimulusError, match="1 run lie on both sides of the split .7"):
        groups = np.where(np.arange(30) < 2, 7, np.arange(30))
        Sampling("split", 0, LABELS, split=split, groups=groups, groups_name="run").folds()


def test_hash_ranks_are_uniform() -> None:
    """Rank of one label over seeds: mean near the middle (sd of the mean 0.6 of 29)."""
    ranks = [hash_rank(LABELS, seed)[4] for seed in range(200)]
    assert abs(np.mean(ranks) - 14.5) < 2.5


def test_equal_times_are_cut_by_label_not_by_row() -> None:
    order, time = np.random.default_rng(1).permutation(30), np.arange(30) // 4
    straight = Sampling(3, 0, LABELS, time=time).folds()
    shuffled = Sampling(3, 0, LABELS[order], time=time[order]).folds()
    assert members(straight, LABELS) == members(shuffled, LABELS[order])


def test_a_splitter_that_cannot_or_must_not_split_is_named() -> None:
    with pytest.raises(ParameterError, match=r"StratifiedKFold.* cannot split .*no classes"):
        Sampling(StratifiedKFold(3), 0, LABELS).folds()
    with pytest.raises(
        ParameterError, match=r"GroupKFold.* cannot split .*no groups.*Pass groups="
    ):
        Sampling(GroupKFold(3), 0, LABELS).folds()
    with pytest.raises(ParameterError, match=r"ShuffleSplit.* draws anew .*Give it a random_state"):
        Sampling(ShuffleSplit(3), 0, LABELS).folds()


def test_folds_by_position_are_for_unlabelled_stimuli() -> None:
    cv = PredefinedSplit(np.arange(30) % 3)
    assert len(Sampling(cv, 0, np.arange(30)).folds()) == 3
    with pytest.raises(ParameterError, match="PredefinedSplit names folds by position"):
        Sampling(cv, 0, LABELS).folds()
    with pytest.raises(ParameterError, match="PredefinedSplit names folds by position"):
        Sampling(cv, 0, np.arange(30)[::-1]).folds()


def test_a_stratified_splitter_serves_classes() -> None:
    x = np.random.default_rng(0).normal(size=(30, 4))
    result = rt.probe(x, np.arange(30) % 2, cv=StratifiedKFold(3))
    assert result.attrs["cv"] == "StratifiedKFold, 3 folds"


class Yields:
    """A splitter that yields what it is given."""

    def __init__(self, *pairs: object) -> None:
        self.pairs = pairs

    def split(self, x: object, y: object = None, groups: object = None) -> Iterator[object]:
        return iter(self.pairs)


FEW, REST = np.arange(10), np.arange(10, 30)


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ([], "cv=Yields makes no folds"),
        ([FEW], "yields ndarray as fold 0. Yield .fit, test."),
        ([(REST, FEW), (FEW, np.arange(0))], "the test rows of fold 1 are empty"),
        ([([], FEW)], "the fit rows of fold 0 are empty"),
        ([(REST, FEW + 0.0)], r"the test rows of fold 0 are float64 of shape .10,.*Yield row"),
        ([(np.arange(30) > 9, FEW)], r"the fit rows of fold 0 are bool of shape .30,"),
        ([(REST[:, None], FEW)], r"the fit rows of fold 0 are int64 of shape .20, 1"),
        ([(REST, FEW - 1)], "the test rows of fold 0 reach from -1 to 8, and there are 30 stim"),
        ([(REST + 1, FEW)], "the fit rows of fold 0 reach from 11 to 30, .* from 0 to 29"),
        ([(np.tile(REST, 2)[:23], FEW)], "the fit rows of fold 0 repeat 3 of 30 .10, 11, 12"),
        ([(REST, FEW), (np.arange(8, 30), FEW)], "fits 2 of the 10 .* that fold 1 tests .'s8', 's"),
    ],
)
def test_a_splitter_that_yields_no_folds_is_named(pairs: list[object], message: str) -> None:
    labels = np.array([f"s{i}" for i in range(10)] + [f"t{i}" for i in range(20)], dtype=object)
    with pytest.raises(ParameterError, match=message):
        Sampling(Yields(*pairs), 0, labels).folds()


def test_fit_rows_that_are_tested_are_no_result() -> None:
    x, bit = np.random.default_rng(0).normal(size=(30, 4)), np.arange(30) % 2
    every = np.arange(30)
    with pytest.raises(ParameterError, match=r"probe: cv=Yields fits 30 of the 30 .* .0, 1, 2, "):
        rt.probe(x, bit, cv=Yields((every, every)))


@pytest.mark.parametrize("first", [np.nan, "NaT"])
def test_a_missing_time_is_counted(first: object) -> None:
    time = np.arange(30).astype("f8" if first is np.nan else "M8[s]")
    time[[3, 7]] = first
    with pytest.raises(ParameterError, match="'time' is missing for 2 of 30 stimuli"):
        Sampling(3, 0, LABELS, time=time).folds()


def test_a_time_of_text_has_no_order() -> None:
    time = np.arange(30).astype(str)
    for text in (time, time.astype(object)):
        with pytest.raises(ParameterError, match=r"holds (<U21|object) values .'0', '1', '2', "):
            Sampling(3, 0, LABELS, time=text).folds()
    assert len(Sampling(3, 0, LABELS, time=time, groups=np.arange(30)).folds()) == 3


def test_times_may_be_dates() -> None:
    time = np.random.default_rng(3).permutation(30)
    numbers = Sampling(3, 0, LABELS, time=time).folds()
    dates = Sampling(3, 0, LABELS, time=time.astype("M8[D]")).folds()
    assert members(numbers, LABELS) == members(dates, LABELS)


def test_a_splitter_that_divides_groups_is_named() -> None:
    groups = np.arange(30) // 4
    cv = Yields((REST, FEW))
    with pytest.raises(StimulusError, match="1 run lie on both sides of fold 0 of cv=Yields .2."):
        Sampling(cv, 0, np.arange(30), groups=groups, groups_name="run").folds()
    assert len(Sampling(GroupKFold(3), 0, LABELS, groups=groups).folds()) == 3
