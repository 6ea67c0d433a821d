"""What a declaration may ask of the engine: own dimensions, labels, repetitions, blocks, models."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import xarray as xr

import reptools as rt
from reptools.engine import reading
from reptools.engine.context import Context
from reptools.engine.declaring import metric
from reptools.engine.inputs import Recordings, Repeated, SameUnits
from reptools.engine.operation import Score
from reptools.engine.registry import forget
from reptools.errors import (
    DataError,
    DeadUnitWarning,
    DimensionError,
    FeatureError,
    ParameterError,
    ReptoolsWarning,
    StimulusError,
)
from reptools.statistics.blocks import Blocks, as_blocks
from reptools.statistics.varying import Varying
from tests.conftest import labelled


@pytest.fixture
def declare() -> Iterator[Callable[..., Any]]:
    """``metric`` whose declarations end with the test."""
    names = []

    def declaring(**options: Any) -> Any:
        def register(kernel: Any) -> Any:
            kernel.__doc__ = "Of a test."
            names.append(kernel.__name__)
            return metric(**options)(kernel)

        return register

    yield declaring
    for name in names:
        forget(name)


# --- own dimensions -----------------------------------------------------------------------------


def test_own_dimensions_are_counted_from_one(x: xr.DataArray) -> None:
    result = rt.pca_spectrum(x)
    assert result.dims == ("component",)
    assert result.component.values.tolist() == [1, 2, 3, 4, 5, 6]


def test_units_keep_their_coordinates(declare: Any, x: xr.DataArray, y: xr.DataArray) -> None:
    @declare(dims=("unit",), extras={"spread": ("unit",), "n": ()})
    def toy(x, y, /):  # type: ignore[no-untyped-def]
        return Score(y.mean(axis=0), {"spread": y.std(axis=0), "n": float(len(y))})

    y = y.assign_coords(unit=list("abcd"))
    result = toy(x, y)
    assert result.unit.values.tolist() == list("abcd") and result.spread.dims == ("unit",)
    assert result.n.dims == () and float(result.n) == 24
    grid = rt.compare({"one": x, "two": x}, {"y": y}, metric=toy)
    assert grid.dims == ("x", "y", "unit") and grid.unit.values.tolist() == list("abcd")
    with pytest.raises(DimensionError, match=r"one value for each unit of y.*'y': 4, 'x': 6"):
        rt.compare({"x": x}, {"y": y, "x": x}, metric=toy)


def test_values_are_placed_by_label_where_positions_differ() -> None:
    """A feature that is constant at one step leaves fewer parts there."""
    rng = np.random.default_rng(0)
    data = labelled(rng.normal(size=(2, 60, 3)))
    along = {"stimulus": data.stimulus.values, "step": data.step.values}
    constant = np.stack([np.zeros(60), np.arange(60) % 2])
    features = xr.Dataset(
        {
            "a": (("step", "stimulus"), constant, {"kind": "binary"}),
            "b": ("stimulus", np.arange(60) // 2 % 2, {"kind": "binary"}),
            "c": ("stimulus", rng.normal(size=60)),
        },
        coords=along,
    )
    with pytest.warns(ReptoolsWarning, match=r"constant over all stimuli.*a at step=0"):
        result = rt.variance_partition(data, features)
    alone = rt.variance_partition(data[0], features[["b", "c"]])
    assert result.part.size == 7 and alone.part.values.tolist() == ["b", "c", "b+c"]
    first = result.sel(part=alone.part.values).isel(step=0)
    np.testing.assert_allclose(first, alone)
    assert np.isnan(result.sel(part="a").values[0]) and np.isfinite(result.isel(step=1)).all()


def test_a_feature_that_varies_nowhere_is_refused(declare: Any, x: xr.DataArray) -> None:
    @declare()
    def toy(x, features, /):  # type: ignore[no-untyped-def]
        return np.ones(len(features))

    with pytest.raises(FeatureError, match="toy: constant over all stimuli: 'flat'"):
        toy(x, {"flat": xr.zeros_like(x[:, 0])})


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.ones(3), r"toy: its score has the shape \(3,\), and its dimensions are none"),
        ("high", "toy: its score is 'high' and no number"),
        (Score(1.0, {"n": np.ones(2)}), r"toy: its extra 'n' has the shape \(2,\), and its dim"),
        (Score(1.0, {"m": 1.0}), r"toy: its score has \['m'\], which its declaration does not"),
    ],
)
def test_a_score_of_another_shape_is_named(
    declare: Any, x: xr.DataArray, value: Any, message: str
) -> None:
    @declare(extras={"n": ()})
    def toy(x, /):  # type: ignore[no-untyped-def]
        return value

    with pytest.raises((DataError, DimensionError), match=message):
        toy(x)


def test_one_score_for_all_features_is_not_spread_over_them(declare: Any, x: xr.DataArray) -> None:
    @declare()
    def toy(x, features, /):  # type: ignore[no-untyped-def]
        return 1.0

    with pytest.raises(DimensionError, match=r"shape \(\), and its dimensions are feature \(1\)"):
        toy(x, {"f": x[:, 0]})


# --- kinds --------------------------------------------------------------------------------------


def test_transfer_crosses_the_outer_dimensions_of_its_sides(declare: Any) -> None:
    @declare()
    def toy(x, y: SameUnits, features, /):  # type: ignore[no-untyped-def]
        return np.array([x.sum() - 2 * y.sum() for _ in features])

    x = labelled(np.random.default_rng(0).normal(size=(2, 12, 3))).rename(step="time")
    target = xr.DataArray(np.arange(12) % 2, dims="stimulus", coords={"stimulus": x.stimulus})
    result = toy(x, x.rename(time="time_"), target)
    assert result.dims == ("time", "time_")
    assert float(result[0, 1]) == pytest.approx(float(x[0].sum() - 2 * x[1].sum()))
    with pytest.raises(DimensionError, match="x has 3 units and y has 2"):
        toy(x, x[..., :2], target)


def test_models_are_named_and_lined_up(declare: Any) -> None:
    @declare(dims=("model",))
    def toy(rdm, models, /):  # type: ignore[no-untyped-def]
        assert list(models) == ["one", "two"]
        return np.array([float(np.abs(rdm - model).max()) for model in models.values()])

    stimulus = ["c", "a", "b"]
    square = xr.DataArray(
        [[0.0, 1, 2], [1, 0, 3], [2, 3, 0]],
        dims=("stimulus", "stimulus_"),
        coords={"stimulus": stimulus, "stimulus_": stimulus},
    )
    turned = square.isel(stimulus=[2, 0, 1], stimulus_=[2, 0, 1])
    result = toy(square, {"one": turned, "two": square * 2})
    assert result.model.values.tolist() == ["one", "two"] and result.values.tolist() == [0, 3]
    with pytest.raises(DimensionError, match="toy: models holds no RDM"):
        toy(square, {})
    with pytest.raises(DimensionError, match=r"model 'm' has the dimensions \['step'\]"):
        toy(square, {"m": square.expand_dims("step")})
    with pytest.raises(DimensionError, match="models must be a mapping"):
        toy(square, 3)


def test_repetitions_go_to_the_kernel(declare: Any, rng: np.random.Generator) -> None:
    @declare()
    def toy(x: Recordings, /):  # type: ignore[no-untyped-def]
        return float(x.ndim)

    @declare()
    def strict_toy(x: Repeated, /):  # type: ignore[no-untyped-def]
        return float(len(x))

    x = labelled(rng.normal(size=(3, 12, 4)))
    assert toy(x).dims == ("step",) and float(toy(x[0])) == 2
    repeated = x.rename(step="repetition")
    assert float(toy(repeated)) == 3 and float(strict_toy(repeated)) == 3
    shuffled = repeated.isel(stimulus=rng.permutation(12))
    assert toy(shuffled, prepare="zscore").dims == ()
    with pytest.raises(DimensionError, match="strict_toy: x has no repetition"):
        strict_toy(x)
    with pytest.raises(DimensionError, match="strict_toy: x has 1 repetition"):
        strict_toy(repeated[:1])


def test_a_coordinate_over_stimuli(declare: Any, x: xr.DataArray, y: xr.DataArray) -> None:
    seen = {}

    @declare()
    def toy(x, y, /, *, by: str = "run", context: Context):  # type: ignore[no-untyped-def]
        seen["run"] = context.coordinate(by)
        return 0.0

    toy(x.assign_coords(run=("stimulus", np.arange(24))), y[::-1])
    assert seen["run"].tolist() == list(range(24))
    with pytest.raises(ParameterError, match="toy: 'day' is no coordinate over stimuli of x"):
        toy(x, y, by="day")


def test_one_stimulus_is_not_called_dead_units(declare: Any, x: xr.DataArray) -> None:
    with pytest.raises(StimulusError, match="cka: x has 1 stimulus, and nothing varies over one"):
        rt.cka(x[:1], x[:1])


# --- blocks -------------------------------------------------------------------------------------


@pytest.fixture
def widest(declare: Any) -> Any:
    """The most rows a kernel is given at once, and the sum of all values beside it."""

    @declare(backends=("numpy", "dask"), extras={"rows": (), "sum": ()})
    def toy(x, /):  # type: ignore[no-untyped-def]
        sizes = [(len(block), block.sum()) for _, block in as_blocks(x)]
        return Score(
            float(isinstance(x, Blocks)), {"rows": max(sizes)[0], "sum": sum(s for _, s in sizes)}
        )

    return toy


@pytest.fixture
def tall(rng: np.random.Generator) -> xr.DataArray:
    return labelled(rng.normal(size=(3, 40, 6)))


def test_dask_comes_in_its_chunks(widest: Any, tall: xr.DataArray) -> None:
    result = widest(tall.chunk(stimulus=15))
    # chunks are joined up to the size of a block
    assert result.values.tolist() == [1, 1, 1] and result.rows.values.tolist() == [40] * 3
    np.testing.assert_allclose(result["sum"], tall.sum(["stimulus", "unit"]))
    assert widest(tall).values.tolist() == [0, 0, 0]


def test_rows_in_another_order_are_gathered(declare: Any, tall: xr.DataArray) -> None:
    order = np.random.default_rng(1).permutation(40)
    lazy = tall[0].isel(stimulus=order).chunk(stimulus=7)
    assert float(rt.cka(tall[1], lazy)) == pytest.approx(float(rt.cka(tall[1], tall[0])), abs=1e-12)


def test_fewer_stimuli_than_units_are_loaded(widest: Any, rng: np.random.Generator) -> None:
    assert float(widest(labelled(rng.normal(size=(12, 40))).chunk(stimulus=5))) == 0


def test_a_large_layer_of_a_file_is_read_in_blocks(
    widest: Any, tmp_path: Any, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = rng.normal(size=(50, 6)).astype(np.float32)
    with rt.Writer(tmp_path / "run.h5", system="toy", stimulus=range(50)) as writer:
        writer.append({"fc": x})
    with rt.open(tmp_path / "run.h5") as tree:
        assert float(widest(tree["layers/fc"])) == 0
        monkeypatch.setattr(reading, "STREAM_FROM", 100)
        result = widest(tree["layers/fc"])
        assert float(result) == 1 and float(result["sum"]) == pytest.approx(
            float(x.sum()), rel=1e-5
        )
        score = float(rt.cka(tree["layers/fc"], tree["layers/fc"]))
    assert score == pytest.approx(1)


def test_dead_units_are_counted_over_all_blocks(tall: xr.DataArray) -> None:
    x = tall[0].copy()
    x[:, 2] = 1.0
    x[:30, 4] = 2.0  # varies in the last rows only
    with pytest.warns(
        DeadUnitWarning, match="cka: x has 1 of 6 units .* over 40 stimuli.*vary: 2$"
    ):
        rt.cka(x.chunk(stimulus=10), tall[1])
    flat = xr.ones_like(x).chunk(stimulus=10)
    with pytest.warns(DeadUnitWarning, match="6 of 6 units.*missing"):
        assert np.isnan(rt.cka(flat, tall[1]))


def test_blocks_that_are_not_finite_name_their_rows(tall: xr.DataArray) -> None:
    x = tall[0].copy()
    x[33, 1] = np.nan
    with pytest.raises(DataError, match=r"cka: x is not finite for 1 .*40 stimuli \(rows 33\)"):
        rt.cka(x.chunk(stimulus=10), tall[1])


@pytest.mark.parametrize("prepare", ["zscore", "unit_norm", "drop_top:2", "zscore,drop_top:1"])
def test_preparation_in_blocks_is_that_of_the_whole(tall: xr.DataArray, prepare: str) -> None:
    whole = float(rt.cka(tall[0], tall[1], prepare=prepare))
    lazy = rt.cka(tall[0].chunk(stimulus=9), tall[1].chunk(stimulus=7), prepare=prepare)
    assert float(lazy) == pytest.approx(whole, abs=1e-12)


def test_half_precision_and_integers_in_blocks(tall: xr.DataArray) -> None:
    for dtype in (np.float16, np.int32):
        x = (tall[0] * 10).astype(dtype)
        whole = float(rt.cka(x, tall[1]))
        assert float(rt.cka(x.chunk(stimulus=9), tall[1])) == pytest.approx(whole, abs=1e-6)


def test_an_outer_dimension_called_like_an_own_one_is_refused(tall: xr.DataArray) -> None:
    with pytest.raises(DimensionError, match="an outer dimension of the input is called 'compon"):
        rt.pca_spectrum(tall.rename(step="component"))
    with pytest.raises(DimensionError, match="is called 'stimulus_'"):
        rt.rdm(tall.rename(step="stimulus_"))


def counted(x: np.ndarray, where: list[int], seen: list[tuple[int, int]]) -> Blocks:
    def read(rows: slice) -> np.ndarray:
        seen.append((rows.start, rows.stop))
        return x[rows]

    return Blocks(len(x), x.shape[1], x.dtype, read, where)


def test_the_block_that_shows_a_live_unit_is_read_once(rng: np.random.Generator) -> None:
    seen: list[tuple[int, int]] = []
    watched = reading._watched(counted(rng.normal(size=(9, 3)), [0, 4, 9], seen), Varying(0.0))
    assert watched is not None
    assert [rows.stop for rows, _ in watched] == [4, 9] and seen == [(0, 4), (4, 9)]
    list(watched)
    assert seen == [(0, 4), (4, 9)] * 2  # a second pass reads anew


def test_every_row_is_looked_at_wherever_a_kernel_cuts(rng: np.random.Generator) -> None:
    """A partner's blocks may be cut elsewhere: a unit that varies late is not dead."""
    x = rng.normal(size=(9, 3))
    x[:8, 1] = 1.0
    for cuts in ([0, 8, 9], [0, 1, 9], [0, 2, 5, 9], [0, 9]):
        varying = Varying(0.0)
        watched = reading._watched(counted(x, [0, 4, 9], []), varying)
        assert watched is not None
        for start, stop in pairwise(cuts):
            watched.read(slice(start, stop))
        assert varying.n == 9 and varying.dead.size == 0
