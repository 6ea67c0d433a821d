"""Options that several operations share: annotated, checked and documented once.

An operation has one of them exactly if its signature writes it. The engine uses them; no kernel
is given them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal, Protocol, TypeAlias

import numpy as np

from reptools.engine.inputs.base import HasArray
from reptools.engine.options import Option, derive
from reptools.errors import ParameterError
from reptools.statistics import prepare


class Splitter(Protocol):
    """scikit-learn's way of making folds."""

    def split(self, X: Any, y: Any = None, groups: Any = None) -> Iterator[Any]:
        """Pairs of row numbers, fit and test."""
        ...


def _check_cv(name: str, value: Any) -> Any:
    text = isinstance(value, str)
    if value is None or (text and value == "split") or (not text and hasattr(value, "split")):
        return value
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool) and value >= 2:
        return int(value)
    raise ParameterError(
        f"{name} must be a number of folds from 2, 'split', a splitter or None, got {value!r}. "
        "Pass cv=5."
    )


def _parse_cv(text: str) -> Any:
    if text == "none":
        return None
    return int(text) if text.isdecimal() else text


def _check_groups(name: str, value: Any) -> Any:
    if value is None or isinstance(value, str) or hasattr(value, "__len__"):
        return value
    raise ParameterError(
        f"{name} must name a stimulus coordinate or be an array over stimuli, got {value!r}. "
        "Pass groups='run'."
    )


def _check_prepare(name: str, value: Any) -> prepare.Steps:
    return prepare.check(value)


def _check_seed(name: str, value: Any) -> Any:
    return derive(name, int, 0).check(value)


CV: TypeAlias = Annotated[
    int | Literal["split"] | Splitter | None,
    Option(
        "number of folds|split|none",
        _check_cv,
        _parse_cv,
        'int, "split", splitter or None',
        '"split" fits on the validation stimuli of the file and tests on its test stimuli; where '
        "there is no split coordinate, two halves by label, fitted both ways and pooled. An int is "
        "a number of folds; any splitter of scikit-learn makes its own. None scores in sample, "
        "which is optimistic.",
    ),
]
Groups: TypeAlias = Annotated[
    str | HasArray | Sequence[Any] | None,
    Option(
        "name of a stimulus coordinate",
        _check_groups,
        str,
        "str, array or None",
        "Stimulus coordinate whose values must not be divided between folds, or its values. "
        "Without it the coordinate ``groups``, else ``run``, where there is one.",
    ),
]
Seed: TypeAlias = Annotated[
    int,
    Option(
        "int",
        _check_seed,
        int,
        "int",
        "Enters the assignment of stimuli to folds, together with their labels.",
    ),
]
Prepare: TypeAlias = Annotated[
    str | Sequence[str] | None,
    Option(
        "zscore, unit_norm, drop_top:K, or several",
        _check_prepare,
        str,
        "str, sequence of str or None",
        'Done to each side first: "zscore", "unit_norm", "drop_top:K", or several; statistics are '
        "taken over all stimuli.",
    ),
]
