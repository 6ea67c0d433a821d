"""Dissimilarity matrices, and models of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeAlias

import numpy as np
import xarray as xr

from reptools import schema
from reptools.engine.inputs.base import Given, HasArray, Input, Planted
from reptools.entering import rdms
from reptools.entering.labels import Index
from reptools.entering.rdms import RdmSide
from reptools.errors import StoreError

MODEL = "model"


@dataclass(frozen=True)
class RdmInput(Input):
    """A side ([outer,] stimulus, stimulus_), whose slabs are condensed vectors."""

    side = True
    type = "DataArray (..., stimulus, stimulus_), square array or condensed vector"
    text = "Dissimilarities. Labelled matrices are lined up by stimulus label."
    help = "rdms.h5 for all dissimilarity matrices, rdms.h5::rdms/NAME for one."
    address = True
    group = schema.RDMS

    def read(self, value: Any, name: str, first: RdmSide | None) -> RdmSide:
        """Read one matrix, and bring its rows and columns into the order of the first."""
        side = rdms.as_rdm_side(value, name)
        return side if first is None else rdms.align_rdms(first, side)

    def example(self, planted: Planted, number: int) -> xr.DataArray:
        """Squared Euclidean distances of planted activations."""
        return _distances(planted.activations(number))


@dataclass
class ByModel:
    """Models of one call."""

    value: Mapping[str, RdmSide]
    prepared: Mapping[str, Any] = field(default_factory=dict)
    single = None

    @property
    def coords(self) -> Mapping[str, Sequence[Any]]:
        """The models by name."""
        return {MODEL: list(self.value)}

    def prepare(self, each: Callable[[RdmSide], Any]) -> None:
        """Each model as the matrix is prepared."""
        self.prepared = {name: each(model) for name, model in self.value.items()}

    def at(self, side: Any, index: Index) -> Given:
        """Every model by its name; the same at every position."""
        return Given(self.prepared)

    def close(self, function: str) -> None:
        """Nothing was left out."""


@dataclass(frozen=True)
class ModelsInput(Input):
    """Several model RDMs by name."""

    type = "mapping, Dataset, list, or DataArray (model, stimulus, stimulus_)"
    text = "Models of the matrix: dissimilarities of the same stimuli, by name."
    help = "Models: dissimilarity matrices, each as FILE or FILE::rdms/NAME."
    address = True

    def read(self, value: Any, name: str, first: RdmSide) -> ByModel:
        """Models lined up with the matrix that they are models of."""
        found = rdms.as_models(value, name)
        return ByModel({key: rdms.align_rdms(first, model) for key, model in found.items()})

    def of_file(self, given: Any, node: xr.DataTree, name: str) -> Any:
        """All matrices of a file that is given as models."""
        if not isinstance(given, xr.DataTree) or schema.RDMS not in given.children:
            return given
        group = given[schema.RDMS].children
        if not group:
            raise StoreError(f"{name} is a file without dissimilarity matrices. Pass another.")
        return {key: child[schema.DISSIMILARITY] for key, child in group.items()}

    def example(self, planted: Planted, number: int) -> xr.DataArray:
        """Three models over the dimension ``model``."""
        models = xr.concat([_distances(planted.activations(i)) for i in (1, 2, 3)], dim=MODEL)
        return models.assign_coords(model=["first", "second", "third"])


def _distances(x: xr.DataArray) -> xr.DataArray:
    gaps = x.values[:, None] - x.values[None]
    coords = {"stimulus": x.stimulus.values, "stimulus_": x.stimulus.values}
    return xr.DataArray(np.sum(gaps**2, axis=-1), dims=("stimulus", "stimulus_"), coords=coords)


_Values: TypeAlias = xr.DataArray | xr.DataTree | xr.Dataset | HasArray | list[Any]
Rdm: TypeAlias = Annotated[_Values, RdmInput()]
Models: TypeAlias = Annotated[
    Mapping[str, Any] | xr.Dataset | xr.DataTree | xr.DataArray | list[Any], ModelsInput()
]
