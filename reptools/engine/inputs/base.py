"""What every kind of input has: reading, aligning, its place in a file and on the command line."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import numpy as np
import xarray as xr

from reptools.arrays import matmul
from reptools.entering.labels import Index

PLANTED_SEED = 20261124


class HasArray(Protocol):
    """numpy, torch, dask and pandas alike, none of them imported."""

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        """The values as a numpy array."""


@dataclass(frozen=True)
class Given:
    """What a kernel is given of an input at one position.

    Attributes
    ----------
    argument : object
        The kernel's argument.
    places : mapping of str to list of int
        Where along a dimension of the result the kernel's values belong, where it gives some only.
    """

    argument: Any
    places: Mapping[str, Sequence[int]] = field(default_factory=dict)


class Beside(Protocol):
    """An input that is no side, lined up with the first side of a call."""

    @property
    def coords(self) -> Mapping[str, Sequence[Any]]:
        """Labels of the dimensions that it brings to a result."""
        ...

    @property
    def value(self) -> Any:
        """What the wiring's functions of the inputs see."""

    @property
    def single(self) -> str | None:
        """A dimension that it brings and that the user did not ask for, so that it is dropped."""

    def prepare(self, each: Callable[[Any], Any]) -> None:
        """Prepare once what is like a side: ``each`` takes one and gives what kernels take."""

    def at(self, side: Any, index: Index) -> Given | None:
        """The kernel's argument at a position; None where nothing can be computed."""

    def close(self, function: str) -> None:
        """Say what was missing, once a call is over."""


@dataclass(frozen=True)
class Input:
    """A kind of input; annotations of positional parameters carry one.

    A side has bare slabs over positions (activations, dissimilarities); every other input stands
    beside the sides and is lined up with the first of them.
    """

    side: ClassVar[bool] = False
    type: ClassVar[str] = ""  # in docstrings
    text: ClassVar[str] = ""
    help: ClassVar[str] = ""  # on the command line
    address: ClassVar[bool] = False  # whether it is written there as FILE or FILE::NAME
    group: ClassVar[str] = ""  # of a file that holds one for each layer

    def read(self, value: Any, name: str, first: Any) -> Any:
        """The user's value; a side in its order, or what is lined up with the side ``first``."""
        raise NotImplementedError

    def of_file(self, given: Any, node: xr.DataTree, name: str) -> Any:
        """What is meant in an open file where the user has given ``given`` (None for nothing)."""
        return given

    def of_layer(self, given: Any, x: Any, layer: str) -> Any:
        """What is meant beside one layer ``x`` of the file."""
        return given

    def layers(self, given: Any, names: Sequence[str]) -> Sequence[str]:
        """Layers of the file that this input leaves to choose from."""
        return names

    def example(self, planted: Planted, number: int) -> Any:
        """Data for the laws; ``number`` counts the inputs of an operation."""
        raise NotImplementedError


@dataclass(frozen=True)
class Planted:
    """Structure that examples of all inputs share, so that scores are neither 0 nor 1.

    Parameters
    ----------
    n : int
        Stimuli.
    widths : tuple of int
        Units of the first and of the second side.
    """

    n: int = 60
    widths: tuple[int, int] = (7, 5)

    @property
    def features(self) -> xr.Dataset:
        """Two binary features and a continuous one."""
        rng = np.random.default_rng(PLANTED_SEED)
        return xr.Dataset(
            {
                "easy": ("stimulus", np.arange(self.n) % 2, {"kind": "binary"}),
                "hard": ("stimulus", np.arange(self.n) // 2 % 2, {"kind": "binary"}),
                "shade": ("stimulus", rng.normal(size=self.n), {"kind": "continuous"}),
            },
            coords={"stimulus": [f"s{i:03d}" for i in range(self.n)]},
        )

    def activations(self, number: int, width: int | None = None) -> xr.DataArray:
        """Activations of a system: the features in directions of its own, and noise."""
        width = self.widths[min(number, 1)] if width is None else width
        rng = np.random.default_rng(PLANTED_SEED + 1 + number)
        features = self.features
        common = np.stack([features[name].values for name in features], axis=1)
        values = (
            matmul(common, rng.normal(size=(3, width))) + rng.normal(size=(self.n, width)) + 2.0
        )
        coords = {"stimulus": features["stimulus"].values}
        return xr.DataArray(values, dims=("stimulus", "unit"), coords=coords)
