"""The matched-role check: stimuli are held to what a comparison of features rests on.

Two features can only be compared if they play the same role: independent of each other, balanced
where the network is analysed, as frequent in training as was promised, and not to be had more
cheaply than by computing them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from hashlib import blake2b
from itertools import combinations
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.special import bdtr, bdtrc

from reptools.errors import StimulusError, some

from .sampling import HELD_OUT, LABELLED, Config, value_shares

UNLIKELY = 1e-7  # a count is wrong when independent draws give one as extreme more rarely
Array = NDArray[Any]


def check_roles(
    data: xr.Dataset,
    *,
    prevalence: Mapping[str, float] | None = None,
    labelled: Mapping[str, float] | None = None,
    unreadable: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """Measure whether features play matched roles, and refuse stimuli in which they do not.

    Parameters
    ----------
    data
        Stimuli as ``datasets/`` makes them: ``input``, features (stimulus,), coords stimulus and
        split. Parts of features (attr ``part_of``) and features of single tokens are no part of
        the design and are not looked at.
    prevalence
        Feature -> promised share of value 1 in training; even where it is not named.
    labelled
        Feature -> promised share of training stimuli whose label is seen; the stimuli have the
        coord ``labelled_<feature>`` for these features and no others.
    unreadable
        Feature -> largest test accuracy that a trivial readout (:func:`trivial_readouts`) may
        reach, beyond four standard errors.

    Returns
    -------
    dict
        What JSON can hold: ``association``, the largest Cramer's V between any two features or
        label masks in training (in the held-out splits it is 0); ``shares``, of each value in
        training; ``labelled``, shares of labels seen; ``chance``; and ``trivial``, the accuracy of
        each trivial readout of the `unreadable` features.

    Raises
    ------
    StimulusError
        An input or a label occurs twice; a combination of values is more frequent than another
        in a held-out split; a value, a pair of values or a label mask is more or less frequent in
        training than independent draws with the promised shares would make it (in one of 10
        million cases); a held-out stimulus without its labels; a trivial readout that works.

    Examples
    --------
    >>> from datasets.binary import BinaryConfig, make_binary
    >>> from datasets.features import lay_out
    >>> features = lay_out({"easy": "copy", "hard": "xor"})
    >>> data = make_binary(BinaryConfig(features, train=4000, prevalence={"easy": 0.2}))
    >>> check_roles(data, prevalence={"easy": 0.2})["shares"]
    {'easy': [0.8, 0.2], 'hard': [0.5, 0.5]}
    """
    levels = feature_levels(data)
    _check_distinct(data)
    _check_held_out(data, levels)
    factors = _training_factors(data, value_shares(levels, prevalence or {}), labelled or {})
    names = list(levels)
    return {
        "association": _check_training(factors),
        "shares": {name: _shares(*factors[name]) for name in names},
        "labelled": {k: _shares(*v)[1] for k, v in factors.items() if k not in levels},
        "chance": {name: 1 / levels[name] for name in names},
        "trivial": _check_trivial(data, levels, unreadable or {}),
    }


def attach_roles(
    data: xr.Dataset, config: Config, unreadable: Mapping[str, float] | None = None
) -> xr.Dataset:
    """Check the stimuli against their settings; the attr ``roles`` is what was measured."""
    roles = check_roles(
        data, prevalence=config.prevalence, labelled=config.labelled, unreadable=unreadable
    )
    return data.assign_attrs(roles=json.dumps(roles))


def feature_levels(data: xr.Dataset) -> dict[str, int]:
    """Name -> number of values of the features (stimulus,) that make up the design."""
    return {
        str(name): 2 if v.attrs["kind"] == "binary" else round(1 / v.attrs["chance"])
        for name, v in data.data_vars.items()
        if name != "input" and v.dims == ("stimulus",) and "part_of" not in v.attrs
    }


def trivial_readouts(data: xr.Dataset, features: Mapping[str, int]) -> dict[str, dict[str, float]]:
    """Test accuracy of readouts that compute nothing: what is there to be had for free.

    Each assigns a stimulus to the class whose mean over the training split is nearest, by all
    input units (``nearest_centroid``); of images also by the standardised mean of each channel
    (``mean_colour``) and by the number of pixels that stand out from the median more than half as
    much as the one that does most (``pixel_count``).

    Parameters
    ----------
    data
        Stimuli; images have the coord ``channel`` on their units.
    features
        Feature -> number of its values.
    """
    inputs = _inputs(data).reshape(data.sizes["stimulus"], -1)
    views = {"nearest_centroid": inputs}
    if "channel" in data["input"].coords:
        channels = len(np.unique(data["channel"].values))
        images = inputs.reshape(len(inputs), channels, -1)  # (stimulus, channel, pixel)
        # float64: nearly equal images differ by little in their mean
        views["mean_colour"] = _standardised(images.mean(axis=2, dtype=np.float64))
        contrast = np.abs(images - np.median(images, axis=2, keepdims=True)).max(axis=1)
        pixels = (contrast > contrast.max(axis=1, keepdims=True) / 2).sum(axis=1)
        views["pixel_count"] = pixels[:, None].astype(np.float64)
    train, test = (data["split"].values == split for split in ("train", "test"))
    return {
        name: {
            view: _nearest_mean(
                x[train], data[name].values[train], x[test], data[name].values[test]
            )
            for view, x in views.items()
        }
        for name in features
    }


def _nearest_mean(x: Array, y: Array, x_test: Array, y_test: Array) -> float:
    classes = np.unique(y)
    means = np.stack([x[y == value].mean(axis=0, dtype=np.float64) for value in classes])
    # |x - m|^2 less |x|^2, which is the same for all classes
    with np.errstate(all="ignore"):  # some processors raise flags on finite numbers
        distance = (means**2).sum(axis=1) - 2 * x_test @ means.T
    return float((classes[distance.argmin(axis=1)] == y_test).mean())


def _standardised(x: Array) -> Array:
    deviation = np.maximum(x.std(axis=0), np.finfo(np.float64).tiny)
    standard: Array = (x - x.mean(axis=0)) / deviation
    return standard


def _inputs(data: xr.Dataset) -> Array:
    """Inputs with the stimulus as first axis."""
    return data["input"].transpose("stimulus", ...).values


def _check_distinct(data: xr.Dataset) -> None:
    rows = {blake2b(row.tobytes(), digest_size=16).digest() for row in _inputs(data)}
    labels = data["stimulus"].values
    for what, kinds in [("inputs", len(rows)), ("labels", len(np.unique(labels)))]:
        if repeats := len(labels) - kinds:
            raise StimulusError(
                f"check_roles: {repeats} {what} occur again among {len(labels)} stimuli. "
                "Draw the stimuli anew, each once."
            )


def _check_held_out(data: xr.Dataset, levels: Mapping[str, int]) -> None:
    values = np.stack([data[name].values for name in levels], axis=1)
    masks = [str(name) for name in data.coords if str(name).startswith(LABELLED)]
    for split in HELD_OUT:
        within = data["split"].values == split
        counts = np.unique(values[within], axis=0, return_counts=True)[1]
        if len(counts) != np.prod(list(levels.values())) or len(set(counts.tolist())) > 1:
            raise StimulusError(
                f"check_roles: the combinations of {list(levels)} occur "
                f"{some(sorted(set(counts.tolist())))} times in {split}, {len(counts)} of "
                f"{np.prod(list(levels.values()))} of them. "
                "Draw the stimuli anew, each combination equally often."
            )
        for name in masks:
            if hidden := int((data[name].values[within] == 0).sum()):
                raise StimulusError(
                    f"check_roles: {name} is 0 on {hidden} stimuli of {split}. "
                    "Hide labels in training only."
                )


def _training_factors(
    data: xr.Dataset, shares: Mapping[str, Array], labelled: Mapping[str, float]
) -> dict[str, tuple[Array, Array]]:
    """Feature or label mask -> its values in training and the promised share of each value."""
    train = data["split"].values == "train"
    factors = {name: (data[name].values[train], share) for name, share in shares.items()}
    for coord in data.coords:
        if (name := str(coord)).startswith(LABELLED) and name.removeprefix(LABELLED) in shares:
            share = labelled.get(name.removeprefix(LABELLED), 1.0)
            factors[name] = (data[name].values[train], np.array([1 - share, share]))
    for name in labelled:
        if f"{LABELLED}{name}" not in factors:
            raise StimulusError(
                f"check_roles: {name!r} is to be labelled on a share of {labelled[name]} of the "
                f"training stimuli, but there is no coord {LABELLED}{name}. Add it."
            )
    return factors


def _check_training(factors: Mapping[str, tuple[Array, Array]]) -> float:
    """Hold values and pairs of values to the promised shares; the largest Cramer's V."""
    for name, (values, shares) in factors.items():
        for value, count, share in _deviating(np.bincount(values, minlength=len(shares)), shares):
            raise StimulusError(
                f"check_roles: {name} is {value} in {count} of {len(values)} training stimuli, and "
                f"a share of {share:.4g} was promised. Draw the stimuli anew."
            )
    largest = 0.0
    for (a, (x, p)), (b, (y, q)) in combinations(factors.items(), 2):
        table = np.bincount(x.astype(int) * len(q) + y, minlength=len(p) * len(q))
        for cell, count, share in _deviating(table, np.outer(p, q).ravel()):
            i, j = divmod(cell, len(q))
            raise StimulusError(
                f"check_roles: {a} and {b} are {i} and {j} in {count} of {len(x)} training "
                f"stimuli; a share of {share:.4g} would be independent. Draw the stimuli anew."
            )
        largest = max(largest, cramers_v(table.reshape(len(p), len(q))))
    return largest


