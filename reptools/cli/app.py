"""The command tree, built at call time from the commands and the registry; and its errors."""

from __future__ import annotations

import functools
import inspect
import sys
import traceback as tracebacks
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

from reptools import schema
from reptools._version import __version__
from reptools.cli import computing, describing, output, streams, words
from reptools.cli.words import Word, input_words, option_words
from reptools.engine.operation import Operation
from reptools.engine.registry import find, operations
from reptools.errors import ReptoolsError, ReptoolsWarning, naming

if TYPE_CHECKING:
    import typer

ABOUT = """Analyse what neural networks and brains represent.

An address is a file (run.h5 stands for all its layers), layers of it by name or pattern
(run.h5::fc2, 'run.h5::fc*'), or a pattern of files ('runs/*.h5'); for dissimilarity matrices FILE
or FILE::rdms/NAME. A system is called as its file says, or as the address says (a=run.h5).

A failure ends with one line on stderr that begins with "error:" and with exit status 2; with
--json, stdout then holds {"error": {"type": ..., "message": ...}}."""

JSON_WANTED = "reptools.json"


def run() -> None:
    """Build the tree and run it on the arguments of the process."""
    with streams.checked():
        with _one_line_warnings():
            app = build_app()
        app(prog_name="reptools")  # also where it is started by python -m


def build_app() -> typer.Typer:
    """Build the command tree, with every metric that is registered now."""
    import typer

    app = typer.Typer(
        cls=_root_group(),
        help=ABOUT,
        no_args_is_help=True,
        add_completion=True,
        rich_markup_mode=None,  # plain text, which pipes and narrow screens can show
        pretty_exceptions_enable=False,
        # --n_units and --n-units, variance-explained and variance_explained are the same word
        context_settings={
            "token_normalize_func": lambda word: word.replace("-", "_"),
            "max_content_width": 100,
        },
    )
    app.callback()(_root())
    _add_describing(app)
    app.add_typer(_compute_group(), name="compute")
    _add_shortcuts(app)
    return app


def _add_describing(app: typer.Typer) -> None:
    file, json = words.FILE, words.JSON
    _add(app, "info", describing.info, (file, json), "Show what a file holds.", "info run.h5")
    _add(
        app,
        "validate",
        describing.validate,
        (file, words.DEEP, json),
        "List every deviation of a file from the schema (exit status 1).",
        "validate run.h5 --deep",
    )
    summary = "List the metrics and interventions, or tell all of one."
    _add(app, "metrics", describing.metrics, (words.NAME, json), summary, "metrics rsa")


