"""What becomes of the answers when activations are changed."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import xarray as xr

from reptools.engine.context import Context
from reptools.engine.declaring import intervention
from reptools.engine.inputs import Activations, Changed, Truths
from reptools.engine.operation import Wiring
from reptools.interventions.shared.heads import OUTPUT, Codes, truth
from reptools.interventions.shared.inputs import HeadAt, ReadoutOf
from reptools.interventions.shared.options import Values
from reptools.interventions.shared.splits import rows_of_split
from reptools.interventions.shared.truths import truths
from reptools.statistics.features.design import Feature
from reptools.statistics.readout.scores import Confusion


def changed_answers(
    x: Values,
    changed: Values,
    features: Sequence[Feature],
    head_at: HeadAt,
    /,
    *,
    context: Context,
    split: str | None,
) -> dict[str, Any]:
    """Every output at one position."""
    x, changed = (np.asarray(one, dtype=np.float64) for one in (x, changed))
    head, rows = head_at.checked(x), rows_of_split(context, split, "split")
    logits = [head.logits(one)[rows] for one in (x, changed)]
    result = []
    for name, one in truths(features, head_at.readout).items():
        before, after = (head.answers(each, name) for each in logits)
        codes = truth(head_at.readout, name, one)[rows]
        result.append([_balanced(codes, before), _balanced(codes, after), (before != after).mean()])
    return dict(zip(("before", "after", "flipped"), np.transpose(result), strict=True))


def _balanced(codes: Codes, answers: Codes) -> float:
    counts = Confusion(int(max(codes.max(), answers.max())) + 1)
    counts.add(codes, answers)
    return counts.balanced


@intervention(estimator="balanced accuracy, exact for a linear head")
def effect(
    x: Activations,
    changed: Changed,
    features: Truths,
    readout: ReadoutOf,
    /,
    *,
    split: str | None = None,
) -> Wiring[xr.Dataset]:
    """What a change of the activations does to the answers of the head.

    Parameters
    ----------
    x : DataArray, DataTree node, numpy or torch array
        Activations ([outer,] stimulus, unit) of the layer that feeds the head.
    changed : DataArray or array
        The same after an intervention, such as :func:`remove`: same stimuli, units and positions.
    features : Dataset, DataTree node, mapping or table
        The truth of every output, under its name, lined up with ``x`` by label.
    split : str, optional
        Value of the coordinate ``split`` whose stimuli are counted, such as "test". Without it
        (default) all stimuli.

    Returns
    -------
    Dataset
        Over the outer dimensions of ``x`` and ``output``: balanced accuracy ``before`` and
        ``after``, and ``flipped``, the share of stimuli with another answer.

    Raises
    ------
    DataError
        ``x`` does not feed the head, or ``changed`` is not finite.
    FeatureError
        The truth of an output is missing, or has other classes.
    DimensionError, ParameterError, StimulusError
        The inputs do not belong together, or there is no such split.

    Examples
    --------
    >>> import numpy as np
    >>> import reptools as rt
    >>> features = {"easy": np.tile([0, 1], 8), "hard": np.tile([0, 0, 1, 1], 4)}
    >>> x = np.stack([6.0 * features["easy"] - 3, 2.0 * features["hard"] - 1], axis=1)
    >>> head = rt.interventions.Readout.of(np.eye(2), [1.0, 0.0], ["easy", "hard"])
    >>> without = rt.interventions.remove(x, features, feature="easy")
    >>> found = rt.interventions.effect(x, without, features, head)
    >>> found.after.values.tolist(), found.flipped.values.tolist()
    ([0.5, 1.0], [0.5, 0.0])
    """
    return Wiring(
        partial(changed_answers, split=split),
        outputs=dict.fromkeys(("before", "after", "flipped"), (OUTPUT,)),
    )
