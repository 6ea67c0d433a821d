"""From what a user passes to a labelled result: the one road every metric call takes.

read inputs -> line up stimuli -> fix folds and seed -> bare slabs (checked, prepared) -> kernel
-> put labels and provenance on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr

from reptools.engine.operation import INPUTS, ON_RDMS, Context, Metric, Score
from reptools.engine.options import bind
from reptools.engine.reading import Slabs, between, placing
from reptools.engine.results import FEATURE, Stack, finish, joined, outer_coords
from reptools.entering import labels, rdms
from reptools.entering.features import as_features, several
from reptools.entering.labels import REPETITION, STIMULUS, UNIT, Index, Side, place
from reptools.errors import (
    DataError,
    DimensionError,
    FeatureError,
    ParameterError,
    naming,
    some,
    warn,
)
from reptools.statistics.features.design import Feature
from reptools.statistics.folds import Sampling

MODEL = "model"


def evaluate(record: Metric, args: Sequence[Any], options: Mapping[str, Any]) -> xr.DataArray:
    """Call a metric on user input. Raises what the metric and its inputs raise, named."""
    with naming(record.name):
        expected = INPUTS[record.kind]
        if len(args) != len(expected):
            raise ParameterError(
                f"it takes {len(expected)} inputs ({', '.join(expected)}), got {len(args)}. "
                "Options are passed by name."
            )
        bound = bind(record.parameters, options)
        if record.kind == "rdms":
            a, b = (read_side(record, v, n) for v, n in zip(args, expected, strict=True))
            return grid(record, {"a": a}, {"b": b}, bound, one_cell=True)
        if record.kind == "models":
            return _against_models(record, args[0], args[1], bound)
        if record.kind in ("pair", "transfer"):
            return _pair_call(record, args, bound)
        x = read_side(record, args[0], "x")
        return _over_x(record, x, args[1:], bound)


def read_side(record: Metric, x: Any, name: str) -> Any:
    """One input as the metric takes it; rows in label order for fits that must repeat exactly."""
    if record.kind in ON_RDMS:
        return rdms.as_rdm_side(x, name)
    side = labels.as_side(x, name)
    if record.repeats:
        side = labels.with_repetitions(side)
    if record.repeats == "required" and (not side.leading or side.data.sizes[REPETITION] < 2):
        raise DimensionError(
            f"{name} has {side.data.sizes[REPETITION] if side.leading else 'no'} repetition. It "
            "needs two or more of every stimulus, along a dimension 'repetition'."
        )
    return labels.sort_by_label(side) if record.iterative else side


def _pair_call(record: Metric, args: Sequence[Any], bound: Mapping[str, Any]) -> xr.DataArray:
    x, y = (read_side(record, arg, name) for arg, name in zip(args[:2], ("x", "y"), strict=True))
    features = as_features(args[2], x) if record.kind == "transfer" else None
    if features is not None:
        y = labels.align_units(x, y)
    cell = grid(record, {"x": x}, {"y": y}, bound, features, one_cell=True)
    return cell if features is None or several(args[2]) else cell.isel(feature=0)


# --- one side, with or without features ---------------------------------------------------------


def _over_x(
    record: Metric, side: Side, targets: Sequence[Any], bound: Mapping[str, Any]
) -> xr.DataArray:
    """Evaluate at every outer position of one side and stack; ``targets`` are none or one."""
    features = as_features(targets[0], side) if targets else None
    context = make_context(record, side, bound)
    slabs = Slabs(record, bound, [side])
    present = Present(record, features)
    stack = _stack(record, side.outer, features)
    if UNIT in stack.own:
        stack.own[UNIT] = side.n_units
    for index in side.indices():
        rows, chosen = present.at(side, index)
        x = slabs.take(side, index) if all(chosen) else None
        if x is None:
            continue
        with placing(side, index):
            summary = record.prepare_side(x, bound, context)
            score = record.score(summary, *chosen, bound=bound, context=context)
        stack.put(index, score, rows)
    present.warn()
    slabs.warn()
    if not stack.placed:  # no score has told how many there are
        known = {STIMULUS: side.n_stimuli, rdms.OTHER: side.n_stimuli}
        stack.own |= {dim: size for dim, size in known.items() if dim in stack.own}
    coords = {**outer_coords([side]), **_own_coords(record, stack, side, features)}
    attrs = {"n_units": side.n_units, "n_dead_units": slabs.most_dead(side.name)}
    result = finish(record, stack, coords, bound, context, [side], attrs)
    one = features is not None and not record.jointly and not several(targets[0])
    return result.isel(feature=0) if one else result


def _stack(record: Metric, outer: Mapping[str, int], features: list[Feature] | None) -> Stack:
    """Room for a score at every outer position; no dimension is called like another one."""
    by_feature = features is not None and not record.jointly
    sizes = joined(outer, {FEATURE: len(features)} if features and by_feature else {})
    joined(sizes, dict.fromkeys(record.dims, 0))
    return Stack(record, sizes)


def _own_coords(
    record: Metric, stack: Stack, side: Side, features: list[Feature] | None
) -> dict[Any, Any]:
    """Labels of features, units and stimuli, as far as the result has these dimensions."""
    coords: dict[Any, Any] = {}
    if features is not None and not record.jointly:
        coords[FEATURE] = [feature.name for feature in features]
    if UNIT in record.dims:
        coords |= side.unit_coords()
    if STIMULUS in record.dims and STIMULUS not in stack.coords:
        coords |= side.stimulus_coords()
        if side.labels is not None and rdms.OTHER in record.dims:
            coords[rdms.OTHER] = labels.ordered(side)
    return coords


class Present:
    """Which features vary at a position; constant ones are named once, their scores missing."""

    def __init__(self, record: Metric, features: list[Feature] | None) -> None:
        self.record = record
        self.features = features
        self.constant: dict[str, str] = {}  # feature to where, for the first place found
        self.varied = False

    def at(self, side: Any, index: Index) -> tuple[list[int] | None, list[list[Feature]]]:
        """Numbers of the varying features, and a kernel's argument: none where it takes none."""
        if self.features is None:
            return None, []
        here = [feature.at(index) for feature in self.features]
        for feature in here:
            if feature.constant:
                self.constant.setdefault(feature.name, place(side, index) if index else "")
        rows = [i for i, feature in enumerate(here) if not feature.constant]
        self.varied = self.varied or bool(rows)
        return None if self.record.jointly else rows, [[here[i] for i in rows]]

    def warn(self) -> None:
        """Name what was constant; an error where nothing varied anywhere."""
        if not self.constant:
            return
        if not self.varied:
            raise FeatureError(
                f"constant over all stimuli: {some(self.constant)}. Pass one that varies."
            )
        where = [
            name if not at or name in self.everywhere() else f"{name} at {at}"
            for name, at in self.constant.items()
        ]
        warn(f"{self.record.name}: constant over all stimuli, score missing (NaN): {some(where)}")

    def everywhere(self) -> list[str]:
        """Features without outer dimensions: constant at one position is constant at all."""
        return [feature.name for feature in self.features or [] if not feature.outer]


