"""Laws that every declared metric obeys, read off its record.

A law is a function of one record; :func:`cases` pairs every registered metric with every law that
applies, so a metric declared anywhere is tested without naming it here. Laws do not replace golden
values: an uncentred RDM obeys all of them.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import array_api_strict as strict
import numpy as np
import xarray as xr

from reptools.arrays import to_host
from reptools.engine import reading
from reptools.engine.calling import evaluate, make_context
from reptools.engine.operation import INPUTS, ON_RDMS, Metric
from reptools.engine.options import bind
from reptools.engine.registry import metrics
from reptools.entering.features import as_features
from reptools.entering.labels import as_side
from reptools.errors import ParameterError
from reptools.statistics.moments import SMALL
from tests import options

N, P, Q = 60, 7, 5
SEED = 20261124


# --- inputs of each kind ------------------------------------------------------------------------


Args = tuple[Any, ...]


def inputs(record: Metric, *, n: int = N, widths: tuple[int, int] = (P, Q)) -> Args:
    """Labelled inputs that share structure, so that scores are neither 0 nor 1.

    Each is a DataArray or a Dataset over stimuli: model RDMs are one DataArray over ``model``.
    """
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
        for width in (*widths, widths[0], widths[0])
    ]
    if record.repeats == "required":
        again = [x + rng.normal(size=x.shape) for x in arrays]
        arrays = [xr.concat(pair, dim="repetition") for pair in zip(arrays, again, strict=True)]
    if record.kind == "pair":
        return arrays[0], arrays[1]
    if record.kind == "transfer":
        return arrays[0], arrays[2], features
    if record.kind == "feature":
        return arrays[0], features
    if record.kind == "single":
        return (arrays[0],)
    if record.kind == "models":
        models = xr.concat([_rdm(x) for x in arrays[1:]], dim="model")
        return _rdm(arrays[0]), models.assign_coords(model=["first", "second", "third"])
    return _rdm(arrays[0]), _rdm(arrays[1])


def _rdm(x: xr.DataArray) -> xr.DataArray:
    gaps = x.values[:, None] - x.values[None]
    coords = {"stimulus": x.stimulus.values, "stimulus_": x.stimulus.values}
    return xr.DataArray((gaps**2).sum(-1), dims=("stimulus", "stimulus_"), coords=coords)


def call(record: Metric, *args: Any, **options: Any) -> xr.DataArray:
    with warnings.catch_warnings():
        # metrics of classes name the continuous feature among the inputs and leave its score out
        warnings.filterwarnings("ignore", message=".*not class features")
        return evaluate(record, args, options)


# --- laws ---------------------------------------------------------------------------------------


def is_labelled(record: Metric) -> None:
    result = call(record, *inputs(record))
    assert result.name == record.name
    for key in ("metric", "estimator", "params", "n_stimuli", "inputs", "versions"):
        assert key in result.attrs, f"{record.name} lacks the attribute {key}"
    if record.takes_features and not record.jointly:
        assert result.feature.values.tolist() == ["easy", "hard", "shade"]
    assert set(record.dims) <= set(result.dims)
    if "model" in record.dims:
        assert result.model.values.tolist() == ["first", "second", "third"]


def ignores_stimulus_order(record: Metric) -> None:
    args = inputs(record)
    order = np.random.default_rng(SEED + 1).permutation(N)
    for i in range(len(args)):
        shuffled = list(args)
        shuffled[i] = _reordered(args[i], order)
        _same(call(record, *shuffled), call(record, *args), rtol=0, atol=1e-10)


def _same(result: xr.DataArray, expected: xr.DataArray, rtol: float, atol: float) -> None:
    """Equal values, at the same stimuli where the result has a dimension of stimuli."""
    own = {dim: expected[dim] for dim in ("stimulus", "stimulus_") if dim in expected.coords}
    np.testing.assert_allclose(result.sel(own).values, expected.values, rtol=rtol, atol=atol)


def _reordered(data: Any, order: np.ndarray) -> Any:
    square = {"stimulus_": order} if "stimulus_" in data.dims else {}
    return data.isel(stimulus=order, **square)


def ignores_stimulus_order_in_float32(record: Metric) -> None:
    if record.iterative:
        return  # an iterative fit is only as exact as its tolerance; float64 order is exact above
    args = tuple(data.astype(np.float32) for data in inputs(record))
    order = np.random.default_rng(SEED + 1).permutation(N)
    shuffled = (_reordered(args[0], order), *args[1:])
    expected = call(record, *args)
    scale = max(1.0, float(np.nanmax(np.abs(expected))))
    _same(call(record, *shuffled), expected, rtol=0, atol=1e-6 * scale)


def keeps_its_bounds(record: Metric) -> None:
    low, high = record.bounds
    values = call(record, *inputs(record)).values
    scored = values[~np.isnan(values)]  # such as a feature's score across itself
    assert scored.size and ((scored >= low - 1e-12) & (scored <= high + 1e-12)).all()


def is_symmetric_as_declared(record: Metric) -> None:
    if record.kind not in ("pair", "rdms", "transfer"):
        return
    x, y, *rest = inputs(record)
    forth, back = call(record, x, y, *rest).values, call(record, y, x, *rest).values
    if record.symmetric:
        np.testing.assert_allclose(forth, back, rtol=0, atol=1e-12)
    else:
        same = forth.shape == back.shape and np.allclose(forth, back)
        assert not same, f"{record.name} is symmetric: declare it"


def keeps_its_bounds_with_more_units_than_stimuli(record: Metric) -> None:
    low, high = record.bounds
    args = inputs(record, n=40, widths=(70, 50))
    result = call(record, *args)
    scored = result.values[~np.isnan(result.values)]
    assert scored.size and ((scored >= low - 1e-12) & (scored <= high + 1e-12)).all()
    order = np.random.default_rng(SEED + 1).permutation(40)
    _same(call(record, _reordered(args[0], order), *args[1:]), result, rtol=1e-8, atol=1e-8)


def keeps_its_digits_in_float32_at_a_mean_of_1000(record: Metric) -> None:
    """Against the float64 result on the same float32 values; distances with a mean of 1000."""
    _same_in_both_precisions(record, inputs(record))


def keeps_its_digits_where_products_are_float32(record: Metric) -> None:
    """The same for data so large that products of blocks are taken in float32."""
    if record.kind in ON_RDMS or record.iterative:  # one answer of many may differ
        return
    n, width = 1500, 180
    assert n * (width - 1) > SMALL
    _same_in_both_precisions(record, inputs(record, n=n, widths=(width, width - 1)))


def keeps_its_digits_with_more_units_than_stimuli(record: Metric) -> None:
    _same_in_both_precisions(record, inputs(record, n=40, widths=(70, 50)))


def _same_in_both_precisions(record: Metric, args: Args) -> None:
    single, double = _in_both_precisions(args)
    found, expected = call(record, *single).values, call(record, *double).values
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def _in_both_precisions(args: Args) -> tuple[Args, Args]:
    """float32 sides with a mean of 1000, and the same values in float64."""
    single = [_far(x).astype(np.float32) if isinstance(x, xr.DataArray) else x for x in args]
    double = [x.astype(np.float64) if isinstance(x, xr.DataArray) else x for x in single]
    return tuple(single), tuple(double)


def _far(x: xr.DataArray) -> xr.DataArray:
    """From a mean of 0 to one of 1000; a stimulus stays at distance 0 from itself."""
    return x + 1000 * (x.stimulus != x.stimulus_).values if "stimulus_" in x.dims else x + 1000


def is_a_metric_as_declared(record: Metric) -> None:
    """0 between equals, symmetric, and no detour is shorter, over sides of several widths."""
    if not record.proper:
        return
    assert record.symmetric and record.better == "lower"
    rng = np.random.default_rng(SEED + 5)
    x, y = inputs(record)[:2]
    many = [x, y, x + y.values[:, :1], x.copy(data=rng.normal(size=x.shape)), x * 2 + 1]
    size = len(many)
    gaps = np.array([[float(call(record, a, b)) for b in many] for a in many])
    assert np.abs(np.diag(gaps)).max() < 1e-6
    for i, j, k in np.ndindex(size, size, size):
        assert gaps[i, k] <= gaps[i, j] + gaps[j, k] + 1e-9


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
    np.testing.assert_allclose(result.sel(step=10).values, alone.values, rtol=1e-9, atol=1e-11)


def _noise(data: xr.DataArray) -> xr.DataArray:
    values = np.random.default_rng(SEED + 2).uniform(size=data.shape)
    if "stimulus_" in data.dims:
        values = values + values.T
        np.fill_diagonal(values, 0)
    return data.copy(data=values)


def torch_agrees(record: Metric) -> None:
    if record.repeats == "required":  # a tensor has no dimension of that name
        assert "torch" not in record.backends
    if record.kind in ON_RDMS or record.repeats == "required":
        return
    import torch

    bare = [x.values.copy() if isinstance(x, xr.DataArray) else _bare(x) for x in inputs(record)]
    tensors = [torch.from_numpy(x) if isinstance(x, np.ndarray) else x for x in bare]
    on_torch, on_numpy = call(record, *tensors), call(record, *bare)
    np.testing.assert_allclose(on_torch.values, on_numpy.values, rtol=1e-6, atol=1e-9)


def other_devices_agree(record: Metric) -> None:
    """The kernels, on an array library that allows the standard only, off the default device."""
    if "torch" not in record.backends or record.kind in ON_RDMS:
        return
    args = inputs(record)
    side = as_side(args[0])
    bound = bind(record.parameters, {})
    context = make_context(record, side, bound)
    rest = [as_features(args[-1], side)] if record.takes_features else []
    bare = [x.values for x in args if isinstance(x, xr.DataArray)]
    device = strict.Device("device1")
    scores = []
    for arrays in (bare, [strict.asarray(x, device=device) for x in bare]):
        prepared = [record.prepare_side(x, bound, context) for x in arrays]
        score = record.score(*prepared, *rest, bound=bound, context=context)
        scores.append({"": score.value, **score.extras})
    for name, value in scores[0].items():
        found, expected = to_host(scores[1][name]), to_host(value)
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9, err_msg=name)


def _bare(features: xr.Dataset) -> dict[str, xr.DataArray]:
    return {name: values.drop_vars("stimulus") for name, values in features.data_vars.items()}


def dask_agrees(record: Metric) -> None:
    """In chunks of stimuli the numbers are those of the whole, and the input stays lazy."""
    if record.kind in ON_RDMS:
        return
    args = inputs(record)
    lazy = [
        x.chunk(stimulus=size) if isinstance(x, xr.DataArray) else x
        for x, size in zip(args, (17, 25, 60), strict=False)
    ]
    result, expected = call(record, *lazy), call(record, *args)
    np.testing.assert_allclose(result.values, expected.values, rtol=1e-6, atol=1e-9)
    for name in set(expected.coords) - set(expected.dims):
        if expected[name].dtype.kind == "f":
            np.testing.assert_allclose(result[name], expected[name], rtol=1e-6, atol=1e-9)


def streams_or_refuses_by_name(record: Metric) -> None:
    """Data above the limit are read in blocks, or refused with the metric's name."""
    if record.kind in ON_RDMS:
        return
    x, *rest = inputs(record)
    lazy = x.chunk(stimulus=20)
    limit, reading.LOAD_LIMIT = reading.LOAD_LIMIT, 100
    try:
        if record.streams:
            assert np.isfinite(call(record, lazy, *rest).values).any()
        else:
            _refused(record, "streaming form", lazy, *rest)
    finally:
        reading.LOAD_LIMIT = limit


