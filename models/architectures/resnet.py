"""A small residual network for images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from .network import (
    NONLINEARITIES,
    Network,
    check_choice,
    check_counts,
    check_flag,
    check_share,
    spatial_means,
)

NORMALISATIONS = ("none", "batch")


@dataclass(frozen=True)
class ResNetConfig:
    """Shape of the network; the defaults are our choice.

    Parameters
    ----------
    channels
        Channels of each block; their number is the depth. The stem has as many as the first
        block, at the size of the image; each block halves the map.
    nonlinearity
        As in :class:`models.architectures.mlp.MLPConfig`.
    normalisation
        ``"batch"`` after every convolution, or ``"none"``.
    dropout
        Share of the pooled units that is silenced during training.
    residual
        Whether each block's input is added to its output; without, the same layers are a plain
        convolutional network.

    Raises
    ------
    ParameterError
        A value out of its range.
    """

    channels: tuple[int, ...] = (16, 32, 64)
    nonlinearity: str = "relu"
    normalisation: str = "batch"
    dropout: float = 0.0
    residual: bool = True

    dims: ClassVar[tuple[str, ...]] = ("channel", "row", "column")

    def __post_init__(self) -> None:
        check_counts(self, "channels", "the channels of each block", "(16, 32, 64)")
        check_choice(self, "nonlinearity", NONLINEARITIES)
        check_choice(self, "normalisation", NORMALISATIONS)
        check_share(self, "dropout")
        check_flag(self, "residual")


class ResidualBlock(nn.Module):
    """Two convolutions of 3 x 3 beside a shortcut; the nonlinearity follows their sum.

    The first convolution halves the map, so the shortcut is a linear map of every other pixel.

    References
    ----------
    He, Zhang, Ren & Sun (2016). Deep residual learning for image recognition. CVPR.
    """

    def __init__(self, before: int, channels: int, config: ResNetConfig) -> None:
        super().__init__()
        self.first = _convolution(before, channels, 3, 2, config)
        self.inner = NONLINEARITIES[config.nonlinearity]()
        self.second = _convolution(channels, channels, 3, 1, config)
        self.shortcut: nn.Module | None = None
        if config.residual:
            self.shortcut = _convolution(before, channels, 1, 2, config)
        self.nonlinearity = NONLINEARITIES[config.nonlinearity]()

    def forward(self, x: Tensor) -> Tensor:
        """Map (stimulus, channel before, row, column) to (stimulus, channel, row/2, column/2)."""
        y: Tensor = self.second(self.inner(self.first(x)))  # (stimulus, channel, row/2, column/2)
        if self.shortcut is not None:
            y = y + self.shortcut(x)
        z: Tensor = self.nonlinearity(y)
        return z


class ResNet(Network):
    """``stem``, ``block1``, ``block2``, ..., their spatial mean ``pooled``, and a ``readout``.

    The last block's spatial mean is ``pooled`` itself but for dropout.

    Parameters
    ----------
    shape
        (channel, row, column) of an image.
    logits
        Number of logits.
    config
        Shape of the network.
    """

    def __init__(self, shape: tuple[int, int, int], logits: int, config: ResNetConfig) -> None:
        super().__init__()
        before = config.channels[0]
        self.stem = nn.Sequential(
            _convolution(shape[0], before, 3, 1, config), NONLINEARITIES[config.nonlinearity]()
        )
        self.blocks = nn.ModuleDict()
        for index, channels in enumerate(config.channels, start=1):
            self.blocks[f"block{index}"] = ResidualBlock(before, channels, config)
            before = channels
        self.dropout = nn.Dropout(config.dropout)
        self.head = "pooled"
        self.readout = nn.Linear(before, logits)

    def activations(self, x: Tensor) -> dict[str, Tensor]:
        """Each map averaged over space, and ``pooled``: name -> (stimulus, channel)."""
        return spatial_means(x, {"stem": self.stem, **self.blocks}, self.dropout)


def _convolution(
    before: int, channels: int, kernel: int, stride: int, config: ResNetConfig
) -> nn.Sequential:
    """Convolve, and normalise where the config says so."""
    batch, padding = config.normalisation == "batch", kernel // 2
    # batch normalisation subtracts any bias: it would never get a gradient
    layers: list[nn.Module] = [nn.Conv2d(before, channels, kernel, stride, padding, bias=not batch)]
    if batch:
        layers.append(nn.BatchNorm2d(channels))
    return nn.Sequential(*layers)
