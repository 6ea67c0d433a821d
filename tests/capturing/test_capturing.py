"""Capture: what reaches the file, what stays as it was in the model, what is refused."""

from __future__ import annotations

import gc
import json
import sys
import weakref
from collections import OrderedDict, namedtuple
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import reptools as rt
from reptools.errors import (
    DataError,
    DimensionError,
    IncompleteWarning,
    MissingExtraError,
    ParameterError,
    ReptoolsWarning,
    StimulusError,
    StoreError,
)
from reptools.store import repair, validate

torch = pytest.importorskip("torch")
nn = torch.nn

N = 10
LABELS = [f"image{i}" for i in range(N)]


@pytest.fixture
def inputs() -> torch.Tensor:
    return torch.randn(N, 6, generator=torch.Generator().manual_seed(3))


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randn(N, 2, 4, 6, generator=torch.Generator().manual_seed(4))


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "run.h5"


def seeded(*modules: nn.Module) -> nn.Module:
    """The modules in sequence, with the same weights in every test."""
    model = modules[0] if len(modules) == 1 else nn.Sequential(*modules)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / 3)
    return model


def mlp(inplace: bool = False) -> nn.Module:
    return seeded(nn.Linear(6, 5), nn.ReLU(inplace=inplace), nn.Linear(5, 3))


def stored(path: Path, layer: str) -> np.ndarray:
    return rt.open(path)[f"layers/{layer}"].activation.values


def close(values: np.ndarray, expected: np.ndarray) -> None:
    """The same up to the rounding of another batch size."""
    np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-6)


def hooks_of(model: nn.Module) -> int:
    return sum(len(module._forward_hooks) for module in model.modules())


class Around(nn.Module):
    """Calls one inner module by a function of the test's own."""

    def __init__(self, inner: nn.Module, run) -> None:
        super().__init__()
        self.inner, self.run = inner, run

    def forward(self, *args, **kwargs):
        return self.run(self.inner, *args, **kwargs)


# --- what reaches the file ----------------------------------------------------------------------


def test_file_holds_what_the_layers_answer(inputs, out):
    model = mlp().eval()
    path = rt.capture(
        model,
        inputs.split(4),  # 4, 4 and a last batch of 2
        out=out,
        layers=["2", "0"],
        stimulus=LABELS,
        features={"odd": (np.arange(N) % 2, {"kind": "binary"})},
        coords={"split": np.array(["train", "test"] * 5)},
        system="small",
    )
    assert path == out
    tree = rt.open(path)
    assert list(tree["layers"].children) == ["2", "0"]
    with torch.no_grad():
        close(stored(path, "0"), model[0](inputs).numpy())
        close(stored(path, "2"), model(inputs).numpy())
    activation = tree["layers/0"].activation
    assert activation.dims == ("stimulus", "unit")
    assert activation.stimulus.values.tolist() == LABELS
    assert activation.split.values.tolist() == ["train", "test"] * 5
    assert tree["features"]["odd"].values.tolist() == [0, 1] * 5
    assert tree["features"]["odd"].attrs["kind"] == "binary"
    assert tree.attrs["system"] == "small"
    assert validate(path, deep=True) == []


def test_provenance_says_what_was_captured(inputs, out):
    model = mlp().double()
    path = rt.capture(
        model, [inputs.double()], out=out, layers="0", provenance={"weights": "seed 5"}
    )
    tree = rt.open(path)
    assert tree.attrs["source"] == "torch.nn.modules.container.Sequential"
    assert tree.attrs["system"] == "Sequential"
    kept = json.loads(tree.attrs["provenance"])
    assert kept["weights"] == "seed 5"
    assert kept["versions"]["torch"] == torch.__version__
    assert kept["capture"] == {
        "layers": {
            "0": {
                "module": "torch.nn.modules.linear.Linear",
                "shape": [5],
                "dtype": "torch.float64",
            }
        },
        "left_out": [],
        "mode": "eval",
        "grad": False,
        "device": "cpu",
        "parameters": 6 * 5 + 5 + 5 * 3 + 3,
        "sequence": None,
        "reduced": False,
        "stimulus": "numbered from 0 in the order of the batches",
    }