def ignores_dead_units(record: Metric) -> None:
    """Dead units are counted in a warning, and the score of the others is as without them."""
    if record.kind in ON_RDMS:
        return
    x, *rest = inputs(record)
    expected = call(record, x, *rest)
    wide = _with_dead_units(x)
    if record.kind == "transfer":  # of the same units
        rest[0] = _with_dead_units(rest[0])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = call(record, wide, *rest)
    assert any("2 of 9 units without variance" in str(w.message) for w in caught)
    of_x = "unit" in record.dims and record.kind != "pair"
    live = result.isel(unit=slice(0, P)) if of_x else result
    live = live.isel(component=slice(0, P)) if "component" in record.dims else live
    missing = np.isnan(expected.values)  # such as a feature's score across itself
    assert (np.isnan(live.values) == missing).all()
    if "shift" in record.invariances:  # where the mean of a unit counts, so does a constant one
        rtol = 1e-4 if record.iterative else 1e-6
        np.testing.assert_allclose(live.values, expected.values, rtol=rtol, atol=1e-7)


def _with_dead_units(x: xr.DataArray) -> xr.DataArray:
    return xr.concat([x, xr.full_like(x.isel(unit=[0, 1]), 3.0)], dim="unit")


def refuses_not_finite(record: Metric) -> None:
    """In any of its inputs."""
    args = inputs(record)
    for i, data in enumerate(args):
        bad = data.copy(deep=True)
        if isinstance(bad, xr.Dataset):
            bad["shade"][3] = np.nan
        else:
            bad[..., 3, 1] = np.nan
            if record.kind in ON_RDMS:
                bad[..., 1, 3] = np.nan
        _refused(record, "not finite", *args[:i], bad, *args[i + 1 :])


