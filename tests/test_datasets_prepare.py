"""The file of stimuli holds the stimuli, and the command says what it cannot do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import xarray as xr

from datasets.binary import BinaryConfig, make_binary
from datasets.features import lay_out
from datasets.prepare import main, prepare_binary
from reptools.errors import StoreError
from reptools.store import open as open_store
from reptools.store import validate

RULES = {"easy": "copy", "hard": "xor"}
SMALL = {"units": 10, "train": 40, "validation": 8, "test": 8, "seed": 5}


def test_file_holds_the_stimuli(tmp_path: Path) -> None:
    path = prepare_binary(tmp_path / "stimuli.h5", RULES, **SMALL)
    assert validate(path) == []
    tree = open_store(path)
    data = make_binary(BinaryConfig(lay_out(RULES), **SMALL))
    assert (tree["layers/input"]["activation"].values == data["input"].values).all()
    assert tree.coords["stimulus"].values.tolist() == data["stimulus"].values.tolist()
    assert tree.coords["split"].values.tolist() == data["split"].values.tolist()
    for name in RULES:
        feature = tree["features"][name]
        assert (feature.values == data[name].values).all()
        assert feature.attrs["complexity"] == data[name].attrs["complexity"]
        assert feature.attrs["kind"] == "binary"
    config = json.loads(tree.attrs["provenance"])["config"]
    assert config == {"kind": "binary", "features": RULES, **SMALL}


def test_existing_file_is_kept(tmp_path: Path) -> None:
    path = prepare_binary(tmp_path / "stimuli.h5", RULES, **SMALL)
    before = path.read_bytes()
    with pytest.raises(StoreError, match=r"stimuli\.h5"):
        prepare_binary(path, RULES, **SMALL)
    assert path.read_bytes() == before
    prepare_binary(path, {"only": "copy"}, **SMALL, overwrite=True)
    assert set(open_store(path)["features"].data_vars) == {"only"}


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "stimuli.h5"
    options = [f"--{name}={value}" for name, value in SMALL.items()]
    features = ["--feature", "easy=copy", "--feature", "hard=xor"]
    assert main(["binary", f"--out={path}", *options, *features]) == 0
    assert "56 stimuli, features easy, hard" in capsys.readouterr().out
    again = prepare_binary(tmp_path / "again.h5", RULES, **SMALL)
    trees = [open_store(p)["layers/input"]["activation"].variable for p in (path, again)]
    xr.testing.assert_equal(*trees)


@pytest.mark.parametrize(
    ("arguments", "seen"),
    [
        (["--feature", "hard"], "--feature is 'hard'"),
        (["--feature", "a=copy", "--feature", "a=xor"], "--feature is 'a=xor'"),
        (["--feature", "a=nand"], "'nand'"),
        (["--units", "4"], "units is 4"),
        (["--test", "3"], "test is 3"),
    ],
)
def test_command_errors_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], seen: str
) -> None:
    assert main(["binary", f"--out={tmp_path / 'stimuli.h5'}", *arguments]) == 1
    message = capsys.readouterr().err
    assert seen in message
    assert message.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
