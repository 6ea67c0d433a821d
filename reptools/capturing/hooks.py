"""Forward hooks: which modules are meant, and what they answer in one pass."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from reptools.arrays import to_host
from reptools.errors import DimensionError, ParameterError, some

if TYPE_CHECKING:
    import torch
    from torch import nn

Values = np.ndarray[Any, Any]
Axes = Literal["token", "flatten"] | None  # what a 3-D output is

# what the axes after the stimulus are called once they are flattened, by the number of all axes
FLATTENED = {
    3: ("axis_1", "axis_2"),
    4: ("channel", "row", "col"),
    5: ("channel", "depth", "row", "col"),
}


def choose(model: nn.Module, layers: str | Sequence[str]) -> dict[str, nn.Module]:
    """Find modules by name, in the order asked for; each once, whatever patterns match it."""
    from torch.nn import ModuleDict, ModuleList

    known = dict(model.named_modules(remove_duplicate=False))
    known.pop("")  # the model itself has no name
    # a pattern passes over containers that are never called; by its full name one is refused later
    called = [n for n, module in known.items() if not isinstance(module, (ModuleDict, ModuleList))]
    chosen: dict[str, nn.Module] = {}
    for pattern in [layers] if isinstance(layers, str) else layers:
        found = [pattern] if pattern in known else [n for n in called if fnmatchcase(n, pattern)]
        if not found:
            close = difflib.get_close_matches(pattern, known, n=3, cutoff=0.4)
            hint = f"Close: {some(close)}." if close else f"It has {some(known, 6) or 'none'}."
            raise ParameterError(
                f"layers: {pattern!r} matches no module of {type(model).__name__}. {hint}"
            )
        for name in found:
            if all(known[name] is not module for module in chosen.values()):
                chosen[name] = known[name]
    if not chosen:
        raise ParameterError('layers is empty. Name at least one module, or "*" for all.')
    return chosen


@dataclass
class Hooks:
    """Forward hooks on chosen modules, and what they caught in the present pass."""

    modules: Mapping[str, nn.Module]
    sequence: Axes
    reduce: Callable[[torch.Tensor, Any], torch.Tensor] | None
    batch: Any = None
    fired: Counter[str] = field(default_factory=Counter)
    caught: dict[str, torch.Tensor] = field(default_factory=dict)
    handles: list[Any] = field(default_factory=list)
    # of the first pass: unit coordinates by layer, and what the provenance says of each layer
    coords: dict[str, dict[str, Values]] = field(default_factory=dict)
    described: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __enter__(self) -> Hooks:
        for name, module in self.modules.items():
            self.handles.append(module.register_forward_hook(partial(self._catch, name)))
        return self

    def __exit__(self, *error: object) -> None:
        for handle in self.handles:
            handle.remove()
        self.start(None)

    def start(self, batch: Any) -> None:
        """Forget the last pass; ``batch`` is the next one's."""
        self.batch = batch
        self.fired.clear()
        self.caught.clear()

    def _catch(self, name: str, module: nn.Module, args: Any, output: Any) -> None:
        """Copy an output to the host at once; returning None leaves it to the network."""
        self.fired[name] += 1
        if self.fired[name] > 1:
            return
        tensor = first_tensor(output)
        if tensor is None:
            raise DimensionError(
                f"layer {name!r} gives a {type(output).__name__} without a tensor in it. "
                "Capture another layer."
            )
        tensor = tensor.detach()
        if self.reduce is not None:
            tensor = self.reduce(tensor.clone(), self.batch).detach()
        self.caught[name] = tensor.to("cpu", copy=True)

    def take(self, number: int, given: torch.Tensor | None) -> dict[str, Values]:
        """Return the activations of pass ``number``, as many rows as ``given`` (an input) has."""
        for name in self.modules:
            self._refuse_not_once(name, number)
        first = self.caught[next(iter(self.modules))] if given is None else given
        n = len(first) if first.ndim else 1
        arrays = {}
        for name, module in self.modules.items():
            tensor = self.caught[name]
            arrays[name], axes = _as_units(name, tensor, n, self.sequence)
            if name not in self.described:
                self.described[name] = {
                    "module": qualified(module),
                    "shape": list(tensor.shape[1:]),
                    "dtype": str(tensor.dtype),
                }
                if axes:
                    places = np.indices(tensor.shape[1:]).reshape(len(axes), -1)
                    self.coords[name] = dict(zip(axes, places, strict=True))
        return arrays

    def _refuse_not_once(self, name: str, number: int) -> None:
        times = self.fired[name]
        if times == 0:
            raise ParameterError(
                f"layer {name!r} did not run in batch {number}: it is unused, or its weights are "
                "used without a call. Capture a module around it."
            )
        if times > 1:
            raise ParameterError(
                f"layer {name!r} ran {times} times in batch {number}, and which of its outputs is "
                "meant would be a guess. Capture a module around it that runs once."
            )


def _as_units(
    name: str, tensor: torch.Tensor, n: int, sequence: Axes
) -> tuple[Values, tuple[str, ...]]:
    """Bring an output to (stimulus, [token,] unit); name the axes that were flattened for it."""
    shape = tuple(tensor.shape)
    if not shape or shape[0] != n:
        raise DimensionError(
            f"layer {name!r} gives the shape {shape} for a batch of {n} stimuli, which must come "
            "first. Move them there with reduce=lambda x, batch: x.transpose(0, 1)."
        )
    if tensor.is_complex():
        raise DimensionError(
            f"layer {name!r} gives complex numbers. Store a part: reduce=lambda x, batch: x.abs()."
        )
    values = to_host(tensor)
    if len(shape) <= 2 or (len(shape) == 3 and sequence == "token"):
        return values.reshape(n, 1) if len(shape) == 1 else values, ()
    if len(shape) == 3 and sequence is None:
        raise DimensionError(
            f"layer {name!r} gives the shape {shape}. Say what its axes are: sequence='token' for "
            "(stimulus, token, unit), sequence='flatten' to make every value a unit."
        )
    if len(shape) > 5:
        raise DimensionError(
            f"layer {name!r} gives {len(shape)} axes, {shape}. Bring it to (stimulus, unit) with "
            "reduce=lambda x, batch: x.flatten(1)."
        )
    return values.reshape(n, -1), FLATTENED[len(shape)]


def first_tensor(output: Any) -> torch.Tensor | None:
    """Find the first tensor of an output or a batch, however deep in tuples and mappings."""
    from torch import Tensor

    if isinstance(output, Tensor):
        return output
    if isinstance(output, Mapping):
        output = list(output.values())
    if not isinstance(output, (tuple, list)):
        return None
    found = (first_tensor(item) for item in output)
    return next((tensor for tensor in found if tensor is not None), None)


def qualified(module: nn.Module) -> str:
    """Return the dotted name of a module's class."""
    return f"{type(module).__module__}.{type(module).__qualname__}"
