"""Analyse what a network, or a brain, represents, and which features carry the score."""

from reptools import errors, interventions
from reptools._version import __version__
from reptools.capturing import capture
from reptools.engine.loops import compare
from reptools.engine.registry import list_metrics, metric
from reptools.entering.features import interactions
from reptools.metrics.alignment import cka
from reptools.metrics.canonical import cca, svcca
from reptools.metrics.coding import mdl_probe
from reptools.metrics.comparators import compare_rdms
from reptools.metrics.components import principal_components
from reptools.metrics.dissimilarity import rdm
from reptools.metrics.encoding import predictivity, unit_predictivity
from reptools.metrics.flexible_models import flexible_rsa, flexible_rsa_weights
from reptools.metrics.generalization import ccgp, probe_transfer
from reptools.metrics.geometry import effective_rank, participation_ratio, pca_spectrum
from reptools.metrics.model_rdms import partial_rsa, regression_rsa, variance_partition_rsa
from reptools.metrics.neighbours import mutual_knn
from reptools.metrics.partition import unique_variance, variance_partition
from reptools.metrics.probing import probe
from reptools.metrics.reliability import unit_reliability
from reptools.metrics.shape import procrustes
from reptools.metrics.signal import signal_variance_explained
from reptools.metrics.similarity import rsa
from reptools.metrics.sparsity import (
    lifetime_sparseness,
    population_sparseness,
    sparseness,
    total_variance,
)
from reptools.metrics.variance import unit_variance_explained, variance_explained
from reptools.store import Writer, open, repair, validate

__all__ = [
    "Writer",
    "__version__",
    "capture",
    "cca",
    "ccgp",
    "cka",
    "compare",
    "compare_rdms",
    "effective_rank",
    "errors",
    "flexible_rsa",
    "flexible_rsa_weights",
    "interactions",
    "interventions",
    "lifetime_sparseness",
    "list_metrics",
    "mdl_probe",
    "metric",
    "mutual_knn",
    "open",
    "partial_rsa",
    "participation_ratio",
    "pca_spectrum",
    "population_sparseness",
    "predictivity",
    "principal_components",
    "probe",
    "probe_transfer",
    "procrustes",
    "rdm",
    "regression_rsa",
    "repair",
    "rsa",
    "signal_variance_explained",
    "sparseness",
    "svcca",
    "total_variance",
    "unique_variance",
    "unit_predictivity",
    "unit_reliability",
    "unit_variance_explained",
    "validate",
    "variance_explained",
    "variance_partition",
    "variance_partition_rsa",
]
