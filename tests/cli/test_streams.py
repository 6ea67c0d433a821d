"""The process as a shell starts it: output that is cut off, cannot be written, or knows ASCII only."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import reptools as rt

MAIN = "import sys; sys.argv[0] = 'reptools'; from reptools.cli import main; main()"
ODD = "café.h5"
# the locale that knows ASCII only, without Python's own escape from it
ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}

full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("streams")
    rng = np.random.default_rng(0)
    features = {"größe": np.arange(20) % 2}
    labels = [f"s{i}" for i in range(20)]
    with rt.Writer(path / ODD, system="été", stimulus=labels, features=features) as writer:
        writer.append({"couché": rng.normal(size=(20, 5)), "b": rng.normal(size=(20, 4))})
    return path


def shell(folder: Path, line: str, *args: str | bytes, **environment: str) -> tuple[int, str, str]:
    """Run a line of shell in which ``"$@"`` is the command with these arguments."""
    command = ["bash", "-c", line, "bash", sys.executable, "-c", MAIN, *args]
    root = str(Path(rt.__file__).parent.parent)
    whole = {**os.environ, "PYTHONPATH": root, **environment}
    done = subprocess.run(command, cwd=folder, env=whole, capture_output=True, check=False)
    out, err = (text.decode("utf-8", "surrogateescape") for text in (done.stdout, done.stderr))
    return done.returncode, out, err


@pytest.mark.parametrize("args", [("info", ODD), ("metrics", "--json")], ids=" ".join)
def test_a_reader_who_has_enough_ends_the_command_quietly(folder, args):
    status, out, err = shell(folder, '"$@" | true; exit ${PIPESTATUS[0]}', *args)
    assert (status, out, err) == (141, "", "")


@full
@pytest.mark.parametrize("args", [("metrics",), ("--help",)], ids=" ".join)
def test_a_full_disk_is_one_line(folder, args):
    status, _, err = shell(folder, '"$@" > /dev/full', *args)
    assert (status, err) == (2, "error: stdout cannot be written: No space left on device.\n")


def test_a_closed_stdout_is_one_line_and_no_file_takes_its_number(folder):
    status, _, err = shell(folder, '"$@" >&-', "compare", ODD, "--out", "closed.csv")
    assert (status, err) == (2, "error: stdout cannot be written: Bad file descriptor.\n")
    assert (folder / "closed.csv").read_text().startswith("x,y,metric,quantity,estimate")


@pytest.mark.parametrize("where", ["2>&-", pytest.param("2>/dev/full", marks=full)])
def test_what_cannot_be_said_on_stderr_changes_nothing(folder, where):
    status, out, _ = shell(folder, f'"$@" {where}', "info", "none.h5", "--json")
    assert status == 2 and json.loads(out)["error"]["type"] == "StoreError"


def test_letters_that_the_terminal_lacks_are_escapes(folder):
    status, out, err = shell(folder, '"$@"', "compare", ODD, "--out", "grid.h5", **ASCII)
    assert (status, err) == (0, "") and "couch\\xe9" in out
    status, out, err = shell(folder, '"$@"', "probe", ODD, "--target", "é", **ASCII)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("error: ") and err.endswith(" It has 'gr\\xf6\\xdfe'.\n")


def test_json_keeps_the_letters_that_the_terminal_lacks(folder):
    status, out, _ = shell(folder, '"$@"', "info", ODD, "--json", PYTHONIOENCODING="ascii")
    assert status == 0 and [layer["name"] for layer in json.loads(out)["layers"]] == ["couché", "b"]


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are text on this system")
def test_a_name_that_is_no_text_has_a_place_on_page_and_screen(folder):
    name = b"caf\xe9.h5"  # as an archive in Latin-1 unpacks
    (folder / os.fsdecode(name)).write_bytes((folder / ODD).read_bytes())
    status, out, err = shell(folder, '"$@"', "info", name)
    assert (status, err) == (0, "") and out.startswith("caf\\udce9.h5: activations of été")
    status, _, err = shell(folder, '"$@"', "report", name, "--out", "page.html")
    assert (status, err) == (0, "")
    assert "caf\\udce9.h5" in (folder / "page.html").read_text(encoding="utf-8")
