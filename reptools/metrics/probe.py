"""Whether a feature can be read out of a representation by a linear map, on held-out stimuli."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Annotated

import numpy as np
import xarray as xr

from reptools.engine.common import CV, Groups, Prepare, Seed
from reptools.engine.context import Context
from reptools.engine.declaring import metric
from reptools.engine.inputs import Activations, Features
from reptools.engine.operation import Score, Wiring
from reptools.engine.options import Range
from reptools.entering.labels import no_gaps
from reptools.errors import ParameterError, warn
from reptools.metrics.shared.probes import Plan, beside, planned, scores
from reptools.metrics.shared.readout import (
    DEFAULT_C,
    ReadoutMethod,
    Regularization,
    Settings,
    Task,
    learn,
)
from reptools.statistics.features.design import Feature
from reptools.statistics.folds import Folds, hash_rank
from reptools.statistics.readout.classifiers import Codes, Values
from reptools.statistics.readout.standard import Scaling

RECURS = 0.5  # share of test stimuli whose type must have been seen for a control to mean anything


def read_out(
    x: Values,
    target: Sequence[Feature],
    /,
    *,
    context: Context,
    settings: Settings,
    control: str | None,
) -> Score:
    """Score of every feature, and what stands beside it."""
    settings.check(target)
    plans = planned(target, context)
    if control is not None:
        plans = _with_controls(plans, target, control, context)
    learned = learn(x, [task for p in plans for task in p.tasks], settings, context)
    return scores(plans, learned, x, settings)


def _with_controls(
    plans: Sequence[Plan], target: Sequence[Feature], control: str, context: Context
) -> list[Plan]:
    """Plans with control tasks, for class features whose folds share types."""
    types = no_gaps(context.coordinate(control, "control"), control)
    classes = [feature.name for feature in target if feature.kind != "continuous"]
    if not classes:
        raise ParameterError(
            f"control={control!r} needs a class feature, and all features are continuous. "
            "Leave it out."
        )
    recurring = {p.main.name: _recurring(types, p.main.folds) for p in plans if p.main.of_classes}
    few = {name: share for name, share in recurring.items() if share <= RECURS}
    if few:
        name, share = next(iter(few.items()))
        warn(
            f"probe: control_selectivity is missing (NaN) for {len(few)} of {len(classes)} class "
            f"features, such as {name!r}: {share:.0%} of its test stimuli have a {control!r} that "
            "their fit rows hold, and most must for it to mean anything"
        )
    return [
        replace(p, control=_control(p.main, types, context))
        if recurring.get(p.main.name, 0.0) > RECURS
        else p
        for p in plans
    ]


def _recurring(types: Values, folds: Folds) -> float:
    """Share of test stimuli whose type occurs in the fit rows of their fold."""
    seen = [np.isin(types[test], types[fit]) for fit, test in folds]
    return float(np.concatenate(seen).mean())


def _control(task: Task, types: Values, context: Context) -> Task:
    """Each type's class drawn from (seed, type), as often as the classes occur among stimuli."""
    names, number = np.unique(types, return_inverse=True)
    # not the order that deals groups to folds, where the types are the groups
    rank = hash_rank(np.array([f"control:{name}" for name in names.tolist()]), context.seed)
    shares = np.bincount(task.target) / len(task.target)
    drawn = np.searchsorted(np.cumsum(shares), (rank + 0.5) / len(names), side="right")
    codes: Codes = drawn.clip(max=len(shares) - 1)[number]
    return replace(task, target=codes, which="control task of ")


