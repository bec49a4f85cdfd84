"""The ledger's page lists checks and claims about training, each with a link to the cell it comes from."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import jinja2
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "workflow"))
import pages

CLAIM = {
    "id": "terms",
    "claim": "small",
    "statement": "The gate term\nis small.",
    "effect": 0.123456,
    "interval": [0.1, 0.15],
    "level": 0.95,
    "threshold": 0.2,
    "greater": False,
    "null": 1.0,
    "seeds": 3,
    "unit": "",
    "verdict": "supported",
    "note": "",
}
CHECK = {
    "id": "identity",
    "claim": "C10",
    "statement": "one is one",
    "kind": "numeric",
    "value": 1e-15,
    "tolerance": 1e-12,
    "passed": True,
}


def page(claims: list[dict[str, Any]]) -> str:
    again = {"id": "again", "claim": None, "scope": ""}
    checks = [CHECK, CHECK | again, CHECK | {"id": "other", "claim": "C2", "scope": "n = 2", "kind": "symbolic"}]
    runs = {"agreement": {"results": {"checks": checks, "claims": claims, "passed": True}}}
    templates = jinja2.Environment(loader=jinja2.FileSystemLoader(pages.TEMPLATES), undefined=jinja2.StrictUndefined)
    return templates.get_template("ledger.md.j2").render(pages.ledger(runs))


def test_a_claim_about_training_shows_what_it_rests_on() -> None:
    text = page([CLAIM])
    row = ["small", "The gate term is small.", "0.123 (0.1 to 0.15)", "less than 0.2", "1", "3", "supported"]
    assert "* - " + "\n  - ".join(row) in text
    assert '"../../notebooks/agreement.html#claim-agreement-terms">3</a>' in text, "the third chapter of _toc.yml"


@pytest.mark.parametrize("claims", [[], [CLAIM]])
def test_claims_of_the_theory_stand_in_their_order(claims: list[dict[str, Any]]) -> None:
    text = page(claims)
    assert text.index("## C2") < text.index("## C10")
    assert "3 of 3 checks hold, in 1 chapters" in text
    assert ("## Claims about training" in text) == bool(claims)


def test_a_check_shows_for_what_it_was_made() -> None:
    text = page([])
    link = '<a class="reference internal" href="../../notebooks/agreement.html#check-agreement-{}">3</a>'
    assert "* - " + "\n  - ".join(["one is one", "n = 2", "exact", "holds", link.format("other")]) in text
    assert "* - " + "\n  - ".join(["one is one", "", "1e-15 ≤ 1e-12", "holds", link.format("identity")]) in text


def test_a_check_without_a_claim_stands_at_the_end() -> None:
    text = page([])
    assert text.index("## C10") < text.index("## Reproducibility") < text.index("#check-agreement-again")


def test_a_name_that_two_chapters_use_is_said() -> None:
    results = {"checks": [CHECK], "claims": [], "passed": True, "figures": [{"id": "a-line"}], "tables": []}
    assert pages.problems({"one": {"results": results}}) == []
    assert pages.problems({"one": {"results": results}, "other": {"results": results}}) == [
        "one and other both have a figure 'a-line': rename one of them"
    ]


def test_a_red_check_is_said_even_if_it_belongs_to_no_claim() -> None:
    red = CHECK | {"claim": None, "passed": False, "value": 0.5}
    (said,) = pages.problems({"one": {"results": {"checks": [red], "claims": [], "passed": False}}})
    assert said == "one: check 'identity' of reproducibility does not hold: got 0.5, tolerance 1e-12"
