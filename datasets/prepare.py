"""Write stimuli to a file: ``python -m datasets.prepare binary --out stimuli.h5``.

Any training code can start from the file: the layer ``input`` holds the vectors, ``/features``
what is to be learned, and the coord ``split`` who may see which stimulus.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from reptools.errors import ParameterError, ReptoolsError
from reptools.store import Writer

from .binary import SPLITS, BinaryConfig, make_binary
from .features import RULES, lay_out


def prepare_binary(
    path: str | Path, rules: dict[str, str], *, overwrite: bool = False, **settings: int
) -> Path:
    """Draw binary stimuli and write them to a file.

    Parameters
    ----------
    path
        The file to write, ``stimuli.h5``.
    rules
        Feature name -> rule (:func:`datasets.features.lay_out`).
    overwrite
        Replace an existing file.
    **settings
        Other fields of :class:`datasets.binary.BinaryConfig`: units, sizes of the splits, seed.

    Returns
    -------
    pathlib.Path
        The file: ``/layers/input`` (stimulus, unit), ``/features``, coords stimulus and split. Its
        provenance holds the settings under "config".

    Raises
    ------
    FeatureError, ParameterError, StimulusError
        The settings cannot be kept.
    StoreError
        The file exists or cannot be written.
    """
    config = BinaryConfig(lay_out(rules), **settings)
    data = make_binary(config)
    numbers = {name: getattr(config, name) for name in ("units", *SPLITS, "seed")}
    with Writer(
        path,
        system="binary stimuli",
        source="datasets.prepare",
        stimulus=data["stimulus"].values,
        features=data.drop_vars(["input", "split"]),
        coords={"split": data["split"].values},
        provenance={"config": {"kind": "binary", "features": dict(rules), **numbers}},
        overwrite=overwrite,
    ) as writer:
        writer.append({"input": data["input"].values})
    return Path(path)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m datasets.prepare", description=__doc__, allow_abbrev=False
    )
    kinds = parser.add_subparsers(dest="kind", required=True)
    binary = kinds.add_parser(
        "binary", help="binary vectors with hidden Boolean features", allow_abbrev=False
    )
    binary.add_argument("--out", required=True, type=Path, help="file to write")
    binary.add_argument(
        "--feature",
        action="append",
        metavar="NAME=RULE",
        help=f"rule: {', '.join(RULES)}, with -K units; default easy=copy and hard=parity-4",
    )
    for name in ("units", *SPLITS, "seed"):
        default = getattr(BinaryConfig, name)
        binary.add_argument(f"--{name}", type=int, default=default, help=f"default {default}")
    binary.add_argument("--overwrite", action="store_true", help="replace an existing file")
    return parser


def _rules(texts: Sequence[str]) -> dict[str, str]:
    rules: dict[str, str] = {}
    for text in texts:
        name, equals, rule = text.partition("=")
        if not equals or name in rules:
            raise ParameterError(
                f"prepare: --feature is {text!r}. Write NAME=RULE, each name once: hard=parity-4."
            )
        rules[name] = rule
    return rules


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; errors are one line on stderr and exit status 1."""
    options = _parser().parse_args(arguments)
    settings = {name: getattr(options, name) for name in ("units", *SPLITS, "seed")}
    try:
        rules = _rules(options.feature or ["easy=copy", "hard=parity-4"])
        path = prepare_binary(options.out, rules, overwrite=options.overwrite, **settings)
    except ReptoolsError as error:
        print(error, file=sys.stderr)
        return 1
    total = sum(settings[split] for split in SPLITS)
    print(f"{path}: {total} stimuli, features {', '.join(rules)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
