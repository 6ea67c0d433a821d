"""Features as kernels see them: plain columns, without labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np

from reptools.errors import FeatureError

FeatureKind = Literal["binary", "categorical", "continuous"]
Values = np.ndarray[Any, Any]
Codes = np.ndarray[Any, np.dtype[np.intp]]
LARGEST = 2**31  # number of a combination of classes that every platform's intp holds


@dataclass(frozen=True)
class Feature:
    """One feature of the stimuli.

    Attributes
    ----------
    name : str
        As in the file.
    kind : "binary", "categorical" or "continuous"
        Decides the design columns and how a probe scores it.
    values : array ([outer,] stimulus[, component])
        Class labels, or numbers where the kind is continuous.
    outer : tuple of str
        Dimensions that the feature shares with the activations beside ``stimulus``, such as
        ``token``; :meth:`at` takes them away. Everything else asks for a feature without them.
    """

    name: str
    kind: FeatureKind
    values: Values
    outer: tuple[str, ...] = ()
    _slices: dict[tuple[int, ...], Feature] = field(default_factory=dict, repr=False, compare=False)

    def at(self, index: Sequence[tuple[str, int]]) -> Feature:
        """The feature at one position of the outer dimensions, itself where it has none.

        >>> word = Feature("word", "binary", np.array([[0, 1, 1], [0, 0, 1]]), outer=("token",))
        >>> word.at((("step", 3), ("token", 1))).values.tolist()
        [0, 0, 1]
        """
        if not self.outer:
            return self
        where: Mapping[str, int] = dict(index)
        place = tuple(where[dim] for dim in self.outer)
        if place not in self._slices:
            self._slices[place] = Feature(self.name, self.kind, self.values[place])
        return self._slices[place]

    @cached_property
    def codes(self) -> Codes:
        """Class number of each stimulus, classes in sorted order."""
        self._refuse_outer()
        if self.kind == "continuous":
            raise FeatureError(f"feature {self.name!r} is continuous and has no classes.")
        if self.values.dtype.kind in "biuf":  # two classes need no sorting
            high = self.values == self.values.max()
            if (high | (self.values == self.values.min())).all():
                codes: Codes = high.astype(np.intp)
                return codes if not high.all() else np.zeros_like(codes)
        return np.unique(self.values, return_inverse=True)[1].reshape(len(self.values))

    @cached_property
    def constant(self) -> bool:
        """Whether all stimuli share one value, so that nothing can be said of the feature."""
        along = len(self.outer)  # stimuli come after the outer dimensions
        first = self.values.take([0], axis=along)
        return bool((self.values == first).all())

    @cached_property
    def columns(self) -> Values:
        """Design matrix (stimulus, column) in float64, not centred.

        A class feature is one-hot with its first level dropped: the intercept carries it.
        """
        self._refuse_outer()
        n = len(self.values)
        if self.kind == "continuous":
            return np.asarray(self.values, dtype=np.float64).reshape(n, -1)
        levels = int(self.codes.max())
        if levels == 1:
            return self.codes.astype(np.float64)[:, None]
        one_hot = self.codes[:, None] == np.arange(1, levels + 1)
        return np.asarray(one_hot, dtype=np.float64)

    def _refuse_outer(self) -> None:
        if self.outer:
            raise FeatureError(
                f"feature {self.name!r} has a value for each {' and '.join(self.outer)}. "
                "Select one position."
            )

    @property
    def strata(self) -> Codes | None:
        """Classes to spread evenly over folds; None for a continuous feature."""
        return None if self.kind == "continuous" else self.codes


def joint_classes(features: Sequence[Feature]) -> Codes | None:
    """Number of the combination of classes of each stimulus; None where no feature has classes.

    >>> a = Feature("a", "binary", np.array([0, 0, 1, 1]))
    >>> joint_classes([a, Feature("b", "binary", np.array([0, 1, 0, 0]))]).tolist()
    [0, 1, 2, 2]
    """
    joint: Codes | None = None
    size = 1  # of the numbers in use
    for feature in features:
        codes = feature.strata
        if codes is None:
            continue
        classes = int(codes.max()) + 1
        if joint is not None and size * classes >= LARGEST:
            joint, size = _renumbered(joint)
        joint = codes if joint is None else joint * classes + codes
        size *= classes
    return None if joint is None else _renumbered(joint)[0]


def _renumbered(codes: Codes) -> tuple[Codes, int]:
    """Numbers from 0 in the same order without gaps, and how many there are."""
    known, numbers = np.unique(codes, return_inverse=True)
    return numbers.reshape(codes.shape), known.size
