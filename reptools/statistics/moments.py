"""Second moments over stimuli: sums that can be added, subtracted and taken a block at a time.

One pass over data that does not fit in memory gives them, and CKA, variance explained, ridge,
principal components, Procrustes and CCA are functions of them. Blocks are counted from a mean of
some rows, so that a large common mean costs no digits; products of large float32 blocks are taken
in float32, all sums in float64.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from itertools import accumulate
from math import prod
from operator import add
from typing import Any

import numpy as np

from reptools.arrays import Array, array_namespace, float64, matmul, rows_of
from reptools.statistics.blocks import Blocks, Rows, as_blocks, together
from reptools.statistics.folds import Folds, Parts

Pair = tuple[str, str]
Numbers = np.ndarray[Any, Any]  # of rows, ascending

ALIGNED = 64  # bytes: a line of the cache
HEAD = 256  # rows whose mean is near enough to that of all
SMALL = 2**18  # values of a side up to which float64 products cost nothing that is felt
SCALES = (1e-12, 1e12)  # largest magnitudes between which float32 holds squares and their sums


@dataclass(frozen=True)
class Moments:
    """Number, means and centred sums of products of one or several sides over some stimuli.

    Attributes
    ----------
    n : int
        Stimuli.
    means : dict of str to array (unit,)
        Mean of each side.
    products : dict of (str, str) to array (unit, unit)
        Sum over stimuli of the outer products of two sides, both centred. ``m["x", "y"]``.
    squares : dict of str to array (unit,)
        Sum over stimuli of the squares of a centred side.
    """

    n: int
    means: Mapping[str, Array]
    products: Mapping[Pair, Array]
    squares: Mapping[str, Array]

    def __getitem__(self, pair: Pair) -> Array:
        return self.products[pair]

    def __add__(self, other: Moments) -> Moments:
        """Moments of the stimuli of both."""
        return self._merged(other, 1)

    def __sub__(self, other: Moments) -> Moments:
        """Moments of the stimuli of ``self`` that are not among those of ``other``."""
        return self._merged(other, -1)

    def _merged(self, other: Moments, sign: int) -> Moments:
        """Pairwise update of Chan, Golub and LeVeque (1983), forwards or backwards."""
        n = self.n + sign * other.n
        if not other.n:
            return self
        if not self.n:
            return other
        if not n:
            return self._nothing()
        gap = {side: other.means[side] - mean for side, mean in self.means.items()}
        share = sign * other.n / n
        weight = share * self.n
        return Moments(
            n,
            {side: mean + share * gap[side] for side, mean in self.means.items()},
            {
                (a, b): whole + sign * other.products[a, b] + weight * _outer(gap[a], gap[b])
                for (a, b), whole in self.products.items()
            },
            {
                side: whole + sign * other.squares[side] + weight * gap[side] ** 2
                for side, whole in self.squares.items()
            },
        )

    def about(self, means: Mapping[str, Array]) -> Moments:
        """The same stimuli counted from other means: sums of products and squares about these.

        Test stimuli are counted from the means of the fit stimuli. ``means`` become their gaps.
        """
        gap = {side: mean - means[side] for side, mean in self.means.items()}
        return Moments(
            self.n,
            gap,
            {
                (a, b): whole + self.n * _outer(gap[a], gap[b])
                for (a, b), whole in self.products.items()
            },
            {side: whole + self.n * gap[side] ** 2 for side, whole in self.squares.items()},
        )

    def _nothing(self) -> Moments:
        """Moments of no stimuli."""
        return Moments(
            0,
            self.means,
            {pair: 0 * whole for pair, whole in self.products.items()},
            {side: 0 * whole for side, whole in self.squares.items()},
        )


def moments(
    sides: Mapping[str, Rows],
    *,
    products: Sequence[Pair] = (),
    squares: Sequence[str] = (),
) -> Moments:
    """Moments of sides with the same stimuli, in one pass.

    Parameters
    ----------
    sides : mapping of str to array (stimulus, unit) or Blocks
    products : sequence of (str, str)
        Which full products of sides are wanted; of a side with itself costs half.
    squares : sequence of str
        Of which sides the squares are wanted.

    Examples
    --------
    >>> import numpy as np
    >>> x, y = np.array([[0.0], [2.0]]), np.array([[1.0], [5.0]])
    >>> m = moments({"x": x, "y": y}, products=[("x", "y")], squares=["x"])
    >>> m.n, m["x", "y"].item(), m.squares["x"].item()
    (2, 4.0, 2.0)
    """
    return _take(sides, products, squares, None)[0]


def fold_moments(
    sides: Mapping[str, Rows],
    folds: Folds,
    *,
    products: Sequence[Pair] = (),
    squares: Sequence[str] = (),
) -> list[tuple[Moments, Moments]]:
    """Moments of the fit and of the test rows of each fold, in one pass over the data.

    Where every stimulus is tested once and fitted in all other folds, the fit moments are those
    of all stimuli less those of the test rows.
    """
    parts = folds.parts(as_blocks(next(iter(sides.values()))).n)
    return pairs_of(parts, _take(sides, products, squares, parts.rows))


def pairs_of(parts: Parts, taken: Sequence[Moments]) -> list[tuple[Moments, Moments]]:
    """Moments of the fit and of the test rows of each fold, from those of the parts."""
    if not parts.fit:
        whole = total(taken)
        return [(whole - part, part) for part in taken]
    return [
        (total([taken[i] for i in fit]), total([taken[i] for i in test]))
        for fit, test in zip(parts.fit, parts.test, strict=True)
    ]


def total(parts: Sequence[Moments]) -> Moments:
    """Sum of one part or more."""
    return reduce(add, parts)


def _take(
    sides: Mapping[str, Rows],
    products: Sequence[Pair],
    squares: Sequence[str],
    parts: Sequence[Numbers] | None,
    wide: bool = False,
) -> list[Moments]:
    """Moments of each part of the rows (numbers, ascending), or of all rows as one."""
    names, blocks = list(sides), [as_blocks(side) for side in sides.values()]
    sums = [_Sums(names, products, squares) for _ in range(len(parts) if parts else 1)]
    shifted: list[Shifted] = []
    start = 0
    for arrays in together(*blocks):
        stop = start + arrays[0].shape[0]
        here = rows_within(parts or [np.arange(start, stop)], start, stop)
        if not shifted and any(rows.size for rows in here):
            wide = wide or _any_wide(blocks, arrays)
            shifted = [Shifted(rows_of(array, head_of(here)), wide) for array in arrays]
        for part, rows in enumerate(here):
            if rows.size:
                chosen = [x if rows.size == x.shape[0] else rows_of(x, rows) for x in arrays]
                with np.errstate(over="ignore", invalid="ignore"):  # looked at below
                    sums[part].add([take(x) for take, x in zip(shifted, chosen, strict=True)])
        start = stop
    if not wide and not all(part.finite for part in sums):  # a later block is of another scale
        return _take(sides, products, squares, parts, wide=True)
    return [part.finish([take.shift for take in shifted]) for part in sums]


def rows_within(parts: Sequence[Numbers], start: int, stop: int) -> list[Numbers]:
    """The rows of each part that lie in a block, counted from its start."""
    return [part[slice(*np.searchsorted(part, (start, stop)))] - start for part in parts]


def head_of(parts: Sequence[Numbers]) -> Numbers:
    """The first few rows in use: those of no part have no say in where sums are counted from.

    So a unit that stands still over all parts is exactly 0, whatever it does elsewhere.
    """
    return np.unique(np.concatenate([part[:HEAD] for part in parts]))[:HEAD]


def _any_wide(blocks: Sequence[Blocks], arrays: Sequence[Array]) -> bool:
    """Whether one of the sides asks for float64, so that all get it."""
    return any(needs_float64(x, block) for x, block in zip(blocks, arrays, strict=True))


def needs_float64(x: Blocks, block: Array) -> bool:
    """Whether products are taken in float64.

    So they are in small data, where it is free, and at scales that float32 cannot square.
    """
    xp = array_namespace(block)
    if block.dtype == xp.float64 or x.n * x.width < SMALL:
        return True
    return not SCALES[0] < _largest(block) < SCALES[1]


def _largest(block: Array) -> float:
    """Largest magnitude of the first rows; sums that overflow later are taken again."""
    xp = array_namespace(block)
    head = block[: min(HEAD, block.shape[0]), :]
    return max(float(xp.max(head)), -float(xp.min(head)))


class Shifted:
    """Subtracts a row near the mean from blocks, and widens them where asked.

    Into one buffer, where numpy allows: fresh memory for each block would cost more.
    """

    def __init__(self, block: Array, wide: bool, *, factor: float = 1.0) -> None:
        xp = array_namespace(block)
        head = block[: min(HEAD, block.shape[0]), :]
        # from the first row: a constant unit becomes exactly 0
        first = head[0, :]
        gap = xp.sum(head - first, axis=0, dtype=xp.float64) / head.shape[0]
        shift = float64(first) + gap
        self.dtype = xp.float64 if wide else block.dtype
        self.shift = xp.astype(shift, self.dtype)
        self.factor = factor
        self.buffer: np.ndarray[Any, Any] | None = None

    def move(self, mean: Array) -> Array:
        """Shift by the ``mean`` of what was given as well; what its rounding leaves of it."""
        xp = array_namespace(mean)
        goal = float64(self.shift) + mean / self.factor
        self.shift = xp.astype(goal, self.dtype)
        return (goal - float64(self.shift)) * self.factor

    def __call__(self, x: Array, out: np.ndarray[Any, Any] | None = None) -> Array:
        """``(x - shift) * factor``, in ``out`` or so that it holds until the next call."""
        if not isinstance(x, np.ndarray):
            z = array_namespace(x).astype(x, self.dtype) - self.shift
            return z if self.factor == 1 else z * self.factor
        if out is None:
            if self.buffer is None or len(self.buffer) < len(x):
                self.buffer = np.empty(x.shape, self.dtype)
            out = self.buffer[: len(x)]
        z = np.subtract(x, self.shift, out=out)
        return z if self.factor == 1 else np.multiply(z, self.factor, out=z)


def share_buffer(shifted: Sequence[Shifted], blocks: Sequence[Array]) -> None:
    """Buffers for these blocks in one piece of memory."""
    if all(isinstance(block, np.ndarray) for block in blocks):
        buffers = in_one_piece([block.shape for block in blocks], [s.dtype for s in shifted])
        for one, buffer in zip(shifted, buffers, strict=True):
            one.buffer = buffer


def in_one_piece(
    shapes: Sequence[tuple[int, ...]], dtypes: Sequence[Any]
) -> list[np.ndarray[Any, Any]]:
    """Uninitialised arrays that lie in one piece of memory.

    Several smaller pieces would be given back to the system, and asked for anew, at every call,
    and each would have its ends on small pages, where the system has large ones.
    """
    sizes = [prod(s) * np.dtype(d).itemsize for s, d in zip(shapes, dtypes, strict=True)]
    ends = list(accumulate((-(-size // ALIGNED) * ALIGNED for size in sizes), initial=0))
    memory = np.empty(ends[-1], np.uint8)
    return [
        memory[start : start + size].view(dtype).reshape(shape)
        for start, size, dtype, shape in zip(ends, sizes, dtypes, shapes, strict=False)
    ]


def rescaling(block: Array, largest: float | None = None) -> float:
    """A power of two that brings values near 1 whose fourth powers would leave their range.

    ``largest`` is their largest magnitude, by default that of the first rows of the block.
    """
    largest = _largest(block) if largest is None else largest
    limit = 1e4 if block.dtype == array_namespace(block).float32 else 1e40
    extreme = largest > 0 and not 1 / limit < largest < limit
    return float(2.0 ** -np.round(np.log2(largest))) if extreme else 1.0


@dataclass
class _Sums:
    """Running sums of shifted blocks of the sides."""

    names: list[str]
    pairs: Sequence[Pair]
    squared: Sequence[str]
    n: int = 0
    sums: dict[str, Array] = field(default_factory=dict)
    products: dict[Pair, Array] = field(default_factory=dict)
    squares: dict[str, Array] = field(default_factory=dict)

    def add(self, arrays: Sequence[Array]) -> None:
        """Add one block of every side."""
        block = dict(zip(self.names, arrays, strict=True))
        self.n += arrays[0].shape[0]
        for name, x in block.items():
            _increase(self.sums, name, column_sums(x))
        for a, b in self.pairs:
            # numpy takes the product of an array with itself at half the cost
            _increase(self.products, (a, b), matmul(block[a].T, block[b]))
        for name in self.squared:
            _increase(self.squares, name, column_sums(block[name], squared=True))

    @property
    def finite(self) -> bool:
        """Whether nothing has overflowed."""
        totals = [*self.sums.values(), *self.products.values(), *self.squares.values()]
        return all(bool(array_namespace(t).isfinite(array_namespace(t).sum(t))) for t in totals)

    def finish(self, shifts: Sequence[Array]) -> Moments:
        """Sums about the shifts become centred ones."""
        at = dict(zip(self.names, (float64(shift) for shift in shifts), strict=True))
        if not self.n:
            none = {name: shift - shift for name, shift in at.items()}
            outer = {(a, b): _outer(none[a], none[b]) for a, b in self.pairs}
            return Moments(0, none, outer, {name: none[name] for name in self.squared})
        gaps = {name: total / self.n for name, total in self.sums.items()}
        for (a, b), total in self.products.items():
            total -= self.n * _outer(gaps[a], gaps[b])
        for name, total in self.squares.items():
            total -= self.n * gaps[name] ** 2
        means = {name: at[name] + gap for name, gap in gaps.items()}
        return Moments(self.n, means, self.products, self.squares)


def _increase(sums: dict[Any, Array], key: Any, value: Array) -> None:
    if key in sums:
        sums[key] += value  # float64 += float32 widens as it adds
    else:
        sums[key] = array_namespace(value).astype(value, array_namespace(value).float64)


def column_sums(x: Array, *, squared: bool = False) -> Array:
    """Sum over rows of each column (or of its squares), in float64.

    Float32 is summed over HEAD rows at most before it is widened.
    """
    xp = array_namespace(x)
    if not isinstance(x, np.ndarray):
        return xp.sum(x * x if squared else x, axis=0, dtype=xp.float64)
    whole = len(x) // HEAD * HEAD
    total = np.zeros(x.shape[1])
    for rows in (x[:whole].reshape(-1, HEAD, x.shape[1]), x[None, whole:]):
        terms = "kij,kij->kj" if squared else "kij->kj"
        total += np.einsum(terms, *([rows] * (1 + squared))).sum(axis=0, dtype=np.float64)
    return total


def _outer(a: Array, b: Array) -> Array:
    return a[:, None] * b[None, :]
