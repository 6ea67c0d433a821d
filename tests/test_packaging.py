"""What is installed: only reptools, under one version, from lists that agree with each other."""

from __future__ import annotations

import re
import sys
import tomllib
import zipfile
from importlib.metadata import entry_points, metadata, requires, version
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import dev
import reptools
from reptools import provenance

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]

# Addresses of a registry or options that name one. Written so that they do not match themselves.
ADDRESS = re.compile(
    r"[p]ypi\.|[p]ythonhosted|[p]ytorch\.org|[a]naconda\.org|://\S+(?:/[s]imple\b|\.[w]hl)"
    r"|--(?:extra-)?[i]ndex-url|--[f]ind-links|[t]rusted-host"
)


def pins() -> dict[str, str]:
    """Name -> version of constraints.txt, whose lines are nothing else but comments."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    found = [re.fullmatch(r"([a-z0-9-]+)==([\w.]+)", x) for x in lines if not x.startswith("#")]
    assert all(found), "a line of constraints.txt is not name==version"
    return {match[1]: match[2] for match in found if match}


def direct() -> list[Requirement]:
    """What pyproject.toml asks for, extras included."""
    texts = [*PROJECT["dependencies"], *(text for extra in EXTRAS.values() for text in extra)]
    return [r for r in map(Requirement, texts) if r.name != "reptools"]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return dev.build_wheel(sys.executable, tmp_path_factory.mktemp("wheel"))


def test_the_wheel_installs_only_reptools(built):
    assert dev.foreign_files(built) == []


def test_the_wheel_is_complete(built):
    with zipfile.ZipFile(built) as archive:
        packed = {name for name in archive.namelist() if name.startswith("reptools/")}
    files = (path for path in (ROOT / "reptools").rglob("*") if path.is_file())
    ours = {path.relative_to(ROOT).as_posix() for path in files if path.suffix != ".pyc"}
    assert packed == ours
    assert "reptools/py.typed" in packed


def test_the_wheel_carries_its_licence(built):
    with zipfile.ZipFile(built) as archive:
        assert any(name.endswith("/LICENSE") for name in archive.namelist())


def test_one_version():
    changelog = (ROOT / "CHANGELOG.md").read_text()
    newest = re.search(r"^## \[?(\d[\w.]*)", changelog, re.MULTILINE)
    assert newest and newest[1] == reptools.__version__ == version("reptools")
    assert provenance.versions()["reptools"] == reptools.__version__


def test_the_installed_extras_are_those_of_pyproject():
    assert set(metadata("reptools").get_all("Provides-Extra") or ()) == set(EXTRAS)


def test_the_extra_all_holds_every_extra_for_users():
    (everything,) = map(Requirement, EXTRAS["all"])
    assert everything.extras == set(EXTRAS) - {"all", "dev", "docs"}


def test_the_command_is_installed():
    (script,) = entry_points(group="console_scripts", name="reptools")
    assert callable(script.load())


@pytest.mark.parametrize("requirement", direct(), ids=str)
def test_every_requirement_is_pinned_within_its_range(requirement):
    pinned = pins()[canonicalize_name(requirement.name)]
    assert requirement.specifier.contains(pinned)


def test_what_the_requirements_need_is_pinned_too():
    todo, seen = [(r.name, frozenset(r.extras)) for r in direct()], set()
    while todo:
        name, extras = todo.pop()
        if (canonicalize_name(name), extras) in seen:
            continue
        seen.add((canonicalize_name(name), extras))
        if name != "torch" and version(name) != pins().get(canonicalize_name(name)):
            continue  # another release than the pinned one needs other things
        for needed in map(Requirement, requires(name) or ()):
            environments = [{**default_environment(), "extra": x} for x in (extras or {""})]
            marker = needed.marker
            # a GPU build of torch pins its own companions
            if name != "torch" and (marker is None or any(map(marker.evaluate, environments))):
                todo.append((needed.name, frozenset(needed.extras)))
    assert {name for name, _ in seen} - pins().keys() == set()


# Distributions that are imported under another name, or by xarray, which is told their name.
IMPORTED_AS = {
    "scikit-learn": r"(from|import) sklearn",
    "h5netcdf": r'engine="h5netcdf"',
    "dask": r"\.chunks(izes)?\b",
}


def test_what_is_declared_is_used():
    sources = "\n".join(p.read_text("utf-8") for p in (ROOT / "reptools").rglob("*.py"))
    declared = [*PROJECT["dependencies"]]
    declared += [t for e, texts in EXTRAS.items() if e not in ("all", "dev", "docs") for t in texts]
    for name in (Requirement(text).name for text in declared):
        module = name.replace("-", "_")
        pattern = IMPORTED_AS.get(name, rf"(from|import) {module}\b")
        assert re.search(pattern, sources), f"{name} is declared and nothing uses it"


def test_no_file_names_a_registry():
    stages = ("datasets", "models", "reproduction")
    folders = ("reptools", *stages, "tests", "examples", "benchmarks", "docs", ".ci")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*")] + [*ROOT.iterdir()]
    named = {}
    for path in files:
        if path.is_file() and path.suffix in {".py", ".md", ".toml", ".txt", ".html", ""}:
            found = ADDRESS.search(path.read_text(encoding="utf-8"))
            named |= {str(path.relative_to(ROOT)): found[0]} if found else {}
    assert named == {}
    assert list(ROOT.glob("*lock*")) == []


def test_an_environment_is_current_only_for_the_lists_it_came_from(tmp_path, monkeypatch):
    monkeypatch.setattr(dev, "ROOT", tmp_path)
    for name in ("pyvenv.cfg", "pyproject.toml", "constraints.txt"):
        (tmp_path / name).write_text("a")
    before = dev.fingerprint(tmp_path)
    assert dev.fingerprint(tmp_path) == before
    (tmp_path / "constraints.txt").write_text("b")
    assert dev.fingerprint(tmp_path) != before


def test_a_folder_without_python_is_refused(tmp_path):
    with pytest.raises(SystemExit, match="no working Python"):
        dev.environment(tmp_path)


def test_pages_that_load_from_elsewhere_are_named(tmp_path):
    page = """
    <a href="https://a.example/">clicked</a> <img src="near.png"> <script src="here.js"></script>
    <script async src="https://b.example/x.js"></script> <link rel="s" href="//c.example/x.css">
    """
    (tmp_path / "page.html").write_text(page)
    (tmp_path / "near.css").write_text("@import 'near2.css'; a {background: url(near.png)}")
    (tmp_path / "far.css").write_text("@import 'https://d.example/f.css'; url(http://e.example/f)")
    assert sorted(dev.foreign_loads(tmp_path)) == [
        "//c.example/x.css (page.html)",
        "http://e.example/f (far.css)",
        "https://b.example/x.js (page.html)",
        "https://d.example/f.css (far.css)",
    ]


def test_a_failing_tool_fails_the_command():
    assert dev.run([sys.executable, "-c", "raise SystemExit(3)"]) == 3


def test_options_are_passed_on(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(dev, "environment", lambda folder: folder / "python")
    monkeypatch.setitem(dev.COMMANDS, "demo", lambda python, args: seen.append((python, args)) or 7)
    assert dev.main(["--venv", str(tmp_path), "demo", "--fast", "--out", "x"]) == 7
    assert seen == [(tmp_path / "python", ["--fast", "--out", "x"])]


def test_the_tests_keep_every_core_busy_unless_told_otherwise(monkeypatch):
    seen = []
    monkeypatch.setattr(dev, "run", lambda command, **more: seen.append((command, more)) or 0)
    monkeypatch.setattr(dev.os, "cpu_count", lambda: 2)
    assert dev.test(Path("python"), ["-n", "0"]) == 0
    ((command, more),) = seen
    assert command[2:5] == ["pytest", "-n", "2"] and command[-2:] == ["-n", "0"]
    assert more == {"OMP_NUM_THREADS": "1"}
