"""Spectrum, participation ratio and effective rank: definitions, bias, and where they stop."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import array_api_strict
import numpy as np
import pytest
import scipy.stats
import xarray as xr
from sklearn.decomposition import PCA

from reptools.engine.registry import find
from reptools.errors import DataError, DeadUnitWarning, ParameterError, StimulusError
from reptools.metrics.effective_rank import effective_rank
from reptools.metrics.participation_ratio import participation_ratio
from reptools.metrics.pca_spectrum import pca_spectrum
from reptools.statistics.blocks import Blocks
from reptools.statistics.moments import SMALL
from reptools.statistics.shapes.spectrum import leading_axes, scaled
from tests.conftest import labelled

SHAPES = ((30, 6), (30, 30), (30, 80))
ELSEWHERE = array_api_strict.Device("device1")  # arrays there cannot be made numpy's unseen
SCORES = (
    (pca_spectrum, {}),
    (participation_ratio, {}),
    (participation_ratio, {"estimator": "biased"}),
    (effective_rank, {}),
    (effective_rank, {"spectrum": "variances"}),
)


def sample(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Unequal variances, off the origin."""
    return rng.normal(size=shape) * np.linspace(3, 0.5, shape[1]) + 2.0


def bare(metric: Any, x: Any, **options: Any) -> np.ndarray:
    """The kernel alone, without the labelled edge."""
    answer = find(metric).wire(find(metric).bind(options)).score(x)
    return np.asarray(getattr(answer, "value", answer))


def in_blocks(x: np.ndarray) -> Blocks:
    return Blocks(*x.shape, x.dtype, lambda rows: x[rows], [0, 1, 11, len(x)])


# --- spectrum -----------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES)
def test_spectrum_against_scikit_learn(rng: np.random.Generator, shape: Any) -> None:
    # oracle: sklearn.decomposition.PCA of the installed version
    x = sample(rng, shape)
    pca = PCA(svd_solver="full").fit(x)
    most = min(29, shape[1])
    spectrum = pca_spectrum(x)
    assert (spectrum.dims, spectrum.component.values.tolist()) == (
        ("component",),
        list(range(1, most + 1)),
    )
    np.testing.assert_allclose(spectrum, pca.explained_variance_[:most], rtol=1e-9)
    np.testing.assert_allclose(spectrum.share, pca.explained_variance_ratio_[:most], rtol=1e-9)
    np.testing.assert_array_equal(pca_spectrum(x, n_components=4), spectrum[:4])
    np.testing.assert_array_equal(pca_spectrum(x, n_components=4).share, spectrum.share[:4])
    assert pca_spectrum(x, n_components=999).sizes["component"] == most


@pytest.mark.parametrize("shape", SHAPES[1:])
def test_directions_that_do_not_vary_are_exactly_0(rng: np.random.Generator, shape: Any) -> None:
    x = rng.normal(size=(shape[0], 3)) @ rng.normal(size=(3, shape[1])) + 100
    spectrum = pca_spectrum(x).values
    assert (spectrum[:3] > 0.1).all() and (spectrum[3:] == 0).all()
    assert 1 <= float(effective_rank(x)) <= 3
    assert float(effective_rank(x, spectrum="variances")) <= 3


def test_the_number_of_components_does_not_hang_on_what_varies(rng: np.random.Generator) -> None:
    x = labelled(rng.normal(size=(2, 12, 5)))
    x[1, :, 3:] = 4.0
    with pytest.warns(DeadUnitWarning, match="2 of 5 units without variance"):
        spectrum = pca_spectrum(x)
        fewer = pca_spectrum(x, n_components=4)
    assert spectrum.shape == spectrum.share.shape == (2, 5)
    assert (spectrum[0] > 0).all()
    np.testing.assert_allclose(spectrum[1, :3], pca_spectrum(x[1, :, :3]), rtol=1e-12)
    for value in (spectrum, spectrum.share, fewer, fewer.share):
        assert (value[1, 3:] == 0).all()
    with pytest.warns(DeadUnitWarning, match="5 of 5 units"):
        dead = pca_spectrum(0 * x[0])
    assert dead.shape == dead.share.shape == (5,) and dead.isnull().all()


def test_spectra_of_steps_stay_side_by_side(rng: np.random.Generator) -> None:
    x = labelled(rng.normal(size=(3, 12, 5)))
    spectrum = pca_spectrum(x)
    assert spectrum.dims == ("step", "component")
    np.testing.assert_allclose(spectrum[1], pca_spectrum(x[1]), rtol=1e-12)


