"""The saved head: read from a file, held against its answers, refused elsewhere by name."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import reptools as rt
from reptools.errors import (
    DataError,
    DeadUnitWarning,
    DimensionError,
    FeatureError,
    ParameterError,
    StimulusError,
)
from reptools.interventions import Readout, effect, readout, remove, steer, truncate

N = 96
STEPS = [0, 10]


def stimuli(n=N):
    """Two binary features and one of three classes, every combination as often in each half."""
    i = np.arange(n)
    labels = [f"s{k:03d}" for k in np.random.default_rng(5).permutation(n)]
    return xr.Dataset(
        {
            "easy": ("stimulus", i % 2, {"kind": "binary"}),
            "hard": ("stimulus", i // 2 % 2, {"kind": "binary"}),
            "shape": ("stimulus", i // 4 % 3, {"kind": "categorical"}),
        },
        coords={
            "stimulus": labels,
            "split": ("stimulus", np.where(i < n // 2, "validation", "test")),
        },
    )


def activations(features, width=6, steps=STEPS, seed=0, dtype=np.float32):
    """(step, stimulus, unit): a strong, a weak and a three-fold code, and noise."""
    rng = np.random.default_rng(seed)
    n = features.sizes["stimulus"]
    codes = [2 * features[name].values - 1.0 for name in ("easy", "hard")]
    shape = np.eye(3)[features["shape"].values]
    x = rng.normal(size=(len(steps), n, width))
    for at in range(len(steps)):
        x[at] += 6 * np.outer(codes[0], rng.normal(size=width))
        x[at] += 2 * np.outer(codes[1], rng.normal(size=width))
        x[at] += 3 * shape @ rng.normal(size=(3, width))
    return xr.DataArray(
        (x + rng.normal(size=width)).astype(dtype),
        dims=("step", "stimulus", "unit"),
        coords={"step": steps, "stimulus": features.stimulus, "split": features.split},
    )


def fitted_head(x, features, dtype=np.float32):
    """Weights (step, output, unit) and biases by least squares on the features."""
    target = np.stack([2.0 * features[name] - 1 for name in ("easy", "hard")], axis=1)
    target = np.concatenate([target, 2 * np.eye(3)[features["shape"].values] - 1], axis=1)
    weights, biases = [], []
    for values in x.values.astype(np.float64):
        design = np.column_stack([values, np.ones(len(values))])
        solved = np.linalg.lstsq(design, target, rcond=None)[0]
        weights.append(solved[:-1].T)
        biases.append(solved[-1])
    output = ["easy", "hard", "shape=0", "shape=1", "shape=2"]
    along = {"step": x.step.values, "output": output}
    return (
        xr.DataArray(np.array(weights, dtype), along, ("step", "output", "unit")),
        xr.DataArray(np.array(biases, dtype), along, ("step", "output")),
    )


def write(path, features, layers, weight, bias, feeding="fc2", *, wrong=0.0):
    """A run as the training stage writes it; ``wrong`` is added to one saved answer."""
    kept = features.drop_vars("split")
    options = {"features": kept, "coords": {"split": features.split.values}}
    stimulus = features.stimulus.values
    with rt.Writer(path, system="net", stimulus=stimulus, steps=STEPS, **options) as run:
        for at, step in enumerate(STEPS):
            x, w, b = layers[feeding].values[at], weight.values[at], bias.values[at]
            logits = x @ w.T + b
            logits[3, 1] += wrong
            run.append(
                {name: layer.values[at] for name, layer in layers.items()},
                step=step,
                outputs={"easy": logits[:, 0], "hard": logits[:, 1], "shape": logits[:, 2:]},
                per_step={
                    "readout_weight": weight.isel(step=at, drop=True),
                    "readout_bias": bias.isel(step=at, drop=True),
                    "accuracy": xr.DataArray([1.0, 1.0], coords={"feature": ["easy", "hard"]}),
                },
            )


@pytest.fixture(scope="module")
def parts():
    features = stimuli()
    # fc1 has the width of the layer that feeds the head, and comes after it in the file
    layers = {"fc2": activations(features), "fc1": activations(features, seed=1)}
    layers["wide"] = activations(features, width=9)
    return features, layers, *fitted_head(layers["fc2"], features)


@pytest.fixture(scope="module")
def tree(parts, tmp_path_factory):
    features, layers, weight, bias = parts
    path = tmp_path_factory.mktemp("head") / "run.h5"
    write(path, features, layers, weight, bias)
    with rt.open(path) as opened:
        yield opened


def planted(seed=0):
    """Features, activations in float64 and their head, without a file."""
    features = stimuli()
    x = activations(features, seed=seed, dtype=np.float64)
    weight, bias = fitted_head(x, features, np.float64)
    return features, x, Readout.of(weight, bias, ["easy", "hard", "shape", "shape", "shape"])


# --- reading ------------------------------------------------------------------------------------


def test_the_layer_is_found_by_its_answers(tree, parts):
    found = readout(tree)
    assert (found.layer, found.system, found.names) == ("fc2", "net", ["easy", "hard", "shape"])
    assert found.rows["shape"].tolist() == [2, 3, 4]
    np.testing.assert_array_equal(found.weight, parts[2])
    assert found.weight.dims == ("step", "output", "unit")
    assert found.saved.dims == ("step", "stimulus", "output")


def test_one_step(tree, parts):
    found = readout(tree, step=10)
    assert found.weight.dims == ("output", "unit")
    np.testing.assert_array_equal(found.weight, parts[2][1])
    x = tree["layers/fc2/activation"]
    logits = found.logits(x.sel(step=10))
    expected = x.values[1].astype(float) @ parts[2].values[1].T.astype(float) + parts[3].values[1]
    np.testing.assert_allclose(logits, expected, rtol=1e-12)
    assert logits.dims == ("stimulus", "output")
    assert logits.stimulus.equals(x.stimulus)


def test_logits_are_the_saved_answers(tree):
    logits = readout(tree).logits(tree["layers/fc2"])
    assert logits.dims == ("step", "stimulus", "output")
    hard = logits.isel(output=1)
    np.testing.assert_allclose(hard, tree["outputs/hard"], atol=1e-4)


@pytest.mark.parametrize(
    ("options", "error", "seen"),
    [
        ({"layer": "fc1"}, DataError, r"layer 'fc1' at step=0: the head's answers to it differ by"),
        ({"layer": "wide"}, DimensionError, "'wide' has 9 units, and the readout reads the 6"),
        ({"layer": "fc9"}, ParameterError, "layer is 'fc9', and the file holds 'fc2', 'fc1'"),
        ({"step": 5}, ParameterError, "step is 5, and the file holds 0, 10"),
        ({"step": True}, ParameterError, "step is True"),
    ],
)
def test_what_the_file_does_not_hold(tree, options, error, seen):
    with pytest.raises(error, match=f"^readout: .*{seen}"):
        readout(tree, **options)


def test_no_layer_feeds_the_head(parts, tmp_path):
    features, layers, weight, bias = parts
    write(tmp_path / "run.h5", features, layers, weight, bias, wrong=1e-3)
    with (
        rt.open(tmp_path / "run.h5") as tree,
        pytest.raises(DataError, match="none of the 3 layers of the file feeds its head"),
    ):
        readout(tree)


def test_half_precision_activations_are_held_against_their_precision(parts, tmp_path):
    features, layers, weight, bias = parts
    path, stimulus = tmp_path / "run.h5", features.stimulus.values
    x = layers["fc2"].values[0]
    logits = x @ weight.values[0].T + bias.values[0]
    head = {
        "readout_weight": weight.isel(step=0, output=[0], drop=True),
        "readout_bias": bias.isel(step=0, output=[0], drop=True),
    }
    with rt.Writer(path, system="net", stimulus=stimulus, dtype="float16") as run:
        run.append({"fc2": x}, step=0, outputs={"easy": logits[:, 0]}, per_step=head)
    with rt.open(path) as tree:
        found = readout(tree)
    assert found.precision == np.finfo(np.float16).eps
    assert found.names == ["easy"]


@pytest.mark.parametrize(
    ("outputs", "error", "seen"),
    [
        ({}, ParameterError, "saves no linear head: 'readout_weight', 'readout_bias'"),
        ({"readout_weight": (("output", "unit"), [[1.0]])}, ParameterError, "'readout_bias' not"),
        (
            {
                "readout_weight": (("output", "unit"), [[1.0]]),
                "readout_bias": ("output", [0.0]),
            },
            DimensionError,
            "must have 'unit' and a labelled 'output'",
        ),
        (
            {
                "readout_weight": (("output", "unit"), [[1.0]]),
                "readout_bias": ("output", [0.0]),
                "output": ["easy"],
            },
            ParameterError,
            "row 'easy', and the answers saved are of",
        ),
        (
            {
                "readout_weight": (("output", "unit"), [[1.0], [1.0]]),
                "readout_bias": ("output", [0.0, 0.0]),
                "output": ["easy=0", "easy=1"],
                "easy": ("stimulus", [0.0, 1.0]),
            },
            DimensionError,
            "2 rows of 'easy', and its saved answers have 1",
        ),
    ],
)
def test_heads_that_cannot_be_read(outputs, error, seen):
    coords = {"output": outputs["output"]} if "output" in outputs else {}
    variables = {key: value for key, value in outputs.items() if key != "output"}
    tree = xr.DataTree.from_dict({"/outputs": xr.Dataset(variables, coords)})
    with pytest.raises(error, match=f"^readout: .*{seen}"):
        readout(tree)


def test_only_an_open_file_is_read():
    with pytest.raises(ParameterError, match=r"readout: tree is the path 'run.h5'.*rt.open"):
        readout("run.h5")
    with pytest.raises(ParameterError, match="tree is a Dataset"):
        readout(xr.Dataset())


# --- of arrays ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("weight", "bias", "output", "error", "seen"),
    [
        (np.eye(2), [0, 0], None, ParameterError, "weight has 2 rows without names"),
        (np.eye(2), [0, 0], ["a"], DimensionError, "there are 1 names"),
        (np.eye(2), [0], ["a", "b"], DimensionError, r"bias \{'output': 1\}"),
        (np.ones(2), [0, 0], ["a", "b"], DimensionError, r"weight has the shape \(2,\)"),
        (np.eye(2), [0, np.nan], ["a", "b"], DataError, "bias is not finite"),
        (xr.DataArray(np.eye(2)), [0, 0], ["a", "b"], DimensionError, "'dim_0', 'dim_1'"),
    ],
)
def test_impossible_heads(weight, bias, output, error, seen):
    with pytest.raises(error, match=f"^Readout.of: .*{seen}"):
        Readout.of(weight, bias, output)


def test_weights_are_matched_by_unit():
    weight = xr.DataArray(
        [[1.0, 2.0, 3.0]], dims=("output", "unit"), coords={"output": ["a"], "unit": [7, 8, 9]}
    )
    head = Readout.of(weight, [0.0])
    x = xr.DataArray([[1.0, 10.0, 100.0]], dims=("stimulus", "unit"), coords={"unit": [9, 7, 8]})
    assert head.logits(x).values.tolist() == [[213.0]]
    with pytest.raises(DimensionError, match="units that the readout lacks: 1"):
        head.logits(x.assign_coords(unit=[9, 7, 1]))


def test_a_torch_layer():
    torch = pytest.importorskip("torch")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        linear = torch.nn.Linear(4, 2)
        x = torch.randn(5, 4)
    head = Readout.of(linear.weight, linear.bias, ["a", "b"])
    np.testing.assert_allclose(head.logits(x), linear(x).detach().numpy(), atol=1e-6)


# --- beside activations -------------------------------------------------------------------------


def test_other_layers_are_refused_by_name(tree):
    head, features = readout(tree), tree["features"]
    for name, seen in (("fc1", "of the layer 'fc1', and the readout reads 'fc2'"),):
        for function in (steer, truncate):
            with pytest.raises(ParameterError, match=f"^{function.__name__}: x is {seen}.*exact"):
                function(tree[f"layers/{name}"], features, head)
        with pytest.raises(ParameterError, match=f"^effect: x is {seen}"):
            effect(tree[f"layers/{name}"], tree["layers/fc2"], features, head)
    x = tree["layers/fc2/activation"].assign_attrs(system="another")
    with pytest.raises(ParameterError, match="of the system 'another'"):
        steer(x, features, head)
    bare = tree["layers/wide/activation"].drop_attrs()
    with pytest.raises(DimensionError, match="x has 9 units, and the readout reads the 6 of layer"):
        steer(bare, features, head)


def test_unnamed_activations_are_refused_by_their_values(tree):
    head, features = readout(tree), tree["features"]
    bare = tree["layers/fc1/activation"].drop_attrs()
    with pytest.raises(DataError, match=r"steer: x at step=0: .* does not feed the head \(layer"):
        steer(bare, features, head)
    changed = tree["layers/fc2/activation"].load().copy(deep=True)
    changed[1, 5] *= 1.001
    with pytest.raises(DataError, match="truncate: x at step=10: the head's answers to it differ"):
        truncate(changed, features, head)


def test_steps_are_paired(tree):
    head, features = readout(tree), tree["features"]
    x = tree["layers/fc2/activation"]
    both = steer(x, features, head)
    for step in STEPS:
        one = steer(x.sel(step=step), features, head)
        xr.testing.assert_allclose(one.drop_attrs(), both.sel(step=step, drop=True).drop_attrs())
        xr.testing.assert_equal(one, steer(x.sel(step=step), features, readout(tree, step=step)))
    turned = steer(x.sel(step=STEPS[::-1]), features, head)
    xr.testing.assert_equal(turned.sel(step=STEPS).drop_attrs(), both.drop_attrs())
    with pytest.raises(ParameterError, match="x has step=0, and the readout is that of step=10"):
        steer(x.sel(step=0), features, readout(tree, step=10))
    with pytest.raises(DimensionError, match="x has step=99, which the readout lacks"):
        steer(x.assign_coords(step=[0, 99]), features, head)
    with pytest.raises(DimensionError, match="2 values along 'step', and x has none"):
        steer(x.isel(step=0, drop=True), features, head)


def test_stimuli_are_matched_by_label(tree):
    head, features = readout(tree), tree["features"].to_dataset()
    x = tree["layers/fc2/activation"].load()
    order = np.random.default_rng(0).permutation(N)
    shuffled = steer(x.isel(stimulus=order), features, head)
    xr.testing.assert_allclose(shuffled, steer(x, features, head))
    some = features.isel(stimulus=order[:60])
    assert steer(x.sel(stimulus=some.stimulus), some, head).attrs["n_stimuli"] == 60
    other = x.assign_coords(stimulus=[f"t{i}" for i in range(N)])
    with pytest.raises(StimulusError, match="96 stimuli to which no answer was saved"):
        steer(other, features.assign_coords(stimulus=other.stimulus), head)
    bare = x.values[0]
    one = readout(tree, step=0)
    with pytest.raises(StimulusError, match="x has 60 stimuli without labels, and the file holds"):
        steer(bare[:60], {"easy": features.easy.values[:60]}, one)


def test_numpy_and_torch_are_taken(tree):
    torch = pytest.importorskip("torch")
    head, x = readout(tree, step=10), tree["layers/fc2/activation"].values[1]
    features = {name: tree[f"features/{name}"].values for name in ("easy", "hard")}
    features["shape"] = np.array(["a", "b", "c"])[tree["features/shape"].values]
    for function in (steer, truncate):
        one = function(x, features, head)
        other = function(torch.tensor(x), features, head)
        xr.testing.assert_identical(one.drop_attrs(), other.drop_attrs())


def test_truth_is_by_number_of_class():
    features, x, head = planted()
    named = features.assign(shape=("stimulus", np.array(["a", "b", "c"])[features["shape"]]))
    xr.testing.assert_equal(truncate(x, features, head), truncate(x, named, head))
    wrong = features.assign(shape=("stimulus", features["shape"].values + 5))
    wrong["shape"].attrs["kind"] = "categorical"
    xr.testing.assert_equal(truncate(x, features, head), truncate(x, wrong, head))
    two = features.assign(shape=("stimulus", np.array(["a", "b"])[features["easy"]]))
    with pytest.raises(FeatureError, match="'shape' has 2 classes .* output of that name has 3"):
        truncate(x, two, head)


def test_where_no_unit_varies_results_are_missing():
    features, x, head = planted()
    x[0] = 1.5
    for function, name in ((steer, "norm_50"), (truncate, "accuracy")):
        with pytest.warns(DeadUnitWarning, match="6 of 6 units without variance .* at step=0"):
            found = function(x, features, head)
        assert found[name].sel(step=0).isnull().all()
        assert found[name].sel(step=10).notnull().all()
    kept = remove(x, features, feature="easy")  # where there is nothing to remove
    np.testing.assert_array_equal(kept[0], x[0])


@pytest.mark.filterwarnings("ignore:run_experiment. not learned")
@pytest.mark.filterwarnings("ignore:steer. x has:reptools.errors.DeadUnitWarning")
def test_a_run_of_the_training_stage(tmp_path):
    pytest.importorskip("torch")
    from models.train import run_experiment

    (tmp_path / "tiny.toml").write_text(
        """
        name = "tiny"
        seeds = [0]
        [data]
        units = 8
        train = 64
        validation = 16
        test = 16
        [data.features]
        easy = "copy"
        hard = "xor"
        [conditions]
        both = ["easy", "hard"]
        [model]
        widths = [6, 6]
        [training]
        batch = 16
        checkpoints = [0, 4]
        """
    )
    (path,) = run_experiment(tmp_path / "tiny.toml", tmp_path / "runs", jobs=1, progress=False)
    with rt.open(path) as tree:
        head = readout(tree)
        assert (head.layer, head.names) == ("fc2", ["easy", "hard"])
        found = steer(tree["layers/fc2"], tree["features"], head)
        assert found.flipped.dims == ("step", "feature", "direction", "dose", "output")
        with pytest.raises(DataError, match="layer 'fc1' at step=0: the head's answers"):
            readout(tree, layer="fc1")
