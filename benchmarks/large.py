"""Two layers of a million stimuli, 8 GB: that memory stays small is what is measured."""

from __future__ import annotations

from .rows import Contender, Row
from .streaming import MEGABYTE, NAMES, file, from_file, limit


def rows(quick: bool) -> list[Row]:
    n, p = (20_000, 64) if quick else (1_000_000, 1024)
    return [
        Row(
            work=f"{NAMES[work]}, from a file",
            inputs=file,
            sizes={"n": n, "p": p},
            ours=Contender("reptools", from_file, options={"work": work}),
            limit=limit(work, n, p),
            once=True,
            memory=700 * MEGABYTE,
            bound="blocks in memory, and sums over units in float64",
        )
        for work in NAMES
    ]
