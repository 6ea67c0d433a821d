"""compare_rdms: published numbers of the 92 images, scipy, rsatoolbox, tau-a by brute force."""

from __future__ import annotations

import re
from itertools import combinations

import numpy as np
import pytest
import xarray as xr
from scipy.io import loadmat
from scipy.spatial.distance import squareform
from scipy.stats import pearsonr, spearmanr

import reptools as rt
from reptools.errors import DataError, DimensionError, ParameterError, StimulusError
from reptools.metrics.comparators import compare_rdms, prepared_rdm
from tests.shared_data import shared

METHODS = ("pearson", "spearman", "kendall_tau_a", "cosine")


def square(vector: np.ndarray, prefix: str = "s") -> xr.DataArray:
    """A labelled RDM from a condensed vector."""
    values = squareform(vector)
    labels = [f"{prefix}{i}" for i in range(len(values))]
    coords = {"stimulus": labels, "stimulus_": labels}
    return xr.DataArray(values, dims=("stimulus", "stimulus_"), coords=coords)


@pytest.fixture
def pair(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    a = rng.uniform(size=45)
    return a, a + rng.uniform(size=45)


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("pearson", 0.49121),  # the paper reports 0.49
        ("spearman", 0.438924),
        ("kendall_tau_a", 0.304048),
        ("cosine", 0.995022),
    ],
)
def test_human_and_monkey_it(method: str, expected: float) -> None:
    """Kriegeskorte et al. 2008; the values agree with rsatoolbox 0.3.2."""
    path = shared("kriegeskorte92/Kriegeskorte_Neuron2008_supplementalData.mat")
    monkey, human = (r["RDM"] for r in loadmat(path, simplify_cells=True)["RDMs_mIT_hIT_fig1"])
    assert float(compare_rdms(monkey, human, method=method)) == pytest.approx(expected, abs=5e-6)
    labelled_value = float(compare_rdms(square(monkey), square(human), method=method))
    assert labelled_value == pytest.approx(expected, abs=5e-6)


def test_nan_distances_of_a_real_file_are_counted() -> None:
    path = shared("kriegeskorte92/rdm92_HMAXnatImPatch.mat")
    human, monkey = (r["simmat"] for r in loadmat(path, simplify_cells=True)["RDMs"])
    with pytest.raises(DataError, match="b has 374 of 4560 distances that are not finite"):
        compare_rdms(human, monkey)


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("pearson", 0.48795003647426655),
        ("spearman", 0.5082650227325635),
        ("kendall_tau_a", 1 / 3),
        ("cosine", 0.8355727485873496),
    ],
)
def test_values_of_rsatoolbox_0_3_2_with_ties(method: str, expected: float) -> None:
    a, b = [3, 1, 2, 2, 0, 3, 1, 1, 2, 0], [2, 2, 1, 3, 0, 1, 1, 0, 2, 1]
    assert float(compare_rdms(a, b, method=method)) == pytest.approx(expected, abs=1e-14)


def test_against_scipy(pair: tuple[np.ndarray, np.ndarray]) -> None:
    a, b = (np.round(v, 1) for v in pair)
    assert float(compare_rdms(a, b, method="pearson")) == pytest.approx(pearsonr(a, b).statistic)
    assert float(compare_rdms(a, b)) == pytest.approx(spearmanr(a, b).statistic, abs=1e-14)


def test_tau_a_by_brute_force(pair: tuple[np.ndarray, np.ndarray]) -> None:
    a, b = (np.round(v, 1) for v in pair)
    signs = [np.sign(a[i] - a[j]) * np.sign(b[i] - b[j]) for i, j in combinations(range(45), 2)]
    assert float(compare_rdms(a, b, method="kendall_tau_a")) == pytest.approx(np.mean(signs))
    itself = 1 - prepared_rdm(a, method="kendall_tau_a").tied  # ties cost, even with itself
    assert float(compare_rdms(a, a, method="kendall_tau_a")) == pytest.approx(itself)
    assert itself < 1


@pytest.mark.parametrize("method", METHODS)
def test_square_condensed_and_labelled_agree(
    pair: tuple[np.ndarray, np.ndarray], method: str
) -> None:
    a, b = pair
    expected = float(compare_rdms(a, b, method=method))
    assert float(compare_rdms(squareform(a), b, method=method)) == expected
    assert float(compare_rdms(square(a), square(b), method=method)) == expected
    assert -1 <= expected <= 1
    assert float(compare_rdms(b, a, method=method)) == pytest.approx(expected, abs=1e-14)


