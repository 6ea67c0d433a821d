"""Our folder says whose it is when Hugging Face's library of the same name was meant."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def python(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=folder, capture_output=True, text=True
    )


@pytest.mark.parametrize("name", ["load_dataset", "Dataset", "DatasetDict", "load_from_disk"])
def test_hugging_faces_names_are_answered(name: str) -> None:
    done = python(f"from datasets import {name}", ROOT)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith(f"ImportError: datasets.{name} belongs to Hugging Face's package")
    assert str(ROOT / "datasets") in last


def test_attribute_access_is_answered_too() -> None:
    done = python("import datasets; datasets.load_dataset('mnist')", ROOT)
    assert "ImportError: datasets.load_dataset belongs to Hugging Face" in done.stderr


def test_other_names_are_ordinary_attribute_errors() -> None:
    done = python("import datasets; assert not hasattr(datasets, 'nonsense')", ROOT)
    assert done.returncode == 0, done.stderr


def test_importing_the_folder_imports_nothing_else() -> None:
    code = "import sys, datasets; assert not {'numpy', 'torch', 'reptools'} & set(sys.modules)"
    done = python(code, ROOT)
    assert done.returncode == 0, done.stderr


def test_outside_the_checkout_the_name_is_free(tmp_path: Path) -> None:
    code = (
        "import importlib.util as u; s = u.find_spec('datasets');"
        f"assert s is None or not str(s.origin).startswith({str(ROOT / 'datasets')!r}), s"
    )
    done = python(code, tmp_path)
    assert done.returncode == 0, done.stderr