def test_axes_are_those_of_scikit_learn(rng: np.random.Generator) -> None:
    for shape in SHAPES:
        x = sample(rng, shape)
        values, axes = leading_axes(scaled(x)[0], 4)
        theirs = PCA(4, svd_solver="full").fit(x)
        np.testing.assert_allclose(np.abs(theirs.components_ @ axes), np.eye(4), atol=1e-8)
        shares = theirs.explained_variance_ / theirs.explained_variance_[0]
        np.testing.assert_allclose(values / values[0], shares, rtol=1e-9)


# --- participation ratio ------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES)
def test_biased_ratio_is_the_definition(rng: np.random.Generator, shape: Any) -> None:
    x = sample(rng, shape)
    values = np.linalg.eigvalsh(np.cov(x.T))
    expected = values.sum() ** 2 / (values**2).sum()
    found = participation_ratio(x, estimator="biased")
    assert float(found) == pytest.approx(expected, rel=1e-11)
    assert found.attrs["estimator"] == "biased"


@pytest.mark.parametrize(
    ("shape", "row", "naive"),
    [
        ((12, 30), 20.488860899187088, 7.020456089533435),
        ((30, 12), 7.304899825388489, 5.715568695826754),
    ],
)
def test_debiased_ratio_of_its_authors(shape: Any, row: float, naive: float) -> None:
    # golden: participation_ratio(x, return_all=True) of dimensionality 0.1.4 ("row", "naive"),
    # both shapes drawn one after the other from the same generator
    rng = np.random.default_rng(5)
    x = {other: sample(rng, other) for other in ((12, 30), (30, 12))}[shape]
    assert float(participation_ratio(x)) == pytest.approx(row, rel=1e-12)
    assert float(participation_ratio(x, estimator="biased")) == pytest.approx(naive, rel=1e-12)


def test_debiased_sums_are_unbiased_over_all_quadruples(rng: np.random.Generator) -> None:
    """U-statistics by brute force: products of differences of four distinct stimuli."""
    x = sample(rng, (6, 9))
    above = below = 0.0
    for i, j, k, m in permutations(range(6), 4):
        a, b = x[i] - x[j], x[k] - x[m]
        above += (a @ a) * (b @ b)
        below += (a @ b) ** 2
    assert float(participation_ratio(x)) == pytest.approx(above / below, rel=1e-11)


@pytest.mark.parametrize(("n", "p"), [(20, 200), (60, 10)])
def test_bias(n: int, p: int) -> None:
    rng = np.random.default_rng(8)
    draws = rng.normal(size=(80, n, p))
    debiased = [bare(participation_ratio, x) for x in draws]
    assert np.mean(debiased) == pytest.approx(p, rel=0.05)
    biased = [bare(participation_ratio, x, estimator="biased") for x in draws]
    assert np.mean(biased) == pytest.approx(1 / (1 / p + 1 / n), rel=0.06)


def test_equally_alike_stimuli_have_no_debiased_ratio() -> None:
    with pytest.raises(
        DataError, match=r"participation_ratio: .*is -?\d\S* of the biased one.*equally alike"
    ):
        participation_ratio(np.eye(20))
    assert float(participation_ratio(np.eye(20), estimator="biased")) == pytest.approx(19)


# --- effective rank -----------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES)
def test_effective_rank_against_scipy(rng: np.random.Generator, shape: Any) -> None:
    # oracle: scipy.stats.entropy of the installed version, of numpy's singular values
    x = sample(rng, shape)
    singular = np.linalg.svd(x - x.mean(axis=0), compute_uv=False)[: min(29, shape[1])]
    expected = np.exp(scipy.stats.entropy(singular))
    assert float(effective_rank(x)) == pytest.approx(expected, rel=1e-9)
    expected = np.exp(scipy.stats.entropy(singular**2))
    assert float(effective_rank(x, spectrum="variances")) == pytest.approx(expected, rel=1e-9)


def test_equal_directions_count_in_full() -> None:
    cross = np.concatenate([np.eye(5), -np.eye(5)])
    for metric, options in SCORES[2:]:
        assert float(metric(cross, **options)) == pytest.approx(5, rel=1e-12)
        assert float(metric(cross[:, :1], **options)) == pytest.approx(1, rel=1e-12)


# --- everywhere ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("metric", "options"), SCORES)
@pytest.mark.parametrize("shape", SHAPES)
def test_float32_with_a_mean_of_1000(
    rng: np.random.Generator, shape: Any, metric: Any, options: dict
) -> None:
    x = (sample(rng, shape) + 1000).astype(np.float32)
    exact = bare(metric, x.astype(np.float64), **options)
    np.testing.assert_allclose(bare(metric, x, **options), exact, rtol=1e-9)
    np.testing.assert_allclose(bare(metric, in_blocks(x), **options), exact, rtol=1e-7)


