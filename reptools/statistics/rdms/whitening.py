"""Distances made uncorrelated: distances that share a stimulus share its noise.

For independent noise of one size on every pattern, estimated squared distances covary as
V = (C C') * (C C') (elementwise; C the contrasts of all pairs): 4 on the diagonal, 1 between
pairs that share a stimulus, 0 elsewhere. The n(n-1)/2 square matrix V has three eigenspaces for
any n: a common value (eigenvalue 2n), effects of single stimuli (n) and the rest (2).
"""

from __future__ import annotations

from math import sqrt
from typing import Any

import numpy as np

from reptools.statistics.rdms.pairs import count_stimuli, row_sums, sums_of_two

Vector = np.ndarray[Any, Any]


def whitened(pairs: Vector) -> Vector:
    """V^(-1/2) times a condensed vector, from its row sums: V is never formed.

    References
    ----------
    Diedrichsen, Berlot, Mur, Schuett, Shahbazi & Kriegeskorte (2021), Comparing representational
    geometries using whitened unbiased-distance-matrix similarity, Neurons, Behavior, Data
    Analysis and Theory 5(3): the covariance V of distances at zero signal, for Sigma_K = I.

    Examples
    --------
    >>> import numpy as np
    >>> V = 4 * np.eye(6) + np.ones((6, 6)) - np.eye(6) - np.fliplr(np.eye(6))  # 4 stimuli
    >>> d = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 7.0])
    >>> bool(np.isclose(whitened(d) @ whitened(d), d @ np.linalg.solve(V, d)))
    True
    """
    n = count_stimuli(pairs.size)
    mean = pairs.mean()
    # n = 3 has no pairs beyond the effects of single stimuli
    effects = row_sums(pairs - mean) / (n - 2)
    common, single, rest = 1 / sqrt(2 * n), 1 / sqrt(n), 1 / sqrt(2)
    # each eigenspace in its own scale, written as changes to the whole vector
    white = sums_of_two((single - rest) * effects + (common - rest) * mean / 2)
    white += rest * pairs
    return white