@pytest.mark.parametrize("method", METHODS)
def test_rdms_are_lined_up_by_label(
    pair: tuple[np.ndarray, np.ndarray], rng: np.random.Generator, method: str
) -> None:
    a, b = (square(v) for v in pair)
    order = rng.permutation(10)
    shuffled = b.isel(stimulus=order, stimulus_=order)
    expected = float(compare_rdms(a, b, method=method))
    assert float(compare_rdms(a, shuffled, method=method)) == pytest.approx(expected, abs=1e-14)


@pytest.mark.parametrize("method", ["spearman", "kendall_tau_a"])
def test_rounding_does_not_break_ties(rng: np.random.Generator, method: str) -> None:
    a, b = rng.integers(0, 4, size=45) / 3, rng.uniform(size=45)
    noisy = a * (1 + 2e-16 * rng.integers(-3, 4, size=45))
    exact = float(compare_rdms(a, b, method=method))
    assert float(compare_rdms(noisy, b, method=method)) == exact


def test_outer_dimensions_are_paired_and_crossed(rng: np.random.Generator) -> None:
    stack = xr.concat([square(rng.uniform(size=45)) for _ in range(3)], dim="subject")
    stack = stack.assign_coords(subject=["p", "q", "r"])
    other = square(rng.uniform(size=45))
    against_one = compare_rdms(stack, other)
    assert against_one.dims == ("subject",)
    assert against_one.subject.values.tolist() == ["p", "q", "r"]
    np.testing.assert_allclose(compare_rdms(stack, stack).values, 1)
    crossed = compare_rdms(stack, stack.rename(subject="model"))
    assert crossed.dims == ("subject", "model")
    assert float(crossed[0, 2]) == pytest.approx(float(compare_rdms(stack[0], stack[2])))


def test_named_after_the_metric(pair: tuple[np.ndarray, np.ndarray]) -> None:
    result = compare_rdms(*pair)
    assert (result.name, result.dims, result.attrs["n_stimuli"]) == ("compare_rdms", (), 10)
    assert '"method": "spearman"' in result.attrs["params"]


@pytest.mark.parametrize("method", METHODS)
def test_a_constant_rdm_is_refused_by_name(
    pair: tuple[np.ndarray, np.ndarray], method: str
) -> None:
    constant = np.zeros(45) if method == "cosine" else np.full(45, 0.7)
    value = "0" if method == "cosine" else "0.7"
    with pytest.raises(DataError, match=f"compare_rdms: b: all 45 distances are {value}, "):
        compare_rdms(pair[0], constant, method=method)


def test_bad_input(pair: tuple[np.ndarray, np.ndarray]) -> None:
    a, b = pair
    with pytest.raises(ParameterError, match=r"compare_rdms: method must be .*, got 'kendall'"):
        compare_rdms(a, b, method="kendall")
    with pytest.raises(DimensionError, match=re.escape("a has the shape (44,)")):
        compare_rdms(a[:-1], b)
    with pytest.raises(StimulusError, match="a has 9 stimuli and b has 10"):
        compare_rdms(a[:36], b)
    with pytest.raises(StimulusError, match="a: comparing RDMs needs at least 3 stimuli, got 2"):
        compare_rdms(a[:1], b[:1])
    with pytest.raises(StimulusError, match="b has no stimulus labels"):
        compare_rdms(square(a), b)
    with pytest.raises(StimulusError, match=r"10 only in a \('s0'.*10 only in b \('t0'"):
        compare_rdms(square(a), square(b, "t"))
    again = [0, 0, *range(1, 10)]
    twice = square(a).isel(stimulus=again, stimulus_=again)
    with pytest.raises(StimulusError, match="a has repeated stimulus labels: 's0'"):
        compare_rdms(twice, twice)
    lopsided = squareform(a)
    lopsided[0, 1] += 0.25
    with pytest.raises(DataError, match=r"a is not symmetric \(halves differ by up to 0.25\)"):
        compare_rdms(lopsided, b)


def test_a_node_is_read_and_what_holds_no_distances_is_refused() -> None:
    rdm = rt.rdm(np.random.default_rng(0).normal(size=(6, 4)))
    group = xr.Dataset({"dissimilarity": rdm})
    for node in (group, xr.DataTree(group)):
        assert float(rt.compare_rdms(node, rdm)) == pytest.approx(1)
    with pytest.raises(DimensionError, match="a is a group without 'dissimilarity'"):
        rt.compare_rdms(xr.Dataset(), rdm)
    with pytest.raises(DataError, match="a holds str[0-9]+ values"):
        rt.compare_rdms(["a", "b", "c"], [1, 2, 3])
