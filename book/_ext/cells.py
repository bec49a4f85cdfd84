"""Which cell of a chapter made what: a figure stands in the prose, the code that drew it in a cell above."""

from __future__ import annotations

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform


def makers(document: nodes.document, chapter: str) -> dict[str, nodes.container]:
    """For each figure and table of a page, by its label, the nearest cell above whose code names it, or else below."""
    nearest: dict[str, nodes.container] = {}
    above: list[tuple[str, nodes.container]] = []
    waiting: dict[str, tuple[str, ...]] = {}
    for node in document.findall(lambda node: isinstance(node, (nodes.container, nodes.figure, nodes.table))):
        if node.get("nb_element") == "cell_code":
            above.append((code(node), node))
        for label in node["ids"]:
            if label.startswith(("fig-", "tab-")):
                words = _words(label[4:], chapter)
                made = (cell for text, cell in reversed(above) if any(word in text for word in words))
                if cell := next(made, None):
                    nearest[label] = cell
                else:
                    waiting[label] = words
    below = {label: [cell for text, cell in above if any(w in text for w in words)] for label, words in waiting.items()}
    return nearest | {label: cells[0] for label, cells in below.items() if cells}


def source(cell: nodes.container) -> nodes.container | None:
    """The part of a cell that holds its code."""
    return next((part for part in cell.findall(nodes.container) if part.get("nb_element") == "cell_code_source"), None)


def code(cell: nodes.container) -> str:
    """A cell's code."""
    part = source(cell)
    return part.astext() if part else ""


def _words(name: str, chapter: str) -> tuple[str, ...]:
    """How code names a figure or a table; that of all checks has its name from the chapter."""
    validation = (".validation(",) if name == f"{chapter}-validation" else ()
    return f'"{name}"', f"'{name}'", *validation


class Empty(SphinxPostTransform):
    """Of a cell whose figures and tables stand elsewhere, no empty box is left below its code."""

    default_priority = 5  # myst-nb chooses among the forms of an output at 4

    def run(self, **kwargs: object) -> None:
        for output in list(self.document.findall(nodes.container)):
            if output.get("nb_element") == "cell_code_output":
                for comment in [child for child in output.children if isinstance(child, nodes.comment)]:
                    output.remove(comment)
                if not output.children:
                    output.parent.remove(output)


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_post_transform(Empty)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
