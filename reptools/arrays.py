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

__all__ = ["Array", "array_namespace", "asarray_like", "device", "float64", "size", "to_host"]


def float64(x: Array, /) -> Array:
    """``x`` in float64 on its own device, without a copy where it is float64 already."""
    xp = array_namespace(x)
    return xp.astype(x, xp.float64, copy=False)


def asarray_like(values: Any, like: Array, /) -> Array:
    """Host ``values`` as an array of ``like``'s library, on ``like``'s device."""
    xp = array_namespace(like)
    return xp.asarray(values, device=device(like))


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
