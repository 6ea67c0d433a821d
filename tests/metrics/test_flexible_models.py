"""Flexible models: folds of stimuli against rsatoolbox, planted weights, and what cannot leak."""

from __future__ import annotations

import re
from itertools import combinations
from typing import Any

import numpy as np
import pytest
import xarray as xr
from scipy.spatial.distance import pdist, squareform
from sklearn.model_selection import PredefinedSplit

from reptools.errors import DataError, ParameterError, StimulusError
from reptools.metrics.compare_rdms import compare_rdms
from reptools.metrics.flexible_rsa import flexible_rsa
from reptools.metrics.flexible_rsa_weights import flexible_rsa_weights

HALVES = PredefinedSplit(np.repeat([0, 1], 6))
FITS = ("select", "weighted", "nonnegative")


def waves(frequency: float) -> np.ndarray:
    """An RDM of 12 stimuli that any machine can make."""
    return 1 + 0.9 * np.sin(frequency * np.arange(1, 67) ** 1.5)


MODELS = {"a": waves(1.0), "b": waves(0.7), "c": waves(0.3)}
RDM = 0.5 * MODELS["a"] + 0.2 * MODELS["b"] + 0.4 * waves(0.45) - 0.1 * MODELS["c"]


def labelled(vector: np.ndarray, **coords: Any) -> xr.DataArray:
    square = squareform(vector)
    stimulus = [f"s{i:02d}" for i in range(len(square))]
    return xr.DataArray(
        square,
        dims=("stimulus", "stimulus_"),
        coords={"stimulus": stimulus, "stimulus_": stimulus, **coords},
    )


@pytest.fixture
def planted(rng: np.random.Generator) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """30 stimuli whose patterns join 3 of one set and 1 of another; a third one is absent."""
    parts = {name: rng.normal(size=(30, 12)) for name in ("strong", "weak", "absent")}
    models = {name: pdist(x, "sqeuclidean") for name, x in parts.items()}
    joined = np.concatenate([np.sqrt(3) * parts["strong"], parts["weak"]], axis=1)
    return pdist(joined, "sqeuclidean"), models


@pytest.mark.parametrize(
    ("fit", "compare", "expected"),
    [
        ("weighted", "pearson", 0.8434549967858307),
        ("nonnegative", "pearson", 0.8336507900927843),
        ("select", "pearson", 0.7624226076931948),
        ("weighted", "cosine", 0.9684175802331914),
        ("nonnegative", "cosine", 0.9689715090430998),
        ("select", "cosine", 0.9269713930132413),
        ("weighted", "whitened_cosine", 0.9138989813180504),
        ("nonnegative", "whitened_cosine", 0.9143447134771137),
        ("select", "whitened_cosine", 0.8467506906900504),
        ("weighted", "whitened_pearson", 0.8403475218449341),
        ("nonnegative", "whitened_pearson", 0.8371460183005448),
        ("select", "whitened_pearson", 0.770588843776692),
        ("select", "spearman", 0.7267857142857143),
        ("select", "kendall_tau_a", 0.5333333333333333),
        ("select", "rho_a", 0.7267857142857144),
    ],
)
def test_values_of_rsatoolbox_0_3_2(fit: str, compare: str, expected: float) -> None:
    """fit_regress, fit_regress_nn and fit_select on one half of the stimuli, compare on the other."""
    score = flexible_rsa(RDM, MODELS, fit=fit, compare=compare, cv=HALVES)
    assert float(score) == pytest.approx(expected, abs=1e-12)
    assert int(score.flat_folds) == 0


def test_fold_by_fold_with_least_squares_by_hand() -> None:
    corners = np.array(list(combinations(range(12), 2)))
    X = np.stack(list(MODELS.values()), axis=1)
    scores, weights = [], []
    for test in (np.arange(6), np.arange(6, 12)):
        inside = np.isin(corners, test).sum(axis=1)
        fit, held_out = inside == 0, inside == 2  # pairs that span the halves are in neither
        assert (fit.sum(), held_out.sum()) == (15, 15)
        design = np.column_stack([np.ones(15), X[fit]])
        slope = np.linalg.lstsq(design, RDM[fit], rcond=None)[0][1:]
        scores.append(np.corrcoef(X[held_out] @ slope, RDM[held_out])[0, 1])
        weights.append(slope * X.std(axis=0) / RDM.std())
    found = flexible_rsa_weights(RDM, MODELS, fit="weighted", compare="pearson", cv=HALVES)
    np.testing.assert_allclose(found, np.mean(weights, axis=0), atol=1e-12)
    np.testing.assert_allclose(found.spread, np.std(weights, axis=0), atol=1e-12)
    assert float(found.score) == pytest.approx(np.mean(scores), abs=1e-12)
    assert found.model.values.tolist() == ["a", "b", "c"]


