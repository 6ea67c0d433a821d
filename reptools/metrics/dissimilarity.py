"""Dissimilarity matrices of the patterns of all pairs of stimuli."""

from __future__ import annotations

from reptools.arrays import Array, to_host
from reptools.record import Context, Score
from reptools.registry import metric
from reptools.statistics.distances import Distance, condensed


@metric(
    kind="single",
    better="neither",
    bounds=(0.0, float("inf")),
    backends=("numpy", "torch"),
    dims=("stimulus", "stimulus_"),
)
def rdm(x: Array, /, *, method: Distance = "correlation", context: Context) -> Score:
    """Dissimilarity of the patterns of all pairs of stimuli (an RDM).

    Parameters
    ----------
    x : DataArray (..., stimulus, unit), DataTree node or array (stimulus, unit)
        Activations.
    method : {"correlation", "euclidean", "sqeuclidean", "cosine"}, default "correlation"
        1 less the Pearson correlation over units, which ignores the mean and the scale of each
        pattern; the Euclidean distance or its square, in the units of ``x`` (or their square);
        1 less the cosine. None is divided by the number of units.
    prepare : str, sequence of str or None, default None
        Done to ``x`` first: "zscore", "unit_norm", "drop_top:K", or several.

    Returns
    -------
    DataArray (..., stimulus, stimulus_)
        Symmetric, zero on the diagonal, float64. Its attributes say which ``distance`` it is,
        and with 0 or 1 whether it is ``squared`` and ``divided_by_p``.

    Raises
    ------
    StimulusError
        A stimulus label is repeated, or there are fewer than 2 stimuli.
    DataError
        A value is not finite; a pattern has no variance over units (correlation) or is zero
        (cosine): the stimuli are counted and named.
    ParameterError
        An option is unknown or has a value that is not listed above.

    References
    ----------
    Kriegeskorte, Mur & Bandettini (2008), Representational similarity analysis - connecting
    the branches of systems neuroscience, Frontiers in Systems Neuroscience 2.

    Examples
    --------
    >>> import numpy as np
    >>> import reptools as rt
    >>> x = np.array([[0.0, 0.0], [3.0, 4.0], [0.0, 4.0]])
    >>> rt.rdm(x, method="euclidean").values
    array([[0., 5., 4.],
           [5., 0., 3.],
           [4., 3., 0.]])
    """
    from scipy.spatial.distance import squareform  # slow to import

    square = squareform(to_host(condensed(x, method, context.stimulus)), checks=False)
    squared = int(method == "sqeuclidean")
    return Score(square, attrs={"distance": method, "squared": squared, "divided_by_p": 0})
