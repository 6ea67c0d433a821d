"""The one loop: any operation over the layers of one file or many, every label in its place."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import reptools as rt
from reptools.engine import assembling
from reptools.engine.declaring import metric
from reptools.engine.registry import forget
from reptools.errors import DataError, DimensionError, ParameterError, StimulusError, StoreError

N = 24
STIMULI = [f"s{i:02d}" for i in range(N)]
EASY, HARD = np.arange(N) % 2, np.arange(N) // 2 % 2


def layer(seed: int, width: int, *outer: int) -> np.ndarray:
    """Activations that hold both features."""
    rng = np.random.default_rng(seed)
    signal = np.outer(EASY, rng.normal(size=width)) + np.outer(HARD, rng.normal(size=width))
    return np.moveaxis(signal + rng.normal(size=(*outer, N, width)), -2, 0) if outer else (
        signal + rng.normal(size=(N, width))
    )  # fmt: skip


def write(
    path: Path,
    system: str,
    widths: dict[str, int],
    *,
    steps: tuple[int, ...] = (),
    seed: int = 0,
    stimuli: list[str] = STIMULI,
    dead: tuple[str, ...] = (),
) -> Path:
    """A file of layers; at each step of other values."""
    features = {"easy": (EASY, {"kind": "binary"}), "hard": (HARD, {"kind": "binary"})}
    kept = {name: (bit[: len(stimuli)], attrs) for name, (bit, attrs) in features.items()}
    with rt.Writer(
        path, system=system, stimulus=stimuli, features=kept, steps=steps or None
    ) as writer:
        for k, step in enumerate(steps or (None,)):
            layers = {}
            for i, (name, width) in enumerate(widths.items()):
                x = layer(seed + 100 * k + i, width)[: len(stimuli)]
                layers[name] = np.ones_like(x) if name in dead else x
            writer.append(layers, **({} if step is None else {"step": step}))
    return path


@pytest.fixture
def a(tmp_path: Path) -> Path:
    return write(tmp_path / "a.h5", "a", {"conv1": 5, "fc": 3, "fc1": 4}, steps=(0, 50, 100))


@pytest.fixture
def b(tmp_path: Path) -> Path:
    """Other steps, another order of layers, one that ``a`` lacks and one less."""
    return write(tmp_path / "b.h5", "b", {"fc1": 6, "conv1": 5, "head": 2}, steps=(0, 70), seed=9)


def stored(tree: xr.DataTree, name: str) -> xr.DataArray:
    return tree[f"layers/{name}"].activation


# --- one file ------------------------------------------------------------------------------------


def test_one_file_has_no_dimension_system(a: Path) -> None:
    with rt.open(a) as tree:
        result = rt.compute("participation_ratio", tree)
        assert result.dims == ("layer", "step")
        assert result.layer.values.tolist() == ["conv1", "fc", "fc1"]  # as in the file, not sorted
        assert result.step.values.tolist() == [0, 50, 100]
        for name in ("conv1", "fc", "fc1"):
            expected = rt.participation_ratio(stored(tree, name))
            np.testing.assert_array_equal(result.sel(layer=name), expected)
    assert result.name == "participation_ratio" and result.attrs["metric"] == result.name
    assert result.n_units.dims == ("layer", "step") and result.n_units.dtype.kind == "i"
    assert result.n_units.isel(step=0).values.tolist() == [5, 3, 4]


def test_layers_are_patterns_in_the_order_asked_for(a: Path) -> None:
    with rt.open(a) as tree:
        for layers, expected in [("fc*", ["fc", "fc1"]), (["fc1", "c*"], ["fc1", "conv1"])]:
            result = rt.compute("total_variance", tree, layers=layers, at={"step": 50})
            assert result.layer.values.tolist() == expected
            assert result.step.item() == 50
        with pytest.raises(ParameterError, match=r"no layer of '.*a\.h5' matches 'fc9'.*'fc1'"):
            rt.compute("total_variance", tree, layers="fc9")
        with pytest.raises(ParameterError, match="names or patterns, got \\[3\\]"):
            rt.compute("total_variance", tree, layers=[3])


def test_positions_are_values_or_words(a: Path) -> None:
    with rt.open(a) as tree:
        whole = rt.compute("total_variance", tree)
        for value, at in [("first", 0), ("last", 2), (50, 1), ("all", slice(None))]:
            result = rt.compute("total_variance", tree, at={"step": value})
            np.testing.assert_array_equal(result.values, whole.values[:, at])
        with pytest.raises(ParameterError, match="no step 60. The nearest of 3 are 50, 100"):
            rt.compute("total_variance", tree, at={"step": 60})
        with pytest.raises(ParameterError, match="no dimension 'token', but token=0 was asked"):
            rt.compute("total_variance", tree, at={"token": 0})
        with pytest.raises(ParameterError, match="at must map dimensions to positions, got 'last'"):
            rt.compute("total_variance", tree, at="last")


def test_what_is_no_open_file_is_refused(a: Path, tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match=r"tree is the path .*a\.h5'. Open it first"):
        rt.compute("cka", a)
    with pytest.raises(ParameterError, match="tree is a dict"):
        rt.compute("total_variance", {"fc": np.ones((4, 2))})
    with rt.open(a) as tree:
        with pytest.raises(ParameterError, match="x is the layer of the file, and is passed"):
            rt.compute("total_variance", tree, x=1)
        with pytest.raises(ParameterError, match="missing must be raise or nan, got 'skip'"):
            rt.compute("total_variance", tree, missing="skip")
        with pytest.raises(ParameterError, match="stimuli must be exact or common, got 'some'"):
            rt.compute("total_variance", tree, stimuli="some")
        with pytest.raises(ParameterError, match="no option 'estimater'. Did you mean 'estimator'"):
            rt.compute("participation_ratio", tree, estimater="biased")


# --- several files -------------------------------------------------------------------------------


def test_several_files_are_dense_over_system_and_layer(a: Path, b: Path) -> None:
    with rt.open([a, b]) as tree:
        result = rt.compute("variance_explained", tree)
        assert result.dims == ("system", "layer", "step", "feature")
        assert result.layer.values.tolist() == ["conv1", "fc", "fc1", "head"]
        assert result.step.values.tolist() == [0, 50, 70, 100]
        held = {"a": {"conv1": 5, "fc": 3, "fc1": 4}, "b": {"fc1": 6, "conv1": 5, "head": 2}}
        steps = {"a": [0, 50, 100], "b": [0, 70]}
        for system in "ab":
            for name in result.layer.values.tolist():
                for step in result.step.values.tolist():
                    cell = result.sel(system=system, layer=name, step=step)
                    if name not in held[system] or step not in steps[system]:
                        assert cell.isnull().all() and cell.n_units == 0
                        continue
                    x = stored(tree[system], name).sel(step=step)
                    expected = rt.variance_explained(x, tree[system]["features"])
                    np.testing.assert_array_equal(cell.values, expected.values)
                    np.testing.assert_array_equal(cell.total, expected.total)
                    assert cell.n_units == held[system][name]


def test_the_shape_follows_the_call_and_not_the_disk(a: Path, tmp_path: Path) -> None:
    for files in ([a], {"mine": a}, str(tmp_path / "*.h5")):
        with rt.open(files) as tree:
            result = rt.compute("total_variance", tree, at={"step": "last"})
        assert result.dims == ("system", "layer")
        assert result.system.values.tolist() == (["mine"] if isinstance(files, dict) else ["a"])


def test_the_last_step_is_each_systems_own(a: Path, b: Path) -> None:
    with rt.open([a, b]) as tree:
        result = rt.compute("total_variance", tree, layers=["fc1"], at={"step": "last"})
        assert result.dims == ("system", "layer")
        assert result.step.dims == ("system",) and result.step.values.tolist() == [100, 70]
        for system, step in (("a", 100), ("b", 70)):
            expected = rt.total_variance(stored(tree[system], "fc1").sel(step=step))
            assert result.sel(system=system, layer="fc1") == expected


def test_two_files_of_one_system_are_named(a: Path, tmp_path: Path) -> None:
    again = write(tmp_path / "again.h5", "a", {"fc": 3})
    with pytest.raises(StoreError, match=r"a\.h5 and .*again\.h5 are both of the system 'a'"):
        rt.open([a, again])
    with rt.open({"one": a, "two": again}) as tree:
        result = rt.compute("total_variance", tree, at={"step": "last"}, layers="fc")
    assert result.system.values.tolist() == ["one", "two"] and result.notnull().all()
    with pytest.raises(StoreError, match=r"no file matches '.*none\*\.h5'"):
        rt.open(str(tmp_path / "none*.h5"))


def test_own_dimensions_of_other_lengths_end_in_missing_values(a: Path, b: Path) -> None:
    with rt.open([a, b]) as tree:
        at = {"step": "last"}
        units = rt.compute("unit_variance_explained", tree, at=at)
        assert units.dims == ("system", "layer", "feature", "unit")
        assert units.unit.values.tolist() == list(range(6))
        spectrum = rt.compute("pca_spectrum", tree, at=at)
        assert spectrum.component.values.tolist() == [1, 2, 3, 4, 5, 6]
        for system, name, width in [("a", "fc", 3), ("b", "fc1", 6), ("b", "head", 2)]:
            x = stored(tree[system], name).isel(step=-1)
            cell = units.sel(system=system, layer=name)
            expected = rt.unit_variance_explained(x, tree[system]["features"])
            np.testing.assert_array_equal(cell.values[:, :width], expected.values)
            assert np.isnan(cell.values[:, width:]).all()
            cell = spectrum.sel(system=system, layer=name)
            np.testing.assert_array_equal(cell.values[:width], rt.pca_spectrum(x).values)
            np.testing.assert_array_equal(cell.share.values[:width], rt.pca_spectrum(x).share)
            assert np.isnan(cell.values[width:]).all() and np.isnan(cell.share[width:]).all()


def test_coordinates_of_units_stay_where_all_layers_agree(tmp_path: Path) -> None:
    stimuli = xr.Dataset(coords={"stimulus": STIMULI}, attrs={"schema": 1, "system": "m"})
    areas = ["V1", "V1", "V4"]
    groups = {
        f"/layers/{name}": xr.Dataset(
            {"activation": (("stimulus", "unit"), layer(i, 3))}, {"area": ("unit", found)}
        )
        for i, (name, found) in enumerate({"p": areas, "q": areas, "r": areas[::-1]}.items())
    }
    tree = xr.DataTree.from_dict({"/": stimuli, **groups})
    same = rt.compute("lifetime_sparseness", tree, layers=["p", "q"])
    assert same.area.values.tolist() == areas and "area" not in (
        rt.compute("lifetime_sparseness", tree).coords
    )


def recording(tmp_path: Path, name: str, dims: tuple[str, ...], *outer: int) -> Path:
    """A foreign file of one region, whose outer dimensions have no labels."""
    rng = np.random.default_rng(len(name))
    x = rng.normal(size=(*outer, N, 3)) + np.outer(EASY, [1.0, 2.0, 3.0])
    root = xr.Dataset(coords={"stimulus": STIMULI}, attrs={"schema": 1, "system": name})
    region = xr.Dataset({"activation": ((*dims, "stimulus", "unit"), x)})
    path = tmp_path / f"{name}.h5"
    tree = xr.DataTree.from_dict({"/": root, "/layers/it": region})
    tree.to_netcdf(path, engine="h5netcdf")
    return path


def test_outer_dimensions_without_labels_are_counted(tmp_path: Path) -> None:
    files = [
        recording(tmp_path, "m1", ("session",), 2),
        recording(tmp_path, "m22", ("session",), 3),
    ]
    with rt.open(files) as tree:
        result = rt.compute("total_variance", tree)
        assert result.dims == ("system", "layer", "session")
        assert result.session.values.tolist() == [0, 1, 2]
        assert result.n_units.values.tolist() == [[[3, 3, 0]], [[3, 3, 3]]]
        for system, n in (("m1", 2), ("m22", 3)):
            expected = rt.total_variance(stored(tree[system], "it"))
            np.testing.assert_array_equal(result.sel(system=system)[0, :n], expected)


def test_layers_of_other_outer_dimensions_are_refused_by_name(tmp_path: Path) -> None:
    with rt.Writer(tmp_path / "vit.h5", system="vit", stimulus=STIMULI) as writer:
        blocks = {f"block{i}": layer(i, 3, 4) for i in range(2)}
        writer.append({**blocks, "head": layer(7, 5)})
    with rt.open(tmp_path / "vit.h5") as tree:
        said = (
            r"token in .*block0'?\]? and 1 more; none in .*head.*"
            r"such as block0,block1 \(layers\), or one position, such as token=last \(at\)"
        )
        with pytest.raises(DimensionError, match=said):
            rt.compute("total_variance", tree)
        with pytest.raises(DimensionError, match=said):
            rt.compare(tree)
        one = rt.compute("total_variance", tree, at={"token": "last"})
        assert one.dims == ("layer",) and one.layer.values.tolist() == ["block0", "block1", "head"]
        assert rt.compute("total_variance", tree, layers="block*").dims == ("layer", "token")


def test_mostly_empty_results_are_refused(
    a: Path, b: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assembling, "LARGE", 1000)
    monkeypatch.setattr(assembling, "EMPTY", 1.5)
    with rt.open([a, b]) as tree, pytest.raises(DimensionError, match="layers=") as refused:
        rt.compute("pca_spectrum", tree)
    assert "are filled" in str(refused.value)


# --- what is missing -----------------------------------------------------------------------------


@pytest.mark.parametrize("dead", [("l0",), ("l1",), ("l2",), ("l0", "l2")])
@pytest.mark.parametrize("name", ["variance_explained", "pca_spectrum", "cka"])
def test_a_dead_layer_takes_no_other_ones_place(
    tmp_path: Path, dead: tuple[str, ...], name: str
) -> None:
    widths = {"l0": 3, "l1": 4, "l2": 5}
    path = write(tmp_path / "m.h5", "m", widths, dead=dead)
    with rt.open(path) as tree, pytest.warns(rt.errors.DeadUnitWarning):
        if name == "cka":
            result = rt.compare(tree)
            for x in widths:
                for y in widths:
                    cell = result.sel(x=x, y=y)
                    if x in dead or y in dead:
                        assert cell.isnull()
                    else:
                        np.testing.assert_allclose(cell, rt.cka(stored(tree, x), stored(tree, y)))
            assert result.n_dead_units_x.values.tolist() == [
                n if x in dead else 0 for x, n in widths.items()
            ]
            return
        result = rt.compute(name, tree)
        for key, n in widths.items():
            cell = result.sel(layer=key)
            assert cell.n_units == n and cell.n_dead_units == (n if key in dead else 0)
            if key in dead:
                assert cell.isnull().all()
                continue
            more = [tree["features"]] if name == "variance_explained" else []
            expected = getattr(rt, name)(stored(tree, key), *more)
            np.testing.assert_array_equal(cell.values[: expected.size], expected.values)


@pytest.fixture
def toy_picky() -> Any:
    """A metric that refuses a layer of three units."""

    @metric
    def toy_picky(x: Any, /) -> float:
        """Mean, but of three units."""
        if x.shape[1] == 3:
            raise DataError("three units are too few. Take more.")
        return float(x.mean())

    yield toy_picky
    forget("toy_picky")


def test_what_cannot_be_computed_is_named(a: Path, b: Path, toy_picky: Any) -> None:
    with rt.open([a, b]) as tree:
        with pytest.raises(DataError, match="toy_picky: a/fc.*three units are too few"):
            rt.compute(toy_picky, tree)
        result = rt.compute("toy_picky", tree, missing="nan")
        assert result.sel(system="a", layer="fc").isnull().all()
        assert result.sel(system="a", layer="fc").n_units.values.tolist() == [3, 3, 0, 3]
        assert result.sel(system="b", layer="fc").n_units.values.tolist() == [0, 0, 0, 0]
        failures = json.loads(result.attrs["failures"])
        assert list(failures) == ["a/fc"] and "three units are too few" in failures["a/fc"]
        expected = float(stored(tree["a"], "fc1").sel(step=50).astype(float).mean())
        found = result.sel(system="a", layer="fc1", step=50)
        np.testing.assert_allclose(found, expected, rtol=1e-6)
        table = rt.table(result)
        lost = table[(table.system == "a") & (table.layer == "fc")]
        assert len(lost) == 3 and lost.estimate.isnull().all() and (lost.n_units == 3).all()
        with pytest.raises(DataError, match="nothing could be computed for any of 1 layers: fc: "):
            rt.compute("toy_picky", tree["a"], layers="fc", missing="nan")


def test_dead_units_of_a_layer_that_failed_are_counted(tmp_path: Path, toy_picky: Any) -> None:
    x, y = layer(0, 3), layer(1, 4)
    x[:, 1] = 2.0
    with rt.Writer(tmp_path / "m.h5", system="m", stimulus=STIMULI) as writer:
        writer.append({"few": x, "fc": y})
    with rt.open(tmp_path / "m.h5") as tree:
        result = rt.compute("toy_picky", tree, missing="nan")
    assert result.n_dead_units.values.tolist() == [1, 0]


def test_common_stimuli_are_what_all_inputs_share(a: Path, tmp_path: Path) -> None:
    fewer = write(tmp_path / "f.h5", "f", {"fc1": 4}, seed=3, stimuli=STIMULI[:20])
    with rt.open(a) as tree, rt.open(fewer) as other:
        xs, at = {"fc1": stored(tree, "fc1").isel(step=-1)}, {"step": "last"}
        ys = {"fc1": stored(other, "fc1")}
        with pytest.raises(StimulusError, match="4 only in"):
            rt.compare(xs, ys)
        found = rt.compare(xs, ys, stimuli="common")
        cut = xs["fc1"].sel(stimulus=STIMULI[:20])
        assert found.item() == pytest.approx(float(rt.cka(cut, ys["fc1"])))
        result = rt.compute("variance_explained", tree, features=other["features"].to_dataset(),
                            at=at, stimuli="common")  # fmt: skip
        assert result.attrs["stimuli"] == "common: 20 of 24" and result.attrs["n_stimuli"] == 20
        with pytest.raises(StimulusError):
            rt.compute("variance_explained", tree, features=other["features"].to_dataset(), at=at)
        with pytest.raises(ParameterError, match="finds 0 stimuli"):
            renamed = ys["fc1"].assign_coords(stimulus=[f"t{i}" for i in range(20)])
            rt.compare(xs, {"fc1": renamed}, stimuli="common")


# --- inputs beside the layer ---------------------------------------------------------------------


def test_features_are_of_the_file_by_name_or_given(a: Path, b: Path) -> None:
    with rt.open([a, b]) as tree:
        at: dict[str, Any] = {"step": "last"}
        every = rt.compute("probe", tree, at=at)
        assert every.feature.values.tolist() == ["easy", "hard"]
        for names in ("hard", ["hard"], ["h*"]):
            some = rt.compute("probe", tree, target=names, at=at)
            assert some.feature.values.tolist() == ["hard"]
            np.testing.assert_array_equal(some.sel(feature="hard"), every.sel(feature="hard"))
        given = xr.DataArray(HARD, {"stimulus": STIMULI})
        alone = rt.compute("probe", tree, target=given, at=at)
        assert "feature" not in alone.dims
        np.testing.assert_array_equal(alone, every.sel(feature="hard"))
        with pytest.raises(ValueError, match="'eazy'"):
            rt.compute("probe", tree, target="eazy", at=at)


def test_y_is_a_file_an_array_or_the_layer_itself(a: Path, b: Path) -> None:
    with rt.open(a) as tree, rt.open(b) as other:
        x = stored(tree, "conv1")
        crossed = rt.compute("probe_transfer", tree, layers="conv1", features="easy")
        assert crossed.dims == ("layer", "step", "step_", "feature")
        easy = tree["features"].to_dataset()[["easy"]]
        expected = rt.probe_transfer(x, x.rename(step="step_"), easy)
        np.testing.assert_array_equal(crossed[0], expected)
        at = {"step": "last"}
        by_name = rt.compute("probe_transfer", tree, layers="conv1", y=other, at=at)
        y = stored(other, "conv1").isel(step=-1)
        expected = rt.probe_transfer(x.isel(step=-1), y, tree["features"])
        np.testing.assert_array_equal(by_name[0], expected)
        array = rt.compute("probe_transfer", tree, layers="conv1", y=y, at=at)
        np.testing.assert_array_equal(array, by_name)
        with pytest.raises(ParameterError, match="no layer 'fc' on the other side, which has"):
            rt.compute("probe_transfer", tree, y=other, at=at)
        some = rt.compute("probe_transfer", tree, layers=["conv1", "fc"], y=other, at=at,
                          missing="nan")  # fmt: skip
        assert list(json.loads(some.attrs["failures"])) == ["fc"]
        np.testing.assert_array_equal(some.sel(layer="conv1"), by_name[0])
        assert some.n_units.values.tolist() == [5, 3]


def test_dissimilarity_matrices_stand_in_the_place_of_layers(a: Path, tmp_path: Path) -> None:
    with rt.open(a) as tree:
        rdms = rt.compute("rdm", tree, at={"step": "last"})
        assert rdms.dims == ("layer", "stimulus", "stimulus_")
        groups = {
            f"/rdms/{name}": xr.Dataset({"dissimilarity": rdms.sel(layer=name, drop=True)})
            for name in rdms.layer.values.tolist()
        }
        matrices = xr.DataTree.from_dict(groups)
        assert rt.compare(matrices, metric="compare_rdms").dims == ("x", "y")
        models = {"easy": np.abs(EASY[:, None] - EASY), "hard": np.abs(HARD[:, None] - HARD)}
        models = {
            key: xr.DataArray(m.astype(float), {"stimulus": STIMULI, "stimulus_": STIMULI})
            for key, m in models.items()
        }
        result = rt.compute("flexible_rsa", matrices, models=models)
        assert result.dims[0] == "rdm" and result.rdm.values.tolist() == ["conv1", "fc", "fc1"]
        for name in ("conv1", "fc1"):
            expected = rt.flexible_rsa(rdms.sel(layer=name), models)
            np.testing.assert_array_equal(result.sel(rdm=name), expected)
        assert result.n_stimuli.values.tolist() == [N, N, N]
    with rt.open(a) as tree, pytest.raises(StoreError, match="holds no dissimilarity matrices"):
        rt.compute("flexible_rsa", tree, models=models)


def test_the_head_of_the_file_chooses_its_layer(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    weight, bias = rng.normal(size=(1, 4)), rng.normal(size=1)
    along = {"output": ["easy"]}
    head = {
        "readout_weight": xr.DataArray(weight, along, ("output", "unit")),
        "readout_bias": xr.DataArray(bias, along, ("output",)),
    }
    features = {"easy": (EASY, {"kind": "binary"})}
    for system in "pq":
        with rt.Writer(
            tmp_path / f"{system}.h5", system=system, stimulus=STIMULI, features=features
        ) as writer:
            x = {"fc1": layer(3, 5), f"top-{system}": layer(4, 4)}
            logits = x[f"top-{system}"].astype(np.float32) @ weight[0] + bias[0]
            writer.append(x, step=0, outputs={"easy": logits}, per_step=head)
    with rt.open(tmp_path / "p.h5") as tree:
        one = rt.compute("truncate", tree)
        assert isinstance(one, xr.Dataset) and one.layer.values.tolist() == ["top-p"]
        found = rt.interventions.truncate(
            stored(tree, "top-p"), tree["features"], rt.interventions.readout(tree)
        )
        np.testing.assert_array_equal(one.accuracy.sel(layer="top-p"), found.accuracy)
    with rt.open(str(tmp_path / "?.h5")) as tree:
        both = rt.compute("truncate", tree)
    assert both.accuracy.dims[:2] == ("system", "layer")
    assert both.layer.values.tolist() == ["top-p", "top-q"]
    assert (both.n_units > 0).squeeze().values.tolist() == [[True, False], [False, True]]
    assert both.accuracy.sel(system="p", layer="top-q").isnull().all()
    assert both.accuracy.sel(system="p", layer="top-p").notnull().all()


# --- pairs ---------------------------------------------------------------------------------------


def test_collections_are_compared_with_flat_labels(a: Path, b: Path) -> None:
    with rt.open([a, b]) as tree, rt.open(a) as one:
        result = rt.compare(tree, metric="cka", at={"step": "last"})
        names = ["a/conv1", "a/fc", "a/fc1", "b/fc1", "b/conv1", "b/head"]
        assert result.x.values.tolist() == result.y.values.tolist() == names
        assert result.x_system.values.tolist() == ["a"] * 3 + ["b"] * 3
        assert result.x_layer.values.tolist() == [name.split("/")[1] for name in names]
        assert result.x_step.values.tolist() == [100] * 3 + [70] * 3
        assert result.n_units_y.values.tolist() == [5, 3, 4, 6, 5, 2]
        pairs = result.sel(x=result.x_layer == "fc1", y=result.y_layer == "fc1")
        x, y = stored(tree["a"], "fc1").isel(step=-1), stored(tree["b"], "fc1").isel(step=-1)
        np.testing.assert_allclose(pairs.values[0, 1], rt.cka(x, y), rtol=1e-12)
        alone = rt.compare(one, tree, at={"step": "last"})
        assert alone.x.values.tolist() == ["conv1", "fc", "fc1"] and "x_system" not in alone.coords
        np.testing.assert_allclose(alone.values, result.values[:3], rtol=1e-10)


def test_layers_that_one_side_lacks_are_left_to_the_other(a: Path, b: Path) -> None:
    with rt.open(a) as x, rt.open(b) as y:
        at = {"step": "last"}
        result = rt.compare(x, y, layers=["fc", "head"], at=at)
        assert (result.x.values.tolist(), result.y.values.tolist()) == (["fc"], ["head"])
        with pytest.raises(ParameterError, match="matches 'fc9'"):
            rt.compare(x, y, layers=["fc", "fc9"], at=at)
        with pytest.raises(ParameterError, match=r"no layer of '.*b\.h5' matches 'fc'.*'head'"):
            rt.compare(x, y, layers=["fc"], at=at)


def test_steps_that_both_sides_have_are_paired(a: Path) -> None:
    with rt.open(a) as tree:
        result = rt.compare(tree, layers=["fc", "fc1"])
        assert result.dims == ("x", "y", "step")
        x, y = stored(tree, "fc").sel(step=50), stored(tree, "fc1").sel(step=50)
        np.testing.assert_allclose(result.sel(x="fc", y="fc1", step=50), rt.cka(x, y), rtol=1e-12)


def test_a_partial_binds_options(a: Path) -> None:
    with rt.open(a) as tree:
        at = {"step": "last"}
        bound = rt.compare(tree, metric=partial(rt.cka, estimator="biased"), at=at)
        plain = rt.compare(tree, metric="cka", estimator="biased", at=at)
        np.testing.assert_array_equal(bound, plain)
        assert json.loads(bound.attrs["params"])["estimator"] == "biased"
        ratio = rt.compute(partial(rt.participation_ratio, estimator="biased"), tree, at=at)
        assert json.loads(ratio.attrs["params"])["estimator"] == "biased"
        with pytest.raises(ParameterError, match="partial with 1 inputs"):
            rt.compute(partial(rt.participation_ratio, np.ones((3, 2))), tree)
        with pytest.raises(ParameterError, match="two sides and nothing else, and probe takes"):
            rt.compare(tree, metric="probe")


def test_mappings_and_lists_are_compared_as_well(a: Path) -> None:
    x, y = layer(0, 4), layer(1, 3)
    expected = float(rt.cka(x, y))
    assert rt.compare({"p": x}, {"q": y}).sel(x="p", y="q").item() == pytest.approx(expected)
    assert rt.compare([x], [y]).values.item() == pytest.approx(expected)
    with rt.open(a) as tree:
        group = rt.compare(tree["layers"])
        assert group.x.values.tolist() == ["conv1", "fc", "fc1"]
    for bad, said in [
        ([], "xs holds no activations"),
        (x, "xs must be a tree, a mapping or a list of layers, got ndarray"),
        ("run.h5", "xs is the path 'run.h5'"),
    ]:
        with pytest.raises(ParameterError, match=said):
            rt.compare(bad)
    with pytest.raises(ParameterError, match="xs is a dict. Choose before"):
        rt.compare({"p": x}, layers="p")


# --- results on disk -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["variance_explained", "pca_spectrum", "unit_variance_explained"])
def test_results_come_back_from_netcdf(a: Path, b: Path, tmp_path: Path, name: str) -> None:
    with rt.open([a, b]) as tree:
        result = rt.compute(name, tree, at={"step": "last"})
    result.to_netcdf(tmp_path / "r.nc", engine="h5netcdf")
    with xr.open_dataarray(tmp_path / "r.nc", engine="h5netcdf") as read:
        xr.testing.assert_identical(read.load().drop_attrs(), result.drop_attrs())
        assert read.attrs["params"] == result.attrs["params"]
