"""From what a user passes to a labelled result: the one road every call takes.

read inputs -> line up stimuli -> fix folds and seed -> bare slabs (checked, prepared) -> kernels
-> put into a result of full shape, with labels and provenance.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from reptools.engine.context import Context, context_of
from reptools.engine.inputs import ActivationsInput, Beside, Given, Input
from reptools.engine.inputs.activations import sorted_by_label
from reptools.engine.operation import Operation, Result, Wiring, given_context
from reptools.engine.reading import Slabs, between, placing
from reptools.engine.results import Room, attributes, joined, outer_coords
from reptools.entering import labels
from reptools.entering.labels import STIMULUS, UNIT, Index
from reptools.entering.rdms import OTHER, RdmSide
from reptools.errors import DataError, DimensionError, naming

Named = tuple[Any, str]  # a value and what messages call it


@dataclass(frozen=True)
class Outcome:
    """A result and what was found of the units on the way.

    Attributes
    ----------
    result : DataArray or Dataset
        Labelled.
    n_units : int
        Of the first side; 0 for dissimilarities.
    n_dead : array over the outer dimensions of the first side
        Units without variance.
    outer : tuple of str
        These dimensions.
    """

    result: Result
    n_units: int
    n_dead: np.ndarray[Any, Any]
    outer: tuple[str, ...]


def evaluate(operation: Operation, args: Sequence[Any], options: Mapping[str, Any]) -> Result:
    """Call an operation on user input. Raises what it and its inputs raise, named."""
    with naming(operation.name):
        operation.check_arity(args)
        bound = operation.bind(options)
        wiring = operation.wire(bound)
        return call(operation, wiring, bound, args).result


def call(
    operation: Operation,
    wiring: Wiring[Any],
    bound: Mapping[str, Any],
    args: Sequence[Any],
    names: Sequence[str] | None = None,
) -> Outcome:
    """Evaluate on one set of inputs, whose sides messages call ``names``."""
    names = list(operation.inputs) if names is None else names
    given = dict(zip(operation.inputs, zip(args, names, strict=True), strict=True))
    sides: list[Any] = []
    for name, kind in operation.sides.items():
        value, said = given[name]
        sides.append(_side(operation, kind, value, said, sides[0] if sides else None))
    besides = {
        name: kind.read(given[name][0], given[name][1], sides[0])
        for name, kind in operation.beside.items()
    }
    groups = [{side.name: side} for side in sides]
    return Call(operation, wiring, bound, groups, besides).run(one_cell=True)


class Call:
    """One evaluation, of one side or of every first side against every second one."""

    def __init__(
        self,
        operation: Operation,
        wiring: Wiring[Any],
        bound: Mapping[str, Any],
        groups: Sequence[Mapping[str, Any]],
        besides: Mapping[str, Beside],
    ) -> None:
        self.operation = operation
        self.wiring = wiring
        self.bound = bound
        self.groups = groups
        self.besides = besides
        self.first = next(iter(groups[0].values()))
        self.last = next(iter(groups[-1].values()))
        self.context: Context = context_of(self.first, bound)
        every = [side for group in groups for side in group.values()]
        self.slabs = Slabs(operation, bound, every)
        self.inputs = dict(zip(operation.sides, (self.first, self.last), strict=False)) | {
            name: beside.value for name, beside in besides.items()
        }

    @property
    def mirrored(self) -> bool:
        """Whether both sides of a grid are the same, so that half of it is enough."""
        return len(self.groups) == 2 and self.groups[0] is self.groups[1]

    def run(self, *, one_cell: bool) -> Outcome:
        """Score everything; a single call (``one_cell``) has no dimensions ``x`` and ``y``."""
        outers = [_one_outer(group) for group in self.groups]
        shared = labels.shared_outer(self.first, self.last) if len(outers) == 2 else []
        axes = {} if one_cell else {"x": len(self.groups[0]), "y": len(self.groups[-1])}
        outer = joined(axes, outers[0] | outers[-1])
        sizes, coords = self.own_dimensions()
        room = Room(self.wiring, outer, sizes, coords)
        for beside in self.besides.values():
            beside.prepare(self.prepared_model)
        if len(self.groups) == 1:
            self.over_one_side(room)
        else:
            self.over_pairs(room, outers, shared, one_cell=one_cell)
        for beside in self.besides.values():
            beside.close(self.operation.name)
        self.slabs.warn()
        return self.outcome(room, coords, one_cell=one_cell)

    # --- what the result has ----------------------------------------------------------------

    def own_dimensions(self) -> tuple[dict[str, int], dict[Any, Any]]:
        """Sizes of the own dimensions, and the coordinates along them."""
        sizes: dict[str, int] = {}
        coords: dict[Any, Any] = {}
        own = self.wiring.own
        for beside in self.besides.values():
            for dim, names in beside.coords.items():
                if dim in own:
                    sizes[dim], coords[dim] = len(names), list(names)
        if UNIT in own:
            sizes[UNIT] = self.last.n_units
            coords |= self.last.unit_coords()
        if STIMULUS in own and STIMULUS not in self.wiring.coords:
            sizes[STIMULUS] = sizes[OTHER] = self.first.n_stimuli
            coords |= self.first.stimulus_coords()
            if OTHER in own and self.first.labels is not None:
                coords[OTHER] = labels.ordered(self.first)
        for dim, asked in self.wiring.coords.items():
            found: Any = asked(self.inputs) if callable(asked) else asked
            if isinstance(found, int):
                sizes[dim] = found
            else:
                sizes[dim], coords[dim] = len(found), np.asarray(found)
        return {dim: sizes[dim] for dim in own}, coords

    # --- what is computed -------------------------------------------------------------------

    def prepared(self, kind: Any, side: Any, index: Index) -> Any:
        """One side at one position as kernels take it; None where nothing varies."""
        x = self.slabs.take(side, index, whole=getattr(kind, "whole", False))
        if x is None or self.wiring.each is None:
            return x
        with placing(side, index):
            return self.wiring.each(x, **given_context(self.wiring.each, self.context))

    def prepared_model(self, model: RdmSide) -> Any:
        """A model as the matrix is prepared."""
        return self.prepared(None, model, ())

    def beside(self, index: Index) -> list[Given] | None:
        """What kernels are given beside the sides; None where they cannot compute anything."""
        found = [beside.at(self.first, index) for beside in self.besides.values()]
        return None if any(one is None for one in found) else [one for one in found if one]

    def scored(self, sides: Sequence[Any], besides: Sequence[Given]) -> Any:
        """A kernel's answer."""
        kernel = self.wiring.score
        arguments = (*sides, *(given.argument for given in besides))
        return kernel(*arguments, **given_context(kernel, self.context))

    def over_one_side(self, room: Room) -> None:
        """Every outer position of one side."""
        (kind,), side = self.operation.sides.values(), self.first
        for index in labels.positions(side.outer):
            besides = self.beside(index)
            if besides is None:
                continue
            x = self.prepared(kind, side, index)
            if x is None:
                continue
            with placing(side, index):
                answer = self.scored([x], besides)
            room.put(index, answer, besides)

    def over_pairs(
        self,
        room: Room,
        outers: Sequence[Mapping[str, int]],
        shared: Sequence[str],
        *,
        one_cell: bool,
    ) -> None:
        """Every pair of sides; a dimension that both have is paired, all others are crossed."""
        xs, ys = (list(group.values()) for group in self.groups)
        kind_x, kind_y = self.operation.sides.values()
        half = self.mirrored and self.operation.symmetric and set(shared) == set(outers[0])
        # everything of one shared position (a step) is prepared, scored and released together
        for index in labels.positions({dim: outers[0][dim] for dim in shared}):
            sx = dict(self.at_shared(kind_x, xs, outers[0], index))
            same = self.mirrored
            sy = sx if same else dict(self.at_shared(kind_y, ys, outers[1], index))
            if self.wiring.many is not None and not self.besides and len(sx) * len(sy) > 1:
                try:
                    self.put_many(room, sx, sy, one_cell=one_cell)
                    continue
                except DataError:  # pair by pair, to say which
                    pass
            for (i, at_x), one in sx.items():
                besides = self.beside(at_x)
                for (j, at_y), other in sy.items():
                    if besides is None or one is None or other is None or (half and j < i):
                        continue
                    at = _both(at_x, at_y)
                    with between(xs[i], at_x, ys[j], at_y):
                        answer = self.scored([one, other], besides)
                    room.put((("x", i), ("y", j), *at), answer, besides)
                    if half and i != j:
                        room.put((("x", j), ("y", i), *at), answer, besides)

    def put_many(
        self,
        room: Room,
        sx: Mapping[tuple[int, Index], Any],
        sy: Mapping[tuple[int, Index], Any],
        *,
        one_cell: bool,
    ) -> None:
        """Score all pairs of one shared position at once."""
        assert self.wiring.many is not None
        xs = [key for key, side in sx.items() if side is not None]
        ys = [key for key, side in sy.items() if side is not None]
        if not xs or not ys:
            return
        table = self.wiring.many([sx[key] for key in xs], [sy[key] for key in ys])
        for (i, at_x), row in zip(xs, table, strict=True):
            for (j, at_y), value in zip(ys, row, strict=True):
                room.put((("x", i), ("y", j), *_both(at_x, at_y)), value)

    def at_shared(
        self, kind: Any, sides: Sequence[Any], outer: Mapping[str, int], shared: Index
    ) -> Iterator[tuple[tuple[int, Index], Any]]:
        """Prepared sides at one shared position: one per layer and remaining outer position."""
        fixed = dict(shared)
        rest = {dim: size for dim, size in outer.items() if dim not in fixed}
        for i, side in enumerate(sides):
            for more in labels.positions(rest):
                places = {**fixed, **dict(more)}
                index = tuple((dim, places[dim]) for dim in outer)
                yield (i, index), self.prepared(kind, side, index)

    # --- what is said of it -----------------------------------------------------------------

    def outcome(self, room: Room, coords: Mapping[Any, Any], *, one_cell: bool) -> Outcome:
        """The labelled result."""
        sides = [side for group in self.groups for side in group.values()]
        if self.mirrored:
            sides = sides[: len(self.groups[0])]
        every = {**outer_coords(sides), **coords}
        facts: dict[str, Any] = {}
        dead = self.slabs.most_dead
        if isinstance(self.first, RdmSide):
            if not one_cell:
                every |= {dim: list(group) for dim, group in zip("xy", self.groups, strict=True)}
        elif len(self.groups) == 1:
            facts = {"n_units": self.first.n_units, "n_dead_units": dead(self.first)}
        else:
            for dim, group in zip("xy", self.groups, strict=True):
                units = [side.n_units for side in group.values()]
                lost = [dead(side) for side in group.values()]
                if one_cell:
                    facts |= {f"n_units_{dim}": units[0], f"n_dead_units_{dim}": lost[0]}
                else:
                    every[dim] = list(group)
                    every |= {f"n_units_{dim}": (dim, units), f"n_dead_units_{dim}": (dim, lost)}
        chosen = self.wiring.chosen
        bound = {**self.bound, **(chosen(self.inputs) if callable(chosen) else chosen)}
        attrs = attributes(self.operation, self.wiring, bound, self.context, sides, facts)
        result = room.result(self.operation.name, every, attrs)
        if self.wiring.finish is not None:
            result = self.wiring.finish(result, self.inputs)
        for beside in self.besides.values():
            if beside.single is not None and beside.single in result.dims:
                result = result.isel({beside.single: 0})
        return Outcome(result, self.first.n_units, self.n_dead(), tuple(self.first.outer))

    def n_dead(self) -> np.ndarray[Any, Any]:
        """Dead units of the first side at every outer position."""
        found = np.zeros(tuple(self.first.outer.values()), dtype=np.intp)
        for index, n in self.slabs.dead(self.first).items():
            found[tuple(i for _, i in index)] = n
        return found


