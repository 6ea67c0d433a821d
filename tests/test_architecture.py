"""Imports point downwards, stages meet in files, and nothing heavy loads early.

The sources are read, not run, so an import inside a function counts as well.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import dev

ROOT = Path(__file__).resolve().parent.parent

# Rooms of reptools from the ground up. A room imports from rooms of lower rows only.
LAYERS = (
    {"errors", "_version"},
    {"arrays", "schema", "provenance", "progress"},
    {"statistics"},
    {"entering"},
    {"store"},
    {"engine"},
    {"capturing", "metrics", "scoring"},
    {"interventions"},
    {"plots"},
    {"reporting"},
    {"cli"},
    {"__main__"},
)
RANK = {room: rank for rank, rooms in enumerate(LAYERS) for room in rooms}
FILES_ONLY = {"errors", "schema", "provenance", "store"}  # what datasets/ and models/ may use
STAGES = ("datasets", "models")
FOLDERS = ("reptools", *STAGES, "reproduction", "benchmarks", "examples", "docs", "tests")


@dataclass(frozen=True)
class Import:
    """One imported module or name, as an absolute dotted path."""

    target: str
    line: int
    at_module_level: bool
    relative: bool


def sources(folder: str) -> list[Path]:
    """Python files of a folder of the checkout."""
    return sorted((ROOT / folder).rglob("*.py"))


def module_of(path: Path) -> str:
    """Dotted name of a source file."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def statements(node: ast.AST, inside: bool = False) -> Iterator[tuple[ast.AST, bool]]:
    """All nodes below ``node``, each with whether it waits inside a function to be run."""
    for child in ast.iter_child_nodes(node):
        yield child, inside
        is_function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for_types = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
        yield from statements(child, inside or is_function or for_types)


def imports(path: Path) -> list[Import]:
    """All imports of a file; ``from a import b`` is ``a.b``."""
    package = module_of(path).split(".")
    if path.name != "__init__.py":
        package = package[:-1]
    found = []
    for node, inside in statements(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            targets, relative = [alias.name for alias in node.names], False
        elif isinstance(node, ast.ImportFrom):
            relative = node.level > 0
            above = package[: len(package) - node.level + 1] if relative else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            targets = [f"{base}.{alias.name}" for alias in node.names]
        else:
            continue
        found += [Import(target, node.lineno, not inside, relative) for target in targets]
    return found


def within(target: str, *modules: str) -> bool:
    """Whether a dotted path is one of the modules or lies inside one."""
    return any(target == module or target.startswith(f"{module}.") for module in modules)


def where(path: Path, found: Import) -> str:
    return f"{path.relative_to(ROOT)}:{found.line} imports {found.target}"


def room(module: str) -> str:
    """Room of a dotted name inside reptools; the face is the empty room."""
    return [*module.split("."), ""][1]


def test_every_room_has_a_layer():
    rooms = {room(module_of(path)) for path in sources("reptools")} - {""}
    assert rooms - RANK.keys() == set(), "give the new room a layer in LAYERS"


def test_imports_point_down():
    upward = []
    for path in sources("reptools"):
        if not (here := room(module_of(path))):
            continue
        for found in imports(path):
            there = room(found.target)
            # a name that is no room, as in `from reptools import open`, is the face itself
            up = RANK.get(there, len(LAYERS)) >= RANK.get(here, 0)
            if within(found.target, "reptools") and there != here and up:
                upward.append(where(path, found))
    assert upward == []


def test_no_circles():
    modules = {module_of(path) for path in sources("reptools")}
    graph: dict[str, set[str]] = {}
    for path in sources("reptools"):
        targets = (found.target for found in imports(path))
        # `from a import b` needs the module a.b where there is one, else the module a
        needed = {t if t in modules else t.rpartition(".")[0] for t in targets}
        graph[module_of(path)] = (needed & modules) - {module_of(path)}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" <- ".join(error.args[1]))


def test_nothing_heavy_is_imported_at_module_level():
    early = [
        where(path, found)
        for path in sources("reptools")
        for found in imports(path)
        if found.at_module_level and within(found.target, *dev.HEAVY)
    ]
    assert early == []


def test_importing_reptools_loads_nothing_heavy():
    code = f"import sys, reptools; print([n for n in {dev.HEAVY} if n in sys.modules])"
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