def _compute_group() -> typer.Typer:
    """One command an operation, each made from its declaration."""
    import typer

    group = typer.Typer(
        cls=_metric_group(),
        help="Evaluate any metric or intervention; `reptools compute NAME --help` tells all of it.",
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    for operation in operations().values():
        _add_operation(group, operation.name, operation, f"compute {_example(operation)}")
    return group


def _example(operation: Operation) -> str:
    """A command line as somebody would write it."""
    rdms = next(iter(operation.sides.values())).group == schema.RDMS
    if operation.compares:
        pair = "brain.h5::rdms/human brain.h5::rdms/monkey" if rdms else "run.h5::fc1 other.h5"
        return f"{operation.name} {pair}"
    words = ["rdms.h5" if rdms else "run.h5"]
    for word in input_words(operation)[1:]:
        value = {"models": "models.h5", "features": "easy,hard", "target": "easy"}
        words.append(f"{word.flag} {value.get(word.name, 'other.h5')}")
    return " ".join([operation.name, *words])


def _add_shortcuts(app: typer.Typer) -> None:
    """The three questions that are asked most, and the page that asks them all."""
    example = "variance 'runs/*.h5' --step all --out curves.csv"
    _add_operation(app, "variance", find("variance_explained"), example)
    _add_operation(app, "probe", find("probe"), "probe run.h5 --target digit --cv 10")
    pairs = [one for one in operations().values() if one.compares and not _of_rdms(one)]
    pair = (Word("x", input_words(pairs[0])[0].help, required=True), Word("y", words.SECOND))
    _add(
        app,
        "compare",
        computing.compare,
        (*pair, words.METRIC, *_selecting(), *option_words(pairs), *words.OUTPUT),
        "Compare two files layer by layer, or one with itself.",
        "compare a.h5 b.h5 --metric rsa --compare pearson",
    )
    choosing = (words.NAMES, words.LAYERS, *words.PLACES)
    page = (words.FILES, words.PAGE, words.TITLE, *choosing, words.OVERWRITE, words.JSON)
    summary = "Write a page of figures and tables of several files."
    _add(app, "report", computing.report, page, summary, "report a.h5 b.h5 --out report.html")


def _of_rdms(operation: Operation) -> bool:
    return next(iter(operation.sides.values())).group == schema.RDMS


def _selecting() -> tuple[Word, ...]:
    return (words.LAYERS, *words.PLACES, words.STIMULI)


def _add_operation(app: typer.Typer, name: str, operation: Operation, example: str) -> None:
    function = functools.partial(computing.compute, operation)
    options = option_words([operation])
    taken = (*input_words(operation), *_selecting(), *options, *words.OUTPUT)
    _add(app, name, function, taken, words.unmarked(operation.summary), example)


def _add(
    app: typer.Typer,
    name: str,
    function: Callable[..., int | None],
    taken: Sequence[Word],
    summary: str,
    example: str,
) -> None:
    """Add one command; typer reads its arguments from the signature it is given."""
    command = _guarded(name, function)
    command.__signature__ = words.signature((*taken, words.TRACEBACK))  # type: ignore[attr-defined]
    app.command(name=name, help=f"{summary}\n\n\b\nExample:\n  reptools {example}")(command)


def _guarded(name: str, function: Callable[..., int | None]) -> Callable[..., None]:
    """Print errors and warnings of reptools as one line each; anything else is a bug and shows."""

    def command(*, traceback: bool, **values: Any) -> None:
        import typer

        with _one_line_warnings():
            try:
                with naming(name):
                    status = function(**values)
            except ReptoolsError as error:
                _fail(error, json=bool(values.get("json")), show=traceback)
            except KeyboardInterrupt:
                raise typer.Exit(130) from None
        if status:
            raise typer.Exit(status)

    return command


def _fail(error: ReptoolsError, *, json: bool, show: bool = False) -> NoReturn:
    """End with one line on stderr; with ``--json`` stdout holds the same as one object."""
    if show:
        tracebacks.print_exception(error)
    message = " ".join(str(error).split())
    print(f"error: {message}", file=sys.stderr)
    if json:
        output.print_json(_as_json(type(error).__name__, message))
    sys.exit(2)


def _as_json(kind: str, message: str) -> dict[str, dict[str, str]]:
    return {"error": {"type": kind, "message": message}}


@contextmanager
def _one_line_warnings() -> Iterator[None]:
    """Warnings on stderr without the source line, each text once."""
    shown: set[str] = set()

    def show(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
        text = " ".join(str(message).split())
        if not issubclass(category, ReptoolsWarning):
            text = f"{category.__name__}: {text}"
        if text not in shown:
            shown.add(text)
            print(f"warning: {text}", file=sys.stderr)

    with warnings.catch_warnings():
        warnings.simplefilter("always", ReptoolsWarning)
        warnings.showwarning = show
        yield


def _metric_group() -> Any:
    """Group whose commands are metrics, so that an unknown one is answered by the registry."""
    from typer.core import TyperGroup

    class MetricGroup(TyperGroup):
        def get_command(self, ctx: Any, cmd_name: str) -> Any:
            try:
                with naming("compute"):
                    return super().get_command(ctx, find(cmd_name.replace("-", "_")).name)
            except ReptoolsError as error:
                _fail(error, json=_wants_json(ctx))

    return MetricGroup


def _root_group() -> Any:
    """The command itself, where a wrong command line is a JSON object too, if JSON is asked for."""
    from typer.core import TyperGroup

    class Root(TyperGroup):
        def make_context(self, info_name: Any, args: Any, *rest: Any, **more: Any) -> Any:
            args = list(args)
            wanted = "--json" in args
            with self._told(wanted):
                context = super().make_context(info_name, args, *rest, **more)
            context.meta[JSON_WANTED] = wanted
            return context

        def invoke(self, ctx: Any) -> Any:
            with self._told(_wants_json(ctx)):
                return super().invoke(ctx)

        @staticmethod
        @contextmanager
        def _told(wanted: bool) -> Iterator[None]:
            try:
                yield
            except Exception as error:
                # told by what it can do: typer's errors are click's or, from 0.26 on, its own
                told = getattr(error, "format_message", None)
                if wanted and told is not None:
                    output.print_json(_as_json(type(error).__name__, told()))
                raise

    return Root


def _wants_json(ctx: Any) -> bool:
    """Whether the command line as a whole asks for JSON, whatever part of it is wrong."""
    return bool(ctx.meta.get(JSON_WANTED))


def _root() -> Callable[..., None]:
    """Options of ``reptools`` itself."""
    import typer

    def show(value: bool) -> None:
        if value:
            print(f"reptools {__version__}")
            raise typer.Exit

    def root(**_: Any) -> None:
        pass

    option = typer.Option("--version", help="Show the version.", callback=show, is_eager=True)
    version = inspect.Parameter(
        "version",
        inspect.Parameter.KEYWORD_ONLY,
        default=False,
        annotation=Annotated[bool, option],
    )
    root.__signature__ = inspect.Signature([version])  # type: ignore[attr-defined]
    return root
