"""Probes that are fitted on one representation and tested on another of the same units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated

import xarray as xr

from reptools.engine.common import CV, Groups, Prepare, Seed
from reptools.engine.context import Context
from reptools.engine.declaring import metric
from reptools.engine.inputs import Activations, Features, SameUnits
from reptools.engine.operation import Score, Wiring
from reptools.engine.options import Range
from reptools.metrics.shared.probes import Plan, beside, planned, scores
from reptools.metrics.shared.readout import (
    DEFAULT_C,
    Learned,
    ReadoutMethod,
    Regularization,
    Settings,
    learn,
)
from reptools.statistics.features.design import Feature
from reptools.statistics.readout.classifiers import Values
from reptools.statistics.readout.standard import Scaling


@dataclass
class Taught:
    """One side of a transfer; what is fitted on it serves every side that it is tested on."""

    values: Values
    fitted: tuple[list[Plan], Learned] | None = None

    def learned(
        self, features: Sequence[Feature], settings: Settings, context: Context
    ) -> tuple[list[Plan], Learned]:
        """Plans and read-outs, fitted when first asked for."""
        if self.fitted is None:
            plans = planned(features, context)
            tasks = [task for p in plans for task in p.tasks]
            self.fitted = plans, learn(self.values, tasks, settings, context)
        return self.fitted


def taught(x: Values, /) -> Taught:
    """One side, not fitted yet."""
    return Taught(x)


def transferred(
    x: Taught,
    y: Taught,
    features: Sequence[Feature],
    /,
    *,
    context: Context,
    settings: Settings,
) -> Score:
    """Score on ``y`` of what was learned on ``x``."""
    settings.check(features)
    plans, learned = x.learned(features, settings, context)
    return scores(plans, learned, y.values, settings)


@metric(
    bounds=(float("-inf"), 1.0),
    iterative=True,
    estimator="balanced accuracy of classes, R2 of amounts, pooled over folds",
)
def probe_transfer(
    x: Activations,
    y: SameUnits,
    features: Features,
    /,
    *,
    method: ReadoutMethod = "logistic",
    C: Annotated[float, Range(1e-12)] = DEFAULT_C,
    regularization: Regularization = "fixed",
    scaling: Scaling = "zscore",
    cv: CV = 5,
    groups: Groups = None,
    seed: Seed = 0,
    prepare: Prepare = None,
) -> Wiring[xr.DataArray]:
    """Transfer of a probe: fitted on one representation, tested on another of the same units.

    The probe of each fold is fitted on the fit stimuli in ``x`` and tested on the test stimuli in
    ``y``, centred and scaled by what was seen in ``x``. So a score at the level of ``probe`` means
    that the feature is coded in the same units, in the same way, in both.

    Temporal generalisation is ``probe_transfer(x, x.rename(time="time_"), features)``: fitted at
    every time, tested at every time, and equal to ``probe`` on the diagonal. In the same way,
    generalisation across training steps or across layers of one width.

    Parameters
    ----------
    x, y : DataArray, DataTree node, numpy or torch array
        Activations ([outer,] stimulus, unit) of the same stimuli and the same units, in the same
        order. An outer dimension that both share is paired, others are crossed.
    method : {"logistic", "ridge", "lda", "mean_difference"} or estimator of scikit-learn
        How classes are read out, as in ``probe``; logistic regression by default. Amounts are
        read out by ridge regression, or by a regressor of scikit-learn.
    C : float
        Inverse strength of the penalty of ``logistic`` and ``ridge``; 1.0 by default, not tuned.
    regularization : {"fixed", "nested"}
        Whether ``C`` is taken as given (default) or chosen by inner folds of the fit rows in
        ``x``, as in ``probe``.
    scaling : {"zscore", "none"}
        What is done to units before the fit, with statistics of the fit rows of ``x`` only:
        "zscore" (default) or "none", which centres only.
    cv : int, "split", splitter or None
        Folds, as in ``probe``; 5 by default. Test stimuli are never among the fit stimuli, also
        where ``y`` is another recording of them.
    seed : int
        Enters the folds and the permuted target, together with the stimulus labels.

    Returns
    -------
    DataArray
        Over ``feature`` and the outer dimensions of ``x`` and ``y``: balanced accuracy or R2 on
        the test stimuli of all folds, with the coordinates ``chance``, ``permuted``, ``accuracy``,
        ``majority`` and ``chosen_C`` of ``probe``.

    Raises
    ------
    DimensionError
        ``x`` and ``y`` have different numbers of units.
    FeatureError
        As in ``probe``.
    ParameterError
        An option is not allowed or says nothing beside another, or the folds cannot be made.
    StimulusError
        The inputs were not shown the same stimuli, or only some of them have labels.

    References
    ----------
    King and Dehaene (2014), Characterizing the dynamics of mental representations: the temporal
    generalization method, Trends in Cognitive Sciences 18.

    Examples
    --------
    >>> import numpy as np
    >>> import reptools as rt
    >>> rng = np.random.default_rng(0)
    >>> bit = np.arange(200) % 2
    >>> x, y = rng.normal(size=(2, 200, 10)) + 4 * bit[:, None] - 2
    >>> same, opposite = (rt.probe_transfer(x, other, bit) for other in (y, -y))
    >>> same.item() > 0.95, opposite.item() < 0.05
    (True, True)
    """
    settings = Settings("probe_transfer", method, C, scaling, regularization)
    settings.check_options()
    return Wiring(
        partial(transferred, settings=settings),
        each=taught,
        dims=("feature",),
        extras=beside(settings),
        chosen=settings.chosen,
    )