def refuses_what_is_no_array(record: Metric) -> None:
    """In place of any of its inputs, which is named."""
    args = inputs(record)
    for i, name in enumerate(INPUTS[record.kind]):
        told = f"{record.name}: {name.removesuffix('s')}"
        _refused(record, told, *args[:i], 3.0, *args[i + 1 :])


def refuses_other_stimuli(record: Metric) -> None:
    if record.kind == "single":
        return
    x, other, *rest = inputs(record)
    renamed = other.assign_coords(stimulus=[f"t{i}" for i in range(N)])
    if "stimulus_" in other.dims:
        renamed = renamed.assign_coords(stimulus_=renamed.stimulus.values)
    _refused(record, "60 only in", x, renamed, *rest)


def refuses_unlabelled_against_labelled(record: Metric) -> None:
    if record.kind == "single":
        return
    x, other, *rest = inputs(record)
    drop = [dim for dim in ("stimulus", "stimulus_") if dim in other.coords]
    _refused(record, "no stimulus labels", x, other.drop_vars(drop), *rest)


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


def refuses_bad_values_by_name(record: Metric) -> None:
    """Of every option: another type, outside its range, not on its list."""
    args = inputs(record)
    for name, value in options.wrong(record):
        said = f"{record.name}({name}={value!r})"
        try:
            call(record, *args, **{name: value})
        except ParameterError as error:
            message = str(error)
            assert message.startswith(f"{record.name}: "), f"{said} said: {message}"
            assert name in message and repr(value) in message, f"{said} said: {message}"
        else:
            raise AssertionError(f"{said} was accepted")


