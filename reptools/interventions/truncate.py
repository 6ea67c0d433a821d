"""Which answers survive when only the leading principal components are kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Annotated, Any

import numpy as np
import xarray as xr

from reptools.arrays import matmul
from reptools.engine.common import CV, Groups, Seed
from reptools.engine.context import Context
from reptools.engine.declaring import intervention
from reptools.engine.inputs import Activations, Truths
from reptools.engine.operation import Wiring
from reptools.engine.options import Option, Range
from reptools.errors import ParameterError
from reptools.interventions.shared.heads import OUTPUT, Codes, Head, truth
from reptools.interventions.shared.inputs import HeadAt, ReadoutOf
from reptools.interventions.shared.options import Values, numbers_of, parse_numbers
from reptools.interventions.shared.truths import truths
from reptools.statistics.features.design import Feature, joint_classes
from reptools.statistics.folds import Folds
from reptools.statistics.readout.scores import Confusion
from reptools.statistics.shapes.spectrum import leading_axes, scaled


def _check_counts(name: str, value: Any) -> tuple[int, ...] | None:
    return None if value is None else numbers_of(name, value, whole=True)


Counts = Annotated[
    Sequence[int] | int | None,
    Option("whole numbers from 0, joined by commas, or none", _check_counts, parse_numbers),
]


def truncated(
    x: Values,
    features: Sequence[Feature],
    head_at: HeadAt,
    /,
    *,
    context: Context,
    k: Sequence[int] | None,
    threshold: float,
) -> dict[str, Any]:
    """Every output at one position."""
    x = np.asarray(x, dtype=np.float64)
    head, wanted = head_at.checked(x), truths(features, head_at.readout)
    counts = _counts(k, x.shape[1])
    here = {name: truth(head_at.readout, name, one) for name, one in wanted.items()}
    folds = context.folds(joint_classes(list(wanted.values())))
    accuracy, full, explained = _truncated(x, head, here, folds, counts)
    kept = np.logical_and.accumulate((accuracy >= threshold)[::-1])[::-1]
    k_kept = np.where(kept.any(axis=0), np.array(counts)[kept.argmax(axis=0)], np.nan)
    return {"accuracy": accuracy, "full": full, "explained": explained, "k_kept": k_kept}


def _counts(k: Sequence[int] | None, n_units: int, name: str = "x") -> Sequence[int]:
    if k is None:
        return range(n_units + 1)
    if k[-1] > n_units:
        raise ParameterError(f"k holds {k[-1]}, and {name} has {n_units} units. Pass up to that.")
    return k


def _truncated(
    x: Values, head: Head, wanted: dict[str, Codes], folds: Folds, counts: Sequence[int]
) -> tuple[Values, Values, Values]:
    """Accuracy (k, output), accuracy without truncation, and variance kept (k,)."""
    tables = [
        [Confusion(max(2, len(rows))) for rows in head.rows.values()] for _ in [*counts, "full"]
    ]
    explained = []
    for fit, test in folds:
        centred, factor = scaled(x[fit])
        values, axes = leading_axes(centred, max(1, counts[-1]))
        share = np.concatenate([[0.0], np.cumsum(values)]) / (centred**2).sum()
        explained.append([share[min(k, axes.shape[1])] for k in counts])
        mean = x[fit].mean(axis=0)
        scores = matmul((x[test] - mean) / factor, axes)  # (stimulus, component)
        steps = matmul(head.weight, axes) * factor  # (logit, component)
        logits = np.repeat(head.logits(mean)[None], len(test), axis=0)
        done = 0
        for table, k in zip(tables, counts, strict=False):
            logits = logits + matmul(scores[:, done:k], steps[:, done:k].T)
            done = k
            _count(table, head, logits, wanted, test)
        _count(tables[-1], head, head.logits(x[test]), wanted, test)
    accuracy = np.array([[one.balanced for one in table] for table in tables])
    return accuracy[:-1], accuracy[-1], np.mean(explained, axis=0)


def _count(
    table: list[Confusion], head: Head, logits: Values, wanted: dict[str, Codes], test: Values
) -> None:
    for counts, (name, codes) in zip(table, wanted.items(), strict=True):
        counts.add(codes[test], head.answers(logits, name))


@intervention(estimator="components of the fit half, balanced accuracy of the test half")
def truncate(
    x: Activations,
    features: Truths,
    readout: ReadoutOf,
    /,
    *,
    k: Counts = None,
    threshold: Annotated[float, Range(0.0, 1.0)] = 0.95,
    cv: CV = "split",
    groups: Groups = None,
    seed: Seed = 0,
) -> Wiring[xr.Dataset]:
    """Accuracy of the head on the mean and the top-k principal components, for every output.

    A component that carries much variance need not carry an answer: what an output loses when
    only the leading components are kept says which of them it is read from.

    Parameters
    ----------
    x : DataArray, DataTree node, numpy or torch array
        Activations ([outer,] stimulus, unit) of the layer that feeds the head; outer dimensions
        such as step are kept, and paired with the head's. Units are centred, not scaled.
    features : Dataset, DataTree node, mapping or table
        The truth of every output, under its name, lined up with ``x`` by label.
    k : int or sequence of int, optional
        Numbers of components kept, 0 for the mean alone. Without it (default) all from 0 to the
        number of units.
    threshold : float
        Balanced accuracy that counts as kept; 0.95 by default, our choice.
    cv : int, "split", splitter or None
        "split" (default) takes mean and components from the file's validation stimuli and answers
        its test stimuli; where there is no split, two halves, both ways, pooled.

    Returns
    -------
    Dataset
        Over the outer dimensions of ``x``.

        - ``accuracy`` (..., k, output): balanced accuracy on test stimuli; ``full`` (..., output):
          without truncation.
        - ``k_kept`` (..., output): the smallest ``k`` from which on every larger one that was
          tried keeps the threshold; missing where none does.
        - ``explained`` (..., k): fraction of the fit half's variance in the components, mean over
          folds. Where fewer components vary than ``k``, all of them are kept.

    Raises
    ------
    DataError
        ``x`` does not feed the head.
    FeatureError
        The truth of an output is missing, or has other classes.
    DimensionError, ParameterError, StimulusError
        ``x`` and ``readout`` or ``features`` do not belong together, or an option is not allowed.

    Examples
    --------
    >>> import numpy as np
    >>> import reptools as rt
    >>> easy, hard = np.tile([0, 1], 8), np.tile([0, 0, 1, 1], 4)
    >>> x = np.stack([6.0 * easy - 3, 2.0 * hard - 1], axis=1)
    >>> head = rt.interventions.Readout.of(np.eye(2), [0.0, 0.0], ["easy", "hard"])
    >>> found = rt.interventions.truncate(x, {"easy": easy, "hard": hard}, head)
    >>> found.accuracy.sel(output="hard").values.tolist(), found.k_kept.values.tolist()
    ([0.5, 0.5, 1.0], [1.0, 2.0])
    """
    asked = (k,) if isinstance(k, int) else k

    def counts(inputs: Mapping[str, Any]) -> list[int]:
        truths(inputs["features"], inputs["readout"])
        return list(_counts(asked, inputs["x"].n_units, inputs["x"].name))

    return Wiring(
        partial(truncated, k=asked, threshold=threshold),
        outputs={
            "accuracy": ("k", OUTPUT),
            "full": (OUTPUT,),
            "k_kept": (OUTPUT,),
            "explained": ("k",),
        },
        coords={"k": counts},
        chosen=lambda inputs: {"k": counts(inputs)},
    )
