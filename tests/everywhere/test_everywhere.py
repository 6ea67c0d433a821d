"""What cannot run here is named, what fails fails, and versions come from pyproject.toml alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from packaging.requirements import Requirement

from tests.everywhere import asserting, clones, kernels, pythons, rounding, without
from tests.everywhere.__main__ import main, parser
from tests.everywhere.checks import FAILED, NOT_RUN, OK, Check, CheckError, NotHereError, Place

HERE = f"{sys.version_info[0]}.{sys.version_info[1]}"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path, tmp_path, tmp_path / "check.log")


def outcome(folder: Path, body) -> tuple[str, str]:  # type: ignore[no-untyped-def]
    found = Check("some", "what", body).outcome(folder, folder, folder)
    return found.state, found.note


def test_a_check_holds_fails_or_cannot_be_run(tmp_path):
    def fails(place: Place) -> str:
        place.run([sys.executable, "-c", "print('3 failed'); raise SystemExit(4)"])
        return ""

    def lacks(place: Place) -> str:
        raise NotHereError("no such thing")

    assert outcome(tmp_path, lambda place: "a note") == (OK, "a note")
    assert outcome(tmp_path, lacks) == (NOT_RUN, "no such thing")
    state, note = outcome(tmp_path, fails)
    assert state == FAILED and note.startswith("exit status 4; 3 failed (")


def test_a_command_sees_the_variables_that_it_may(place, monkeypatch):
    monkeypatch.setenv("SOME_VARIABLE", "x")
    code = "import os; raise SystemExit('SOME_VARIABLE' in os.environ)"
    with pytest.raises(CheckError, match="exit status 1"):
        place.run([sys.executable, "-c", code])
    place.run([sys.executable, "-c", code], only={"HOME", "PATH"})


def test_the_lowest_versions_are_those_of_pyproject():
    pins = dict(text.split("==") for text in pythons.lowest())
    needed = [Requirement(text) for text in pythons.PROJECT["dependencies"]]
    assert {r.name for r in needed} <= set(pins)
    assert all(r.specifier.contains(pins[r.name]) for r in needed)
    assert pins["numpy"] in next(str(r.specifier) for r in needed if r.name == "numpy")
    assert {"torch", "pytest", "dask"} <= set(pins) and "reptools" not in pins


def test_the_oldest_python_is_one_of_those_that_are_named():
    assert pythons.oldest() in pythons.versions()


def test_a_name_on_path_that_stands_for_no_python_is_not_one(tmp_path, monkeypatch):
    shim = tmp_path / f"python{HERE}"
    shim.write_text("#!/bin/sh\nexit 127\n")
    shim.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NotHereError, match=f"no Python {HERE} on PATH that runs"):
        pythons.interpreter(HERE, [])
    assert pythons.interpreter(HERE, [Path(sys.executable)]) == Path(sys.executable)
    with pytest.raises(NotHereError, match=r"no Python 2\.1 "):
        pythons.interpreter("2.1", [Path(sys.executable)])


def test_what_misses_a_package_that_was_left_out_is_skipped(monkeypatch):
    monkeypatch.setenv("REPTOOLS_WITHOUT", "torch")
    said = "ModuleNotFoundError: No module named 'torch'"
    report = SimpleNamespace(outcome="failed", longrepr=said, nodeid="tests/a.py::b")
    assert without._as_skipped(report).outcome == "skipped"
    assert report.longrepr == ("tests/a.py::b", 0, "without torch")
    other = SimpleNamespace(outcome="failed", longrepr="No module named 'numpy'", nodeid="x")
    assert without._as_skipped(other).outcome == "failed"


def test_the_numeric_tests_are_there():
    assert [path for path in kernels.NUMERIC if not (pythons.ROOT / path).exists()] == []


def test_a_kernel_that_openblas_does_not_know_is_not_run(place, monkeypatch):
    monkeypatch.setitem(kernels.KERNELS, "NoSuchKernel", "NoSuchKernel")
    with pytest.raises(NotHereError, match="OpenBLAS runs .* instead"):
        kernels._run(place, "NoSuchKernel", 1)


def test_a_session_on_another_kernel_than_asked_for_ends(monkeypatch):
    monkeypatch.setenv("REPTOOLS_BLAS", "NoSuchKernel 1")
    with pytest.raises(pytest.exit.Exception, match="asked for NoSuchKernel with 1 threads"):
        asserting.pytest_sessionstart()


def test_every_check_is_listed(capsys):
    assert main(["--list"]) == 0
    listed = capsys.readouterr().out
    for name in ("kernel-Haswell-1", "kernel-Prescott-2", "python-3.11-lowest", "clone-bare"):
        assert f" {name} " in listed
    with pytest.raises(SystemExit, match="no check is called"):
        main(["--only", "nothing"])
    assert parser().parse_args(["--without", "torch"]).without == ["torch"]


def test_a_clone_holds_what_is_committed(tmp_path):
    source, folder = tmp_path / "source", tmp_path / "clone"
    source.mkdir()
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b"]
    (source / "kept").write_text("1")
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "."]):
        subprocess.run([*git, *command], cwd=source, check=True)
    (source / "other").write_text("2")
    folder.mkdir()
    (folder / "stale").write_text("3")
    clones.clone(source, folder)
    assert {path.name for path in folder.iterdir()} == {".git", "kept"}


def test_products_are_moved_by_no_more_than_a_unit_in_the_last_place():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 30, 30))
    moved = rounding.rounded(np.matmul, x, y)
    assert (moved == rounding.rounded(np.matmul, x, y)).all() and (moved != x @ y).mean() > 0.5
    np.testing.assert_allclose(moved, x @ y, rtol=3e-16)
    gram = rounding.rounded(np.matmul, x, x.T)
    assert (gram == gram.T).all() and (gram != x @ x.T).any()
    whole = np.round(8 * x) / 4
    np.testing.assert_array_equal(rounding.rounded(np.matmul, whole, whole), whole @ whole)
