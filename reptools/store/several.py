"""Opening several files as one tree: a child for each system."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack

import xarray as xr

from .. import schema
from ..errors import StoreError

Path = str | os.PathLike[str]
Files = Path | Iterable[Path] | Mapping[str, Path]


def is_pattern(path: object) -> bool:
    """Whether a path is meant for several files; one that exists is a file, whatever its name."""
    text = os.fspath(path) if isinstance(path, (str, os.PathLike)) else ""
    return isinstance(text, str) and glob.has_magic(text) and not os.path.exists(text)


def matched(pattern: Path) -> list[str]:
    """The files that a pattern means, in the order of their names.

    Raises
    ------
    StoreError
        There is none.
    """
    found = sorted(path for path in glob.glob(os.fspath(pattern), recursive=True))
    files = [path for path in found if os.path.isfile(path)]
    if not files:
        raise StoreError(f"no file matches {os.fspath(pattern)!r}. Check the pattern.")
    return files


def collected(files: Files, read: Callable[[Path], xr.DataTree]) -> xr.DataTree:
    """A tree whose children are the files, named after their systems.

    Raises
    ------
    StoreError
        There is no file, two files are of systems of one name, or one cannot be read.
    """
    if isinstance(files, Mapping):
        named: list[tuple[str | None, Path]] = [(str(key), path) for key, path in files.items()]
    elif isinstance(files, (str, os.PathLike)):
        named = [(None, path) for path in matched(files)]
    else:
        each = [matched(one) if is_pattern(one) else [one] for one in files]
        named = [(None, path) for paths in each for path in paths]
    if not named:
        raise StoreError("there is no file in an empty list. Pass one path or more.")
    trees: dict[str, xr.DataTree] = {}
    with ExitStack() as opened:
        for name, path in named:
            tree = read(path)
            opened.callback(tree.close)
            system = (str(tree.attrs.get(schema.SYSTEM, "")) if name is None else name).replace(
                "/", "."
            )
            if not system:
                raise StoreError(
                    f"{path} does not name its system. Name it: rt.open({{'name': {path!r}}})."
                )
            if system in trees:
                other = trees[system].attrs[schema.PATH]
                raise StoreError(
                    f"{other} and {tree.attrs[schema.PATH]} are both of the system {system!r}. "
                    f"Name them: rt.open({{'a': {str(other)!r}, 'b': {str(path)!r}}})."
                )
            trees[system] = tree
        root = xr.DataTree(children=trees)
        # its children are copies, which close nothing
        root.set_close(opened.pop_all().close)
    return root
