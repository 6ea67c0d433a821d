"""What is fixed before any side is prepared: stimuli, folds and seed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from reptools.entering import labels
from reptools.errors import ParameterError
from reptools.statistics.folds import Folds, Labels, Sampling


@dataclass(frozen=True)
class Context:
    """Stimuli, sampling and seed of one call, as a kernel may ask for them."""

    stimulus: Labels
    sampling: Sampling
    coordinates: Callable[[str], Labels | None] = lambda name: None

    @property
    def seed(self) -> int:
        """The user's seed."""
        return self.sampling.seed

    def folds(self, strata: Labels | None = None) -> Folds:
        """Fold pairs of row numbers; ``strata`` are spread evenly over numbered folds."""
        return self.sampling.folds(strata)

    def coordinate(self, name: str, argument: str = "") -> Labels:
        """Values of a coordinate over the stimuli, in their order.

        Parameters
        ----------
        name : str
            Of the coordinate.
        argument : str
            The option that named it, for the message.

        Raises
        ------
        ParameterError
            The activations have no such coordinate over stimuli.
        """
        values = self.coordinates(name)
        if values is None:
            said = f"{argument}={name!r}" if argument else repr(name)
            raise ParameterError(
                f"{said} is no coordinate over stimuli of x. Name one that is, or add it with "
                f"x.assign_coords({name}=('stimulus', values))."
            )
        return values


def context_of(side: Any, bound: Mapping[str, Any]) -> Context:
    """Stimulus labels, folds and seed of the first side of a call and its checked options."""
    stimulus = labels.ordered(side)
    if stimulus is None:
        stimulus = np.arange(side.n_stimuli)
    if "cv" not in bound:
        return Context(stimulus, Sampling(None, 0, stimulus), side.coordinate)
    groups, name = _groups(side, bound["groups"])
    split = side.coordinate("split") if bound["cv"] == "split" else None
    sampling = Sampling(
        bound["cv"],
        bound["seed"],
        stimulus,
        split=None if split is None else labels.no_gaps(split, "split"),
        groups=groups,
        time=labels.in_time(side),
        groups_name=name,
    )
    return Context(stimulus, sampling, side.coordinate)


def _groups(side: Any, groups: Any) -> tuple[np.ndarray[Any, Any] | None, str]:
    """``groups=`` as values over stimuli; by default the coordinate ``groups``, then ``run``."""
    if groups is None:
        for name in ("groups", "run"):
            values = side.coordinate(name)
            if values is not None:
                return labels.no_gaps(values, name), name
        return None, "groups"
    if isinstance(groups, str):
        values = side.coordinate(groups)
        if values is None:
            raise ParameterError(
                f"groups={groups!r} is no coordinate over stimuli of {side.name}. "
                "Name one that is, or pass the values."
            )
        return labels.no_gaps(values, groups), groups
    return labels.no_gaps(labels.match_values(side, groups, "groups"), "groups"), "groups"