def grid(
    operation: Operation,
    wiring: Wiring[Any],
    bound: Mapping[str, Any],
    xs: Mapping[str, Named],
    ys: Mapping[str, Named] | None,
) -> Result:
    """Score every x against every y, or every x; each is prepared once per outer position.

    ``xs`` and ``ys`` hold (value, what messages call it) by the label in the result.
    """
    first: Any = None
    groups: list[Mapping[str, Any]] = []
    for kind, values in zip(operation.sides.values(), (xs, ys), strict=True):
        if values is None:
            groups.append(groups[0])
            continue
        group: dict[str, Any] = {}
        for label, (value, said) in values.items():
            group[label] = _side(operation, kind, value, said, first)
            first = group[label] if first is None else first
        groups.append(group)
    sizes = {name: side.n_units for name, side in groups[1].items()}
    if UNIT in wiring.own and len(set(sizes.values())) > 1:
        raise DimensionError(
            f"it has one value for each unit of y, and the sides have {sizes} units. "
            "Compare with one y at a time."
        )
    return Call(operation, wiring, bound, groups, {}).run(one_cell=False).result


def _side(operation: Operation, kind: Input, value: Any, said: str, first: Any) -> Any:
    """One side; the first one in label order where the fit is iterative."""
    if first is None and operation.iterative and isinstance(kind, ActivationsInput):
        return sorted_by_label(kind, value, said)
    return kind.read(value, said, first)


def _both(at_x: Index, at_y: Index) -> Index:
    """One position of a pair: the shared dimensions once."""
    return (*at_x, *(place for place in at_y if place not in at_x))


def _one_outer(sides: Mapping[str, Any]) -> dict[str, int]:
    """The outer dimensions of one axis of a grid, which must agree."""
    names = list(sides)
    for name in names[1:]:
        labels.check_same_outer(sides[names[0]], sides[name])
    return dict(sides[names[0]].outer)
