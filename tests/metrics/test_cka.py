"""cka: the same number from every exact form, unbiased where it should be, and on real files."""

from __future__ import annotations

import warnings
from itertools import combinations, product
from typing import Any

import array_api_strict
import numpy as np
import pytest
import xarray as xr

from reptools.engine.context import context_of
from reptools.engine.loops import compare
from reptools.engine.registry import find
from reptools.entering.labels import as_side
from reptools.errors import (
    DataError,
    DeadUnitWarning,
    ParameterError,
    ReptoolsWarning,
    StimulusError,
)
from reptools.metrics.cka import cka
from reptools.statistics import gram, hsic, tiles
from reptools.statistics.blocks import Blocks
from reptools.statistics.folds import hash_rank
from reptools.statistics.moments import SMALL
from tests.conftest import labelled
from tests.shared_data import shared

ESTIMATORS = ("debiased", "biased")
SHAPES = ((20, 5), (20, 20), (20, 90))
SHAPE_PAIRS = list(product(SHAPES, SHAPES))


def song(x: np.ndarray, y: np.ndarray) -> float:
    """HSIC1 of Song et al. 2007, eq. 5, as it is printed, in float64 and not centred."""
    k, ll = (v.astype(np.float64) @ v.astype(np.float64).T for v in (x, y))
    n, one = len(k), np.ones(len(k))
    np.fill_diagonal(k, 0)
    np.fill_diagonal(ll, 0)
    total = np.trace(k @ ll) + (one @ k @ one) * (one @ ll @ one) / ((n - 1) * (n - 2))
    return (total - 2 / (n - 2) * one @ k @ ll @ one) / (n * (n - 3))


def hsic0(x: np.ndarray, y: np.ndarray) -> float:
    """Biased HSIC by centring matrices, without its constant factor."""
    h = np.eye(len(x)) - 1 / len(x)
    return float(np.trace(h @ (x @ x.T) @ h @ (y @ y.T)))


def by_definition(x: np.ndarray, y: np.ndarray, estimator: str) -> float:
    hsic = song if estimator == "debiased" else hsic0
    return hsic(x, y) / np.sqrt(hsic(x, x) * hsic(y, y))


def related(rng: np.random.Generator, shape: tuple[int, int], scale: float = 1.0) -> np.ndarray:
    """Two shared latent dimensions (of the first seed) and noise."""
    shared_part = np.random.default_rng(7).normal(size=(shape[0], 2))
    return scale * (shared_part @ rng.normal(size=(2, shape[1])) + rng.normal(size=shape))


def bare_cka(x: Any, y: Any, **options: Any) -> float:
    """The kernels alone, without the labelled edge."""
    operation = find("cka")
    wiring = operation.wire(operation.bind(options))
    context = context_of(as_side(np.empty((x.shape[0], 1))), {})
    return wiring.score(*(wiring.each(side, context=context) for side in (x, y)))


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize(("x_shape", "y_shape"), SHAPE_PAIRS)
def test_against_the_definition(
    rng: np.random.Generator, estimator: str, x_shape: Any, y_shape: Any
) -> None:
    x, y = related(rng, x_shape), related(rng, y_shape, 30.0)
    expected = by_definition(x, y, estimator)
    assert float(cka(x, y, estimator=estimator)) == pytest.approx(expected, rel=1e-11)
    assert float(cka(y, x, estimator=estimator)) == pytest.approx(expected, rel=1e-11)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(("x_shape", "y_shape"), SHAPE_PAIRS)
