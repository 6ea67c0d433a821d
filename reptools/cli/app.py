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

from reptools._version import __version__
from reptools.cli import computing, describing, output, streams, words
from reptools.cli.words import Word, metric_words
from reptools.engine.operation import Metric
from reptools.engine.registry import find, metrics
from reptools.errors import ReptoolsError, ReptoolsWarning, naming

if TYPE_CHECKING:
    import typer

ABOUT = """Analyse what neural networks and brains represent.

An address is a file (run.h5 stands for all its layers) or layers of it by name or pattern
(run.h5::fc2, 'run.h5::fc*'); for dissimilarity matrices FILE or FILE::rdms/NAME. A failure ends
with one line on stderr that begins with "error:" and with exit status 2; with --json, stdout then
holds {"error": {"type": ..., "message": ...}}."""

JSON_WANTED = "reptools.json"
INPUTS: dict[str, tuple[Word, ...]] = {
    "pair": (words.X, words.Y, words.LAYERS, *words.PLACES),
    "feature": (words.X, words.FEATURES, words.LAYERS, *words.PLACES),
    "single": (words.X, words.LAYERS, *words.PLACES),
    "rdms": (words.RDM_X, words.RDM_Y, *words.PLACES),
    "models": (words.RDM_X, words.MODELS, *words.PLACES),
    "transfer": (words.X, words.TESTED, words.FEATURES, words.LAYERS, *words.PLACES),
}
EXAMPLES = {
    "pair": "run.h5::fc1 other.h5",
    "feature": "run.h5 --features easy,hard",
    "single": "run.h5 --step all --out result.csv",
    "rdms": "brain.h5::rdms/human brain.h5::rdms/monkey",
    "models": "brain.h5::rdms/human models.h5",
    "transfer": "run.h5 --features easy --at token=last",
}


def run() -> None:
    """Build the tree and run it on the arguments of the process."""
    with streams.checked():
        with _one_line_warnings():
            app = build_app()
        app()


def build_app() -> typer.Typer:
    """Build the command tree, with every metric that is registered now."""
    import typer

    app = typer.Typer(
        cls=_root_group(),
        help=ABOUT,
        no_args_is_help=True,
        add_completion=False,
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
    summary = "List the metrics, or tell all of one."
    _add(app, "metrics", describing.metrics, (words.NAME, json), summary, "metrics rsa")


def _compute_group() -> typer.Typer:
    """One command a metric, each made from its record."""
    import typer

    group = typer.Typer(
        cls=_metric_group(),
        help="Evaluate any metric; `reptools compute NAME --help` shows its options.",
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    for record in metrics().values():
        example = f"compute {record.name} {EXAMPLES[record.kind]}"
        _add_metric(group, record.name, record, INPUTS[record.kind], example)
    return group


def _add_shortcuts(app: typer.Typer) -> None:
    """The three questions that are asked most, and the page that asks them all."""
    variance, probe = find("variance_explained"), find("probe")
    example = "variance run.h5 --step all --out curves.csv"
    _add_metric(app, "variance", variance, INPUTS["feature"], example)
    reading = (words.X, words.TARGET, words.LAYERS, *words.PLACES)
    _add_metric(app, "probe", probe, reading, "probe run.h5 --target digit --cv 10")
    pairs = [record for record in metrics().values() if record.kind == "pair"]
    _add(
        app,
        "compare",
        computing.compare,
        (*INPUTS["pair"], words.METRIC, *metric_words(pairs), *words.OUTPUT),
        "Compare two files layer by layer, or one with itself.",
        "compare a.h5 b.h5 --metric rsa --compare pearson",
    )
    choosing = (words.NAMES, words.LAYERS, *words.PLACES)
    page = (words.FILES, words.PAGE, words.TITLE, *choosing, words.OVERWRITE, words.JSON)
    summary = "Write a page of figures and tables of several files."
    _add(app, "report", computing.report, page, summary, "report a.h5 b.h5 --out report.html")


def _add_metric(
    app: typer.Typer, name: str, record: Metric, inputs: Sequence[Word], example: str
) -> None:
    function = functools.partial(computing.compute, record)
    taken = (*inputs, *metric_words([record]), *words.OUTPUT)
    _add(app, name, function, taken, record.summary, example)


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
