"""What a file says about itself: its attributes, and the commit record."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import h5py
import numpy as np

from .. import schema
from ..errors import StoreError
from .record import lacking, visible
from .walk import MAX_LABELS, Contents

_HDF5_OWN = (b"CLASS", b"NAME", b"DIMENSION_LIST", b"REFERENCE_LIST")


@dataclass(frozen=True)
class State:
    """The commit record of a file: read before the data, so that it never promises too much."""

    extents: dict[str, int]
    blank: tuple[int, int] | None  # step and first stimulus without values
    missing: str | None
    complete: bool
    digests: dict[str, str]


def attributes(handle: h5py.h5g.GroupID | h5py.h5d.DatasetID) -> dict[str, Any]:
    """Attributes that are one number or one text; HDF5's own lists are left out."""
    found: dict[str, Any] = {}
    names = [h5py.h5a.open(handle, index=i).name for i in range(h5py.h5a.get_num_attrs(handle))]
    wanted = [name.decode("utf-8", "replace") for name in names if name not in _HDF5_OWN]
    if not wanted:
        return found
    reader = h5py.AttributeManager(SimpleNamespace(id=handle))
    for name in wanted:
        attribute = h5py.h5a.open(handle, name.encode())
        kind = attribute.get_type().get_class()
        plain = kind in (h5py.h5t.INTEGER, h5py.h5t.FLOAT, h5py.h5t.STRING)
        if not plain or name.startswith("_Netcdf4") or attribute.shape not in ((), (1,)):
            continue
        value = reader[name]
        value = value[0] if isinstance(value, np.ndarray) else value
        value = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
        found[name] = value.item() if isinstance(value, np.generic) else value
    return found


def read_state(file: h5py.File, contents: Contents, attrs: Mapping[str, Any]) -> State:
    """Read the commit record; a foreign file without one counts as complete."""
    record = contents.items.get(schema.COMMITTED)
    if record is None or len(record.shape) != 1 or record.dtype.kind not in "iu":
        return State({}, None, None, True, {})
    if record.shape[0] > MAX_LABELS:
        raise StoreError(f"the commit record has {record.shape[0]} entries. Check the file.")
    committed = [int(n) for n in file[schema.COMMITTED][:].tolist()]
    stepped = record.dims == (schema.STEP,)
    planned = int(attrs.get(schema.PLANNED_STIMULI, 0))
    extents = visible(committed, stepped=stepped, planned_stimuli=planned)
    capacity = {
        dim: n for i in contents.items.values() for dim, n in zip(i.dims, i.shape, strict=True)
    }
    for dim, n in extents.items():
        if not 0 <= n <= capacity.get(dim, 0):
            raise StoreError(
                f"the commit record counts {n} along {dim!r}, the file has "
                f"{capacity.get(dim, 0)}. Check the file."
            )
    begun = extents.get(schema.STEP, 0)
    blank = None
    if begun and committed[begun - 1] < extents[schema.STIMULUS]:
        blank = (begun - 1, committed[begun - 1])
    complete = schema.COMPLETE in contents.items and bool(file[schema.COMPLETE][0])
    missing = None
    if not complete:
        steps = int(attrs.get(schema.PLANNED_STEPS, 0))
        missing = lacking(committed, steps=steps, stimuli=planned, stepped=stepped)
        count = f"{begun} steps" if stepped else f"{extents[schema.STIMULUS]} stimuli"
        missing = missing or f"incomplete: {count}, and its writer did not finish"
    return State(extents, blank, missing, complete, _digests(file, contents, committed, begun))


def _digests(
    file: h5py.File, contents: Contents, committed: list[int], begun: int
) -> dict[str, str]:
    """Content id of every stored variable, from its checksums: the data are not read."""
    if not {schema.CRC, schema.BATCH_STOP, schema.STORED} <= set(contents.items):
        return {}
    steps = begun or 1
    stops = file[schema.BATCH_STOP][:steps]
    sums = file[schema.CRC][:steps]
    # slots after the committed ones hold what a killed batch left, or nothing at all
    slots = np.arange(stops.shape[1])
    last = [np.flatnonzero(row == n)[:1] for row, n in zip(stops, committed[:steps], strict=True)]
    used = np.array([slots <= (at[0] if len(at) else -1) for at in last])
    head = np.array(committed[:steps], "<i8").tobytes() + np.where(used, stops, 0).tobytes()
    sums = np.where(used[..., None], sums, 0)
    names = read_text(file[schema.STORED])
    return {
        name: hashlib.blake2b(
            head + np.ascontiguousarray(sums[..., column]).tobytes(), digest_size=16
        ).hexdigest()
        for column, name in enumerate(names)
    }


def read_text(dataset: h5py.Dataset, rows: int | None = None) -> list[str]:
    """Text of one axis, of any of HDF5's kinds."""
    return [
        x.decode("utf-8", "replace") if isinstance(x, bytes) else str(x)
        for x in dataset[:rows].tolist()
    ]
