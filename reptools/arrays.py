"""The array-API words that kernels may use, and the way to and from the host.

Kernels are written once for numpy and torch: they ask :func:`array_namespace` for the namespace
of their input, pass ``device=`` to every creation function, and never name a library.
"""

from __future__ import annotations

import operator
import sys
import threading
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from array_api_compat import array_namespace as _array_namespace
from array_api_compat import device, is_torch_array, size

Array: TypeAlias = Any  # an array of any library that array_namespace knows

__all__ = [
    "Array",
    "array_namespace",
    "asarray_like",
    "columns_of",
    "device",
    "divisor",
    "float64",
    "matmul",
    "ratio",
    "rows_of",
    "size",
    "to_host",
    "vecdot",
]


_NUMPY = _array_namespace(np.empty(0))


def array_namespace(*arrays: Array) -> Any:
    """The array-API namespace of arrays; numpy's without a search, for small calls ask often."""
    for x in arrays:
        if type(x) is not np.ndarray:
            return _array_namespace(*arrays)
    return _NUMPY if arrays else _array_namespace()


def float64(x: Array, /) -> Array:
    """``x`` in float64 on its own device, without a copy where it is float64 already."""
    if type(x) is np.ndarray:
        return x.astype(np.float64, copy=False)
    xp = array_namespace(x)
    return xp.astype(x, xp.float64, copy=False)


def asarray_like(values: Any, like: Array, /) -> Array:
    """Host ``values`` as an array of ``like``'s library, on ``like``'s device."""
    xp = array_namespace(like)
    return xp.asarray(values, device=device(like))


def rows_of(x: Array, rows: Any, /) -> Array:
    """The rows of ``x`` with the given numbers, which lie on the host."""
    return array_namespace(x).take(x, asarray_like(rows, x), axis=0)


def columns_of(x: Array, columns: np.ndarray[Any, Any], /) -> Array:
    """The columns of ``x`` (..., column) with the given numbers; ``x`` where these are all."""
    if columns.size == x.shape[-1]:
        return x
    return array_namespace(x).take(x, asarray_like(columns, x), axis=x.ndim - 1)


def divisor(x: Array, /) -> Array:
    """``x`` with 1 where it is not above 0, for what is 0 there too."""
    xp = array_namespace(x)
    return xp.where(x > 0, x, xp.ones_like(x))


def ratio(part: Array, whole: Array, /) -> Array:
    """``part / whole``, missing (NaN) where the whole is not above 0."""
    xp = array_namespace(part)
    return xp.where(whole > 0, part / divisor(whole), xp.nan)


class _Heard(threading.local):
    """Whether numpy has raised a floating-point flag in this thread."""

    flag = False


_HEARD = _Heard()


def _note(_kind: str, _flag: int) -> None:
    _HEARD.flag = True


# as a decorator, and by dot, errstate costs less than the call of matmul that it replaces
@np.errstate(divide="call", over="call", invalid="call", call=_note)
def _dot(a: Any, b: Any) -> Any:
    return a.dot(b)


@np.errstate(divide="call", over="call", invalid="call", call=_note)
def _guarded(product: Callable[..., Array], a: Array, b: Array, options: dict[str, Any]) -> Array:
    return product(a, b, **options)


def matmul(a: Array, b: Array, /, *more: Array, out: Array | None = None) -> Array:
    """``a @ b``, from the left with ``more``, without numpy's false alarms.

    BLAS kernels of some processors compute on what lies beside a matrix, and numpy then warns of
    an "invalid value encountered in matmul" which is in no matrix. Here a warning needs a value.
    """
    if out is not None:
        return _in_numbers(np.matmul, a, b, out=out)
    product = _product(a, b)
    for factor in more:
        product = _product(product, factor)
    return product


def _product(a: Array, b: Array) -> Array:
    plain = type(a) is np.ndarray and type(b) is np.ndarray and a.ndim <= 2 and b.ndim <= 2
    if plain and a.dtype == b.dtype:
        result = _dot(a, b)
        return _in_numbers(operator.matmul, a, b) if _HEARD.flag else result
    return _in_numbers(operator.matmul, a, b)


def vecdot(a: Array, b: Array, /) -> Array:
    """Scalar products along the last axis, without numpy's false alarms; see :func:`matmul`."""
    return _in_numbers(array_namespace(a).vecdot, a, b)


def _in_numbers(product: Callable[..., Array], a: Array, b: Array, **options: Any) -> Array:
    """A product whose floating-point flags count only where a value bears them out."""
    _HEARD.flag = False
    result = _guarded(product, a, b, options)
    if _HEARD.flag:
        _HEARD.flag = False
        if not bool((xp := array_namespace(a)).all(xp.isfinite(result))):
            return product(a, b, **options)  # a true alarm, for the caller to hear or to ignore
    return result


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
