"""What only a published book has: an address of its own for who links, cites or searches, and other versions beside it.

A book that is built without `GATELR_URL` (see workflow/address.py) has none of this, and lacks nothing.
"""

from __future__ import annotations

import html
import re
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from docutils import nodes
from matplotlib import font_manager
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinxext import opengraph

sys.path.append(str(Path(__file__).resolve().parents[2] / "workflow"))
import address

# Cards, as a link shows them elsewhere. The extension's own font has no ∂; the second one comes with Matplotlib.
CARD = {
    "image": "book/_static/logo.png",
    "image_mini": "book/_static/blank.png",  # it would be Sphinx's
    "line_color": "#0072b2",
    "font": ["Roboto Flex", "DejaVu Sans"],
    "site_url": "",
}
SWITCH = "version-switcher.html"
LOST = """<h1>This page is not here</h1>
<p>It may have moved, or the address has a slip. <a href="{home}">The first page</a> and the list of chapters lead
on, and so does the search. What was cited by version, such as <code>v0.1.0</code>, keeps its address for good.</p>"""


# Where a command of TeX and an entity of HTML for the same sign differ in name; most are called alike.
ENTITIES = {
    "partial": "part",
    "cdots": "ctdot",
    "ldots": "hellip",
    "dots": "hellip",
    "infty": "infin",
    "to": "rarr",
    "varepsilon": "epsilon",
}


def readable(tex: str) -> str:
    """A short formula as a line of text: "M_{t,k} = \\prod_j A_j" becomes "M_t,k = ∏_j A_j"."""
    signs = re.sub(r"\\([A-Za-z]+)", lambda name: f"&{ENTITIES.get(name[1], name[1])};", tex)
    plain = re.sub(r"&(\w+);|\\.|[{}~]", r"\1", html.unescape(signs))
    return " ".join(plain.split())


def describe(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Before the description of a page is taken from its first lines, which are written already: no TeX in it."""
    for formula in doctree.findall(lambda node: isinstance(node, nodes.math | nodes.math_block)) if doctree else ():
        # A space before it, as the description joins words to a sign that looks like punctuation.
        formula.children = [nodes.Text(f" {readable(formula.astext())}")]


def configure(app: Sphinx, config: Config) -> None:
    """Before any extension looks at the configuration."""
    root = address.url()
    prefix = urlsplit(root).path if root else "/"
    config.notfound_urls_prefix = prefix
    config.notfound_context = {
        "title": "Page not found",
        "body": LOST.format(home=f"{prefix}{config.root_doc}.html"),
    }
    if root is None:
        return
    config.html_baseurl = root
    config.sitemap_url_scheme = "{link}"
    config.sitemap_excludes = ["404.html", "genindex.html", "prf-prf.html", "search.html"]
    config.ogp_site_url = root
    config.ogp_site_name = config.html_title
    config.ogp_social_cards = CARD
    if version := address.published_as():
        options = config.html_theme_options
        # Relative to the root of this version, so that a version goes on working when the site moves.
        options["switcher"] = {"json_url": "../versions.json", "version_match": version}
        options["check_switcher"] = False  # the file is made when the versions are put together
        start = options.get("article_header_start", ["toggle-primary-sidebar.html"])
        options["article_header_start"] = [*start, SWITCH]


def without_switch(app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: object) -> None:
    """The page for the lost stands at no known depth, from where it could ask for the list of versions."""
    if pagename == app.config.notfound_pagename and context.get("theme_switcher"):
        context["theme_switcher"] = None
        start = context["theme_article_header_start"]
        context["theme_article_header_start"] = [part for part in start if part != SWITCH]


def setup(app: Sphinx) -> dict[str, Any]:
    app.setup_extension("notfound.extension")
    if address.url():
        app.setup_extension("sphinx_sitemap")
        app.setup_extension("sphinxext.opengraph")
        font_manager.fontManager.addfont(Path(opengraph.__file__).parent / "_static" / "Roboto-Flex.ttf")
        app.connect("html-page-context", describe, priority=400)  # both before who uses what they change
        app.connect("html-page-context", without_switch, priority=100)
    app.connect("config-inited", configure, priority=100)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
