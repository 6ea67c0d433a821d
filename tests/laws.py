"""Laws that every declared metric obeys, read off its record.

A law is a function of one record; :func:`cases` pairs every registered metric with every law that
applies, so a metric declared anywhere is tested without naming it here. Laws do not replace golden
values: an uncentred RDM obeys all of them.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import xarray as xr

from reptools.calling import evaluate
from reptools.record import Metric
from reptools.registry import metrics

N, P, Q = 60, 7, 5
SEED = 20261124


# --- inputs of each kind ------------------------------------------------------------------------


def inputs(record: Metric, *, n: int = N) -> tuple[Any, ...]:
    """Labelled inputs that share structure, so that scores are neither 0 nor 1."""
    rng = np.random.default_rng(SEED)
    stimulus = [f"s{i:03d}" for i in range(n)]
    features = xr.Dataset(
        {
            "easy": ("stimulus", np.arange(n) % 2, {"kind": "binary"}),
            "hard": ("stimulus", np.arange(n) // 2 % 2, {"kind": "binary"}),
            "shade": ("stimulus", rng.normal(size=n), {"kind": "continuous"}),
        },
        coords={"stimulus": stimulus},
    )
    common = np.stack([features[name].values for name in features], axis=1)
    arrays = [
        xr.DataArray(
            common @ rng.normal(size=(3, width)) + rng.normal(size=(n, width)) + 2.0,
            dims=("stimulus", "unit"),
            coords={"stimulus": stimulus},
        )
        for width in (P, Q)
    ]
    if record.kind == "pair":
        return tuple(arrays)
    if record.kind == "feature":
        return arrays[0], features
    if record.kind == "single":
        return (arrays[0],)
    return tuple(_rdm(x) for x in arrays)


def _rdm(x: xr.DataArray) -> xr.DataArray:
    gaps = x.values[:, None] - x.values[None]
    coords = {"stimulus": x.stimulus.values, "stimulus_": x.stimulus.values}
    return xr.DataArray((gaps**2).sum(-1), dims=("stimulus", "stimulus_"), coords=coords)


def call(record: Metric, *args: Any, **options: Any) -> xr.DataArray:
    return evaluate(record, args, options)


# --- laws ---------------------------------------------------------------------------------------


def is_labelled(record: Metric) -> None:
    result = call(record, *inputs(record))
    assert result.name == record.name
    for key in ("metric", "estimator", "params", "n_stimuli", "inputs", "versions"):
        assert key in result.attrs, f"{record.name} lacks the attribute {key}"
    if record.kind == "feature":
        assert result.feature.values.tolist() == ["easy", "hard", "shade"]
    assert ("unit" in result.dims) == record.per_unit


def ignores_stimulus_order(record: Metric) -> None:
    args = inputs(record)
    order = np.random.default_rng(SEED + 1).permutation(N)
    for i in range(len(args)):
        shuffled = list(args)
        shuffled[i] = _reordered(args[i], order)
        np.testing.assert_allclose(
            call(record, *shuffled).values, call(record, *args).values, rtol=0, atol=1e-10
        )


def _reordered(data: Any, order: np.ndarray) -> Any:
    square = {"stimulus_": order} if "stimulus_" in data.dims else {}
    return data.isel(stimulus=order, **square)


def ignores_stimulus_order_in_float32(record: Metric) -> None:
    if record.iterative:
        return  # an iterative fit is only as exact as its tolerance; float64 order is exact above
    args = tuple(data.astype(np.float32) for data in inputs(record))
    order = np.random.default_rng(SEED + 1).permutation(N)
    shuffled = (_reordered(args[0], order), *args[1:])
    expected = call(record, *args).values
    scale = max(1.0, float(np.abs(expected).max()))
    np.testing.assert_allclose(call(record, *shuffled).values, expected, rtol=0, atol=1e-6 * scale)


def keeps_its_bounds(record: Metric) -> None:
    low, high = record.bounds
    values = call(record, *inputs(record)).values
    assert ((values >= low - 1e-12) & (values <= high + 1e-12)).all()


def is_symmetric_as_declared(record: Metric) -> None:
    if len(inputs(record)) != 2 or record.kind == "feature":
        return
    x, y = inputs(record)
    forth, back = call(record, x, y).values, call(record, y, x).values
    if record.symmetric:
        np.testing.assert_allclose(forth, back, rtol=0, atol=1e-12)
    else:
        assert not np.allclose(forth, back), f"{record.name} is symmetric: declare it"


def leaves_inputs_untouched(record: Metric) -> None:
    args = inputs(record)
    before = [data.copy(deep=True) for data in args]
    for data in args:
        for array in data.data_vars.values() if isinstance(data, xr.Dataset) else [data]:
            array.values.flags.writeable = False
    call(record, *args)
    for data, copy in zip(args, before, strict=True):
        xr.testing.assert_identical(data, copy)


def repeats_exactly(record: Metric) -> None:
    args = inputs(record)
    np.testing.assert_array_equal(call(record, *args).values, call(record, *args).values)


def broadcasts_over_steps(record: Metric) -> None:
    args = inputs(record)
    stacked = xr.concat([args[0], args[0] * 2 + _noise(args[0])], dim="step")
    result = call(record, stacked.assign_coords(step=[0, 10]), *args[1:])
    assert result.step.values.tolist() == [0, 10]
    alone = call(record, stacked.isel(step=1), *args[1:])
    np.testing.assert_allclose(result.sel(step=10).values, alone.values, rtol=1e-10, atol=1e-12)


def _noise(data: xr.DataArray) -> xr.DataArray:
    values = np.random.default_rng(SEED + 2).normal(size=data.shape)
    if "stimulus_" in data.dims:
        values = values + values.T
        np.fill_diagonal(values, 0)
    return data.copy(data=values)


def torch_agrees(record: Metric) -> None:
    if record.kind == "rdms":
        return
    import torch

    args = inputs(record)
    bare = [torch.from_numpy(x.values.copy()) if isinstance(x, xr.DataArray) else x for x in args]
    if record.kind == "feature":
        bare[1] = {k: v.drop_vars("stimulus") for k, v in args[1].data_vars.items()}
    on_torch = call(record, *bare)
    on_numpy = call(record, *[x.numpy() if isinstance(x, torch.Tensor) else x for x in bare])
    np.testing.assert_allclose(on_torch.values, on_numpy.values, rtol=1e-6, atol=1e-9)


def ignores_dead_units(record: Metric) -> None:
    """Dead units are counted in a warning and bring no NaN into the score of the others."""
    if record.kind == "rdms":
        return
    x, *rest = inputs(record)
    dead = x.isel(unit=[0, 1]).copy(data=np.full((N, 2), 3.0))
    wide = xr.concat([x, dead], dim="unit")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = call(record, wide, *rest)
    assert any("2 of 9 units without variance" in str(w.message) for w in caught)
    live = result.isel(unit=slice(0, P)) if record.per_unit else result
    assert np.isfinite(live.values).all()


def refuses_not_finite(record: Metric) -> None:
    x, *rest = inputs(record)
    bad = x.copy(deep=True)
    bad[3, 1] = np.nan
    if record.kind == "rdms":
        bad[1, 3] = np.nan
    _refused(record, "not finite", bad, *rest)


def refuses_other_stimuli(record: Metric) -> None:
    if record.kind == "single":
        return
    x, other = inputs(record)
    renamed = other.assign_coords(stimulus=[f"t{i}" for i in range(N)])
    if "stimulus_" in other.dims:
        renamed = renamed.assign_coords(stimulus_=renamed.stimulus.values)
    _refused(record, "60 only in", x, renamed)


def refuses_unlabelled_against_labelled(record: Metric) -> None:
    if record.kind == "single":
        return
    x, other = inputs(record)
    drop = [dim for dim in ("stimulus", "stimulus_") if dim in other.coords]
    _refused(record, "no stimulus labels", x, other.drop_vars(drop))


def refuses_repeated_labels(record: Metric) -> None:
    x, *rest = inputs(record)
    labels = x.stimulus.values.copy()
    labels[1] = labels[0]
    again = x.assign_coords(stimulus=labels)
    if "stimulus_" in x.dims:
        again = again.assign_coords(stimulus_=labels)
    _refused(record, "repeated stimulus labels", again, *rest)


def refuses_unknown_option(record: Metric) -> None:
    try:
        call(record, *inputs(record), no_such_option=1)
    except ValueError as error:
        assert "no_such_option" in str(error) and str(error).startswith(record.name)
    else:
        raise AssertionError(f"{record.name} accepted an unknown option")


def _refused(record: Metric, message: str, *args: Any) -> None:
    try:
        call(record, *args)
    except ValueError as error:
        assert message in str(error), f"{record.name} said: {error}"
        assert str(error).startswith(f"{record.name}: ")
    else:
        raise AssertionError(f"{record.name} accepted input that is {message!r}")


def _rotation(x: xr.DataArray) -> xr.DataArray:
    turn = np.linalg.qr(np.random.default_rng(SEED + 3).normal(size=(P, P)))[0]
    return x.copy(data=x.values @ turn)


def _per_stimulus(low: float, high: float) -> np.ndarray:
    return np.random.default_rng(SEED + 4).uniform(low, high, size=(N, 1))


TRANSFORMATIONS: dict[str, Callable[[xr.DataArray], xr.DataArray]] = {
    "shift": lambda x: x + np.arange(P),
    "scale": lambda x: x * 2.5,
    "rotation": _rotation,
    "unit_scale": lambda x: x * np.linspace(0.5, 3.0, P),
    "pattern_shift": lambda x: x.copy(data=x.values + _per_stimulus(-2, 2)),
    "pattern_scale": lambda x: x.copy(data=x.values * _per_stimulus(0.5, 2)),
}


def has_its_invariances(record: Metric) -> None:
    x, *rest = inputs(record)
    expected = call(record, x, *rest).values
    for name in record.invariances:
        changed = call(record, TRANSFORMATIONS[name](x), *rest).values
        message = f"{record.name} is not invariant to {name}"
        np.testing.assert_allclose(changed, expected, rtol=1e-8, atol=1e-8, err_msg=message)


def names_known_invariances(record: Metric) -> None:
    unknown = set(record.invariances) - set(TRANSFORMATIONS)
    assert not unknown, f"{record.name} declares unknown invariances {unknown}"


LAWS = (
    is_labelled,
    ignores_stimulus_order,
    ignores_stimulus_order_in_float32,
    keeps_its_bounds,
    is_symmetric_as_declared,
    leaves_inputs_untouched,
    repeats_exactly,
    broadcasts_over_steps,
    torch_agrees,
    ignores_dead_units,
    refuses_not_finite,
    refuses_other_stimuli,
    refuses_unlabelled_against_labelled,
    refuses_repeated_labels,
    refuses_unknown_option,
    has_its_invariances,
    names_known_invariances,
)


def cases() -> Iterator[tuple[str, Callable[[Metric], None]]]:
    """Every (metric name, law)."""
    for name in metrics():
        for law in LAWS:
            yield name, law
