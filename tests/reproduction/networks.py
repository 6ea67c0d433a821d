"""Networks with known weights of known features, as the rows of the reproduction see them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product

import numpy as np
import xarray as xr

from reproduction.runs import Run

NOISE, WIDTH, COUNT = 0.1, 8, 128
ENTRIES = [6, 64, 6, 64, 6, 64, 6, 64]
Weights = Mapping[str, float]


def network(
    layers: Mapping[str, Weights | Sequence[Weights]],
    *,
    seed: int = 0,
    condition: str = "both",
    parts: Mapping[str, str] | None = None,
    accuracy: Mapping[str, Sequence[float]] | None = None,
    wrong: int = 0,
) -> Run:
    """Two steps of independent binary features: noise alone, then weights along directions.

    Parameters
    ----------
    layers
        Layer -> feature -> weight, half the distance of its two means; or one such table for each
        token. The first layer names all features.
    parts
        Feature -> the feature that it is a part of.
    accuracy
        Feature trained on -> accuracy at every step; by default of all, .5 and then 1.
    wrong
        How many test stimuli of each value of the last feature are labelled with the other one,
        out of a quarter of all.
    """
    rng = np.random.default_rng(seed)
    first = next(iter(layers.values()))
    names = list(first if isinstance(first, Mapping) else first[0])
    patterns = np.array(list(product((0, 1), repeat=len(names))))
    values = np.tile(patterns, (COUNT // len(patterns), 1))
    axes = dict(zip(names, np.linalg.qr(rng.normal(size=(WIDTH, WIDTH)))[0], strict=False))
    accuracy = accuracy or dict.fromkeys(names, (0.5, 1.0))
    steps = 10 * np.arange(len(next(iter(accuracy.values()))))
    stimulus = [f"s{i}" for i in range(COUNT)]
    split = ("stimulus", np.repeat(["validation", "test"], COUNT // 2))

    def drawn(weights: Weights) -> xr.DataArray:
        signal = sum(
            weight * np.outer(2.0 * values[:, names.index(name)] - 1, axes[name])
            for name, weight in weights.items()
        )
        x = np.array([(step > 0) * signal for step in steps])
        coords = {"step": steps, "stimulus": stimulus, "split": split, "entry": ("unit", ENTRIES)}
        x = x + NOISE * rng.normal(size=(len(steps), COUNT, WIDTH))
        return xr.DataArray(x, dims=("step", "stimulus", "unit"), coords=coords)

    tree = {}
    for layer, weights in layers.items():
        tokens = [weights] if isinstance(weights, Mapping) else weights
        drawings = [drawn(each) for each in tokens]
        x = drawings[0] if isinstance(weights, Mapping) else xr.concat(drawings, "token")
        tree[f"/layers/{layer}"] = x.to_dataset(name="activation")

    answers = {name: (("step", "stimulus"), drawings[-1].values @ axes[name]) for name in accuracy}
    head = np.tile(np.stack([axes[name] for name in accuracy]), (len(steps), 1, 1))
    labels = values.copy()
    for value in (0, 1):
        test = np.flatnonzero(values[:, -1] == value)[-COUNT // 4 :]
        labels[test[:wrong], -1] = 1 - value
    tree["/features"] = xr.Dataset(
        {
            name: ("stimulus", labels[:, i], {"kind": "binary", "part_of": (parts or {}).get(name)})
            for i, name in enumerate(names)
        },
        coords={"stimulus": stimulus, "split": split},
    )
    tree["/outputs"] = xr.Dataset(
        {
            "accuracy": (("step", "feature"), np.transpose(list(accuracy.values()))),
            "rank": (("step", "feature"), np.tile(np.arange(len(accuracy)), (len(steps), 1))),
            "readout_weight": (("step", "output", "unit"), head),
            "readout_bias": (("step", "output"), np.zeros(head.shape[:2])),
            **answers,
        },
        coords={
            "step": steps,
            "feature": list(accuracy),
            "output": list(accuracy),
            "stimulus": stimulus,
        },
    )
    found = xr.DataTree.from_dict(tree)
    found.attrs["provenance"] = "{}"
    return Run(condition, seed, found)
