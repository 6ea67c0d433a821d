"""The file that every stage meets in: written batch by batch, opened lazily, repaired.

Layout of ``run.h5`` (netCDF-4, schema 1)::

    /                   attributes: schema, kind, system, source, created, provenance
                        stimulus, [step] and coordinates of the stimuli;
                        committed, batch_stop, crc, complete: the commit record
    /features/<name>    (stimulus[, component]), attributes kind, complexity, chance
    /layers/<name>      activation ([step,] [token,] stimulus, unit), coordinates of the units
    /outputs/<name>     ([step,] stimulus[, component]) and values of whole steps (step, ...)

A file is built as ``run.h5.partial``: its structure first, then only raw bytes, each batch
followed by an 8-byte commit record, so a kill leaves a file that opens with plain tools and holds
every batch. Structure changes again only where a dimension grows or is trimmed, under a rollback
journal. ``run.h5`` is the last rename.
"""

from __future__ import annotations

from .reader import open
from .recovery import repair
from .validation import validate
from .writer import Writer

__all__ = ["Writer", "open", "repair", "validate"]
