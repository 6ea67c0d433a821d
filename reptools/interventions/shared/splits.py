"""Stimuli of one half of the file."""

from __future__ import annotations

import numpy as np

from reptools.engine.context import Context
from reptools.errors import ParameterError, some
from reptools.interventions.shared.heads import Codes


def rows_of_split(context: Context, name: str | None, argument: str) -> Codes:
    """Stimuli of one value of the split; all where none is named.

    Raises
    ------
    ParameterError
        There is no split, or no such value of it.
    """
    if name is None:
        return np.arange(context.stimulus.size)
    split = context.coordinates("split")
    if split is None:
        raise ParameterError(
            f"{argument} is {name!r}, and x has no coordinate 'split' over stimuli. "
            "Leave it out, or add the coordinate."
        )
    rows = np.flatnonzero(split == name)
    if rows.size < 2:
        raise ParameterError(
            f"{argument} is {name!r}, and split holds {some(np.unique(split).tolist())}, "
            f"{rows.size} stimuli of that name. Name one with two or more."
        )
    return rows
