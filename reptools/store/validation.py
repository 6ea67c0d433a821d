"""Saying by name where a file departs from schema 1."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from .. import schema
from ..errors import StoreError, naming, some
from .checksums import failures
from .files import Paths
from .opening import checked, choose, open_hdf5, reading, steadily
from .state import State, attributes, read_state
from .walk import Contents, Item

__all__ = ["validate"]

_BLOCK = 64 * 2**20  # bytes read at once when every value is looked at


def validate(path: str | os.PathLike[str], deep: bool = False) -> list[str]:
    """List every deviation of a file from schema 1; an empty list means that it is fine.

    Parameters
    ----------
    path : str or path
        ``run.h5``, or its leftover.
    deep : bool, default False
        Read all numbers too: hold every batch against its checksum, and count values that are
        not finite.

    Returns
    -------
    list of str
        One entry each, ``"/where: what"``. A file that cannot be read, or is not safe to read,
        has one entry that says why.

    Raises
    ------
    StoreError
        Only if there is no such file.

    Examples
    --------
    >>> import numpy as np
    >>> import reptools as rt
    >>> with rt.Writer("run.h5", system="v1", stimulus=["a", "b"]) as w:
    ...     w.append({"fc": np.eye(2)})
    2
    >>> rt.validate("run.h5", deep=True)
    []
    """
    with naming("validate"):
        choose(path)
    try:
        return steadily(path, lambda place: _deviations(place, deep))
    except StoreError as error:
        return [str(error)]


def _deviations(place: Path, deep: bool) -> list[str]:
    with reading(place), open_hdf5(str(place)) as file:
        contents = checked(place, file)
        attrs = attributes(file.id)
        state = read_state(file, contents, attrs)
        found = [*_names(place, attrs), *_record(place, contents, state, attrs.get(schema.KIND))]
        found += [*_stimuli(file, contents, state), *_variables(file, contents)]
        return found + (list(_numbers(file, contents, state)) if deep else [])


def _names(place: Path, attrs: Mapping[str, Any]) -> Iterator[str]:
    words = (schema.SCHEMA, schema.KIND, schema.SYSTEM, schema.SOURCE, schema.CREATED)
    for word in (*words, schema.PROVENANCE):
        if word not in attrs:
            yield f"/: the attribute {word!r} is missing"
    if attrs.get(schema.SCHEMA, schema.VERSION) != schema.VERSION:
        yield f"/: schema is {attrs[schema.SCHEMA]!r}, not {schema.VERSION}"
    if attrs.get(schema.KIND, schema.KINDS[0]) not in schema.KINDS:
        yield f"/: kind is {attrs[schema.KIND]!r}, not one of {', '.join(schema.KINDS)}"
    paths = Paths.of(place)
    if place == paths.partial:
        yield f"/: {place.name} was not closed by its writer; repair() makes a whole file of it"
        if paths.undo.exists():
            yield f"/: {paths.undo.name} tells of a change of size that was not finished"


def _record(place: Path, contents: Contents, state: State, kind: Any) -> Iterator[str]:
    words = (schema.COMMITTED, schema.BATCH_STOP, schema.CRC, schema.STORED, schema.COMPLETE)
    if kind == schema.RDMS and not set(words) & set(contents.items):
        return  # a matrix is written at once and needs no record of batches
    for word in words:
        if word not in contents.items:
            yield f"/{word}: missing, a part of the commit record"
    if state.missing is not None:
        yield f"/{schema.COMPLETE}: {state.missing}"
    if place == Paths.of(place).final:
        for dim, n in state.extents.items():
            size = contents.items[dim].shape[0] if dim in contents.items else n
            if size != n:
                yield f"/{schema.COMMITTED}: counts {n} along {dim!r}, the file has {size}"


def _stimuli(file: h5py.File, contents: Contents, state: State) -> Iterator[str]:
    item = contents.items.get(schema.STIMULUS)
    if item is None:
        yield f"/{schema.STIMULUS}: missing"
        return
    if item.dims != (schema.STIMULUS,) or (not item.is_text and item.dtype.kind not in "iu"):
        yield f"/{schema.STIMULUS}: is {item.dtype} over {item.dims}, not text or int over stimulus"
        return
    rows = state.extents.get(schema.STIMULUS, item.shape[0])
    twice = [x for x, n in Counter(file[schema.STIMULUS][:rows].tolist()).items() if n > 1]
    if twice:
        yield f"/{schema.STIMULUS}: labels are repeated: {some(twice)}"
    if schema.STEP in contents.items:
        rows = state.extents.get(schema.STEP, contents.items[schema.STEP].shape[0])
        if (np.diff(file[schema.STEP][:rows]) <= 0).any():
            yield f"/{schema.STEP}: does not increase"


def _variables(file: h5py.File, contents: Contents) -> Iterator[str]:
    tops = [group for group in contents.groups if "/" not in group]
    for group in sorted(set(tops) - set(schema.GROUPS)):
        yield f"/{group}: is not a group of the schema"
    if not any(path.endswith((schema.ACTIVATION, schema.DISSIMILARITY)) for path in contents.items):
        yield f"/{schema.LAYERS}: holds no layer"
    for group in contents.groups:
        folder, _, name = group.rpartition("/")
        if folder == schema.LAYERS:
            if f"{group}/{schema.ACTIVATION}" not in contents.items:
                yield f"/{group}: has no {schema.ACTIVATION!r}"
            if schema.LAYER not in file[group].attrs:
                yield f"/{group}: the attribute {schema.LAYER!r} is missing"
    for path, item in contents.items.items():
        folder, _, name = path.rpartition("/")
        if name == schema.ACTIVATION:
            yield from _activation(path, item)
        elif folder == schema.FEATURES and not item.is_scale:
            yield from _feature(path, item, attributes(item.handle))


def _activation(path: str, item: Item) -> Iterator[str]:
    outer = item.dims[:-2]
    if item.dims[-2:] != (schema.STIMULUS, schema.UNIT) or set(outer) - set(schema.OUTER_DIMS):
        yield f"/{path}: has dims {item.dims}, not ([step, token,] stimulus, unit)"
    if item.dtype.kind != "f":
        yield f"/{path}: is of type {item.dtype}, not a floating-point number"


def _feature(path: str, item: Item, attrs: Mapping[str, Any]) -> Iterator[str]:
    if item.dims[:1] != (schema.STIMULUS,):
        yield f"/{path}: has dims {item.dims}, not (stimulus[, component])"
    kind = attrs.get(schema.FEATURE_KIND)
    if kind not in schema.FEATURE_KINDS:
        yield f"/{path}: kind is {kind!r}, not one of {', '.join(schema.FEATURE_KINDS)}"


def _numbers(file: h5py.File, contents: Contents, state: State) -> Iterator[str]:
    if schema.COMMITTED in contents.items:
        committed = file[schema.COMMITTED][:].tolist()
        for path, batch in failures(file, contents, committed, last_only=False):
            yield (
                f"/{path}: checksum differs at step {batch.step_index}, stimuli "
                f"{batch.start} to {batch.stop}"
            )
    for path, item in contents.items.items():
        ragged = f"{path.rpartition('/')[0]}/{schema.VALID}" in contents.items
        if path.endswith(f"/{schema.ACTIVATION}") and item.dtype.kind == "f" and not ragged:
            odd = _not_finite(file[path], item, state)
            if odd:
                yield f"/{path}: {odd} values are not finite"


def _not_finite(dataset: h5py.Dataset, item: Item, state: State) -> int:
    """Count NaN and infinities in the part that was written."""
    axis = item.dims.index(schema.STIMULUS)
    shape = tuple(state.extents.get(d, n) for d, n in zip(item.dims, item.shape, strict=True))
    row = max(1, int(np.prod(shape[axis + 1 :])) * item.dtype.itemsize)
    rows = max(1, _BLOCK // row)
    count = 0
    for lead in np.ndindex(shape[:axis]):
        stop = shape[axis]
        if state.blank and item.dims[0] == schema.STEP and lead[0] == state.blank[0]:
            stop = state.blank[1]
        for start in range(0, stop, rows):
            block = dataset[(*lead, slice(start, min(start + rows, stop)))]
            count += int(block.size - np.isfinite(block).sum())
    return count
