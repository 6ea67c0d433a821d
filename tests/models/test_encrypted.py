"""The additive scheme's laws, and the same computation in the clear and encrypted."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from pathlib import Path

import h5py
import numpy as np
import pytest
import xarray as xr
from scipy import stats

import reptools as rt
from models.encrypted import main, run
from models.loop import final_accuracy
from models.lwe import LWE, READINGS, Ciphertexts
from reptools import store
from reptools.errors import FeatureError, ParameterError, StimulusError, StoreError

UNITS = {"easy": [0], "hard": [1, 2, 3, 4]}


def write_stimuli(path: Path, *, n: int = 160, units: int = 6, **changes: object) -> Path:
    """Write a file as ``python -m datasets.prepare binary`` does, with repeated vectors allowed."""
    rng = np.random.default_rng(5)
    bits = rng.integers(0, 2, size=(n, units)).astype(np.float32)
    features = {
        name: (
            "stimulus",
            (bits[:, at].sum(axis=1) % 2).astype(np.uint8),
            {"kind": "binary", "chance": 0.5, "rule": "parity", "units": str(at)},
        )
        for name, at in UNITS.items()
    }
    split = np.repeat(["train", "validation", "test"], [n // 4, n // 4, n // 2])
    given = {"input": bits, "features": xr.Dataset({**features, **changes.pop("features", {})})}
    given |= changes
    with rt.Writer(
        path,
        system="stimuli",
        stimulus=np.array([f"s{i:03d}" for i in range(n)]),
        features=given["features"],
        coords={"split": split},
        units=given.get("units"),
    ) as writer:
        writer.append({"input": given["input"]})
    return path


@pytest.fixture(scope="module")
def stimuli(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_stimuli(tmp_path_factory.mktemp("stimuli") / "stimuli.h5")


@pytest.fixture(scope="module")
def paths(stimuli: Path) -> dict[str, Path]:
    return run(stimuli, stimuli.parent / "runs", seed=3)


# --- the scheme ---------------------------------------------------------------------------------

SCHEMES = [
    LWE(),
    LWE(dimension=1, modulus=2**8, noise=0),
    LWE(dimension=7, modulus=2**24, noise=500, messages=2**6),
]


@pytest.mark.parametrize("scheme", SCHEMES, ids=str)
def test_decryption_inverts_encryption(scheme: LWE) -> None:
    rng = np.random.default_rng(0)
    key = scheme.make_key(rng)
    plain = rng.integers(scheme.messages, size=(3, 40, 5))
    texts = scheme.encrypt(plain, key, rng)
    assert texts.entries.shape == (3, 40, 5, scheme.dimension + 1)
    assert texts.entries.max() < scheme.modulus
    assert (scheme.decrypt(texts, key) == plain).all()
    assert np.abs(scheme.noise_of(texts, key)).max() <= scheme.noise


@pytest.mark.parametrize("scheme", SCHEMES, ids=str)
def test_weighted_sums_of_ciphertexts_encrypt_weighted_sums(scheme: LWE) -> None:
    rng = np.random.default_rng(1)
    key = scheme.make_key(rng)
    plain = rng.integers(scheme.messages, size=(200, 5))
    weights = np.array([[1, 1, 0, 0, 0], [1, -1, 1, -1, 1], [3, 0, 0, -2, 1], [0, 0, 0, 0, 0]])
    texts = scheme.encrypt(plain, key, rng)
    sums = scheme.combine(texts, weights)
    assert (scheme.decrypt(sums, key) == plain @ weights.T % scheme.messages).all()
    again = scheme.combine(sums, [[1, 1, 1, 1]])  # sums of sums
    assert (
        scheme.decrypt(again, key) == plain @ weights.sum(axis=0)[:, None] % scheme.messages
    ).all()
    for found, factors in ((sums, weights), (again, weights.sum(axis=0)[None])):
        # noise of a sum is the sum of noises, and the bound holds for the worst of them
        noise = scheme.noise_of(found, key)
        assert (noise == scheme.noise_of(texts, key) @ factors.T).all()
        assert (np.abs(noise) <= found.bound).all()
    assert sums.bound.tolist() == [scheme.noise * total for total in (2, 5, 6, 0)]


def test_noise_has_the_stated_variance_and_adds_up() -> None:
    scheme, rng = LWE(dimension=4), np.random.default_rng(2)
    key = scheme.make_key(rng)
    texts = scheme.encrypt(rng.integers(2, size=(20_000, 4)), key, rng)
    one = scheme.noise_of(texts, key)
    four = scheme.noise_of(scheme.combine(texts, [[1, 1, 1, 1]]), key)
    # variance of a variance of n draws is 2/n of its square: 80,000 and 20,000 draws, 5 sd
    assert one.var() == pytest.approx(scheme.noise / 2, rel=5 * np.sqrt(2 / 80_000))
    assert four.var() == pytest.approx(4 * scheme.noise / 2, rel=5 * np.sqrt(2 / 20_000))
    assert abs(one.mean()) < 5 * np.sqrt(scheme.noise / 2 / 80_000)


def test_noise_beyond_the_budget_decrypts_wrongly_and_is_refused() -> None:
    scheme, rng = LWE(dimension=8, modulus=2**8, noise=60), np.random.default_rng(3)
    key = scheme.make_key(rng)
    plain = rng.integers(2, size=(4000, 30))
    texts = scheme.encrypt(plain, key, rng)
    with pytest.raises(ParameterError, match=r"sum 1 may reach 120, and from 64"):
        scheme.combine(texts, np.eye(2, 30, dtype=int) + np.eye(2, 30, k=-1, dtype=int))
    unbounded = replace(texts, bound=np.zeros(30, np.int64))
    sums = scheme.combine(unbounded, np.ones((1, 30), int))
    wrong = (scheme.decrypt(sums, key)[:, 0] != plain.sum(axis=1) % 2).mean()
    # noise of deviation 30 against 64, wrong where it lies beyond 64 and not beyond 192
    expected = 2 * (stats.norm.sf(64 / 30) - stats.norm.sf(192 / 30))
    assert wrong == pytest.approx(expected, abs=5 * np.sqrt(expected / 4000))


def test_another_key_decrypts_to_chance() -> None:
    scheme, rng = LWE(), np.random.default_rng(4)
    key, other = scheme.make_key(rng), scheme.make_key(rng)
    plain = rng.integers(2, size=10_000)
    texts = scheme.encrypt(plain, key, rng)
    assert (scheme.decrypt(texts, key) == plain).all()
    assert abs((scheme.decrypt(texts, other) == plain).mean() - 0.5) < 5 * 0.5 / 100
    near = key.copy()
    near[0] = (near[0] + scheme.modulus // 2) % scheme.modulus  # wrong in one bit of one entry
    assert abs((scheme.decrypt(texts, near) == plain).mean() - 0.5) < 5 * 0.5 / 100


@pytest.mark.parametrize("message", [0, 1])
def test_entries_are_uniform_whatever_the_message(message: int) -> None:
    scheme, rng = LWE(), np.random.default_rng(6)
    key = scheme.make_key(rng)
    texts = scheme.encrypt(np.full((5000, 1), message), key, rng)
    counts = np.apply_along_axis(
        np.bincount, 0, texts.entries[:, 0] * 32 // scheme.modulus, minlength=32
    )
    assert stats.chisquare(counts).pvalue.min() > 1e-3 / (scheme.dimension + 1)
    opened = scheme.unmask(texts, key)[:, 0, -1]  # the test sees what is not uniform
    assert stats.chisquare(np.bincount(opened * 32 // scheme.modulus, minlength=32)).pvalue < 1e-9


def test_all_but_one_odd_entry_tell_nothing() -> None:
    # every mask once: with three odd entries in the key, b and any two entries of a are exactly
    # uniform together for either message; all of them together determine it
    scheme, key = LWE(dimension=3, modulus=8, noise=0), np.array([3, 5, 7], np.uint32)
    masks = np.array(list(product(range(8), repeat=3)), np.uint32)
    for message in (0, 1):
        b = (masks @ key + np.uint32(4 * message)) % 8
        texts = Ciphertexts(np.column_stack([masks, b])[:, None], np.zeros(1, np.int64))
        assert (scheme.decrypt(texts, key) == message).all()
        for left in range(3):
            seen = np.delete(texts.entries[:, 0], left, axis=1)
            assert len(np.unique(seen, axis=0)) == len(masks) == 8**3


@pytest.mark.parametrize(
    ("options", "seen"),
    [
        ({"dimension": 0}, "dimension is 0"),
        ({"dimension": 6.0}, r"dimension is 6\.0"),
        ({"modulus": 1000}, r"modulus is 1000\. Give a power of two"),
        ({"modulus": 2**25}, "modulus is 33554432"),
        ({"noise": -1}, "noise is -1"),
        ({"noise": 2**13}, r"noise is 8192, and a modulus of 32768 .* below 8192\. "),
        ({"messages": 1}, "messages is 1"),
        ({"messages": 6}, "messages is 6"),
        ({"modulus": 4, "messages": 8, "noise": 0}, "modulus is 4, for 8 messages"),
    ],
)
def test_impossible_schemes(options: dict[str, object], seen: str) -> None:
    with pytest.raises(ParameterError, match=rf"LWE: {seen}"):
        LWE(**options)


def test_impossible_messages_keys_and_weights() -> None:
    scheme, rng = LWE(dimension=4), np.random.default_rng(0)
    key = scheme.make_key(rng)
    for messages, seen in (([0, 2], "hold 2"), ([0.5, 1], r"hold 0\.5"), (1, r"shape \(\)")):
        with pytest.raises(ParameterError, match=rf"LWE\.encrypt: .*{seen}"):
            scheme.encrypt(messages, key, rng)
    for wrong, seen in ((key[:3], r"uint32 of shape \(3,\)"), (key.astype(int), "int64")):
        with pytest.raises(ParameterError, match=f"the key is {seen}"):
            scheme.encrypt([1], wrong, rng)
    texts = scheme.encrypt([1, 0], key, rng)
    for weights, seen in (([[0.5, 1]], "float64"), ([1, 1], r"\(2,\)"), ([[1, 1, 1]], r"\(1, 3\)")):
        with pytest.raises(ParameterError, match=rf"LWE\.combine: .*{seen}"):
            scheme.combine(texts, weights)


def test_readings() -> None:
    scheme = LWE(modulus=2**24)
    entries = np.arange(0, 2**24, 4099, dtype=np.uint32)[:, None, None]
    linear = READINGS["linear"](entries, scheme)
    assert linear.min() >= -0.5
    assert linear.max() < 0.5
    back = ((linear[..., 0].astype(float) + 0.25) * 2**24).astype(np.int64) % 2**24
    assert (back == entries).all()  # exact: nothing is lost in float32
    circle = READINGS["circle"](np.array([[0, 2**22, 2**23, 2**24 - 1]], np.uint32), scheme)
    expected = [[1, 0], [0, 1], [-1, 0], [1, 0]]
    np.testing.assert_allclose(circle[0], expected, atol=1e-6)
    around_zero = READINGS["linear"](np.array([[2**24 - 1, 1]], np.uint32), scheme)
    assert np.ptp(around_zero) < 1e-6  # the cut is not at message 0


# --- the computation ----------------------------------------------------------------------------


def test_files_are_valid_and_alike(paths: dict[str, Path], stimuli: Path) -> None:
    assert list(paths) == ["plain", "encrypted", "unmasked"]
    for name, path in paths.items():
        assert path.name == f"{name}-seed3.h5"
        assert rt.validate(path) == []
        assert final_accuracy(path) == {"easy": (1.0, True), "hard": (1.0, True)}
        with store.open(path) as tree, store.open(stimuli) as shown:
            assert tree.attrs["system"] == f"{name}-seed3"
            held_out = shown["split"] != "train"
            for feature in UNITS:
                given = shown[f"features/{feature}"].values[held_out]
                assert (tree[f"features/{feature}"].values == given).all()
                assert tree[f"features/{feature}"].attrs == shown[f"features/{feature}"].attrs
                answers = tree[f"outputs/{feature}"].sel(step=0).values
                assert ((answers > 0) == given).all()
            assert (tree["stimulus"].values == shown["stimulus"].values[held_out]).all()
            assert (tree["split"].values == shown["split"].values[held_out]).all()


def test_the_plain_system_represents_inputs_and_features(
    paths: dict[str, Path], stimuli: Path
) -> None:
    with store.open(paths["plain"]) as tree, store.open(stimuli) as shown:
        held_out = shown["split"].values != "train"
        layers = {name: tree[f"layers/{name}/activation"].sel(step=0) for name in tree["layers"]}
        assert list(layers) == ["input", "computed"]
        assert (layers["input"].values == shown["layers/input/activation"].values[held_out]).all()
        for unit, name in enumerate(layers["computed"]["message"].values):
            assert (layers["computed"].values[:, unit] == tree[f"features/{name}"].values).all()


def test_the_file_holds_the_ciphertexts_and_the_key_opens_them(paths: dict[str, Path]) -> None:
    scheme = LWE()
    key = scheme.make_key(np.random.default_rng(3).spawn(2)[0])
    with store.open(paths["encrypted"]) as tree, store.open(paths["plain"]) as plain:
        for layer, count in (("input", 6), ("computed", 2)):
            seen = tree[f"layers/{layer}/activation"].sel(step=0)
            assert seen["entry"].values.tolist() == list(range(65)) * count
            read = ((seen.values.astype(float) + 0.25) * scheme.modulus) % scheme.modulus
            entries = read.astype(np.uint32).reshape(len(read), count, 65)
            texts = Ciphertexts(entries, np.zeros(count, np.int64))
            clear = plain[f"layers/{layer}/activation"].sel(step=0)
            assert (scheme.decrypt(texts, key) == clear.values).all()
            assert (seen["message"].values[::65] == clear["message"].values).all()


def test_noise_and_margins_are_those_of_the_sums(paths: dict[str, Path]) -> None:
    with store.open(paths["encrypted"]) as tree:
        outputs = tree["outputs"].dataset.sel(step=0).load()
        share = {"easy": 1 * 16 / 2**13, "hard": 4 * 16 / 2**13}  # noise of each term / (q / 4)
        for name, bound in share.items():
            assert float(outputs["noise_bound"].sel(feature=name)) == bound
            largest = float(outputs["noise"].sel(feature=name))
            assert 0 < largest <= bound
            assert 1 - float(np.abs(outputs[name]).min()) == pytest.approx(largest, abs=1e-6)


def test_only_the_unmasked_control_shows_the_features(paths: dict[str, Path]) -> None:
    """Largest absolute correlation of a unit with a feature, over 120 stimuli and 130 units."""
    largest = {}
    for name in ("encrypted", "unmasked"):
        with store.open(paths[name]) as tree:
            layer = tree["layers/computed/activation"].sel(step=0).values
            truth = np.stack([tree[f"features/{f}"].values for f in UNITS], axis=1)
        largest[name] = np.abs(np.corrcoef(layer.T, truth.T)[:-2, -2:]).max(axis=0)
    assert (largest["unmasked"] > 0.999).all()
    # of 130 independent correlations of deviation 1/sqrt(119), none beyond 5
    assert (largest["encrypted"] < 5 / np.sqrt(119)).all()


def test_the_circular_reading(stimuli: Path, tmp_path: Path) -> None:
    paths = run(stimuli, tmp_path, seed=3, reading="circle")
    with store.open(paths["encrypted"]) as tree:
        layer = tree["layers/computed/activation"].sel(step=0)
        assert layer["part"].values.tolist() == [0, 1] * 130
        pairs = layer.values.reshape(-1, 2)
    np.testing.assert_allclose((pairs**2).sum(axis=1), 1, rtol=1e-6)


def contents(path: Path) -> dict[str, bytes]:
    """Bytes of every data set of a file."""
    found: dict[str, bytes] = {}

    def take(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset):
            found[name] = (
                np.asarray(item[()]).astype(str).tobytes()
                if item.dtype.kind == "O"
                else np.asarray(item[()]).tobytes()
            )

    with h5py.File(path) as file:
        file.visititems(take)
    return found


def test_one_seed_one_set_of_numbers(paths: dict[str, Path], stimuli: Path, tmp_path: Path) -> None:
    again = run(stimuli, tmp_path / "a" / "new", seed=3)
    other = run(stimuli, tmp_path, seed=4)
    for name in paths:
        first = contents(paths[name])
        assert contents(again[name]) == first
        same = {key for key, held in contents(other[name]).items() if held == first[key]}
        layers = {f"layers/{layer}/activation" for layer in ("input", "computed")}
        assert same & layers == (layers if name == "plain" else set())


def test_command(
    stimuli: Path, paths: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--stimuli", str(stimuli), "--out", str(tmp_path)]
    assert main([*where, "--seed", "3"]) == 0
    printed = capsys.readouterr().out.split()
    assert printed == [str(tmp_path / path.name) for path in paths.values()]
    assert contents(Path(printed[1])) == contents(paths["encrypted"])
    assert main([*where, "--seed", "3"]) == 1
    message = capsys.readouterr().err
    assert "already holds ['plain-seed3.h5'" in message and message.count("\n") == 1
    assert main([*where, "--seed", "3", "--overwrite", "--dimension", "2"]) == 0
    with store.open(printed[1]) as tree:
        assert tree["layers/computed/activation"].sizes["unit"] == 2 * 3


@pytest.mark.parametrize(
    ("options", "seen"),
    [
        ({"seed": -1}, "seed is -1"),
        ({"seed": 1.0}, r"seed is 1\.0"),
        ({"reading": "angle"}, "reading is 'angle'"),
        ({"scheme": LWE(messages=4)}, "has 4 messages"),
        ({"scheme": LWE(noise=3000)}, "sum 1 may reach 12000, and from 8192"),
    ],
)
def test_impossible_settings(
    stimuli: Path, tmp_path: Path, options: dict[str, object], seen: str
) -> None:
    with pytest.raises(ParameterError, match=seen):
        run(stimuli, tmp_path, **{"seed": 0, **options})
    assert list(tmp_path.iterdir()) == []


def test_existing_files_stop_everything(stimuli: Path, tmp_path: Path) -> None:
    (tmp_path / "unmasked-seed0.h5").touch()
    with pytest.raises(StoreError, match=r"already holds \['unmasked-seed0\.h5'\]"):
        run(stimuli, tmp_path, seed=0)
    assert len(list(tmp_path.iterdir())) == 1


def feature(values: np.ndarray, **attrs: str) -> dict[str, object]:
    known = {"kind": "binary", "chance": 0.5, **attrs}
    return {"features": {"hard": ("stimulus", values.astype(np.uint8), known)}}


ODD = np.arange(160) % 2


@pytest.mark.parametrize(
    ("changes", "error", "seen"),
    [
        (
            feature(ODD, rule="and", units="[1, 2]"),
            FeatureError,
            r"'hard' \(and\) differs .*\[1, 2\] on \d+ of 160",
        ),
        (feature(ODD, rule="copy", units="[6]"), FeatureError, r"units \[6\], and inputs have 6"),
        (feature(ODD, rule="copy"), FeatureError, "'hard' has the units None"),
        ({"input": np.full((160, 6), 0.25, np.float32)}, StimulusError, r"from 0\.25 to 0\.25"),
        (
            {"input": np.zeros((160, 3, 6), np.float32)},
            StimulusError,
            r"dims \('stimulus', 'token', 'unit'\)",
        ),
    ],
)
def test_stimuli_that_an_additive_scheme_cannot_serve(
    tmp_path: Path, changes: dict[str, object], error: type[Exception], seen: str
) -> None:
    path = write_stimuli(tmp_path / "stimuli.h5", **changes)
    with pytest.raises(error, match=seen):
        run(path, tmp_path / "runs", seed=0)
    assert not (tmp_path / "runs").exists()
