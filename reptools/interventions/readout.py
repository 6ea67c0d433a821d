"""The head that a file saved, with the layer that gives its answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from os import PathLike, fspath

import numpy as np
import xarray as xr

from reptools.engine.reading import placing
from reptools.entering import labels
from reptools.entering.labels import STIMULUS, UNIT
from reptools.errors import DataError, DimensionError, ParameterError, naming, some
from reptools.interventions.shared.heads import OUTPUT, Readout, plain

STEP = "step"
WEIGHT, BIAS = "readout_weight", "readout_bias"


def readout(tree: xr.DataTree, /, *, step: int | None = None, layer: str | None = None) -> Readout:
    """Read the linear head that a file saved, and find the layer that feeds it.

    The layer is found by its answers: at every step and for every stimulus, the head applied to it
    must give the saved logits, to the precision of the saved numbers. Where no saved layer does,
    nothing exact can be said without running the network, and this is refused.

    Parameters
    ----------
    tree : DataTree
        An open file: ``rt.open(path)``, with ``outputs/readout_weight`` ([step,] output, unit),
        ``outputs/readout_bias`` ([step,] output) and the answers of every output.
    step : int, optional
        A step that was saved. Without it (default) the heads of all steps, which are paired with
        the steps of activations.
    layer : str, optional
        The layer that is to feed the head. Without it (default) the last one whose answers are
        the saved ones.

    Returns
    -------
    Readout
        Weights, names of outputs, and the saved answers that activations are held against.

    Raises
    ------
    ParameterError
        The file has no linear head or no such step or layer, or ``tree`` is no open file.
    DataError, DimensionError
        No layer, or not the one named, gives the saved answers.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np, xarray as xr
    >>> import reptools as rt
    >>> x = np.random.default_rng(0).normal(size=(8, 3))
    >>> along = {"output": ["easy"]}
    >>> head = {
    ...     "readout_weight": xr.DataArray(np.ones((1, 3)), dims=("output", "unit"), coords=along),
    ...     "readout_bias": xr.DataArray([0.5], dims="output", coords=along),
    ... }
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = f"{folder}/run.h5"
    ...     with rt.Writer(path, system="net", stimulus=np.arange(8)) as run:
    ...         easy = x.sum(axis=1) + 0.5
    ...         _ = run.append({"fc": x}, step=0, outputs={"easy": easy}, per_step=head)
    ...     with rt.open(path) as tree:
    ...         found = rt.interventions.readout(tree)
    >>> found.layer, found.names
    ('fc', ['easy'])
    """
    with naming("readout"):
        if isinstance(tree, (str, PathLike)):
            path = fspath(tree)
            raise ParameterError(f"tree is the path {path!r}. Open it first: rt.open({path!r}).")
        if not isinstance(tree, xr.DataTree):
            raise ParameterError(
                f"tree is a {type(tree).__name__}. Pass the open file, or use "
                "Readout.of(weight, bias)."
            )
        outputs = tree["outputs"].to_dataset() if "outputs" in tree.children else xr.Dataset()
        missing = [name for name in (WEIGHT, BIAS) if name not in outputs]
        if missing:
            raise ParameterError(
                f"the file saves no linear head: {some(missing)} not among its outputs. What "
                "needs none is downstream() and transfer()."
            )
        outputs = _at_step(outputs, step)
        rows = _output_of_rows(outputs)
        named = {OUTPUT: rows}
        base = Readout(
            outputs[WEIGHT].load().transpose(..., OUTPUT, UNIT).assign_coords(named),
            outputs[BIAS].load().transpose(..., OUTPUT).assign_coords(named),
            saved=_answers(outputs, rows),
            system=str(tree.attrs["system"]) if "system" in tree.attrs else None,
        )
        return _fed(base, tree, step, layer)


def _at_step(outputs: xr.Dataset, step: int | None) -> xr.Dataset:
    if step is None:
        return outputs
    steps = outputs[STEP].values.tolist() if STEP in outputs.dims else []
    if isinstance(step, bool) or step not in steps:
        raise ParameterError(
            f"step is {step!r}, and the file holds {some(steps) if steps else 'none'}. Name one of "
            "these."
        )
    return outputs.sel({STEP: step})


def _output_of_rows(outputs: xr.Dataset) -> list[str]:
    """The output that every row belongs to: ``easy``, or ``colour`` for the class ``colour=0``."""
    weight = outputs[WEIGHT]
    answered = [str(name) for name, found in outputs.items() if STIMULUS in found.dims]
    if OUTPUT not in weight.coords or UNIT not in weight.dims:
        raise DimensionError(
            f"{WEIGHT} has the dimensions {weight.dims} and must have 'unit' and a labelled "
            "'output'. Write it with names."
        )
    found = []
    for label in map(str, weight[OUTPUT].values.tolist()):
        fitting = [name for name in answered if label == name or label.startswith(f"{name}=")]
        if not fitting:
            raise ParameterError(
                f"{WEIGHT} has a row {label!r}, and the answers saved are of {some(answered)}. "
                "Save the answers of every output, which the head is checked by."
            )
        found.append(max(fitting, key=len))
    return found


def _answers(outputs: xr.Dataset, rows: Sequence[str]) -> xr.DataArray:
    """Saved logits ([step,] stimulus, output): those of one output lie together, as its rows do."""
    parts = []
    for name in dict.fromkeys(rows):
        answer = outputs[name].load()
        inner = [dim for dim in answer.dims if dim not in (STIMULUS, STEP)]
        answer = answer.rename({inner[0]: OUTPUT}) if inner else answer.expand_dims(OUTPUT)
        if answer.sizes[OUTPUT] != rows.count(name):
            raise DimensionError(
                f"{WEIGHT} has {rows.count(name)} rows of {name!r}, and its saved answers have "
                f"{answer.sizes[OUTPUT]}. Save one logit for every row."
            )
        answer = answer.drop_vars(OUTPUT, errors="ignore").assign_attrs({})
        parts.append(answer.transpose(..., STIMULUS, OUTPUT))
    joined = xr.concat(parts, dim=OUTPUT, combine_attrs="drop")
    return joined.transpose(..., STIMULUS, OUTPUT)


def _fed(base: Readout, tree: xr.DataTree, step: int | None, layer: str | None) -> Readout:
    """The head with the layer that gives its answers."""
    layers = list(tree["layers"].children) if "layers" in tree.children else []
    if layer is not None and layer not in layers:
        raise ParameterError(f"layer is {layer!r}, and the file holds {some(layers)}. Name one.")
    refused: list[DataError | DimensionError] = []
    for name in [layer] if layer else reversed(layers):
        x = tree[f"layers/{name}/activation"]
        x = x.sel({STEP: step}) if step is not None and STEP in x.dims else x
        side = labels.as_side(x, f"layer {name!r}")
        stored = max(np.finfo(dtype).eps for dtype in (x.dtype, base.weight.dtype, base.bias.dtype))
        found = replace(base, precision=float(stored))
        try:
            check = found.checked(side)
            for index in side.indices():
                with placing(side, index):
                    check(index, plain(side.slab(index)))
        except (DataError, DimensionError) as error:
            refused.append(error)
            continue
        return replace(found, layer=str(x.attrs.get("layer", name)))
    if layer:
        raise refused[0]
    last = str(refused[0]) if refused else "it holds none"
    raise DataError(
        f"none of the {len(layers)} layers of the file feeds its head. The last: {last}"
    )
