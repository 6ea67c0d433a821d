"""Laws that every declared operation obeys, read off its declaration.

A law is a function of one operation; :func:`cases` pairs every registered one with every law that
applies to it (``@for_those``), so an operation declared anywhere is tested without naming it here,
and every case asserts something. Laws do not replace golden values: an uncentred RDM obeys all.
"""

from __future__ import annotations

import dis
import inspect
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import array_api_strict as strict
import numpy as np
import xarray as xr

from reptools.arrays import to_host
from reptools.engine import reading
from reptools.engine.calling import evaluate
from reptools.engine.context import context_of
from reptools.engine.inputs import ActivationsInput, FeaturesInput, Planted
from reptools.engine.operation import Operation, Result, given_context
from reptools.engine.registry import operations
from reptools.errors import ParameterError
from reptools.statistics.moments import SMALL
from tests import options

N, P, Q = 60, 7, 5
SEED = 20261124
Args = tuple[Any, ...]
Law = Callable[[Operation], None]
Condition = Callable[[Operation], bool]


# --- which laws are for which operations --------------------------------------------------------


def for_those(condition: Condition) -> Callable[[Law], Law]:
    """A law for some operations only."""

    def marked(law: Law) -> Law:
        law.conditions = [*getattr(law, "conditions", []), condition]  # type: ignore[attr-defined]
        return law

    return marked


def of_activations(operation: Operation) -> bool:
    return isinstance(next(iter(operation.sides.values())), ActivationsInput)


def measures(operation: Operation) -> bool:
    """A metric: its score is one array with declared properties."""
    return not operation.intervention and not operation.dataset


def with_another_input(operation: Operation) -> bool:
    """Whether a second input is labelled by stimulus."""
    return len(labelled_inputs(operation)) > 1


def labelled_inputs(operation: Operation) -> list[str]:
    """Inputs that have stimuli."""
    return [
        name
        for name, kind in operation.inputs.items()
        if kind.side or isinstance(kind, FeaturesInput) or name == "models"
    ]


# --- inputs of each kind ------------------------------------------------------------------------


def inputs(operation: Operation, *, n: int = N, widths: tuple[int, int] = (P, Q)) -> Args:
    """Labelled inputs that share structure, so that scores are neither 0 nor 1."""
    planted = Planted(n, widths)
    every = enumerate(operation.inputs.values())
    return tuple(kind.example(planted, number) for number, kind in every)


def call(operation: Operation, *args: Any, **options: Any) -> Result:
    with warnings.catch_warnings():
        # metrics of classes name the continuous feature among the inputs and leave its score out
        warnings.filterwarnings("ignore", message=".*not class features")
        warnings.filterwarnings("ignore", message=".*occurs in no other combination")
        warnings.filterwarnings("ignore", message=".*do not reach min_reliability=0.9")
        return evaluate(operation, _of_classes(operation, args), options)


CLASSES_ONLY = ("downstream", "transfer")


def _of_classes(operation: Operation, args: Args) -> Args:
    """Without the continuous feature, for what sets classes against each other."""
    if operation.name not in CLASSES_ONLY:
        return args
    found = []
    for one in args:
        if isinstance(one, xr.Dataset) and "shade" in one:
            one = one.drop_vars("shade")
        found.append({k: v for k, v in one.items() if k != "shade"} if type(one) is dict else one)
    return tuple(found)


def numbers(result: Result) -> np.ndarray:
    """All scores of a result in one row: of a Dataset those of all variables."""
    if isinstance(result, xr.DataArray):
        return result.values
    return np.concatenate([one.values.ravel() for one in result.data_vars.values()])


# --- laws ---------------------------------------------------------------------------------------


def is_labelled(operation: Operation) -> None:
    result = call(operation, *inputs(operation))
    if operation.name == "remove":  # gives activations, which stay what they were
        assert result.dims == ("stimulus", "unit") and "removed" in result.attrs
        return
    if isinstance(result, xr.DataArray):
        assert result.name == operation.name
    for key in ("metric", "estimator", "params", "n_stimuli", "inputs", "versions"):
        assert key in result.attrs, f"{operation.name} lacks the attribute {key}"
    assert set(operation.dims) == set(result.dims)
    if "feature" in result.dims and measures(operation):
        assert result.feature.values.tolist() == ["easy", "hard", "shade"]
    if "model" in operation.dims:
        assert result.model.values.tolist() == ["first", "second", "third"]


