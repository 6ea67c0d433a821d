"""How well models with free weights predict the RDM of other stimuli."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import xarray as xr

from reptools.engine.common import CV, Groups, Seed
from reptools.engine.context import Context
from reptools.engine.declaring import metric
from reptools.engine.inputs import Models, Rdm
from reptools.engine.operation import Score, Wiring
from reptools.metrics.shared.flexible_models import Fit, Flexible, SizedRdm, held_out, sized_rdm


def score(rdm: SizedRdm, models: Mapping[str, SizedRdm], /, *, context: Context, fit: Fit) -> Score:
    """Mean over folds."""
    found = held_out(rdm, models, fit, context)
    return Score(found.scores.mean(), {"flat_folds": found.flat_folds})


@metric(better="higher", bounds=(-1.0, 1.0), invariances=("scale",), estimator="mean over folds")
def flexible_rsa(
    rdm: Rdm,
    models: Models,
    /,
    *,
    fit: Fit = "nonnegative",
    compare: Flexible = "spearman",
    cv: CV = 5,
    groups: Groups = None,
    seed: Seed = 0,
) -> Wiring[xr.DataArray]:
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
    return Wiring(
        partial(score, fit=fit),
        each=partial(sized_rdm, compare=compare),
        extras={"flat_folds": ()},
    )
