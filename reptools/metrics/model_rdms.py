"""Several model RDMs of one RDM at once: what each adds beyond the others, and what they share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from reptools.arrays import matmul
from reptools.engine.operation import Context, Score
from reptools.engine.registry import metric
from reptools.errors import DataError, ParameterError
from reptools.metrics.comparators import Comparator, prepared_rdm
from reptools.statistics.features.commonality import parts_of, subsets
from reptools.statistics.rdms.model_fits import explained, reduced, weights

Vector = np.ndarray[Any, Any]
Scale = Literal["linear", "rank", "whitened"]
COMPARATOR: dict[Scale, Comparator] = {
    "linear": "pearson",
    "rank": "spearman",
    "whitened": "whitened_pearson",
}
MOST_PARTITIONED = 10  # models; each more doubles the parts
# a part of an RDM below this share of it is the rounding of its distances
ROUNDING = 1e-12


def correlated_rdm(
    rdm: Vector, /, *, method: Literal["spearman", "pearson", "whitened_pearson"] = "spearman"
) -> Vector:
    """A condensed RDM whose product with another is their correlation."""
    return prepared_rdm(rdm, method=method).values


def regressed_rdm(rdm: Vector, /, *, method: Scale = "linear") -> Vector:
    """A condensed RDM (ranked, whitened), centred and of unit norm."""
    return prepared_rdm(rdm, method=COMPARATOR[method]).values


def names_of(models: Sequence[Vector], context: Context | None) -> list[str]:
    """What messages and labels call the models: their names, or numbers from 1 without any."""
    names = () if context is None else context.models
    return list(names) or [str(number + 1) for number in range(len(models))]


@metric(
    kind="models",
    each=correlated_rdm,
    better="higher",
    bounds=(-1.0, 1.0),
    invariances=("scale",),
    dims=("model",),
    estimator="in sample",
)
def partial_rsa(
    rdm: Vector, models: Sequence[Vector], /, *, context: Context | None = None
) -> Score:
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
    names = names_of(models, context)
    problem = reduced(rdm, models, names)
    slope = weights(problem, nonnegative=False)
    spread = (np.linalg.inv(problem.triangle) ** 2).sum(axis=1)
    left = slope**2 / spread + problem.outside  # what the others leave of the RDM
    for name, rest in zip(names, left, strict=True):
        if rest <= ROUNDING:
            raise DataError(
                f"the other models reproduce it to {rest:.2g} of its variance, so nothing is left "
                f"to correlate with model {name!r}. Leave one of the models out."
            )
    partial = slope / np.sqrt(spread * left)
    plain = np.array([matmul(model, rdm) for model in models])
    return Score(np.clip(partial, -1.0, 1.0), {"correlation": np.clip(plain, -1.0, 1.0)})


@metric(
    kind="models",
    each=regressed_rdm,
    better="neither",
    invariances=("scale",),
    dims=("model",),
    estimator="in sample",
)
def regression_rsa(
    rdm: Vector,
    models: Sequence[Vector],
    /,
    *,
    nonnegative: bool = False,
    context: Context | None = None,
) -> Score:
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
    problem = reduced(rdm, models, names_of(models, context))
    every = range(len(models))
    r2 = explained(problem, every, nonnegative=nonnegative)
    others = [[j for j in every if j != i] for i in every]
    unique = np.array([r2 - explained(problem, some, nonnegative=nonnegative) for some in others])
    return Score(
        weights(problem, nonnegative=nonnegative),
        {"unique_r2": unique, "r2": r2, "shared_r2": r2 - unique.sum()},
    )


@metric(
    kind="models",
    each=regressed_rdm,
    better="neither",
    bounds=(-1.0, 1.0),
    invariances=("scale",),
    dims=("part",),
    estimator="in sample",
)
def variance_partition_rsa(
    rdm: Vector,
    models: Sequence[Vector],
    /,
    *,
    nonnegative: bool = False,
    context: Context | None = None,
) -> Score:
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
    count = len(models)
    if count > MOST_PARTITIONED:
        raise ParameterError(
            f"{count} models have {2**count - 1} parts. Pass at most {MOST_PARTITIONED}."
        )
    names = names_of(models, context)
    problem = reduced(rdm, models, names)
    chosen = subsets(count)
    r2 = [explained(problem, subset, nonnegative=nonnegative) for subset in chosen]
    labels = ["+".join(names[i] for i in subset) for subset in chosen]
    return Score(parts_of(np.array(r2), count), {"r2": r2[-1]}, {"part": labels})
