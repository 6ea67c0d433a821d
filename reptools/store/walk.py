"""The safety walk: what a file must not contain, found before anything of it is decoded.

HDF5 follows links to other files, returns any file's bytes as "external storage", loads plugins
and allocates what a header declares. A file from someone else is therefore walked first, object
by object, by what its headers say; only names that passed are read later.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any, BinaryIO

import h5py
import numpy as np

from .. import schema
from ..errors import StoreError

MAX_DEPTH = 8
MAX_OBJECTS = 20_000
MAX_RANK = 6
MAX_CHUNK_BYTES = 64 * 2**20
MAX_LABELS = 10_000_000
MAX_TEXT_BYTES = 4096
_BITSHUFFLE = 32008
_FILTERS = {
    h5py.h5z.FILTER_DEFLATE,
    h5py.h5z.FILTER_SHUFFLE,
    h5py.h5z.FILTER_FLETCHER32,
    _BITSHUFFLE,
}
_REFERENCE = np.dtype([("length", "<u4"), ("address", "<u8"), ("index", "<u4")])


@dataclass(frozen=True)
class Item:
    """What the headers say about one dataset."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    chunks: tuple[int, ...] | None
    is_text: bool
    is_scale: bool
    is_bare: bool
    handle: h5py.h5d.DatasetID  # as long as the file is open
    dims: tuple[str, ...] = ()


@dataclass
class Contents:
    """Groups and datasets of a file that passed the walk."""

    groups: dict[str, h5py.h5g.GroupID] = field(default_factory=dict)
    items: dict[str, Item] = field(default_factory=dict)

    def dims(self) -> dict[str, tuple[str, ...]]:
        """Dimension names of every variable."""
        return {path: item.dims for path, item in self.items.items()}


def _refuse(path: str, rule: str) -> StoreError:
    return StoreError(f"/{path} {rule}. The file is not opened; ask where it comes from.")


def walk(file: h5py.File, raw: BinaryIO) -> Contents:
    """Check every object of an open file.

    Parameters
    ----------
    file
        The open file.
    raw
        Its bytes, to add up text before HDF5 allocates it.

    Raises
    ------
    StoreError
        Naming the first object that breaks a rule, and the rule.
    """
    found, addresses = Contents(), dict[int, str]()
    todo: list[tuple[h5py.h5g.GroupID, str, int]] = [(file.id, "", 0)]
    stored = text = 0
    size = file.id.get_filesize()
    while todo:
        group, folder, depth = todo.pop()
        if depth > MAX_DEPTH:
            raise _refuse(folder, f"is nested more than {MAX_DEPTH} deep")
        for name in group:
            path = _checked_link(group, name, folder)
            info = h5py.h5o.get_info(group, name)
            if info.addr in addresses:
                raise _refuse(path, f"is the same object as /{addresses[info.addr]}")
            addresses[info.addr] = path
            if len(addresses) > MAX_OBJECTS:
                raise _refuse(path, f"is one of more than {MAX_OBJECTS} objects")
            if info.type == h5py.h5o.TYPE_GROUP:
                found.groups[path] = h5py.h5o.open(group, name)
                todo.append((found.groups[path], path, depth + 1))
            elif info.type == h5py.h5o.TYPE_DATASET:
                item = _checked_dataset(h5py.h5o.open(group, name), path)
                stored += item.handle.get_storage_size()
                text += _text_bytes(item, path, raw) if item.is_text else 0
                found.items[path] = item
            else:
                raise _refuse(path, "is a named datatype")
            if max(stored, text) > size:
                raise _refuse(path, f"and others claim more than the {size} bytes of the file")
    for path, item in found.items.items():
        found.items[path] = replace(item, dims=_dims(path, item, found, addresses))
    return found


def _checked_link(group: h5py.h5g.GroupID, name: bytes, folder: str) -> str:
    path = f"{folder}/{name.decode('utf-8', 'replace')}".lstrip("/")
    if "\ufffd" in path:
        raise _refuse(path, "has a name that is not UTF-8")
    kind = group.links.get_info(name).type
    if kind != h5py.h5l.TYPE_HARD:
        word = {h5py.h5l.TYPE_SOFT: "a soft link", h5py.h5l.TYPE_EXTERNAL: "an external link"}
        raise _refuse(path, f"is {word.get(kind, 'a link of an unknown kind')}")
    return path


def _checked_dataset(dataset: h5py.h5d.DatasetID, path: str) -> Item:
    # the layout first: asking a virtual dataset for its shape may open its sources
    creation = dataset.get_create_plist()
    layout = creation.get_layout()
    if layout not in (h5py.h5d.COMPACT, h5py.h5d.CONTIGUOUS, h5py.h5d.CHUNKED):
        raise _refuse(path, "is a virtual dataset, whose data lie in other files")
    if creation.get_external_count():
        raise _refuse(path, "keeps its data in an external file")
    filters = [creation.get_filter(i)[0] for i in range(creation.get_nfilters())]
    unknown = set(filters) - _FILTERS
    if unknown:
        raise _refuse(path, f"uses filter {min(unknown)}, which is not allowed")
    kind = dataset.get_type()
    text = kind.get_class() == h5py.h5t.STRING
    if not _known(kind):
        raise _refuse(path, f"has type {_name(kind)}; numbers and text are allowed")
    space = dataset.get_space()
    if space.get_simple_extent_type() == h5py.h5s.NULL:
        raise _refuse(path, "has no data space")
    shape = space.shape
    if len(shape) > MAX_RANK:
        raise _refuse(path, f"has {len(shape)} axes, more than {MAX_RANK}")
    chunks = creation.get_chunk() if layout == h5py.h5d.CHUNKED else None
    scale = h5py.h5ds.is_scale(dataset)
    bare = scale and _scale_name(dataset).startswith(schema.BARE_DIMENSION)
    if not bare:
        _check_allocated(dataset, path, shape, chunks, layout)
    if text and filters:
        raise _refuse(path, "is text with a filter")
    if text and math.prod(shape) > MAX_LABELS:
        raise _refuse(path, f"has {math.prod(shape)} text entries, more than {MAX_LABELS}")
    return Item(shape, dataset.dtype, chunks, text, scale, bare, dataset)


