"""Settings as text: how an option is read and described, from the dataclass it belongs to."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, get_args, get_origin

from reptools.errors import ParameterError


@dataclass(frozen=True)
class Text:
    """How a setting is written on the command line."""

    metavar: str
    read: Callable[[str], Any]  # raises ValueError
    words: str
    repeated: bool = False  # NAME=VALUE, once for each feature


_FLAGS = {"true": True, "false": False}
_PLAIN = {
    int: Text("N", int, "a whole number"),
    float: Text("X", float, "a number"),
    bool: Text("true|false", lambda text: _FLAGS[text.lower()], "true or false"),
    str: Text("WORD", str, "a word"),
}
RULE = Text("NAME=RULE", str, "a rule", repeated=True)


def text_of(hint: Any) -> Text:
    """How a setting of a type is written: a number, a word, a list or a table of them."""
    if get_origin(hint) is Mapping:
        value = text_of(get_args(hint)[1])
        return replace(value, metavar=f"NAME={value.metavar}", repeated=True)
    if get_origin(hint) is tuple:
        item = text_of(get_args(hint)[0])
        return Text(
            f"{item.metavar},...",
            lambda text: tuple(item.read(part.strip()) for part in text.split(",") if part.strip()),
            f"{item.words}, or several separated by commas",
        )
    return _PLAIN[hint]


def described(docstring: str) -> dict[str, str]:
    """Parameter -> its description, of a numpydoc docstring."""
    section = docstring.partition("\nParameters\n")[2].partition("\n\nRaises\n")[0]
    found: dict[str, list[str]] = {}
    names: list[str] = []
    for line in section.splitlines()[1:]:  # below the rule
        if line.startswith(" "):
            for name in names:
                found[name].append(line)
        elif line:
            names = line.split(", ")
            found |= {name: [] for name in names}
    return {name: prose("\n".join(lines)) for name, lines in found.items()}


def prose(text: str) -> str:
    """Take the mark-up out of a docstring."""
    text = re.sub(r":\w+:`~?(?:\w+\.)*(\w+)`", r"\1", text)
    return " ".join(text.replace("`", "").split())


def read(option: str, written: Text, text: str | Sequence[str]) -> Any:
    """Read the text of an option, or all texts of a repeated one."""
    if written.repeated:
        return read_table(option, written, text)
    try:
        return written.read(str(text))
    except (ValueError, KeyError):
        raise ParameterError(f"prepare: --{option} is {text!r}. Write {written.words}.") from None


def read_table(option: str, written: Text, texts: Sequence[str]) -> dict[str, Any]:
    """Read NAME=VALUE texts, each name once."""
    table: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals) or name in table:
            raise ParameterError(
                f"prepare: --{option} is {text!r}. Write {written.metavar}, each name once."
            )
        table[name] = read(f"{option} {name}", replace(written, repeated=False), value)
    return table
