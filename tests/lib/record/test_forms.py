"""What a cell shows: a line in the book, a picture in JupyterLab."""

from __future__ import annotations

import pandas as pd
import pytest
import sympy as sp
from gatelr.record import Finding, forms

CHECK = {"id": "near", "statement": "it is <near>", "value": 1e-13, "tolerance": 1e-12, "passed": True}


def test_a_check_is_a_line_that_links_lead_to() -> None:
    said, more = forms.check("a-test", CHECK)._repr_mimebundle_()
    assert said["text/markdown"].startswith(":::{container} gatelr-check\n:name: check-a-test-near\n\n✓ it is <near>")
    assert said["text/html"] == "<div>✓ it is &lt;near&gt;: 1e-13 ≤ 1e-12</div>"
    assert more == {}


def test_a_figure_and_a_table_are_shown_in_the_notebook_alone() -> None:
    said, more = forms.figure("a-line", b"<svg/>", 'A "line"')._repr_mimebundle_()
    assert said["text/markdown"] == "% fig-a-line\n", "a comment: the book shows it where its directive stands"
    assert 'src="data:image/svg+xml;base64,PHN2Zy8+" alt="A &quot;line&quot;"' in said["text/html"]
    assert more == {"gatelr": {"file": "figures/a-line.svg"}}
    said, more = forms.table("bars", pd.DataFrame({"x": [1]}))._repr_mimebundle_()
    assert said["text/markdown"] == "% tab-bars\n"
    assert "<table" in said["text/html"]
    assert more == {"gatelr": {"file": "tables/bars.csv"}}


def test_a_formula_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    forms.show(r"\tau", sp.Symbol("a") + 1, sp.Integer(2))
    assert capsys.readouterr().out == "Eq({\\tau}, a + 1)\nEq({\\tau}, 2)\n"


def test_a_finding_at_the_end_of_a_cell_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    Finding(1.0, 0.5, 1.5, 0.1, 3, "supported")._ipython_display_()
    assert capsys.readouterr().out == ""
