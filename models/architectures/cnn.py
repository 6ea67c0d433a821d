"""A plain convolutional network: a stack of blocks, pooled over space."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from reptools.errors import ParameterError

from .network import (
    NONLINEARITIES,
    Network,
    check_choice,
    check_count,
    check_counts,
    check_share,
    spatial_means,
)

POOLINGS = {"max": nn.MaxPool2d, "mean": nn.AvgPool2d, "none": None}
NORMALISATIONS = ("none", "batch")


@dataclass(frozen=True)
class CNNConfig:
    """Shape of the network; the defaults are our choice.

    Parameters
    ----------
    channels
        Channels of each block, from the image on; their number is the depth.
    kernel
        Side of every kernel in pixels, odd. Borders are padded with zeros, so a convolution keeps
        the size of its map.
    pooling
        What halves a block's map: the ``"max"`` or ``"mean"`` of each two by two pixels, or
        ``"none"``.
    nonlinearity
        As in :class:`models.architectures.mlp.MLPConfig`.
    normalisation
        ``"none"``, or ``"batch"`` before each nonlinearity.
    dropout
        Share of the pooled units that is silenced during training.

    Raises
    ------
    ParameterError
        A value out of its range.
    """

    channels: tuple[int, ...] = (16, 32, 64, 64)
    kernel: int = 3
    pooling: str = "max"
    nonlinearity: str = "relu"
    normalisation: str = "none"
    dropout: float = 0.0

    dims: ClassVar[tuple[str, ...]] = ("channel", "row", "column")

    def __post_init__(self) -> None:
        check_counts(self, "channels", "the channels of each block", "(32, 64)")
        check_count(self, "kernel")
        if self.kernel % 2 == 0:
            raise ParameterError(f"CNNConfig: kernel is {self.kernel}. Use an odd number.")
        check_choice(self, "pooling", POOLINGS)
        check_choice(self, "nonlinearity", NONLINEARITIES)
        check_choice(self, "normalisation", NORMALISATIONS)
        check_share(self, "dropout")


class CNN(Network):
    """Blocks ``conv1``, ``conv2``, ..., a mean over space ``pooled``, and a linear ``readout``.

    The last block's spatial mean is ``pooled`` itself but for dropout.

    Parameters
    ----------
    shape
        (channel, row, column) of an image.
    logits
        Number of logits.
    config
        Shape of the network.

    Raises
    ------
    ParameterError
        The image is too small to be halved by every block.
    """

    def __init__(self, shape: tuple[int, int, int], logits: int, config: CNNConfig) -> None:
        super().__init__()
        before, *sides = shape
        if config.pooling != "none" and min(sides) < 2 ** len(config.channels):
            raise ParameterError(
                f"CNN: images of {sides[0]} x {sides[1]} pixels cannot be halved by "
                f"{len(config.channels)} blocks. Use fewer channels entries or pooling 'none'."
            )
        self.blocks = nn.ModuleDict()
        for index, channels in enumerate(config.channels, start=1):
            self.blocks[f"conv{index}"] = _block(before, channels, config)
            before = channels
        self.dropout = nn.Dropout(config.dropout)
        self.head = "pooled"
        self.readout = nn.Linear(before, logits)

    def activations(self, x: Tensor) -> dict[str, Tensor]:
        """Each block's output averaged over space, and ``pooled``: name -> (stimulus, channel)."""
        return spatial_means(x, dict(self.blocks.items()), self.dropout)


def _block(before: int, channels: int, config: CNNConfig) -> nn.Sequential:
    batch, pooling = config.normalisation == "batch", POOLINGS[config.pooling]
    padding = config.kernel // 2
    # batch normalisation subtracts any bias: it would never get a gradient
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        convolution=nn.Conv2d(before, channels, config.kernel, padding=padding, bias=not batch)
    )
    if batch:
        layers["normalisation"] = nn.BatchNorm2d(channels)
    layers["nonlinearity"] = NONLINEARITIES[config.nonlinearity]()
    if pooling is not None:
        layers["pooling"] = pooling(2)
    return nn.Sequential(layers)
