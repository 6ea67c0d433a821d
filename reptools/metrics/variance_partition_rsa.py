"""The explained variance of an RDM, split by which of its models can account for it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import xarray as xr

from reptools.engine.declaring import metric
from reptools.engine.inputs import Models, Rdm
from reptools.engine.operation import Score, Wiring
from reptools.errors import ParameterError
from reptools.metrics.shared.model_rdms import Scale, Vector, regressed_rdm
from reptools.statistics.features.commonality import parts_of, subsets
from reptools.statistics.rdms.model_fits import explained, reduced

MOST_PARTITIONED = 10  # models; each more doubles the parts


def partitioned(rdm: Vector, models: Mapping[str, Vector], /, *, nonnegative: bool) -> Score:
    """The share of every set of models, and of all together."""
    problem = reduced(rdm, list(models.values()), list(models))
    r2 = [explained(problem, chosen, nonnegative=nonnegative) for chosen in subsets(len(models))]
    return Score(parts_of(np.array(r2), len(models)), {"r2": r2[-1]})


def part_names(inputs: Mapping[str, Any], /) -> list[str]:
    """Every set of models by the names of its members."""
    names = list(inputs["models"])
    if len(names) > MOST_PARTITIONED:
        raise ParameterError(
            f"{len(names)} models have {2 ** len(names) - 1} parts. Pass at most "
            f"{MOST_PARTITIONED}."
        )
    return ["+".join(names[i] for i in chosen) for chosen in subsets(len(names))]


@metric(better="neither", bounds=(-1.0, 1.0), invariances=("scale",), estimator="in sample")
def variance_partition_rsa(
    rdm: Rdm, models: Models, /, *, method: Scale = "linear", nonnegative: bool = False
) -> Wiring[xr.DataArray]:
    """Explained variance of an RDM, split by which model RDMs can account for it.

    Parameters
    ----------
    rdm : DataArray (..., stimulus, stimulus_), square array or condensed vector
        The dissimilarities to account for; outer dimensions (time, subject) are kept.
    models : mapping of str to RDM, DataArray (model, stimulus, stimulus_) or list of RDMs
        From 1 to 10. Lined up by stimulus label.
    method : {"linear", "rank", "whitened"}, default "linear"
        As in :func:`regression_rsa`.
    nonnegative : bool, default False
        Weights may not be negative.

    Returns
    -------
    DataArray (..., part)
        Shares of the variance of the RDM, one for each set of models ("a", "b", "a+b"),
        named "variance_partition_rsa": what these models all account for and no other one does.
        They sum to the R2 of all models (coordinate ``r2``, in sample). Shares of several models
        are negative where models help one another (suppression): they are kept.

    Raises
    ------
    StimulusError
        The RDMs have different, repeated or too few stimuli, or only one has labels.
    DataError
        A distance is not finite, an RDM is constant or no dissimilarity matrix, or models are
        collinear (they are named).
    ParameterError
        An option is unknown or not allowed, or there are more than 10 models.

    References
    ----------
    Newton & Spurrell (1967), A development of multiple regression for the analysis of routine
    data, Applied Statistics 16 (the parts, as elements).
    Groen et al. (2018), Distinct contributions of functional and deep neural network features to
    representational similarity of scenes in human brain and behavior, eLife 7.

    Examples
    --------
    >>> import reptools as rt
    >>> rdm = [1.0, 3.0, 5.0, 4.0, 6.0, 2.0]  # 4 stimuli, condensed
    >>> models = {"near": [1, 2, 3, 4, 5, 6], "groups": [0, 0, 1, 1, 1, 1]}
    >>> shares = rt.variance_partition_rsa(rdm, models)
    >>> shares.sizes["part"], round(float(shares.sum()), 3), round(float(shares.r2), 3)
    (3, 0.451, 0.451)
    """
    return Wiring(
        partial(partitioned, nonnegative=nonnegative),
        each=partial(regressed_rdm, method=method),
        dims=("part",),
        extras={"r2": ()},
        coords={"part": part_names},
    )