@pytest.mark.parametrize(("metric", "options"), SCORES)
@pytest.mark.parametrize("shape", SHAPES)
def test_other_libraries_blocks_and_rotations(
    rng: np.random.Generator, shape: Any, metric: Any, options: dict
) -> None:
    torch = pytest.importorskip("torch")
    x = sample(rng, shape)
    expected = bare(metric, x, **options)
    turn = np.linalg.qr(rng.normal(size=(shape[1], shape[1])))[0]
    for other in (
        torch.from_numpy(x),
        array_api_strict.asarray(x, device=None if metric is pca_spectrum else ELSEWHERE),
        in_blocks(x),
        x @ turn - 7.0,
    ):
        np.testing.assert_allclose(bare(metric, other, **options), expected, rtol=1e-8)


@pytest.mark.parametrize(("metric", "options"), SCORES)
def test_extreme_scales(rng: np.random.Generator, metric: Any, options: dict) -> None:
    for shape in SHAPES:
        x = sample(rng, shape)
        for scale in (1e-150, 1e150):
            back = scale**-2 if metric is pca_spectrum else 1.0
            for v in (x * scale, in_blocks(x * scale)):
                found = bare(metric, v, **options) * back
                np.testing.assert_allclose(found, bare(metric, x, **options), rtol=1e-8)


def test_a_power_of_two_changes_no_digit(rng: np.random.Generator) -> None:
    x = sample(rng, (30, 6))
    for factor in (2.0**-500, 1.0, 2.0**1000):
        assert float(participation_ratio(x * factor)) == float(participation_ratio(x))
        assert scaled(x * factor)[1] == (factor if factor == 1.0 else 4.0 * factor)


@pytest.mark.parametrize("scale", [1e-170, 1e160])
def test_variances_beyond_float64_are_refused(rng: np.random.Generator, scale: float) -> None:
    x = sample(rng, (30, 6)) * scale
    with pytest.raises(
        DataError, match=r"largest variance is \d.* times \d\S*e[-+]1[67]\d squared"
    ):
        pca_spectrum(x)
    assert np.isfinite(float(participation_ratio(x)))


def test_dask_is_read_in_blocks(rng: np.random.Generator) -> None:
    pytest.importorskip("dask")
    x = labelled(sample(rng, (40, 6)))
    for metric, options in SCORES:
        lazy = metric(x.chunk(stimulus=9), **options)
        np.testing.assert_allclose(lazy, metric(x, **options), rtol=1e-10)


@pytest.mark.parametrize(("metric", "options"), SCORES)
def test_a_dead_unit_carries_no_weight(x: xr.DataArray, metric: Any, options: dict) -> None:
    dead = x.copy()
    dead[:, 2] = 1e8
    with pytest.warns(DeadUnitWarning, match="x has 1 of 6 units without variance"):
        found = metric(dead, **options)
    without = metric(x.drop_isel(unit=2), **options)
    if metric is pca_spectrum:
        assert float(found[-1]) == 0  # there are as many components as units
        found = found[:-1]
    np.testing.assert_allclose(found, without, rtol=1e-12)


def test_bad_input(x: xr.DataArray) -> None:
    with pytest.raises(ParameterError, match="n_components must be .*, got 0"):
        pca_spectrum(x, n_components=0)
    with pytest.raises(ParameterError, match="estimator must be debiased.biased, got 'plug_in'"):
        participation_ratio(x, estimator="plug_in")
    with pytest.raises(ParameterError, match="spectrum must be .*, got 'eigenvalues'"):
        effective_rank(x, spectrum="eigenvalues")
    with pytest.raises(
        StimulusError, match="debiased participation ratio needs at least 4 .*got 3"
    ):
        participation_ratio(x[:3])
    for metric in (pca_spectrum, participation_ratio, effective_rank):
        with pytest.raises(ParameterError, match="got 'pca'"):
            metric(x, prepare="pca")
        with pytest.raises(DataError, match="none of its 2 units varies over the stimuli"):
            bare(metric, np.ones((8, 2)))
        bad = x.copy()
        bad[3, 1] = np.nan
        with pytest.raises(DataError, match="x is not finite for 1 of 24 stimuli"):
            metric(bad)


@pytest.mark.parametrize(("metric", "options"), SCORES)
def test_large_float32_with_a_mean_of_1000(
    rng: np.random.Generator, metric: Any, options: dict
) -> None:
    """Beyond the size from which moments of float32 blocks are taken in float32."""
    x = (sample(rng, (2700, 100)) + 1000).astype(np.float32)
    assert x.size > SMALL
    exact = bare(metric, x.astype(np.float64), **options)
    np.testing.assert_allclose(bare(metric, x, **options), exact, rtol=1e-9)
    np.testing.assert_allclose(bare(metric, in_blocks(x), **options), exact, rtol=1e-6)