# --- pairs of sides -----------------------------------------------------------------------------


def grid(
    record: Metric,
    xs: Mapping[str, Any],
    ys: Mapping[str, Any],
    bound: Mapping[str, Any],
    features: list[Feature] | None = None,
    *,
    one_cell: bool = False,
) -> xr.DataArray:
    """Score every x against every y; each side is prepared once per outer position.

    A dimension that both sides share is paired, all others are crossed. The result of one x and
    one y as ``one_cell`` has no dimensions ``x`` and ``y``.
    """
    _refuse_uneven(record, ys)
    first = next(iter(xs.values()))
    line_up = rdms.align_rdms if record.kind == "rdms" else labels.align
    same = xs is ys
    xs = {name: side if side is first else line_up(first, side) for name, side in xs.items()}
    ys = xs if same else {name: line_up(first, side) for name, side in ys.items()}
    x_outer, y_outer = _one_outer(xs), _one_outer(ys)
    shared = labels.shared_outer(first, next(iter(ys.values())))
    context = make_context(record, first, bound)
    slabs = Slabs(record, bound, [*xs.values(), *ys.values()])

    present = Present(record, features)
    axes = {} if one_cell else {"x": len(xs), "y": len(ys)}
    stack = _stack(record, joined(axes, x_outer | y_outer), features)
    if UNIT in stack.own:
        stack.own[UNIT] = next(iter(ys.values())).n_units
    names_x, names_y = list(xs.values()), list(ys.values())
    mirror = same and record.symmetric and set(shared) == set(x_outer)
    for index in labels.positions({dim: x_outer[dim] for dim in shared}):
        # everything of one shared position (a step) is prepared, scored and released together
        sx = _summaries(record, xs, x_outer, index, slabs, bound, context)
        sy = sx if same else _summaries(record, ys, y_outer, index, slabs, bound, context)
        if record.many is not None and len(sx) * len(sy) > 1:
            try:
                _put_many(record, stack, sx, sy, bound)
                continue
            except DataError:  # pair by pair, to say which
                pass
        for (i, at_x), one in sx.items():
            for (j, at_y), other in sy.items():
                if one is None or other is None or (mirror and j < i):
                    continue
                at = _both(at_x, at_y)
                rows, chosen = present.at(names_x[i], at_x)
                if not all(chosen):  # no feature varies here
                    continue
                with between(names_x[i], at_x, names_y[j], at_y):
                    score = record.score(one, other, *chosen, bound=bound, context=context)
                stack.put((("x", i), ("y", j), *at), score, rows)
                if mirror and i != j:
                    stack.put((("x", j), ("y", i), *at), score, rows)
    present.warn()
    slabs.warn()
    sides = [*xs.values(), *([] if same else ys.values())]
    coords = outer_coords(sides)
    if len(ys) == 1 or UNIT not in record.dims:
        coords |= _own_coords(record, stack, next(iter(ys.values())), features)
    attrs: dict[str, Any] = {}
    for dim, group in (("x", xs), ("y", ys)):
        counts: dict[str, list[int]] = {}
        if record.kind not in ON_RDMS:
            counts[f"n_units_{dim}"] = [side.n_units for side in group.values()]
            counts[f"n_dead_units_{dim}"] = [slabs.most_dead(s.name) for s in group.values()]
        if one_cell:
            attrs |= {name: count for name, (count,) in counts.items()}
        else:
            coords[dim] = list(group)
            coords |= {name: (dim, count) for name, count in counts.items()}
    return finish(record, stack, coords, bound, context, sides, attrs)


