"""What all figures share: colours, bare axes, wording, and checks of their input."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from reptools.errors import DimensionError, MissingExtraError, some

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Colours = Mapping[str, str]
INK, SOFT, FAINT = "#222222", "#6b6b6b", "#e2e2e2"
LABEL = 42  # letters that fit beside the axis of a small figure
# Okabe & Ito (2008) without its yellow, which is lost on white
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")


def feature_colours(names: Iterable[str]) -> dict[str, str]:
    """One colour per feature, by order: pass the result to every figure of a page.

    Parameters
    ----------
    names : iterable of str
        Features, for instance of all files of a report. Up to seven get the palette of Okabe and
        Ito; more get equal steps of one perceptual scale.

    Returns
    -------
    dict of str to str
        Feature to a colour such as ``"#0072B2"``.

    Examples
    --------
    >>> from reptools import plots
    >>> plots.feature_colours(["easy", "hard"])
    {'easy': '#0072B2', 'hard': '#D55E00'}
    """
    names = list(dict.fromkeys(names))
    if len(names) <= len(PALETTE):
        return dict(zip(names, PALETTE, strict=False))
    return dict(zip(names, scale(len(names)), strict=True))


def scale(n: int) -> list[str]:
    """Equal steps of a perceptual scale, without its lightest end."""
    matplotlib = needed()
    map_ = matplotlib.colormaps["viridis"]
    return [matplotlib.colors.to_hex(map_(at)) for at in np.linspace(0, 0.88, n)]


def needed() -> Any:
    """The package matplotlib, loaded when the first figure is asked for."""
    try:
        import matplotlib
        import matplotlib.colors
        import matplotlib.figure
    except ImportError:
        raise MissingExtraError("matplotlib", "plot", "a figure") from None
    return matplotlib


def blank(width: float, height: float) -> Figure:
    """An empty figure, in inches, that nobody else holds."""
    figure: Figure = needed().figure.Figure(
        figsize=(width, height), layout="constrained", facecolor="white"
    )
    return figure


def bare(ax: Axes) -> Axes:
    """Axes with two quiet spines and a faint horizontal grid."""
    ax.set_facecolor("white")
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(SOFT)
    ax.tick_params(which="both", color=SOFT, labelcolor=INK, labelsize=9)
    ax.grid(axis="y", color=FAINT, lw=0.7)
    ax.set_axisbelow(True)
    return ax


def say(ax: Axes, xlabel: str, ylabel: str, title: str = "") -> None:
    """Put the words on axes."""
    ax.set_xlabel(xlabel, fontsize=10, color=INK)
    ax.set_ylabel(ylabel, fontsize=10, color=INK)
    if title:
        ax.set_title(title, loc="left", fontsize=11, color=INK)


def measure(result: xr.DataArray, what: str) -> str:
    """What an axis shows, with the estimator that the result names."""
    how = str(result.attrs.get("estimator", ""))
    if how == "plug-in":  # says nothing; the chosen ways of computing do
        options = json.loads(result.attrs.get("params", "{}")).values()
        how = ", ".join(value for value in options if isinstance(value, str))
    if not how:
        return what
    return f"{what}\n({how})" if len(what) + len(how) > LABEL else f"{what} ({how})"


def number(value: float) -> str:
    """Two decimals; no sign on what rounds to zero."""
    return f"{value:.2f}".replace("-0.00", "0.00") if np.isfinite(value) else "n/a"


def names_of(result: xr.DataArray) -> list[str]:
    """Feature names in the order of the result."""
    return [str(name) for name in result["feature"].values]


def with_dims(
    result: xr.DataArray, what: str, needed: tuple[str, ...], allowed: tuple[str, ...] = ()
) -> xr.DataArray:
    """``result`` with every dimension needed or allowed; an allowed one that lacks gets size 1.

    Raises
    ------
    DimensionError
        A needed dimension is missing, or there is one that the figure has no place for.
    """
    missing = [dim for dim in needed if dim not in result.dims]
    more = [str(dim) for dim in result.dims if dim not in (*needed, *allowed)]
    if missing or more:
        problem = f"lacks {some(missing)}" if missing else f"has {some(more)} besides"
        mend = "Pass a result that has it." if missing else f"Select one {more[0]}, or average."
        raise DimensionError(
            f"{what} has the dimensions {tuple(map(str, result.dims))} and {problem}. {mend}"
        )
    for dim in allowed:
        if dim not in result.dims:
            label = str(result.coords[dim].values) if dim in result.coords else str(result.name)
            result = result.drop_vars(dim, errors="ignore").expand_dims({dim: [label]})
    return result
