"""Token strings that carry independent, balanced features at places drawn at random.

A string of ``length`` tokens is made in four steps:

1. The values of all features are drawn, independently of each other.
2. The bearing tokens of each feature (:mod:`datasets.token_features`) get places, whatever the
   values are: all layouts in which no two tokens share a place, and those of an agreement are
   exactly its distance apart, are equally likely.
3. The token of a ``position`` feature gets any of the free places in the half that its value says;
   as it comes last, where the other features stand says nothing about it.
4. The bearing tokens get symbols, evenly among those that give the value, and all other tokens
   get filler symbols, each equally likely.

So all strings have the same numbers of bearing tokens and of filler, and a feature can be told from
its own symbols only. A string's label spells it, and the attr ``symbols`` of a feature says which
tokens bear it; files of activations have both, and
:func:`datasets.token_features.bearing_tokens` makes the places of them. Agreements at different
distances differ in span and not in complexity, parities of different size in complexity.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from string import ascii_lowercase

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from reptools.errors import FeatureError, StimulusError

from .checks import attach_roles
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
from .token_features import TokenFeature, bearing_tokens

FITTING, TRIED = 0.01, 4096  # our choice: layouts are drawn until one fits, so this share has to
ROUNDS = 32  # of drawing again what occurs twice; with half of all strings in use 2**-32 are left
Bits = NDArray[np.uint8]


@dataclass(frozen=True)
class SequencesConfig:
    """Settings of a set of token strings.

    Each feature has symbols of its own, on tokens at random places; all others are filler.

    Parameters
    ----------
    features
        The features (:func:`datasets.token_features.read_token_features`).
    length
        Tokens of a string, 2 to 64.
    vocabulary
        Number of symbols, the features' own and 1 to 26 of filler.
    train, validation, test
        Number of strings in each split. The two held-out ones hold every combination of the
        features' values equally often, so they are multiples of 2 ** (number of features).
    seed
        Seeds all draws. The held-out splits depend on no other number of the training split.
    prevalence
        Feature -> share of the training strings in which it is 1; 0.5 where it is not named.
    labelled
        Feature -> share of the training strings on which its label may be used, apart from all
        features and from each other; all of them where it is not named.

    Raises
    ------
    ParameterError, FeatureError
        A value out of its range; features that share symbols or need a longer string.
    StimulusError
        Distances that leave hardly any layout.
    """

    features: tuple[TokenFeature, ...]
    length: int = 24
    vocabulary: int = 16
    train: int = 32768
    validation: int = 512
    test: int = 512
    seed: int = 0
    prevalence: Mapping[str, float] = field(default_factory=dict)
    labelled: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_names(self, [feature.name for feature in self.features])
        own = "".join(feature.symbols for feature in self.features)
        if len(set(own)) < len(own):
            raise FeatureError(
                f"SequencesConfig: features have the symbols {own!r} in all. "
                "Give each feature symbols of its own."
            )
        least, most = len(own) + 1, len(own) + len(ascii_lowercase)
        check_config(self, self.levels, length=(2, 64), vocabulary=(least, most))
        self._check_room()

    def _check_room(self) -> None:
        if (need := sum(feature.tokens for feature in self.features)) > self.length:
            raise FeatureError(
                f"SequencesConfig: the features need {need} tokens, and length is {self.length}. "
                f"Set length to at least {need}."
            )
        for feature in self.features:
            if feature.rule == "agreement" and feature.number >= self.length:
                raise FeatureError(
                    f"SequencesConfig: {feature.name!r} is {feature.text}, and length is "
                    f"{self.length}. Set length to at least {feature.number + 1}."
                )
        fit = len(_fitting_layouts(self, TRIED, np.random.default_rng(0)))
        if fit < FITTING * TRIED:
            raise StimulusError(
                f"SequencesConfig: of {TRIED} layouts of {[f.text for f in self.features]} in "
                f"{self.length} tokens {fit} fit, with room for any position in both halves. "
                "Raise length, or ask for other distances."
            )

    @property
    def levels(self) -> dict[str, int]:
        """Feature -> number of values."""
        return {feature.name: 2 for feature in self.features}

    @property
    def symbols(self) -> str:
        """All symbols in the order of the input units: the features' own, then filler."""
        own = "".join(feature.symbols for feature in self.features)
        return own + ascii_lowercase[: self.vocabulary - len(own)]


