"""Every public argument that takes labelled data: its order changes nothing, its mask is not lost.

The callables are found on the face. What each argument is fed stands in :func:`given`; a parameter
that is neither fed nor known to take no array fails, so that a new one cannot be forgotten.
"""

from __future__ import annotations

import inspect
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import reptools as rt
from reptools.errors import ReptoolsError, ReptoolsWarning

N, P = 48, 6
IDS = [f"s{i:02}" for i in range(N)]
UNITS = [f"u{i}" for i in range(P)]
RNG = np.random.default_rng(20261124)
EASY, HARD = np.arange(N) % 2, np.arange(N) // 2 % 2

# Public names that take no array.
NO_ARRAYS = {
    "compute": "takes an open file; inputs beside it are read as the operation reads them",
    "report": "takes paths",
    "scorer": "takes a metric",
    "table": "takes a result",
    "metric": "declares",
    "list_metrics": "lists",
    "open": "takes a path",
    "repair": "takes a path",
    "validate": "takes a path",
    "interventions.readout": "takes an open file",
    "interventions.Readout": "holds what readout() and Readout.of() have checked",
    "interventions.Readout.beside": "takes what was read already",
    "interventions.Readout.checked": "takes what was read already",
    "Writer.close": "takes nothing",
    "Writer.abandon": "takes nothing",
}
# Parameters that hold names, numbers, functions or files, whoever takes them.
NO_LABELS = {
    *(
        "prepare",
        "control",
        "condition",
        "noise",
        "noise_scope",
        "split",
        "feature",
        "fit",
        "agree",
    ),
    *("hold_out", "k", "n_components", "batch", "step", "steps", "path", "out", "system", "source"),
    *(
        "provenance",
        "model",
        "call",
        "reduce",
        "sequence",
        "layer",
        "output",
        "options",
        "cv",
        "self",
    ),
    *("at", "metric", "method", "progress"),
}
# Parameters that have the name of an array and hold a word.
WORDS = {
    *(("rdm", "groups"), ("mdl_probe", "groups"), ("rsa", "rdm")),
    *(("capture", "layers"), ("compare", "layers")),
}
REPEATED = {"signal_variance_explained", "unit_reliability"}  # need repetitions of every stimulus


def activations(width: int = P, *, unit: str = "u") -> xr.DataArray:
    common = np.stack([EASY, HARD], axis=1) @ RNG.normal(size=(2, width))
    return xr.DataArray(
        common + RNG.normal(size=(N, width)) + 2.0,
        dims=("stimulus", "unit"),
        coords={"stimulus": IDS, "unit": [f"{unit}{i}" for i in range(width)]},
    )


