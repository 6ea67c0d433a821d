"""Outputs one after another: each token that is emitted sees the answers before it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..objective import widths
from .attention import Positions, TransformerConfig
from .network import Network


class TokenEmbedding(nn.Module):
    """Embed input tokens, one-hot over symbols or any vectors, and add positions."""

    def __init__(self, shape: tuple[int, int], config: TransformerConfig) -> None:
        super().__init__()
        tokens, units = shape
        self.symbols = nn.Linear(units, config.width, bias=False)
        nn.init.normal_(self.symbols.weight)  # as nn.Embedding has it
        self.positions = Positions(tokens, config)

    def forward(self, x: Tensor) -> Tensor:
        """Map (stimulus, token, input unit) to (stimulus, token, unit)."""
        y: Tensor = self.positions(self.symbols(x))
        return y


class EmittingNetwork(Network):
    """A network that emits its outputs one after another, in their order.

    The first token emitted is a start token, each further one an embedding of the answer before:
    the true one where it is given, else the network's own (greedy). A token's answer is read from
    its last layer. Every output has embeddings of its own, so emitted tokens need no positions.
    Input tokens never see emitted ones, and :meth:`activations` has the input's tokens only.

    Subclasses make their hidden layers, then call :meth:`_make_outputs`, and say in :meth:`_emit`
    what emitted tokens become.
    """

    head = None

    def _make_outputs(self, outputs: Sequence[int], width: int) -> None:
        """Make the layers whose shape depends on the outputs (numbers of classes)."""
        self._widths = widths(outputs)
        self.start = nn.Parameter(torch.empty(width))
        nn.init.normal_(self.start)
        # the last answer is fed back to nobody
        self.answers = nn.ModuleList(nn.Embedding(classes, width) for classes in outputs[:-1])
        self.readout = nn.Linear(width, sum(self._widths))

    def _emit(self, layers: dict[str, Tensor], tokens: Tensor) -> Tensor:
        """Map embedded emitted tokens (stimulus, output, unit) to their last layer, same shape.

        `layers` is what :meth:`activations` gives; a token sees emitted tokens up to itself.
        """
        raise NotImplementedError

    def forward(self, x: Tensor, answers: Tensor | None = None) -> Tensor:
        """Logits (stimulus, logit), concatenated over the outputs.

        Parameters
        ----------
        x
            Inputs (stimulus, token, unit).
        answers
            True values (stimulus, output), int64, in the order of the outputs. Where one is -1
            (not known), and everywhere without `answers`, the network's own answer is fed back.
        """
        layers = self.activations(x)
        if answers is None:
            answers = torch.full((len(x), len(self._widths)), -1, device=x.device)
        fed = answers[:, :-1]  # (stimulus, output - 1)
        if (fed < 0).any():
            fed = self._fill(layers, fed)
        return torch.cat(self._logits(layers, fed), dim=1)  # (stimulus, logit)

    @torch.no_grad()
    def _fill(self, layers: dict[str, Tensor], answers: Tensor) -> Tensor:
        """Put the network's own answers where none is known (stimulus, output - 1)."""
        fed = answers.clone()
        for i in range(fed.shape[1]):
            logits = self._logits(layers, fed[:, :i])[i]  # (stimulus, width of output i)
            own = logits[:, 0] > 0 if logits.shape[1] == 1 else logits.argmax(1)  # (stimulus,)
            fed[:, i] = torch.where(fed[:, i] < 0, own.long(), fed[:, i])
        return fed

    def _logits(self, layers: dict[str, Tensor], fed: Tensor) -> list[Tensor]:
        """Logits (stimulus, width) of the outputs after 0, 1, ... of the answers fed back."""
        start = self.start.expand(len(fed), 1, -1)  # (stimulus, 1, unit)
        tables = list(self.answers)[: fed.shape[1]]
        embedded = [table(fed[:, i : i + 1]) for i, table in enumerate(tables)]  # (s, 1, unit)
        tokens = torch.cat([start, *embedded], dim=1)  # (stimulus, output, unit)
        emitted = self.readout(self._emit(layers, tokens))  # (stimulus, output, logit)
        parts = torch.split(emitted, self._widths, dim=2)  # of each output (s, output, width)
        return [parts[i][:, i] for i in range(tokens.shape[1])]
