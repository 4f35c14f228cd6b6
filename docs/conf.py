"""How Sphinx builds the pages: ``sphinx-build -W -n docs FOLDER``."""

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import generated
from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml

from dregcli import __version__

project = "dreg"
author = "The authors of dreg"
copyright = author
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["gallery/make.py"]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
nitpicky = True
# Internal parts of the checks, which have no page.
nitpick_ignore_regex = [
    ("py:class", r"dregcli\.engine\.diagnostics\.(source|references|bias_statistics)\..*"),
    # Types of other projects, in the attributes of dataclasses; the pages link to no other project.
    ("py:class", r"(torch|pathlib|collections\.abc)\..*"),
]
autodoc_typehints = "none"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False

html_theme = "furo"
html_math_renderer = "mathml"
html_title = "dreg"
html_static_path = ["_static"]
html_css_files = ["pages.css"]
html_show_sphinx = False
html_show_sourcelink = False


def _fill(app: Any, name: str, source: list[str]) -> None:  # noqa: ANN401 - Sphinx's application
    """Put the parts that are made from the program into a page."""
    source[0] = generated.fill(source[0])


def _formula(writer: Any, node: Any) -> None:  # noqa: ANN401 - Sphinx's writer and node
    """Write a formula as MathML. Browsers can draw it without a script, so no page needs the network."""
    mathml = tex2mathml(node.astext(), as_block=isinstance(node, nodes.math_block))
    writer.body.append(mathml)
    raise nodes.SkipNode


def setup(app: Any) -> None:  # noqa: ANN401
    """Connect the functions above; Sphinx calls this."""
    app.connect("source-read", _fill)
    app.add_html_math_renderer("mathml", (_formula, None), (_formula, None))
