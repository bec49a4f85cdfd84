r"""Symbols that can be pointed to and found: ``{symbol}`\mu_{t,k} <mu_tk; μ; effective learning rate>```.

The role prints the symbol. The first name is where it can be linked to, as ``symbol-mu-tk``; by each of them the search
finds it, as does the index of the book.
"""

from __future__ import annotations

from typing import Any

from docutils import nodes
from docutils.nodes import Node, system_message
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.util.docutils import ReferenceRole


class Symbol(ReferenceRole):
    """A symbol in TeX, and its names between angle brackets, separated by semicolons."""

    def run(self) -> tuple[list[Node], list[system_message]]:
        names = [name.strip() for name in self.target.split(";")]
        label = nodes.make_id(f"symbol-{names[0]}")
        entries = [("single", name, label, "main", None) for name in names]
        symbol = nodes.inline(self.rawtext, "", nodes.math(self.title, self.title), names=[label], classes=["symbol"])
        self.inliner.document.note_explicit_target(symbol)
        return [addnodes.index(entries=entries), symbol], []


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_role("symbol", Symbol())
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
