"""Forward hooks: which modules are meant, and what they answer in one pass."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from reptools.arrays import to_host
from reptools.errors import DataError, DimensionError, ParameterError, some, warn

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


@dataclass(frozen=True)
class Choice:
    """Modules by name, in the order asked for, and which of them were named in full."""

    modules: dict[str, nn.Module]
    named: frozenset[str]


def choose(model: nn.Module, layers: str | Sequence[str]) -> Choice:
    """Find modules by name or pattern, in the order asked for; each once."""
    from torch.nn import ModuleDict, ModuleList

    known = dict(model.named_modules(remove_duplicate=False))
    known.pop("")  # the model itself has no name
    # a pattern passes over containers that are never called; by its full name one is refused later
    called = [n for n, module in known.items() if not isinstance(module, (ModuleDict, ModuleList))]
    chosen: dict[str, nn.Module] = {}
    patterns = _patterns(layers)
    for pattern in patterns:
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
    return Choice(chosen, frozenset(patterns) & frozenset(chosen))


def takes_stimuli_second(model: nn.Module) -> dict[str, nn.Module]:
    """Recurrent and attention modules that were built with ``batch_first=False``."""
    return {
        name: module
        for name, module in model.named_modules()
        if getattr(module, "batch_first", None) is False
    }


def _patterns(layers: Any) -> list[str]:
    """``layers`` as a list of text; anything else is refused by its value."""
    mend = "Pass names of modules, such as layers=['fc1'], or layers='*' for all."
    if isinstance(layers, str):
        return [layers]
    if isinstance(layers, Mapping) or not isinstance(layers, Iterable):
        raise ParameterError(f"layers is {layers!r}, which names no module. {mend}")
    patterns = list(layers)
    odd = [pattern for pattern in patterns if not isinstance(pattern, str)]
    if odd:
        digits = all(isinstance(item, int) for item in odd)
        mend = f"Write it as text: {str(odd[0])!r}." if digits else mend
        raise ParameterError(
            f"layers holds {some(odd)} of type {type(odd[0]).__name__}, and modules have names. "
            f"{mend}"
        )
    if not patterns:
        raise ParameterError('layers is empty. Name at least one module, or "*" for all.')
    return patterns


@dataclass
class Hooks:
    """Forward hooks on chosen modules, and what they caught in the present pass."""

    choice: Choice
    sequence: Axes
    reduce: Callable[[torch.Tensor, Any], torch.Tensor] | None
    allow_nan: bool = False
    batch: Any = None
    fired: Counter[str] = field(default_factory=Counter)
    caught: dict[str, torch.Tensor] = field(default_factory=dict)
    handles: dict[str, Any] = field(default_factory=dict)
    watches: list[Any] = field(default_factory=list)
    # modules that a pattern matched and that the first pass did not run
    left_out: list[str] = field(default_factory=list)
    # modules that take the stimuli second, and the (token, stimulus) sizes that they were given
    second: dict[str, nn.Module] = field(default_factory=dict)
    turned: dict[str, tuple[int, int]] = field(default_factory=dict)
    # of the first pass: unit coordinates by layer, and what the provenance says of each layer
    coords: dict[str, dict[str, Values]] = field(default_factory=dict)
    described: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __enter__(self) -> Hooks:
        for name, module in self.choice.modules.items():
            self.handles[name] = module.register_forward_hook(partial(self._catch, name))
        self.watches = [
            module.register_forward_hook(partial(self._watch, name), with_kwargs=True)
            for name, module in self.second.items()
        ]
        return self

    def __exit__(self, *error: object) -> None:
        for handle in (*self.handles.values(), *self.watches):
            handle.remove()
        self.start(None)

    def start(self, batch: Any) -> None:
        """Forget the last pass; ``batch`` is the next one's."""
        self.batch = batch
        self.fired.clear()
        self.caught.clear()
        self.turned.clear()

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
            tensor = self._reduced(name, tensor)
        self.caught[name] = tensor.to("cpu", copy=True)

    def _watch(self, name: str, module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        """Note how many tokens and stimuli a module was given that takes the stimuli second."""
        given = first_tensor((args, kwargs))
        if given is not None and given.ndim == 3:
            self.turned[name] = (given.shape[0], given.shape[1])

    def _refuse_turned(self, name: str, tensor: torch.Tensor, n: int, number: int) -> None:
        """Refuse an output whose stimuli may stand second, which its shape cannot tell."""
        mend = (
            "Build it with batch_first=True, or move the stimuli first with call=lambda model, "
            "batch: model(batch.transpose(0, 1)) and reduce=lambda x, batch: x.transpose(0, 1)."
        )
        for module, (tokens, stimuli) in self.turned.items():
            if tokens == n != stimuli:
                raise DimensionError(
                    f"batch {number} has {n} rows, and module {module!r} (batch_first=False) takes "
                    f"them for the tokens of {stimuli} stimuli. {mend}"
                )
            square = tensor.ndim == 3 and tuple(tensor.shape[:2]) == (n, n) == (tokens, stimuli)
            if self.reduce is None and square:
                raise DimensionError(
                    f"layer {name!r} gives the shape {tuple(tensor.shape)} for {n} tokens of {n} "
                    f"stimuli, and module {module!r} (batch_first=False) takes the stimuli second, "
                    f"so which axis they are cannot be told. {mend}"
                )

    def _reduced(self, name: str, tensor: torch.Tensor) -> torch.Tensor:
        from torch import Tensor

        assert self.reduce is not None
        reduced = self.reduce(tensor.clone(), self.batch)
        if not isinstance(reduced, Tensor):
            raise ParameterError(
                f"reduce gives a {type(reduced).__name__} for layer {name!r}. Return a tensor."
            )
        return reduced.detach()

    def take(self, number: int, given: torch.Tensor | None) -> dict[str, Values]:
        """Return the activations of pass ``number``, as many rows as ``given`` (an input) has."""
        if not self.described:
            self._leave_out()
        modules = {name: self.choice.modules[name] for name in self.handles}
        for name in modules:
            self._refuse_not_once(name, number)
        first = self.caught[next(iter(modules))] if given is None else given
        n = len(first) if first.ndim else 1
        arrays = {}
        for name, module in modules.items():
            tensor = self.caught[name]
            self._refuse_turned(name, tensor, n, number)
            arrays[name], axes = _as_units(name, tensor, n, self.sequence)
            if not self.allow_nan:
                _refuse_not_finite(name, arrays[name], number)
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

    def _leave_out(self) -> None:
        """Take the hooks off modules that only a pattern asked for and that do not run."""
        left_out = [n for n in self.handles if not self.fired[n] and n not in self.choice.named]
        if not left_out:
            return
        if len(left_out) == len(self.handles):
            raise ParameterError(
                f"none of the modules that layers match ran in batch 0: {some(left_out)}. "
                "Choose modules that the model calls."
            )
        for name in left_out:
            self.handles.pop(name).remove()
        self.left_out = left_out
        warn(
            f"capture: left out {len(left_out)} of {len(self.choice.modules)} modules that layers "
            f"match, since they did not run in the first batch: {some(left_out, 6)}"
        )

    def _refuse_not_once(self, name: str, number: int) -> None:
        times = self.fired[name]
        if times == 0:
            around = name.rpartition(".")[0]
            pattern = f"{around}.*" if around else "*"
            raise ParameterError(
                f"layer {name!r} did not run in batch {number}: it is unused, or its weights are "
                f"used without a call. Capture {repr(around) if around else 'a module'} around "
                f"it, or use a pattern such as {pattern!r}, which passes over what does not run."
            )
        if times > 1:
            raise ParameterError(
                f"layer {name!r} ran {times} times in batch {number}, and which of its outputs is "
                "meant would be a guess. Capture a module around it that runs once."
            )


def _refuse_not_finite(name: str, values: Values, number: int) -> None:
    if values.dtype.kind != "f" or not values.size:
        return
    # NaN and infinity reach the extremes: two passes without a temporary array
    if np.isfinite(values.min()) and np.isfinite(values.max()):
        return
    bad = ~np.isfinite(values)
    rows = np.flatnonzero(bad.reshape(len(values), -1).any(1))
    raise DataError(
        f"layer {name!r} gives {np.isnan(values).sum()} NaN and {np.isinf(values).sum()} infinite "
        f"of {values.size} values in batch {number}, for {rows.size} of its {len(values)} stimuli "
        f"(rows {some(rows.tolist())}). Leave these stimuli out, mend the model, or keep the "
        "values as they are with allow_nan=True."
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
