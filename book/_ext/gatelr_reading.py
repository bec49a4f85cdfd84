"""What makes a page pleasant to read: folds that say what is in them, previews of references, and repairs of markup.

* Code that is folded away says what it does: ``Show the code that draws Figure 6.1``. A chapter may word it otherwise,
  with ``mystnb={"code_prompt_show": "…"}`` in the cell's header.
* sphinx-tippy collects what a reference points to; here that is cut down to what a preview needs.
* What an accessibility engine finds in the markup of others is mended.
"""

from __future__ import annotations

from typing import Any

import sphinx_tippy
from bs4 import BeautifulSoup
from docutils import nodes
from markupsafe import escape
from myst_nb.sphinx_ import HideCodeCellNode
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform

#: How many rows of a table its preview shows.
ROWS = 8
#: What of an element is of no use in its preview.
NOT_IN_PREVIEWS = (
    ".headerlink, .copybtn, button, script, summary, details, nav, .figure-menu, .rubric, .viewcode-link, .used-in"
)


class Folds(SphinxPostTransform):
    """A fold that was given no words of its own says what its code makes."""

    default_priority = 198  # myst-nb folds at 199
    formats = ("html",)

    def run(self, **kwargs: Any) -> None:
        for cell in self.document.findall(nodes.container):
            if cell.get("hide_mode") == "input" and cell["prompt_show"] == self.config.nb_code_prompt_show:
                cell["prompt_show"] = self._says(cell)

    def _says(self, cell: nodes.container) -> str:
        if figures := self._numbers(cell, nodes.figure, "figure"):
            return f"Show the code that draws {figures}"
        if tables := self._numbers(cell, nodes.table, "table"):
            return f"Show the code that makes {tables}"
        if any(cell.findall(nodes.paragraph)):
            return "Show where these numbers come from"
        return str(cell["prompt_show"])

    def _numbers(self, cell: nodes.container, kind: type[nodes.Element], name: str) -> str:
        """Such as "Figure 1.1" or "Table 6.2 and Table 6.3"; empty if the cell made none that has a number."""
        numbers = {i: n for by_kind in self.env.toc_fignumbers.values() for i, n in by_kind.get(name, {}).items()}
        ids = [i for node in cell.findall(kind) for i in node["ids"] if i in numbers]
        return " and ".join(self.config.numfig_format[name] % ".".join(map(str, numbers[i])) for i in ids)


def visit_fold(translator: Any, node: HideCodeCellNode) -> None:
    """As myst-nb has it, but named by what is seen: its label for screen readers says neither what nor whether."""
    translator.body.append(f'<details class="fold hide {" ".join(node["classes"])}">\n')
    translator.body.append(f"<summary>{escape(node['prompt_show'])}</summary>\n")


def depart_fold(translator: Any, node: HideCodeCellNode) -> None:
    """End what :func:`visit_fold` began."""
    translator.body.append("</details>\n")


def mend(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None) -> None:
    """docutils says that a bibliography is a list, but not of what, and gives its entries a role that is no more."""
    if doctree is not None and "citation-list" in context["body"]:
        context["body"] = context["body"].replace(' role="doc-biblioentry"', ' role="listitem"')


def tidy(html: str) -> str:
    """A preview: without what can be clicked, without names that the page has already, and without a long tail.

    Its images wait until it is shown: a page with fifty references would otherwise load fifty figures.
    """
    soup = BeautifulSoup(html, "html.parser")
    for element in soup.select(NOT_IN_PREVIEWS):
        element.decompose()
    for row in [row for body in soup.find_all("tbody") for row in body.find_all("tr")[ROWS:]]:
        row.decompose()
    for element in soup.find_all(True):
        for name in ("id", "href", "tabindex", "role"):
            element.attrs.pop(name, None)
        if element.name == "a":
            element.name = "span"
        if element.name == "img":
            element["loading"] = "lazy"
    return str(soup)


def tidy_previews(app: Sphinx, exception: Exception | None) -> None:
    """Before sphinx-tippy writes the previews; in an order of their own, so that two builds write the same."""
    if exception is None and app.builder.format == "html":
        for data in sphinx_tippy.get_tippy_data(app)["pages"].values():
            data["id_to_html"] = {name: tidy(html) for name, html in data["id_to_html"].items()}
            data["refs_in_page"] = sorted(data["refs_in_page"], key=str)


def setup(app: Sphinx) -> dict[str, Any]:
    app.setup_extension("myst_nb")
    app.setup_extension("sphinx_tippy")
    # It draws the names of its files at random, so that no two builds of the same book would be the same.
    sphinx_tippy.uuid4 = lambda: "previews"
    app.add_post_transform(Folds)
    app.add_node(HideCodeCellNode, override=True, html=(visit_fold, depart_fold))
    app.connect("html-page-context", mend, priority=400)  # sphinx-tippy reads the page at 450
    app.connect("build-finished", tidy_previews, priority=400)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