@pytest.mark.parametrize("compare", ["pearson", "cosine", "whitened_cosine", "spearman"])
@pytest.mark.parametrize("fit", ["weighted", "nonnegative"])
def test_planted_weights_are_found(
    planted: tuple[np.ndarray, dict[str, np.ndarray]], fit: str, compare: str
) -> None:
    rdm, models = planted
    score = flexible_rsa(rdm, models, fit=fit, compare=compare)
    assert float(score) == pytest.approx(1, abs=1e-9)
    weights = flexible_rsa_weights(rdm, models, fit=fit, compare=compare)

    def size(v: np.ndarray) -> float:
        return float(np.sqrt(np.mean(v**2)) if "cosine" in compare else v.std())

    expected = [3 * size(models["strong"]), size(models["weak"]), 0]
    np.testing.assert_allclose(weights, np.array(expected) / size(rdm), atol=1e-9)


def test_selection_finds_the_model_and_counts_folds(
    planted: tuple[np.ndarray, dict[str, np.ndarray]],
) -> None:
    rdm, models = planted
    weights = flexible_rsa_weights(rdm, models, fit="select", cv=5)
    assert weights.values.tolist() == [1, 0, 0]
    alone = flexible_rsa(rdm, {"strong": models["strong"]}, fit="select", cv=5)
    assert float(flexible_rsa(rdm, models, fit="select", cv=5)) == float(alone)


@pytest.mark.parametrize("fit", FITS)
def test_independent_models_score_nothing_out_of_sample(fit: str) -> None:
    rng = np.random.default_rng(7)
    held_out, in_sample = [], []
    for _ in range(25):
        rdm, *models = (pdist(rng.normal(size=(24, 30)), "sqeuclidean") for _ in range(5))
        held_out.append(float(flexible_rsa(rdm, models, fit=fit, compare="pearson", cv=3)))
        in_sample.append(float(flexible_rsa(rdm, models, fit=fit, compare="pearson", cv=None)))
    error = np.std(held_out) / 5
    assert abs(np.mean(held_out)) < 3 * error
    assert np.mean(in_sample) > 0.04  # what fitting and testing on the same pairs would claim


def test_in_sample_is_compare_rdms_of_one_model() -> None:
    for fit in FITS:
        for compare in ("pearson", "spearman", "kendall_tau_b", "cosine"):
            score = flexible_rsa(RDM, {"a": MODELS["a"]}, fit=fit, compare=compare, cv=None)
            expected = float(compare_rdms(RDM, MODELS["a"], method=compare))
            assert float(score) == pytest.approx(expected, abs=1e-13)
    assert flexible_rsa(RDM, MODELS, cv=None).attrs["cv"] == "in sample"


def test_a_model_that_deserves_no_weight_scores_zero_and_is_counted() -> None:
    rng = np.random.default_rng(5)
    rdm = pdist(rng.normal(size=(20, 30)), "sqeuclidean")
    against = {"against": rdm.max() + rdm.min() - rdm}
    score = flexible_rsa(rdm, against, fit="nonnegative", cv=4)
    assert (float(score), int(score.flat_folds)) == (0, 4)
    turned = flexible_rsa(rdm, against, fit="weighted", cv=4)
    assert (float(turned), int(turned.flat_folds)) == (pytest.approx(1), 0)


def test_folds_depend_on_labels_and_seed_alone(rng: np.random.Generator) -> None:
    rdm, *models = (labelled(rng.uniform(1, 2, size=66)) for _ in range(4))
    order = rng.permutation(12)
    shuffled = rdm.isel(stimulus=order, stimulus_=order)
    for fit in FITS:
        expected = float(flexible_rsa(rdm, models, fit=fit, cv=3))
        assert float(flexible_rsa(shuffled, models, fit=fit, cv=3)) == pytest.approx(expected)
    other = float(flexible_rsa(rdm, models, fit="weighted", cv=3, seed=1))
    assert other != pytest.approx(float(flexible_rsa(rdm, models, fit="weighted", cv=3)))


