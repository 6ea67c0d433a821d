"""Results on the screen, as JSON, and in files that other tools read."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from reptools import schema
from reptools.engine.operation import Result
from reptools.engine.table import recorded, table
from reptools.errors import MissingExtraError, ParameterError, StoreError
from reptools.provenance import now, to_json

HDF5, CSV, PARQUET, PAGE = (".h5", ".nc"), ".csv", ".parquet", (".html", ".htm")
OTHER = f"{schema.STIMULUS}_"
UNITS = "n_units"  # 0 where a system has no such layer: nothing is printed of it
# dimensions that make the columns of a table, where one has room
ACROSS = ("y", "output", "feature", "model", OTHER)
ROWS = 200  # a table of more rows shows its first ones; --long all
Row = Sequence[Any]


# --- result files -------------------------------------------------------------------------------


def check_out(
    out: str | None,
    inputs: Iterable[str],
    *,
    overwrite: bool,
    suffixes: Sequence[str] = (*HDF5, CSV, PARQUET),
) -> None:
    """Refuse an output file before anything is computed.

    Raises
    ------
    ParameterError
        Its suffix is unknown, or it is one of the inputs.
    StoreError
        It exists already, or its folder does not.
    """
    if out is None:
        return
    path = Path(out)
    if path.suffix not in suffixes:
        raise ParameterError(f"--out must end in {' or '.join(suffixes)}, got {out!r}. Rename it.")
    if not path.parent.is_dir():
        raise StoreError(f"folder {path.parent} does not exist. Create it first.")
    if path.exists():
        if any(os.path.exists(name) and os.path.samefile(name, path) for name in inputs):
            raise ParameterError(f"--out {out} is an input. Choose another name.")
        if not overwrite:
            raise StoreError(f"{out} exists already. Choose another name, or pass --overwrite.")


def write(result: Result, out: str) -> None:
    """Write a result beside its final name, then rename, so that a file is always whole."""
    path = Path(out)
    aside = path.with_name(f"{path.name}.new")
    try:
        if path.suffix == CSV:
            table(result).to_csv(aside, index=False)
        elif path.suffix == PARQUET:
            _write_parquet(result, aside)
        else:
            _as_file(result).to_netcdf(aside, engine="h5netcdf")
        os.replace(aside, path)
    except OSError as error:
        aside.unlink(missing_ok=True)
        raise StoreError(f"{out} cannot be written: {error.strerror or error}.") from None


def _write_parquet(result: Result, path: Path) -> None:
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        raise MissingExtraError("pyarrow", "table", "a Parquet file") from None
    table(result).to_parquet(path, index=False)


def _as_file(result: Result) -> Result | xr.DataTree:
    """What a netCDF file holds: dissimilarity matrices as the schema has them, all else as it is.

    So what one command wrote is an address of the next: ``rdms.h5::rdms/fc1``.
    """
    if isinstance(result, xr.Dataset) or not {schema.STIMULUS, OTHER} <= set(result.dims):
        return result
    attrs = result.attrs
    if "system" in result.dims:
        result = result.stack(site=("system", "layer"), create_index=False)
        names = zip(result["system"].values, result["layer"].values, strict=True)
        labels = [f"{system}.{layer}" for system, layer in names]
        result = result.drop_vars(["system", "layer"]).rename(site="layer")
        result = result.assign_coords(layer=labels).transpose("layer", ...)
        result = (
            result.isel(layer=(result["n_units"] > 0).values)
            if "n_units" in result.coords
            else result
        )
    systems = {entry.get(schema.SYSTEM, "") for entry in json.loads(attrs["inputs"])}
    groups = {
        f"/{schema.RDMS}/{layer.item()}": xr.Dataset(
            {schema.DISSIMILARITY: matrix.reset_coords(drop=True).assign_attrs(attrs)}
        )
        for layer, matrix in zip(result["layer"], result, strict=True)
    }
    root = {
        schema.SCHEMA: schema.VERSION,
        schema.KIND: schema.RDMS,
        schema.SYSTEM: systems.pop() if len(systems) == 1 else "",
        schema.SOURCE: f"reptools compute {attrs['metric']}",
        schema.CREATED: now(),
        schema.PROVENANCE: to_json({key: _decoded(value) for key, value in attrs.items()}),
    }
    stimuli = {schema.STIMULUS: result[schema.STIMULUS]} if schema.STIMULUS in result.coords else {}
    whole = xr.Dataset(coords=stimuli, attrs=root).reset_coords(drop=True)
    return xr.DataTree.from_dict({"/": whole, **groups})


# --- JSON ---------------------------------------------------------------------------------------


def as_json(result: Result) -> dict[str, Any]:
    """A result as plain data: name, dims, values (or variables), coords and attrs."""
    coords = {
        str(name): {"dims": list(coord.dims), "values": coord.values.tolist()}
        for name, coord in result.coords.items()
    }
    attrs = {str(key): _decoded(value) for key, value in result.attrs.items()}
    if isinstance(result, xr.Dataset):
        variables = {
            str(name): {"dims": list(one.dims), "values": one.values.tolist()}
            for name, one in result.data_vars.items()
        }
        return {"name": attrs["metric"], "variables": variables, "coords": coords, "attrs": attrs}
    values = result.values.tolist()
    dims = list(result.dims)
    return {"name": result.name, "dims": dims, "values": values, "coords": coords, "attrs": attrs}


def _decoded(value: Any) -> Any:
    """Attributes that hold JSON (options, inputs, versions) as data, not as text in text."""
    if isinstance(value, str) and value[:1] in ("{", "["):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value.item() if isinstance(value, np.generic) else value


def print_json(value: Any) -> None:
    """JSON on stdout; numbers that JSON does not know (NaN, infinity) become null."""
    print(json.dumps(_strict(value), indent=2, allow_nan=False))


def _strict(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _strict(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_strict(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


# --- tables -------------------------------------------------------------------------------------


def long_table(result: xr.DataArray) -> tuple[list[str], list[Row]]:
    """One row a value: dimensions, then the value, then every other coordinate."""
    dims = [str(dim) for dim in result.dims]
    others = [str(name) for name in result.coords if name not in dims]
    columns = [_column(result, dim) for dim in dims]
    columns += [result.values.ravel().tolist(), *(_column(result, name) for name in others)]
    every = zip(zip(*columns, strict=True), recorded(result), strict=True)
    rows: list[Row] = [row for row, known in every if known]
    return [*dims, str(result.name), *others], rows


def _column(result: xr.DataArray, name: str) -> list[Any]:
    """A coordinate at every value of the result; positions where a dimension has none."""
    if name in result.coords:
        coord = result.coords[name]
    else:
        coord = xr.DataArray(np.arange(result.sizes[name]), dims=name)
    return list(coord.broadcast_like(result).transpose(*result.dims).values.ravel().tolist())


def wide_table(result: xr.DataArray) -> tuple[list[str], list[Row]] | None:
    """A grid with y or the features side by side; None where there is nothing to put beside."""
    across = next((dim for dim in ACROSS if result.sizes.get(dim, 0) > 1), None)
    if across is None:
        return None
    down = [str(dim) for dim in result.dims if dim != across]
    corner = [*down[:-1], f"{down[-1]} \\ {across}"] if across == "y" and down else down
    table = result.transpose(*down, across)
    template = table.isel({across: 0}, drop=True)
    values = table.values.reshape(-1, table.sizes[across]).tolist()
    keys = list(zip(*(_column(template, dim) for dim in down), strict=True)) if down else [()]
    recorded = _column(template, UNITS) if UNITS in template.coords else [1] * len(keys)
    every = zip(keys, values, recorded, strict=True)
    rows: list[Row] = [[*key, *row] for key, row, n in every if n]
    return [*corner, *map(str, result[across].values.tolist())], rows


def show(result: Result, *, long: bool = False) -> None:
    """Print a result as a table: a grid where one fits the screen, one row a value otherwise.

    Long tables show their first rows, unless ``long`` asks for all. Of several outputs each has
    its own.
    """
    if isinstance(result, xr.Dataset):
        for name, one in result.data_vars.items():
            print(f"\n{name}")
            show(one.rename(name).assign_attrs(result.attrs), long=long)
        return
    wide = None if long else wide_table(result)
    if wide is not None and fits(*wide):
        _print_head(*wide, all_rows=False)
        if hidden := _beside(result):
            print(f"{result.name} alone; --long also shows {', '.join(hidden)}")
        return
    header, rows = long_table(result)
    same = []
    if not fits(header, rows):  # what all rows share needs no column
        beside = range(result.ndim + 1, len(header))
        same = [i for i in beside if len({row[i] for row in rows}) == 1]
    kept = [i for i in range(len(header)) if i not in same]
    _print_head([header[i] for i in kept], [[row[i] for i in kept] for row in rows], all_rows=long)
    if same:
        print(f"in every row: {', '.join(f'{header[i]} {rows[0][i]}' for i in same)}")


def _print_head(header: Sequence[str], rows: Sequence[Row], *, all_rows: bool) -> None:
    shown = rows if all_rows else rows[:ROWS]
    print_table(header, shown)
    if len(shown) < len(rows):
        print(f"the first {ROWS} of {len(rows)} rows; --long, --json or --out gives all")


def _beside(result: xr.DataArray) -> list[str]:
    """Numbers that came with every score: over the dimensions of the result, or its leading ones.

    Those over the first dimension alone are facts of a layer, such as its number of units.
    """
    return [
        str(name)
        for name, coord in result.coords.items()
        if name not in result.dims
        and coord.dims == result.dims[: coord.ndim]
        and (coord.ndim > 1 or coord.dims == result.dims)
    ]


def texts(column: Sequence[Any]) -> list[str]:
    """A column as text: four decimals, or powers of ten where these would show nothing."""
    sizes = [abs(v) for v in column if isinstance(v, float) and math.isfinite(v)]
    form = ".4f" if not any(sizes) or 1e-3 <= max(sizes) < 1e6 else ".3e"
    return ["-" if v is None else f"{v:{form}}" if isinstance(v, float) else str(v) for v in column]


def _console(width: int | None = None) -> Any:
    from rich.console import Console

    if width is None and not sys.stdout.isatty():
        width = 10_000  # a pipe has no width: lines are as long as they need to be
    return Console(width=width, markup=False, highlight=False, emoji=False)


def _table(header: Sequence[str], rows: Sequence[Row]) -> Any:
    """A table of which only the last column folds, at its words: names and numbers stay whole."""
    from rich import box
    from rich.table import Table

    table = Table(
        box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False, show_header=any(header)
    )
    columns = [[row[i] for row in rows] for i in range(len(header))]
    for i, (name, column) in enumerate(zip(header, columns, strict=True)):
        numeric = bool(column) and all(isinstance(value, (int, float)) for value in column)
        last = i == len(header) - 1
        table.add_column(name, justify="right" if numeric else "left", no_wrap=not last)
    for cells in zip(*map(texts, columns), strict=True):
        table.add_row(*cells)
    return table


def _measured(header: Sequence[str], rows: Sequence[Row]) -> Any:
    """Smallest and natural width of a table."""
    console = _console()
    unlimited = console.options.update(max_width=10**6)
    return console.measure(_table(header, rows), options=unlimited)


def fits(header: Sequence[str], rows: Sequence[Row]) -> bool:
    """Whether the table has room on the screen without folding a cell."""
    return bool(_measured(header, rows).maximum <= _console().width)


def print_table(header: Sequence[str], rows: Sequence[Row]) -> None:
    """Print a table, without its header where that is empty; wider than the screen, never cut."""
    width = max(_console().width, _measured(header, rows).minimum)
    _console(width).print(_table(header, rows))


def print_text(lines: Iterable[str], *, indent: int) -> None:
    """Print lines folded at the width of the screen, set in from its left."""
    from textwrap import fill

    for line in lines:
        pad = " " * indent
        width = _console().width
        print(fill(line, width, initial_indent=pad, subsequent_indent=pad or " " * 4))
