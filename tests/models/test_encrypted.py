"""The additive scheme's laws, and the same computation in the clear and encrypted."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from scipy import stats

import reptools as rt
from models.encrypted import run
from models.lwe import LWE
from reptools import store
from reptools.errors import FeatureError, ParameterError, StimulusError

UNITS = {"easy": [0], "hard": [1, 2, 3, 4]}


def write_stimuli(path: Path, bits: np.ndarray, hard: dict[str, Any] | None = None) -> Path:
    """Write a file as ``python -m datasets.prepare binary`` does, with repeated vectors allowed."""
    n = len(bits)
    features = {
        name: (
            "stimulus",
            (bits[..., at].sum(axis=-1) % 2).reshape(n, -1)[:, 0].astype(np.uint8),
            {"kind": "binary", "chance": 0.5, "rule": "parity", "units": str(at)},
        )
        for name, at in UNITS.items()
    }
    features["hard"][-1].update(hard or {})
    with rt.Writer(
        path,
        system="stimuli",
        stimulus=np.array([f"s{i:03d}" for i in range(n)]),
        features=xr.Dataset(features),
        coords={"split": np.repeat(["train", "validation", "test"], [n // 4, n // 4, n // 2])},
    ) as writer:
        writer.append({"input": bits.astype(np.float32)})
    return path


BITS = np.random.default_rng(5).integers(0, 2, size=(160, 6))


@pytest.fixture(scope="module")
def stimuli(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_stimuli(tmp_path_factory.mktemp("stimuli") / "stimuli.h5", BITS)


@pytest.fixture(scope="module")
def paths(stimuli: Path) -> dict[str, Path]:
    return run(stimuli, stimuli.parent / "runs", seed=3, scheme=LWE())


def computed(path: Path) -> xr.DataArray:
    with store.open(path) as tree:
        return tree["layers/computed/activation"].sel(step=0).load()


# --- the scheme ---------------------------------------------------------------------------------

SCHEMES = [LWE(), LWE(dimension=1, modulus=2**8, noise=0), LWE(dimension=7, modulus=2**24)]


def noise_of(scheme: LWE, texts: np.ndarray, key: np.ndarray) -> np.ndarray:
    """Signed distance from the decrypted bit: what the mask leaves, less 0 or q/2."""
    opened = scheme.unmask(texts, key)[..., -1].astype(np.int64)
    half = scheme.modulus // 2
    return (opened - half * scheme.decrypt(texts, key) + half) % scheme.modulus - half


@pytest.mark.parametrize("scheme", SCHEMES, ids=str)
def test_decryption_inverts_encryption(scheme: LWE) -> None:
    rng = np.random.default_rng(0)
    key = scheme.make_key(rng)
    bits = rng.integers(2, size=(3, 40, 5))
    texts = scheme.encrypt(bits, key, rng)
    assert texts.shape == (3, 40, 5, scheme.dimension + 1)
    assert texts.max() < scheme.modulus
    assert (scheme.decrypt(texts, key) == bits).all()
    assert np.abs(noise_of(scheme, texts, key)).max() <= scheme.noise


@pytest.mark.parametrize("scheme", SCHEMES, ids=str)
def test_sums_of_ciphertexts_encrypt_xors(scheme: LWE) -> None:
    rng = np.random.default_rng(1)
    key = scheme.make_key(rng)
    bits = rng.integers(2, size=(200, 5))
    chosen = np.array([[1, 1, 0, 0, 0], [1, 1, 1, 1, 1], [0, 0, 0, 1, 0], [0, 0, 0, 0, 0]])
    texts = scheme.encrypt(bits, key, rng)
    sums = scheme.xor(texts, chosen)
    assert sums.max() < scheme.modulus
    assert (scheme.decrypt(sums, key) == bits @ chosen.T % 2).all()
    # the noise of a sum is the sum of the noises
    assert (noise_of(scheme, sums, key) == noise_of(scheme, texts, key) @ chosen.T).all()


def test_noise_has_the_stated_variance() -> None:
    scheme, rng = LWE(dimension=4), np.random.default_rng(2)
    key = scheme.make_key(rng)
    noise = noise_of(scheme, scheme.encrypt(rng.integers(2, size=80_000), key, rng), key)
    # variance of a variance of n draws is 2/n of its square, 5 sd
    assert noise.var() == pytest.approx(scheme.noise / 2, rel=5 * np.sqrt(2 / 80_000))
    assert abs(noise.mean()) < 5 * np.sqrt(scheme.noise / 2 / 80_000)


def test_noise_beyond_the_budget_decrypts_wrongly_and_is_refused() -> None:
    scheme, rng = LWE(dimension=8, modulus=2**8, noise=16), np.random.default_rng(3)
    key = scheme.make_key(rng)
    bits = rng.integers(2, size=(2000, 200))
    texts = scheme.encrypt(bits, key, rng)
    assert (scheme.decrypt(texts, key) == bits).all()
    with pytest.raises(ParameterError, match=r"noise of 4 terms may reach 64, and from 64 on"):
        scheme.xor(texts[:, :4], np.ones((1, 4), int))
    total = texts.sum(axis=1, dtype=np.uint32)[:, None] % scheme.modulus
    wrong = (scheme.decrypt(total, key)[:, 0] != bits.sum(axis=1) % 2).mean()
    # noise of deviation sqrt(200 * 8) against 64, wrong where it lies beyond 64 and not beyond 192
    expected = 2 * (stats.norm.sf(64 / 40) - stats.norm.sf(192 / 40))
    assert wrong == pytest.approx(expected, abs=5 * np.sqrt(expected / 2000))


def test_another_key_decrypts_to_chance() -> None:
    scheme, rng = LWE(), np.random.default_rng(4)
    key, other = scheme.make_key(rng), scheme.make_key(rng)
    bits = rng.integers(2, size=10_000)
    texts = scheme.encrypt(bits, key, rng)
    assert abs((scheme.decrypt(texts, other) == bits).mean() - 0.5) < 5 * 0.5 / 100
    near = key.copy()
    near[0] = (near[0] + scheme.modulus // 2) % scheme.modulus  # wrong in one bit of one entry
    assert abs((scheme.decrypt(texts, near) == bits).mean() - 0.5) < 5 * 0.5 / 100


@pytest.mark.parametrize("bit", [0, 1])
def test_entries_are_uniform_whatever_the_bit(bit: int) -> None:
    scheme, rng = LWE(), np.random.default_rng(6)
    key = scheme.make_key(rng)
    texts = scheme.encrypt(np.full(5000, bit), key, rng)
    counts = np.apply_along_axis(np.bincount, 0, texts * 32 // scheme.modulus, minlength=32)
    assert stats.chisquare(counts).pvalue.min() > 1e-3 / (scheme.dimension + 1)
    opened = scheme.unmask(texts, key)[:, -1]  # the test sees what is not uniform
    assert stats.chisquare(np.bincount(opened * 32 // scheme.modulus, minlength=32)).pvalue < 1e-9


def test_all_but_one_odd_entry_tell_nothing() -> None:
    # every mask once: with three odd entries in the key, b and any two entries of a are exactly
    # uniform together for either bit; all of them together determine it
    scheme, key = LWE(dimension=3, modulus=8, noise=0), np.array([3, 5, 7], np.uint32)
    masks = np.array(list(product(range(8), repeat=3)), np.uint32)
    for bit in (0, 1):
        texts = np.column_stack([masks, (masks @ key + np.uint32(4 * bit)) % 8])
        assert (scheme.decrypt(texts, key) == bit).all()
        for left in range(3):
            assert len(np.unique(np.delete(texts, left, axis=1), axis=0)) == 8**3


@pytest.mark.parametrize(
    ("options", "seen"),
    [
        ({"dimension": 0}, "dimension is 0"),
        ({"modulus": 1000}, r"modulus is 1000\. Give a power of two"),
        ({"modulus": 2**25}, "modulus is 33554432"),
        ({"noise": -1}, "noise is -1"),
        ({"noise": 2**13}, r"noise is 8192, and a modulus of 32768 bears 0 to below 8192"),
    ],
)
def test_impossible_schemes(options: dict[str, int], seen: str) -> None:
    with pytest.raises(ParameterError, match=rf"LWE: {seen}"):
        LWE(**options)


def test_numbers_are_exact_and_cut_between_the_bits() -> None:
    scheme = LWE(modulus=2**24)
    entries = np.arange(0, 2**24, 4099, dtype=np.uint32)
    numbers = scheme.numbers(entries)
    assert numbers.dtype == np.float32 and numbers.min() >= -0.5 and numbers.max() < 0.5
    assert (((numbers.astype(float) + 0.25) * 2**24).astype(np.int64) % 2**24 == entries).all()
    assert np.ptp(scheme.numbers(np.array([2**24 - 1, 1], np.uint32))) < 1e-6


# --- the computation ----------------------------------------------------------------------------


def test_files_are_valid_and_hold_what_was_shown(paths: dict[str, Path], stimuli: Path) -> None:
    assert list(paths) == ["plain", "encrypted", "unmasked"]
    for name, path in paths.items():
        assert path.name == f"{name}-seed3.h5"
        assert rt.validate(path) == []
        with store.open(path) as tree, store.open(stimuli) as shown:
            held_out = shown["split"] != "train"
            for feature in UNITS:
                given = shown[f"features/{feature}"].values[held_out]
                assert (tree[f"features/{feature}"].values == given).all()
                assert ((tree[f"outputs/{feature}"].sel(step=0).values > 0) == given).all()
                assert tree["outputs/accuracy"].sel(step=0, feature=feature) == 1
            assert (tree["stimulus"].values == shown["stimulus"].values[held_out]).all()
            assert (tree["split"].values == shown["split"].values[held_out]).all()


def test_the_plain_system_represents_its_features(paths: dict[str, Path]) -> None:
    layer = computed(paths["plain"])
    assert layer["message"].values.tolist() == list(UNITS)
    for unit, at in enumerate(UNITS.values()):
        assert (layer.values[:, unit] == BITS[40:, at].sum(axis=1) % 2).all()


def test_the_file_holds_the_ciphertexts_and_the_key_opens_them(paths: dict[str, Path]) -> None:
    scheme = LWE()
    key = scheme.make_key(np.random.default_rng(3).spawn(2)[0])
    seen = computed(paths["encrypted"])
    assert seen["entry"].values.tolist() == [*range(65), *range(65)]
    assert seen["message"].values.tolist() == ["easy"] * 65 + ["hard"] * 65
    numbers = ((seen.values.astype(float) + 0.25) * scheme.modulus) % scheme.modulus
    texts = numbers.astype(np.uint32).reshape(-1, 2, 65)
    assert (scheme.decrypt(texts, key) == computed(paths["plain"]).values).all()
    unmasked = scheme.numbers(scheme.unmask(texts, key)).reshape(len(texts), -1)
    assert (computed(paths["unmasked"]).values == unmasked).all()


def test_only_the_unmasked_control_shows_the_features(paths: dict[str, Path]) -> None:
    """Largest absolute correlation of a unit with a feature, over 120 stimuli and 130 units."""
    truth = computed(paths["plain"]).values
    largest = {
        name: np.abs(np.corrcoef(computed(paths[name]).values.T, truth.T)[:-2, -2:]).max(axis=0)
        for name in ("encrypted", "unmasked")
    }
    assert (largest["unmasked"] > 0.999).all()
    # of 130 independent correlations of deviation 1/sqrt(119), none beyond 5
    assert (largest["encrypted"] < 5 / np.sqrt(119)).all()


def test_one_seed_one_set_of_numbers(paths: dict[str, Path], stimuli: Path, tmp_path: Path) -> None:
    other = run(stimuli, tmp_path, seed=4, scheme=LWE())
    run(stimuli, tmp_path, seed=3, scheme=LWE(noise=0))
    again = run(stimuli, tmp_path, seed=3, scheme=LWE())  # replaces what is there
    for name in paths:
        assert computed(again[name]).equals(computed(paths[name]))
        same = (computed(other[name]) == computed(paths[name])).mean()
        assert same == 1 if name == "plain" else same < 0.1


@pytest.mark.parametrize(
    ("bits", "hard", "error", "seen"),
    [
        (BITS, {"rule": "and", "units": "[1, 2]"}, FeatureError, r"\(and\) .* \[1, 2\] on \d+ of"),
        (BITS, {"units": "[]"}, FeatureError, r"'hard' .* units \[\] on \d+ of 160"),
        (BITS / 4, None, StimulusError, r"\(160, 6\) reach from 0 to 0\.25"),
        (np.zeros((160, 3, 6)), None, StimulusError, r"inputs of shape \(160, 3, 6\)"),
    ],
)
def test_stimuli_that_an_additive_scheme_cannot_serve(
    tmp_path: Path, bits: np.ndarray, hard: Any, error: type[Exception], seen: str
) -> None:
    path = write_stimuli(tmp_path / "stimuli.h5", bits, hard)
    with pytest.raises(error, match=seen):
        run(path, tmp_path / "runs", seed=0, scheme=LWE())
    assert not (tmp_path / "runs").exists()
