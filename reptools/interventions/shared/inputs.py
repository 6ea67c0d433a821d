"""The head as an input of an operation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeAlias

import numpy as np
import xarray as xr

from reptools.engine.inputs import Given, Input, Planted
from reptools.entering.labels import Index, Side
from reptools.errors import ParameterError, some
from reptools.interventions.readout import readout
from reptools.interventions.shared.heads import OUTPUT, Head, Readout, Values


@dataclass(frozen=True)
class HeadAt:
    """The head at one position, as kernels are given it."""

    readout: Readout
    checked: Callable[[Values], Head]  # the head, for activations that gave the saved answers


@dataclass
class Heads:
    """A head lined up with the activations of one call."""

    value: Readout
    head_at: Callable[[Index, Values], Head]
    single = None

    @property
    def coords(self) -> Mapping[str, Sequence[Any]]:
        """The outputs by name."""
        return {OUTPUT: self.value.names}

    def prepare(self, each: Callable[[Any], Any]) -> None:
        """A head is no side."""

    def at(self, side: Side, index: Index) -> Given:
        """The head there, which checks the activations that it is given."""
        return Given(HeadAt(self.value, lambda x: self.head_at(index, x)))

    def close(self, function: str) -> None:
        """Nothing was left out."""


@dataclass(frozen=True)
class ReadoutInput(Input):
    """A linear head of the network, which reads the layer at hand."""

    type = "Readout"
    text = "The head, from :func:`readout`; ``x`` is held against the answers that it saved."

    def read(self, value: Any, name: str, first: Side) -> Heads:
        """The head lined up with the activations."""
        if not isinstance(value, Readout):
            raise ParameterError(
                f"{name} is a {type(value).__name__}. Pass rt.interventions.readout(tree), or "
                "Readout.of(weight, bias)."
            )
        return Heads(value, value.checked(first))

    def of_file(self, given: Any, node: xr.DataTree, name: str) -> Any:
        """The head that the file saved, where none is given."""
        return readout(node) if given is None else given

    def layers(self, given: Readout, names: Sequence[str]) -> Sequence[str]:
        """The layer that feeds the head."""
        if not isinstance(given, Readout) or given.layer is None:
            return names
        fed = [name for name in names if name == given.layer.replace("/", ".")]
        if not fed:
            raise ParameterError(
                f"the head reads the layer {given.layer!r}, which is not among {some(names)}. "
                "Leave out layers=, or name that layer."
            )
        return fed

    def example(self, planted: Planted, number: int) -> Readout:
        """A head that answers the binary features of planted activations, mostly rightly."""
        x = planted.activations(0).values
        names = ["easy", "hard"]
        target = np.stack([2.0 * planted.features[name].values - 1 for name in names], axis=1)
        design = np.column_stack([x, np.ones(len(x))])
        fitted = np.linalg.lstsq(design, target, rcond=None)[0]
        return Readout.of(fitted[:-1].T, fitted[-1], names)


ReadoutOf: TypeAlias = Annotated[Readout, ReadoutInput()]
