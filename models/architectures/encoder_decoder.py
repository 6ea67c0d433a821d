"""An encoder-decoder transformer: emitted tokens attend to an encoder's input tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from .attention import Block, TransformerConfig
from .emission import EmittingNetwork, TokenEmbedding
from .network import check_count


@dataclass(frozen=True)
class EncoderDecoderConfig(TransformerConfig):
    """Shape of the network; the defaults are our choice.

    Parameters
    ----------
    width, heads, blocks, expansion, nonlinearity, positions, dropout, residual_to_input
        As in :class:`models.architectures.attention.TransformerConfig`; `blocks` and
        `residual_to_input` are the encoder's.
    decoder_blocks
        Blocks that the emitted tokens pass.

    Raises
    ------
    ParameterError
        A value out of its range.
    """

    decoder_blocks: int = 2

    dims: ClassVar[tuple[str, ...]] = ("token", "unit")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count(self, "decoder_blocks")


class EncoderDecoder(EmittingNetwork):
    """The encoder's ``embedded``, ``block1``, ``block2``, ..., ``encoded``, and emitted tokens.

    Input tokens all see one another. ``encoded`` is the last block's output after layer
    normalisation, the one layer that the decoder sees.

    Parameters
    ----------
    shape
        (token, unit) of an input.
    outputs
        Number of classes of each output, in the order of emission.
    config
        Shape of the network.
    """

    def __init__(
        self, shape: tuple[int, int], outputs: Sequence[int], config: EncoderDecoderConfig
    ) -> None:
        super().__init__()
        self.residual = config.residual_to_input
        self.embedded = TokenEmbedding(shape, config)
        self.blocks = nn.ModuleDict()
        for index in range(1, config.blocks + 1):
            self.blocks[f"block{index}"] = Block(config)
        self.encoded = nn.LayerNorm(config.width)
        self.decoder = nn.ModuleList(
            Block(config, cross=True) for _ in range(config.decoder_blocks)
        )
        self.norm = nn.LayerNorm(config.width)
        self._make_outputs(outputs, config.width)

    def activations(self, x: Tensor) -> dict[str, Tensor]:
        """Input tokens (stimulus, token, unit) of all layers of the encoder."""
        x = self.embedded(x)  # (stimulus, token, unit)
        layers = {"embedded": x}
        for name, block in self.blocks.items():
            x = block(x, residual=self.residual)  # (stimulus, token, unit)
            layers[name] = x
        layers["encoded"] = self.encoded(x)  # (stimulus, token, unit)
        return layers

    def _emit(self, layers: dict[str, Tensor], tokens: Tensor) -> Tensor:
        for block in self.decoder:
            tokens = block(tokens, encoded=layers["encoded"], causal=True)  # (s, output, unit)
        normed: Tensor = self.norm(tokens)
        return normed
