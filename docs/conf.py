"""Settings of the documentation: pages are made from what ``import reptools`` gives."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # where the extensions are

import numpydoc.xref
from building import pages

import reptools

project = "reptools"
author = "the reptools developers"
copyright = f"{author}. MIT licence"
version = release = reptools.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "numpydoc",
    "building.docstrings",
    "building.pages",
    "building.running",
    "building.linking",
]
exclude_patterns = ["generated/extra"]
nitpicky = True

# docstrings: types are in their Parameters, with shapes and units, so signatures stay short
autodoc_typehints = "none"
autodoc_member_order = "bysource"
maximum_signature_line_length = 80
smartquotes = False  # docstrings quote values
numpydoc_show_class_members = False
numpydoc_xref_param_type = True
numpydoc_xref_ignore = "all"  # of the words in a type only those below are links
numpydoc_xref_aliases = pages.types()
numpydoc.xref.DEFAULT_LINKS.clear()  # they lead to other projects, whose lists are not loaded
add_module_names = False

# pages
myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence"]
html_theme = "furo"
html_title = f"reptools {release}"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_extra_path = ["generated/extra"]
html_copy_source = False
html_show_sphinx = False
html_theme_options = {"navigation_with_keys": False}
pygments_style = "friendly"
pygments_dark_style = "github-dark"
