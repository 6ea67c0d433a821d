"""What the metrics share that fit several features together."""

from __future__ import annotations

from collections.abc import Sequence

from reptools.arrays import array_namespace, to_host
from reptools.engine.context import Context
from reptools.errors import DataError, FeatureError, some
from reptools.metrics.shared.variance import folds_for
from reptools.statistics.blocks import Rows
from reptools.statistics.features.commonality import Subset, explained_together
from reptools.statistics.features.design import Feature
from reptools.statistics.features.projection import Matrix, project


def joint_shares(
    x: Rows, features: Sequence[Feature], context: Context, chosen: Sequence[Subset]
) -> Matrix:
    """Held-out share of variance that each subset of features explains, pooled."""
    projected = project(x, features, folds_for(context, features))
    total = float(to_host(array_namespace(projected.total).sum(projected.total)))
    if total <= 0:
        raise DataError("no unit varies over the test stimuli. Pass other stimuli, or cv=5.")
    return explained_together(projected, features, chosen) / total


def refuse_too_few(features: Sequence[Feature]) -> None:
    """Refuse what has no parts."""
    if len(features) < 2:
        raise FeatureError(
            f"parts need two features or more that vary, got {some(f.name for f in features)}. "
            "Pass several, or use variance_explained."
        )
