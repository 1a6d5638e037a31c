"""Sphinx settings: ``make docs``. Nothing here, nor in the pages that come out, asks the network."""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))

from mien import __version__  # noqa: E402

project = "mien"
author = copyright = "the authors of mien"
release = version = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
exclude_patterns = ["people", "conf.py"]
html_theme = "furo"
html_title = f"mien {__version__}"
html_show_sphinx = False
html_copy_source = False
autodoc_typehints = "signature"
autodoc_inherit_docstrings = False
autodoc_member_order = "bysource"
autodoc_use_type_comments = False
default_role = "code"
nitpicky = False
suppress_warnings = ["ref.python"]  # names of options that are also names of fields
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_attr_annotations = False

_LITERAL = re.compile(r"(``.*?``|`[^`]*`_?|:\w+:`[^`]*`)", re.DOTALL)
_SIGNS = re.compile(r"(?<!\\)([|]|[*](?! )|(?<=\w)_(?!\w))")


def plain(app, what, name, obj, options, lines) -> None:
    """Docstrings are plain English with equations: signs that mean something in reST are taken as signs."""
    if lines:
        parts = _LITERAL.split("\n".join(lines))
        parts[::2] = [_SIGNS.sub(r"\\\1", part) for part in parts[::2]]
        lines[:] = "".join(parts).split("\n")


def setup(app) -> None:
    """Before napoleon, whose own marks must stay."""
    app.connect("autodoc-process-docstring", plain, priority=100)
