"""Values of an operation's options, wrong and right, read off the annotations of its signature.

The parser of options is what is under test, so it is not asked what it allows.
"""

from __future__ import annotations

import inspect
import math
import types
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np
import xarray as xr
from sklearn.model_selection import KFold

from reptools.engine.inputs import RdmInput
from reptools.engine.operation import Operation
from reptools.engine.options import Range, option_of

Options = dict[str, Any]


@dataclass(frozen=True)
class Allowed:
    """What an annotation allows."""

    kind: Any
    choices: tuple[Any, ...]
    range: Range
    optional: bool


def annotated(operation: Operation) -> dict[str, Allowed]:
    """The options whose values their plain annotations say."""
    function = operation.public.__wrapped__
    hints = get_type_hints(function, include_extras=True)
    return {
        name: _allowed(hints[name])
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY
        and name != "context"
        and option_of(hints[name]) is None
    }


def _allowed(hint: Any) -> Allowed:
    members = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    (kind,) = (member for member in members if member is not types.NoneType)
    bounds = Range()
    if get_origin(kind) is Annotated:
        kind, bounds = get_args(kind)
    choices = get_args(kind) if get_origin(kind) is Literal else ()
    return Allowed(Literal if choices else kind, choices, bounds, types.NoneType in members)


# --- wrong --------------------------------------------------------------------------------------

WRONG_TYPE: dict[Any, tuple[Any, ...]] = {
    Literal: ("no such word", 7),
    bool: ("yes", 1),
    int: (2.5, "3", True, math.nan, math.inf),
    float: ("0.5", True, math.nan),
    str: (7,),
}
WRONG_SPECIAL = {
    "cv": (1, -3, 2.5, True, "halves", "5", 10_000),
    "groups": (7, "no_such_coordinate"),
    "seed": WRONG_TYPE[int],
    "prepare": ("whiten", "drop_top:0", "drop_top", 7),
    "feature": (7, ["no_such_feature"], []),
    "agree": (7, ["no_such_feature"]),
    "doses": ("a", [], [-1.0], [1.0, 1.0], math.nan),
    "k": ("a", [], [-1], [1, 1], 1.5, 99),
    "C": ("a", [], [-1.0], 0, [1.0, 1.0]),
    "hold_out": (7, "easy", {"easy": 9, "hard": 0}),
    "method": ("no such word", 7),
}


def wrong(operation: Operation) -> Iterator[tuple[str, Any]]:
    """Every option with values of another type, outside its range, or that no list names."""
    own = annotated(operation)
    for name, allowed in own.items():
        yield from ((name, value) for value in WRONG_TYPE[allowed.kind])
        if not allowed.optional:
            yield name, None
        step = 1 if allowed.kind is int else 1e-3
        if allowed.range.low > -math.inf:
            below = allowed.range.low - step
            yield name, allowed.kind(below)
        if allowed.range.high < math.inf:
            yield name, allowed.kind(allowed.range.high + step)
    for name in set(operation.parameters) - set(own):
        yield from ((name, value) for value in WRONG_SPECIAL[name])


def coordinates(operation: Operation) -> list[str]:
    """The options that name a coordinate over stimuli."""
    return [name for name, allowed in annotated(operation).items() if allowed.kind is str]


# --- right --------------------------------------------------------------------------------------

RIGHT_SPECIAL = {
    "cv": (3, None, "split", KFold(4)),
    "groups": ("story",),
    "seed": (1,),
    "prepare": ("zscore", "unit_norm", "drop_top:1"),
    "feature": ("easy", ["easy", "hard"]),
    "agree": (["hard", "easy"],),
    "doses": ([0.5, 1.0], 0.3),
    "k": (2, [0, 3]),
    "C": (0.1, [0.1, 1.0]),
    "hold_out": ({"easy": 0, "hard": 1},),
}


