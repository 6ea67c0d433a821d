"""Going on with what a killed writer left: brought to its last commit, then repeated or continued.

Everything that could be refused is found before the first byte changes. The changes themselves
are those of a repair: each can be killed, and done again.
"""

from __future__ import annotations

from typing import Any

import h5py
import numpy as np

from .. import schema
from ..errors import StimulusError, StoreError
from . import inputs
from .batch import label_width
from .checksums import trusted
from .files import Paths, reserve
from .finishing import coded_labels, mark, resize, write_record
from .frame import Frame
from .journal import edit, look, rollback
from .leftover import Leftover, differences, read
from .opening import checked, reading
from .order import Order, Place
from .raw import Array, Raw
from .skeleton import locate

UNNAMED = (
    "A batch that names no stimuli was taken for one that is there already: pass stimulus= to "
    "go on behind those."
)


def resume(paths: Paths, frame: Frame, dtype: str) -> tuple[Leftover, dict[str, Raw]] | None:
    """Bring the leftover of a run to its last commit, ready for the next batch.

    Parameters
    ----------
    paths
        The run's files; its lock must be held.
    frame, dtype
        What the Writer was told; it must be what the leftover was begun with.

    Returns
    -------
    tuple or None
        What the leftover holds, and where its raw variables lie; None where there is none.

    Raises
    ------
    StoreError
        If the leftover was begun with other arguments, is damaged, or the run is finished.
    """
    if paths.final.exists():
        if paths.partial.exists():
            raise StoreError(
                f"{paths.final} exists beside {paths.partial.name} and would be lost. "
                "Move one of the two elsewhere."
            )
        raise StoreError(
            f"{paths.final} is finished already, and there is nothing to resume. "
            "Read it with reptools.store.open(), or write it anew with overwrite=True."
        )
    if not paths.partial.exists():
        return None
    with reading(paths.partial), look(paths) as file:
        contents = checked(paths.partial, file)
        held = read(file, contents)
        if other := list(differences(held, frame, dtype)):
            raise StoreError(
                f"it was begun with other arguments: {'; '.join(other[:3])}. "
                "Pass those, or overwrite=True instead of resume=True."
            )
        raws = locate(file, {path: v.dims for path, v in held.plan.variables.items()})
        # all of them: after a loss of power any batch may be the one that is not on the disk
        counts = file[schema.COMMITTED][:].tolist()
        committed = trusted(file, contents, counts, last_only=False)
    with reading(paths.partial):
        rollback(paths)
        paths.new.unlink(missing_ok=True)
        mark(paths, complete=False)
        if committed != counts:
            write_record(paths, raws[schema.COMMITTED], committed)
        _restore(paths, frame)
        with look(paths) as file:
            held = read(file, checked(paths.partial, file))
            raws = locate(file, {path: v.dims for path, v in held.plan.variables.items()})
        _clear(paths, held, raws, sum(1 for n in counts if n))
    return held, raws


def _restore(paths: Paths, frame: Frame) -> None:
    """Undo what closing or repairing had done: extents that were cut, labels turned into text."""
    with look(paths) as file:
        contents = checked(paths.partial, file)
        held = read(file, contents)
        first = int(file[schema.BATCH_STOP][0, 0])
    dims = contents.dims()
    if frame.stimulus is None and schema.STIMULUS in held.plan.static:
        coded_labels(paths, dims, label_width(held.labels[:first]))
    planned = {schema.STEP: frame.steps, schema.STIMULUS: frame.stimulus}
    short = {
        dim: len(values)
        for dim, values in planned.items()
        if values is not None and held.capacity(dim) < len(values)
    }
    if not short:
        return

    def widen(file: h5py.File) -> None:
        resize(file, dims, short)
        for path, static in frame.statics().items():
            if set(short) & set(static.dims):
                file[path][...] = static.values

    edit(paths, widen)
    if held.plan.growing == {schema.BATCH}:
        with open(paths.partial, "r+b", buffering=0) as file:
            reserve(file, paths.partial.stat().st_size)


def _clear(paths: Paths, held: Leftover, raws: dict[str, Raw], begun: int) -> None:
    """Forget the checksums of batches that do not count, so that no trace of them is left."""
    last = max(len(held.committed) - 1, 0)
    with open(paths.partial, "r+b", buffering=0) as file:
        for raw in (raws[schema.BATCH_STOP], raws[schema.CRC]):
            for k in range(last, min(begun + 1, raw.shape[0])):
                slot, inner = (held.slot if k == last else 0), raw.shape[2:]
                zeros = np.zeros((1, raw.shape[1] - slot, *inner), raw.dtype)
                raw.write(file, (k, slot, *(0 for _ in inner)), zeros)


class Replay:
    """Finds the place of a batch that a resumed file holds already.

    A batch that names its stimuli is looked up by the first of them. One that does not is the
    first of its step, or follows the one before: were it taken for the next new one, a run that
    repeats a step from its start would be written behind itself.
    """

    def __init__(self, order: Order, committed: list[int]) -> None:
        self._order = order
        self._committed = committed
        self._at = (-1, 0)  # step and stimulus after the last batch that was compared

    def place(
        self, step: int | None, stimulus: Any, rows: int
    ) -> tuple[Place, Array | None] | None:
        """Return the place of a batch, and its labels where they are stored; None: it is new."""
        order = self._order
        order.check_use(step)
        if not self._committed or (step is not None and step not in order.values):
            return None
        index = 0 if step is None else order.values.index(step)
        held = self._committed[index]
        follows = self._at[1] if self._at[0] == index else 0
        start = follows if stimulus is None else order.position(stimulus)
        if start is None or start >= held:
            return None
        if held < start + rows and (order.planned is None or held < order.total):
            where = "" if step is None else f" of step {step}"
            raise StimulusError(
                f"a batch of {rows} after {start} stimuli{where} reaches beyond the {held} that "
                "are in the file. Append the batches as they were, or those that follow."
            )
        order.check_known(step, stimulus, start, rows)
        grown = order.planned is None and index == 0
        labels = inputs.labels(order.labels[start : start + rows]) if grown else None
        return Place(index, start, int(start > 0)), labels

    def advance(self, place: Place, rows: int) -> None:
        """Take note of a batch that was compared."""
        self._at = (place.step_index, place.start + rows)
