"""Stimuli as the training stage sees them: read from a file, prepared by its own stage."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from reptools import store
from reptools.errors import FeatureError, ParameterError, StimulusError

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Stimuli:
    """Labelled inputs with their features: ``input`` (stimulus, unit), features, coord split."""

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
    def digest(self) -> str:
        """SHA-256 of inputs, features and splits: equal for equal stimuli in any file."""
        sha = hashlib.sha256()
        for name in ("input", *sorted(self.features)):
            sha.update(name.encode() + self.data[name].values.astype("<f4").tobytes())
        sha.update("\n".join(self.data["split"].values.tolist()).encode())
        return sha.hexdigest()


def load_stimuli(path: str | Path) -> Stimuli:
    """Read a file of stimuli as ``python -m datasets.prepare`` writes it.

    Raises
    ------
    StimulusError
        The file has no layer "input", or no coord "split" with train, validation and test.
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
        data = xr.Dataset(
            {
                "input": (("stimulus", "unit"), tree["layers/input/activation"].values),
                **features,
            },
            coords={name: ("stimulus", tree.coords[name].values) for name in ("stimulus", "split")},
        )
    splits = set(data["split"].values.tolist())
    if splits != {"train", "validation", "test"}:
        raise StimulusError(
            f"load_stimuli: {path} has the splits {sorted(splits)}. "
            "Training needs train, validation and test."
        )
    return Stimuli(data, tuple(features))


def tensors(part: xr.Dataset, train_on: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Inputs (stimulus, unit) and targets (stimulus, output) for the network.

    Raises
    ------
    FeatureError
        A feature that the stimuli do not have, or that is not binary.
    """
    for name in train_on:
        if name not in part or name == "input":
            known = sorted(str(v) for v in part.data_vars if v != "input")
            raise FeatureError(
                f"tensors: no feature {name!r} to train on. The stimuli have {known}."
            )
        if not np.isin(part[name].values, (0, 1)).all():
            raise FeatureError(
                f"tensors: feature {name!r} has values other than 0 and 1. Train on binary ones."
            )
    targets: NDArray[Any] = np.stack([part[name].values for name in train_on], axis=1)
    inputs = part["input"].values
    return torch.tensor(inputs, dtype=torch.float32), torch.tensor(targets, dtype=torch.float32)


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
    command += [f"--{name}={value}" for name, value in options.items()]
    command += [*flags, f"--out={path}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ParameterError((done.stderr.strip() or f"{command} failed.").splitlines()[-1])
    return path
