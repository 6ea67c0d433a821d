"""prepare=: checked by name, and equal to what scikit-learn does."""

from __future__ import annotations

import re

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler, normalize

import reptools as rt
from reptools.errors import DataError, ParameterError
from reptools.statistics import prepare
from reptools.statistics.blocks import Blocks


@pytest.mark.parametrize("shape", [(40, 6), (6, 40)])
def test_against_scikit_learn(rng: np.random.Generator, shape: tuple[int, int]) -> None:
    x = rng.normal(size=shape) + 100
    np.testing.assert_allclose(prepare.zscore(x), StandardScaler().fit_transform(x), atol=1e-9)
    np.testing.assert_allclose(prepare.unit_norm(x), normalize(x), atol=1e-12)
    pca = PCA(2).fit(x)
    rest = x - pca.inverse_transform(pca.transform(x))
    np.testing.assert_allclose(prepare.drop_top(x, 2), rest, atol=1e-9)


@pytest.mark.parametrize("steps", ["zscore", "unit_norm", "drop_top:2", "drop_top:1,zscore"])
def test_blocks_become_what_the_array_becomes(rng: np.random.Generator, steps: str) -> None:
    x = rng.normal(size=(60, 6)) * [1, 2, 3, 4, 5, 6] + 10
    blocks = Blocks(60, 6, x.dtype, lambda rows: x[rows], [0, 25, 60])
    found = prepare.apply(blocks, prepare.check(steps))
    together = np.concatenate([block for _, block in found])
    np.testing.assert_allclose(together, prepare.apply(x, prepare.check(steps)), atol=1e-10)
    assert found.dtype == together.dtype


def test_a_dead_unit_and_a_zero_pattern_stay_zero() -> None:
    x = np.array([[0.0, 0.0], [0.0, 2.0]])
    assert prepare.zscore(x)[:, 0].tolist() == [0, 0]
    assert prepare.unit_norm(x)[0].tolist() == [0, 0]


def test_steps_run_in_order(rng: np.random.Generator) -> None:
    x = rng.normal(size=(10, 4))
    both = prepare.apply(x, prepare.check("zscore,unit_norm"))
    np.testing.assert_allclose(both, prepare.unit_norm(prepare.zscore(x)))


@pytest.mark.parametrize("bad", ["zscor", "drop_top", "drop_top:0", "drop_top:x", ["zscore", 3]])
def test_an_unknown_step_is_named(bad: object) -> None:
    value = bad[-1] if isinstance(bad, list) else bad
    with pytest.raises(ParameterError, match=f"got {value!r}"):
        prepare.check(bad)  # type: ignore[arg-type]


def test_dropping_everything_is_refused(rng: np.random.Generator) -> None:
    with pytest.raises(DataError, match="drop_top:4' would leave nothing of the 4 components"):
        prepare.drop_top(rng.normal(size=(10, 4)), 4)


@pytest.mark.parametrize("n_units", [5, 50])
def test_rounding_is_not_left_of_a_layer_of_low_rank(
    rng: np.random.Generator, n_units: int
) -> None:
    low = rng.normal(size=(20, 2)) @ rng.normal(size=(2, n_units))
    assert np.linalg.matrix_rank(prepare.drop_top(low, 1), tol=1e-8) == 1
    with pytest.raises(DataError, match="x: prepare='drop_top:2' would leave nothing of the 2"):
        rt.cka(low, low, prepare="drop_top:2")


def test_spaces_are_allowed_and_other_types_are_named() -> None:
    assert prepare.check("zscore, unit_norm") == ("zscore", "unit_norm")
    for bad in (5, "drop_top:²", {}, np.arange(3)):
        with pytest.raises(ParameterError, match=re.escape(f"got {bad!r}")):
            prepare.check(bad)  # type: ignore[arg-type]
