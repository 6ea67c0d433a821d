"""Every word that reptools writes to disk (schema 1).

A reader or writer that needs a name from a file takes it from here, so that a word is spelt once.
"""

from __future__ import annotations

from typing import Final

VERSION: Final = 1

# root attributes
SCHEMA: Final = "schema"
KIND: Final = "kind"
SYSTEM: Final = "system"
SOURCE: Final = "source"
CREATED: Final = "created"
PROVENANCE: Final = "provenance"
PLANNED_STEPS: Final = "planned_steps"  # 0 where the number was not known beforehand
PLANNED_STIMULI: Final = "planned_stimuli"
KINDS: Final = ("activations", "recording", "rdms")

# groups
LAYERS: Final = "layers"
FEATURES: Final = "features"
OUTPUTS: Final = "outputs"
SUBJECTS: Final = "subjects"
RDMS: Final = "rdms"
GROUPS: Final = (LAYERS, FEATURES, OUTPUTS, SUBJECTS, RDMS)

# variables and their attributes
ACTIVATION: Final = "activation"
DISSIMILARITY: Final = "dissimilarity"
VALID: Final = "valid"  # where ragged data have values
LAYER: Final = "layer"  # the module path as the model spells it
FEATURE_KIND: Final = "kind"
FEATURE_KINDS: Final = ("binary", "categorical", "continuous")
COMPLEXITY: Final = "complexity"
CHANCE: Final = "chance"
COORDINATES: Final = "coordinates"  # CF: which variables of a group are coordinates
DTYPE: Final = "dtype"  # xarray: "bool" on an int8 variable
BOOL: Final = "bool"

# dimensions
STIMULUS: Final = "stimulus"
STEP: Final = "step"
OTHER: Final = "stimulus_"  # the second stimulus dimension of an RDM
UNIT: Final = "unit"
TOKEN: Final = "token"
COMPONENT: Final = "component"
FEATURE: Final = "feature"
OUTPUT: Final = "output"
OUTER_DIMS: Final = (STEP, TOKEN, "time", "repetition", "subject")

# the commit record
COMMITTED: Final = "committed"  # per step: how many leading stimuli are complete
CRC: Final = "crc"  # per step, batch and stored variable: CRC-32 of the raw bytes
BATCH_STOP: Final = "batch_stop"  # per step and batch: the stimulus after its last
COMPLETE: Final = "complete"
RECORD: Final = "record"  # dimension of length 1
BATCH: Final = "batch"
STORED: Final = "stored"  # names the variables that crc has a column for
RECORD_NAMES: Final = (COMMITTED, CRC, BATCH_STOP, COMPLETE, RECORD, BATCH, STORED)

# attributes that reptools.store.open adds to what it returns; they are not in the file
PATH: Final = "path"
SOURCE_PATH: Final = "source_path"
FINGERPRINT: Final = "fingerprint"

# the netCDF-4 convention for a dimension that has no coordinate variable
BARE_DIMENSION: Final = "This is a netCDF dimension but not a netCDF variable."

# file names: run.h5 is always whole; the others stand beside it
PARTIAL_SUFFIX: Final = ".partial"
NEW_SUFFIX: Final = ".partial.new"
UNDO_SUFFIX: Final = ".partial.undo"
UNDO_NEW_SUFFIX: Final = ".partial.undo.new"
LOCK_SUFFIX: Final = ".lock"