def _known(kind: h5py.h5t.TypeID) -> bool:
    if kind.get_class() == h5py.h5t.STRING:
        return bool(kind.is_variable_str()) or kind.get_size() <= MAX_TEXT_BYTES
    if kind.get_class() == h5py.h5t.INTEGER:
        return kind.get_size() in (1, 2, 4, 8)
    return kind.get_class() == h5py.h5t.FLOAT and kind.get_size() in (2, 4, 8)


def _name(kind: h5py.h5t.TypeID) -> str:
    words = {
        h5py.h5t.COMPOUND: "compound",
        h5py.h5t.OPAQUE: "opaque",
        h5py.h5t.ENUM: "enum",
        h5py.h5t.VLEN: "variable-length",
        h5py.h5t.REFERENCE: "reference",
        h5py.h5t.ARRAY: "array",
        h5py.h5t.STRING: "text",
    }
    return f"{words.get(kind.get_class(), 'number')} of {kind.get_size()} bytes"


def _scale_name(dataset: h5py.h5d.DatasetID) -> str:
    return str(h5py.h5ds.get_scale_name(dataset).decode("utf-8", "replace"))


def _check_allocated(
    dataset: h5py.h5d.DatasetID,
    path: str,
    shape: tuple[int, ...],
    chunks: tuple[int, ...] | None,
    layout: int,
) -> None:
    """Refuse a dataset that declares more than is in the file."""
    size = dataset.get_type().get_size()
    if chunks is not None:
        if math.prod(chunks) * size > MAX_CHUNK_BYTES:
            raise _refuse(
                path, f"has chunks of {math.prod(chunks) * size} bytes, over {MAX_CHUNK_BYTES}"
            )
        wanted = math.prod(-(-n // c) for n, c in zip(shape, chunks, strict=True))
        have = dataset.get_num_chunks()
        if have < wanted:
            raise _refuse(path, f"declares {wanted} chunks and holds {have}")
    elif layout == h5py.h5d.CONTIGUOUS:
        wanted, have = math.prod(shape) * size, dataset.get_storage_size()
        if have < wanted:
            raise _refuse(path, f"declares {wanted} bytes and holds {have}")


def _text_bytes(item: Item, path: str, raw: BinaryIO) -> int:
    """Add up the text before it is loaded: many entries may name the same long string."""
    dataset, count = item.handle, math.prod(item.shape)
    if not dataset.get_type().is_variable_str() or not count:
        return 0
    places: list[tuple[int, int]] = []
    if item.chunks is None:
        if dataset.get_offset() is None:
            raise _refuse(path, "is text in an unknown layout")
        places.append((dataset.get_offset(), count))
    else:
        entries = math.prod(item.chunks)
        dataset.chunk_iter(lambda info: places.append((info.byte_offset, entries)))
    total = 0
    for offset, entries in places:
        raw.seek(offset)
        data = raw.read(entries * _REFERENCE.itemsize)
        lengths = np.frombuffer(data, _REFERENCE)["length"]
        total += int(lengths.sum(dtype=np.int64))
        if lengths.max() > MAX_TEXT_BYTES:
            raise _refuse(path, f"has text of {lengths.max()} bytes, over {MAX_TEXT_BYTES}")
    return total


def _dims(
    path: str,
    item: Item,
    found: Contents,
    addresses: dict[int, str],
) -> tuple[str, ...]:
    """Names of the axes, from scales that passed the walk and lie in this group or above."""
    name = path.rpartition("/")[2]
    if item.is_scale and len(item.shape) == 1:
        return (name,)
    if not item.shape:
        return ()
    dataset = item.handle
    if not h5py.h5a.exists(dataset, b"DIMENSION_LIST"):
        raise _refuse(path, "has no dimension scales, so its axes have no names")
    attribute = h5py.h5a.open(dataset, b"DIMENSION_LIST")
    if attribute.shape != (len(item.shape),) or attribute.get_type().get_class() != h5py.h5t.VLEN:
        raise _refuse(path, "has a broken list of dimension scales")
    dims = []
    for axis, size in enumerate(item.shape):
        targets = _targets(dataset, axis, path)
        scale = addresses.get(targets[0], "") if len(targets) == 1 else ""
        folder = scale.rpartition("/")[0]
        near = folder == "" or path.startswith(folder + "/")
        known = found.items.get(scale)
        if known is None or not near or known.shape != (size,) or not known.is_scale:
            raise _refuse(path, f"has no valid dimension scale on axis {axis}")
        dims.append(scale.rpartition("/")[2])
    return tuple(dims)


def _targets(dataset: h5py.h5d.DatasetID, axis: int, path: str) -> list[int]:
    """Addresses of the scales on one axis."""
    found: list[int] = []
    try:
        h5py.h5ds.iterate(dataset, axis, lambda scale: found.append(h5py.h5o.get_info(scale).addr))
    except (RuntimeError, KeyError, ValueError, OSError) as error:
        raise _refuse(path, f"has a broken dimension scale on axis {axis} ({error})") from None
    return found
