"""What a user's editor says of a call: mypy and pyright refuse the wrong ones and no other."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CALLS = Path(__file__).with_name("calls.py")
Refused = dict[int, str]  # line -> what the checker says of it


def _output(*command: str | Path) -> str:
    """What a checker prints; it returns 1 where it refuses a line and more where it breaks."""
    done = subprocess.run(
        [sys.executable, "-m", *map(str, command)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return done.stdout


def _refused(found: Iterable[tuple[str, int, str]]) -> Refused:
    """Messages by line; any of another file is a fault of ours and not of a call."""
    here, elsewhere = {}, []
    for file, line, message in found:
        if ROOT / file == CALLS:
            here[line] = message
        else:
            elsewhere.append(f"{file}:{line}: {message}")
    assert not elsewhere
    return here


def mypy() -> Refused:
    found = map(json.loads, _output("mypy", "--strict", "--output", "json", CALLS).splitlines())
    errors = (one for one in found if one["severity"] == "error")
    return _refused((one["file"], one["line"], one["message"]) for one in errors)


def pyright() -> Refused:
    output = _output("pyright", "--outputjson", "--pythonpath", sys.executable, CALLS)
    found = json.loads(output)["generalDiagnostics"]
    errors = (one for one in found if one["severity"] == "error")
    return _refused(
        (one["file"], one["range"]["start"]["line"] + 1, one["message"]) for one in errors
    )


@pytest.mark.slow
@pytest.mark.parametrize("checker", [mypy, pyright], ids=lambda one: one.__name__)
def test_wrong_calls_are_refused_and_no_others(checker: Callable[[], Refused]) -> None:
    lines = CALLS.read_text(encoding="utf-8").splitlines()
    wrong = {number for number, line in enumerate(lines, 1) if line.endswith("  # E")}
    assert len(wrong) > 70  # the marks are found
    refused = checker()
    passed = [f"{number}: {lines[number - 1].strip()}" for number in sorted(wrong - set(refused))]
    assert not passed, "wrong calls that are accepted"
    assert not {line: refused[line] for line in set(refused) - wrong}, "right calls that are not"
