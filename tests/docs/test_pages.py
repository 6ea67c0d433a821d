"""The pages: everything public has one, and code that does not print what it says is reported."""

from __future__ import annotations

import inspect
import io
from pathlib import Path

import pytest
from sphinx.application import Sphinx

import reptools as rt

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def building(monkeypatch: pytest.MonkeyPatch) -> None:
    """The extensions of ``docs/`` can be imported, as sphinx does."""
    monkeypatch.syspath_prepend(str(ROOT / "docs"))


def written() -> dict[str, str]:
    """Name of each generated page, with its text."""
    from building import commands, pages

    groups = (
        pages.of_face,
        pages.of_metrics,
        pages.of_modules,
        pages.of_examples,
        commands.pages,
    )
    return {name: text for group in groups for name, text in group()}


def test_every_public_name_has_one_entry():
    text = "\n".join(written().values())
    modules = {name for name in rt.__all__ if inspect.ismodule(getattr(rt, name))}
    for name in {*rt.__all__, "open"} - modules - {"__version__"}:
        assert len(entries(text, f"reptools.{name}")) == 1, name
    for name in rt.interventions.__all__:
        assert len(entries(text, f"reptools.interventions.{name}")) == 1, name
    assert len(entries(text, "reptools.errors.StimulusError")) == 1
    assert len(entries(text, "reptools.plots.similarity_map")) == 1


def entries(text: str, path: str) -> list[str]:
    """Directives that document a name."""
    lines = text.splitlines()
    return [x for x in lines if x.startswith(".. auto") and x.split(":: ")[1] == path]


def test_every_registered_metric_is_listed():
    listed = written()["metrics"]
    assert len(rt.list_metrics()) > 30
    for record in rt.list_metrics():
        assert f"`{record.name} <reptools.{record.name}>`" in listed


def test_a_metric_that_readme_does_not_name_is_listed_last():
    from building import pages

    grouped = pages.by_question(["cka", "new"])
    assert list(grouped)[-1] == pages.REST and grouped[pages.REST] == ["new"]
    assert grouped["Are two systems alike?"][:2] == ["rsa", "cka"]


def test_every_command_has_its_help():
    from building import commands

    text = "\n".join(written().values())
    found = [path for path, _ in commands.walk(commands.tree())]
    assert ("info",) in found and ("compute", "cka") in found
    for path in found:
        assert f".. _{commands.label(path)}:\n" in text
    assert "Usage: reptools compute rsa" in text and "--compare" in text


def test_no_two_pages_are_one_file_to_some_systems():
    names = list(written())
    assert len({name.lower() for name in names}) == len(names)


def test_names_in_backticks_mean_the_face_first():
    from building.linking import meanings

    words = meanings()
    assert words["rsa"] == "reptools.rsa"
    assert words["steer"] == words["interventions.steer"] == "reptools.interventions.steer"
    assert "file" not in words


@pytest.mark.parametrize(
    ("line", "escaped"),
    [
        ("(stimulus, stimulus_), of |S|", r"(stimulus, stimulus\_), of \|S\|"),
        ("``stimulus_`` and `a|b`", "``stimulus_`` and `a|b`"),
        (":func:`a_` of some_word", ":func:`a_` of some_word"),
        (">>> a_ | b", ">>> a_ | b"),
    ],
)
def test_marks_of_plain_text_are_escaped(line, escaped):
    from building.docstrings import escape

    assert escape([line]) == [escaped]


def test_an_example_ends_at_an_empty_line():
    from building.docstrings import escape

    assert escape([">>> f()", "a_", "", "a_"]) == [">>> f()", "a_", "", r"a\_"]


def built(folder: Path, page: str, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, str]:
    """A site of one page, and what sphinx warned of."""
    from building import running

    monkeypatch.setattr(running, "examples", lambda: [])
    source = folder / "source"
    (source / "generated" / "extra").mkdir(parents=True)
    (source / "index.md").write_text(page)
    warned = io.StringIO()
    extensions = ["myst_parser", "building.running", "building.linking"]
    app = Sphinx(
        str(source),
        None,
        str(folder / "out"),
        str(folder / "trees"),
        "html",
        confoverrides={"extensions": extensions},
        status=None,
        warning=warned,
    )
    app.build()
    return folder / "out" / "index.html", warned.getvalue()


PAGE = """# Page

```python
>>> 1 / 3
0.33...
>>> 2 + 2
5

```

<!--
>>> hidden = "was run"

-->

```python
>>> print(hidden)
was run
>>> int("x")
Traceback (most recent call last):
    ...
ValueError: invalid literal for int() with base 10: 'x'
>>> from matplotlib.figure import Figure
>>> Figure()

```

```console
$ reptools --version
reptools ...
```

```console
$ reptools info none.h5
as expected
```
"""


def test_examples_are_run_and_what_they_print_is_shown(tmp_path, monkeypatch):
    page, warned = built(tmp_path, PAGE, monkeypatch)
    html = page.read_text()
    assert "0.3333333333333333" in html and "was run" in html and "hidden =" not in html
    assert "The figure of Figure()" in html
    assert len(list((tmp_path / "out" / "_images").glob("*.svg"))) == 1
    assert f"reptools {rt.__version__}" in html
    # two examples of the page are wrong: the warnings have what was seen
    assert warned.count("WARNING: example") == 2
    assert "2 + 2\n\nprinted\n4\n\nand not\n5\n" in warned
    assert "none.h5 does not exist. Check the path.\n(exit status 2)" in warned


def test_what_a_program_printed_is_kept_with_its_status(tmp_path, monkeypatch):
    from building import running

    script = tmp_path / "broken.py"
    script.write_text("print('so far')\nraise SystemExit('no further')")
    monkeypatch.setattr(running, "examples", lambda: [script])
    programs = running.Programs()
    programs.start()
    assert programs.result(script) == (1, "so far", "no further")
