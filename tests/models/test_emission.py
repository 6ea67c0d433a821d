"""Outputs one after another: who sees whom, and what is fed back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from models.architectures.attention import Attention, Block, TransformerConfig, sinusoids
from models.architectures.decoder import Decoder, DecoderConfig
from models.architectures.emission import EmittingNetwork
from models.architectures.encoder_decoder import EncoderDecoder, EncoderDecoderConfig
from models.architectures.vit import ViT, ViTConfig

SHAPE, OUTPUTS = (5, 7), (2, 3, 2, 4)
SMALL: dict[str, Any] = {"width": 8, "heads": 2, "blocks": 2, "expansion": 2}
kinds = pytest.mark.parametrize("kind", ["decoder", "encoder_decoder"])


def make(kind: str, **settings: Any) -> EmittingNetwork:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        if kind == "decoder":
            return Decoder(SHAPE, OUTPUTS, DecoderConfig(**{**SMALL, **settings}))
        config = EncoderDecoderConfig(**{**SMALL, **settings}, decoder_blocks=2)
        return EncoderDecoder(SHAPE, OUTPUTS, config)


def inputs(count: int = 64) -> Tensor:
    symbols = torch.randint(7, (count, 5), generator=torch.Generator().manual_seed(1))
    return nn.functional.one_hot(symbols, 7).float()  # (stimulus, token, unit)


def answers(count: int = 64) -> Tensor:
    draw = torch.Generator().manual_seed(2)
    return torch.stack([torch.randint(k, (count,), generator=draw) for k in OUTPUTS], dim=1)


def parts(logits: Tensor) -> list[Tensor]:
    return list(torch.split(logits, [1, 3, 1, 4], dim=1))


def chosen(part: Tensor) -> Tensor:
    return (part[:, 0] > 0).long() if part.shape[1] == 1 else part.argmax(1)


@kinds
def test_an_output_depends_on_the_answers_before_it_only(kind: str) -> None:
    model, x, given = make(kind), inputs(), answers()
    before = parts(model(x, given))
    for changed, classes in enumerate(OUTPUTS):
        other = given.clone()
        other[:, changed] = (other[:, changed] + 1) % classes
        after = parts(model(x, other))
        same = [torch.equal(a, b) for a, b in zip(before, after, strict=True)]
        assert same == [place <= changed for place in range(len(OUTPUTS))]


@kinds
def test_greedy_feeds_its_own_answers_back(kind: str) -> None:
    model, x = make(kind), inputs()
    model.readout.bias.data -= model(x, answers()).mean(0)  # else all answers are the same
    greedy = model(x)
    own = torch.stack([chosen(part) for part in parts(greedy)], dim=1)
    assert all(len(column.unique()) > 1 for column in own.T[:-1]), "else nothing is tested"
    torch.testing.assert_close(model(x, own), greedy)
    assert not torch.allclose(model(x, answers()), greedy)


@kinds
def test_unknown_answers_are_filled_with_its_own(kind: str) -> None:
    model, x, given = make(kind), inputs(), answers()
    unknown = given.clone()
    unknown[::2, 1] = -1
    filled = given.clone()
    filled[::2, 1] = chosen(parts(model(x, given))[1])[::2]
    torch.testing.assert_close(model(x, unknown), model(x, filled))
    assert (unknown[::2, 1] == -1).all(), "what was given is left as it was"
    assert not torch.allclose(model(x, unknown), model(x, given))


@kinds
def test_input_tokens_never_see_answers(kind: str) -> None:
    model, x = make(kind), inputs()
    layers, seen = model.activations(x), []
    hook = model.blocks["block1"].register_forward_hook(lambda m, i, out: seen.append(out))
    for given in (answers(), (answers() + 1) % 2):
        model(x, given)
    hook.remove()
    of_input = [out for out in seen if out.shape[1] == SHAPE[0]]
    assert len(of_input) == 2
    assert all(torch.equal(out, layers["block1"]) for out in of_input)
    for layer in layers.values():
        assert layer.shape[1] == SHAPE[0]


@kinds
def test_who_sees_whom_among_the_inputs(kind: str) -> None:
    model, x = make(kind), inputs()
    other = x.clone()
    other[:, 2] = other[:, 2].roll(1, dims=1)  # another symbol at token 2
    for name, layer in model.activations(x).items():
        same = (layer == model.activations(other)[name]).all(2).all(0).tolist()
        if name == "embedded":
            assert same == [True, True, False, True, True]
        elif kind == "decoder":
            assert same == [True, True, False, False, False]
        else:
            assert same == [False] * 5


@kinds
def test_answers_read_the_last_layer_of_the_input(kind: str) -> None:
    model, x = make(kind), inputs()
    layers = model.activations(x)
    for layer in layers.values():
        layer.retain_grad()
    tokens = model.start.expand(len(x), 1, -1)
    model._emit(layers, tokens).sum().backward()
    read = list(layers.values())[-1].grad
    assert read is not None
    assert (read.abs().sum((0, 2)) > 0).all()


def streams(residual: bool) -> dict[str, tuple[nn.Module, Tensor, dict[str, bool]]]:
    images = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(3))
    vit = ViT((3, 8, 8), 1, ViTConfig(**SMALL, patch=4, residual_to_input=residual))
    return {
        "vit": (vit, images, {}),
        "decoder": (make("decoder", residual_to_input=residual), inputs(4), {"causal": True}),
        "encoder_decoder": (make("encoder_decoder", residual_to_input=residual), inputs(4), {}),
    }


@pytest.mark.parametrize("residual", [True, False])
@pytest.mark.parametrize("kind", ["vit", "decoder", "encoder_decoder"])
def test_residual_to_input(kind: str, residual: bool) -> None:
    # where attention brings nothing, a site keeps its token's embedding, or holds nothing of it
    model, x, _ = streams(residual)[kind]
    for block in model.blocks.values():
        nn.init.zeros_(block.attention.out.weight)
    layers = model.activations(x)
    for name in list(layers)[1:]:
        varies = layers[name].std(0).max() > 1e-6
        assert bool(varies) is residual, name


@kinds
def test_emitted_tokens_keep_their_residual_connections(kind: str) -> None:
    model = make(kind, residual_to_input=False)
    blocks = [*model.blocks.values(), *getattr(model, "decoder", [])]
    for block in blocks:
        for attention in (block.attention, block.cross):
            if attention is not None:
                nn.init.zeros_(attention.out.weight)
    given, x = answers(), inputs()
    other = given.clone()
    other[:, 0] = 1 - other[:, 0]
    assert not torch.allclose(parts(model(x, given))[1], parts(model(x, other))[1])


def test_attention_by_hand() -> None:
    config = TransformerConfig(width=6, heads=2)
    attention, draw = Attention(config), torch.Generator().manual_seed(1)
    x, memory = torch.randn(3, 2, 6, generator=draw), torch.randn(3, 4, 6, generator=draw)
    mask = torch.tensor([[True, False, True, False], [True, True, True, True]])
    q, k, v = attention.query(x), attention.key(memory), attention.value(memory)
    heads = []
    for units in (slice(0, 3), slice(3, 6)):
        scores = torch.einsum("stu,spu->stp", q[..., units], k[..., units]) / 3**0.5
        weights = scores.masked_fill(~mask, -torch.inf).softmax(2)
        heads.append(torch.einsum("stp,spu->stu", weights, v[..., units]))
    expected = attention.out(torch.cat(heads, dim=2))
    torch.testing.assert_close(attention(x, memory, mask), expected)


def test_a_block_in_two_parts_is_the_block_on_the_whole() -> None:
    block, x = Block(TransformerConfig(width=8, heads=2)), torch.randn(3, 6, 8)
    whole = block(x, causal=True)
    torch.testing.assert_close(block(x[:, :4], causal=True), whole[:, :4])
    torch.testing.assert_close(block(x[:, 4:], before=x[:, :4], causal=True), whole[:, 4:])


def test_places_matter_without_a_causal_mask() -> None:
    x, swapped = inputs(), inputs()[:, [1, 0, 2, 3, 4]]
    for positions in ("learned", "sinusoidal"):
        model = make("encoder_decoder", positions=positions)
        assert not torch.allclose(model(x, answers()), model(swapped, answers()), atol=1e-4)
    assert sinusoids(5, 8).unique(dim=0).shape == (5, 8)


def test_sinusoids_are_fixed_and_not_stored() -> None:
    learned, fixed = make("decoder"), make("decoder", positions="sinusoidal")
    missing = set(learned.state_dict()) - set(fixed.state_dict())
    assert missing == {"embedded.positions.vectors"}
    assert replace(DecoderConfig(), positions="sinusoidal").dims == ("token", "unit")


@kinds
def test_learns_which_of_two_symbols_occurs(kind: str) -> None:
    draw = torch.Generator().manual_seed(0)
    config = {"width": 16, "heads": 2, "blocks": 2, "expansion": 2}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model: EmittingNetwork = (
            Decoder((6, 5), (2,), DecoderConfig(**config))
            if kind == "decoder"
            else EncoderDecoder((6, 5), (2,), EncoderDecoderConfig(**config, decoder_blocks=1))
        )
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)

    def sample(count: int) -> tuple[Tensor, Tensor]:
        symbols = torch.randint(2, 5, (count, 6), generator=draw)
        truth = torch.randint(2, (count, 1), generator=draw)
        symbols.scatter_(1, torch.randint(6, (count, 1), generator=draw), truth)
        return nn.functional.one_hot(symbols, 5).float(), truth

    for _ in range(50):
        x, truth = sample(64)
        loss = nn.functional.binary_cross_entropy_with_logits(model(x, truth), truth.float())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    x, truth = sample(256)
    assert ((model(x) > 0).long() == truth).float().mean() > 0.97
