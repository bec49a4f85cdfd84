"""A table that a chapter wrote, where its prose shows it: as ``{figure}`` does, with the caption below the options.

::

    :::{table-file} /artifacts/agreement/tables/worst.csv
    :name: tab-worst

    The worst case of each gate, of {result}`agreement/combinations` combinations.
    :::

The cells of the file may hold Markdown.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from docutils.nodes import Node
from docutils.parsers.rst import directives
from gatelr.record import tables
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective


class TableFile(SphinxDirective):
    """``{table-file} /artifacts/<chapter>/tables/<id>.csv`` with a ``:name:`` and a caption."""

    required_arguments = 1
    has_content = True
    option_spec: ClassVar[Any] = {"name": directives.unchanged_required}

    def run(self) -> list[Node]:
        relative, _ = self.env.relfn2path(self.arguments[0])
        path = Path(self.env.srcdir) / relative
        self.env.note_dependency(relative)  # the page is read again when the chapter has run again
        if not path.exists():
            raise self.error(f"there is no {relative}: run the chapter, or correct the path of the table")
        caption = " ".join(" ".join(self.content).split())
        name = f":name: {self.options['name']}\n" if "name" in self.options else ""
        body = tables.markdown(tables.read(path))
        # behind tildes: behind backticks a caption could hold none
        return self.parse_text_to_nodes(f"~~~{{table}} {caption}\n{name}:class: gatelr-table\n\n{body}\n~~~\n")


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("table-file", TableFile)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
