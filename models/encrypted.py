"""The same computation in the clear and on encrypted inputs, a file of representations for each.

Each feature is the XOR of the input units that it reads, so an additive scheme computes it without
ever decrypting. See :class:`models.lwe.LWE`: a textbook scheme, for science and not for security.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from reptools.errors import FeatureError, StimulusError
from reptools.store import Writer

from .lwe import LWE
from .objective import balanced_accuracy
from .stimuli import Stimuli, load_stimuli

SYSTEMS = ("plain", "encrypted", "unmasked")


def run(stimuli: str | Path, folder: str | Path, *, seed: int, scheme: LWE) -> dict[str, Path]:
    """Compute the features of binary stimuli in the clear and encrypted; write what is represented.

    Parameters
    ----------
    stimuli
        File of binary stimuli, as ``python -m datasets.prepare binary`` writes it, whose features
        are XORs of input units: copy, xor, xor_of_xors, parity, Walsh components.
    folder
        Where ``plain-seed<seed>.h5``, ``encrypted-seed<seed>.h5`` and ``unmasked-seed<seed>.h5``
        are written; existing ones are replaced.
    seed
        Seeds the key and all that encryption draws; the same one gives the same numbers.
    scheme
        The encryption.

    Returns
    -------
    dict of pathlib.Path
        System -> file. All three hold the validation and test stimuli with all features, the layer
        ``computed`` at step 0, and in ``/outputs`` the answers (above 0 meaning 1) and their
        accuracy, which is exact by construction: nothing is learned here.

        - ``plain``: the computed features, each 0 or 1.
        - ``encrypted``: their ciphertexts, dimension + 1 entries for each of them, which the unit
          coords message and entry tell apart. Its answers are the decrypted ones.
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
        XORs that the scheme's noise does not allow.
    StoreError
        A file cannot be read or written.
    """
    shown = load_stimuli(stimuli)
    chosen = _xors(shown)
    bits = shown.held_out["input"].values.astype(np.int64)
    key_rng, rng = np.random.default_rng(seed).spawn(2)
    key = scheme.make_key(key_rng)
    texts = scheme.xor(scheme.encrypt(bits, key, rng), chosen)  # takes neither the key nor the bits

    plain = bits @ chosen.T % 2
    answers = {"plain": plain, "encrypted": scheme.decrypt(texts, key)}
    answers["unmasked"] = answers["encrypted"]
    seen = {
        "plain": plain.astype(np.float32)[..., None],
        "encrypted": scheme.numbers(texts),
        "unmasked": scheme.numbers(scheme.unmask(texts, key)),
    }
    Path(folder).mkdir(parents=True, exist_ok=True)
    paths = {name: Path(folder) / f"{name}-seed{seed}.h5" for name in SYSTEMS}
    for name, path in paths.items():
        source = {
            "config": {"system": name, "scheme": asdict(scheme)},
            "seed": seed,
            "stimuli": {"file": Path(stimuli).name, "sha256": shown.digest},
        }
        _write(path, seen[name], answers[name], shown, source)
    return paths


def _xors(shown: Stimuli) -> NDArray[np.int64]:
    """Which input units each feature is the XOR of (feature, unit), 1 or 0."""
    inputs = shown.data["input"].values
    if inputs.ndim != 2 or not np.isin(inputs, (0, 1)).all():
        raise StimulusError(
            f"run: inputs of shape {inputs.shape} reach from {inputs.min():g} to "
            f"{inputs.max():g}. Prepare binary stimuli: vectors of 0 and 1."
        )
    chosen = np.zeros((len(shown.features), inputs.shape[1]), np.int64)
    for row, name in zip(chosen, shown.features, strict=True):
        feature = shown.data[name]
        units = json.loads(str(feature.attrs.get("units", "[]")))
        row[units] = 1
        if wrong := int(np.count_nonzero(inputs @ row % 2 != feature.values)):
            raise FeatureError(
                f"run: feature {name!r} ({feature.attrs.get('rule')}) differs from the XOR of its "
                f"units {units} on {wrong} of {len(inputs)} stimuli, and an additive scheme "
                "computes XORs only. Prepare stimuli whose features are copy, xor or parity."
            )
    return chosen


def _write(
    path: Path,
    seen: NDArray[np.float32],
    answers: NDArray[np.int64],
    shown: Stimuli,
    source: dict[str, Any],
) -> None:
    """Write what a system holds of each message (stimulus, message, entry), and its answers."""
    held_out, features = shown.held_out, list(shown.features)
    split = held_out["split"].values
    margins = dict(zip(features, np.ascontiguousarray(2.0 * answers.T - 1), strict=True))
    test = split == "test"
    accuracy = [balanced_accuracy(margins[f][test], held_out[f].values[test]) for f in features]
    message, entry = np.indices(seen.shape[1:]).reshape(2, -1)  # units are flattened in this order
    with Writer(
        path,
        system=path.stem,
        source="models.encrypted",
        stimulus=held_out["stimulus"].values,
        features=held_out[features].reset_coords(drop=True),
        coords={"split": split},
        steps=[0],
        units={"computed": {"message": np.array(features)[message], "entry": entry}},
        provenance=source,
        overwrite=True,
    ) as writer:
        writer.append(
            {"computed": seen.reshape(len(seen), -1)},
            step=0,
            outputs=margins,
            per_step={"accuracy": xr.DataArray(accuracy, coords={"feature": features})},
        )
