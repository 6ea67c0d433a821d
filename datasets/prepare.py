"""Write stimuli to a file that any training code can start from.

The layer ``input`` holds the stimuli, ``/features`` what is to be learned, the coord ``split`` who
may see which stimulus, and the coords ``labelled_<feature>`` on which of them a label may be used.
The same settings give the same stimuli.
"""

from __future__ import annotations

import argparse
import inspect
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, fields
from pathlib import Path
from typing import Any, get_type_hints

import xarray as xr

from reptools.errors import ParameterError, ReptoolsError
from reptools.store import Writer

from .binary import BinaryConfig, make_binary
from .checks import attach_roles
from .features import RULES, lay_out
from .image_features import PROPERTIES, read_features
from .images import ImagesConfig, make_images
from .options import RULE, described, prose, read, read_table, text_of
from .sampling import SPLITS
from .sequences import SequencesConfig, make_sequences
from .token_features import TOKEN_RULES, read_token_features

DTYPES = ("float32", "float16")


@dataclass(frozen=True)
class Kind:
    """A kind of stimuli: its settings, how they are made, and how its features are written."""

    config: type[Any]
    make: Callable[[Any], xr.Dataset]
    read: Callable[[Mapping[str, str]], Any]  # feature name -> rule, to the field `features`
    usual: Mapping[str, str]  # the features where none are named
    rules: str  # what a rule may be, for the help
    summary: str


KINDS: dict[str, Kind] = {
    "binary": Kind(
        BinaryConfig,
        make_binary,
        lay_out,
        {"easy": "copy", "hard": "parity-4"},
        f"{', '.join(RULES)}, with -K input units where they can differ",
        "binary vectors with hidden Boolean features",
    ),
    "images": Kind(
        ImagesConfig,
        make_images,
        read_features,
        {"colour": "colour", "shape": "shape"},
        f"{', '.join(PROPERTIES)}, with -K classes",
        "small colour images of one shape",
    ),
    "sequences": Kind(
        SequencesConfig,
        make_sequences,
        read_token_features,
        {"easy": "presence", "hard": "parity-2"},
        f"{', '.join(TOKEN_RULES)}, with -K bearing tokens, and -D tokens apart for agreement",
        "token strings with features at random places",
    ),
}


def prepare_stimuli(
    kind: str,
    path: str | Path,
    rules: Mapping[str, str] | None = None,
    *,
    dtype: str = "float32",
    overwrite: bool = False,
    **settings: Any,
) -> Path:
    """Draw stimuli and write them to a file.

    Parameters
    ----------
    kind
        ``"binary"`` or another of KINDS.
    path
        The file to write, ``stimuli.h5``.
    rules
        Feature name -> rule, as the kind reads it; None for the usual ones.
    dtype
        Stored type of the inputs. ``"float16"`` halves the file and holds all our stimuli exactly,
        but netCDF4-python cannot read it.
    overwrite
        Replace an existing file.
    **settings
        Other fields of the kind's settings: sizes of the splits, seed, prevalence, ...

    Returns
    -------
    pathlib.Path
        The file: ``/layers/input`` ([token,] stimulus, unit), ``/features``, coords stimulus,
        split and labels that may be used. Its provenance holds the settings under "config", and
        under "roles" what :func:`datasets.checks.check_roles` measured.

    Raises
    ------
    FeatureError, ParameterError, StimulusError
        The settings cannot be kept.
    StoreError
        The file exists or cannot be written.
    """
    if kind not in KINDS:
        raise ParameterError(f"prepare_stimuli: kind is {kind!r}. Use one of {list(KINDS)}.")
    known = KINDS[kind]
    rules = dict(rules or known.usual)
    if odd := sorted(set(settings) - {f.name for f in _settings(known)}):
        raise ParameterError(
            f"prepare_stimuli: {kind} has no setting {odd[0]!r}. "
            f"It has {sorted(f.name for f in _settings(known))}."
        )
    config = known.config(features=known.read(rules), **settings)
    data = known.make(config)
    if "roles" not in data.attrs:  # nothing is written that was not checked
        data = attach_roles(data, config)
    kept = {f.name: _plain(getattr(config, f.name)) for f in _settings(known)}
    along = {dim: [str(n) for n, c in data.coords.items() if c.dims == (dim,)] for dim in data.dims}
    with Writer(
        path,
        system=f"{kind} stimuli",
        source="datasets.prepare",
        stimulus=data["stimulus"].values,
        features=data.drop_vars("input").reset_coords(drop=True),
        coords={n: data[n].values for n in along["stimulus"] if n != "stimulus"},
        units={"input": {n: data[n].values for n in along["unit"]}} if along["unit"] else None,
        provenance={
            "config": {"kind": kind, "features": rules, **kept},
            "roles": json.loads(data.attrs["roles"]),
        },
        dtype=dtype,
        overwrite=overwrite,
    ) as writer:
        writer.append({"input": data["input"].transpose("stimulus", ...).values})
    return Path(path)