@metric(
    bounds=(float("-inf"), 1.0),
    invariances=("shift", "scale"),
    iterative=True,
    estimator="balanced accuracy of classes, R2 of amounts, pooled over folds",
)
def probe(
    x: Activations,
    target: Features,
    /,
    *,
    method: ReadoutMethod = "logistic",
    C: Annotated[float, Range(1e-12)] = DEFAULT_C,
    regularization: Regularization = "fixed",
    scaling: Scaling = "zscore",
    control: str | None = None,
    cv: CV = 5,
    groups: Groups = None,
    seed: Seed = 0,
    prepare: Prepare = None,
) -> Wiring[xr.DataArray]:
    """Held-out linear probe: how well a feature can be read out of a representation.

    Classes are read out by the chosen method and scored by balanced accuracy; amounts (kind
    continuous) by ridge regression and scored by R2. Predictions of all folds are pooled before
    they are scored.

    Parameters
    ----------
    method : {"logistic", "ridge", "lda", "mean_difference"} or estimator of scikit-learn
        How classes are read out. Priors, where a method has them, are the classes' shares of the
        fit rows.

        - ``logistic`` (default): logistic regression with an L2 penalty, softmax beyond two
          classes; what most probing papers mean.
        - ``ridge``: least squares on +1 and -1 with an L2 penalty, one output a class.
        - ``lda``: linear discriminants with Ledoit and Wolf's shrinkage of the pooled covariance
          within classes; its penalty is estimated, so nothing has to be chosen.
        - ``mean_difference``: the class whose mean is nearest. It ignores how units covary, so it
          is the read-out of least capacity.

        Amounts are read out by ridge regression under ``logistic`` and ``ridge``; the other two
        refuse them. An instance of a classifier of scikit-learn, such as
        ``SVC(kernel="rbf")``, a pipeline or a search that ends in one, reads out classes, and of
        a regressor amounts. A clone of it is fitted on each fold to units scaled by ``scaling``,
        classes as numbers from 0 in sorted order, and asked by ``predict``; where it draws and
        has no ``random_state``, that is ``seed``. ``params`` of the result has its parameters.
    C : float
        Inverse strength of the penalty of ``logistic`` and ``ridge`` only, as in scikit-learn: the
        ridge penalty is 1 / C. The default 1.0 is scikit-learn's and is not tuned; compare probes
        at one C, or choose it by ``regularization="nested"``.
    regularization : {"fixed", "nested"}
        "fixed" (default) takes ``C`` as given. "nested" chooses it for each feature and fold from
        1e-5, 1e-4, ... 100 by five inner folds of the fit rows, with whole groups where groups
        are given, and never looks at the test rows; of equally good ones the smallest is taken.
    scaling : {"zscore", "none"}
        What is done to units before the fit, with statistics of the fit rows only. "zscore"
        (default) lets the penalty weigh all units alike, so that a feature is not found harder to
        read out merely for being represented with little variance. "none" centres only.
    control : str, optional
        Stimulus coordinate that names a type, such as the word or the identity, of which several
        stimuli are shown. Adds a control task: every type is given one class at random, and a
        probe that can learn these has the capacity to memorise types.
    cv : int, "split", splitter or None
        Folds; 5 by default, with classes spread evenly over them where no groups or time order
        decide. "split" fits on the file's validation stimuli and tests on its test stimuli. None
        scores in sample, which says little.
    seed : int
        Enters the folds, the permuted target and the control task, together with the labels of
        stimuli and types.

    Returns
    -------
    DataArray
        Over ``feature`` and the outer dimensions of ``x``. Balanced accuracy is the mean over
        classes of the share of their test stimuli answered rightly; R2 is one minus residual over
        total sum of squares, the total about the mean of the fit rows, summed over components.
        Coordinates of the same shape:

        - ``chance``: 1 / number of classes; 0 for R2.
        - ``permuted``: the same probe where labels are permuted over all stimuli, folds stratified
          anew. One draw, not a null distribution; missing where a fold then lacks a class.
        - ``accuracy``: share of all test stimuli answered rightly; missing for amounts.
        - ``majority``: share of the most frequent class among test stimuli, which ``accuracy`` is
          to be held against; missing for amounts.
        - ``chosen_C``, for ``regularization="nested"``: geometric mean over folds.
        - ``control_accuracy`` and ``control_selectivity``, for ``control=``: accuracy on the
          control task over the same folds, and ``accuracy`` minus it. Missing for amounts, and,
          with a warning, where most test stimuli are of a type that their fit rows do not hold:
          nothing can then be memorised, and the difference says no more than accuracy minus
          chance.

    Raises
    ------
    FeatureError
        No feature varies, one has a single class among the stimuli used, a class is missing from
        the fit rows of a fold, or the method cannot read out amounts, or classes.
    ParameterError
        An option is not allowed or says nothing beside another, ``control`` names no coordinate,
        the folds cannot be made, or an estimator fails on them, which is quoted.
    StimulusError
        ``x`` and a target were not shown the same stimuli, only one of them has labels, or the
        fit rows of a fold are one group, so that no C can be chosen within them.

    Notes
    -----
    Rows are sorted by stimulus label before fitting, so the order of a file changes no prediction.
    Logistic fits minimise the loss of scikit-learn's LogisticRegression in float32 by L-BFGS to
    its tolerance, those of all features and folds together. A fit that does not converge is scored
    all the same and named in a warning; so is one that ends in scikit-learn's ConvergenceWarning.
    R2 is missing (NaN), with a warning, where amounts do not vary over the test stimuli, or are
    predicted by numbers that are not finite.

    References
    ----------
    Alain and Bengio (2016), Understanding intermediate layers using linear classifier probes,
    arXiv 1610.01644. Hewitt and Liang (2019), Designing and interpreting probes with control
    tasks, EMNLP: selectivity is linguistic task accuracy minus control task accuracy (section 2).
    Ledoit and Wolf (2004), A well-conditioned estimator for large-dimensional covariance
    matrices, Journal of Multivariate Analysis 88.

    Examples
    --------
    >>> import numpy as np
    >>> import reptools as rt
    >>> rng = np.random.default_rng(0)
    >>> bit = rng.integers(0, 2, 200)
    >>> x = rng.normal(size=(200, 10)) + 2 * bit[:, None]
    >>> result = rt.probe(x, bit)
    >>> result.item() > 0.95, float(result.chance), abs(float(result.permuted) - 0.5) < 0.15
    (True, 0.5, True)
    """
    settings = Settings("probe", method, C, scaling, regularization)
    settings.check_options()
    extras = beside(settings)
    if control is not None:
        extras |= {"control_accuracy": ("feature",), "control_selectivity": ("feature",)}
    kernel = partial(read_out, settings=settings, control=control)
    return Wiring(kernel, dims=("feature",), extras=extras, chosen=settings.chosen)
