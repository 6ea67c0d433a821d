"""``@metric`` and ``@intervention``: declare an operation once; everything else reads that.

The signature and the docstring of the declared function are those of the public one. Its body
says what runs: it returns a :class:`Wiring`, and the decorator makes of it a function that reads
labelled input, lines stimuli up, loops over outer dimensions and puts the labels back. A function
of bare arrays that returns the score itself will do as well.
"""

from __future__ import annotations

import difflib
import functools
import inspect
import sys
import typing
from collections.abc import Callable, Mapping
from typing import Any, Literal, ParamSpec, overload

import xarray as xr

from reptools.engine import docs, registry
from reptools.engine.calling import evaluate
from reptools.engine.common import Prepare
from reptools.engine.inputs import BY_NAME, FEATURE, MODEL, ActivationsInput, FeaturesInput, Input
from reptools.engine.operation import Dims, Operation, R, Wiring
from reptools.engine.options import Parameter, derive, option_of
from reptools.errors import ParameterError

P = ParamSpec("P")
CONTEXT = "context"
LABELLED = (FEATURE, MODEL, "unit", "stimulus", "stimulus_")  # dimensions that inputs give labels


class Declare:
    """A decorator that keeps the signature of what it decorates."""

    def __init__(self, intervention: bool, dims: Dims | None, extras: Any, facts: Any) -> None:
        self.intervention = intervention
        self.dims = dims
        self.extras = extras
        self.facts = facts

    @overload
    def __call__(self, function: Callable[P, Wiring[R]], /) -> Callable[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, Any], /) -> Callable[P, xr.DataArray]: ...
    def __call__(self, function: Callable[..., Any], /) -> Any:
        """Declare the operation; the public function takes its place."""
        name = function.__name__
        if function.__doc__ is None and sys.flags.optimize < 2:  # -OO removes docstrings
            raise ParameterError(f"{name!r} has no docstring. Its first line is the summary.")
        registry.refuse_taken(name, function)
        hints = _hints(function)
        wired = _is_wired(function)
        inputs = _inputs(function, hints, wired)
        signature = _signature(function, inputs, hints, wired)
        doc = function.__doc__
        if wired:
            doc = docs.completed(name, doc, signature, _shared(inputs, signature, hints))
        declared = function if wired else _bare(function, inputs, self.dims, self.extras)
        if wired and (self.dims is not None or self.extras):
            raise ParameterError(f"{name!r} returns its wiring, which says its dims and extras.")

        @functools.wraps(function)
        def public(*args: Any, **options: Any) -> Any:
            return evaluate(operation, args, options)

        public.__doc__ = doc
        public.__signature__ = signature  # type: ignore[attr-defined]
        operation = Operation(
            name=name,
            summary=(inspect.cleandoc(doc or "") or name).splitlines()[0],
            declare=declared,
            inputs=inputs,
            parameters=_parameters(signature, hints, doc),
            intervention=self.intervention,
            dataset=signature.return_annotation is xr.Dataset,
            public=public,
            **self.facts,
        )
        _check(operation)
        registry.add(operation)
        return public