def test_both_forms_of_the_product_agree(
    rng: np.random.Generator, dtype: type, x_shape: Any, y_shape: Any
) -> None:
    x, y = (related(rng, shape).astype(dtype) + 3 for shape in (x_shape, y_shape))
    n = len(x)
    blocks = Blocks(n, x.shape[1], x.dtype, lambda rows: x[rows], [0, 7, 8, n])
    of_x, of_y, both = hsic.by_units(blocks, y)
    plain, corrected = tiles.by_stimuli([tiles.centred_side(side) for side in (x, y)])
    x, y = x.astype(np.float64) - 3, y.astype(np.float64) - 3
    for found, table, expected in (
        ([of_x.plain, of_y.plain, both.plain], plain, hsic0),
        ([of_x.debiased, of_y.debiased, both.debiased], corrected, song),
    ):
        (xx, xy), (_, yy) = table
        expected_cosine = expected(x, y) / np.sqrt(expected(x, x) * expected(y, y))
        assert xy / np.sqrt(xx * yy) == pytest.approx(expected_cosine, abs=1e-11)
        assert found[2] / np.sqrt(found[0] * found[1]) == pytest.approx(expected_cosine, abs=1e-11)


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("shapes", [((3000, 100), (3000, 90)), ((600, 500), (600, 600))])
def test_large_float32_against_float64(
    rng: np.random.Generator, estimator: str, shapes: Any
) -> None:
    """Beyond the size from which products are taken in float32, by units and by tiles."""
    x, y = ((related(rng, shape) + 1000).astype(np.float32) for shape in shapes)
    assert min(x.size, y.size) > SMALL
    exact = float(cka(x.astype(np.float64), y.astype(np.float64), estimator=estimator))
    assert float(cka(x, y, estimator=estimator)) == pytest.approx(exact, abs=2e-6)


def test_float32_that_debiasing_would_cancel_is_taken_in_float64(rng: np.random.Generator) -> None:
    """Wide noise: the debiased self-product is 1 % of the biased one."""
    x, y = (rng.normal(size=(60, 10_000)).astype(np.float32) for _ in range(2))
    exact = float(cka(x.astype(np.float64), y.astype(np.float64)))
    assert float(cka(x, y)) == pytest.approx(exact, abs=1e-7)


@pytest.mark.parametrize("scale", [1e-100, 1e100])
@pytest.mark.parametrize("width", [5, 500])
def test_first_stimuli_of_another_scale(rng: np.random.Generator, scale: float, width: int) -> None:
    """Zeros first, so that the scale of the first rows says nothing of the others."""
    x, y = related(rng, (340, width)), related(rng, (340, 9))
    x[:300] = 0
    expected = float(cka(x, y))
    for changed in (x * scale, (x * scale**0.25).astype(np.float32)):
        assert float(cka(changed, y)) == pytest.approx(expected, abs=1e-6)


def rbf_by_definition(x: np.ndarray, y: np.ndarray, bandwidth: float, estimator: str) -> float:
    grams = []
    for side in (x, y):
        distance = np.sqrt(((side[:, None] - side[None]) ** 2).sum(-1))
        sigma = bandwidth * np.median(distance[np.triu_indices(len(side), 1)])
        grams.append(np.exp(-(distance**2) / (2 * sigma**2)))
    return gram_cka(*grams, estimator)


def gram_cka(k: np.ndarray, ll: np.ndarray, estimator: str) -> float:
    """CKA of any two Grams by explicit centring."""
    n = len(k)
    if estimator == "biased":
        h = np.eye(n) - 1 / n
        k, ll = h @ k @ h, h @ ll @ h
    else:
        k, ll = gram.u_centred(k), gram.u_centred(ll)
    return float((k * ll).sum() / np.sqrt((k**2).sum() * (ll**2).sum()))


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("bandwidth", [0.4, 1.0])
def test_rbf_against_its_definition(
    rng: np.random.Generator, estimator: str, bandwidth: float
) -> None:
    x, y = related(rng, (20, 5)), related(rng, (20, 30), 1e3)
    expected = rbf_by_definition(x, y, bandwidth, estimator)
    found = cka(x, y, kernel="rbf", bandwidth=bandwidth, estimator=estimator)
    assert float(found) == pytest.approx(expected, rel=1e-10)
    for changed in (x * 1e-150, x * 1e150, x + 5):
        assert float(
            cka(changed, y, kernel="rbf", bandwidth=bandwidth, estimator=estimator)
        ) == pytest.approx(expected, rel=1e-9)
    single = (x + 1000).astype(np.float32)
    exact = rbf_by_definition(single.astype(np.float64), y, bandwidth, estimator)
    found = cka(single, y, kernel="rbf", bandwidth=bandwidth, estimator=estimator)
    assert float(found) == pytest.approx(exact, abs=1e-9)


