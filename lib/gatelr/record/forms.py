"""What stands under a cell: a line for each check and claim, a figure, a table, a formula.

Each is given in several forms, of which a front end takes the one that it can. The book takes Markdown. Of a figure or
a table that is a comment: the book shows it where a directive in the chapter's prose says so.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
from IPython.display import display


@dataclass(frozen=True)
class Shown:
    """What a cell shows."""

    markdown: str  #: for the book, with MyST directives
    html: str  #: for JupyterLab
    text: str  #: for a terminal
    file: str = ""  #: in the chapter's artefact folder, for a notebook that is to be taken away

    def __repr__(self) -> str:
        return self.text

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> tuple[dict[str, str], dict[str, Any]]:
        forms = {"text/markdown": self.markdown, "text/html": self.html, "text/plain": self.text}
        return forms, {"gatelr": {"file": self.file}} if self.file else {}


def check(chapter: str, row: Mapping[str, Any]) -> Shown:
    """A tick and what holds, or a cross and by how much it does not."""
    value, tolerance = row["value"], row["tolerance"]
    mark, measured = "✓", ""
    if row["passed"] and tolerance:
        measured = f": {value:.2g} ≤ {tolerance:.2g}"
    elif not row["passed"]:
        mark, measured = "✗", f": FAILS, got {value}, expected at most {tolerance:.2g}"
    return _line(f"check-{chapter}-{row['id']}", "gatelr-check", f"{mark} {row['statement']}{measured}")


def claim(chapter: str, row: Mapping[str, Any]) -> Shown:
    """The verdict with the settings that it comes from, the effect with its interval, and what the null gives."""
    low, high = row["interval"]
    unit = f" {row['unit']}" if row["unit"] else ""
    side, kind = "more" if row["greater"] else "less", "" if row["primary"] else ", exploratory"
    if row["settings"] > 1:
        kind = f", supported in {row['supported in']} of {row['settings']} settings{kind}"
    mean = "Mean over settings" if row["settings"] > 1 else "Measured"
    line = (
        f"{row['verdict'].capitalize()}{kind}: {row['statement'].rstrip('.')}. {mean} {row['effect']:.3g}{unit} "
        f"({row['level'] * 100:.3g} % interval {low:.3g} to {high:.3g}, {row['seeds']} seeds); the claim needs "
        f"{side} than {row['threshold']:.3g}, the null gives {row['null']:.3g}."
    )
    return _line(f"claim-{chapter}-{row['id']}", f"gatelr-claim {row['verdict']}", line)


def figure(name: str, svg: bytes, alt: str) -> Shown:
    """A figure, for JupyterLab alone."""
    source = base64.b64encode(svg).decode()
    image = f'<img src="data:image/svg+xml;base64,{source}" alt="{html.escape(alt)}" style="background: white">'
    return Shown(f"% fig-{name}\n", image, f"Figure {name}: {alt}", f"figures/{name}.svg")


def table(name: str, data: pd.DataFrame) -> Shown:
    """A table, for JupyterLab alone."""
    return Shown(f"% tab-{name}\n", data.to_html(index=False), data.to_string(index=False), f"tables/{name}.csv")


def show(name: str, *expressions: Any) -> None:
    r"""Print ``name = expression`` as mathematics, one line for each expression of SymPy.

    Args:
        name, expressions: the left side in LaTeX, such as ``r"\tau"``, and the right sides.
    """
    import sympy as sp

    for expression in expressions:
        display(sp.Eq(sp.Symbol(f"{{{name}}}"), expression, evaluate=False))


def _line(label: str, classes: str, line: str) -> Shown:
    # the name is where the claims ledger's links lead
    markdown = f":::{{container}} {classes}\n:name: {label}\n\n{line}\n:::\n"
    return Shown(markdown, f"<div>{html.escape(line)}</div>", line)
