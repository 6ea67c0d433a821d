"""Holding the stored numbers against the checksums of their batches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import h5py

from .. import schema
from .order import Place
from .raw import checksum
from .record import belongs
from .state import read_text
from .walk import Contents


@dataclass(frozen=True)
class Batch:
    """One committed batch: step, number in its step, stimuli from ``start`` to ``stop``."""

    step_index: int
    slot: int
    start: int
    stop: int


def batches(stops: Sequence[Sequence[int]], committed: Sequence[int]) -> Iterator[Batch]:
    """Committed batches in the order they were written; stops at a record that makes no sense."""
    for k, count in enumerate(committed):
        start = slot = 0
        while start < count:
            stop = stops[k][slot] if slot < len(stops[k]) else 0
            if not start < stop <= count:
                # a broken record: the rest of the step counts as one batch that fails
                yield Batch(k, slot, start, count)
                return
            yield Batch(k, slot, start, stop)
            start, slot = stop, slot + 1


def trusted(
    file: h5py.File, contents: Contents, committed: Sequence[int], *, last_only: bool
) -> list[int]:
    """Return what is committed before the first batch that fails its checksum.

    Nor is anything relied on after a step that is not whole, which only a loss of power leaves.

    Parameters
    ----------
    file, contents, committed, last_only
        As in :func:`failures`.
    """
    held = list(committed)
    for _, batch in failures(file, contents, held, last_only=last_only):
        after = len(held) - batch.step_index - 1
        held[batch.step_index :] = [batch.start] + [0] * after
        break
    short = next((k for k, n in enumerate(held) if n < max(held)), len(held))
    return [*held[: short + 1], *(0 for _ in held[short + 1 :])]


def failures(
    file: h5py.File, contents: Contents, committed: Sequence[int], *, last_only: bool
) -> Iterator[tuple[str, Batch]]:
    """Variables and batches whose bytes are not those that were written.

    Parameters
    ----------
    file, contents
        An open file that passed the walk.
    committed
        Complete leading stimuli per step.
    last_only
        Check the batch that was committed last, the only one that a kill could be suspected of.
    """
    if not {schema.CRC, schema.BATCH_STOP, schema.STORED} <= set(contents.items):
        return
    names, dims = read_text(file[schema.STORED]), contents.dims()
    found = list(batches(file[schema.BATCH_STOP][: len(committed)].tolist(), committed))
    for batch in found[-1:] if last_only else found:
        sums = _sums(file, batch)
        place = Place(batch.step_index, batch.start, batch.slot)
        for name, known in zip(names, sums, strict=True):
            # labels that were turned into text at the end have no raw bytes any more
            if name not in dims or contents.items[name].dtype.kind == "O":
                continue
            if belongs(name, dims[name], place) and _read(file, name, dims[name], batch) != known:
                yield name, batch


def _sums(file: h5py.File, batch: Batch) -> Sequence[int]:
    table = file[schema.CRC]
    if batch.slot >= table.shape[1]:
        return [-1] * int(table.shape[2])
    sums: list[int] = table[batch.step_index, batch.slot].tolist()
    return sums


def _read(file: h5py.File, name: str, dims: tuple[str, ...], batch: Batch) -> int:
    at: Mapping[str, int | slice] = {
        schema.STEP: batch.step_index,
        schema.STIMULUS: slice(batch.start, batch.stop),
    }
    return checksum(file[name][tuple(at.get(dim, slice(None)) for dim in dims)])
