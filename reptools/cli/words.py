"""Every argument and option of the command line, said once; an operation's own from its text.

Values arrive as text and are parsed by whoever knows their meaning, so that a command and a call
from Python meet the same checks.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any

from reptools.engine.inputs import FeaturesInput, ModelsInput
from reptools.engine.operation import Operation
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
SECOND = "The other side, written alike; without it x is compared with itself."
MANY = " Several files, or a pattern in quotes such as 'runs/*.h5', give a dimension system."
OTHER_LAYERS = (
    "An open file whose layer of the same name is taken, or FILE::LAYER for all. Without it each "
    "layer itself, its outer dimensions crossed (time against time_)."
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
    "Also write the result: .h5 or .nc (netCDF-4), .csv or .parquet (tidy tables, one row a "
    "value). Dissimilarity matrices in .h5 or .nc are then addresses: out.h5::rdms/NAME.",
    "--out",
)
STIMULI = Word(
    "stimuli",
    "exact | common: whether inputs must have the same stimuli, or are cut to those that all "
    "share. [default: exact]",
    "--stimuli",
)
OVERWRITE = Word("overwrite", "Let --out replace a file.", "--overwrite", bool)
PAGE = Word("out", "The HTML page to write.", "--out", required=True)
NAME = Word("name", "A metric or intervention, to be told all of it.")
TITLE = Word("title", "Title of the page.", "--title")
NAMES = Word(
    "metrics",
    "Names of metrics and interventions, joined by commas. [default: all]",
    "--metrics",
    metavar="NAMES",
)
METRIC = Word(
    "metric", "Any metric that takes x and y alone. [default: cka]", "--metric", default="cka"
)
TRACEBACK = Word("traceback", "Show where an error came from.", "--traceback", bool)

PLACES = (STEP, AT)
OUTPUT = (LONG, JSON, OUT, OVERWRITE)
TAKEN = {word.name for word in (LAYERS, STIMULI, *PLACES, *OUTPUT, METRIC, TRACEBACK)}


def input_words(operation: Operation) -> list[Word]:
    """The inputs of an operation: its sides by their place, features and models by their name."""
    words: list[Word] = []
    sides = list(operation.sides)
    for name, kind in operation.inputs.items():
        if operation.compares:
            first = name == sides[0]
            words.append(Word(name, kind.help if first else SECOND, required=first))
        elif name == sides[0]:
            words.append(Word(name, kind.help + MANY, type=list[str], required=True))
        elif isinstance(kind, ModelsInput):
            words.append(Word(name, kind.help, f"--{name}", list[str], required=True))
        elif kind.side:
            words.append(Word(name, OTHER_LAYERS, f"--{name}", metavar="FILE"))
        elif isinstance(kind, FeaturesInput):
            words.append(Word(name, kind.help, f"--{name}", metavar="NAMES"))
    return words


def option_name(parameter: str) -> str:
    """Keyword of a metric's option; set apart where a common option has the same name."""
    return f"metric_{parameter}" if parameter in TAKEN else parameter


def option_words(operations: Iterable[Operation]) -> list[Word]:
    """One text option for each option of the operations; where they differ, each says its own."""
    operations = list(operations)
    found: dict[str, dict[str, list[str]]] = {}
    for operation in operations:
        for name, parameter in operation.parameters.items():
            said = describe(parameter, brief=len(operations) > 1)
            found.setdefault(name, {}).setdefault(said, []).append(operation.name)
    words = []
    for name, said_by in found.items():
        text = "; ".join(
            described if len(names) == len(operations) else f"{', '.join(names)}: {described}"
            for described, names in said_by.items()
        )
        keyword = option_name(name)
        words.append(Word(keyword, text, f"--{keyword.replace('_', '-')}"))
    return words


def describe(parameter: Parameter, *, brief: bool = False) -> str:
    """What an option means, what it accepts, and what it is without a word."""
    said = f"{allowed(parameter)} [default: {short(parameter.default)}]"
    return said if brief or not parameter.text else f"{unmarked(parameter.text)} Values: {said}"


def unmarked(text: str) -> str:
    """A docstring's text without its marks: ``C`` is C, and :func:`readout` is readout."""
    return re.sub(r":\w+:`~?([^`]*)`", r"\1", text).replace("``", "")


def short(value: Any, limit: int = 6) -> str:
    """A default that has room in a line: of many values the first ones and the last."""
    if isinstance(value, (tuple, list)) and len(value) > limit:
        return f"{plain(value[:3])},...,{value[-1]} ({len(value)} values)"
    return plain(value)


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
