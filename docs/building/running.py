"""Code that is run when the pages are built, so that what they show is what it answers.

In a page written in Markdown, every ``>>>`` example and every block that begins with ``$ reptools``
is run in order and shown with the output that it had; where that is not the output written in the
source, the build fails. A figure is shown below its block. A program of ``examples/`` is run by
itself, and shown with what it printed.
"""

from __future__ import annotations

import contextlib
import doctest
import io
import os
import shlex
import subprocess
import sys
import tempfile
import traceback
import warnings
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

from building.pages import GENERATED, ROOT, examples

FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
PROMPT = ">>> "
SHELL = "$ reptools "
log = logging.getLogger(__name__)


class Session:
    """The examples of one page, which share their names."""

    def __init__(self) -> None:
        self.names: dict[str, Any] = {"__name__": "__main__"}
        self.figures: list[Any] = []
        self.checker = doctest.OutputChecker()

    def run(self, example: doctest.Example) -> str:
        """Output of one example; an exception is the output as in a doctest."""
        out = io.StringIO()
        before, sys.displayhook = sys.displayhook, self.show
        try:
            with contextlib.redirect_stdout(out), warnings.catch_warnings():
                warnings.simplefilter("error")
                exec(compile(example.source, "<example>", "single", dont_inherit=True), self.names)
        except Exception as error:
            out.write("Traceback (most recent call last):\n    ...\n")
            out.write("".join(traceback.format_exception_only(error)))
        finally:
            sys.displayhook = before
        return out.getvalue()

    def show(self, value: Any) -> None:
        """Print a value, or keep it where it is a figure."""
        if hasattr(value, "savefig"):
            self.figures.append(value)
        elif value is not None:
            print(repr(value))

    def agrees(self, example: doctest.Example, got: str) -> bool:
        """Whether an example printed what the page says."""
        if example.exc_msg is not None:
            return got.endswith(example.exc_msg)
        return self.checker.check_output(example.want, got, FLAGS)