def test_without_labels_stimuli_are_numbered_as_they_come(inputs, out):
    path = rt.capture(mlp(), (batch for batch in inputs.split(3)), out=out, layers="0")
    activation = rt.open(path)["layers/0"].activation
    assert activation.stimulus.values.tolist() == list(range(N))
    close(activation.values, mlp()[0](inputs).detach().numpy())


def test_convolutions_become_units_that_know_their_place(images, out):
    model = seeded(nn.Conv2d(2, 3, 1))
    path = rt.capture(Around(model, nn.Module.__call__), images.split(5), out=out, layers="inner")
    activation = rt.open(path)["layers/inner"].activation
    expected = model(images).detach().numpy()
    assert activation.sizes["unit"] == 3 * 4 * 6
    close(activation.values, expected.reshape(N, -1))
    channel, row, col = (activation[name].values for name in ("channel", "row", "col"))
    close(activation.values, expected[:, channel, row, col])


def test_volumes_have_a_depth(out):
    volume = torch.randn(N, 1, 2, 3, 4, generator=torch.Generator().manual_seed(0))
    path = rt.capture(nn.Sequential(nn.ReLU()), [volume], out=out, layers="0")
    activation = rt.open(path)["layers/0"].activation
    at = [activation[name].values for name in ("channel", "depth", "row", "col")]
    assert np.array_equal(activation.values, volume.relu().numpy()[:, *at])


def test_a_sequence_is_stored_as_the_user_says(out):
    tokens = torch.arange(N * 3 * 2).reshape(N, 3, 2).float()
    model = nn.Sequential(nn.Identity())
    with pytest.raises(DimensionError, match=r"'0' gives the shape \(5, 3, 2\).*sequence='token'"):
        rt.capture(model, tokens.split(5), out=out, layers="0")
    rt.capture(model, tokens.split(5), out=out, layers="0", sequence="token")
    activation = rt.open(out)["layers/0"].activation
    assert set(activation.dims) == {"token", "stimulus", "unit"}
    ordered = activation.transpose("stimulus", "token", "unit").values
    assert np.array_equal(ordered, tokens.numpy())
    rt.capture(model, tokens.split(5), out=out, layers="0", sequence="flatten", overwrite=True)
    flat = rt.open(out)["layers/0"].activation
    assert np.array_equal(flat.values, tokens.numpy().reshape(N, 6))
    assert flat.axis_1.values.tolist() == [0, 0, 1, 1, 2, 2]
    assert flat.axis_2.values.tolist() == [0, 1] * 3
    with pytest.raises(ParameterError, match="sequence is 'words'"):
        rt.capture(model, [tokens], out=out, layers="0", sequence="words", overwrite=True)


def test_one_number_a_stimulus_is_one_unit(inputs, out):
    model = Around(nn.Flatten(0), lambda inner, x: inner(x.sum(1)))
    path = rt.capture(model, [inputs], out=out, layers="inner")
    close(stored(path, "inner")[:, 0], inputs.sum(1).numpy())


def test_reduce_sees_output_and_batch(images, out):
    masks = (torch.arange(N) % 2).float()
    batches = zip(images.split(5), masks.split(5), strict=True)
    path = rt.capture(
        nn.Sequential(nn.Identity()),
        batches,
        out=out,
        layers="0",
        reduce=lambda x, batch: x.mul_(batch[1][:, None, None, None]).mean((2, 3)),
    )
    expected = (images * masks[:, None, None, None]).mean((2, 3))
    close(stored(path, "0"), expected.numpy())


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float64"])
def test_every_precision_is_stored(dtype, inputs, out):
    dtype = getattr(torch, dtype)
    model = mlp().to(dtype)
    path = rt.capture(model, [inputs.to(dtype)], out=out, layers="0")
    expected = model[0](inputs.to(dtype)).detach().float().numpy()
    assert stored(path, "0").dtype == np.float32
    close(stored(path, "0"), expected)


def test_layers_that_answer_more_than_a_tensor(inputs, out):
    answers = {
        "tuple": lambda x: (None, (x, 2 * x)),
        "dict": lambda x: {"size": 3, "logits": x, "hidden": 2 * x},
        "ordered": lambda x: OrderedDict(logits=x),
        "named": lambda x: namedtuple("Answer", "logits")(x),
    }
    model = nn.ModuleDict({name: Around(nn.Identity(), lambda inner, x, f=f: f(x))
                           for name, f in answers.items()})  # fmt: skip
    path = rt.capture(
        Around(model, lambda inner, x: [module(x) for module in inner.values()]),
        [inputs],
        out=out,
        layers=[f"inner.{name}" for name in answers],
    )
    for name in answers:
        assert np.array_equal(stored(path, f"inner.{name}"), inputs.numpy())


