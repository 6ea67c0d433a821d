"""Principal components, seen through every feature."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from reptools.errors import DimensionError, naming
from reptools.plots.style import (
    INK,
    PALETTE,
    SOFT,
    Colours,
    bare,
    blank,
    feature_colours,
    names_of,
    say,
    scale,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MARKERS = "o^sDvPX"
MOST_LISTED = 12  # levels of a feature that a legend can name


def component_scatter(
    components: xr.Dataset, /, *, colours: Colours | None = None, title: str = ""
) -> Figure:
    """Stimuli on the first two principal components, once per feature, and all shares below.

    Parameters
    ----------
    components : Dataset
        From ``principal_components``, with at least two components. A feature of several columns
        has no one colour per stimulus, and is in the bars only.
    colours : mapping of feature to colour, optional
        By default :func:`feature_colours` of the result's features.
    title : str
        What was measured where.

    Raises
    ------
    DimensionError
        Fewer than two components.
    MissingExtraError
        matplotlib is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> import reptools as rt
    >>> from reptools import plots
    >>> easy = np.tile([0, 1], 8)
    >>> x = np.stack([3 * easy, np.arange(16) / 8], axis=1)
    >>> figure = plots.component_scatter(rt.principal_components(x, {"easy": easy}))
    >>> figure.axes[0].get_xlabel()
    'component 1 (87 % of variance)'
    """
    with naming("component_scatter"):
        if components.sizes["component"] < 2:
            raise DimensionError(
                f"components has {components.sizes['component']} component and a scatter needs 2. "
                "Print its share instead."
            )
        names = names_of(components["share"])
        colours = colours or feature_colours(names)
        drawn = [name for name in names if name in components.coords]
        columns = 2 if len(drawn) in (0, 1, 2, 4) else 3
        rows = -(-len(drawn) // columns)
        figure = blank(3.0 * columns + 1.2, 3.2 * rows + 2.6)
        cells = figure.add_gridspec(rows + 1, columns, height_ratios=[3.2] * rows + [2.2])
        for at, name in enumerate(drawn):
            ax = bare(figure.add_subplot(cells[at // columns, at % columns]))
            _points(ax, components["scores"], components.coords[name], colours[name])
            say(ax, _axis_name(components, 0), _axis_name(components, 1), name)
        _bars(bare(figure.add_subplot(cells[rows, :])), components, colours)
        if title:
            figure.suptitle(title, x=0.01, ha="left", fontsize=11, color=INK)
        return figure


def _axis_name(components: xr.Dataset, at: int) -> str:
    part = components["explained"][at]
    return f"component {int(part['component'])} ({100 * float(part):.0f} % of variance)"


def _points(ax: Axes, scores: xr.DataArray, feature: xr.DataArray, colour: str) -> None:
    """Stimuli coloured by one feature: two levels, several, or a scale."""
    across, up = scores.isel(component=0).values, scores.isel(component=1).values
    look: dict[str, Any] = {"s": 14, "linewidths": 0.7, "alpha": 0.7, "rasterized": len(up) > 400}
    levels, codes = np.unique(feature.values, return_inverse=True)
    if feature.attrs.get("kind") == "continuous" or len(levels) > MOST_LISTED:
        numeric = feature.values.dtype.kind in "fiub"
        values = feature.values.astype(float) if numeric else codes
        points = ax.scatter(across, up, c=values, cmap="viridis", **look)
        bar = _colour_bar(ax, points)
        say(bar, "", str(feature.name) if numeric else "level, in sorted order")
    else:
        few = len(levels) <= len(PALETTE)
        shades = (
            [SOFT, colour] if len(levels) == 2 else list(PALETTE) if few else scale(len(levels))
        )
        for code, level in enumerate(levels):
            rows = codes == code
            hollow = len(levels) == 2 and code == 0
            face = "none" if hollow else shades[code]
            ax.scatter(
                across[rows],
                up[rows],
                marker=MARKERS[code % len(MARKERS)],
                facecolors=face,
                edgecolors=shades[code],
                label=str(level),
                **look,
            )
        _legend(ax, [str(level) for level in levels])
    ax.grid(visible=False)
    ax.margins(0.06)
    ax.locator_params(nbins=5)


def _colour_bar(ax: Axes, points: Any) -> Axes:
    """A colour bar at the right of axes, in the figures' style."""
    figure = ax.figure
    bar = figure.colorbar(points, ax=ax, shrink=0.9)
    if bar.solids is not None:
        bar.solids.set_alpha(1)
    bare(bar.ax).grid(visible=False)
    bar.ax.spines[:].set_visible(False)
    return bar.ax


def _legend(ax: Axes, levels: list[str]) -> None:
    """Two short levels stand above the panel, beside its heading; others at its right."""
    above = len(levels) == 2 and sum(map(len, levels)) <= 10
    place: dict[str, Any] = (
        {"loc": "lower right", "bbox_to_anchor": (1.02, 0.98), "ncols": 2}
        if above
        else {"loc": "upper left", "bbox_to_anchor": (1.0, 1.02)}
    )
    ax.legend(
        **place,
        frameon=False,
        fontsize=9,
        handletextpad=0.1,
        columnspacing=0.8,
        borderaxespad=0.2,
        labelcolor=INK,
    )


def _bars(ax: Axes, components: xr.Dataset, colours: Colours) -> None:
    """How much of every component each feature accounts for."""
    share, explained = components["share"], components["explained"].values
    names, at = names_of(share), np.arange(share.sizes["component"])
    width = 0.8 / len(names)
    for i, name in enumerate(names):
        heights = np.nan_to_num(share.sel(feature=name).values)
        offset = (i - (len(names) - 1) / 2) * width
        ax.bar(at + offset, heights, width, color=colours[name], label=name, gid=name)
    numbers = components["component"].values
    ax.set_xticks(at, [f"{k}\n{100 * v:.1f} %" for k, v in zip(numbers, explained, strict=True)])
    ax.tick_params(axis="x", length=0)
    ax.set_ylim(0, 1)
    say(ax, "component, and its part of all variance", "share (in-sample R²)")
    ax.legend(
        loc="lower right",
        bbox_to_anchor=(1.01, 0.97),
        ncols=min(len(names), 6),
        frameon=False,
        fontsize=9,
        labelcolor=INK,
    )