@overload
def metric(function: Callable[P, Wiring[R]], /) -> Callable[P, R]: ...
@overload
def metric(function: Callable[P, Any], /) -> Callable[P, xr.DataArray]: ...
@overload
def metric(
    *,
    better: Literal["higher", "lower", "neither"] = ...,
    bounds: tuple[float, float] = ...,
    symmetric: bool = ...,
    invariances: tuple[str, ...] = ...,
    proper: bool = ...,
    backends: tuple[str, ...] = ...,
    iterative: bool = ...,
    estimator: str = ...,
    dims: Dims | None = ...,
    extras: Mapping[str, Dims] | None = ...,
) -> Declare: ...
def metric(
    function: Any = None,
    /,
    *,
    dims: Dims | None = None,
    extras: Mapping[str, Dims] | None = None,
    **facts: Any,
) -> Any:
    """Declare a metric; it is then in Python, the command line, the report and the laws.

    Parameters
    ----------
    function : callable
        Of bare arrays, its inputs positional (x, y, features, target, rdm, models, a, b), its
        options by keyword, annotated, each with a default. It returns the score, or a
        ``Score`` (``reptools.engine.operation``). It may ask for ``context``, which has the folds
        where the signature has ``cv``, ``groups`` and ``seed``.
    better : {"higher", "lower", "neither"}
        Which direction means more alike, better explained or better read out.
    bounds : (float, float)
        Closed range of the score.
    symmetric : bool
        Whether swapping the sides changes nothing.
    invariances : tuple of str
        Names of transformations of x that change nothing: shift, scale, rotation,
        pattern_shift, pattern_scale.
    proper : bool
        Whether it is a metric in the mathematical sense.
    backends : tuple of str
        Array libraries that the function runs on; other input is moved to numpy first.
    iterative : bool
        Whether rows are sorted by label first, so that an iterative fit repeats exactly.
    estimator : str
        Named in the result.
    dims : tuple of str, optional
        Dimensions of the score: ``feature`` by default where features are among the inputs, none
        otherwise; ``unit`` and ``stimulus`` may follow.
    extras : mapping of str to tuple of str, optional
        Numbers that come with the score, and the dimensions of each.

    Returns
    -------
    callable
        The public function.

    Raises
    ------
    ParameterError
        The name is taken, the docstring is missing or lacks an option, or an option cannot be
        checked.

    Examples
    --------
    >>> import numpy as np
    >>> from reptools.engine.declaring import metric
    >>> from reptools.engine.registry import forget
    >>> @metric(symmetric=True, bounds=(0, float("inf")), better="lower")
    ... def mean_gap(x, y, /, *, power: float = 2.0):
    ...     "Mean difference of two activations, unit by unit."
    ...     return (abs(x - y) ** power).mean()
    >>> float(mean_gap(np.eye(2), 1 - np.eye(2)))
    1.0
    >>> forget("mean_gap")
    """
    _refuse_wrong_facts(facts)
    declare = Declare(False, dims, extras, facts)
    return declare if function is None else declare(function)


INVARIANCES = ("shift", "scale", "rotation", "unit_scale", "pattern_shift", "pattern_scale")
FACTS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "better": ("'higher', 'lower' or 'neither'", lambda v: v in ("higher", "lower", "neither")),
    "bounds": ("two numbers in order, such as (0.0, 1.0)", lambda v: _in_order(v)),
    "symmetric": ("True or False", lambda v: isinstance(v, bool)),
    "proper": ("True or False", lambda v: isinstance(v, bool)),
    "iterative": ("True or False", lambda v: isinstance(v, bool)),
    "estimator": ("text", lambda v: isinstance(v, str)),
    "invariances": (f"a tuple of {INVARIANCES}", lambda v: _among(v, INVARIANCES)),
    "backends": (
        "a tuple of 'numpy', 'torch' and 'dask'",
        lambda v: _among(v, ("numpy", "torch", "dask")),
    ),
}


def _in_order(value: Any) -> bool:
    numbers = isinstance(value, tuple) and len(value) == 2
    return numbers and all(isinstance(v, (int, float)) for v in value) and value[0] <= value[1]


def _among(value: Any, known: tuple[str, ...]) -> bool:
    return isinstance(value, tuple) and all(one in known for one in value)


def _refuse_wrong_facts(facts: Mapping[str, Any]) -> None:
    """What a declaration says of a metric is checked before it is made."""
    for name, value in facts.items():
        if name not in FACTS:
            close = difflib.get_close_matches(name, [*FACTS, "dims", "extras"], n=1)
            hint = f"Did you mean {close[0]!r}?" if close else f"It takes {', '.join(FACTS)}."
            raise ParameterError(f"metric: there is no fact {name!r}. {hint}")
        words, right = FACTS[name]
        if not right(value):
            raise ParameterError(f"metric: {name} must be {words}, got {value!r}. Change it.")


def intervention(
    *,
    bounds: tuple[float, float] = (float("-inf"), float("inf")),
    iterative: bool = False,
    estimator: str,
) -> Declare:
    """Declare an intervention: it changes activations, and sees what follows."""
    facts = {
        "better": "neither",
        "bounds": bounds,
        "iterative": iterative,
        "estimator": estimator,
    }
    return Declare(True, None, None, facts)


# --- read off the declaration -------------------------------------------------------------------


def _is_wired(function: Callable[..., Any]) -> bool:
    annotation = function.__annotations__.get("return", "")
    text = annotation if isinstance(annotation, str) else repr(annotation)
    return "Wiring[" in text


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function, include_extras=True)
    except NameError as error:
        raise ParameterError(
            f"an annotation of {function.__name__!r} cannot be read: {error}. Import the name."
        ) from None


