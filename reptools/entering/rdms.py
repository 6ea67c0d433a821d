"""Dissimilarity matrices at the edge: labelled, square or condensed, lined up by stimulus."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import xarray as xr

from reptools import schema
from reptools.arrays import to_host
from reptools.entering import door
from reptools.entering.labels import (
    ROUNDING,
    STIMULUS,
    Index,
    Rows,
    labels_along,
    match_rows,
    refuse_reserved,
    reordered,
)
from reptools.errors import DataError, DimensionError, StimulusError, some
from reptools.schema import DISSIMILARITY
from reptools.statistics.rdms.pairs import count_stimuli, upper

OTHER = schema.OTHER
Vector = np.ndarray[Any, Any]


@dataclass(frozen=True)
class RdmSide:
    """One RDM (or a stack along outer dimensions) whose slabs are condensed vectors."""

    name: str
    data: Any  # DataArray (..., stimulus, stimulus_), or a condensed vector
    n_stimuli: int
    labels: np.ndarray[Any, Any] | None
    rows: Rows | None = None
    outer: dict[str, int] = field(default_factory=dict)

    n_units = 0  # an RDM has no units
    device = "host"

    def slab(self, index: Index) -> Vector:
        """The upper triangle, row by row, in float64."""
        if not isinstance(self.data, xr.DataArray):
            return _finite(self.data, self.name)
        # the variable: coordinates of a single slab are not needed, and cost more than its values
        square = self.data.variable.isel(dict(index)).transpose(STIMULUS, OTHER).values
        if self.rows is not None:
            square = square[np.ix_(self.rows, self.rows)]
        return _finite(condense(square, self.name), self.name)

    def coordinate(self, name: str) -> np.ndarray[Any, Any] | None:
        """A coordinate over stimuli in the lined-up order, or None where there is none."""
        if not isinstance(self.data, xr.DataArray) or name not in self.data.coords:
            return None
        coord = self.data.coords[name]
        return reordered(coord.values, self.rows) if coord.dims == (STIMULUS,) else None


def as_rdm_side(rdm: Any, name: str) -> RdmSide:
    """Read an RDM: DataArray (stimulus, stimulus_), square table or array, or condensed vector."""
    rdm = door.read(rdm, name, (STIMULUS, OTHER), DISSIMILARITY)
    if isinstance(rdm, xr.DataArray):
        return _labelled(rdm, name)
    values = to_host(rdm)
    if values.ndim == 2:
        return _labelled(xr.DataArray(values, dims=(STIMULUS, OTHER)), name)
    n = count_stimuli(values.size)
    if values.ndim != 1 or n == 0:
        raise DimensionError(
            f"{name} has the shape {values.shape}, which is no square matrix and no condensed "
            "vector of n(n-1)/2 distances. Pass one of these."
        )
    _refuse_not_real(values, name)
    return RdmSide(name, values.astype(np.float64), n, None)


def _labelled(rdm: xr.DataArray, name: str) -> RdmSide:
    """An RDM of named dimensions."""
    if {STIMULUS, OTHER} - set(rdm.dims):
        raise DimensionError(
            f"{name} has the dimensions {rdm.dims}; an RDM has 'stimulus' and 'stimulus_'. "
            "Rename yours with rename(...)."
        )
    if rdm.sizes[STIMULUS] != rdm.sizes[OTHER]:
        raise DimensionError(
            f"{name} is not square: {rdm.sizes[STIMULUS]} by {rdm.sizes[OTHER]}. "
            "Pass all stimuli along both dimensions."
        )
    if rdm.sizes[STIMULUS] < 2:
        raise StimulusError(
            f"{name} has {rdm.sizes[STIMULUS]} stimuli, and a dissimilarity is of two. "
            "Pass more stimuli."
        )
    refuse_reserved(rdm, name)
    _refuse_not_real(rdm, name)
    rows, columns = labels_along(rdm, STIMULUS), labels_along(rdm, OTHER)
    labels = columns if rows is None else rows  # a symmetric matrix has one order
    door.check_unique(labels, name)
    if labels is not None and columns is not None:
        order = door.line_up(f"stimulus of {name}", labels, f"stimulus_ of {name}", columns)
        rdm = rdm if order is None else rdm.isel({OTHER: order})
    outer = {str(d): size for d, size in rdm.sizes.items() if d not in (STIMULUS, OTHER)}
    return RdmSide(name, rdm, rdm.sizes[STIMULUS], labels, outer=outer)


def _refuse_not_real(values: Any, name: str) -> None:
    if values.dtype.kind not in "biuf":
        raise DataError(f"{name} holds {values.dtype.name} values. Pass real numbers.")


def as_models(models: Any, name: str = "models") -> dict[str, RdmSide]:
    """Several model RDMs by name: a mapping, a Dataset, a list, or a DataArray over ``model``.

    Raises
    ------
    DimensionError
        There is no model, or one has dimensions beside its two of stimuli.
    """
    if isinstance(models, xr.DataTree):
        models = dict(models.children)
    if isinstance(models, xr.DataArray) and "model" in models.dims:
        labels = models["model"].values.tolist()
        models = {str(k): models.isel(model=i, drop=True) for i, k in enumerate(labels)}
    elif isinstance(models, xr.Dataset):
        models = dict(models.data_vars)
    elif isinstance(models, (list, tuple)):
        models = {str(i): model for i, model in enumerate(models)}
    if not isinstance(models, Mapping):
        raise DimensionError(
            f"{name} must be a mapping, a list, or a DataArray over 'model', got "
            f"{type(models).__name__}. Put a single model in a mapping {{'name': model}}."
        )
    if not models:
        raise DimensionError(f"{name} holds no RDM. Pass at least one.")
    sides = {str(key): as_rdm_side(model, f"model {key!r}") for key, model in models.items()}
    if len(sides) < len(models):
        raise DimensionError(f"{name} holds names of one text: {some(models)}. Rename one.")
    for side in sides.values():
        if side.outer:
            raise DimensionError(
                f"{side.name} has the dimensions {list(side.outer)} beside its stimuli. "
                "Select one position, or pass each as a model."
            )
    return sides


def align_rdms(first: RdmSide, second: RdmSide) -> RdmSide:
    """``second`` with rows and columns in the order of ``first``."""
    rows = match_rows(first.name, first.n_stimuli, first.labels, second.name, second)
    return replace(second, rows=rows)


def condense(square: Vector, name: str = "rdm") -> Vector:
    """Upper triangle of a symmetric matrix, row by row.

    Raises
    ------
    DimensionError
        The matrix is not square.
    DataError
        It is not symmetric: which half is meant would be a guess. Or its diagonal is not zero.

    Examples
    --------
    >>> import numpy as np
    >>> condense(np.array([[0, 1, 2], [1, 0, 3], [2, 3, 0]])).tolist()
    [1.0, 2.0, 3.0]
    """
    square = np.asarray(square, dtype=np.float64)
    if square.ndim != 2 or square.shape[0] != square.shape[1]:
        raise DimensionError(f"{name} has the shape {square.shape}. Pass a square matrix.")
    above = upper(square)
    if not np.array_equal(square, square.T):
        _refuse_lopsided(above, upper(square.T), name)
    itself = np.nanmax(np.abs(square.diagonal()), initial=0.0)  # NaN: not measured
    if itself > 0 and itself > ROUNDING * np.nanmax(np.abs(above), initial=0.0):
        raise DataError(
            f"{name} has {itself:.3g} on its diagonal, where a dissimilarity is 0: it looks like "
            "similarities. Turn them into dissimilarities, such as 1 - r for correlations, or "
            "pass the upper triangle as a condensed vector."
        )
    return above


def _refuse_lopsided(above: Vector, below: Vector, name: str) -> None:
    scale = np.nanmax(np.abs(above), initial=0.0)
    if not np.allclose(above, below, rtol=0, atol=ROUNDING * scale, equal_nan=True):
        worst = float(np.nanmax(np.abs(above - below)))
        raise DataError(
            f"{name} is not symmetric (halves differ by up to {worst:.3g}). "
            "Average the halves, or pass the one you mean as a condensed vector."
        )


def _finite(vector: Vector, name: str) -> Vector:
    finite = np.isfinite(vector)
    if not finite.all():
        bad = vector.size - np.count_nonzero(finite)
        raise DataError(
            f"{name} has {bad} of {vector.size} distances that are not finite. "
            "Leave their stimuli out on both sides."
        )
    return vector
