"""The harness of the benchmarks on tiny work: numbers are compared first, and only then timed."""

import inspect
import json
import os
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import __main__ as command
from benchmarks import harness, peers, processes, table, training, worker
from benchmarks.rows import OURS, Contender, Finding, Row

# --- contenders, which run in processes of their own --------------------------------------------


def two(folder, *, n, dtype):
    return {"x": np.arange(n, dtype=dtype), "note": "plain", "folder": str(folder)}


def total(x, note, folder):
    assert note == "plain"
    return lambda: x.sum()


def total_and_more(x, note, folder, *, more):
    return lambda: [x.sum() + more], lambda result: result[0]


def cumulative(x, note, folder):
    return lambda: np.cumsum(x)


def first_of_it(x, note, folder):
    return lambda: x[0]


def undefined(x, note, folder):
    return lambda: float("nan")


def asleep(x, note, folder):
    return lambda: time.sleep(0.01)


def crash(x, note, folder):
    os.abort()


def chatty(x, note, folder):
    print("would break the pipe if it were written there", flush=True)
    return lambda: x.sum()


def allocating(x, note, folder):
    return lambda: float(np.ones(4_000_000).sum()) + float(x.sum())


def environment(x, note, folder):
    from threadpoolctl import threadpool_info

    def act():
        wrong = [name for name in processes.UNWANTED if name in os.environ]
        return len(wrong) + max((pool["num_threads"] for pool in threadpool_info()), default=1)

    return act


def unbuilt(x, note, folder):
    import reptools as rt

    return rt.no_such_function


# --- helpers ------------------------------------------------------------------------------------


def row(ours=total, others=(), limit=None, **more):
    return Row(
        "sum",
        two,
        {"n": 5, "dtype": "float64"},
        Contender("reptools", ours),
        limit,
        tuple(others),
        **more,
    )


def findings(*rows, rounds=2, **more):
    known = peers.Environments(Path("unused"), {})
    return [found for _, found in harness.measure(list(rows), known, rounds=rounds, **more)]


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setattr(harness, "SAMPLE", 1e-4)


# --- agreement ----------------------------------------------------------------------------------


def test_who_agrees_is_timed_and_who_disagrees_is_not():
    same = Contender("numpy same", total)
    wrong = Contender("numpy wrong", total_and_more, options={"more": 1.0})
    missing = Contender("elsewhere", None, absent="not on the package registry", target=2.0)
    work = row(others=[same, wrong, missing], limit=Contender("asleep", asleep, target=3.0))
    (found,) = findings(work)

    limit, agreed, refused, absent = found
    assert (limit.role, limit.difference, limit.met) == ("limit", None, True)
    assert (agreed.role, agreed.difference) == ("peer", 0.0)
    assert agreed.least <= agreed.ratio <= agreed.most
    assert agreed.against == f"numpy {np.__version__} same"
    assert refused.ratio is None and "DISAGREES by 1.0e-01" in refused.note

    text = "\n".join(table.lines(work, found))
    assert "sum | n 5, float64" in text
    assert "not on the package registry (at least 2)" in text
    (line,) = (line for line in text.splitlines() if "wrong" in line)
    assert "no time" in line and " x " not in line
    assert absent.met is None


@pytest.mark.parametrize("start", [cumulative, undefined], ids=lambda start: start.__name__)
def test_another_shape_or_nan_is_no_agreement(start):
    (found,) = findings(row(others=[Contender("peer", start)]))
    assert found[0].ratio is None and "DISAGREES" in found[0].note


def test_the_reference_decides_who_is_right():
    right = Contender("numpy", total)
    ours = Contender("reptools", total_and_more, options={"more": 1.0})
    peer = Contender("peer", total)
    wrong = Row("sum", two, {"n": 5, "dtype": "float64"}, ours, None, (peer,), reference=right)
    found, agreeing = findings(wrong, row(others=[peer], reference=right))
    assert [(f.role, f.ratio) for f in found] == [("ours", None)]
    assert "DISAGREES" in found[0].note
    assert [(f.role, f.difference) for f in agreeing] == [("ours", 0.0), ("peer", 0.0)]


def test_a_peer_may_do_a_part_and_may_be_less_exact():
    part = Contender("part", first_of_it, part=0, times=1000.0)
    whole = Contender("whole", cumulative)
    loose = Contender("loose", total_and_more, options={"more": 1.0}, tolerance=0.2)
    (found,) = findings(row(cumulative, [part, whole]))
    assert found[0].difference == 0.0
    assert found[0].ratio > 50 * found[1].ratio
    assert findings(row(others=[loose]))[0][0].ratio is not None


# --- processes ----------------------------------------------------------------------------------


def test_a_worker_has_one_thread_a_clean_environment_and_keeps_prints_apart(monkeypatch):
    for name in processes.UNWANTED:
        monkeypatch.setenv(name, "1")
    (found,) = findings(row(environment, [Contender("chatty", chatty)], tolerance=1e9))
    assert found[0].difference == 9.0  # the sum is 10, so what `environment` found was 1


def test_failures_are_told_with_their_reason():
    dead = Contender("dead", crash)
    broken = Contender("broken", total, options={"unknown": 1})
    (first, second), (ours,) = findings(row(others=[dead, broken]), row(unbuilt))
    assert "its process ended with -6" in first.note
    assert "TypeError" in second.note and "unknown" in second.note
    assert ours.note.startswith("not built yet") and "no_such_function" in ours.note


