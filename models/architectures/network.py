"""What every architecture offers to the training stage, and checks that their settings share."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from torch import Tensor, nn

from reptools.errors import ParameterError

NONLINEARITIES: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "gelu": nn.GELU,
    "sigmoid": nn.Sigmoid,
    "linear": nn.Identity,
}


class Network(nn.Module):
    """A network that is trained to answer features, and says what it represents on the way.

    Hidden layers are made before anything whose shape depends on the outputs, so networks of one
    seed start with equal hidden layers whatever they are trained to answer.

    Attributes
    ----------
    head
        The layer of :meth:`activations` that feeds the linear readout; None where there is none.
    readout
        The last layer, with the logits of all outputs one after another.
    """

    head: str | None
    readout: nn.Linear

    def activations(self, x: Tensor) -> dict[str, Tensor]:
        """Each layer's output by name, from the input on.

        Parameters
        ----------
        x
            Inputs (stimulus, unit), (stimulus, channel, row, column) or (stimulus, token, unit).

        Returns
        -------
        dict
            (stimulus, unit) or (stimulus, token, unit) each.
        """
        raise NotImplementedError

    def forward(self, x: Tensor, answers: Tensor | None = None) -> Tensor:
        """Logits (stimulus, logit), concatenated over the outputs.

        Parameters
        ----------
        x
            Inputs, as for :meth:`activations`.
        answers
            True values (stimulus, output), int64, for networks that emit one output after
            another (:class:`models.architectures.emission.EmittingNetwork`). Others ignore them.
        """
        if self.head is None:
            raise NotImplementedError
        logits: Tensor = self.readout(self.activations(x)[self.head])
        return logits


def spatial_means(
    x: Tensor, blocks: Mapping[str, nn.Module], dropout: nn.Module
) -> dict[str, Tensor]:
    """Each block's map averaged over space, and the last one's as ``pooled``, after dropout."""
    layers: dict[str, Tensor] = {}
    for name, block in blocks.items():
        x = block(x)  # (stimulus, channel before, row, column) -> (s, channel, row/2, column/2)
        layers[name] = x.mean((2, 3))  # (stimulus, channel)
    layers["pooled"] = dropout(layers[name])  # (stimulus, channel)
    return layers


def check_choice(config: object, name: str, allowed: Collection[str]) -> None:
    """Refuse a setting that is not one of these words."""
    if (value := getattr(config, name)) not in allowed:
        raise ParameterError(
            f"{type(config).__name__}: {name} is {value!r}. Use one of {sorted(allowed)}."
        )


def check_count(config: object, *names: str) -> None:
    """Refuse settings that are not whole numbers from 1."""
    for name in names:
        if type(value := getattr(config, name)) is not int or value < 1:
            raise ParameterError(
                f"{type(config).__name__}: {name} is {value!r}. Give a whole number from 1."
            )


def check_counts(config: object, name: str, what: str, example: str) -> None:
    """Refuse a setting that is not a list of whole numbers from 1."""
    value = getattr(config, name)
    if (
        not isinstance(value, tuple)
        or not value
        or any(type(item) is not int or item < 1 for item in value)
    ):
        raise ParameterError(
            f"{type(config).__name__}: {name} is {value!r}. List {what}: {example}."
        )


def check_flag(config: object, *names: str) -> None:
    """Refuse settings that are neither true nor false."""
    for name in names:
        if type(value := getattr(config, name)) is not bool:
            raise ParameterError(
                f"{type(config).__name__}: {name} is {value!r}. Use true or false."
            )


def check_share(config: object, name: str) -> None:
    """Refuse a setting that is not a share from 0 to below 1."""
    value = getattr(config, name)
    if not isinstance(value, int | float) or not 0 <= value < 1:
        raise ParameterError(
            f"{type(config).__name__}: {name} is {value!r}. Give a share from 0 to below 1."
        )