def test_recurrent_layers_give_their_sequence(out):
    lstm = seeded(nn.LSTM(2, 4, batch_first=True))
    steps = torch.randn(N, 3, 2, generator=torch.Generator().manual_seed(1))
    path = rt.capture(
        Around(lstm, nn.Module.__call__), [steps], out=out, layers="inner", sequence="token"
    )
    activation = rt.open(path)["layers/inner"].activation.transpose("stimulus", "token", "unit")
    close(activation.values, lstm(steps)[0].detach().numpy())


def test_batches_of_every_usual_form(inputs, out):
    Pair = namedtuple("Pair", "image digit")
    digits = torch.arange(N)
    model = mlp()
    expected = model[0](inputs).detach().numpy()
    forms = [
        (model, [inputs], {}),
        (model, [(inputs, digits)], {}),
        (model, [[inputs, digits]], {}),
        (model, [Pair(inputs, digits)], {}),
        (model, torch.utils.data.DataLoader(torch.utils.data.TensorDataset(inputs, digits), 3), {}),
        (Around(model, lambda inner, x, scale: inner(x * scale)), [{"x": inputs, "scale": 1}], {}),
        (model, [{"pixels": inputs}], {"call": lambda model, batch: model(batch["pixels"])}),
    ]
    for model, batches, options in forms:
        layer = "inner.0" if isinstance(model, Around) else "0"
        rt.capture(model, batches, out=out, layers=layer, overwrite=True, **options)
        close(stored(out, layer), expected)


@pytest.mark.parametrize("dtype", ["float64", "float32", ">f4", "float16"])
def test_numpy_batches_become_tensors_in_the_precision_of_the_model(dtype, inputs, out):
    model = mlp()
    digits = np.array(["zero"] * 5)  # labels beside the input are ignored, whatever they are
    halves = [half.numpy().astype(dtype) for half in inputs.split(5)]
    before = [half.copy() for half in halves]
    halves[0].flags.writeable = False
    rt.capture(model, [halves[0], (halves[1], digits)], out=out, layers="0")
    given = torch.from_numpy(np.concatenate(before).astype("float32"))
    close(stored(out, "0"), model[0](given).detach().numpy())
    assert all(np.array_equal(a, b) for a, b in zip(halves, before, strict=True))


def test_numpy_batches_of_whole_numbers_stay_whole(out):
    words = np.arange(N * 2).reshape(N, 2) % 7
    model = nn.Sequential(seeded(nn.Embedding(7, 3)))
    rt.capture(model, [{"input": words}], out=out, layers="0", sequence="flatten")
    close(stored(out, "0"), model[0].weight.detach().numpy()[words].reshape(N, 6))


def test_call_gets_numpy_batches_as_they_are(inputs, out):
    seen = []
    model = mlp()
    run = lambda m, x: (seen.append(type(x)), m(torch.from_numpy(x)))  # noqa: E731
    rt.capture(model, [inputs.numpy()], out=out, layers="0", call=run)
    assert seen == [np.ndarray]
    close(stored(out, "0"), model[0](inputs).detach().numpy())


def test_patterns_keep_the_order_asked_for(inputs, out):
    model = nn.Sequential(OrderedDict(fc1=nn.Linear(6, 6), act1=nn.ReLU(), fc2=nn.Linear(6, 6)))
    path = rt.capture(model, [inputs], out=out, layers=["act*", "fc*", "fc1"])
    assert list(rt.open(path)["layers"].children) == ["act1", "fc1", "fc2"]


def test_star_passes_over_containers_that_are_never_called(inputs, out):
    blocks = nn.ModuleList([nn.Linear(6, 6), nn.Linear(6, 6)])
    model = Around(blocks, lambda inner, x: inner[1](inner[0](x)))
    path = rt.capture(model, [inputs], out=out, layers="*")
    assert list(rt.open(path)["layers"].children) == ["inner.0", "inner.1"]


def encoder(layers: int = 2) -> nn.Module:
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    return nn.TransformerEncoder(seeded(layer), layers, enable_nested_tensor=False)


