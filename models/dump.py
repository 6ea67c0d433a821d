"""What a network does at a checkpoint, written to the run's file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from reptools.errors import ParameterError
from reptools.store import Writer

from .architectures.network import Network
from .learner import Learner
from .objective import balanced_accuracy, split_logits, widths
from .stimuli import Stimuli, tensors

CHUNK = 1024  # stimuli in one pass, so that large inputs do not fill the memory


class Dump:
    """The file of one run, open while the network trains.

    Besides layers, features and answers, ``/outputs`` holds for every checkpoint

    - ``accuracy`` and ``learned`` (feature,): balanced accuracy on the test stimuli, and whether
      it reaches the threshold; ``validation_accuracy`` (feature,) is what phases and the end of a
      run go by;
    - ``rank`` (feature,): place of the feature among the outputs, 0 the first;
    - ``readout_weight`` (output, unit) and ``readout_bias`` (output,), where a linear readout
      follows a layer. The outputs of a feature of several classes are named ``colour=0``, ...;
    - ``phase``, where there are several: the phase that the training goes on with.

    Parameters
    ----------
    path
        The file to write.
    learner
        The network, at its present step; its features, checkpoints and threshold.
    stimuli
        Validation and test are dumped.
    provenance
        Where the numbers come from, as far as the caller knows.
    overwrite
        Replace an existing file.
    resume
        Go on with the leftover of a file: what it holds already is compared, and must be equal.
    """

    def __init__(
        self,
        path: str | Path,
        learner: Learner,
        stimuli: Stimuli,
        provenance: dict[str, Any],
        *,
        overwrite: bool = False,
        resume: bool = False,
    ) -> None:
        self._features = list(learner.features)
        self._classes = stimuli.classes(self._features)
        config = learner.config
        self._training, self._layers = config.training, config.dump.layers
        self._phased = len(config.phases) > 1
        held_out = stimuli.held_out
        self._inputs, targets = tensors(held_out, self._features)
        self._targets = targets.numpy()
        split = held_out["split"].values
        self._rows = {name: split == name for name in ("test", "validation")}
        known = self._training.beyond is None  # else where the run will end is not
        self._writer = Writer(
            path,
            system=f"{config.name}-seed{learner.seed}",
            source="models.train",
            stimulus=held_out["stimulus"].values,
            features=held_out[list(stimuli.features)].reset_coords(drop=True),
            coords={"split": split},
            steps=list(self._training.checkpoints) if known else None,
            provenance=provenance,
            overwrite=overwrite,
            resume=resume,
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

    def close(self) -> None:
        """Finish the file: the run is over."""
        self._writer.close()

    def write(self, learner: Learner) -> None:
        """Look at the network after its present step and write what it does.

        The learner's course takes note of the accuracy, so that phases and the end of the run
        follow from what is in the file.
        """
        model = learner.model
        model.eval()
        layers, logits = self._passes(model)
        model.train()
        answers = [part.numpy() for part in split_logits(logits, self._classes)]
        accuracy = {name: self._accuracy(answers, rows) for name, rows in self._rows.items()}
        learner.course.look(
            learner.step, dict(zip(self._features, accuracy["validation"].tolist(), strict=True))
        )
        self._writer.append(
            self._chosen(layers),
            step=learner.step,
            outputs=dict(zip(self._features, answers, strict=True)),
            per_step={
                **self._per_step(model, accuracy),
                **({"phase": xr.DataArray(learner.course.phase)} if self._phased else {}),
            },
        )

    def _passes(self, model: Network) -> tuple[dict[str, Tensor], Tensor]:
        """Activations (stimulus, ...) and logits (stimulus, logit) of all stimuli."""
        layers: list[dict[str, Tensor]] = []
        logits = []
        with torch.inference_mode():
            for x in torch.split(self._inputs, CHUNK):
                layers.append(model.activations(x))
                feeds = layers[-1].get(model.head or "")
                logits.append(model(x) if feeds is None else model.readout(feeds))
        whole = {name: torch.cat([part[name] for part in layers]) for name in layers[0]}
        return whole, torch.cat(logits)

    def _chosen(self, layers: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Those layers that are to be written, in order of depth."""
        if unknown := sorted(set(self._layers) - set(layers)):
            raise ParameterError(
                f"Dump: dump.layers names {unknown}, but the network has {list(layers)}. "
                "Correct the name."
            )
        return {k: v for k, v in layers.items() if not self._layers or k in self._layers}

    def _accuracy(self, answers: list[NDArray[Any]], rows: NDArray[np.bool_]) -> NDArray[Any]:
        """Balanced accuracy on some of the stimuli (feature,)."""
        return np.array(
            [balanced_accuracy(a[rows], self._targets[rows, i]) for i, a in enumerate(answers)]
        )

    def _per_step(
        self, model: Network, accuracy: Mapping[str, NDArray[Any]]
    ) -> dict[str, xr.DataArray]:
        feature = {"feature": self._features}
        learned = accuracy["test"] >= self._training.threshold
        found = {
            "accuracy": xr.DataArray(accuracy["test"], coords=feature),
            "validation_accuracy": xr.DataArray(accuracy["validation"], coords=feature),
            "learned": xr.DataArray(learned.astype(np.uint8), coords=feature),
            "rank": xr.DataArray(np.arange(len(self._features), dtype=np.uint8), coords=feature),
        }
        if model.head is None:
            return found
        readout = model.readout
        output = {"output": self._output_names()}
        weight, bias = readout.weight.detach().numpy(), readout.bias.detach().numpy()
        return found | {
            "readout_weight": xr.DataArray(weight, dims=("output", "unit"), coords=output),
            "readout_bias": xr.DataArray(bias, coords=output),
        }

    def _output_names(self) -> list[str]:
        names = []
        for name, count in zip(self._features, widths(self._classes), strict=True):
            names += [name] if count == 1 else [f"{name}={value}" for value in range(count)]
        return names
