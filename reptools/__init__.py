"""Analyse what a network, or a brain, represents, and which features carry the score."""

from reptools import errors, interventions, plots
from reptools._version import __version__
from reptools.capturing import capture
from reptools.engine.declaring import metric
from reptools.engine.loops import compare, compute
from reptools.engine.registry import list_metrics
from reptools.engine.table import table
from reptools.entering.features import interactions
from reptools.metrics.cca import cca
from reptools.metrics.ccgp import ccgp
from reptools.metrics.cka import cka
from reptools.metrics.compare_rdms import compare_rdms
from reptools.metrics.effective_rank import effective_rank
from reptools.metrics.flexible_rsa import flexible_rsa
from reptools.metrics.flexible_rsa_weights import flexible_rsa_weights
from reptools.metrics.lifetime_sparseness import lifetime_sparseness
from reptools.metrics.mdl_probe import mdl_probe
from reptools.metrics.mutual_knn import mutual_knn
from reptools.metrics.partial_rsa import partial_rsa
from reptools.metrics.participation_ratio import participation_ratio
from reptools.metrics.pca_spectrum import pca_spectrum
from reptools.metrics.population_sparseness import population_sparseness
from reptools.metrics.predictivity import predictivity
from reptools.metrics.principal_components import principal_components
from reptools.metrics.probe import probe
from reptools.metrics.probe_transfer import probe_transfer
from reptools.metrics.procrustes import procrustes
from reptools.metrics.rdm import rdm
from reptools.metrics.regression_rsa import regression_rsa
from reptools.metrics.rsa import rsa
from reptools.metrics.signal_variance_explained import signal_variance_explained
from reptools.metrics.sparseness import sparseness
from reptools.metrics.svcca import svcca
from reptools.metrics.total_variance import total_variance
from reptools.metrics.unique_variance import unique_variance
from reptools.metrics.unit_predictivity import unit_predictivity
from reptools.metrics.unit_reliability import unit_reliability
from reptools.metrics.unit_variance_explained import unit_variance_explained
from reptools.metrics.variance_explained import variance_explained
from reptools.metrics.variance_partition import variance_partition
from reptools.metrics.variance_partition_rsa import variance_partition_rsa
from reptools.reporting import report
from reptools.scoring import scorer
from reptools.store import Writer, repair, validate
from reptools.store import open as open

__all__ = [
    "Writer",
    "__version__",
    "capture",
    "cca",
    "ccgp",
    "cka",
    "compare",
    "compare_rdms",
    "compute",
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
    "partial_rsa",
    "participation_ratio",
    "pca_spectrum",
    "plots",
    "population_sparseness",
    "predictivity",
    "principal_components",
    "probe",
    "probe_transfer",
    "procrustes",
    "rdm",
    "regression_rsa",
    "repair",
    "report",
    "rsa",
    "scorer",
    "signal_variance_explained",
    "sparseness",
    "svcca",
    "table",
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


def __dir__() -> list[str]:
    """What users know, and no room of the package; ``open`` stands here only.

    ``from reptools import *`` would replace a builtin with it.
    """
    return sorted([*__all__, "open"])
