"""Any torch model and its inputs to one activations file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from reptools.capturing import accepting
from reptools.capturing.hooks import (
    Hooks,
    Values,
    choose,
    first_tensor,
    qualified,
    takes_stimuli_second,
)
from reptools.errors import ParameterError, StimulusError, naming
from reptools.store import Writer
from reptools.store.inputs import labels as checked_labels

if TYPE_CHECKING:
    import torch
    from torch import nn


def capture(
    model: nn.Module,
    batches: Iterable[Any],
    /,
    *,
    out: str | PathLike[str],
    layers: str | Sequence[str],
    stimulus: Any = None,
    features: Any = None,
    coords: Mapping[str, Any] | None = None,
    system: str | None = None,
    sequence: Literal["token", "flatten"] | None = None,
    reduce: Callable[[torch.Tensor, Any], torch.Tensor] | None = None,
    call: Callable[[nn.Module, Any], object] | None = None,
    provenance: Mapping[str, Any] | None = None,
    dtype: str = "float32",
    allow_nan: bool = False,
    overwrite: bool = False,
) -> Path:
    """Run a torch model over batches of stimuli and write what its layers answer to one file.

    The model runs in evaluation mode and without gradients; the mode of every submodule is
    put back and every hook is removed afterwards, also where something fails. Hooks copy and
    never alter an output, and an in-place operation later in the network does not reach the copy.
    Each batch is written when it is done, so memory holds one batch.

    Parameters
    ----------
    model : torch.nn.Module
        On any device, in any precision.
    batches : iterable
        Batches in the order of ``stimulus``: tensors or numpy arrays, tuples or lists (the first
        element is the input, labels beside it are ignored), or mappings (passed as keyword
        arguments). Numpy arrays of numbers are copied into tensors, fractions in the precision of
        the model, where it has only one. Tensors are moved to the model's device, unless the
        model lies on several.
    out : path
        File to write, ending in ``.h5`` (or ``.nc``, ``.hdf5``), for instance ``"run.h5"``. It
        stands as ``run.h5.partial`` until all is in.
    layers : str or sequence of str
        Names of modules (``model.named_modules()``) or shell patterns such as ``"blocks.*.mlp"``,
        in which ``*`` matches dots as well. The file keeps their order. Modules that only a
        pattern asks for and that do not run in the first batch are left out with a warning; one
        that is named in full must run.
    stimulus : array (stimulus,) of str or int, optional
        Unique labels, which is how files are lined up with one another. Without it stimuli are
        numbered from 0 in the order of the batches, and the provenance says so: such a file
        matches only files of the same batches in the same order.
    features, coords : optional
        What is known about the stimuli, as for :class:`reptools.Writer`. They need ``stimulus``.
    system : str, optional
        Name of the network in results; by default the name of its class.
    sequence : {"token", "flatten"}, optional
        What a 3-D output is, since its shape does not tell: ``"token"`` stores
        (stimulus, token, unit), ``"flatten"`` makes every value a unit, with the coordinates
        ``axis_1`` and ``axis_2``. Outputs of convolutions, (stimulus, channel, row, col) or with
        ``depth`` before ``row``, are always flattened, with these names as unit coordinates.
    reduce : callable, optional
        ``reduce(output, batch) -> tensor (stimulus, ...)`` on each output before it is stored,
        for instance ``lambda x, batch: x.mean((2, 3))`` or a mean over an attention mask.
    call : callable, optional
        ``call(model, batch)`` runs the model once on one batch, for models that want something
        else than the batches above. Its answer is ignored, and numpy arrays reach it as they are.
    provenance : mapping, optional
        Anything worth keeping with the file (weights, seed ...), added to what is recorded here:
        layers with their class, shape and precision, mode, device and number of parameters.
    dtype : str, default "float32"
        Precision in the file, which holds float16 and bfloat16 outputs exactly.
    allow_nan : bool, default False
        Keep NaN and infinite values. By default the first batch that has one is an error, since
        every metric refuses them later; the batches before it stay in the leftover.
    overwrite : bool, default False
        Replace an existing file.

    Returns
    -------
    Path
        The file, for :func:`reptools.open`.

    Raises
    ------
    ParameterError
        A pattern matches no module; a named layer did not run, or a layer ran more than once, in
        a forward pass; an argument or a batch is of an unknown type.
    StimulusError
        The batches do not add up to the labels, there is none, or a DataLoader shuffles them.
    DimensionError
        An output holds no tensor, has another number of rows than the batch has stimuli, or is
        3-D without ``sequence``; or the model has a module with ``batch_first=False``, and which
        axis the stimuli are cannot be told.
    DataError
        A layer gives NaN or infinite values.
    StoreError
        The file exists, is a folder, or cannot be written.
    MissingExtraError
        torch is not installed.

    Warns
    -----
    ReptoolsWarning
        Modules that a pattern matches do not run; they are counted and named.

    Examples
    --------
    >>> import torch
    >>> import reptools as rt
    >>> model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU(inplace=True))
    >>> images = torch.linspace(-1, 1, 24).reshape(6, 4)
    >>> path = rt.capture(
    ...     model, images.split(2), out="run.h5", layers="*", stimulus=list("abcdef")
    ... )
    >>> dict(rt.open(path)["layers/0"].activation.sizes)
    {'stimulus': 6, 'unit': 3}
    """
    with naming("capture"):
        accepting.require_torch()
        accepting.refuse_arguments(model, out, features, coords, provenance, reduce, call)
        labels = None if stimulus is None else checked_labels(stimulus)
        if labels is None and not (features is None and coords is None):
            raise ParameterError(
                "features and coords were given without stimulus, so their order cannot be "
                "checked. Pass the labels as stimulus=."
            )
        accepting.refuse_batches(batches)
        if sequence not in (None, "token", "flatten"):
            raise ParameterError(f"sequence is {sequence!r}. Pass 'token', 'flatten' or None.")
        choice, second = choose(model, layers), takes_stimuli_second(model)
        hooks = Hooks(choice, sequence, reduce, allow_nan, second=second)
        create = partial(
            Writer,
            out,
            system=type(model).__name__ if system is None else system,
            stimulus=labels,
            features=features,
            coords=coords,
            source=qualified(model),
            dtype=dtype,
            overwrite=overwrite,
        )
        with _evaluating(model), hooks, ExitStack() as stack:
            writer, done = None, 0
            for arrays in _passes(model, batches, call, hooks):
                first, done = done, done + len(next(iter(arrays.values())))
                _refuse_more(done, labels)
                if writer is None:  # only now are the units and their coordinates known
                    record = {"capture": _record(model, hooks, numbered=labels is None)}
                    record = {**(provenance or {}), **record}
                    writer = create(units=hooks.coords, provenance=record)
                    stack.enter_context(writer)
                writer.append(arrays, stimulus=np.arange(first, done) if labels is None else None)
                del arrays  # the next pass makes its own
            _refuse_fewer(done, labels)
        return Path(out)


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Set evaluation mode without fused attention; afterwards everything is as it was."""
    from torch.backends import mha

    modes = [(module, module.training) for module in model.modules()]
    # fused encoder layers skip their submodules unless these have hooks, and round otherwise: the
    # stored values would depend on which layers were asked for
    fused = mha.get_fastpath_enabled()
    mha.set_fastpath_enabled(False)
    try:
        model.eval()
        yield
    finally:
        mha.set_fastpath_enabled(fused)
        for module, mode in modes:
            module.training = mode


