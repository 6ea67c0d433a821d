"""cca and svcca: the textbook numbers in sample, honest ones held out, refusals in between."""

from __future__ import annotations

from itertools import product
from typing import Any

import array_api_strict
import numpy as np
import pytest
import scipy.linalg
import xarray as xr
from sklearn.cross_decomposition import CCA
from sklearn.decomposition import PCA

from reptools.engine.context import Context
from reptools.engine.registry import find
from reptools.errors import DataError, DeadUnitWarning, ParameterError, StimulusError
from reptools.metrics.cca import cca
from reptools.metrics.svcca import svcca
from reptools.statistics.blocks import Blocks
from reptools.statistics.folds import Sampling
from tests.conftest import labelled

SHAPES = ((40, 5), (40, 40), (40, 90))
PAIRS = list(product(SHAPES, SHAPES))
ELSEWHERE = array_api_strict.Device("device1")  # arrays there cannot be made numpy's unseen
BOTH = (cca, svcca)


def related(rng: np.random.Generator, shape: tuple[int, int], noise: float = 1.0) -> np.ndarray:
    """Two shared latent dimensions (of the first seed) and noise, off the origin."""
    shared = np.random.default_rng(7).normal(size=(shape[0], 2))
    return shared @ rng.normal(size=(2, shape[1])) + noise * rng.normal(size=shape) + 3.0


def in_folds(n: int, cv: Any = 5) -> Context:
    return Context(np.arange(n), Sampling(cv, 0, np.arange(n)))


def bare(name: str, x: Any, y: Any, cv: Any = 5, **options: Any) -> float:
    """The kernels alone, without the labelled edge."""
    context = in_folds(x.n if isinstance(x, Blocks) else x.shape[0], cv)
    wiring = find(name).wire(find(name).bind(options))
    assert wiring.each is not None
    return float(wiring.score(*(wiring.each(v, context=context) for v in (x, y))).value)


def in_blocks(x: np.ndarray) -> Blocks:
    return Blocks(*x.shape, x.dtype, lambda rows: x[rows], [0, 7, 23, len(x)])


# --- an independent implementation --------------------------------------------------------------


def by_eigenproblem(
    x: np.ndarray, y: np.ndarray, regularization: float
) -> tuple[np.ndarray, np.ndarray]:
    """Weights of all pairs from the generalised eigenproblem of the stacked covariance."""
    p, q = x.shape[1], y.shape[1]
    cxx, cyy = np.cov(x.T, bias=True).reshape(p, p), np.cov(y.T, bias=True).reshape(q, q)
    cross = (x - x.mean(axis=0)).T @ (y - y.mean(axis=0)) / len(x)
    cxx, cyy = (
        (1 - regularization) * c + regularization * np.trace(c) / len(c) * np.eye(len(c))
        for c in (cxx, cyy)
    )
    left = np.block([[np.zeros((p, p)), cross], [cross.T, np.zeros((q, q))]])
    _, vectors = scipy.linalg.eigh(left, scipy.linalg.block_diag(cxx, cyy))
    vectors = vectors[:, ::-1][:, : min(p, q)]
    return vectors[:p], vectors[p:]


def pooled(x: np.ndarray, y: np.ndarray, folds: Any, fit_weights: Any) -> np.ndarray:
    """Correlations over test rows, about the means of the fit rows, sums pooled over folds."""
    sums = []
    for fit, test in folds:
        a, b = fit_weights(x[fit], y[fit])
        u, v = (x[test] - x[fit].mean(axis=0)) @ a, (y[test] - y[fit].mean(axis=0)) @ b
        sums.append([(u * u).sum(axis=0), (v * v).sum(axis=0), (u * v).sum(axis=0)])
    pairs = min(len(each[0]) for each in sums)
    uu, vv, uv = sum(np.array([row[:pairs] for row in each]) for each in sums)
    return np.asarray(uv / np.sqrt(uu * vv))


@pytest.mark.parametrize("cv", [None, 4])
@pytest.mark.parametrize("regularization", [0.0, 0.1, 1.0])
def test_cca_against_the_eigenproblem(
    rng: np.random.Generator, regularization: float, cv: Any
) -> None:
    x, y = related(rng, (59, 6)), related(rng, (59, 4))  # folds of unequal size
    expected = pooled(
        x, y, in_folds(59, cv).folds(), lambda a, b: by_eigenproblem(a, b, regularization)
    )
    options = {"cv": cv, "regularization": regularization}
    score = cca(x, y, **options)
    assert float(score) == pytest.approx(expected.mean(), abs=1e-10)
    assert (float(score.first), int(score.n_pairs)) == (pytest.approx(expected[0], abs=1e-10), 4)
    assert float(cca(y, x, **options)) == pytest.approx(expected.mean(), abs=1e-10)
    two = float(cca(x, y, n_components=2, **options))
    assert two == pytest.approx(expected[:2].mean(), abs=1e-10)
    squared = float(cca(x, y, score="mean_squared", **options))
    assert squared == pytest.approx((expected * np.abs(expected)).mean(), abs=1e-10)


