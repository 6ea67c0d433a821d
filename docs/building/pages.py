"""Reference pages, written at every build from what ``import reptools`` gives.

No list of names is kept here: the face is ``reptools.__all__``, metrics come from the registry and
are grouped by the questions of README.md, commands come from the command tree, examples from their
folder. Whatever is added to the package has a page by itself.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from sphinx.application import Sphinx
from sphinx.util import logging, rst

import reptools as rt
from building import commands

ROOT = Path(__file__).resolve().parents[2]
GENERATED = "generated"
ROOMS = ("plots", "report")  # public, and imported by name only
REST = "And besides"

log = logging.getLogger(__name__)


# ---------------------------------------------------------------------- what there is


def face() -> dict[str, Any]:
    """Every public name of ``reptools`` but its version, and the public rooms beside it.

    A function that ``__all__`` leaves out, lest it replaces a builtin, is known to ``dir``.
    """
    beside = [name for name in dir(rt) if not inspect.ismodule(getattr(rt, name))]
    public = {*rt.__all__, *beside}
    names = {name: getattr(rt, name) for name in public if not name.startswith("_")}
    rooms = {name: importlib.import_module(f"reptools.{name}") for name in {*ROOMS} - public}
    return dict(sorted((names | rooms).items(), key=lambda item: item[0].lower()))


def members(module: ModuleType) -> dict[str, Any]:
    """Public members of a module: those it lists, else the classes that it defines."""
    listed = getattr(module, "__all__", None)
    if listed is not None:
        return {name: getattr(module, name) for name in listed}
    return {
        name: value
        for name, value in vars(module).items()
        if inspect.isclass(value) and value.__module__ == module.__name__
    }


def documented() -> dict[str, Any]:
    """Dotted name of everything that has an entry, with the object."""
    found: dict[str, Any] = {}
    for name, value in face().items():
        if inspect.ismodule(value):
            found |= {f"reptools.{name}.{key}": item for key, item in members(value).items()}
        else:
            found[f"reptools.{name}"] = value
    return found


def types() -> dict[str, str]:
    """Classes that may stand as a type in a docstring, with what they link to."""
    return {
        path.rpartition(".")[2]: path
        for path, value in documented().items()
        if inspect.isclass(value)
    }


def questions() -> dict[str, list[str]]:
    """Question to names, from README's table of metrics."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = text.partition("\n### Metrics\n")[2].partition("\n### ")[0]
    rows = re.findall(r"^\| (.+?) \| (`.+) \|$", section, re.MULTILINE)
    return {question: re.findall(r"`(\w+)`", names) for question, names in rows}


def metrics() -> dict[str, dict[str, str]]:
    """Metrics of the face, each with its row of :func:`reptools.list_metrics`."""
    rows = {row["name"]: row for row in rt.list_metrics().rows()}
    for name in sorted(rows.keys() - set(rt.__all__)):
        log.warning("metric %r is registered and not in reptools.__all__", name)
    return {name: row for name, row in rows.items() if name in rt.__all__}


def by_question(known: Iterable[str]) -> dict[str, list[str]]:
    """Question to names; metrics that README does not name come last."""
    grouped = questions()
    named = {name for names in grouped.values() for name in names}
    for name in sorted(named - set(rt.__all__)):
        log.warning("README.md names %r in its table of metrics, which there is not", name)
    left = [name for name in known if name not in named]
    return grouped | ({REST: left} if left else {})


def summary(value: Any) -> str:
    """First line of a docstring."""
    return (inspect.getdoc(value) or "").partition("\n")[0]


def prose(value: Any) -> str:
    """A docstring without its tables, which pages have of their own."""
    parts = (inspect.getdoc(value) or "").split("\n\n")
    return "\n\n".join(part for part in parts if not part.startswith("==="))


# ---------------------------------------------------------------------- how it is written


def title(text: str, mark: str = "=") -> str:
    """A heading."""
    return f"{text}\n{mark * len(text)}\n\n"


def listing(names: Mapping[str, str], header: tuple[str, str] | None = None) -> str:
    """A table of two columns: a link or word, and what it is."""
    rows = [header] if header else []
    rows += list(names.items())
    body = "".join(f"   * - {left}\n     - {right}\n" for left, right in rows)
    options = f"   :header-rows: {int(header is not None)}\n   :widths: 30 70\n   :width: 100%\n"
    return f".. list-table::\n   :class: listing\n{options}\n{body}\n"


def links(paths: Iterable[str]) -> str:
    """A table of documented names with their summaries."""
    known = documented()
    return listing({f":py:obj:`{p.rpartition('.')[2]} <{p}>`": summary(known[p]) for p in paths})


def contents(entries: Iterable[str]) -> str:
    """A hidden table of contents, which the side bar shows."""
    lines = "".join(f"   {entry}\n" for entry in entries)
    return f".. toctree::\n   :hidden:\n\n{lines}\n"


def entry(path: str, value: Any) -> str:
    """The directive that documents one object, and its command where it has one."""
    return directive(path, value) + command(path.rpartition(".")[2])


