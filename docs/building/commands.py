"""Pages of the command line, from the command tree itself: every command's ``--help``."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

COLUMNS = 88


@functools.cache
def tree() -> Any:
    """The command tree of ``reptools``."""
    import typer

    from reptools.cli.app import build_app

    return typer.main.get_command(build_app())


def walk(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command below one, with the words that call it; a group comes before its own."""
    for name, inner in command.commands.items():
        yield (*path, name), inner
        if hasattr(inner, "commands"):
            yield from walk(inner, (*path, name))


def help_of(command: Any, path: tuple[str, ...]) -> str:
    """What ``reptools PATH --help`` prints."""
    words = " ".join(("reptools", *path))
    options = {"terminal_width": COLUMNS, "max_content_width": COLUMNS}
    with command.make_context(words, ["--help"], resilient_parsing=True, **options) as context:
        return str(command.get_help(context)).strip()


def label(path: tuple[str, ...]) -> str:
    """Where a command is described."""
    return "-".join(("commands", *path)).replace("_", "-")


def pages() -> Iterator[tuple[str, str]]:
    """One page for ``reptools``, one for each group of commands in it."""
    root = tree()
    groups = {path: inner for path, inner in walk(root) if hasattr(inner, "commands")}
    yield "commands", page((), root, groups)
    for path, group in groups.items():
        yield f"commands/{'-'.join(path)}", page(path, group, {})


def page(path: tuple[str, ...], group: Any, groups: dict[tuple[str, ...], Any]) -> str:
    """A group's help, then that of each of its commands."""
    heading = " ".join(("reptools", *path)) if path else "Command line"
    text = section(path, heading, "=", help_of(group, path))
    for name, command in group.commands.items():
        inner = (*path, name)
        words = " ".join(("reptools", *inner))
        if inner in groups:
            text += f"{words}\n{'-' * len(words)}\n\n{command.help.strip()}\n\n"
            text += f"Its commands are on :ref:`a page of their own <{label(inner)}>`.\n\n"
            continue
        text += section(inner, words, "-", help_of(command, inner))
    if groups:
        entries = "".join(f"   commands/{'-'.join(inner)}\n" for inner in groups)
        text += f".. toctree::\n   :hidden:\n\n{entries}\n"
    return text


def section(path: tuple[str, ...], heading: str, mark: str, body: str) -> str:
    """A labelled heading over a literal block."""
    lines = "\n".join(f"   {line}".rstrip() for line in body.splitlines())
    return (
        f".. _{label(path)}:\n\n{heading}\n{mark * len(heading)}\n\n"
        f".. code-block:: text\n\n{lines}\n\n"
    )