@pytest.mark.parametrize(("n", "p"), [(20, 50), (50, 20)])
def test_more_units_than_stimuli_against_the_eigenproblem(
    rng: np.random.Generator, n: int, p: int
) -> None:
    x, y = related(rng, (n, p)), related(rng, (n, 4))
    expected = pooled(x, y, in_folds(n).folds(), lambda a, b: by_eigenproblem(a, b, 0.1))
    assert float(cca(x, y)) == pytest.approx(expected.mean(), abs=1e-9)


def test_cca_against_scikit_learn(rng: np.random.Generator) -> None:
    # oracle: sklearn.cross_decomposition.CCA of the installed version
    x, y = related(rng, (80, 4)), related(rng, (80, 3))

    def weights(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        model = CCA(n_components=3, scale=False, max_iter=5000, tol=1e-14).fit(a, b)
        u, v = model.x_rotations_, model.y_rotations_  # ours have variance 1 over the fit rows
        return u / (a @ u).std(axis=0), v / (b @ v).std(axis=0)

    for cv in (None, 5):
        expected = pooled(x, y, in_folds(80, cv).folds(), weights)
        assert float(cca(x, y, regularization=0, cv=cv)) == pytest.approx(expected.mean(), abs=1e-6)


@pytest.mark.parametrize("cv", [None, 4])
@pytest.mark.parametrize("p", [12, 150])
def test_svcca_is_cca_of_principal_components(rng: np.random.Generator, p: int, cv: Any) -> None:
    # oracle: sklearn.decomposition.PCA of the installed version, then the eigenproblem
    x, y = related(rng, (100, p), 0.3), related(rng, (100, 10), 0.5)

    def weights(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        axes = [PCA(0.8, svd_solver="full").fit(v).components_.T for v in (a, b)]
        u, v = by_eigenproblem(a @ axes[0], b @ axes[1], 0.0)
        return axes[0] @ u, axes[1] @ v

    expected = pooled(x, y, in_folds(100, cv).folds(), weights)
    squared = float(svcca(x, y, variance=0.8, cv=cv, score="mean_squared"))
    assert squared == pytest.approx((expected * np.abs(expected)).mean(), abs=1e-10)
    score = svcca(x, y, variance=0.8, cv=cv)
    assert float(score) == pytest.approx(expected.mean(), abs=1e-10)
    assert (float(score.first), int(score.n_pairs)) == (pytest.approx(expected[0]), len(expected))


def test_all_of_the_variance_is_plain_cca(rng: np.random.Generator) -> None:
    x, y = related(rng, (80, 6)), related(rng, (80, 4))
    assert float(svcca(x, y, variance=1.0)) == pytest.approx(
        float(cca(x, y, regularization=0)), abs=1e-12
    )


# --- what it must and must not be invariant to --------------------------------------------------


def test_any_invertible_map_without_regularisation_at_full_rank(rng: np.random.Generator) -> None:
    x, y = related(rng, (80, 6)), related(rng, (80, 4))
    mapped = x @ (rng.normal(size=(6, 6)) + 3 * np.eye(6)) + 5
    plain = [float(cca(v, y, regularization=0)) for v in (x, mapped)]
    assert plain[0] == pytest.approx(plain[1], abs=1e-10)
    assert abs(float(cca(x, y)) - float(cca(mapped, y))) > 1e-4
    assert abs(float(svcca(x, y, variance=0.9)) - float(svcca(mapped, y, variance=0.9))) > 1e-4


@pytest.mark.parametrize("metric", BOTH)
@pytest.mark.parametrize("scale", [1e-150, 1e150])
@pytest.mark.parametrize("shape", SHAPES)
def test_rotation_and_extreme_scales(
    rng: np.random.Generator, metric: Any, shape: Any, scale: float
) -> None:
    options = {"variance": 0.8} if metric is svcca else {}
    x, y = related(rng, shape, 0.3), related(rng, (40, 6))
    turn = np.linalg.qr(rng.normal(size=(shape[1], shape[1])))[0]
    expected = float(metric(x, y, **options))
    assert float(metric(scale * (x @ turn), y, **options)) == pytest.approx(expected, abs=1e-9)


def test_a_side_with_itself_scores_1(rng: np.random.Generator) -> None:
    for shape in SHAPES:
        x = related(rng, shape, 0.2)
        assert float(cca(x, x)) == pytest.approx(1, abs=1e-10)
        assert float(svcca(x, x, variance=0.7)) == pytest.approx(1, abs=1e-10)


# --- chance -------------------------------------------------------------------------------------


@pytest.mark.parametrize("score", ["mean", "mean_squared"])
@pytest.mark.parametrize(
    ("name", "options"),
    [("cca", {}), ("cca", {"regularization": 0.0}), ("svcca", {"variance": 0.9})],
)
def test_unrelated_sides_score_0_held_out(name: str, options: dict, score: str) -> None:
    rng = np.random.default_rng(5)
    draws = [bare(name, *rng.normal(size=(2, 50, 8)), score=score, **options) for _ in range(60)]
    assert np.mean(draws) == pytest.approx(0, abs=4 * np.std(draws) / np.sqrt(60))
    assert min(draws) < 0, "it must not be clipped"


def test_unrelated_sides_score_high_in_sample_as_documented() -> None:
    x, y = np.random.default_rng(6).normal(size=(2, 500, 50))
    assert bare("cca", x, y, None) == pytest.approx(0.27, abs=0.01)
    assert bare("svcca", x, y, None) == pytest.approx(0.27, abs=0.01)
    wide = np.random.default_rng(6).normal(size=(2, 50, 500))
    assert bare("cca", *wide, None) > 0.85, "regularised in sample is no better with n < p"


def test_shared_dimensions_are_found_with_more_units_than_stimuli(rng: np.random.Generator) -> None:
    x, y = related(rng, (100, 300)), related(rng, (100, 200))
    score = cca(x, y, n_components=2)
    assert float(score) > 0.95
    assert int(cca(x, y).n_pairs) == 79, "80 fit stimuli have 79 centred dimensions"


# --- refusals -----------------------------------------------------------------------------------


def test_correlations_that_any_data_have_are_refused(rng: np.random.Generator) -> None:
    x, y = related(rng, (40, 30)), related(rng, (40, 12))
    message = "cca: with 40 fit stimuli for 30 \\+ 12 dimensions, 3 correlations of the fit are 1"
    with pytest.raises(StimulusError, match=message):
        cca(x, y, cv=None, regularization=0)
    wide = related(rng, (40, 90))
    with pytest.raises(
        StimulusError, match="39 \\+ 39 dimensions, 39 correlations.*regularization="
    ):
        cca(wide, wide, cv=None, regularization=0)
    with pytest.raises(StimulusError, match="with 32 fit stimuli for 30 \\+ 12"):
        cca(x, y, regularization=0)
    assert np.isfinite(float(cca(x[:, :27], y, cv=None, regularization=0)))
    with pytest.raises(StimulusError, match=r"svcca: with 40 fit .* any data\. Lower variance="):
        svcca(wide, y, cv=None)


def test_held_out_svcca_leaves_room_between_the_sides(rng: np.random.Generator) -> None:
    x, y = related(rng, (41, 90)), related(rng, (41, 60))
    score = svcca(x, y)
    assert int(score.n_pairs) == 15, "half of 32 - 1 centred dimensions of the smallest fit"
    assert 0.5 < float(score.held_x) < 0.99 and 0.5 < float(score.held_y) < 0.99
    enough = svcca(related(rng, (400, 8)), related(rng, (400, 5)))
    assert float(enough.held_x) >= 0.99 and float(enough.held_y) >= 0.99


def test_folds_in_which_a_side_does_not_vary(x: xr.DataArray, y: xr.DataArray) -> None:
    part = ("stimulus", np.where(np.arange(24) < 12, "train", "test"))
    still = x.copy(data=np.where(np.arange(24)[:, None] < 12, 1.0, x.values))
    sides = [side.assign_coords(split=part) for side in (still, y)]
    for metric in BOTH:
        with pytest.raises(DataError, match="x: no unit varies over the 12 fit stimuli"):
            metric(*sides, cv="split")
    swapped = [s.assign_coords(split=("stimulus", part[1][::-1])) for s in sides]
    alternating = np.where(np.arange(24) % 2, 0.1, -0.3)[:, None] * np.ones(6)
    mean = np.where(np.arange(24)[:, None] < 12, -0.1, alternating)
    with pytest.raises(DataError, match="a canonical variate does not vary over the test"):
        cca(swapped[0].copy(data=mean), swapped[1], cv="split")


def test_bad_input(x: xr.DataArray, y: xr.DataArray) -> None:
    with pytest.raises(ParameterError, match="regularization must be float .*, got 1.5"):
        cca(x, y, regularization=1.5)
    with pytest.raises(ParameterError, match="n_components must be .*, got 0"):
        cca(x, y, n_components=0)
    with pytest.raises(ParameterError, match="variance must be .*, got 0"):
        svcca(x, y, variance=0)
    for metric in BOTH:
        with pytest.raises(ParameterError, match="score must be mean|mean_squared, got 'sum'"):
            metric(x, y, score="sum")
        with pytest.raises(ParameterError, match="got 25"):
            metric(x, y, cv=25)
        with pytest.raises(ParameterError, match="groups='run' is no coordinate"):
            metric(x, y, groups="run")
        with pytest.raises(ParameterError, match="seed must be int"):
            metric(x, y, seed=0.5)
        with pytest.raises(ParameterError, match="got 'pca'"):
            metric(x, y, prepare="pca")
        with pytest.raises(StimulusError, match="24 only in x"):
            metric(x, y.assign_coords(stimulus=[f"t{i}" for i in range(24)]))
    y[3, 1] = np.nan
    with pytest.raises(DataError, match="y is not finite for 1 of 24 stimuli"):
        cca(x, y)


# --- everywhere ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "options"), [("cca", {}), ("svcca", {"variance": 0.7})])
@pytest.mark.parametrize("shape", SHAPES)
def test_float32_with_a_mean_of_1000(
    rng: np.random.Generator, shape: Any, name: str, options: dict
) -> None:
    x, y = ((related(rng, v) + 1000).astype(np.float32) for v in (shape, (40, 6)))
    exact = bare(name, x.astype(np.float64), y.astype(np.float64), **options)
    assert bare(name, x, y, **options) == pytest.approx(exact, abs=1e-9)
    assert bare(name, in_blocks(x), in_blocks(y), **options) == pytest.approx(exact, abs=1e-7)


@pytest.mark.parametrize(("name", "options"), [("cca", {}), ("svcca", {"variance": 0.7})])
@pytest.mark.parametrize("cv", [None, 4])
@pytest.mark.parametrize(("x_shape", "y_shape"), [PAIRS[0], PAIRS[6], PAIRS[8]])
def test_other_libraries_and_blocks(
    rng: np.random.Generator, x_shape: Any, y_shape: Any, cv: Any, name: str, options: dict
) -> None:
    torch = pytest.importorskip("torch")
    x, y = related(rng, x_shape, 0.3), related(rng, y_shape, 0.3)
    expected = bare(name, x, y, cv, **options)
    for inputs in (
        [torch.from_numpy(v) for v in (x, y)],
        [array_api_strict.asarray(v, device=ELSEWHERE) for v in (x, y)],
        [in_blocks(v) for v in (x, y)],
        [in_blocks(x), y],
    ):
        assert bare(name, *inputs, cv, **options) == pytest.approx(expected, abs=1e-9)


def test_a_unit_that_rests_in_the_fit_of_one_fold_counts_in_blocks_too(
    rng: np.random.Generator,
) -> None:
    """The mean variance is that of the units that vary at all, in memory and in blocks."""
    x, y = related(rng, (40, 6), 0.3), related(rng, (40, 4), 0.3)
    x[:, 2] = 0.0
    test = in_folds(40, 5).folds().pairs[3][1]
    x[test, 2] = rng.normal(size=test.size)  # so that the fit of fold 3 sees nothing of it
    expected = bare("cca", x, y, regularization=0.5)
    assert bare("cca", in_blocks(x), y, regularization=0.5) == pytest.approx(expected, abs=1e-12)


def test_dask_is_read_in_blocks(rng: np.random.Generator) -> None:
    pytest.importorskip("dask")
    x, y = labelled(related(rng, (40, 6))), labelled(related(rng, (40, 4)))
    for metric in BOTH:
        lazy = metric(x.chunk(stimulus=9), y.chunk(stimulus=11))
        assert float(lazy) == pytest.approx(float(metric(x, y)))


@pytest.mark.parametrize("metric", BOTH)
def test_a_dead_unit_carries_no_weight(x: xr.DataArray, y: xr.DataArray, metric: Any) -> None:
    dead = x.copy()
    dead[:, 2] = 1e8
    with pytest.warns(DeadUnitWarning, match="x has 1 of 6 units without variance"):
        score = float(metric(dead, y))
    assert score == pytest.approx(float(metric(x.drop_isel(unit=2), y)), abs=1e-12)
