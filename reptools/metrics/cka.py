"""CKA: how much two representations agree on which stimuli are alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from math import sqrt
from typing import Annotated, Any, Literal, TypeAlias

import numpy as np
import xarray as xr

from reptools.arrays import Array, rows_of
from reptools.engine.common import Prepare
from reptools.engine.context import Context
from reptools.engine.declaring import metric
from reptools.engine.inputs import Activations
from reptools.engine.operation import Wiring
from reptools.engine.options import Range
from reptools.errors import DataError, ParameterError, StimulusError, warn
from reptools.statistics import gram, hsic, tiles
from reptools.statistics.blocks import Blocks, Rows, shape
from reptools.statistics.folds import hash_rank

Estimator = Literal["debiased", "biased"]
Kernel = Literal["linear", "rbf"]
FEWEST = {"debiased": 4, "biased": 3}
# a self-product below this share of the biased one is rounding: the Gram has nothing else
NOTHING_LEFT = 1e-12
# below this share float32 has lost digits that the score needs, and products are taken in float64
FEW_DIGITS = 1e-2


@dataclass
class Linear:
    """One side of linear CKA, in memory or in blocks, with what has been computed of it."""

    estimator: Estimator
    x: Rows
    itself: hsic.Product | None = None  # its product with itself, once a pair has needed it
    wide: bool = False  # whether float64 products were needed

    @property
    def lacks_digits(self) -> bool:
        """Whether debiasing has cancelled more than float32 products can lose."""
        assert self.itself is not None
        few = self.estimator == "debiased" and self.itself.debiased < FEW_DIGITS * self.itself.plain
        return few and not self.wide and str(self.x.dtype).endswith("float32")

    def centred(self) -> tiles.Centred:
        """The whole side, centred."""
        assert not isinstance(self.x, Blocks)
        return tiles.centred_side(self.x, wide=self.wide)


@dataclass(frozen=True)
class Grams:
    """One side as centred Grams of batches of stimuli, U-centred for the debiased estimator."""

    batches: tuple[Array, ...]
    norm: float


Side: TypeAlias = Linear | Grams


def cka_side(
    x: Rows,
    /,
    *,
    context: Context,
    estimator: Estimator,
    kernel: Kernel,
    bandwidth: float,
    batch: int | None,
    batch_seed: int,
) -> Side:
    """One side, ready for a pair."""
    n = shape(x)[0]
    if n < FEWEST[estimator]:
        raise StimulusError(
            f"{estimator} {kernel} CKA needs at least {FEWEST[estimator]} stimuli, got {n}. "
            "Pass more stimuli."
        )
    if kernel == "linear" and batch is None:
        return Linear(estimator, x)
    if isinstance(x, Blocks):
        raise ParameterError(
            f"kernel={kernel!r} with batch={batch} needs the whole side in memory, and it is read "
            "in blocks. Load it with .load(), or leave both out: that is exact and streams."
        )
    parts = _batches(context.stimulus, batch, batch_seed)
    batches = [rows_of(x, rows) for rows in parts]
    return _grams(
        gram.linear(batches) if kernel == "linear" else gram.rbf(batches, bandwidth), estimator
    )


def _grams(grams: Sequence[Array], estimator: Estimator) -> Grams:
    plain = [gram.double_centred(k) for k in grams]
    chosen = [gram.u_centred(k) for k in grams] if estimator == "debiased" else plain
    square = sum(gram.product_of_grams(k, k) for k in chosen)
    _refuse_nothing("", square, sum(gram.product_of_grams(k, k) for k in plain))
    return Grams(tuple(chosen), sqrt(square))


def _batches(stimulus: Any, batch: int | None, seed: int) -> list[Any]:
    """Row numbers of each batch; which stimuli share one hangs on their labels, not on rows."""
    n = len(stimulus)
    if batch is None or batch >= n:
        return [np.arange(n)]
    order = np.argsort(hash_rank(stimulus, seed))
    parts = [order[start : start + batch] for start in range(0, n, batch)]
    if len(parts[-1]) < FEWEST["debiased"]:
        warn(
            f"cka: batches of {batch} leave {len(parts.pop())} of {n} stimuli for the last one, "
            "too few for its HSIC; these are left out"
        )
    return [np.sort(part) for part in parts]


def pairs(xs: Sequence[Side], ys: Sequence[Side], /) -> Any:
    """Scores of every x with every y: by units pair by pair, or by tiles of all Grams at once."""
    sides = list({id(side): side for side in (*xs, *ys)}.values())
    whole = [s for s in sides if isinstance(s, Linear) and not isinstance(s.x, Blocks)]
    if len(whole) == len(sides) and _by_stimuli_is_cheaper(whole, len(xs) * len(ys)):
        table = _by_stimuli(whole)
        at = {id(side): i for i, side in enumerate(sides)}
        return table[np.ix_([at[id(x)] for x in xs], [at[id(y)] for y in ys])]
    known: dict[frozenset[int], float] = {}
    for x in xs:
        for y in ys:
            pair = frozenset((id(x), id(y)))
            known[pair] = known[pair] if pair in known else _score(x, y)
    return np.array([[known[frozenset((id(x), id(y)))] for y in ys] for x in xs])


def score(x: Side, y: Side, /) -> float:
    """The score of one pair."""
    return float(pairs([x], [y])[0, 0])


def _score(x: Side, y: Side) -> float:
    """One pair, by units or from Grams."""
    if isinstance(x, Grams) and isinstance(y, Grams):
        batches = zip(x.batches, y.batches, strict=True)
        return sum(gram.product_of_grams(k, ll) for k, ll in batches) / (x.norm * y.norm)
    assert isinstance(x, Linear) and isinstance(y, Linear)
    asked = (x.itself is None, y.itself is None)
    of_x, of_y, both = hsic.by_units(x.x, y.x, wide=x.wide or y.wide, with_self=asked)
    x.itself, y.itself = of_x or x.itself, of_y or y.itself
    short = [side for side in (x, y) if side.lacks_digits]
    if short:
        for side in short:
            side.wide, side.itself = True, None
        return _score(x, y)
    squares = []
    for name, side in (("x", x), ("y", y)):
        assert side.itself is not None
        square = side.itself.of(x.estimator)
        _refuse_nothing(f"{name}: ", square, side.itself.plain)
        squares.append(square)
    return both.of(x.estimator) / sqrt(squares[0] * squares[1])


def _by_stimuli_is_cheaper(sides: Sequence[Linear], n_pairs: int) -> bool:
    """Compare the multiplications of Gram tiles with those of cross-products of units."""
    n, widths = shape(sides[0].x)[0], [shape(side.x)[1] for side in sides]
    by_stimuli = n * sum(widths) + n * len(sides) ** 2
    mean = sum(widths) / len(widths)
    by_units = sum(width**2 for width in widths) + 2 * n_pairs * mean**2
    return by_stimuli < by_units


def _by_stimuli(sides: Sequence[Linear]) -> Any:
    """Scores of all sides with each other from tiles of their Grams."""
    plain, corrected = tiles.by_stimuli([side.centred() for side in sides])
    for side, whole, square in zip(sides, np.diag(plain), np.diag(corrected), strict=True):
        side.itself = hsic.Product(float(whole), float(square))
    short = [side for side in sides if side.lacks_digits]
    if short:
        for side in short:
            side.wide = True
        return _by_stimuli(sides)
    products = corrected if sides[0].estimator == "debiased" else plain
    names = ["x: ", "y: "] if len(sides) <= 2 else ["one side: "] * len(sides)
    for name, square, whole in zip(names, np.diag(products), np.diag(plain), strict=False):
        _refuse_nothing(name, square, whole)
    norms = np.sqrt(np.diag(products))
    return products / np.outer(norms, norms)


def _refuse_nothing(name: str, square: float, whole: float) -> None:
    if whole <= 0:
        raise DataError(
            f"{name}all similarities between its stimuli are equal up to rounding, so there is no "
            "structure to compare. Leave it out; with kernel='rbf' a smaller bandwidth may tell."
        )
    if square <= NOTHING_LEFT * whole:
        raise DataError(
            f"{name}its debiased self-HSIC is {square / whole:.2g} of the biased one, 0 up to "
            "rounding: all pairs of stimuli are equally alike, so there is no structure to "
            "compare. Leave it out, or pass estimator='biased'."
        )


@metric(
    better="higher",
    bounds=(-1.0, 1.0),
    symmetric=True,
    invariances=("shift", "scale", "rotation"),
    backends=("numpy", "torch", "dask"),
)
def cka(
    x: Activations,
    y: Activations,
    /,
    *,
    estimator: Estimator = "debiased",
    kernel: Kernel = "linear",
    bandwidth: Annotated[float, Range(1e-6)] = 1.0,
    batch: Annotated[int, Range(4)] | None = None,
    batch_seed: int = 0,
    prepare: Prepare = None,
) -> Wiring[xr.DataArray]:
    """Centred kernel alignment of two representations of the same stimuli.

    CKA is the cosine between the centred Gram matrices (stimulus x stimulus) of the two sides.
    Shifting a unit, rotating the units, or scaling all of them alike changes nothing; the
    numbers of units may differ.

    Parameters
    ----------
    estimator : {"debiased", "biased"}, default "debiased"
        The biased estimator grows with the number of units: independent Gaussian data score
        0.91 with 50 stimuli and 500 units. The debiased one has mean 0 there, may be negative
        (it is never clipped), and needs at least 4 stimuli. It corrects for sampled stimuli,
        not for sampled units.
    kernel : {"linear", "rbf"}, default "linear"
        Similarity of two patterns: their inner product, or exp(-d^2 / (2 s^2)) of their Euclidean
        distance d, with s set by ``bandwidth``.
    bandwidth : float, default 1.0
        s of the RBF kernel as a multiple of the median distance between two patterns of that
        side, so that it does not hang on the scale of the units.
    batch : int or None, default None
        Stimuli of a minibatch, from 4. The HSIC terms of the batches are summed and then divided,
        which needs little memory with the RBF kernel too; with batches the debiased estimator is
        the one to use. A last batch of fewer than 4 stimuli is left out. None (default) is exact.
    batch_seed : int, default 0
        Enters, with the stimulus labels, which stimuli share a batch.

    Returns
    -------
    DataArray
        The score, 1 for the same geometry, named "cka", over the outer dimensions.

    Raises
    ------
    StimulusError
        The sides have different, repeated or too few stimuli, or only one has labels.
    DataError
        A value is not finite, or all pairs of stimuli of a side are equally alike.
    ParameterError
        An option is unknown or has a value that is not listed above; the RBF kernel or batches
        are asked of a side that is not in memory.

    Notes
    -----
    Linear CKA is computed from cross-products of units or from tiles of the Grams, whichever is
    less work for the pair or the grid at hand. Dask arrays and large files are read in blocks, in
    one pass for a pair; peak memory is a few blocks and 5 p^2 doubles for p units, whatever the
    number of stimuli. Products of large float32 blocks are taken in float32 after centring and
    summed in float64.

    References
    ----------
    Kornblith et al. (2019), Similarity of neural network representations revisited, eq. 4, and
    section 3 for the bandwidth.
    Song et al. (2007), Supervised feature selection via dependence estimation, eq. 5 (HSIC1).
    Nguyen, Raghu & Kornblith (2020), Do wide and deep networks learn the same things?,
    arXiv:2010.15327, eq. 3 (minibatches).
    Murphy, Zylberberg & Fyshe (2024), Correcting biased centered kernel alignment measures in
    biological and artificial neural networks, arXiv:2405.01012.
    Chun et al. (2025), Estimating neural representation alignment from sparsely sampled inputs
    and features, arXiv:2502.15104.

    Examples
    --------
    >>> import numpy as np
    >>> import reptools as rt
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(50, 500))
    >>> unrelated = rng.normal(size=(50, 500))
    >>> round(float(rt.cka(x, 3 * x + 1)), 6)
    1.0
    >>> round(float(rt.cka(x, unrelated, estimator="biased")), 2)
    0.91
    >>> abs(float(rt.cka(x, unrelated))) < 0.1
    True
    """
    if kernel == "linear" and bandwidth != 1.0:
        raise ParameterError(
            f"bandwidth={bandwidth:g} is of the RBF kernel, and kernel is 'linear'. Pass "
            "kernel='rbf' with it, or leave it out."
        )
    if batch is None and batch_seed != 0:
        raise ParameterError(
            f"batch_seed={batch_seed} draws batches, and batch is None. Pass batch=, or leave it "
            "out."
        )
    each = partial(
        cka_side,
        estimator=estimator,
        kernel=kernel,
        bandwidth=bandwidth,
        batch=batch,
        batch_seed=batch_seed,
    )
    return Wiring(score, each=each, many=pairs)
