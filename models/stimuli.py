"""Stimuli as the training stage sees them: read from a file, prepared by its own stage."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from reptools import store
from reptools.errors import FeatureError, ParameterError, StimulusError, some

ROOT = Path(__file__).resolve().parents[1]


LABELLED = "labelled_"  # + feature: a coord (stimulus,), whether its label may be trained on


@dataclass(frozen=True)
class Stimuli:
    """Labelled inputs with their features.

    `data` holds ``input`` (stimulus, unit), (stimulus, channel, row, column) or (stimulus, token,
    unit), the features, and the coords split and ``labelled_<feature>``.
    """

    data: xr.Dataset
    features: tuple[str, ...]

    @property
    def held_out(self) -> xr.Dataset:
        """Validation and test, what the network is analysed on."""
        return self.data.isel(stimulus=np.flatnonzero(self.data["split"].values != "train"))

    @property
    def train(self) -> xr.Dataset:
        """What the network is trained on."""
        return self.data.isel(stimulus=np.flatnonzero(self.data["split"].values == "train"))

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one stimulus."""
        return self.data["input"].shape[1:]

    def classes(self, features: Sequence[str]) -> tuple[int, ...]:
        """Number of values of each feature, 0, 1, ...: two where it is binary.

        Raises
        ------
        FeatureError
            A feature that the stimuli do not have, or that has other values.
        """
        return tuple(_classes(self.data, name) for name in features)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of inputs, features, labels and splits: equal for equal stimuli in any file."""
        sha = hashlib.sha256()
        labelled = (str(name) for name in self.data.coords if str(name).startswith(LABELLED))
        for name in ("input", *sorted(self.features), *sorted(labelled)):
            sha.update(name.encode() + self.data[name].values.astype("<f4").tobytes())
        sha.update("\n".join(self.data["split"].values.tolist()).encode())
        return sha.hexdigest()


def load_stimuli(path: str | Path) -> Stimuli:
    """Read a file of stimuli as ``python -m datasets.prepare`` writes it.

    Inputs whose units have the coords channel, row and column are images; those along tokens are
    sequences.

    Raises
    ------
    StimulusError
        The file has no layer "input", or no coord "split" with train, validation and test, or
        images whose units are out of order.
    StoreError
        The file cannot be opened.
    """
    with store.open(path) as tree:
        if "/layers/input" not in tree.groups or "split" not in tree.coords:
            raise StimulusError(
                f"load_stimuli: {path} has no layer 'input' or no coord 'split'. "
                "Write it with: python -m datasets.prepare."
            )
        features = {str(name): v.variable.load() for name, v in tree["features"].data_vars.items()}
        beside = [str(n) for n in tree.coords if str(n) == "split" or str(n).startswith(LABELLED)]
        data = xr.Dataset(
            {"input": _shaped(tree["layers/input"].dataset["activation"], path), **features},
            coords={n: ("stimulus", tree.coords[n].values) for n in ("stimulus", *beside)},
        )
    splits = set(data["split"].values.tolist())
    if splits != {"train", "validation", "test"}:
        raise StimulusError(
            f"load_stimuli: {path} has the splits {sorted(splits)}. "
            "Training needs train, validation and test."
        )
    return Stimuli(data, tuple(features))


def _shaped(stored: xr.DataArray, path: str | Path) -> xr.Variable:
    """Inputs as networks take them: stimuli first, images with their three axes."""
    place = ("channel", "row", "column")
    if "token" in stored.dims:
        return stored.variable.transpose("stimulus", "token", "unit").load()
    if not set(place) <= set(stored.coords):
        return stored.variable.load()
    where = np.stack([stored.coords[name].values for name in place])  # (axis, unit)
    shape = tuple(int(n) for n in where.max(axis=1) + 1)
    if not np.array_equal(where, np.indices(shape).reshape(3, -1)):
        raise StimulusError(
            f"load_stimuli: {path} has images whose units are not ordered by channel, row and "
            "column. Write it with: python -m datasets.prepare."
        )
    return xr.Variable(("stimulus", *place), stored.values.reshape(-1, *shape))


def _classes(data: xr.Dataset, name: str) -> int:
    if name not in data.data_vars or name == "input":
        known = sorted(str(v) for v in data.data_vars if v != "input")
        raise FeatureError(
            f"load_stimuli: no feature {name!r} to train on. The stimuli have {known}."
        )
    values = data[name].values
    if values.ndim != 1:
        raise FeatureError(
            f"load_stimuli: feature {name!r} has dims {data[name].dims}. Train on features with "
            "one value for each stimulus."
        )
    found = np.unique(values)
    if len(found) < 2 or not np.array_equal(found, np.arange(len(found))):
        raise FeatureError(
            f"load_stimuli: feature {name!r} has the values {some(found.tolist())}. Train on "
            "features with the values 0, 1, ..., each of which occurs."
        )
    return len(found)


def tensors(part: xr.Dataset, train_on: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Inputs (stimulus, ...) as float32 and targets (stimulus, output) as int64."""
    targets = np.stack([part[name].values.astype(np.int64) for name in train_on], axis=1)
    inputs = np.ascontiguousarray(part["input"].values, dtype=np.float32)
    return torch.from_numpy(inputs), torch.from_numpy(targets)


