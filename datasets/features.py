"""Binary features: what each one computes, from which input units, and how hard that is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from reptools.errors import FeatureError

LARGEST = 16  # units of one feature: its 2**k input patterns are written out


@dataclass(frozen=True)
class Rule:
    """A Boolean function of k bits, with the sizes k and the perceptron order that it has."""

    function: Callable[[NDArray[np.bool_]], Any]  # (..., k) -> (...)
    smallest: int
    largest: int
    order: Callable[[int], int]


RULES: dict[str, Rule] = {
    "copy": Rule(lambda bits: bits[..., 0], 1, 1, order=lambda k: 1),
    "and": Rule(lambda bits: bits.all(axis=-1), 2, LARGEST, order=lambda k: 1),
    "or": Rule(lambda bits: bits.any(axis=-1), 2, LARGEST, order=lambda k: 1),
    "xor": Rule(lambda bits: bits[..., 0] ^ bits[..., 1], 2, 2, order=lambda k: 2),
    "parity": Rule(lambda bits: bits.sum(axis=-1) % 2, 2, LARGEST, order=lambda k: k),
}


@dataclass(frozen=True)
class Feature:
    """A binary feature of an input vector.

    Parameters
    ----------
    name
        What the feature is called in files and figures.
    rule
        ``"copy"``, ``"and"``, ``"or"``, ``"xor"`` or ``"parity"``.
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
        if not (isinstance(self.name, str) and self.name.isidentifier()) or self.name == "input":
            raise FeatureError(
                f"Feature: name is {self.name!r}. Use letters, digits and '_', starting with a "
                "letter, and not 'input', which names the input vectors."
            )
        if self.rule not in RULES:
            raise FeatureError(f"{where}: rule is {self.rule!r}. Use one of {sorted(RULES)}.")
        rule, k = RULES[self.rule], len(self.units)
        if not rule.smallest <= k <= rule.largest:
            raise FeatureError(
                f"{where}: {self.rule} of {k} input units. "
                f"Give it {rule.smallest} to {rule.largest} units."
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

        1 is linearly separable (copy, AND, OR); XOR is 2 and parity of k is k.

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
        counted = np.arange(2**self.size)[:, None] >> np.arange(self.size) & 1
        every = counted.astype(np.uint8)
        value = np.asarray(RULES[self.rule].function(every.astype(bool))).astype(bool)
        return every[~value], every[value]

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


def lay_out(rules: Mapping[str, str]) -> tuple[Feature, ...]:
    """Give every feature input units of its own, one feature after the other from unit 0.

    Parameters
    ----------
    rules
        Feature name -> rule, with the number of units where the rule leaves it open:
        ``"copy"``, ``"xor"``, ``"and-2"``, ``"parity-4"``.

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
        k = int(size or RULES[rule].smallest)
        features.append(Feature(name, rule, tuple(range(start, start + k))))
        start += k
    return tuple(features)
