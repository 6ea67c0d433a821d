"""Token strings keep their promises: rules, places, leaks, splits, shares, seeds."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from scipy.optimize import linprog

from datasets.sequences import SequencesConfig, make_sequences
from datasets.token_features import (
    TOKEN_RULES,
    TokenFeature,
    bearing_tokens,
    read_token_features,
)
from reptools.errors import FeatureError, ParameterError, ReptoolsError, StimulusError

RULES = {
    "word": "presence",
    "half": "position",
    "more": "count-3",
    "far": "agreement-7",
    "odd": "parity-3",
}
NAMES = list(RULES)
CONFIG = SequencesConfig(read_token_features(RULES), train=8000, validation=320, test=1600, seed=5)
SPLITS = ("train", "validation", "test")
SIGMAS = 4.5  # two-sided, once in 150,000 independent looks


@pytest.fixture(scope="module")
def data() -> xr.Dataset:
    return make_sequences(CONFIG)


def split(data: xr.Dataset, name: str) -> xr.Dataset:
    return data.isel(stimulus=np.flatnonzero(data["split"].values == name))


def codes(data: xr.Dataset) -> np.ndarray:
    """Features as -1 and +1 (stimulus, feature)."""
    return np.stack([data[name].values for name in NAMES], axis=1).astype(int) * 2 - 1


def answer(string: str, rule: str, symbols: str) -> int:
    """The feature of one string, read from its letters and the rule's text alone."""
    kind, _, number = rule.partition("-")
    places = [i for i, letter in enumerate(string) if letter in symbols]
    letters = [string[i] for i in places]
    if kind == "presence":
        assert len(places) == 1
        return int(symbols[1] in string)
    if kind == "position":
        (place,) = places
        assert place * 2 + 1 != len(string)
        return int(place > (len(string) - 1) / 2)
    if kind == "agreement":
        assert places[1] - places[0] == int(number)
        assert len(places) == 2
        return int(letters[0] == letters[1])
    assert len(places) == int(number)
    tally = Counter(letters)
    if kind == "count":
        return int(tally[symbols[1]] > tally[symbols[0]])
    assert kind == "parity"
    value = 0
    for letter in letters:
        value ^= letter == symbols[1]
    return int(value)


def test_sizes_and_attrs(data: xr.Dataset) -> None:
    assert dict(data.sizes) == {"token": 24, "stimulus": 9920, "unit": 16}
    assert data["input"].dims == ("token", "stimulus", "unit")
    assert data["input"].dtype == np.float32
    assert data["far"].attrs == {
        "kind": "binary",
        "complexity": 2.0,
        "chance": 0.5,
        "rule": "agreement-7",
        "symbols": "FG",
        "tokens": 2,
        "span": 7.0,
    }
    assert [data[name].attrs["complexity"] for name in NAMES] == [1, 1, 1, 2, 3]
    assert [data[name].attrs["tokens"] for name in NAMES] == [1, 1, 3, 2, 3]
    for name, size in [("train", 8000), ("validation", 320), ("test", 1600)]:
        assert split(data, name).sizes["stimulus"] == size


def test_labels_spell_the_inputs(data: xr.Dataset) -> None:
    x = data["input"].values
    assert set(np.unique(x)) == {0, 1}
    assert (x.sum(axis=2) == 1).all()
    symbols = data["symbol"].values
    assert "".join(symbols) == "ABCDEFGHIabcdefg"
    letters = symbols[x.argmax(axis=2)].T
    assert ["".join(row) for row in letters] == data["stimulus"].values.tolist()


def test_features_are_those_of_the_strings(data: xr.Dataset) -> None:
    for name in NAMES:
        rule, symbols = data[name].attrs["rule"], data[name].attrs["symbols"]
        assert rule == RULES[name]
        found = [answer(string, rule, symbols) for string in data["stimulus"].values.tolist()]
        assert data[name].values.tolist() == found


@pytest.mark.parametrize("length", [16, 17])
def test_every_rule_in_short_strings(length: int) -> None:
    rules = {"a": "count-5", "b": "agreement-15", "c": "parity-2", "d": "position", "e": "position"}
    config = SequencesConfig(
        read_token_features(rules), length=length, train=999, validation=32, test=32
    )
    data = make_sequences(config)
    for name, rule in rules.items():
        symbols = data[name].attrs["symbols"]
        found = [answer(string, rule, symbols) for string in data["stimulus"].values.tolist()]
        assert data[name].values.tolist() == found


