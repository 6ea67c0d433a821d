"""What people met who knew only the documents, each answered since by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import reptools as rt
from reptools.engine.declaring import metric
from reptools.engine.registry import forget
from reptools.errors import FeatureError, ParameterError

N = 40
IDS = [f"s{i:02}" for i in range(N)]
TEXT_AND_NAN = ["a", "b"] * 15 + [np.nan] * 10


@pytest.fixture
def values(rng: np.random.Generator) -> np.ndarray:
    return rng.normal(size=(N, 4))


def test_a_missing_class_in_a_list_is_no_word(values: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(FeatureError, match="is missing for 10 stimuli"):
        rt.probe(values, TEXT_AND_NAN)
    with pytest.raises(FeatureError, match="mixes text and numbers"):
        rt.variance_explained(values, {"f": [0, "0", 1, "1"] * 10})
    with pytest.raises((FeatureError, ParameterError), match="'q'"):
        rt.Writer(tmp_path / "f.h5", system="s", stimulus=IDS, features={"q": TEXT_AND_NAN})


def test_a_metric_of_ones_own_cannot_write_into_the_data(values: np.ndarray) -> None:
    @metric
    def careless(x: Any, /) -> float:
        """Doubles its input."""
        x *= 2.0
        return float(x.sum())

    before = values.copy()
    try:
        for x in (values, xr.DataArray(values, dims=("stimulus", "unit"))):
            with pytest.raises(ValueError, match="read-only"):
                careless(x)
    finally:
        forget("careless")
    np.testing.assert_array_equal(values, before)
    assert values.flags.writeable


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"symetric": True}, "no fact 'symetric'. Did you mean 'symmetric'"),
        ({"better": "up"}, "better must be 'higher', 'lower' or 'neither', got 'up'"),
        ({"bounds": (1, 0)}, r"bounds must be two numbers in order.*got \(1, 0\)"),
        ({"invariances": ("rotate",)}, r"invariances must be .*got \('rotate',\)"),
        ({"backends": "numpy"}, "backends must be a tuple of .*got 'numpy'"),
        ({"symmetric": "no"}, "symmetric must be True or False, got 'no'"),
    ],
)
def test_wrong_facts_are_refused(facts: dict[str, Any], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        metric(**facts)


@pytest.fixture
def tree(tmp_path: Path, values: np.ndarray) -> Any:
    for name, part in (("a", slice(0, 30)), ("b", slice(10, 40))):
        with rt.Writer(
            tmp_path / f"{name}.h5", system=name, stimulus=IDS[part],
            features={"bit": np.arange(30) % 2},
        ) as file:  # fmt: skip
            file.append({"fc": values[part]})
    with rt.open(tmp_path / "*.h5") as opened:
        yield opened


def test_common_stimuli_are_told(tree: xr.DataTree) -> None:
    result = rt.compare(tree, stimuli="common")
    assert result.attrs["stimuli"] == "common: 20" and result.attrs["n_stimuli"] == 20
    assert set(rt.table(result).stimuli) == {"common: 20"}


def test_common_stimuli_are_those_of_all_systems(tree: xr.DataTree) -> None:
    result = rt.compute("total_variance", tree, stimuli="common")
    same = result.sel(system="a").values, result.sel(system="b").values
    np.testing.assert_allclose(*same, rtol=1e-6)  # both were given the same numbers
    assert result.attrs["n_stimuli"] == 20
    assert not np.allclose(*(rt.compute("total_variance", tree).sel(system=s) for s in "ab"))


def test_nothing_is_crossed_with_nothing(tree: xr.DataTree) -> None:
    with pytest.raises(ParameterError, match="the other side is missing.*Pass y="):
        rt.compute("probe_transfer", tree)


def test_an_input_has_the_name_of_its_operation(tree: xr.DataTree) -> None:
    with pytest.raises(ParameterError, match="probe takes its features as target=. Pass target='b"):
        rt.compute("probe", tree, features="bit")


def test_an_effect_is_of_a_change(tree: xr.DataTree) -> None:
    head = rt.interventions.Readout.of(np.ones((1, 4)), [0.0], ["bit"])
    with pytest.raises(ParameterError, match="what it changes to is missing. Pass changed="):
        rt.compute("effect", tree, readout=head)


def test_too_large_numbers_are_told_the_next_type(tmp_path: Path) -> None:
    for dtype, value, mend in (("float32", 1e39, "dtype='float64'"), ("float16", 1e6, "float32")):
        with rt.Writer(tmp_path / f"{dtype}.h5", system="s", stimulus=range(2), dtype=dtype) as w:
            with pytest.raises(ParameterError, match=f"too large for {dtype}. Pass .*{mend}"):
                w.append({"l": np.full((2, 2), value)})
            w.abandon()
