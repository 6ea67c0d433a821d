"""What an operation is: its declaration, what one call of it will do, and a kernel's answer."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, Generic, Literal, TypeVar

import xarray as xr

from reptools.engine.context import Context
from reptools.engine.inputs import ActivationsInput, Input
from reptools.engine.options import Parameter, bind
from reptools.errors import ParameterError

Result = xr.DataArray | xr.Dataset
R = TypeVar("R", xr.DataArray, xr.Dataset)
Dims = tuple[str, ...]
STREAMS = "dask"  # the back end of a kernel that reads its sides in blocks


@dataclass(frozen=True)
class Score:
    """A kernel's answer, and what stands beside it in the result.

    Attributes
    ----------
    value : array, or mapping of str to array where the operation has several outputs
        Over the dimensions that the wiring names, in their order.
    extras : mapping of str to array
        Those that the wiring names.
    coords : mapping of str to sequence
        Labels along a dimension for which the answer has fewer values than the result, or in
        another order; without them its values are the first ones.
    attrs : mapping of str to str, number or bool
        Facts of the computation that the options do not show.
    """

    value: Any
    extras: Mapping[str, Any] = field(default_factory=dict)
    coords: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    attrs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Wiring(Generic[R]):
    """What one call will do, known before any data are read.

    Attributes
    ----------
    score : callable
        Of prepared sides and of what stands beside them, in the order of the inputs; it may ask
        for ``context``. Gives an array or number, a mapping for several outputs, or a Score.
    each : callable, optional
        Prepares the bare slab of one side, once however large a grid; it may ask for ``context``.
    many : callable, optional
        Scores (x, y) of lists of prepared sides at once; for pairs with nothing beside them.
    dims : tuple of str
        Dimensions of the score, after the outer ones. ``feature``, ``model``, ``unit`` and
        ``stimulus`` are labelled by the inputs, ``unit`` by the last side.
    extras : mapping of str to tuple of str
        Numbers that come with the score, as coordinates, and the dimensions of each.
    outputs : mapping of str to tuple of str
        Variables of a Dataset, in place of ``dims``.
    coords : mapping of str to sequence, int or callable
        Labels of other dimensions (or how many there are), or a function of the inputs by name
        that gives them.
    finish : callable, optional
        Last step on the labelled result and the inputs by name.
    estimator : str, optional
        Named in the result, where it hangs on the options.
    chosen : mapping of str to value, or a function of the inputs
        Options that the call has filled in, for ``params`` of the result.
    uses : tuple of str
        Of ``seed`` and ``groups`` those that matter where nothing is held out, too: for inner folds
        or what is drawn.
    """

    score: Callable[..., Any]
    each: Callable[..., Any] | None = None
    many: Callable[..., Any] | None = None
    dims: Dims = ()
    extras: Mapping[str, Dims] = field(default_factory=dict)
    outputs: Mapping[str, Dims] = field(default_factory=dict)
    coords: Mapping[str, Any] = field(default_factory=dict)
    finish: Callable[..., R] | None = None
    estimator: str | None = None
    chosen: Mapping[str, Any] | Callable[[Mapping[str, Any]], Mapping[str, Any]] = field(
        default_factory=dict
    )
    uses: tuple[str, ...] = ()

    @cached_property
    def fields(self) -> dict[str, Dims]:
        """Dimensions of everything that a result holds; ``""`` is the score."""
        return {**(self.outputs or {"": self.dims}), **self.extras}

    @cached_property
    def own(self) -> Dims:
        """All dimensions that a result has beside the outer ones, in order."""
        return tuple(dict.fromkeys(dim for dims in self.fields.values() for dim in dims))


def given_context(function: Callable[..., Any], context: Context) -> dict[str, Context]:
    """The context as a keyword, for a kernel that asks for it."""
    return {"context": context} if _asks(function) else {}


_ASKS: dict[Any, bool] = {}


def _asks(function: Callable[..., Any]) -> bool:
    """Whether a kernel has the parameter ``context``; looked up once."""
    plain = function.func if isinstance(function, partial) else function
    if plain not in _ASKS:
        _ASKS[plain] = "context" in inspect.signature(plain).parameters
    return _ASKS[plain]


@dataclass(frozen=True, eq=False)
class Operation:
    """One declaration of a metric or an intervention.

    Attributes
    ----------
    name, summary : str
        Of the declared function.
    declare : callable
        The declared function: options to a :class:`Wiring`.
    public : callable
        What users call.
    inputs : dict of str to Input
        The positional parameters.
    parameters : dict of str to Parameter
        All options, in order.
    intervention : bool
        Whether it changes activations and sees what follows.
    dataset : bool
        Whether it gives a Dataset.
    better : "higher", "lower" or "neither"
        Which direction means more alike, better explained or better read out.
    bounds : (float, float)
        Closed range of the score.
    symmetric : bool
        Whether swapping the sides changes nothing.
    invariances : tuple of str
        Names of transformations of x that change nothing: shift, scale, rotation,
        pattern_shift, pattern_scale.
    proper : bool
        Whether it is a metric in the mathematical sense: 0 between equals only, symmetric, and
        never longer than a detour.
    backends : tuple of str
        Array libraries the kernels run on; other input is moved to numpy first. With "dask" they
        take :class:`reptools.statistics.blocks.Blocks` as well, and never hold all stimuli.
    iterative : bool
        Rows are sorted by label before fitting, so that an iterative solver repeats exactly.
    estimator : str
        Named in the result where neither an option ``estimator`` nor the wiring says more.
    """

    name: str
    summary: str
    declare: Callable[..., Wiring[Any]]
    inputs: Mapping[str, Input]
    parameters: Mapping[str, Parameter]
    intervention: bool
    dataset: bool
    better: Literal["higher", "lower", "neither"] = "higher"
    bounds: tuple[float, float] = (float("-inf"), float("inf"))
    symmetric: bool = False
    invariances: tuple[str, ...] = ()
    proper: bool = False
    backends: tuple[str, ...] = ("numpy",)
    iterative: bool = False
    estimator: str = "plug-in"
    public: Callable[..., Result] = field(default=xr.DataArray, repr=False)

    @cached_property
    def defaults(self) -> dict[str, Any]:
        """Every option's default in its canonical form."""
        return {name: p.check(p.default) for name, p in self.parameters.items()}

    @cached_property
    def plain(self) -> Wiring[Any]:
        """The wiring at the defaults."""
        return self.wire(self.defaults)

    @cached_property
    def sides(self) -> dict[str, Input]:
        """Inputs that have slabs."""
        return {name: one for name, one in self.inputs.items() if one.side}

    @cached_property
    def beside(self) -> dict[str, Input]:
        """Inputs that are lined up with the first side."""
        return {name: one for name, one in self.inputs.items() if not one.side}

    @property
    def dims(self) -> Dims:
        """Own dimensions of the result, at the defaults."""
        return self.plain.own

    @property
    def compares(self) -> bool:
        """Whether it takes two sides and nothing else, so that it fills a grid."""
        return len(self.sides) == 2 and not self.beside

    @property
    def resamples(self) -> bool:
        """Whether the score is held out, so that cv=, groups= and seed= apply."""
        return "cv" in self.parameters

    @property
    def streams(self) -> bool:
        """Whether the kernels read their sides in blocks, so that these need not fit in memory."""
        return STREAMS in self.backends

    @property
    def repeats(self) -> bool | Literal["required"]:
        """What becomes of repetitions: looped over, taken by the kernel, or required."""
        for side in self.sides.values():
            if isinstance(side, ActivationsInput) and side.repeats:
                return side.repeats
        return False

    def takes(self, kind: type[Input]) -> bool:
        """Whether an input of that kind is among its inputs."""
        return any(isinstance(one, kind) for one in self.inputs.values())

    def check_arity(self, args: Sequence[Any]) -> None:
        """Refuse too few or too many inputs."""
        if len(args) != len(self.inputs):
            raise ParameterError(
                f"it takes {len(self.inputs)} inputs ({', '.join(self.inputs)}), got {len(args)}. "
                "Options are passed by name."
            )

    def bind(self, options: Mapping[str, Any], *, text: bool = False) -> dict[str, Any]:
        """All options, with defaults filled in and every value checked."""
        if not options:
            return dict(self.defaults)
        return self.defaults | bind(self.parameters, options, text=text)

    def wire(self, bound: Mapping[str, Any]) -> Wiring[Any]:
        """What a call with these options will do; refuses options that exclude each other."""
        wiring = self.declare(*(None for _ in self.inputs), **bound)
        if bound.get("cv", ...) is None:
            for name in ("groups", "seed"):
                given = bound[name] if name == "seed" or bound[name] is not None else None
                if _differs(given, self.defaults[name]) and name not in wiring.uses:
                    raise ParameterError(
                        f"{name}={given!r:.40} makes folds, and cv=None scores in sample. Pass "
                        "cv=5 with it, or leave it out."
                    )
        return wiring


def _differs(given: Any, default: Any) -> bool:
    """Whether an option was given; arrays of groups always are."""
    return given is not None and (not isinstance(given, (int, str)) or given != default)