def test_a_wide_rbf_kernel_is_nearly_linear(rng: np.random.Generator) -> None:
    x, y = related(rng, (30, 5)), related(rng, (30, 8))
    wide = float(cka(x, y, kernel="rbf", bandwidth=1e3))
    assert wide == pytest.approx(float(cka(x, y)), abs=1e-5)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_the_widest_rbf_kernels_are_linear(rng: np.random.Generator, estimator: str) -> None:
    """1 - d^2 / (2 s^2): beside the 1 a kernel of 1e8 medians would have no digits left."""
    x, y = related(rng, (40, 8)), related(rng, (40, 6))
    linear = float(cka(x, y, estimator=estimator))
    for bandwidth in (1e6, 1e9, 1e30):
        wide = float(cka(x, y, kernel="rbf", bandwidth=bandwidth, estimator=estimator))
        assert wide == pytest.approx(linear, abs=1e-9)
    for bandwidth in (1e100, 1e200, np.inf):
        with pytest.raises(DataError, match="x: all similarities .* equal up to rounding.*smaller"):
            cka(x, y, kernel="rbf", bandwidth=bandwidth, estimator=estimator)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_an_rbf_kernel_too_narrow_to_compare_is_refused(
    rng: np.random.Generator, estimator: str
) -> None:
    """The biased estimator scores 1 for any two Grams that are the identity."""
    x, y = rng.normal(size=(60, 6)), rng.normal(size=(60, 4))
    options = {"kernel": "rbf", "estimator": estimator}
    with pytest.raises(DataError, match=r"cka: x: with bandwidth=0\.01 the similarity .* is .*e-"):
        cka(x, y, bandwidth=0.01, **options)
    nearest = min(np.linalg.norm(a - b) for a, b in combinations(x, 2))
    middle = np.median([np.linalg.norm(a - b) for a, b in combinations(x, 2)])
    least = nearest / middle / np.sqrt(-2 * np.log(1e-6))  # the nearest two are alike by 1e-6
    with pytest.raises(DataError, match="any two of its patterns is 9.*e-07 at most"):
        cka(x, x, bandwidth=least * 0.999, **options)
    assert cka(x, x, bandwidth=least * 1.5, **options).item() == pytest.approx(1)


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_minibatches_sum_before_they_divide(
    x: xr.DataArray, y: xr.DataArray, rng: np.random.Generator, kernel: str
) -> None:
    """Nguyen et al. 2020, eq. 3, on batches found from the labels; 24 = 3 x 7, 3 left out."""
    order = np.argsort(hash_rank(x.stimulus.values, 5))
    sums = np.zeros(3)
    batches = [order[start : start + 7] for start in (0, 7, 14)]
    sides = [[side.values[rows] for rows in batches] for side in (x, y)]
    if kernel == "linear":
        grams = [[part @ part.T for part in side] for side in sides]
    else:
        grams = []
        for side in sides:  # one width for all batches, from the distances within each
            gaps = [np.linalg.norm(part[:, None] - part[None], axis=-1) for part in side]
            width = np.median(np.concatenate([gap[np.triu_indices(7, 1)] for gap in gaps]))
            grams.append([np.exp(-(gap**2) / (2 * width**2)) for gap in gaps])
    for k, ll in zip(*(map(gram.u_centred, side) for side in grams), strict=True):
        sums += [(k * ll).sum(), (k * k).sum(), (ll * ll).sum()]
    expected = sums[0] / np.sqrt(sums[1] * sums[2])
    options = {"kernel": kernel, "batch": 7, "batch_seed": 5}
    for side in (x, x.isel(stimulus=rng.permutation(24))):
        with pytest.warns(ReptoolsWarning, match="batches of 7 leave 3 of 24 stimuli for the last"):
            assert float(cka(side, y, **options)) == pytest.approx(expected, rel=1e-10)


