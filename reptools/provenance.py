"""Where a file or a number comes from: versions, time, and JSON that survives numpy values."""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from importlib import import_module
from typing import Any

import numpy as np

from reptools._version import __version__

_CORE = ("numpy", "h5py", "xarray")
_IF_IMPORTED = ("torch", "sklearn", "scipy")


def versions() -> dict[str, str]:
    """Versions of Python, of what reptools stands on, and of what was imported besides.

    Returns
    -------
    dict of str
        What each package says of itself, which names the build where there are several: torch
        is "2.13.0+cu130" or "2.13.0+cpu", while its distribution may be called "2.13.0" for
        both. Torch, scipy and scikit-learn appear only where the program imported them: the
        others had no part in the result.

    Examples
    --------
    >>> sorted(versions())[:3]
    ['h5py', 'numpy', 'python']
    """
    names = [*_CORE, *(name for name in _IF_IMPORTED if name in sys.modules)]
    found = {"python": platform.python_version(), "reptools": __version__}
    return found | {name: _version(name) for name in names}


def versions_json() -> str:
    """The same as one line of JSON, written once for a set of imported packages."""
    return _versions_json(tuple(name in sys.modules for name in _IF_IMPORTED))


@cache
def _versions_json(imported: tuple[bool, ...]) -> str:
    return json.dumps(versions())


@cache
def _version(name: str) -> str:
    """``__version__`` of a package that is imported by now."""
    return str(getattr(import_module(name), "__version__", "unknown"))


def now() -> str:
    """Return the present time in UTC as ISO 8601, to the second.

    Examples
    --------
    >>> now().endswith("+00:00")
    True
    """
    return datetime.now(UTC).isoformat(timespec="seconds")


def _plain(value: Any) -> Any:
    """Turn numpy scalars and arrays, tuples, sets and paths into what JSON knows."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    return str(value)


def to_json(value: Any) -> str:
    """Write ``value`` as one line of JSON, with sorted keys.

    Examples
    --------
    >>> to_json({"seed": np.int64(3), "lr": 0.1})
    '{"lr": 0.1, "seed": 3}'
    """
    return json.dumps(value, default=_plain, sort_keys=True, ensure_ascii=False)


def from_json(text: str) -> Any:
    """Read what :func:`to_json` wrote.

    Examples
    --------
    >>> from_json('{"seed": 3}')
    {'seed': 3}
    """
    return json.loads(text)