def _passes(
    model: nn.Module,
    batches: Iterable[Any],
    call: Callable[[nn.Module, Any], object] | None,
    hooks: Hooks,
) -> Iterator[dict[str, Values]]:
    """Run one forward pass a batch: layer -> array (stimulus, [token,] unit)."""
    import torch

    device = accepting.device_of(model)
    precision = None if call else accepting.precision_of(model)
    for number, given in enumerate(batches):
        batch = accepting.moved(given, device)
        if call is None:  # what call= makes of a batch is its own affair
            batch = accepting.as_tensors(batch, precision, device)
        hooks.start(batch)
        with torch.no_grad():  # not around the loop: the loader's own code is none of ours
            (call or accepting.forward)(model, batch)
        # what call= makes of a batch is unknown, so there the first layer counts the stimuli
        yield hooks.take(number, None if call else first_tensor(batch))


def _record(model: nn.Module, hooks: Hooks, numbered: bool) -> dict[str, Any]:
    return {
        "layers": hooks.described,
        "left_out": hooks.left_out,
        "mode": "eval",
        "grad": False,
        "device": str(accepting.device_of(model) or "several or none"),
        "parameters": sum(tensor.numel() for tensor in model.parameters()),
        "sequence": hooks.sequence,
        "reduced": hooks.reduce is not None,
        "stimulus": "numbered from 0 in the order of the batches" if numbered else "given",
    }


def _refuse_more(done: int, labels: Values | None) -> None:
    if labels is not None and done > len(labels):
        raise StimulusError(
            f"batches hold at least {done} stimuli and stimulus has {len(labels)} labels. "
            "Pass one label for each stimulus."
        )


def _refuse_fewer(done: int, labels: Values | None) -> None:
    if not done:
        raise StimulusError("batches is empty. A generator can be read only once: make a new one.")
    if labels is not None and done < len(labels):
        raise StimulusError(
            f"batches held {done} stimuli and stimulus has {len(labels)} labels. "
            "Pass one label for each stimulus; does the loader drop its last batch?"
        )
