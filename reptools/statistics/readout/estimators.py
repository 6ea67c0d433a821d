"""Read-outs by estimators of scikit-learn, and of whoever follows its rules.

An estimator is cloned for every fit and sees units scaled by the fit rows, as every other read-out
does; what it answers goes through its ``predict``.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np

from reptools.errors import ParameterError
from reptools.statistics.folds import Rows
from reptools.statistics.readout.standard import Own, Standard, Values

Codes = np.ndarray[Any, np.dtype[np.intp]]
Kind = Literal["classifier", "regressor"]
FAILURES = (ValueError, TypeError, ArithmeticError)  # what estimators raise about data
SHOWN = 80  # characters of an estimator in a message


class Estimator(Protocol):
    """A classifier or regressor by the rules of scikit-learn."""

    def fit(self, X: Any, y: Any, /) -> Any:
        """Fit to (stimulus, unit) and one value a stimulus."""

    def get_params(self, deep: bool = ...) -> Any:
        """Parameters by name."""


class Answering(Protocol):
    """What was fitted to some rows and answers for others, given in common coordinates."""

    @property
    def converged(self) -> bool:
        """Whether the fit came to an end."""
        ...

    def answers(self, z: Values, /) -> Codes:
        """The class number answered for each stimulus."""
        ...

    def amounts(self, z: Values, /) -> Values:
        """Amounts (stimulus, component)."""
        ...


def kind_of(value: Any) -> Kind | None:
    """Whether it is an instance of a classifier or of a regressor; None for all else."""
    if isinstance(value, (str, type)) or not all(
        hasattr(value, name) for name in ("fit", "get_params", "set_params")
    ):
        return None
    from sklearn.base import is_classifier, is_regressor

    if is_classifier(value):
        return "classifier"
    return "regressor" if is_regressor(value) else None


@dataclass(frozen=True)
class Foreign:
    """An estimator fitted to the rows of one fit.

    Attributes
    ----------
    model : estimator
        Fitted; or None, where the fit rows hold one class and nothing is to be told apart.
    own : Own
        How the rows of the fit were centred and scaled.
    unit : array (unit,) or float
        What the common coordinates are multiplied by, so that an estimator that is not to see
        z-scores sees the units as they were recorded.
    classes : int array (class,)
        Class numbers in the fit rows; empty for amounts.
    exponent : int
        Power of two that the amounts to answer were divided by.
    width : int
        Components of the amounts; 0 for classes.
    what : str
        The estimator and what it reads out, for messages.
    converged : bool
        Whether it gave no ConvergenceWarning.
    """

    model: Any
    own: Own
    unit: Any
    classes: Codes
    exponent: int
    width: int
    what: str
    converged: bool

    def answers(self, z: Values, /) -> Codes:
        """The class number answered for each stimulus."""
        ...
        if self.model is None:
            return np.full(len(z), self.classes[0])
        return np.asarray(self._predicted(z), dtype=np.intp).reshape(len(z))

    def amounts(self, z: Values, /) -> Values:
        """Amounts (stimulus, component)."""
        ...
        predicted = np.asarray(self._predicted(z), dtype=np.float64)
        return np.ldexp(predicted.reshape(len(z), self.width), -self.exponent)

    def _predicted(self, z: Values) -> Any:
        try:
            return self.model.predict(self.own.applied(z) * self.unit)
        except FAILURES as error:
            raise _refused(self.what, error) from error


def fit_estimator(
    z: Values,
    standard: Standard,
    target: Values,
    rows: Rows,
    estimator: Estimator,
    *,
    seed: int,
    what: str,
    exponent: int = 0,
    said: set[str] | None = None,
) -> Foreign:
    """Fit a clone of an estimator to some rows.

    Parameters
    ----------
    z : array (stimulus, unit)
        Activations in the common coordinates ``standard``.
    standard : Standard
        Those coordinates.
    target : int array (stimulus,) or float array (stimulus, component)
        Class numbers, or amounts divided by 2**exponent.
    rows : array of int
        Rows to learn from.
    estimator : estimator
        Cloned; where it draws and has no ``random_state`` of its own, it is given ``seed``.
    seed : int
        See ``estimator``.
    what : str
        The estimator and what it reads out, for messages.
    exponent : int
        See ``target``: an estimator sees the amounts as they were given, for its parameters may be
        in their units.
    said : set of str, optional
        Warnings that were given already; what many fits have to say is said once.

    Raises
    ------
    ParameterError
        The estimator cannot be fitted to these rows; its own message is quoted.
    """
    own = Own.of(z[rows], standard.scaling)
    unit = 1.0 if standard.scaling == "zscore" else np.ldexp(standard.spread, standard.exponents)
    y = target[rows]
    classes = np.unique(y) if y.ndim == 1 else np.arange(0)
    width = 0 if y.ndim == 1 else y.shape[1]
    if y.ndim == 2:
        y = np.ldexp(y, exponent)
        y = y[:, 0] if width == 1 else y
    if len(classes) == 1:
        return Foreign(None, own, unit, classes, exponent, width, what, True)
    model, converged = fitted(estimator, own.part * unit, y, seed=seed, what=what, said=said)
    return Foreign(model, own, unit, classes, exponent, width, what, converged)


def fitted(
    estimator: Estimator,
    part: Values,
    y: Values,
    *,
    seed: int,
    what: str,
    said: set[str] | None = None,
) -> tuple[Any, bool]:
    """A fitted clone, and whether it converged; its other warnings reach the user as they are.

    ``seed``, ``what`` and ``said`` are those of :func:`fit_estimator`.
    """
    from sklearn.exceptions import ConvergenceWarning

    model = _seeded(estimator, seed)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            model.fit(part, y)
        except FAILURES as error:
            raise _refused(what, error) from error
    stuck = [one for one in caught if issubclass(one.category, ConvergenceWarning)]
    said = set() if said is None else said
    for one in caught:
        if one not in stuck and str(one.message) not in said:
            said.add(str(one.message))
            warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)
    return model, not stuck


def _seeded(estimator: Estimator, seed: int) -> Any:
    """A clone that gives the same numbers at every call: what would draw anew has the seed."""
    from sklearn.base import clone

    model = clone(estimator)
    unset = [
        name
        for name, value in model.get_params(deep=True).items()
        if value is None and name.rpartition("__")[2] == "random_state"
    ]
    return model.set_params(**dict.fromkeys(unset, seed % 2**32))


def _refused(what: str, error: Exception) -> ParameterError:
    """Its own message on one line, without the pages that some add."""
    said = " ".join(str(error).split())
    said = said if len(said) <= 3 * SHOWN else f"{said[: 3 * SHOWN]} ..."
    return ParameterError(
        f"{what} failed: {said.rstrip('.')}. Change its parameters, or pass another."
    )


# --- in words -----------------------------------------------------------------------------------


def short(estimator: Any) -> str:
    """An estimator in a message: on one line, cut where it is long."""
    text = " ".join(repr(estimator).split())
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}...)"


def described(value: Any) -> str:
    """An estimator with all its parameters, the same in every run.

    Examples
    --------
    >>> from sklearn.linear_model import Ridge
    >>> from sklearn.pipeline import make_pipeline
    >>> described(make_pipeline(Ridge(alpha=2.0, solver="svd")))  # doctest: +ELLIPSIS
    "Pipeline(memory=None, steps=[('ridge', Ridge(alpha=2.0, ..., solver='svd', ...))], ...)"
    """
    if hasattr(value, "get_params") and not isinstance(value, type):
        parts = [f"{key}={described(one)}" for key, one in sorted(value.get_params(False).items())]
        return f"{_named(type(value))}({', '.join(parts)})"
    if value is None or isinstance(value, (bool, int, float, complex, str)):
        return repr(value)
    if isinstance(value, np.generic):
        return repr(value.item())
    if isinstance(value, np.ndarray):
        return f"array of {value.shape}"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key!r}: {described(one)}' for key, one in value.items())}}}"
    if isinstance(value, (list, tuple)):
        inside = ", ".join(described(one) for one in value)
        return f"[{inside}]" if isinstance(value, list) else f"({inside}{',' * (len(value) == 1)})"
    if hasattr(value, "__qualname__"):  # a class or a function
        return _named(value)
    # an address in memory is another one in every run
    text = " ".join(repr(value).split())
    return _named(type(value)) if " at 0x" in text or " object at " in text else text


def _named(kind: Any) -> str:
    """A class or function by name; scikit-learn's without their package."""
    root = str(kind.__module__ or "builtins").partition(".")[0]
    return kind.__qualname__ if root in ("sklearn", "builtins") else f"{root}.{kind.__qualname__}"
