"""Activations from which a feature can no longer be read out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Literal

import numpy as np
import xarray as xr

from reptools.engine.context import Context
from reptools.engine.declaring import intervention
from reptools.engine.inputs import Truths, Whole
from reptools.engine.operation import Wiring
from reptools.entering.labels import STIMULUS, UNIT
from reptools.errors import FeatureError, some
from reptools.interventions.shared.erasing import leace, projection
from reptools.interventions.shared.options import Names, Values, picked
from reptools.interventions.shared.splits import rows_of_split
from reptools.provenance import to_json
from reptools.statistics.features.design import Feature

Removal = Literal["leace", "projection"]


def removed(
    x: Values,
    features: Sequence[Feature],
    /,
    *,
    context: Context,
    feature: Sequence[str] | None,
    method: Removal,
    fit: str | None,
) -> Values:
    """Activations (stimulus, unit) of one position without the features."""
    x = np.asarray(x, dtype=np.float64)
    here, rows = picked(features, feature), rows_of_split(context, fit, "fit")
    constant = [one.name for one in here if (one.values[rows] == one.values[rows][:1]).all()]
    if constant:
        raise FeatureError(
            f"constant over the stimuli fitted on: {some(constant)}. Remove one that varies."
        )
    if (x == x[:1]).all():  # where no unit varies there is nothing to remove
        return x
    columns = np.concatenate([one.columns for one in here], axis=1)
    erase = leace if method == "leace" else projection
    return erase(x[rows], columns[rows])(x)


def _like(result: xr.DataArray, inputs: Mapping[str, Any], /) -> xr.DataArray:
    """Changed activations as the given ones: dimensions, order of stimuli, name, attributes."""
    side = inputs["x"]
    kept = {"method": "remove"} | {key: result.attrs[key] for key in ("params", "versions")}
    kept |= {"params": json.loads(kept["params"]), "versions": json.loads(kept["versions"])}
    given = side.data
    if isinstance(given, xr.DataArray):
        result = result.transpose(*given.dims)
        result = xr.DataArray(result.values, given.coords, given.dims, given.name, given.attrs)
    else:
        result = result.rename(None).drop_attrs()
    return result.assign_attrs(removed=to_json(kept))


@intervention(estimator="closed form")
def remove(
    x: Whole,
    features: Truths,
    /,
    *,
    feature: Names = None,
    method: Removal = "leace",
    fit: str | None = None,
) -> Wiring[xr.DataArray]:
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
    return Wiring(
        partial(removed, feature=feature, method=method, fit=fit),
        dims=(STIMULUS, UNIT),
        finish=_like,
        chosen=lambda inputs: {
            "feature": [one.name for one in picked(inputs["features"], feature)]
        },
    )
