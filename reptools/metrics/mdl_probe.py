"""How short a code for a feature's labels becomes for those who know the representation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Annotated, Literal

import numpy as np
import xarray as xr

from reptools.engine.common import Prepare
from reptools.engine.context import Context
from reptools.engine.declaring import metric
from reptools.engine.inputs import Activations, Features
from reptools.engine.operation import Score, Wiring
from reptools.engine.options import Range
from reptools.entering.labels import no_gaps
from reptools.errors import FeatureError, ParameterError, some, warn
from reptools.metrics.shared.readout import DEFAULT_C, GRID, table
from reptools.statistics.features.design import Feature
from reptools.statistics.folds import Rows, hash_rank
from reptools.statistics.readout import logistic
from reptools.statistics.readout.classifiers import (
    Codes,
    Problem,
    Readout,
    Values,
    fit_readouts,
)
from reptools.statistics.readout.standard import Scaling, Standard

# shares of the stimuli after which a new probe is fitted, as in Voita and Titov
FRACTIONS = (0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.0625, 0.125, 0.25, 0.5, 1.0)
FEWEST = 2  # stimuli per class before the first probe is fitted


def compression(
    x: Values,
    target: Sequence[Feature],
    /,
    *,
    context: Context,
    penalties: Sequence[float],
    scaling: Scaling,
    groups: str | None,
    seed: int,
) -> Score:
    """Uniform over online codelength of every class feature."""
    amounts = [feature.name for feature in target if feature.kind == "continuous"]
    if len(amounts) == len(target):
        raise FeatureError(
            f"continuous features have no labels to send: {some(amounts)}. Pass class features, "
            "or read amounts out with probe."
        )
    if amounts:
        warn(f"mdl_probe: not class features, score missing (NaN): {some(amounts)}")
    messages = [
        Message.of(feature, _order(context, groups, seed))
        for feature in target
        if feature.kind != "continuous"
    ]
    coded = iter(_lengths(x, messages, penalties, scaling))
    rows = [{} if feature.kind == "continuous" else next(coded) for feature in target]
    extras = table(rows)
    return Score(extras["uniform_codelength"] / extras["online_codelength"], extras)


@dataclass(frozen=True)
class Message:
    """Labels in the order in which they are sent, and where its blocks end."""

    name: str
    codes: Codes
    n_classes: int
    order: Rows
    ends: tuple[int, ...]

    @classmethod
    def of(cls, feature: Feature, sequence: tuple[Rows, Codes]) -> Message:
        """The labels of a class feature; ``sequence`` holds the order and its groups."""
        order, group = sequence
        n, n_classes = len(order), int(feature.codes.max()) + 1
        whole = np.append(np.flatnonzero(np.diff(group)) + 1, n)  # where a group is complete
        planned = [math.ceil(fraction * n) for fraction in FRACTIONS]
        reached = np.unique([max(end, FEWEST * n_classes) for end in planned])
        ends = np.unique(whole[np.searchsorted(whole, reached[reached <= n])])
        if len(ends) < 2:
            raise FeatureError(
                f"feature {feature.name!r} has {n_classes} classes among {n} stimuli, and the "
                f"first block of {ends[0] if len(ends) else n} leaves nothing to predict. Use "
                "more stimuli, or smaller groups."
            )
        return cls(feature.name, feature.codes, n_classes, order, tuple(ends.tolist()))

    @property
    def blocks(self) -> list[tuple[Rows, Rows]]:
        """Row numbers (sent before, sent now) of every block but the first."""
        return [(self.order[:start], self.order[start:stop]) for start, stop in pairwise(self.ends)]


def _order(context: Context, groups: str | None, seed: int) -> tuple[Rows, Codes]:
    """Rows in an order drawn from (seed, label), whole groups in a row, and their groups."""
    rank = hash_rank(context.stimulus, seed)
    if groups is None:
        return np.argsort(rank), np.arange(len(rank))
    names, number = np.unique(
        no_gaps(context.coordinate(groups, "groups"), groups), return_inverse=True
    )
    place = hash_rank(names, seed)[number]
    order = np.lexsort((rank, place))
    return order, place[order]


# --- bits ---------------------------------------------------------------------------------------


def _lengths(
    x: Values, messages: Sequence[Message], penalties: Sequence[float], scaling: Scaling
) -> list[dict[str, float]]:
    """Lengths in bits of every message, all probes fitted together."""
    problems = [
        Problem(message.codes, before, C)
        for message in messages
        for before, _ in message.blocks
        for C in penalties
    ]
    used = np.unique(np.concatenate([problem.fit for problem in problems]))
    standard = Standard.of(x, used, scaling)
    readouts = iter(fit_readouts(x, standard, problems, "logistic"))
    z = standard.of_rows(x, np.arange(len(x)))
    rows = []
    for message in messages:
        bits = np.zeros(len(penalties))
        marginal = 0.0
        stuck = 0
        for before, now in message.blocks:
            fitted = [next(readouts) for _ in penalties]
            bits += [_bits(message, readout, before, now, z) for readout in fitted]
            marginal += _marginal_bits(message, before, now)
            stuck += sum(not readout.converged for readout in fitted)
        if stuck:
            n_fits = len(message.blocks) * len(penalties)
            warn(
                f"mdl_probe: feature {message.name!r} did not converge in "
                f"{logistic.MAX_ITERATIONS} iterations in {stuck} of {n_fits} fits; "
                "scaling='zscore' or a smaller C makes it easier"
            )
        first = message.ends[0] * math.log2(message.n_classes)
        if len(penalties) > 1:  # a mixture also holds the code without activations
            bits = np.append(bits, marginal)
        mixture = math.log2(len(bits)) - float(np.logaddexp2.reduce(-bits))
        rows.append(
            {
                "online_codelength": first + mixture,
                "uniform_codelength": len(message.order) * math.log2(message.n_classes),
                "marginal_codelength": first + marginal,
            }
        )
    return rows


def _bits(message: Message, readout: Readout, before: Rows, now: Rows, z: Values) -> float:
    """Bits of one block under a probe; classes it has not seen have Laplace's probability."""
    unseen = message.n_classes - len(readout.classes)
    escape = 1 / (len(before) + message.n_classes)
    known = np.isin(message.codes[now], readout.classes)
    rows = now[known]
    column = np.searchsorted(readout.classes, message.codes[rows])
    answered = readout.log_probabilities(z[rows])[np.arange(len(rows)), column]
    in_nats = answered.sum() + len(rows) * math.log1p(-unseen * escape)
    return float(-in_nats / math.log(2) - (len(now) - len(rows)) * math.log2(escape))


