"""Linear CKA: one pair, and a grid of layers."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from .rows import Contender, Row

Array = np.ndarray[Any, Any]
NOT_ON_PYPI = "not on the package registry"


def pair(folder: Path, *, n: int, p: int, dtype: str) -> dict[str, Array]:
    """Two noisy views of the same 20 dimensions, far from the origin."""
    rng = np.random.default_rng(0)
    common = rng.standard_normal((n, 20))
    return {name: _view(rng, common, p, dtype) for name in ("x", "y")}


def layers(folder: Path, *, n: int, p: int, layers: int, dtype: str) -> dict[str, Array]:
    """Two stacks (layer, stimulus, unit)."""
    rng = np.random.default_rng(0)
    common = rng.standard_normal((n, 20))
    return {name: np.stack([_view(rng, common, p, dtype) for _ in range(layers)]) for name in "xy"}


def _view(rng: np.random.Generator, common: Array, p: int, dtype: str) -> Array:
    noise = rng.standard_normal((len(common), p), dtype="f4")
    return (common @ rng.standard_normal((20, p)) + 4 * noise + 1).astype(dtype)


# --- one pair: ours and the limit ---------------------------------------------------------------


def ours(x: Array, y: Array, *, estimator: str) -> Callable[[], Any]:
    import reptools as rt

    return lambda: rt.cka(x, y, estimator=estimator)


def bare(x: Array, y: Array) -> Callable[[], Any]:
    """Self-products of the cheaper side (numpy calls SYRK), and the cross-product there is."""
    if x.shape[0] <= x.shape[1]:
        return lambda: (x @ x.T, y @ y.T)
    return lambda: (x.T @ x, y.T @ y, x.T @ y)


# --- one pair: the peers ------------------------------------------------------------------------


def ckatorch(x: Array, y: Array, *, unbiased: bool) -> Callable[[], Any]:
    import torch
    from ckatorch.core import cka_base

    a, b = torch.from_numpy(x), torch.from_numpy(y)
    return lambda: cka_base(a, b, unbiased=unbiased)


def thingsvision(x: Array, y: Array, *, unbiased: bool) -> Callable[[], Any]:
    cka = thingsvision_module().get_cka("numpy", len(x), "linear", unbiased=unbiased)
    return lambda: cka.compare(x, y)


def thingsvision_module() -> Any:
    """Its CKA alone: the package imports TensorFlow and torchvision, which CKA does not use."""
    spec = importlib.util.find_spec("thingsvision")
    assert spec is not None and spec.submodule_search_locations is not None
    for name, folder in (("thingsvision", ""), ("thingsvision.core", "/core")):
        empty = types.ModuleType(name)
        empty.__path__ = [spec.submodule_search_locations[0] + folder]
        sys.modules[name] = empty
    return importlib.import_module("thingsvision.core.cka")


def pytorch_cka(x: Array, y: Array) -> Callable[[], Any]:
    import torch
    from cka.cka import cka_from_features

    a, b = torch.from_numpy(x), torch.from_numpy(y)
    return lambda: cka_from_features(a, b)[0, 0]


def torch_cka(x: Array, y: Array) -> Callable[[], Any]:
    """Takes models and loaders only: two that hand the data on, in one batch."""
    import torch
    from torch.utils.data import DataLoader, TensorDataset
    from torch_cka import CKA

    loaders = [DataLoader(TensorDataset(torch.from_numpy(z)), batch_size=len(z)) for z in (x, y)]
    cka = CKA(torch.nn.Identity(), torch.nn.Identity(), "x", "y")

    def act() -> Any:
        cka.compare(*loaders)
        return cka.export()["CKA"][0, 0]

    return act


def repsim(x: Array, y: Array) -> Callable[[], Any]:
    from repsim import cka

    return lambda: cka([x, y], kernel_type="linear", estimator="gretton")[0, 1]


# --- grids --------------------------------------------------------------------------------------


def our_grid(x: Array, y: Array) -> Callable[[], Any]:
    import reptools as rt

    xs, ys = list(x), list(y)
    return lambda: rt.compare(xs, ys, metric="cka").values


def our_loop(x: Array, y: Array) -> Callable[[], Any]:
    import reptools as rt

    return lambda: [rt.cka(x[0], other) for other in y]


def bare_grid(x: Array, y: Array) -> Callable[[], Any]:
    """The Gram of every layer, one at a time: products of units would be needed for every pair."""

    def act() -> None:
        for layer in (*x, *y):
            _ = layer @ layer.T

    return act


def ckatorch_grid(x: Array, y: Array) -> Callable[[], Any]:
    import torch
    from ckatorch.core import cka_base

    first, others = torch.from_numpy(x[0]), torch.from_numpy(y)
    return lambda: [cka_base(first, other, unbiased=True) for other in others]


def thingsvision_grid(x: Array, y: Array) -> Callable[[], Any]:
    cka = thingsvision_module().get_cka("numpy", x.shape[1], "linear", unbiased=True)
    return lambda: [cka.compare(x[0], other) for other in y]


def pytorch_cka_grid(x: Array, y: Array) -> Callable[[], Any]:
    """Has a grid of its own: the Grams of all layers at once."""
    import torch
    from cka.cka import cka_from_features

    a, b = torch.from_numpy(x), torch.from_numpy(y)
    return lambda: cka_from_features(a, b)


# --- rows ---------------------------------------------------------------------------------------


def rows(quick: bool) -> list[Row]:
    sizes = [(200, 60), (100, 300)] if quick else [(2000, 512), (2000, 4096), (10000, 512)]
    found = []
    for n, p in sizes:
        for dtype in ("float32", "float64"):
            for estimator in ("debiased", "biased"):
                found.append(_pair_row(n, p, dtype, estimator))
    count, n, p = (3, 100, 40) if quick else (12, 2000, 768)
    for dtype in ("float32", "float64"):
        found += [_grid_row(count, n, p, dtype), _loops_row(count, n, p, dtype)]
    return found


def _pair_row(n: int, p: int, dtype: str, estimator: str) -> Row:
    unbiased = estimator == "debiased"
    peers = [
        Contender("ckatorch", ckatorch, "torch", {"unbiased": unbiased}),
        Contender("thingsvision", thingsvision, "torch", {"unbiased": unbiased}),
    ]
    if unbiased:
        peers.append(Contender("pytorch-cka", pytorch_cka, "torch"))
        if n <= 2000 and dtype == "float32":  # multiplies Grams by Grams, in float32 only
            peers.append(Contender("torch-cka", torch_cka, "torch"))
    else:
        if n <= 2000 and dtype == "float64":
            peers.append(Contender("repsim", repsim, "torch"))
        peers.append(Contender("resi", None, absent=NOT_ON_PYPI))
        peers.append(Contender("netrep", None, absent=NOT_ON_PYPI))
    kernels = "two SYRKs" if n <= p else "two SYRKs and a GEMM"
    return Row(
        work=f"linear CKA, {estimator}, one pair",
        inputs=pair,
        sizes={"n": n, "p": p, "dtype": dtype},
        ours=Contender("reptools", ours, options={"estimator": estimator}),
        limit=Contender(kernels, bare, target=1.10),
        peers=tuple(peers),
        tolerance=1e-4 if dtype == "float32" else 1e-9,
        bound="passes over the data beside the products",
    )


def _grid_row(count: int, n: int, p: int, dtype: str) -> Row:
    return Row(
        work=f"linear CKA, debiased, grid of {count} x {count} layers",
        inputs=layers,
        sizes={"layers": count, "n": n, "p": p, "dtype": dtype},
        ours=Contender("reptools", our_grid),
        limit=Contender(f"{2 * count} SYRKs", bare_grid, target=1.25),
        peers=(Contender("pytorch-cka", pytorch_cka_grid, "torch", target=2),),
        tolerance=1e-4 if dtype == "float32" else 1e-9,
        bound="passes that centre and check the layers, and products between all Grams",
    )


def _loops_row(count: int, n: int, p: int, dtype: str) -> Row:
    def first_row(name: str, start: Any, environment: str = "torch", **more: Any) -> Contender:
        return Contender(name, start, environment, part=np.s_[0], times=count, **more)

    return Row(
        work="linear CKA, debiased, grid of layers (loops: one row of it, times the rows)",
        inputs=layers,
        sizes={"layers": count, "n": n, "p": p, "dtype": dtype},
        ours=Contender("reptools", our_grid),
        peers=(
            first_row("ckatorch loop", ckatorch_grid, target=50),
            first_row("thingsvision loop", thingsvision_grid),
            first_row("reptools pair by pair", our_loop, "reptools"),
        ),
        tolerance=1e-4 if dtype == "float32" else 1e-9,
    )
