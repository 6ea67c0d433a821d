"""Draws that all kinds of stimuli share: even designs, prevalence, and which labels are seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from reptools.errors import FeatureError, ParameterError

SPLITS = ("train", "validation", "test")
HELD_OUT = SPLITS[1:]
LABELLED = "labelled_"  # + feature: the coord that says on which stimuli its label may be used
_TAKEN = (
    "channel", "column", "input", "row", "split", "stimulus", "symbol", "token", "unit",
)  # fmt: skip


class Config(Protocol):
    """What the settings of every kind of stimuli have in common."""

    @property
    def train(self) -> int: ...  # noqa: D102
    @property
    def validation(self) -> int: ...  # noqa: D102
    @property
    def test(self) -> int: ...  # noqa: D102
    @property
    def seed(self) -> int: ...  # noqa: D102
    @property
    def prevalence(self) -> Mapping[str, float]: ...  # noqa: D102
    @property
    def labelled(self) -> Mapping[str, float]: ...  # noqa: D102


def check_name(name: object) -> None:
    """Refuse a feature's name that is no identifier or means something else in a file.

    Raises
    ------
    FeatureError
        Such a name.
    """
    if not (isinstance(name, str) and name.isidentifier()):
        raise FeatureError(
            f"Feature: name is {name!r}. Use letters, digits and '_', starting with a letter."
        )
    if name in _TAKEN or name.startswith(LABELLED):
        raise FeatureError(
            f"Feature: name is {name!r}, which means something else in a file of stimuli. "
            f"Avoid {', '.join(_TAKEN)} and names that start with {LABELLED!r}."
        )


def check_names(config: Config, names: Sequence[str]) -> None:
    """Refuse settings without a feature, or with two of one name.

    Raises
    ------
    FeatureError
    """
    owner = type(config).__name__
    if not names:
        raise FeatureError(f"{owner}: features is empty. Name at least one feature.")
    if len(set(names)) < len(names):
        raise FeatureError(f"{owner}: features are named {list(names)}. Name each differently.")


def check_config(config: Config, levels: Mapping[str, int], **more: tuple[int, int]) -> None:
    """Check the settings that all kinds share.

    Parameters
    ----------
    config
        Has train, validation, test, seed, prevalence and labelled.
    levels
        Feature name -> number of its values.
    **more
        Other whole numbers of the settings -> least and largest value.

    Raises
    ------
    ParameterError
        A number out of its range; a held-out split that cannot hold every combination of the
        features' values equally often; a share of no feature or outside its range.
    """
    owner = type(config).__name__
    sizes = dict.fromkeys(SPLITS, (1, 2**31))
    for name, (least, most) in {**more, **sizes, "seed": (0, 2**63)}.items():
        value = getattr(config, name)
        if type(value) is not int or not least <= value <= most:
            raise ParameterError(
                f"{owner}: {name} is {value!r}. Give a whole number from {least} to {most}."
            )
    combinations = reduce(int.__mul__, levels.values(), 1)
    for name in HELD_OUT:
        value = getattr(config, name)
        if value % combinations:
            raise ParameterError(
                f"{owner}: {name} is {value}, not a multiple of {combinations}, the combinations "
                f"of the values of {len(levels)} features. "
                f"Use {-(-value // combinations) * combinations}."
            )
    for name, top in [("prevalence", "below 1"), ("labelled", "to 1")]:
        for feature, share in getattr(config, name).items():
            if feature not in levels:
                raise ParameterError(
                    f"{owner}: {name} names {feature!r}, which is no feature. "
                    f"Use some of {sorted(levels)}."
                )
            real = isinstance(share, int | float) and not isinstance(share, bool)
            if not (real and 0 < share <= 1) or (share == 1 and name == "prevalence"):
                raise ParameterError(
                    f"{owner}: {name} of {feature!r} is {share!r}. Give a share above 0, {top}."
                )


def value_shares(
    levels: Mapping[str, int], prevalence: Mapping[str, float]
) -> dict[str, NDArray[np.float64]]:
    """How often each feature takes each of its values in training.

    Parameters
    ----------
    levels
        Feature name -> number of its values.
    prevalence
        Feature name -> share of value 1; the other values share the rest evenly. A feature that
        is not named takes all values equally often.

    Examples
    --------
    >>> {k: v.tolist() for k, v in value_shares({"a": 2, "b": 3}, {"b": 0.5}).items()}
    {'a': [0.5, 0.5], 'b': [0.25, 0.5, 0.25]}
    """
    shares = {}
    for name, n in levels.items():
        present = prevalence.get(name, 1 / n)
        shares[name] = np.full(n, (1 - present) / (n - 1) if name in prevalence else present)
        shares[name][1] = present
    return shares


def draw_values(
    n: int, shares: Sequence[NDArray[Any]], rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Draw the values of independent features, as exactly as `n` allows.

    Every combination of values occurs as often as the product of its shares says, rounded down or
    up; the stimuli that the rounding leaves go to combinations drawn by what they lack
    (sequential Poisson sampling), so the shares of each feature are not biased by it.

    Parameters
    ----------
    n
        Number of stimuli.
    shares
        For each feature the shares of its values (:func:`value_shares`).
    rng
        Where the order comes from.

    Returns
    -------
    ndarray
        Values (stimulus, feature), in random order.

    References
    ----------
    Ohlsson (1998), Sequential Poisson sampling, Journal of Official Statistics 14.
    """
    sizes = [len(share) for share in shares]
    # the first feature varies fastest over the combinations
    joint = reduce(lambda a, b: np.outer(b, a).ravel(), shares, np.ones(1))
    expected = n * joint
    counts = np.floor(expected + 1e-9).astype(int)
    lacking = np.clip(expected - counts, 1e-12, None)

    combination = np.repeat(np.arange(joint.size), counts)
    turn = np.arange(combination.size) - np.repeat(np.cumsum(counts) - counts, counts)
    order = rng.permutation(joint.size)
    urgency = (np.arange(joint.size) + 0.5) / lacking[order]
    rest = order[np.argsort(urgency, kind="stable")][: n - combination.size]
    index = np.concatenate([combination[np.lexsort((combination, turn))], rest])
    place = np.cumprod([1, *sizes[:-1]])
    return (rng.permutation(index)[:, None] // place % sizes).astype(np.uint8)


def draw_labelled(
    values: NDArray[np.uint8], labelled: Mapping[str, float], rng: np.random.Generator
) -> dict[str, NDArray[np.uint8]]:
    """Draw on which training stimuli the label of a feature is seen.

    The stimuli are ordered by the values of all features and by what was drawn for the features
    before, and taken at even steps: each share is kept within one stimulus, in all and among the
    stimuli of any combination of values.

    Parameters
    ----------
    values
        Values (stimulus, feature) of all features.
    labelled
        Feature name -> share of the stimuli on which its label is seen.
    rng
        Where the order among equal stimuli comes from.

    Returns
    -------
    dict
        Feature name -> 1 where the label is seen, else 0 (stimulus,).
    """
    strata: list[NDArray[Any]] = [*values.T]
    seen: dict[str, NDArray[np.uint8]] = {}
    for name, share in labelled.items():
        order = np.lexsort((rng.permutation(len(values)), *strata))
        steps = np.floor(np.arange(len(values) + 1) * share + rng.random())
        seen[name] = np.zeros(len(values), np.uint8)
        seen[name][order] = np.diff(steps)
        strata.insert(0, seen[name])  # the stimuli of a combination stay together
    return seen


def labelled_coords(
    seen: Mapping[str, NDArray[np.uint8]], held_out: int
) -> dict[str, tuple[str, NDArray[np.uint8]]]:
    """Coords of training stimuli and then `held_out` others, whose labels are all known."""
    rest = np.ones(held_out, np.uint8)
    return {
        f"{LABELLED}{name}": ("stimulus", np.concatenate([mask, rest]))
        for name, mask in seen.items()
    }