@for_those(lambda operation: operation.name != "remove")
def has_its_shape_whatever_is_dead(operation: Operation) -> None:
    """Dimensions, extras and coordinates are known from the declaration."""
    args = inputs(operation)
    whole = call(operation, *args)
    if of_activations(operation):
        x = args[0]
        dead = xr.concat([x * 0 + 1, x], dim="step").assign_coords(step=[0, 1])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result = call(operation, dead, *args[1:])
        alone = result.isel(step=0)
        assert np.isnan(numbers(alone)).all(), f"{operation.name} scores a dead layer"
        np.testing.assert_allclose(
            numbers(result.isel(step=1)), numbers(whole), rtol=1e-7, atol=1e-9
        )
    else:
        alone = whole
    wiring = operation.plain
    assert set(alone.dims) == set(wiring.own)
    for extra, dims in wiring.extras.items():
        assert alone[extra].dims == dims
    for name, dims in wiring.outputs.items():
        assert alone[name].dims == dims
    own = set(alone.coords) - {"step"}
    assert own == set(whole.coords)
    for name in set(wiring.own) & set(whole.coords):
        assert alone[name].values.tolist() == whole[name].values.tolist()


def ignores_stimulus_order(operation: Operation) -> None:
    args = inputs(operation)
    order = np.random.default_rng(SEED + 1).permutation(N)
    for i, name in enumerate(operation.inputs):
        if name not in labelled_inputs(operation):
            continue
        shuffled = list(args)
        shuffled[i] = _reordered(args[i], order)
        _same(call(operation, *shuffled), call(operation, *args), rtol=0, atol=1e-10)


def _same(result: Result, expected: Result, rtol: float, atol: float) -> None:
    """Equal values, at the same stimuli where the result has a dimension of stimuli."""
    own = {d: expected[d] for d in ("stimulus", "stimulus_") if d in expected.coords}
    own = {d: labels for d, labels in own.items() if d in result.dims}
    found, wanted = result.sel(own), expected
    names = [""] if isinstance(expected, xr.DataArray) else list(expected.data_vars)
    for name in names:
        one, other = (found, wanted) if not name else (found[name], wanted[name])
        np.testing.assert_allclose(
            one.values, other.values, rtol=rtol, atol=atol, err_msg=str(name)
        )


def _reordered(data: Any, order: np.ndarray) -> Any:
    square = {"stimulus_": order} if "stimulus_" in data.dims else {}
    return data.isel(stimulus=order, **square)


# an iterative fit is only as exact as its tolerance; float64 order is exact above
@for_those(lambda operation: not operation.iterative and measures(operation))
def ignores_stimulus_order_in_float32(operation: Operation) -> None:
    args = tuple(data.astype(np.float32) for data in inputs(operation))
    order = np.random.default_rng(SEED + 1).permutation(N)
    shuffled = (_reordered(args[0], order), *args[1:])
    expected = call(operation, *args)
    scale = max(1.0, float(np.nanmax(np.abs(expected))))
    _same(call(operation, *shuffled), expected, rtol=0, atol=1e-6 * scale)


def keeps_its_bounds(operation: Operation) -> None:
    _within(operation, numbers(call(operation, *inputs(operation))))


def _within(operation: Operation, values: np.ndarray, said: str = "") -> None:
    low, high = operation.bounds if not operation.dataset else (-np.inf, np.inf)
    scored = values[~np.isnan(values)]  # such as a feature's score across itself
    assert scored.size, f"{operation.name} {said} scores nothing"
    outside = scored[(scored < low - 1e-12) | (scored > high + 1e-12)]
    assert not outside.size, f"{operation.name} {said} gives {outside[:3]}, bounds {low}..{high}"


@for_those(lambda operation: len(operation.sides) == 2 and measures(operation))
def is_symmetric_as_declared(operation: Operation) -> None:
    x, y, *rest = inputs(operation)
    forth, back = call(operation, x, y, *rest).values, call(operation, y, x, *rest).values
    if operation.symmetric:
        np.testing.assert_allclose(forth, back, rtol=0, atol=1e-12)
    else:
        same = forth.shape == back.shape and np.allclose(forth, back)
        assert not same, f"{operation.name} is symmetric: declare it"


@for_those(measures)
def keeps_its_bounds_with_more_units_than_stimuli(operation: Operation) -> None:
    args = inputs(operation, n=40, widths=(70, 50))
    result = call(operation, *args)
    _within(operation, result.values)
    order = np.random.default_rng(SEED + 1).permutation(40)
    _same(call(operation, _reordered(args[0], order), *args[1:]), result, rtol=1e-8, atol=1e-8)


