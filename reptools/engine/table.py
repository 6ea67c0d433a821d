"""Results as tidy tables: one row a value, the same columns whatever was computed."""

from __future__ import annotations

import json
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from reptools.engine.assembling import PADDED
from reptools.errors import ParameterError, naming

if TYPE_CHECKING:
    import pandas as pd

SIDES = [f"{name}{side}" for side in ("", "_x", "_y") for name in ("n_units", "n_dead_units")]
COUNTS = (*SIDES, "n_stimuli")
OWN = ("metric", "quantity", "estimate", "estimator", "cv", "stimuli", "params")
AXES = ("system", "layer", "rdm")
FACTS = ("estimator", "cv", "stimuli", "params")


def table(result: xr.DataArray | xr.Dataset, /) -> pd.DataFrame:
    """A result as a tidy table: one row a value, however many systems, layers and steps.

    Tables of different operations have the same columns where they mean the same, so they can be
    put under each other; CSV and Parquet files of the command line are these tables.

    Parameters
    ----------
    result : DataArray or Dataset
        What an operation, :func:`compute` or :func:`compare` returned.

    Returns
    -------
    pandas.DataFrame
        The dimensions in order (a position where one has no labels), ``metric``, ``quantity`` (the
        variable of a Dataset, else the name of the metric), ``estimate``, what came with the score
        and every other coordinate, ``n_units``, ``n_dead_units``, ``n_stimuli``, ``estimator``,
        ``cv`` and ``params`` (JSON). What a system or layer does not have is left out; what could
        not be computed is there as NaN.

    Raises
    ------
    ParameterError
        ``result`` is neither, or has a coordinate of the name of a column.

    Examples
    --------
    >>> import numpy as np
    >>> import reptools as rt
    >>> rng = np.random.default_rng(0)
    >>> x, bit = rng.normal(size=(40, 3)), np.arange(40) % 2
    >>> rt.table(rt.variance_explained(x, {"bit": bit}))[["feature", "quantity"]]
      feature            quantity
    0     bit  variance_explained
    """
    with naming("table"):
        if not isinstance(result, (xr.DataArray, xr.Dataset)):
            raise ParameterError(
                f"result is a {type(result).__name__}. Pass what an operation, compute() or "
                "compare() returned."
            )
    import pandas as pd

    if isinstance(result, xr.DataArray):
        return _rows(result, str(result.name), str(result.name))
    name = str(result.attrs.get("metric", ""))
    frames = [_rows(one.assign_attrs(result.attrs), str(key), name) for key, one in result.items()]
    whole = pd.concat(frames, ignore_index=True)
    for column in whole:  # a variable without a dimension leaves a gap, and that makes floats
        kinds = {frame[column].dtype.kind for frame in frames if column in frame}
        if kinds <= set("iu") and whole[column].dtype.kind == "f":
            whole[column] = whole[column].astype("Int64")
    return whole


def _rows(data: xr.DataArray, quantity: str, name: str) -> pd.DataFrame:
    import pandas as pd

    dims = [str(dim) for dim in data.dims]
    columns: dict[str, Any] = {dim: _column(data, dim) for dim in dims}
    columns["metric"] = data.attrs.get("metric", name)
    columns["quantity"] = quantity
    columns["estimate"] = data.values.ravel()
    others = [str(key) for key in data.coords if key not in dims]
    if taken := [key for key in (*dims, *others) if key in OWN]:
        raise ParameterError(
            f"table: {taken[0]!r} is a coordinate of the result, and a column of every table. "
            f"Rename it: result.rename({taken[0]}='{taken[0]}_')."
        )
    columns |= {key: _column(data, key) for key in others if key not in COUNTS}
    for key in COUNTS:
        if key in data.coords:
            columns[key] = _column(data, key)
        elif key in data.attrs:
            columns[key] = _fact(data, key)
    columns |= {key: _fact(data, key) for key in FACTS if key in data.attrs}
    frame = pd.DataFrame(columns, index=range(data.size))
    return frame[recorded(data)].reset_index(drop=True)


def recorded(data: xr.DataArray) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Of every value in order, whether there was something to compute it from.

    A system may lack a layer or a step, and a layer may have fewer units than another.
    """
    count = next((key for key in ("n_units", "n_stimuli") if key in data.coords), None)
    known = np.ones(data.shape, dtype=bool)
    if count is not None:
        known &= np.reshape(_column(data, count) > 0, data.shape)
    axes = [dim for dim in AXES if dim in data.dims]
    for place, dims in json.loads(data.attrs.get(PADDED, "{}")).items():
        names = place.split("/", len(axes) - 1)
        here = {
            dim: np.asarray(data[dim].values == name) for dim, name in zip(axes, names, strict=True)
        }
        for own, places in dims.items():
            if own in data.dims:
                lacking = np.ones(data.sizes[own], dtype=bool)
                lacking[places] = False
                every = [here.get(d, lacking if d == own else None) for d in map(str, data.dims)]
                at = [
                    np.arange(n) if mask is None else np.flatnonzero(mask)
                    for mask, n in zip(every, data.shape, strict=True)
                ]
                known[np.ix_(*at)] = False
    return known.ravel()


def _column(data: xr.DataArray, name: str) -> Any:
    """A coordinate at every value of the result; positions where a dimension has none."""
    if name in data.coords:
        coord = data.coords[name]
    else:
        coord = xr.DataArray(np.arange(data.sizes[name]), dims=name)
    return coord.broadcast_like(data).transpose(*data.dims).values.ravel()


def _fact(data: xr.DataArray, key: str) -> Any:
    """An attribute; of one that differs by layer, what holds at each."""
    found = by_layer(data, key)
    if found is None:
        return data.attrs[key]
    axes = _axes(data)
    values = np.array([found.get(place) for place in _places(data)], dtype=object)
    each = xr.DataArray(values.reshape([data.sizes[dim] for dim in axes]), dims=axes)
    return each.broadcast_like(data).transpose(*data.dims).values.ravel()


def by_layer(data: xr.DataArray | xr.Dataset, key: str) -> dict[str, Any] | None:
    """An attribute that differs by layer, with what holds at each; None where it does not."""
    value = data.attrs[key]
    if not (isinstance(value, str) and value.startswith("{")):
        return None
    try:
        found = json.loads(value)
    except ValueError:
        return None
    known = isinstance(found, dict) and found and found.keys() <= set(_places(data))
    return found if known else None


def _axes(data: xr.DataArray | xr.Dataset) -> list[str]:
    return [dim for dim in AXES if dim in data.dims]


def _places(data: xr.DataArray | xr.Dataset) -> list[str]:
    """Layers as the attributes name them."""
    labels = (data.coords[dim].values.tolist() for dim in _axes(data))
    return ["/".join(map(str, place)) for place in product(*labels)]
