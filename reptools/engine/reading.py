"""Bare slabs on their way into a kernel: on a back end it knows, finite, counted, prepared.

What lies outside memory comes in blocks of rows where the metric can take them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr
from array_api_compat import is_torch_array

from reptools.arrays import Array, array_namespace, to_host
from reptools.engine.operation import Operation
from reptools.entering.labels import STIMULUS, Index, place
from reptools.entering.rdms import RdmSide
from reptools.errors import DataError, DeadUnitWarning, StimulusError, some, warn
from reptools.statistics import prepare
from reptools.statistics.blocks import Blocks, Rows, edges
from reptools.statistics.varying import Varying, rounding

LOAD_LIMIT = 2 * 2**30  # bytes of one slab that a metric without a streaming form may load
STREAM_FROM = 2**28  # bytes of one slab of a file from which a metric that can streams it


class Slabs:
    """Takes slabs of sides for one call of one operation and remembers what was dead."""

    def __init__(
        self, operation: Operation, bound: Mapping[str, Any], sides: Iterable[Any]
    ) -> None:
        self.operation = operation
        # a kernel takes arrays of one library on one device; where sides differ they meet in numpy
        places = {side.device for side in sides}
        self.backends = operation.backends if len(places) == 1 else ("numpy",)
        self.steps: prepare.Steps = bound.get("prepare", ())
        self.varying: dict[int, tuple[Any, dict[Index, Varying]]] = {}  # by identity of the side

    def take(self, side: Any, index: Index, *, whole: bool = False) -> Rows | None:
        """One checked, prepared slab; None where no unit varies, so that its score is missing.

        Parameters
        ----------
        side, index
            The side and the outer position.
        whole : bool
            Whether a slab in which no unit varies is given as it is, and nothing counted.

        Raises
        ------
        StimulusError
            There is one stimulus only.
        DataError
            A value is NaN or infinite, or a lazy slab is too large to load.
        """
        if isinstance(side, RdmSide):
            _refuse_large(self.operation.name, side)
            return side.slab(index)
        chunks = _chunks(side)
        if chunks is None or not self.operation.streams or side.leading:
            _refuse_large(self.operation.name, side)
            x = side.slab(index)
            x = _checked(x, self.backends, side, index)
        else:
            x = _in_blocks(side, index, chunks)
        if side.n_stimuli < 2:
            raise StimulusError(
                f"{side.name} has {side.n_stimuli} stimulus, and nothing varies over one. "
                "Pass two or more."
            )
        if isinstance(x, np.ndarray):  # the user's own memory, which no kernel may write to
            x = x.view()
            x.flags.writeable = False
        varying = Varying(rounding(x.dtype))
        with placing(side, index):
            x = prepare.apply(x, self.steps)
        if whole:
            return x
        self.varying.setdefault(id(side), (side, {}))[1][index] = varying
        if isinstance(x, Blocks):
            return _watched(x, varying)
        varying.see(x.reshape((-1, x.shape[-1])) if x.ndim > 2 else x)
        return None if varying.nothing else varying.settled(x)

    def most_dead(self, side: Any) -> int:
        """Largest number of dead units of a side at any outer position."""
        return max(self.dead(side).values(), default=0)

    def dead(self, side: Any) -> dict[Index, int]:
        """Number of dead units of a side at every outer position that was read."""
        _, positions = self.varying.get(id(side), (side, {}))
        return {index: seen.dead.size for index, seen in positions.items()}

    def warn(self) -> None:
        """One warning a side: how many units had no variance, where, and what became of them."""
        for side, positions in self.varying.values():
            found = {index: seen for index, seen in positions.items() if seen.dead.size}
            if not found:
                continue
            worst, seen = max(found.items(), key=lambda item: item[1].dead.size)
            others = f" (and at {len(found) - 1} other positions)" if len(found) > 1 else ""
            where = f" at {place(side, worst)}{others}" if worst else ""
            after = f" after prepare={','.join(self.steps)!r}" if self.steps else ""
            fate = (
                "the score is missing (NaN)"
                if seen.nothing
                else f"these do not vary: {some(seen.dead.tolist())}"
            )
            warn(
                f"{self.operation.name}: {side.name} has {seen.dead.size} of {seen.width} units "
                f"without variance over {seen.n} stimuli{where}{after}; {fate}",
                DeadUnitWarning,
            )


def _watched(x: Blocks, varying: Varying) -> Blocks | None:
    """``x`` whose first pass tells which units vary; None where none does.

    It is read up to the first block in which a unit varies, nearly always the first one, and that
    block is kept until the kernel asks for it.
    """
    kept: dict[tuple[int, int], Array] = {}

    def read(rows: slice) -> Array:
        block = kept.pop((rows.start, rows.stop), None)
        block = x.read(rows) if block is None else block
        kept.clear()
        if rows.start <= varying.n < rows.stop:  # others have been looked at
            varying.see(block[varying.n - rows.start :, :])
        return block

    watched = replace(x, read=read)
    for rows, block in watched:
        if not varying.nothing:
            kept[rows.start, rows.stop] = block
            return watched
    return None


class placing:  # noqa: N801 - reads as the statement it is used in
    """Say which side, and where on it, a kernel refuses: a kernel sees bare arrays only.

    A class, since every call enters several, and a generator would cost as much as a small kernel.
    """

    __slots__ = ("index", "side")

    def __init__(self, side: Any, index: Index) -> None:
        self.side, self.index = side, index

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, (DataError, StimulusError)):
            raise type(error)(f"{_where(self.side, self.index)}: {error}") from None


class between:  # noqa: N801
    """Say which pair of a grid a kernel refuses; of a single pair it says which side."""

    __slots__ = ("at_x", "at_y", "x", "y")

    def __init__(self, x: Any, at_x: Index, y: Any, at_y: Index) -> None:
        self.x, self.at_x, self.y, self.at_y = x, at_x, y, at_y

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if not isinstance(error, (DataError, StimulusError)):
            return
        one = (self.x.name, self.y.name) in (("x", "y"), ("a", "b"))
        if one and not self.at_x and not self.at_y:
            return
        where = f"{_where(self.x, self.at_x)} against {_where(self.y, self.at_y)}"
        raise type(error)(f"{where}: {error}") from None


def _where(side: Any, index: Index) -> str:
    return f"{side.name} at {place(side, index)}" if index else str(side.name)


def _computable(x: Array, backends: tuple[str, ...], where: str) -> Array:
    """``x`` on a library the metric declares, in float32 or float64."""
    if "torch" in sys.modules and is_torch_array(x) and "torch" not in backends:
        x = to_host(x)
    xp = array_namespace(x)
    if x.dtype in (xp.float32, xp.float64):
        return x
    # half precision overflows in sums; integers and booleans hold no fractions
    dtype = str(x.dtype).rpartition(".")[2]
    try:
        if "complex" in dtype or getattr(x.dtype, "kind", "f") not in "biufO":
            raise TypeError
        return xp.astype(x, xp.float32 if dtype in ("float16", "bfloat16") else xp.float64)
    except (TypeError, ValueError):
        raise DataError(f"{where} holds {dtype} values. Pass real numbers.") from None


def _refuse_not_finite(x: Array, side: Any, index: Index, first: int) -> None:
    xp = array_namespace(x)
    # NaN and infinity reach the sum, in one pass without a temporary array
    with np.errstate(over="ignore", invalid="ignore"):
        if bool(xp.isfinite(xp.sum(x))):
            return
    if bool(xp.all(xp.isfinite(x))):  # finite values whose sum is not
        return
    finite = to_host(xp.all(xp.isfinite(x), axis=-1))
    bad = first + np.flatnonzero(~np.all(finite.reshape((-1, x.shape[-2])), axis=0))
    among = "" if x.shape[-2] == side.n_stimuli else " or more"
    raise DataError(
        f"{_where(side, index)} is not finite for {bad.size}{among} of {side.n_stimuli} stimuli "
        f"(rows {some(bad.tolist())}). Drop these stimuli, or the incomplete step."
    )


def _chunks(side: Any) -> list[int] | None:
    """Numbers of stimuli of the chunks of data outside memory; None where it is to be loaded.

    Moments of more units than stimuli would be larger than the data.
    """
    if side.values is not None or not side.labelled or side.n_stimuli < side.n_units:
        return None
    if side.data.chunks is not None:
        return list(side.data.chunksizes[STIMULUS])
    return [side.n_stimuli] if _slab_bytes(side) > STREAM_FROM else None


def _in_blocks(side: Any, index: Index, chunks: list[int]) -> Blocks:
    """A slab read in blocks of rows, each of them checked."""
    in_order = side.rows is None and len(chunks) > 1
    dtype = np.dtype(np.float32 if side.data.dtype in (np.float16, np.float32) else np.float64)

    def read(rows: slice) -> Array:
        return _checked(side.read(index, rows), ("numpy",), side, index, rows.start)

    cuts = edges(side.n_stimuli, side.n_units, chunks if in_order else None)
    return Blocks(side.n_stimuli, side.n_units, dtype, read, cuts)


def _checked(x: Array, backends: tuple[str, ...], side: Any, index: Index, first: int = 0) -> Array:
    x = _computable(x, backends, _where(side, index))
    _refuse_not_finite(x, side, index, first)
    return x


def _slab_bytes(side: Any) -> int:
    width = side.n_units or side.n_stimuli  # an RDM has no units
    return int(side.data.dtype.itemsize * side.n_stimuli * width)


def _refuse_large(function: str, side: Any) -> None:
    slab = _slab_bytes(side)
    if slab <= LOAD_LIMIT:
        return
    if isinstance(side.data, xr.DataArray) and side.data.chunks is not None:
        raise DataError(
            f"{side.name} is a dask array with {slab / 2**30:.1f} GiB a slab, and {function} has "
            f"no streaming form for it (limit {LOAD_LIMIT // 2**30} GiB). Load it with .load() if "
            "it fits, or take a subset of stimuli."
        )
