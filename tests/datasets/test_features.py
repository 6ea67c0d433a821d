"""Features compute what their names say."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.optimize import linprog

from datasets.features import Feature, lay_out, walsh_parts
from reptools.errors import FeatureError

PLAIN = {
    "copy": lambda bits: bits[0],
    "and": min,
    "or": max,
    "xor": lambda bits: int(bits[0] != bits[1]),
    "xor_of_xors": lambda bits: int((bits[0] != bits[1]) != (bits[2] != bits[3])),
    "majority": lambda bits: sorted(bits)[len(bits) // 2],
    "parity": lambda bits: sum(bits) % 2,
}


@pytest.mark.parametrize(
    ("rule", "size", "complexity"),
    [
        ("copy", 1, 1),
        ("and", 3, 1),
        ("or", 2, 1),
        ("majority", 5, 1),
        ("xor", 2, 2),
        ("xor_of_xors", 4, 4),
        ("parity", 4, 4),
    ],
)
def test_truth_table(rule: str, size: int, complexity: int) -> None:
    # Distractor units before, between and after: only the feature's own units may matter.
    units = tuple(range(1, 2 * size, 2))
    feature = Feature("f", rule, units)
    rng = np.random.default_rng(0)
    for bits in itertools.product((0, 1), repeat=size):
        vectors = rng.integers(0, 2, size=(5, 2 * size + 1))
        vectors[:, list(units)] = bits
        assert feature(vectors).tolist() == [PLAIN[rule](bits)] * 5
    assert (feature.size, feature.complexity, feature.chance) == (size, complexity, 0.5)


@pytest.mark.parametrize(
    "text", ["copy", "and-4", "or-3", "xor", "parity-5", "majority-3", "xor_of_xors"]
)
def test_patterns_are_the_truth_table(text: str) -> None:
    (feature,) = lay_out({"f": text})
    zeros, ones = feature.patterns
    assert len(zeros) + len(ones) == 2**feature.size
    assert len(np.unique(np.concatenate([zeros, ones]), axis=0)) == 2**feature.size
    assert not feature(zeros).any()
    assert feature(ones).all()


def test_one_vector_and_many() -> None:
    feature = Feature("f", "parity", (0, 1))
    assert feature([1, 0]) == 1
    assert feature(np.zeros((2, 3, 2))).shape == (2, 3)


def test_features_get_units_of_their_own() -> None:
    features = lay_out({"a": "copy", "b": "and-3", "c": "xor", "d": "parity-4"})
    used = [unit for feature in features for unit in feature.units]
    assert used == list(range(10))


@pytest.mark.parametrize(
    ("name", "rule", "units", "seen"),
    [
        ("f", "nand", (0, 1), "'nand'"),
        ("f", "copy", (0, 1), "copy of 2 input units"),
        ("f", "xor", (0, 1, 2), "xor of 3"),
        ("f", "parity", (3,), "parity of 1"),
        ("f", "parity", tuple(range(17)), "parity of 17"),
        ("f", "parity", (0, 1, 1), r"\(0, 1, 1\)"),
        ("f", "copy", (-1,), r"\(-1,\)"),
        ("", "copy", (0,), "name is ''"),
        ("a/b", "copy", (0,), "'a/b'"),
        ("input", "copy", (0,), "'input'"),
        ("split", "copy", (0,), "'split'"),
        ("labelled_a", "copy", (0,), "'labelled_a'"),
        ("f", "majority", (0, 1), "majority of 2 input units. Give it 3, 5, 7"),
        ("f", "xor_of_xors", (0, 1, 2), "xor_of_xors of 3"),
    ],
)
def test_impossible_features(name: str, rule: str, units: tuple[int, ...], seen: str) -> None:
    with pytest.raises(FeatureError, match=seen):
        Feature(name, rule, units)


@pytest.mark.parametrize(
    "text",
    ["parity4", "parity--4", "parity-x", "", "nand", "parity-0", "xor-3", "copy-2", "majority-4"],
)
def test_unreadable_rules(text: str) -> None:
    with pytest.raises(FeatureError, match="'hard'"):
        lay_out({"hard": text})


def test_complexity_is_the_perceptron_order() -> None:
    # The least degree d for which the signs of products of at most d bits can be weighted to give
    # the feature: a linear program over its truth table.
    for text in ["and-3", "or-2", "majority-3", "xor", "parity-3", "xor_of_xors"]:
        (feature,) = lay_out({"f": text})
        k = feature.size
        bits = np.array(list(itertools.product((0, 1), repeat=k)))
        sign = feature(bits).astype(int) * 2 - 1
        separable = []
        for degree in range(k + 1):
            products = np.stack(
                [
                    (1 - 2 * bits[:, list(subset)]).prod(axis=1)
                    for size in range(degree + 1)
                    for subset in itertools.combinations(range(k), size)
                ],
                axis=1,
            )
            done = linprog(
                np.zeros(products.shape[1]),
                A_ub=-sign[:, None] * products,
                b_ub=-np.ones(len(bits)),
                bounds=(None, None),
            )
            separable.append(done.status == 0)
        assert separable.index(True) == feature.complexity, text


def test_xor_of_xors_is_parity_of_four() -> None:
    names = Feature("a", "xor_of_xors", (0, 1, 2, 3)), Feature("a", "parity", (0, 1, 2, 3))
    bits = np.array(list(itertools.product((0, 1), repeat=4)))
    assert (names[0](bits) == names[1](bits)).all()
    assert names[0].complexity == names[1].complexity


def test_walsh_parts_span_every_function_of_the_units() -> None:
    for text in ["and-3", "majority-3", "xor", "parity-4"]:
        (feature,) = lay_out({"f": text})
        bits = np.concatenate(feature.patterns)
        parts = [part(bits) for part in walsh_parts(feature)]
        basis = 1 - 2 * np.stack([np.zeros(len(bits)), *parts, feature(bits)], axis=1)
        assert np.linalg.matrix_rank(basis) == 2**feature.size
        if text in ("xor", "parity-4"):  # the feature is itself one of the products
            assert (basis.T @ basis == len(bits) * np.eye(2**feature.size)).all()
    assert walsh_parts(lay_out({"f": "copy"})[0]) == ()
