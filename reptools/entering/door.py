"""The one door: whatever a user hands in becomes an array whose dimensions and labels are known.

Everything that takes an array from outside reads it with :func:`read` first. What carries labels
comes back as a DataArray, what carries none as a bare numpy array or torch tensor, and what says
that something is missing, in a way that an array cannot keep, is refused by name.

=================== =========================================================================
DataArray, Variable as it is
Dataset, DataTree   the variable of a group that is meant, such as ``activation``
pandas              the index labels stimuli, columns label units; a RangeIndex from 0 in steps of
                    1, which pandas gives to what was not labelled, labels nothing
numpy               as it is; a masked array that masks something is refused
torch               as it is, on its device
lists, tables       as numpy; a list of labelled or masked arrays is refused
=================== =========================================================================
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from os import PathLike, fspath
from typing import Any, Protocol, TypeAlias

import numpy as np
import xarray as xr
from array_api_compat import is_torch_array

from reptools.arrays import to_host
from reptools.errors import DataError, DimensionError, ParameterError, StimulusError, some
from reptools.schema import ACTIVATION, COMPONENT, DISSIMILARITY, STIMULUS

Rows = np.ndarray[Any, np.dtype[np.intp]]
KEPT = "Masked entries are missing, and no number stands for them"


class Table(Protocol):
    """A table with named columns, such as a DataFrame of pandas or polars."""

    @property
    def columns(self) -> Any:
        """Names of the columns."""
        ...

    def __getitem__(self, key: Any, /) -> Any: ...


Named: TypeAlias = Mapping[str, Any] | xr.Dataset | xr.DataTree | Table  # arrays under names


def read(value: Any, name: str, dims: tuple[str, ...], variable: str = ACTIVATION) -> Any:
    """One input, as a DataArray where it has labels or named dimensions, else bare.

    Parameters
    ----------
    value : any
        What the user passed.
    name : str
        What messages call it.
    dims : tuple of str
        Names of the axes of a pandas object, such as ("stimulus", "unit").
    variable : str
        The variable that is meant where ``value`` is a group of a file.

    Raises
    ------
    DataError
        It masks entries, or labels are missing.
    DimensionError
        It is no array, has labels of several levels, or is a group without the variable.
    ParameterError
        It is a path.
    """
    kind = type(value)
    if kind is np.ndarray:
        return value
    if isinstance(value, xr.DataArray):
        if value.chunks is not None:
            _refuse_masked_blocks(value.data, name)  # which xarray before 2026.4 keeps as they are
        return value
    if isinstance(value, (xr.DataTree, xr.Dataset)):
        return _of_group(value, name, variable)
    if isinstance(value, xr.Variable):
        return xr.DataArray(value)
    if is_pandas(value):
        return _of_pandas(value, name, dims)
    if isinstance(value, np.ma.MaskedArray):
        return unmasked(value, name)
    if isinstance(value, (str, PathLike)):
        path = fspath(value)
        raise ParameterError(f"{name} is the path {path!r}. Open it first: rt.open({path!r}).")
    if "torch" in sys.modules and is_torch_array(value):
        if hasattr(value, "get_mask"):
            raise DataError(f"{name} is a masked tensor. {KEPT}: fill them first.")
        return value.detach()
    _refuse_masked_blocks(value, name)
    if isinstance(value, (list, tuple)):
        _refuse_inside(value, name)
        if _mixes_text(value):  # numpy would write nan, 0 and None as words
            return np.asarray(value, dtype=object)
    try:
        return to_host(value)
    except ValueError as error:  # lists of different lengths
        raise DimensionError(
            f"{name} is no array: {error} Pass as many values for every stimulus."
        ) from None


@dataclass(frozen=True)
class Part:
    """An input on the host, in a documented order of dimensions.

    Attributes
    ----------
    values : array
        In the order ``dims``.
    dims : tuple of str
        Names of the axes.
    labels : dict of str to array
        Labels along those dimensions that have some.
    attrs : dict
        What a DataArray says of itself.
    """

    values: np.ndarray[Any, Any]
    dims: tuple[str, ...]
    labels: dict[str, np.ndarray[Any, Any]] = field(default_factory=dict)
    attrs: Mapping[Any, Any] = field(default_factory=dict)

    def along(self, name: str, labels: np.ndarray[Any, Any], said: str, dim: str) -> Part:
        """The part with its entries along ``dim`` in the order ``labels``, where it labels them."""
        if dim not in self.labels:
            return self
        rows = line_up(said, labels, name, self.labels[dim], dim)
        if rows is None:
            return self
        values = self.values.take(rows, axis=self.dims.index(dim))
        return replace(self, values=values, labels={**self.labels, dim: labels})


def _refuse_masked_blocks(value: Any, name: str) -> None:
    """Refuse a dask array of masked arrays."""
    if isinstance(getattr(value, "_meta", None), np.ma.MaskedArray):
        raise DataError(f"{name} is made of masked arrays. {KEPT}: fill them first.")


def arranged(value: Any, name: str, *orders: tuple[str, ...], mend: str = "") -> Part:
    """An input brought to one of ``orders``: by name where it names its dimensions.

    A dimension ``component`` of an order may have any name.

    Raises
    ------
    DimensionError
        No order has these dimensions.
    """
    array = read(value, name, next((order for order in orders if len(order) == 2), orders[0]))
    wanted = " or ".join(f"({', '.join(order)})" for order in orders)
    if not isinstance(array, xr.DataArray):
        array = to_host(array)
        order = next((order for order in orders if len(order) == array.ndim), None)
        if order is None:
            raise DimensionError(f"{name} has shape {array.shape}. {mend or f'Pass {wanted}.'}")
        return Part(array, order)
    for order in orders:
        other = [dim for dim in array.dims if dim not in order]
        if len(other) == 1 and COMPONENT in order and COMPONENT not in array.dims:
            array = array.rename({other[0]: COMPONENT})
        if len(array.dims) == len(order) and set(array.dims) == set(order):
            coords = array.coords.variables
            labels = {dim: coords[dim].values for dim in order if dim in coords}
            return Part(array.transpose(*order).values, order, labels, array.attrs)
    raise DimensionError(
        f"{name} has the dimensions {array.dims}; it must be {wanted}. Rename or select yours."
    )


def entries(value: Named | None, name: str, dim: str = STIMULUS) -> dict[Any, Any]:
    """Named arrays of a mapping, a Dataset or a table with named columns; none for None.

    Raises
    ------
    ParameterError
        It holds no names.
    """
    if value is None:
        return {}
    if isinstance(value, xr.DataTree):
        return dict(value.items())
    if isinstance(value, xr.Dataset):
        return dict(value.data_vars)
    if isinstance(value, Mapping):
        return dict(value)
    if hasattr(value, "columns"):
        return columns(value, name, dim)
    raise ParameterError(
        f"{name} is a {type(value).__name__}, without names. Pass a mapping of names to arrays."
    )


def _mixes_text(values: list[Any] | tuple[Any, ...]) -> bool:
    """Whether text stands beside what is none."""
    text = sum(isinstance(item, str) for item in values)
    return 0 < text < len(values)


def is_pandas(value: Any, *kinds: str) -> bool:
    """Whether it is of pandas, without importing pandas: who made one has imported it."""
    pandas = sys.modules.get("pandas")
    names = kinds or ("DataFrame", "Series", "Index")
    return pandas is not None and isinstance(value, tuple(getattr(pandas, n) for n in names))


def columns(table: Any, name: str, dim: str = STIMULUS) -> dict[Any, Any]:
    """Columns of a table by name, with the index of the table as their labels along ``dim``.

    Raises
    ------
    DimensionError
        The columns have several levels, two are called alike, or one holds the labels.
    """
    if not is_pandas(table):
        return {key: table[key] for key in table.columns}
    labels_of(table.columns, f"the columns of {name}")
    twice = table.columns[table.columns.duplicated()].tolist()
    if twice:
        raise DimensionError(f"{name} has several columns called {some(twice)}. Rename one.")
    if dim == STIMULUS and dim in table.columns:
        raise DimensionError(
            f"{name} has a column 'stimulus' beside its index. Pass set_index('stimulus') where it "
            "labels the rows, or rename it."
        )
    rows = labels_of(table.index, name)
    coords = {} if rows is None else {dim: xr.Variable(dim, rows)}
    return {key: _of_series(table[key], coords, dim) for key in table.columns}


def labels_of(index: Any, name: str) -> np.ndarray[Any, Any] | None:
    """Labels of a pandas index; None for the numbering that pandas gives to what has none."""
    if index.nlevels > 1:
        raise DimensionError(
            f"{name} is labelled by {index.nlevels} levels {some(index.names)} (a MultiIndex). "
            "Make one label of them, and keep each level as a coordinate."
        )
    if index.hasnans:
        raise StimulusError(
            f"{name} has {int(index.isna().sum())} labels that are missing. Label all of it."
        )
    plain = is_pandas(index, "RangeIndex") and (index.start, index.step) == (0, 1)
    return None if plain else np.asarray(index)


def unmasked(value: Any, name: str) -> np.ndarray[Any, Any]:
    """The values of a masked array that masks nothing.

    Raises
    ------
    DataError
        It masks entries; they are counted, with the rows that they stand in.
    """
    mask = np.ma.getmaskarray(value)
    if mask.dtype == bool and not mask.any():
        return np.asarray(value.data)
    n = np.count_nonzero(mask)
    where = ""
    if mask.ndim and mask.dtype == bool:
        rows = np.flatnonzero(mask.reshape(len(mask), -1).any(axis=1))
        where = f", in {rows.size} of {len(mask)} rows ({some(rows.tolist())})"
    raise DataError(
        f"{name} masks {n} of {mask.size} entries{where}. {KEPT}: leave their stimuli out, or say "
        "what they are with .filled(value)."
    )


def check_unique(labels: np.ndarray[Any, Any] | None, name: str) -> None:
    """Refuse repeated stimulus labels: which row belongs to which would be a guess."""
    if labels is None:
        return
    if labels.dtype.kind == "f" and (gaps := int(np.isnan(labels).sum())):
        raise StimulusError(f"{name} has {gaps} stimulus labels that are NaN. Label all of it.")
    if labels.dtype.kind == "O" and labels.size and isinstance(labels[0], tuple):
        raise StimulusError(
            f"{name} has stimulus labels of {len(labels[0])} levels, such as {labels[0]}. Make one "
            "label of them, and keep each level as a coordinate."
        )
    try:
        values, counts = np.unique(labels, return_counts=True)
    except TypeError:  # no order among them
        types = sorted({type(label).__name__ for label in labels.tolist()})
        raise StimulusError(
            f"{name} has stimulus labels of several types: {some(types)}. Use one type of label."
        ) from None
    if values.size < labels.size:
        repeated = values[counts > 1].tolist()
        raise StimulusError(
            f"{name} has repeated stimulus labels: {some(repeated)}. Give each trial its own "
            "label and keep the repeated name in a coordinate 'condition'."
        )


def line_up(
    name: str,
    labels: np.ndarray[Any, Any],
    other_name: str,
    theirs: np.ndarray[Any, Any],
    dim: str = STIMULUS,
) -> Rows | None:
    """Row order that brings labels ``theirs`` to ``labels``; None where they are in order.

    Raises
    ------
    StimulusError
        They are not the same labels, or of another type; a DimensionError along another dimension.
    """
    if labels.size == theirs.size and (labels == theirs).all():
        return None
    error = StimulusError if dim == STIMULUS else DimensionError
    one, another = (values[:1].tolist()[0] for values in (labels, theirs))
    if isinstance(one, str) != isinstance(another, str):
        raise error(
            f"{name} has {dim} labels like {one!r} and {other_name} like {another!r}. "
            "Use one type of label."
        )
    position = {label: row for row, label in enumerate(theirs.tolist())}
    ours = labels.tolist()
    only_ours = [label for label in ours if label not in position]
    only_theirs = sorted(set(position) - set(ours))
    if only_ours or only_theirs:
        differ = "were not shown the same stimuli" if dim == STIMULUS else f"differ in their {dim}s"
        raise error(
            f"{name} and {other_name} {differ}: {len(only_ours)} only in "
            f"{name} ({some(only_ours) or 'none'}), {len(only_theirs)} only in {other_name} "
            f"({some(only_theirs) or 'none'}). "
            'Keep the shared ones with xr.align(x, y, join="inner").'
        )
    if len(position) < theirs.size:
        check_unique(theirs, other_name)
    return np.array([position[label] for label in ours], dtype=np.intp)


def refuse_own_labels(values: Any, name: str) -> None:
    """Labels that are labelled by others could be meant in either order."""
    if is_pandas(values, "Series"):
        own = labels_of(values.index, name)
        given = np.asarray(values)
    elif isinstance(values, xr.DataArray) and values.ndim == 1:
        coord = values.coords.variables.get(values.dims[0])
        own, given = None if coord is None else coord.values, values.values
    else:
        return
    if own is None or np.array_equal(own, given):
        return
    at = int(np.flatnonzero(own != given)[0])
    raise StimulusError(
        f"{name} is labelled itself, and where its label is {own[at : at + 1].tolist()[0]!r} is "
        f"{given[at : at + 1].tolist()[0]!r}. Pass the bare labels: .values."
    )


def _of_group(group: Any, name: str, variable: str) -> xr.DataArray:
    """The variable that is meant in a node of a file or a Dataset."""
    found = group.get(variable)
    if isinstance(found, xr.DataArray):
        return found
    if variable == DISSIMILARITY:
        raise DimensionError(f"{name} is a group without {variable!r}. Pass one RDM.")
    if isinstance(group.get(DISSIMILARITY), xr.DataArray):
        raise rdm_for_activations(name, f"is a group with a {DISSIMILARITY!r}")
    inside = group["layers"] if isinstance(group, xr.DataTree) and "layers" in group else group
    layers = list(inside.children) if isinstance(inside, xr.DataTree) else list(inside)
    raise DimensionError(
        f"{name} is a group without activations; it holds {some(layers)}. "
        "Pass one layer, for instance tree['layers/NAME'], or use compare() for a grid."
    )


def rdm_for_activations(name: str, fact: str, unless: str = "") -> DimensionError:
    """The refusal of an RDM where activations are meant: an RDM of it would be made otherwise."""
    return DimensionError(
        f"{name} {fact}, so it is an RDM already, and activations (stimulus, unit) are meant. "
        "Compare RDMs with rt.compare_rdms(a, b), or pass the activations"
        f"{f'; {unless}' if unless else ''}."
    )


def _of_pandas(value: Any, name: str, dims: tuple[str, ...]) -> Any:
    if is_pandas(value, "Index"):
        return labels_of_values(value, name)
    rows = labels_of(value.index, name)
    coords = {} if rows is None else {dims[0]: rows}
    if value.ndim == 1:
        column = _of_series(value, coords, dims[0])
        return column if coords or column.attrs else column.values
    if len(dims) == 1:
        raise DimensionError(
            f"{name} is a table of {value.shape[1]} columns. Pass one of them, such as table['a']."
        )
    if (names := labels_of(value.columns, f"the columns of {name}")) is not None:
        coords[dims[1]] = names
    if all(isinstance(dtype, np.dtype) for dtype in value.dtypes):
        values = value.to_numpy()
    else:
        parts = [_values(value.iloc[:, i]) for i in range(value.shape[1])]
        values = np.stack(parts, axis=1)
    return xr.DataArray(values, coords, dims[:2]) if coords else values


def labels_of_values(index: Any, name: str) -> np.ndarray[Any, Any]:
    """The values of an index that is passed as values."""
    if index.nlevels > 1:
        labels_of(index, name)
    return np.asarray(index)


def _of_series(series: Any, coords: Any, dim: str = STIMULUS) -> Any:
    """A column; a categorical one says of itself what its values are."""
    attrs = {}
    if is_pandas(series.dtype, "CategoricalDtype") and len(series.dtype.categories) > 2:
        attrs = {"kind": "categorical"}
    return xr.DataArray(_values(series), coords, (dim,), series.name, attrs)


def _values(series: Any) -> np.ndarray[Any, Any]:
    """Values of a column as numpy; a missing number is NaN, anything else missing is None."""
    dtype = series.dtype
    if isinstance(dtype, np.dtype):
        return np.asarray(series)
    if dtype.kind in "iufb":
        if series.isna().any():
            return np.asarray(series.to_numpy(dtype=np.float64, na_value=np.nan))
        return np.asarray(series.to_numpy(dtype=getattr(dtype, "numpy_dtype", None)))
    missing = series.isna()
    values = np.asarray(series.astype(object).to_numpy(), dtype=object).copy()
    values[missing.to_numpy()] = None
    return values


def _refuse_inside(values: Any, name: str) -> None:
    """A list of labelled or masked arrays would lose what they say."""
    kinds = set(map(type, values))
    if all(issubclass(kind, (int, float, str, np.ndarray)) for kind in kinds) and (
        not any(issubclass(kind, np.ma.MaskedArray) for kind in kinds)
    ):
        return
    for item in values:
        if isinstance(item, (list, tuple)):
            _refuse_inside(item, name)
        elif isinstance(item, np.ma.MaskedArray):
            unmasked(item, f"an entry of {name}")
        elif getattr(item, "ndim", 1) and (
            is_pandas(item) or isinstance(item, (xr.DataArray, xr.Dataset, xr.DataTree))
        ):
            raise DimensionError(
                f"{name} is a list of {type(item).__name__}, whose labels a list does not keep. "
                "Join them first, with xarray.concat or pandas.concat."
            )
