"""``rdm``: the labelled dissimilarity matrix of one representation.

It is not a score, so it is not declared with ``@metric``; it takes the same road from input to
labelled result by a record of its own, which the registry does not list.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from reptools.arrays import Array, to_host
from reptools.calling import make_context
from reptools.errors import naming
from reptools.labels import STIMULUS, as_side
from reptools.parameters import bind
from reptools.rdms import OTHER
from reptools.record import NO_FOLDS, Context, Metric, parameters_of
from reptools.results import Stack, finish, joined, outer_coords
from reptools.slabs import Slabs, placing
from reptools.statistics.distances import Distance, condensed


def square_rdm(
    x: Array, /, *, method: Distance = "correlation", context: Context | None = None
) -> np.ndarray[Any, Any]:
    """Distances (stimulus, stimulus) of one bare array, symmetric, with a zero diagonal."""
    from scipy.spatial.distance import squareform  # slow to import

    distances = condensed(x, method, None if context is None else context.stimulus)
    square: np.ndarray[Any, Any] = squareform(to_host(distances), checks=False)
    return square


RECORD = Metric(
    name="rdm",
    summary="Dissimilarity of the patterns of all pairs of stimuli.",
    kind="single",
    kernel=square_rdm,
    each=None,
    better="neither",
    bounds=(0.0, float("inf")),
    symmetric=False,
    invariances=(),
    backends=("numpy", "torch"),
    per_unit=False,
    iterative=False,
    cv=NO_FOLDS,
    estimator="plug-in",
    finish=None,
    parameters=parameters_of("single", square_rdm, None, NO_FOLDS),
)


def rdm(
    x: Any, /, *, method: Distance = "correlation", prepare: str | Sequence[str] | None = None
) -> xr.DataArray:
    """Dissimilarity of the patterns of all pairs of stimuli (an RDM).

    Parameters
    ----------
    x : DataArray (..., stimulus, unit), DataTree node or array (stimulus, unit)
        Activations.
    method : {"correlation", "euclidean", "sqeuclidean", "cosine"}, default "correlation"
        1 less the Pearson correlation over units, which ignores the mean and the scale of each
        pattern; the Euclidean distance or its square, in the units of ``x`` (or their square);
        1 less the cosine. None is divided by the number of units.
    prepare : str, sequence of str or None, default None
        Done to ``x`` first: "zscore", "unit_norm", "drop_top:K", or several.

    Returns
    -------
    DataArray (..., stimulus, stimulus_)
        Symmetric, zero on the diagonal, float64. Its attributes say which ``distance`` it is,
        and with 0 or 1 whether it is ``squared`` and ``divided_by_p``.

    Raises
    ------
    StimulusError
        A stimulus label is repeated, or there are fewer than 2 stimuli.
    DataError
        A value is not finite; a pattern has no variance over units (correlation) or is zero
        (cosine): the stimuli are counted and named.
    ParameterError
        An option is unknown or has a value that is not listed above.

    References
    ----------
    Kriegeskorte, Mur & Bandettini (2008), Representational similarity analysis - connecting
    the branches of systems neuroscience, Frontiers in Systems Neuroscience 2.

    Examples
    --------
    >>> import numpy as np
    >>> import reptools as rt
    >>> x = np.array([[0.0, 0.0], [3.0, 4.0], [0.0, 4.0]])
    >>> rt.rdm(x, method="euclidean").values
    array([[0., 5., 4.],
           [5., 0., 3.],
           [4., 3., 0.]])
    """
    with naming("rdm"):
        bound = bind(RECORD.parameters, {"method": method, "prepare": prepare})
        side = as_side(x)
        context = make_context(RECORD, side, bound)
        slabs = Slabs(RECORD, bound, [side])
        stack = Stack(joined(side.outer, {STIMULUS: side.n_stimuli, OTHER: side.n_stimuli}))
        for index in side.indices():
            patterns = slabs.take(side, index)
            if patterns is None:
                continue
            with placing(side, index):
                stack.put(index, RECORD.score(patterns, bound=bound, context=context))
        slabs.warn()
        coords = outer_coords([side])
        if isinstance(side.data, xr.DataArray):
            coords |= {k: c.variable for k, c in side.data.coords.items() if c.dims == (STIMULUS,)}
        if side.labels is not None:
            coords[OTHER] = side.labels
        attrs = {"n_units": side.n_units, "n_dead_units": slabs.most_dead(side.name)}
        result = finish(RECORD, stack, coords, bound, context, [side], attrs)
        squared = int(method == "sqeuclidean")
        return result.assign_attrs(distance=method, squared=squared, divided_by_p=0)
