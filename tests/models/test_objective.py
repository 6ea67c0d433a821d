"""Loss and accuracy against what they say, number by number."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score

from models.objective import balanced_accuracy, loss, split_logits, widths
from reptools.errors import ParameterError

OUTPUTS = (2, 3, 4, 2)


def test_a_binary_output_has_one_logit_and_others_one_for_each_class() -> None:
    assert widths(OUTPUTS) == [1, 3, 4, 1]
    logits = torch.arange(2 * 9).view(2, 9)
    parts = split_logits(logits, OUTPUTS)
    assert [tuple(part.shape) for part in parts] == [(2,), (2, 3), (2, 4), (2,)]
    assert torch.equal(torch.cat([part.view(2, -1) for part in parts], dim=1), logits)


@pytest.mark.parametrize("outputs", [OUTPUTS, (2, 2)], ids=["mixed", "binary"])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_loss_is_the_sum_of_minus_log_probabilities(
    outputs: tuple[int, ...], weighted: bool
) -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(2, 5, sum(widths(outputs))))  # two networks, five stimuli
    targets = np.stack([rng.integers(k, size=(2, 5)) for k in outputs], axis=-1)
    weights = rng.random((2, 5, len(outputs))) if weighted else np.ones((2, 5, len(outputs)))
    wanted, start = 0.0, 0
    for i, (classes, width) in enumerate(zip(outputs, widths(outputs), strict=True)):
        part = logits[..., start : start + width]
        start += width
        if classes == 2:  # the logit is the log-odds of 1: that of 0 is 0
            part = np.concatenate([np.zeros_like(part), part], axis=-1)
        chances = np.exp(part) / np.exp(part).sum(axis=-1, keepdims=True)
        right = np.take_along_axis(chances, targets[..., i, None], axis=-1)[..., 0]
        wanted -= (weights[..., i] * np.log(right)).sum()
    found = loss(
        torch.tensor(logits),
        torch.tensor(targets),
        outputs,
        torch.tensor(weights) if weighted else None,
    )
    assert float(found) == pytest.approx(wanted)


@pytest.mark.parametrize("classes", [2, 4])
def test_accuracy_is_balanced(classes: int) -> None:
    rng = np.random.default_rng(1)
    truth = rng.choice(classes, size=200, p=np.arange(1, classes + 1) / sum(range(classes + 1)))
    logits = rng.normal(size=(200,) if classes == 2 else (200, classes))
    given = logits > 0 if classes == 2 else logits.argmax(axis=1)
    wanted = balanced_accuracy_score(truth, given.astype(int))
    assert balanced_accuracy(logits, truth) == pytest.approx(wanted)
    assert abs(wanted - (given == truth).mean()) > 1e-3  # the plain share is another one


def test_an_answer_of_exactly_0_is_class_0() -> None:
    assert balanced_accuracy([0.0, 0.0, 1.0], [0, 0, 1]) == 1
    assert balanced_accuracy([0.0, 1.0], [1, 0]) == 0


def test_a_constant_target_has_no_accuracy() -> None:
    with pytest.raises(ParameterError, match="target is constant over 3 stimuli"):
        balanced_accuracy([1.0, 2.0, 3.0], [1, 1, 1])
