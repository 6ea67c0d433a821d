"""Read-outs that are tested elsewhere: in other conditions, at other times, in other layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np

from reptools.engine.operation import Context, Score
from reptools.engine.options import Range
from reptools.engine.registry import metric
from reptools.errors import FeatureError, some, warn
from reptools.metrics.probing import Plan, planned, scores
from reptools.metrics.readout import (
    Confusion,
    Learned,
    Regularization,
    Settings,
    Task,
    learn,
)
from reptools.statistics.features.design import Feature
from reptools.statistics.folds import Folds
from reptools.statistics.readout.classifiers import Method, Readout, Values
from reptools.statistics.readout.standard import Scaling


@metric(
    kind="feature",
    bounds=(0.0, 1.0),
    invariances=("shift", "scale"),
    iterative=True,
    dims=("across",),
    estimator="balanced accuracy, mean over held-out values",
)
def ccgp(
    x: Values,
    features: Sequence[Feature],
    /,
    *,
    context: Context,
    method: Method = "logistic",
    C: Annotated[float, Range(1e-12)] = 1.0,
    scaling: Scaling = "zscore",
) -> Score:
    """Cross-condition generalisation: is a feature coded the same way whatever another one is.

    For a pair of features, the probe of the first is fitted on stimuli of all values but one of
    the second and tested on stimuli of the value left out, each value in turn; of a binary second
    feature, fitted on one side and tested on the other, both ways. A feature that can be read out
    but does not generalise is coded in a mixed, condition-specific way; one that generalises is
    coded along a direction of its own ("abstract").

    Parameters
    ----------
    x : DataArray, DataTree node, numpy or torch array
        Activations ([outer,] stimulus, unit); outer dimensions such as step or token are kept.
    features : Dataset, DataTree node, mapping or table
        Two class features or more, over ``stimulus``, lined up with ``x`` by label. A continuous
        one among them has no values to hold out: it is missing, with a warning.
    method : {"logistic", "ridge", "lda", "mean_difference"}
        How classes are read out, as in ``probe``; logistic regression by default.
    C : float
        Inverse strength of the penalty of ``logistic`` and ``ridge``; 1.0 by default, not tuned.
    scaling : {"zscore", "none"}
        What is done to units before the fit, with statistics of the fit rows only: "zscore"
        (default) or "none", which centres only.
    prepare : str, optional
        "zscore", "unit_norm", "drop_top:K" or several, applied to all of ``x`` first.

    Returns
    -------
    DataArray
        Dimensions ([outer,] feature, across): the feature that is read out, and the class feature
        across whose values it is. Balanced accuracy, averaged over the values held out, so that
        a criterion that shifts with the value does not pass for generalisation. The diagonal is
        missing. Coordinates:

        - ``chance`` (feature): 1 / number of classes.
        - ``n_held_out`` (feature, across): values that were held out. A value is left out, and
          the pair named in a warning, where its stimuli are of one class of the feature, or of a
          class that the other values lack; without any value the score is missing.

    Raises
    ------
    FeatureError
        Fewer than two class features vary.
    ParameterError
        An option is not allowed or says nothing beside another.
    StimulusError
        ``x`` and a feature were not shown the same stimuli, or only one of them has labels.

    References
    ----------
    Bernardi, Benna, Rigotti, Munuera, Fusi and Salzman (2020), The geometry of abstraction in the
    hippocampus and prefrontal cortex, Cell 183, where the conditions of a dichotomy are divided
    into those trained on and those tested on.

    Examples
    --------
    >>> import numpy as np
    >>> from reptools.metrics.generalization import ccgp
    >>> rng = np.random.default_rng(0)
    >>> a, b = rng.integers(0, 2, (2, 400))
    >>> x = 0.3 * rng.normal(size=(400, 3))
    >>> apart = ccgp(x + np.stack([a, b, 0 * a], axis=1), {"a": a, "b": b})
    >>> float(apart.sel(feature="a", across="b")) > 0.9
    True
    >>> mixed = ccgp(x + np.stack([a ^ b, b, 0 * a], axis=1), {"a": a, "b": b})
    >>> float(mixed.sel(feature="a", across="b")) < 0.1
    True
    """
    classes = [feature for feature in features if feature.kind != "continuous"]
    amounts = [feature.name for feature in features if feature.kind == "continuous"]
    if len(classes) < 2:
        raise FeatureError(
            f"it takes two class features that vary, or more, and has "
            f"{some([feature.name for feature in classes]) if classes else 'none'}"
            f"{f', beside continuous {some(amounts)}' if amounts else ''}. Pass another."
        )
    if amounts:
        warn(f"ccgp: not class features, score missing (NaN): {some(amounts)}")
    settings = Settings("ccgp", method, C, scaling)
    settings.check(classes)
    pairs = [(f, g, _held_out(f, g)) for f in classes for g in classes if f is not g]
    _name_left_out(pairs)
    tasks = [Task.of(f, folds, f"across {g.name!r}, ") for f, g, folds in pairs if len(folds)]
    readouts: list[list[Readout]] = []
    z = x
    if tasks:
        learned = learn(x, tasks, settings, context)
        readouts, z = learned.readouts, learned.shown(x)
    number = {feature.name: i for i, feature in enumerate(features)}
    across = {feature.name: i for i, feature in enumerate(classes)}
    value = np.full((len(features), len(classes)), np.nan)
    held_out = np.full(value.shape, np.nan)
    fitted = iter(zip(tasks, readouts, strict=True))
    for f, g, folds in pairs:
        at = number[f.name], across[g.name]
        held_out[at] = len(folds)
        if len(folds):
            value[at] = _mean_balanced(*next(fitted), z)
    n_classes = [np.nan if f.kind == "continuous" else f.codes.max() + 1 for f in features]
    extras = {"chance": 1 / np.array(n_classes), "n_held_out": held_out}
    return Score(value, extras, {"across": list(across)})


def _held_out(feature: Feature, other: Feature) -> Folds:
    """Each value of ``other`` held out whose stimuli can be scored by what the rest teach."""
    pairs = []
    for value in range(int(other.codes.max()) + 1):
        fit, test = np.flatnonzero(other.codes != value), np.flatnonzero(other.codes == value)
        asked = np.unique(feature.codes[test])
        if len(asked) > 1 and np.isin(asked, feature.codes[fit]).all():
            pairs.append((fit, test))
    return Folds(tuple(pairs), f"values of {other.name}")


def _name_left_out(pairs: Sequence[tuple[Feature, Feature, Folds]]) -> None:
    short = [
        f"{f.name!r} across {g.name!r} ({len(folds)} of {int(g.codes.max()) + 1} values)"
        for f, g, folds in pairs
        if len(folds) <= int(g.codes.max())
    ]
    if short:
        shown = ", ".join(short[:3]) + (f", ... ({len(short)} in all)" if len(short) > 3 else "")
        warn(
            "ccgp: some values cannot be held out, since their stimuli are of one class or of a "
            f"class that the other values lack: {shown}"
        )


def _mean_balanced(task: Task, readouts: Sequence[Readout], z: Values) -> float:
    """Balanced accuracy, averaged over folds."""
    found = []
    for (_, test), readout in zip(task.folds, readouts, strict=True):
        counts = Confusion(int(task.target.max()) + 1)
        counts.add(task.target[test], readout.answers(z[test]))
        found.append(counts.balanced)
    return float(np.mean(found))


# --- the same stimuli elsewhere -----------------------------------------------------------------


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


def _taught(x: Values, /) -> Taught:
    return Taught(x)


@metric(
    kind="transfer",
    each=_taught,
    cv=5,
    bounds=(float("-inf"), 1.0),
    iterative=True,
    estimator="balanced accuracy of classes, R2 of amounts, pooled over folds",
)
def probe_transfer(
    x: Taught,
    y: Taught,
    features: Sequence[Feature],
    /,
    *,
    context: Context,
    method: Method = "logistic",
    C: Annotated[float, Range(1e-12)] = 1.0,
    regularization: Regularization = "fixed",
    scaling: Scaling = "zscore",
) -> Score:
    """Transfer of a probe: fitted on one representation, tested on another of the same units.

    The probe of each fold is fitted on the fit stimuli in ``x`` and tested on the test stimuli in
    ``y``, centred and scaled by what was seen in ``x``. So a score at the level of ``probe`` means
    that the feature is coded in the same units, in the same way, in both.

    Temporal generalisation is ``probe_transfer(x, x.rename(time="time_"), target)``: fitted at
    every time, tested at every time, and equal to ``probe`` on the diagonal. In the same way,
    generalisation across training steps or across layers of one width.

    Parameters
    ----------
    x, y : DataArray, DataTree node, numpy or torch array
        Activations ([outer,] stimulus, unit) of the same stimuli and the same units, in the same
        order. An outer dimension that both share is paired, others are crossed.
    features : Dataset, DataTree node, DataArray, mapping or array
        Features over ``stimulus``, lined up with ``x`` by label. One DataArray or array gives a
        result without the dimension ``feature``.
    method : {"logistic", "ridge", "lda", "mean_difference"}
        How classes are read out, as in ``probe``; logistic regression by default. Amounts are
        read out by ridge regression.
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
    groups : str or array, optional
        Stimulus coordinate whose values must not be divided between folds.
    seed : int
        Enters the folds and the permuted target, together with the stimulus labels.
    prepare : str, optional
        "zscore", "unit_norm", "drop_top:K" or several, applied to ``x`` and to ``y``, each by its
        own statistics over all stimuli.

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
    >>> from reptools.metrics.generalization import probe_transfer
    >>> rng = np.random.default_rng(0)
    >>> bit = np.arange(200) % 2
    >>> x, y = rng.normal(size=(2, 200, 10)) + 4 * bit[:, None] - 2
    >>> probe_transfer(x, y, bit).item() > 0.95, probe_transfer(x, -y, bit).item() < 0.05
    (True, True)
    """
    settings = Settings("probe_transfer", method, C, scaling, regularization)
    settings.check(features)
    plans, learned = x.learned(features, settings, context)
    return scores(plans, learned, y.values, settings)