def test_what_has_no_product_says_so(rng: np.random.Generator) -> None:
    """Three stimuli leave nothing to debias by, and a side without variance has no norm."""
    x, y = rng.normal(size=(2, 3, 5))
    by_units = hsic.by_units(x, y)
    by_stimuli = tiles.by_stimuli([tiles.centred_side(side) for side in (x, y)])
    np.testing.assert_allclose([p.plain for p in by_units], by_stimuli[0][[0, 1, 0], [0, 1, 1]])
    assert np.isnan([p.debiased for p in by_units]).all() and np.isnan(by_stimuli[1]).all()
    flat = np.full((9, 4), 0.1)
    of_flat, of_x, both = hsic.by_units(flat, rng.normal(size=(9, 3)))
    assert of_flat == both == hsic.Product(0.0, 0.0) and of_x is not None and of_x.plain > 0
    sides = [tiles.centred_side(side) for side in (flat, rng.normal(size=(9, 3)))]
    assert tiles.by_stimuli(sides)[0][0].tolist() == [0, 0]


def test_one_batch_of_all_stimuli_is_the_whole(x: xr.DataArray, y: xr.DataArray) -> None:
    for estimator in ESTIMATORS:
        whole = float(cka(x, y, estimator=estimator))
        assert float(cka(x, y, batch=24, estimator=estimator)) == pytest.approx(whole, rel=1e-10)


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("shape", [(40, 6), (40, 300)])
def test_a_grid_is_its_pairs(rng: np.random.Generator, estimator: str, shape: Any) -> None:
    """Tiles of all Grams at once, or pair by pair: the grid decides by the work."""
    layers = {f"l{i}": related(rng, (shape[0], shape[1] + i)) for i in range(4)}
    square = compare(layers, metric="cka", estimator=estimator)
    first = {name: layers[name] for name in ("l0", "l1")}
    for table in (square, compare(first, layers, metric="cka", estimator=estimator)):
        for one in table.x.values:
            for other in table.y.values:
                expected = by_definition(layers[one], layers[other], estimator)
                assert float(table.sel(x=one, y=other)) == pytest.approx(expected, rel=1e-10)


def test_a_layer_without_structure_is_named_in_a_grid(rng: np.random.Generator) -> None:
    layers = {"good": rng.normal(size=(24, 5)), "simplex": np.eye(24)}
    with pytest.raises(DataError, match=r"xs\['simplex'\].*: y: its debiased self-HSIC"):
        compare(layers, metric="cka")


def test_blocks_refuse_what_needs_the_whole(x: xr.DataArray, y: xr.DataArray) -> None:
    lazy = x.chunk(stimulus=10)
    assert float(cka(lazy, y)) == pytest.approx(float(cka(x, y)), abs=1e-12)
    with pytest.raises(ParameterError, match=r"cka: kernel='rbf' with batch=None needs"):
        cka(lazy, y, kernel="rbf")
    with pytest.raises(ParameterError, match=r"kernel='linear' with batch=8 needs .*load"):
        cka(lazy, y, batch=8)


def test_half_of_all_patterns_equal_have_no_bandwidth(rng: np.random.Generator) -> None:
    x = np.repeat(rng.normal(size=(2, 4)), [20, 4], axis=0)
    with pytest.raises(DataError, match="cka: x: half of its pairs of patterns or more are equal"):
        cka(x, rng.normal(size=(24, 4)), kernel="rbf")


def test_biased_cka_is_the_whitened_cosine_of_squared_distances(rng: np.random.Generator) -> None:
    """Diedrichsen et al. 2021: distances whitened by their covariance under pure noise."""
    x, y = related(rng, (12, 4)), related(rng, (12, 30))
    contrasts = np.array([np.eye(12)[i] - np.eye(12)[j] for i, j in combinations(range(12), 2)])
    covariance = (contrasts @ contrasts.T) ** 2
    a, b = (((contrasts @ v) ** 2).sum(axis=1) for v in (x, y))
    wa, wb = np.linalg.solve(covariance, a), np.linalg.solve(covariance, b)
    expected = (a @ wb) / np.sqrt((a @ wa) * (b @ wb))
    assert float(cka(x, y, estimator="biased")) == pytest.approx(expected, rel=1e-10)


def test_independent_data_score_zero_debiased() -> None:
    rng = np.random.default_rng(3)
    draws = rng.normal(size=(200, 2, 50, 50))
    scores = [bare_cka(x, y) for x, y in draws]
    one_draw = np.sqrt(2 / (50 * 47))  # of a correlation over n(n-3)/2 free pairs
    assert abs(np.mean(scores)) < 3 * one_draw / np.sqrt(200)
    assert np.min(scores) < -0.02, "it must not be clipped at 0"
    assert np.std(scores) == pytest.approx(one_draw, rel=0.15)


