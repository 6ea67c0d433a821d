"""Names in backticks that the reference knows are links, in pages written in Markdown."""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform

from building.pages import documented

NAME = re.compile(r"(?:(?:rt|reptools)\.)?([\w.]+?)(?:\(.*\))?")


def meanings() -> dict[str, str]:
    """Word to the dotted name that it means: of the face, else of the one module that has it."""
    known = documented()
    words = {path.removeprefix("reptools."): path for path in known}
    last = [path.rpartition(".")[2] for path in known]
    unique = {word: path for word, path in zip(last, known, strict=True) if last.count(word) == 1}
    return {**unique, **words}


def within_link_or_heading(node: nodes.Node) -> bool:
    """Whether a node is part of a link already, or of a heading."""
    while node.parent is not None and not isinstance(node, nodes.reference | nodes.title):
        node = node.parent
    return isinstance(node, nodes.reference | nodes.title)


class LinkNames(SphinxTransform):
    """`rsa`, `rt.rsa` and `rt.rsa(x, y)` all lead to the page of ``reptools.rsa``."""

    default_priority = 95

    def apply(self, **_: Any) -> None:
        """Wrap each such literal in a reference."""
        if self.env.doc2path(self.env.docname).suffix != ".md":
            return
        words = meanings()
        for literal in list(self.document.findall(nodes.literal)):
            match = NAME.fullmatch(literal.astext())
            if match is None or match[1] not in words or within_link_or_heading(literal):
                continue
            link = pending_xref(
                "",
                refdomain="py",
                reftype="obj",
                reftarget=words[match[1]],
                refdoc=self.env.docname,
                refexplicit=True,
                refwarn=True,
            )
            literal.replace_self(link)
            link += literal


def setup(app: Sphinx) -> dict[str, bool]:
    """Make it known."""
    app.add_transform(LinkNames)
    return {"parallel_read_safe": True}
