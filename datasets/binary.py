"""Binary vectors in which independent, balanced features are hidden among distractor units."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import product
from math import ceil, prod

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from reptools.errors import FeatureError, StimulusError

from .checks import attach_roles
from .features import Feature, walsh_parts
from .sampling import (
    HELD_OUT,
    SPLITS,
    check_config,
    check_names,
    draw_labelled,
    draw_values,
    labelled_coords,
    value_shares,
)

Bits = NDArray[np.uint8]


@dataclass(frozen=True)
class BinaryConfig:
    """Settings of a set of binary stimuli: vectors of 0 and 1.

    Each feature is a Boolean function of a few input units of its own; the rest are distractors.

    Parameters
    ----------
    features
        The features, each reading input units of its own (:func:`datasets.features.lay_out`).
    units
        Length of an input vector, at most 64. Units that no feature reads are distractors: fair
        coins, so that most vectors of the held-out splits are far from any in training.
    train, validation, test
        Number of stimuli in each split. The two held-out ones hold every combination of the
        features' values equally often, so they are multiples of 2 ** (number of features).
    seed
        Seeds all draws. Other settings of the training split leave the held-out ones as they are.
    prevalence
        Feature -> share of the training stimuli in which it is 1; 0.5 where it is not named.
    labelled
        Feature -> share of the training stimuli on which its label may be used, apart from all
        features and from each other; all of them where it is not named.
    components
        Add the Walsh components of each feature's input units
        (:func:`datasets.features.walsh_parts`) as variables of their own, and let the held-out
        splits hold a feature's input patterns of one value equally often, as far as the number of
        stimuli allows: then the components of copy, majority, XOR and parity are exactly
        orthogonal. (AND and OR have unequal numbers of patterns for 0 and 1, so theirs are not.)

    Raises
    ------
    ParameterError, FeatureError
        A value out of its range; features that share units or lie outside the vector.
    StimulusError
        More stimuli than can be drawn without repeating a vector.
    """

    features: tuple[Feature, ...]
    units: int = 24
    train: int = 32768
    validation: int = 512
    test: int = 512
    seed: int = 0
    prevalence: Mapping[str, float] = field(default_factory=dict)
    labelled: Mapping[str, float] = field(default_factory=dict)
    components: bool = False

    def __post_init__(self) -> None:
        self._check_names()
        check_config(self, {feature.name: 2 for feature in self.features}, units=(1, 64))
        self._check_units()
        self._check_room()

    def _check_names(self) -> None:
        names = [feature.name for feature in self.features]
        if self.components:
            names += [part.name for feature in self.features for part in walsh_parts(feature)]
        check_names(self, names)

    def _check_units(self) -> None:
        owner: dict[int, str] = {}
        for feature in self.features:
            for unit in feature.units:
                if unit >= self.units:
                    raise FeatureError(
                        f"BinaryConfig: feature {feature.name!r} reads input unit {unit}, but "
                        f"units is {self.units}. Set units to at least {unit + 1}."
                    )
                if unit in owner:
                    raise FeatureError(
                        f"BinaryConfig: input unit {unit} is read by {owner[unit]!r} and by "
                        f"{feature.name!r}. Give each feature units of its own."
                    )
                owner[unit] = feature.name

    def _check_room(self) -> None:
        """Refuse to fill more than half the vectors of any combination: draws would stall."""
        free = 2 ** (self.units - sum(feature.size for feature in self.features))
        patterns = [[len(side) for side in feature.patterns] for feature in self.features]
        held_out = [getattr(self, split) // 2 ** len(self.features) for split in HELD_OUT]
        combinations = [
            (
                sum(held_out) + ceil(self.train * prod(share for share, _ in sides)),
                prod(count for _, count in sides) * free,
            )
            for sides in product(
                *(
                    zip(self.shares[f.name].tolist(), n, strict=True)
                    for f, n in zip(self.features, patterns, strict=True)
                )
            )
        ]
        need, room = max(combinations, key=lambda pair: pair[0] / pair[1])
        if 2 * need > room:
            raise StimulusError(
                f"BinaryConfig: {need} distinct vectors are needed for one combination of the "
                f"features' values, of which {self.units} units leave {room}; at most half are "
                "drawn. Ask for fewer stimuli or raise units."
            )
        # only the distractors tell vectors apart whose patterns are given
        even = sum(min(-(-n // min(side)) for side in patterns) for n in held_out)
        if self.components and 2 * even > free:
            raise StimulusError(
                f"BinaryConfig: components need {2 * even} combinations of distractor units, and "
                f"{self.units} units leave {free}. Ask for fewer stimuli or raise units."
            )

    @property
    def shares(self) -> dict[str, NDArray[np.float64]]:
        """Feature -> shares of 0 and 1 in training."""
        return value_shares({feature.name: 2 for feature in self.features}, self.prevalence)


def make_binary(config: BinaryConfig) -> xr.Dataset:
    """Draw the stimuli of all three splits; no two of them have the same input vector.

    A feature's value is drawn first, evenly or by its prevalence, and then its input pattern among
    those that have this value: AND and OR are thereby as balanced as parity, and independent of
    every other feature.

    Parameters
    ----------
    config
        Features, vector length, sizes of the splits, seed, and what differs in training.

    Returns
    -------
    xarray.Dataset
        ``input`` (stimulus, unit) of 0 and 1, and one variable (stimulus,) per feature with attrs
        kind, complexity, chance, rule and units, and ``part_of`` where it is a Walsh component.
        Coords: ``stimulus``, a label that spells the vector (length, then hexadecimal, unit 0
        first), equal only for equal vectors, in this file and any other; ``split``; and
        ``labelled_<feature>`` (0 or 1) for each feature of `labelled`. The attr ``roles`` says
        what :func:`datasets.checks.check_roles` measured.

    Examples
    --------
    >>> from datasets.features import lay_out
    >>> features = lay_out({"easy": "copy", "hard": "xor"})
    >>> data = make_binary(BinaryConfig(features, units=8, train=32, validation=8, test=8))
    >>> test = data.sel(stimulus=data.split == "test")
    >>> int(test.easy.sum()), int((test.easy & test.hard).sum())
    (4, 2)
    """
    rng = np.random.default_rng(config.seed)
    even = [np.full(2, 0.5)] * len(config.features)
    parts: dict[str, Bits] = {}
    for split in HELD_OUT:
        values = draw_values(getattr(config, split), even, rng)
        parts[split] = _draw_unseen(config, values, list(parts.values()), rng, config.components)
    values = draw_values(config.train, list(config.shares.values()), rng)
    parts["train"] = _draw_unseen(config, values, list(parts.values()), rng)
    seen = draw_labelled(values, config.labelled, rng)

    bits = np.concatenate([parts[split] for split in SPLITS])
    features = {f.name: ("stimulus", f(bits), f.attrs) for f in config.features}
    if config.components:
        for f in config.features:
            for part in walsh_parts(f):
                attrs = {**part.attrs, "part_of": f.name}
                features[part.name] = ("stimulus", part(bits), attrs)
    data = xr.Dataset(
        {"input": (("stimulus", "unit"), bits), **features},
        coords={
            "stimulus": _labels(bits),
            "split": ("stimulus", np.repeat(SPLITS, [len(parts[split]) for split in SPLITS])),
            **labelled_coords(seen, config.validation + config.test),
        },
    )
    return attach_roles(data, config)


def _draw(config: BinaryConfig, values: Bits, rng: np.random.Generator, even: bool = False) -> Bits:
    """Input vectors (stimulus, unit) that have the given feature values (stimulus, feature).

    With `even`, a feature's patterns of one value are equally frequent in every combination.
    """
    bits = rng.integers(0, 2, size=(len(values), config.units), dtype=np.uint8)
    groups = _combinations(values) if even else []
    for feature, value in zip(config.features, values.T, strict=True):
        columns = np.array(feature.units)
        for side, patterns in enumerate(feature.patterns):
            rows = np.flatnonzero(value == side)
            chosen = patterns[rng.integers(len(patterns), size=len(rows))]
            bits[np.ix_(rows, columns)] = chosen
        for rows in groups:
            patterns = feature.patterns[value[rows[0]]]
            turns = np.resize(rng.permutation(len(patterns)), len(rows))
            bits[np.ix_(rows, columns)] = patterns[rng.permutation(turns)]
    return bits


def _combinations(values: Bits) -> list[NDArray[np.intp]]:
    """Rows of each combination of feature values."""
    inverse = np.unique(values, axis=0, return_inverse=True)[1].ravel()
    return [np.flatnonzero(inverse == i) for i in range(inverse.max() + 1)]


def _draw_unseen(
    config: BinaryConfig,
    values: Bits,
    earlier: list[Bits],
    rng: np.random.Generator,
    even: bool = False,
) -> Bits:
    """Draw input vectors, and draw again what occurs earlier or twice.

    With `even` the patterns of a vector that is drawn again stay, and its distractors change.
    """
    seen = np.concatenate([_keys(bits) for bits in earlier] or [np.array([], np.uint64)])
    bits = _draw(config, values, rng, even)
    kept = [unit for feature in config.features for unit in feature.units] if even else []
    while True:
        keys = _keys(bits)
        again = np.isin(keys, seen)
        again[np.setdiff1d(np.arange(len(keys)), np.unique(keys, return_index=True)[1])] = True
        if not again.any():
            return bits
        fresh = _draw(config, values[again], rng)
        fresh[:, kept] = bits[again][:, kept]
        bits[again] = fresh


def _keys(bits: Bits) -> NDArray[np.uint64]:
    """One integer per vector, unit 0 in the highest bit; 64 units at most."""
    padded = np.zeros((len(bits), 64), np.uint8)
    padded[:, 64 - bits.shape[1] :] = bits
    return np.packbits(padded, axis=1).view(">u8")[:, 0].astype(np.uint64)


def _labels(bits: Bits) -> NDArray[np.str_]:
    units = bits.shape[1]
    return np.array([f"{units}:{key:0{-(-units // 4)}x}" for key in _keys(bits).tolist()])
