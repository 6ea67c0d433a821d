"""A decoder-only transformer: emitted tokens stand behind the input's in one causal sequence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from reptools.errors import ParameterError

from .attention import Block, TransformerConfig
from .emission import EmittingNetwork, TokenEmbedding


@dataclass(frozen=True)
class DecoderConfig(TransformerConfig):
    """Shape of the network; the defaults are our choice.

    Parameters
    ----------
    width, heads, blocks, expansion, nonlinearity, positions, dropout, residual_to_input
        As in :class:`models.architectures.attention.TransformerConfig`; at least two blocks.

    Raises
    ------
    ParameterError
        A value out of its range.
    """

    dims: ClassVar[tuple[str, ...]] = ("token", "unit")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.blocks < 2:
            raise ParameterError(
                f"DecoderConfig: blocks is {self.blocks}. Use at least 2: what the last block "
                "makes of the input's tokens is seen by no answer."
            )


class Decoder(EmittingNetwork):
    """``embedded`` input tokens, ``block1``, ``block2``, ..., and the tokens emitted after them.

    Input and emitted tokens pass the same blocks, and every token sees itself and those before it.
    A block reads what the block before it made of the input, so the last block's output at the
    input's tokens would have no part in any answer: it is neither computed nor a layer.

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
        self, shape: tuple[int, int], outputs: Sequence[int], config: DecoderConfig
    ) -> None:
        super().__init__()
        self.residual = config.residual_to_input
        self.embedded = TokenEmbedding(shape, config)
        self.blocks = nn.ModuleDict()
        for index in range(1, config.blocks + 1):
            self.blocks[f"block{index}"] = Block(config)
        self.norm = nn.LayerNorm(config.width)
        self._make_outputs(outputs, config.width)

    def activations(self, x: Tensor) -> dict[str, Tensor]:
        """Input tokens (stimulus, token, unit) of all layers that emitted tokens see."""
        x = self.embedded(x)  # (stimulus, token, unit)
        layers = {"embedded": x}
        for name, block in list(self.blocks.items())[:-1]:
            x = block(x, causal=True, residual=self.residual)  # (stimulus, token, unit)
            layers[name] = x
        return layers

    def _emit(self, layers: dict[str, Tensor], tokens: Tensor) -> Tensor:
        # each block sees what it was given for the input's tokens
        for block, before in zip(self.blocks.values(), layers.values(), strict=True):
            tokens = block(tokens, before=before, causal=True)  # (stimulus, output, unit)
        normed: Tensor = self.norm(tokens)
        return normed
