"""Sphinx's settings for the site. Nothing is executed, and no page asks another host for anything."""
from __future__ import annotations

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.writers.html5 import HTML5Translator

project = html_title = "Transfer learning, hands on"
author = "The transfer learning course authors"
language = "en"
extensions = ["myst_nb"]
exclude_patterns = ["LICENSE"]
highlight_language = "text"  # of blocks that name none
smartquotes = False  # `--save` is an option, not a dash
suppress_warnings = ["config.cache"]

nb_execution_mode = "off"
nb_ipywidgets_js = {}  # the predictions are stored as plain HTML; by default a script from another host would load widgets
nb_mime_priority_overrides = [("html", "image/gif", 25)]
myst_enable_extensions = ["dollarmath", "deflist", "colon_fence"]
myst_heading_anchors = 3

html_theme = "sphinx_book_theme"
html_static_path = ["static"]
html_css_files = ["course.css"]
html_favicon = "static/mark.svg"
html_logo = "static/mark.svg"
html_copy_source = html_show_sourcelink = False  # the notebooks to download are the originals, in downloads/
html_show_sphinx = False
html_math_renderer = "mathml"
html_context = {"default_mode": "auto"}
html_theme_options = {
    "logo": {"text": project, "alt_text": ""},
    "home_page_in_toc": False,
    "navbar_start": [], "navbar_center": [], "navbar_end": [], "navbar_persistent": [],  # all that is needed is in the side bar
    "show_navbar_depth": 1,
    "show_toc_level": 1,
    "use_download_button": False,
    "use_fullscreen_button": False,
    "search_bar_text": "Search the course",
    "toc_title": "On this page",
    "footer_content_items": ["extra-footer.html"],
    "extra_footer": "Code: MIT. Text and figures: CC BY 4.0. Made by the transfer learning course authors.",
}


def mathml(formula: str, display: str) -> str:
    """A formula in LaTeX as MathML, which every current browser shows by itself. display: "inline" or "block"."""
    try:
        return convert(formula, display=display)
    except Exception as error:  # the package raises a kind of its own for each mistake
        raise ExtensionError(f"the formula {formula!r} cannot be shown ({type(error).__name__}): write it with plainer LaTeX") from error


def visit_inline(self: HTML5Translator, node: nodes.math) -> None:
    """Write a formula within a line."""
    self.body.append(f'<span class="math">{mathml(node.astext(), "inline")}</span>')
    raise nodes.SkipNode


def visit_block(self: HTML5Translator, node: nodes.math_block) -> None:
    """Write a formula that stands alone; one that is wider than a telephone can be scrolled, with the keyboard too."""
    self.body.append(f'<div class="math" tabindex="0">{mathml(node.astext(), "block")}</div>\n')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    """What Sphinx calls: mathematics without a script from another host."""
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