@for_those(lambda operation: "readout" not in operation.inputs)
def keeps_its_digits_in_float32_at_a_mean_of_1000(operation: Operation) -> None:
    """Against the float64 result on the same float32 values; distances with a mean of 1000."""
    _same_in_both_precisions(operation, inputs(operation))


# one answer of many may differ where fits are iterative
@for_those(lambda operation: of_activations(operation) and not operation.iterative)
@for_those(measures)
def keeps_its_digits_where_products_are_float32(operation: Operation) -> None:
    """The same for data so large that products of blocks are taken in float32."""
    n, width = 1500, 180
    assert n * (width - 1) > SMALL
    _same_in_both_precisions(operation, inputs(operation, n=n, widths=(width, width - 1)))


@for_those(measures)
def keeps_its_digits_with_more_units_than_stimuli(operation: Operation) -> None:
    _same_in_both_precisions(operation, inputs(operation, n=40, widths=(70, 50)))


def _same_in_both_precisions(operation: Operation, args: Args) -> None:
    single, double = _in_both_precisions(args)
    found, expected = numbers(call(operation, *single)), numbers(call(operation, *double))
    scale = 1.0 if measures(operation) else max(1.0, float(np.nanmax(np.abs(expected))))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * scale)


def _in_both_precisions(args: Args) -> tuple[Args, Args]:
    """float32 sides with a mean of 1000, and the same values in float64."""
    single = [_far(x).astype(np.float32) if isinstance(x, xr.DataArray) else x for x in args]
    double = [x.astype(np.float64) if isinstance(x, xr.DataArray) else x for x in single]
    return tuple(single), tuple(double)


def _far(x: xr.DataArray) -> xr.DataArray:
    """From a mean of 0 to one of 1000; a stimulus stays at distance 0 from itself."""
    return x + 1000 * (x.stimulus != x.stimulus_).values if "stimulus_" in x.dims else x + 1000


@for_those(lambda operation: operation.proper)
def is_a_metric_as_declared(operation: Operation) -> None:
    """0 between equals, symmetric, and no detour is shorter, over sides of several widths."""
    assert operation.symmetric and operation.better == "lower"
    rng = np.random.default_rng(SEED + 5)
    x, y = inputs(operation)[:2]
    many = [x, y, x + y.values[:, :1], x.copy(data=rng.normal(size=x.shape)), x * 2 + 1]
    size = len(many)
    gaps = np.array([[float(call(operation, a, b)) for b in many] for a in many])
    assert np.abs(np.diag(gaps)).max() < 1e-6
    for i, j, k in np.ndindex(size, size, size):
        assert gaps[i, k] <= gaps[i, j] + gaps[j, k] + 1e-9


def leaves_inputs_untouched(operation: Operation) -> None:
    args = [one for one in inputs(operation) if isinstance(one, (xr.DataArray, xr.Dataset))]
    every = [
        args.pop(0) if isinstance(one, (xr.DataArray, xr.Dataset)) else one
        for one in inputs(operation)
    ]
    data = [one for one in every if isinstance(one, (xr.DataArray, xr.Dataset))]
    before = [one.copy(deep=True) for one in data]
    for one in data:
        for array in one.data_vars.values() if isinstance(one, xr.Dataset) else [one]:
            array.values.flags.writeable = False
    call(operation, *every)
    for one, copy in zip(data, before, strict=True):
        xr.testing.assert_identical(one, copy)


def repeats_exactly(operation: Operation) -> None:
    args = inputs(operation)
    np.testing.assert_array_equal(numbers(call(operation, *args)), numbers(call(operation, *args)))


def broadcasts_over_steps(operation: Operation) -> None:
    args = inputs(operation)
    stacked = xr.concat([args[0], args[0] * 2 + _noise(args[0])], dim="step")
    result = call(operation, stacked.assign_coords(step=[0, 10]), *args[1:])
    assert result.step.values.tolist() == [0, 10]
    alone = call(operation, stacked.isel(step=1), *args[1:])
    found = result.sel(step=10)
    np.testing.assert_allclose(numbers(found), numbers(alone), rtol=1e-9, atol=1e-11)


def _noise(data: xr.DataArray) -> xr.DataArray:
    values = np.random.default_rng(SEED + 2).uniform(size=data.shape)
    if "stimulus_" in data.dims:
        values = values + values.T
        np.fill_diagonal(values, 0)
    return data.copy(data=values)


