"""Activations as responses of at least 0, and how few of them carry all."""

from __future__ import annotations

from typing import Literal, TypeAlias

from reptools.arrays import Array, array_namespace, float64, ratio
from reptools.engine.operation import Score
from reptools.errors import DataError

Negative: TypeAlias = Literal["rectify", "refuse"]


def response(block: Array, negative: Negative) -> tuple[Array, Array]:
    """Responses in float64, with negative ones 0, and which were negative."""
    xp = array_namespace(block)
    under = block < 0
    if negative == "refuse" and bool(xp.any(under)):
        raise DataError(
            f"x has negative activations, down to {float(xp.min(block)):.3g}; sparseness is "
            "defined for responses of at least 0. Pass rates, or negative='rectify'."
        )
    wide = float64(block)
    return xp.where(under, xp.zeros_like(wide), wide), under


def sparse(sums: Array, squares: Array, below: Array, n: int) -> Score:
    """From sums over the n stimuli (or units) of responses and their squares."""
    treves_rolls = ratio(sums * sums / n, squares)
    value = (1 - treves_rolls) / (1 - 1 / n)
    return Score(value, {"treves_rolls": treves_rolls, "negative": below / n})