def test_reptools_works_without_docstrings():
    # python -OO removes docstrings and assertions
    code = """
import sys
import numpy as np
import reptools as rt
from reptools.cli import main
x = np.random.default_rng(0).normal(size=(9, 3))
assert False
print(round(float(rt.cka(x, x)), 9), rt.interventions.remove.__doc__)
sys.argv = ["reptools", "metrics", "cka"]
main()
"""
    command = [sys.executable, "-OO", "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stderr == "" and done.returncode == 0
    first, *_, last = done.stdout.splitlines()
    assert first == "1.0 None"
    assert "None" not in last  # the docstring that is not there


def test_reptools_knows_no_stage():
    known = [
        where(path, found)
        for path in sources("reptools")
        for found in imports(path)
        if within(found.target, *STAGES, "reproduction")
    ]
    assert known == []


@pytest.mark.parametrize("stage", STAGES)
def test_stages_meet_in_files(stage):
    assert sources(stage)
    wrong = []
    for path in sources(stage):
        for found in imports(path):
            of_reptools = within(found.target, "reptools") and room(found.target) not in FILES_ONLY
            of_other_stage = within(found.target, *(set(STAGES) - {stage}))
            absolute_within = within(found.target, stage) and not found.relative
            if of_reptools or of_other_stage or absolute_within:
                wrong.append(where(path, found))
    assert wrong == []


def test_reproduction_takes_training_and_analysis_only():
    assert sources("reproduction")
    wrong = [
        where(path, found)
        for path in sources("reproduction")
        for found in imports(path)
        if within(found.target, *FOLDERS, "conftest", "dev")
        and not within(found.target, "reptools", "models")
        # itself by relative imports, as in the stages
        and not (within(found.target, "reproduction") and found.relative)
    ]
    assert wrong == []


def test_nothing_but_tests_knows_reproduction():
    scripts = [ROOT / "conftest.py", ROOT / "dev.py"]
    known = [
        where(path, found)
        for path in [*scripts, *(p for f in FOLDERS for p in sources(f))]
        for found in imports(path)
        if within(found.target, "reproduction")
    ]
    assert [line for line in known if not line.startswith(("reproduction/", "tests/"))] == []
    assert known  # the tests do


def test_nobody_writes_import_datasets():
    # a reader would take it for Hugging Face's; `from datasets.binary import ...` is plain
    bare = [
        where(path, found)
        for folder in FOLDERS
        for path in sources(folder)
        for found in imports(path)
        if found.target == "datasets"
    ]
    assert bare == []


def exports(path: Path) -> set[str]:
    """Names that an ``__init__.py`` defines, imports or lists, less modules of its package."""
    package = module_of(path)
    targets = {found.target.rpartition(".") for found in imports(path)}
    modules = {name for base, _, name in targets if base == package}
    names = {name for base, _, name in targets if base != package}
    for node, _ in statements(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            names |= set(ast.literal_eval(node.value))
    return names - modules


def own_exports(init: Path) -> set[str]:
    """Exports of a package that come from its module of the same name, loaded with it."""
    package = module_of(init)
    targets = {found.target for found in imports(init) if found.at_module_level}
    return {
        t.rpartition(".")[2]
        for t in targets
        if t.startswith(f"{package}.") and len(set(t.split(".")[-2:])) == 1
    }


@pytest.mark.parametrize("path", sources("reptools"), ids=module_of)
def test_no_module_is_named_like_an_export_of_its_package(path):
    # `package.name` would be the function at first, and the module once that was imported; where
    # the package itself imports the function of that name, the module is loaded before
    init = path.parent / "__init__.py"
    if path == init:
        init, name = path.parent.parent / "__init__.py", path.parent.name
    else:
        name = path.stem
    assert not init.exists() or name not in exports(init) - own_exports(init)


def test_a_file_of_metrics_or_interventions_is_named_after_what_users_call():
    import reptools as rt

    for folder, face in (("metrics", rt), ("interventions", rt.interventions)):
        files = {path.stem for path in (ROOT / "reptools" / folder).glob("*.py")} - {"__init__"}
        assert files <= set(dir(face)), f"add the line of {sorted(files - set(dir(face)))}"


def test_the_face_shows_what_users_know():
    import builtins

    import reptools as rt

    rooms = {room(module_of(path)) for path in sources("reptools")}
    public = {"errors", "interventions", "plots"}
    assert not (rooms - public) & set(dir(rt))
    assert {"open", "compute", "table", "report", "plots"} <= set(dir(rt))
    assert not {n for n in rt.__all__ if not n.startswith("__")} & set(dir(builtins))
