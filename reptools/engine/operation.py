"""What a metric is: one record that Python, command line, report and law tests all read."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal

import numpy as np
import xarray as xr

from reptools.arrays import Array
from reptools.engine.options import Parameter, Range, from_signature
from reptools.errors import ParameterError
from reptools.statistics import prepare
from reptools.statistics.folds import Folds, Labels, Sampling

Kind = Literal["pair", "feature", "single", "rdms", "models", "transfer"]
INPUTS: dict[Kind, tuple[str, ...]] = {
    "pair": ("x", "y"),
    "feature": ("x", "features"),
    "single": ("x",),
    "rdms": ("a", "b"),
    "models": ("rdm", "models"),
    "transfer": ("x", "y", "features"),
}
ON_RDMS = ("rdms", "models")  # kinds whose inputs are dissimilarity matrices
NO_FOLDS = "no folds"
STREAMS = "dask"  # the back end of a kernel that reads its sides in blocks


@dataclass(frozen=True)
class Score:
    """A kernel's answer, and what stands beside it in the result.

    Attributes
    ----------
    value : array ([feature,] *dims)
        With the record's own dimensions, in their order.
    extras : dict of str to array
        Become coordinates; over all dimensions of ``value``, or over its leading ones.
    coords : dict of str to array
        Labels along own dimensions; without them these are counted from 1.
    attrs : dict of str to str, number or bool
        Facts of the computation that the options do not show.
    """

    value: Any
    extras: Mapping[str, Any] = field(default_factory=dict)
    coords: Mapping[str, Any] = field(default_factory=dict)
    attrs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Context:
    """What is fixed before any side is prepared: stimuli, sampling and seed."""

    stimulus: Labels
    sampling: Sampling
    coordinates: Callable[[str], Labels | None] = lambda name: None
    models: tuple[str, ...] = ()  # names of the models, for the kind of that name

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


@dataclass(frozen=True)
class Metric:
    """One declaration of a metric.

    Attributes
    ----------
    name, summary : str
        Taken from the declared function.
    kind : "pair", "feature", "single", "rdms", "models" or "transfer"
        What it takes: (x, y), (x, features), (x), two dissimilarity matrices, one and several
        models of it, or two sides of the same units with features.
    kernel, each, many : callable
        Pure array functions. ``each`` (optional) prepares one side, once per side of a grid;
        ``many`` (optional) scores all pairs of prepared sides at once: (x, y) for lists of each.
    better : "higher", "lower" or "neither"
        Which direction means more alike, better explained or better read out.
    bounds : (float, float)
        Closed range of the score.
    symmetric : bool
        Whether swapping the sides changes nothing.
    invariances : tuple of str
        Names of transformations of x that change nothing: shift, scale, rotation,
        pattern_shift, pattern_scale.
    proper : bool
        Whether it is a metric in the mathematical sense: 0 between equals only, symmetric, and
        never longer than a detour.
    backends : tuple of str
        Array libraries the kernels run on; other input is moved to numpy first. With "dask" they
        take :class:`reptools.statistics.blocks.Blocks` as well, and never hold all stimuli.
    dims : tuple of str
        Own dimensions of the score, beside features and outer dimensions.
    jointly : bool
        A feature metric that scores all features together, without the dimension ``feature``.
    repeats : bool or "required"
        A dimension ``repetition`` goes to the kernel, as (repetition, stimulus, unit), instead of
        being looped over; and whether there must be one.
    iterative : bool
        Rows are sorted by label before fitting, so that an iterative solver repeats exactly.
    cv : int, "split", None or NO_FOLDS
        Default of ``cv=``; NO_FOLDS where nothing is held out.
    estimator : str
        Named in the result where there is no option ``estimator``.
    finish : callable, optional
        Last step on the labelled result, for options that look across outer dimensions.
    parameters : dict of str to Parameter
        All options in order: each's, kernel's, then the common ones.
    """

    name: str
    summary: str
    kind: Kind
    kernel: Callable[..., Any]
    each: Callable[..., Any] | None
    many: Callable[..., Any] | None
    better: Literal["higher", "lower", "neither"]
    bounds: tuple[float, float]
    symmetric: bool
    invariances: tuple[str, ...]
    proper: bool
    backends: tuple[str, ...]
    dims: tuple[str, ...]
    jointly: bool
    repeats: bool | Literal["required"]
    iterative: bool
    cv: Any
    estimator: str
    finish: Callable[..., xr.DataArray] | None
    parameters: Mapping[str, Parameter]

    @property
    def resamples(self) -> bool:
        """Whether the score is held out, so that cv=, groups= and seed= apply."""
        return bool(self.cv != NO_FOLDS)

    @property
    def takes_features(self) -> bool:
        """Whether features are among its inputs."""
        return "features" in INPUTS[self.kind]

    @property
    def streams(self) -> bool:
        """Whether the kernels read their sides in blocks, so that these need not fit in memory."""
        return STREAMS in self.backends

    def prepare_side(self, x: Array, bound: Mapping[str, Any], context: Context) -> Any:
        """``each`` on one bare array, or the array itself."""
        return x if self.each is None else self.each(x, **_chosen(self.each, bound, context))

    def scores(self, xs: Sequence[Any], ys: Sequence[Any], bound: Mapping[str, Any]) -> Any:
        """Scores (x, y) of all pairs of prepared sides, where the metric has ``many``."""
        assert self.many is not None
        return self.many(xs, ys, **_chosen(self.many, bound, None))

    def score(self, *summaries: Any, bound: Mapping[str, Any], context: Context) -> Score:
        """The kernel's score of prepared sides."""
        answer = self.kernel(*summaries, **_chosen(self.kernel, bound, context))
        return answer if isinstance(answer, Score) else Score(answer)