# a tensor has no dimension of the name repetition
@for_those(lambda operation: of_activations(operation) and operation.repeats != "required")
def torch_agrees(operation: Operation) -> None:
    import torch

    bare = [_bare(one) for one in inputs(operation)]
    tensors = [torch.from_numpy(x) if isinstance(x, np.ndarray) else x for x in bare]
    on_torch, on_numpy = call(operation, *tensors), call(operation, *bare)
    np.testing.assert_allclose(numbers(on_torch), numbers(on_numpy), rtol=1e-6, atol=1e-9)


@for_those(lambda operation: operation.repeats == "required")
def declares_no_torch(operation: Operation) -> None:
    assert "torch" not in operation.backends


def _bare(value: Any) -> Any:
    if isinstance(value, xr.DataArray):
        return value.values.copy()
    if isinstance(value, xr.Dataset):
        return {name: one.drop_vars("stimulus") for name, one in value.data_vars.items()}
    return value


@for_those(lambda operation: "torch" in operation.backends and of_activations(operation))
def other_devices_agree(operation: Operation) -> None:
    """The kernels, on an array library that allows the standard only, off the default device."""
    args = inputs(operation)
    wiring, bound = operation.plain, operation.defaults
    named = dict(zip(operation.inputs, args, strict=True))
    side = operation.sides["x"].read(named["x"], "x", None)
    context = context_of(side, bound)
    besides = [kind.read(named[name], name, side) for name, kind in operation.beside.items()]
    given = [beside.at(side, ()).argument for beside in besides]
    bare = [named[name].values for name in operation.sides]
    device = strict.Device("device1")
    scores = []
    for arrays in (bare, [strict.asarray(x, device=device) for x in bare]):
        prepared = [
            x if wiring.each is None else wiring.each(x, **given_context(wiring.each, context))
            for x in arrays
        ]
        answer = wiring.score(*prepared, *given, **given_context(wiring.score, context))
        scores.append({"": getattr(answer, "value", answer), **getattr(answer, "extras", {})})
    for name, value in scores[0].items():
        found, expected = to_host(scores[1][name]), to_host(value)
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9, err_msg=name)


@for_those(of_activations)
def dask_agrees(operation: Operation) -> None:
    """In chunks of stimuli the numbers are those of the whole, and the input stays lazy."""
    args = inputs(operation)
    sizes = iter((17, 25, 60))
    lazy = [x.chunk(stimulus=next(sizes)) if isinstance(x, xr.DataArray) else x for x in args]
    result, expected = call(operation, *lazy), call(operation, *args)
    np.testing.assert_allclose(numbers(result), numbers(expected), rtol=1e-6, atol=1e-9)
    for name in operation.plain.extras:
        np.testing.assert_allclose(result[name], expected[name], rtol=1e-6, atol=1e-9)


@for_those(of_activations)
def streams_or_refuses_by_name(operation: Operation) -> None:
    """Data above the limit are read in blocks, or refused with the operation's name."""
    x, *rest = inputs(operation)
    lazy = x.chunk(stimulus=20)
    limit, reading.LOAD_LIMIT = reading.LOAD_LIMIT, 100
    try:
        if operation.streams:
            assert np.isfinite(numbers(call(operation, lazy, *rest))).any()
        else:
            _refused(operation, "streaming form", lazy, *rest)
    finally:
        reading.LOAD_LIMIT = limit


@for_those(lambda operation: of_activations(operation) and measures(operation))
def ignores_dead_units(operation: Operation) -> None:
    """Dead units are counted in a warning, and the score of the others is as without them."""
    x, *rest = inputs(operation)
    expected = call(operation, x, *rest)
    wide = _with_dead_units(x)
    second = list(operation.inputs.values())[1:2]
    if second and isinstance(second[0], ActivationsInput) and second[0].same_units:
        rest[0] = _with_dead_units(rest[0])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = call(operation, wide, *rest)
    assert any("2 of 9 units without variance" in str(w.message) for w in caught)
    of_x = "unit" in operation.dims and len(operation.sides) == 1
    live = result.isel(unit=slice(0, P)) if of_x else result
    live = live.isel(component=slice(0, P)) if "component" in operation.dims else live
    missing = np.isnan(expected.values)  # such as a feature's score across itself
    assert (np.isnan(live.values) == missing).all()
    if "shift" in operation.invariances:  # where the mean of a unit counts, so does a constant one
        rtol = 1e-4 if operation.iterative else 1e-6
        np.testing.assert_allclose(live.values, expected.values, rtol=rtol, atol=1e-7)


