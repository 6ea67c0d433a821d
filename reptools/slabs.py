"""Bare slabs on their way into a kernel: on a back end it knows, finite, counted, prepared."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import xarray as xr
from array_api_compat import is_torch_array

from reptools.arrays import Array, array_namespace, to_host
from reptools.errors import DataError, DeadUnitWarning, StimulusError, some, warn
from reptools.labels import Index, place
from reptools.record import Metric
from reptools.statistics import prepare

DASK_LIMIT = 2 * 2**30  # bytes of one slab that a metric without a streaming form may load


class Slabs:
    """Takes slabs of sides for one call of one metric and remembers what was dead."""

    def __init__(self, record: Metric, bound: Mapping[str, Any], sides: Iterable[Any]) -> None:
        self.record = record
        # a kernel takes arrays of one library on one device; where sides differ they meet in numpy
        places = {str(getattr(side.data, "device", "host")) for side in sides}
        self.backends = record.backends if len(places) == 1 else ("numpy",)
        self.steps: prepare.Steps = bound.get("prepare", ())
        self.dead: dict[str, dict[str, np.ndarray[Any, Any]]] = {}
        self.shapes: dict[str, tuple[int, int]] = {}

    def take(self, side: Any, index: Index) -> Array | None:
        """One checked, prepared slab; None where no unit varies, so that its score is missing.

        Raises
        ------
        DataError
            A value is NaN or infinite, or a lazy slab is too large to load.
        """
        _refuse_large(self.record.name, side)
        x = side.slab(index)
        if self.record.kind == "rdms":
            return x
        x = _computable(x, self.backends, _where(side, index))
        _refuse_not_finite(x, side, index)
        dead = dead_units(x)
        self.shapes[side.name] = x.shape
        if dead.size:
            self.dead.setdefault(side.name, {})[place(side, index)] = dead
            if dead.size == x.shape[1]:
                return None
        with placing(side, index):
            return prepare.apply(x, self.steps)

    def most_dead(self, name: str) -> int:
        """Largest number of dead units of a side at any outer position."""
        return max((dead.size for dead in self.dead.get(name, {}).values()), default=0)

    def warn(self) -> None:
        """One warning a side: how many units had no variance, where, and what became of them."""
        for name, found in self.dead.items():
            n_stimuli, n_units = self.shapes[name]
            worst, dead = max(found.items(), key=lambda item: item[1].size)
            others = f" (and at {len(found) - 1} other positions)" if len(found) > 1 else ""
            where = f" at {worst}{others}" if worst else ""
            fate = (
                "the score is missing (NaN)"
                if dead.size == n_units
                else f"these do not vary: {some(dead.tolist())}"
            )
            warn(
                f"{self.record.name}: {name} has {dead.size} of {n_units} units without variance "
                f"over {n_stimuli} stimuli{where}; {fate}",
                DeadUnitWarning,
            )


def dead_units(x: Array) -> np.ndarray[Any, Any]:
    """Numbers of the units that have one value for all stimuli.

    A first look at a few rows settles nearly all units, so the full pass touches few columns.
    """
    xp = array_namespace(x)
    head = x[:64, :]
    candidates = np.flatnonzero(to_host(xp.all(head == head[:1, :], axis=0)))
    if not candidates.size:
        return candidates
    columns = x[:, candidates] if candidates.size < x.shape[1] else x
    same: np.ndarray[Any, Any] = to_host(xp.all(columns == columns[:1, :], axis=0))
    return np.asarray(candidates[same])


@contextmanager
def placing(side: Any, index: Index) -> Iterator[None]:
    """Say which side, and where on it, a kernel refuses: a kernel sees bare arrays only."""
    try:
        yield
    except (DataError, StimulusError) as error:
        raise type(error)(f"{_where(side, index)}: {error}") from None


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


def _refuse_not_finite(x: Array, side: Any, index: Index) -> None:
    xp = array_namespace(x)
    # NaN and infinity reach the extremes: two passes without a temporary array
    if bool(xp.isfinite(xp.max(x))) and bool(xp.isfinite(xp.min(x))):
        return
    bad = np.flatnonzero(~to_host(xp.all(xp.isfinite(x), axis=1)))
    raise DataError(
        f"{_where(side, index)} is not finite for {bad.size} of {x.shape[0]} stimuli "
        f"(rows {some(bad.tolist())}). Drop these stimuli, or the incomplete step."
    )


def _refuse_large(function: str, side: Any) -> None:
    data = side.data
    if not isinstance(data, xr.DataArray) or data.chunks is None:
        return
    slab = data.dtype.itemsize * side.n_stimuli * side.n_units
    if slab > DASK_LIMIT:
        raise DataError(
            f"{side.name} is a dask array with {slab / 2**30:.1f} GiB a slab, and {function} has "
            f"no streaming form (limit {DASK_LIMIT // 2**30} GiB). Load it with .load() if it "
            "fits, or take a subset of stimuli."
        )
