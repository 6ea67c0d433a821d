"""Small colour images of one shape, whose colour, shape, texture, size and place are features."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from reptools.errors import FeatureError, ParameterError

from .checks import attach_roles
from .drawing import SHAPES, TEXTURES, render
from .image_features import GRID, PROPERTIES, ImageFeature
from .sampling import (
    HELD_OUT,
    SPLITS,
    check_config,
    check_names,
    draw_labelled,
    draw_values,
    labelled_coords,
    value_shares,
)

SIZE = 32  # rows and columns
CHANNELS = ("red", "green", "blue")
# All numbers below are our choice.
SIDES = 7.0, 12.0  # root of a shape's area in pixels, smallest and largest
EXTENT = 0.92  # half the width of the widest shape, for side 1, at any angle that occurs
# share of a class's stretch that is used: the classes of a property stay apart
SPREAD = {"colour": 0.3, "size": 0.6, "position": 0.8}
MEAN, SATURATION = 0.4, 0.3  # of a colour: all hues have the same mean over the channels
SHADES = 0.0, 0.25  # of the background, darker than any shape
TURN = np.deg2rad(10)  # largest angle by which a shape is turned
CONTRAST = 0.35  # of textures
READABLE = 0.15  # how far above chance a trivial readout may tell shapes apart
BLOCK = 512  # images drawn at a time
Array = NDArray[Any]


@dataclass(frozen=True)
class ImagesConfig:
    """Settings of a set of images: 32 x 32 pixels, red, green and blue.

    Each shows one shape. Its exact place, size, hue and angle and the shade of the background are
    drawn anew for each image; a texture begins anywhere. All shapes cover the same area, all
    textures and hues have the same mean brightness.

    Parameters
    ----------
    features
        The properties that make up the design, each once
        (:func:`datasets.image_features.read_features`).
    nuisance
        Properties that vary over their whole range where they are no features. A property that
        is neither keeps one value: hue 0, a circle, plain, of middle size, in the middle. Where
        the position varies, trivial readouts cannot tell shapes apart, which is checked
        (:func:`datasets.checks.check_roles`).
    train, validation, test
        Number of images in each split. The two held-out ones hold every combination of the
        features' classes equally often, so they are multiples of the number of combinations.
    seed
        Seeds all draws. Other settings of the training split leave the held-out ones as they are.
    prevalence
        Feature -> share of the training images of its class 1 (counted from 0); the other classes
        share the rest evenly. A feature that is not named has all classes equally often.
    labelled
        Feature -> share of the training images on which its label may be used, apart from all
        features and from each other; all of them where it is not named.

    Raises
    ------
    ParameterError, FeatureError
        A value out of its range; a property that is named twice.
    """

    features: tuple[ImageFeature, ...]
    nuisance: tuple[str, ...] = ("size", "position")
    train: int = 8192
    validation: int = 512
    test: int = 512
    seed: int = 0
    prevalence: Mapping[str, float] = field(default_factory=dict)
    labelled: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_names(self, [feature.name for feature in self.features])
        if unknown := sorted(set(self.nuisance) - set(PROPERTIES)):
            raise ParameterError(
                f"ImagesConfig: nuisance names {unknown}. Use some of {list(PROPERTIES)}."
            )
        rules = [feature.rule for feature in self.features]
        if len(set(rules)) < len(rules):
            raise FeatureError(
                f"ImagesConfig: features have the rules {rules}. Use each property once, for two "
                "features of one property would not be independent."
            )
        check_config(self, self.levels)

    @property
    def levels(self) -> dict[str, int]:
        """Feature -> number of classes."""
        return {feature.name: feature.classes for feature in self.features}

    @property
    def varied(self) -> set[str]:
        """Properties that are not about the same in all images."""
        return {feature.rule for feature in self.features} | set(self.nuisance)


def make_images(config: ImagesConfig) -> xr.Dataset:
    """Draw the images of all three splits.

    Parameters
    ----------
    config
        Features, nuisance, sizes of the splits, seed, and what differs in training.

    Returns
    -------
    xarray.Dataset
        ``input`` (stimulus, unit), float32 from 0 to 1 in steps of 1/256 (so that float16 holds
        it exactly), with the coords channel, row and column of each unit, channel by channel and
        row by row; and one variable (stimulus,) per feature with attrs kind, complexity, chance,
        rule and values. Coords: ``stimulus``, a label made from the image, equal only for equal
        images; ``split``; and ``labelled_<feature>`` (0 or 1) for each feature of `labelled`. The
        attr ``roles`` says what :func:`datasets.checks.check_roles` measured.

    Examples
    --------
    >>> from datasets.image_features import read_features
    >>> config = ImagesConfig(read_features({"colour": "colour", "shape": "shape"}), train=64)
    >>> data = make_images(config)
    >>> dict(data.sizes), data["shape"].attrs["chance"]
    ({'stimulus': 1088, 'unit': 3072}, 0.25)
    """
    rng = np.random.default_rng(config.seed)
    balanced = value_shares(config.levels, {})
    shares = dict.fromkeys(HELD_OUT, balanced)
    shares["train"] = value_shares(config.levels, config.prevalence)
    values, images = {}, {}
    for split, share in shares.items():
        values[split] = draw_values(getattr(config, split), list(share.values()), rng)
        images[split] = _draw(config, values[split], rng)
    seen = draw_labelled(values["train"], config.labelled, rng)

    every = np.concatenate([values[split] for split in SPLITS])
    pixels = np.concatenate([images[split] for split in SPLITS])
    channel, row, column = np.indices((len(CHANNELS), SIZE, SIZE)).reshape(3, -1)
    data = xr.Dataset(
        {
            "input": (("stimulus", "unit"), pixels),
            **{
                feature.name: ("stimulus", every[:, i], feature.attrs)
                for i, feature in enumerate(config.features)
            },
        },
        coords={
            "stimulus": [
                f"image:{blake2b(p.tobytes(), digest_size=8).hexdigest()}" for p in pixels
            ],
            "split": ("stimulus", np.repeat(SPLITS, [len(values[split]) for split in SPLITS])),
            "channel": ("unit", channel),
            "row": ("unit", row),
            "column": ("unit", column),
            **labelled_coords(seen, config.validation + config.test),
        },
    )
    hidden = {
        feature.name: 1 / feature.classes + READABLE
        for feature in config.features
        if feature.rule == "shape" and "position" in config.varied
    }
    return attach_roles(data, config, hidden)


def _draw(config: ImagesConfig, values: Array, rng: np.random.Generator) -> Array:
    """Images (stimulus, unit) of the given classes (stimulus, feature)."""
    n = len(values)
    feature = {
        f.rule: (values[:, i].astype(np.intp), f.classes) for i, f in enumerate(config.features)
    }
    one = np.zeros(n, np.intp), 1

    def which(name: str, kinds: int) -> Array:
        """Draw which shape or texture."""
        if name in feature:
            return feature[name][0]
        return rng.integers(kinds, size=n) * (name in config.nuisance)

    def where(name: str, index: Array, count: int) -> Array:
        """Draw a number from 0 to 1: about the middle of a class, anywhere, or near 1/2."""
        spread = SPREAD[name]
        if name not in feature and name not in config.nuisance:
            spread /= 4
        elif count == 1:  # a nuisance, or the rows of a grid of one row
            spread = 1
        return (index + 0.5 + spread * (rng.random(n) - 0.5)) / count

    hue_class, hues = feature.get("colour", one)
    hue = where("colour", hue_class, hues) - 0.5 / hues
    size = where("size", *feature.get("size", one))
    place, places = feature.get("position", one)
    rows, columns = GRID[places]
    at = np.stack(
        [where("position", place // columns, rows), where("position", place % columns, columns)],
        axis=1,
    )
    margin = EXTENT * SIDES[1]
    drawing = {
        "shape": which("shape", len(SHAPES)),
        "texture": which("texture", len(TEXTURES)),
        "colour": MEAN + SATURATION * np.cos(2 * np.pi * (hue[:, None] - np.arange(3) / 3)),
        "background": rng.uniform(*SHADES, size=n),
        "side": SIDES[0] * (SIDES[1] / SIDES[0]) ** size,
        "centre": margin + (SIZE - 2 * margin) * at,
        "angle": rng.uniform(-TURN, TURN, size=n),
        "phase": rng.random((n, 2)),
    }
    images = np.empty((n, len(CHANNELS) * SIZE * SIZE), np.float32)
    for start in range(0, n, BLOCK):
        block = slice(start, start + BLOCK)
        part = {
            name: x[block] if x.dtype.kind == "i" else x[block].astype(np.float32)
            for name, x in drawing.items()
        }
        drawn = render(SIZE, contrast=CONTRAST, **part)
        images[block] = (np.rint(drawn * 256) / 256).reshape(len(drawn), -1)
    return images
