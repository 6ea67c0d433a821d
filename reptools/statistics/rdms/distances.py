"""Distances between the patterns of all pairs of stimuli, from products of tiles of rows.

All distances are |a|^2/2 + |b|^2/2 - ab of suitably prepared patterns: of norm 1 for the
correlation and the cosine distance, times the root of 2 for squared Euclidean ones. This form
loses the digits of patterns that nearly coincide; such pairs are found and computed again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from array_api_compat import is_numpy_array

from reptools.arrays import (
    Array,
    array_namespace,
    device,
    divisor,
    float64,
    matmul,
    to_host,
    vecdot,
)
from reptools.errors import DataError, StimulusError, some
from reptools.statistics.varying import rounding

Distance = Literal["correlation", "euclidean", "sqeuclidean", "cosine"]
# the mean of equal numbers is off by no more than this share of them
ROUNDED = 32 * 2.0**-52
# |a|^2 + |b|^2 - 2ab has lost this share of its digits when the patterns are this close
CANCELLED = {"float32": 1e-2, "float64": 1e-6}
# squared norms from which products in each precision neither overflow nor vanish
MODERATE = {"float32": (1e-20, 1e30), "float64": (1e-240, 1e240)}
BLOCK = 2**22  # numbers held at once where pairs are subtracted one by one
TILE = 272  # rows of a tile at most: its products are finished while they lie in the cache
CACHED = 2**17  # numbers of a block of rows that is prepared while it lies in the cache
CENTRE = 16  # rows whose mean is taken off all: any shift is exact, this one makes norms small


@dataclass(frozen=True)
class Patterns:
    """Rows ready for products, and what leads from products to distances.

    Attributes
    ----------
    values : array (stimulus, unit)
        Shifted and scaled rows, in float32 where the input was and nothing else was asked for.
    halves : array (stimulus,)
        Half of their squared norms, in the same precision but summed in float64.
    exact : callable
        The rows of a slice in float64.
    finished : callable
        From half squared distances of ``values`` to the distance that was asked for, in place.
    blur : float
        Distance at which rounding of the activations alone may put rows of one direction.
    """

    values: Array
    halves: Array
    exact: Callable[[slice], Array]
    finished: Callable[[Array], Array]
    blur: float = 0.0


def condensed(
    x: Array, /, method: Distance = "correlation", stimulus: Any = None, *, wide: bool = False
) -> Array:
    """Distances of all pairs of rows of ``x`` in float64: the upper triangle, row by row.

    Parameters
    ----------
    x : array (stimulus, unit)
        Products are made in its precision, float32 or float64, after centring.
    method : "correlation", "euclidean", "sqeuclidean" or "cosine"
        None is divided by the number of units.
    stimulus : array (stimulus,), optional
        What messages call the rows; their numbers by default.
    wide : bool
        Whether products of float32 are made in float64, so that equal distances stay equal.

    Where all patterns have one direction up to rounding, all correlation or cosine distances are
    0: what rounding leaves has no order and no sizes.

    Raises
    ------
    StimulusError
        There are fewer than two rows.
    DataError
        A row has no variance (correlation) or is zero (cosine); squared distances are outside
        the range of float64.
    """
    xp, n = array_namespace(x), x.shape[0]
    patterns = _patterns(x, method, stimulus, wide)
    distances = xp.empty(n * (n - 1) // 2, dtype=xp.float64, device=device(x))
    for a, b, tile in _tiles(patterns):
        for i in range(a.start, a.stop):
            first = max(b.start, i + 1)
            start = i * n - i * (i + 1) // 2 + first - i - 1
            row = tile[i - a.start, first - b.start :]
            distances[start : start + b.stop - first] = row
    return _settled(distances, patterns)


def square(
    x: Array, /, method: Distance = "correlation", stimulus: Any = None, *, wide: bool = False
) -> Array:
    """The same distances as a symmetric matrix with a zero diagonal."""
    xp, n = array_namespace(x), x.shape[0]
    patterns = _patterns(x, method, stimulus, wide)
    matrix = xp.empty((n, n), dtype=xp.float64, device=device(x))
    for a, b, tile in _tiles(patterns):
        matrix[a, b] = tile
        if a != b:
            matrix[b, a] = tile.T
    return _settled(matrix, patterns)


def _settled(distances: Array, patterns: Patterns) -> Array:
    """The distances, or zeros where they are all rounding."""
    if patterns.blur and float(array_namespace(distances).max(distances)) <= patterns.blur:
        distances[...] = 0.0
    return distances


def _patterns(x: Array, method: Distance, stimulus: Any, wide: bool) -> Patterns:
    n = x.shape[0]
    if n < 2:
        raise StimulusError(f"an RDM needs at least 2 stimuli, got {n}. Pass more stimuli.")
    dtype = array_namespace(x).float64 if wide else x.dtype
    if method in ("correlation", "cosine"):
        return _directions(x, method, range(n) if stimulus is None else stimulus, dtype)
    return _positions(x, dtype, root=method == "euclidean")


def _tiles(patterns: Patterns) -> Iterator[tuple[slice, slice, Array]]:
    """Distances of the tiles (rows, columns) of the upper triangle, each finished in the cache."""
    rows = list(tiles(patterns.values.shape[0]))
    for i, a in enumerate(rows):
        for b in rows[i:]:
            yield a, b, patterns.finished(_halved(patterns, a, b))


def tiles(n: int) -> Iterator[slice]:
    """Rows of tiles of nearly equal size."""
    size = -(-n // -(-n // TILE))
    # at a multiple of 512 bytes the columns of a tile, written as rows, share few cache lines
    return blocks(n, size + 4 if size % 64 == 0 else size)


def blocks(n: int, size: int) -> Iterator[slice]:
    """Slices of at most ``size`` that cover 0..n."""
    for start in range(0, n, size):
        yield slice(start, min(start + size, n))


# --- patterns -----------------------------------------------------------------------------------


def _directions(x: Array, method: Distance, stimulus: Any, dtype: Any) -> Patterns:
    """Rows of norm 1, for the correlation with their own mean removed first."""
    xp = array_namespace(x)
    n = x.shape[0]
    centre = xp.mean(_unit(_sample(x), method)[0], axis=0)
    spread = float(vecdot(centre, centre)) < 0.5  # nothing to gain from a shift
    flat = np.zeros(n, dtype=bool)

    def exact(rows: slice) -> Array:
        unit, bad = _unit(x[rows, :], method)
        flat[rows] = to_host(bad)
        if not spread:
            unit -= centre
        return unit

    values, squares = _stored(x, exact, dtype)
    if flat.any():
        names = np.asarray(stimulus)[flat].tolist()
        what = "have no variance over units" if method == "correlation" else "are all zero"
        raise DataError(
            f"{len(names)} of {n} patterns {what}, so their {method} distance is "
            f"undefined: {some(names)}. Leave these stimuli out on both sides, or use a "
            "Euclidean distance."
        )
    halves = xp.astype(squares / 2, dtype)
    blur = 0.0 if spread else _blur(x, method)
    return Patterns(values, halves, exact, lambda tile: tile, blur)


def _blur(x: Array, method: Distance) -> float:
    """Distance between two patterns of one direction, if each of their numbers is rounded.

    Rounding is in proportion to the pattern as it came, with its mean.
    """
    xp, sample = array_namespace(x), _sample(x)
    sample = float64(sample) / divisor(xp.max(xp.abs(float64(sample)), axis=1, keepdims=True))
    raw = vecdot(sample, sample)
    if method == "correlation":
        sample = sample - xp.mean(sample, axis=1, keepdims=True)
    share = float(xp.max(raw / divisor(vecdot(sample, sample))))
    return rounding(x.dtype) ** 2 * share / 2


def _unit(rows: Array, method: Distance) -> tuple[Array, Array]:
    """Rows of norm 1, and which rows have no direction (these become 0)."""
    xp = array_namespace(rows)
    unit = xp.astype(rows, xp.float64, copy=True)
    reference = 0.0
    if method == "correlation":
        reference = ROUNDED * rows.shape[1] ** 0.5 * xp.abs(unit[:, :1])
        unit -= xp.mean(unit, axis=1, keepdims=True)
    with np.errstate(over="ignore"):  # looked at in the next line
        squares = vecdot(unit, unit)[:, None]
    low, high = MODERATE["float64"]
    if not low < float(xp.min(squares)) <= float(xp.max(squares)) < high:
        largest = divisor(xp.max(xp.abs(unit), axis=1, keepdims=True))
        unit /= largest
        reference = reference / largest
        squares = vecdot(unit, unit)[:, None]
    norm = xp.sqrt(squares)
    flat = norm <= reference
    if bool(xp.any(flat)):
        unit *= xp.astype(~flat, unit.dtype)
        norm = xp.where(flat, xp.ones_like(norm), norm)
    unit *= 1 / norm
    return unit, flat[:, 0]


def _positions(x: Array, dtype: Any, *, root: bool) -> Patterns:
    """Rows around a centre, scaled where their squares would be out of range."""
    xp = array_namespace(x)
    # rounded to the precision of x: the difference of two float32 numbers is as good as exact
    centre = xp.astype(xp.mean(float64(_sample(x)), axis=0), x.dtype)
    scale = 1.0

    def exact(rows: slice) -> Array:
        around = float64(x[rows, :]) - float64(centre)
        if scale != 1.0:
            around /= scale
        return around

    around = exact if dtype != x.dtype else lambda rows: x[rows, :] - centre
    with np.errstate(over="ignore"):  # looked at in the next lines
        values, squares = _stored(x, around, dtype)
    low, high = MODERATE[_precision(values)]
    if not low < float(xp.max(squares)) < high:
        scale = max(float(xp.max(xp.abs(exact(rows)))) for rows in _prepared(x)) or 1.0
        values, squares = _stored(x, exact, dtype)
    largest = float(xp.max(squares))
    if not root:
        refuse_range(scale, largest)

    def finished(tile: Array) -> Array:
        if root:
            tile = xp.sqrt(tile)
            tile *= 2.0**0.5 * scale
        else:
            tile *= 2.0 * scale * scale
        return tile

    return Patterns(values, xp.astype(squares / 2, dtype), exact, finished)


def _sample(x: Array) -> Array:
    """A few rows from all over ``x``."""
    return x[:: max(1, x.shape[0] // CENTRE), :]


def _stored(x: Array, prepared: Callable[[slice], Array], dtype: Any) -> tuple[Array, Array]:
    """All rows in one precision, prepared a few at a time, and their squared norms."""
    xp = array_namespace(x)
    values = xp.empty(x.shape, dtype=dtype, device=device(x))
    squares = xp.empty(x.shape[0], dtype=xp.float64, device=device(x))
    for rows in _prepared(x):
        block = prepared(rows)
        values[rows, :] = block
        block = float64(block)
        squares[rows] = vecdot(block, block)
    return values, squares


def _precision(x: Array) -> str:
    """The name of a dtype, whatever library it belongs to."""
    return str(x.dtype).rpartition(".")[2]


def _prepared(x: Array) -> Iterator[slice]:
    """Rows in blocks that fit the cache; a device with its own memory prefers large ones."""
    held = CACHED if "cpu" in str(device(x)) else BLOCK
    return blocks(x.shape[0], max(1, held // x.shape[1]))


# --- tiles --------------------------------------------------------------------------------------


def _halved(patterns: Patterns, a: slice, b: slice) -> Array:
    """Half the squared distances of the rows ``a`` to the rows ``b``; symmetric where a is b."""
    xp = array_namespace(patterns.values)
    one, other = patterns.halves[a], patterns.halves[b]
    tile = one[:, None] + other[None, :]
    tile -= matmul(patterns.values[a, :], patterns.values[b, :].T)
    lost = CANCELLED[_precision(patterns.values)]
    on_diagonal = one.shape[0] if a == b else 0
    limit = lost * (float(xp.max(one)) + float(xp.max(other)))
    if int(xp.count_nonzero(tile < limit)) > on_diagonal:
        tile = _mended(patterns, a, b, tile, lost)
    tile = float64(tile)
    if a == b:
        if not is_numpy_array(tile):  # numpy computes a product with its own transpose once
            tile = (tile + tile.T) / 2
        diagonal(tile)[...] = 0.0
    return tile


def _mended(patterns: Patterns, a: slice, b: slice, tile: Array, lost: float) -> Array:
    """The tile with the digits of its close pairs: in float64, the closest ones subtracted."""
    xp = array_namespace(tile)
    sums = patterns.halves[a][:, None] + patterns.halves[b][None, :]
    if not bool(xp.any(_close(tile, lost * sums, a == b))):
        return tile
    one = patterns.exact(a)
    other = one if a == b else patterns.exact(b)
    if lost > CANCELLED["float64"]:
        sums = vecdot(one, one)[:, None] / 2 + vecdot(other, other)[None, :] / 2
        tile = sums - matmul(one, other.T)
    close = _close(tile, CANCELLED["float64"] * sums, a == b)
    if a == b:
        close = xp.triu(close)  # each pair once: kernels may sum it otherwise the other way round
    first, second = xp.nonzero(close)
    if first.shape[0]:
        halves = _subtracted(one, other, first, second) / 2
        tile[close] = halves
        if a == b:
            tile.T[close] = halves
    return tile


def _close(tile: Array, limit: Array, on_diagonal: bool) -> Array:
    close = tile < limit
    if on_diagonal:
        diagonal(close)[...] = False
    return close


def diagonal(tile: Array) -> Array:
    """A view of the diagonal of a square array that lies in memory row by row."""
    xp = array_namespace(tile)
    return xp.reshape(tile, (-1,), copy=False)[:: tile.shape[0] + 1]


def _subtracted(one: Array, other: Array, first: Array, second: Array) -> Array:
    """Squared distances of the row pairs (first, second), a block at a time."""
    xp = array_namespace(one)
    parts = []
    for here in blocks(first.shape[0], max(1, BLOCK // one.shape[1])):
        gaps = xp.take(one, first[here], axis=0) - xp.take(other, second[here], axis=0)
        parts.append(vecdot(gaps, gaps))
    return xp.concat(parts)


def refuse_range(scale: float, largest: float) -> None:
    """Refuse squared distances outside float64.

    Patterns divided by ``scale`` have squared norms up to ``largest``.
    """
    limits = np.finfo(np.float64)
    with np.errstate(over="ignore", under="ignore"):
        squared = np.float64(scale) ** 2
    if limits.tiny < squared < limits.max / (4 * max(largest, 1.0)):
        return
    raise DataError(
        f"its patterns differ by up to {scale:.3g}, and squared distances of that size are "
        "outside float64. Divide the activations by a constant first, or take a distance that "
        "is not squared."
    )
