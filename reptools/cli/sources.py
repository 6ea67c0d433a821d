"""Addresses on the command line: ``run.h5``, ``'runs/*.h5'``, ``run.h5::fc2``, ``a=run.h5``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import xarray as xr

from reptools import schema, store
from reptools.engine.selecting import ALL, LAST, Place, place_of
from reptools.engine.systems import Files
from reptools.errors import ParameterError, StoreError
from reptools.store.several import is_pattern, matched

SEPARATOR = "::"


@dataclass(frozen=True)
class Address:
    """One file and what of it is meant.

    Attributes
    ----------
    path : str
        As it was written, or as a pattern matched it.
    patterns : list of str or None
        Layers of it by name or pattern; None for all.
    name : str or None
        What the system is to be called, where the address says so.
    """

    path: str
    patterns: list[str] | None = None
    name: str | None = None


def addresses(texts: Sequence[str], group: str = schema.LAYERS) -> tuple[list[Address], bool]:
    """What is addressed, and whether it is a collection: several files, or a pattern for some.

    Raises
    ------
    ParameterError
        A text is no address.
    StoreError
        No file matches a pattern.
    """
    found: list[Address] = []
    several = len(texts) > 1
    for text in texts:
        name, text = _named(text)
        path, patterns = split(text, group)
        if is_pattern(path):
            several = True
            found += [Address(one, patterns) for one in matched(path)]
        else:
            found.append(Address(path, patterns, name))
    return found, several


def _named(text: str) -> tuple[str | None, str]:
    """``NAME=FILE``, where no file has that very name."""
    name, sign, rest = text.partition("=")
    plain = name.replace("-", "").replace("_", "").replace(".", "").isalnum()
    if not sign or not rest or not plain or Path(text.partition(SEPARATOR)[0]).exists():
        return None, text
    return name, rest


def split(address: str, group: str = schema.LAYERS) -> tuple[str, list[str] | None]:
    """Path and inner names of an address; a file that has ``::`` in its name is a file.

    Raises
    ------
    ParameterError
        A half is empty, or what is named is no layer, or no dissimilarity matrix.
    """
    if SEPARATOR not in address or Path(address).exists():
        return address, None
    path, _, name = address.rpartition(SEPARATOR)
    if not path or not name:
        raise ParameterError(f"{address!r} is no address. Write FILE or FILE::LAYER.")
    prefix = f"{schema.RDMS}/"
    if group == schema.RDMS:
        if not name.startswith(prefix):
            raise ParameterError(
                f"{address!r} is no address of a dissimilarity matrix. Write FILE for all of a "
                f"file, or FILE::{prefix}NAME. `reptools compute rdm {address} --out rdms.h5` "
                "makes them of activations, and `reptools compute rsa` compares these at once."
            )
        return path, listed(name.removeprefix(prefix))
    return path, listed(name)


@contextmanager
def opened(
    texts: Sequence[str], layers: Sequence[str] | None = None, group: str = schema.LAYERS
) -> Iterator[Files]:
    """The files of one argument, closed afterwards.

    Messages call a layer by its full address, so that they tell fc1 of one file from another's.

    Parameters
    ----------
    texts : sequence of str
        Addresses.
    layers : sequence of str, optional
        Names or patterns for files of which the address names none.
    group : str
        What the files are to hold.

    Raises
    ------
    StoreError
        A file cannot be read, or two are of systems of one name.
    """
    every, several = addresses(texts, group)
    with ExitStack() as stack:
        systems: dict[str, xr.DataTree] = {}
        paths: dict[str, str] = {}
        chosen: dict[str, Sequence[str] | None] = {}
        for one in every:
            tree = store.open(one.path)
            stack.callback(tree.close)
            system = ""
            if several:
                system = one.name or str(tree.attrs.get(schema.SYSTEM, "")) or Path(one.path).stem
                system = system.replace("/", ".")
            if system in systems:
                raise StoreError(
                    f"{paths[system]} and {one.path} are both of the system {system!r}. Name "
                    f"them, such as a={paths[system]} b={one.path}."
                )
            systems[system], paths[system] = tree, one.path
            chosen[system] = layers if one.patterns is None else one.patterns

        def called(system: str, layer: str = "") -> str:
            return f"{paths[system]}{SEPARATOR}{layer}" if layer else paths[system]

        yield Files(systems, chosen, called)


def refuse_layers_twice(texts: Sequence[str], layers: Sequence[str] | None, group: str) -> None:
    """Refuse ``--layers`` where there is no whole file that it could choose from.

    Raises
    ------
    ParameterError
        Every address names layers.
    """
    every, _ = addresses(texts, group)
    if layers is not None and all(one.patterns is not None for one in every):
        raise ParameterError(
            "--layers chooses layers of whole files, and the addresses name layers already. "
            "Leave out one of the two."
        )


@contextmanager
def one_file(path: str) -> Iterator[xr.DataTree]:
    """One file as a tree; closed afterwards."""
    tree = store.open(path)
    try:
        yield tree
    finally:
        tree.close()


def wanted(at: Sequence[str] | None, step: str | None) -> list[Place]:
    """Read ``--at`` and ``--step``, which is short for ``--at step=``; the step comes first.

    Raises
    ------
    ParameterError
        An option is no DIMENSION=VALUE, or names a dimension twice, or one that is not outer.
    """
    places: dict[str, Place] = {}
    for text in [*([] if step is None else [f"{schema.STEP}={step}"]), *(at or ())]:
        dim, sign, value = (part.strip() for part in text.partition("="))
        if not (dim and sign and value):
            raise ParameterError(f"--at is {text!r}. Write DIMENSION=VALUE, such as token=last.")
        if dim in places:
            raise ParameterError(
                f"{dim} is picked twice, by {places[dim]} and {text}. Give one of them "
                "(--step is short for --at step=)."
            )
        places[dim] = place_of(dim, value)
    last = Place(schema.STEP, LAST, hint=f"--step {ALL} keeps all")
    return [places.pop(schema.STEP, last), *places.values()]


def listed(names: str | None) -> list[str] | None:
    """Names that are joined by commas."""
    return None if names is None else [name.strip() for name in names.split(",")]
