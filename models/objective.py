"""What a network is to answer: the loss that it is trained by and the accuracy it is judged by."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from reptools.errors import ParameterError


def widths(outputs: Sequence[int]) -> list[int]:
    """Logits of each output: one for two classes, else one for each class.

    Parameters
    ----------
    outputs
        Number of classes of each output.

    Examples
    --------
    >>> widths((2, 4))
    [1, 4]
    """
    return [1 if classes == 2 else classes for classes in outputs]


def split_logits(logits: Tensor, outputs: Sequence[int]) -> list[Tensor]:
    """Take the logits apart: (..., stimulus) of a binary output, (..., stimulus, class) else."""
    parts = torch.split(logits, widths(outputs), dim=-1)
    return [part[..., 0] if part.shape[-1] == 1 else part for part in parts]


def loss(
    logits: Tensor, targets: Tensor, outputs: Sequence[int], weights: Tensor | None = None
) -> Tensor:
    """Cross-entropy, summed over outputs and stimuli.

    Parameters
    ----------
    logits
        Concatenated over the outputs (..., stimulus, logit).
    targets
        The true values (..., stimulus, output), int64.
    outputs
        Number of classes of each output. Two: one logit, the log-odds of the value 1.
    weights
        Factors of each term, broadcast to (..., stimulus, output); None: 1.

    Returns
    -------
    Tensor
        A scalar. Networks along an outer axis do not share parameters, so the gradient of the
        sum is each one's own.
    """
    if set(outputs) == {2}:
        return nn.functional.binary_cross_entropy_with_logits(
            logits, targets.to(logits.dtype), weight=weights, reduction="sum"
        )
    terms = []  # one for each output: (..., stimulus)
    for i, part in enumerate(split_logits(logits, outputs)):
        truth = targets[..., i]
        if outputs[i] == 2:
            terms.append(
                nn.functional.binary_cross_entropy_with_logits(
                    part, truth.to(part.dtype), reduction="none"
                )
            )
            continue
        flat = nn.functional.cross_entropy(part.flatten(0, -2), truth.flatten(), reduction="none")
        terms.append(flat.view(truth.shape))
    each = torch.stack(terms, dim=-1)  # (..., stimulus, output)
    return (each if weights is None else each * weights).sum()


def balanced_accuracy(logits: ArrayLike, target: ArrayLike) -> float:
    """Mean over the classes of the share of their stimuli that is answered correctly.

    Parameters
    ----------
    logits
        Answers (stimulus,), above 0 meaning class 1; or (stimulus, class), the largest winning.
    target
        Truth (stimulus,): 0, 1, ...

    Raises
    ------
    ParameterError
        The target has one value only.

    Examples
    --------
    >>> balanced_accuracy([-1.0, -2.0, -3.0, 4.0, -5.0], [0, 0, 0, 1, 1])
    0.75
    """
    answers, truth = np.asarray(logits), np.asarray(target)
    classes = np.unique(truth)
    if len(classes) < 2:
        raise ParameterError(
            f"balanced_accuracy: the target is constant over {truth.size} stimuli. "
            "Give it stimuli of several values."
        )
    given = answers > 0 if answers.ndim == 1 else answers.argmax(axis=1)
    correct = given == truth
    return float(np.mean([correct[truth == value].mean() for value in classes]))
