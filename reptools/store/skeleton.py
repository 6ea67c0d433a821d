"""Making the complete netCDF-4 file before the first number is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py

from .. import schema
from .plan import Plan, Static, Variable
from .raw import Raw

# The oldest format: a newer one marks a file as "open for writing", and refuses it after a kill.
# Addresses are multiples of 8, so that an 8-byte record never lies on two pages.
FORMAT: dict[str, Any] = {
    "libver": ("earliest", "v110"),
    "alignment_threshold": 1,
    "alignment_interval": 8,
    "rdcc_nbytes": 0,
}


def open_for_edit(path: Path, mode: str = "r+") -> h5py.File:
    """Open a file of ours for a change of its structure; our own lock guards it."""
    return h5py.File(path, mode, locking=False, **FORMAT)


def create(path: Path, plan: Plan) -> dict[str, Raw]:
    """Write the skeleton and return where the raw variables lie."""
    with open_for_edit(path, "w") as file:
        for key, value in plan.attrs.items():
            file.attrs[key] = value
        for name, group_attrs in plan.group_attrs.items():
            group = _group(file, name)
            for key, value in group_attrs.items():
                group.attrs[key] = value
        for name, size in plan.bare.items():
            _bare(file, name, size, grows=name in plan.growing)
        for name, static in plan.static.items():
            _static(file, name, static, plan.growing)
        for name, variable in plan.variables.items():
            add_raw(file, name, variable, plan.growing)
        for name, dims in plan.dims().items():
            _attach(file, name, dims)
        return locate(file, {name: v.dims for name, v in plan.variables.items()})


def locate(file: h5py.File, dims: dict[str, tuple[str, ...]]) -> dict[str, Raw]:
    """Find the addresses of raw variables; the commit record must lie in 8-byte slots."""
    raws = {path: Raw.of(file[path], names) for path, names in dims.items()}
    if raws[schema.COMMITTED].offsets.size and (raws[schema.COMMITTED].offsets % 8).any():
        raise OSError("the commit record is not aligned to 8 bytes")
    return raws


def _group(file: h5py.File, path: str) -> h5py.Group:
    group = file
    for part in path.split("/"):
        group = group[part] if part in group else group.create_group(part, track_order=True)
    return group


def _parent(file: h5py.File, path: str) -> h5py.Group:
    folder = path.rpartition("/")[0]
    return _group(file, folder) if folder else file


def _bare(file: h5py.File, path: str, size: int, *, grows: bool) -> None:
    """Make a dimension without a coordinate, as netCDF-C makes it; it never holds values."""
    dataset = _parent(file, path).create_dataset(
        path.rpartition("/")[2],
        shape=(size,),
        maxshape=(None,) if grows else None,
        chunks=(max(size, 1),) if grows else None,
        dtype=">f4",
    )
    dataset.make_scale(f"{schema.BARE_DIMENSION}{size:10d}")


def _static(file: h5py.File, path: str, static: Static, growing: frozenset[str]) -> None:
    values, name = static.values, path.rpartition("/")[2]
    dtype = h5py.string_dtype() if values.dtype.kind in "OU" else values.dtype
    # chunked where a leftover may have to be trimmed: a contiguous dataset cannot shrink
    trimmed = {schema.STIMULUS, schema.STEP} & set(static.dims)
    dataset = _parent(file, path).create_dataset(
        name,
        data=values.astype(object) if values.dtype.kind == "U" else values,
        dtype=dtype,
        chunks=tuple(max(1, min(n, 2**16)) for n in values.shape) if trimmed else None,
        maxshape=tuple(
            None if d in growing else n for d, n in zip(static.dims, values.shape, strict=True)
        )
        if trimmed
        else None,
    )
    _finish(dataset, name, static.dims, static.attrs)


def add_raw(file: h5py.File, path: str, variable: Variable, growing: frozenset[str]) -> None:
    """Allocate a variable that is written raw."""
    creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    creation.set_chunk(variable.chunk)
    creation.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    # data stay a hole until they are written; a commit record must start from zero
    never = path != schema.COMMITTED
    creation.set_fill_time(h5py.h5d.FILL_TIME_NEVER if never else h5py.h5d.FILL_TIME_ALLOC)
    most = tuple(
        h5py.h5s.UNLIMITED if d in growing else n
        for d, n in zip(variable.dims, variable.shape, strict=True)
    )
    space = h5py.h5s.create_simple(variable.shape, most)
    dtype = variable.dtype
    if dtype.kind == "S":
        dtype = h5py.string_dtype("utf-8", dtype.itemsize)
    kind = h5py.h5t.py_create(dtype, logical=True)
    name = path.rpartition("/")[2]
    parent = _parent(file, path)
    identity = h5py.h5d.create(parent.id, name.encode(), kind, space, creation)
    _finish(h5py.Dataset(identity), name, variable.dims, variable.attrs)


def _finish(dataset: h5py.Dataset, name: str, dims: tuple[str, ...], attrs: dict[str, Any]) -> None:
    for key, value in attrs.items():
        dataset.attrs[key] = value
    if dims == (name,):
        dataset.make_scale(name)


def _attach(file: h5py.File, path: str, dims: tuple[str, ...]) -> None:
    folder, _, name = path.rpartition("/")
    if dims == (name,):
        return
    dataset = file[path]
    for axis, dim in enumerate(dims):
        near = f"{folder}/{dim}"
        dataset.dims[axis].attach_scale(file[near] if folder and near in file else file[dim])
