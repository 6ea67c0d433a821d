"""Every argument and option of the command line, said once; metric options come from the record.

Values arrive as text and are parsed by whoever knows their meaning, so that a command and a call
from Python meet the same checks.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any

from reptools.engine.operation import Metric
from reptools.engine.options import Parameter


@dataclass(frozen=True)
class Word:
    """One argument (no flag) or option of a command.

    Attributes
    ----------
    name : str
        The keyword under which the command's function receives the value.
    help : str
        One line for ``--help``.
    flag : str or None
        How an option is written; None makes an argument that is told by its place.
    type : type
        ``str``, ``bool`` (a switch) or ``list[str]`` (one or more).
    required : bool
        Whether the command fails without it; otherwise the value is ``default``.
    metavar : str
        What ``--help`` shows in the place of an option's value.
    """

    name: str
    help: str
    flag: str | None = None
    type: Any = str
    required: bool = False
    default: Any = None
    metavar: str = "TEXT"


FILE = Word("file", "A file of the reptools schema, or what a killed writer left.", required=True)
FILES = Word("files", "Files of the reptools schema.", type=list[str], required=True)
X = Word(
    "x",
    "run.h5 for all layers, run.h5::fc2 for one, 'run.h5::fc*' for some.",
    required=True,
)
Y = Word("y", "The other side, written alike; without it x is compared with itself.")
TESTED = Word(
    "y",
    "Where what was fitted on x is tested: the same units, layer by layer. Without it x itself, "
    "each of its positions against each other (time against time_).",
)
RDM_X = Word(
    "x", "rdms.h5 for all dissimilarity matrices, rdms.h5::rdms/NAME for one.", required=True
)
RDM_Y = Word("y", "The others, written alike; without it x is compared with itself.")
MODELS = Word(
    "models",
    "Models of them: dissimilarity matrices, written alike.",
    type=list[str],
    required=True,
)

STEP = Word(
    "step",
    "Training step where a file has several: first, last, all (keeps the dimension) or its "
    "number; short for --at step=. [default: last]",
    "--step",
)
AT = Word(
    "at",
    "Position along an outer dimension, such as token=3, time=0.1 or subject=first: a coordinate "
    "value (a number from 0 where there are none), first, last or all. May be repeated.",
    "--at",
    type=list[str],
    metavar="DIM=VALUE",
)
LAYERS = Word(
    "layers",
    "Names or patterns of layers of whole files, joined by commas: 'fc*,block.?'. [default: all]",
    "--layers",
)
FEATURES = Word(
    "features", "Names or patterns of features, joined by commas. [default: all]", "--features"
)
TARGET = Word(
    "features", "Feature to read out, or several joined by commas.", "--target", required=True
)
DEEP = Word("deep", "Also read every value and check it.", "--deep", bool)
JSON = Word(
    "json",
    "Print one JSON object and nothing else on stdout; missing values are null. A failure "
    'prints {"error": {"type", "message"}} there, beside the line on stderr.',
    "--json",
    bool,
)
LONG = Word("long", "One row a value, with all that belongs to it.", "--long", bool)
OUT = Word(
    "out",
    "Also write the result: .h5 or .nc (netCDF-4) or .csv (one row a value). Dissimilarity "
    "matrices in .h5 or .nc are then addresses: out.h5::rdms/NAME.",
    "--out",
)
OVERWRITE = Word("overwrite", "Let --out replace a file.", "--overwrite", bool)
PAGE = Word("out", "The HTML page to write.", "--out", required=True)
NAME = Word("name", "A metric, to be told all of it.")
TITLE = Word("title", "Title of the page.", "--title")
NAMES = Word("metrics", "Names of metrics, joined by commas. [default: as the report]", "--metrics")
METRIC = Word(
    "metric", "Any pair metric of `reptools metrics`. [default: cka]", "--metric", default="cka"
)
TRACEBACK = Word("traceback", "Show where an error came from.", "--traceback", bool)

PLACES = (STEP, AT)
OUTPUT = (LONG, JSON, OUT, OVERWRITE)
TAKEN = {
    word.name for word in (X, Y, MODELS, LAYERS, FEATURES, *PLACES, *OUTPUT, METRIC, TRACEBACK)
}


def option_name(parameter: str) -> str:
    """Keyword of a metric's option; set apart where a common option has the same name."""
    return f"metric_{parameter}" if parameter in TAKEN else parameter


def metric_words(records: Iterable[Metric]) -> list[Word]:
    """One text option for each option of the metrics; where they differ, each says its own."""
    records = list(records)
    found: dict[str, dict[str, list[str]]] = {}
    for record in records:
        for name, parameter in record.parameters.items():
            found.setdefault(name, {}).setdefault(describe(parameter), []).append(record.name)
    words = []
    for name, said in found.items():
        text = "; ".join(
            described if len(names) == len(records) else f"{', '.join(names)}: {described}"
            for described, names in said.items()
        )
        keyword = option_name(name)
        words.append(Word(keyword, text, f"--{keyword.replace('_', '-')}"))
    return words


def describe(parameter: Parameter) -> str:
    """What an option accepts and what it is without a word."""
    return f"{allowed(parameter)} [default: {plain(parameter.default)}]"


def allowed(parameter: Parameter) -> str:
    """The values that an option accepts, with room to fold between them."""
    return parameter.description.replace("|", " | ")


def plain(value: Any) -> str:
    """A default value as it is written on the command line."""
    if isinstance(value, (tuple, list)):
        return ",".join(map(str, value)) or "none"
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)


def signature(words: Iterable[Word]) -> inspect.Signature:
    """The words as keyword-only parameters that typer understands."""
    import typer

    parameters = []
    for word in words:
        kind = word.type if word.required or word.type is bool else word.type | None
        metavar = word.name.upper() if word.flag is None else word.metavar
        if word.flag is None:
            info = typer.Argument(help=word.help, metavar=metavar, show_default=False)
        elif word.type is bool:
            info = typer.Option(word.flag, help=word.help, show_default=False)
        else:
            info = typer.Option(word.flag, help=word.help, metavar=metavar, show_default=False)
        default = bool(word.default) if word.type is bool else word.default
        parameters.append(
            inspect.Parameter(
                word.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=inspect.Parameter.empty if word.required else default,
                annotation=Annotated[kind, info],
            )
        )
    return inspect.Signature(parameters)
