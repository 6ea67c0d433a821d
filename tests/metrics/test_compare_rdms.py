"""compare_rdms: published numbers of the 92 images, scipy, rsatoolbox, brute force."""

from __future__ import annotations

import re
from itertools import combinations, permutations, product
from typing import Literal

import numpy as np
import pytest
import xarray as xr
from scipy.io import loadmat
from scipy.spatial.distance import pdist, squareform
from scipy.stats import kendalltau, pearsonr, rankdata, spearmanr

import reptools as rt
from reptools.errors import DataError, DimensionError, ParameterError, StimulusError
from reptools.metrics.compare_rdms import compare_rdms
from reptools.statistics.rdms.comparators import prepared_rdm, similarities
from reptools.statistics.rdms.comparators import similarity as compare
from tests.shared_data import shared

METHODS = (
    "pearson",
    "spearman",
    "kendall_tau_a",
    "kendall_tau_b",
    "rho_a",
    "cosine",
    "whitened_cosine",
    "whitened_pearson",
    "bures",
)
RANKED = ("spearman", "kendall_tau_a", "kendall_tau_b", "rho_a")


def square(vector: np.ndarray, prefix: str = "s") -> xr.DataArray:
    """A labelled RDM from a condensed vector."""
    values = squareform(vector)
    labels = [f"{prefix}{i}" for i in range(len(values))]
    coords = {"stimulus": labels, "stimulus_": labels}
    return xr.DataArray(values, dims=("stimulus", "stimulus_"), coords=coords)


