"""Networks side by side: the numbers of each are those it has alone, and those of a plain loop."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from models.architectures.cnn import CNNConfig
from models.architectures.mlp import MLPConfig
from models.learner import Learner, Lesson
from models.objective import balanced_accuracy, loss
from models.pool import Task, in_groups
from models.settings import Phase, RunConfig, TrainingConfig
from models.stacked import Stack, stackable
from models.steps import Together, agree, companies, learning_rate, make_optimizer, train
from reptools.errors import ParameterError

TRAINING = TrainingConfig(learning_rate=1e-2, batch=32, checkpoints=(0, 7, 20))
BOTH = RunConfig("both", ("easy", "hard"), MLPConfig(widths=(32, 16)), TRAINING)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.random.fork_rng(devices=[]):
        yield
    torch.set_num_threads(threads)


def lesson(outputs: tuple[int, ...] = (2, 2), units: int = 24, count: int = 200) -> Lesson:
    draw = torch.Generator().manual_seed(5)
    inputs = torch.randint(2, (count, units), generator=draw).float()
    targets = [torch.randint(k, (count,), generator=draw) for k in outputs]
    return Lesson(inputs, torch.stack(targets, dim=1), None, outputs)


def nothing(_: Learner) -> None:
    pass


def trained(config: RunConfig, seeds: list[int], taught: Lesson) -> list[Tensor]:
    """All parameters of each network after its last checkpoint."""
    learners = [Learner(config, seed, taught) for seed in seeds]

    def look(learner: Learner) -> None:
        learner.course.look(learner.step, dict.fromkeys(learner.features, 0.5))

    train(learners, taught, look, nothing)
    assert all(learner.over and learner.step == 20 for learner in learners)
    return [torch.cat([p.flatten() for p in one.model.parameters()]) for one in learners]


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"model": MLPConfig(widths=(32, 32), dropout=0.3, residual=True, nonlinearity="gelu")},
        {"model": MLPConfig(widths=(32, 16), normalisation="layer", nonlinearity="tanh")},
        {"train_on": ("easy",)},
        {
            "training": replace(
                TRAINING, optimizer="momentum", weight_decay=0.01, clip=0.1,
                warmup=3, schedule="cosine",
            )
        },
        {"phases": (Phase(("easy",), {"easy": 0.3}, steps=5), Phase(("easy", "hard")))},
    ],
)  # fmt: skip
def test_a_seed_has_the_same_bits_in_any_company(settings: dict[str, object]) -> None:
    config = replace(BOTH, **settings)
    taught = lesson((2,) * len(config.train_on))
    company = [Learner(config, seed, taught) for seed in (0, 1, 2, 3, 9)]
    assert companies(company, taught) == [company], "these shapes are to be stacked"
    five = trained(config, [0, 1, 2, 3, 9], taught)
    two = trained(config, [9, 2], taught)
    alone = trained(config, [2], taught)
    assert torch.equal(five[2], two[1])
    assert torch.equal(five[2], alone[0])
    assert torch.equal(five[4], two[0])
    assert not torch.equal(five[0], five[2])


def test_a_stack_is_a_plain_loop_over_pytorchs_own_layers() -> None:
    taught = lesson((2, 3))
    taught = replace(taught, labelled=(torch.rand(200, 2) < 0.5).float())
    config = replace(BOTH, training=replace(TRAINING, optimizer="sgd", clip=0.5))
    learners = [Learner(config, seed, taught) for seed in (4, 8)]
    models = [Learner(config, seed, taught).model for seed in (4, 8)]
    together = Together(learners, taught)
    together.advance(12, nothing)  # two epochs of 6 steps
    for seed, model, learner in zip((4, 8), models, learners, strict=True):
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-2)
        shuffle = torch.Generator().manual_seed(seed)
        for rows in (r for _ in range(2) for r in torch.randperm(200, generator=shuffle).split(32)):
            if len(rows) < 32:
                continue
            logits, truth, seen = model(taught.inputs[rows]), taught.targets[rows], taught.labelled
            easy = torch.nn.functional.binary_cross_entropy_with_logits(
                logits[:, 0], truth[:, 0].float(), reduction="none"
            )
            hard = torch.nn.functional.cross_entropy(logits[:, 1:], truth[:, 1], reduction="none")
            total = (easy * seen[rows, 0] + hard * seen[rows, 1]).mean()
            optimizer.zero_grad()
            torch.autograd.backward(total)
            torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            optimizer.step()
        for ours, theirs in zip(learner.model.parameters(), model.parameters(), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


def test_what_is_not_stacked() -> None:
    taught = lesson()

    def sizes(**settings: object) -> list[int]:
        config = replace(BOTH, **settings)
        group = [Learner(config, seed, taught) for seed in (0, 1, 2)]
        return [len(company) for company in companies(group, taught)]

    assert sizes() == [3]
    assert sizes(model=MLPConfig(widths=(32, 16), normalisation="batch")) == [1, 1, 1]
    assert sizes(training=replace(TRAINING, batch=33)) == [1, 1, 1]


def test_a_stack_that_changes_bits_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    taught = lesson()
    group = [Learner(BOTH, seed, taught) for seed in (0, 1)]
    assert agree(group, taught)
    exact = Stack.backward

    def sloppy(self: Stack, total: Tensor) -> None:
        exact(self, total)
        if len(self.models) > 1:
            self.gradient[1, 7] *= 1 + 2**-22

    monkeypatch.setattr(Stack, "backward", sloppy)
    assert not agree(group, taught)
    assert [len(company) for company in companies(group, taught)] == [1, 1]


def test_comparing_leaves_the_networks_as_they_are() -> None:
    taught = lesson()
    group = [Learner(replace(BOTH, model=MLPConfig((16,), dropout=0.5)), s, taught) for s in (0, 1)]
    before = [one.state() for one in group]
    agree(group, taught)
    for old, one in zip(before, group, strict=True):
        new = one.state()
        assert all(torch.equal(old[name], new[name]) for name in ("dropout", "masks", "shuffle"))
        assert all(torch.equal(value, new["model"][name]) for name, value in old["model"].items())


def test_parameters_lie_in_the_buffer() -> None:
    taught = lesson()
    models = [Learner(BOTH, seed, taught).model for seed in (0, 1)]
    whole = [torch.cat([p.detach().flatten() for p in m.parameters()]) for m in models]
    stack = Stack(models, [torch.Generator(), torch.Generator()])
    for model, values in zip(models, whole, strict=True):
        assert stackable(model)
        assert torch.equal(torch.cat([p.flatten() for p in model.parameters()]), values)
    with torch.no_grad():
        stack.parameters.zero_()
    assert all((p == 0).all() for model in models for p in model.parameters())


def test_dropout_draws_from_each_networks_own_generator() -> None:
    taught = lesson()
    config = replace(BOTH, model=MLPConfig(widths=(64,), dropout=0.5, nonlinearity="linear"))
    learners = [Learner(config, seed, taught) for seed in (3, 4)]
    before = torch.get_rng_state()
    Together(learners, taught).advance(1, nothing)
    assert torch.equal(torch.get_rng_state(), before)
    own = [one.dropout.get_state() for one in learners]
    fresh = [Learner(config, seed, taught).dropout.get_state() for seed in (3, 4)]
    assert not torch.equal(own[0], fresh[0])
    assert not torch.equal(own[0], own[1])


def test_each_epoch_shows_every_stimulus_once() -> None:
    shown: list[int] = []
    taught = Lesson(torch.arange(12.0)[:, None], torch.zeros(12, 1, dtype=torch.int64), None, (2,))
    config = RunConfig("a", ("a",), MLPConfig((4,)), replace(TRAINING, batch=4))
    together = Together([Learner(config, 0, taught)], taught)
    network = together.stack._network

    class Spy(torch.nn.Module):
        def forward(self, x: Tensor, answers: Tensor) -> Tensor:
            shown.extend(x.flatten().int().tolist())
            return network(x, answers)

    together.stack._network = Spy()
    together.advance(6, nothing)
    assert sorted(shown[:12]) == sorted(shown[12:]) == list(range(12))
    assert shown[:12] != shown[12:]


@pytest.mark.parametrize(
    ("name", "kind", "options"),
    [
        ("sgd", torch.optim.SGD, {"momentum": 0, "weight_decay": 0.1}),
        ("momentum", torch.optim.SGD, {"momentum": 0.8, "weight_decay": 0.1}),
        ("adam", torch.optim.Adam, {"weight_decay": 0.1}),
        ("adamw", torch.optim.AdamW, {"weight_decay": 0.1}),
    ],
)
def test_optimizers(name: str, kind: type, options: dict[str, object]) -> None:
    config = TrainingConfig(optimizer=name, learning_rate=0.3, momentum=0.8, weight_decay=0.1)
    parameters = torch.nn.Parameter(torch.ones(3))
    optimizer = make_optimizer(parameters, config)
    assert type(optimizer) is kind
    group = optimizer.state_dict()["param_groups"][0]
    assert group["lr"] == 0.3
    assert {key: group[key] for key in options} == options


def test_learning_rate() -> None:
    constant = TrainingConfig(learning_rate=2.0, warmup=2, checkpoints=(10,))
    assert [learning_rate(constant, step) for step in range(4)] == [1.0, 2.0, 2.0, 2.0]
    cosine = replace(constant, schedule="cosine")
    assert learning_rate(cosine, 6) == pytest.approx(1.0)
    assert learning_rate(cosine, 9) < 0.1


def test_loss_is_summed_over_outputs_and_weighted() -> None:
    logits = torch.zeros(4, 5, requires_grad=True)  # two binary outputs and one of three classes
    targets = torch.tensor([[1, 0, 2]] * 4)
    assert loss(logits, targets, (2, 2, 3)).item() == pytest.approx(
        4 * (2 * np.log(2) + np.log(3)), rel=1e-6
    )
    weights = torch.tensor([[1.0, 0.0, 0.5]])
    (slope,) = torch.autograd.grad(loss(logits, targets, (2, 2, 3), weights), logits)
    torch.testing.assert_close(slope[0], torch.tensor([-0.5, 0.0, 1 / 6, 1 / 6, -1 / 3]))
    both = loss(logits[:, :2], targets[:, :2], (2, 2), weights[:, :2])
    torch.testing.assert_close(torch.autograd.grad(both, logits)[0][:, :2], slope[:, :2])


def test_balanced_accuracy() -> None:
    assert balanced_accuracy([1, 1, 1, -1], [1, 1, 1, 0]) == 1
    assert balanced_accuracy([1, 1, 1, 1], [1, 1, 1, 0]) == 0.5
    assert balanced_accuracy([np.nan, np.nan], [1, 0]) == 0.5
    three = [[3, 1, 0], [2, 1, 0], [0, 1, 0], [0, 1, 2], [0, 1, 0], [0, 1, 2]]
    assert balanced_accuracy(three, [0, 0, 0, 1, 1, 2]) == pytest.approx((2 / 3 + 1 / 2 + 1) / 3)
    with pytest.raises(ParameterError, match="constant over 3 stimuli"):
        balanced_accuracy([1, 1, 1], [1, 1, 1])


def test_processes_share_the_seeds_of_a_condition(tmp_path: Path) -> None:
    def groups(count: int, jobs: int, **settings: object) -> list[list[int]]:
        config = replace(BOTH, **settings)
        tasks = [Task(config, seed, tmp_path, tmp_path) for seed in range(count)]
        tasks += [Task(replace(config, name="b"), 0, tmp_path, tmp_path)]
        return in_groups(tasks, jobs)

    assert groups(5, 1) == [[0, 1, 2, 3, 4], [5]]
    assert groups(11, 1) == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9, 10], [11]]
    assert groups(5, 2) == [[0], [1, 2], [3, 4], [5]]
    assert groups(2, 1, model=CNNConfig()) == [[0], [1], [2]]