def _chosen(
    function: Callable[..., Any], bound: Mapping[str, Any], context: Context | None
) -> dict[str, Any]:
    """The bound options that ``function`` takes, and the context if it asks for it."""
    names = _argument_names(function)
    chosen = {name: value for name, value in bound.items() if name in names}
    return chosen | ({"context": context} if "context" in names else {})


@cache
def _argument_names(function: Callable[..., Any]) -> frozenset[str]:
    return frozenset(inspect.signature(function).parameters)


def parameters_of(
    kind: Kind, kernel: Callable[..., Any], each: Callable[..., Any] | None, cv: Any
) -> dict[str, Parameter]:
    """Options of both halves and the common ones; one name cannot mean two things."""
    halves = [from_signature(each) if each else {}, from_signature(kernel), _common(kind, cv)]
    merged: dict[str, Parameter] = {}
    for half in halves:
        for name, parameter in half.items():
            if name in merged:
                raise ParameterError(
                    f"option {name!r} of {kernel.__name__} stands in two places. Rename one."
                )
            merged[name] = parameter
    return merged


def _common(kind: Kind, cv: Any) -> dict[str, Parameter]:
    common = {}
    if cv != NO_FOLDS:
        common["cv"] = Parameter("cv", cv, "number of folds|split|none", _check_cv, _parse_cv)
        common["groups"] = Parameter(
            "groups", None, "name of a stimulus coordinate", _check_groups, str
        )
        common["seed"] = from_signature(_seed)["seed"]
    if kind not in ON_RDMS:
        common["prepare"] = Parameter(
            "prepare", None, "zscore, unit_norm, drop_top:K, or several", prepare.check, str
        )
    return common


def _seed(*, seed: int = 0) -> None:
    """Carries the annotation of the common option."""


def _check_cv(value: Any) -> Any:
    text = isinstance(value, str)
    if value is None or (text and value == "split") or (not text and hasattr(value, "split")):
        return value
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool) and value >= 2:
        return int(value)
    raise ParameterError(
        f"cv must be a number of folds from 2, 'split', a splitter or None, got {value!r}. "
        "Pass cv=5."
    )


def _parse_cv(text: str) -> Any:
    if text == "none":
        return None
    return int(text) if text.isdecimal() else text


def _check_groups(value: Any) -> Any:
    if value is None or isinstance(value, str) or hasattr(value, "__len__"):
        return value
    raise ParameterError(
        f"groups must name a stimulus coordinate or be an array over stimuli, got {value!r}. "
        "Pass groups='run'."
    )


__all__ = [
    "INPUTS",
    "NO_FOLDS",
    "ON_RDMS",
    "STREAMS",
    "Context",
    "Kind",
    "Metric",
    "Range",
    "Score",
    "parameters_of",
]