def refuses_unknown_coordinates(record: Metric) -> None:
    args = inputs(record)
    for name in options.coordinates(record):
        try:
            call(record, *args, **{name: "no_such"})
        except ParameterError as error:
            said = str(error)
            assert said.startswith(f"{record.name}: ") and f"{name}='no_such'" in said, said
        else:
            raise AssertionError(f"{record.name}({name}='no_such') was accepted")


def keeps_its_word_under_every_option(record: Metric) -> None:
    """Each value in turn: it does something, and bounds, order and precision hold as without."""
    low, high = record.bounds
    order = np.random.default_rng(SEED + 1).permutation(N)
    for name, value in options.right(record):
        args, chosen = options.company(record, name, value, inputs(record))
        said = f"{record.name} with {chosen}"
        result = call(record, *args, **chosen)
        assert name in result.attrs["params"], said
        assert name != "groups" or "whole story" in result.attrs["cv"], said
        scored = result.values[~np.isnan(result.values)]
        assert scored.size and ((scored >= low - 1e-12) & (scored <= high + 1e-12)).all(), said
        if not options.may_change_nothing(record, name, value):
            without = call(record, *args, **{k: v for k, v in chosen.items() if k != name})
            same = result.shape == without.shape and np.allclose(result, without, rtol=1e-9)
            assert not same, f"{said} changes nothing"
        shuffled = (_reordered(args[0], order), *args[1:])
        _same(call(record, *shuffled, **chosen), result, rtol=1e-8, atol=1e-8)
        single, double = _in_both_precisions(args)
        found, expected = (call(record, *sides, **chosen).values for sides in (single, double))
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4, err_msg=said)


def prepares_as_it_says(record: Metric) -> None:
    """Activations prepared by hand score what prepare= makes of them."""
    if record.kind in ON_RDMS:
        return
    args = inputs(record)
    for name, by_hand in BY_HAND.items():
        prepared = [by_hand(x) if isinstance(x, xr.DataArray) else x for x in args]
        found, expected = call(record, *args, prepare=name), call(record, *prepared)
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7, err_msg=name)


def _zscored(x: xr.DataArray) -> xr.DataArray:
    rows = [dim for dim in x.dims if dim != "unit"]
    return (x - x.mean(rows)) / x.std(rows)


def _without_top(x: xr.DataArray) -> xr.DataArray:
    flat = x.values.reshape(-1, x.sizes["unit"])
    u, s, vt = np.linalg.svd(flat - flat.mean(axis=0), full_matrices=False)
    return x.copy(data=(u[:, 2:] * s[2:] @ vt[2:]).reshape(x.shape))


BY_HAND: dict[str, Callable[[xr.DataArray], xr.DataArray]] = {
    "zscore": _zscored,
    "unit_norm": lambda x: x / np.sqrt((x**2).sum("unit")),
    "drop_top:2": _without_top,
    "zscore,unit_norm": lambda x: BY_HAND["unit_norm"](_zscored(x)),
}


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
    keeps_its_bounds_with_more_units_than_stimuli,
    keeps_its_digits_in_float32_at_a_mean_of_1000,
    keeps_its_digits_with_more_units_than_stimuli,
    keeps_its_digits_where_products_are_float32,
    is_symmetric_as_declared,
    is_a_metric_as_declared,
    leaves_inputs_untouched,
    repeats_exactly,
    broadcasts_over_steps,
    torch_agrees,
    other_devices_agree,
    dask_agrees,
    streams_or_refuses_by_name,
    ignores_dead_units,
    refuses_not_finite,
    refuses_what_is_no_array,
    refuses_other_stimuli,
    refuses_unlabelled_against_labelled,
    refuses_repeated_labels,
    refuses_unknown_option,
    refuses_bad_values_by_name,
    refuses_unknown_coordinates,
    keeps_its_word_under_every_option,
    prepares_as_it_says,
    has_its_invariances,
    names_known_invariances,
)


def cases() -> Iterator[tuple[str, Callable[[Metric], None]]]:
    """Every (metric name, law)."""
    for name in metrics():
        for law in LAWS:
            yield name, law
