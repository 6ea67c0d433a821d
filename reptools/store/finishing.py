"""From a partial file to ``run.h5``: cut to what was written, text labels, the last rename."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import BinaryIO

import h5py
import numpy as np

from .. import schema
from .files import Paths, require_room, sync_directory, sync_file
from .journal import edit, look
from .plan import Variable, chunk_shape
from .raw import Array, Raw
from .record import visible
from .skeleton import add_raw, open_for_edit

Dims = Mapping[str, tuple[str, ...]]


def finish(
    paths: Paths,
    raws: Mapping[str, Raw],
    dims: Dims,
    committed: Sequence[int],
    *,
    complete: bool,
) -> None:
    """Turn the partial file into ``run.h5`` holding just what ``committed`` counts.

    Parameters
    ----------
    paths
        The run's files; its lock must be held.
    raws, dims
        Its raw variables, and the dimensions of all its variables.
    committed
        Complete leading stimuli of every step that was begun (one number without steps).
    complete
        What the file will say about itself.
    """
    stepped = raws[schema.COMMITTED].dims[0] == schema.STEP
    extents = visible(committed, stepped=stepped, planned_stimuli=_stimuli(paths))
    with open(paths.partial, "r+b", buffering=0) as file:
        for raw in raws.values():
            if stepped and raw.dims[:1] == (schema.STEP,) and schema.STIMULUS in raw.dims:
                _blank(file, raw, extents, committed)
    trim(paths, dims, extents)
    if raws.get(schema.STIMULUS) is not None and raws[schema.STIMULUS].dtype.kind == "S":
        text_labels(paths, dims)
    publish(paths, complete=complete)


def _stimuli(paths: Paths) -> int:
    with look(paths) as file:
        return int(file.attrs[schema.PLANNED_STIMULI])


def _blank(file: BinaryIO, raw: Raw, extents: Mapping[str, int], committed: Sequence[int]) -> None:
    """Put NaN where the last step has no values yet."""
    axis, last = raw.dims.index(schema.STIMULUS), extents[schema.STEP] - 1
    if last < 0 or committed[last] >= extents[schema.STIMULUS]:
        return
    shape = list(raw.shape)
    shape[0], shape[axis] = 1, extents[schema.STIMULUS] - committed[last]
    origin = [0] * len(shape)
    origin[0], origin[axis] = last, committed[last]
    raw.write(file, tuple(origin), np.full(shape, np.nan, dtype=raw.dtype))


def write_record(paths: Paths, raw: Raw, committed: Sequence[int]) -> None:
    """Lower the commit record to what can be relied on."""
    with open(paths.partial, "r+b", buffering=0) as file:
        raw.write(file, (0,), np.array(committed, dtype="<i8"))


def resize(file: h5py.File, dims: Dims, extents: Mapping[str, int]) -> None:
    """Give shared dimensions new extents in every variable that has them."""
    for path, names in dims.items():
        dataset = file[path]
        shape = tuple(extents.get(dim, n) for dim, n in zip(names, dataset.shape, strict=True))
        if shape != dataset.shape:
            dataset.resize(shape)


def trim(paths: Paths, dims: Dims, extents: Mapping[str, int]) -> None:
    """Cut the partial file to its true extents, under the journal; nothing where they hold."""
    with look(paths) as file:
        fits = all(
            file[path].shape[axis] == extents.get(dim, file[path].shape[axis])
            for path, names in dims.items()
            for axis, dim in enumerate(names)
        )
    if not fits:
        edit(paths, lambda file: resize(file, dims, extents), shrinks=True)


def text_labels(paths: Paths, dims: Dims) -> None:
    """Turn the fixed-width labels of growing stimuli into text of any length, as in other files.

    Every variable's reference to its stimuli has to change, which a kill in the middle would
    leave torn; so a copy is changed and takes the file's place when it is whole.
    """

    def as_text(file: h5py.File) -> None:
        names = [label.decode("utf-8") for label in file[schema.STIMULUS][:].tolist()]
        _relabel(file, dims, partial(_text, file, names))

    _in_a_copy(paths, as_text)


def coded_labels(paths: Paths, dims: Dims, width: int) -> None:
    """Undo :func:`text_labels`, so that more stimuli can be written; ``width`` is in bytes."""

    def as_bytes(file: h5py.File) -> None:
        values = np.array(file[schema.STIMULUS][:].tolist(), dtype=f"S{width}")
        chunk = chunk_shape((schema.STIMULUS,), values.shape, width, schema.STIMULUS)
        variable = Variable((schema.STIMULUS,), values.shape, chunk, values.dtype, {})
        _relabel(file, dims, partial(_coded, file, variable, values))

    _in_a_copy(paths, as_bytes)


def _text(file: h5py.File, names: list[str]) -> None:
    labels = file.create_dataset(
        schema.STIMULUS,
        data=names,
        dtype=h5py.string_dtype(),
        chunks=(min(len(names), 2**16),),
        maxshape=(None,),
    )
    labels.make_scale(schema.STIMULUS)


def _coded(file: h5py.File, variable: Variable, values: Array) -> None:
    add_raw(file, schema.STIMULUS, variable, frozenset({schema.STIMULUS}))
    identity = file[schema.STIMULUS].id
    # in its own type: HDF5 converts no ASCII, which numpy's bytes are to it, to UTF-8
    identity.write(h5py.h5s.ALL, h5py.h5s.ALL, values, mtype=identity.get_type())


def _in_a_copy(paths: Paths, change: Callable[[h5py.File], None]) -> None:
    size = paths.partial.stat().st_size
    require_room(paths.partial, size, size)
    shutil.copyfile(paths.partial, paths.new)
    with open_for_edit(paths.new) as file:
        change(file)
    sync_file(paths.new)
    os.replace(paths.new, paths.partial)
    sync_directory(paths.final.parent)


def _relabel(file: h5py.File, dims: Dims, make: Callable[[], None]) -> None:
    old = file[schema.STIMULUS]
    users = [
        (file[path], names.index(schema.STIMULUS))
        for path, names in dims.items()
        if schema.STIMULUS in names and path != schema.STIMULUS
    ]
    for dataset, axis in users:
        dataset.dims[axis].detach_scale(old)
    del file[schema.STIMULUS]
    make()
    for dataset, axis in users:
        dataset.dims[axis].attach_scale(file[schema.STIMULUS])


def publish(paths: Paths, *, complete: bool) -> None:
    """Mark the file and give it its final name."""
    mark(paths, complete=complete)
    os.replace(paths.partial, paths.final)
    sync_directory(paths.final.parent)


def mark(paths: Paths, *, complete: bool) -> None:
    """Write the one byte ``complete`` where it lies; the data must be on the disk first."""
    with look(paths) as file:
        offset = file[schema.COMPLETE].id.get_offset()
    with open(paths.partial, "r+b") as raw:
        os.fsync(raw.fileno())
        raw.seek(offset)
        raw.write(bytes([complete]))
        raw.flush()
        os.fsync(raw.fileno())
