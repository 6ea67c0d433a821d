"""What a file will hold, decided once: at the first batch, when the widths are known."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .. import schema
from ..errors import ParameterError
from .raw import Array

CHUNK_BYTES = 2 * 2**20  # 1-2 MB: large enough to stream, small enough to gather rows
CHUNK_ROWS = 256
MAX_CHUNK_BYTES = 64 * 2**20
MAX_VARIABLES = 4000  # a dimension scale of HDF5's oldest format takes 4,085 attachments
FIRST_STEPS = 8  # capacity at first, doubled when it is full
FIRST_BATCHES = 16


@dataclass(frozen=True)
class Piece:
    """One variable's part of a batch.

    Attributes
    ----------
    dims
        Axes without the step, e.g. ``("token", "stimulus", "unit")``.
    values
        The numbers, in these axes, in the type they are stored in.
    coords
        Names along an axis, e.g. of the features that ``accuracy`` is about.
    stepped
        Whether every step has its own values.
    stimulus
        Labels that the rows came with; None where they came with none.
    what
        What messages call it.
    """

    dims: tuple[str, ...]
    values: Array
    attrs: dict[str, Any] = field(default_factory=dict)
    coords: dict[str, Array] = field(default_factory=dict)
    stepped: bool = True
    stimulus: Array | None = None
    what: str = ""


@dataclass(frozen=True)
class Static:
    """A small variable that is known beforehand and written whole."""

    dims: tuple[str, ...]
    values: Array
    attrs: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Variable:
    """A variable that is allocated beforehand and written batch by batch."""

    dims: tuple[str, ...]
    shape: tuple[int, ...]
    chunk: tuple[int, ...]
    dtype: np.dtype[Any]
    attrs: dict[str, Any]


@dataclass
class Plan:
    """Everything the skeleton of a file is made from."""

    attrs: dict[str, Any]
    growing: frozenset[str]
    group_attrs: dict[str, dict[str, Any]] = field(default_factory=dict)
    static: dict[str, Static] = field(default_factory=dict)
    variables: dict[str, Variable] = field(default_factory=dict)
    bare: dict[str, int] = field(default_factory=dict)  # path of a dimension -> size

    def dims(self) -> dict[str, tuple[str, ...]]:
        """Dimension names of every variable, and of dimensions that have none."""
        found = {name: static.dims for name, static in self.static.items()}
        found |= {name: variable.dims for name, variable in self.variables.items()}
        return found | {name: (name.rpartition("/")[2],) for name in self.bare}

    @property
    def raw_bytes(self) -> int:
        """Bytes of all chunks, whole edge chunks counted."""
        return sum(
            int(np.prod([-(-n // c) * c for n, c in zip(v.shape, v.chunk, strict=True)]))
            * v.dtype.itemsize
            for v in self.variables.values()
        )

    @property
    def metadata_bytes(self) -> int:
        """A generous estimate of everything else."""
        chunks = sum(
            int(np.prod([-(-n // c) for n, c in zip(v.shape, v.chunk, strict=True)]))
            for v in self.variables.values()
        )
        objects = len(self.static) + len(self.variables) + len(self.bare)
        static = sum(s.values.size * max(s.values.dtype.itemsize, 64) for s in self.static.values())
        return 64 * 1024 + 8 * 1024 * objects + 128 * chunks + static


def chunk_shape(
    dims: tuple[str, ...], shape: tuple[int, ...], itemsize: int, path: str
) -> tuple[int, ...]:
    """One step, one token, a block of stimuli by the whole width.

    Raises
    ------
    ParameterError
        If a single row is longer than a chunk may be.
    """
    if schema.STIMULUS not in dims:
        chunk = tuple(
            1 if d == schema.STEP else max(n, 1) for d, n in zip(dims, shape, strict=True)
        )
        rows_at = None
    else:
        rows_at = dims.index(schema.STIMULUS)
        outer = (1,) * rows_at
        chunk = (*outer, 1, *(max(n, 1) for n in shape[rows_at + 1 :]))
    row = int(np.prod(chunk)) * itemsize
    if row > MAX_CHUNK_BYTES:
        raise ParameterError(
            f"{path} would need {row} bytes for one stimulus, and a file holds "
            f"{MAX_CHUNK_BYTES}. Average over an axis, or store parts under several names."
        )
    if rows_at is None:
        return chunk
    # a row of a few bytes is gathered in one read anyway: let its chunk reach the full size
    most = CHUNK_ROWS if len(dims) - rows_at > 1 and row >= 256 else CHUNK_BYTES // row
    rows = max(1, min(most, CHUNK_BYTES // row, max(shape[rows_at], 1)))
    return (*chunk[:rows_at], rows, *chunk[rows_at + 1 :])


def add_variable(plan: Plan, path: str, piece: Piece, sizes: dict[str, int]) -> None:
    """Allocate a variable for ``piece`` at the sizes of the shared dimensions."""
    lead = (schema.STEP,) if piece.stepped and schema.STEP in sizes else ()
    dims = lead + piece.dims
    own = dict(zip(piece.dims, piece.values.shape, strict=True))
    shape = tuple(sizes[d] if d in sizes else own[d] for d in dims)
    dtype = piece.values.dtype
    chunk = chunk_shape(dims, shape, dtype.itemsize, path)
    plan.variables[path] = Variable(dims, shape, chunk, dtype, piece.attrs)
    for dim, values in piece.coords.items():
        _share(plan, path, dim, Static((dim,), values))
    for dim, size in own.items():
        if dim not in sizes and dim not in piece.coords:
            _share(plan, path, dim, size)


def _share(plan: Plan, path: str, dim: str, wanted: Static | int) -> None:
    """Let the variables of one group share a dimension; its size must be the same for all."""
    place = f"{path.rpartition('/')[0]}/{dim}"
    known = plan.static.get(place, plan.bare.get(place))
    size = wanted if isinstance(wanted, int) else len(wanted.values)
    if known is not None:
        held = known if isinstance(known, int) else len(known.values)
        if held != size:
            raise ParameterError(
                f"{path} has {size} entries along {dim!r}, another variable beside it has {held}. "
                f"Name one of the two dimensions differently."
            )
    if isinstance(wanted, Static):
        plan.static[place] = wanted
        plan.bare.pop(place, None)
    elif known is None:
        plan.bare[place] = wanted


def add_record(plan: Plan, sizes: dict[str, int]) -> None:
    """Add the commit record: what is complete, and the checksum of every batch."""
    stored = list(plan.variables)
    first = schema.STEP if schema.STEP in sizes else schema.RECORD
    steps, batches = sizes.get(schema.STEP, 1), sizes[schema.BATCH]
    # whole pages for a dimension that grows; one chunk otherwise
    count = max(min(steps, 512), 1)
    for name, dims, shape, chunk, dtype in (
        (schema.COMMITTED, (first,), (steps,), (count,), "<i8"),
        (schema.BATCH_STOP, (first, schema.BATCH), (steps, batches), (1, batches), "<i8"),
        (
            schema.CRC,
            (first, schema.BATCH, schema.STORED),
            (steps, batches, len(stored)),
            (1, batches, len(stored)),
            "<u4",
        ),
    ):
        plan.variables[name] = Variable(dims, shape, chunk, np.dtype(dtype), {})
    plan.static[schema.STORED] = Static((schema.STORED,), np.array(stored, dtype=object))
    complete = np.zeros(1, dtype="u1")
    plan.static[schema.COMPLETE] = Static((schema.RECORD,), complete)
    plan.bare[schema.RECORD] = 1
    plan.bare[schema.BATCH] = batches