def test_groups_and_split_are_read_from_the_rdm(rng: np.random.Generator) -> None:
    vectors = [rng.uniform(1, 2, size=66) for _ in range(3)]
    run = np.tile([0, 1, 2], 4)
    split = np.where(np.arange(12) < 7, "train", "test")
    rdm = labelled(vectors[0], run=("stimulus", run), split=("stimulus", split))
    models = [labelled(v) for v in vectors[1:]]
    grouped = flexible_rsa(rdm, models, fit="weighted", compare="pearson", cv=3)
    assert "whole run" in grouped.attrs["cv"]
    by_hand = flexible_rsa(
        *vectors[:1], vectors[1:], fit="weighted", compare="pearson", cv=PredefinedSplit(run)
    )
    assert float(grouped) == pytest.approx(float(by_hand), abs=1e-12)
    assert "fit on train (7)" in flexible_rsa(rdm.drop_vars("run"), models, cv="split").attrs["cv"]


def test_time_is_kept(rng: np.random.Generator) -> None:
    models = {name: labelled(model) for name, model in MODELS.items()}
    later = labelled(RDM + rng.uniform(size=66))
    times = xr.concat([labelled(RDM), later], dim="time").assign_coords(time=[0.1, 0.2])
    scores = flexible_rsa(times, models, cv=3)
    assert (scores.dims, scores.time.values.tolist()) == (("time",), [0.1, 0.2])
    assert float(scores[1]) == pytest.approx(float(flexible_rsa(later, models, cv=3)))
    assert flexible_rsa_weights(times, models, cv=3).dims == ("time", "model")


@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_extreme_scales_and_float32(scale: float) -> None:
    scaled = {name: model / scale for name, model in MODELS.items()}
    options: dict[str, Any] = {"fit": "weighted", "compare": "pearson", "cv": HALVES}
    expected = float(flexible_rsa(RDM, MODELS, **options))
    assert float(flexible_rsa(RDM * scale, scaled, **options)) == pytest.approx(expected)
    single = [(v + 1000).astype(np.float32) for v in (RDM, *MODELS.values())]
    double = [v.astype(np.float64) for v in single]
    found = float(flexible_rsa(single[0], single[1:], **options))
    assert found == float(flexible_rsa(double[0], double[1:], **options))


@pytest.mark.parametrize("metric", [flexible_rsa, flexible_rsa_weights])
def test_bad_input(metric: Any) -> None:
    name = metric.__name__
    with pytest.raises(ParameterError, match=f"{name}: fit must be .*, got 'best'"):
        metric(RDM, MODELS, fit="best")
    with pytest.raises(ParameterError, match=f"{name}: compare must be .*, got 'bures'"):
        metric(RDM, MODELS, compare="bures")
    with pytest.raises(ParameterError, match=f"{name}: cv must be .*, got 1"):
        metric(RDM, MODELS, cv=1)
    with pytest.raises(ParameterError, match=f"{name}: groups='run' is no coordinate"):
        metric(RDM, MODELS, groups="run")
    with pytest.raises(ParameterError, match=f"{name}: seed must be int, got 'a'"):
        metric(RDM, MODELS, seed="a")
    with pytest.raises(StimulusError, match="fold 1 fits on 10 stimuli and tests on 2,"):
        metric(RDM, MODELS, cv=6)
    summed = {**MODELS, "sum": MODELS["a"] + MODELS["b"]}
    with pytest.raises(DataError, match=re.escape(f"{name}: rdm: in fold 1 of 2: models")):
        metric(RDM, summed, cv=HALVES)
    with pytest.raises(DataError, match="model 'a': all 66 distances are 1"):
        metric(RDM, {"a": np.ones(66)})
    groups = squareform((np.arange(12)[:, None] // 6 != np.arange(12) // 6).astype(float))
    with pytest.raises(DataError, match="rdm: in fold 1 of 2: all 15 distances are 0"):
        metric(groups, {"a": MODELS["a"]}, cv=HALVES, fit="weighted")
    with pytest.raises(DataError, match="in fold 1 of 2: model .* has one value for all pairs"):
        metric(RDM, {"groups": groups}, cv=HALVES, fit="weighted", compare="pearson")
