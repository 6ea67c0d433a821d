"""The network: shapes, names, and what its activations are."""

from __future__ import annotations

import pytest
import torch

from models.architectures.mlp import MLP, MLPConfig
from models.architectures.network import NONLINEARITIES
from reptools.errors import ParameterError


def network(**settings: object) -> MLP:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return MLP(6, 2, MLPConfig(widths=(5, 4, 3), **settings))


def test_layers_and_shapes() -> None:
    model, x = network(), torch.ones(7, 6)
    layers = model.activations(x)
    assert {name: tuple(value.shape) for name, value in layers.items()} == {
        "fc1": (7, 5),
        "fc2": (7, 4),
        "fc3": (7, 3),
    }
    assert model(x).shape == (7, 2)


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("relu", torch.relu),
        ("tanh", torch.tanh),
        ("gelu", torch.nn.functional.gelu),
        ("sigmoid", torch.sigmoid),
        ("linear", lambda x: x),
    ],
)
def test_forward_by_hand(name: str, function: object) -> None:
    model = network(nonlinearity=name)
    x = torch.randn(7, 6, generator=torch.Generator().manual_seed(1))
    expected, parameters = x, list(model.parameters())
    for layer, weight, bias in zip(
        model.activations(x).values(), parameters[:-2:2], parameters[1:-2:2], strict=True
    ):
        expected = function(expected @ weight.T + bias)
        torch.testing.assert_close(layer, expected)
    torch.testing.assert_close(model(x), expected @ parameters[-2].T + parameters[-1])
    assert name in NONLINEARITIES


def test_dropout_only_while_training() -> None:
    model, x = network(dropout=0.5, nonlinearity="linear"), torch.ones(1000, 6)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        silenced = (model.activations(x)["fc1"] == 0).float().mean()
    assert 0.45 < silenced < 0.55
    model.eval()
    assert (model.activations(x)["fc1"] != 0).all()


def test_hidden_layers_start_equal_whatever_is_trained() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        one = MLP(6, 1, MLPConfig())
        torch.manual_seed(3)
        two = MLP(6, 2, MLPConfig())
    for a, b in zip(one.hidden.parameters(), two.hidden.parameters(), strict=True):
        assert torch.equal(a, b)


def test_normalisation_by_hand() -> None:
    x = torch.randn(9, 6, generator=torch.Generator().manual_seed(1))
    for kind, axis in (("layer", 1), ("batch", 0)):
        model = network(normalisation=kind)
        linear = model.hidden["fc1"].linear
        z = x @ linear.weight.T + (0 if linear.bias is None else linear.bias)
        z = (z - z.mean(axis, keepdim=True)) / (
            z.var(axis, correction=0, keepdim=True) + 1e-5
        ).sqrt()
        torch.testing.assert_close(model.activations(x)["fc1"], z.relu())


def test_residual_adds_between_hidden_layers_of_equal_width() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = MLP(5, 2, MLPConfig(widths=(5, 5, 4, 4), residual=True))
    plain = MLP(5, 2, MLPConfig(widths=(5, 5, 4, 4)))
    plain.load_state_dict(model.state_dict())
    x = torch.randn(7, 5, generator=torch.Generator().manual_seed(1))
    layers, before = model.activations(x), x
    for name, added in (("fc1", 0), ("fc2", 1), ("fc3", 0), ("fc4", 1)):
        alone = plain.hidden[name](before)
        torch.testing.assert_close(layers[name], alone + before if added else alone)
        before = layers[name]
    assert not torch.equal(model(x), plain(x))


@pytest.mark.parametrize(
    ("settings", "seen"),
    [
        ({"normalisation": "group"}, r"normalisation is 'group'.*\['batch', 'layer', 'none'\]"),
        ({"residual": 1}, "residual is 1"),
        ({"residual": True, "widths": (8, 4)}, r"no two successive widths of \(8, 4\)"),
        ({"widths": 8}, "widths is 8"),
        ({"dropout": "much"}, "dropout is 'much'"),
    ],
)
def test_impossible_settings(settings: dict[str, object], seen: str) -> None:
    with pytest.raises(ParameterError, match=seen):
        MLPConfig(**settings)
