"""What several features explain of a representation together: unique and shared parts."""

from __future__ import annotations

from collections.abc import Sequence

from reptools.arrays import array_namespace, to_host
from reptools.engine.operation import Context, Score
from reptools.engine.registry import metric
from reptools.errors import DataError, FeatureError, some
from reptools.metrics.variance import INFINITY, folds_for
from reptools.statistics.blocks import Rows
from reptools.statistics.features.commonality import Subset, explained_together, parts_of, subsets
from reptools.statistics.features.design import Feature
from reptools.statistics.features.projection import Matrix, project

MOST_FEATURES = 8  # 255 parts, more than anyone reads


@metric(
    kind="feature",
    cv="split",
    # held out, the others alone may predict worse than the mean, without bound: R2(all) - R2(all
    # but f) is then above R2(all), and above 1
    bounds=(-INFINITY, INFINITY),
    invariances=("shift", "scale", "rotation"),
    backends=("numpy", "torch", "dask"),
    estimator="pooled, joint less joint without the feature",
)
def unique_variance(x: Rows, features: Sequence[Feature], /, *, context: Context) -> Score:
    """Share of variance that only this feature explains: all together less all others together.

    ``variance_explained`` scores each feature on its own, so correlated features share what they
    explain. Here all are fitted together, then all but one, on the same folds.

    Parameters
    ----------
    x : DataArray, DataTree node, numpy or torch array
        Activations ([outer,] stimulus, unit); outer dimensions such as step or token are kept.
    features : Dataset, DataTree node, mapping or table
        Two features or more over ``stimulus``, lined up with ``x`` by label. A class feature
        enters one-hot with one level dropped, a continuous one as its components; products of
        features come from :func:`reptools.interactions`.
    cv : int, "split", splitter or None
        What is fitted and what is tested, as in ``variance_explained``; "split" by default. None
        is the classical analysis in sample, which is optimistic.
    groups : str or array, optional
        Stimulus coordinate whose values must not be divided between folds.
    seed : int
        Enters the assignment of stimuli to folds, together with their labels.
    prepare : str, optional
        "zscore", "unit_norm", "drop_top:K" or several, applied to ``x`` first.

    Returns
    -------
    DataArray
        Unique part over ``feature`` and the outer dimensions of ``x``. Coordinates: ``alone``,
        what the feature explains by itself (``variance_explained``); ``shared``, alone less
        unique, which is negative where the feature helps the others (suppression); ``joint``,
        what all features explain together. Held-out parts are differences of unbiased estimates:
        they may be negative, and above 1 where the others alone mislead; none is clipped.

    Raises
    ------
    FeatureError
        There are fewer than two features that vary, or the fit rows of a fold do not vary along
        all directions of the features together.
    ParameterError
        An option is not allowed, or the folds cannot be made.
    StimulusError
        ``x`` and a feature were not shown the same stimuli, or only one of them has labels.

    References
    ----------
    Newton and Spurrell (1967), A development of multiple regression for the analysis of routine
    data, Applied Statistics 16: U_f = R2(all) - R2(all but f).

    Examples
    --------
    >>> import numpy as np
    >>> import reptools as rt
    >>> rng = np.random.default_rng(0)
    >>> bit = rng.integers(0, 2, 400)
    >>> copy = np.where(rng.random(400) < 0.8, bit, 1 - bit)  # follows the bit 80 % of the time
    >>> x = np.outer(bit, np.ones(4)) + 0.1 * rng.normal(size=(400, 4))
    >>> unique = rt.unique_variance(x, {"bit": bit, "copy": copy}, cv=5)
    >>> unique.round(1).values, unique.alone.round(1).values
    (array([0.6, 0. ]), array([1. , 0.3]))
    """
    _refuse_too_few(features)
    n = len(features)
    everything = tuple(range(n))
    others = [tuple(j for j in everything if j != i) for i in everything]
    shares = _shares(x, features, context, [everything, *others, *((i,) for i in everything)])
    joint, without, alone = shares[0], shares[1 : n + 1], shares[n + 1 :]
    unique = joint - without
    return Score(unique, {"alone": alone, "shared": alone - unique, "joint": joint})


