"""What holds for every architecture: names, shapes, what is read, initialisation, gradients."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from models.architectures import ARCHITECTURES, make_model
from models.architectures.network import Network
from reptools.errors import ParameterError

STREAM = {"width": 8, "heads": 2, "blocks": 2, "expansion": 2}
SMALL: dict[str, tuple[dict[str, Any], tuple[int, ...]]] = {
    "mlp": ({"widths": (8, 6)}, (10,)),
    "cnn": ({"channels": (4, 6)}, (3, 8, 8)),
    "resnet": ({"channels": (4, 6)}, (3, 8, 8)),
    "vit": ({**STREAM, "patch": 4}, (3, 8, 8)),
    "decoder": (STREAM, (5, 7)),
    "encoder_decoder": ({**STREAM, "decoder_blocks": 1}, (5, 7)),
}
OUTPUTS = (2, 3, 2)
VARIANTS = [
    *((kind, {}) for kind in SMALL),
    ("mlp", {"normalisation": "batch"}),
    ("mlp", {"normalisation": "layer", "widths": (6, 6), "residual": True}),
    ("cnn", {"normalisation": "batch", "pooling": "mean", "kernel": 5}),
    ("cnn", {"pooling": "none"}),
    ("resnet", {"normalisation": "none"}),
    ("resnet", {"residual": False}),
    *(
        (kind, {name: value})
        for kind in ("vit", "decoder", "encoder_decoder")
        for name, value in (("residual_to_input", False), ("positions", "sinusoidal"))
    ),
]
every = pytest.mark.parametrize(
    ("kind", "settings"), VARIANTS, ids=["-".join([k, *map(str, s.values())]) for k, s in VARIANTS]
)


def make(kind: str, outputs: tuple[int, ...] = OUTPUTS, seed: int = 0, **settings: Any) -> Network:
    small, shape = SMALL[kind]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make_model(ARCHITECTURES[kind](**{**small, **settings}), shape, outputs)


def batch(kind: str, count: int = 6, seed: int = 1) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    x = torch.rand(count, *SMALL[kind][1], generator=draw)
    answers = [torch.randint(classes, (count,), generator=draw) for classes in OUTPUTS]
    return x, torch.stack(answers, dim=1)


def test_every_architecture_is_tested() -> None:
    assert set(SMALL) == set(ARCHITECTURES)


LAYERS = {
    "mlp": {"fc1": (8,), "fc2": (6,)},
    "cnn": {"conv1": (4,), "conv2": (6,), "pooled": (6,)},
    "resnet": {"stem": (4,), "block1": (4,), "block2": (6,), "pooled": (6,)},
    "vit": {"embedded": (4, 8), "block1": (4, 8), "block2": (4, 8), "pooled": (8,)},
    "decoder": {"embedded": (5, 8), "block1": (5, 8)},
    "encoder_decoder": dict.fromkeys(("embedded", "block1", "block2", "encoded"), (5, 8)),
}


@pytest.mark.parametrize("kind", SMALL)
def test_layers_and_shapes(kind: str) -> None:
    model, (x, answers) = make(kind), batch(kind)
    shapes = {name: tuple(value.shape[1:]) for name, value in model.activations(x).items()}
    assert list(shapes.items()) == list(LAYERS[kind].items())
    assert model(x).shape == model(x, answers).shape == (6, 1 + 3 + 1)


@every
def test_head_feeds_the_readout(kind: str, settings: dict[str, Any]) -> None:
    model, (x, answers) = make(kind, **settings).eval(), batch(kind)
    assert isinstance(model.readout, nn.Linear)
    if kind in ("decoder", "encoder_decoder"):
        assert model.head is None
        return
    assert model.head == list(model.activations(x))[-1]
    torch.testing.assert_close(model.readout(model.activations(x)[model.head]), model(x))
    assert torch.equal(model(x), model(x, answers)), "answers are for networks that emit"


@every
def test_activations_are_what_forward_uses(kind: str, settings: dict[str, Any]) -> None:
    model, (x, answers) = make(kind, **settings).eval(), batch(kind)
    named = {name.rpartition(".")[2]: module for name, module in model.named_modules()}
    if kind == "vit":
        named["embedded"] = model.positions
    seen: dict[str, Tensor] = {}

    def first(name: str) -> Any:  # a decoder's blocks are called again for emitted tokens
        return lambda module, inputs, output: seen.setdefault(name, output)

    layers = model.activations(x)
    hooked = [name for name in layers if name != "pooled"]
    for name in hooked:
        named[name].register_forward_hook(first(name))
    model(x, answers)
    assert list(seen) == hooked
    for name in hooked:
        used = seen[name].mean((2, 3)) if seen[name].ndim == 4 else seen[name]
        assert torch.equal(used, layers[name])


@every
def test_gradient_reaches_every_parameter(kind: str, settings: dict[str, Any]) -> None:
    model, (x, answers) = make(kind, **settings), batch(kind, count=32)
    for name, parameter in model.named_parameters():
        if name.endswith("query.weight"):  # sharp attention: even attention makes all tokens alike
            parameter.data.mul_(20)
    model(x, answers).square().sum().backward()
    missed = [n for n, p in model.named_parameters() if p.grad is None or p.grad.abs().max() < 1e-7]
    assert missed == []


@every
def test_hidden_layers_start_equal_whatever_is_answered(
    kind: str, settings: dict[str, Any]
) -> None:
    x, _ = batch(kind)
    one, three = (make(kind, outputs, **settings).eval() for outputs in ((2,), (4, 2, 2)))
    for a, b in zip(one.activations(x).values(), three.activations(x).values(), strict=True):
        assert torch.equal(a, b)
    whole = dict(three.named_parameters())
    hidden = {name: p for name, p in one.named_parameters() if p.shape == whole[name].shape}
    # all but the readout; the start token is drawn with the answers' embeddings, first
    assert set(dict(one.named_parameters())) - set(hidden) == {"readout.weight", "readout.bias"}
    assert all(torch.equal(p, whole[name]) for name, p in hidden.items())


@every
def test_same_seed_same_network(kind: str, settings: dict[str, Any]) -> None:
    x, answers = batch(kind)
    one, same, other = (make(kind, seed=seed, **settings) for seed in (3, 3, 4))
    assert torch.equal(one(x, answers), same(x, answers))
    assert not torch.equal(one(x, answers), other(x, answers))


@every
def test_training_differs_by_dropout_and_batch_normalisation_only(
    kind: str, settings: dict[str, Any]
) -> None:
    x, answers = batch(kind)
    model = make(kind, **settings)
    normalised = any(isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d) for m in model.modules())
    trained = model(x, answers)
    assert torch.equal(model.eval()(x, answers), trained) is not normalised
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        silenced = make(kind, dropout=0.5, **settings)
        assert not torch.equal(silenced(x, answers), silenced(x, answers))
    silenced.eval()
    assert torch.equal(silenced(x, answers), silenced(x, answers))


@every
def test_stimuli_do_not_see_each_other(kind: str, settings: dict[str, Any]) -> None:
    model, (x, answers) = make(kind, **settings).eval(), batch(kind)
    together, alone = model(x, answers), model(x[2:3], answers[2:3])
    torch.testing.assert_close(together[2:3], alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", SMALL)
def test_refused_shapes(kind: str) -> None:
    config = ARCHITECTURES[kind](**SMALL[kind][0])
    wrong = (2, 2, 2, 2)
    expected = rf"make_model: {type(config).__name__} takes .*{config.dims[0]}.*\(2, 2, 2, 2\)"
    with pytest.raises(ParameterError, match=expected):
        make_model(config, wrong, (2,))
    for outputs in ((), (2, 1)):
        with pytest.raises(ParameterError, match="make_model: outputs have"):
            make_model(config, SMALL[kind][1], outputs)


@pytest.mark.parametrize(
    ("kind", "settings", "seen"),
    [
        ("cnn", {"channels": ()}, r"CNNConfig: channels is \(\)"),
        ("cnn", {"kernel": 4}, "CNNConfig: kernel is 4"),
        ("cnn", {"pooling": "sum"}, "pooling is 'sum'"),
        ("cnn", {"normalisation": "layer"}, "normalisation is 'layer'"),
        ("resnet", {"channels": (4, 0)}, r"ResNetConfig: channels is \(4, 0\)"),
        ("resnet", {"residual": "no"}, "residual is 'no'"),
        ("vit", {"patch": 0}, "ViTConfig: patch is 0"),
        ("vit", {"blocks": 1.0}, r"blocks is 1\.0"),
        ("decoder", {"blocks": 1}, "DecoderConfig: blocks is 1"),
        ("decoder", {"width": 10, "heads": 4}, "width is 10, which 4 heads"),
        ("decoder", {"width": 5, "heads": 5, "positions": "sinusoidal"}, "width is 5, but sinus"),
        ("decoder", {"positions": "rotary"}, "positions is 'rotary'"),
        ("encoder_decoder", {"decoder_blocks": 0}, "EncoderDecoderConfig: decoder_blocks is 0"),
        ("encoder_decoder", {"residual_to_input": None}, "residual_to_input is None"),
        ("encoder_decoder", {"nonlinearity": "swish"}, "nonlinearity is 'swish'"),
        ("encoder_decoder", {"dropout": 1}, "dropout is 1"),
    ],
)
def test_impossible_settings(kind: str, settings: dict[str, Any], seen: str) -> None:
    with pytest.raises(ParameterError, match=seen):
        ARCHITECTURES[kind](**settings)


def test_images_that_do_not_serve() -> None:
    with pytest.raises(ParameterError, match=r"CNN: images of 8 x 6 pixels .* 3 blocks"):
        make_model(ARCHITECTURES["cnn"](channels=(4, 4, 4)), (3, 8, 6), (2,))
    config = replace(ARCHITECTURES["vit"](**STREAM), patch=3)
    with pytest.raises(ParameterError, match=r"ViT: patches of 3 pixels do not tile 9 x 8"):
        make_model(config, (3, 9, 8), (2,))