def test_independent_data_score_high_biased() -> None:
    draws = np.random.default_rng(4).normal(size=(20, 2, 50, 500))
    scores = [bare_cka(x, y, estimator="biased") for x, y in draws]
    assert np.mean(scores) == pytest.approx(0.909, abs=0.001)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("alexnet", "resnet18", 0.705),
        ("alexnet", "resnet34", 0.654),
        ("resnet18", "resnet34", 0.836),
    ],
)
def test_outputs_of_three_networks(one: str, other: str, expected: float) -> None:
    """240 images of Brain-Score, lined up by image and not by row."""
    sides = []
    for name in (one, other):
        path = shared(f"brainscore/{name}-probabilities.nc")
        with xr.open_dataarray(path, engine="h5netcdf") as data:
            data = data.load().rename(presentation="stimulus", choice="unit")
        sides.append(data.assign_coords(stimulus=data.image_id.values))
    x, y = sides
    shuffled = y.isel(stimulus=np.random.default_rng(0).permutation(240))
    for second in (y, shuffled):
        score = cka(x, second, estimator="biased")
        assert float(score) == pytest.approx(expected, abs=5e-4)
    assert score.attrs["n_stimuli"] == 240


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("shape", SHAPES)
def test_float32_with_a_mean_of_1000(rng: np.random.Generator, estimator: str, shape: Any) -> None:
    x, y = ((related(rng, shape) + 1000).astype(np.float32) for _ in range(2))
    exact = by_definition(*(v.astype(np.float64) - 1000 for v in (x, y)), estimator)
    assert float(cka(x, y, estimator=estimator)) == pytest.approx(exact, abs=1e-9)


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("shape", SHAPES)
def test_invariances(rng: np.random.Generator, estimator: str, shape: Any) -> None:
    x, y = related(rng, shape), related(rng, (20, 9))
    turn = np.linalg.qr(rng.normal(size=(shape[1], shape[1])))[0]
    expected = float(cka(x, y, estimator=estimator))
    for changed in (x @ turn, 2.5 * x, x + np.arange(shape[1]), x * 1e90, x * 1e-90):
        score = float(cka(changed, y, estimator=estimator))
        assert score == pytest.approx(expected, abs=1e-11)
    assert float(cka(x, x, estimator=estimator)) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-10), (np.float32, 1e-6)])
def test_shuffled_stimuli(
    x: xr.DataArray, y: xr.DataArray, rng: np.random.Generator, dtype: type, tolerance: float
) -> None:
    x, y = x.astype(dtype), y.astype(dtype)
    shuffled = y.isel(stimulus=rng.permutation(24))
    for estimator in ESTIMATORS:
        expected = float(cka(x, y, estimator=estimator))
        assert float(cka(x, shuffled, estimator=estimator)) == pytest.approx(
            expected, abs=tolerance
        )


def test_steps_are_paired_and_other_dimensions_crossed(rng: np.random.Generator) -> None:
    x, y = labelled(rng.normal(size=(3, 12, 5))), labelled(rng.normal(size=(3, 12, 40)))
    paired = cka(x, y)
    assert (paired.dims, paired.step.values.tolist()) == (("step",), [0, 10, 20])
    assert float(paired[1]) == pytest.approx(float(cka(x[1], y[1])))
    crossed = cka(x, y.rename(step="time"))
    assert crossed.dims == ("step", "time")
    assert float(crossed[0, 2]) == pytest.approx(float(cka(x[0], y[2])))
    assert cka(x[0], y).dims == ("step",)