def make_sequences(config: SequencesConfig) -> xr.Dataset:
    """Draw the strings of all three splits; no two of them are the same.

    Parameters
    ----------
    config
        Features, length, vocabulary, sizes of the splits, seed, and what differs in training.

    Returns
    -------
    xarray.Dataset
        ``input`` (token, stimulus, unit), float32, 1 in the unit of the token's symbol and else 0,
        with the coord ``symbol`` of each unit; and one variable (stimulus,) per feature with attrs
        kind, complexity (:attr:`datasets.token_features.TokenFeature.complexity`), chance, rule,
        symbols, tokens (the number of those that bear it) and span (tokens from the first to the
        last of them, mean of the held-out strings; 0 where there is one). Coords: ``stimulus``,
        the string, spelt; ``split``; and ``labelled_<feature>`` (0 or 1) for each feature of
        `labelled`. The attr ``roles`` says what :func:`datasets.checks.check_roles` measured; it
        is also checked that no centroid readout finds a feature of complexity above 1.

    Raises
    ------
    StimulusError
        More strings than can be drawn without repeating one.

    Examples
    --------
    >>> from datasets.token_features import read_token_features
    >>> features = read_token_features({"word": "presence", "far": "agreement-6"})
    >>> data = make_sequences(SequencesConfig(features, length=16, train=64))
    >>> dict(data.sizes), data["far"].attrs["span"]
    ({'token': 16, 'stimulus': 1088, 'unit': 16}, 6.0)
    >>> first = data.isel(stimulus=0)
    >>> "".join(data["symbol"].values[first["input"].argmax("unit")]) == first["stimulus"].item()
    True
    """
    rng = np.random.default_rng(config.seed)
    shares = dict.fromkeys(HELD_OUT, value_shares(config.levels, {}))
    shares["train"] = value_shares(config.levels, config.prevalence)
    values: dict[str, Bits] = {}
    drawn: dict[str, Bits] = {}
    for split, share in shares.items():
        values[split] = draw_values(getattr(config, split), list(share.values()), rng)
        drawn[split] = _draw_unseen(config, values[split], split, list(drawn.values()), rng)
    seen = draw_labelled(values["train"], config.labelled, rng)

    codes = np.concatenate([drawn[split] for split in SPLITS])
    strings = _spell(config, codes).astype(str)
    held_out = strings[config.train :]
    # (stimulus, token, unit) in memory, as networks and checks take it
    one_hot = np.eye(config.vocabulary, dtype=np.float32)[codes]
    data = xr.Dataset(
        {
            "input": (("token", "stimulus", "unit"), one_hot.transpose(1, 0, 2)),
            **{
                f.name: ("stimulus", f(strings), {**f.attrs, "span": _mean_span(held_out, f)})
                for f in config.features
            },
        },
        coords={
            "stimulus": strings,
            "split": ("stimulus", np.repeat(SPLITS, [len(values[split]) for split in SPLITS])),
            "symbol": ("unit", list(config.symbols)),
            **labelled_coords(seen, config.validation + config.test),
        },
    )
    hidden = {f.name: f.chance for f in config.features if f.complexity > 1}
    return attach_roles(data, config, hidden)


def _mean_span(strings: NDArray[np.str_], feature: TokenFeature) -> float:
    bearing = bearing_tokens(strings, feature.symbols).values
    last = bearing.shape[1] - 1 - bearing[:, ::-1].argmax(axis=1)
    return float((last - bearing.argmax(axis=1)).mean())