def test_a_pattern_leaves_out_what_does_not_run_and_says_so(out):
    # attention uses the weights of out_proj without calling it
    tokens = torch.randn(N, 3, 8, generator=torch.Generator().manual_seed(2))
    model = encoder()
    with pytest.warns(ReptoolsWarning, match=r"capture: left out 2 of 20 modules .*"
                      r"'layers\.0\.self_attn\.out_proj', 'layers\.1\.self_attn\.out_proj'"):  # fmt: skip
        rt.capture(model, tokens.split(5), out=out, layers="*", sequence="token")
    tree = rt.open(out)
    kept = list(tree["layers"].children)
    assert len(kept) == 18 and "layers.0.self_attn" in kept
    left_out = json.loads(tree.attrs["provenance"])["capture"]["left_out"]
    assert left_out == [f"layers.{i}.self_attn.out_proj" for i in range(2)]
    assert hooks_of(model) == 0


def test_a_named_layer_that_does_not_run_is_an_error_that_suggests_a_pattern(out):
    tokens = torch.zeros(N, 3, 8)
    name = "layers.0.self_attn.out_proj"
    with pytest.raises(ParameterError, match=rf"'{name}' did not run in batch 0.*Capture "
                       r"'layers\.0\.self_attn' around it, or use .*'layers\.0\.self_attn\.\*'"):  # fmt: skip
        rt.capture(encoder(1), [tokens], out=out, layers=["*", name], sequence="token")
    with pytest.raises(ParameterError, match=rf"none of the modules .* ran in batch 0: '{name}'"):
        rt.capture(encoder(1), [tokens], out=out, layers="*out_proj", sequence="token")


def test_a_layer_that_runs_in_the_first_batch_only_is_refused(inputs, out):
    first = []

    def run(m, x):
        m[1](x) if first else m(x)
        first.append(True)

    with pytest.raises(ParameterError, match="layer '0' did not run in batch 1"):
        rt.capture(mlp(), [inputs, inputs[:, :5]], out=out, layers="*", call=run)


def test_values_do_not_depend_on_which_layers_are_asked_for(tmp_path):
    # a fused encoder layer would skip its submodules, and round otherwise
    model = encoder()
    tokens = torch.randn(N, 3, 8, generator=torch.Generator().manual_seed(2))
    few, many = (
        rt.capture(model, [tokens], out=tmp_path / f"{i}.h5", layers=names, sequence="token")
        for i, names in enumerate((["layers.1"], ["layers.1", "layers.?.linear1"]))
    )
    assert np.array_equal(stored(few, "layers.1"), stored(many, "layers.1"))
    assert torch.backends.mha.get_fastpath_enabled()


# --- what stays as it was -----------------------------------------------------------------------


def test_output_and_hooks_are_untouched(inputs, out):
    model = mlp(inplace=True).eval()
    before, answers = model(inputs), []
    rt.capture(model, [inputs], out=out, layers="*", call=lambda m, x: answers.append(m(x)))
    assert torch.equal(answers[0], before)
    assert torch.equal(model(inputs), before)
    assert hooks_of(model) == 0


def test_an_in_place_operation_does_not_reach_the_copy(inputs, out):
    path = rt.capture(mlp(inplace=True), [inputs], out=out, layers=["0", "1"])
    linear = mlp()[0](inputs).detach().numpy()
    assert (linear < 0).any()
    close(stored(path, "0"), linear)
    close(stored(path, "1"), np.maximum(linear, 0))


def test_mode_of_every_submodule_is_put_back(inputs, out):
    model = seeded(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Dropout(0.5)).train()
    model[1].eval()
    statistics = model[1].running_mean.clone()
    seen = []
    rt.capture(
        model, [inputs], out=out, layers="2", call=lambda m, x: (seen.append(m.training), m(x))
    )
    assert seen == [False]
    assert [module.training for module in model.modules()] == [True, True, False, True]
    assert torch.equal(model[1].running_mean, statistics)
    assert np.count_nonzero(stored(out, "2")) == N * 5  # dropout was off


