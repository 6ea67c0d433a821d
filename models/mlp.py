"""A multilayer perceptron that answers several binary features at once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from reptools.errors import ParameterError

NONLINEARITIES: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "gelu": nn.GELU,
    "sigmoid": nn.Sigmoid,
    "linear": nn.Identity,
}


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

    Raises
    ------
    ParameterError
        A value out of its range.
    """

    widths: tuple[int, ...] = (256, 128, 64, 64)
    nonlinearity: str = "relu"
    dropout: float = 0.0

    def __post_init__(self) -> None:
        if not self.widths or any(type(width) is not int or width < 1 for width in self.widths):
            raise ParameterError(
                f"MLPConfig: widths is {self.widths!r}. List the units of each hidden layer: "
                "(256, 64)."
            )
        if self.nonlinearity not in NONLINEARITIES:
            raise ParameterError(
                f"MLPConfig: nonlinearity is {self.nonlinearity!r}. "
                f"Use one of {sorted(NONLINEARITIES)}."
            )
        if not 0 <= self.dropout < 1:
            raise ParameterError(
                f"MLPConfig: dropout is {self.dropout!r}. Give a share from 0 to below 1."
            )


class MLP(nn.Module):
    """Hidden layers ``fc1``, ``fc2``, ... and a linear ``readout`` with one logit per output.

    PyTorch's own layers and default initialisation. The hidden layers are made before the readout,
    so networks of one seed start with equal hidden layers whatever they are trained to answer.
    """

    def __init__(self, inputs: int, outputs: int, config: MLPConfig) -> None:
        super().__init__()
        self.hidden = nn.ModuleDict()
        before = inputs
        for index, width in enumerate(config.widths, start=1):
            self.hidden[f"fc{index}"] = nn.Sequential(
                OrderedDict(
                    linear=nn.Linear(before, width),
                    nonlinearity=NONLINEARITIES[config.nonlinearity](),
                    dropout=nn.Dropout(config.dropout),
                )
            )
            before = width
        self.readout = nn.Linear(before, outputs)

    def activations(self, x: Tensor) -> dict[str, Tensor]:
        """Each hidden layer's output, after the nonlinearity: name -> (stimulus, unit)."""
        layers: dict[str, Tensor] = {}
        for name, layer in self.hidden.items():
            x = layer(x)  # (stimulus, width before) -> (stimulus, width)
            layers[name] = x
        return layers

    def forward(self, x: Tensor) -> Tensor:
        """Logits (stimulus, output) of inputs (stimulus, input unit)."""
        for layer in self.hidden.values():
            x = layer(x)
        logits: Tensor = self.readout(x)
        return logits