def test_memory_is_the_growth_of_the_first_run():
    (found,) = findings(row(allocating, once=True, memory=1e6))
    assert (found[0].role, found[0].met) == ("memory", False)
    assert 30 < found[0].ratio < 45  # 32 MB


def test_rows_without_peers_and_with_shared_inputs(monkeypatch):
    made = []

    def counted(folder, **sizes):
        made.append(sizes)
        return two(folder, **sizes)

    same = [
        Row(
            "sum",
            counted,
            {"n": 3, "dtype": "float32"},
            Contender("reptools", total),
            peers=(Contender("peer", total),),
        )
        for _ in range(2)
    ]
    assert findings(*same, with_peers=False) == [[], []]
    assert made == [{"n": 3, "dtype": "float32"}]


# --- table and command --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("finding", "words"),
    [
        (Finding("a SYRK", "limit", 1.05, 1.0, 1.1, target=1.2), ["1.05 x", "at most 1.2", "met"]),
        (Finding("a SYRK", "limit", 1.5, 1.4, 1.6, target=1.2), ["missed by 25%"]),
        (Finding("peer", "peer", 123.4, 100, 130, target=100.0), ["123 x", "at least 100", "met"]),
        (Finding("peer", "peer", 5.0, 4, 6, target=10.0), ["missed by 50%"]),
        (Finding("reptools", "memory", 100.0, target=150.0), ["100 MB", "at most 150", "met"]),
    ],
)
def test_verdicts(finding, words):
    _, line, *bound = table.lines(row(bound="the weather"), [finding])
    assert all(word in line for word in words)
    assert bound == ([] if finding.met else ["  bound   the weather"])


def test_the_command_prints_and_writes_what_it_found(monkeypatch, capsys, tmp_path):
    missed = row(others=[Contender("peer", total, target=1e9)], bound="the weather")
    monkeypatch.setattr(command, "rows_of", lambda suite, quick: [missed, row(unbuilt)])
    path = tmp_path / "found.json"
    assert command.main(["cka", "--rounds", "2", "--json", str(path)]) == 0
    printed = capsys.readouterr().out
    assert "missed by 100%" in printed and "bound   the weather" in printed
    assert "Targets: 0 met, 1 missed, 0 where" in printed
    assert "Rows where reptools gives no number: 1." in printed
    first, second = json.loads(path.read_text())
    assert (first["suite"], first["met"], first["sizes"]["n"]) == ("cka", False, 5)
    assert second["role"] == "ours"


def test_unknown_suites_are_refused(capsys):
    with pytest.raises(SystemExit):
        command.parse(["nonsense"])
    assert "no suite 'nonsense'" in capsys.readouterr().err


@pytest.mark.parametrize("suite", command.SUITES + command.ON_REQUEST)
@pytest.mark.parametrize("quick", [True, False])
def test_every_suite_has_rows_whose_contenders_can_be_found(suite, quick):
    sections = peers.environments().sections
    rows = command.rows_of(suite, quick)
    assert rows
    for each in rows:
        inspect.signature(each.inputs).bind(Path("folder"), **each.sizes)
        others = [other for other in (each.limit, each.reference, *each.peers) if other]
        for contender in (each.ours, *others):
            assert contender.start is not None or contender.absent
            assert contender.environment in {OURS, *sections}
            if contender.start is not None:
                module = worker.load(contender.start.__code__.co_filename)
                assert hasattr(module, contender.start.__name__)
        if quick:
            assert all(other.target is None for other in others)


def test_a_stack_and_a_plain_loop_train_the_same_networks(tmp_path):
    for each in command.rows_of("training", quick=True):
        inputs = each.inputs(tmp_path, **each.sizes)
        (peer,) = each.peers
        assert inputs["steps"] > training.EARLY > len(inputs["inputs"]) // inputs["batch"]
        found = np.stack(each.ours.start(**inputs)())
        with torch.random.fork_rng(devices=[]):  # a plain loop seeds the global generator
            difference = np.abs(found - np.stack(peer.start(**inputs)())).max()
        assert difference < each.tolerance * np.abs(found).max()
        assert len(found) == inputs["seeds"] and not np.allclose(found[0], found[1])


# --- environments -------------------------------------------------------------------------------


def test_the_list_of_peers_names_packages_and_no_addresses():
    sections = peers.environments("anywhere").sections
    assert {"arrays", "torch"} == set(sections)
    for packages in sections.values():
        assert {"numpy", "threadpoolctl"} <= set(packages)
        assert not any(mark in package for package in packages for mark in ("/", ":", "@"))


def test_an_environment_is_made_once_and_says_what_is_missing(monkeypatch, tmp_path):
    asked = []

    def pip(folder, *arguments):
        asked.append(arguments)
        return "no matching distribution" if "bad==1" in arguments else ""

    monkeypatch.setattr(peers, "_pip", pip)
    monkeypatch.setattr(peers.venv, "create", lambda folder, **_: folder.mkdir(parents=True))
    for _ in range(2):
        known = peers.Environments(tmp_path, {"some": ["good", "bad==1", "bare --no-deps"]})
        assert known.python("some").is_relative_to(tmp_path / "some")
        assert known.missing("some", "bad") == "no matching distribution"
        assert known.missing("some", "good") == known.missing(OURS, "bad") == ""
    assert asked == [("good", "bad==1"), ("good",), ("bad==1",), ("bare", "--no-deps")]