@metric(
    kind="feature",
    cv="split",
    better="neither",
    bounds=(-INFINITY, INFINITY),
    invariances=("shift", "scale", "rotation"),
    backends=("numpy", "torch", "dask"),
    dims=("part",),
    jointly=True,
    estimator="pooled, commonality parts",
)
def variance_partition(x: Rows, features: Sequence[Feature], /, *, context: Context) -> Score:
    """Parts of the jointly explained variance: unique to one feature, or common to several.

    All 2^k - 1 subsets of k features are fitted on the same folds. The part ``a+b`` is what a and
    b both explain and no other feature does; ``a`` is what a alone adds to all others
    (``unique_variance``). The parts sum to what all features explain together.

    Parameters
    ----------
    x : DataArray, DataTree node, numpy or torch array
        Activations ([outer,] stimulus, unit); outer dimensions such as step or token are kept.
    features : Dataset, DataTree node, mapping or table
        Two features or more over ``stimulus``, lined up with ``x`` by label. A class feature
        enters one-hot with one level dropped, a continuous one as its components; products of
        features come from :func:`reptools.interactions`.
    cv : int, "split", splitter or None
        What is fitted and what is tested, as in ``variance_explained``; "split" by default. None
        is the classical analysis in sample, which is optimistic.
    groups : str or array, optional
        Stimulus coordinate whose values must not be divided between folds.
    seed : int
        Enters the assignment of stimuli to folds, together with their labels.
    prepare : str, optional
        "zscore", "unit_norm", "drop_top:K" or several, applied to ``x`` first.

    Returns
    -------
    DataArray
        Share of variance over ``part`` and the outer dimensions of ``x``; parts are named by
        their features, joined by "+". The coordinate ``joint`` is their sum. A common part is
        negative where features suppress each other, such as two amounts of which only the
        difference is represented; any part may be slightly negative held out. None is clipped.

    Raises
    ------
    FeatureError
        There are fewer than two features that vary or more than 8, or the fit rows of a fold do
        not vary along all directions of the features together.
    ParameterError
        An option is not allowed, or the folds cannot be made.
    StimulusError
        ``x`` and a feature were not shown the same stimuli, or only one of them has labels.

    References
    ----------
    Nimon, Lewis, Kane and Haynes (2008), An R package to compute commonality coefficients in the
    multiple regression case, Behavior Research Methods 40. With g(S) = R2(all) - R2(all but S),
    the part of S is the sum over T in S of (-1)^(|S| - |T|) g(T).

    Examples
    --------
    >>> import numpy as np
    >>> import reptools as rt
    >>> rng = np.random.default_rng(0)
    >>> bit = rng.integers(0, 2, 400)
    >>> copy = np.where(rng.random(400) < 0.8, bit, 1 - bit)  # follows the bit 80 % of the time
    >>> x = np.outer(bit, np.ones(4)) + 0.1 * rng.normal(size=(400, 4))
    >>> parts = rt.variance_partition(x, {"bit": bit, "copy": copy}, cv=5)
    >>> dict(zip(parts.part.values.tolist(), parts.values.round(1).tolist()))
    {'bit': 0.6, 'copy': 0.0, 'bit+copy': 0.3}
    """
    _refuse_too_few(features)
    n = len(features)
    if n > MOST_FEATURES:
        raise FeatureError(
            f"{n} features have {2**n - 1} parts; at most {MOST_FEATURES} features are taken. "
            "Pass fewer, or use unique_variance."
        )
    chosen = subsets(n)
    shares = _shares(x, features, context, chosen)
    names = ["+".join(features[i].name for i in subset) for subset in chosen]
    return Score(parts_of(shares, n), {"joint": shares[-1]}, {"part": names})


def _shares(
    x: Rows, features: Sequence[Feature], context: Context, chosen: Sequence[Subset]
) -> Matrix:
    """Held-out share of variance that each subset of features explains, pooled."""
    projected = project(x, features, folds_for(context, features))
    total = float(to_host(array_namespace(projected.total).sum(projected.total)))
    if total <= 0:
        raise DataError("no unit varies over the test stimuli. Pass other stimuli, or cv=5.")
    return explained_together(projected, features, chosen) / total


def _refuse_too_few(features: Sequence[Feature]) -> None:
    if len(features) < 2:
        raise FeatureError(
            f"parts need two features or more that vary, got {some(f.name for f in features)}. "
            "Pass several, or use variance_explained."
        )
