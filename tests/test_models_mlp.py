"""The network: shapes, names, and what its activations are."""

from __future__ import annotations

import pytest
import torch

from models.mlp import MLP, NONLINEARITIES, MLPConfig


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