def _deviating(counts: Array, shares: Array) -> Iterator[tuple[int, int, float]]:
    """(place, count, share) of counts that their shares do not explain."""
    n = counts.sum()
    below, above = bdtr(counts, n, shares), bdtrc(counts - 1, n, shares)  # of the binomial
    for place in np.flatnonzero(2 * np.minimum(below, above) < UNLIKELY).tolist():
        yield place, int(counts[place]), float(shares[place])


def cramers_v(table: Array) -> float:
    """Cramer's V of a table of counts: 0 independent, 1 one value gives the other.

    Examples
    --------
    >>> cramers_v(np.array([[10, 10], [5, 5]])), cramers_v(np.array([[10, 0], [0, 10]]))
    (0.0, 1.0)
    """
    table = table[table.any(axis=1)][:, table.any(axis=0)]
    n, least = table.sum(), min(table.shape) - 1
    if least == 0:
        return 0.0
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / n
    return float(np.sqrt(((table - expected) ** 2 / expected).sum() / n / least))


def _shares(values: Array, shares: Array) -> list[float]:
    return [float(count) / len(values) for count in np.bincount(values, minlength=len(shares))]


def _check_trivial(
    data: xr.Dataset, levels: Mapping[str, int], unreadable: Mapping[str, float]
) -> dict[str, dict[str, float]]:
    if not unreadable:
        return {}
    read = trivial_readouts(data, {name: levels[name] for name in unreadable})
    n = int((data["split"].values == "test").sum())
    for name, bound in unreadable.items():
        chance = 1 / levels[name]
        error = np.sqrt(chance * (1 - chance) / n)
        for view, accuracy in read[name].items():
            if accuracy > bound + 4 * error:
                raise StimulusError(
                    f"check_roles: {name} is read by {view} with an accuracy of {accuracy:.3f}, "
                    f"and at most {bound:.3f} was promised (chance is {chance:.3f}). "
                    "Vary what it is read from."
                )
    return read
