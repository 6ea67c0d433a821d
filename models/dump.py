"""What a network does at a checkpoint, written to the run's file."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from reptools.errors import ParameterError
from reptools.store import Writer

from .config import RunConfig
from .mlp import MLP
from .stimuli import tensors


def balanced_accuracy(logits: ArrayLike, target: ArrayLike) -> float:
    """Mean of the shares answered correctly among the 0s and among the 1s.

    Parameters
    ----------
    logits
        Answers (stimulus,); above 0 means 1.
    target
        Truth (stimulus,), 0 or 1.

    Raises
    ------
    ParameterError
        The target has one value only.

    Examples
    --------
    >>> balanced_accuracy([-1.0, -2.0, -3.0, 4.0, -5.0], [0, 0, 0, 1, 1])
    0.75
    """
    truth = np.asarray(target).astype(bool)
    if truth.all() or not truth.any():
        raise ParameterError(
            f"balanced_accuracy: the target is constant over {truth.size} stimuli. "
            "Give it stimuli of both values."
        )
    correct = (np.asarray(logits) > 0) == truth
    return float((correct[truth].mean() + correct[~truth].mean()) / 2)


class Dump:
    """The file of one run, open while the network trains.

    Parameters
    ----------
    path
        The file to write.
    config
        The run's settings: its features trained on, checkpoints and threshold.
    seed
        Part of the system's name.
    held_out
        Validation and test stimuli: ``input``, features, coord split.
    provenance
        Where the numbers come from, as far as the caller knows.
    overwrite
        Replace an existing file.
    """

    def __init__(
        self,
        path: str | Path,
        config: RunConfig,
        seed: int,
        held_out: xr.Dataset,
        provenance: dict[str, Any],
        *,
        overwrite: bool = False,
    ) -> None:
        self._trained = list(config.train_on)
        self._threshold = config.training.threshold
        self._inputs, targets = tensors(held_out, self._trained)
        self._targets = targets.numpy()
        self._test = held_out["split"].values == "test"
        self._writer = Writer(
            path,
            system=f"{config.name}-seed{seed}",
            source="models.train",
            stimulus=held_out["stimulus"].values,
            features=held_out.drop_vars(["input", "split"]),
            coords={"split": held_out["split"].values},
            steps=list(config.training.checkpoints),
            provenance=provenance,
            overwrite=overwrite,
        )

    def __enter__(self) -> Dump:
        self._writer.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._writer.__exit__(kind, error, trace)

    def write(self, model: MLP, step: int) -> None:
        """Write every layer's activations, the answers and the readout after `step` steps."""
        model.eval()
        with torch.inference_mode():
            layers = model.activations(self._inputs)
            logits = model.readout(list(layers.values())[-1]).numpy()  # (stimulus, output)
        self._writer.append(
            layers,
            step=step,
            outputs={name: logits[:, i] for i, name in enumerate(self._trained)},
            per_step=self._per_step(model, logits),
        )

    def _per_step(self, model: MLP, logits: NDArray[Any]) -> dict[str, xr.DataArray]:
        accuracy = np.array(
            [
                balanced_accuracy(logits[self._test, i], self._targets[self._test, i])
                for i in range(len(self._trained))
            ]
        )
        feature, output = {"feature": self._trained}, {"output": self._trained}
        return {
            "accuracy": xr.DataArray(accuracy, coords=feature),
            "learned": xr.DataArray((accuracy >= self._threshold).astype(np.uint8), coords=feature),
            "readout_weight": xr.DataArray(
                model.readout.weight.detach().numpy(), dims=("output", "unit"), coords=output
            ),
            "readout_bias": xr.DataArray(model.readout.bias.detach().numpy(), coords=output),
        }
