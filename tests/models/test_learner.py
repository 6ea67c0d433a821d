"""The generators of a learner: apart from each other, and the same after a restore."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from models.architectures.mlp import MLPConfig
from models.learner import Learner, Lesson
from models.settings import RunConfig, TrainingConfig

CONFIG = RunConfig(
    "both", ("easy", "hard"), MLPConfig(widths=(4,)), TrainingConfig(batch=8, checkpoints=(0, 6))
)
LESSON = Lesson(torch.zeros(38, 6), torch.zeros(38, 2, dtype=torch.int64), None, (2, 2))
STREAMS = ("shuffle", "masks", "dropout")


def learner(seed: int = 0) -> Learner:
    return Learner(CONFIG, seed, LESSON)


def drawn(one: Learner, stream: str) -> list[float]:
    return torch.rand(5, generator=getattr(one, stream)).tolist()


@pytest.mark.parametrize("stream", STREAMS)
def test_a_seed_sets_every_stream(stream: str) -> None:
    assert drawn(learner(0), stream) == drawn(learner(0), stream)
    assert drawn(learner(0), stream) != drawn(learner(1), stream)


def test_streams_are_apart() -> None:
    # a mask that followed the order of stimuli would choose the same ones in every epoch
    one = learner()
    assert len({tuple(drawn(one, stream)) for stream in STREAMS}) == 3


@pytest.mark.parametrize("stream", STREAMS[1:])
def test_a_twin_draws_what_comes_next(stream: str) -> None:
    one = learner()
    first = drawn(one, stream)
    twin = one.twin(LESSON)
    following = drawn(one, stream)
    assert drawn(twin, stream) == following != first


@pytest.mark.parametrize(("step", "again"), [(3, True), (4, False), (5, True)])
def test_a_twin_takes_the_present_epochs_order_or_the_next(step: int, again: bool) -> None:
    one = learner()
    assert one.epoch == 4  # the rest of 38 stimuli makes no batch
    order = one.shuffled(38)
    one.step = step
    twin = one.twin(LESSON)
    wanted = order if again else one.shuffled(38)  # after its last step an order is used up
    assert torch.equal(twin.shuffled(38), wanted)


def test_a_network_is_over_once_its_last_checkpoint_was_looked_at() -> None:
    one = learner()
    one.step, one.looked = 6, 0
    assert not one.over
    one.looked = 6
    assert one.over
    unfinished = Learner(
        replace(CONFIG, training=replace(CONFIG.training, checkpoints=(0, 6, 9))), 0, LESSON
    )
    unfinished.step = unfinished.looked = 6
    assert not unfinished.over
