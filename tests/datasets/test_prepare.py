"""The file of stimuli holds the stimuli, and the command says what it cannot do."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import xarray as xr

from datasets.prepare import KINDS, main, prepare_stimuli
from reptools.errors import ParameterError, StoreError
from reptools.store import open as open_store
from reptools.store import validate

RULES = {"easy": "copy", "hard": "xor"}
SMALL = {"units": 10, "train": 40, "validation": 8, "test": 8, "seed": 5}
# a set of each kind: rules, settings and the coords of its units
SETS: dict[str, tuple[dict[str, str], dict[str, Any], set[str]]] = {
    "binary": (RULES, SMALL | {"prevalence": {"easy": 0.25}, "components": True}, set()),
    "images": (
        {"colour": "colour-2", "shape": "shape-3"},
        {"train": 60, "validation": 6, "test": 60, "nuisance": ("position", "texture")},
        {"channel", "row", "column"},
    ),
    "sequences": (
        {"easy": "presence", "hard": "parity-2"},
        {"length": 12, "train": 80, "validation": 8, "test": 64},
        {"symbol"},
    ),
}


def options(settings: dict[str, Any]) -> list[str]:
    """As models/stimuli.py writes them."""
    written = []
    for name, value in settings.items():
        if isinstance(value, dict):
            written += [f"--{name}={k}={v}" for k, v in value.items()]
        else:
            text = ",".join(value) if isinstance(value, tuple) else value
            written.append(f"--{name}={text}")
    return written


@pytest.mark.parametrize("kind", KINDS)
def test_file_holds_the_stimuli(tmp_path: Path, kind: str) -> None:
    rules, settings, unit_coords = SETS[kind]
    last = list(rules)[-1]
    settings = settings | {"labelled": {last: 0.5}}
    path = prepare_stimuli(kind, tmp_path / "stimuli.h5", rules, **settings)
    assert validate(path) == []
    tree = open_store(path)
    data = KINDS[kind].make(KINDS[kind].config(KINDS[kind].read(rules), **settings))
    stored = tree["layers/input"]["activation"]
    assert stored.dims == data["input"].dims
    assert (stored.values == data["input"].values).all()
    for name in ("stimulus", "split", f"labelled_{last}"):
        assert tree.coords[name].values.tolist() == data[name].values.tolist()
    assert {str(n) for n, c in stored.coords.items() if c.dims == ("unit",)} == unit_coords
    for name in unit_coords:
        assert stored[name].values.tolist() == data[name].values.tolist()
    assert set(tree["features"].data_vars) == set(data.data_vars) - {"input"}
    for name, feature in tree["features"].data_vars.items():
        assert (feature.values == data[name].values).all()
        assert feature.attrs == data[name].attrs
    provenance = json.loads(tree.attrs["provenance"])
    config = {f.name for f in fields(KINDS[kind].config)}
    assert set(provenance["config"]) == config | {"kind"}
    for name, value in settings.items():
        assert provenance["config"][name] == (list(value) if isinstance(value, tuple) else value)
    assert provenance["config"]["features"] == rules
    assert provenance["config"]["kind"] == kind
    assert provenance["roles"] == json.loads(data.attrs["roles"])


@pytest.mark.parametrize("kind", KINDS)
def test_command_writes_the_same_stimuli(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    rules, settings, _ = SETS[kind]
    path = tmp_path / "stimuli.h5"
    features = [f"--feature={name}={rule}" for name, rule in rules.items()]
    assert main([kind, f"--out={path}", *options(settings), *features]) == 0
    total = sum(settings[split] for split in ("train", "validation", "test"))
    assert f"{total} stimuli, features {', '.join(rules)}" in capsys.readouterr().out
    again = prepare_stimuli(kind, tmp_path / "again.h5", rules, **settings)
    one, other = (open_store(p) for p in (path, again))
    for node in ("layers/input", "features"):
        xr.testing.assert_equal(one[node].to_dataset(), other[node].to_dataset())


def test_usual_features_and_settings(tmp_path: Path) -> None:
    path = tmp_path / "stimuli.h5"
    assert main(["binary", f"--out={path}"]) == 0
    config = json.loads(open_store(path).attrs["provenance"])["config"]
    assert config["features"] == {"easy": "copy", "hard": "parity-4"}
    assert (config["units"], config["train"], config["components"]) == (24, 32768, False)


def test_existing_file_is_kept(tmp_path: Path) -> None:
    path = prepare_stimuli("binary", tmp_path / "stimuli.h5", RULES, **SMALL)
    before = path.read_bytes()
    with pytest.raises(StoreError, match=r"stimuli\.h5"):
        prepare_stimuli("binary", path, RULES, **SMALL)
    assert path.read_bytes() == before
    prepare_stimuli("binary", path, {"only": "copy"}, **SMALL, overwrite=True)
    assert set(open_store(path)["features"].data_vars) == {"only"}


def test_half_precision_holds_the_images_exactly(tmp_path: Path) -> None:
    rules, settings, _ = SETS["images"]
    sizes = options(settings)
    trees = []
    for dtype in ("float16", "float32"):
        path = tmp_path / f"{dtype}.h5"
        features = [f"--feature={name}={rule}" for name, rule in rules.items()]
        assert main(["images", f"--out={path}", f"--dtype={dtype}", *sizes, *features]) == 0
        trees.append(open_store(path)["layers/input"]["activation"])
    assert [tree.dtype for tree in trees] == ["float16", "float32"]
    assert (trees[0].values == trees[1].values).all()


def test_unknown_kinds_and_settings(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="kind is 'sounds'"):
        prepare_stimuli("sounds", tmp_path / "stimuli.h5")
    with pytest.raises(ParameterError, match="binary has no setting 'length'.*'components'"):
        prepare_stimuli("binary", tmp_path / "stimuli.h5", length=4)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", KINDS)
def test_help_describes_every_setting(capsys: pytest.CaptureFixture[str], kind: str) -> None:
    with pytest.raises(SystemExit) as done:
        main([kind, "--help"])
    assert done.value.code == 0
    text = re.sub(r"\s+", " ", capsys.readouterr().out)
    for field in fields(KINDS[kind].config):
        if field.name != "features":
            # after the metavar comes the sentence of the docstring
            assert re.search(rf" --{field.name} \S+ [A-Z][\w, ]+", text), field.name
    assert "`" not in text


@pytest.mark.parametrize(
    ("arguments", "seen"),
    [
        (["--feature", "hard"], "--feature is 'hard'"),
        (["--feature", "a=copy", "--feature", "a=xor"], "--feature is 'a=xor'"),
        (["--feature", "a=nand"], "'nand'"),
        (["--units", "4"], "units is 4"),
        (["--units", "many"], "--units is 'many'. Write a whole number."),
        (["--test", "3"], "test is 3"),
        (["--prevalence", "easy"], "--prevalence is 'easy'. Write NAME=X"),
        (["--prevalence", "easy=much"], "--prevalence easy is 'much'. Write a number."),
        (["--prevalence=easy=.1", "--prevalence=easy=.2"], "--prevalence is 'easy=.2'"),
        (["--labelled", "nobody=.1"], "labelled names 'nobody'"),
        (["--components=perhaps"], "--components is 'perhaps'. Write true or false."),
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
