"""A vision transformer: patches of an image as tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from reptools.errors import ParameterError

from .attention import Block, Positions, TransformerConfig
from .network import Network, check_count


@dataclass(frozen=True)
class ViTConfig(TransformerConfig):
    """Shape of the network; the defaults are our choice.

    Parameters
    ----------
    patch
        Side of a patch in pixels; it divides both sides of the image.
    width, heads, blocks, expansion, nonlinearity, positions, dropout, residual_to_input
        As in :class:`models.architectures.attention.TransformerConfig`. Places are counted row by
        row.

    Raises
    ------
    ParameterError
        A value out of its range.
    """

    patch: int = 4

    dims: ClassVar[tuple[str, ...]] = ("channel", "row", "column")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count(self, "patch")


class ViT(Network):
    """``embedded`` patches, ``block1``, ``block2``, ..., their mean ``pooled``, and a ``readout``.

    The mean over tokens (in place of a class token: our choice) is taken after layer normalisation.

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
        The patches do not tile the image.

    References
    ----------
    Dosovitskiy et al. (2021). An image is worth 16x16 words. ICLR.
    """

    def __init__(self, shape: tuple[int, int, int], logits: int, config: ViTConfig) -> None:
        super().__init__()
        channels, rows, columns = shape
        if rows % config.patch or columns % config.patch:
            raise ParameterError(
                f"ViT: patches of {config.patch} pixels do not tile {rows} x {columns} pixels. "
                "Use a patch that divides both sides."
            )
        tokens = (rows // config.patch) * (columns // config.patch)
        self.residual = config.residual_to_input
        self.patches = nn.Conv2d(channels, config.width, config.patch, stride=config.patch)
        self.positions = Positions(tokens, config)
        self.blocks = nn.ModuleDict()
        for index in range(1, config.blocks + 1):
            self.blocks[f"block{index}"] = Block(config)
        self.norm = nn.LayerNorm(config.width)
        self.head = "pooled"
        self.readout = nn.Linear(config.width, logits)

    def activations(self, x: Tensor) -> dict[str, Tensor]:
        """Tokens (stimulus, token, unit) of each layer, and ``pooled`` (stimulus, unit)."""
        x = self.patches(x)  # (stimulus, channel, row, column) -> (s, unit, row/patch, col/patch)
        x = self.positions(x.flatten(2).transpose(1, 2))  # (stimulus, token, unit)
        layers = {"embedded": x}
        for name, block in self.blocks.items():
            x = block(x, residual=self.residual)  # (stimulus, token, unit)
            layers[name] = x
        layers["pooled"] = self.norm(x).mean(1)  # (stimulus, unit)
        return layers