def _marginal_bits(message: Message, before: Rows, now: Rows) -> float:
    """Bits of one block under the smoothed shares of the classes sent before."""
    counts = np.bincount(message.codes[before], minlength=message.n_classes) + 1
    return float(-np.log2(counts / counts.sum())[message.codes[now]].sum())


@metric(
    bounds=(0.0, float("inf")),
    invariances=("shift", "scale"),
    iterative=True,
    estimator="compression by online coding: uniform codelength / online codelength",
)
def mdl_probe(
    x: Activations,
    target: Features,
    /,
    *,
    regularization: Literal["mixture", "fixed"] = "mixture",
    C: Annotated[float, Range(1e-12)] = DEFAULT_C,
    scaling: Scaling = "zscore",
    groups: str | None = None,
    seed: int = 0,
    prepare: Prepare = None,
) -> Wiring[xr.DataArray]:
    """Minimum description length probe: how far knowing the activations compresses the labels.

    Labels are sent in blocks. The first is sent by a uniform code, each later one by the
    probabilities that a logistic probe, fitted on all earlier blocks, gives to its labels. The
    score is the length of a uniform code for everything, divided by the length of this code: 1
    where nothing is gained, below 1 where the probe misleads, higher the better and the sooner
    the feature can be read out. Unlike accuracy it counts how many stimuli the probe needed, so
    it separates features that are read out equally well in the end, and a probe of large capacity
    gains nothing by memorising: every label is predicted before it is seen.

    Parameters
    ----------
    target : Dataset, DataTree node, DataArray, mapping or array
        Class features over ``stimulus``, lined up with ``x`` by label. A continuous one among
        them has no labels to send: its score is missing, with a warning.
    regularization : {"mixture", "fixed"}
        How strongly probes are penalised. "mixture" (default) gives the labels the mean of their
        probabilities under the penalties C = 1e-5, 1e-4, ... 100 and under the shares of the
        classes so far, without activations. That costs at most log2(9) = 3.2 bits more than the
        best of these nine codes, which need not be known beforehand. "fixed" takes ``C``: nearer
        to the paper, but where units outnumber stimuli a weak penalty makes the probe confident
        and wrong.
    C : float
        Inverse strength of the L2 penalty for ``regularization="fixed"``, as in ``probe``; 1.0
        by default.
    scaling : {"zscore", "none"}
        What is done to units before each fit, with statistics of the earlier blocks only.
        "zscore" (default) or "none", which centres only.
    groups : str, optional
        Stimulus coordinate whose values must not be divided between blocks, such as the original
        of which several stimuli are copies. Without it (default) stimuli stand for themselves.
    seed : int
        Enters, with the labels of stimuli and groups, the order in which labels are sent.

    Returns
    -------
    DataArray
        Compression over ``feature`` and the outer dimensions of ``x``. Coordinates of the same
        shape, in bits:

        - ``online_codelength``: of this code.
        - ``uniform_codelength``: n log2(number of classes).
        - ``marginal_codelength``: of the same blocks sent without the activations, by the shares
          of the classes so far, one added to every count. Where classes are unequal it is below
          the uniform length already; by how much ``online_codelength`` is below it shows what the
          activations add.

    Raises
    ------
    FeatureError
        No feature varies, all are continuous, or there are too few stimuli to fit any probe.
    ParameterError
        An option is not allowed, or ``C`` is given for a mixture.
    StimulusError
        ``x`` and a target were not shown the same stimuli, or only one of them has labels.

    Notes
    -----
    Blocks end after 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.25, 12.5, 25, 50 and 100 % of the stimuli,
    rounded up, as in the paper. Ends before two stimuli for each class are left out, so with few
    stimuli the first blocks merge; the first probe is then fitted on 2 to 4 stimuli a class. A
    class that the earlier blocks do not hold has the probability 1 / (t + K) after t stimuli of K
    classes (Laplace's rule of succession), the probe's answer the rest.

    Bits depend on the number of stimuli: compare representations at the same stimuli and seed.

    References
    ----------
    Voita and Titov (2020), Information-theoretic probing with minimum description length, EMNLP,
    section 2.2.2: L = t_1 log2 K - sum_i log2 p_i(y_{t_i+1 : t_{i+1}} | x_{t_i+1 : t_{i+1}}).

    Examples
    --------
    >>> import numpy as np
    >>> import reptools as rt
    >>> rng = np.random.default_rng(0)
    >>> bit, other = rng.integers(0, 2, (2, 400))
    >>> x = rng.normal(size=(400, 10)) + 2 * bit[:, None]
    >>> result = rt.mdl_probe(x, {"there": bit, "not there": other})
    >>> result.sel(feature="there").item() > 4, 0.9 < result.sel(feature="not there").item() < 1.1
    (True, True)
    """
    if regularization == "mixture" and C != DEFAULT_C:
        raise ParameterError(
            f"C={C:g} is not used by regularization='mixture'. Leave one of the two out."
        )
    kernel = partial(
        compression,
        penalties=GRID if regularization == "mixture" else (C,),
        scaling=scaling,
        groups=groups,
        seed=seed,
    )
    lengths = ("online_codelength", "uniform_codelength", "marginal_codelength")
    return Wiring(kernel, dims=("feature",), extras=dict.fromkeys(lengths, ("feature",)))
