"""Binary features: what each one computes, from which input units, and how hard that is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from reptools.errors import FeatureError

from .sampling import check_name

LARGEST = 16  # units of one feature: its 2**k input patterns are written out
MOST_PARTS = 63  # Walsh components of one feature, those of 6 units


@dataclass(frozen=True)
class Rule:
    """A Boolean function of k bits, with the sizes k and the perceptron order that it has."""

    function: Callable[[NDArray[np.bool_]], Any]  # (..., k) -> (...)
    sizes: range
    order: Callable[[int], int]


_SEVERAL = range(2, LARGEST + 1)
RULES: dict[str, Rule] = {
    "copy": Rule(lambda bits: bits[..., 0], range(1, 2), order=lambda k: 1),
    "and": Rule(lambda bits: bits.all(axis=-1), _SEVERAL, order=lambda k: 1),
    "or": Rule(lambda bits: bits.any(axis=-1), _SEVERAL, order=lambda k: 1),
    "majority": Rule(
        lambda bits: 2 * bits.sum(axis=-1) > bits.shape[-1],
        range(3, LARGEST + 1, 2),  # odd, so that there is no tie
        order=lambda k: 1,
    ),
    "xor": Rule(lambda bits: bits[..., 0] ^ bits[..., 1], range(2, 3), order=lambda k: 2),
    "xor_of_xors": Rule(
        lambda bits: (bits[..., 0] ^ bits[..., 1]) ^ (bits[..., 2] ^ bits[..., 3]),
        range(4, 5),
        order=lambda k: 4,
    ),
    "parity": Rule(lambda bits: bits.sum(axis=-1) % 2, _SEVERAL, order=lambda k: k),
}


@dataclass(frozen=True)
class Feature:
    """A binary feature of an input vector.

    Parameters
    ----------
    name
        What the feature is called in files and figures.
    rule
        ``"copy"``, ``"and"``, ``"or"``, ``"majority"`` (of an odd number of units), ``"xor"``,
        ``"xor_of_xors"`` or ``"parity"``. XOR of XORs is a rung of the paper's ladder (linear,
        XOR, XOR of XORs, parity of k). As a function of its four bits it *is* the parity of four,
        with the same complexity: the two names give the same stimuli, and a difference between
        them can only be one of seeds. For a rung between XOR and it, take ``"parity"`` of three.
    units
        Indices of the input units that it reads.

    Raises
    ------
    FeatureError
        Unknown rule, repeated or negative units, or a number of units that the rule cannot take.

    Examples
    --------
    >>> hard = Feature("hard", "parity", units=(1, 2, 3, 4))
    >>> hard([[1, 1, 1, 0, 0], [0, 1, 1, 1, 0]])
    array([0, 1], dtype=uint8)
    >>> hard.complexity, hard.chance
    (4.0, 0.5)
    """

    name: str
    rule: str
    units: tuple[int, ...]

    def __post_init__(self) -> None:
        where = f"Feature: {self.name!r}"
        check_name(self.name)
        if self.rule not in RULES:
            raise FeatureError(f"{where}: rule is {self.rule!r}. Use one of {sorted(RULES)}.")
        rule, k = RULES[self.rule], len(self.units)
        if k not in rule.sizes:
            raise FeatureError(
                f"{where}: {self.rule} of {k} input units. "
                f"Give it {', '.join(map(str, rule.sizes))} of them."
            )
        if len(set(self.units)) < k or min(self.units) < 0:
            raise FeatureError(
                f"{where}: units are {self.units}. Name each input unit once, by its index from 0."
            )

    def __call__(self, inputs: ArrayLike) -> NDArray[np.uint8]:
        """Compute the feature, 0 or 1, of input vectors (..., unit) -> (...)."""
        bits = np.asarray(inputs)[..., list(self.units)].astype(bool)
        return np.asarray(RULES[self.rule].function(bits)).astype(np.uint8)

    @property
    def size(self) -> int:
        """Number of input units that the feature reads."""
        return len(self.units)

    @property
    def complexity(self) -> float:
        """Perceptron order: the least degree of a polynomial whose sign is the feature.

        1 is linearly separable (copy, AND, OR, majority); XOR is 2, parity of k is k, and so XOR
        of XORs is 4.

        References
        ----------
        Minsky & Papert (1969), Perceptrons, MIT Press.
        """
        return float(RULES[self.rule].order(self.size))

    @property
    def chance(self) -> float:
        """Accuracy of guessing, since the stimuli are balanced over the feature."""
        return 0.5

    @cached_property
    def patterns(self) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """The feature's input patterns (pattern, size) for which it is 0, and those for 1."""
        return patterns_of(RULES[self.rule].function, self.size)

    @property
    def attrs(self) -> dict[str, str | float]:
        """What a file says about the feature."""
        return {
            "kind": "binary",
            "complexity": self.complexity,
            "chance": self.chance,
            "rule": self.rule,
            "units": str(list(self.units)),
        }


