"""What the transformers share: settings, positions, attention and a pre-norm block."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from reptools.errors import ParameterError

from .network import NONLINEARITIES, check_choice, check_count, check_flag, check_share

POSITIONS = ("learned", "sinusoidal")


@dataclass(frozen=True)
class TransformerConfig:
    """Shape of a transformer; the defaults are our choice.

    Parameters
    ----------
    width
        Units of each token.
    heads
        Attention heads; they share the width equally.
    blocks
        Blocks that the input's tokens pass.
    expansion
        Hidden units of a block's two-layer network, in multiples of the width.
    nonlinearity
        Of that network; as in :class:`models.architectures.mlp.MLPConfig`.
    positions
        ``"learned"``, or fixed ``"sinusoidal"`` ones; added to the embedded tokens.
    dropout
        Share of the units that is silenced during training: of the embedded tokens, and of what
        attention and the two-layer network add.
    residual_to_input
        Whether the blocks that the input's tokens pass add their own input to what attention
        brings. Without, no identity path leads from a token's embedding to its later sites: all
        that a site holds has come through attention, in every block. The residual connection
        around the two-layer network stays, for it adds what attention has brought, and so do all
        connections of the emitted tokens.

    Raises
    ------
    ParameterError
        A value out of its range.
    """

    width: int = 64
    heads: int = 4
    blocks: int = 3
    expansion: int = 4
    nonlinearity: str = "gelu"
    positions: str = "learned"
    dropout: float = 0.0
    residual_to_input: bool = True

    def __post_init__(self) -> None:
        check_count(self, "width", "heads", "blocks", "expansion")
        name = type(self).__name__
        if self.width % self.heads:
            raise ParameterError(
                f"{name}: width is {self.width}, which {self.heads} heads cannot share equally. "
                "Make width a multiple of heads."
            )
        check_choice(self, "nonlinearity", NONLINEARITIES)
        check_choice(self, "positions", POSITIONS)
        if self.positions == "sinusoidal" and self.width % 2:
            raise ParameterError(
                f"{name}: width is {self.width}, but sinusoidal positions come in pairs. "
                "Use an even width."
            )
        check_share(self, "dropout")
        check_flag(self, "residual_to_input")


class Positions(nn.Module):
    """Add to each token a vector for its place; then dropout.

    References
    ----------
    Vaswani et al. (2017). Attention is all you need. NeurIPS. (sinusoidal ones)
    """

    def __init__(self, tokens: int, config: TransformerConfig) -> None:
        super().__init__()
        if config.positions == "learned":
            self.vectors = nn.Parameter(torch.empty(tokens, config.width))
            nn.init.normal_(self.vectors, std=0.1)  # larger ones drown an image's patches
        else:
            self.register_buffer("vectors", sinusoids(tokens, config.width), persistent=False)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Map (stimulus, token, unit) to the same."""
        y: Tensor = self.dropout(x + self.vectors)
        return y


def sinusoids(tokens: int, width: int) -> Tensor:
    """Sines (even units) and cosines (odd) of the place (token, unit), waves of 2 pi to 10000 2 pi.

    Examples
    --------
    >>> sinusoids(2, 4).round(decimals=2)
    tensor([[0.0000, 1.0000, 0.0000, 1.0000],
            [0.8400, 0.5400, 0.0100, 1.0000]])
    """
    rates = 10000.0 ** (-torch.arange(0, width, 2) / width)  # (unit / 2,)
    angles = torch.arange(tokens)[:, None] * rates  # (token, unit / 2)
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)  # (token, unit)


class Attention(nn.Module):
    """Scaled dot-product attention with several heads, of tokens to a memory."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        width = config.width
        self.heads = config.heads
        # no biases before the softmax: one in the keys would never get a gradient
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width, bias=False)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, memory: Tensor, mask: Tensor | None = None) -> Tensor:
        """Map tokens (stimulus, token, unit) to what they find in a memory (stimulus, place, unit).

        `mask` (token, place) is True where a token sees a place; None: everywhere.
        """
        query = self._split(self.query(x))  # (stimulus, head, token, unit / heads)
        key = self._split(self.key(memory))  # (stimulus, head, place, unit / heads)
        value = self._split(self.value(memory))  # (stimulus, head, place, unit / heads)
        found = nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        y: Tensor = self.out(found.transpose(1, 2).flatten(2))  # (stimulus, token, unit)
        return y

    def _split(self, x: Tensor) -> Tensor:
        # (stimulus, token, unit) -> (stimulus, head, token, unit / heads)
        return x.view(*x.shape[:2], self.heads, -1).transpose(1, 2)


class Block(nn.Module):
    """Attention to a memory and to the tokens themselves, then two linear layers; pre-norm.

    With `cross` the tokens then attend to a second memory, an encoder's tokens.

    References
    ----------
    Vaswani et al. (2017). Attention is all you need. NeurIPS.
    Xiong et al. (2020). On layer normalization in the transformer architecture. ICML. (pre-norm)
    """

    def __init__(self, config: TransformerConfig, *, cross: bool = False) -> None:
        super().__init__()
        hidden = config.expansion * config.width
        self.attention_norm = nn.LayerNorm(config.width)
        self.attention = Attention(config)
        self.cross_norm = nn.LayerNorm(config.width) if cross else None
        self.cross = Attention(config) if cross else None
        self.mlp_norm = nn.LayerNorm(config.width)
        self.mlp = nn.Sequential(
            nn.Linear(config.width, hidden),
            NONLINEARITIES[config.nonlinearity](),
            nn.Linear(hidden, config.width),
        )
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self,
        x: Tensor,
        *,
        before: Tensor | None = None,
        encoded: Tensor | None = None,
        causal: bool = False,
        residual: bool = True,
    ) -> Tensor:
        """Map tokens (stimulus, token, unit) to the same shape.

        Parameters
        ----------
        x
            Tokens.
        before
            What this block was given for earlier tokens (stimulus, place, unit); seen by all.
        encoded
            An encoder's tokens (stimulus, place, unit), where there is cross-attention.
        causal
            Each token sees itself and those before it only.
        residual
            Whether attention adds to `x` or stands in its place.
        """
        seen = x if before is None else torch.cat([before, x], dim=1)  # (stimulus, place, unit)
        tokens, places = x.shape[1], seen.shape[1]
        mask = None
        if causal:  # True up to each token's own place
            mask = torch.ones(tokens, places, dtype=torch.bool, device=x.device)
            mask = mask.tril(places - tokens)  # (token, place)
        seen = self.attention_norm(seen)  # (stimulus, place, unit)
        found = self.dropout(self.attention(seen[:, places - tokens :], seen, mask))
        x = x + found if residual else found  # (stimulus, token, unit)
        if self.cross is not None and self.cross_norm is not None and encoded is not None:
            x = x + self.dropout(self.cross(self.cross_norm(x), encoded))
        y: Tensor = x + self.dropout(self.mlp(self.mlp_norm(x)))  # (stimulus, token, unit)
        return y
