"""Features of token strings: what each one asks of a string, and how hard that is.

A string is a row of symbols such as ``"kABafcgB"``. A feature has symbols of its own, capitals,
which stand in every string equally often; the tokens that hold one of them *bear* the feature.
Everything else is filler, small letters that say nothing. So only the bearing tokens tell the
value of a feature (A and B are its symbols):

===============  =============================================  ==========  ==========
rule             1 where                                        tokens      complexity
===============  =============================================  ==========  ==========
``presence``     B occurs; else A does                          1           1
``position``     A, its only symbol, is in the second half      1           1
``count-K``      more of its K tokens are B than A              K, odd      1
``agreement-D``  two tokens, D places apart, are equal          2           2
``parity-K``     an odd number of its K tokens is B             K           K
===============  =============================================  ==========  ==========

From how often each symbol occurs (a bag of words) a linear readout gets ``presence`` and ``count``;
``agreement`` and ``parity`` take products of as many symbols as their complexity says, and
``position`` cannot be told at all. It is linear in the inputs, which have a unit for each symbol
at each place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from string import ascii_uppercase
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from reptools.errors import FeatureError, StimulusError, some

from .features import patterns_of
from .sampling import check_name

Bits = NDArray[np.uint8]


@dataclass(frozen=True)
class Rule:
    """A Boolean function of whether each of k bearing tokens is B, or is in the second half."""

    function: Callable[[NDArray[np.bool_]], Any]  # (..., k) -> (...)
    numbers: range  # that may follow the rule's name
    usual: int  # the number where none does
    tokens: Callable[[int], int]  # number -> k
    order: Callable[[int], int]  # number -> perceptron order
    symbols: int = 2


_NONE = range(1, 2)
TOKEN_RULES: dict[str, Rule] = {
    "presence": Rule(lambda bits: bits[..., 0], _NONE, 1, lambda _: 1, lambda _: 1),
    "position": Rule(lambda late: late[..., 0], _NONE, 1, lambda _: 1, lambda _: 1, symbols=1),
    "count": Rule(
        lambda bits: 2 * bits.sum(axis=-1) > bits.shape[-1],
        range(3, 16, 2),  # odd, so that there is no tie
        3,
        lambda k: k,
        lambda _: 1,
    ),
    "agreement": Rule(
        lambda bits: bits[..., 0] == bits[..., 1], range(1, 64), 4, lambda _: 2, lambda _: 2
    ),
    "parity": Rule(lambda bits: bits.sum(axis=-1) % 2, range(2, 9), 2, lambda k: k, lambda k: k),
}


@dataclass(frozen=True)
class TokenFeature:
    """A binary feature of a string of tokens.

    Parameters
    ----------
    name
        What the feature is called in files and figures.
    rule
        ``"presence"``, ``"position"``, ``"count"``, ``"agreement"`` or ``"parity"``.
    number
        Bearing tokens of count (3, 5, ... 15) and parity (2 to 8); distance in tokens between the
        two of agreement (1 to 63); 1 for the others.
    symbols
        Capitals that only this feature has: one for position, else two.

    Raises
    ------
    FeatureError
        Unknown rule, or a number or symbols that it does not take.

    Examples
    --------
    >>> far = TokenFeature("far", "agreement", 3, "AB")
    >>> far(["AcdAe", "dBccA"])
    array([1, 0], dtype=uint8)
    >>> far.complexity, far.tokens
    (2.0, 2)
    """

    name: str
    rule: str
    number: int
    symbols: str

    def __post_init__(self) -> None:
        check_name(self.name)
        where = f"TokenFeature: {self.name!r}"
        if self.rule not in TOKEN_RULES:
            raise FeatureError(
                f"{where} has the rule {self.rule!r}. Use one of {list(TOKEN_RULES)}."
            )
        rule = TOKEN_RULES[self.rule]
        if type(self.number) is not int or self.number not in rule.numbers:
            raise FeatureError(
                f"{where} has the number {self.number!r}, and {self.rule} takes "
                f"{some(rule.numbers)}. Use one of these."
            )
        if not set(self.symbols) <= set(ascii_uppercase) or not (
            len(self.symbols) == len(set(self.symbols)) == rule.symbols
        ):
            raise FeatureError(
                f"{where} has the symbols {self.symbols!r}. Give {self.rule} {rule.symbols} "
                f"different capital{'s' * (rule.symbols > 1)}."
            )

    def __call__(self, strings: ArrayLike) -> Bits:
        """Compute the feature, 0 or 1, of strings (stimulus,), each spelt as one text.

        Raises
        ------
        StimulusError
            A string with more or fewer bearing tokens than the rule wants, or a bearing token in
            the middle that is in neither half.
        """
        tokens = spelt(strings)
        length = tokens.shape[1]
        bearing = np.isin(tokens, list(self.symbols))
        if self.rule == "position":
            is_one = np.broadcast_to(np.arange(length) >= length - length // 2, tokens.shape)
            bearing[:, length // 2 : length - length // 2] = False
        else:
            is_one = tokens == self.symbols[1]
        if (odd := np.flatnonzero(bearing.sum(axis=1) != self.tokens)).size:
            raise StimulusError(
                f"TokenFeature: {''.join(tokens[odd[0]])!r} has {bearing[odd[0]].sum()} tokens "
                f"that bear {self.name!r}, and {self.text} needs {self.tokens} of "
                f"{self.symbols!r}. Pass strings that were made with this feature."
            )
        bits = is_one[bearing].reshape(len(tokens), self.tokens)
        return np.asarray(TOKEN_RULES[self.rule].function(bits)).astype(np.uint8)

    @property
    def tokens(self) -> int:
        """Number of tokens that bear the feature, in every string."""
        return TOKEN_RULES[self.rule].tokens(self.number)

    @property
    def text(self) -> str:
        """The rule as :func:`read_token_features` reads it."""
        numbered = len(TOKEN_RULES[self.rule].numbers) > 1
        return f"{self.rule}-{self.number}" if numbered else self.rule

    @property
    def complexity(self) -> float:
        """Perceptron order: the least degree of a polynomial of the inputs with the feature's sign.

        1 is linearly separable; agreement needs products of two tokens, parity of k those of k.
        (At given places the inputs are affine in the bits "is B", so an order is that of the
        Boolean function of these, as for binary vectors.)

        References
        ----------
        Minsky & Papert (1969), Perceptrons, MIT Press.
        """
        return float(TOKEN_RULES[self.rule].order(self.number))

    @property
    def chance(self) -> float:
        """Accuracy of guessing, since the stimuli are balanced over the feature."""
        return 0.5

    @cached_property
    def patterns(self) -> tuple[Bits, Bits]:
        """Which symbols (pattern, token), 0 for A, the tokens can have for value 0, and for 1."""
        if len(self.symbols) == 1:
            return np.zeros((1, 1), np.uint8), np.zeros((1, 1), np.uint8)
        return patterns_of(TOKEN_RULES[self.rule].function, self.tokens)

    @property
    def attrs(self) -> dict[str, str | float]:
        """What a file says about the feature."""
        return {
            "kind": "binary",
            "complexity": self.complexity,
            "chance": self.chance,
            "rule": self.text,
            "symbols": self.symbols,
            "tokens": self.tokens,
        }


def read_token_features(rules: Mapping[str, str]) -> tuple[TokenFeature, ...]:
    """Read the features of strings, and give them symbols of their own: A, B, C, ...

    Parameters
    ----------
    rules
        Feature name -> rule, with a number where it is not the usual one: ``"presence"``,
        ``"position"``, ``"count"`` (3 tokens), ``"agreement-8"`` (4 places apart where nothing is
        said), ``"parity-3"`` (else of 2).

    Raises
    ------
    FeatureError
        A rule that cannot be read; features that need more than the 26 capitals.

    Examples
    --------
    >>> features = read_token_features({"near": "presence", "half": "position", "far": "agreement"})
    >>> [(feature.text, feature.symbols) for feature in features]
    [('presence', 'AB'), ('position', 'C'), ('agreement-4', 'DE')]
    """
    features: list[TokenFeature] = []
    start = 0
    for name, text in rules.items():
        rule, hyphen, number = str(text).partition("-")
        if rule not in TOKEN_RULES or number.isdecimal() != bool(hyphen):
            raise FeatureError(
                f"read_token_features: {name!r} has the rule {text!r}. "
                f"Use one of {list(TOKEN_RULES)}, with '-' and a number: 'agreement-8'."
            )
        stop = start + TOKEN_RULES[rule].symbols
        if stop > len(ascii_uppercase):
            raise FeatureError(
                f"read_token_features: {len(rules)} features need more than "
                f"{len(ascii_uppercase)} symbols. Name fewer."
            )
        symbols = ascii_uppercase[start:stop]
        features.append(TokenFeature(name, rule, int(number or TOKEN_RULES[rule].usual), symbols))
        start = stop
    return tuple(features)


def spelt(strings: ArrayLike) -> NDArray[np.str_]:
    """Take strings of one length apart: (stimulus,) -> symbols (stimulus, token)."""
    whole = np.asarray(strings, dtype=str)
    lengths = np.unique(np.strings.str_len(whole)).tolist()
    if whole.ndim != 1 or len(lengths) != 1 or lengths[0] == 0:
        raise StimulusError(
            f"spelt: strings of shape {whole.shape} have the lengths {some(lengths)}. "
            "Pass (stimulus,) of one length, the labels of a file of sequences."
        )
    return np.ascontiguousarray(whole).view("U1").reshape(len(whole), lengths[0])


def bearing_tokens(strings: ArrayLike, symbols: str) -> xr.DataArray:
    """Where the tokens stand that bear a feature.

    Parameters
    ----------
    strings
        Labels (stimulus,) of stimuli or of what a network made of them.
    symbols
        The feature's, as its attr ``symbols`` says.

    Returns
    -------
    xarray.DataArray
        True for bearing tokens (stimulus, token), the same number in each string; with the labels
        as coord, so that it finds its stimuli in activations.

    Raises
    ------
    StimulusError
        Strings of different lengths, or none.

    Examples
    --------
    The mean activation of the tokens that bear a feature, whichever they are:

    >>> x = xr.DataArray(np.ones((4, 2, 3)), dims=("token", "stimulus", "unit"))
    >>> x = x.assign_coords(stimulus=["AcdB", "cBAd"])
    >>> where = bearing_tokens(x["stimulus"], "AB")
    >>> where.values.astype(int)
    array([[1, 0, 0, 1],
           [0, 1, 1, 0]])
    >>> x.where(where).mean("token").dims
    ('stimulus', 'unit')
    """
    labels = np.asarray(strings, dtype=str)
    where = np.isin(spelt(labels), list(symbols))
    return xr.DataArray(where, dims=("stimulus", "token"), coords={"stimulus": labels})
