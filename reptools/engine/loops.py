"""Grids: every layer of one system against every layer of another."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from os import PathLike, fspath
from typing import Any

import xarray as xr

from reptools.engine.calling import grid, read_side
from reptools.engine.operation import Metric
from reptools.engine.options import bind
from reptools.engine.registry import find
from reptools.entering.labels import Side
from reptools.errors import ParameterError, naming, some


def compare(
    xs: Any,
    ys: Any = None,
    /,
    *,
    metric: str | Callable[..., Any] = "cka",
    **options: Any,
) -> xr.DataArray:
    """Compare every representation of one collection with every one of another.

    Each representation is prepared once, however many others it is compared with.

    Parameters
    ----------
    xs, ys : DataTree, mapping of str to activations, or sequence of activations
        Layers of a system: an open file (``rt.open(path)``) or its ``layers`` group, a mapping of
        names to activations (stimulus, unit), or a sequence (named by number). All must show the
        same stimuli, which are matched by label. Without ``ys``, ``xs`` is compared with itself.
    metric : str or metric, default "cka"
        Any pair metric of :func:`reptools.list_metrics`.
    **options
        Options of that metric, checked as in a direct call.

    Returns
    -------
    DataArray (x, y, [outer dimensions])
        Named after the metric. Outer dimensions such as ``step`` that both sides share are
        paired; others are crossed. ``n_units_x``, ``n_dead_units_x`` (and ``_y``) are coordinates.

    Raises
    ------
    ParameterError
        ``metric`` is no pair metric, an option is unknown, or a collection is empty.
    StimulusError
        Two representations were not shown the same stimuli, or only one has labels.
    DimensionError
        Layers of one collection differ in their outer dimensions.

    Examples
    --------
    >>> import numpy as np
    >>> import reptools as rt
    >>> rng = np.random.default_rng(0)
    >>> layers = {"fc1": rng.normal(size=(20, 5)), "fc2": rng.normal(size=(20, 3))}
    >>> result = rt.compare(layers, metric="cka")
    >>> result.dims, result.x.values.tolist()
    (('x', 'y'), ['fc1', 'fc2'])
    >>> round(float(result.sel(x="fc1", y="fc1")), 6)
    1.0
    """
    with naming("compare"):
        record = find(metric, kind="pair")
        bound = bind(record.parameters, options)
        sides = _sides(record, xs, "xs")
        others = sides if ys is None else _sides(record, ys, "ys")
        return grid(record, sides, others, bound)


def _sides(record: Metric, collection: Any, name: str) -> dict[str, Side]:
    """Every representation of a collection, named."""
    if isinstance(collection, xr.DataTree):
        collection = collection["layers"] if "layers" in collection.children else collection
        collection = dict(collection.children)
    elif isinstance(collection, Sequence) and not isinstance(collection, str):
        collection = {str(i): x for i, x in enumerate(collection)}
    if isinstance(collection, (str, PathLike)):
        path = fspath(collection)
        raise ParameterError(f"{name} is the path {path!r}. Open it first: rt.open({path!r}).")
    if not isinstance(collection, Mapping):
        raise ParameterError(
            f"{name} must be a tree, a mapping or a list of activations, got "
            f"{type(collection).__name__}. Put a single one in a list."
        )
    if not collection:
        raise ParameterError(f"{name} holds no activations. Pass at least one layer.")
    # the argument is part of the name: both systems may have a layer of that name
    sides = {
        str(key): read_side(record, x, f"{name}[{str(key)!r}]") for key, x in collection.items()
    }
    if len(sides) < len(collection):
        raise ParameterError(f"{name} has keys of one text: {some(collection)}. Rename one.")
    return sides
