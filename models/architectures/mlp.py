"""A multilayer perceptron that answers several features at once."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

from torch import Tensor, nn

from reptools.errors import ParameterError

from .network import NONLINEARITIES, Network, check_choice, check_counts, check_flag, check_share

NORMALISATIONS = {"none": None, "layer": nn.LayerNorm, "batch": nn.BatchNorm1d}


@dataclass(frozen=True)
class MLPConfig:
    """Shape of the network.

    Parameters
    ----------
    widths
        Units of each hidden layer, from the input on; their number is the depth.
    nonlinearity
        ``"relu"``, ``"tanh"``, ``"gelu"``, ``"sigmoid"`` or ``"linear"``.
    dropout
        Share of each hidden layer's units that is silenced during training, 0 to below 1.
    normalisation
        ``"none"``, or before each nonlinearity ``"layer"`` (over units) or ``"batch"`` (over the
        stimuli of a batch; in evaluation by running statistics).
    residual
        Add a hidden layer's input to its output, after nonlinearity and dropout, where the hidden
        layer before it is as wide. The network's input is never added.

    Raises
    ------
    ParameterError
        A value out of its range.
    """

    widths: tuple[int, ...] = (256, 128, 64, 64)
    nonlinearity: str = "relu"
    dropout: float = 0.0
    normalisation: str = "none"
    residual: bool = False

    dims: ClassVar[tuple[str, ...]] = ("unit",)

    def __post_init__(self) -> None:
        check_counts(self, "widths", "the units of each hidden layer", "(256, 64)")
        check_choice(self, "nonlinearity", NONLINEARITIES)
        check_share(self, "dropout")
        check_choice(self, "normalisation", NORMALISATIONS)
        check_flag(self, "residual")
        if self.residual and all(a != b for a, b in pairwise(self.widths)):
            raise ParameterError(
                f"MLPConfig: residual is True, but no two successive widths of {self.widths} are "
                "equal, so nothing would be added. Make them equal, or turn residual off."
            )


class Layer(nn.Sequential):
    """Linear map, normalisation, nonlinearity, dropout; with `residual` the input is added."""

    def __init__(self, before: int, width: int, config: MLPConfig, *, residual: bool) -> None:
        normalisation = NORMALISATIONS[config.normalisation]
        # batch normalisation subtracts any bias: it would never get a gradient
        linear = nn.Linear(before, width, bias=config.normalisation != "batch")
        super().__init__(
            OrderedDict(
                linear=linear,
                **({} if normalisation is None else {"normalisation": normalisation(width)}),
                nonlinearity=NONLINEARITIES[config.nonlinearity](),
                dropout=nn.Dropout(config.dropout),
            )
        )
        self.residual = residual

    def forward(self, x: Tensor) -> Tensor:
        """Map (stimulus, width before) to (stimulus, width)."""
        y = x
        for module in self:
            y = module(y)
        return x + y if self.residual else y


class MLP(Network):
    """Hidden layers ``fc1``, ``fc2``, ... and a linear ``readout``.

    PyTorch's own layers and default initialisation.

    Parameters
    ----------
    inputs
        Number of input units.
    logits
        Number of logits.
    config
        Shape of the network.
    """

    def __init__(self, inputs: int, logits: int, config: MLPConfig) -> None:
        super().__init__()
        self.hidden = nn.ModuleDict()
        before = inputs
        for index, width in enumerate(config.widths, start=1):
            residual = config.residual and index > 1 and width == before
            self.hidden[f"fc{index}"] = Layer(before, width, config, residual=residual)
            before = width
        self.head = f"fc{len(config.widths)}"
        self.readout = nn.Linear(before, logits)

    def activations(self, x: Tensor) -> dict[str, Tensor]:
        """Each hidden layer's output: name -> (stimulus, unit)."""
        layers: dict[str, Tensor] = {}
        for name, layer in self.hidden.items():
            x = layer(x)  # (stimulus, width before) -> (stimulus, width)
            layers[name] = x
        return layers
