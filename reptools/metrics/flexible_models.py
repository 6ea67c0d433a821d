"""Models with free weights: fitted to the RDM of some stimuli, tested on the RDM of others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from reptools.arrays import matmul
from reptools.engine.operation import Context, Score
from reptools.engine.registry import metric
from reptools.errors import DataError, StimulusError
from reptools.metrics.comparators import ROUNDING, prepared_rdm, similarity
from reptools.metrics.model_rdms import names_of
from reptools.statistics.rdms.model_fits import reduced, weights
from reptools.statistics.rdms.pairs import Rows, among
from reptools.statistics.rdms.whitening import whitened

Vector = np.ndarray[Any, Any]
Fit = Literal["nonnegative", "weighted", "select"]
Flexible = Literal[
    "spearman",
    "kendall_tau_a",
    "kendall_tau_b",
    "rho_a",
    "pearson",
    "cosine",
    "whitened_cosine",
    "whitened_pearson",
]
WITHOUT_INTERCEPT = ("cosine", "whitened_cosine")


@dataclass(frozen=True)
class SizedRdm:
    """A condensed RDM of standard deviation 1 (root mean square 1 for the cosines)."""

    compare: Flexible
    values: Vector


def sized_rdm(rdm: Vector, /, *, compare: Flexible = "spearman") -> SizedRdm:
    """Bring an RDM to unit size, so that weights of different models can be compared."""
    prepared_rdm(rdm, method=compare)  # refuses what cannot be compared
    scaled = rdm / np.abs(rdm).max()
    about = scaled if compare in WITHOUT_INTERCEPT else scaled - scaled.mean()
    return SizedRdm(compare, scaled / np.sqrt(np.mean(about**2)))


@dataclass(frozen=True)
class HeldOut:
    """Held-out scores (fold,), weights (fold, model), and folds with nothing predicted."""

    scores: Vector
    weights: Vector
    flat_folds: int


def held_out(rdm: SizedRdm, models: Sequence[SizedRdm], fit: Fit, context: Context) -> HeldOut:
    """Fit on the pairs among the fit stimuli of each fold, score on those among its test stimuli.

    Raises
    ------
    StimulusError
        A fold has fewer than 3 stimuli on one side.
    DataError
        Models are collinear among the fit stimuli, or the RDM is constant among test stimuli.
    """
    X, y, compare = np.stack([m.values for m in models]), rdm.values, rdm.compare
    names = names_of([m.values for m in models], context)
    n = len(context.stimulus)
    scores, chosen, flat = [], [], 0
    folds = context.folds()
    for number, (fit_rows, test_rows) in enumerate(folds):
        if min(fit_rows.size, test_rows.size) < 3:
            raise StimulusError(
                f"fold {number + 1} fits on {fit_rows.size} stimuli and tests on "
                f"{test_rows.size}, and an RDM to compare has at least 3. Pass fewer folds."
            )
        pairs = among(n, test_rows)
        try:
            w = _fitted(X, y, among(n, fit_rows), fit, compare, names)
            score = _scored(y[pairs], matmul(w, X[:, pairs]), compare)
        except DataError as error:
            raise DataError(f"in fold {number + 1} of {len(folds)}: {error}") from None
        flat += score is None
        scores.append(score or 0.0)
        chosen.append(w)
    return HeldOut(np.array(scores), np.array(chosen), flat)


def _fitted(
    X: Vector, y: Vector, pairs: Rows, fit: Fit, compare: Flexible, names: Sequence[str]
) -> Vector:
    """Weights of the models on these pairs; 1 for the best model when one is selected."""
    target, predictors = y[pairs], X[:, pairs]
    if fit == "select":
        scores = [_scored(target, model, compare) or 0.0 for model in predictors]
        return np.asarray(np.eye(len(X))[int(np.argmax(scores))])
    vectors = [_in_metric(vector, compare) for vector in (target, *predictors)]
    problem = reduced(vectors[0], vectors[1:], names)
    return weights(problem, nonnegative=fit == "nonnegative")


def _in_metric(vector: Vector, compare: Flexible) -> Vector:
    """Coordinates in which least squares maximises the comparator (Pearson's for rank ones)."""
    if compare not in WITHOUT_INTERCEPT:
        vector = vector - vector.mean()
    return whitened(vector) if compare in ("whitened_cosine", "whitened_pearson") else vector


def _scored(target: Vector, prediction: Vector, compare: Flexible) -> float | None:
    """The comparator of two vectors; None where the prediction makes no difference of pairs."""
    size = float(np.abs(prediction).max())
    spread = size if compare in WITHOUT_INTERCEPT else float(np.ptp(prediction))
    one = prepared_rdm(target, method=compare)
    if size == 0.0 or spread <= ROUNDING * size:
        return None
    return similarity(one, prepared_rdm(prediction, method=compare))


@metric(
    kind="models",
    each=sized_rdm,
    better="higher",
    bounds=(-1.0, 1.0),
    invariances=("scale",),
    cv=5,
    estimator="mean over folds",
)
def flexible_rsa(
    rdm: SizedRdm,
    models: Sequence[SizedRdm],
    /,
    *,
    fit: Fit = "nonnegative",
    context: Context,
) -> Score:
    """Similarity of an RDM with a combination of model RDMs that was fitted to other stimuli.

    Parameters
    ----------
    rdm : DataArray (..., stimulus, stimulus_), square array or condensed vector
        The dissimilarities to predict; outer dimensions (time, subject) are kept.
    models : mapping of str to RDM, DataArray (model, stimulus, stimulus_) or list of RDMs
        At least one. Lined up by stimulus label.
    fit : {"nonnegative", "weighted", "select"}, default "nonnegative"
        Least-squares weights that are not negative, as when every model is a part of the
        representation, whose squared distances add up; weights of any sign; or the single model
        that scores best on the fit stimuli.
    compare : str, default "spearman"
        How prediction and RDM are compared on the test stimuli: "spearman", "kendall_tau_a",
        "kendall_tau_b", "rho_a", "pearson", "cosine", "whitened_cosine" or "whitened_pearson";
        see :func:`compare_rdms`. Weights maximise it for Pearson, cosine (no intercept) and
        their whitened forms; rank comparators take the weights of Pearson. Selection maximises
        any of them.
    cv : int, "split", splitter or None, default 5
        Folds of stimuli. Weights are fitted on the pairs among the fit stimuli and scored on the
        pairs among the test stimuli; pairs that span the two are used by neither. None: fitted
        and scored on all pairs, which favours flexible models.
    groups : str or array (stimulus,), optional
        Stimuli that must share a fold; by default the coordinate ``groups``, then ``run``.
    seed : int, default 0
        Folds are drawn from (seed, stimulus label).

    Returns
    -------
    DataArray
        Mean score over folds, named "flexible_rsa", over the outer dimensions. The coordinate
        ``flat_folds`` counts folds whose prediction is one value for all test pairs, as when no
        model deserves a positive weight: they score 0.

    Raises
    ------
    StimulusError
        The RDMs have different or repeated stimuli, only one has labels, or a fold has fewer
        than 3 stimuli to fit or to test.
    DataError
        A distance is not finite, an RDM is constant or no dissimilarity matrix, or models are
        collinear (they are named).
    ParameterError
        An option is unknown or has a value that is not listed above.

    See Also
    --------
    flexible_rsa_weights : the weights of the same fits.

    References
    ----------
    Khaligh-Razavi & Kriegeskorte (2014), Deep supervised, but not unsupervised, models may
    explain IT cortical representation, PLOS Computational Biology 10.
    Schuett et al. (2023), Statistical inference on representational geometries, eLife 12
    (cross-validation of flexible models over stimuli).

    Examples
    --------
    >>> import numpy as np
    >>> import reptools as rt
    >>> rng = np.random.default_rng(0)
    >>> parts = {name: rng.normal(size=(40, 20)) for name in ("shape", "colour")}
    >>> models = {name: rt.rdm(x, method="sqeuclidean") for name, x in parts.items()}
    >>> both = rt.rdm(np.concatenate([2 * parts["shape"], parts["colour"]], axis=1),
    ...               method="sqeuclidean")
    >>> round(float(rt.flexible_rsa(both, models)), 6)
    1.0
    """
    found = held_out(rdm, models, fit, context)
    return Score(found.scores.mean(), {"flat_folds": found.flat_folds})


@metric(
    kind="models",
    each=sized_rdm,
    better="neither",
    invariances=("scale",),
    dims=("model",),
    cv=5,
    estimator="mean over folds",
)
def flexible_rsa_weights(
    rdm: SizedRdm,
    models: Sequence[SizedRdm],
    /,
    *,
    fit: Fit = "nonnegative",
    context: Context,
) -> Score:
    """Weights of the model RDMs that :func:`flexible_rsa` scores.

    Parameters
    ----------
    rdm, models, fit, compare, cv, groups, seed
        As in :func:`flexible_rsa`.

    Returns
    -------
    DataArray (..., model)
        Mean weight over folds, named "flexible_rsa_weights": of models of standard deviation 1
        for an RDM of standard deviation 1 (root mean square 1 for the cosines); for
        fit="select" the share of folds that selected each model. Coordinates: ``spread``, the
        standard deviation over folds (not of independent fits: they share stimuli), and
        ``score``, the held-out score.

    Raises
    ------
    StimulusError, DataError, ParameterError
        As :func:`flexible_rsa`.

    Examples
    --------
    >>> import numpy as np
    >>> import reptools as rt
    >>> rng = np.random.default_rng(0)
    >>> parts = {name: rng.normal(size=(40, 20)) for name in ("shape", "colour")}
    >>> models = {name: rt.rdm(x, method="sqeuclidean") for name, x in parts.items()}
    >>> rdm = models["shape"] + 0.0 * models["colour"]
    >>> weights = rt.flexible_rsa_weights(rdm, models)
    >>> weights.model.values.tolist(), weights.values.round(6).tolist()
    (['shape', 'colour'], [1.0, 0.0])
    """
    found = held_out(rdm, models, fit, context)
    return Score(
        found.weights.mean(axis=0),
        {"spread": found.weights.std(axis=0), "score": found.scores.mean()},
    )
