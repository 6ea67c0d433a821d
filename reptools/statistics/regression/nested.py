"""Nested cross-validation: an option is chosen on other stimuli than the score is taken on.

The stimuli are divided into cells. Every set that is fitted, used to choose or scored is a union
of cells, so that sums over cells, taken in one pass over the data, give all of them. Where the
outer folds divide the stimuli, they are the cells, and the inner folds of one outer fold are the
other outer folds: groups and time stay together, and two outer folds share their inner fits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from reptools.arrays import Array, array_namespace, matmul, to_host
from reptools.errors import StimulusError
from reptools.statistics.folds import Folds, Rows, Sampling
from reptools.statistics.regression.held_out import Held, Sums

Cells = tuple[int, ...]  # numbers of cells, in order
Counts = np.ndarray[Any, np.dtype[np.intp]]

INNER = 5  # inner folds where the outer ones do not serve
MOST_PAIRS = 10  # outer folds up to which each pair of them is left out in turn
MATTERS = 1e-3  # share of a target's variance that a wider range must promise


@dataclass(frozen=True)
class Outer:
    """One outer fold: fitted and scored cells, and the (fit, validation) cells that choose."""

    fit: Cells
    test: Cells
    inner: tuple[tuple[Cells, Cells], ...]


@dataclass(frozen=True)
class Nested:
    """Outer folds over common cells.

    Attributes
    ----------
    cells : tuple of arrays of int
        Row numbers of each cell; no row is in two.
    outer : tuple of Outer
    """

    cells: tuple[Rows, ...]
    outer: tuple[Outer, ...]

    def rows(self, cells: Cells) -> Rows:
        """Row numbers of a union of cells."""
        return np.concatenate([self.cells[cell] for cell in cells])

    @cached_property
    def as_folds(self) -> Folds:
        """Each cell against all others, for sums over cells."""
        every = range(len(self.cells))
        others = [tuple(other for other in every if other != cell) or (cell,) for cell in every]
        pairs = tuple((self.rows(o), self.cells[c]) for o, c in zip(others, every, strict=True))
        return Folds(pairs, f"{len(self.cells)} cells")

    @cached_property
    def largest_fit(self) -> int:
        """Stimuli of the largest set that is fitted."""
        return max(sum(self.cells[cell].size for cell in outer.fit) for outer in self.outer)

    @cached_property
    def smallest_fit(self) -> int:
        """Stimuli of the smallest set that is fitted, to choose or to score."""
        fits = [fit for outer in self.outer for fit in (outer.fit, *(f for f, _ in outer.inner))]
        return min(sum(self.cells[cell].size for cell in fit) for fit in fits)


def nested(sampling: Sampling, *, choose: bool) -> tuple[Nested, ...]:
    """Outer folds of a sampling with inner folds in their fit rows.

    One :class:`Nested` where the outer folds divide the stimuli, else one for each outer fold.

    Parameters
    ----------
    sampling : Sampling
        What the outer folds are made from.
    choose : bool
        Whether there is anything to choose; without, there are no inner folds.

    Raises
    ------
    StimulusError
        A set that is fitted has fewer than two stimuli, or one group only, so that nothing can
        be chosen within it.
    """
    folds = sampling.folds()
    k = len(folds)
    if folds.complementary and (k > 2 or not choose):
        cells = tuple(test for _, test in folds)
        plans = [_without(i, k, choose) for i in range(k)]
        result = [Nested(cells, tuple(plans))]
    else:
        result = [_alone(sampling, fit, test, choose) for fit, test in folds]
    for plan in result:
        _check(plan)
    return tuple(result)


def _without(i: int, k: int, choose: bool) -> Outer:
    """Outer fold ``i`` of ``k``, whose inner folds are the others, gathered where they are many."""
    fit = tuple(cell for cell in range(k) if cell != i)
    if not choose:
        return Outer(fit, (i,), ())
    n_inner = len(fit) if k <= MOST_PAIRS else INNER
    validations = [fit[start::n_inner] for start in range(n_inner)]
    inner = tuple((tuple(c for c in fit if c not in left), left) for left in validations)
    return Outer(fit, (i,), inner)


def _alone(sampling: Sampling, fit: Rows, test: Rows, choose: bool) -> Nested:
    """One outer fold with inner folds dealt from its fit rows, by label, whole groups or time."""
    in_sample = np.array_equal(fit, test)
    parts: tuple[Rows, ...] = (fit,)
    if choose:
        inner = sampling.within(fit, INNER)
        if inner.cv < 2:
            what = "stimulus" if inner.groups is None else f"of the {sampling.groups_name}"
            raise StimulusError(
                f"a set of fit stimuli has 1 {what}, so nothing can be chosen within it. "
                "Fix the option (n_alphas=1 or n_components=), or use folds with more."
            )
        parts = tuple(fit[chosen] for _, chosen in inner.folds())
    every = tuple(range(len(parts)))
    pairs = tuple((tuple(c for c in every if c != left), (left,)) for left in every)
    if in_sample:
        return Nested(parts, (Outer(every, every, pairs if choose else ()),))
    return Nested((*parts, test), (Outer(every, (len(parts),), pairs if choose else ()),))


def _check(plan: Nested) -> None:
    """Every set that is fitted holds two stimuli or more."""
    if plan.smallest_fit < 2:
        raise StimulusError(
            f"a fold fits on {plan.smallest_fit} stimulus, and nothing varies over one. "
            "Use fewer folds, or more stimuli."
        )


# --- choosing and scoring -----------------------------------------------------------------------


class Path(Protocol):
    """Fits of one set of stimuli for every option (penalty, number of components) at once."""

    @property
    def basis(self) -> Array:
        """Directions (coordinate, direction) in which the weights are given."""

    @property
    def n_options(self) -> int:
        """How many options there are."""
        ...

    def weights(self, targets: slice) -> Array:
        """Weights (direction, option, target) of some targets."""

    def chosen(self, option: Array) -> Array:
        """Weights (direction, target) of one option for each target."""


class Model(Protocol):
    """Linear maps from one side to the units (targets) of the other, fitted on unions of cells."""

    @property
    def n_targets(self) -> int:
        """Units of the side that is predicted."""
        ...

    @property
    def n_options(self) -> int:
        """How many options there are to choose from."""
        ...

    def path(self, fit: Cells) -> Path:
        """Every option, fitted on some cells."""
        ...

    def held(self, fit: Cells, test: Cells) -> Held:
        """Held-out stimuli, both sides about their means over the fitted cells."""
        ...


@dataclass(frozen=True)
class Scored:
    """Held-out sums of all outer folds, and what was chosen.

    Attributes
    ----------
    sums : Sums
    options : array of int (outer fold, target)
        Number of the chosen option.
    at_low, at_high : array of int (target,)
        In how many folds the first (last) option was chosen although the errors still fell by
        more than MATTERS of the variance from its neighbour to it.
    """

    sums: Sums
    options: Counts
    at_low: Counts
    at_high: Counts


def scored(model: Model, plan: Nested) -> Scored:
    """Choose an option for each target within the fit rows of each outer fold, and score it."""
    inner = _inner_errors(model, plan)
    sums: Sums | None = None
    options = []
    at_ends = np.zeros((2, model.n_targets), dtype=np.intp)
    for outer, errors in zip(plan.outer, inner, strict=True):
        path = model.path(outer.fit)
        held = model.held(outer.fit, outer.test)
        xp = array_namespace(held.total)
        if errors is None:
            option = xp.zeros_like(held.total, dtype=xp.int64)
        else:
            option = xp.argmin(errors.squares, axis=0)
            at_ends += errors.ends(option)
        options.append(to_host(option))
        here = held.turned(path.basis).sums(path.chosen(option))
        sums = here if sums is None else sums + here
    assert sums is not None
    return Scored(sums, np.stack(options), at_ends[0], at_ends[1])


@dataclass(frozen=True)
class Errors:
    """Sums over inner folds: squared errors (option, target), and squares of the truth."""

    squares: Array
    total: Array

    def __add__(self, other: Errors) -> Errors:
        return Errors(self.squares + other.squares, self.total + other.total)

    def ends(self, option: Array) -> Counts:
        """1 for a target where the first (or last) option was chosen and a further one promises."""
        counts = np.zeros((2, *to_host(self.total).shape), dtype=np.intp)
        last = int(self.squares.shape[0]) - 1
        if last > 0:
            for which, (end, beside) in enumerate(((0, 1), (last, last - 1))):
                gain = self.squares[beside, :] - self.squares[end, :]
                promises = (gain > MATTERS * self.total) & (self.total > 0)
                counts[which] = to_host((option == end) & promises)
        return counts


def _inner_errors(model: Model, plan: Nested) -> list[Errors | None]:
    """Validation errors of each outer fold, None where there are no inner folds.

    Each distinct set of fit cells is fitted once, whichever outer folds ask for it.
    """
    uses: dict[Cells, list[tuple[int, Cells]]] = {}
    for number, outer in enumerate(plan.outer):
        for fit, validation in outer.inner:
            uses.setdefault(fit, []).append((number, validation))
    found: list[Errors | None] = [None] * len(plan.outer)
    for fit, asked in uses.items():
        path = model.path(fit)
        helds = [model.held(fit, validation) for _, validation in asked]
        squares = path_errors(path, helds, model.n_targets)
        for (number, _), held, square in zip(asked, helds, squares, strict=True):
            here, before = Errors(square, held.total), found[number]
            found[number] = here if before is None else before + here
    return found


COLUMNS = 1024  # options times targets whose weights are held at once


def path_errors(path: Path, helds: Sequence[Held], n_targets: int) -> list[Array]:
    """Sums of squared errors (option, target) of each held-out set, for every option.

    Either the held-out sets are turned into the path's directions once, or the weights of every
    option are turned back: whichever takes fewer products.
    """
    width, directions = (int(size) for size in path.basis.shape)
    columns = path.n_options * n_targets
    kept = columns * (width * directions + sum(h.products(width) for h in helds))
    turned = sum(h.turning(directions) + columns * h.products(directions) for h in helds)
    turn = turned < kept
    if turn:
        helds = [held.turned(path.basis) for held in helds]
    xp = array_namespace(path.basis)
    step = max(1, COLUMNS // path.n_options)
    parts: list[list[Array]] = [[] for _ in helds]
    for start in range(0, n_targets, step):
        targets = slice(start, min(start + step, n_targets))
        weights = path.weights(targets)
        shape = weights.shape
        weights = xp.reshape(weights, (shape[0], shape[1] * shape[2]))
        if not turn:
            weights = matmul(path.basis, weights)
        for part, held in zip(parts, helds, strict=True):
            part.append(held.errors(weights, targets))
    return [xp.concat(part, axis=1) for part in parts]
