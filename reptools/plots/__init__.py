"""Figures of labelled results: colour-blind safe, on white, without any global state.

Every function returns a ``matplotlib.figure.Figure`` that belongs to the caller; pyplot and its
settings are never touched. A feature has the colour of :func:`feature_colours` in every figure.
"""

from __future__ import annotations

from reptools.plots.curves import sparseness_curves, variance_over_training
from reptools.plots.maps import similarity_map
from reptools.plots.scatter import component_scatter
from reptools.plots.style import feature_colours

__all__ = [
    "component_scatter",
    "feature_colours",
    "similarity_map",
    "sparseness_curves",
    "variance_over_training",
]
