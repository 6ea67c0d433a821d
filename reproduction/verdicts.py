"""From one number a seed to a verdict, by a rule that was fixed before the runs."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import Any, Literal

import numpy as np
from scipy.stats import t as student

from reptools.errors import ParameterError

Scale = Literal["difference", "log_ratio"]
Verdict = Literal["shown", "reversed", "not decided"]
FEWEST = 3  # seeds: an interval over two says next to nothing
Values = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class Effect:
    """An effect over seeds, with its 95 % interval, and what it says of the claim.

    Attributes
    ----------
    values : array (seed,)
        Larger less smaller, paired within the seed; or the logarithm of their ratio. Of a mean
        over pairs of networks, the pseudo-values.
    mean, low, high : float
        Over seeds, with the two-sided 95 % t interval.
    verdict : str
        "shown", "reversed" or "not decided".
    """

    values: Values
    mean: float
    low: float
    high: float
    verdict: Verdict


def effect(
    larger: Values, smaller: Values, *, scale: Scale = "difference", within: float | None = None
) -> Effect:
    """Judge a claim from two quantities of each seed.

    Parameters
    ----------
    larger, smaller : array (seed,)
        The quantity that the claim says is larger, and the other one.
    scale : {"difference", "log_ratio"}, default "difference"
        What is averaged over seeds; the logarithm of the ratio for positive quantities that span
        orders of magnitude.
    within : float, optional
        For a null claim: it is shown if the interval lies inside (-within, within), reversed if
        wholly outside. Without it the claim is shown above 0 and reversed below.

    Raises
    ------
    ParameterError
        There are fewer than 3 seeds, or a ratio of quantities that are not all positive is asked.

    Examples
    --------
    >>> import numpy as np
    >>> found = effect(np.array([0.7, 0.8, 0.75]), np.array([0.1, 0.05, 0.2]))
    >>> found.verdict, round(found.mean, 3)
    ('shown', 0.633)
    >>> effect(np.array([0.01, -0.02, 0.0]), np.zeros(3), within=0.1).verdict
    'shown'
    """
    if len(larger) < FEWEST:
        raise ParameterError(
            f"effect: {len(larger)} seeds count, and an interval needs {FEWEST}. Run more seeds."
        )
    if scale == "log_ratio":
        if not (larger > 0).all() or not (smaller > 0).all():
            raise ParameterError(
                "effect: log_ratio needs positive quantities, got "
                f"{min(larger.min(), smaller.min()):.3g}. Use scale='difference'."
            )
        values = np.log(larger / smaller)
    else:
        values = larger - smaller
    mean = float(values.mean())
    half = float(student.ppf(0.975, len(values) - 1) * values.std(ddof=1)) / sqrt(len(values))
    low, high = mean - half, mean + half
    return Effect(values, mean, low, high, _judged(low, high, within))


def pseudo_values(whole: float, left_out: Values) -> Values:
    """What each seed contributes to a mean over pairs of networks, by the jackknife.

    Two seeds share every pair of theirs, so that one mean over pairs for each seed spreads up to
    twice less than it should. These values have the same mean, and an honest spread.

    Parameters
    ----------
    whole
        The mean over all pairs.
    left_out : array (seed,)
        The mean over the pairs that are left without each seed.

    References
    ----------
    Arvesen (1969), Ann. Math. Stat. 40(6), 2076-2100: the jackknife of U-statistics.

    Examples
    --------
    >>> import numpy as np
    >>> pseudo_values(0.5, np.array([0.4, 0.5, 0.6])).round(3).tolist()
    [0.7, 0.5, 0.3]
    """
    n = len(left_out)
    return n * whole - (n - 1) * left_out


def _judged(low: float, high: float, within: float | None) -> Verdict:
    if within is None:
        return "shown" if low > 0 else "reversed" if high < 0 else "not decided"
    if -within < low and high < within:
        return "shown"
    return "reversed" if low > within or high < -within else "not decided"
