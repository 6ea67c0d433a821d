"""The partial file: made once, grown under the journal, written raw, finished."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import BinaryIO

import h5py
import numpy as np

from .. import schema
from . import finishing, journal, skeleton
from .files import Paths, require_room, reserve, sync_directory
from .order import Place
from .plan import Piece, Plan
from .raw import Array, Raw, checksum


@dataclass(frozen=True)
class Difference:
    """The first value of a batch that is not the one in the file; indices are of the batch."""

    path: str
    index: dict[str, int]
    held: object
    given: object


class Sink:
    """Holds the partial file open for raw writing; HDF5 has it only while its size changes."""

    def __init__(
        self, paths: Paths, plan: Plan, raws: dict[str, Raw], file: BinaryIO, *, durable: bool
    ) -> None:
        self._paths = paths
        self._plan = plan
        self._durable = durable
        self.stored: list[str] = plan.static[schema.STORED].values.tolist()
        self.dims = plan.dims()
        self.raws = raws
        self._file = file

    @classmethod
    def reopen(cls, paths: Paths, plan: Plan, raws: dict[str, Raw], *, durable: bool) -> Sink:
        """Go on with a leftover that was brought to its last commit."""
        file = open(paths.partial, "r+b", buffering=0)  # noqa: SIM115 - closed by release()
        return cls(paths, plan, raws, file, durable=durable)

    @classmethod
    def create(cls, paths: Paths, plan: Plan, *, durable: bool) -> Sink:
        """Build the skeleton aside, claim its space, and only then give it its name."""
        size = plan.raw_bytes + plan.metadata_bytes
        require_room(paths.new, size, size)
        raws = skeleton.create(paths.new, plan)
        file = open(paths.new, "r+b", buffering=0)  # noqa: SIM115 - closed by release()
        try:
            if plan.growing == {schema.BATCH}:
                reserve(file, paths.new.stat().st_size)
            os.fsync(file.fileno())
            paths.partial.unlink(missing_ok=True)
            paths.undo.unlink(missing_ok=True)
            os.replace(paths.new, paths.partial)
            sync_directory(paths.final.parent)
        except BaseException:
            file.close()
            raise
        return cls(paths, plan, raws, file, durable=durable)

    def make_room(self, place: Place, rows: int) -> None:
        """Grow whatever dimension the batch would not fit into; capacity doubles."""
        committed, stop = self.raws[schema.COMMITTED], self.raws[schema.BATCH_STOP]
        wanted = {schema.STEP: place.step_index + 1, schema.BATCH: place.slot + 1}
        have = {schema.STEP: committed.shape[0], schema.BATCH: stop.shape[1]}
        if schema.STIMULUS in self._plan.growing:
            wanted[schema.STIMULUS] = place.start + rows
            raw = next(raw for raw in self.raws.values() if schema.STIMULUS in raw.dims)
            have[schema.STIMULUS] = raw.shape[raw.dims.index(schema.STIMULUS)]
        extents = {
            dim: max(2 * have[dim], need) for dim, need in wanted.items() if need > have[dim]
        }
        if extents:
            self.raws = journal.edit(self._paths, lambda file: self._resize(file, extents))

    def _resize(self, file: h5py.File, extents: Mapping[str, int]) -> dict[str, Raw]:
        finishing.resize(file, self.dims, extents)
        return skeleton.locate(file, {path: raw.dims for path, raw in self.raws.items()})

    def commit(self, pieces: Mapping[str, Piece], place: Place, rows: int) -> None:
        """Write the data, then their checksums, then the record that makes them count."""
        k, slot = place.step_index, place.slot
        sums = np.zeros(len(self.stored), dtype="<u4")
        for column, path in enumerate(self.stored):
            if path in pieces:
                raw, origin, values = self._laid(path, pieces[path], place)
                raw.write(self._file, origin, values)
                sums[column] = checksum(values)
        stop = np.array([[place.start + rows]], dtype="<i8")
        self.raws[schema.BATCH_STOP].write(self._file, (k, slot), stop)
        self.raws[schema.CRC].write(self._file, (k, slot, 0), sums.reshape(1, 1, -1))
        if self._durable:
            os.fdatasync(self._file.fileno())
        self.raws[schema.COMMITTED].write(self._file, (k,), stop[0])
        if self._durable:
            os.fdatasync(self._file.fileno())

    def difference(self, pieces: Mapping[str, Piece], place: Place) -> Difference | None:
        """Hold a batch against what is in the file at its place, byte for byte."""
        for path in self.stored:
            if path not in pieces:
                continue
            raw, origin, values = self._laid(path, pieces[path], place)
            held = raw.read(self._file, origin, values.shape)
            ours, theirs = (
                np.ascontiguousarray(x).reshape(-1).view(np.uint8) for x in (values, held)
            )
            if not np.array_equal(ours, theirs):
                first = int((ours != theirs).argmax()) // raw.dtype.itemsize
                at = np.unravel_index(first, values.shape)
                where = dict(zip(raw.dims, (int(i) for i in at), strict=True))
                return Difference(path, where, held[at].item(), values[at].item())
        return None

    def _laid(self, path: str, piece: Piece, place: Place) -> tuple[Raw, tuple[int, ...], Array]:
        """Where a piece lies, and its values as they are stored."""
        raw = self.raws[path]
        values = piece.values.astype(raw.dtype, copy=False)
        if raw.dims[0] == schema.STEP:
            values = values[np.newaxis]
        at = {schema.STEP: place.step_index, schema.STIMULUS: place.start}
        return raw, tuple(at.get(dim, 0) for dim in raw.dims), values

    def finish(self, committed: list[int], *, complete: bool) -> None:
        """Cut to what was written and publish; a step that is not whole is filled with NaN."""
        self.release()
        finishing.finish(self._paths, self.raws, self.dims, committed, complete=complete)

    def release(self) -> None:
        """Close the raw handle."""
        self._file.close()
