"""crossnobis and mahalanobis: rsatoolbox's values, the explicit loop, unbiased, any design."""

from __future__ import annotations

import gzip
import itertools

import array_api_strict
import numpy as np
import pytest
import xarray as xr

from reptools.errors import DataError, DeadUnitWarning, ParameterError, StimulusError
from reptools.metrics.rdm import rdm
from reptools.statistics.rdms.crossnobis import (
    crossnobis,
    crossnobis_by_pairs,
    crossvalidated,
    run_means,
)
from reptools.statistics.rdms.trials import Trials
from tests.shared_data import shared

C, R, M, P = 3, 3, 4, 4


def design(values: np.ndarray, condition: np.ndarray, run: np.ndarray) -> xr.DataArray:
    coords = {"condition": ("stimulus", condition), "run": ("stimulus", run)}
    return xr.DataArray(values, dims=("stimulus", "unit"), coords=coords)


@pytest.fixture
def golden() -> xr.DataArray:
    trial = np.arange(C * R * M)
    values = np.sin(np.arange(1, C * R * M * P + 1) ** 1.5).reshape(-1, P) @ np.tri(P)
    values += np.cos(trial % C)[:, None] * np.arange(P)
    return design(values, trial % C, trial // (C * M))


@pytest.fixture
def unbalanced(rng: np.random.Generator) -> xr.DataArray:
    """Seven conditions in five runs, 0 to 3 trials of each, in no order."""
    counts = rng.integers(1, 4, size=(7, 5))
    counts[0, 1] = counts[0, 3] = counts[2, 0] = counts[5, 1] = counts[6, 1] = counts[6, 3] = 0
    cells = np.repeat(np.arange(35), counts.ravel())
    cells = rng.permutation(cells)
    condition, run = cells // 5, cells % 5
    means, offsets = rng.normal(size=(7, 6)), 5 * rng.normal(size=(5, 6))
    values = means[condition] + offsets[run] + rng.normal(size=(cells.size, 6))
    names = np.array([f"c{i}" for i in range(7)])
    return design(values, names[condition], run)


def loop(x: xr.DataArray, precision: np.ndarray) -> np.ndarray:
    """The definition: pairs of conditions, pairs of runs that have both."""
    conditions, runs = np.unique(x.condition), np.unique(x.run)
    mean = {
        (i, f): x.values[(x.condition == c).values & (x.run == r).values].mean(axis=0)
        for (i, c), (f, r) in itertools.product(enumerate(conditions), enumerate(runs))
        if ((x.condition == c) & (x.run == r)).any()
    }
    square = np.zeros((conditions.size, conditions.size))
    for i, j in itertools.combinations(range(conditions.size), 2):
        both = [f for f in range(runs.size) if (i, f) in mean and (j, f) in mean]
        products = [
            (mean[i, f] - mean[j, f]) @ precision @ (mean[i, g] - mean[j, g])
            for f, g in itertools.combinations(both, 2)
        ]
        square[i, j] = square[j, i] = np.mean(products)
    return square


def pairs(result: xr.DataArray) -> np.ndarray:
    return result.values[np.triu_indices(result.sizes["stimulus"], k=1)]


@pytest.mark.parametrize(
    ("method", "noise", "scope", "expected"),
    [
        # rsatoolbox 0.3.2: calc_rdm(..., descriptor, cv_descriptor, noise) times the 4 units, with
        # prec_from_unbalanced(data, condition and run together, method=noise); "run": one each
        ("crossnobis", "identity", None, [5.745576507299913, 28.553433111947385, 9.03718203946682]),
        ("crossnobis", "diag", None, [7.412554544814512, 40.66694562266024, 13.401431308775495]),
        ("crossnobis", "full", None, [8.90681648103068, 65.0127947925484, 24.80316284082097]),
        ("crossnobis", "shrinkage_eye", None, [6.897287103207979, 48.84023582953993, 18.600045787883545]),
        ("crossnobis", None, None, [7.547046410786156, 52.86765784617705, 20.087733978123147]),
        ("crossnobis", "shrinkage_eye", "run", [6.119054971632473, 41.5019580024908, 15.472579822232795]),
        ("crossnobis", "shrinkage_diag", "run", [7.2243133827618236, 49.31657459640195, 18.491043183279782]),
        ("mahalanobis", "diag", None, [7.504032458145556, 41.99500692900408, 14.399253490865991]),
        ("mahalanobis", "full", None, [9.080412130151316, 66.0554936705586, 26.445223209271127]),
        ("mahalanobis", None, None, [7.645948529105922, 53.60408438425928, 21.025302501839754]),
    ],
)  # fmt: skip
def test_values_of_rsatoolbox_0_3_2(
    golden: xr.DataArray, method: str, noise: str | None, scope: str | None, expected: list[float]
) -> None:
    result = rdm(golden, method=method, condition="condition", noise=noise, noise_scope=scope)
    np.testing.assert_allclose(pairs(result), expected, rtol=1e-11)
    attrs = result.attrs
    assert (attrs["distance"], attrs["squared"], attrs["divided_by_p"]) == (method, 1, 0)
    assert attrs["noise"] == (noise or "shrinkage_diag")
    assert (attrs["runs"], attrs["n_runs"], attrs["n_conditions"], attrs["n_stimuli"]) == (
        "run",
        3,
        3,
        36,
    )
    if method == "crossnobis":
        assert attrs["estimator"] == "crossvalidated"
        if noise != "identity":
            assert attrs["noise_scope"] == (scope or "pooled")


def test_balanced_closed_form_is_the_loop(golden: xr.DataArray) -> None:
    result = rdm(golden, method="crossnobis", condition="condition", noise="identity")
    np.testing.assert_allclose(result.values, loop(golden, np.eye(P)), rtol=1e-12, atol=1e-13)


def test_unbalanced_groups_of_conditions_are_the_loop(unbalanced: xr.DataArray) -> None:
    result = rdm(unbalanced, method="crossnobis", condition="condition", noise="identity")
    expected = loop(unbalanced, np.eye(6))
    np.testing.assert_allclose(result.values, expected, rtol=1e-12, atol=1e-12)
    assert (result.values == result.values.T).all()
    assert (np.diag(result.values) == 0).all()
    assert result.stimulus.values.tolist() == result.stimulus_.values.tolist()
    assert result.stimulus.values.tolist() == [f"c{i}" for i in range(7)]


def test_unbalanced_with_noise_is_the_loop(unbalanced: xr.DataArray) -> None:
    cell = unbalanced.condition.values.astype(object) + unbalanced.run.values.astype(str)
    left = unbalanced.values - np.array([unbalanced.values[cell == c].mean(axis=0) for c in cell])
    covariance = left.T @ left / (cell.size - np.unique(cell).size)
    result = rdm(unbalanced, method="crossnobis", condition="condition", noise="full")
    expected = loop(unbalanced, np.linalg.inv(covariance))
    np.testing.assert_allclose(result.values, expected, rtol=1e-10, atol=1e-11)


def test_noise_of_each_pair_of_runs_is_the_loop(rng: np.random.Generator) -> None:
    """One trial in each cell: the noise of two runs comes from the others."""
    values = rng.normal(size=(5, 6, 3)) + 10 * rng.normal(size=(5, 1, 3))
    expected = np.zeros((6, 6))
    for f, g in itertools.combinations(range(5), 2):
        others = values[[h for h in range(5) if h not in (f, g)]]
        left = others - others.mean(0) - others.mean(1, keepdims=True) + others.mean((0, 1))
        left = left.reshape(-1, 3)
        precision = np.linalg.inv(left.T @ left / (5 * 2))
        for i, j in itertools.product(range(6), repeat=2):
            gap = values[:, i] - values[:, j]
            expected[i, j] += gap[f] @ precision @ gap[g] / 10
    x = xr.DataArray(values, dims=("repetition", "stimulus", "unit"))
    result = rdm(x, method="crossnobis", noise="full")
    np.testing.assert_allclose(result.values, expected, rtol=1e-9, atol=1e-9)
    assert (result.attrs["runs"], result.attrs["noise_scope"]) == ("repetition", "other_runs")


def test_noise_of_the_other_runs_where_trials_are_repeated(rng: np.random.Generator) -> None:
    """Named, as it is no default there: residuals by least squares on conditions and runs."""
    condition, run = np.repeat(np.arange(40) % 5, 2), np.repeat(np.arange(40) // 5 % 4, 2)
    x = design(rng.normal(size=(80, 3)) + 10 * run[:, None], condition, run)
    expected = np.zeros((5, 5))
    for f, g in itertools.combinations(range(4), 2):
        others = ~np.isin(run, (f, g))
        codes = np.concatenate([np.eye(5)[condition], np.eye(4)[run]], axis=1)[others]
        fitted = codes @ np.linalg.lstsq(codes, x.values[others], rcond=None)[0]
        left = x.values[others] - fitted
        degrees = others.sum() - np.linalg.matrix_rank(codes)
        precision = np.linalg.inv(left.T @ left / degrees)
        both = x.isel(stimulus=np.isin(run, (f, g)))
        expected += loop(both, precision) / 6
    options = {"method": "crossnobis", "condition": "condition", "noise": "full"}
    result = rdm(x, noise_scope="other_runs", **options)
    np.testing.assert_allclose(result.values, expected, rtol=1e-9, atol=1e-9)
    assert result.attrs["noise_scope"] == "other_runs"
    assert rdm(x, **options).attrs["noise_scope"] == "pooled"


def test_missing_conditions_with_noise_of_the_other_runs(rng: np.random.Generator) -> None:
    kept = np.setdiff1d(np.arange(30), [4, 13])
    x = design(rng.normal(size=(28, 3)), kept % 6, kept // 6)
    result = rdm(x, method="crossnobis", condition="condition")
    whole = rdm(x.isel(stimulus=slice(None, None, -1)), method="crossnobis", condition="condition")
    np.testing.assert_allclose(result.values, whole.values, rtol=1e-10, atol=1e-12)
    assert np.isfinite(result.values).all()


def test_pairs_of_runs_with_missing_conditions_are_the_loop(unbalanced: xr.DataArray) -> None:
    """A pair of conditions is divided by the pairs of runs that have both, not by all of them."""
    conditions, condition = np.unique(unbalanced.condition, return_inverse=True)
    trials = Trials(unbalanced.values, condition, unbalanced.run.values, conditions, np.arange(5))
    means, present = run_means(trials)
    scales = np.arange(1.0, 26.0).reshape(5, 5)
    result = crossnobis_by_pairs(means, present, lambda rows, f, g: rows * scales[f, g])
    expected = np.zeros_like(result)
    for f, g in itertools.combinations(range(5), 2):
        two = present[:, f] & present[:, g]
        gaps = (means[:, None, k] - means[None, :, k] for k in (f, g))
        products = scales[f, g] ** 2 * np.prod(list(gaps), axis=0).sum(axis=-1)
        expected += np.where(np.outer(two, two), products, 0)
    shared_runs = present.astype(int) @ present.T.astype(int)
    expected /= shared_runs * (shared_runs - 1) / 2
    np.fill_diagonal(expected, 0)
    np.testing.assert_allclose(result, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("noise", ["identity", "diag", "full", "shrinkage_eye", "shrinkage_diag"])
def test_pure_noise_has_mean_0(noise: str) -> None:
    rng = np.random.default_rng(5)
    mix = rng.normal(size=(4, 4))
    runs = np.arange(24) // 6
    upper = np.triu_indices(3, k=1)
    for condition in (np.arange(24) % 6, np.arange(24) // 2 % 3):  # one trial a run, two trials
        names = np.unique(condition)
        draws = []
        for _ in range(60):
            values = rng.normal(size=(24, 4)) @ mix + rng.normal(size=(4, 4))[runs]
            trials = Trials(values, condition, runs, names, np.arange(4))
            draws.append(crossvalidated(trials, noise, None)[0][upper].mean())
        assert abs(np.mean(draws)) < 3.3 * np.std(draws) / np.sqrt(len(draws))
        assert min(draws) < 0


def test_mahalanobis_is_biased_where_crossnobis_is_not() -> None:
    rng = np.random.default_rng(6)
    x = xr.DataArray(rng.normal(size=(4, 10, 20)), dims=("repetition", "stimulus", "unit"))
    biased = pairs(rdm(x, method="mahalanobis", noise="identity")).mean()
    assert biased == pytest.approx(2 * 20 / 4, rel=0.2)


@pytest.mark.parametrize("method", ["crossnobis", "mahalanobis"])
@pytest.mark.parametrize("noise", ["identity", "shrinkage_eye"])
def test_float32_with_a_mean_of_1000(unbalanced: xr.DataArray, method: str, noise: str) -> None:
    x = (unbalanced + 1000).astype(np.float32)
    options = {"method": method, "condition": "condition", "noise": noise}
    exact = rdm(x.astype(np.float64), **options).values
    np.testing.assert_allclose(rdm(x, **options).values, exact, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("scale", [1e-130, 1e130])
def test_any_scale(unbalanced: xr.DataArray, scale: float) -> None:
    options = {"method": "crossnobis", "condition": "condition"}
    expected = rdm(unbalanced, **options).values
    np.testing.assert_allclose(rdm(unbalanced * scale, **options).values, expected, rtol=1e-9)
    plain = rdm(unbalanced, noise="identity", **options).values
    scaled = rdm(unbalanced * scale, noise="identity", **options).values
    np.testing.assert_allclose(scaled, plain * scale**2, rtol=1e-9)


def test_distances_outside_float64_are_refused(unbalanced: xr.DataArray) -> None:
    for scale in (1e-170, 1e170):
        with pytest.raises(DataError, match="squared distances of that size are outside float64"):
            rdm(unbalanced * scale, method="crossnobis", condition="condition", noise="identity")


def test_dead_units_change_nothing(unbalanced: xr.DataArray) -> None:
    dead = xr.full_like(unbalanced.isel(unit=[0, 1]), 0.1)
    wide = xr.concat([unbalanced, dead], dim="unit")
    for noise in ("identity", "shrinkage_eye", "full"):
        options = {"method": "crossnobis", "condition": "condition", "noise": noise}
        with pytest.warns(DeadUnitWarning, match="2 of 8 units"):
            result = rdm(wide, **options)
        np.testing.assert_allclose(
            result.values, rdm(unbalanced, **options).values, rtol=1e-9, atol=1e-12
        )


def test_invariant_to_linear_maps_of_units(
    unbalanced: xr.DataArray, rng: np.random.Generator
) -> None:
    mapped = unbalanced.copy(data=unbalanced.values @ rng.normal(size=(6, 6)) + 3)
    for method in ("crossnobis", "mahalanobis"):
        options = {"method": method, "condition": "condition", "noise": "full"}
        expected = rdm(unbalanced, **options).values
        np.testing.assert_allclose(rdm(mapped, **options).values, expected, rtol=1e-8, atol=1e-9)


def test_effects_of_runs_cancel(unbalanced: xr.DataArray) -> None:
    shifted = unbalanced + 1e3 * unbalanced.run.values[:, None] * np.arange(6)
    for scope in ("pooled", "run"):
        options = {"method": "crossnobis", "condition": "condition", "noise_scope": scope}
        if scope == "run":
            options["noise"] = "shrinkage_eye"
        expected = rdm(unbalanced, **options).values
        np.testing.assert_allclose(rdm(shifted, **options).values, expected, rtol=1e-7, atol=1e-9)


def test_order_of_trials_changes_nothing(
    unbalanced: xr.DataArray, rng: np.random.Generator
) -> None:
    order = rng.permutation(unbalanced.sizes["stimulus"])
    again = rdm(unbalanced.isel(stimulus=order), method="crossnobis", condition="condition")
    expected = rdm(unbalanced, method="crossnobis", condition="condition").values
    np.testing.assert_allclose(again.values, expected, rtol=1e-10, atol=1e-12)


def test_steps_are_kept(unbalanced: xr.DataArray) -> None:
    both = xr.concat([unbalanced, unbalanced * 2 + 1], dim="step").assign_coords(step=[0, 10])
    both = both.assign_coords(condition=unbalanced.condition, run=unbalanced.run)
    for method in ("crossnobis", "mahalanobis", "euclidean"):
        result = rdm(both, method=method, condition="condition")
        assert result.dims == ("step", "stimulus", "stimulus_")
        alone = rdm(both.isel(step=1), method=method, condition="condition")
        np.testing.assert_allclose(result.sel(step=10).values, alone.values, rtol=1e-10)


def test_repetitions_are_averaged_or_runs(rng: np.random.Generator) -> None:
    values = rng.normal(size=(3, 6, 4))
    x = xr.DataArray(values, dims=("repetition", "stimulus", "unit"))
    x = x.assign_coords(stimulus=list("fabcde"))
    plain = rdm(x, method="euclidean")
    np.testing.assert_allclose(plain.values, rdm(values.mean(axis=0), method="euclidean").values)
    assert plain.stimulus.values.tolist() == list("fabcde")
    flat = design(values.reshape(-1, 4), np.tile(np.arange(6), 3), np.repeat(np.arange(3), 6))
    expected = rdm(flat, method="crossnobis", condition="condition", noise="identity").values
    result = rdm(x, method="crossnobis", noise="identity")
    np.testing.assert_allclose(result.values, expected, rtol=1e-12, atol=1e-13)
    assert (result.attrs["runs"], result.attrs["n_runs"]) == ("repetition", 3)


def test_named_groups_and_their_defaults(unbalanced: xr.DataArray) -> None:
    options = {"method": "crossnobis", "condition": "condition", "noise": "identity"}
    expected = rdm(unbalanced, **options)
    session = unbalanced.rename(run="session")
    np.testing.assert_array_equal(rdm(session, groups="session", **options).values, expected.values)
    both = unbalanced.assign_coords(
        groups=("stimulus", np.arange(unbalanced.sizes["stimulus"]) % 2)
    )
    assert rdm(both, **options).attrs["runs"] == "groups"
    with pytest.raises(ParameterError, match="no coordinate 'groups' or 'run'.*groups="):
        rdm(session, **options)


def test_other_array_libraries(unbalanced: xr.DataArray) -> None:
    torch = pytest.importorskip("torch")
    conditions, condition = np.unique(unbalanced.condition, return_inverse=True)
    run = unbalanced.run.values
    expected = rdm(unbalanced, method="crossnobis", condition="condition", noise="identity").values
    for library in (torch, array_api_strict):
        values = library.asarray(unbalanced.values)
        means, present = run_means(Trials(values, condition, run, conditions, np.arange(5)))
        result = np.asarray(crossnobis(means, present))
        np.testing.assert_allclose(result, expected, rtol=1e-11, atol=1e-12)


def test_too_few_runs_are_named(unbalanced: xr.DataArray, rng: np.random.Generator) -> None:
    x = unbalanced.isel(stimulus=((unbalanced.run < 2) & (unbalanced.condition != "c2")).values)
    with pytest.raises(StimulusError, match=r"have fewer than 2 of the 2 runs.*'c0 and c1: 1'"):
        rdm(x, method="crossnobis", condition="condition", noise="identity")
    with pytest.raises(StimulusError, match="of the 1 runs in common"):
        rdm(x.isel(stimulus=(x.run == 0).values), method="crossnobis", condition="condition")
    three = xr.DataArray(rng.normal(size=(3, 6, 4)), dims=("repetition", "stimulus", "unit"))
    with pytest.raises(
        StimulusError, match="no condition is repeated within a run.*there are 3 runs"
    ):
        rdm(three, method="crossnobis")
    with pytest.raises(StimulusError, match="no condition is repeated within the run 0"):
        rdm(three, method="crossnobis", noise_scope="run")
    with pytest.raises(StimulusError, match="no condition is repeated, so there is no noise"):
        rdm(three, method="crossnobis", noise_scope="pooled")


def test_bad_options(unbalanced: xr.DataArray) -> None:
    with pytest.raises(ParameterError, match=r"rdm: method must be .*, got 'crossnobi'"):
        rdm(unbalanced, method="crossnobi")
    with pytest.raises(ParameterError, match=r"rdm: noise must be .*, got 'ledoit'"):
        rdm(unbalanced, method="crossnobis", noise="ledoit")
    with pytest.raises(ParameterError, match=r"rdm: noise_scope must be .*, got 'all'"):
        rdm(unbalanced, method="crossnobis", noise_scope="all")
    with pytest.raises(ParameterError, match="'stimulu' is no coordinate"):
        rdm(unbalanced, condition="stimulu")
    with pytest.raises(ParameterError, match="'session' is no coordinate"):
        rdm(unbalanced, method="crossnobis", groups="session")
    with pytest.raises(ParameterError, match="noise='diag' has no meaning for the correlation"):
        rdm(unbalanced, noise="diag")
    with pytest.raises(ParameterError, match="groups='run' has no meaning for the cosine"):
        rdm(unbalanced, method="cosine", groups="run")
    with pytest.raises(
        ParameterError, match="noise_scope='run' has no meaning for the mahalanobis"
    ):
        rdm(unbalanced, method="mahalanobis", noise_scope="run")
    with pytest.raises(ParameterError, match="noise_scope='run' says where the noise of the cross"):
        rdm(unbalanced, method="crossnobis", noise="identity", noise_scope="run")
    with pytest.raises(ParameterError, match="groups='run' says where the noise of the mahal"):
        rdm(unbalanced, method="mahalanobis", noise="identity", groups="run")
    gap = unbalanced.assign_coords(run=("stimulus", np.where(unbalanced.run == 1, np.nan, 0.0)))
    with pytest.raises(ParameterError, match="run is missing for"):
        rdm(gap, method="crossnobis", condition="condition")


# --- real data ----------------------------------------------------------------------------------


def _nifti(name: str) -> np.ndarray:
    """Voxels of an uncompressed-in-memory NIfTI-1 file (see its header's definition)."""
    raw = gzip.decompress(shared(name).read_bytes())
    order = "<" if int.from_bytes(raw[:4], "little") == 348 else ">"
    shape = np.frombuffer(raw, order + "i2", 8, 40)
    kind = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8"}[
        int(np.frombuffer(raw, order + "i2", 1, 70)[0])
    ]
    start = int(np.frombuffer(raw, order + "f4", 1, 108)[0])
    shape = shape[1 : 1 + shape[0]]
    values = np.frombuffer(raw, order + kind, int(np.prod(shape)), start)
    return values.reshape(shape, order="F")


def _haxby() -> xr.DataArray:
    """Mean pattern of each category in each run: detrended, z-scored against rest."""
    folder = shared("haxby2001_slice")
    mask = np.squeeze(_nifti("haxby2001_slice/mask.nii.gz")) > 0
    bold = np.squeeze(_nifti("haxby2001_slice/bold.nii.gz"))[mask].T.astype(np.float64)
    lines = (folder / "attributes_literal.txt").read_text().split("\n")
    table = [line.split() for line in lines if len(line.split()) == 2 and line.split()[1].isdigit()]
    label, run = np.array([row[0] for row in table]), np.array([int(row[1]) for row in table])
    values, names, runs = [], [], []
    for r in np.unique(run):
        here = np.flatnonzero(run == r)
        time = np.stack([np.ones(here.size), np.arange(here.size)], axis=1)
        x = bold[here] - time @ np.linalg.lstsq(time, bold[here], rcond=None)[0]
        rest = x[label[here] == "rest"]
        x = (x - rest.mean(axis=0)) / rest.std(axis=0)
        for category in np.unique(label[label != "rest"]):
            values.append(x[label[here] == category].mean(axis=0))
            names.append(category)
            runs.append(r)
    return design(np.array(values), np.array(names), np.array(runs))


def test_haxby_categories() -> None:
    from scipy.stats import spearmanr

    x = _haxby()
    assert x.shape == (96, 530)
    halves = [x.isel(stimulus=(x.run % 2 == half).values) for half in (0, 1)]
    odd, even = (pairs(rdm(half, condition="condition")) for half in halves)
    assert spearmanr(odd, even)[0] == pytest.approx(0.80, abs=0.005)  # data/README.md
    odd, even = (
        pairs(rdm(half, condition="condition", method="crossnobis", noise="diag"))
        for half in halves
    )
    assert spearmanr(odd, even)[0] > 0.5
    assert (odd > 0).mean() > 0.9  # categories differ
