"""Several models of one RDM at once: the weights that together account for it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np
import xarray as xr

from reptools.engine.declaring import metric
from reptools.engine.inputs import Models, Rdm
from reptools.engine.operation import Score, Wiring
from reptools.metrics.shared.model_rdms import Scale, Vector, regressed_rdm
from reptools.statistics.rdms.model_fits import explained, reduced, weights


def regressed(rdm: Vector, models: Mapping[str, Vector], /, *, nonnegative: bool) -> Score:
    """Weights, and what all models and each of them explain."""
    problem = reduced(rdm, list(models.values()), list(models))
    every = range(len(models))
    r2 = explained(problem, every, nonnegative=nonnegative)
    others = [[j for j in every if j != i] for i in every]
    unique = np.array([r2 - explained(problem, some, nonnegative=nonnegative) for some in others])
    return Score(
        weights(problem, nonnegative=nonnegative),
        {"unique_r2": unique, "r2": r2, "shared_r2": r2 - unique.sum()},
    )


@metric(better="neither", invariances=("scale",), estimator="in sample")
def regression_rsa(
    rdm: Rdm, models: Models, /, *, method: Scale = "linear", nonnegative: bool = False
) -> Wiring[xr.DataArray]:
    """Standardised weights of model RDMs that together account for an RDM.

    Parameters
    ----------
    rdm : DataArray (..., stimulus, stimulus_), square array or condensed vector
        The dissimilarities to account for; outer dimensions (time, subject) are kept.
    models : mapping of str to RDM, DataArray (model, stimulus, stimulus_) or list of RDMs
        At least one. Lined up by stimulus label.
    method : {"linear", "rank", "whitened"}, default "linear"
        Least squares of distances, of their ranks (a monotone relation is enough), or of
        distances whose errors were decorrelated, for Sigma_K = I (see :func:`compare_rdms`):
        generalised least squares.
    nonnegative : bool, default False
        Weights may not be negative, as when every model is a part of the representation, whose
        squared distances add up.

    Returns
    -------
    DataArray (..., model)
        Weights of models of standard deviation 1 for an RDM of standard deviation 1, with an
        intercept, named "regression_rsa". Coordinates: ``r2`` of all models together (in
        sample); ``unique_r2`` of each model, lost when it is left out; ``shared_r2`` =
        r2 - sum of unique_r2, which is negative where models help one another.

    Raises
    ------
    StimulusError
        The RDMs have different, repeated or too few stimuli, or only one has labels.
    DataError
        A distance is not finite, an RDM is constant or no dissimilarity matrix, or models are
        collinear (they are named).
    ParameterError
        An option is unknown or has a value that is not listed above.

    See Also
    --------
    variance_partition_rsa : what each set of models shares.
    flexible_rsa : weights that are tested on other stimuli.

    References
    ----------
    Khaligh-Razavi & Kriegeskorte (2014), Deep supervised, but not unsupervised, models may
    explain IT cortical representation, PLOS Computational Biology 10 (weighted model RDMs).

    Examples
    --------
    >>> import reptools as rt
    >>> rdm = [1.0, 3.0, 5.0, 4.0, 6.0, 2.0]  # 4 stimuli, condensed
    >>> models = {"near": [1, 2, 3, 4, 5, 6], "groups": [0, 0, 1, 1, 1, 1]}
    >>> weights = rt.regression_rsa(rdm, models)
    >>> weights.values.round(3).tolist(), round(float(weights.r2), 3)
    ([-0.455, 0.997], 0.451)
    """
    return Wiring(
        partial(regressed, nonnegative=nonnegative),
        each=partial(regressed_rdm, method=method),
        dims=("model",),
        extras={"unique_r2": ("model",), "r2": (), "shared_r2": ()},
    )