@pytest.fixture
def pair(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Squared distances of related patterns of 10 stimuli, which every method takes."""
    x = rng.normal(size=(10, 6))
    y = x[:, :4] + rng.normal(size=(10, 4))
    return pdist(x, "sqeuclidean"), pdist(y, "sqeuclidean")


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("pearson", 0.49121),  # the paper reports 0.49
        ("spearman", 0.438924),
        ("kendall_tau_a", 0.304048),
        ("kendall_tau_b", 0.304048),  # hardly any ties
        ("rho_a", 0.438924),
        ("cosine", 0.995022),
        ("whitened_cosine", 0.792798),
        ("whitened_pearson", 0.527044),
        ("bures", 0.940210),
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
        ("kendall_tau_b", 0.4168275107825463),
        ("rho_a", 0.4696969696969697),
        ("cosine", 0.8355727485873496),
        ("whitened_cosine", 0.7386715856446762),
        ("whitened_pearson", 0.5762536864918488),
    ],
)
def test_values_of_rsatoolbox_0_3_2_with_ties(method: str, expected: float) -> None:
    a, b = [3, 1, 2, 2, 0, 3, 1, 1, 2, 0], [2, 2, 1, 3, 0, 1, 1, 0, 2, 1]
    assert float(compare_rdms(a, b, method=method)) == pytest.approx(expected, abs=1e-14)


def test_bures_of_rsatoolbox_0_3_2() -> None:
    """Which takes square roots of rounding, hence only 8 digits."""
    x, y = (np.sin(f * np.arange(1, 8 * p + 1) ** 1.5).reshape(8, p) for f, p in ((1, 5), (0.7, 9)))
    a, b = pdist(x, "sqeuclidean"), pdist(y, "sqeuclidean")
    expected = 0.6291120406639368
    assert float(compare_rdms(a, b, method="bures")) == pytest.approx(expected, abs=5e-8)
    assert float(compare_rdms(a, a, method="bures")) == pytest.approx(1, abs=1e-14)


def test_against_scipy(pair: tuple[np.ndarray, np.ndarray]) -> None:
    a, b = (np.round(v) for v in pair)
    assert float(compare_rdms(a, b, method="pearson")) == pytest.approx(pearsonr(a, b).statistic)
    assert float(compare_rdms(a, b)) == pytest.approx(spearmanr(a, b).statistic, abs=1e-14)
    tau_b = float(compare_rdms(a, b, method="kendall_tau_b"))
    assert tau_b == pytest.approx(kendalltau(a, b).statistic, abs=1e-14)


def test_tau_a_by_brute_force(pair: tuple[np.ndarray, np.ndarray]) -> None:
    a, b = (np.round(v) for v in pair)
    signs = [np.sign(a[i] - a[j]) * np.sign(b[i] - b[j]) for i, j in combinations(range(45), 2)]
    assert float(compare_rdms(a, b, method="kendall_tau_a")) == pytest.approx(np.mean(signs))


def test_rho_a_is_the_expectation_over_random_tie_breaking() -> None:
    """All orders of the ties of 6 distances, and the formula on uncentred ranks."""
    a, b = np.array([1.0, 1, 1, 2, 3, 3]), np.array([2.0, 5, 5, 4, 1, 6])
    broken = []
    for three, two, other in product(*(permutations(range(k)) for k in (3, 2, 2))):
        rank_a = np.lexsort(([*three, 0, *two], a)).argsort()
        rank_b = np.lexsort(([0, *other, 0, 0, 0], b)).argsort()
        broken.append(np.corrcoef(rank_a, rank_b)[0, 1])
    found = float(compare_rdms(a, b, method="rho_a"))
    assert found == pytest.approx(np.mean(broken), abs=1e-14)
    m, x, y = 6, rankdata(a), rankdata(b)
    assert found == pytest.approx(12 * (x @ y) / (m**3 - m) - 3 * (m + 1) / (m - 1), abs=1e-14)


@pytest.mark.parametrize("method", METHODS)
def test_an_rdm_is_most_like_itself(pair: tuple[np.ndarray, np.ndarray], method: str) -> None:
    itself = float(compare_rdms(pair[0], 3 * pair[0], method=method))
    assert itself == pytest.approx(1, abs=1e-14)
    groups = squareform((np.arange(10)[:, None] % 2 != np.arange(10) % 2).astype(float))
    tied = float(compare_rdms(groups, groups, method=method))  # 20 zeros and 25 ones
    expected = {
        "kendall_tau_a": 20 * 25 / (45 * 44 / 2),
        "rho_a": 1 - (20**3 - 20 + 25**3 - 25) / (45**3 - 45),
    }
    assert tied == pytest.approx(expected.get(method, 1), abs=1e-14)


@pytest.mark.parametrize("method", ["whitened_cosine", "whitened_pearson"])
def test_whitened_against_the_explicit_covariance(
    pair: tuple[np.ndarray, np.ndarray], method: str
) -> None:
    corners = np.array(list(combinations(range(10), 2)))
    contrasts = np.zeros((45, 10))
    contrasts[np.arange(45), corners[:, 0]] = 1
    contrasts[np.arange(45), corners[:, 1]] = -1
    inverse = np.linalg.inv((contrasts @ contrasts.T) ** 2)
    a, b = (v - v.mean() if method == "whitened_pearson" else v for v in pair)
    expected = a @ inverse @ b / np.sqrt((a @ inverse @ a) * (b @ inverse @ b))
    assert float(compare_rdms(*pair, method=method)) == pytest.approx(expected, abs=1e-13)


def test_mean_model_scores_of_four_subjects() -> None:
    """92 images, sessions averaged: Spearman, tau-a and rho-a of data/README.md (re-derived)."""
    subjects = loadmat(shared("kriegeskorte92/92_brainRDMs.mat"), squeeze_me=True)["RDMs"]
    models = loadmat(shared("kriegeskorte92/92_modelRDMs.mat"), squeeze_me=True)["Models"]
    by_name = {str(model["name"]): np.asarray(model["RDM"], float) for model in models}
    people = [np.mean([s["RDM"].astype(float) for s in sessions], 0) for sessions in subjects]

    def mean_score(model: str, method: str) -> float:
        return float(
            np.mean([float(compare_rdms(by_name[model], p, method=method)) for p in people])
        )

    for method, expected in {
        "spearman": {
            "animacy": 0.3862,
            "monkeyIT": 0.2963,
            "EVA": 0.2454,
            "HMAX": 0.1599,
            "V1": 0.0265,
        },
        "kendall_tau_a": {
            "animacy": 0.2230,
            "monkeyIT": 0.2009,
            "EVA": 0.1661,
            "HMAX": 0.1073,
            "V1": 0.0179,
        },
        "rho_a": {"animacy": 0.3345},
    }.items():
        for model, value in expected.items():
            assert mean_score(model, method) == pytest.approx(value, abs=5e-5), (method, model)


def test_mur_2013_human_it_is_closer_to_monkey_it_than_to_judgements() -> None:
    path = shared("kriegeskorte92/Kriegeskorte_Neuron2008_supplementalData.mat")
    monkey, human = (r["RDM"] for r in loadmat(path, simplify_cells=True)["RDMs_mIT_hIT_fig1"])
    judged = loadmat(shared("kriegeskorte92/92_behavRDMs.mat"), simplify_cells=True)
    judgements = np.mean([r["RDM"] for r in judged["rdms_behav_92"]], axis=0)
    to_monkey = float(compare_rdms(human, monkey, method="pearson"))
    to_judgements = float(compare_rdms(human, judgements, method="pearson"))
    assert (to_monkey, to_judgements) == pytest.approx((0.4912, 0.4675), abs=5e-5)


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


@pytest.mark.parametrize("method", RANKED)
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


@pytest.mark.parametrize("method", METHODS)
def test_all_pairs_at_once_are_the_pairs_one_by_one(
    rng: np.random.Generator, method: Literal["pearson"]
) -> None:
    prepared = [
        prepared_rdm(pdist(rng.normal(size=(6, 4)), "sqeuclidean"), method=method) for _ in range(5)
    ]
    table = similarities(prepared[:2], prepared[2:])
    assert table.shape == (2, 3)
    for i, one in enumerate(prepared[:2]):
        for j, other in enumerate(prepared[2:]):
            assert table[i, j] == pytest.approx(compare(one, other), abs=1e-14)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("scale", [1e-200, 1e-150, 1e150, 1e200])
def test_extreme_scales(pair: tuple[np.ndarray, np.ndarray], method: str, scale: float) -> None:
    a, b = pair
    expected = float(compare_rdms(a, b, method=method))
    assert float(compare_rdms(a * scale, b / scale, method=method)) == pytest.approx(expected)


@pytest.mark.parametrize("method", METHODS)
def test_float32_and_a_large_common_distance(
    pair: tuple[np.ndarray, np.ndarray], method: str
) -> None:
    a, b = ((v + 1000).astype(np.float32) for v in pair)
    exact = float(compare_rdms(a.astype(np.float64), b.astype(np.float64), method=method))
    assert float(compare_rdms(a, b, method=method)) == exact
    assert float(compare_rdms(squareform(a), b, method=method)) == exact


def test_named_after_the_metric(pair: tuple[np.ndarray, np.ndarray]) -> None:
    result = compare_rdms(*pair)
    assert (result.name, result.dims, result.attrs["n_stimuli"]) == ("compare_rdms", (), 10)
    assert '"method": "spearman"' in result.attrs["params"]


@pytest.mark.parametrize("method", METHODS)
def test_a_constant_rdm_is_refused_by_name(
    pair: tuple[np.ndarray, np.ndarray], method: str
) -> None:
    directed = method in ("cosine", "whitened_cosine", "bures")
    constant = np.zeros(45) if directed else np.full(45, 0.7)
    value = "0" if directed else "0.7"
    with pytest.raises(DataError, match=f"compare_rdms: b: all 45 distances are {value}, "):
        compare_rdms(pair[0], constant, method=method)


def test_bures_refuses_distances_that_no_patterns_have(
    pair: tuple[np.ndarray, np.ndarray],
) -> None:
    """rsatoolbox 0.3.2 clips the eigenvalues and returns 1.097 for these."""
    a, b = [3, 1, 2, 2, 0, 3, 1, 1, 2, 0], [2, 2, 1, 3, 0, 1, 1, 0, 2, 1]
    with pytest.raises(
        DataError, match=r"a: no patterns have these .* sum to 0\.21 of the positive"
    ):
        compare_rdms(a, b, method="bures")
    with pytest.raises(DataError, match="b: no patterns have these"):
        compare_rdms(pair[0], -pair[1], method="bures")
    rounded = pair[1].astype(np.float32)  # rounding is not refused
    assert 0 < float(compare_rdms(pair[0], rounded, method="bures")) < 1


def test_a_similarity_matrix_is_refused(pair: tuple[np.ndarray, np.ndarray]) -> None:
    a, b = squareform(pair[0]), squareform(pair[1])
    alike = 1 - a / a.max()
    with pytest.raises(DataError, match="compare_rdms: b has 1 on its diagonal.*similarities"):
        compare_rdms(a, alike)
    with pytest.raises(DataError, match="compare_rdms: a has 1 on its diagonal"):
        compare_rdms(square(pair[0]).copy(data=alike), square(pair[1]))
    expected = float(compare_rdms(a, b))
    np.fill_diagonal(a, 1e-7 * a.max())  # what rounding in float32 leaves
    np.fill_diagonal(b, np.nan)  # not measured
    assert float(compare_rdms(a, b)) == expected


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


def test_what_is_no_rdm_is_refused(pair: tuple[np.ndarray, np.ndarray]) -> None:
    a, b = pair
    for values, name in ((square(a).astype(complex), "complex128"), (square(a).astype(str), "str")):
        with pytest.raises(DataError, match=f"compare_rdms: a holds {name}.* values"):
            compare_rdms(values, square(b))
    with pytest.raises(StimulusError, match="compare_rdms: b has 1 stimuli, and a dissimilarity"):
        compare_rdms(square(a), square(b)[:1, :1])
    with pytest.raises(DimensionError, match="compare_rdms: a is no array"):
        compare_rdms([[0.0, 1.0], [1.0]], b)
