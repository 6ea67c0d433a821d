"""Networks of one shape side by side: one buffer of parameters, one pass for all of them.

A small network leaves a core waiting for Python; ten of them in one product do not. The numbers
of a network must not depend on who is beside it, so parameters and activations of every network
lie alike in memory (multiples of 16 numbers, what vector instructions take at a time), and
:func:`models.steps.agree` compares bits before a stack is used.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .architectures.mlp import MLP

ALIGNED = 16  # float32 numbers in 64 bytes
COLUMNS = 8  # the fewest of a product

ELEMENTWISE = (nn.ReLU, nn.Tanh, nn.GELU, nn.Sigmoid, nn.Identity)


class Stack:
    """Networks whose parameters are rows of one buffer.

    Parameters
    ----------
    models
        The networks; their parameters become views of the buffer. Several must be
        :func:`stackable`; an MLP alone is a stack of one, so that it has the same numbers as in
        company. Any other architecture runs its own ``forward``.
    generators
        Where each network's dropout draws from. An architecture that is not stackable draws from
        torch's global generator instead.

    Attributes
    ----------
    parameters
        (network, parameter).
    gradient
        Of the last :meth:`backward`, in the same places.
    """

    def __init__(self, models: Sequence[nn.Module], generators: Sequence[torch.Generator]) -> None:
        self.models = list(models)
        places = _places(models[0])
        width = _aligned(max(stop for _, _, stop in places.values()))
        values, gradient = torch.zeros(2, len(models), width)
        for row, model in enumerate(models):
            for name, parameter in model.named_parameters():
                shape, start, stop = places[name]
                here = values[row, start:stop].view(shape)
                here.copy_(parameter.detach())
                parameter.data = here
        self.parameters = nn.Parameter(values)
        self.parameters.grad = self.gradient = gradient
        self._alone = not stackable(models[0])
        leaves: dict[str, Tensor]
        if self._alone:
            (self._network,) = models
            leaves = dict(self._network.named_parameters())
        else:
            leaves = {
                name: values[:, start:stop].view(-1, *shape).detach().requires_grad_()
                for name, (shape, start, stop) in places.items()
            }
            self._network = _stacked(models[0], leaves, generators)
        self._leaves = list(leaves.values())
        self._gradients = [
            gradient[:, start:stop].view(leaf.shape)
            for leaf, (_, start, stop) in zip(leaves.values(), places.values(), strict=True)
        ]

    def __call__(self, x: Tensor, answers: Tensor) -> Tensor:
        """Logits (network, stimulus, logit) of a batch for each (network, stimulus, ...)."""
        if self._alone:
            return torch.unsqueeze(self._network(x[0], answers[0]), 0)
        logits: Tensor = self._network(x, answers)
        return logits

    def backward(self, total: Tensor) -> None:
        """Put the gradient of a scalar in :attr:`gradient`."""
        # not .backward(), which would add to gradients that are views, and asks them to be dense
        found = torch.autograd.grad(total, self._leaves, allow_unused=True, materialize_grads=True)
        for place, gradient in zip(self._gradients, found, strict=True):
            place.copy_(gradient)


def stackable(model: nn.Module) -> bool:
    """Whether the network can be one of a stack: an MLP of layers that have a stacked form.

    Batch normalisation has none, for its statistics would mix networks; MLPs with it, and all
    other architectures, are trained one by one.
    """
    leaves = [module for module in model.modules() if not list(module.children())]
    known = (nn.Linear, nn.LayerNorm, nn.Dropout, *ELEMENTWISE)
    return type(model) is MLP and all(type(leaf) in known for leaf in leaves)


def _aligned(count: int) -> int:
    return -(-count // ALIGNED) * ALIGNED


def _places(model: nn.Module) -> dict[str, tuple[torch.Size, int, int]]:
    """Shape, start and stop of every parameter in a network's row."""
    places, start = {}, 0
    for name, parameter in model.named_parameters():
        stop = start + parameter.numel()
        places[name] = (parameter.shape, start, stop)
        start = _aligned(stop)
    return places


def _stacked(
    model: nn.Module, leaves: dict[str, Tensor], generators: Sequence[torch.Generator]
) -> nn.Module:
    """Copy a network, with layers that take (network, stimulus, unit) in place of its own."""
    network = copy.deepcopy(model).train()
    for name, module in list(network.named_modules()):
        stacked: nn.Module
        if isinstance(module, nn.Linear):
            stacked = _Linear(leaves[f"{name}.weight"], leaves[f"{name}.bias"])
        elif isinstance(module, nn.LayerNorm):
            stacked = _LayerNorm(leaves[f"{name}.weight"], leaves[f"{name}.bias"], module.eps)
        elif isinstance(module, nn.Dropout) and module.p > 0:
            stacked = _Dropout(module.p, generators)
        else:
            continue
        network.set_submodule(name, stacked)
    return network


class _Linear(nn.Module):
    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.weight, self.bias = weight, bias  # (network, out, in), (network, out)

    def forward(self, x: Tensor) -> Tensor:
        # products with few columns take kernels of their own, alone others than in company
        lacking = max(COLUMNS - self.weight.shape[1], 0)
        weight = nn.functional.pad(self.weight, (0, 0, 0, lacking)) if lacking else self.weight
        bias = nn.functional.pad(self.bias, (0, lacking)) if lacking else self.bias
        # a view made once would be replayed, zeros and all, at every step of the optimizer
        y = torch.baddbmm(bias[:, None], x, weight.transpose(1, 2))
        return y[..., : self.weight.shape[1]] if lacking else y  # (network, stimulus, out)


class _LayerNorm(nn.Module):
    def __init__(self, weight: Tensor, bias: Tensor, eps: float) -> None:
        super().__init__()
        self.weight, self.bias, self._eps = weight, bias, eps

    def forward(self, x: Tensor) -> Tensor:
        normal = nn.functional.layer_norm(x, x.shape[-1:], eps=self._eps)
        return normal * self.weight[:, None] + self.bias[:, None]  # (network, stimulus, unit)


class _Dropout(nn.Module):
    def __init__(self, p: float, generators: Sequence[torch.Generator]) -> None:
        super().__init__()
        self._p, self._generators = p, generators

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        kept = torch.empty_like(x)
        for row, generator in zip(kept, self._generators, strict=True):
            row.bernoulli_(1 - self._p, generator=generator)
        return x * kept.div_(1 - self._p)
