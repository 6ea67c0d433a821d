"""A linear head that reads one layer, and whether given activations are what it reads."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr

from reptools.arrays import matmul, to_host
from reptools.engine.results import outer_coords
from reptools.entering import door, labels
from reptools.entering.labels import STIMULUS, UNIT, Index, Side
from reptools.errors import (
    DataError,
    DimensionError,
    FeatureError,
    ParameterError,
    naming,
    some,
)
from reptools.interventions.shared.matching import (
    EXACT,
    places,
    refuse_other,
    saved_rows,
    units,
)
from reptools.statistics.features.design import Feature

OUTPUT = "output"
Values = np.ndarray[Any, Any]
Codes = np.ndarray[Any, np.dtype[np.intp]]


@dataclass(frozen=True, eq=False)
class Head:
    """A head at one outer position, as bare arrays."""

    weight: Values  # (logit, unit)
    bias: Values  # (logit,)
    rows: Mapping[str, Codes]  # of the logits of every output

    def logits(self, x: Values) -> Values:
        """All logits (stimulus, logit) of activations (stimulus, unit)."""
        return np.asarray(matmul(x, self.weight.T) + self.bias)

    def classes(self, logits: Values, name: str) -> Values:
        """Scores (..., class) of one output: a single logit is that of the second class."""
        own = logits[..., self.rows[name]]
        return np.concatenate([np.zeros_like(own), own], axis=-1) if own.shape[-1] == 1 else own

    def answers(self, logits: Values, name: str) -> Codes:
        """The class answered to every stimulus; of equal scores the first."""
        return np.asarray(self.classes(logits, name).argmax(axis=-1))


@dataclass(frozen=True, eq=False)
class Readout:
    """A linear head: weights from the units of one layer to all logits.

    Made by :func:`readout` from a file, or by :meth:`of` from arrays. Two logits or more of one
    name are the classes of one output; a single one is the log-odds of its value 1.

    Attributes
    ----------
    weight : DataArray ([outer,] output, unit)
        One row a logit, labelled by the name of its output.
    bias : DataArray ([outer,] output)
        In the order of the rows.
    layer : str or None
        The layer that feeds the head.
    saved : DataArray ([outer,] stimulus, output) or None
        Logits that the file saved, which activations are held against at every use.
    precision : float
        Relative precision of the saved numbers that the logits are computed from here.
    system : str or None
        The network.
    """

    weight: xr.DataArray
    bias: xr.DataArray
    layer: str | None = None
    saved: xr.DataArray | None = field(default=None, repr=False)
    precision: float = 0.0
    system: str | None = None

    @classmethod
    def of(
        cls, weight: Any, bias: Any, output: Sequence[str] | None = None, layer: str | None = None
    ) -> Readout:
        """Head of given weights, such as those of a ``torch.nn.Linear``.

        Parameters
        ----------
        weight : array (output, unit) or DataArray ([outer,] output, unit)
            One row a logit.
        bias : array (output,) or DataArray ([outer,] output)
            As many values.
        output : sequence of str, optional
            Name of every row's output. Without it (default) read off the coordinate ``output``.
        layer : str, optional
            The layer that feeds the head. Where it is given, activations that name another layer
            are refused; without it (default) only those of another width can be.

        Raises
        ------
        DimensionError
            Dimensions are missing, or weights, biases and names differ in number.
        DataError
            A value is not finite.
        ParameterError
            The rows have no names.

        Examples
        --------
        >>> head = Readout.of([[1.0, 0.0], [0.0, 2.0]], [0.0, -1.0], ["easy", "hard"])
        >>> head.logits([[3.0, 1.0]]).values.tolist()
        [[3.0, 1.0]]
        """
        with naming("Readout.of"):
            weight, bias = _array(weight, "weight", (OUTPUT, UNIT)), _array(bias, "bias", (OUTPUT,))
            if output is None and OUTPUT not in weight.coords:
                raise ParameterError(
                    f"weight has {weight.sizes[OUTPUT]} rows without names. "
                    "Pass output=, one name for every row."
                )
            names = [str(name) for name in (weight[OUTPUT].values if output is None else output)]
            if OUTPUT in bias.coords and OUTPUT in weight.coords:
                # names of classes repeat, so they cannot be lined up
                ours, theirs = (one[OUTPUT].values.tolist() for one in (weight, bias))
                if ours != theirs:
                    raise DimensionError(
                        f"weight has the outputs {some(ours)} and bias {some(theirs)}. "
                        "Bring both to one order."
                    )
            outer = weight.dims[:-2]
            if len(names) != weight.sizes[OUTPUT] or (
                bias.dims[:-1] != outer or bias.shape != weight.shape[:-1]
            ):
                raise DimensionError(
                    f"weight has the sizes {dict(weight.sizes)}, bias {dict(bias.sizes)}, and "
                    f"there are {len(names)} names. Pass one value and name for every logit."
                )
            named = {OUTPUT: names}
            return cls(weight.assign_coords(named), bias.assign_coords(named), layer)

    @property
    def rows(self) -> dict[str, Codes]:
        """Numbers of the logits of every output, in the order of the outputs."""
        of_row = self.weight[OUTPUT].values
        return {
            name: np.flatnonzero(of_row == name)
            for name in dict.fromkeys(map(str, of_row.tolist()))
        }

    @property
    def names(self) -> list[str]:
        """Names of the outputs, in order."""
        return list(self.rows)

    def logits(self, x: Any, /) -> xr.DataArray:
        """What the head says to activations, changed ones among them.

        Parameters
        ----------
        x : DataArray, DataTree node or array ([outer,] stimulus, unit)
            Activations of the layer that feeds the head. Their layer, system, step and units are
            checked, and not their values: changed ones give other answers than were saved.

        Returns
        -------
        DataArray ([outer,] stimulus, output)
            Outer dimensions of ``x`` are kept.

        Raises
        ------
        DimensionError, ParameterError
            ``x`` is of another layer, system or step, or has other units.
        """
        with naming("Readout.logits"):
            side = labels.as_side(x)
            at = self.beside(side)
            values = [at(index).logits(plain(side.slab(index))) for index in side.indices()]
            shape = (*side.outer.values(), side.n_stimuli, self.weight.sizes[OUTPUT])
            dims = (*side.outer, STIMULUS, OUTPUT)
            coords = {
                **outer_coords([side]),
                **side.stimulus_coords(),
                OUTPUT: self.weight[OUTPUT].values,
            }
            return xr.DataArray(np.reshape(values, shape), dims=dims, coords=coords, name="logits")

    def beside(self, side: Side) -> Callable[[Index], Head]:
        """The head for every outer position of activations, whatever their values.

        Raises
        ------
        DimensionError, ParameterError
            The activations are of another layer, system or step, or have other units.
        """
        refuse_other(side, self.weight, {"layer": self.layer, "system": self.system})
        found = {str(dim): places(side, self.weight, str(dim)) for dim in self.weight.dims[:-2]}
        order, rows = units(side, self.weight), self.rows

        def at(index: Index) -> Head:
            here = _here(found, index)
            weight, bias = (plain(each.isel(here).values) for each in (self.weight, self.bias))
            return Head(weight[:, order], bias, rows)

        return at

    def checked(self, side: Side) -> Callable[[Index, Values], Head]:
        """The head for every outer position of activations that gave the saved answers.

        Raises
        ------
        DataError
            From the returned function: they did not.
        """
        at, saved = self.beside(side), self.saved
        if saved is None:
            return lambda index, x: at(index)
        rows = saved_rows(side, saved)
        found = {str(dim): places(side, saved, str(dim)) for dim in saved.dims[:-2]}
        # rounding of each saved number, and of the sums in the network's own precision
        relative = self.precision + (side.n_units + 2) * float(np.finfo(saved.dtype).eps)
        layer = f" (layer {self.layer!r} does)" if self.layer else ""

        def check(index: Index, x: Values) -> Head:
            head = at(index)
            gap = np.abs(head.logits(x) - plain(saved.isel(_here(found, index)).values)[rows])
            largest = matmul(np.abs(x), np.abs(head.weight).T) + np.abs(head.bias)
            if not (gap <= relative * largest).all():
                raise DataError(
                    f"the head's answers to it differ by up to {gap.max():.3g} from the saved "
                    f"ones, so it does not feed the head{layer}. {EXACT}: pass that layer as it "
                    "was saved."
                )
            return head

        return check


def truth(readout: Readout, name: str, feature: Feature) -> Codes:
    """The class of an output that a feature asks for, by number.

    Raises
    ------
    FeatureError
        The feature's classes are not those of the output.
    """
    n = max(2, len(readout.rows[name]))
    values = feature.values
    if values.dtype.kind in "biu" and values.min() >= 0 and values.max() < n:
        numbers: Codes = values.astype(np.intp)
        return numbers
    found = int(feature.codes.max()) + 1
    if found != n:
        raise FeatureError(
            f"feature {name!r} has {found} classes among these stimuli, and the output of that "
            f"name has {n}. Number the classes from 0, as the network was trained."
        )
    return feature.codes


def plain(x: Any) -> Values:
    """Any array in float64 on the host."""
    return np.asarray(to_host(x), dtype=np.float64)


def _here(found: Mapping[str, Mapping[int, int]], index: Index) -> dict[str, int]:
    where = dict(index)
    return {dim: known[where.get(dim, -1)] for dim, known in found.items()}


def _array(values: Any, name: str, dims: tuple[str, ...]) -> xr.DataArray:
    """A weight or bias with its own dimensions last, in float64."""
    values = door.read(values, name, dims)
    if not isinstance(values, xr.DataArray):
        bare = to_host(values)
        if bare.ndim != len(dims):
            raise DimensionError(
                f"{name} has the shape {bare.shape}; a bare array is ({', '.join(dims)}). "
                "Wrap it in an xarray.DataArray that names its dimensions."
            )
        values = xr.DataArray(bare, dims=dims)
    if not set(dims) <= set(values.dims):
        raise DimensionError(
            f"{name} has the dimensions {values.dims} and needs {dims}. Rename yours."
        )
    wide: xr.DataArray = values.astype(np.float64).transpose(..., *dims)
    if not np.isfinite(wide.values).all():
        raise DataError(f"{name} is not finite. Pass finite numbers.")
    return wide
