"""Figures: labelled, complete, one colour per feature, nothing global."""

from __future__ import annotations

import sys

import matplotlib
import numpy as np
import pytest
import xarray as xr
from matplotlib.colors import same_color, to_hex

import reptools as rt
from reptools import plots
from reptools.engine.declaring import metric
from reptools.engine.registry import forget
from reptools.errors import DimensionError, MissingExtraError

FEATURES = ["easy", "hard", "third"]
LAYERS = ["fc1", "fc2"]


@pytest.fixture
def course():
    values = np.random.default_rng(0).random((4, 6, 3)) * 0.9
    steps = [0, 1, 10, 100, 1000, 10000]
    coords = {"run": list("abcd"), "step": steps, "feature": FEATURES}
    attrs = {"estimator": "pooled"}
    return xr.DataArray(values, coords, ["run", "step", "feature"], "variance_explained", attrs)


@pytest.fixture
def units():
    values = np.random.default_rng(1).random((3, 20))
    values[:, :4] = np.nan
    return xr.DataArray(values, {"feature": FEATURES}, ["feature", "unit"])


@pytest.fixture
def components():
    rng = np.random.default_rng(2)
    features = {
        "easy": rng.integers(0, 2, 60),
        "hard": rng.choice(["a", "b", "c"], 60),
        "third": rng.normal(size=60),
    }
    return rt.principal_components(rng.normal(size=(60, 8)), features)


def grid(values, **attrs):
    return xr.DataArray(values, {"x": LAYERS, "y": LAYERS}, ["x", "y"], attrs=attrs)


def feature_lines(ax):
    return {line.get_gid(): line for line in ax.lines if line.get_gid() in FEATURES}


def texts(ax):
    return [text.get_text() for text in ax.texts]


def test_every_axes_is_labelled(course, units, components):
    figures = [
        plots.variance_over_training(course),
        plots.sparseness_curves(units),
        plots.component_scatter(components),
        plots.similarity_map(grid(np.eye(2))),
    ]
    for figure in figures:
        figure.draw_without_rendering()
        for ax in figure.axes:
            assert ax.get_ylabel()
            assert ax.get_xlabel() or ax.get_label() == "<colorbar>"


def test_a_feature_has_one_colour_in_all_figures(course, units, components):
    colours = plots.feature_colours(FEATURES)
    assert len(set(colours.values())) == 3
    first = feature_lines(plots.variance_over_training(course).axes[0])
    second = feature_lines(plots.sparseness_curves(units).axes[1])
    bars = plots.component_scatter(components).axes[-1].patches
    for name, colour in colours.items():
        assert to_hex(first[name].get_color()) == to_hex(second[name].get_color()) == colour.lower()
        mine = [bar for bar in bars if bar.get_gid() == name]
        assert len(mine) == components.sizes["component"]
        assert all(same_color(bar.get_facecolor(), colour) for bar in mine)


def test_colours_follow_the_mapping_that_a_page_shares(course):
    colours = {"third": "#0072B2", "easy": "#D55E00", "hard": "#009E73"}
    lines = feature_lines(plots.variance_over_training(course, colours=colours).axes[0])
    assert {name: line.get_color() for name, line in lines.items()} == colours


def test_more_features_than_the_palette_holds_stay_apart():
    assert len(set(plots.feature_colours(map(str, range(12))).values())) == 12


def test_runs_are_thin_and_their_mean_is_thick(course):
    ax = plots.variance_over_training(course).axes[0]
    thick = feature_lines(ax)
    assert len(ax.lines) == 3 * (4 + 1)
    np.testing.assert_allclose(
        thick["hard"].get_ydata(), course.sel(feature="hard").mean("run").values
    )
    assert all(line.get_lw() < 1 for line in ax.lines if line not in thick.values())
    assert any("easy" in text for text in texts(ax))


def test_one_run_is_one_line_per_feature(course):
    ax = plots.variance_over_training(course.sel(run="a")).axes[0]
    assert len(ax.lines) == 3
    assert ax.get_xscale() == "symlog"
    assert "pooled" in ax.get_ylabel()


def test_a_ring_marks_the_step_from_which_a_feature_is_learned(course):
    accuracy = xr.DataArray(
        [[0.5, 0.5], [1.0, 0.5], [0.5, 0.6], [0.995, 0.7], [1.0, 0.8], [1.0, 0.9]],
        {"step": course.step, "feature": ["easy", "hard"]},
        ["step", "feature"],
    )
    ax = plots.variance_over_training(course, accuracy=accuracy).axes[0]
    rings = [line for line in ax.lines if line.get_marker() == "o"]
    assert [ring.get_xdata()[0] for ring in rings] == [100]
    expected = course.mean("run").sel(step=100, feature="easy")
    assert rings[0].get_ydata()[0] == pytest.approx(float(expected))


def test_end_labels_of_equal_lines_do_not_touch(course):
    course[:] = 0.4
    ax = plots.variance_over_training(course).axes[0]
    heights = sorted(text.xyann[1] / ax.get_ylim()[1] for text in ax.texts)
    assert np.diff(heights).min() > 0.05


def test_sparseness_is_sorted_without_dead_units_and_names_the_gini(units):
    left, right = plots.sparseness_curves(units).axes
    for name, line in feature_lines(left).items():
        curve = line.get_ydata()
        assert len(curve) == 16
        assert (np.diff(curve) <= 0).all()
        assert feature_lines(right)[name].get_ydata()[0] == 1
    assert len(left.get_legend().get_texts()) == 3