def _put_many(
    record: Metric,
    stack: Stack,
    sx: Mapping[tuple[int, Index], Any],
    sy: Mapping[tuple[int, Index], Any],
    bound: Mapping[str, Any],
) -> None:
    """Score all pairs of one shared position at once."""
    xs = [key for key, side in sx.items() if side is not None]
    ys = [key for key, side in sy.items() if side is not None]
    if not xs or not ys:
        return
    table = record.scores([sx[key] for key in xs], [sy[key] for key in ys], bound)
    for (i, at_x), row in zip(xs, table, strict=True):
        for (j, at_y), value in zip(ys, row, strict=True):
            stack.put((("x", i), ("y", j), *_both(at_x, at_y)), Score(value))


def _both(at_x: Index, at_y: Index) -> Index:
    """One position of a pair: the shared dimensions once."""
    return (*at_x, *(place for place in at_y if place not in at_x))


def _refuse_uneven(record: Metric, ys: Mapping[str, Any]) -> None:
    """A result with a value for each unit has room for one number of units."""
    sizes = {name: side.n_units for name, side in ys.items()}
    if UNIT in record.dims and len(set(sizes.values())) > 1:
        raise DimensionError(
            f"{record.name} has one value for each unit of y, and the sides have {sizes} units. "
            "Compare with one y at a time."
        )