def labelled(part: xr.Dataset, train_on: Sequence[str]) -> Tensor | None:
    """Whether a label may be trained on (stimulus, output), 1 or 0; None where all may."""
    names = [LABELLED + name for name in train_on]
    if not any(name in part.coords for name in names):
        return None
    every = np.ones(part.sizes["stimulus"])
    seen = [part.coords[name].values if name in part.coords else every for name in names]
    return torch.from_numpy(np.stack(seen, axis=1).astype(np.float32))


def prepare(settings: Mapping[str, Any], path: str | Path, *, overwrite: bool = False) -> Path:
    """Have the stage before this one write the stimuli, unless the file holds just these.

    The stages meet in files and commands: nothing here imports ``datasets``.

    Parameters
    ----------
    settings
        The kind of stimuli, ``features`` (name -> rule) and numbers, all as options of
        ``python -m datasets.prepare``.
    path
        Where the stimuli are, or will be.
    overwrite
        Replace a file that holds other stimuli.

    Raises
    ------
    ParameterError
        The settings cannot be kept.
    StimulusError
        The file exists and holds other stimuli, and `overwrite` is off.
    """
    path = Path(path).resolve()
    if not path.exists():
        return _run_prepare(settings, path)
    with TemporaryDirectory() as folder:
        wanted = load_stimuli(_run_prepare(settings, Path(folder) / path.name)).digest
    if wanted == (held := load_stimuli(path).digest):
        return path
    if not overwrite:
        raise StimulusError(
            f"prepare: {path} holds other stimuli (SHA-256 {held[:8]}) than the settings ask for "
            f"({wanted[:8]}). Use another folder, or overwrite what it holds."
        )
    return _run_prepare(settings, path, "--overwrite")


def _run_prepare(settings: Mapping[str, Any], path: Path, *flags: str) -> Path:
    options = {k: v for k, v in settings.items() if k not in ("kind", "features")}
    if taken := sorted({"help", "out", "feature", "overwrite"} & set(options)):
        raise ParameterError(
            f"prepare: data has the keys {taken}, which are no settings. Drop them."
        )
    command = [sys.executable, "-m", "datasets.prepare", str(settings.get("kind", "binary"))]
    command += [f"--feature={name}={rule}" for name, rule in settings["features"].items()]
    for name, value in options.items():
        command += [f"--{name}={text}" for text in _texts(value)]
    command += [*flags, f"--out={path}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ParameterError((done.stderr.strip() or f"{command} failed.").splitlines()[-1])
    return path


def _texts(value: object) -> list[str]:
    """A setting as the command takes it: a table repeats the option, a list is one with commas."""
    if isinstance(value, Mapping):
        return [f"{key}={text}" for key, inner in value.items() for text in _texts(inner)]
    return [",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)]
