"""Opening a file as a lazy ``xarray.DataTree``."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import xarray as xr
from xarray.backends import CachingFileManager

from .. import schema
from ..errors import IncompleteWarning, StoreError, naming, warn
from .opening import checked, open_hdf5, reading, steadily
from .several import Files, collected, is_pattern
from .state import attributes, read_state
from .tree import TreeBuilder

__all__ = ["open"]


def open(path: Files) -> xr.DataTree:
    """Open a file of activations, recordings or features, or several, without loading the numbers.

    The file is checked first (no links out of it, no unknown filters or types, nothing declared
    that is not stored). Of a leftover ``run.h5.partial``, which is opened where ``run.h5`` does
    not exist, only complete batches are shown: steps that were begun (stimuli not yet reached in
    the last one are NaN), or the leading stimuli where there are no steps.

    Parameters
    ----------
    path : path, pattern, sequence of these, or mapping of str to path
        ``run.h5``, or the leftover itself. A pattern such as ``"runs/*.h5"``, a sequence or a
        mapping opens several files, also where it names one only: what comes back hangs on the
        call, not on the disk.

    Returns
    -------
    xarray.DataTree
        ``tree["layers/fc1"].activation`` ([step,] [token,] stimulus, unit), ``tree["features"]``,
        ``tree["outputs"]``. Every variable over stimuli carries all coordinates of the root. An
        activation has the attributes layer, system, source_path and fingerprint, which changes
        with its values. Of several files, a tree with a child for each, named after its system,
        or by the keys of the mapping. Close the tree with ``tree.close()`` or a ``with`` block.

    Raises
    ------
    StoreError
        If there is no such file, it is not one of ours, or it breaks a rule of safety; if two of
        several files are of systems of one name.

    Warns
    -----
    IncompleteWarning
        If the file holds less than was planned, e.g. "incomplete: 7 of 12 steps".

    Examples
    --------
    >>> import numpy as np
    >>> import reptools as rt
    >>> with rt.Writer("run.h5", system="v1", stimulus=["a", "b"]) as w:
    ...     w.append({"fc": np.eye(2)})
    2
    >>> with rt.open("run.h5") as tree:
    ...     print(tree["layers/fc"].activation.values)
    [[1. 0.]
     [0. 1.]]
    """
    with naming("open"):
        if is_pattern(path) or not isinstance(path, (str, bytes, os.PathLike)):
            if not isinstance(path, (str, os.PathLike, Iterable)):
                raise StoreError(
                    f"path is {path!r}, which is none. Pass a path, a pattern or several paths."
                )
            return collected(path, _opened)
        return _opened(path)


def _opened(path: str | os.PathLike[str]) -> xr.DataTree:
    tree, missing = steadily(path, _read, drop=lambda found: found[0].close())
    if missing is not None:
        warn(f"{tree.attrs[schema.PATH]}: {missing}", IncompleteWarning)
    return tree


def _read(place: Path) -> tuple[xr.DataTree, str | None]:
    """Check a file and build its tree; also what is missing in it."""
    files = CachingFileManager(open_hdf5, str(place))
    try:
        with reading(place), files.acquire_context() as file:
            contents = checked(place, file)
            attrs = attributes(file.id)
            _check_schema(attrs)
            state = read_state(file, contents, attrs)
            tree = TreeBuilder(place, files, contents, attrs, state).tree()
    except BaseException:
        files.close()
        raise
    tree.set_close(files.close)
    return tree, state.missing


def _check_schema(attrs: Mapping[str, Any]) -> None:
    version = attrs.get(schema.SCHEMA)
    if version is None:
        raise StoreError(
            f"there is no attribute {schema.SCHEMA!r}: it was not written by reptools. "
            "Convert it, or open it with xarray.open_datatree."
        )
    if version != schema.VERSION:
        raise StoreError(
            f"its schema is {version!r}, this reptools reads {schema.VERSION}. "
            "Install a newer reptools."
        )
