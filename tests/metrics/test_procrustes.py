"""procrustes: a metric in sample, an honest distance held out, the same number from every form."""

from __future__ import annotations

from itertools import permutations, product
from typing import Any

import array_api_strict
import numpy as np
import pytest
import scipy.linalg
import scipy.spatial
import xarray as xr

from reptools.engine.context import Context
from reptools.engine.registry import find
from reptools.errors import DataError, DeadUnitWarning, ParameterError, StimulusError
from reptools.metrics.procrustes import procrustes
from reptools.statistics.blocks import Blocks
from reptools.statistics.folds import Sampling
from tests.conftest import labelled

SHAPES = ((20, 5), (20, 20), (20, 70))
PAIRS = list(product(SHAPES, SHAPES))
ELSEWHERE = array_api_strict.Device("device1")  # arrays there cannot be made numpy's unseen


def related(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Two shared latent dimensions (of the first seed) and noise, off the origin."""
    shared = np.random.default_rng(7).normal(size=(shape[0], 2))
    return shared @ rng.normal(size=(2, shape[1])) + rng.normal(size=shape) + 3.0


def normed(x: np.ndarray) -> np.ndarray:
    x = x - x.mean(axis=0)
    return x / np.linalg.norm(x)


def turn(rng: np.random.Generator, width: int) -> np.ndarray:
    return np.linalg.qr(rng.normal(size=(width, width)))[0]


def in_folds(n: int, cv: Any) -> Context:
    return Context(np.arange(n), Sampling(cv, 0, np.arange(n)))


def bare(x: Any, y: Any, cv: Any = None, **options: Any) -> float:
    """The kernels alone, without the labelled edge."""
    n = x.n if isinstance(x, Blocks) else x.shape[0]
    wiring = find(procrustes).wire(find(procrustes).bind(options))
    assert wiring.each is not None
    return float(wiring.score(wiring.each(x), wiring.each(y), context=in_folds(n, cv)))


def in_blocks(x: np.ndarray) -> Blocks:
    return Blocks(*x.shape, x.dtype, lambda rows: x[rows], [0, 3, 11, len(x)])


# --- in sample ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("x_shape", "y_shape"), PAIRS)
def test_against_scipy_on_padded_sides(
    rng: np.random.Generator, x_shape: Any, y_shape: Any
) -> None:
    # oracle: scipy.linalg.orthogonal_procrustes of the installed version
    x, y = related(rng, x_shape), related(rng, y_shape)
    a, b = normed(x), normed(y)
    width = max(a.shape[1], b.shape[1])
    a, b = (np.pad(v, ((0, 0), (0, width - v.shape[1]))) for v in (a, b))
    rotation, _ = scipy.linalg.orthogonal_procrustes(b, a)
    angle = np.arccos(np.sum(a * (b @ rotation)))
    assert float(procrustes(x, y)) == pytest.approx(angle, abs=1e-9)
    assert float(procrustes(y, x)) == pytest.approx(angle, abs=1e-9)
    line = np.linalg.norm(a - b @ rotation)
    assert float(procrustes(x, y, distance="euclidean")) == pytest.approx(line, abs=1e-9)
    assert line == pytest.approx(2 * np.sin(angle / 2), abs=1e-12)


def test_against_the_disparity_of_scipy(rng: np.random.Generator) -> None:
    # oracle: scipy.spatial.procrustes of the installed version, which also fits the scale
    x, y = related(rng, (30, 6)), related(rng, (30, 6))
    *_, disparity = scipy.spatial.procrustes(x, y)
    assert np.sin(float(procrustes(x, y))) ** 2 == pytest.approx(disparity, abs=1e-12)


@pytest.mark.parametrize(("x_shape", "y_shape"), PAIRS)
def test_its_cosine_is_the_bures_similarity_of_squared_distances(
    rng: np.random.Generator, x_shape: Any, y_shape: Any
) -> None:
    x, y = related(rng, x_shape), related(rng, y_shape)
    grams = []
    for v in (x, y):
        squared = scipy.spatial.distance.squareform(scipy.spatial.distance.pdist(v, "sqeuclidean"))
        centre = np.eye(len(v)) - 1 / len(v)
        grams.append(-centre @ squared @ centre / 2)
    values, vectors = np.linalg.eigh(grams[0])
    root = vectors * np.sqrt(values.clip(0)) @ vectors.T
    fidelity = np.sqrt(np.linalg.eigvalsh(root @ grams[1] @ root).clip(0)).sum()
    bures = fidelity / np.sqrt(np.trace(grams[0]) * np.trace(grams[1]))
    assert np.cos(float(procrustes(x, y))) == pytest.approx(bures, abs=2e-8)


@pytest.mark.parametrize("distance", ["angular", "euclidean"])
@pytest.mark.parametrize("n", [4, 15])
def test_it_is_a_metric(n: int, distance: str) -> None:
    rng = np.random.default_rng(n)
    for _ in range(60):
        sides = [related(rng, (n, int(rng.integers(1, 25)))) for _ in range(2)]
        # on the way from one to the other, where a detour is nearly as short
        both = np.hstack([sides[0] * rng.uniform(0, 2), sides[1]])
        d = {
            (a, b): bare(x, y, distance=distance)
            for (a, x), (b, y) in permutations(enumerate([*sides, both]), 2)
        }
        for a, b, c in permutations(range(3)):
            assert d[a, b] <= d[a, c] + d[c, b] + 1e-12
            assert d[a, b] == pytest.approx(d[b, a], abs=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("scale", [1.0, 1e-150, 1e150])
def test_equal_shapes_are_at_zero(rng: np.random.Generator, shape: Any, scale: float) -> None:
    x, y = related(rng, shape), related(rng, (20, 9))
    same = scale * (2.5 * x @ turn(rng, shape[1]) + np.arange(shape[1]))
    assert bare(x, same) < 1e-7
    assert bare(same, y) == pytest.approx(bare(x, y), abs=1e-11)
    assert bare(in_blocks(same), in_blocks(y)) == pytest.approx(bare(x, y), abs=1e-11)


def test_unrelated_sides_are_close_in_sample_as_documented() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(2, 1000, 60))
    assert np.cos(bare(x, y)) == pytest.approx(0.85 * np.sqrt(60 / 1000), rel=0.03)
    x, y = rng.normal(size=(2, 30, 2000))
    assert np.cos(bare(x, y)) > 0.95


# --- held out -----------------------------------------------------------------------------------


def by_netrep(x: np.ndarray, y: np.ndarray, folds: Any) -> float:
    """LinearMetric(alpha=1) of netrep: fit on some rows, transform others, angle; pooled."""
    width = max(x.shape[1], y.shape[1])
    x, y = (np.pad(v, ((0, 0), (0, width - v.shape[1]))) for v in (x, y))
    product = xx = yy = 0.0
    for fit, test in folds:
        mean_x, mean_y = x[fit].mean(axis=0), y[fit].mean(axis=0)
        u, _, vt = np.linalg.svd((x[fit] - mean_x).T @ (y[fit] - mean_y))
        a, b = (x[test] - mean_x) @ u, (y[test] - mean_y) @ vt.T
        product, xx, yy = product + np.sum(a * b), xx + np.sum(a * a), yy + np.sum(b * b)
    return float(np.arccos(product / np.sqrt(xx * yy)))


@pytest.mark.parametrize("cv", [2, 5])
def test_held_out_against_netrep(rng: np.random.Generator, cv: int) -> None:
    x, y = related(rng, (40, 6)), related(rng, (40, 6))
    expected = by_netrep(x, y, in_folds(40, cv).folds())
    assert bare(x, y, cv) == pytest.approx(expected, abs=1e-10)
    assert bare(y, x, cv) == pytest.approx(expected, abs=1e-10)


def test_a_split_fits_on_validation_and_tests_on_test(rng: np.random.Generator) -> None:
    x, y = related(rng, (40, 6)), related(rng, (40, 6))
    part = np.array(["train", "validation", "test"])[np.arange(40) % 3]
    sides = [labelled(v).assign_coords(split=("stimulus", part)) for v in (x, y)]
    score = procrustes(*sides, cv="split")
    folds = [(np.flatnonzero(part == "validation"), np.flatnonzero(part == "test"))]
    assert float(score) == pytest.approx(by_netrep(x, y, folds), abs=1e-10)
    assert score.attrs["cv"].startswith("split: fit on validation (13)")


def test_undetermined_directions_count_as_their_mean_over_completions() -> None:
    rng = np.random.default_rng(2)
    n, p = 12, 15  # nine fit stimuli determine 8 of 15 directions
    x, y = related(rng, (n, p)), related(rng, (n, p))
    folds = in_folds(n, 4).folds()
    products = []
    for fit, test in folds:
        a, b = (v - v[fit].mean(axis=0) for v in (x, y))
        u, s, vt = np.linalg.svd(a[fit].T @ b[fit])
        rank = int((s > 1e-10 * s[0]).sum())
        assert rank == 8
        ways = [
            u @ scipy.linalg.block_diag(np.eye(rank), turn(rng, p - rank)) @ vt for _ in range(1000)
        ]
        products.append(np.sum(np.mean(ways, axis=0) * (a[test].T @ b[test])))
    norms = [
        sum(np.sum((v[test] - v[fit].mean(axis=0)) ** 2) for fit, test in folds) for v in (x, y)
    ]
    expected = np.sum(products) / np.sqrt(norms[0] * norms[1])
    assert np.cos(bare(x, y, 4)) == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize(("n", "p"), [(60, 10), (20, 60)])
def test_held_out_unrelated_sides_are_at_a_right_angle(n: int, p: int) -> None:
    rng = np.random.default_rng(3)
    angles = [bare(*rng.normal(size=(2, n, p)), 5) for _ in range(60)]
    assert np.mean(angles) == pytest.approx(np.pi / 2, abs=4 * np.std(angles) / np.sqrt(60))
    assert max(angles) > np.pi / 2, "it must not be clipped"


# --- everywhere ---------------------------------------------------------------------------------


@pytest.mark.parametrize("cv", [None, 5])
@pytest.mark.parametrize("shape", SHAPES)
def test_float32_with_a_mean_of_1000(rng: np.random.Generator, shape: Any, cv: Any) -> None:
    x, y = ((related(rng, shape) + 1000).astype(np.float32) for _ in range(2))
    exact = bare(x.astype(np.float64), y.astype(np.float64), cv)
    assert bare(x, y, cv) == pytest.approx(exact, abs=1e-9)
    assert bare(in_blocks(x), in_blocks(y), cv) == pytest.approx(exact, abs=1e-7)
    assert bare(x, x) < 1e-7


@pytest.mark.parametrize("cv", [None, 5])
@pytest.mark.parametrize(("x_shape", "y_shape"), PAIRS)
def test_other_libraries_and_blocks(
    rng: np.random.Generator, x_shape: Any, y_shape: Any, cv: Any
) -> None:
    torch = pytest.importorskip("torch")
    x, y = related(rng, x_shape), related(rng, y_shape)
    expected = bare(x, y, cv)
    assert float(procrustes(torch.from_numpy(x), torch.from_numpy(y), cv=cv)) == pytest.approx(
        expected, abs=1e-10
    )
    strict = (array_api_strict.asarray(v, device=ELSEWHERE) for v in (x, y))
    assert bare(*strict, cv) == pytest.approx(expected, abs=1e-10)
    assert bare(in_blocks(x), in_blocks(y), cv) == pytest.approx(expected, abs=1e-10)
    assert bare(in_blocks(x), y, cv) == pytest.approx(expected, abs=1e-10)


def test_dask_is_read_in_blocks(rng: np.random.Generator) -> None:
    pytest.importorskip("dask")
    x, y = labelled(related(rng, (40, 6))), labelled(related(rng, (40, 4)))
    lazy = [v.chunk(stimulus=9) for v in (x, y)]
    for cv in (None, 5):
        assert float(procrustes(*lazy, cv=cv)) == pytest.approx(float(procrustes(x, y, cv=cv)))


def test_what_the_result_says(x: xr.DataArray, y: xr.DataArray) -> None:
    score = procrustes(x, y)
    assert (score.name, score.dims, score.attrs["cv"]) == ("procrustes", (), "in sample")
    assert procrustes(x, y, cv=4).attrs["cv"] == "4 folds, by label"
    assert find(procrustes).proper


def test_a_dead_unit_carries_no_weight(x: xr.DataArray, y: xr.DataArray) -> None:
    dead = x.copy()
    dead[:, 2] = 1e8
    with pytest.warns(DeadUnitWarning, match="x has 1 of 6 units without variance"):
        score = float(procrustes(dead, y))
    assert score == pytest.approx(float(procrustes(x.drop_isel(unit=2), y)), abs=1e-14)


def test_bad_input(x: xr.DataArray, y: xr.DataArray) -> None:
    with pytest.raises(ParameterError, match="procrustes: distance must be .*, got 'cosine'"):
        procrustes(x, y, distance="cosine")
    with pytest.raises(
        ParameterError, match="cv must be from 2 to 24, the number of stimuli, got 25"
    ):
        procrustes(x, y, cv=25)
    with pytest.raises(ParameterError, match="groups='run' is no coordinate"):
        procrustes(x, y, cv=5, groups="run")
    with pytest.raises(ParameterError, match="seed must be int, got 'a'"):
        procrustes(x, y, seed="a")
    with pytest.raises(ParameterError, match="got 'pca'"):
        procrustes(x, y, prepare="pca")
    with pytest.raises(StimulusError, match="24 only in x"):
        procrustes(x, y.assign_coords(stimulus=[f"t{i}" for i in range(24)]))
    y[3, 1] = np.inf
    with pytest.raises(DataError, match="y is not finite for 1 of 24 stimuli"):
        procrustes(x, y)


def test_folds_in_which_a_side_does_not_vary(x: xr.DataArray, y: xr.DataArray) -> None:
    part = ("stimulus", np.where(np.arange(24) < 12, "train", "test"))
    alternating = np.where(np.arange(24) % 2, 0.1, -0.3)[:, None] * np.ones(6)
    mean = np.full((24, 6), -0.1)
    first, second = (np.arange(24)[:, None] < 12, np.arange(24)[:, None] >= 12)
    for values, fact in (
        (np.where(first, alternating, mean), "all test stimuli lie at the mean of the fit"),
        (np.where(second, alternating, mean), "no unit varies over the fit stimuli"),
    ):
        still = x.copy(data=values).assign_coords(split=part)
        for sides, name in (((still, y), "x"), ((y, still), "y")):
            with pytest.raises(DataError, match=f"procrustes: {name}: {fact}"):
                procrustes(*(side.assign_coords(split=part) for side in sides), cv="split")
