"""Second-order structure of one side: safe from overflow, on its smaller side, by eigenvalue.

Variances of values near 1e160 overflow and those near 1e-170 are 0, so activations of extreme
scale are divided by a power of two, which changes no digit. What has a unit is multiplied back by
its caller.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import frexp
from typing import overload

import numpy as np

from reptools.arrays import Array, array_namespace, float64, matmul
from reptools.errors import DataError
from reptools.statistics.blocks import Blocks, Rows, first_row, shape
from reptools.statistics.gram import centred
from reptools.statistics.moments import moments

EPS = 2.0**-52
UNSCALED = 100  # binary digits of a magnitude whose fourth powers can be summed as they are


@overload
def scaled(x: Blocks, /) -> tuple[Blocks, float]: ...
@overload
def scaled(x: Array, /) -> tuple[Array, float]: ...
def scaled(x: Rows, /) -> tuple[Rows, float]:
    """``x`` in float64, on a scale whose products can be summed, and the factor taken out.

    An array is centred. Blocks are counted from the first row, as their mean would take a pass
    and a large one costs digits that tell rank from rounding; they are scaled by the first block
    that varies, since only the exponent matters.

    Raises
    ------
    DataError
        No unit varies.
    """
    if not isinstance(x, Blocks):
        centre = centred(x)
        factor = _factor(_largest(centre), centre.shape[1])
        if factor != 1.0:
            centre /= factor  # centring made a copy
        return centre, factor
    shift, largest = None, 0.0
    for _, block in x:
        shift = float64(first_row(block)) if shift is None else shift
        largest = _largest(float64(block) - shift)
        if largest > 0.0:
            break
    factor, start = _factor(largest, x.width), float64(shift)

    def counted(block: Array) -> Array:
        wide = float64(block) - start
        return wide if factor == 1.0 else wide / factor

    return x.map(counted, start.dtype), factor


def _largest(x: Array) -> float:
    xp = array_namespace(x)
    return max(float(xp.max(x)), -float(xp.min(x)))


def _factor(largest: float, width: int) -> float:
    """The power of two at or below an extreme magnitude, else 1."""
    if largest == 0.0:
        raise DataError(
            f"none of its {width} units varies over the stimuli, all are 0 once centred. "
            "Leave it out."
        )
    exponent = frexp(largest)[1] - 1
    return float(2.0**exponent) if abs(exponent) > UNSCALED else 1.0


def compact(x: Rows, /) -> Rows:
    """Coordinates (stimulus, at most n) with the same inner products between stimuli.

    Where units outnumber stimuli, the patterns span n dimensions at most; everything that ignores
    rotations is the same in these, at the cost of n instead of p.
    """
    if isinstance(x, Blocks) or x.shape[0] >= x.shape[1]:
        return x
    if isinstance(x, np.ndarray):
        triangle: Array = np.linalg.qr(x.T, mode="r")  # without Q, which costs more than the rest
        return triangle.T
    return array_namespace(x).linalg.qr(x.T)[1].T


def cross_product(x: Rows, /) -> Array:
    """Sums of products of centred ``x``, by unit or by stimulus: eigenvalues are the same.

    Blocks give the form by unit, an array the smaller one.
    """
    if isinstance(x, Blocks):
        return moments({"x": x}, products=[("x", "x")])["x", "x"]
    return matmul(x, x.T) if x.shape[0] <= x.shape[1] else matmul(x.T, x)


def live_units(x: Rows, products: Iterable[Array], /) -> int:
    """Units of scaled ``x`` that vary; of blocks, by their cross-products (unit, unit)."""
    if isinstance(x, Blocks):
        diagonals = [array_namespace(each).linalg.diagonal(each) for each in products]
        return max(int(array_namespace(d).count_nonzero(d > 0)) for d in diagonals)
    xp = array_namespace(x)
    return int(xp.count_nonzero(xp.any(x != 0, axis=0)))


def eigenvalues(x: Rows, /) -> Array:
    """Eigenvalues of the cross-product of scaled ``x``, largest first.

    There are as many as units that vary, at most n - 1. What is rounding beside the largest is
    exactly 0: directions in which nothing varies must not count as small ones.
    """
    n, width = shape(x)
    product = cross_product(x)
    xp = array_namespace(product)
    values = xp.flip(xp.linalg.eigvalsh(product))[: min(n - 1, live_units(x, [product]))]
    return xp.where(values > rounding(values[0], n, width), values, xp.zeros_like(values))


def leading_axes(x: Array, most: int, /) -> tuple[Array, Array]:
    """Largest eigenvalues of centred ``x`` (at most ``most``), and their axes (unit, component).

    Only components that vary by more than rounding come back.
    """
    n, width = x.shape
    values, vectors = leading(cross_product(x), n, width, most)
    return values, (
        matmul(x.T, vectors) / array_namespace(x).sqrt(values) if n <= width else vectors
    )


def leading(product: Array, n: int, width: int, most: int, /) -> tuple[Array, Array]:
    """Largest eigenvalues of a cross-product of (n, width), and their eigenvectors.

    At most ``most``, and only those that are more than rounding.
    """
    xp = array_namespace(product)
    values, vectors = xp.linalg.eigh(product)
    values, vectors = xp.flip(values), xp.flip(vectors, axis=1)
    varying = int(xp.count_nonzero(values > rounding(values[0], n, width)))
    kept = min(most, varying)
    return values[:kept], vectors[:, :kept]


def rounding(largest: Array | float, n: int, width: int) -> Array | float:
    """What an eigenvalue must exceed to be more than rounding beside the largest."""
    return max(n, width) * EPS * largest
