"""Features of images: which property of the drawn shape, in how many classes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from reptools.errors import FeatureError

from .drawing import SHAPES, TEXTURES
from .sampling import check_name


@dataclass(frozen=True)
class Property:
    """Something that can be varied in an image, with the numbers of classes it can have.

    `complexity` is the degree of the simplest polynomial of the pixels that tells its classes
    apart wherever the shape lies (our choice of a measure): the mean colour and the side on which
    an image is brighter are linear; area, texture and shape need products of pixels.
    """

    classes: tuple[int, ...]
    usual: int
    complexity: float


PROPERTIES: dict[str, Property] = {
    "colour": Property(tuple(range(2, 9)), 4, 1.0),
    "shape": Property(tuple(range(2, len(SHAPES) + 1)), 4, 2.0),
    "texture": Property(tuple(range(2, len(TEXTURES) + 1)), 4, 2.0),
    "size": Property((2, 3, 4), 2, 2.0),
    "position": Property((2, 3, 4, 6, 9), 4, 1.0),
}
GRID = {
    1: (1, 1),
    2: (1, 2),
    3: (1, 3),
    4: (2, 2),
    6: (2, 3),
    9: (3, 3),
}  # rows and columns of places


@dataclass(frozen=True)
class ImageFeature:
    """A property of the drawn shape as a feature with some number of classes.

    Parameters
    ----------
    name
        What the feature is called in files and figures.
    rule
        ``"colour"``, ``"shape"``, ``"texture"``, ``"size"`` or ``"position"``.
    classes
        Number of classes: 2 to 8 hues, evenly spaced; 2 to 6 shapes and 2 to 4 textures, in the
        order of ``drawing.SHAPES`` and ``drawing.TEXTURES``; 2 to 4 sizes; 2, 3, 4, 6 or 9 places
        of a grid.

    Raises
    ------
    FeatureError
        Unknown rule, or a number of classes that it does not have.

    Examples
    --------
    >>> ImageFeature("shape", "shape", 4).values
    ('circle', 'square', 'triangle', 'cross')
    """

    name: str
    rule: str
    classes: int

    def __post_init__(self) -> None:
        check_name(self.name)
        if self.rule not in PROPERTIES:
            raise FeatureError(
                f"ImageFeature: {self.name!r} has the rule {self.rule!r}. "
                f"Use one of {list(PROPERTIES)}."
            )
        if self.classes not in (allowed := PROPERTIES[self.rule].classes):
            raise FeatureError(
                f"ImageFeature: {self.name!r} has {self.classes!r} classes of {self.rule}. "
                f"Use {', '.join(map(str, allowed))}."
            )

    @property
    def values(self) -> tuple[str, ...]:
        """What each class is called."""
        if self.rule == "colour":
            return tuple(f"hue {360 * i / self.classes:.0f}" for i in range(self.classes))
        if self.rule == "size":
            return tuple(f"size {i + 1} of {self.classes}" for i in range(self.classes))
        if self.rule == "position":
            columns = GRID[self.classes][1]
            return tuple(
                f"row {i // columns + 1} column {i % columns + 1}" for i in range(self.classes)
            )
        return tuple(SHAPES if self.rule == "shape" else TEXTURES)[: self.classes]

    @property
    def attrs(self) -> dict[str, str | float]:
        """What a file says about the feature."""
        return {
            "kind": "binary" if self.classes == 2 else "categorical",
            "complexity": PROPERTIES[self.rule].complexity,
            "chance": 1 / self.classes,
            "rule": self.rule,
            "values": json.dumps(self.values),
        }


def read_features(rules: Mapping[str, str]) -> tuple[ImageFeature, ...]:
    """Read the features of images.

    Parameters
    ----------
    rules
        Feature name -> property, with the number of classes where it is not the usual one:
        ``"colour"``, ``"shape-3"``.

    Raises
    ------
    FeatureError
        A rule that cannot be read.

    Examples
    --------
    >>> [f.classes for f in read_features({"colour": "colour", "form": "shape-3"})]
    [4, 3]
    """
    features = []
    for name, text in rules.items():
        rule, _, classes = str(text).partition("-")
        if rule not in PROPERTIES or not (classes.isdecimal() or classes == ""):
            raise FeatureError(
                f"read_features: {name!r} has the rule {text!r}. "
                f"Use one of {list(PROPERTIES)}, with '-' and a number of classes: 'shape-3'."
            )
        features.append(ImageFeature(name, rule, int(classes or PROPERTIES[rule].usual)))
    return tuple(features)