def right(operation: Operation) -> Iterator[tuple[str, Any]]:
    """Every option with values that differ from its default; all of them where they are listed."""
    own = annotated(operation)
    for name, parameter in operation.parameters.items():
        if name == "method" and name not in own:  # words, and in Python estimators
            values = tuple(parameter.description.partition(",")[0].split("|"))
        elif name not in own:
            values = RIGHT_SPECIAL[name]
        elif own[name].kind is Literal:
            values = own[name].choices
        elif own[name].kind is bool:
            values = (True, False)
        elif (operation.name, name) == ("principal_components", "n_components"):
            values = (3,)  # its default is more than there are
        elif own[name].kind is int:
            low = max(own[name].range.low, 3.0)
            values = (int(low if parameter.default is None else parameter.default + 2),)
        elif own[name].kind is float:
            values = (parameter.default / 2,)
        else:
            continue  # names of coordinates are tested with their metric
        yield from ((name, v) for v in values if v != parameter.default)


def company(
    operation: Operation, name: str, value: Any, args: tuple[Any, ...]
) -> tuple[Any, Options]:
    """The inputs and other options without which a value would be refused or change nothing."""
    x, *rest = args
    n = x.sizes["stimulus"]
    x = x.assign_coords(story=("stimulus", np.arange(n) // 2))
    more: Options = {}
    match name, value:
        case "C", _ if operation.name == "mdl_probe":
            more["regularization"] = "fixed"
        case "bandwidth", _:
            more["kernel"] = "rbf"
        case "batch_seed", _:
            more["batch"] = 8
        case "estimator", "omega_squared":
            more["cv"] = None
        case "n_components", _ if "method" in operation.parameters:
            more["method"] = "pls"
        case (("groups" | "seed"), _) if operation.name == "procrustes":
            more["cv"] = 5
        case "method", ("lda" | "mean_difference") if operation.name != "ccgp":
            rest[-1] = rest[-1].drop_vars("shade")
        case _, "rho_a":  # differs from spearman where there are ties
            x = (x / 10).round() if operation.takes(RdmInput) else x.round()
            more |= {"rdm": "euclidean"} if operation.name == "rsa" else {}
        case "nonnegative", True:  # one model that deserves a negative weight
            rest[0] = _against(rest[0])
        case "fit", "weighted":  # likewise: weights may be negative
            rest[0] = _against(rest[0])
        case "negative", "refuse":
            x = abs(x)
        case "denominator", "final":
            x = xr.concat([x, x * 2 + _noise(x)], dim="step")
        case (("ceiling" | "min_reliability"), _):
            y = rest[0]
            y = xr.concat([y, y + np.linspace(0.1, 4, y.sizes["unit"]) * _noise(y)], "repetition")
            more["ceiling"] = "reliability"
            value = 0.9 if name == "min_reliability" else value
            rest[0] = y
        case (("noise" | "noise_scope" | "method"), _) if operation.name == "rdm" and value not in (
            "euclidean",
            "sqeuclidean",
            "cosine",
        ):
            trial = np.arange(n)
            x = x.assign_coords(kind=("stimulus", trial % 5), run=("stimulus", trial // 5 % 4))
            more = {"method": "crossnobis", "condition": "kind"}
    return (x, *rest), {**more, name: value}


def _against(models: xr.DataArray) -> xr.DataArray:
    """Models of which the first says the opposite of what it did."""
    against = models[:1].max() - models[:1]
    against = against * (against.stimulus != against.stimulus_).values
    return xr.concat([against, models[1:]], dim="model")


def _noise(data: xr.DataArray) -> np.ndarray:
    return np.random.default_rng(4).normal(size=data.shape)


def may_change_nothing(operation: Operation, name: str, value: Any) -> bool:
    """Values that equal the default on these inputs, each with a test that tells them apart."""
    if operation.name == "flexible_rsa_weights" and name == "compare":
        return True  # comparators without a geometry of their own are fitted alike
    return name == "prepare" or (name, str(value)) in {
        ("noise", "shrinkage_diag"),  # the default of crossnobis by its name
        ("noise_scope", "pooled"),  # likewise
        ("negative", "refuse"),  # what is not refused stays as it is
        ("feature", "['easy', 'hard']"),  # all that there are
    }
