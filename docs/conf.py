"""Sphinx settings of the documentation site: `tox -e docs` builds it into build/site, without network."""

from __future__ import annotations

import sys
from pathlib import Path

from vssbench import __version__

sys.path.insert(0, str(Path(__file__).parent))

project = "vssbench"
author = "the vssbench authors"
project_copyright = "2026, the vssbench authors"
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "generated_reference"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
myst_heading_anchors = 4
myst_enable_extensions = ["deflist"]
suppress_warnings = ["myst.header"]

default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
autodoc_class_signature = "mixed"

html_theme = "furo"
html_title = f"vssbench {__version__}"
html_static_path = ["site.css"]
html_css_files = ["site.css"]
