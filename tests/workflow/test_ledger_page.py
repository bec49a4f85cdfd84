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
    checks = [CHECK, CHECK | {"id": "other", "claim": "C2"}]
    runs = {"09-test": {"results": {"checks": checks, "claims": claims, "passed": True}}}
    templates = jinja2.Environment(loader=jinja2.FileSystemLoader(pages.TEMPLATES), undefined=jinja2.StrictUndefined)
    return templates.get_template("ledger.md.j2").render(pages.ledger(runs))


def test_a_claim_about_training_shows_what_it_rests_on() -> None:
    text = page([CLAIM])
    row = ["small", "The gate term is small.", "0.123 (0.1 to 0.15)", "less than 0.2", "1", "3", "supported"]
    assert "* - " + "\n  - ".join(row) in text
    assert "notebooks/09-test.html#claim-09-test-terms" in text


@pytest.mark.parametrize("claims", [[], [CLAIM]])
def test_claims_of_the_theory_stand_in_their_order(claims: list[dict[str, Any]]) -> None:
    text = page(claims)
    assert text.index("## C2") < text.index("## C10")
    assert "2 of 2 checks hold, in 1 chapters" in text
    assert ("## Claims about training" in text) == bool(claims)