def test_the_estimator_is_named(x: xr.DataArray, y: xr.DataArray) -> None:
    assert cka(x, y).attrs["estimator"] == "debiased"
    result = cka(x, y, estimator="biased")
    assert (result.name, result.dims, result.attrs["estimator"]) == ("cka", (), "biased")
    assert (result.attrs["n_units_x"], result.attrs["n_units_y"]) == (6, 4)


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize(("x_shape", "y_shape"), SHAPE_PAIRS)
def test_other_array_libraries(
    rng: np.random.Generator, estimator: Any, x_shape: Any, y_shape: Any
) -> None:
    torch = pytest.importorskip("torch")
    x, y = related(rng, x_shape), related(rng, y_shape)
    expected = float(cka(x, y, estimator=estimator))
    on_torch = cka(torch.from_numpy(x), torch.from_numpy(y), estimator=estimator)
    assert float(on_torch) == pytest.approx(expected, abs=1e-13)
    strict = (array_api_strict.asarray(v) for v in (x, y))
    assert bare_cka(*strict, estimator=estimator) == pytest.approx(expected, abs=1e-13)


def test_a_dead_unit_carries_no_weight(x: xr.DataArray, y: xr.DataArray) -> None:
    with_dead = x.copy()
    with_dead[:, 2] = 1e8
    with pytest.warns(DeadUnitWarning, match="cka: x has 1 of 6 units without variance"):
        score = float(cka(with_dead, y))
    assert score == pytest.approx(float(cka(x.drop_isel(unit=2), y)), abs=1e-14)


def test_a_dead_layer_is_missing(x: xr.DataArray, y: xr.DataArray) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeadUnitWarning)
        assert np.isnan(float(cka(x * 0, y)))


def test_equally_distant_patterns_have_no_debiased_score(rng: np.random.Generator) -> None:
    one_hot = np.eye(24)
    simplex = np.linalg.svd(one_hot - 1 / 24)[0][:, :23]  # the same geometry in fewer units
    other = rng.normal(size=(24, 5))
    for x in (one_hot, 3.7 * one_hot + 1, simplex):
        with pytest.raises(DataError, match=r"cka: y: its debiased self-HSIC is -?\d\S* of the"):
            cka(other, x)
    assert float(cka(one_hot, simplex, estimator="biased")) == pytest.approx(1)


def test_nothing_left_after_preparation() -> None:
    x = np.outer([1.0, 2.0, 4.0, 8.0], [1.0, 2.0, 2.0])  # one direction: equal after unit_norm
    with pytest.warns(
        DeadUnitWarning, match="3 of 3 units .* after prepare='unit_norm'; the score"
    ):
        assert np.isnan(cka(x, x, prepare="unit_norm"))


def test_bad_input(x: xr.DataArray, y: xr.DataArray) -> None:
    with pytest.raises(ParameterError, match=r"cka: estimator must be .*, got 'unbiased'"):
        cka(x, y, estimator="unbiased")
    with pytest.raises(ParameterError, match=r"cka: kernel must be linear|rbf, got 'poly'"):
        cka(x, y, kernel="poly")
    with pytest.raises(ParameterError, match=r"cka: bandwidth must be .*, got 0"):
        cka(x, y, kernel="rbf", bandwidth=0)
    with pytest.raises(ParameterError, match=r"cka: batch must be .*at least 4.*, got 3"):
        cka(x, y, batch=3)
    with pytest.raises(ParameterError, match=r"cka: batch_seed must be .*, got 'a'"):
        cka(x, y, batch=4, batch_seed="a")
    with pytest.raises(ParameterError, match="got 'pca'"):
        cka(x, y, prepare="pca")
    with pytest.raises(StimulusError, match=r"x: debiased linear CKA needs at least 4 .* got 3"):
        cka(x[:3], y[:3])
    with pytest.raises(StimulusError, match=r"x: biased linear CKA needs at least 3 .* got 2"):
        cka(x[:2], y[:2], estimator="biased")
    with pytest.raises(StimulusError, match=r"4 only in x.*, 24 only in y \('t000'"):
        cka(x[:4], y.assign_coords(stimulus=[f"t{i:03d}" for i in range(24)]))
    with pytest.raises(StimulusError, match="x has no stimulus labels"):
        cka(x.values, y)
    with pytest.raises(StimulusError, match="x has repeated stimulus labels: 's000'"):
        cka(x.assign_coords(stimulus=["s000", *x.stimulus.values[:-1]]), y)
    with pytest.raises(ParameterError, match=r"it takes 2 inputs \(x, y\), got 1"):
        cka(x)
    y[3, 1] = np.inf
    with pytest.raises(DataError, match="y is not finite for 1 of 24 stimuli"):
        cka(x, y)
