"""Read-outs of a feature that are tested where another one has a value never seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Annotated, Any

import numpy as np
import xarray as xr

from reptools.engine.common import Prepare
from reptools.engine.context import Context
from reptools.engine.declaring import metric
from reptools.engine.inputs import Activations, Features
from reptools.engine.operation import Score, Wiring
from reptools.engine.options import Range
from reptools.errors import FeatureError, some, warn
from reptools.metrics.shared.readout import DEFAULT_C, ReadoutMethod, Settings, Task, learn
from reptools.statistics.features.design import Feature
from reptools.statistics.folds import Folds
from reptools.statistics.readout.classifiers import Values
from reptools.statistics.readout.estimators import Answering
from reptools.statistics.readout.scores import Confusion
from reptools.statistics.readout.standard import Scaling


def generalization(
    x: Values, features: Sequence[Feature], /, *, context: Context, settings: Settings
) -> Score:
    """Balanced accuracy (feature, across) of the class features that vary here."""
    classes = _of_classes(features)
    amounts = [feature.name for feature in features if feature.kind == "continuous"]
    if len(classes) < 2:
        raise FeatureError(
            f"it takes two class features that vary, or more, and has "
            f"{some([feature.name for feature in classes]) if classes else 'none'}"
            f"{f', beside continuous {some(amounts)}' if amounts else ''}. Pass another."
        )
    if amounts:
        warn(f"ccgp: not class features, score missing (NaN): {some(amounts)}")
    settings.check(classes)
    pairs = [(f, g, _held_out(f, g)) for f in classes for g in classes if f is not g]
    _name_left_out(pairs)
    tasks = [Task.of(f, folds, f"across {g.name!r}, ") for f, g, folds in pairs if len(folds)]
    readouts: list[list[Answering]] = []
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


def _of_classes(features: Sequence[Feature]) -> list[Feature]:
    return [feature for feature in features if feature.kind != "continuous"]


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


def _mean_balanced(task: Task, readouts: Sequence[Answering], z: Values) -> float:
    """Balanced accuracy, averaged over folds."""
    found = []
    for (_, test), readout in zip(task.folds, readouts, strict=True):
        counts = Confusion(int(task.target.max()) + 1)
        counts.add(task.target[test], readout.answers(z[test]))
        found.append(counts.balanced)
    return float(np.mean(found))


def _across(inputs: Mapping[str, Any]) -> list[str]:
    return [feature.name for feature in _of_classes(inputs["features"])]


@metric(
    bounds=(0.0, 1.0),
    invariances=("shift", "scale"),
    iterative=True,
    estimator="balanced accuracy, mean over held-out values",
)
def ccgp(
    x: Activations,
    features: Features,
    /,
    *,
    method: ReadoutMethod = "logistic",
    C: Annotated[float, Range(1e-12)] = DEFAULT_C,
    scaling: Scaling = "zscore",
    prepare: Prepare = None,
) -> Wiring[xr.DataArray]:
    """Cross-condition generalisation: is a feature coded the same way whatever another one is.

    For a pair of features, the probe of the first is fitted on stimuli of all values but one of
    the second and tested on stimuli of the value left out, each value in turn; of a binary second
    feature, fitted on one side and tested on the other, both ways. A feature that can be read out
    but does not generalise is coded in a mixed, condition-specific way; one that generalises is
    coded along a direction of its own ("abstract").

    Parameters
    ----------
    features : Dataset, DataTree node, mapping or table
        Two class features or more, over ``stimulus``, lined up with ``x`` by label. A continuous
        one among them has no values to hold out: it is missing, with a warning.
    method : {"logistic", "ridge", "lda", "mean_difference"} or estimator of scikit-learn
        How classes are read out, as in ``probe``; logistic regression by default.
        Of scikit-learn it takes classifiers; a ``random_state`` that is None is 0.
    C : float
        Inverse strength of the penalty of ``logistic`` and ``ridge``; 1.0 by default, not tuned.
    scaling : {"zscore", "none"}
        What is done to units before the fit, with statistics of the fit rows only: "zscore"
        (default) or "none", which centres only.

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
    >>> import reptools as rt
    >>> rng = np.random.default_rng(0)
    >>> a, b = rng.integers(0, 2, (2, 400))
    >>> x = 0.3 * rng.normal(size=(400, 3))
    >>> apart = rt.ccgp(x + np.stack([a, b, 0 * a], axis=1), {"a": a, "b": b})
    >>> float(apart.sel(feature="a", across="b")) > 0.9
    True
    >>> mixed = rt.ccgp(x + np.stack([a ^ b, b, 0 * a], axis=1), {"a": a, "b": b})
    >>> float(mixed.sel(feature="a", across="b")) < 0.1
    True
    """
    settings = Settings("ccgp", method, C, scaling)
    settings.check_options()
    return Wiring(
        partial(generalization, settings=settings),
        dims=("feature", "across"),
        extras={"chance": ("feature",), "n_held_out": ("feature", "across")},
        coords={"across": _across},
        chosen=settings.chosen,
    )
