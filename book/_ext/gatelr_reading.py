"""Code that is folded away says what it does: ``Show the code that draws Figure 6.1``.

A chapter may word it otherwise, with ``mystnb={"code_prompt_show": "…"}`` in the cell's header.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cells
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform


class Folds(SphinxPostTransform):
    """A fold that was given no words of its own says what its code makes."""

    default_priority = 198  # myst-nb folds at 199
    formats = ("html",)

    def run(self, **kwargs: Any) -> None:
        makers = cells.makers(self.document, Path(self.env.docname).name)
        for cell in self.document.findall(nodes.container):
            if cell.get("hide_mode") == "input" and cell["prompt_show"] == self.config.nb_code_prompt_show:
                cell["prompt_show"] = self._says(cell, [label for label, maker in makers.items() if maker is cell])

    def _says(self, cell: nodes.container, made: list[str]) -> str:
        if figures := self._numbers(made, "figure"):
            return f"Show the code that draws {figures}"
        if tables := self._numbers(made, "table"):
            return f"Show the code that makes {tables}"
        if any(cell.findall(nodes.paragraph)):
            return "Show where these numbers come from"
        return str(cell["prompt_show"])

    def _numbers(self, labels: list[str], kind: str) -> str:
        """Such as "Figure 1.1" or "Table 6.2 and Table 6.3"; empty if there is none that has a number."""
        numbers = {i: n for by_kind in self.env.toc_fignumbers.values() for i, n in by_kind.get(kind, {}).items()}
        own = [label for label in labels if label in numbers]
        return " and ".join(self.config.numfig_format[kind] % ".".join(map(str, numbers[label])) for label in own)


def setup(app: Sphinx) -> dict[str, Any]:
    app.setup_extension("cells")
    app.add_post_transform(Folds)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
