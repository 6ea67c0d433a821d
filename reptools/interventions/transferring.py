"""Read-outs tested on a combination of features that was left out of their fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Annotated, Any

import numpy as np
import xarray as xr

from reptools.engine.operation import Context
from reptools.engine.options import Range
from reptools.engine.results import FEATURE
from reptools.entering.labels import Index
from reptools.errors import FeatureError, StimulusError, naming, some, warn
from reptools.interventions.calls import Call, Parts, Values, chosen, declared
from reptools.metrics.readout import DEFAULT_C, Settings, Task, learn
from reptools.statistics.features.design import Feature, joint_classes
from reptools.statistics.folds import Folds
from reptools.statistics.readout.classifiers import Method
from reptools.statistics.readout.standard import Scaling


def _transfer(
    *,
    method: Method = "logistic",
    C: Annotated[float, Range(1e-12)] = DEFAULT_C,
    scaling: Scaling = "zscore",
) -> None:
    """Carry the options of :func:`transfer`."""


TRANSFER = declared(
    _transfer,
    cv="split",
    iterative=True,
    estimator="share of held-out stimuli of one combination that is answered rightly",
)


def transfer(
    x: Any,
    features: Any,
    /,
    *,
    hold_out: Mapping[str, Any] | None = None,
    method: Method = "logistic",
    C: float = DEFAULT_C,
    scaling: Scaling = "zscore",
    cv: Any = "split",
    groups: Any = None,
    seed: int = 0,
) -> xr.Dataset:
    """Read-outs of features on a combination of their values that was left out of the fit.

    Each feature's probe is fitted on fit stimuli of all combinations of values but one, and tested
    on test stimuli of that one. What ``ccgp`` holds out is a whole value of another feature; here
    every value of every feature has been seen, and only their combination is new.

    Parameters
    ----------
    x : DataArray, DataTree node, numpy or torch array
        Activations ([outer,] stimulus, unit); outer dimensions such as step are kept.
    features : Dataset, DataTree node, mapping or table
        Two class features or more over ``stimulus``, lined up with ``x`` by label.
    hold_out : mapping of str to value, optional
        The combination to leave out, a value for each feature. Without it (default) every
        combination of values in turn.
    method : {"logistic", "ridge", "lda", "mean_difference"}
        How classes are read out, as in ``probe``; logistic regression by default.
    C : float
        Inverse strength of the penalty of ``logistic`` and ``ridge``; 1.0 by default, not tuned.
    scaling : {"zscore", "none"}
        What is done to units before the fit, with statistics of the fit stimuli only: "zscore"
        (default) or "none", which centres only.
    cv : int, "split", splitter or None
        "split" (default) fits on the file's validation stimuli and tests on its test stimuli;
        where there is no split, two halves, both ways, pooled.
    groups : str or array, optional
        Stimulus coordinate whose values must not be divided between folds.
    seed : int
        Enters the folds, together with the stimulus labels.

    Returns
    -------
    Dataset
        Over the outer dimensions of ``x``, ``feature`` and ``combination`` ("easy=0,hard=1").

        - ``new``: share of the combination's test stimuli that is answered rightly by the probe
          that never saw the combination; missing, with a warning, where the other combinations
          lack the feature's value.
        - ``seen``: the same stimuli, answered by a probe of all fit stimuli.
        - ``n_test`` (combination): test stimuli, over all folds.

    Raises
    ------
    FeatureError
        There are fewer than two class features that vary, or ``hold_out`` does not name a value
        of each.
    StimulusError
        A combination has no test stimuli, or the stimuli differ.
    ParameterError
        An option is not allowed or says nothing beside another.

    Examples
    --------
    >>> import numpy as np
    >>> import reptools as rt
    >>> rng = np.random.default_rng(0)
    >>> a, b = np.tile([0, 1], 100), np.tile([0, 0, 1, 1], 50)
    >>> x = np.stack([a, b], axis=1) + 0.1 * rng.normal(size=(200, 2))
    >>> found = rt.interventions.transfer(x, {"a": a, "b": b}, hold_out={"a": 1, "b": 1})
    >>> bool((found.new.sel(combination="a=1,b=1") > 0.9).all())
    True
    """
    with naming("transfer"):
        sampling = {"cv": cv, "groups": groups, "seed": seed}
        options = {"method": method, "C": C, "scaling": scaling, **sampling}
        call = Call.of(TRANSFER, x, options)
        held = _class_features(chosen(features, call.side, None))
        settings = Settings("transfer", method, call.bound["C"], scaling)
        settings.check(held)
        combinations = _combinations(held, hold_out)
        lacking: dict[str, None] = {}

        def kernel(index: Index, values: Values) -> Parts:
            here = [one.at(index) for one in held]
            return _transferred(values, here, combinations, settings, call.context, lacking)

        found = call.over(kernel)
        if lacking:
            warn(
                "transfer: a value of the feature occurs in no other combination, score missing "
                f"(NaN): {some(lacking)}"
            )
        each = (FEATURE, "combination")
        return call.dataset(
            found,
            {"new": each, "seen": each, "n_test": ("combination",)},
            {FEATURE: [one.name for one in held], "combination": list(combinations)},
            {"hold_out": list(combinations)},
        )


def _class_features(features: list[Feature]) -> list[Feature]:
    amounts = [one.name for one in features if one.kind == "continuous"]
    constant = [one.name for one in features if one.constant]
    if amounts or constant or len(features) < 2:
        why = (
            f"continuous, without values to combine: {some(amounts)}"
            if amounts
            else f"constant over all stimuli: {some(constant)}"
            if constant
            else f"a combination takes two features, got {some([f.name for f in features])}"
        )
        raise FeatureError(f"{why}. Pass two class features that vary, or more.")
    return features


def _combinations(
    features: Sequence[Feature], hold_out: Mapping[str, Any] | None
) -> dict[str, tuple[Any, ...]]:
    """Values of the features by the name of their combination."""
    values = [np.unique(one.values).tolist() for one in features]
    names = [one.name for one in features]
    if hold_out is None:
        outer = any(one.outer for one in features)
        present = list(product(*values))
        if not outer:
            rows = set(zip(*(one.values.tolist() for one in features), strict=True))
            present = [each for each in present if each in rows]
    else:
        if not isinstance(hold_out, Mapping) or set(hold_out) != set(names):
            raise FeatureError(
                f"hold_out is {hold_out!r} and must give a value for each of {some(names)}. "
                "For a whole value of one feature use ccgp."
            )
        present = [tuple(hold_out[name] for name in names)]
        for name, known, value in zip(names, values, present[0], strict=True):
            if value not in known:
                raise FeatureError(
                    f"hold_out has {name}={value!r}, and its values are {some(known)}. Name one."
                )
    return {
        ",".join(f"{n}={v}" for n, v in zip(names, each, strict=True)): each for each in present
    }


def _transferred(
    x: Values,
    features: Sequence[Feature],
    combinations: Mapping[str, tuple[Any, ...]],
    settings: Settings,
    context: Context,
    lacking: dict[str, None],
) -> Parts:
    """Shares answered rightly (feature, combination), with and without it in the fit."""
    folds = context.folds(joint_classes(features))
    inside = {}
    for name, values in combinations.items():
        matching = [one.values == value for one, value in zip(features, values, strict=True)]
        inside[name] = np.logical_and.reduce(matching)
        if not any(inside[name][test].any() for _, test in folds):
            raise StimulusError(f"no test stimulus has {name}. Use halves with every combination.")
    tasks, cells = [], []
    for i, one in enumerate(features):
        tasks.append(Task(one.name, one.codes, folds, "all combinations, "))
        cells.append((i, -1))
        for j, (name, held) in enumerate(inside.items()):
            pairs = tuple((fit[~held[fit]], test[held[test]]) for fit, test in folds)
            if any(not np.isin(one.codes[test], one.codes[fit]).all() for fit, test in pairs):
                lacking.setdefault(f"{one.name} at {name}")
                continue
            tasks.append(Task(one.name, one.codes, Folds(pairs, name), f"without {name}, "))
            cells.append((i, j))
    learned = learn(x, tasks, settings, context)
    z = learned.shown(x)
    new, seen = (np.full((len(features), len(inside)), np.nan) for _ in range(2))
    for (i, j), task, readouts in zip(cells, tasks, learned.readouts, strict=True):
        tests = [test for _, test in task.folds]
        rows = np.concatenate(tests)
        answers = [fitted.answers(z[test]) for test, fitted in zip(tests, readouts, strict=True)]
        right = np.concatenate(answers) == task.target[rows]
        if j >= 0:
            new[i, j] = right.mean()
        else:
            seen[i] = [right[held[rows]].mean() for held in inside.values()]
    n_test = [sum(int(held[test].sum()) for _, test in folds) for held in inside.values()]
    return {"new": new, "seen": seen, "n_test": np.array(n_test)}
