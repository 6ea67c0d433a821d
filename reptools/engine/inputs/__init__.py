"""Kinds of inputs, a file each, and the annotations by which an operation asks for them."""

from __future__ import annotations

from reptools.engine.inputs.activations import (
    Activations,
    ActivationsInput,
    Changed,
    Recordings,
    Repeated,
    SameUnits,
    Whole,
)
from reptools.engine.inputs.base import Beside, Given, HasArray, Input, Planted
from reptools.engine.inputs.features import FEATURE, Features, FeaturesInput, Truths
from reptools.engine.inputs.rdms import MODEL, Models, ModelsInput, Rdm, RdmInput

# what a parameter of a user's own operation on bare arrays is, by its name
BY_NAME = {
    "x": Activations,
    "y": Activations,
    "features": Features,
    "target": Features,
    "rdm": Rdm,
    "a": Rdm,
    "b": Rdm,
    "models": Models,
}

__all__ = [
    "BY_NAME",
    "FEATURE",
    "MODEL",
    "Activations",
    "ActivationsInput",
    "Beside",
    "Changed",
    "Features",
    "FeaturesInput",
    "Given",
    "HasArray",
    "Input",
    "Models",
    "ModelsInput",
    "Planted",
    "Rdm",
    "RdmInput",
    "Recordings",
    "Repeated",
    "SameUnits",
    "Truths",
    "Whole",
]
