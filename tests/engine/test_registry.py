"""One declaration is enough: the function, the table, compare and the law cases all follow."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from functools import partial
from importlib.metadata import EntryPoint
from typing import Any, Literal

import numpy as np
import pytest
import xarray as xr

import reptools as rt
from reptools.engine import registry
from reptools.engine.common import CV, Groups, Prepare, Seed
from reptools.engine.declaring import metric
from reptools.engine.inputs import Activations
from reptools.engine.loops import compare
from reptools.engine.operation import Score, Wiring
from reptools.engine.registry import find, forget, list_metrics, metrics
from reptools.errors import DimensionError, ParameterError, ReptoolsWarning
from tests import laws
from tests.conftest import labelled

PREPARED: list[int] = []


def _centre(x: Any, /, *, centre: bool) -> Any:
    PREPARED.append(x.shape[1])
    return x - x.mean(0) if centre else x


def _norm(x: Any, y: Any, /, *, norm: str) -> Score:
    return Score(np.linalg.norm(x.T @ y, norm), {"size": len(x)})


@pytest.fixture
def toy() -> Iterator[Any]:
    @metric(symmetric=True, bounds=(0, float("inf")), better="higher")
    def toy(
        x: Activations,
        y: Activations,
        /,
        *,
        centre: bool = True,
        norm: Literal["fro", "nuc"] = "fro",
        prepare: Prepare = None,
    ) -> Wiring[xr.DataArray]:
        """Norm of the cross-covariance.

        More words.

        Parameters
        ----------
        centre : bool
            Whether means are taken away.
        norm : {"fro", "nuc"}
            Which norm.
        """
        return Wiring(
            partial(_norm, norm=norm), each=partial(_centre, centre=centre), extras={"size": ()}
        )

    PREPARED.clear()
    yield toy
    forget("toy")


def test_the_public_function_carries_name_docs_and_all_options(toy: Any) -> None:
    assert toy.__name__ == "toy" and toy.__doc__.startswith("Norm of")
    signature = inspect.signature(toy)
    assert list(signature.parameters) == ["x", "y", "centre", "norm", "prepare"]
    assert signature.return_annotation is xr.DataArray


def test_shared_paragraphs_are_inserted_in_order(toy: Any) -> None:
    doc = toy.__doc__
    assert "x, y : DataArray (..., stimulus, unit)" in doc and 'Done to each side first: "zs' in doc
    order = [doc.index(name) for name in ("x, y :", "centre :", "norm :", "prepare :")]
    assert order == sorted(order)
    text = metrics()["toy"].parameters["centre"].text
    assert text == "Whether means are taken away."


def test_a_declared_metric_is_listed_and_lawful(toy: Any) -> None:
    assert "toy" in list_metrics()
    assert "Norm of the cross-covariance." in repr(list_metrics())
    mine = [law for name, law in laws.cases() if name == "toy"]
    assert len(mine) > 20
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
    with pytest.raises(ParameterError, match="compare: metric must name an operation, got 'tyo'"):
        compare([x], metric="tyo")
    with pytest.raises(ParameterError, match="Did you mean 'toy'"):
        find("toyy")


def test_a_metric_that_takes_more_than_two_sides_fills_no_grid(x: xr.DataArray) -> None:
    with pytest.raises(ParameterError, match="compare: metric must take two sides.*x, target"):
        compare([x], metric="probe")


def test_a_name_is_given_once(toy: Any) -> None:
    with pytest.raises(ParameterError, match="a metric named 'toy' exists already"):

        @metric
        def toy(x, /):  # type: ignore[no-untyped-def]
            """Another."""


def test_a_metric_has_a_docstring() -> None:
    with pytest.raises(ParameterError, match="'bare' has no docstring"):

        @metric
        def bare(x, /): ...  # type: ignore[no-untyped-def]


def declared(doc: str, kernel: Any = _norm, **bound: Any) -> Any:
    def wrong(x: Activations, y: Activations, /, *, k: int = 1) -> Wiring[xr.DataArray]:
        return Wiring(partial(kernel, **bound))

    wrong.__doc__ = doc
    return metric(wrong)


PARAMETERS = "Of a test.\n\nParameters\n----------\n"


@pytest.mark.parametrize(
    ("doc", "message"),
    [
        ("Of a test.", "the docstring of 'wrong' says nothing of 'k'"),
        (f"{PARAMETERS}k : int\n    A.\nj : int\n    B.\n", r"'wrong' documents \['j'\]"),
    ],
)
def test_a_docstring_says_what_the_signature_says(doc: str, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        declared(doc)


def test_a_kernel_is_given_what_it_takes() -> None:
    with pytest.raises(ParameterError, match="gives a kernel what it does not take: .*'power'"):
        declared(f"{PARAMETERS}k : int\n    A.\n", power=2)


def test_inputs_are_known_by_name_or_annotation() -> None:
    with pytest.raises(ParameterError, match="'odd' takes 'z', which is no input"):

        @metric
        def odd(z, /):  # type: ignore[no-untyped-def]
            """Of a test."""

    with pytest.raises(ParameterError, match="'blind' has no side"):

        @metric
        def blind(features, /):  # type: ignore[no-untyped-def]
            """Of a test."""

    with pytest.raises(ParameterError, match="option 'k' of 'needy' has no default"):

        @metric
        def needy(x, /, *, k: int):  # type: ignore[no-untyped-def]
            """Of a test."""


def test_common_options_stay_with_the_engine(x: xr.DataArray) -> None:
    @metric
    def folded(  # type: ignore[no-untyped-def]
        x, /, *, context: Any, k: int = 1, cv: CV = 3, groups: Groups = None, seed: Seed = 0
    ):
        """Number of folds."""
        return float(len(context.folds()))

    try:
        names = list(inspect.signature(folded).parameters)
        assert names == ["x", "k", "cv", "groups", "seed", "prepare"]
        assert float(folded(x)) == 3 and float(folded(x, cv=5)) == 5
        with pytest.raises(ParameterError, match="folded: seed=1 makes folds, and cv=None"):
            folded(x, cv=None, seed=1)
    finally:
        forget("folded")


def test_a_partial_binds_options(toy: Any, x: xr.DataArray, y: xr.DataArray) -> None:
    result = compare([x], [y], metric=partial(toy, norm="nuc"))
    assert result.item() == pytest.approx(float(toy(x, y, norm="nuc")))
    with pytest.raises(ParameterError, match="partial with 1 inputs"):
        compare([x], metric=partial(toy, x))


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


def test_keys_of_one_text_are_refused(x: xr.DataArray) -> None:
    with pytest.raises(ParameterError, match="xs has keys of one text: 1, '1'"):
        rt.compare({1: x, "1": x})
