"""What capture takes: arguments refused by name, and batches in every usual form."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from reptools.capturing.hooks import first_tensor
from reptools.entering.door import unmasked
from reptools.errors import MissingExtraError, ParameterError, StimulusError, StoreError

if TYPE_CHECKING:
    import torch
    from torch import nn

SUFFIXES = (".h5", ".hdf5", ".nc")


def require_torch() -> None:
    """Name the extra where torch is missing."""
    try:
        import torch  # noqa: F401
    except ModuleNotFoundError:
        raise MissingExtraError("torch", "torch", "capture") from None


def refuse_arguments(
    model: Any, out: Any, features: Any, coords: Any, provenance: Any, reduce: Any, call: Any
) -> None:
    """Refuse arguments of the wrong type, before the model runs."""
    from torch.nn import Module

    if isinstance(model, type) or not isinstance(model, Module):
        what = f"the class {model.__name__}" if isinstance(model, type) else _typed(model)
        raise ParameterError(f"model is {what}. Pass a torch.nn.Module, whose layers have names.")
    if not isinstance(out, (str, PathLike)):
        raise ParameterError(f"out is {_typed(out)}. Pass a path such as out='run.h5'.")
    path = Path(out)
    if path.is_dir():
        raise StoreError(f"{path} is a folder. Name a file in it: out={str(path / 'run.h5')!r}.")
    if path.suffix not in SUFFIXES:
        raise ParameterError(
            f"out is {str(path)!r}, and what is written is HDF5. "
            f"Let it end in {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}."
        )
    for name, value in (("features", features), ("coords", coords), ("provenance", provenance)):
        if value is not None and not isinstance(value, (Mapping, xr.Dataset)):
            raise ParameterError(f"{name} is {_typed(value)}. Pass a mapping of names to values.")
    for name, value in (("reduce", reduce), ("call", call)):
        if value is not None and not callable(value):
            raise ParameterError(f"{name} is {_typed(value)}. Pass a function of two arguments.")


def refuse_batches(batches: Any) -> None:
    """Refuse what iterates over single stimuli, over names, or in an order nobody knows."""
    import torch
    from torch.utils.data import RandomSampler, SubsetRandomSampler, WeightedRandomSampler

    if isinstance(batches, (torch.Tensor, Mapping, np.ndarray, str)):
        what = type(batches).__name__
        raise ParameterError(
            f"batches is one {what}, not an iterable of batches. Pass [batch], or tensor.split(64)."
        )
    if not isinstance(batches, Iterable):
        raise ParameterError(
            f"batches is {_typed(batches)}, which holds no batches. Pass a DataLoader or a list."
        )
    sampler = getattr(batches, "sampler", None)
    if isinstance(sampler, (RandomSampler, SubsetRandomSampler, WeightedRandomSampler)):
        raise StimulusError(
            f"batches come in random order ({type(sampler).__name__}), which no labels can match. "
            "Make the DataLoader with shuffle=False."
        )


def forward(model: nn.Module, batch: Any) -> object:
    """Call the model on a batch of one of the usual forms."""
    if isinstance(batch, Mapping):
        return model(**batch)
    given = batch[0] if isinstance(batch, (tuple, list)) and batch else batch
    if first_tensor(given) is None:
        raise ParameterError(
            f"a batch is {_typed(batch)}, and not a tensor or an array of numbers, a tuple that "
            "starts with one, or a mapping. Say how the model takes it with "
            "call=lambda model, batch: ..."
        )
    return model(given)


def device_of(model: nn.Module) -> torch.device | None:
    """Tell where the model lies; None if nowhere or in several places: then batches stay put."""
    places = {tensor.device for tensor in (*model.parameters(), *model.buffers())}
    return places.pop() if len(places) == 1 else None


def precision_of(model: nn.Module) -> torch.dtype | None:
    """Tell in which precision the model computes; None if it has no weights, or several kinds."""
    kinds = {tensor.dtype for tensor in model.parameters() if tensor.is_floating_point()}
    return kinds.pop() if len(kinds) == 1 else None


def moved(batch: Any, device: torch.device | None) -> Any:
    """Move the batch's tensors to ``device``; mappings become dicts, other objects stay."""
    from torch import Tensor

    def move(item: Any) -> Any:
        return item.to(device) if isinstance(item, Tensor) and device is not None else item

    return _each(batch, move)


def as_tensors(batch: Any, precision: torch.dtype | None, device: torch.device | None) -> Any:
    """Copy arrays of numbers into tensors, fractions in the given precision; others stay."""
    import torch

    def convert(item: Any) -> Any:
        if not isinstance(item, np.ndarray) or item.dtype.kind not in "biufc":
            return item
        if isinstance(item, np.ma.MaskedArray):
            item = unmasked(item, "a batch")
        dtype = precision if item.dtype.kind == "f" else None
        native = item.astype(item.dtype.newbyteorder("="), copy=False)
        try:
            return torch.tensor(native, dtype=dtype, device=device)
        except TypeError:  # such as float128
            raise ParameterError(
                f"a batch holds an array of {item.dtype}, which torch does not know. "
                "Pass it as float32."
            ) from None

    return _each(batch, convert)


def _each(batch: Any, change: Any) -> Any:
    """Change what a batch holds, however deep in tuples, lists and mappings."""
    if isinstance(batch, Mapping):
        return {key: _each(value, change) for key, value in batch.items()}
    if isinstance(batch, (tuple, list)):
        items = [_each(item, change) for item in batch]
        return type(batch)(*items) if hasattr(batch, "_fields") else type(batch)(items)
    return change(batch)


def _typed(value: Any) -> str:
    """A value as an error names it: its type, and itself where that is short."""
    if isinstance(value, np.ndarray):
        return f"an array of {value.dtype} with the shape {value.shape}"
    if value is None:
        return "None"
    shown = repr(value)
    return f"{shown} ({type(value).__name__})" if len(shown) <= 60 else f"a {type(value).__name__}"
