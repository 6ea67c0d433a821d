"""prepare=: checked by name, and equal to what scikit-learn does."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler, normalize

from reptools.errors import ParameterError
from reptools.statistics import prepare


@pytest.mark.parametrize("shape", [(40, 6), (6, 40)])
def test_against_scikit_learn(rng: np.random.Generator, shape: tuple[int, int]) -> None:
    x = rng.normal(size=shape) + 100
    np.testing.assert_allclose(prepare.zscore(x), StandardScaler().fit_transform(x), atol=1e-9)
    np.testing.assert_allclose(prepare.unit_norm(x), normalize(x), atol=1e-12)
    pca = PCA(2).fit(x)
    rest = x - pca.inverse_transform(pca.transform(x))
    np.testing.assert_allclose(prepare.drop_top(x, 2), rest, atol=1e-9)


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
    with pytest.raises(ParameterError, match="drop_top:4' must leave something of 4"):
        prepare.drop_top(rng.normal(size=(10, 4)), 4)
