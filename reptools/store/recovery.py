"""Making a whole file of what a killed writer left."""

from __future__ import annotations

import os
from pathlib import Path

from .. import schema
from ..errors import StoreError, naming
from .checksums import trusted
from .files import Lock, Paths
from .finishing import finish, write_record
from .journal import look, rollback
from .leftover import raw_dims
from .opening import checked, reading
from .record import lacking
from .skeleton import locate
from .state import attributes

__all__ = ["repair"]


def repair(path: str | os.PathLike[str], *, deep: bool = False) -> Path:
    """Turn ``run.h5.partial``, left by a writer that was killed, into ``run.h5``.

    A change of size that was under way is undone; the batch committed last is held against its
    checksum; the file is cut to its complete batches (in a step that was only begun, missing
    stimuli become NaN) and renamed. It says ``complete = 0`` unless all that was planned is
    there. A repair that was killed itself can be repeated.

    Parameters
    ----------
    path : str or path
        ``run.h5`` or ``run.h5.partial``.
    deep : bool, default False
        Check every batch, not only the last: for a machine that lost power. What comes after the
        first batch that fails is given up.

    Returns
    -------
    Path
        The repaired file; where there is no leftover, the file as it is.

    Raises
    ------
    StoreError
        If there is nothing to repair, a writer is still at work, no batch was completed, or
        ``run.h5`` exists beside the leftover.

    Examples
    --------
    >>> import numpy as np
    >>> import reptools as rt
    >>> w = rt.Writer("run.h5", system="v1", stimulus=["a", "b"])
    >>> w.append({"fc": np.ones((1, 3))})
    1
    >>> w.abandon()  # stands in for a kill
    >>> rt.repair("run.h5").name
    'run.h5'
    """
    with naming("repair"):
        paths = Paths.of(path)
        if not paths.partial.exists():
            if paths.final.exists():
                return paths.final
            raise StoreError(f"neither {paths.final} nor {paths.partial} exists. Check the path.")
        lock = Lock(paths)
        try:
            if paths.final.exists():
                raise StoreError(
                    f"{paths.final} exists beside {paths.partial.name} and would be lost. "
                    "Move one of the two elsewhere."
                )
            try:
                _repair(paths, deep)
            except (OSError, RuntimeError, ValueError, KeyError) as error:
                if isinstance(error, StoreError):
                    raise
                raise StoreError(
                    f"{paths.partial} could not be repaired: {error}. It is kept as it is; "
                    "read what it holds with reptools.store.open()."
                ) from error
        finally:
            lock.release()
        return paths.final


def _repair(paths: Paths, deep: bool) -> None:
    rollback(paths)
    paths.new.unlink(missing_ok=True)
    with reading(paths.partial), look(paths) as file:
        contents = checked(paths.partial, file)
        attrs = attributes(file.id)
        dims = contents.dims()
        raws = locate(file, raw_dims(file, contents))
        marked = bool(file[schema.COMPLETE][0])  # killed just before its last rename
        committed = file[schema.COMMITTED][:].tolist()
        committed = trusted(file, contents, committed, last_only=not deep)
    if not any(committed):
        raise StoreError(
            f"{paths.partial} holds no complete batch. Delete it, or write again with "
            "overwrite=True."
        )
    write_record(paths, raws[schema.COMMITTED], committed)
    stepped = schema.STEP in raws[schema.COMMITTED].dims
    steps, stimuli = (int(attrs[k]) for k in (schema.PLANNED_STEPS, schema.PLANNED_STIMULI))
    missing = lacking(committed, steps=steps, stimuli=stimuli, stepped=stepped)
    whole = missing is None and (marked or bool(stimuli and (steps or not stepped)))
    begun = [n for n in committed if n]
    finish(paths, raws, dims, begun, complete=whole)
