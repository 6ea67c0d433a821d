"""The one text about inputs and options: numpydoc entries read, completed and handed out.

An operation documents its own options; what several share (inputs, ``cv``, ``prepare`` ...) is
written once, beside its annotation, and inserted into each docstring at import. The same entries
are the help of the command line.
"""

from __future__ import annotations

import inspect
import itertools
import re
import textwrap
from collections.abc import Mapping

from reptools.errors import ParameterError

WIDTH = 92
_SECTION = re.compile(r"^(\w[\w ]*)\n-{3,}\n", re.MULTILINE)
Entry = tuple[str, str]  # type and paragraph


def entries(doc: str | None) -> dict[str, Entry]:
    r"""Name to (type, paragraph) of the section Parameters of a numpydoc docstring.

    Examples
    --------
    >>> entries("Sum.\n\nParameters\n----------\na, b : int\n    What is\n    added.\n")
    {'a': ('int', 'What is added.'), 'b': ('int', 'What is added.')}
    """
    found: dict[str, Entry] = {}
    for block in _blocks(_sections(inspect.cleandoc(doc or "")).get("Parameters", "")):
        head, _, body = block.partition("\n")
        names, _, kind = head.partition(" : ")
        text = _one_line(textwrap.dedent(body))
        found |= {name.strip(): (kind.strip(), text) for name in names.split(",")}
    return found


def completed(
    name: str, doc: str | None, signature: inspect.Signature, shared: Mapping[str, Entry]
) -> str | None:
    """The docstring with an entry for every parameter, in the order of the signature.

    Parameters
    ----------
    name, doc, signature
        Of the function; ``doc`` is None where Python was told to strip docstrings.
    shared : mapping of str to (type, paragraph)
        Entries of the parameters that the docstring leaves out.

    Raises
    ------
    ParameterError
        A parameter is documented nowhere, or an entry is of none.
    """
    if doc is None:
        return None
    doc = inspect.cleandoc(doc)
    own: dict[str, str] = {}
    for block in _blocks(_sections(doc).get("Parameters", "")):
        names = [one.strip() for one in block.partition("\n")[0].partition(" : ")[0].split(",")]
        own |= dict.fromkeys(names, block)
    if stale := [one for one in own if one not in signature.parameters]:
        raise ParameterError(f"the docstring of {name!r} documents {stale}, which it lacks.")
    ordered: dict[str, None] = {}  # an entry of several names stands once
    alike: dict[Entry, list[str]] = {}  # inputs of one kind
    for parameter in signature.parameters.values():
        if parameter.name not in own and parameter.name not in shared:
            raise ParameterError(
                f"the docstring of {name!r} says nothing of {parameter.name!r}. Document it under "
                "Parameters."
            )
        if parameter.default is parameter.empty and parameter.name not in own:
            alike.setdefault(shared[parameter.name], []).append(parameter.name)
    for parameter in signature.parameters.values():
        if parameter.name in own:
            ordered[own[parameter.name]] = None
        else:
            entry = shared[parameter.name]
            ordered[_entry(parameter, ", ".join(alike.get(entry, [parameter.name])), *entry)] = None
    body = "\n".join(ordered)
    head, _, tail = _around_parameters(doc)
    return f"{head}\n\nParameters\n----------\n{body}\n{tail}" if ordered else doc


def _entry(parameter: inspect.Parameter, names: str, kind: str, text: str) -> str:
    default = f", default {parameter.default!r}" if parameter.default is not parameter.empty else ""
    body = textwrap.fill(text, WIDTH, initial_indent="    ", subsequent_indent="    ")
    return f"{names} : {kind}{default}\n{body}"


def _around_parameters(doc: str) -> tuple[str, str, str]:
    """What stands before the section Parameters, in it, and after it."""
    starts = list(_SECTION.finditer(doc))
    for here, after in itertools.zip_longest(starts, starts[1:]):
        if here[1] == "Parameters":
            end = len(doc) if after is None else after.start()
            return doc[: here.start()].rstrip(), doc[here.end() : end], f"\n{doc[end:]}"
    first = starts[0].start() if starts else len(doc)
    return doc[:first].rstrip(), "", f"\n{doc[first:]}"


def _sections(doc: str) -> dict[str, str]:
    parts = _SECTION.split(doc)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def _blocks(section: str) -> list[str]:
    """One block a parameter: its line and its indented paragraph."""
    found = re.split(r"\n(?=\S)", section.strip("\n"))
    return [block.rstrip() for block in found if block.strip()]


def _one_line(text: str) -> str:
    return " ".join(text.split())
