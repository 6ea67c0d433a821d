"""Read-outs tested on a combination of features that was left out of their fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import product
from typing import Annotated, Any

import numpy as np
import xarray as xr

from reptools.engine.common import CV, Groups, Seed
from reptools.engine.context import Context
from reptools.engine.declaring import intervention
from reptools.engine.inputs import FEATURE, Activations, Truths
from reptools.engine.operation import Score, Wiring
from reptools.engine.options import Option, Range
from reptools.errors import FeatureError, ParameterError, StimulusError, some, warn
from reptools.interventions.shared.options import Values
from reptools.metrics.shared.readout import DEFAULT_C, ReadoutMethod, Settings, Task, learn
from reptools.statistics.features.design import Feature, joint_classes
from reptools.statistics.folds import Folds
from reptools.statistics.readout.standard import Scaling


def _check_combination(name: str, value: Any) -> Mapping[str, Any] | None:
    if value is None or isinstance(value, Mapping):
        return value
    raise ParameterError(
        f"{name} must map features to values, got {value!r}. Pass {name}={{'easy': 0, 'hard': 1}}."
    )


def _parse_combination(text: str) -> Any:
    if text.lower() == "none":
        return None
    parts = [part.partition("=") for part in text.split(",")]
    if not all(sign for _, sign, _ in parts):
        return text
    return {name.strip(): _plain(value.strip()) for name, _, value in parts}


def _plain(text: str) -> Any:
    """A number where the text is one: values of a file are numbers or names."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


Combination = Annotated[
    Mapping[str, Any] | None,
    Option("FEATURE=VALUE of each feature, joined by commas, or none", _check_combination,
           _parse_combination),
]  # fmt: skip


def transferred(
    x: Values,
    features: Sequence[Feature],
    /,
    *,
    context: Context,
    hold_out: Mapping[str, Any] | None,
    settings: Settings,
) -> Score:
    """Shares answered rightly (feature, combination), with and without it in the fit."""
    x, features = np.asarray(x, dtype=np.float64), _class_features(features)
    settings.check(features)
    combinations = _combinations(features, hold_out)
    lacking: list[str] = []
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
                lacking.append(f"{one.name} at {name}")
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
    if lacking:
        warn(
            "transfer: a value of the feature occurs in no other combination, score missing "
            f"(NaN): {some(lacking)}"
        )
    outputs = {"new": new, "seen": seen, "n_test": np.array(n_test)}
    return Score(outputs, coords={"combination": list(combinations)})


def _class_features(features: Sequence[Feature]) -> Sequence[Feature]:
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


@intervention(
    iterative=True,
    bounds=(0.0, 1.0),
    estimator="share of held-out stimuli of one combination that is answered rightly",
)
def transfer(
    x: Activations,
    features: Truths,
    /,
    *,
    hold_out: Combination = None,
    method: ReadoutMethod = "logistic",
    C: Annotated[float, Range(1e-12)] = DEFAULT_C,
    scaling: Scaling = "zscore",
    cv: CV = "split",
    groups: Groups = None,
    seed: Seed = 0,
) -> Wiring[xr.Dataset]:
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
    method : {"logistic", "ridge", "lda", "mean_difference"} or classifier of scikit-learn
        How classes are read out, as in ``probe``; logistic regression by default.
    C : float
        Inverse strength of the penalty of ``logistic`` and ``ridge``; 1.0 by default, not tuned.
    scaling : {"zscore", "none"}
        What is done to units before the fit, with statistics of the fit stimuli only: "zscore"
        (default) or "none", which centres only.
    cv : int, "split", splitter or None
        "split" (default) fits on the file's validation stimuli and tests on its test stimuli;
        where there is no split, two halves, both ways, pooled.

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
    settings = Settings("transfer", method, C, scaling)
    settings.check_options()

    def combinations(inputs: Mapping[str, Any]) -> list[str]:
        return list(_combinations(_class_features(inputs["features"]), hold_out))

    return Wiring(
        partial(transferred, hold_out=hold_out, settings=settings),
        outputs={
            "new": (FEATURE, "combination"),
            "seen": (FEATURE, "combination"),
            "n_test": ("combination",),
        },
        coords={"combination": combinations},
        chosen=lambda inputs: {"hold_out": combinations(inputs), **settings.chosen},
    )
