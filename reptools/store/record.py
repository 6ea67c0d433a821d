"""What the commit record says: which rows count, and whether anything is missing."""

from __future__ import annotations

from collections.abc import Sequence

from .. import schema
from .order import Place


def belongs(path: str, dims: tuple[str, ...], place: Place) -> bool:
    """Whether a batch at ``place`` carries values of this variable.

    Values of a whole step come with its first batch; what has no step comes with the first step.
    """
    if schema.STIMULUS not in dims and place.slot > 0:
        return False
    return schema.STEP in dims or place.step_index == 0


def visible(committed: Sequence[int], *, stepped: bool, planned_stimuli: int) -> dict[str, int]:
    """Extents that a reader may see: every step begun, and every stimulus that one of them has.

    Parameters
    ----------
    committed
        Complete leading stimuli per step.
    stepped
        Whether the file has steps.
    planned_stimuli
        Number of stimuli that were known beforehand; 0 where they grew.
    """
    most = max(committed, default=0)
    if not stepped:
        return {schema.STIMULUS: most}
    begun = next((i for i, n in enumerate(committed) if n == 0), len(committed))
    return {schema.STEP: begun, schema.STIMULUS: planned_stimuli or most}


def lacking(committed: Sequence[int], *, steps: int, stimuli: int, stepped: bool) -> str | None:
    """Say what is missing, e.g. ``incomplete: 7 of 12 steps``; None where nothing is.

    Parameters
    ----------
    committed
        Complete leading stimuli per step.
    steps, stimuli
        Planned numbers; 0 where unknown.
    stepped
        Whether the file has steps.
    """
    begun = sum(1 for n in committed if n)
    if not stepped:
        rows = committed[0] if committed else 0
        return f"incomplete: {rows} of {stimuli} stimuli" if rows < stimuli else None
    whole = max([stimuli, *committed])
    last = committed[begun - 1] if begun else 0
    full = begun - (begun > 0 and last < whole)
    if full == begun and begun >= steps:
        return None
    of = f" of {steps}" if steps else ""
    more = f", and {last} of {whole} stimuli of the next" if full < begun else ""
    return f"incomplete: {full}{of} steps{more}"
