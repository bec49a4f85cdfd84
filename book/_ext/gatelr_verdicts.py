"""A card that answers a question about gates in one word, for the first page.

::

    ```{verdict} partly
    :question: Are the gates' corrections **small**?

    One line of plain English, and a link to the evidence.
    ```

The word is one of *holds*, *partly*, *no* and *not yet measured*, or the name of a claim that a chapter measured,
``12-gates-in-training/persistent``: the ledger then says which. A word or a claim that there is not is a warning, and
stops the book.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

logger = logging.getLogger(__name__)

WORDS = ("holds", "partly", "no", "undecided", "not yet measured")
#: How a card of each verdict looks.
MEASURED = {"supported": "holds", "refuted": "no", "absent": "no", "mixed": "partly", "undecided": "undecided"}
#: What a card says of a claim that was judged in several settings.
COUNTED = {
    "supported": "in all {m} settings",
    "refuted": "in none of {m} settings",
    "absent": "absent in all {m} settings",
    "mixed": "in {k} of {m} settings",
    "undecided": "undecided, in {k} of {m} settings",
}


class Verdict(SphinxDirective):
    """``{verdict} <word or chapter/claim>`` with a ``:question:`` and a sentence or two."""

    required_arguments = 1
    final_argument_whitespace = True
    has_content = True
    option_spec: ClassVar[Any] = {"question": directives.unchanged_required}

    def run(self) -> list[nodes.Node]:
        try:
            word, said, rest = self._word(self.arguments[0])
        except LookupError as error:
            logger.warning("%s", error.args[0], location=self.get_location(), type="gatelr", subtype="verdict")
            word, said, rest = WORDS[-1], WORDS[-1], ""
        card = nodes.container(classes=["verdict", word.replace(" ", "-")])
        question, _ = self.parse_inline(self.options["question"], lineno=self.lineno)
        card += nodes.paragraph("", "", *question, classes=["verdict-question"])
        card += nodes.paragraph("", said.capitalize(), classes=["verdict-word"])
        if rest:
            card += nodes.paragraph("", rest, classes=["verdict-rest"])
        card += self.parse_content_to_nodes()
        return [card]

    def _word(self, asked: str) -> tuple[str, str, str]:
        """The word that gives the card its look, what it says, and what it says of the settings without support."""
        if asked in WORDS:
            return asked, asked, ""
        chapter, _, name = asked.partition("/")
        file = f"artifacts/{chapter}/results.json"
        path = Path(self.env.srcdir) / file
        self.env.note_dependency(file)
        claims = json.loads(path.read_text())["claims"] if name and path.exists() else []
        for claim in claims:
            if claim["id"] == name:
                verdict, several = claim["verdict"], claim["settings"] > 1
                counted = COUNTED[verdict].format(k=claim["supported in"], m=claim["settings"])
                word = counted if several else "absent" if verdict == "absent" else MEASURED[verdict]
                return MEASURED[verdict], word, _others(claim) if several else ""
        raise LookupError(
            f"got the verdict {asked!r}, expected one of {', '.join(WORDS)}, or a claim of a chapter's ledger as "
            "'chapter/claim'"
        )


def _others(claim: dict[str, Any]) -> str:
    """How many settings of a claim say what, beside those that support it; nothing if they all say one thing."""
    verdicts = Counter(setting["verdict"] for setting in claim.get("by setting", ()))
    others = [f"{count} {verdict}" for verdict, count in verdicts.most_common() if verdict != "supported"]
    return f"elsewhere {', '.join(others)}" if others and len(verdicts) > 1 else ""


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("verdict", Verdict)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