def _inputs(
    function: Callable[..., Any], hints: Mapping[str, Any], wired: bool
) -> dict[str, Input]:
    """The positional parameters, by what their annotations say; of bare arrays by their names."""
    found = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind is parameter.KEYWORD_ONLY:
            continue
        hint = hints.get(name) if wired else hints.get(name, BY_NAME.get(name))
        marked = _mark(hint) or (None if wired else _mark(BY_NAME.get(name)))
        if marked is None:
            raise ParameterError(
                f"{function.__name__!r} takes {name!r}, which is no input. Call it one of "
                f"{list(BY_NAME)}, or annotate it with a kind of input."
            )
        found[name] = marked
    if not any(one.side for one in found.values()):
        raise ParameterError(f"{function.__name__!r} has no side. Take x, or a matrix rdm.")
    return found


def _mark(hint: Any) -> Input | None:
    marks = getattr(hint, "__metadata__", ())
    return next((one for one in marks if isinstance(one, Input)), None)


def _signature(
    function: Callable[..., Any],
    inputs: Mapping[str, Input],
    hints: dict[str, Any],
    wired: bool,
) -> inspect.Signature:
    """What users call; ``prepare=`` is always there for activations given as bare arrays."""
    given = inspect.signature(function).parameters
    parameters = [
        p.replace(kind=p.POSITIONAL_ONLY) if name in inputs else p
        for name, p in given.items()
        if name != CONTEXT
    ]
    for p in parameters:
        if p.kind is p.KEYWORD_ONLY and p.default is p.empty:
            raise ParameterError(
                f"option {p.name!r} of {function.__name__!r} has no default. Every option of an "
                "operation needs one."
            )
    takes_units = any(isinstance(one, ActivationsInput) for one in inputs.values())
    if not wired and takes_units and "prepare" not in given:
        hints["prepare"] = Prepare
        parameters.append(
            inspect.Parameter("prepare", inspect.Parameter.KEYWORD_ONLY, default=None)
        )
    returned = typing.get_args(hints.get("return")) if wired else (xr.DataArray,)
    return inspect.Signature(parameters, return_annotation=returned[0])


def _shared(
    inputs: Mapping[str, Input], signature: inspect.Signature, hints: Mapping[str, Any]
) -> dict[str, docs.Entry]:
    """Entries of inputs and of options that are documented once for all operations."""
    shared = {name: (one.type, one.text) for name, one in inputs.items()}
    for name in signature.parameters:
        option = option_of(hints.get(name))
        if option is not None and option.common:
            shared[name] = (option.type, option.text)
    return shared


def _parameters(
    signature: inspect.Signature, hints: Mapping[str, Any], doc: str | None
) -> dict[str, Parameter]:
    said = docs.entries(doc)
    return {
        name: derive(name, hints.get(name, str), p.default, said.get(name, ("", ""))[1])
        for name, p in signature.parameters.items()
        if p.kind is p.KEYWORD_ONLY
    }


def _bare(
    function: Callable[..., Any],
    inputs: Mapping[str, Input],
    dims: Dims | None,
    extras: Mapping[str, Dims] | None,
) -> Callable[..., Wiring[Any]]:
    """A function of bare arrays as a declaration; common options stay with the engine."""
    if dims is None:
        takes = any(isinstance(one, FeaturesInput) for one in inputs.values())
        dims = (FEATURE,) if takes else ()
    for dim in dict.fromkeys(dim for one in (dims, *(extras or {}).values()) for dim in one):
        if dim not in LABELLED:
            raise ParameterError(
                f"{function.__name__!r} declares the dimension {dim!r}, of which no input says "
                f"the size. Use one of {list(LABELLED)}, or return a Wiring with coords=."
            )
    hints = _hints(function)
    own = [
        name
        for name, p in inspect.signature(function).parameters.items()
        if p.kind is p.KEYWORD_ONLY and name != CONTEXT and _is_own(hints.get(name))
    ]

    def declared(*_: Any, **options: Any) -> Wiring[Any]:
        kernel = functools.partial(function, **{name: options[name] for name in own})
        return Wiring(kernel, dims=dims, extras=dict(extras or {}))

    return declared


def _is_own(hint: Any) -> bool:
    option = option_of(hint)
    return option is None or not option.common


def _check(operation: Operation) -> None:
    """Wire once with the defaults: each kernel must take what it is given."""
    wiring = operation.plain
    for kernel in (wiring.each, wiring.score, wiring.many):
        if isinstance(kernel, functools.partial):
            try:
                inspect.signature(kernel.func).bind_partial(*kernel.args, **kernel.keywords)
            except TypeError as error:
                raise ParameterError(
                    f"the declaration of {operation.name!r} gives a kernel what it does not take: "
                    f"{error}. Change one of the two."
                ) from None
