"""Partial least squares from moments: every number of components at once.

A component is the direction of x whose scores covary most with y; x's part along it is then taken
away. Only X'Y has to be deflated, so that X'X and X'Y of the fit rows are all that is needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from reptools.arrays import Array, array_namespace, asarray_like, matmul, to_host
from reptools.errors import ParameterError
from reptools.statistics.regression.nested import Cells
from reptools.statistics.regression.ridge import Crossed

Matrix = np.ndarray[Any, np.dtype[np.float64]]

MOST = 25  # components that are tried where their number is chosen
NOTHING_LEFT = 1e-10  # share of X'Y, or of a score's variance, below which there is only rounding
SMALL = 48  # width of X'Y up to which its square is decomposed whole


@dataclass(frozen=True)
class PlsPath:
    """Weights along the score directions: the loadings of the first components."""

    basis: Array  # (coordinate, component)
    loadings: Array  # of y (component, target)
    counts: Array  # (option,): how many components

    @property
    def n_options(self) -> int:
        """Numbers of components that were asked for."""
        return int(self.counts.shape[0])

    def weights(self, targets: slice) -> Array:
        """For all numbers of components."""
        return self.loadings[:, targets][:, None, :] * self._member(self.counts)[:, :, None]

    def chosen(self, option: Array) -> Array:
        """For one number of components of each target."""
        counts = array_namespace(option).take(self.counts, option)
        return self.loadings * self._member(counts)

    def _member(self, counts: Array) -> Array:
        """1 where a component (component, count) is among the first ``counts``."""
        xp = array_namespace(self.loadings)
        number = asarray_like(np.arange(self.loadings.shape[0]), self.loadings)
        return xp.astype(number[:, None] < counts[None, :], self.loadings.dtype)


@dataclass(frozen=True)
class Pls(Crossed):
    """PLS regression of all units of y together.

    Attributes
    ----------
    counts : tuple of int
        Numbers of components to choose from, ascending; one number is taken as it is.
    y_scale : array (target,)
        What each unit of y weighs: 1 unless the units were scaled before.
    """

    counts: tuple[int, ...]
    y_scale: Matrix

    @property
    def n_options(self) -> int:
        """How many numbers of components there are to choose from."""
        return len(self.counts)

    def path(self, fit: Cells) -> PlsPath:
        """Extract components one by one; they are small work, done on the host.

        Raises
        ------
        ParameterError
            One fixed number was asked for, and the fit rows carry fewer components.
        """
        own, cross = self.own.of(fit), self.cross.of(fit)
        products = to_host(cross["x", "y"])
        most = self.counts[-1]
        directions = components(to_host(own["x", "x"]), products * self.y_scale, most)
        found = directions.shape[1]
        if found < most and self.n_options == 1:
            raise ParameterError(
                f"n_components={most} is more than the {found} components that the fit stimuli of "
                f"a fold carry. Pass n_components={max(found, 1)} or fewer, or None to have it "
                "chosen."
            )
        like = cross["x", "y"]
        loadings = matmul(directions.T, products)
        return PlsPath(
            asarray_like(directions, like),
            asarray_like(loadings, like),
            asarray_like(np.minimum(self.counts, found), like),
        )


def components(xx: Matrix, xy: Matrix, most: int) -> Matrix:
    """Directions (coordinate, component) of x whose scores are uncorrelated and have norm 1.

    Fewer than ``most`` where x, or its covariance with y, is used up.

    References
    ----------
    Dayal & MacGregor (1997), Improved PLS algorithms, Journal of Chemometrics 11, 73-85,
    algorithm 2; gives the scores of NIPALS regression (Wold 1975).
    """
    xy = xy.copy()
    size, spread = np.linalg.norm(xy), np.trace(xx)
    most = min(most, xx.shape[0])  # and no memory for more than there can be
    directions: Matrix = np.empty((xx.shape[0], most))
    loadings: Matrix = np.empty_like(directions)
    for k in range(most):
        if np.linalg.norm(xy) <= NOTHING_LEFT * size:
            return directions[:, :k]
        weight = leading(xy)
        done, along = directions[:, :k], loadings[:, :k]
        # once more, so that the scores stay uncorrelated to the last digits
        direction = weight - matmul(done, matmul(along.T, weight))
        direction -= matmul(done, matmul(along.T, direction))
        product = matmul(xx, direction)
        square = float(matmul(direction, product))
        if square <= NOTHING_LEFT**2 * spread:
            return directions[:, :k]
        directions[:, k] = direction / np.sqrt(square)
        loadings[:, k] = product / np.sqrt(square)
        xy -= loadings[:, k : k + 1] * matmul(directions[:, k], xy)
    return directions


def leading(matrix: Matrix) -> Matrix:
    """Leading left singular vector."""
    p, q = matrix.shape
    if min(p, q) > SMALL:
        from scipy.sparse.linalg import svds

        # a start from the data, so that the same data give the same vector
        start = matrix.sum(axis=1) if p <= q else matrix.sum(axis=0)
        start = start if start.any() else np.ones_like(start)
        vector: Matrix = svds(matrix, k=1, v0=start)[0][:, 0]
    elif q <= p:
        vector = matmul(matrix, np.linalg.eigh(matmul(matrix.T, matrix))[1][:, -1])
        vector /= np.linalg.norm(vector)
    else:
        vector = np.linalg.eigh(matmul(matrix, matrix.T))[1][:, -1]
    return vector
