"""Activations without a feature, and what becomes of the answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import xarray as xr

from reptools.entering import labels
from reptools.entering.labels import STIMULUS, UNIT, Index, Side
from reptools.errors import DataError, FeatureError, ParameterError, naming, some
from reptools.interventions.calls import Call, Parts, Values, chosen, declared
from reptools.interventions.erasing import leace, projection
from reptools.interventions.heads import OUTPUT, Codes, Readout, plain, truth
from reptools.interventions.truncating import truths
from reptools.metrics.readout import Confusion
from reptools.provenance import to_json

Removal = Literal["leace", "projection"]


def _remove(*, method: Removal = "leace", fit: str | None = None) -> None:
    """Carry the options of :func:`remove`."""


def _effect(*, split: str | None = None) -> None:
    """Carry the options of :func:`effect`."""


REMOVE = declared(_remove, estimator="closed form")
EFFECT = declared(_effect, estimator="balanced accuracy, exact for a linear head")


def remove(
    x: Any,
    features: Any,
    /,
    *,
    feature: str | Sequence[str] | None = None,
    method: Removal = "leace",
    fit: str | None = None,
) -> xr.DataArray:
    """Activations from which a feature can no longer be read out linearly.

    On the stimuli that it is fitted on, the covariance of every unit with the feature is then 0,
    so that no linear probe does better than a constant. Among all affine maps that achieve this,
    LEACE changes the activations least in the mean square; the orthogonal projection away from the
    difference of the means achieves it as well and changes more.

    Parameters
    ----------
    x : DataArray, DataTree node, numpy or torch array
        Activations ([outer,] stimulus, unit); fitted anew at every outer position.
    features : Dataset, DataTree node, DataArray, mapping or array
        Features over ``stimulus``, of any kind, lined up with ``x`` by label.
    feature : str or list of str, optional
        What to remove. Without it (default) all of ``features``, together.
    method : {"leace", "projection"}
        "leace" (default), or "projection".
    fit : str, optional
        Value of the coordinate ``split`` whose stimuli the map is fitted on, such as
        "validation". Without it (default) all stimuli. It is applied to all in either case.

    Returns
    -------
    DataArray
        ``x`` without the feature, in float64, with its dimensions, coordinates and attributes, so
        that every metric takes it; the attribute ``removed`` says how it was made.

    Raises
    ------
    FeatureError
        A feature is unknown, or constant over the stimuli fitted on.
    ParameterError, StimulusError
        An option is not allowed, there is no such split, or the stimuli differ.

    References
    ----------
    Belrose, Schneider-Joseph, Ravfogel, Cotterell, Raff and Biderman (2023), LEACE: perfect linear
    concept erasure in closed form, NeurIPS: r(x) = x - W+ P W (x - E[x]), W the whitening
    transformation and P the orthogonal projection on the column space of W cov(x, z)
    (theorem 4.3).

    Examples
    --------
    >>> import numpy as np
    >>> import reptools as rt
    >>> rng = np.random.default_rng(0)
    >>> easy, hard = rng.integers(0, 2, (2, 200))
    >>> x = np.stack([3.0 * easy + hard, hard, hard - easy], axis=1) + rng.normal(size=(200, 3))
    >>> without = rt.interventions.remove(x, {"easy": easy})
    >>> gap = without[easy == 1].mean("stimulus") - without[easy == 0].mean("stimulus")
    >>> bool(abs(gap).max() < 1e-12), without.sizes["unit"]
    (True, 3)
    """
    with naming("remove"):
        call = Call.of(REMOVE, x, {"method": method, "fit": fit})
        removed = chosen(features, call.side, feature)
        rows = rows_of_split(call.side, fit, "fit")
        erase = leace if call.bound["method"] == "leace" else projection

        def kernel(index: Index, values: Values) -> Parts:
            here = [one.at(index) for one in removed]
            constant = [
                one.name for one in here if (one.values[rows] == one.values[rows][:1]).all()
            ]
            if constant:
                raise FeatureError(
                    f"constant over the stimuli fitted on: {some(constant)}. "
                    "Remove one that varies."
                )
            columns = np.concatenate([one.columns for one in here], axis=1)
            return {"x": erase(values[rows], columns[rows])(values)}

        found = call.over(kernel)
        names = [one.name for one in removed]
        return _like(call, found, names)


def _like(call: Call, found: dict[Index, Parts], names: list[str]) -> xr.DataArray:
    """Changed activations with the labels of the given ones."""
    side = call.side
    dims = (*side.outer, STIMULUS, UNIT)
    values = np.empty((*side.outer.values(), side.n_stimuli, side.n_units))
    for index in side.indices():
        # where no unit varies there is nothing to remove
        changed = found[index]["x"] if index in found else plain(side.slab(index))
        values[tuple(i for _, i in index)] = changed
    if not isinstance(side.data, xr.DataArray):
        given = xr.DataArray(values, dims=dims)
    else:
        like = side.data.transpose(*dims)
        given = xr.DataArray(values, like.coords, dims, side.data.name, dict(side.data.attrs))
        given = given.transpose(*side.data.dims)
    attrs = call.attrs({"feature": names})
    kept = ("method", "params", "versions")
    given.attrs["removed"] = to_json({key: attrs[key] for key in kept})
    return given


def rows_of_split(side: Side, name: str | None, argument: str) -> Codes:
    """Stimuli of one value of the split; all where none is named.

    Raises
    ------
    ParameterError
        There is no split, or no such value of it.
    """
    if name is None:
        return np.arange(side.n_stimuli)
    split = side.coordinate("split")
    if split is None:
        raise ParameterError(
            f"{argument} is {name!r}, and {side.name} has no coordinate 'split' over stimuli. "
            "Leave it out, or add the coordinate."
        )
    rows = np.flatnonzero(split == name)
    if rows.size < 2:
        raise ParameterError(
            f"{argument} is {name!r}, and split holds {some(np.unique(split).tolist())}, "
            f"{rows.size} stimuli of that name. Name one with two or more."
        )
    return rows


def effect(
    x: Any,
    changed: Any,
    features: Any,
    readout: Readout,
    /,
    *,
    split: str | None = None,
) -> xr.Dataset:
    """What a change of the activations does to the answers of the head.

    Parameters
    ----------
    x : DataArray, DataTree node, numpy or torch array
        Activations ([outer,] stimulus, unit) of the layer that feeds the head.
    changed : DataArray or array
        The same after an intervention, such as :func:`remove`: same stimuli, units and positions.
    features : Dataset, DataTree node, mapping or table
        The truth of every output, under its name, lined up with ``x`` by label.
    readout : Readout
        The head, from :func:`readout`; ``x`` is held against the saved answers.
    split : str, optional
        Value of the coordinate ``split`` whose stimuli are counted, such as "test". Without it
        (default) all stimuli.

    Returns
    -------
    Dataset
        Over the outer dimensions of ``x`` and ``output``: balanced accuracy ``before`` and
        ``after``, and ``flipped``, the share of stimuli with another answer.

    Raises
    ------
    DataError
        ``x`` does not feed the head, or ``changed`` is not finite.
    FeatureError
        The truth of an output is missing, or has other classes.
    DimensionError, ParameterError, StimulusError
        The inputs do not belong together, or there is no such split.

    Examples
    --------
    >>> import numpy as np
    >>> import reptools as rt
    >>> features = {"easy": np.tile([0, 1], 8), "hard": np.tile([0, 0, 1, 1], 4)}
    >>> x = np.stack([6.0 * features["easy"] - 3, 2.0 * features["hard"] - 1], axis=1)
    >>> head = rt.interventions.Readout.of(np.eye(2), [1.0, 0.0], ["easy", "hard"])
    >>> without = rt.interventions.remove(x, features, feature="easy")
    >>> found = rt.interventions.effect(x, without, features, head)
    >>> found.after.values.tolist(), found.flipped.values.tolist()
    ([0.5, 1.0], [0.5, 0.0])
    """
    with naming("effect"):
        call = Call.of(EFFECT, x, {"split": split})
        other = labels.align(call.side, labels.as_side(changed, "changed"))
        labels.check_same_outer(call.side, other)
        head_at, head_of_other = readout.checked(call.side), readout.beside(other)
        wanted = truths(features, call.side, readout)
        rows = rows_of_split(call.side, split, "split")

        def kernel(index: Index, values: Values) -> Parts:
            before = head_at(index, values)
            logits = before.logits(values)[rows]
            after = plain(other.slab(index))
            if not np.isfinite(after).all():
                raise DataError("changed is not finite there. Drop these stimuli.")
            found = head_of_other(index).logits(after)[rows]
            result = []
            for name, one in wanted.items():
                answers = [before.answers(each, name) for each in (logits, found)]
                codes = truth(readout, name, one.at(index))[rows]
                result.append([*(_balanced(codes, each) for each in answers),
                               (answers[0] != answers[1]).mean()])  # fmt: skip
            return dict(zip(("before", "after", "flipped"), np.transpose(result), strict=True))

        dims: dict[str, Any] = dict.fromkeys(("before", "after", "flipped"), (OUTPUT,))
        return call.dataset(call.over(kernel), dims, {OUTPUT: readout.names}, {})


def _balanced(codes: Codes, answers: Codes) -> float:
    counts = Confusion(int(max(codes.max(), answers.max())) + 1)
    counts.add(codes, answers)
    return counts.balanced
