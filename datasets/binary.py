"""Binary vectors in which independent, balanced features are hidden among distractor units."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from reptools.errors import FeatureError, ParameterError, StimulusError

from .features import Feature

Bits = NDArray[np.uint8]
SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class BinaryConfig:
    """Settings of a set of binary stimuli.

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
        Seeds all draws. The held-out splits do not depend on the number of training stimuli.

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

    def __post_init__(self) -> None:
        self._check_numbers()
        self._check_features()
        self._check_factorial()
        self._check_room()

    @property
    def combinations(self) -> int:
        """Number of combinations of the features' values."""
        return 1 << len(self.features)

    def _check_numbers(self) -> None:
        for name, least, most in [
            ("units", 1, 64),
            ("train", 1, 2**31),
            ("validation", 1, 2**31),
            ("test", 1, 2**31),
            ("seed", 0, 2**63),
        ]:
            value = getattr(self, name)
            if type(value) is not int or not least <= value <= most:
                raise ParameterError(
                    f"BinaryConfig: {name} is {value!r}. "
                    f"Give a whole number from {least} to {most}."
                )

    def _check_features(self) -> None:
        if not self.features:
            raise FeatureError("BinaryConfig: features is empty. Name at least one feature.")
        names = [feature.name for feature in self.features]
        if len(set(names)) < len(names):
            raise FeatureError(f"BinaryConfig: features are named {names}. Name each differently.")
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

    def _check_factorial(self) -> None:
        for name in ("validation", "test"):
            value = getattr(self, name)
            if value % self.combinations:
                nearest = -(-value // self.combinations) * self.combinations
                raise ParameterError(
                    f"BinaryConfig: {name} is {value}, not a multiple of {self.combinations}, the "
                    f"combinations of {len(self.features)} binary features. Use {nearest}."
                )

    def _check_room(self) -> None:
        """Refuse to fill more than half the vectors of any combination: draws would stall."""
        distractors = self.units - sum(feature.size for feature in self.features)
        fewest = [min(len(side) for side in feature.patterns) for feature in self.features]
        room = prod(fewest) * 2**distractors
        need = sum(-(-getattr(self, split) // self.combinations) for split in SPLITS)
        if 2 * need > room:
            raise StimulusError(
                f"BinaryConfig: {need} distinct vectors are needed for each combination of the "
                f"features, of which {self.units} units leave {room} in the rarest; at most half "
                "are drawn. Ask for fewer stimuli or raise units."
            )


def make_binary(config: BinaryConfig) -> xr.Dataset:
    """Draw the stimuli of all three splits; no two of them have the same input vector.

    A feature's value is drawn first, evenly, and then its input pattern among those that have this
    value: AND and OR are thereby as balanced as parity, and independent of every other feature.

    Parameters
    ----------
    config
        Features, vector length, sizes of the splits and seed.

    Returns
    -------
    xarray.Dataset
        ``input`` (stimulus, unit) of 0 and 1, and one variable (stimulus,) per feature with attrs
        kind, complexity, chance, rule and units. Coords: ``stimulus``, a label that spells the
        vector (length, then hexadecimal, unit 0 first), equal only for equal vectors, in this
        file and any other; and ``split``.

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
    parts: dict[str, Bits] = {}
    for split in ("validation", "test", "train"):
        values = _even_values(getattr(config, split), len(config.features), rng)
        parts[split] = _draw_unseen(config, values, list(parts.values()), rng)
    bits = np.concatenate([parts[split] for split in SPLITS])
    data = xr.Dataset(
        {
            "input": (("stimulus", "unit"), bits),
            **{f.name: ("stimulus", f(bits), f.attrs) for f in config.features},
        },
        coords={
            "stimulus": _labels(bits),
            "split": ("stimulus", np.repeat(SPLITS, [len(parts[split]) for split in SPLITS])),
        },
    )
    check_binary(data)
    return data


def check_binary(data: xr.Dataset) -> None:
    """Hold stimuli to their promises: disjoint vectors, factorial held-out splits.

    Parameters
    ----------
    data
        As made by :func:`make_binary`: ``input``, features and the coords stimulus and split.

    Raises
    ------
    StimulusError
        An input vector occurs twice, or a combination of features more often than another.
    """
    keys = _keys(data["input"].values)
    if repeats := len(keys) - len(np.unique(keys)):
        raise StimulusError(
            f"check_binary: {repeats} input vectors occur again. Draw the stimuli anew."
        )
    names = [str(name) for name in data.data_vars if name != "input"]
    values = np.stack([data[name].values for name in names], axis=1)
    for split in ("validation", "test"):
        within = values[data["split"].values == split]
        counts = np.unique(within, axis=0, return_counts=True)[1]
        if len(counts) != 2 ** len(names) or len(set(counts.tolist())) > 1:
            raise StimulusError(
                f"check_binary: the combinations of {names} occur {counts.tolist()} times in "
                f"{split}. Draw the stimuli anew, each combination equally often."
            )


def _even_values(n: int, n_features: int, rng: np.random.Generator) -> Bits:
    """Feature values (n, feature): all combinations equally often, up to a remainder, shuffled."""
    combinations = 2**n_features
    index = np.concatenate(
        [
            np.tile(np.arange(combinations), n // combinations),
            rng.permutation(combinations)[: n % combinations],
        ]
    )
    values = rng.permutation(index)[:, None] >> np.arange(n_features) & 1
    return values.astype(np.uint8)


def _draw(config: BinaryConfig, values: Bits, rng: np.random.Generator) -> Bits:
    """Input vectors (stimulus, unit) that have the given feature values (stimulus, feature)."""
    bits = rng.integers(0, 2, size=(len(values), config.units), dtype=np.uint8)
    for feature, value in zip(config.features, values.T, strict=True):
        for side, patterns in enumerate(feature.patterns):
            rows = np.flatnonzero(value == side)
            chosen = patterns[rng.integers(len(patterns), size=len(rows))]
            bits[np.ix_(rows, np.array(feature.units))] = chosen
    return bits


def _draw_unseen(
    config: BinaryConfig, values: Bits, earlier: list[Bits], rng: np.random.Generator
) -> Bits:
    """Draw input vectors, and draw again each one that occurs earlier or twice."""
    seen = np.concatenate([_keys(bits) for bits in earlier] or [np.array([], np.uint64)])
    bits = _draw(config, values, rng)
    while True:
        keys = _keys(bits)
        again = np.isin(keys, seen)
        twice = np.ones(len(keys), bool)
        twice[np.unique(keys, return_index=True)[1]] = False
        if not (again | twice).any():
            return bits
        bits[again | twice] = _draw(config, values[again | twice], rng)


def _keys(bits: Bits) -> NDArray[np.uint64]:
    """One integer per vector, unit 0 in the highest bit; 64 units at most."""
    padded = np.zeros((len(bits), 64), np.uint8)
    padded[:, 64 - bits.shape[1] :] = bits
    return np.packbits(padded, axis=1).view(">u8")[:, 0].astype(np.uint64)


def _labels(bits: Bits) -> NDArray[np.str_]:
    units = bits.shape[1]
    return np.array([f"{units}:{key:0{-(-units // 4)}x}" for key in _keys(bits).tolist()])
