"""Antialiased drawing of one textured shape on a plain background, many images at a time.

A shape is a function of place whose value is about the distance to its outline, negative inside,
drawn with unit area: all shapes of one size cover the same number of pixels. A texture is a
function of place with mean 0 and variance 1: all textures leave the mean colour as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Drawing = Callable[[Array, Array], Array]  # x and y -> value, all (image, row, column)


def _disc(x: Array, y: Array) -> Array:
    distance: Array = np.hypot(x, y) - np.pi**-0.5
    return distance


def _ring(x: Array, y: Array) -> Array:
    outer = (0.75 * np.pi) ** -0.5  # with a hole of half the radius
    distance: Array = np.abs(np.hypot(x, y) - 0.75 * outer) - 0.25 * outer
    return distance


def _square(x: Array, y: Array) -> Array:
    return np.maximum(np.abs(x), np.abs(y)) - 0.5


def _cross(x: Array, y: Array) -> Array:
    arm = 5**-0.5  # five squares
    long, short = np.maximum(np.abs(x), np.abs(y)), np.minimum(np.abs(x), np.abs(y))
    return np.maximum(long - 1.5 * arm, short - 0.5 * arm)


def _star(x: Array, y: Array, *, tips: int, inner: float) -> Array:
    """Star whose inner corners lie at `inner` of its radius; a polygon where that is cos(pi/n)."""
    half = np.pi / tips
    radius = (tips * inner * np.sin(half)) ** -0.5
    # fold the plane into the sector between a tip and the inner corner beside it
    angle = np.arctan2(x, y) % np.float32(2 * half)
    angle = np.minimum(angle, np.float32(2 * half) - angle)
    distance = np.hypot(x, y)
    tip, corner = np.array([1.0, 0.0]), inner * np.array([np.cos(half), np.sin(half)])
    along = (corner - tip) / np.hypot(*(corner - tip))
    normal = np.array([along[1], -along[0]], np.float32)
    towards: Array = np.cos(angle) * normal[0] + np.sin(angle) * normal[1]
    outside: Array = distance * towards - np.float32(radius) * normal[0]
    return outside


SHAPES: Mapping[str, Drawing] = {
    "circle": _disc,
    "square": _square,
    "triangle": partial(_star, tips=3, inner=0.5),
    "cross": _cross,
    "star": partial(_star, tips=5, inner=0.45),
    "ring": _ring,
}


def _wave(x: Array) -> Array:
    """Square wave of period 1 with slopes, so that a pixel is not all or nothing."""
    wave = np.float32(1.5) * np.sin(np.float32(2 * np.pi) * x)
    clipped: Array = np.clip(wave, -1, 1)
    return clipped


def _dots(x: Array, y: Array) -> Array:
    turns = np.float32(2 * np.pi)
    height = np.cos(turns * x) + np.cos(turns * y)
    dots: Array = -np.clip(2 * height - 1, 0, 1)  # dark
    return dots


PERIOD = 4.0  # pixels
_RAW: Mapping[str, Drawing] = {
    "plain": lambda x, y: np.zeros_like(x),
    "stripes": lambda x, y: _wave(y),
    "checks": lambda x, y: _wave(x * np.float32(2 / 3)) * _wave(y * np.float32(2 / 3)),
    "dots": _dots,
}


def _even(raw: Drawing) -> Drawing:
    """Give a texture mean 0 and variance 1 over whole periods."""
    grid = ((np.arange(96, dtype=np.float32) + 0.5) / 32)[None, :]
    sample = raw(grid[:, None, :], grid[:, :, None]).astype(np.float64)
    mean, deviation = np.float32(sample.mean()), np.float32(sample.std() or 1)
    return lambda x, y: (raw(x, y) - mean) / deviation


TEXTURES: Mapping[str, Drawing] = {name: _even(raw) for name, raw in _RAW.items()}


def render(
    size: int,
    *,
    shape: Array,
    texture: Array,
    colour: Array,
    background: Array,
    side: Array,
    centre: Array,
    angle: Array,
    phase: Array,
    contrast: float,
) -> Array:
    """Draw one shape per image.

    Parameters
    ----------
    size
        Rows and columns of an image.
    shape, texture
        Which of SHAPES and TEXTURES, by position (image,).
    colour
        Mean colour of the shape (image, channel), 0 to 1.
    background
        Shade of grey (image,).
    side
        Root of the shape's area, in pixels (image,).
    centre
        Row and column of its centre of mass (image, 2), from the image's upper left corner.
    angle
        By how much shape and texture are turned, in radians (image,).
    phase
        Where the texture begins, in periods (image, 2).
    contrast
        Standard deviation of a texture, relative to the colour.

    Returns
    -------
    ndarray
        Images (image, channel, row, column), 0 to 1.
    """
    pixels = np.arange(size, dtype=np.float32) + np.float32(0.5)
    down = pixels[None, :, None] - centre[:, 0, None, None]
    right = pixels[None, None, :] - centre[:, 1, None, None]
    cosine, sine = np.cos(angle)[:, None, None], np.sin(angle)[:, None, None]
    x, y = right * cosine + down * sine, right * sine - down * cosine  # y points up

    scale = side[:, None, None]
    cover, level = np.empty_like(x), np.empty_like(x)
    for number, outline in enumerate(SHAPES.values()):
        rows = np.flatnonzero(shape == number)
        away = scale[rows] * outline(x[rows] / scale[rows], y[rows] / scale[rows])
        cover[rows] = np.clip(np.float32(0.5) - away, 0, 1)
    for number, pattern in enumerate(TEXTURES.values()):
        rows = np.flatnonzero(texture == number)
        start = phase[rows, :, None, None]
        level[rows] = pattern(x[rows] / PERIOD + start[:, 0], y[rows] / PERIOD + start[:, 1])
    level = 1 + np.float32(contrast) * level

    ground = background[:, None, None, None]
    drawn = colour[:, :, None, None] * level[:, None]
    return np.clip(ground + cover[:, None] * (drawn - ground), 0, 1)
