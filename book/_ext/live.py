"""The figure that answers: where a script runs, sliders take the place of a picture.

The picture that the chapter drew stays in the page, for paper and for readers without a script; ``live.js`` puts the
sliders beside it and ``live.css`` shows one of the two. Only a page that has such a figure loads them.
"""

from __future__ import annotations

from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

#: The figures that have a live version, by their labels; ``live.js`` looks for the same.
LIVE = {"fig-one-gate"}


def bring(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None) -> None:
    """Files that are added here are those of this page alone."""
    if doctree is not None and any(LIVE.intersection(figure["ids"]) for figure in doctree.findall(nodes.figure)):
        app.add_js_file("live.js", loading_method="defer")
        app.add_css_file("live.css")


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("html-page-context", bring)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
