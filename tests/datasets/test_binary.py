"""Binary stimuli keep their promises: disjoint, factorial, balanced, independent, seeded."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from datasets.binary import BinaryConfig, make_binary
from datasets.features import Feature, lay_out
from reptools.errors import FeatureError, ParameterError, ReptoolsError, StimulusError

RULES = {"e1": "copy", "e2": "and-2", "e3": "or-3", "h1": "xor", "h2": "parity-4"}
NAMES = list(RULES)
CONFIG = BinaryConfig(lay_out(RULES), units=20, train=4000, validation=64, test=128, seed=3)


@pytest.fixture(scope="module")
def data() -> xr.Dataset:
    return make_binary(CONFIG)


def split(data: xr.Dataset, name: str) -> xr.Dataset:
    """Stimuli of a split, without what was measured on all of them."""
    return data.isel(stimulus=np.flatnonzero(data["split"].values == name)).drop_attrs(deep=False)


def codes(data: xr.Dataset) -> np.ndarray:
    """Features as -1 and +1 (stimulus, feature)."""
    return np.stack([data[name].values for name in NAMES], axis=1).astype(int) * 2 - 1


def held_out(data: xr.Dataset) -> Iterator[xr.Dataset]:
    yield split(data, "validation")
    yield split(data, "test")


def test_sizes_and_attrs(data: xr.Dataset) -> None:
    assert dict(data.sizes) == {"stimulus": 4192, "unit": 20}
    assert data["h2"].attrs == {
        "kind": "binary",
        "complexity": 4.0,
        "chance": 0.5,
        "rule": "parity",
        "units": "[8, 9, 10, 11]",
    }
    for name, size in [("train", 4000), ("validation", 64), ("test", 128)]:
        assert split(data, name).sizes["stimulus"] == size


def test_features_are_those_of_the_inputs(data: xr.Dataset) -> None:
    bits = data["input"].values
    assert set(np.unique(bits)) == {0, 1}
    assert (data["e2"].values == (bits[:, 1] & bits[:, 2])).all()
    assert (data["h2"].values == bits[:, 8:12].sum(axis=1) % 2).all()


def test_no_vector_twice(data: xr.Dataset) -> None:
    vectors = {name: {v.tobytes() for v in split(data, name)["input"].values}
               for name in ("train", "validation", "test")}  # fmt: skip
    assert [len(vectors[name]) for name in vectors] == [4000, 64, 128]
    for a, b in itertools.combinations(vectors, 2):
        assert not vectors[a] & vectors[b]


def test_labels_spell_the_vectors(data: xr.Dataset) -> None:
    for label, bits in zip(data["stimulus"].values[:50], data["input"].values, strict=False):
        length, _, digits = label.partition(":")
        assert (length, len(digits)) == ("20", 5)
        assert f"{int(digits, 16):020b}" == "".join(map(str, bits))
    assert len(set(data["stimulus"].values)) == 4192


def test_exact_factorial(data: xr.Dataset) -> None:
    for part in held_out(data):
        rows, counts = np.unique(codes(part), axis=0, return_counts=True)
        assert len(rows) == 32
        assert set(counts) == {part.sizes["stimulus"] // 32}


def test_designs_are_orthogonal_exactly(data: xr.Dataset) -> None:
    for part in held_out(data):
        x = codes(part)
        assert (x.sum(axis=0) == 0).all()
        assert (x.T @ x == part.sizes["stimulus"] * np.eye(5, dtype=int)).all()


def test_training_is_balanced_and_independent(data: xr.Dataset) -> None:
    # 4000 = 32 * 125: the training set is factorial, too.
    x = codes(split(data, "train"))
    assert (x.T @ x == 4000 * np.eye(5, dtype=int)).all()
    other = make_binary(replace(CONFIG, train=4001))
    assert abs(codes(split(other, "train")).sum(axis=0)).max() == 1


def test_distractors_and_patterns_are_even() -> None:
    config = BinaryConfig(lay_out({"a": "and-3"}), units=20, train=20000, validation=2, test=2)
    part = split(make_binary(config), "train")
    bits, value = part["input"].values, part["a"].values
    assert (bits[value == 1, :3] == 1).all()
    patterns, counts = np.unique(bits[value == 0, :3], axis=0, return_counts=True)
    # Binomial: a seventh of 10,000 each, four standard deviations are 140.
    assert len(patterns) == 7
    assert abs(counts - 10000 / 7).max() < 140
    assert abs(bits[:, 3:].mean(axis=0) - 0.5).max() < 4 * 0.5 / np.sqrt(20000)


def test_same_seed_same_stimuli_and_others_differ(data: xr.Dataset) -> None:
    state = np.random.get_state()[1].copy()
    xr.testing.assert_identical(make_binary(CONFIG), data)
    assert (np.random.get_state()[1] == state).all()
    other = make_binary(replace(CONFIG, seed=4))
    assert (other["input"].values != data["input"].values).mean() > 0.4


def test_held_out_stimuli_do_not_depend_on_training_size(data: xr.Dataset) -> None:
    small = make_binary(replace(CONFIG, train=10))
    for name in ("validation", "test"):
        xr.testing.assert_identical(split(small, name), split(data, name))


def test_half_of_all_vectors_can_be_drawn() -> None:
    config = BinaryConfig(lay_out({"a": "copy"}), units=8, train=64, validation=32, test=32)
    assert make_binary(config).sizes["stimulus"] == 128
    with pytest.raises(StimulusError, match=r"65 distinct vectors .* leave 128;"):
        replace(config, train=65)


def test_longest_vectors() -> None:
    config = BinaryConfig(lay_out({"a": "xor"}), units=64, train=8, validation=4, test=4)
    data = make_binary(config)
    for label, bits in zip(data["stimulus"].values, data["input"].values, strict=True):
        assert f"{int(label[3:], 16):064b}" == "".join(map(str, bits))


def test_a_rare_pattern_limits_the_room() -> None:
    # AND of 8 is 1 for one pattern of 256: the distractors alone must tell the vectors apart.
    features = lay_out({"a": "and-8"})
    with pytest.raises(StimulusError, match="leave 16;"):
        BinaryConfig(features, units=12, train=100, validation=4, test=4)
    assert BinaryConfig(features, units=12, train=8, validation=4, test=4)


@pytest.mark.parametrize(
    ("change", "error", "seen"),
    [
        ({"units": 0}, ParameterError, "units is 0"),
        ({"units": 65}, ParameterError, "units is 65"),
        ({"units": 16.0}, ParameterError, r"units is 16\.0"),
        ({"units": True}, ParameterError, "units is True"),
        ({"units": 11}, FeatureError, "'h2' reads input unit 11.*at least 12"),
        ({"train": 0}, ParameterError, "train is 0"),
        ({"train": -5}, ParameterError, "train is -5"),
        ({"train": "many"}, ParameterError, "train is 'many'"),
        ({"train": 2**20}, StimulusError, "leave 4096;"),
        ({"validation": 33}, ParameterError, r"validation is 33.*Use 64\."),
        ({"test": 1}, ParameterError, r"test is 1,.*Use 32\."),
        ({"seed": -1}, ParameterError, "seed is -1"),
        ({"prevalence": {"nobody": 0.1}}, ParameterError, "prevalence names 'nobody'"),
        ({"prevalence": {"e1": 1}}, ParameterError, "prevalence of 'e1' is 1. .* below 1"),
        ({"prevalence": {"e1": 0.0}}, ParameterError, r"prevalence of 'e1' is 0\.0"),
        ({"prevalence": {"e1": "half"}}, ParameterError, "prevalence of 'e1' is 'half'"),
        ({"labelled": {"h1": 1.5}}, ParameterError, r"labelled of 'h1' is 1\.5. .* to 1"),
        ({"labelled": {"h1": True}}, ParameterError, "labelled of 'h1' is True"),
        ({"labelled": {"h3": 0.5}}, ParameterError, r"labelled names 'h3'.*\['e1', 'e2', 'e3'"),
        ({"seed": None}, ParameterError, "seed is None"),
        ({"features": ()}, FeatureError, "features is empty"),
        (
            {"features": (Feature("a", "copy", (0,)), Feature("a", "copy", (1,)))},
            FeatureError,
            r"\['a', 'a'\]",
        ),
        (
            {"features": (Feature("a", "copy", (1,)), Feature("b", "xor", (0, 1)))},
            FeatureError,
            "unit 1 is read by 'a' and by 'b'",
        ),
    ],
)
def test_what_cannot_be_kept(
    change: dict[str, object], error: type[ReptoolsError], seen: str
) -> None:
    with pytest.raises(error, match=seen):
        replace(CONFIG, **change)


# --- what differs in training ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rules", "settings", "sha"),
    [
        ({"easy": "copy", "hard": "parity-4"}, {}, "94d8c524"),
        (RULES, {"units": 20, "train": 4001, "validation": 64, "test": 128, "seed": 3}, "43ad119f"),
    ],
)
def test_stimuli_of_earlier_releases_are_unchanged(
    rules: dict[str, str], settings: dict[str, int], sha: str
) -> None:
    # Taken before prevalence and labels were added; the first set is that of complexity.toml.
    data = make_binary(BinaryConfig(lay_out(rules), **settings))
    digest = hashlib.sha256()
    for name in ("input", *sorted(rules)):
        digest.update(name.encode() + data[name].values.astype("<f4").tobytes())
    for name in ("split", "stimulus"):
        digest.update("\n".join(data[name].values.tolist()).encode())
    assert digest.hexdigest()[:8] == sha


def test_prevalence_is_kept_in_training_and_only_there(data: xr.Dataset) -> None:
    config = replace(CONFIG, prevalence={"e1": 0.1, "h2": 0.75})
    rare = make_binary(config)
    for name in ("validation", "test"):
        xr.testing.assert_identical(split(rare, name), split(data, name))
    x = (codes(split(rare, "train")) + 1) // 2
    np.testing.assert_allclose(x.mean(axis=0), [0.1, 0.5, 0.5, 0.5, 0.75], atol=0.004)
    joint = x.T @ x / 4000 - np.outer(x.mean(axis=0), x.mean(axis=0))
    assert abs(joint - np.diag(np.diag(joint))).max() < 0.004  # 16 of 4000


def test_labels_are_seen_on_their_share_of_the_training_stimuli(data: xr.Dataset) -> None:
    some = make_binary(replace(CONFIG, labelled={"h1": 0.1, "e1": 0.5}))
    assert set(some.coords) - set(data.coords) == {"labelled_h1", "labelled_e1"}
    xr.testing.assert_equal(some.drop_vars(["labelled_h1", "labelled_e1"]), data)
    for part in held_out(some):
        assert part["labelled_h1"].values.all()
        assert part["labelled_e1"].values.all()
    train = split(some, "train")
    h1, e1 = train["labelled_h1"].values, train["labelled_e1"].values
    assert (h1.sum(), e1.sum()) == (400, 2000)
    # 125 stimuli for each combination: 12 or 13 labels, and half of these for the other feature
    for combination in np.unique(codes(train), axis=0):
        rows = (codes(train) == combination).all(axis=1)
        assert h1[rows].sum() in (12, 13)
        assert abs(e1[rows & (h1 == 1)].sum() - h1[rows].sum() / 2) <= 1


def test_a_rare_combination_needs_less_room() -> None:
    # AND of 8 leaves 2**4 vectors for its 1, which would not do for half of 100 stimuli.
    features = lay_out({"a": "and-8"})
    config = BinaryConfig(
        features, units=12, train=100, validation=4, test=4, prevalence={"a": 0.04}
    )
    assert split(make_binary(config), "train")["a"].values.sum() == 4
    with pytest.raises(StimulusError, match="9 distinct vectors .* leave 16;"):
        replace(config, prevalence={"a": 0.05})


def test_components_are_orthogonal_and_balanced_where_analysed() -> None:
    config = BinaryConfig(
        lay_out({"easy": "copy", "mid": "majority-3", "hard": "parity-4"}),
        train=2000, validation=128, test=256, components=True,
    )  # fmt: skip
    data = make_binary(config)
    for feature, several in [("mid", 7), ("hard", 14)]:
        names = [str(n) for n, v in data.items() if v.attrs.get("part_of") == feature]
        assert len(names) == several
        names += [feature] if feature == "hard" else []
        for part in held_out(data):
            x = np.stack([part[name].values for name in names], axis=1).astype(int) * 2 - 1
            # every combination holds each input pattern equally often: 2**4 of 256 / 8 = 32 / 8
            expected = part.sizes["stimulus"] * np.eye(len(names), dtype=int)
            assert (x.sum(axis=0) == 0).all()
            assert (x.T @ x == expected).all()
    assert not [n for n, v in data.items() if v.attrs.get("part_of") == "easy"]
    bits = data["input"].values
    assert (data["hard_part_4_6_7"].values == bits[:, [4, 6, 7]].sum(axis=1) % 2).all()
    assert data["hard_part_4_6_7"].attrs == {
        "kind": "binary", "complexity": 3.0, "chance": 0.5, "rule": "parity",
        "units": "[4, 6, 7]", "part_of": "hard",
    }  # fmt: skip


def test_components_need_distractors() -> None:
    with pytest.raises(StimulusError, match="components need 40 combinations .* leave 32"):
        BinaryConfig(
            lay_out({"a": "xor", "b": "xor"}),
            units=9, train=4, validation=80, test=80, components=True,
        )  # fmt: skip
    config = BinaryConfig(
        lay_out({"a": "xor"}), units=8, train=20, validation=32, test=32, components=True
    )
    for part in held_out(make_binary(config)):  # vectors that were drawn again kept their patterns
        counts = np.unique(part["input"].values[:, :2], axis=0, return_counts=True)[1]
        assert counts.tolist() == [8, 8, 8, 8]
    with pytest.raises(FeatureError, match="'big' has 7 input units, and so 127"):
        BinaryConfig(lay_out({"big": "parity-7"}), components=True)