def test_gradients_the_model_asks_for_itself(inputs, out):
    def slope(inner, x):
        with torch.enable_grad():
            x = x.clone().requires_grad_()
            return torch.autograd.grad(inner(x).sum(), x)[0]

    model = Around(mlp(), slope)
    path = rt.capture(model, [inputs], out=out, layers="inner.2")
    close(stored(path, "inner.2"), model.inner(inputs).detach().numpy())
    assert torch.is_grad_enabled()
    assert all(parameter.grad is None for parameter in model.parameters())


def test_the_loader_runs_with_gradients_as_the_user_set_them(inputs, out):
    states = []

    def loader():
        for batch in inputs.split(5):
            states.append(torch.is_grad_enabled())
            yield batch

    rt.capture(mlp(), loader(), out=out, layers="0")
    assert states == [True, True]


def test_no_activation_outlives_its_batch(inputs, out):
    alive: list[weakref.ref] = []
    most = []

    def spy(module, args, output):
        alive.append(weakref.ref(output))

    model = mlp()
    handle = model[0].register_forward_hook(spy)

    def loader():
        for batch in inputs.split(2):
            gc.collect()
            most.append(sum(ref() is not None for ref in alive))
            yield batch

    rt.capture(model, loader(), out=out, layers="*")
    handle.remove()
    assert most == [0] * 5


@pytest.mark.parametrize("where", ["forward", "loader", "writer"])
def test_everything_is_put_back_after_a_failure(where, inputs, out):
    model = mlp().train()
    second = []  # filled when the second batch is on its way

    def loader():
        yield inputs[:5]
        second.append(True)
        if where == "loader":
            raise RuntimeError("broken loader")
        yield inputs[5:]

    def call(model, batch):
        model(batch)
        if second and where == "forward":
            raise RuntimeError("broken forward")

    def narrower(x, batch):
        return x[:, :3] if second and where == "writer" else x

    error, words = (DimensionError, "3") if where == "writer" else (RuntimeError, f"broken {where}")
    with pytest.raises(error, match=words):
        rt.capture(model, loader(), out=out, layers="0", call=call, reduce=narrower)
    assert hooks_of(model) == 0
    assert all(module.training for module in model.modules())
    assert torch.backends.mha.get_fastpath_enabled()
    assert not out.exists()
    repair(out)  # the first batch was reported as written
    with pytest.warns(IncompleteWarning, match="incomplete: 5 stimuli"):
        assert stored(out, "0").shape == (5, 5)


# --- what is refused ----------------------------------------------------------------------------


def test_a_pattern_without_a_match_names_close_ones(inputs, out):
    model = nn.Sequential(OrderedDict(conv1=nn.Linear(6, 6), conv2=nn.Linear(6, 6)))
    with pytest.raises(ParameterError, match=r"capture: layers: 'cnov1' matches no.*'conv1'"):
        rt.capture(model, [inputs], out=out, layers=["conv2", "cnov1"])
    with pytest.raises(ParameterError, match=r"'q\*' matches no module of Sequential.*'conv2'"):
        rt.capture(model, [inputs], out=out, layers="q*")
    with pytest.raises(ParameterError, match="layers is empty"):
        rt.capture(model, [inputs], out=out, layers=[])
    assert hooks_of(model) == 0


def test_a_layer_that_never_ran_is_named(inputs, out):
    model = mlp()
    model.add_module("unused", nn.Linear(6, 6))
    run = lambda m, x: m[0](x)  # noqa: E731
    with pytest.raises(ParameterError, match="layer 'unused' did not run in batch 0"):
        rt.capture(model, [inputs], out=out, layers=["0", "unused"], call=run)
    assert not list(out.parent.iterdir())
    assert hooks_of(model) == 0


def test_a_layer_that_ran_several_times_is_counted(inputs, out):
    shared = nn.Linear(6, 6)
    model = nn.Sequential(shared, nn.ReLU(), shared, shared)
    with pytest.raises(ParameterError, match="layer '0' ran 3 times in batch 0"):
        rt.capture(model, [inputs], out=out, layers="*")


@pytest.mark.parametrize(("labels", "words"), [(8, "at least 10 .* 8 labels"), (12, "10 .* 12 l")])
def test_batches_add_up_to_the_labels(labels, words, inputs, out):
    with pytest.raises(StimulusError, match=words):
        rt.capture(mlp(), inputs.split(5), out=out, layers="0", stimulus=range(labels))
    assert not out.exists()