X, Y, Z = activations(), activations(), activations(4, unit="v")
LABEL = {"stimulus": IDS}
FEATURES = xr.Dataset({"easy": ("stimulus", EASY), "hard": ("stimulus", HARD)}, LABEL)
GROUPS = xr.DataArray(np.arange(N) // 4, LABEL, ("stimulus",))
OUTPUT = {"output": ["easy", "hard"]}
WEIGHT = xr.DataArray(RNG.normal(size=(2, P)), {**OUTPUT, "unit": UNITS}, ("output", "unit"))
BIAS = xr.DataArray([0.5, -0.5], OUTPUT, ("output",))
READOUT = rt.interventions.Readout.of(WEIGHT, BIAS)
ROW = xr.DataArray(np.arange(P), {"unit": UNITS}, ("unit",))


def rdm_of(x: xr.DataArray) -> xr.DataArray:
    return rt.rdm(x, method="euclidean")


def repeated(x: xr.DataArray) -> xr.DataArray:
    return xr.concat([x, x + RNG.normal(size=x.shape)], "repetition")


# --- what is public, and what it is fed -----------------------------------------------------------


def public() -> Iterator[tuple[str, Callable[..., Any]]]:
    """Every callable of the face, methods of its classes included."""
    for prefix, module in (("", rt), ("interventions.", rt.interventions)):
        for name in module.__all__:
            found = getattr(module, name)
            if isinstance(found, ModuleType) or not callable(found):
                continue
            yield f"{prefix}{name}", found
            for method, of_class in vars(found).items() if inspect.isclass(found) else ():
                bound = getattr(found, method)
                if not method.startswith("_") and callable(bound):
                    assert of_class is not None
                    yield f"{prefix}{name}.{method}", bound


PUBLIC = {name: found for name, found in public() if name not in NO_ARRAYS}


def labelled(name: str, function: Callable[..., Any]) -> list[str]:
    """Parameters that may take an array: all but options with a plain default, and known words."""
    plain = (bool, int, float, str, tuple)
    return [
        parameter.name
        for parameter in inspect.signature(function).parameters.values()
        if not isinstance(parameter.default, plain)
        and parameter.name not in NO_LABELS
        and (name, parameter.name) not in WORDS
    ]


def given(name: str, argument: str) -> Any:
    """What an argument is fed: labelled, as xarray or in mappings."""
    by_name: dict[str, Any] = {
        **{"x": X, "y": Z, "features": FEATURES, "target": FEATURES["easy"], "groups": GROUPS},
        **{"a": rdm_of(X), "b": rdm_of(Z), "rdm": rdm_of(X)},
        "models": {"first": rdm_of(Y), "second": rdm_of(Z)},
        **{"xs": {"one": X, "two": Z}, "ys": {"three": Y}, "changed": 0.5 * X},
        **{"readout": READOUT, "weight": WEIGHT, "bias": BIAS},
        **{"coords": {"split": GROUPS % 2}, "stimulus": pd.Series(IDS, index=IDS)},
        **{"units": {"l": {"row": ROW}}, "layers": {"l": X}, "outputs": {"answer": X[:, 0]}},
        "per_step": {"accuracy": xr.DataArray([0.5, 1.0], OUTPUT, ("output",))},
        "batches": [X[:24].values.astype("f4"), X[24:].values.astype("f4")],
    }
    if name == "probe_transfer" and argument == "y":
        return Y
    if name in REPEATED and argument == "x":
        return repeated(X)
    if argument not in by_name:
        pytest.fail(
            f"{name} has a parameter {argument!r} that may take an array, and given() does not "
            "know what to feed it. Add it there, or to NO_LABELS."
        )
    return by_name[argument]


def called(name: str) -> Callable[..., Any]:
    """The public callable, taking all that it is fed by keyword."""
    if name == "Writer" or name == "Writer.append":
        return written
    if name == "capture":
        return captured
    if name == "interventions.Readout.of":
        return lambda weight, bias: rt.interventions.Readout.of(weight, bias).logits(X)
    if name == "interventions.Readout.logits":
        return lambda x: READOUT.logits(x)
    function = PUBLIC[name]
    parameters = inspect.signature(function).parameters
    fixed = {"cv": 4} if "cv" in parameters else {}
    positional = [p.name for p in parameters.values() if p.kind == p.POSITIONAL_ONLY]

    def call(**arguments: Any) -> Any:
        first = [arguments.pop(one) for one in positional if one in arguments]
        return function(*first, **arguments, **fixed)

    return call


def contents(path: Path) -> dict[str, xr.DataArray]:
    with rt.open(path) as tree:
        return {
            f"{node.path}/{name}": node[str(name)].load()
            for node in tree.subtree
            for name in node.to_dataset(inherit=False).variables
        }


def written(**arguments: Any) -> dict[str, xr.DataArray]:
    of_writer = set(inspect.signature(rt.Writer).parameters) & set(arguments)
    told = {"stimulus": IDS} | {name: arguments.pop(name) for name in of_writer}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.h5"
        writer = rt.Writer(path, system="toy", dtype="float64", **told)
        try:
            writer.append(arguments.pop("layers", {"l": X}), step=0, **arguments)
            writer.close()
        finally:
            writer.abandon()
        return contents(path)


def captured(batches: Any, **arguments: Any) -> dict[str, xr.DataArray]:
    torch = pytest.importorskip("torch")
    model = torch.nn.Sequential(torch.nn.Linear(P, 3))
    torch.nn.init.ones_(model[0].weight)
    torch.nn.init.zeros_(model[0].bias)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run.h5"
        rt.capture(model, batches, out=out, layers="*", **arguments)
        return contents(out)


def fed(name: str) -> dict[str, Any]:
    if name == "Writer.append":  # features and stimulus belong to stimuli that grow
        return {argument: given(name, argument) for argument in ("layers", "outputs", "per_step")}
    return {argument: given(name, argument) for argument in labelled(name, PUBLIC[name])}


# --- the same data in another order ---------------------------------------------------------------


def orders(value: Any, seed: int = 1) -> Iterator[tuple[str, Any]]:
    """The same labelled data in other orders and other forms."""
    shuffle = np.random.default_rng(seed).permutation
    if isinstance(value, (xr.DataArray, xr.Dataset)):
        for dim in value.coords:
            if dim in value.dims:
                yield f"{dim} shuffled", value.isel({dim: shuffle(value.sizes[dim])})
        yield (
            "all shuffled",
            value.isel(
                {dim: shuffle(value.sizes[dim]) for dim in value.dims if dim in value.coords}
            ),
        )
        if isinstance(value, xr.Dataset):
            table = pd.DataFrame({k: v.to_series() for k, v in value.items()})
            yield "pandas", table.iloc[shuffle(len(table))]
            yield "columns", {k: v.iloc[shuffle(len(table))] for k, v in table.items()}
        elif value.ndim <= 2:
            yield "transposed", value.T
            table = value.to_pandas()
            table = table.iloc[shuffle(len(table))]
            yield "pandas", table if value.ndim == 1 else table.iloc[:, shuffle(table.shape[1])]
    elif isinstance(value, pd.Series):
        yield "index shuffled", value.set_axis(value.index[shuffle(len(value))])
        yield "Index", pd.Index(value)
    elif isinstance(value, Mapping):
        for key, one in value.items():
            for how, other in orders(one, seed):
                yield f"{key}: {how}", {**value, key: other}
    elif isinstance(value, list):
        for i, kind in enumerate((partial(xr.DataArray, dims=X.dims), pd.DataFrame)):
            yield f"labelled {i}", [kind(one) for one in value]


def masked(value: Any) -> Iterator[Any]:
    """The same data, bare, with some entries masked."""
    if isinstance(value, Mapping):
        value = value if not isinstance(value, xr.Dataset) else dict(value.items())
        for key, one in value.items():
            yield from ({**value, key: other} for other in masked(one))
    elif isinstance(value, list):
        yield [next(masked(value[0])), *value[1:]]
    elif isinstance(value, (xr.DataArray, pd.Series, np.ndarray)):
        bare = np.ma.masked_array(np.asarray(value), mask=False)
        bare[3 % len(bare)] = np.ma.masked
        yield bare


def same(found: Any, expected: Any) -> None:
    """Equal values at equal labels."""
    if isinstance(expected, Mapping):  # a Dataset, or what a file holds
        assert found.keys() == expected.keys()
        for key, one in expected.items():
            same(found[key], one)
        return
    assert isinstance(expected, xr.DataArray)
    at = {dim: expected[dim].values for dim in expected.dims if dim in expected.coords}
    found = found.sel(at).transpose(*expected.dims)
    if expected.dtype.kind in "OUST":
        assert found.values.tolist() == expected.values.tolist()
    else:
        np.testing.assert_allclose(found.values, expected.values, rtol=1e-6, atol=1e-8)


def quiet(call: Callable[..., Any], arguments: Mapping[str, Any]) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ReptoolsWarning)
        return call(**arguments)


@pytest.mark.parametrize("name", PUBLIC)
def test_every_argument_is_known(name: str) -> None:
    for argument in labelled(name, PUBLIC[name]):
        given(name, argument)


@pytest.mark.parametrize("name", PUBLIC)
def test_the_order_of_labelled_data_changes_nothing(name: str) -> None:
    call, arguments = called(name), fed(name)
    expected = quiet(call, arguments)
    held = 0
    for argument, value in arguments.items():
        for how, other in orders(value):
            try:
                found = quiet(call, {**arguments, argument: other})
            except ReptoolsError:
                continue  # refused by name
            try:
                same(found, expected)
            except (AssertionError, KeyError) as error:
                pytest.fail(f"{name}: {argument}, {how}: {error}")
            held += 1
    assert held > 0


@pytest.mark.parametrize("name", PUBLIC)
def test_masks_are_refused_or_honoured(name: str) -> None:
    call, arguments = called(name), fed(name)
    tried = 0
    for argument, value in arguments.items():
        for other in masked(value):
            tried += 1
            with pytest.raises(ReptoolsError, match=r"masks \d+ of \d+ entries"):
                quiet(call, {**arguments, argument: other})
    assert tried > 0
