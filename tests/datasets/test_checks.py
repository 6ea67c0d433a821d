"""The matched-role check finds what is wrong with a set of stimuli, and passes what is right."""

from __future__ import annotations

import json

import numpy as np
import pytest
import xarray as xr
from scipy.stats import binom
from scipy.stats.contingency import association

from datasets.binary import BinaryConfig, make_binary
from datasets.checks import _deviating, check_roles, cramers_v, trivial_readouts
from datasets.features import lay_out
from reptools.errors import StimulusError

PREVALENCE, LABELLED = {"easy": 0.2}, {"hard": 0.3}
PROMISES = {"prevalence": PREVALENCE, "labelled": LABELLED}
CONFIG = BinaryConfig(
    lay_out({"easy": "copy", "hard": "xor"}),
    units=16, train=2000, validation=32, test=64, **PROMISES,
)  # fmt: skip


@pytest.fixture
def data() -> xr.Dataset:
    return make_binary(CONFIG)


def test_what_is_right_passes_and_is_measured(data: xr.Dataset) -> None:
    roles = check_roles(data, **PROMISES)
    assert roles == json.loads(data.attrs["roles"])
    assert roles["shares"] == {"easy": [0.8, 0.2], "hard": [0.5, 0.5]}
    assert roles["labelled"] == {"labelled_hard": 0.3}
    assert roles["chance"] == {"easy": 0.5, "hard": 0.5}
    assert roles["association"] < 0.005


def test_nothing_is_changed(data: xr.Dataset) -> None:
    before = data.copy(deep=True)
    check_roles(data, **PROMISES)
    xr.testing.assert_identical(data, before)


def test_an_input_in_two_splits(data: xr.Dataset) -> None:
    data["input"][-1] = data["input"][0]
    with pytest.raises(StimulusError, match="1 inputs occur again among 2096"):
        check_roles(data, **PROMISES)


def test_a_label_twice(data: xr.Dataset) -> None:
    labels = data["stimulus"].values.copy()
    labels[1] = labels[0]
    with pytest.raises(StimulusError, match="1 labels occur again"):
        check_roles(data.assign_coords(stimulus=labels), **PROMISES)


@pytest.mark.parametrize("split", ["validation", "test"])
def test_an_uneven_design(data: xr.Dataset, split: str) -> None:
    row = np.flatnonzero(data["split"].values == split)[0]
    data["easy"][row] = 1 - data["easy"][row]
    with pytest.raises(
        StimulusError, match=rf"\['easy', 'hard'\] occur .* times in {split}, 4 of 4"
    ):
        check_roles(data, **PROMISES)


def test_a_missing_combination(data: xr.Dataset) -> None:
    test = data["split"].values == "test"
    data["easy"][test] = data["hard"].values[test]
    with pytest.raises(StimulusError, match="32 times in test, 2 of 4"):
        check_roles(data, **PROMISES)


def test_another_prevalence_than_promised(data: xr.Dataset) -> None:
    with pytest.raises(StimulusError, match=r"easy is 0 in 1600 of 2000 .* of 0\.7 was promised"):
        check_roles(data, prevalence={"easy": 0.3}, labelled=LABELLED)
    with pytest.raises(StimulusError, match=r"easy is 0 in 1600 .* of 0\.5 was promised"):
        check_roles(data, labelled=LABELLED)


def test_features_that_go_together_in_training(data: xr.Dataset) -> None:
    # The shares stay as promised: hard is 1 wherever easy is, and as often 0 elsewhere.
    train = data["split"].values == "train"
    easy = data["easy"].values
    hard = easy.copy()
    hard[np.flatnonzero(train & (easy == 0))[:600]] = 1
    data["hard"][train] = hard[train]
    with pytest.raises(StimulusError, match=r"easy and hard are 0 and 0 in 1000 .* of 0\.4 would"):
        check_roles(data, **PROMISES)


def test_labels_that_go_with_a_feature(data: xr.Dataset) -> None:
    train = np.flatnonzero(data["split"].values == "train")
    first = train[np.argsort(data["easy"].values[train], kind="stable")]
    data["labelled_hard"][train] = 0
    data["labelled_hard"][first[-600:]] = 1  # all of easy = 1
    with pytest.raises(StimulusError, match="easy and labelled_hard are 0 and 0 in 1400"):
        check_roles(data, **PROMISES)


def test_labels_that_were_not_promised(data: xr.Dataset) -> None:
    with pytest.raises(StimulusError, match="labelled_hard is 0 in 1400 of 2000"):
        check_roles(data, prevalence=PREVALENCE)
    with pytest.raises(StimulusError, match=r"'easy' .* of 0\.5 .* no coord labelled_easy"):
        check_roles(data, prevalence=PREVALENCE, labelled={**LABELLED, "easy": 0.5})


def test_a_label_hidden_where_networks_are_analysed(data: xr.Dataset) -> None:
    data["labelled_hard"][-1] = 0
    with pytest.raises(StimulusError, match="labelled_hard is 0 on 1 stimuli of test"):
        check_roles(data, **PROMISES)


def test_trivial_readouts_read_a_copy_and_no_xor(data: xr.Dataset) -> None:
    read = trivial_readouts(data, {"easy": 2, "hard": 2})
    assert read["easy"]["nearest_centroid"] == 1
    assert abs(read["hard"]["nearest_centroid"] - 0.5) < 4 * 0.5 / np.sqrt(64)
    assert check_roles(data, **PROMISES, unreadable={"hard": 0.5})["trivial"] == {
        "hard": read["hard"]
    }
    with pytest.raises(StimulusError, match=r"easy is read by nearest_centroid .* of 1\.000, and"):
        check_roles(data, **PROMISES, unreadable={"easy": 0.6})


def test_honest_draws_pass() -> None:
    # Not a design but plain draws: the check must not refuse what chance alone explains.
    rng = np.random.default_rng(0)
    data = make_binary(BinaryConfig(CONFIG.features, train=500, validation=32, test=32))
    train = np.flatnonzero(data["split"].values == "train")
    for _ in range(50):
        for name in ("easy", "hard"):
            data[name][train] = rng.integers(0, 2, len(train))
        check_roles(data)


def test_cramers_v_against_the_correlation_of_two_binary_variables() -> None:
    rng = np.random.default_rng(1)
    x = rng.integers(0, 2, 300)
    y = np.where(rng.random(300) < 0.7, x, rng.integers(0, 2, 300))
    table = np.array([[((x == i) & (y == j)).sum() for j in (0, 1)] for i in (0, 1)])
    assert cramers_v(table) == pytest.approx(np.corrcoef(x, y)[0, 1])
    assert cramers_v(np.array([[3, 4]])) == 0


def test_cramers_v_of_tables_of_any_size_is_scipys() -> None:
    rng = np.random.default_rng(2)
    for shape in ((2, 5), (3, 3), (4, 6)):
        table = rng.integers(1, 40, size=shape)
        assert cramers_v(table) == pytest.approx(association(table, method="cramer"), rel=1e-12)
    assert cramers_v(7 * np.eye(4, dtype=int)) == pytest.approx(1)


def test_a_count_is_refused_where_the_binomial_test_of_scipy_says_so() -> None:
    n, share = 200, 0.3
    limits = {k: binom.cdf(k, n, share) for k in range(n + 1)}
    limits = {k: 2 * min(p, 1 - p + binom.pmf(k, n, share)) for k, p in limits.items()}
    refused = {k for k in range(n + 1) if list(_deviating(np.array([k, n - k]), [share, 0.7]))}
    assert refused == {k for k, p in limits.items() if p < 1e-7}
