"""One declaration is enough: the function, the table, compare and the law cases all follow."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from typing import Any, Literal

import numpy as np
import pytest
import xarray as xr

import reptools as rt
from reptools.engine import registry
from reptools.engine.loops import compare
from reptools.engine.operation import Score
from reptools.engine.registry import find, forget, list_metrics, metric, metrics
from reptools.errors import DimensionError, ParameterError, ReptoolsWarning
from tests import laws
from tests.conftest import labelled

PREPARED: list[int] = []


def _centre(x: Any, /, *, centre: bool = True) -> Any:
    PREPARED.append(x.shape[1])
    return x - x.mean(0) if centre else x


@pytest.fixture
def toy() -> Iterator[Any]:
    @metric(kind="pair", each=_centre, symmetric=True, bounds=(0, float("inf")), better="higher")
    def toy(x, y, /, *, norm: Literal["fro", "nuc"] = "fro"):  # type: ignore[no-untyped-def]
        """Norm of the cross-covariance.

        More words.
        """
        return Score(np.linalg.norm(x.T @ y, norm), {"size": len(x)})

    PREPARED.clear()
    yield toy
    forget("toy")


def test_the_public_function_carries_name_docs_and_all_options(toy: Any) -> None:
    assert toy.__name__ == "toy" and toy.__doc__.startswith("Norm of")
    assert str(inspect.signature(toy)).startswith("(x, y, /, *, centre=True, norm='fro', prepare=")


def test_a_declared_metric_is_listed_and_lawful(toy: Any) -> None:
    assert "toy" in list_metrics()
    assert "Norm of the cross-covariance." in repr(list_metrics())
    mine = [law for name, law in laws.cases() if name == "toy"]
    assert len(mine) == len(laws.LAWS)
    for law in mine:
        law(metrics()["toy"])


def test_extras_become_coordinates(toy: Any, x: xr.DataArray, y: xr.DataArray) -> None:
    assert toy(x, y).coords["size"].item() == 24


def test_options_reach_their_half(toy: Any, x: xr.DataArray, y: xr.DataArray) -> None:
    assert float(toy(x + 5, y)) == pytest.approx(float(toy(x, y)))
    assert float(toy(x + 5, y, centre=False)) != pytest.approx(float(toy(x, y)))
    assert float(toy(x, y, norm="nuc")) > float(toy(x, y))


def test_a_grid_prepares_each_side_once(toy: Any, rng: np.random.Generator) -> None:
    layers = {f"fc{i}": labelled(rng.normal(size=(24, 3 + i))) for i in range(4)}
    result = compare(layers, metric="toy", norm="nuc")
    assert sorted(PREPARED) == [3, 4, 5, 6]
    assert result.dims == ("x", "y") and result.name == "toy"
    assert result.coords["n_units_x"].values.tolist() == [3, 4, 5, 6]
    for a in layers:
        for b in layers:
            one = float(toy(layers[a], layers[b], norm="nuc"))
            assert float(result.sel(x=a, y=b)) == pytest.approx(one, rel=1e-12)


def test_a_grid_of_two_systems_over_steps(toy: Any, rng: np.random.Generator) -> None:
    first = {name: labelled(rng.normal(size=(2, 24, 3))) for name in ("a", "b")}
    order = rng.permutation(24)
    second = [labelled(rng.normal(size=(2, 24, 4)))[:, order] for _ in range(3)]
    result = compare(first, second, metric=toy)
    assert result.dims == ("x", "y", "step") and result.shape == (2, 3, 2)
    assert result.y.values.tolist() == ["0", "1", "2"]
    one = toy(first["b"], second[2])
    np.testing.assert_allclose(result.sel(x="b", y="2").values, one.values, rtol=1e-12)


def test_a_grid_reads_a_tree(toy: Any, x: xr.DataArray, y: xr.DataArray) -> None:
    tree = xr.DataTree.from_dict(
        {"/layers/fc1": xr.Dataset({"activation": x}), "/layers/fc2": xr.Dataset({"activation": y})}
    )
    assert compare(tree, metric="toy").x.values.tolist() == ["fc1", "fc2"]
    assert compare(tree["layers"], [x], metric="toy").shape == (2, 1)


def test_a_grid_refuses_what_cannot_be_stacked(toy: Any, rng: np.random.Generator) -> None:
    steps = labelled(rng.normal(size=(2, 24, 3)))
    with pytest.raises(DimensionError, match="fc2 has the outer dimensions none|outer dimensions"):
        compare({"fc1": steps, "fc2": steps[0]}, metric="toy")
    with pytest.raises(ParameterError, match="xs holds no activations"):
        compare({}, metric="toy")
    with pytest.raises(ParameterError, match="got DataArray. Put a single one in a list"):
        compare(steps, metric="toy")


def test_an_unknown_metric_is_named_with_the_closest(toy: Any, x: xr.DataArray) -> None:
    with pytest.raises(ParameterError, match="compare: metric must name a pair metric, got 'tyo'"):
        compare([x], metric="tyo")
    with pytest.raises(ParameterError, match="Did you mean 'toy'"):
        find("toyy")


def test_a_name_is_given_once(toy: Any) -> None:
    with pytest.raises(ParameterError, match="a metric named 'toy' exists already"):

        @metric(kind="single")
        def toy(x, /):  # type: ignore[no-untyped-def]
            """Another."""


def test_a_metric_has_a_docstring() -> None:
    with pytest.raises(ParameterError, match="'bare' has no docstring"):

        @metric(kind="single")
        def bare(x, /): ...  # type: ignore[no-untyped-def]


def test_an_option_of_both_halves_means_one_thing() -> None:
    with pytest.raises(ParameterError, match="option 'centre' of twice stands in two places"):

        @metric(kind="pair", each=_centre)
        def twice(x, y, /, *, centre: bool = False):  # type: ignore[no-untyped-def]
            """Declares an option that its other half has."""


def test_a_broken_plugin_is_named_and_spares_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = EntryPoint("broken", "no_such_module", "reptools.metrics")
    whole = EntryPoint("whole", "json", "reptools.metrics")
    loaded = []
    monkeypatch.setattr(EntryPoint, "load", lambda e: loaded.append(e.name) or e.module.index("j"))
    monkeypatch.setattr(registry, "entry_points", lambda group: [broken, whole])
    monkeypatch.setitem(registry._PLUGINS, "loaded", False)
    assert registry.find("cka").name == "cka" and loaded == []  # a known name needs no plugin
    with pytest.warns(
        ReptoolsWarning, match=r"plugin 'broken' \(no_such_module\) cannot be loaded"
    ):
        assert "cka" in registry.metrics()
    assert loaded == ["broken", "whole"]


def test_an_unknown_kind_is_named() -> None:
    def toy_pairs(x, y, /):  # type: ignore[no-untyped-def]
        """Nothing."""

    with pytest.raises(ParameterError, match="metric 'toy_pairs' has the kind 'pairs'"):
        metric(kind="pairs")(toy_pairs)  # type: ignore[arg-type]


def test_keys_of_one_text_are_refused(x: xr.DataArray) -> None:
    with pytest.raises(ParameterError, match="xs has keys of one text: 1, '1'"):
        rt.compare({1: x, "1": x})
