"""Metrics as scorers, so that the searches of scikit-learn choose what a metric favours."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from reptools.engine.inputs import FEATURE, ActivationsInput, FeaturesInput
from reptools.engine.operation import Operation
from reptools.engine.registry import found_with_options
from reptools.errors import DataError, ParameterError, naming


def scorer(metric: str | Callable[..., Any], /, **options: Any) -> Scorer:
    """Scorer of scikit-learn that compares what an estimator makes of X with y.

    It is called with (estimator, X, y), as ``scoring=`` of ``GridSearchCV``, ``cross_val_score``
    and the like ask for, and takes the output of ``transform``, or of ``predict`` where there is
    no ``transform``. A metric of two representations compares this output with y, rows being
    stimuli; one of a representation and a feature scores how the output has the feature y.

    Parameters
    ----------
    metric : str, callable or functools.partial
        Name of a metric that gives one number for two sides, such as "rsa" or "cka", or for a
        side and a feature, such as "probe"; or the function itself.
    **options
        Of the metric.

    Returns
    -------
    Scorer
        Callable that gives a float, the higher the better: a score of which the lower is better,
        such as a distance, changes its sign. A score that is missing is NaN.

    Raises
    ------
    ParameterError
        The metric is unknown or no comparison with y, has several values or no better direction,
        or an option is not allowed.

    Notes
    -----
    Rows are matched by position, since X and y come to a scorer in one order. Metrics that hold
    out do so within the rows that they are given: within the test rows of a search.

    Examples
    --------
    >>> import numpy as np
    >>> import reptools as rt
    >>> from sklearn.decomposition import PCA
    >>> from sklearn.model_selection import GridSearchCV
    >>> rng = np.random.default_rng(0)
    >>> y = rng.normal(size=(120, 3))
    >>> x = np.hstack([3 * y, rng.normal(size=(120, 20))])  # the first axes are those of y
    >>> search = GridSearchCV(PCA(), {"n_components": [1, 3, 20]}, scoring=rt.scorer("cka"), cv=3)
    >>> search.fit(x, y).best_params_
    {'n_components': 3}
    """
    with naming("scorer"):
        operation, bound = found_with_options(metric)
        given = {**bound, **options}
        _refuse_unfit(operation, given)
        return Scorer(operation.public, -1 if operation.better == "lower" else 1, given)


@dataclass(frozen=True)
class Scorer:
    """A metric as a scorer; made by :func:`scorer`."""

    metric: Callable[..., Any]
    sign: int
    options: Mapping[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        said = [repr(self.metric.__name__), *(f"{k}={v!r}" for k, v in self.options.items())]
        return f"scorer({', '.join(said)})"

    def __call__(self, estimator: Any, X: Any, y: Any) -> float:
        """Score of a fitted estimator on rows X and their y."""
        with naming("scorer"):
            if y is None:
                raise ParameterError(
                    f"{self.metric.__name__} compares the output of {type(estimator).__name__} "
                    "with y, which is None. Pass y to the search, too."
                )
            output = _table(_output(estimator, X))
            operation, _ = found_with_options(self.metric)
            truth = _bare(y) if operation.beside else _table(y)
        return self.sign * float(self.metric(output, truth, **self.options))


def _refuse_unfit(operation: Operation, options: Mapping[str, Any]) -> None:
    """Refuse what gives no single number for the output of an estimator and y."""
    name = operation.name
    dims = operation.wire(operation.bind(options)).dims
    kinds = list(operation.inputs.values())
    sides = [isinstance(kind, ActivationsInput) and kind.repeats != "required" for kind in kinds]
    features = [isinstance(kind, FeaturesInput) for kind in kinds]
    pair, read_out = sides == [True, True], sides == [True, False] and features == [False, True]
    if operation.intervention or not (pair or read_out):
        raise ParameterError(
            f"{name!r} takes {', '.join(operation.inputs)}, and is no comparison of an estimator's "
            "output with y. Pass a metric of two sides, such as 'cka', or of a side and a feature, "
            "such as 'probe'."
        )
    several = [dim for dim in dims if dim != FEATURE]
    if several:
        raise ParameterError(
            f"{name!r} has one value for each {several[0]}, and a scorer gives one number. Pass "
            "another metric."
        )
    if operation.better == "neither":
        raise ParameterError(
            f"{name!r} says of no direction that it is better, so there is nothing to search for. "
            "Pass a metric that does; see list_metrics()."
        )


def _output(estimator: Any, X: Any) -> Any:
    """What an estimator makes of X."""
    for method in ("transform", "predict"):
        if hasattr(estimator, method):
            return getattr(estimator, method)(X)
    raise ParameterError(
        f"{type(estimator).__name__} has neither transform nor predict, so that there is nothing "
        "to compare with y. Pass another estimator."
    )


def _bare(values: Any) -> np.ndarray[Any, Any]:
    """Values without labels: a scorer is given rows in one order."""
    return np.asarray(values.toarray() if hasattr(values, "toarray") else values)


def _table(values: Any) -> np.ndarray[Any, Any]:
    """A representation (stimulus, unit); one number a stimulus is one unit."""
    bare = _bare(values)
    if bare.ndim not in (1, 2):
        raise DataError(
            f"the output or y has the shape {bare.shape} and must be (stimulus,) or "
            "(stimulus, unit). Reshape it."
        )
    return bare[:, None] if bare.ndim == 1 else bare
