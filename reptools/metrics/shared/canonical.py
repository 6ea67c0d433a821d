"""What CCA and SVCCA share: the summary of canonical correlations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

from reptools.arrays import Array, array_namespace
from reptools.engine.operation import Score

Summary: TypeAlias = Literal["mean", "mean_squared"]
ESTIMATOR = "correlations of canonical pairs, pooled over folds"


def summarised(correlations: Array, score: Summary, beside: Mapping[str, float]) -> Score:
    """The mean of all pairs, with the first one and what stands ``beside`` it."""
    xp = array_namespace(correlations)
    values = correlations if score == "mean" else correlations * xp.abs(correlations)
    pairs = {"first": correlations[0], "n_pairs": correlations.shape[0]}
    return Score(float(xp.mean(values)), {**pairs, **beside})
