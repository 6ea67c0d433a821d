"""Pytest plugin: products end in other digits, as on processors that are not at hand.

A product depends on its own value alone, so that the same call gives the same number. What is
symmetric stays so, and products of short binary fractions stay exact, as every kernel has them.
"""

from __future__ import annotations

import operator
import zlib
from functools import partial
from typing import Any

import numpy as np

from reptools import arrays

exact = arrays._in_numbers


def rounded(product: Any, a: Any, b: Any, **options: Any) -> Any:
    """A product of numpy arrays, each number of it moved by at most one unit in the last place."""
    result = exact(product, a, b, **options)
    if not isinstance(result, np.ndarray | np.floating) or result.dtype.kind != "f":
        return result
    if short(a) and short(b):
        return result
    values = np.asarray(result)
    digits = np.ascontiguousarray(np.frexp(values)[0])  # a power of two changes none of them
    rng = np.random.default_rng(zlib.crc32(digits.tobytes()))
    steps = rng.integers(-1, 2, values.shape).astype(values.dtype)
    if values.ndim == 2 and values.shape[0] == values.shape[1] and (values == values.T).all():
        steps = np.triu(steps) + np.triu(steps, 1).T
    moved = values * (1 + steps * np.finfo(values.dtype).eps)
    if isinstance(result, np.floating):
        return values.dtype.type(moved)
    if result.flags.writeable:
        result[...] = moved
        return result
    return moved


def short(x: Any) -> bool:
    """Whether all numbers have so few binary digits that sums of their products are exact."""
    scaled = np.asarray(x, np.float64) * 256
    return bool((abs(scaled) < 2**18).all() and (scaled == np.round(scaled)).all())


def pytest_sessionstart() -> None:
    """Put it in the place of what takes all products."""
    arrays._in_numbers = rounded
    arrays._product = partial(rounded, operator.matmul)
