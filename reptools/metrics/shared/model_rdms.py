"""What the metrics of several model RDMs share: how a matrix is made ready to be regressed."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import numpy as np

from reptools.statistics.rdms.comparators import Comparator, prepared_rdm

Vector: TypeAlias = np.ndarray[Any, Any]
Scale: TypeAlias = Literal["linear", "rank", "whitened"]
COMPARATOR: dict[Scale, Comparator] = {
    "linear": "pearson",
    "rank": "spearman",
    "whitened": "whitened_pearson",
}


def regressed_rdm(rdm: Vector, /, *, method: Scale) -> Vector:
    """A condensed RDM (ranked, whitened), centred and of unit norm."""
    return prepared_rdm(rdm, method=COMPARATOR[method]).values
