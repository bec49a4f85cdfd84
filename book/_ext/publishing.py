"""What only a published book has: an address of its own for who links, cites or searches, and other versions beside it.

A book that is built without `GATELR_URL` (see workflow/address.py) has none of this, and lacks nothing.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sphinx.application import Sphinx
from sphinx.config import Config

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


def setup(app: Sphinx) -> dict[str, Any]:
    app.setup_extension("notfound.extension")
    if address.url():
        app.setup_extension("sphinx_sitemap")
        app.setup_extension("sphinxext.opengraph")
    app.connect("config-inited", configure, priority=100)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
