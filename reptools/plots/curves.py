"""Lines: variance explained over training, and over units."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from reptools.errors import naming
from reptools.plots.style import (
    INK,
    SOFT,
    Colours,
    bare,
    blank,
    feature_colours,
    measure,
    names_of,
    number,
    say,
    with_dims,
)
from reptools.statistics.features.concentration import gini

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Values = np.ndarray[Any, Any]


def variance_over_training(
    result: xr.DataArray,
    /,
    *,
    accuracy: xr.DataArray | None = None,
    threshold: float = 0.99,
    colours: Colours | None = None,
    title: str = "",
) -> Figure:
    """Variance explained by each feature over training steps.

    Parameters
    ----------
    result : DataArray (step, feature), optionally with run
        From :func:`reptools.variance_explained`. Runs are drawn thin and their mean thick.
    accuracy : DataArray (step, feature), optionally with run
        A ring marks the step from which on a feature stays at ``threshold``, in every run.
    threshold : float
        Accuracy, 0 to 1, that counts as learned; the default is that of the training stage.
    colours : mapping of feature to colour, optional
        By default :func:`feature_colours` of the result's features.
    title : str
        What was measured where, for instance the system and the layer.

    Returns
    -------
    matplotlib.figure.Figure
        Yours to change and to save.

    Raises
    ------
    DimensionError
        There is no ``step``, or a dimension beside step, feature and run.
    MissingExtraError
        matplotlib is not installed.

    Examples
    --------
    >>> import xarray as xr
    >>> from reptools import plots
    >>> result = xr.DataArray(
    ...     [[0.0, 0.1], [0.7, 0.2]],
    ...     coords={"step": [0, 100], "feature": ["easy", "hard"]},
    ...     dims=("step", "feature"),
    ... )
    >>> plots.variance_over_training(result).axes[0].get_xlabel()
    'training step'
    """
    with naming("variance_over_training"):
        result = with_dims(result, "result", needed=("step",), allowed=("feature", "run"))
        figure = blank(7.2, 3.8)
        ax = bare(figure.add_subplot())
        colours = colours or feature_colours(names_of(result))
        steps = _steps(result)
        ends = []
        for name in names_of(result):
            runs = result.sel(feature=name).transpose("run", "step")
            mean = runs.mean("run").values
            if runs.sizes["run"] > 1:
                ax.plot(steps, runs.values.T, color=colours[name], lw=0.8, alpha=0.5)
            ax.plot(steps, mean, color=colours[name], lw=2.2, gid=name)
            ends.append((float(mean[-1]), name))
            start = None if accuracy is None else _learned(accuracy, name, threshold)
            if start is not None:
                ring: dict[str, Any] = {
                    "mfc": "white",
                    "mec": colours[name],
                    "mew": 1.8,
                    "zorder": 4,
                    "clip_on": False,  # a ring at 0 is whole
                }
                ax.plot([start], [np.interp(start, steps, mean)], "o", ms=7, **ring)
        _step_axis(ax, steps)
        values = result.values[np.isfinite(result.values)]
        ax.set_ylim(*_share_limits(values))
        _label_ends(ax, ends, colours)
        say(ax, "training step", measure(result, "variance explained by the feature"), title)
        _key(figure, result.sizes["run"], None if accuracy is None else threshold)
        return figure


def _steps(result: xr.DataArray) -> Values:
    found = "step" in result.coords
    return result["step"].values if found else np.arange(result.sizes["step"])


def _learned(accuracy: xr.DataArray, name: str, threshold: float) -> float | None:
    """First step from which on the accuracy stays at the threshold, in every run."""
    if name not in accuracy["feature"].values:
        return None
    worst = accuracy.sel(feature=name)
    worst = worst.min("run") if "run" in worst.dims else worst
    below = np.flatnonzero(~(worst.transpose("step").values >= threshold))
    first = int(below[-1]) + 1 if below.size else 0
    return float(_steps(worst)[first]) if first < worst.sizes["step"] else None


def _step_axis(ax: Axes, steps: Values) -> None:
    """Linear, or logarithmic (with 0) where most steps lie in the first tenth of training."""
    last = float(steps[-1])
    crowded = len(steps) > 4 and np.median(steps) < last / 5
    if crowded and steps[0] >= 0:
        first = float(steps[steps > 0][0])
        ax.set_xscale("symlog", linthresh=first, linscale=0.5)
        tens = 10.0 ** np.arange(np.ceil(np.log10(first)), np.log10(last) + 1e-9)
        ticks = [*steps[:1], *tens[tens > steps[0]]]
        ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        ax.minorticks_off()
    ax.set_xlim(float(steps[0]), last if len(steps) > 1 else last + 1)


def _share_limits(values: Values) -> tuple[float, float]:
    """A fraction of variance: from 0 (or below, held out) to 1 unless all values are small."""
    low, high = values.min(initial=0.0), values.max(initial=0.0)
    top = 1.0 if 0.5 < high <= 1 else 1.1 * high or 1.0
    return (1.1 * low if low < -0.02 * top else 0.0, top)


def _label_ends(ax: Axes, ends: list[tuple[float, str]], colours: Colours) -> None:
    """Name and value of every line at its right end, pushed apart where they would touch."""
    low, high = ax.get_ylim()
    gap, floor = 0.075 * (high - low), low - 0.02 * (high - low)
    for value, name in sorted(ends):
        at = max(value if np.isfinite(value) else low, floor)
        floor = at + gap
        ax.annotate(
            f"{name}  {number(value)}",
            xy=(1, value if np.isfinite(value) else low),
            xycoords=("axes fraction", "data"),
            xytext=(1.035, at),
            textcoords=("axes fraction", "data"),
            va="center",
            fontsize=10,
            color=INK,
            arrowprops={
                "arrowstyle": "-",
                "color": colours[name],
                "lw": 2.2,
                "relpos": (0, 0.5),
                "shrinkA": 0,
                "shrinkB": 0,
            },
        )


def _key(figure: Figure, n_runs: int, threshold: float | None) -> None:
    """What thin lines and rings mean, below the axes."""
    from matplotlib.lines import Line2D

    handles = []
    if n_runs > 1:
        handles += [
            Line2D([], [], color=SOFT, lw=0.8, label="one run"),
            Line2D([], [], color=SOFT, lw=2.2, label=f"mean of {n_runs} runs"),
        ]
    if threshold is not None:
        label = f"from here on at least {100 * threshold:g} % accurate"
        ring: dict[str, Any] = {
            "marker": "o",
            "ls": "",
            "mfc": "white",
            "mec": SOFT,
            "mew": 1.8,
            "ms": 7,
        }
        handles.append(Line2D([], [], label=label, **ring))
    if handles:
        figure.legend(
            handles=handles,
            loc="outside lower left",
            ncols=len(handles),
            frameon=False,
            fontsize=9,
            labelcolor=INK,
        )


def sparseness_curves(
    unit_variance: xr.DataArray, /, *, colours: Colours | None = None, title: str = ""
) -> Figure:
    """Variance explained unit by unit, in descending order, one curve per feature.

    On the right every curve is divided by its largest value: the faster it falls, the fewer units
    carry the feature. The Gini index in the legend says the same in one number (0: spread evenly
    over the live units, towards 1: in a single one).

    Parameters
    ----------
    unit_variance : DataArray (feature, unit)
        From :func:`reptools.unit_variance_explained`; units that are NaN (dead) are left out.
    colours : mapping of feature to colour, optional
        By default :func:`feature_colours` of the result's features.
    title : str
        What was measured where.

    Returns
    -------
    matplotlib.figure.Figure
        Yours to change and to save.

    Raises
    ------
    DimensionError
        There is a dimension beside feature and unit.
    MissingExtraError
        matplotlib is not installed.

    Examples
    --------
    >>> import xarray as xr
    >>> from reptools import plots
    >>> values = xr.DataArray([[0.9, 0.1, 0.5]], {"feature": ["easy"]}, dims=("feature", "unit"))
    >>> plots.sparseness_curves(values).axes[0].get_legend_handles_labels()[1]
    ['easy (Gini 0.36)']
    """
    with naming("sparseness_curves"):
        data = with_dims(unit_variance, "unit_variance", needed=("unit",), allowed=("feature",))
        figure = blank(8.2, 3.6)
        left, right = (bare(ax) for ax in figure.subplots(1, 2))
        colours = colours or feature_colours(names_of(data))
        for name in names_of(data):
            values = data.sel(feature=name).dropna("unit").values
            curve = np.sort(values)[::-1]
            rank = np.arange(1, len(curve) + 1)
            line: dict[str, Any] = {"color": colours[name], "lw": 2.2, "gid": name}
            left.plot(
                rank, curve, label=f"{name} (Gini {number(float(gini(values.clip(0))))})", **line
            )
            if curve.max(initial=0) > 0:
                right.plot(rank, curve / curve[0], **line)
        for ax in (left, right):
            ax.set_ylim(bottom=0)
            ax.set_xlim(1, max(2, data.sizes["unit"]))
        say(left, "live units, by rank", "variance of the unit explained (R²)", title)
        say(right, "live units, by rank", "relative to the largest")
        left.legend(frameon=False, fontsize=9, labelcolor=INK)
        return figure
