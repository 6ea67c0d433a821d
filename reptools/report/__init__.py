"""One self-contained HTML page: figures, tables, and where every number comes from."""

from __future__ import annotations

from reptools.report.build import build_report
from reptools.report.page import Page

__all__ = ["Page", "build_report"]
