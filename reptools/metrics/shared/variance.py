"""What the metrics of variance share: folds, and what a fold could not fit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from reptools.arrays import Array, array_namespace, asarray_like, columns_of, to_host
from reptools.engine.context import Context
from reptools.errors import FeatureError, some, warn
from reptools.statistics.blocks import Rows, as_blocks
from reptools.statistics.features.design import Feature, joint_classes
from reptools.statistics.features.projection import Explained
from reptools.statistics.folds import Folds
from reptools.statistics.varying import Varying, rounding


def folds_for(context: Context, features: Sequence[Feature]) -> Folds:
    """The same folds for all features: a score does not depend on which others are asked for.

    So numbered folds spread no feature's classes; a splitter that asks for classes is given the
    combinations of all of them.
    """
    splitter = hasattr(context.sampling.cv, "split") and not isinstance(context.sampling.cv, str)
    return context.folds(joint_classes(features) if splitter else None)


def name_unseen(function: str, x: Rows, parts: Explained, fate: str) -> None:
    """Count units that vary, and have no variance over the test stimuli that float64 can hold."""
    still = np.flatnonzero(to_host(parts.total) <= 0)
    if not still.size:
        return
    seen = Varying(rounding(x.dtype))
    for _, block in as_blocks(x):
        seen.see(columns_of(block, still))
    unseen = np.delete(still, seen.dead)
    if unseen.size:
        warn(
            f"{function}: {unseen.size} of {parts.total.shape[0]} units vary, but over the test "
            f"stimuli not by what float64 can square ({some(unseen.tolist())}); {fate}"
        )


def estimable(function: str, features: Sequence[Feature], parts: Explained, values: Array) -> Array:
    """``values`` (feature, ...) with those missing that a fold could not fit; these are named."""
    lost = [f.name for f, good in zip(features, parts.estimable, strict=True) if not good]
    if not lost:
        return values
    fact = f"the fit rows of a fold lack a class of, or do not vary along, {some(lost)}"
    if len(lost) == len(features):
        raise FeatureError(f"{fact}. Use fewer folds, or stimuli with all classes on both sides.")
    warn(f"{function}: {fact}; score missing (NaN)")
    xp = array_namespace(values)
    good = asarray_like(parts.estimable, values)
    return xp.where(good[:, None] if values.ndim > 1 else good, values, xp.nan)
