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

Where to find what, in the order of their imports:

=============== ==================================================================
names           names that layers, features and coordinates may have
files           the files beside ``run.h5``, the lock, free space, fsync
raw             writing rows as plain bytes where their chunks lie; CRC-32
plan            what a file will hold: variables, dimensions, chunks
inputs          labels, features and coordinates as a user passes them, checked
batch           one ``append``, taken apart into the pieces that are stored
frame           what is known before the first batch, and the plan of both
order           which step and stimuli a batch holds, or why it is out of order
record          what the commit record says: rows that count, what is missing
skeleton        making the file before the first number is written
journal         changing the structure so that a kill at any moment can be undone
finishing       cut to what was written, text labels, the last rename
sink            the open partial file: make room, commit, finish
walk            the safety walk, before anything of a file is decoded
opening         which of a run's files to read; again if its writer changed it
state           attributes and the commit record of an open file
lazy            arrays that stay in the file until they are indexed
tree            the nodes of the DataTree
several         many files as one tree, a child for each system
reader          ``open``
checksums       stored numbers against the CRCs of their batches
leftover        what a leftover holds, and where a Writer is told something else
resuming        a leftover brought to its last commit; batches that it holds already
writer          ``Writer``
recovery        ``repair``
validation      ``validate``
=============== ==================================================================
"""

from __future__ import annotations

from .reader import open
from .recovery import repair
from .validation import validate
from .writer import Writer

__all__ = ["Writer", "open", "repair", "validate"]