def _against_models(
    record: Metric, rdm: Any, models: Any, bound: Mapping[str, Any]
) -> xr.DataArray:
    """Evaluate at every outer position of one RDM, against several models of it."""
    side = read_side(record, rdm, "rdm")
    named = {name: rdms.align_rdms(side, model) for name, model in rdms.as_models(models).items()}
    context = replace(make_context(record, side, bound), models=tuple(named))
    slabs = Slabs(record, bound, [side])
    prepared = []
    for model in named.values():
        distances = slabs.take(model, ())
        with placing(model, ()):
            prepared.append(record.prepare_side(distances, bound, context))
    stack = _stack(record, side.outer, None)
    for index in labels.positions(side.outer):
        distances = slabs.take(side, index)
        with placing(side, index):
            one = record.prepare_side(distances, bound, context)
            stack.put(index, record.score(one, prepared, bound=bound, context=context))
    coords = dict(outer_coords([side]))
    if MODEL in record.dims:
        coords[MODEL] = list(named)
    return finish(record, stack, coords, bound, context, [side, *named.values()], {})


def _one_outer(sides: Mapping[str, Any]) -> dict[str, int]:
    """The outer dimensions of one axis of a grid, which must agree."""
    names = list(sides)
    for name in names[1:]:
        labels.check_same_outer(sides[names[0]], sides[name])
    return dict(sides[names[0]].outer)


def _summaries(
    record: Metric,
    sides: Mapping[str, Any],
    outer: Mapping[str, int],
    shared: Index,
    slabs: Slabs,
    bound: Mapping[str, Any],
    context: Context,
) -> dict[tuple[int, Index], Any]:
    """Prepared sides at one shared position: one per layer and remaining outer position."""
    fixed = dict(shared)
    rest = {dim: size for dim, size in outer.items() if dim not in fixed}
    prepared = {}
    for i, side in enumerate(sides.values()):
        for more in labels.positions(rest):
            index = tuple((dim, {**fixed, **dict(more)}[dim]) for dim in outer)
            x = slabs.take(side, index)
            with placing(side, index):
                prepared[i, index] = None if x is None else record.prepare_side(x, bound, context)
    return prepared


# --- what is fixed before -----------------------------------------------------------------------


def make_context(record: Metric, side: Any, bound: Mapping[str, Any]) -> Context:
    """Stimulus labels, folds and seed, fixed before any side is prepared."""
    stimulus = labels.ordered(side)
    if stimulus is None:
        stimulus = np.arange(side.n_stimuli)
    if not record.resamples:
        return Context(stimulus, Sampling(None, 0, stimulus), side.coordinate)
    groups, name = _groups(side, bound["groups"])
    split = side.coordinate("split") if bound["cv"] == "split" else None
    sampling = Sampling(
        bound["cv"],
        bound["seed"],
        stimulus,
        split=None if split is None else labels.no_gaps(split, "split"),
        groups=groups,
        time=labels.in_time(side),
        groups_name=name,
    )
    return Context(stimulus, sampling, side.coordinate)


def _groups(side: Side, groups: Any) -> tuple[np.ndarray[Any, Any] | None, str]:
    """``groups=`` as values over stimuli; by default the coordinate ``groups``, then ``run``."""
    if groups is None:
        for name in ("groups", "run"):
            values = side.coordinate(name)
            if values is not None:
                return labels.no_gaps(values, name), name
        return None, "groups"
    if isinstance(groups, str):
        values = side.coordinate(groups)
        if values is None:
            raise ParameterError(
                f"groups={groups!r} is no coordinate over stimuli of {side.name}. "
                "Name one that is, or pass the values."
            )
        return labels.no_gaps(values, groups), groups
    return labels.no_gaps(labels.match_values(side, groups, "groups"), "groups"), "groups"