def _with_dead_units(x: xr.DataArray) -> xr.DataArray:
    return xr.concat([x, xr.full_like(x.isel(unit=[0, 1]), 3.0)], dim="unit")


def refuses_not_finite(operation: Operation) -> None:
    """In any of its inputs that have stimuli."""
    args = inputs(operation)
    for i, name in enumerate(operation.inputs):
        if name not in labelled_inputs(operation):
            continue
        bad = args[i].copy(deep=True)
        if isinstance(bad, xr.Dataset):
            bad = bad.astype(float) if operation.name in CLASSES_ONLY else bad
            bad["easy" if operation.name in CLASSES_ONLY else "shade"][3] = np.nan
        else:
            bad[..., 3, 1] = np.nan
            if not of_activations(operation):
                bad[..., 1, 3] = np.nan
        _refused(operation, "not finite", *args[:i], bad, *args[i + 1 :])


def refuses_what_is_no_array(operation: Operation) -> None:
    """In place of any of its inputs, which is named."""
    args = inputs(operation)
    for i, name in enumerate(operation.inputs):
        called = "feature" if isinstance(operation.inputs[name], FeaturesInput) else name
        told = f"{operation.name}: {called.removesuffix('s')}"
        _refused(operation, told, *args[:i], 3.0, *args[i + 1 :])


@for_those(with_another_input)
def refuses_other_stimuli(operation: Operation) -> None:
    x, other, *rest = inputs(operation)
    renamed = other.assign_coords(stimulus=[f"t{i}" for i in range(N)])
    if "stimulus_" in other.dims:
        renamed = renamed.assign_coords(stimulus_=renamed.stimulus.values)
    _refused(operation, "60 only in", x, renamed, *rest)


@for_those(with_another_input)
def refuses_unlabelled_against_labelled(operation: Operation) -> None:
    x, other, *rest = inputs(operation)
    drop = [dim for dim in ("stimulus", "stimulus_") if dim in other.coords]
    _refused(operation, "no stimulus labels", x, other.drop_vars(drop), *rest)


def refuses_repeated_labels(operation: Operation) -> None:
    x, *rest = inputs(operation)
    labels = x.stimulus.values.copy()
    labels[1] = labels[0]
    again = x.assign_coords(stimulus=labels)
    if "stimulus_" in x.dims:
        again = again.assign_coords(stimulus_=labels)
    _refused(operation, "repeated stimulus labels", again, *rest)


def refuses_unknown_option(operation: Operation) -> None:
    try:
        call(operation, *inputs(operation), no_such_option=1)
    except ValueError as error:
        assert "no_such_option" in str(error) and str(error).startswith(operation.name)
    else:
        raise AssertionError(f"{operation.name} accepted an unknown option")


@for_those(lambda operation: bool(operation.parameters))
def refuses_bad_values_by_name(operation: Operation) -> None:
    """Of every option: another type, outside its range, not on its list."""
    args = inputs(operation)
    for name, value in options.wrong(operation):
        said = f"{operation.name}({name}={value!r})"
        try:
            call(operation, *args, **{name: value})
        except ValueError as error:
            message = str(error)
            assert message.startswith(f"{operation.name}: "), f"{said} said: {message}"
            shown = repr(value) if not isinstance(value, (list, dict)) else ""
            assert name in message and shown in message, f"{said} said: {message}"
        else:
            raise AssertionError(f"{said} was accepted")


@for_those(lambda operation: bool(options.coordinates(operation)))
def refuses_unknown_coordinates(operation: Operation) -> None:
    args = inputs(operation)
    for name in options.coordinates(operation):
        try:
            call(operation, *args, **{name: "no_such"})
        except ParameterError as error:
            said = str(error)
            assert said.startswith(f"{operation.name}: ") and "'no_such'" in said, said
            assert name in said, said
        else:
            raise AssertionError(f"{operation.name}({name}='no_such') was accepted")


