"""The same computation in the clear and on encrypted inputs, a file of representations for each.

``python -m models.encrypted --stimuli stimuli.h5 --out runs --seed 0``. Each feature is the XOR of
the input units that it reads, so an additive scheme computes it without ever decrypting. See
:class:`models.lwe.LWE`: a textbook scheme, for science and not for security.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from reptools.errors import FeatureError, ParameterError, ReptoolsError, StimulusError, StoreError
from reptools.store import Writer

from .lwe import LWE, READINGS, Float, Reading, Whole, Words
from .objective import balanced_accuracy
from .stimuli import Stimuli, load_stimuli

SYSTEMS = ("plain", "encrypted", "unmasked")
SCHEME = ("dimension", "modulus", "noise")  # what the command sets of it


@dataclass(frozen=True)
class _System:
    """What one file holds besides the stimuli."""

    layers: dict[str, Float]  # (stimulus, unit)
    units: dict[str, dict[str, NDArray[Any]]]
    answers: Float  # (stimulus, feature), above 0 meaning 1
    extra: dict[str, NDArray[np.float64]]  # (feature,)


def run(
    stimuli: str | Path,
    folder: str | Path,
    *,
    seed: int,
    scheme: LWE | None = None,
    reading: str = "linear",
    overwrite: bool = False,
) -> dict[str, Path]:
    """Compute the features of binary stimuli in the clear and encrypted; write what is represented.

    Parameters
    ----------
    stimuli
        File of binary stimuli, as ``python -m datasets.prepare binary`` writes it, whose features
        are XORs of input units: copy, xor, xor_of_xors, parity, Walsh components.
    folder
        Where ``plain-seed<seed>.h5``, ``encrypted-seed<seed>.h5`` and ``unmasked-seed<seed>.h5``
        are written.
    seed
        Seeds the key and all that encryption draws.
    scheme
        With two messages, for addition is XOR then; None: ``LWE()``.
    reading
        Which real numbers stand for the entries of a ciphertext, which are numbers modulo q.
        ``"linear"`` (what lies in memory) or ``"circle"`` (in which q - 1 is next to 0), see
        :data:`models.lwe.READINGS`.
    overwrite
        Replace existing files.

    Returns
    -------
    dict of pathlib.Path
        System -> file. All three hold the validation and test stimuli with all features, the layers
        ``input`` and ``computed`` at step 0, and in ``/outputs`` what
        :class:`models.dump.Dump` writes of answers and accuracy.

        - ``plain``: input units and computed features, each 0 or 1.
        - ``encrypted``: their ciphertexts, dimension + 1 entries for each of them; the unit coords
          message, entry and part (0 the cosine, 1 the sine) tell the units apart. Its answers are
          the decrypted ones, as margins: 1 or -1 without noise, 0 where decryption fails.
          ``noise`` (feature,) is the largest noise that occurs in ``computed`` and
          ``noise_bound`` the largest possible, as shares of what decryption bears.
        - ``unmasked``: a control, the same ciphertexts (a, b) as (a, b - <a, s>), one invertible
          change away, with as many units and the same noise: what an analysis does not find here
          it cannot be said to miss in ``encrypted``. Only the last of a message's entries differs;
          among all dimension + 1 its share of variance is small, so a bound of equivalence must
          lie below what the control shows, or the units be those of the last entry alone.

    Raises
    ------
    StimulusError
        Inputs that are not binary vectors.
    FeatureError
        A feature that is no XOR of its units: an additive scheme does not compute it.
    ParameterError
        A setting out of its range, or sums that the scheme's noise does not allow.
    StoreError
        A file cannot be read or written, or exists.

    Notes
    -----
    The accuracy is exact by construction and not by training: nothing is learned here, and the
    training stimuli are not used. The same seed gives the same numbers.
    """
    scheme = scheme or LWE()
    _check(seed, scheme, reading)
    shown = load_stimuli(stimuli)
    bits, weights = _bits(shown), _xors(shown)
    folder = Path(folder)
    paths = {name: folder / f"{name}-seed{seed}.h5" for name in SYSTEMS}
    if not overwrite and (there := [p.name for p in paths.values() if p.exists()]):
        raise StoreError(
            f"run: {folder} already holds {there}. Overwrite them, or use another folder."
        )
    systems = {
        "plain": _plain(bits, weights, shown.features),
        **_ciphered(bits, weights, shown.features, scheme, READINGS[reading], seed),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, system in systems.items():
        source = {
            "config": {"system": name, "scheme": asdict(scheme), "reading": reading},
            "seed": seed,
            "stimuli": {"file": Path(stimuli).name, "sha256": shown.digest},
        }
        _write(paths[name], f"{name}-seed{seed}", system, shown, source, overwrite)
    return paths


def _check(seed: int, scheme: LWE, reading: str) -> None:
    if type(seed) is not int or seed < 0:
        raise ParameterError(f"run: seed is {seed!r}. Give a whole number from 0 on.")
    if scheme.messages != 2:
        raise ParameterError(
            f"run: the scheme has {scheme.messages} messages. Use 2: addition is XOR then."
        )
    if reading not in READINGS:
        raise ParameterError(f"run: reading is {reading!r}. Use one of {list(READINGS)}.")


def _bits(shown: Stimuli) -> Whole:
    """Input units of the held-out stimuli (stimulus, unit), each 0 or 1."""
    inputs = shown.held_out["input"]
    values = inputs.values
    if inputs.dims != ("stimulus", "unit"):
        raise StimulusError(
            f"run: inputs have the dims {inputs.dims}. Prepare binary stimuli, (stimulus, unit)."
        )
    if not np.isin(values, (0, 1)).all():
        raise StimulusError(
            f"run: inputs reach from {values.min():g} to {values.max():g}. "
            "Prepare binary stimuli, of 0 and 1."
        )
    return values.astype(np.int64)


def _xors(shown: Stimuli) -> Whole:
    """Which input units each feature adds up (feature, unit), 0 or 1."""
    inputs = shown.data["input"].values.astype(np.int64)
    weights = np.zeros((len(shown.features), inputs.shape[1]), np.int64)
    for row, name in zip(weights, shown.features, strict=True):
        feature = shown.data[name]
        units = str(feature.attrs.get("units"))
        try:
            row[json.loads(units)] = 1
        except (ValueError, IndexError):
            raise FeatureError(
                f"run: feature {name!r} has the units {units}, and inputs have {len(row)}. "
                "Write the stimuli with: python -m datasets.prepare binary."
            ) from None
        if wrong := int(np.count_nonzero(inputs @ row % 2 != feature.values)):
            raise FeatureError(
                f"run: feature {name!r} ({feature.attrs.get('rule')}) differs from the XOR of its "
                f"units {units} on {wrong} of {len(inputs)} stimuli, and an additive scheme "
                "computes XORs only. Prepare stimuli whose features are copy, xor or parity."
            )
    return weights


def _plain(bits: Whole, weights: Whole, features: Sequence[str]) -> _System:
    computed = bits @ weights.T % 2
    return _System(
        {"input": bits.astype(np.float32), "computed": computed.astype(np.float32)},
        {
            "input": {"message": np.arange(bits.shape[1]).astype(str)},
            "computed": {"message": np.array(features)},
        },
        (2 * computed - 1).astype(np.float32),
        {},
    )


def _ciphered(
    bits: Whole, weights: Whole, features: Sequence[str], scheme: LWE, reading: Reading, seed: int
) -> dict[str, _System]:
    """What is seen of the encrypted computation, without the key and with it."""
    key_rng, rng = np.random.default_rng(seed).spawn(2)
    key = scheme.make_key(key_rng)
    inputs = scheme.encrypt(bits, key, rng)
    computed = scheme.combine(inputs, weights)  # takes neither the key nor the bits

    texts = {"input": inputs, "computed": computed}
    names = {"input": [str(unit) for unit in range(bits.shape[1])], "computed": list(features)}
    opened = {layer: scheme.unmask(text, key) for layer, text in texts.items()}
    margins = _margins(opened["computed"][..., -1], scheme)
    noise = {
        "noise": np.abs(scheme.noise_of(computed, key)).max(axis=0) / scheme.budget,
        "noise_bound": computed.bound / scheme.budget,
    }
    seen = {"encrypted": {layer: text.entries for layer, text in texts.items()}, "unmasked": opened}
    systems = {}
    for system, layers in seen.items():
        read = {layer: reading(entries, scheme) for layer, entries in layers.items()}
        systems[system] = _System(
            {layer: values.reshape(len(values), -1) for layer, values in read.items()},
            {layer: _unit_coords(names[layer], *read[layer].shape[-2:]) for layer in read},
            margins,
            noise,
        )
    return systems


def _margins(phase: Words, scheme: LWE) -> Float:
    """How far (stimulus, feature) a decrypted bit is on its side: -1 at 0, 1 at q/2."""
    half = scheme.modulus // 2
    distance = half - np.abs(half - phase.astype(np.int64))  # from 0, around the circle
    return (2 * distance / half - 1).astype(np.float32)


def _unit_coords(messages: Sequence[str], entries: int, parts: int) -> dict[str, NDArray[Any]]:
    """Which message, entry and part each unit is: they are flattened in this order."""
    message, entry, part = np.indices((len(messages), entries, parts)).reshape(3, -1)
    return {"message": np.array(messages)[message], "entry": entry, "part": part}


def _write(
    path: Path,
    name: str,
    system: _System,
    shown: Stimuli,
    source: dict[str, Any],
    overwrite: bool,
) -> None:
    held_out, features = shown.held_out, list(shown.features)
    split = held_out["split"].values
    accuracy = {
        part: np.array(
            [
                balanced_accuracy(answer[split == part], held_out[feature].values[split == part])
                for feature, answer in zip(features, system.answers.T, strict=True)
            ]
        )
        for part in ("test", "validation")
    }
    per_step = {
        "accuracy": accuracy["test"],
        "validation_accuracy": accuracy["validation"],
        "learned": (accuracy["test"] == 1).astype(np.uint8),  # computed, so every one or a fault
        "rank": np.arange(len(features), dtype=np.uint16),
        **system.extra,
    }
    with Writer(
        path,
        system=name,
        source="models.encrypted",
        stimulus=held_out["stimulus"].values,
        features=held_out[features].reset_coords(drop=True),
        coords={"split": split},
        steps=[0],
        units=system.units,
        provenance=source,
        overwrite=overwrite,
    ) as writer:
        writer.append(
            system.layers,
            step=0,
            outputs=dict(zip(features, np.ascontiguousarray(system.answers.T), strict=True)),
            per_step={
                key: xr.DataArray(values, coords={"feature": features})
                for key, values in per_step.items()
            },
        )


# --- the command --------------------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m models.encrypted",
        description=(__doc__ or "").partition("\n")[0],
        allow_abbrev=False,
    )
    usual = LWE()
    parser.add_argument("--stimuli", required=True, type=Path, help="file of binary stimuli")
    parser.add_argument("--out", required=True, type=Path, help="folder for the files")
    parser.add_argument("--seed", required=True, type=int, help="of key, masks and noise")
    for name in SCHEME:
        default = getattr(usual, name)
        text = f"of the scheme (default {default})"
        parser.add_argument(f"--{name}", type=int, default=default, help=text)
    text = "real numbers that stand for a ciphertext (default linear)"
    parser.add_argument("--reading", choices=list(READINGS), default="linear", help=text)
    parser.add_argument("--overwrite", action="store_true", help="replace existing files")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; errors are one line on stderr and exit status 1."""
    options = vars(_parser().parse_args(arguments))
    stimuli, out = options.pop("stimuli"), options.pop("out")
    try:
        scheme = LWE(**{name: options.pop(name) for name in SCHEME})
        paths = run(stimuli, out, scheme=scheme, **options)
    except ReptoolsError as error:
        print(error, file=sys.stderr)
        return 1
    for path in paths.values():
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
