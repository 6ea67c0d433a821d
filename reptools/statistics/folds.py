"""Which stimuli a score is fitted on and which it is tested on.

Folds are assigned from (seed, stimulus label), never from row order, so shuffling a file changes
no fold. Grouped stimuli share a fold; a time axis is cut into contiguous blocks.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from reptools.errors import ParameterError, StimulusError, some

Labels = np.ndarray[Any, Any]
Rows = np.ndarray[Any, np.dtype[np.intp]]
Digests = np.ndarray[Any, np.dtype[np.uint64]]

CACHED = 2**17  # labels up to which their digests are kept for the next call


@dataclass(frozen=True)
class Parts:
    """Sets of rows whose sums are taken, and what the folds are sums of.

    Attributes
    ----------
    rows : list of array
        Row numbers of each part, ascending.
    fit, test : list of list of int
        Parts of each fold's fit and test rows. Without ``fit`` the folds are complementary:
        fitted is what is not tested.
    """

    rows: list[Rows]
    fit: list[list[int]]
    test: list[list[int]]


@dataclass(frozen=True)
class Folds:
    """Pairs of row numbers (fit, test), and a sentence that says how they were made."""

    pairs: tuple[tuple[Rows, Rows], ...]
    description: str

    def __iter__(self) -> Iterator[tuple[Rows, Rows]]:
        return iter(self.pairs)

    def __len__(self) -> int:
        return len(self.pairs)

    @cached_property
    def complementary(self) -> bool:
        """Whether every stimulus in use is tested once and fitted in all other folds."""
        tested = np.sort(np.concatenate([test for _, test in self.pairs]))
        return all(np.array_equal(np.sort(np.concatenate(pair)), tested) for pair in self.pairs)

    def parts(self, n: int) -> Parts:
        """As few parts of ``n`` rows as sums over them need.

        Each row is in one part, unless there are more of these than fit and test rows of folds.
        """
        k = len(self.pairs)
        if self.complementary:
            return Parts([np.sort(test) for _, test in self.pairs], [], [[i] for i in range(k)])
        roles = np.zeros((n, 2 * k), dtype=bool)
        for number, (fit, test) in enumerate(self.pairs):
            roles[fit, number] = roles[test, k + number] = True
        used = np.flatnonzero(roles.any(axis=1))
        packed = np.ascontiguousarray(np.packbits(roles[used], axis=1))
        _, first, kind = np.unique(
            packed.view(f"V{packed.shape[1]}"), return_index=True, return_inverse=True
        )
        if first.size > 2 * k:  # folds that overlap at random
            rows = [np.flatnonzero(role) for role in roles.T]
            return Parts(rows, [[i] for i in range(k)], [[k + i] for i in range(k)])
        order = np.argsort(kind.reshape(used.size), kind="stable")
        ends = np.cumsum(np.bincount(kind.reshape(used.size)))
        chosen = [np.flatnonzero(role).tolist() for role in roles[used[first]].T]
        return Parts(np.split(used[order], ends[:-1]), chosen[:k], chosen[k:])


@dataclass(frozen=True)
class Sampling:
    """Everything a fold depends on: ``cv``, seed, labels and coordinates of the stimuli.

    Parameters
    ----------
    cv : int, "split", scikit-learn splitter or None
        Number of folds; the file's split coordinate; an object with ``split(X, y, groups)``; or
        None for in sample.
    seed : int
        Enters the hash that ranks the labels.
    labels : array (stimulus,)
        Stimulus labels, in the row order of the data.
    split, groups, time : array (stimulus,), optional
        Coordinates: split names, groups that must share a fold, and an order in time.
    groups_name : str
        What the groups are called in messages and results.
    """

    cv: Any
    seed: int
    labels: Labels
    split: Labels | None = None
    groups: Labels | None = None
    time: Labels | None = None
    groups_name: str = field(default="groups")

    def within(self, rows: Rows, k: int) -> Sampling:
        """Folds of some rows only, at most ``k``, by the same seed, labels, groups and time.

        Its ``cv`` is below 2 where the rows hold one stimulus or group, which cannot be divided.
        """
        groups = None if self.groups is None else self.groups[rows]
        available = len(rows) if groups is None else len(np.unique(groups))
        return replace(
            self,
            cv=min(k, available),
            labels=self.labels[rows],
            groups=groups,
            time=None if self.time is None else self.time[rows],
        )

    @cached_property
    def rank(self) -> Rows:
        """Hash order of the labels, made once: folds are asked for at every step."""
        return hash_rank(self.labels, self.seed)

    def folds(self, strata: Labels | None = None) -> Folds:
        """Fold pairs; ``strata`` (one class per stimulus) are spread evenly over int folds."""
        n = len(self.labels)
        if self.cv is None:
            rows = np.arange(n)
            return Folds(((rows, rows),), "in sample")
        if self.cv == "split":
            if self.split is not None:
                return self._by_split(self.split)
            halves = self._by_number(2, strata)
            return Folds(
                halves.pairs, f"two halves, no split coordinate: {halves.description}, both ways"
            )
        if isinstance(self.cv, int):
            return self._by_number(self.cv, strata)
        return self._by_splitter(strata)

    @property
    def description(self) -> str:
        """How folds are made, whatever is spread over them."""
        numbered = self.cv is None or isinstance(self.cv, (int, str))
        # a splitter that asks for classes makes as many folds for any
        return self.folds(None if numbered else np.zeros(len(self.labels), np.intp)).description

    def _by_split(self, split: Labels) -> Folds:
        names = [str(name) for name in np.unique(split)]
        fit_name = "validation" if "validation" in names else "train"
        if fit_name not in names or "test" not in names:
            raise ParameterError(
                f"cv='split' needs the values 'test' and 'validation' (or 'train') in the split "
                f"coordinate, which holds {some(names)}. Rename them, or pass cv=5."
            )
        fit = np.flatnonzero(split == fit_name)
        test = np.flatnonzero(split == "test")
        self._refuse_divided(fit, test, "the split")
        return Folds(
            ((fit, test),), f"split: fit on {fit_name} ({fit.size}), test on test ({test.size})"
        )

    def _refuse_divided(self, fit: Rows, test: Rows, what: str) -> None:
        """Refuse groups with stimuli on both sides."""
        if self.groups is None:
            return
        shared = np.intersect1d(self.groups[fit], self.groups[test])
        if shared.size:
            raise StimulusError(
                f"{shared.size} {self.groups_name} lie on both sides of {what} "
                f"({some(shared.tolist())}). Split whole {self.groups_name}, or pass cv=5."
            )

    def _by_number(self, k: int, strata: Labels | None) -> Folds:
        available, what = len(self.labels), "stimuli"
        if self.groups is not None:
            available, what = len(np.unique(self.groups)), self.groups_name
        if not 2 <= k <= available:
            raise ParameterError(
                f"cv must be from 2 to {available}, the number of {what}, got {k}. "
                "Pass fewer folds, or cv=None for in sample."
            )
        if self.groups is not None:
            fold, how = _deal_groups(self.groups, k, self.seed), f"whole {self.groups_name}"
        elif self.time is not None:
            _refuse_untimely(self.time)
            fold, how = _contiguous(self.time, self.labels, k), "contiguous in time"
        else:
            fold, how = _deal(self.rank, k, strata), "by label"
        pairs = tuple((np.flatnonzero(fold != i), np.flatnonzero(fold == i)) for i in range(k))
        return Folds(pairs, f"{k} folds, {how}")

    def _by_splitter(self, strata: Labels | None) -> Folds:
        if not hasattr(self.cv, "split"):
            raise ParameterError(
                f"cv must be a number, 'split', a splitter or None, got {self.cv!r}. Pass cv=5."
            )
        order = np.argsort(self.labels, kind="stable")  # the splitter sees labels in one order
        y = None if strata is None else strata[order]
        groups = None if self.groups is None else self.groups[order]
        if hasattr(self.cv, "test_fold") and not np.array_equal(self.labels, np.arange(len(order))):
            raise ParameterError(
                f"cv={type(self.cv).__name__} names folds by position, and labelled stimuli have "
                "none. Pass the folds as groups= with cv=LeaveOneGroupOut()."
            )
        drawn = getattr(self.cv, "shuffle", True)
        if drawn and getattr(self.cv, "random_state", 0) is None:
            raise ParameterError(
                f"cv={self.cv!r} draws anew at every call. Give it a random_state."
            )
        try:
            chosen = list(self.cv.split(np.zeros((len(order), 1)), y, groups))
        except (TypeError, ValueError) as error:
            have = f"{'no' if y is None else 'with'} classes, {'no' if groups is None else 'with'}"
            raise ParameterError(
                f"cv={self.cv!r} cannot split these {len(order)} stimuli ({have} groups): {error} "
                "Pass groups=, or a number of folds."
            ) from None
        name = type(self.cv).__name__
        if not chosen:
            raise ParameterError(f"cv={name} makes no folds. Pass cv=5.")
        pairs = tuple(
            (order[fit], order[test])
            for fit, test in (_checked(pair, name, i, len(order)) for i, pair in enumerate(chosen))
        )
        for number, (fit, test) in enumerate(pairs):
            shared = np.intersect1d(fit, test)
            if shared.size:
                raise ParameterError(
                    f"cv={name} fits {shared.size} of the {test.size} stimuli that fold {number} "
                    f"tests ({some(self.labels[shared].tolist())}). Keep them apart, or pass "
                    "cv=None for in sample."
                )
            self._refuse_divided(fit, test, f"fold {number} of cv={name}")
        return Folds(
            tuple((np.sort(fit), np.sort(test)) for fit, test in pairs),
            f"{name}, {len(pairs)} folds",
        )


def _checked(pair: Any, name: str, number: int, n: int) -> tuple[Rows, Rows]:
    """What a splitter yields as one fold: row numbers of ``n`` stimuli, each once, some of each."""
    if not isinstance(pair, Sequence) or len(pair) != 2:
        raise ParameterError(
            f"cv={name} yields {type(pair).__name__} as fold {number}. Yield (fit, test), two "
            "arrays of row numbers."
        )
    for role, given in zip(("fit", "test"), pair, strict=True):
        rows, which = np.asarray(given), f"cv={name}: the {role} rows of fold {number}"
        if not rows.size:
            raise ParameterError(f"{which} are empty. Yield at least one stimulus on each side.")
        if rows.ndim != 1 or rows.dtype.kind not in "iu":
            raise ParameterError(
                f"{which} are {rows.dtype} of shape {rows.shape}. Yield row numbers, such as "
                "np.flatnonzero(mask)."
            )
        if rows.min() < 0 or rows.max() >= n:
            raise ParameterError(
                f"{which} reach from {rows.min()} to {rows.max()}, and there are {n} stimuli. "
                f"Yield numbers from 0 to {n - 1}."
            )
        repeated = np.flatnonzero(np.bincount(rows, minlength=n) > 1)
        if repeated.size:
            raise ParameterError(
                f"{which} repeat {repeated.size} of {n} ({some(repeated.tolist())}), which would "
                "count once. Yield each row once."
            )
    return np.asarray(pair[0], np.intp), np.asarray(pair[1], np.intp)


def hash_rank(labels: Labels, seed: int) -> Rows:
    """Position of each label in an order drawn from (seed, label) alone.

    >>> import numpy as np
    >>> a = hash_rank(np.array(["s0", "s1", "s2"]), seed=0)
    >>> b = hash_rank(np.array(["s2", "s0", "s1"]), seed=0)
    >>> bool((a == b[[1, 2, 0]]).all())
    True
    """
    names = labels.tolist()
    # one call asks again for every layer, and a script for the same stimuli again and again
    plain = labels.dtype.kind in "iuU" and len(names) <= CACHED
    known = _digests(tuple(names), seed) if plain else _digested(names, seed)
    rank = np.empty(len(labels), dtype=np.intp)
    # the label itself breaks the (practically impossible) tie of two digests
    rank[np.lexsort((labels, known))] = np.arange(len(labels))
    return rank


def _digested(labels: Iterable[Any], seed: int) -> Digests:
    """A number for each label, from (seed, label) alone."""
    prefix = f"{seed}:".encode()
    digests = (hashlib.blake2b(prefix + str(s).encode(), digest_size=8).digest() for s in labels)
    return np.array([int.from_bytes(digest, "big") for digest in digests], dtype=np.uint64)


@lru_cache(maxsize=8)
def _digests(labels: tuple[Any, ...], seed: int) -> Digests:
    """Kept: integers that are equal have one text, and no text equals an integer."""
    digests = _digested(labels, seed)
    digests.flags.writeable = False
    return digests


def _deal(rank: Rows, k: int, strata: Labels | None) -> Rows:
    """Deal stimuli like cards, in hash order, one stratum after another: sizes differ by one."""
    order = np.argsort(rank) if strata is None else np.lexsort((rank, strata))
    fold = np.empty(len(rank), dtype=np.intp)
    fold[order] = np.arange(len(rank)) % k
    return fold


def _deal_groups(groups: Labels, k: int, seed: int) -> Rows:
    """Whole groups to folds: largest first to the emptiest fold, ties in hash order."""
    names, inverse, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    fold_of = np.empty(len(names), dtype=np.intp)
    filled = np.zeros(k, dtype=np.intp)
    for group in np.lexsort((hash_rank(names, seed), -sizes)):
        fold_of[group] = np.argmin(filled)
        filled[fold_of[group]] += sizes[group]
    return fold_of[inverse]


def _refuse_untimely(time: Labels) -> None:
    """Refuse times that have no order: text, whose '10' comes before '9', and missing ones."""
    if time.dtype.kind not in "biufmM":
        raise ParameterError(
            f"folds are contiguous in time, and the coordinate 'time' holds {time.dtype} values "
            f"({some(time.tolist())}). Make it numbers or datetime64, or drop it."
        )
    missing = int(np.count_nonzero(time != time))  # NaN, NaT
    if missing:
        raise ParameterError(
            f"folds are contiguous in time, and the coordinate 'time' is missing for {missing} of "
            f"{time.size} stimuli. Fill it, or drop it."
        )


def _contiguous(time: Labels, labels: Labels, k: int) -> Rows:
    """Blocks of equal length along time, so that neighbours stay together; ties by label."""
    rank = np.empty(len(time), dtype=np.intp)
    rank[np.lexsort((labels, time))] = np.arange(len(time))
    return rank * k // len(time)