def _settings(kind: Kind) -> list[Field[Any]]:
    """Fields of the kind's settings, less the features."""
    return [f for f in fields(kind.config) if f.name != "features"]


def _plain(value: Any) -> Any:
    """Turn a setting into what JSON can hold."""
    if isinstance(value, Mapping):
        return dict(value)
    return list(value) if isinstance(value, tuple) else value


# --- the command --------------------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m datasets.prepare",
        description=prose(__doc__ or ""),
        epilog="Options of a kind: python -m datasets.prepare KIND --help",
        allow_abbrev=False,
    )
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="KIND")
    for name, kind in KINDS.items():
        about = inspect.getdoc(kind.config) or ""
        command = kinds.add_parser(
            name,
            help=kind.summary,
            description=prose(about.partition("\nParameters\n")[0]),
            allow_abbrev=False,
        )
        command.add_argument("--out", required=True, type=Path, help="file to write")
        usual = " ".join(f"{k}={v}" for k, v in kind.usual.items())
        command.add_argument(
            "--feature",
            action="append",
            metavar=RULE.metavar,
            help=f"a feature, once for each; RULE is one of {kind.rules} (default {usual})",
        )
        _add_settings(command, kind, described(about))
        command.add_argument(
            "--dtype",
            choices=DTYPES,
            default=DTYPES[0],
            help="stored type of the inputs; float16 holds them exactly in half the space, but "
            "netCDF4-python cannot read it (default float32)",
        )
        command.add_argument("--overwrite", action="store_true", help="replace an existing file")
    return parser


def _add_settings(command: argparse.ArgumentParser, kind: Kind, texts: Mapping[str, str]) -> None:
    """Make one option of each setting; its type and its help are those of the dataclass."""
    hints = get_type_hints(kind.config)
    for setting in _settings(kind):
        written = text_of(hints[setting.name])
        options: dict[str, Any] = {"action": "append"} if written.repeated else {}
        if hints[setting.name] is bool:
            options = {"nargs": "?", "const": "true"}
        text = texts.get(setting.name, "")
        if setting.default is not MISSING:
            text += f" (default {_shown(setting.default)})"
        command.add_argument(
            f"--{setting.name}",
            help=text.replace("%", "%%"),
            metavar=written.metavar,
            default=argparse.SUPPRESS,
            **options,
        )


def _shown(value: Any) -> str:
    return ",".join(value) if isinstance(value, tuple) else str(value).lower()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; errors are one line on stderr and exit status 1."""
    options = vars(_parser().parse_args(arguments))
    kind, path = options.pop("kind"), options.pop("out")
    config = KINDS[kind].config
    hints = {f.name: get_type_hints(config)[f.name] for f in _settings(KINDS[kind])}
    try:
        rules = read_table("feature", RULE, options.pop("feature") or []) or KINDS[kind].usual
        settings = {
            name: read(name, text_of(hint), options.pop(name))
            for name, hint in hints.items()
            if name in options
        }
        prepare_stimuli(kind, path, rules, **settings, **options)
    except ReptoolsError as error:
        print(error, file=sys.stderr)
        return 1
    total = sum(settings.get(split, getattr(config, split)) for split in SPLITS)
    print(f"{path}: {total} stimuli, features {', '.join(rules)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
