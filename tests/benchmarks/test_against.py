"""Two checkouts in turn: small ones, whose rows take as long as they are told."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from benchmarks import __main__ as command
from benchmarks import against, processes

SUITE = """
import time
from .rows import Contender, Row

def number(folder, *, n):
    return {"n": n}

now = [0.0]  # a clock that only rows move, so that a busy machine changes nothing
time.perf_counter = lambda: now[0]

def act(n, *, seconds, answer):
    def work():
        now[0] += seconds
        return answer
    return work

def fails(n):
    raise OSError("disk is full")

def row(work, seconds=0.003, answer=1.0, start=act):
    options = {"seconds": seconds, "answer": answer} if start is act else {}
    return Row(work, number, {"n": 1000}, Contender("x", start, options=options), clock="wall")

def rows(quick):
    return [ROWS]
"""


def checkout(folder: Path, rows: str, suite: str = "cka") -> Path:
    """A checkout with one suite; reptools is not needed for it."""
    package = folder / "benchmarks"
    package.mkdir(parents=True, exist_ok=True)
    (package / "__init__.py").write_text("")
    shutil.copy(processes.ROOT / "benchmarks" / "rows.py", package)
    (package / f"{suite}.py").write_text(SUITE.replace("ROWS", rows))
    return folder


def compared(
    monkeypatch: pytest.MonkeyPatch, here: Path, there: Path, **options: str
) -> list[against.Comparison]:
    monkeypatch.setattr(against, "ROOT", here)
    monkeypatch.setattr(against, "SAMPLE", 0.004)
    return list(against.against(there, ["cka", "rdm"], quick=True, rounds=7, **options))


def test_a_slow_row_is_run_again_and_a_fast_one_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = checkout(tmp_path / "a", "row('slow', 0.03), row('fast', 0.003)")
    there = checkout(tmp_path / "b", "row('fast', 0.03), row('slow', 0.003)")
    first, again, fast = compared(monkeypatch, here, there)
    assert first.key == again.key == ("cka", "slow", "n 1,000")
    assert first.flagged and again.flagged and again.note == "run again"
    for found, ratio in ((first, 10), (again, 10), (fast, 0.1)):
        assert (found.ratio, found.low, found.high) == pytest.approx((ratio,) * 3)
    assert not fast.flagged
    assert "SLOWER" in str(again) and "faster" in str(fast)


def test_rows_and_suites_of_one_side_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = checkout(tmp_path / "a", "row('both', .02), row('new')")
    there = checkout(tmp_path / "b", "row('both', .2), row('gone')")
    checkout(there, "row('other suite')", suite="rdm")
    both, new, gone, other = compared(monkeypatch, here, there)
    assert not both.flagged
    assert [one.note for one in (new, gone, other)] == [
        f"only in {here}",
        f"only in {there}",
        f"only in {there}",
    ]
    (one,) = compared(monkeypatch, here, there, only="other suite | n 1,0")
    assert one.key[:2] == ("rdm", "other suite")


def test_numbers_come_before_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = checkout(tmp_path / "a", "row('a', answer=1.1), row('b', answer=[1.0]), row('c')")
    there = checkout(tmp_path / "b", "row('a'), row('b'), row('c', start=fails)")
    apart, shape, failed = compared(monkeypatch, here, there)
    assert apart.note == "DISAGREE by 1.0e-01, no time"
    assert shape.note == "DISAGREE: shapes (1,) and (), no time"
    assert failed.note == f"{there}: OSError: disk is full"
    assert all(one.ratio is None and one.flagged for one in (apart, shape, failed))


def test_missing_numbers_are_equal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nan = "row('nan', 0.003, [float('nan'), 2.0])"
    slow = nan.replace("0.003", "0.03")
    (found,) = compared(monkeypatch, checkout(tmp_path / "a", nan), checkout(tmp_path / "b", slow))
    assert found.ratio == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("n", "cut"), [(6, 0), (8, 0), (9, 1), (12, 2), (25, 7), (50, 17), (100, 39)]
)
def test_the_interval_is_that_of_tables(n: int, cut: int) -> None:
    """Ranks as in tables of the sign test, e.g. Conover, Practical nonparametric statistics."""
    middle, low, high = against.summary(list(range(n)))
    assert (middle, low, high) == ((n - 1) / 2, cut, n - 1 - cut)


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.8, 0.9, "faster"),
        (0.9, 1.04, "as fast"),
        (1.01, 1.04, "as fast"),
        (0.9, 1.05, "UNDECIDED"),
        (1.01, 1.1, "SLOWER"),
    ],
)
def test_what_an_interval_says(low: float, high: float, verdict: str) -> None:
    found = against.Comparison(("cka", "w", "n 1"), 1.0, low, high)
    assert found.verdict == verdict
    assert found.flagged == verdict.isupper()


def test_five_rounds_have_no_interval() -> None:
    assert against.summary([1, 1, 1, 1, 1]) == (1, 0, float("inf"))


def test_the_command_says_and_returns_what_is_slower(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    slow, fast = (checkout(tmp_path / s, f"row('w', {s})") for s in ("0.03", "0.003"))
    monkeypatch.setattr(against, "SAMPLE", 0.004)
    monkeypatch.setattr(against, "ROOT", slow)
    arguments = ["cka", "--quick", "--rounds", "6", "--json", str(tmp_path / "found.json")]
    assert command.main([*arguments, "--against", str(fast)]) == 1
    assert "1 rows: 1 SLOWER" in capsys.readouterr().out
    (record,) = json.loads((tmp_path / "found.json").read_text())
    assert record["verdict"] == "SLOWER" and record["key"] == ["cka", "w", "n 1,000"]
    monkeypatch.setattr(against, "ROOT", fast)
    assert command.main([*arguments, "--against", str(slow)]) == 0


def test_another_folder_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main(["--against", str(tmp_path)])
    assert f"{tmp_path} has no folder benchmarks" in capsys.readouterr().err