def test_a_feature_that_no_unit_carries_has_no_relative_curve(units):
    none = units.copy(data=units.values.copy())
    none.values[0] = np.where(np.isnan(none.values[0]), np.nan, -0.01)
    left, right = plots.sparseness_curves(none).axes
    name = str(units.feature.values[0])
    assert name not in feature_lines(right)
    assert right.get_ylim()[1] < 1.2
    assert f"{name} (Gini n/a)" in [text.get_text() for text in left.get_legend().get_texts()]


def test_gini_is_that_of_the_metric():
    rng = np.random.default_rng(3)
    x, bit = rng.normal(size=(80, 12)), rng.integers(0, 2, 80)
    x += np.outer(bit, rng.exponential(size=12))
    x[:, 0] = 1.0
    with pytest.warns(rt.errors.DeadUnitWarning, match="1 of 12"):
        units = rt.unit_variance_explained(x, {"bit": bit}, cv=4)
    with pytest.warns(rt.errors.DeadUnitWarning, match="1 of 12"):
        expected = float(rt.sparseness(x, {"bit": bit}, cv=4)[0])
    label = plots.sparseness_curves(units).axes[0].get_legend().get_texts()[0].get_text()
    assert label == f"bit (Gini {expected:.2f})"


@pytest.mark.parametrize(
    ("name", "values", "limits"),
    [
        ("cka", [[1, 0.3], [-0.02, 1]], (0, 1)),
        ("rsa", [[1, 0.3], [-0.6, 1]], (-1, 1)),
        ("unheard_of", [[2, 8], [4, 6]], (0, 8)),
    ],
)
def test_map_limits_come_from_the_bounds(name, values, limits):
    figure = plots.similarity_map(grid(np.array(values, float), metric=name, estimator="debiased"))
    assert figure.axes[0].images[0].get_clim() == limits
    assert texts(figure.axes[0])[0] == f"{values[0][0]:.2f}"
    assert "debiased" in figure.axes[1].get_ylabel()


@pytest.mark.parametrize("shape", [(1, 1), (2, 2), (1, 6), (12, 12)])
def test_a_long_estimator_stays_within_the_figure(shape):
    x, y = ([f"layer{i}" for i in range(n)] for n in shape)
    how = "each unit of y, held out, pooled over folds, divided by the ceiling"
    scores = xr.DataArray(np.full(shape, 0.5), {"x": x, "y": y}, ["x", "y"], name="predictivity")
    figure = plots.similarity_map(scores.assign_attrs(estimator=how))
    figure.draw_without_rendering()
    label = figure.axes[1].yaxis.label.get_window_extent()
    assert label.y0 >= 0 and label.y1 <= figure.bbox.height
    assert label.x1 <= figure.bbox.width
    assert how in " ".join(figure.axes[1].get_ylabel().split())


def test_dark_is_alike_where_lower_is_better():
    @metric(better="lower", bounds=(0, float("inf")))
    def apart(x, y, /):
        """Distance for this test."""
        return abs(x - y).sum()

    try:
        low = plots.similarity_map(grid(np.eye(2), metric="apart")).axes[0].images[0]
    finally:
        forget("apart")
    high = plots.similarity_map(grid(np.eye(2), metric="cka")).axes[0].images[0]
    assert sum(low.cmap(low.norm(0))[:3]) < sum(low.cmap(low.norm(1))[:3])
    assert sum(high.cmap(high.norm(1))[:3]) < sum(high.cmap(high.norm(0))[:3])


def test_map_names_systems_and_missing_cells():
    rng = np.random.default_rng(0)
    x = xr.DataArray(rng.normal(size=(12, 3)), dims=("stimulus", "unit"), attrs={"system": "A"})
    result = rt.compare({"fc1": x, "fc2": x**2}, {"out": x.assign_attrs(system="B")}, metric="cka")
    ax = plots.similarity_map(result.where(result.x == "fc1")).axes[0]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("layer of A", "layer of B")
    assert texts(ax) == ["1.00", "n/a"]


def test_scatter_has_a_panel_per_feature_and_bars(components):
    figure = plots.component_scatter(components)
    headings = [ax.get_title(loc="left") for ax in figure.axes]
    assert [heading for heading in headings if heading] == FEATURES
    first = 100 * float(components.explained[0])
    assert figure.axes[0].get_xlabel() == f"component 1 ({first:.0f} % of variance)"
    legend = next(ax for ax in figure.axes if ax.get_title(loc="left") == "hard").get_legend()
    assert [text.get_text() for text in legend.get_texts()] == ["a", "b", "c"]


def test_figures_are_nobodys_and_settings_stay(course, units, components):
    before = dict(matplotlib.rcParams)
    plots.variance_over_training(course)
    plots.component_scatter(components)
    plots.similarity_map(grid(np.eye(2)))
    assert dict(matplotlib.rcParams) == before
    plots.sparseness_curves(units)
    if "matplotlib.pyplot" in sys.modules:
        assert sys.modules["matplotlib.pyplot"].get_fignums() == []


def test_wrong_dimensions_are_refused_by_name(course, units, components):
    with pytest.raises(DimensionError, match=r"variance_over_training: .*lacks 'step'"):
        plots.variance_over_training(course.isel(step=0))
    with pytest.raises(DimensionError, match=r"sparseness_curves: .*has 'step' besides"):
        plots.sparseness_curves(units.expand_dims(step=2))
    with pytest.raises(DimensionError, match=r"similarity_map: .*has 'token' besides"):
        plots.similarity_map(grid(np.eye(2)).expand_dims(token=3))
    with pytest.raises(DimensionError, match=r"component_scatter: .*has 1 component"):
        plots.component_scatter(components.isel(component=[0]))


def test_a_missing_matplotlib_names_the_extra(course, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=r"reptools\[plot\]"):
        plots.variance_over_training(course)