def patterns_of(
    function: Callable[[NDArray[np.bool_]], Any], size: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """All inputs (pattern, size) for which a Boolean function is 0, and those for 1."""
    every = (np.arange(2**size)[:, None] >> np.arange(size) & 1).astype(np.uint8)
    value = np.asarray(function(every.astype(bool))).astype(bool)
    return every[~value], every[value]


def lay_out(rules: Mapping[str, str]) -> tuple[Feature, ...]:
    """Give every feature input units of its own, one feature after the other from unit 0.

    Parameters
    ----------
    rules
        Feature name -> rule, with the number of units where the rule leaves it open:
        ``"copy"``, ``"xor"``, ``"and-2"``, ``"majority-3"``, ``"parity-4"``.

    Raises
    ------
    FeatureError
        A rule that cannot be read.

    Examples
    --------
    >>> [feature.units for feature in lay_out({"easy": "copy", "hard": "parity-4"})]
    [(0,), (1, 2, 3, 4)]
    """
    features: list[Feature] = []
    start = 0
    for name, text in rules.items():
        rule, _, size = str(text).partition("-")
        if rule not in RULES or not (size.isdecimal() or size == ""):
            raise FeatureError(
                f"lay_out: {name!r} has the rule {text!r}. "
                f"Use one of {sorted(RULES)}, with '-' and a number of units: 'parity-4'."
            )
        k = int(size or RULES[rule].sizes[0])
        features.append(Feature(name, rule, tuple(range(start, start + k))))
        start += k
    return tuple(features)


def walsh_parts(feature: Feature) -> tuple[Feature, ...]:
    """List the Walsh components of a feature's input units, other than the feature itself.

    There is one for each non-empty subset of the units: its parity (a single unit is a copy).
    As -1 and +1 they are the products of the subset's bits, an orthogonal basis of all functions
    of these units when every input pattern is equally frequent. A feature's parts, which a network
    may represent instead of the feature, are sums of them.

    Parameters
    ----------
    feature
        A feature of at most 6 units.

    Returns
    -------
    tuple of Feature
        Named ``<feature>_part_<units>``, by size and then by units.

    Raises
    ------
    FeatureError
        The feature has more units.

    Examples
    --------
    >>> (hard,) = lay_out({"hard": "parity-3"})
    >>> [part.name for part in walsh_parts(hard)][2:]
    ['hard_part_2', 'hard_part_0_1', 'hard_part_0_2', 'hard_part_1_2']

    References
    ----------
    O'Donnell (2014), Analysis of Boolean Functions, Cambridge University Press, chapter 1.
    """
    if 2**feature.size - 1 > MOST_PARTS:
        raise FeatureError(
            f"walsh_parts: {feature.name!r} has {feature.size} input units, and so "
            f"{2**feature.size - 1} components; at most {MOST_PARTS} are written out. "
            "Use a feature of at most 6 units."
        )
    parts = [
        Feature(
            "_".join([feature.name, "part", *map(str, units)]),
            "copy" if len(units) == 1 else "parity",
            units,
        )
        for size in range(1, feature.size + 1)
        for units in combinations(feature.units, size)
    ]
    every = np.concatenate(feature.patterns)
    inputs = np.zeros((len(every), max(feature.units) + 1), np.uint8)
    inputs[:, list(feature.units)] = every
    return tuple(part for part in parts if (part(inputs) != feature(inputs)).any())
