"""Heat maps of grids of scores."""

from __future__ import annotations

import json
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from reptools.engine.registry import metrics
from reptools.errors import naming
from reptools.plots.style import INK, bare, blank, measure, number, say, with_dims

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

READABLE = 144  # a map of more cells than this shows colours only
LETTERS = 10  # that fit beside the colour bar, for each inch of a figure's height


def similarity_map(
    grid: xr.DataArray, /, *, xlabel: str = "", ylabel: str = "", title: str = ""
) -> Figure:
    """Heat map of a grid of scores, first layer at the lower left; dark is alike.

    Parameters
    ----------
    grid : DataArray (x, y)
        From :func:`reptools.compare`. The colour scale spans the metric's bounds, so that maps of
        one metric can be set side by side: from 0 on, unless scores lie clearly below it. An open
        bound is replaced by the largest score.
    xlabel, ylabel : str
        What the two axes are; by default the systems that the result names.
    title : str
        Heading, for instance the step.

    Returns
    -------
    matplotlib.figure.Figure
        Yours to change and to save.

    Raises
    ------
    DimensionError
        x or y is missing, or there is a dimension besides.
    MissingExtraError
        matplotlib is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> import xarray as xr
    >>> from reptools import plots
    >>> grid = xr.DataArray(np.eye(2), coords={"x": ["a", "b"], "y": ["a", "b"]}, dims=("x", "y"))
    >>> plots.similarity_map(grid, xlabel="layer of both").axes[0].get_xlabel()
    'layer of both'
    """
    with naming("similarity_map"):
        grid = with_dims(grid, "grid", needed=("x", "y")).transpose("y", "x")
        rows, columns = grid.shape
        cell = 0.62 if grid.size <= READABLE else 5.5 / max(grid.shape)
        figure = blank(max(2.4, cell * columns) + 2.4, max(2.0, cell * rows) + 1.3)
        ax = figure.add_subplot()
        low, high, colours = _colours(grid)
        image = ax.imshow(grid.values, cmap=colours, vmin=low, vmax=high, origin="lower")
        if grid.size <= READABLE:
            _print_values(ax, grid.values, image)
        _name_rows(ax, grid)
        beyond = (bool((grid < low).any()), bool((grid > high).any()))
        extend = {(True, False): "min", (False, True): "max", (True, True): "both"}
        bar = figure.colorbar(image, ax=ax, extend=extend.get(beyond, "neither"), shrink=0.9)
        bare(bar.ax).grid(visible=False)
        bar.ax.spines[:].set_visible(False)
        letters = int(figure.get_figheight() * LETTERS)
        label = measure(grid, str(grid.name or "score"))
        say(bar.ax, "", "\n".join(fill(line, letters) for line in label.splitlines()))
        systems = _systems(grid)
        say(ax, xlabel or systems[0], ylabel or systems[1], title)
        return figure


def _colours(grid: xr.DataArray) -> tuple[float, float, str]:
    """Limits and map: sequential and dark where alike, diverging where scores fall below 0."""
    record = metrics().get(str(grid.attrs.get("metric", grid.name)))
    low, high = record.bounds if record else (-np.inf, np.inf)
    values = grid.values[np.isfinite(grid.values)]
    smallest, largest = (values.min(), values.max()) if values.size else (0.0, 1.0)
    high = high if np.isfinite(high) else float(max(largest, 0) or 1)
    if smallest < -0.1 * high:
        bound = float(max(high, -smallest)) if not np.isfinite(low) else max(high, -low)
        return -bound, bound, "PuOr"
    return max(low, 0.0), high, "viridis" if record and record.better == "lower" else "viridis_r"


def _print_values(ax: Axes, values: np.ndarray[Any, Any], image: Any) -> None:
    for (row, column), value in np.ndenumerate(values):
        red, green, blue, _ = image.cmap(image.norm(value))
        light = 0.3 * red + 0.59 * green + 0.11 * blue > 0.5
        ax.text(
            column,
            row,
            number(value),
            ha="center",
            va="center",
            fontsize=9,
            color=INK if light or not np.isfinite(value) else "white",
        )


def _name_rows(ax: Axes, grid: xr.DataArray) -> None:
    for axis, dim in ((ax.xaxis, "x"), (ax.yaxis, "y")):
        names = [str(name) for name in grid[dim].values]
        axis.set_ticks(range(len(names)), names)
    longest = max(len(str(name)) for name in grid["x"].values)
    if longest > 6:
        for label in ax.get_xticklabels():
            label.set(rotation=35, ha="right", rotation_mode="anchor")
    ax.tick_params(length=0, labelsize=9, labelcolor=INK)
    ax.spines[:].set_visible(False)


def _systems(grid: xr.DataArray) -> tuple[str, str]:
    """Axis labels from the inputs that the result lists: those of x first, then those of y."""
    inputs = json.loads(grid.attrs.get("inputs", "[]"))
    n_x, n_y = grid.sizes["x"], grid.sizes["y"]
    if len(inputs) not in (n_x, n_x + n_y):  # rows were selected since
        return "x", "y"
    labels = []
    for dim, side in (("x", inputs[:n_x]), ("y", inputs[n_x:] or inputs)):
        systems = {entry.get("system") for entry in side} - {None}
        labels.append(f"layer of {systems.pop()}" if len(systems) == 1 else dim)
    return labels[0], labels[1]
