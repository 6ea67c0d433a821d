"""From a checked file to the nodes of a lazy ``xarray.DataTree``."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import xarray as xr
from xarray.backends import CachingFileManager
from xarray.core import indexing
from xarray.indexes import PandasIndex

from .. import schema
from ..errors import StoreError
from .lazy import Blank, StoredArray
from .raw import Array
from .state import State, attributes
from .walk import MAX_LABELS, Contents, Item


class TreeBuilder:
    """Puts groups together; coordinates are loaded once and shared by every node."""

    def __init__(
        self,
        place: Path,
        files: CachingFileManager[h5py.File],
        contents: Contents,
        attrs: dict[str, Any],
        state: State,
    ) -> None:
        self._place, self._files = place, files
        self._contents, self._attrs, self._state = contents, attrs, state
        self._shared: dict[str, xr.Variable] = {}
        self._indexes: dict[str, PandasIndex] = {}
        self._groups: dict[str, dict[str, Item]] = {}
        for path, item in contents.items.items():
            group, _, name = path.rpartition("/")
            self._groups.setdefault(group, {})[name] = item

    def tree(self) -> xr.DataTree:
        """Build the whole tree."""
        for name, item in self._in_group("").items():
            if name not in schema.RECORD_NAMES and not item.is_bare and len(item.dims) == 1:
                self._shared[name] = self._load(name, item)
        for name, values in list(self._shared.items()):
            if values.dims == (name,):
                self._indexes[name], self._shared[name] = _indexed(name, values)
        attrs = {k: v for k, v in self._attrs.items() if k != schema.COORDINATES}
        attrs |= {schema.COMPLETE: int(self._state.complete), schema.PATH: str(self._place)}
        nodes = {"/": self._dataset("", attrs)}
        for group in self._contents.groups:
            own = attributes(self._contents.groups[group])
            own.pop(schema.COORDINATES, None)
            nodes[f"/{group}"] = self._dataset(group, own)
        return xr.DataTree.from_dict(nodes)

    def _in_group(self, group: str) -> dict[str, Item]:
        return self._groups.get(group, {})

    def _dataset(self, group: str, attrs: dict[str, Any]) -> xr.Dataset:
        """Build one node, with the coordinates of the root along its dimensions."""
        data: dict[str, xr.Variable] = {}
        coords: dict[str, xr.Variable] = {}
        for name, item in self._in_group(group).items():
            if item.is_bare or (not group and name in (*schema.RECORD_NAMES, *self._shared)):
                continue
            path = f"{group}/{name}".lstrip("/")
            if self._is_coordinate(group, name, item):
                coords[name] = self._load(path, item)
            else:
                data[name] = self._variable(path, item, attrs)
        used = {dim for values in data.values() for dim in values.dims}
        for name, values in self._shared.items():
            # a node inherits what has an index from the root; the rest it must carry itself
            inherited = bool(group) and name in self._indexes
            if not inherited and name not in data and (not group or values.dims[0] in used):
                coords.setdefault(name, values)
        indexes = dict(self._indexes) if not group else {}
        for name in [name for name, values in coords.items() if values.dims == (name,)]:
            if name not in indexes:
                indexes[name], coords[name] = _indexed(name, coords[name])
        if indexes:
            return xr.Dataset(data, xr.Coordinates(coords, indexes=indexes), attrs)
        return xr.Dataset(data, coords, attrs)

    def _is_coordinate(self, group: str, name: str, item: Item) -> bool:
        if len(item.dims) != 1:
            return False
        in_layer = group.startswith(schema.LAYERS + "/") and name != schema.ACTIVATION
        return item.is_scale or in_layer

    def _shape(self, item: Item) -> tuple[int, ...]:
        """Shape as far as the commit record goes."""
        extents = self._state.extents
        return tuple(min(n, extents.get(d, n)) for d, n in zip(item.dims, item.shape, strict=True))

    def _load(self, path: str, item: Item) -> xr.Variable:
        """Read a small variable now: text as str, marked integers as booleans."""
        dataset, shape = h5py.Dataset(item.handle), self._shape(item)
        if math.prod(shape) > MAX_LABELS:
            raise StoreError(f"coordinate {path!r} has {shape} entries, over {MAX_LABELS}.")
        attrs = attributes(item.handle)
        values: Array = dataset[tuple(slice(0, n) for n in shape)]
        if item.is_text:
            texts = [
                x.decode("utf-8", "replace") if isinstance(x, bytes) else str(x)
                for x in values.ravel().tolist()
            ]
            # one long text among many would make every entry as wide
            even = max(map(len, texts), default=0) * len(texts) <= 4 * sum(map(len, texts)) + 2**16
            values = np.array(texts, dtype=str if even else object).reshape(shape)
        elif attrs.pop(schema.DTYPE, None) == schema.BOOL:
            values = values.astype(bool)
        return xr.Variable(item.dims, values, attrs)

    def _variable(self, path: str, item: Item, group_attrs: dict[str, Any]) -> xr.Variable:
        if item.is_text or not item.shape:
            return self._load(path, item)
        attrs = attributes(item.handle)
        dtype = np.dtype(bool) if attrs.pop(schema.DTYPE, None) == schema.BOOL else item.dtype
        if path.endswith("/" + schema.ACTIVATION):
            attrs |= {
                schema.LAYER: group_attrs.get(schema.LAYER, path.split("/")[-2]),
                schema.SYSTEM: self._attrs.get(schema.SYSTEM, ""),
                schema.SOURCE_PATH: str(self._place),
                schema.FINGERPRINT: self._state.digests.get(path) or self._stamp(path),
            }
        blank = None
        if self._state.blank and {schema.STEP, schema.STIMULUS} <= set(item.dims):
            axes = (item.dims.index(schema.STEP), item.dims.index(schema.STIMULUS))
            blank = Blank(*axes, *self._state.blank)
        array = StoredArray(self._files, path, self._shape(item), dtype, item.chunks, blank)
        values = xr.Variable(item.dims, indexing.LazilyIndexedArray(array), attrs)
        if item.chunks is not None:
            values.encoding["preferred_chunks"] = dict(zip(item.dims, item.chunks, strict=True))
        return values

    def _stamp(self, path: str) -> str:
        """Stand in for the checksums of a file that has none: its size and time."""
        seen = self._place.stat()
        text = f"{self._place}:{path}:{seen.st_size}:{seen.st_mtime_ns}"
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _indexed(name: str, values: xr.Variable) -> tuple[PandasIndex, xr.Variable]:
    """Make the index of a coordinate, and the variable that shares its memory."""
    index = PandasIndex.from_variables({name: values}, options={})
    return index, index.create_variables({name: values})[name]
