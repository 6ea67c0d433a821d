"""A full disk is an error, not a crash; what was reported stays."""

import subprocess
import sys
from pathlib import Path

import pytest

from reptools.errors import IncompleteWarning
from reptools.store import open

resource = pytest.importorskip("resource")

SCRIPT = """
import resource, sys
import numpy as np
from reptools.errors import StoreError
from reptools.store import Writer

path, case = sys.argv[1:]

def limit(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

def size():
    import os
    return os.path.getsize(path + ".partial")

known = {"stimulus": range(400)} if case in ("create", "batch", "close") else {}
schedule = {"steps": range(50)} if case == "close" else {}
if case == "create":
    limit(100_000)
writer = Writer(path, system="x", **known, **schedule)
done = 0
try:
    for start in range(0, 400, 20):
        if case == "batch" and start == 200:
            limit(400_000)  # the 200 rows that are there
        if case == "grow" and start == 20:
            limit(size() + 200_000)
        names = {} if known else {"stimulus": range(start, start + 20)}
        step = {"step": 0} if case == "close" else {}
        writer.append({"l": np.full((20, 500), start, "f4")}, **names, **step)
        done = start + 20
    if case == "close":
        limit(size() // 2)
    writer.close()
except StoreError as error:
    print(done, error, sep="|")
    for again in (lambda: writer.append({"l": np.ones((20, 500))}), writer.close):
        try:
            again()
        except StoreError:
            pass
"""


@pytest.mark.parametrize(
    ("case", "done", "text"),
    [
        ("create", 0, "needs "),
        ("batch", 200, "could not be written: .*File too large"),
        ("grow", 320, "may write files of"),
        ("close", 400, "run.h5"),
    ],
)
def test_a_full_disk(tmp_path, case, done, text):
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "run.h5"), case]
    root = Path(__file__).parents[2]
    result = subprocess.run(command, capture_output=True, text=True, cwd=root)
    assert result.returncode == 0, result.stderr
    reported, message = result.stdout.strip().split("|")
    assert int(reported) == done
    assert message.startswith("Writer.")
    assert __import__("re").search(text, message), message
    if not done:
        assert not (tmp_path / "run.h5.partial").exists()
        return
    with pytest.warns(IncompleteWarning), open(tmp_path / "run.h5") as tree:
        found = tree["layers/l"].activation
        found = found.isel(step=0) if "step" in found.dims else found
        assert found.sizes["stimulus"] >= done
        for start in range(0, done, 20):
            assert (found[start : start + 20].values == start).all()