@for_those(lambda operation: bool(operation.parameters) and operation.name != "remove")
def keeps_its_word_under_every_option(operation: Operation) -> None:
    """Each value in turn: it does something, and bounds, order and precision hold as without."""
    order = np.random.default_rng(SEED + 1).permutation(N)
    for name, value in options.right(operation):
        args, chosen = options.company(operation, name, value, inputs(operation))
        said = f"{operation.name} with {chosen}"
        result = call(operation, *args, **chosen)
        assert name in result.attrs["params"], said
        assert name != "groups" or "whole story" in result.attrs["cv"], said
        _within(operation, numbers(result), said)
        if not options.may_change_nothing(operation, name, value):
            without = call(operation, *args, **{k: v for k, v in chosen.items() if k != name})
            same = numbers(result).shape == numbers(without).shape and np.allclose(
                numbers(result), numbers(without), rtol=1e-9, equal_nan=True
            )
            assert not same, f"{said} changes nothing"
        shuffled = (_reordered(args[0], order), *args[1:])
        _same(call(operation, *shuffled, **chosen), result, rtol=1e-8, atol=1e-8)
        if "readout" in operation.inputs:  # a head reads the units as they are
            continue
        single, double = _in_both_precisions(args)
        found, expected = (numbers(call(operation, *x, **chosen)) for x in (single, double))
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4, err_msg=said)


@for_those(lambda operation: "prepare" in operation.parameters and measures(operation))
def prepares_as_it_says(operation: Operation) -> None:
    """Activations prepared by hand score what prepare= makes of them."""
    args = inputs(operation)
    for name, by_hand in BY_HAND.items():
        prepared = [by_hand(x) if isinstance(x, xr.DataArray) else x for x in args]
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="sparseness: no unit")  # nor by hand
            found, expected = call(operation, *args, prepare=name), call(operation, *prepared)
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


def _refused(operation: Operation, message: str, *args: Any) -> None:
    try:
        call(operation, *args)
    except ValueError as error:
        assert message in str(error), f"{operation.name} said: {error}"
        assert str(error).startswith(f"{operation.name}: "), f"{operation.name} said: {error}"
    else:
        raise AssertionError(f"{operation.name} accepted input that is {message!r}")


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


@for_those(lambda operation: bool(operation.invariances))
def has_its_invariances(operation: Operation) -> None:
    unknown = set(operation.invariances) - set(TRANSFORMATIONS)
    assert not unknown, f"{operation.name} declares unknown invariances {unknown}"
    x, *rest = inputs(operation)
    expected = call(operation, x, *rest).values
    for name in operation.invariances:
        changed = call(operation, TRANSFORMATIONS[name](x), *rest).values
        message = f"{operation.name} is not invariant to {name}"
        np.testing.assert_allclose(changed, expected, rtol=1e-8, atol=1e-8, err_msg=message)


@for_those(lambda operation: "cv" in operation.parameters)
def refuses_folds_options_without_folds(operation: Operation) -> None:
    """groups= and seed= say nothing where nothing is held out."""
    args = inputs(operation)
    for name, value in (("seed", 3), ("groups", np.arange(N) // 2)):
        try:
            call(operation, *args, cv=None, **{name: value})
        except ParameterError as error:
            said = str(error)
            assert said.startswith(f"{operation.name}: ") and name in said and "cv" in said, said
        else:
            raise AssertionError(f"{operation.name}(cv=None, {name}=...) was accepted")


def uses_every_option(operation: Operation) -> None:
    """A declared function reads each option that it has beside those of the engine."""
    code = operation.declare.__code__
    inner = [one for one in code.co_consts if hasattr(one, "co_freevars")]
    read = (
        set(code.co_names)
        | set(code.co_cellvars)
        | {
            instruction.argval
            for one in (code, *inner)
            for instruction in dis.get_instructions(one)
            if instruction.opname.startswith("LOAD")
        }
    )
    own = {name for name, one in operation.parameters.items() if not one.common}
    if operation.public.__wrapped__ is operation.declare:
        assert own <= read, f"{operation.name} never reads {sorted(own - read)}"
    else:
        assert own <= set(inspect.signature(operation.public.__wrapped__).parameters)


LAWS: tuple[Law, ...] = (
    is_labelled,
    has_its_shape_whatever_is_dead,
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
    declares_no_torch,
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
    refuses_folds_options_without_folds,
    uses_every_option,
)


def applies(law: Law, operation: Operation) -> bool:
    """Whether a law is for an operation."""
    return all(condition(operation) for condition in getattr(law, "conditions", ()))


def cases() -> Iterator[tuple[str, Law]]:
    """Every (operation's name, law that applies to it)."""
    for name, operation in operations().items():
        for law in LAWS:
            if applies(law, operation):
                yield name, law
