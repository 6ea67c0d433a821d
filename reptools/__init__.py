"""Analyse what a network, or a brain, represents, and which features carry the score."""

from reptools import errors
from reptools._version import __version__
from reptools.capturing import capture
from reptools.comparing import compare
from reptools.metrics.alignment import cka
from reptools.metrics.comparators import compare_rdms
from reptools.metrics.components import principal_components
from reptools.metrics.dissimilarity import rdm
from reptools.metrics.probing import probe
from reptools.metrics.similarity import rsa
from reptools.metrics.variance import (
    sparseness,
    total_variance,
    unit_variance_explained,
    variance_explained,
)
from reptools.registry import list_metrics, metric
from reptools.store import Writer, open, repair, validate

__all__ = [
    "Writer",
    "__version__",
    "capture",
    "cka",
    "compare",
    "compare_rdms",
    "errors",
    "list_metrics",
    "metric",
    "open",
    "principal_components",
    "probe",
    "rdm",
    "repair",
    "rsa",
    "sparseness",
    "total_variance",
    "unit_variance_explained",
    "validate",
    "variance_explained",
]