def run_command(words: str) -> str:
    """What the command ``reptools`` prints, with its failure in the place of a traceback."""
    done = subprocess.run(
        [sys.executable, "-c", "from reptools.cli import main; main()", *shlex.split(words)],
        env={**os.environ, "COLUMNS": "100", "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        check=False,
    )
    return done.stdout + (f"(exit status {done.returncode})\n" if done.returncode else "")


class RunExamples(SphinxTransform):
    """Run the ``>>>`` examples of a page."""

    default_priority = 90  # before pictures are collected

    def apply(self, **_: Any) -> None:
        """Run them in a folder of their own; pages that it holds afterwards are published."""
        if self.env.doc2path(self.env.docname).suffix != ".md":
            return  # examples in docstrings are run by the tests
        kinds = (nodes.literal_block, nodes.comment, nodes.raw)
        blocks = [n for n in self.document.findall(nodes.Node) if isinstance(n, kinds)]
        blocks = [b for b in blocks if PROMPT in b.astext() or b.astext().startswith(SHELL)]
        if not blocks:
            return
        session = Session()
        with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
            for block in blocks:
                self.run(block, session)
            for page in Path().glob("*.html"):
                (Path(self.env.srcdir) / GENERATED / "extra" / page.name).write_bytes(
                    page.read_bytes()
                )

    def run(self, block: nodes.Element, session: Session) -> None:
        """Run one block and put its output in the place of what was written."""
        text = block.astext().removeprefix("<!--").removesuffix("-->")
        if text.startswith(SHELL):
            told, _, want = text.removeprefix(SHELL).partition("\n")
            got = run_command(told)
            self.hold(told, got, want, session.checker.check_output(want, got, FLAGS), block)
            text = f"{SHELL}{told}\n{got}".rstrip()
            block.rawsource, block[:] = text, [nodes.Text(text)]
            return
        shown = []
        for example in doctest.DocTestParser().get_examples(text):
            got = session.run(example)
            self.hold(example.source, got, example.want, session.agrees(example, got), block)
            lines = example.source.rstrip("\n").splitlines()
            shown += [PROMPT + lines[0], *(f"... {line}".rstrip() for line in lines[1:])]
            shown += [got.rstrip("\n")] if got else []
        if not isinstance(block, nodes.literal_block):
            block.parent.remove(block)  # a comment is run and not shown
            return
        code = "\n".join(shown)
        block.rawsource, block[:] = code, [nodes.Text(code)]
        parent = block.parent
        at = parent.index(block) + 1
        for figure in session.figures:
            parent.insert(at, self.picture(figure, code))
            at += 1
        session.figures.clear()

    def hold(self, code: str, got: str, want: str, agrees: bool, block: nodes.Node) -> None:
        """Warn where an example did not print what the page says."""
        if not agrees:
            log.warning("example\n%s\nprinted\n%s\nand not\n%s", code, got, want, location=block)

    def picture(self, figure: Any, code: str) -> nodes.image:
        """A figure as a file beside the pages."""
        folder = Path(self.env.srcdir) / GENERATED / "figures"
        folder.mkdir(exist_ok=True)
        name = f"{self.env.docname.replace('/', '-')}-{len(list(folder.iterdir()))}.svg"
        figure.savefig(folder / name, metadata={"Date": None})
        last = code.rpartition(PROMPT)[2].splitlines()[0]
        return nodes.image(
            uri=f"/{GENERATED}/figures/{name}", alt=f"The figure of {last}", classes=["figure"]
        )


class Programs:
    """The scripts of ``examples/``, which run while the pages are read."""

    def __init__(self) -> None:
        self.started: dict[Path, Future[subprocess.CompletedProcess[str]]] = {}

    def start(self, app: Sphinx | None = None) -> None:
        """Start all of them."""
        pool = ThreadPoolExecutor()
        self.started = {script: pool.submit(run_script, script) for script in examples()}
        pool.shutdown(wait=False)  # no further ones will come

    def result(self, script: Path) -> tuple[int, str, str]:
        """Exit status of a script, and what it printed on stdout and stderr."""
        done = self.started[script].result()
        out, err = (text.replace(f"{ROOT}{os.sep}", "") for text in (done.stdout, done.stderr))
        return done.returncode, out.rstrip(), err.rstrip()


def run_script(script: Path) -> subprocess.CompletedProcess[str]:
    """Run a script without options, in a folder of its own."""
    environment = {**os.environ, "COLUMNS": "100", "PYTHONPATH": str(ROOT)}
    with tempfile.TemporaryDirectory() as folder:
        return subprocess.run(
            [sys.executable, str(script)],
            cwd=folder,
            env=environment,
            capture_output=True,
            encoding="utf-8",
            check=False,
        )


PROGRAMS = Programs()


class Printed(SphinxDirective):
    """``.. printed:: NAME.py``: what an example printed, and its exit status where not 0.

    Status 2 is an example's own way to say that its data are not here; any other fails the build.
    """

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Wait for the script."""
        script = ROOT / "examples" / self.arguments[0]
        self.env.note_dependency(str(script))
        status, out, err = PROGRAMS.result(script)
        if status not in (0, 2):
            log.warning("%s ended with %d:\n%s", script.name, status, err)
        text = f"$ python examples/{script.name}\n{out}".rstrip()
        shown = [nodes.literal_block(text, text, language="text")]
        if status:
            err += f"\n(exit status {status})"
        if err:
            shown.append(nodes.literal_block(err, err, language="text", classes=["wrapped"]))
        return shown


def setup(app: Sphinx) -> dict[str, bool]:
    """Make both known."""
    app.add_transform(RunExamples)
    app.add_directive("printed", Printed)
    app.connect("builder-inited", PROGRAMS.start)
    return {"parallel_read_safe": False}