def _draw_unseen(
    config: SequencesConfig, values: Bits, split: str, earlier: list[Bits], rng: np.random.Generator
) -> Bits:
    """Draw strings (stimulus, token), and draw again what occurs earlier or twice."""
    seen = np.concatenate([_spell(config, codes) for codes in earlier] or [np.array([], "S1")])
    codes = _draw(config, values, rng)
    for _ in range(ROUNDS):
        keys = _spell(config, codes)
        again = np.isin(keys, seen)
        again[np.setdiff1d(np.arange(len(keys)), np.unique(keys, return_index=True)[1])] = True
        if not again.any():
            return codes
        codes[again] = _draw(config, values[again], rng)
    raise StimulusError(
        f"make_sequences: {again.sum()} of {len(values)} strings for {split} occur again, however "
        f"often they are drawn. Ask for fewer, or raise length or vocabulary."
    )


def _draw(config: SequencesConfig, values: Bits, rng: np.random.Generator) -> Bits:
    """Strings that have the given feature values (stimulus, feature), as units of symbols."""
    bearer = _layouts(config, len(values), rng)
    late = np.arange(config.length) >= config.length - config.length // 2
    early = np.arange(config.length) < config.length // 2
    for i, feature in enumerate(config.features):
        if feature.rule == "position":
            half = np.where(values[:, i, None] == 1, late, early)
            order = rng.random(bearer.shape) + (~half | (bearer >= 0))
            np.put_along_axis(bearer, order.argmin(axis=1)[:, None], i, axis=1)

    unit = 0
    filler = len("".join(feature.symbols for feature in config.features))
    codes = rng.integers(filler, config.vocabulary, size=bearer.shape, dtype=np.uint8)
    for i, feature in enumerate(config.features):
        chosen = np.empty((len(values), feature.tokens), np.uint8)
        for side, patterns in enumerate(feature.patterns):
            rows = np.flatnonzero(values[:, i] == side)
            chosen[rows] = patterns[rng.integers(len(patterns), size=len(rows))]
        codes[bearer == i] = unit + chosen.ravel()
        unit += len(feature.symbols)
    return codes


def _layouts(config: SequencesConfig, n: int, rng: np.random.Generator) -> NDArray[np.int8]:
    """Layouts (stimulus, token) of `n` strings."""
    found = np.empty((0, config.length), np.int8)
    while missing := n - len(found):
        found = np.concatenate([found, _fitting_layouts(config, missing, rng)])
    return found


def _fitting_layouts(config: SequencesConfig, n: int, rng: np.random.Generator) -> NDArray[np.int8]:
    """Those of `n` random layouts in which no tokens collide: (layout, token) -> feature or -1.

    Position features have no tokens here, but room for them in either half.
    """
    bearer = np.full((n, config.length), -1, np.int8)
    for i, feature in enumerate(config.features):
        if feature.rule == "agreement":
            first = rng.integers(config.length - feature.number, size=len(bearer))[:, None]
            pair = np.concatenate([first, first + feature.number], axis=1)
            free = (np.take_along_axis(bearer, pair, axis=1) < 0).all(axis=1)
            bearer, pair = bearer[free], pair[free]
            np.put_along_axis(bearer, pair, i, axis=1)
    anywhere = [
        i
        for i, feature in enumerate(config.features)
        if feature.rule not in ("agreement", "position")
        for _ in range(feature.tokens)
    ]
    order = (rng.random(bearer.shape) + (bearer >= 0)).argsort(axis=1)[:, : len(anywhere)]
    np.put_along_axis(bearer, order, np.array(anywhere, np.int8)[None], axis=1)
    halves = bearer[:, : config.length // 2], bearer[:, config.length - config.length // 2 :]
    places = sum(feature.rule == "position" for feature in config.features)
    roomy = np.all([(half < 0).sum(axis=1) >= places for half in halves], axis=0)
    return bearer[roomy]


def _spell(config: SequencesConfig, codes: Bits) -> NDArray[np.bytes_]:
    """Strings as one text each (stimulus,)."""
    letters = np.frombuffer(config.symbols.encode(), np.uint8)[codes]
    return letters.view(f"S{config.length}")[:, 0]
