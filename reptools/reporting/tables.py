"""From results to rows of text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from reptools.errors import DimensionError, ParameterError

MISSING = "n/a"


@dataclass(frozen=True)
class Table:
    """A header, rows of text, and which columns hold numbers."""

    header: list[str]
    rows: list[list[str]]
    numeric: list[bool]


def as_table(data: Any, digits: int) -> Table:
    """Read a DataArray (one or two dimensions), a Dataset (one) or rows of mappings."""
    if isinstance(data, xr.DataArray):
        data = _array_rows(data)
    elif isinstance(data, xr.Dataset):
        data = _dataset_rows(data)
    if not isinstance(data, Sequence) or not all(isinstance(row, Mapping) for row in data):
        raise ParameterError(
            f"data must be a DataArray, a Dataset or a list of mappings, got {type(data).__name__}."
            " Pass rows such as [{'layer': 'fc1', 'score': 0.9}]."
        )
    header = list(dict.fromkeys(key for row in data for key in row))
    cells = [[row.get(key) for key in header] for row in data]
    numeric = [
        all(_is_number(row[at]) or row[at] is None for row in cells) for at in range(len(header))
    ]
    rows = [[cell_text(value, digits) for value in row] for row in cells]
    return Table([str(key) for key in header], rows, numeric)


def _array_rows(array: xr.DataArray) -> list[dict[str, Any]]:
    if array.ndim > 2:
        raise DimensionError(
            f"{array.name or 'the array'} has the dimensions {array.dims}; a table has two. "
            "Select or average the others."
        )
    if array.ndim < 2:
        return _dataset_rows(
            array.to_dataset(name=str(array.name or "value")).reset_coords(drop=True)
        )
    down, across = (str(dim) for dim in array.dims)
    rows = _labels(array, down)
    columns = [str(label) for label in _labels(array, across)]
    return [
        {down: label, **dict(zip(columns, values, strict=True))}
        for label, values in zip(rows, array.values, strict=True)
    ]


def _dataset_rows(data: xr.Dataset) -> list[dict[str, Any]]:
    dims = list(data.dims)
    if len(dims) > 1:
        raise DimensionError(
            f"the Dataset has the dimensions {tuple(map(str, dims))}; a table of variables has "
            "one. Pass one variable, or select the others."
        )
    if not dims:
        return [{"name": name, "value": value.item()} for name, value in data.data_vars.items()]
    dim = str(dims[0])
    return [
        {dim: label, **{str(name): value.values[at] for name, value in data.data_vars.items()}}
        for at, label in enumerate(_labels(data, dim))
    ]


def _labels(data: xr.DataArray | xr.Dataset, dim: str) -> list[Any]:
    found = dim in data.coords
    return list(data.coords[dim].values) if found else list(range(data.sizes[dim]))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.number)) and not isinstance(value, bool)


def cell_text(value: Any, digits: int) -> str:
    """One value as a reader wants it.

    Examples
    --------
    >>> [cell_text(v, 3) for v in (0.12345, -0.0001, 1234567.8, 12, True, float("nan"), "fc1")]
    ['0.123', '0.000', '1,234,568', '12', 'yes', 'n/a', 'fc1']
    """
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        text = f"{value:,.0f}" if 1000 <= abs(value) < np.inf else f"{value:.{digits}f}"
        return text.lstrip("-") if not text.strip("-0.,") else text.replace("-", "\u2212")
    return str(value)


def joined(words: Sequence[str]) -> str:
    """Words as a sentence has them.

    Examples
    --------
    >>> joined(["token"]), joined(["token", "subject", "time"])
    ('token', 'token, subject and time')
    """
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
