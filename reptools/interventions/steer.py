"""How far activations must go along a feature's direction until answers flip."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Annotated, Any, Literal

import numpy as np
import xarray as xr

from reptools.arrays import matmul
from reptools.engine.common import CV, Groups, Seed
from reptools.engine.context import Context
from reptools.engine.declaring import intervention
from reptools.engine.inputs import FEATURE, Activations, Truths
from reptools.engine.operation import Wiring
from reptools.engine.options import Option
from reptools.errors import DataError, FeatureError, StimulusError, some
from reptools.interventions.shared.heads import OUTPUT, Codes, Head, Readout
from reptools.interventions.shared.inputs import HeadAt, ReadoutOf
from reptools.interventions.shared.options import (
    Names,
    Values,
    numbers_of,
    parse_numbers,
    picked,
    unit_norm,
)
from reptools.statistics.features.design import Feature, joint_classes
from reptools.statistics.folds import Folds
from reptools.statistics.shapes.spectrum import EPS

DIRECTIONS = ("add", "subtract", "both")
DOSES = tuple(round(0.1 * i, 1) for i in range(21))  # our choice: to twice the difference
Scale = Literal["difference", "norm", "rms"]
SCALES = ("norm", "difference", "rms")
Doses = Annotated[
    Sequence[float] | float, Option("numbers from 0, joined by commas", numbers_of, parse_numbers)
]


def steered(
    x: Values,
    features: Sequence[Feature],
    head_at: HeadAt,
    /,
    *,
    context: Context,
    feature: Sequence[str] | None,
    doses: Sequence[float],
    scale: Scale,
) -> dict[str, Any]:
    """Every output at one position."""
    x = np.asarray(x, dtype=np.float64)
    head, dose = head_at.checked(x), np.array(doses)
    here = _binary(features, head_at.readout, feature)
    folds = context.folds(joint_classes(here))
    rows = [_steered(x, one, head, dose, scale, folds) for one in here]
    found = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    return found | {"rms": np.mean([row["rms"] for row in rows])}


def _binary(
    features: Sequence[Feature], readout: Readout, names: Sequence[str] | None
) -> list[Feature]:
    """Binary features, of those not asked for by name the ones that are answered."""
    features, named = picked(features, names), names is not None
    other = [one.name for one in features if one.kind != "binary"]
    if named and other:
        raise FeatureError(
            f"not binary: {some(other)}. A direction leads from stimuli without a feature to those "
            "with it: pass one that is present or absent."
        )
    answered = [one for one in features if one.kind == "binary"]
    if not named:
        answered = [one for one in answered if one.name in readout.rows]
    if not answered:
        raise FeatureError(
            f"features holds {some([one.name for one in features])}, and the readout answers "
            f"{some(readout.names)}. Pass a binary one that it answers, or name it by feature=."
        )
    return answered


def _steered(
    x: Values, feature: Feature, head: Head, dose: Values, scale: Scale, folds: Folds
) -> dict[str, Any]:
    """Flips and half doses of one feature, over the test stimuli of all folds."""
    own = list(head.rows).index(feature.name) if feature.name in head.rows else None
    parts = [_thresholds(x, feature, head, fit, test) for fit, test in folds]
    units = [{"norm": 1.0, "difference": length, "rms": rms} for _, length, rms in parts]
    result: dict[str, Any] = {one: np.mean([u[one] for u in units]) for one in SCALES[1:]}
    half: dict[str, list[float]] = {one: [] for one in SCALES}
    flipped, at_half = [], []
    for direction in DIRECTIONS:
        norms = [found[direction] for found, *_ in parts]  # (output, stimulus) of every fold
        pooled = {
            one: np.concatenate([n / u[one] for n, u in zip(norms, units, strict=True)], axis=1)
            for one in SCALES
        }
        flipped.append((pooled[scale] <= dose[:, None, None]).mean(axis=-1))
        for one in SCALES:
            half[one].append(np.nan if own is None else half_dose(pooled[one][own]))
        reached = np.isfinite(half["norm"][-1])
        shares = (pooled["norm"] <= half["norm"][-1]).mean(axis=1)
        at_half.append(np.where(reached, shares, np.nan))
    result |= {f"{one}_50": doses for one, doses in half.items()}
    return result | {"flipped": flipped, "flipped_at_50": at_half}


def _thresholds(
    x: Values, feature: Feature, head: Head, fit: Codes, test: Codes
) -> tuple[dict[str, Values], float, float]:
    """Norms (output, stimulus) that flip answers, by direction; difference and RMS norm."""
    present = feature.codes == 1
    for what, rows in (("fit", fit), ("test", test)):
        if present[rows].all() or not present[rows].any():
            raise StimulusError(
                f"the {what} stimuli of a fold all have one value of feature {feature.name!r}. "
                "Use halves with both."
            )
    with_it, without = (x[rows].mean(axis=0) for rows in (fit[present[fit]], fit[~present[fit]]))
    direction, length = unit_norm(with_it - without)
    rms = unit_norm(x[fit].ravel())[1] / float(np.sqrt(len(fit)))
    if length <= 8 * EPS * rms:  # a direction of rounding
        raise DataError(
            f"the mean with feature {feature.name!r} and the one without are equal, so it has no "
            "direction. Leave it out here."
        )
    slopes = matmul(head.weight, direction)
    found = {}
    for way, rows, sign in zip(
        DIRECTIONS, (test[~present[test]], test[present[test]]), (1, -1), strict=False
    ):
        logits = head.logits(x[rows])
        doses = [
            flip_doses(head.classes(logits, output), head.classes(sign * slopes, output))
            for output in head.rows
        ]
        found[way] = np.array(doses)
    found["both"] = np.concatenate([found["add"], found["subtract"]], axis=1)
    return found, length, rms


def flip_doses(logits: Values, slopes: Values) -> Values:
    """The dose from which on each answer differs: infinite where it never does.

    Parameters
    ----------
    logits : array (stimulus, class)
        Without steering; the answer is the largest, of equal ones the first.
    slopes : array (class,)
        What a dose of 1 adds.

    Examples
    --------
    >>> flip_doses(np.array([[0.0, -3.0], [0.0, 1.0], [0.0, 2.0]]), np.array([0.0, -2.0])).tolist()
    [inf, 0.5, 1.0]
    """
    given = logits.argmax(axis=1)
    ahead = np.take_along_axis(logits, given[:, None], axis=1) - logits
    gain = slopes - slopes[given][:, None]
    doses = np.where(gain > 0, ahead / np.where(gain > 0, gain, 1.0), np.inf)
    # at a tie the first class is answered: a later one must be past it
    later = np.arange(logits.shape[1]) > given[:, None]
    return np.asarray(np.where(later, np.nextafter(doses, np.inf), doses).min(axis=1))


def half_dose(doses: Values) -> float:
    """The smallest dose at which at least half of the answers have flipped."""
    return float(np.sort(doses)[(len(doses) + 1) // 2 - 1])


@intervention(
    estimator="direction of the fit half, flips of the test half, exact for a linear head"
)
def steer(
    x: Activations,
    features: Truths,
    readout: ReadoutOf,
    /,
    *,
    feature: Names = None,
    doses: Doses = DOSES,
    scale: Scale = "difference",
    cv: CV = "split",
    groups: Groups = None,
    seed: Seed = 0,
) -> Wiring[xr.Dataset]:
    """Steer along a feature: share of answers that flip, by dose, for every output.

    The direction is the mean activation of stimuli with the feature minus that of stimuli without
    it, over the fit half. On the test half it is added to stimuli without the feature, and
    subtracted from those with it. Under a linear head each stimulus has one dose from which on its
    answer differs, computed from its logits and not searched for, so the share that flips is a
    step function of the dose and the dose that flips half is a median of them.

    Parameters
    ----------
    x : DataArray, DataTree node, numpy or torch array
        Activations ([outer,] stimulus, unit) of the layer that feeds the head; outer dimensions
        such as step are kept, and paired with the head's.
    features : Dataset, DataTree node, mapping or table
        Features over ``stimulus``, lined up with ``x`` by label.
    feature : str or list of str, optional
        Binary features along which to steer. Without it (default) all binary ones that the head
        answers.
    doses : number or sequence of numbers
        Doses of the curves, from 0 on. The default, 0 to 2 in steps of 0.1 in multiples of the
        difference, is our choice; the doses that flip half do not depend on it.
    scale : {"difference", "norm", "rms"}
        What one dose is: the length of the feature's difference (default), in which features of
        any strength share one axis; 1 of L2 norm; or the root mean square norm of the layer's
        patterns in the fit half.
    cv : int, "split", splitter or None
        "split" (default) fits on the file's validation stimuli and steers its test stimuli; where
        there is no split, two halves with the features' combinations spread evenly over them, both
        ways. Test stimuli of all folds are pooled.

    Returns
    -------
    Dataset
        Over the outer dimensions of ``x``, ``feature``, and ``direction``: "add" (to stimuli
        without the feature), "subtract" (from stimuli with it), "both" pooled.

        - ``flipped`` (..., dose, output): share of stimuli whose answer differs from the one
          without steering.
        - ``norm_50``: the smallest L2 norm at which half of the answers of the feature's own
          output flip; infinite where half of them never do, missing where it has no output.
          ``difference_50`` and ``rms_50``: in multiples of the difference, and as a fraction of
          the root mean square norm.
        - ``flipped_at_50`` (..., output): shares that flip at ``norm_50``.
        - ``difference`` (..., feature) and ``rms``: the two norms, means over folds.

    Raises
    ------
    DataError
        ``x`` does not feed the head, or the means of a feature do not differ.
    FeatureError
        A feature is unknown, not binary, or none of the head's outputs is one.
    DimensionError, ParameterError, StimulusError
        ``x`` and ``readout`` or ``features`` do not belong together, an option is not allowed, or
        a half lacks a value of a feature.

    Examples
    --------
    >>> import numpy as np
    >>> import reptools as rt
    >>> easy, hard = np.tile([0, 1], 8), np.tile([0, 0, 1, 1], 4)
    >>> x = np.stack([6.0 * easy - 3, 2.0 * hard - 1], axis=1)
    >>> head = rt.interventions.Readout.of(np.eye(2), [0.0, 0.0], ["easy", "hard"])
    >>> both = rt.interventions.steer(x, {"easy": easy, "hard": hard}, head).sel(direction="both")
    >>> both.norm_50.round(3).values.tolist(), both.difference_50.round(3).values.tolist()
    ([3.0, 1.0], [0.5, 0.5])
    >>> both.flipped_at_50.sel(feature="easy").values.tolist()
    [0.5, 0.0]
    """
    each = (FEATURE, "direction")
    dose = (doses,) if isinstance(doses, (int, float)) else doses

    def names(inputs: Mapping[str, Any]) -> list[str]:
        return [one.name for one in _binary(inputs["features"], inputs["readout"], feature)]

    return Wiring(
        partial(steered, feature=feature, doses=dose, scale=scale),
        outputs={
            "flipped": (*each, "dose", OUTPUT),
            **{f"{one}_50": each for one in SCALES},
            "flipped_at_50": (*each, OUTPUT),
            "difference": (FEATURE,),
            "rms": (),
        },
        coords={FEATURE: names, "direction": DIRECTIONS, "dose": dose},
        chosen=lambda inputs: {"feature": names(inputs)},
    )