def command(name: str) -> str:
    """Where the command of an operation is described; nothing where there is none."""
    if ("compute", name) not in dict(commands.walk(commands.tree())):
        return ""
    label = commands.label(("compute", name))
    return f"On the command line: :ref:`reptools compute {name} <{label}>`.\n\n"


def directive(path: str, value: Any) -> str:
    """The directive that documents one object."""
    if not inspect.isclass(value):
        return f".. autofunction:: {path}\n\n"
    if issubclass(value, BaseException):
        return f".. autoexception:: {path}\n   :show-inheritance:\n\n"
    return f".. autoclass:: {path}\n   :members:\n\n"


def properties(row: Mapping[str, str]) -> str:
    """What a metric declares."""
    told = {key: value for key, value in row.items() if key not in ("name", "summary")}
    shown = {key: rst.escape(value) for key, value in told.items()}
    return ".. rubric:: Declared\n\n" + listing(shown)


# ---------------------------------------------------------------------- the pages


def of_metrics() -> Iterator[tuple[str, str]]:
    """A page for each metric, and one that lists them by question."""
    known = metrics()
    for name, row in known.items():
        body = entry(f"reptools.{name}", getattr(rt, name)) + properties(row)
        yield f"metrics/{name}", title(name) + body
    text = title("Metrics") + ".. py:currentmodule:: reptools\n\n"
    text += (
        "Each is a function of ``reptools``; :ref:`reptools compute <commands-compute>` is the "
        "same on the command line.\n\n"
    )
    for question, names in by_question(known).items():
        text += title(question, "-") + links(f"reptools.{name}" for name in names)
    text += contents(f"{name} <metrics/{name}>" for name in sorted(known))
    yield "metrics", text


def of_modules() -> Iterator[tuple[str, str]]:
    """A page for each public module, with a page for each of its members."""
    for name, module in face().items():
        if not inspect.ismodule(module):
            continue
        inside = {f"reptools.{name}.{key}": value for key, value in members(module).items()}
        text = title(f"reptools.{name}") + f".. py:module:: reptools.{name}\n\n"
        text += prose(module) + "\n\n"
        if all(inspect.isclass(v) and issubclass(v, BaseException) for v in inside.values()):
            yield f"modules/{name}", text + "".join(directive(*item) for item in inside.items())
            continue
        entries = []
        for path, value in inside.items():
            word = path.rpartition(".")[2]
            # names that differ by a capital are one file to some systems
            place = f"modules/{name}/{word}{'-class' if inspect.isclass(value) else ''}"
            yield place, title(word) + entry(path, value)
            entries.append(f"{word} <{place.removeprefix('modules/')}>")
        yield f"modules/{name}", text + links(inside) + contents(entries)


def of_face() -> Iterator[tuple[str, str]]:
    """Functions and classes of ``reptools`` that are no metrics, and the list of all names."""
    names, known = face(), metrics()
    modules = [name for name, value in names.items() if inspect.ismodule(value)]
    plain = [name for name in names if name not in known and name not in modules]
    for name in plain:
        yield f"functions/{name}", title(name) + entry(f"reptools.{name}", names[name])
    text = title("reptools") + ".. py:module:: reptools\n\n" + prose(rt) + "\n\n"
    text += title("Functions and classes", "-") + links(f"reptools.{name}" for name in plain)
    text += title("Modules", "-")
    text += listing({f":doc:`modules/{name}`": summary(names[name]) for name in modules})
    text += title("Metrics", "-") + "See :doc:`metrics`, by question: "
    text += ", ".join(f":py:obj:`{name} <reptools.{name}>`" for name in sorted(known)) + ".\n\n"
    text += contents(f"{name} <functions/{name}>" for name in sorted(plain, key=str.lower))
    yield "reptools", text


def examples() -> list[Path]:
    """The scripts of ``examples/``."""
    return sorted((ROOT / "examples").glob("*.py"))


def of_examples() -> Iterator[tuple[str, str]]:
    """A page for each script of ``examples/``: what it is for, what it prints, its source."""
    paths = examples()
    for path in paths:
        text = title(path.stem) + f"{docstring(path)}\n\n"
        text += title("What it prints", "-") + f".. printed:: {path.name}\n\n"
        text += title("Source", "-") + f".. literalinclude:: /../examples/{path.name}\n\n"
        yield f"examples/{path.stem}", text
    about = {f":doc:`examples/{p.stem}`": docstring(p).partition("\n")[0] for p in paths}
    text = title("Examples") + listing(about) + contents(f"examples/{path.stem}" for path in paths)
    yield "examples", text


def docstring(path: Path) -> str:
    """Docstring of a script, which is not imported for it."""
    return ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""


def write(app: Sphinx, config: object) -> None:
    """Write all pages; what an earlier build left behind goes first."""
    folder = Path(app.srcdir) / GENERATED
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "extra").mkdir(parents=True)
    for group in (of_face, of_metrics, of_modules, of_examples, commands.pages):
        for name, text in group():
            path = folder / f"{name}.rst"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    """Write before sphinx looks for the pages."""
    app.connect("config-inited", write)
    return {"parallel_read_safe": True}
