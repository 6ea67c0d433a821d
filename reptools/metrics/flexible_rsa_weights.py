"""Weights of the models that together predict the RDM of other stimuli."""

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


def mean_weights(
    rdm: SizedRdm, models: Mapping[str, SizedRdm], /, *, context: Context, fit: Fit
) -> Score:
    """Mean over folds, their spread, and the score."""
    found = held_out(rdm, models, fit, context)
    return Score(
        found.weights.mean(axis=0),
        {"spread": found.weights.std(axis=0), "score": found.scores.mean()},
    )


@metric(better="neither", invariances=("scale",), estimator="mean over folds")
def flexible_rsa_weights(
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
    """Weights of the model RDMs that :func:`flexible_rsa` scores.

    Parameters
    ----------
    rdm, models, fit, compare, cv
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
    return Wiring(
        partial(mean_weights, fit=fit),
        each=partial(sized_rdm, compare=compare),
        dims=("model",),
        extras={"spread": ("model",), "score": ()},
    )
