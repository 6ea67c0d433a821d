"""The array-API words that kernels may use, and the way to and from the host.

Kernels are written once for numpy and torch: they ask :func:`array_namespace` for the namespace
of their input, pass ``device=`` to every creation function, and never name a library.
"""

from __future__ import annotations

import sys
from typing import Any, TypeAlias

import numpy as np
from array_api_compat import array_namespace, device, is_torch_array, size

Array: TypeAlias = Any  # an array of any library that array_namespace knows

__all__ = [
    "Array",
    "array_namespace",
    "asarray_like",
    "device",
    "divisor",
    "float64",
    "ratio",
    "rows_of",
    "size",
    "to_host",
]


def float64(x: Array, /) -> Array:
    """``x`` in float64 on its own device, without a copy where it is float64 already."""
    xp = array_namespace(x)
    return xp.astype(x, xp.float64, copy=False)


def asarray_like(values: Any, like: Array, /) -> Array:
    """Host ``values`` as an array of ``like``'s library, on ``like``'s device."""
    xp = array_namespace(like)
    return xp.asarray(values, device=device(like))


def rows_of(x: Array, rows: Any, /) -> Array:
    """The rows of ``x`` with the given numbers, which lie on the host."""
    return array_namespace(x).take(x, asarray_like(rows, x), axis=0)


def divisor(x: Array, /) -> Array:
    """``x`` with 1 where it is not above 0, for what is 0 there too."""
    xp = array_namespace(x)
    return xp.where(x > 0, x, xp.ones_like(x))


def ratio(part: Array, whole: Array, /) -> Array:
    """``part / whole``, missing (NaN) where the whole is not above 0."""
    xp = array_namespace(part)
    return xp.where(whole > 0, part / divisor(whole), xp.nan)


def to_host(x: Any, /) -> np.ndarray[Any, Any]:
    """Any array or scalar as numpy: detached from a graph and moved off its device."""
    if "torch" in sys.modules and is_torch_array(x):
        import torch

        x = x.detach().cpu()
        # numpy has no bfloat16; float32 holds every bfloat16 value exactly
        return np.asarray(x.float() if x.dtype == torch.bfloat16 else x)
    if hasattr(x, "__array_namespace__") and not isinstance(x, (np.ndarray, np.generic)):
        return np.from_dlpack(x)  # also from a device
    return np.asarray(x)
