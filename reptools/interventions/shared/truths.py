"""The feature that every output of a head answers."""

from __future__ import annotations

from collections.abc import Sequence

from reptools.errors import FeatureError, some
from reptools.interventions.shared.heads import Readout
from reptools.statistics.features.design import Feature


def truths(features: Sequence[Feature], readout: Readout) -> dict[str, Feature]:
    """The feature of every output.

    Raises
    ------
    FeatureError
        One is missing.
    """
    found = {one.name: one for one in features}
    missing = [name for name in readout.names if name not in found]
    if missing:
        raise FeatureError(
            f"features holds {some(found)}, and the readout also answers {some(missing)}. "
            "Pass the truth of every output under its name."
        )
    return {name: found[name] for name in readout.names}
