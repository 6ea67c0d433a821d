"""Partial correlations: what each model of an RDM adds beyond the others."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Literal, TypeAlias

import numpy as np
import xarray as xr

from reptools.arrays import matmul
from reptools.engine.declaring import metric
from reptools.engine.inputs import Models, Rdm
from reptools.engine.operation import Score, Wiring
from reptools.errors import DataError
from reptools.statistics.rdms.comparators import prepared_rdm
from reptools.statistics.rdms.model_fits import reduced, weights

Vector: TypeAlias = np.ndarray[Any, Any]
Correlation: TypeAlias = Literal["spearman", "pearson", "whitened_pearson"]
# a part of an RDM below this share of it is the rounding of its distances
ROUNDING = 1e-12


def correlated_rdm(rdm: Vector, /, *, method: Correlation) -> Vector:
    """A condensed RDM whose product with another is their correlation."""
    return prepared_rdm(rdm, method=method).values


def partial_correlations(rdm: Vector, models: Mapping[str, Vector], /) -> Score:
    """Of each model, beside the plain ones."""
    problem = reduced(rdm, list(models.values()), list(models))
    slope = weights(problem, nonnegative=False)
    spread = (np.linalg.inv(problem.triangle) ** 2).sum(axis=1)
    left = slope**2 / spread + problem.outside  # what the others leave of the RDM
    for name, rest in zip(models, left, strict=True):
        if rest <= ROUNDING:
            raise DataError(
                f"the other models reproduce it to {rest:.2g} of its variance, so nothing is left "
                f"to correlate with model {name!r}. Leave one of the models out."
            )
    found = slope / np.sqrt(spread * left)
    plain = np.array([matmul(model, rdm) for model in models.values()])
    return Score(np.clip(found, -1.0, 1.0), {"correlation": np.clip(plain, -1.0, 1.0)})


@metric(better="higher", bounds=(-1.0, 1.0), invariances=("scale",), estimator="in sample")
def partial_rsa(
    rdm: Rdm, models: Models, /, *, method: Correlation = "spearman"
) -> Wiring[xr.DataArray]:
    """Partial correlation of an RDM with each model RDM, controlling for all the others.

    Parameters
    ----------
    rdm : DataArray (..., stimulus, stimulus_), square array or condensed vector
        The dissimilarities to account for; outer dimensions (time, subject) are kept.
    models : mapping of str to RDM, DataArray (model, stimulus, stimulus_) or list of RDMs
        At least one; with one, the score is its plain correlation. Lined up by stimulus label.
    method : {"spearman", "pearson", "whitened_pearson"}, default "spearman"
        Correlation of ranks, which asks for the same order only; of distances; or of distances
        whose errors were decorrelated (see :func:`compare_rdms`).

    Returns
    -------
    DataArray (..., model)
        Partial correlations, named "partial_rsa". The coordinate ``correlation`` holds those
        without controlling for anything.

    Raises
    ------
    StimulusError
        The RDMs have different, repeated or too few stimuli, or only one has labels.
    DataError
        A distance is not finite, an RDM is constant or no dissimilarity matrix; models are
        collinear (they are named), or the others reproduce the RDM, so that nothing is left.
    ParameterError
        An option is unknown or has a value that is not listed above.

    References
    ----------
    Clarke & Tyler (2014), Object-specific semantic coding in human perirhinal cortex, Journal of
    Neuroscience 34 (partial correlation of model RDMs).

    Examples
    --------
    >>> import reptools as rt
    >>> rdm = [1.0, 3.0, 5.0, 4.0, 6.0, 2.0]  # 4 stimuli, condensed
    >>> models = {"near": [1, 2, 3, 4, 5, 6], "groups": [0, 0, 1, 1, 1, 1]}
    >>> scores = rt.partial_rsa(rdm, models)
    >>> scores.model.values.tolist(), scores.values.round(3).tolist()
    (['near', 'groups'], [-0.325, 0.602])
    """
    return Wiring(
        partial_correlations,
        each=partial(correlated_rdm, method=method),
        dims=("model",),
        extras={"correlation": ("model",)},
    )
