"""What all interventions share: inputs through the doors of the metrics, results as Datasets."""

from __future__ import annotations

import json
import math
import numbers
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import xarray as xr

from reptools.engine.calling import make_context
from reptools.engine.operation import NO_FOLDS, Context, Metric, parameters_of
from reptools.engine.options import bind
from reptools.engine.reading import Slabs, placing
from reptools.engine.results import joined, outer_coords, source_of
from reptools.entering import labels
from reptools.entering.features import as_features, named, several
from reptools.entering.labels import Index, Side
from reptools.errors import FeatureError, ParameterError, some
from reptools.provenance import to_json, versions
from reptools.statistics.features.design import Feature

Values = np.ndarray[Any, Any]
Parts = Mapping[str, Any]


def declared(
    options: Callable[..., Any], *, estimator: str, cv: Any = NO_FOLDS, iterative: bool = False
) -> Metric:
    """Options of an intervention as a record, which the doors of the metrics read.

    It is not registered: an intervention returns several quantities, a metric one score.
    ``prepare`` is no option, since a head reads the units as they are.
    """
    parameters = parameters_of("feature", options, None, cv)
    del parameters["prepare"]
    return Metric(
        name=options.__name__.strip("_"),
        summary="",
        kind="feature",
        kernel=options,
        each=None,
        many=None,
        better="neither",
        bounds=(-math.inf, math.inf),
        symmetric=False,
        invariances=(),
        proper=False,
        backends=("numpy",),
        dims=(),
        jointly=False,
        repeats=False,
        iterative=iterative,
        cv=cv,
        estimator=estimator,
        finish=None,
        parameters=parameters,
    )


@dataclass(frozen=True)
class Call:
    """One call: activations read, options checked, halves fixed before anything is computed."""

    record: Metric
    bound: dict[str, Any]
    side: Side
    context: Context
    slabs: Slabs

    @classmethod
    def of(cls, record: Metric, x: Any, options: Mapping[str, Any], name: str = "x") -> Call:
        """Read ``x`` and check the options."""
        bound = bind(record.parameters, options)
        side = labels.as_side(x, name)
        if record.iterative:
            side = labels.sort_by_label(side)
        context = make_context(record, side, bound)
        return cls(record, bound, side, context, Slabs(record, bound, [side]))

    def over(self, kernel: Callable[[Index, Values], Parts]) -> dict[Index, Parts]:
        """Results of a kernel at every outer position where any unit varies."""
        found = {}
        for index in self.side.indices():
            x = self.slabs.take(self.side, index)
            if x is not None:
                with placing(self.side, index):
                    found[index] = kernel(index, np.asarray(x, dtype=np.float64))
        self.slabs.warn()
        return found

    def dataset(
        self,
        found: Mapping[Index, Parts],
        dims: Mapping[str, tuple[str, ...]],
        coords: Mapping[str, Any],
        params: Mapping[str, Any],
    ) -> xr.Dataset:
        """Results of all outer positions side by side; missing (NaN) where there is none."""
        outer = self.side.outer
        own = {dim: len(values) for dim, values in coords.items()}
        joined(outer, own)
        variables = {}
        for name, along in dims.items():
            shape = (*outer.values(), *(own[dim] for dim in along))
            values = np.full(shape, np.nan)
            for index, parts in found.items():
                values[tuple(i for _, i in index)] = parts[name]
            variables[name] = ((*outer, *along), values)
        attrs = self.attrs(params)
        return xr.Dataset(variables, {**outer_coords([self.side]), **coords}, attrs)

    def attrs(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Everything that is needed to compute a result again."""
        kept = {key: _plain(value) for key, value in {**self.bound, **params}.items()}
        attrs: dict[str, Any] = {
            "method": self.record.name,
            "estimator": self.record.estimator,
            "params": to_json(kept),
            **source_of(self.side),
            "n_stimuli": self.side.n_stimuli,
            "n_units": self.side.n_units,
            "n_dead_units": self.slabs.most_dead(self.side.name),
            "versions": json.dumps(versions()),
        }
        if self.record.resamples:
            attrs |= {"cv": self.context.sampling.description, "seed": self.context.seed}
        return attrs


def _plain(value: Any) -> Any:
    """Splitters by what they are; arrays of groups by their size."""
    if isinstance(value, np.ndarray) or hasattr(value, "dims"):
        return f"array of {len(value)}"
    return repr(value) if hasattr(value, "split") and not isinstance(value, str) else value


# --- arguments that are no option of a metric ---------------------------------------------------


def numbers_of(
    name: str, given: Any, *, whole: bool = False, low: float = 0.0, above: bool = False
) -> list[Any]:
    """One number or several different ones, in ascending order.

    Raises
    ------
    ParameterError
        There is none, one is no number (no whole one), too low, or given twice.
    """
    single = isinstance(given, numbers.Real) and not isinstance(given, bool)
    values: list[Any] = [given] if single else list(given) if np.iterable(given) else []
    kind = numbers.Integral if whole else numbers.Real
    limit = f"{'above' if above else 'at least'} {low:g}"
    wanted = f"{'whole ' if whole else ''}numbers of {limit}"
    if not values or isinstance(given, str):
        raise ParameterError(f"{name} is {given!r} and must be {wanted}. Pass one or several.")
    for value in values:
        right = isinstance(value, kind) and not isinstance(value, (bool, np.bool_))
        if not right or not math.isfinite(value) or value < low or (above and value == low):
            raise ParameterError(f"{name} holds {value!r} and must hold {wanted}. Change it.")
    plain = sorted(int(value) if whole else float(value) for value in values)
    repeated = [a for a, b in pairwise(plain) if a == b]
    if repeated:
        raise ParameterError(f"{name} holds {repeated[0]!r} twice. Name each number once.")
    return plain


def chosen(
    features: Any, side: Side, feature: str | Sequence[str] | None, argument: str = "feature"
) -> list[Feature]:
    """Features by name, lined up with ``side``; all of them where none is named.

    Raises
    ------
    FeatureError
        A name is not among them.
    """
    found = named(features if several(features) else {_name_of(features): features})
    if feature is not None:
        names = [feature] if isinstance(feature, str) else list(feature)
        unknown = [name for name in names if name not in found]
        if unknown or not names:
            raise FeatureError(
                f"{argument} is {feature!r}, and features holds {some(found)}. Name one of these."
            )
        found = {name: found[name] for name in names}
    return as_features(found, side)


def _name_of(feature: Any) -> str:
    return getattr(feature, "name", None) or "feature"


def unit_norm(vector: Values) -> tuple[Values, float]:
    """A direction and its length, at any scale."""
    largest = float(np.abs(vector).max())
    if largest == 0.0:
        return vector, 0.0
    inside = vector / largest
    length = float(np.sqrt((inside**2).sum()))
    return inside / length, length * largest
