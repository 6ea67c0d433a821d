"""One self-contained HTML page: figures, tables, and where every number comes from."""

from __future__ import annotations

from reptools.reporting.build import report
from reptools.reporting.page import Page

__all__ = ["Page", "report"]
