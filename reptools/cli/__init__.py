"""The command line: ``reptools info|validate|metrics|compute|variance|probe|compare|report``.

Commands are plain functions of text (``describing``, ``computing``); ``words`` says what their
arguments mean and ``app`` hands both to typer, which no other room imports.
"""

from __future__ import annotations


def main() -> None:
    """Run the command line; the entry point ``reptools``."""
    from reptools.cli.app import run

    run()
