"""``prepare=``: what is done to activations before any metric sees them; never silent.

Each step is a pure function of one array (stimulus, unit). The statistics are taken over all
aligned stimuli, test stimuli included, and from no label.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from reptools.arrays import Array, array_namespace, float64
from reptools.errors import DataError, ParameterError
from reptools.statistics.gram import centred

Steps = tuple[str, ...]
EPS = 2.0**-52


def zscore(x: Array, /) -> Array:
    """Each unit to mean 0 and standard deviation 1; a unit without variance becomes 0."""
    xp = array_namespace(x)
    x = centred(x)
    sd = xp.sqrt(xp.mean(x**2, axis=0))
    return x / xp.where(sd > 0, sd, xp.ones_like(sd))


def unit_norm(x: Array, /) -> Array:
    """Each stimulus pattern to Euclidean norm 1; an all-zero pattern stays 0."""
    xp = array_namespace(x)
    wide = float64(x)
    norm = xp.sqrt(xp.sum(wide**2, axis=1, keepdims=True))
    return wide / xp.where(norm > 0, norm, xp.ones_like(norm))


def drop_top(x: Array, k: int, /) -> Array:
    """Remove the ``k`` leading principal components (rogue dimensions of residual streams)."""
    xp = array_namespace(x)
    x = centred(x)
    # eigenvectors of the smaller cross-product; the last k belong to the largest eigenvalues
    wide = x.shape[0] <= x.shape[1]
    values, vectors = xp.linalg.eigh(x @ x.T if wide else x.T @ x)
    varying = int(xp.sum(xp.astype(values > max(x.shape) * EPS * values[-1], xp.int64)))
    if k >= varying:  # what would be left is rounding
        raise DataError(
            f"prepare='drop_top:{k}' would leave nothing of the {varying} components that vary. "
            "Drop fewer, or leave it out."
        )
    top = vectors[:, -k:]
    return x - top @ (top.T @ x) if wide else x - (x @ top) @ top.T


_PLAIN: dict[str, Callable[[Array], Array]] = {"zscore": zscore, "unit_norm": unit_norm}


def check(prepare: str | Sequence[str] | None) -> Steps:
    """The steps of ``prepare=`` as a tuple of names, each one known.

    >>> check("zscore"), check("zscore,drop_top:2"), check(None)
    (('zscore',), ('zscore', 'drop_top:2'), ())
    """
    if prepare is None or prepare == "none":
        return ()
    if isinstance(prepare, str):
        prepare = [step.strip() for step in prepare.split(",")]
    steps = list(prepare) if isinstance(prepare, Sequence) else [prepare]
    for step in steps:
        name, _, argument = str(step).partition(":")
        drop = name == "drop_top" and argument.isdecimal() and int(argument) > 0
        known = step in _PLAIN or drop
        if not known:
            raise ParameterError(
                f"prepare must be made of zscore, unit_norm and drop_top:K, got {step!r}. "
                "Join several by a comma."
            )
    return tuple(steps)


def apply(x: Array, steps: Steps) -> Array:
    """Run checked steps in order."""
    for step in steps:
        x = _PLAIN[step](x) if step in _PLAIN else drop_top(x, int(step.partition(":")[2]))
    return x
