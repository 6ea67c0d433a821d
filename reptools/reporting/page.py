"""A page of figures, tables and notes that is one HTML file and needs nothing besides."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from reptools._version import __version__
from reptools.errors import MissingExtraError, ParameterError, naming
from reptools.provenance import now, to_json
from reptools.reporting.tables import Table, as_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Tone = Literal["note", "warning", "error"]
MIME = {"svg": "image/svg+xml", "png": "image/png"}


@dataclass
class Block:
    """One piece of a section; the template shows it by its kind."""

    kind: str
    text: str = ""
    number: int = 0
    caption: str = ""
    tone: str = ""
    uri: str = ""
    alt: str = ""
    width: int = 0
    body: str = ""
    table: Table | None = None


@dataclass
class Section:
    """A heading and what stands below it."""

    title: str
    anchor: str
    blocks: list[Block] = field(default_factory=list)


class Page:
    """One self-contained HTML page, built from top to bottom.

    What is added goes to the section opened last. All text is shown as it is: nothing in a name or
    a caption is read as HTML.

    Parameters
    ----------
    title : str
        Heading of the page and of the browser's tab.
    summary : str
        One or two sentences below it; may be set later, when the results are known.

    Examples
    --------
    >>> from reptools.reporting import Page
    >>> page = Page("Two layers", summary="A first look.")
    >>> page.section("Scores", "Higher is more alike.")
    >>> page.table([{"layer": "fc1", "cka": 0.91}, {"layer": "fc2", "cka": 0.52}], "Linear CKA.")
    >>> page.write("page.html").name
    'page.html'
    """

    def __init__(self, title: str, *, summary: str = "") -> None:
        self.title = title
        self.summary = summary
        self.sections: list[Section] = []
        self._figures = 0
        self._tables = 0

    def section(self, title: str, text: str = "") -> None:
        """Open a section."""
        self.sections.append(Section(title, f"section-{len(self.sections) + 1}"))
        if text:
            self.text(text)

    def heading(self, title: str, text: str = "") -> None:
        """Put a smaller heading inside the section."""
        self._add(Block("heading", title))
        if text:
            self.text(text)

    def text(self, text: str) -> None:
        """Add a paragraph."""
        self._add(Block("text", text))

    def note(self, text: str, *, tone: Tone = "note") -> None:
        """Add a paragraph that stands out: a note, a warning or an error."""
        if tone not in ("note", "warning", "error"):
            raise ParameterError(
                f"Page.note: tone must be note, warning or error, got {tone!r}. Pass 'note'."
            )
        self._add(Block("note", text, tone=tone))

    def figure(
        self, figure: Figure, caption: str, *, alt: str = "", format: Literal["svg", "png"] = "svg"
    ) -> None:
        """Add a matplotlib figure at its own size.

        Parameters
        ----------
        figure : matplotlib.figure.Figure
            Left as it is.
        caption : str
            Says what is seen, so that the figure can be read alone.
        alt : str
            What a reader who cannot see the figure should know; by default the caption.
        format : "svg" or "png"
            Vector by default; "png" where a figure has very many marks.
        """
        if format not in MIME:
            raise ParameterError(f"Page.figure: format must be svg or png, got {format!r}.")
        stream = io.BytesIO()
        dated: dict[str, Any] = {"metadata": {"Date": None}} if format == "svg" else {}
        figure.savefig(stream, format=format, dpi=200, **dated)
        coded = base64.b64encode(stream.getvalue()).decode("ascii")
        self._figures += 1
        self._add(
            Block(
                "figure",
                number=self._figures,
                caption=caption,
                uri=f"data:{MIME[format]};base64,{coded}",
                alt=alt or caption,
                width=round(96 * figure.get_figwidth()),
            )
        )

    def table(self, data: Any, caption: str = "", *, digits: int = 3) -> None:
        """Add a table.

        Parameters
        ----------
        data : DataArray, Dataset, or sequence of mappings
            A DataArray of one or two dimensions (the first one down), a Dataset whose variables
            share one dimension (one column each), or rows of column name to value.
        caption : str
            What the numbers are.
        digits : int
            Decimals of fractional numbers. A missing value is shown as n/a.

        Raises
        ------
        DimensionError
            There are more dimensions than a table has.
        """
        with naming("Page.table"):
            table = as_table(data, digits)
        self._tables += bool(caption)
        self._add(Block("table", number=self._tables, caption=caption, table=table))

    def details(self, title: str, content: Any, *, digits: int = 3) -> None:
        """Add what few readers need, folded away: text, a mapping, or a table."""
        if isinstance(content, str):
            self._add(Block("details", title, body=content))
        elif isinstance(content, Mapping):
            self._add(Block("details", title, body=_lines(content)))
        else:
            with naming("Page.details"):
                self._add(Block("details", title, table=as_table(content, digits)))

    def html(self) -> str:
        """Return the page as text.

        Raises
        ------
        MissingExtraError
            jinja2 is not installed.
        """
        try:
            from jinja2 import Environment, PackageLoader
        except ImportError:
            raise MissingExtraError("jinja2", "plot", "a report page") from None
        environment = Environment(
            loader=PackageLoader("reptools.reporting", "."),
            autoescape=True,
            keep_trailing_newline=True,
        )
        template = environment.get_template("page.html")
        created = now()[:16].replace("T", " ") + " UTC"
        return template.render(page=self, version=__version__, created=created)

    def write(self, path: str | Path) -> Path:
        """Write the page to ``path`` and return it; missing folders are made."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.html(), encoding="utf-8", errors="backslashreplace")
        return path

    def _add(self, block: Block) -> None:
        if not self.sections:
            self.section("")
        self.sections[-1].blocks.append(block)


def _lines(content: Mapping[Any, Any], depth: int = 0) -> str:
    """A nested mapping as indented lines."""
    lines = []
    for key, value in content.items():
        if isinstance(value, Mapping):
            lines += [f"{'  ' * depth}{key}:", _lines(value, depth + 1)]
        else:
            shown = value if isinstance(value, str) else to_json(value)
            lines.append(f"{'  ' * depth}{key}: {shown}")
    return "\n".join(lines)
