"""Options that interventions have: names of features, and numbers to try."""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Any, TypeAlias

import numpy as np

from reptools.engine.options import Option
from reptools.errors import FeatureError, ParameterError, some
from reptools.statistics.features.design import Feature

Values = np.ndarray[Any, Any]


def _check_names(name: str, value: Any) -> tuple[str, ...] | None:
    if value is None:
        return None
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, Sequence) or not all(isinstance(one, str) for one in names):
        raise ParameterError(
            f"{name} must name features, got {value!r}. Pass one or several names."
        )
    return tuple(names)


def _parse_names(text: str) -> list[str] | None:
    return None if text.lower() == "none" else [one.strip() for one in text.split(",")]


def parse_numbers(text: str) -> Any:
    """Numbers joined by commas; what is none stays text, for the check to refuse."""
    if text.lower() == "none":
        return None
    try:
        return [float(one) if not one.strip().isdecimal() else int(one) for one in text.split(",")]
    except ValueError:
        return text


Names: TypeAlias = Annotated[
    str | Sequence[str] | None,
    Option("names of features, joined by commas, or none", _check_names, _parse_names),
]


def numbers_of(
    name: str, given: Any, *, whole: bool = False, low: float = 0.0, above: bool = False
) -> tuple[Any, ...]:
    """One number or several different ones, in ascending order.

    Raises
    ------
    ParameterError
        There is none, one is no number (no whole one), too low, or given twice.
    """
    single = isinstance(given, numbers.Real) and not isinstance(given, bool)
    values: list[Any] = [given] if single else list(given) if np.iterable(given) else []
    kind = numbers.Integral if whole else numbers.Real
    limit = f"{'above' if above else 'at least'} {low:g}"
    wanted = f"{'whole ' if whole else ''}numbers of {limit}"
    if not values or isinstance(given, str):
        raise ParameterError(f"{name} is {given!r} and must be {wanted}. Pass one or several.")
    for value in values:
        right = isinstance(value, kind) and not isinstance(value, (bool, np.bool_))
        if not right or not math.isfinite(value) or value < low or (above and value == low):
            raise ParameterError(f"{name} holds {value!r} and must hold {wanted}. Change it.")
    found = sorted(int(value) if whole else float(value) for value in values)
    repeated = [a for a, b in pairwise(found) if a == b]
    if repeated:
        raise ParameterError(f"{name} holds {repeated[0]!r} twice. Name each number once.")
    return tuple(found)


def picked(
    features: Sequence[Feature], names: Sequence[str] | None, argument: str = "feature"
) -> list[Feature]:
    """Features by name; all of them where none is named.

    Raises
    ------
    FeatureError
        A name is not among them.
    """
    if names is None:
        return list(features)
    known = {one.name: one for one in features}
    if not names or any(name not in known for name in names):
        said = list(names) if len(names) != 1 else names[0]
        raise FeatureError(
            f"{argument} is {said!r}, and features holds {some(known)}. Name one of these."
        )
    return [known[name] for name in names]


def unit_norm(vector: Values) -> tuple[Values, float]:
    """A direction and its length, at any scale."""
    largest = float(np.abs(vector).max())
    if largest == 0.0:
        return vector, 0.0
    inside = vector / largest
    length = float(np.sqrt((inside**2).sum()))
    return inside / length, length * largest