def test_batches_that_cannot_be_meant(inputs, out):
    used_up = iter([inputs])
    list(used_up)
    with pytest.raises(StimulusError, match="batches is empty"):
        rt.capture(mlp(), used_up, out=out, layers="0")
    with pytest.raises(ParameterError, match="batches is one Tensor"):
        rt.capture(mlp(), inputs, out=out, layers="0")
    with pytest.raises(ParameterError, match="batches is one dict"):
        rt.capture(mlp(), {"x": inputs}, out=out, layers="0")
    with pytest.raises(ParameterError, match=r"a batch is 'image.png' \(str\)"):
        rt.capture(mlp(), ["image.png"], out=out, layers="0")
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(inputs), shuffle=True)
    with pytest.raises(StimulusError, match=r"random order \(RandomSampler\)"):
        rt.capture(mlp(), loader, out=out, layers="0", stimulus=LABELS)


def test_features_need_labels(inputs, out):
    feature = xr.DataArray(np.arange(N) % 2, dims="stimulus")
    with pytest.raises(ParameterError, match="without stimulus"):
        rt.capture(mlp(), [inputs], out=out, layers="0", features={"odd": feature})


def test_outputs_that_are_no_rows_of_stimuli(inputs, out):
    def shown(function):
        model = Around(Around(nn.Identity(), lambda inner, x: function(x)), nn.Module.__call__)
        rt.capture(model, [inputs], out=out, layers="inner")

    with pytest.raises(DimensionError, match="'inner' gives a str without a tensor"):
        shown(lambda x: "answer")
    with pytest.raises(DimensionError, match=r"'inner' gives the shape \(6, 10\) for .* of 10 st"):
        shown(lambda x: x.T)
    with pytest.raises(DimensionError, match="'inner' gives complex"):
        shown(lambda x: x + 1j)
    with pytest.raises(DimensionError, match=r"'inner' gives 6 axes"):
        shown(lambda x: x[:, None, None, None, None])


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (float("nan"), "1 NaN and 0 infinite of 20 values"),
        (float("inf"), "0 NaN and 1 infinite of 20 values"),
        (-float("inf"), "0 NaN and 1 infinite"),
    ],
)
def test_values_that_are_not_finite_are_refused_and_the_batches_before_stay(
    spoil, words, inputs, out
):
    def reduce(x, batch):
        if batch[0, 0] == inputs[4, 0]:  # the second batch
            x[3, 1] = spoil
        return x

    model = mlp()
    with pytest.raises(DataError, match=rf"capture: layer '0' gives {words} .*in batch 1, for 1 "
                       r"of its 4 stimuli \(rows 3\).*allow_nan=True"):  # fmt: skip
        rt.capture(model, inputs.split(4), out=out, layers="0", stimulus=LABELS, reduce=reduce)
    repair(out)
    with pytest.warns(IncompleteWarning, match="incomplete: 4 of 10 stimuli"):
        close(stored(out, "0"), model[0](inputs[:4]).detach().numpy())
    rt.capture(
        model, inputs.split(4), out=out, layers="0", reduce=reduce, allow_nan=True, overwrite=True
    )
    assert np.argwhere(~np.isfinite(stored(out, "0"))).tolist() == [[7, 1]]


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"layers": None}, ParameterError, "layers is None, .* layers=\\['fc1'\\]"),
        ({"layers": [0, 2]}, ParameterError, "layers holds 0, 2 of type int.*as text: '0'"),
        ({"layers": [None]}, ParameterError, "layers holds None of type NoneType"),
        ({"layers": {"0": 1}}, ParameterError, "layers is {'0': 1}"),
        ({"model": len}, ParameterError, "model is <built-in function len> .*torch.nn.Module"),
        ({"model": nn.Linear}, ParameterError, "model is the class Linear"),
        ({"batches": None}, ParameterError, "batches is None"),
        ({"batches": 3}, ParameterError, "batches is 3 \\(int\\)"),
        ({"batches": [np.array(["a"])]}, ParameterError, "a batch is an array of <U1"),
        ({"batches": [("a", "b")]}, ParameterError, r"a batch is \('a', 'b'\) \(tuple\)"),
        ({"batches": [None]}, ParameterError, "a batch is None"),
        ({"out": None}, ParameterError, "out is None"),
        ({"out": "run.csv"}, ParameterError, "out is 'run.csv', .* HDF5. Let it end in .h5"),
        ({"out": "run"}, ParameterError, "out is 'run'"),
        ({"out": "."}, StoreError, ". is a folder. Name a file in it: out='run.h5'"),
        ({"coords": ["a"]}, ParameterError, "coords is \\['a'\\] \\(list\\)"),
        ({"features": 3}, ParameterError, "features is 3"),
        ({"provenance": "seed"}, ParameterError, "provenance is 'seed'"),
        ({"reduce": "mean"}, ParameterError, "reduce is 'mean'"),
        ({"call": 3}, ParameterError, "call is 3"),
        ({"reduce": lambda x, batch: x.numpy()}, ParameterError, "reduce gives a ndarray .*'0'"),
        ({"stimulus": 5}, StimulusError, r"stimulus has shape \(\)"),
        ({"stimulus": ["a"] * N}, StimulusError, "stimulus labels must be unique"),
    ],
)
def test_wrong_arguments_are_refused_by_name(change, error, words, inputs, out, monkeypatch):
    monkeypatch.chdir(out.parent)
    given = {"model": mlp(), "batches": [inputs], "out": out, "layers": "0", **change}
    with pytest.raises(error, match=f"capture: {words}"):
        rt.capture(given.pop("model"), given.pop("batches"), **given)
    assert not list(out.parent.iterdir())


