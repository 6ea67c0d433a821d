"""A metric declared here is everywhere, with no other line changed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import reptools as rt
from reptools.cli.app import build_app
from reptools.engine.registry import forget, metrics
from reptools.reporting import report
from tests import laws


@pytest.fixture
def file(tmp_path: Path, rng: np.random.Generator) -> Path:
    features = {"easy": np.arange(40) % 2}
    with rt.Writer(
        tmp_path / "run.h5", system="toy-net", stimulus=range(40), features=features
    ) as writer:
        writer.append({"fc1": rng.normal(size=(40, 5)), "fc2": rng.normal(size=(40, 4))})
    return tmp_path / "run.h5"


@pytest.fixture
def _overlap() -> Iterator[None]:
    @rt.metric(symmetric=True, bounds=(0, 1), invariances=("scale", "shift"))
    def overlap(x, y, /, *, power: float = 1.0):  # type: ignore[no-untyped-def]
        """Absolute correlation of the summed activations."""
        return abs(np.corrcoef(x.sum(1), y.sum(1))[0, 1]) ** power

    yield
    forget("overlap")


@pytest.mark.usefixtures("_overlap")
def test_one_declaration_is_enough(file: Path, tmp_path: Path) -> None:
    assert "overlap" in rt.list_metrics()

    tree = rt.open(file)
    grid = rt.compare(tree, metric="overlap", power=2.0)
    expected = np.corrcoef(
        tree["layers/fc1"].activation.sum("unit"), tree["layers/fc2"].activation.sum("unit")
    )[0, 1]
    assert float(grid.sel(x="fc1", y="fc2")) == pytest.approx(expected**2)

    address = [f"{file}::fc1", f"{file}::fc2"]
    answer = CliRunner().invoke(
        build_app(), ["compute", "overlap", *address, "--power", "2", "--json"]
    )
    assert answer.exit_code == 0, answer.output
    value = np.asarray(json.loads(answer.stdout)["values"]).item()
    assert value == pytest.approx(expected**2)

    page = report([file], tmp_path / "page.html").read_text()
    assert "overlap" in page and "Absolute correlation of the summed activations" in page

    mine = [law for name, law in laws.cases() if name == "overlap"]
    assert mine
    for law in mine:
        law(metrics()["overlap"])
