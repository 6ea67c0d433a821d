"""Whether a feature can be read out of a representation by a linear map, on held-out stimuli."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import numpy as np

from reptools.errors import FeatureError, some, warn
from reptools.parameters import Range
from reptools.record import Context, Score
from reptools.registry import metric
from reptools.statistics.design import Feature
from reptools.statistics.folds import Folds, Rows, hash_rank

Values = np.ndarray[Any, Any]
Codes = np.ndarray[Any, np.dtype[np.intp]]
Scaling = Literal["zscore", "none"]

MAX_ITERATIONS = 2000  # scikit-learn's 100 is too few for permuted labels and unscaled units
NOTHING = float("nan")


@metric(
    kind="feature",
    cv=5,
    bounds=(float("-inf"), 1.0),
    invariances=("shift", "scale"),
    iterative=True,
    estimator="balanced accuracy of classes, R2 of amounts, pooled over folds",
)
def probe(
    x: Values,
    target: Sequence[Feature],
    /,
    *,
    context: Context,
    C: Annotated[float, Range(1e-12)] = 1.0,
    scaling: Scaling = "zscore",
) -> Score:
    """Held-out linear probe: how well a feature can be read out of a representation.

    Classes are read out by logistic regression with an L2 penalty (scikit-learn's float32 L-BFGS)
    and scored by balanced accuracy; amounts (kind continuous) by ridge regression and scored by
    R2. Predictions of all folds are pooled before they are scored.

    Parameters
    ----------
    x : DataArray, DataTree node, numpy or torch array
        Activations ([outer,] stimulus, unit); outer dimensions such as step or token are kept.
    target : Dataset, DataTree node, DataArray, mapping or array
        Features over ``stimulus``, lined up with ``x`` by label. One DataArray or array gives a
        result without the dimension ``feature``.
    C : float
        Inverse strength of the penalty for both kinds, as in scikit-learn: the ridge penalty is
        1 / C. The default 1.0 is scikit-learn's and is not tuned; compare probes at one C.
    scaling : {"zscore", "none"}
        What is done to units before the fit, with statistics of the fit rows only. "zscore"
        (default) lets the penalty weigh all units alike, so that a feature is not found harder to
        read out merely for being represented with little variance. "none" centres only.
    cv : int, "split", splitter or None
        Folds; 5 by default, with classes spread evenly over them where no groups or time order
        decide. "split" fits on the file's validation stimuli and tests on its test stimuli. None
        scores in sample, which says little.
    groups : str or array, optional
        Stimulus coordinate whose values must not be divided between folds.
    seed : int
        Enters the folds and the permuted target, together with the stimulus labels.
    prepare : str, optional
        "zscore", "unit_norm", "drop_top:K" or several, applied to all of ``x`` first.

    Returns
    -------
    DataArray
        Over ``feature`` and the outer dimensions of ``x``. Balanced accuracy is the mean over
        classes of the share of their test stimuli answered rightly; R2 is one minus residual over
        total sum of squares, the total about the mean of the fit rows, summed over components.
        Coordinates of the same shape:

        - ``chance``: 1 / number of classes; 0 for R2.
        - ``permuted``: the same probe where labels are permuted over all stimuli, folds stratified
          anew. One draw, not a null distribution; missing where a fold then lacks a class.
        - ``accuracy``: share of all test stimuli answered rightly; missing for amounts.
        - ``majority``: share of the most frequent class among test stimuli, which ``accuracy`` is
          to be held against; missing for amounts.

    Raises
    ------
    FeatureError
        No feature varies, one has a single class among the stimuli used, or a class is missing
        from the fit rows of a fold.
    ParameterError
        An option is not allowed, or the folds cannot be made.
    StimulusError
        ``x`` and a target were not shown the same stimuli, or only one of them has labels.

    Notes
    -----
    Rows are sorted by stimulus label before fitting, so the order of a file changes no prediction.
    A fit that does not converge is scored all the same and named in a warning.

    References
    ----------
    Alain and Bengio (2016), Understanding intermediate layers using linear classifier probes,
    arXiv 1610.01644. Hewitt and Liang (2019), Designing and interpreting probes with control
    tasks, EMNLP, on why a null belongs beside a probe.

    Examples
    --------
    >>> import numpy as np
    >>> import reptools as rt
    >>> rng = np.random.default_rng(0)
    >>> bit = rng.integers(0, 2, 200)
    >>> x = rng.normal(size=(200, 10)) + 2 * bit[:, None]
    >>> result = rt.probe(x, bit)
    >>> result.item() > 0.95, float(result.chance), abs(float(result.permuted) - 0.5) < 0.15
    (True, 0.5, True)
    """
    solver = Solver(C, scaling)
    scored = [
        (_amounts if feature.kind == "continuous" else _classes)(x, feature, context, solver)
        for feature in target
    ]
    extras = {name: np.array([beside[name] for _, beside in scored]) for name in scored[0][1]}
    return Score(np.array([value for value, _ in scored]), extras)


@dataclass(frozen=True)
class Solver:
    """Fits on some rows and answers for others; both kinds share the penalty and the scaling."""

    C: float
    scaling: Scaling

    def amounts(self, x: Values, y: Values, fit: Rows, test: Rows) -> Values:
        """Ridge predictions for the test rows."""
        from sklearn.linear_model import Ridge

        x_fit, x_test = self._scaled(x, fit, test)
        predicted: Values = Ridge(alpha=1 / self.C).fit(x_fit, y[fit]).predict(x_test)
        return predicted

    def classes(self, x: Values, codes: Codes, fit: Rows, test: Rows) -> tuple[Codes, bool]:
        """Class numbers answered for the test rows, and whether the fit converged."""
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression
        from threadpoolctl import threadpool_limits

        x_fit, x_test = (part.astype(np.float32) for part in self._scaled(x, fit, test))
        model = LogisticRegression(C=self.C, max_iter=MAX_ITERATIONS)
        # one thread: its many small products gain nothing from more, and the numbers would depend
        # on how many there are
        with warnings.catch_warnings(record=True) as caught, threadpool_limits(1, "blas"):
            warnings.simplefilter("always", ConvergenceWarning)
            model.fit(x_fit, codes[fit])
        stuck = [w for w in caught if issubclass(w.category, ConvergenceWarning)]
        for other in (w for w in caught if w not in stuck):
            warnings.warn_explicit(other.message, other.category, other.filename, other.lineno)
        return model.predict(x_test), not stuck

    def _scaled(self, x: Values, fit: Rows, test: Rows) -> tuple[Values, Values]:
        """Fit and test rows in float64, centred (and scaled) by the fit rows alone."""
        x_fit, x_test = x[fit].astype(np.float64), x[test].astype(np.float64)
        mean = x_fit.mean(axis=0)
        constant = (x_fit == x_fit[:1]).all(axis=0)  # its sd may be rounding instead of 0
        x_fit -= mean
        x_test -= mean
        if self.scaling == "zscore":
            sd = np.where(constant, 1.0, np.sqrt((x_fit**2).mean(axis=0)))
            x_fit /= sd
            x_test /= sd
        return x_fit, x_test


def _permuted(feature: Feature, context: Context) -> Feature:
    """The feature with its values dealt anew over stimuli, from (seed, label) alone."""
    values = np.empty_like(feature.values)
    # rows come sorted by label; ~seed gives another order than the one that made the folds
    values[np.argsort(hash_rank(context.stimulus, ~context.seed))] = feature.values
    return replace(feature, values=values)


# --- amounts ------------------------------------------------------------------------------------


def _amounts(
    x: Values, feature: Feature, context: Context, solver: Solver
) -> tuple[float, dict[str, float]]:
    """R2 of an amount, and what stands beside it."""
    folds = context.folds()
    value = _r2(x, feature, folds, solver)
    permuted = _r2(x, _permuted(feature, context), folds, solver)
    nothing = {"accuracy": NOTHING, "majority": NOTHING}
    return value, {"chance": 0.0, "permuted": permuted, **nothing}


def _r2(x: Values, feature: Feature, folds: Folds, solver: Solver) -> float:
    """One minus residual over total sum of squares of the test rows of all folds."""
    y = feature.columns
    residual = total = 0.0
    for fit, test in folds:
        predicted = solver.amounts(x, y, fit, test).reshape(len(test), -1)
        residual += float(((y[test] - predicted) ** 2).sum())
        total += float(((y[test] - y[fit].mean(axis=0)) ** 2).sum())
    return 1 - residual / total if total > 0 else NOTHING


# --- classes ------------------------------------------------------------------------------------


def _classes(
    x: Values, feature: Feature, context: Context, solver: Solver
) -> tuple[float, dict[str, float]]:
    """Balanced accuracy of a class feature, and what stands beside it."""
    folds = context.folds(feature.strata)
    n_classes = _check_classes(feature, folds)
    confusion = _confusion(x, feature, folds, solver)
    tested = confusion.sum(axis=1)
    return _balanced(confusion), {
        "chance": 1 / n_classes,
        "permuted": _null(x, _permuted(feature, context), context, solver),
        "accuracy": float(np.trace(confusion) / tested.sum()),
        "majority": float(tested.max() / tested.sum()),
    }


def _null(x: Values, permuted: Feature, context: Context, solver: Solver) -> float:
    """Balanced accuracy for permuted labels; missing where a fold happens to lack a class."""
    folds = context.folds(permuted.strata)
    if any(missing.size for missing in _missing_classes(permuted, folds)):
        return NOTHING
    return _balanced(_confusion(x, permuted, folds, solver, "permuted "))


def _balanced(confusion: Codes) -> float:
    """Mean over the tested classes of the share answered rightly."""
    tested = confusion.sum(axis=1)
    return float((np.diag(confusion)[tested > 0] / tested[tested > 0]).mean())


def _confusion(x: Values, feature: Feature, folds: Folds, solver: Solver, which: str = "") -> Codes:
    """Counts (true class, answered class) over the test rows of all folds."""
    codes = feature.codes
    confusion = np.zeros((codes.max() + 1, codes.max() + 1), dtype=np.intp)
    stuck = []
    for number, (fit, test) in enumerate(folds):
        answered, converged = solver.classes(x, codes, fit, test)
        np.add.at(confusion, (codes[test], answered), 1)
        stuck += [] if converged else [number]
    if stuck:
        warn(
            f"probe: {which}feature {feature.name!r} did not converge in {MAX_ITERATIONS} "
            f"iterations in {len(stuck)} of {len(folds)} folds; scaling='zscore' or a smaller C "
            "makes it easier"
        )
    return confusion


def _check_classes(feature: Feature, folds: Folds) -> int:
    """Number of classes in use, all of which the fit rows of every fold must hold."""
    names = np.unique(feature.values)
    for number, missing in enumerate(_missing_classes(feature, folds)):
        if missing.size:
            raise FeatureError(
                f"feature {feature.name!r}: the fit rows of fold {number} ({folds.description}) "
                f"lack the classes {some(names[missing].tolist())}. Use fewer folds, groups that "
                "mix classes, or drop these stimuli."
            )
    used = _used(feature, folds)
    if used.size < 2:
        raise FeatureError(
            f"feature {feature.name!r} has the single class {names[used].tolist()[0]!r} among the "
            f"stimuli of the folds ({folds.description}). Use stimuli with two classes or more."
        )
    return used.size


def _missing_classes(feature: Feature, folds: Folds) -> list[Codes]:
    """For each fold, the classes that occur among the stimuli in use but not in its fit rows."""
    used = _used(feature, folds)
    return [np.setdiff1d(used, feature.codes[fit]) for fit, _ in folds]


def _used(feature: Feature, folds: Folds) -> Codes:
    """Classes that occur among the fit and test rows of any fold."""
    return np.unique(feature.codes[np.concatenate([rows for pair in folds for rows in pair])])
