"""Docstrings are plain text before they are reStructuredText.

They are read in editors and terminals most of all, so they say ``stimulus_`` and ``|S|`` as they
are. To docutils these are a link and a substitution, neither of which this project has.
"""

from __future__ import annotations

import re

from sphinx.application import Sphinx

LITERAL = re.compile(r"(``.*?``|`.*?`_?)")
MARKUP = re.compile(r"(?<=\w)_(?!\w)|\|")


def escape(lines: list[str]) -> list[str]:
    """The same text, with these marks escaped outside of literals and examples."""
    escaped, inside = [], False
    for line in lines:
        inside = bool(line.strip()) and (inside or line.lstrip().startswith(">>>"))
        parts = [line] if inside else LITERAL.split(line)
        if not inside:
            parts[::2] = [MARKUP.sub(r"\\\g<0>", part) for part in parts[::2]]
        escaped.append("".join(parts))
    return escaped


def mend(
    app: Sphinx, what: str, name: str, value: object, options: object, lines: list[str]
) -> None:
    """Called by autodoc with each docstring."""
    lines[:] = escape(lines)


def setup(app: Sphinx) -> dict[str, bool]:
    """Before numpydoc, which takes the lines apart."""
    app.connect("autodoc-process-docstring", mend, priority=100)
    return {"parallel_read_safe": True}