def test_span_is_that_of_the_held_out_strings(data: xr.Dataset) -> None:
    for name in NAMES:
        symbols = data[name].attrs["symbols"]
        places = [
            [i for i, letter in enumerate(string) if letter in symbols]
            for string in data["stimulus"].values[8000:].tolist()
        ]
        span = np.mean([p[-1] - p[0] for p in places])
        assert data[name].attrs["span"] == pytest.approx(span, abs=1e-12)
    # three places of 24 at random: 25 * 2 / 4 apart on average, were there no other features
    assert data["more"].attrs["span"] == pytest.approx(12.5, abs=0.4)


def test_no_string_twice(data: xr.Dataset) -> None:
    strings = {name: set(split(data, name)["stimulus"].values.tolist()) for name in SPLITS}
    assert [len(strings[name]) for name in SPLITS] == [8000, 320, 1600]
    for a, b in itertools.combinations(SPLITS, 2):
        assert not strings[a] & strings[b]


def test_splits_are_factorial(data: xr.Dataset) -> None:
    # 8000 = 32 * 250: training is factorial, too, where no prevalence is asked for
    for name in SPLITS:
        part = codes(split(data, name))
        rows, counts = np.unique(part, axis=0, return_counts=True)
        assert len(rows) == 32
        assert set(counts) == {len(part) // 32}


def test_filler_is_the_same_for_all_values(data: xr.Dataset) -> None:
    x = data["input"].values.sum(axis=0)  # how often each symbol occurs (stimulus, unit)
    filler = x[:, 9:]
    assert set(filler.sum(axis=1)) == {24 - 10}
    # each filler token is one of 7 symbols
    n, p = 14 * len(x) / 2, 1 / 7
    for sign in (codes(data) == 1).T:
        assert (abs(filler[sign].sum(axis=0) - n * p) < SIGMAS * np.sqrt(n * p * (1 - p))).all()
        assert (abs(filler[~sign].sum(axis=0) - n * p) < SIGMAS * np.sqrt(n * p * (1 - p))).all()


def test_symbols_are_even_among_the_patterns_of_a_value(data: xr.Dataset) -> None:
    for name, expected in [("more", 4), ("far", 2), ("odd", 4)]:
        symbols = set(data[name].attrs["symbols"])
        for value in (0, 1):
            strings = data["stimulus"].values[data[name].values == value].tolist()
            kinds = Counter("".join(c for c in string if c in symbols) for string in strings)
            assert len(kinds) == expected
            n, p = len(strings), 1 / expected
            for count in kinds.values():
                assert abs(count - n * p) < SIGMAS * np.sqrt(n * p * (1 - p))


def test_places_are_independent_of_all_values(data: xr.Dataset) -> None:
    """Where a feature stands says nothing of any value, but for the position of `position`."""
    values = codes(data) == 1
    for name in NAMES:
        where = bearing_tokens(data["stimulus"], data[name].attrs["symbols"]).values
        for other, value in zip(NAMES, values.T, strict=True):
            if name == other == "half":
                assert not where[value, :12].any()
                assert not where[~value, 12:].any()
                continue
            difference = where[value].mean(axis=0) - where[~value].mean(axis=0)
            p = where.mean(axis=0)
            error = np.sqrt(p * (1 - p) * 4 / len(where))
            assert (abs(difference) < SIGMAS * error).all(), (name, other)


def test_others_do_not_make_way_for_a_position(data: xr.Dataset) -> None:
    """How many bearing tokens of other features are in the second half says nothing, either."""
    others = "".join(data[name].attrs["symbols"] for name in NAMES if name != "half")
    late = bearing_tokens(data["stimulus"], others).values[:, 12:].sum(axis=1)
    # were the token of `position` drawn first, this would be 9 / 23 = 0.39
    difference = late[data["half"] == 1].mean() - late[data["half"] == 0].mean()
    assert abs(difference) < SIGMAS * late.std() * 2 / np.sqrt(len(late)) < 0.15


def test_places_are_uniform() -> None:
    rules = {"word": "presence", "half": "position", "more": "count-3", "odd": "parity-2"}
    for length in (16, 24):
        config = SequencesConfig(
            read_token_features(rules), length=length, train=9600, validation=16, test=16, seed=1
        )
        data = split(make_sequences(config), "train")
        for name in rules:
            where = bearing_tokens(data["stimulus"], data[name].attrs["symbols"]).values
            p = data[name].attrs["tokens"] / length
            error = np.sqrt(p * (1 - p) / len(where))
            assert (abs(where.mean(axis=0) - p) < SIGMAS * error).all(), (length, name)
            if name == "half":
                for value in (0, 1):
                    part = where[data["half"].values == value]
                    part = part[:, length // 2 :] if value else part[:, : length // 2]
                    p = 2 / length
                    error = np.sqrt(p * (1 - p) / len(part))
                    assert (abs(part.mean(axis=0) - p) < SIGMAS * error).all()


def test_pairs_at_a_distance_are_uniform() -> None:
    config = SequencesConfig(
        read_token_features({"far": "agreement-9"}), length=16, train=7000, validation=2, test=2
    )
    data = split(make_sequences(config), "train")
    first = bearing_tokens(data["stimulus"], "AB").values.argmax(axis=1)
    counts = np.bincount(first, minlength=7)
    assert len(counts) == 7
    assert (abs(counts - 1000) < SIGMAS * np.sqrt(1000 * 6 / 7)).all()


def least_squares(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Accuracy on held-out stimuli of linear readouts (stimulus, unit) -> (stimulus, feature)."""
    x = np.column_stack([x, np.ones(len(x))]).astype(np.float64)
    weight = np.linalg.pinv(x[:8000].T @ x[:8000], hermitian=True) @ (x[:8000].T @ y[:8000])
    return (np.sign(x[8000:] @ weight) == y[8000:]).mean(axis=0)


def test_what_a_linear_readout_gets(data: xr.Dataset) -> None:
    by_place = data["input"].transpose("stimulus", "token", "unit").values
    bag = by_place.sum(axis=1)
    a, b = np.triu_indices(9)
    pairs = np.column_stack([bag, bag[:, a] * bag[:, b]])
    triples = np.column_stack([bag, *(bag[:, 7] ** k for k in (2, 3))])
    views = {
        "bag": bag,
        "pairs": pairs,
        "triples": triples,
        "places": by_place.reshape(len(bag), -1),
    }
    read = {
        "bag": {"word", "more"},
        "pairs": {"word", "more", "far"},
        "triples": {"word", "more", "odd"},
        "places": {"word", "half", "more"},
    }
    chance = SIGMAS * 0.5 / np.sqrt(1920)
    for view, x in views.items():
        for name, accuracy in zip(NAMES, least_squares(x, codes(data)), strict=True):
            if name in read[view]:
                assert accuracy > 0.99, (view, name, accuracy)
            else:
                assert abs(accuracy - 0.5) < chance, (view, name, accuracy)


def separable(feature: TokenFeature, degree: int) -> bool:
    """Whether some polynomial of this degree in the bits has the feature's sign."""
    columns = [
        subset
        for size in range(degree + 1)
        for subset in itertools.combinations(range(feature.tokens), size)
    ]
    rows = [
        [sign * np.prod(pattern[list(subset)]) for subset in columns]
        for sign, patterns in zip((-1, 1), feature.patterns, strict=True)
        for pattern in patterns.astype(int)
    ]
    found = linprog(
        np.zeros(len(columns)),
        A_ub=-np.array(rows, float),
        b_ub=-np.ones(len(rows)),
        bounds=(None, None),
    )
    return found.status == 0


@pytest.mark.parametrize(
    "rule", ["presence", "count-3", "count-5", "agreement-4", "parity-2", "parity-3", "parity-5"]
)
def test_complexity_is_the_perceptron_order(rule: str) -> None:
    (feature,) = read_token_features({"f": rule})
    order = int(feature.complexity)
    assert separable(feature, order)
    assert not separable(feature, order - 1)


def test_roles_were_checked(data: xr.Dataset) -> None:
    roles = json.loads(data.attrs["roles"])
    assert roles["association"] == 0
    assert set(roles["trivial"]) == {"far", "odd"}


def test_prevalence_and_labels_differ_in_training_only(data: xr.Dataset) -> None:
    config = replace(
        CONFIG, prevalence={"far": 0.2, "half": 0.9}, labelled={"word": 0.1, "far": 0.5}
    )
    other = make_sequences(config)
    train = split(other, "train")
    for name in NAMES:
        assert train[name].mean().item() == {"far": 0.2, "half": 0.9}.get(name, 0.5)
    assert (train["far"] & train["half"]).mean().item() == pytest.approx(0.18, abs=1e-3)
    for name, share in config.labelled.items():
        mask = train[f"labelled_{name}"].values
        assert mask.mean() == pytest.approx(share, abs=1 / 8000)
        for feature in NAMES:
            kept = train[feature].values[mask == 1].mean()
            assert kept == pytest.approx(train[feature].mean().item(), abs=0.01)
    for name in SPLITS[1:]:
        part = split(other, name)
        assert (part["labelled_word"] == 1).all()
        assert (part["labelled_far"] == 1).all()
        kept = part.drop_vars(["labelled_word", "labelled_far"])
        kept.attrs = data.attrs
        xr.testing.assert_identical(kept, split(data, name))
    # where the position is given, it is the only thing that differs in places
    assert bearing_tokens(train["stimulus"], "C")[:, 12:].any("token").mean().item() == 0.9


def test_same_seed_same_strings_and_others_differ(data: xr.Dataset) -> None:
    state = np.random.get_state()[1].copy()
    xr.testing.assert_identical(make_sequences(CONFIG), data)
    assert (np.random.get_state()[1] == state).all()
    other = make_sequences(replace(CONFIG, seed=6))
    assert not set(other["stimulus"].values) & set(data["stimulus"].values)


def test_held_out_strings_do_not_depend_on_training_size(data: xr.Dataset) -> None:
    small = make_sequences(replace(CONFIG, train=33))
    small.attrs = data.attrs
    for name in SPLITS[1:]:
        xr.testing.assert_identical(split(small, name), split(data, name))


def test_every_string_of_a_small_world() -> None:
    # presence in two tokens with one filler symbol: Aa, aA, Ba, aB
    config = SequencesConfig(
        read_token_features({"w": "presence"}),
        length=2, vocabulary=3, train=4, validation=2, test=2,
    )  # fmt: skip
    with pytest.raises(StimulusError, match="4 of 4 strings for train occur again"):
        make_sequences(config)
    larger = replace(config, length=3)  # 3 places for each of A and B
    with pytest.raises(StimulusError, match="for train occur again"):
        make_sequences(larger)
    assert len(set(make_sequences(replace(larger, train=2))["stimulus"].values)) == 6


def test_tightest_layouts() -> None:
    rules = {"far": "agreement-5", "more": "count-3"}
    config = SequencesConfig(
        read_token_features(rules), length=6, vocabulary=6, train=16, validation=4, test=4
    )
    for string in make_sequences(config)["stimulus"].values.tolist():
        assert len(string) == 6
        assert {string[0], string[5]} <= set("AB")
    # a third feature would have the one place left, in the half that its value does not say
    with pytest.raises(StimulusError, match="0 fit, with room for any position in both halves"):
        SequencesConfig(
            read_token_features({**rules, "half": "position"}), length=6, validation=8, test=8
        )


@pytest.mark.parametrize(
    ("change", "error", "seen"),
    [
        ({"length": 1}, ParameterError, "length is 1. Give a whole number from 2 to 64"),
        ({"length": 65}, ParameterError, "length is 65"),
        ({"length": 24.0}, ParameterError, "length is 24.0"),
        ({"length": 9}, FeatureError, "need 10 tokens, and length is 9. Set length to at least 10"),
        ({"vocabulary": 9}, ParameterError, "vocabulary is 9. Give a whole number from 10 to 35"),
        ({"vocabulary": 36}, ParameterError, "vocabulary is 36"),
        ({"vocabulary": None}, ParameterError, "vocabulary is None"),
        ({"train": 0}, ParameterError, "train is 0"),
        ({"train": True}, ParameterError, "train is True"),
        ({"validation": 33}, ParameterError, "validation is 33, .*Use 64"),
        ({"test": 1}, ParameterError, "test is 1, .*Use 32"),
        ({"seed": -1}, ParameterError, "seed is -1"),
        ({"prevalence": {"near": 0.5}}, ParameterError, "prevalence names 'near'"),
        ({"prevalence": {"far": 1.0}}, ParameterError, "prevalence of 'far' is 1.0"),
        ({"labelled": {"far": 0}}, ParameterError, "labelled of 'far' is 0"),
        ({"labelled": {"nothing": 0.5}}, ParameterError, "labelled names 'nothing'"),
        ({"features": ()}, FeatureError, "features is empty"),
        (
            {"features": (TokenFeature("a", "presence", 1, "AB"),
                          TokenFeature("a", "position", 1, "C"))},
            FeatureError,
            r"named \['a', 'a'\]",
        ),
        (
            {"features": (TokenFeature("a", "presence", 1, "AB"),
                          TokenFeature("b", "position", 1, "B"))},
            FeatureError,
            "symbols 'ABB'",
        ),
        (
            {"features": read_token_features({"a": "agreement-24"})},
            FeatureError,
            "'a' is agreement-24, and length is 24. Set length to at least 25",
        ),
        (
            {"features": read_token_features({"a": "agreement-23", "b": "agreement-23"})},
            StimulusError,
            r"of 4096 layouts of \['agreement-23', 'agreement-23'\] in 24 tokens 0 fit",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_kept(
    change: dict[str, object], error: type[ReptoolsError], seen: str
) -> None:
    with pytest.raises(error, match=f"^SequencesConfig: .*{seen}"):
        replace(CONFIG, **change)


@pytest.mark.parametrize(
    ("name", "rule", "number", "symbols", "seen"),
    [
        ("a", "order", 1, "AB", "has the rule 'order'"),
        ("a", "count", 4, "AB", "the number 4, and count takes 3, 5, 7"),
        ("a", "count", 1, "AB", "the number 1, and count"),
        ("a", "parity", 9, "AB", "the number 9"),
        ("a", "agreement", 0, "AB", "the number 0"),
        ("a", "agreement", 64, "AB", "the number 64"),
        ("a", "presence", 2, "AB", "the number 2"),
        ("a", "presence", True, "AB", "the number True"),
        ("a", "presence", 1, "A", "symbols 'A'. Give presence 2 different capitals"),
        ("a", "presence", 1, "AA", "symbols 'AA'"),
        ("a", "presence", 1, "Ab", "symbols 'Ab'"),
        ("a", "position", 1, "AB", "symbols 'AB'. Give position 1 different capital[.]"),
        ("symbol", "presence", 1, "AB", "name is 'symbol'"),
        ("input", "presence", 1, "AB", "name is 'input'"),
        ("my feature", "presence", 1, "AB", "name is 'my feature'"),
    ],
)
def test_features_that_are_none(name: str, rule: str, number: int, symbols: str, seen: str) -> None:
    with pytest.raises(FeatureError, match=seen):
        TokenFeature(name, rule, number, symbols)


@pytest.mark.parametrize(
    "text", ["", "agree", "agreement-", "agreement-x", "parity--2", "count-3-3"]
)
def test_rules_that_cannot_be_read(text: str) -> None:
    with pytest.raises(FeatureError, match=f"'f' has the rule '{text}'. Use one of"):
        read_token_features({"f": text})


def test_reading_rules() -> None:
    usual = read_token_features({rule: rule for rule in TOKEN_RULES})
    assert [f.text for f in usual] == ["presence", "position", "count-3", "agreement-4", "parity-2"]
    assert "".join(f.symbols for f in usual) == "ABCDEFGHI"
    with pytest.raises(FeatureError, match="14 features need more than 26 symbols"):
        read_token_features({f"f{i}": "presence" for i in range(14)})


def test_features_refuse_other_strings() -> None:
    (far,) = read_token_features({"far": "agreement-2"})
    assert far(["AxBx", "xBxB"]).tolist() == [0, 1]
    with pytest.raises(StimulusError, match="'AAAx' has 3 tokens that bear 'far'"):
        far(["AxAx", "AAAx"])
    for strings in (["AxA", "AxAx"], [], "AxAx", [""]):
        with pytest.raises(StimulusError, match="strings of shape"):
            far(strings)
    half = TokenFeature("half", "position", 1, "A")
    assert half(["Axxxx", "xAxxx", "xxxAx"]).tolist() == [0, 0, 1]
    with pytest.raises(StimulusError, match="'xxAxx' has 0 tokens"):
        half(["xxAxx"])


def test_bearing_tokens_find_their_stimuli(data: xr.Dataset) -> None:
    """Labels that come back from a file as objects, in another order, are enough."""
    part = split(data, "validation").isel(stimulus=slice(None, None, -3))
    labels = part["stimulus"].values.astype(object)
    where = bearing_tokens(labels, part["far"].attrs["symbols"])
    assert where.dims == ("stimulus", "token")
    assert (where.sum("token") == 2).all()
    x = split(data, "validation")["input"]
    mean = x.sel(stimulus=part["stimulus"]).where(where).mean("token")
    same = part["far"].values == 1
    assert set(np.unique(mean.sel(unit=slice(5, 7)).values[same])) == {0, 1}
    assert set(np.unique(mean.sel(unit=slice(5, 7)).values[~same])) == {0.5}
    assert (mean.values[:, :5] == 0).all()
