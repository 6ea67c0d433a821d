"""What a new classifier on a representation goes by, where two features predicted its label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Annotated, Any

import numpy as np
import xarray as xr

from reptools.engine.common import CV, Groups, Seed
from reptools.engine.context import Context
from reptools.engine.declaring import intervention
from reptools.engine.inputs import FEATURE, Activations, Truths
from reptools.engine.operation import Wiring
from reptools.engine.options import Option
from reptools.errors import FeatureError, StimulusError, some
from reptools.interventions.shared.options import (
    Names,
    Values,
    numbers_of,
    parse_numbers,
    picked,
)
from reptools.metrics.shared.readout import DEFAULT_C, ReadoutMethod, Settings, Task, learn
from reptools.statistics.features.design import Feature, joint_classes
from reptools.statistics.folds import Folds
from reptools.statistics.readout.classifiers import Codes
from reptools.statistics.readout.standard import Scaling


def _check_strengths(name: str, value: Any) -> tuple[float, ...]:
    return numbers_of(name, value, above=True)


Strengths = Annotated[
    Sequence[float] | float,
    Option("numbers above 0, joined by commas", _check_strengths, parse_numbers),
]


def relied(
    x: Values,
    features: Sequence[Feature],
    /,
    *,
    context: Context,
    agree: Sequence[str] | None,
    settings: Sequence[Settings],
) -> dict[str, Any]:
    """Every output at one position."""
    one, other = pair = _pair(features, agree)
    for each in settings:
        each.check(pair)
    return _relied(np.asarray(x, dtype=np.float64), one, other, settings, context)


def _pair(features: Sequence[Feature], agree: Sequence[str] | None) -> Sequence[Feature]:
    """Two class features with as many classes."""
    features = picked(features, agree, "agree")
    if len(features) != 2:
        raise FeatureError(
            f"it sets two features against each other, got {some([f.name for f in features])}. "
            "Name two by agree=."
        )
    amounts = [one.name for one in features if one.kind == "continuous"]
    if amounts:
        raise FeatureError(f"continuous, without classes: {some(amounts)}. Pass class features.")
    sizes = {one.name: len(np.unique(one.values)) for one in features}
    if len(set(sizes.values())) > 1 or min(sizes.values()) < 2:
        raise FeatureError(
            f"the features have {sizes} classes. Pass two that vary, with as many classes."
        )
    return features


def _relied(
    x: Values, one: Feature, other: Feature, settings: Sequence[Settings], context: Context
) -> dict[str, Any]:
    """Shares of conflicts that follow each feature, for every penalty."""
    a, b = one.codes, other.codes
    n = int(a.max()) + 1
    agreeing = a == b
    pairs = []
    for fit, test in context.folds(joint_classes([one, other])):
        part = fit[agreeing[fit]]
        missing = np.setdiff1d(np.arange(n), a[part])
        if missing.size:
            raise StimulusError(
                f"of the fit stimuli on which {one.name!r} and {other.name!r} agree, {part.size} "
                f"in all, none has class {missing[0]}. Use halves with every combination."
            )
        pairs.append((part, test))
    tested = np.concatenate([test for _, test in pairs])
    in_conflict = tested[~agreeing[tested]]
    if not in_conflict.size or in_conflict.size == tested.size:
        which = "conflict" if not in_conflict.size else "agree"
        raise StimulusError(
            f"{one.name!r} and {other.name!r} {which} on none of the {tested.size} test stimuli. "
            "Use stimuli with every combination."
        )
    task = Task(f"{one.name} = {other.name}", a, Folds(tuple(pairs), "agreeing stimuli"))
    follows, accuracy = [], []
    for each in settings:
        learned = learn(x, [task], each, context)
        z = learned.shown(x)
        answers = np.concatenate(
            [
                fitted.answers(z[t])
                for (_, t), fitted in zip(pairs, learned.readouts[0], strict=True)
            ]
        )
        kind = a[tested] * n + b[tested]
        shares = [_by_kind(answers == codes[tested], kind, n) for codes in (a, b)]
        crossed = ~np.eye(n, dtype=bool)
        follows.append([np.nanmean(share[crossed]) for share in shares])
        accuracy.append(np.nanmean(shares[0][~crossed]))
    counts = {"n_fit": sum(len(fit) for fit, _ in pairs), "n_conflict": in_conflict.size}
    return {"follows": np.array(follows), "accuracy": np.array(accuracy), **counts}


def _by_kind(right: Values, kind: Codes, n: int) -> Values:
    """Shares (class of one, class of the other); NaN for combinations without stimuli."""
    total = np.bincount(kind, minlength=n * n)
    hits = np.bincount(kind, weights=right, minlength=n * n)
    return np.where(total > 0, hits / np.maximum(total, 1), np.nan).reshape(n, n)


@intervention(
    iterative=True, estimator="shares of held-out stimuli, mean over combinations in conflict"
)
def downstream(
    x: Activations,
    features: Truths,
    /,
    *,
    agree: Names = None,
    C: Strengths = DEFAULT_C,
    method: ReadoutMethod = "logistic",
    scaling: Scaling = "none",
    cv: CV = "split",
    groups: Groups = None,
    seed: Seed = 0,
) -> Wiring[xr.Dataset]:
    """Which of two features a new classifier goes by, when both predicted its label.

    A linear classifier is fitted on stimuli on which two features agree, so that either gives the
    label, and asked about stimuli on which they disagree. Its answers there say which feature it
    relies on. No head is needed, so every layer can be asked.

    Parameters
    ----------
    x : DataArray, DataTree node, numpy or torch array
        Activations ([outer,] stimulus, unit); outer dimensions such as step are kept.
    features : Dataset, DataTree node, mapping or table
        Class features over ``stimulus``, lined up with ``x`` by label.
    agree : two names, optional
        The features, with as many classes each, which are matched in sorted order. Without it
        (default) the two features there are.
    C : float or sequence of float
        Inverse strengths of the penalty of ``logistic`` and ``ridge``, as in scikit-learn; 1.0 by
        default, not tuned. Several give the whole path.
    method : {"logistic", "ridge", "lda", "mean_difference"} or classifier of scikit-learn
        The classifier, as in ``probe``; logistic regression by default.
    scaling : {"none", "zscore"}
        What is done to units before the fit, with statistics of the fit stimuli only. "none"
        (default) centres only, so that a penalty favours what has much variance, as a classifier
        of the raw representation would; "zscore" also divides by the standard deviation.
    cv : int, "split", splitter or None
        "split" (default) fits on the file's validation stimuli and tests on its test stimuli;
        where there is no split, two halves, both ways, pooled.

    Returns
    -------
    Dataset
        Over the outer dimensions of ``x`` and ``C``.

        - ``follows`` (..., C, feature): share of test stimuli in conflict that are answered as
          the feature says, each combination of values weighing the same. The two sum to 1 for
          binary features; chance is 0.5.
        - ``accuracy`` (..., C): balanced accuracy on test stimuli on which the features agree.
        - ``n_fit``, ``n_conflict``: stimuli fitted on, and in conflict, over all folds.

    Raises
    ------
    FeatureError
        There are not two class features with as many classes, or a name is unknown.
    StimulusError
        A fit half has one label only among agreeing stimuli, or the test stimuli no conflict.
    ParameterError
        An option is not allowed, or ``C`` is given for a method without penalty.

    Examples
    --------
    >>> import numpy as np
    >>> import reptools as rt
    >>> rng = np.random.default_rng(0)
    >>> easy, hard = np.tile([0, 1], 100), np.tile([0, 0, 1, 1], 50)
    >>> x = np.stack([8.0 * easy, 2.0 * hard], axis=1) + 0.1 * rng.normal(size=(200, 2))
    >>> found = rt.interventions.downstream(x, {"easy": easy, "hard": hard})
    >>> found.follows.sel(C=1.0).values.tolist()
    [1.0, 0.0]
    """
    strengths = (C,) if isinstance(C, (int, float)) else tuple(C)
    settings = [Settings("downstream", method, each, scaling) for each in strengths]
    for one in settings:
        one.check_options()

    def names(inputs: Mapping[str, Any]) -> list[str]:
        return [one.name for one in _pair(inputs["features"], agree)]

    return Wiring(
        partial(relied, agree=agree, settings=settings),
        outputs={"follows": ("C", FEATURE), "accuracy": ("C",), "n_fit": (), "n_conflict": ()},
        coords={"C": strengths, FEATURE: names},
        chosen=lambda inputs: {"agree": names(inputs), **settings[0].chosen},
    )
