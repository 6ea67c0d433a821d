"""The streaming writer: one append is one commit."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

import numpy as np
import xarray as xr

from .. import schema
from ..entering import door
from ..errors import (
    DimensionError,
    IncompleteWarning,
    ParameterError,
    StimulusError,
    StoreError,
    naming,
)
from ..provenance import now, to_json, versions
from . import batch as parts
from . import inputs
from .files import Lock, Paths
from .frame import Frame, check_against
from .names import group_names
from .order import Order, Place, Written, schedule
from .plan import Piece, Plan
from .raw import Array
from .record import belongs, lacking
from .resuming import UNNAMED, Replay, resume
from .sink import Sink

__all__ = ["Writer"]


class Writer:
    """Write activations to a file batch by batch; what was appended survives a kill.

    While writing, the file is ``run.h5.partial``; :meth:`close` renames it to ``run.h5``, which
    therefore is always whole. One :meth:`append` is one commit: after it has returned, its batch
    stays in the file whatever happens to the process, and :func:`reptools.open` never shows a
    part of one.

    Parameters
    ----------
    path
        The file to write, e.g. ``"run.h5"``.
    system
        Name of the model, brain or animal that the activations come from.
    stimulus
        Unique labels, str or int, of all stimuli in order; None when they become known batch by
        batch. Known stimuli (and steps) reserve the disk space beforehand. Str labels that grow
        cost a second pass over the file at the end; int labels do not.
    features
        What is known about each stimulus: an ``xarray.Dataset`` over ``stimulus``, a
        ``pandas.DataFrame`` indexed by stimulus labels, or a mapping of name to ``array``,
        ``(array, attrs)``, ``DataArray`` or ``Series``. Values (stimulus,) or
        (stimulus, component); attrs may name ``kind`` (binary, categorical or continuous; read
        off the values when missing), ``complexity`` and ``chance``. Labelled features are
        aligned by label. Only with `stimulus`.
    coords
        Name to array (stimulus,): split, groups, condition. Labelled ones are aligned by label.
        Only with `stimulus`.
    steps
        The known schedule of integer steps, increasing; None when steps become known one by one,
        or when there are none.
    units
        Layer to coordinate to array (unit,): channel, row, column of each unit; or layer to a
        ``pandas.DataFrame`` with a row for each unit. What is labelled is aligned by unit.
    kind
        ``"activations"`` or ``"recording"``.
    source
        Where the data come from, in words or as an address.
    provenance
        Anything JSON can hold: configuration, seed. Versions are added.
    dtype
        Stored type of activations: ``"float32"``, ``"float64"`` or ``"float16"`` (which
        netCDF4-python cannot read). Values are converted; one too large for it is an error, as is
        an integer that it cannot hold, and units whose values it does not tell apart are named in
        a warning.
    overwrite
        Replace an existing file (only when this one is complete) and a leftover.
    resume
        Continue the leftover of this run, of a writer that was killed or left by an error. The
        other arguments must be those that it was begun with (`durable` may differ, and versions
        are not compared). What is there may be appended again, from any step on: it is compared
        byte for byte and written once. So a program that is simply run again completes its file,
        and the file is the same as if nothing had happened. Where there is no leftover, the file
        is begun; a finished one is refused. Not with `overwrite`.
    durable
        Wait for the disk at every commit, so that batches survive a loss of power too.

    Raises
    ------
    StoreError
        If the file or a leftover of it exists, another process writes it, or it does not fit.
        With `resume`: if the file is finished, or the leftover is damaged or was begun with other
        arguments, which are named; nothing has changed then.
    ParameterError, StimulusError, DimensionError
        If an argument does not hold together.

    Notes
    -----
    A leftover is brought to its last commit first: a change of size that was under way is undone,
    and every batch is held against its checksum, so that what a loss of power took is written
    again. :attr:`written` says what is there. The next batch is the one after that, or repeats
    one of those. In a step that was only begun, batches that do not name their stimuli are taken
    as repeated from its first; to go on behind the others, name them.

    Examples
    --------
    >>> import tempfile, numpy as np
    >>> folder = tempfile.TemporaryDirectory()
    >>> ids, path = ["a", "b", "c", "d"], folder.name + "/run.h5"
    >>> with Writer(path, system="mlp-0", stimulus=ids, features={"odd": [0, 1, 0, 1]}) as w:
    ...     for step in (0, 100):
    ...         w.append({"fc1": np.ones((4, 8))}, step=step)
    4
    4
    >>> from reptools.store import open
    >>> with open(path) as tree:
    ...     print(dict(tree["layers/fc1"].activation.sizes))
    {'step': 2, 'stimulus': 4, 'unit': 8}

    A run that is killed at step 200, and resumed from its state at step 100:

    >>> path, known = folder.name + "/long.h5", {"stimulus": ids, "steps": [0, 100, 200]}
    >>> killed = Writer(path, system="mlp-0", **known)
    >>> for step in (0, 100):
    ...     written = killed.append({"fc1": np.full((4, 8), step)}, step=step)
    >>> killed.abandon()  # stands in for a kill
    >>> with Writer(path, system="mlp-0", **known, resume=True) as w:
    ...     print(w.written)
    ...     for step in (100, 200):  # step 100 is compared, step 200 is written
    ...         written = w.append({"fc1": np.full((4, 8), step)}, step=step)
    Written(steps=(0, 100), begun=None, stimuli=0)
    >>> folder.cleanup()
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        system: str,
        stimulus: Any = None,
        features: door.Named | None = None,
        coords: door.Named | None = None,
        steps: Sequence[int] | Array | None = None,
        units: Mapping[str, Mapping[str, Any]] | None = None,
        kind: str = "activations",
        source: str = "",
        provenance: Mapping[str, Any] | None = None,
        dtype: str = "float32",
        overwrite: bool = False,
        resume: bool = False,
        durable: bool = False,
    ) -> None:
        with naming("Writer"):
            if overwrite and resume:
                raise ParameterError(
                    "overwrite and resume are both on, and resume keeps what overwrite replaces. "
                    "Choose one."
                )
            if dtype not in parts.DTYPES:
                raise ParameterError(f"dtype is {dtype!r}. Choose one of {parts.DTYPES}.")
            if kind not in schema.KINDS:
                raise ParameterError(f"kind is {kind!r}. Choose one of {schema.KINDS}.")
            if kind == "rdms":
                raise ParameterError(
                    "kind is 'rdms', and a Writer writes activations. Make RDMs with rt.rdm(x), "
                    "and keep them with to_netcdf(path)."
                )
            known = None if stimulus is None else inputs.labels(stimulus)
            planned = None if steps is None else schedule(steps)
            attrs = {
                schema.SCHEMA: schema.VERSION,
                schema.KIND: kind,
                schema.SYSTEM: system,
                schema.SOURCE: source,
                schema.CREATED: now(),
                schema.PROVENANCE: to_json({**(provenance or {}), "versions": versions()}),
                schema.PLANNED_STEPS: 0 if planned is None else len(planned),
                schema.PLANNED_STIMULI: 0 if known is None else len(known),
            }
            self._frame = Frame.of(attrs, known, features, coords, planned, units)
            self._order = Order(known, planned)
            self._durable = durable
            self._dtype = dtype
            self._plan: Plan | None = None
            self._sink: Sink | None = None
            self._groups: dict[str, str] = {}
            self._closed = False
            self._failure: BaseException | None = None
            self._paths = Paths.of(path)
            self._replay: Replay | None = None
            if not self._paths.final.parent.is_dir():
                raise StoreError(f"folder {self._paths.final.parent} does not exist. Create it.")
            self._lock = Lock(self._paths)
            try:
                if resume:
                    self._resume()
                elif not overwrite:
                    self._refuse_existing()
            except BaseException:
                self._lock.release()
                raise

    def _refuse_existing(self) -> None:
        keep = "continue it with resume=True, keep what it holds with reptools.store.repair(), or "
        paths = self._paths
        for file, mend in ((paths.partial, keep), (paths.final, "choose another name, or ")):
            if file.exists():
                raise StoreError(f"{file} exists already. To go on, {mend}pass overwrite=True.")

    def _resume(self) -> None:
        found = resume(self._paths, self._frame, self._dtype)
        if found is None:
            return
        held, raws = found
        self._order.restore(held.steps, held.labels, held.rows, held.slot, stepped=held.stepped)
        self._replay = Replay(self._order, held.committed)
        self._plan, self._groups = held.plan, held.groups
        self._sink = Sink.reopen(self._paths, held.plan, raws, durable=self._durable)

    def append(
        self,
        layers: Mapping[str, Any],
        *,
        step: int | None = None,
        stimulus: Any = None,
        features: Mapping[str, Any] | xr.Dataset | None = None,
        outputs: Mapping[str, Any] | None = None,
        per_step: Mapping[str, Any] | None = None,
    ) -> int:
        """Commit the next batch: all of it is in the file afterwards, or none of it.

        Batches of a step come in the order of the stimuli; a step begins when the one before is
        complete. Every batch has the same layers, with the same widths.

        Parameters
        ----------
        layers
            Layer to array (batch, unit) or (batch, token, unit). An xarray or pandas object is
            lined up: it holds the stimuli that come next, in any order, its dimensions stand where
            their names say, and labels of its units and tokens are kept. A bare array is in the
            order of the file.
        step
            Training step of this batch; named in every batch or in none.
        stimulus
            Labels of this batch (batch,). Needed where the Writer was given none, unless a layer is
            labelled; checked against the expected ones where it was.
        features
            Only where the stimuli grow: name to numbers (batch,) or (batch, component).
        outputs
            Feature to the system's raw answers (batch,) or (batch, component), lined up as layers.
        per_step
            With the first batch of a step: name to a value of the whole step, as a DataArray
            whose dims are kept (e.g. accuracy over ``feature``), a pandas Series or an array.

        Returns
        -------
        int
            Stimuli of this step that are in the file, up to the end of this batch.

        Raises
        ------
        ReptoolsError
            If the batch does not fit; nothing was written, and another may be appended.
        StoreError
            If writing failed, e.g. on a full disk. Earlier batches are safe; no further one is
            accepted. Or if a batch that a resumed file holds has other values there; nothing was
            written.

        Examples
        --------
        >>> import tempfile, numpy as np
        >>> folder = tempfile.TemporaryDirectory()
        >>> with Writer(folder.name + "/run.h5", system="v1") as w:
        ...     w.append({"fc": np.zeros((2, 3))}, stimulus=["a", "b"])
        ...     w.append({"fc": np.ones((1, 3))}, stimulus=["c"])
        2
        3
        >>> folder.cleanup()
        """
        with naming("Writer.append"):
            self._check_usable()
            layers = door.entries(layers, "layers")
            groups = self._groups or group_names(layers)
            pieces = parts.pieces(layers, groups, self._dtype, step, features, outputs, per_step)
            rows = parts.batch_size(pieces)
            own = parts.own_labels(pieces)
            names = stimulus if stimulus is not None or own is None else self._order.arranged(*own)
            again = self._replay.place(step, names, rows) if self._replay else None
            place, labels = again or self._order.place(step, names, rows)
            if labels is None and any(path.startswith(f"{schema.FEATURES}/") for path in pieces):
                raise ParameterError(
                    "features are given for stimuli that are known already. "
                    "Pass features= to Writer."
                )
            if own is not None:
                next_ones = self._order.next_labels(place.start, rows) if labels is None else labels
                pieces = parts.line_up(pieces, next_ones, named=stimulus is not None)
            # dimensions lie before what has them, so that they are the first to grow on disk:
            # netCDF lets a variable be shorter than its dimension, not longer
            if labels is not None:
                pieces = {schema.STIMULUS: parts.label_piece(labels, self._plan), **pieces}
            if step is not None and self._order.schedule is None and place.opens_step:
                pieces = {schema.STEP: Piece((), np.array(step, dtype="<i8")), **pieces}
            if self._plan is not None:
                try:
                    check_against(self._plan, pieces, self._expected(place, labels is not None))
                except (ParameterError, DimensionError) as error:
                    if again and names is None:
                        error.add_note(UNNAMED)
                    raise
            if again and self._replay:
                self._compare(pieces, place, step)
                self._replay.advance(place, rows)
            else:
                self._commit(pieces, groups, place, rows)
                self._order.advance(place, step, labels, rows)
                self._replay = None
            return place.start + rows

    @property
    def written(self) -> Written:
        """What the file holds: the complete steps, and how far the next one goes."""
        return self._order.written

    def _check_usable(self) -> None:
        if self._closed:
            raise StoreError(f"{self._paths.final} is closed. Open a new Writer.")
        if self._failure is not None:
            raise StoreError(
                f"an earlier write to {self._paths.partial} failed ({self._failure}). What was "
                "appended before is safe; make a file of it with reptools.store.repair()."
            )

    def _expected(self, place: Place, grows: bool) -> set[str]:
        """Paths that a batch at this place must bring."""
        assert self._plan is not None and self._sink is not None
        return {
            path
            for path in self._sink.stored
            if belongs(path, self._plan.variables[path].dims, place)
            and (grows or schema.STEP in self._plan.variables[path].dims or not place.step_index)
        }

    def _compare(self, pieces: Mapping[str, Piece], place: Place, step: int | None) -> None:
        """Refuse a batch that is not, byte for byte, the one in the file at its place."""
        assert self._sink is not None
        found = self._sink.difference(pieces, place)
        if found is None:
            return
        where = [] if step is None else [f"step {step}"]
        if schema.STIMULUS in found.index:
            label = self._order.labels[place.start + found.index[schema.STIMULUS]]
            where.append(f"stimulus {label!r}")
        where += [
            f"{dim} {i}"
            for dim, i in found.index.items()
            if dim not in (schema.STEP, schema.STIMULUS)
        ]
        raise StoreError(
            f"{found.path} is {found.given!r} at {', '.join(where)}, and {self._paths.partial} "
            f"holds {found.held!r}. Repeat exactly what was written. {UNNAMED}"
        )

    def _commit(
        self, pieces: dict[str, Piece], groups: dict[str, str], place: Place, rows: int
    ) -> None:
        try:
            if self._sink is None or self._plan is None:
                stepped = schema.STEP in pieces or self._order.schedule is not None
                plan = self._frame.plan(pieces, groups, rows, stepped)
                self._sink = Sink.create(self._paths, plan, durable=self._durable)
                self._plan, self._groups = plan, groups
            self._sink.make_room(place, rows)
            self._sink.commit(pieces, place, rows)
        except (ParameterError, StimulusError, DimensionError):
            raise  # found while planning: nothing was written
        except BaseException as error:
            self._failure = error
            if isinstance(error, StoreError) or not isinstance(error, (OSError, RuntimeError)):
                raise
            raise StoreError(
                f"{self._paths.partial} could not be written: {error}. What was appended before "
                "is safe; make a file of it with reptools.store.repair()."
            ) from error

    def close(self) -> None:
        """Cut the file to what was written and rename it to its final name.

        Raises
        ------
        StoreError
            If nothing was appended, or an append had failed; a leftover stays as it is.

        Warns
        -----
        IncompleteWarning
            If fewer steps or stimuli came than were planned; the file says ``complete = 0``.
        """
        if self._closed:
            return
        with naming("Writer.close"):
            try:
                self._check_usable()
                if self._sink is None:
                    raise StoreError(
                        f"nothing was appended, so there is no {self._paths.final}. "
                        "Append at least one batch."
                    )
                self._finish(self._sink)
            finally:
                self.abandon()

    def _finish(self, sink: Sink) -> None:
        order = self._order
        counts = [order.total] * (len(order.values) - 1) + [order.rows]
        missing = lacking(
            counts,
            steps=0 if order.schedule is None else len(order.schedule),
            stimuli=order.total,
            stepped=bool(order.has_step),
        )
        sink.finish(counts, complete=missing is None)
        if missing is not None:
            warnings.warn(f"{self._paths.final}: {missing}", IncompleteWarning, stacklevel=4)

    def abandon(self) -> None:
        """Let go of the file without finishing it; the leftover keeps every batch."""
        self._closed = True
        if self._sink is not None:
            self._sink.release()
        self._lock.release()

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self.close()
            return
        self.abandon()
        if self._sink is not None:
            error.add_note(
                f"{self._paths.partial} keeps every batch that was appended. Continue it with "
                "Writer(..., resume=True), or make a file of it as it is: "
                f"reptools.store.repair({str(self._paths.final)!r})."
            )