def test_an_existing_file_stays(inputs, out):
    rt.capture(mlp(), [inputs], out=out, layers="0")
    before = out.read_bytes()
    with pytest.raises(StoreError, match="exists"):
        rt.capture(mlp(), [inputs + 1], out=out, layers="0")
    assert out.read_bytes() == before


def test_without_torch_the_extra_is_named(monkeypatch, out):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtraError, match=r"reptools\[torch\]"):
        rt.capture(object(), [], out=out, layers="*")


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "MultiheadAttention", "TransformerEncoderLayer"])
def test_stimuli_that_stand_second_are_not_taken_for_tokens(tmp_path, kind):
    from torch import nn

    class Second(nn.Module):
        """Takes (stimulus, token, unit) and turns it for a module that wants the tokens first."""

        def __init__(self, first):
            super().__init__()
            sizes = {"LSTM": (6, 6), "GRU": (6, 6)}.get(kind, (6, 2))
            more = {"dim_feedforward": 8} if kind == "TransformerEncoderLayer" else {}
            self.inner = getattr(nn, kind)(*sizes, batch_first=first, **more)
            self.first, self.after = first, nn.Linear(6, 6)

        def forward(self, x):
            x = x if self.first else x.transpose(0, 1)
            x = self.inner(x, x, x) if kind == "MultiheadAttention" else self.inner(x)
            x = self.after(x[0] if isinstance(x, tuple) else x)
            return x if self.first else x.transpose(0, 1)

    torch.manual_seed(0)
    first = Second(True)
    second = Second(False)
    second.load_state_dict(first.state_dict())
    sequences = torch.randn(10, 5, 6)
    batches = [sequences[:5], sequences[5:]]  # as many tokens as stimuli: shapes tell nothing
    options = {"stimulus": list(range(10)), "sequence": "token", "overwrite": True}
    out = tmp_path / "run.h5"
    for layer in ("inner", "after"):
        with pytest.raises(
            DimensionError,
            match=rf"layer '{layer}' gives the shape \(5, 5, 6\) .*batch_first=False.*reduce=",
        ):
            rt.capture(second, batches, out=out, layers=[layer], **options)
        path = rt.capture(first, batches, out=out, layers=[layer], **options)
        with rt.open(path) as tree:
            expected = tree[f"layers/{layer}"].activation.values
        turned = {"reduce": lambda x, batch: x.transpose(0, 1)}
        path = rt.capture(second, batches, out=out, layers=[layer], **options | turned)
        with rt.open(path) as tree:
            np.testing.assert_allclose(
                tree[f"layers/{layer}"].activation.values, expected, atol=1e-6
            )
    with pytest.raises(DimensionError, match=r"batch 0 has 5 rows, and module 'inner.*of 10 stim"):
        rt.capture(
            nn.Sequential(OrderedDict(inner=nn.LSTM(6, 6))),
            [sequences.transpose(0, 1)],
            out=out,
            layers=["inner"],
            **options,
        )
