"""An operation's options, read from its signature: default, allowed values, a parser for text.

Python callers pass values, the command line passes text; both meet the same check, so an option
means one thing everywhere. Annotations say what is allowed: ``Literal["a", "b"]``, ``int``,
``float``, ``bool``, ``str``, each with ``| None``, ``Annotated[int, Range(1)]`` for bounds, and
``Annotated[..., Option(...)]`` for what needs a check of its own.
"""

from __future__ import annotations

import difflib
import math
import numbers
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from reptools.errors import ParameterError


@dataclass(frozen=True)
class Range:
    """Closed bounds of a number, for use in ``Annotated``."""

    low: float = -math.inf
    high: float = math.inf


@dataclass(frozen=True)
class Option:
    """A kind of option with a check of its own, for use in ``Annotated``.

    Attributes
    ----------
    allowed : str
        The values in words, for ``--help`` and messages.
    check : callable
        (name, value) to the value in its canonical form; raises ParameterError.
    parse : callable
        Command-line text to a value, which is then checked.
    type, text : str
        Type and paragraph of the docstring, where several operations share the option; empty where
        each documents it.
    """

    allowed: str
    check: Callable[[str, Any], Any]
    parse: Callable[[str], Any] = str
    type: str = ""
    text: str = ""

    @property
    def common(self) -> bool:
        """Whether it is documented here, once for all operations that have it."""
        return bool(self.text)


@dataclass(frozen=True)
class Parameter:
    """One option of an operation.

    Attributes
    ----------
    name, default
        As in the signature.
    description : str
        The allowed values in words.
    check, parse : callable
        See :class:`Option`; ``check`` takes the value alone.
    text : str
        What the docstring says of it, as one line; empty where it has none.
    common : bool
        Whether the engine uses it, and no kernel.
    """

    name: str
    default: Any
    description: str
    check: Callable[[Any], Any]
    parse: Callable[[str], Any]
    text: str = ""
    common: bool = False


def derive(name: str, hint: Any, default: Any, text: str = "") -> Parameter:
    """A parameter from its annotation; an annotation that cannot be checked is refused."""
    option = option_of(hint)
    if option is not None:
        return Parameter(
            name,
            default,
            option.allowed,
            lambda value: option.check(name, value),
            option.parse,
            option.text or text,
            option.common,
        )
    plain = _derive(name, hint, default)
    return replace(plain, text=text)


def option_of(hint: Any) -> Option | None:
    """The :class:`Option` of an annotation."""
    extras = getattr(hint, "__metadata__", ())
    return next((one for one in extras if isinstance(one, Option)), None)


def bind(
    parameters: Mapping[str, Parameter], options: Mapping[str, Any], *, text: bool = False
) -> dict[str, Any]:
    """The given options, every value checked.

    Raises
    ------
    ParameterError
        An option is unknown (the closest name is suggested) or its value is not allowed.
    """
    for name in options:
        if name not in parameters:
            close = difflib.get_close_matches(name, parameters, n=1)
            hint = f"Did you mean {close[0]!r}?" if close else f"It takes {', '.join(parameters)}."
            raise ParameterError(f"there is no option {name!r}. {hint}")
    bound = {}
    for name, value in options.items():
        parameter = parameters[name]
        bound[name] = parameter.check(parameter.parse(value) if text else value)
    return bound


def _derive(name: str, hint: Any, default: Any) -> Parameter:
    """A parameter from its annotation; an annotation that cannot be checked is refused."""
    members = [hint]
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        members = [member for member in typing.get_args(hint) if member is not type(None)]
    if len(members) != 1:
        raise ParameterError(f"option {name!r} has the annotation {hint}. Use one type.")
    optional = members[0] is not hint
    hint = members[0]
    bounds = Range()
    if typing.get_origin(hint) is typing.Annotated:
        hint, *extra = typing.get_args(hint)
        bounds = next((item for item in extra if isinstance(item, Range)), bounds)
    choices = typing.get_args(hint) if typing.get_origin(hint) is Literal else None
    if choices is None and hint not in (int, float, bool, str):
        raise ParameterError(
            f"option {name!r} has the annotation {hint}. Use Literal, int, float, bool or str."
        )
    words = _describe(hint, choices, bounds) + (" or none" if optional else "")

    def check(value: Any) -> Any:
        if value is None and optional:
            return None
        return _checked(name, value, hint, choices, bounds, words)

    def parse(text: str) -> Any:
        if optional and text.lower() == "none":
            return None
        return _parsed(name, text, hint, choices, words)

    return Parameter(name, default, words, check, parse)


def _describe(hint: Any, choices: tuple[Any, ...] | None, bounds: Range) -> str:
    if choices is not None:
        return "|".join(str(choice) for choice in choices)
    limits = []
    if bounds.low > -math.inf:
        limits.append(f"at least {bounds.low:g}")
    if bounds.high < math.inf:
        limits.append(f"at most {bounds.high:g}")
    return " ".join([hint.__name__, " and ".join(limits)]).strip()


def _checked(
    name: str, value: Any, hint: Any, choices: tuple[Any, ...] | None, bounds: Range, words: str
) -> Any:
    refusal = ParameterError(f"{name} must be {words}, got {value!r}. Pass one of these.")
    value = str(value) if isinstance(value, str) else value  # numpy has text of its own
    if choices is not None:
        if not any(type(value) is type(choice) and value == choice for choice in choices):
            raise refusal
        return value
    if hint in (int, float):
        if isinstance(value, bool) or not isinstance(value, numbers.Real):
            raise refusal
        # a float has too few digits for a large whole number, such as a seed
        number = int(value) if isinstance(value, numbers.Integral) else float(value)
        whole = isinstance(number, int) or number.is_integer()
        if not bounds.low <= number <= bounds.high or (hint is int and not whole):
            raise refusal
        return hint(number)
    if not isinstance(value, hint):
        raise refusal
    return value


def _parsed(name: str, text: str, hint: Any, choices: tuple[Any, ...] | None, words: str) -> Any:
    if choices is not None:
        return next((choice for choice in choices if str(choice) == text), text)
    if hint is bool:
        known = {"true": True, "yes": True, "false": False, "no": False}
        return known.get(text.lower(), text)
    try:
        return hint(text)
    except ValueError:
        raise ParameterError(f"{name} must be {words}, got {text!r}. Pass one of these.") from None
