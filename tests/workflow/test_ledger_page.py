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
    "settings": 2,
    "supported in": 2,
    "primary": True,
    "verdict": "supported",
    "note": "",
}
CHECK = {
    "id": "identity",
    "claim": "C10",
    "statement": "one is one",
    "kind": "numeric",
    "general": False,
    "scope": "one point",
    "value": 1e-15,
    "tolerance": 1e-12,
    "passed": True,
}


def page(claims: list[dict[str, Any]]) -> str:
    again = {"id": "again", "claim": None, "scope": "3 rows"}
    proof = {"id": "proof", "claim": "C2", "scope": "every n", "kind": "symbolic", "general": True}
    checks = [CHECK, CHECK | again, CHECK | {"id": "other", "claim": "C2", "scope": "n = 2", "kind": "symbolic"}]
    results = {"title": "Agreement", "checks": [*checks, CHECK | proof], "claims": claims, "passed": True}
    templates = jinja2.Environment(loader=jinja2.FileSystemLoader(pages.TEMPLATES), undefined=jinja2.StrictUndefined)
    return templates.get_template("ledger.md.j2").render(pages.ledger({"agreement": {"results": results}}))


@pytest.fixture(autouse=True)
def notation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two claims are stated, one of which nobody has checked."""
    text = "**C2 Exact Jacobians.** $J = 1.5\\,A$ in closed\nform {cite}`a`; more.\n\n**C16 GRU.** Later."
    (tmp_path / "notation.md").write_text(text)
    monkeypatch.setattr(pages, "NOTATION", tmp_path / "notation.md")


def row(*cells: str) -> str:
    return "* - " + "\n  - ".join(cells) + "\n"


def test_a_claim_about_training_shows_what_it_rests_on() -> None:
    text = page([CLAIM])
    link = '<a class="reference internal" href="../../notebooks/agreement.html#claim-agreement-terms">{}</a>'
    number = pages.toc.chapters()["agreement"]
    cells = ["small", "The gate term is small.", "0.123 (0.1 to 0.15)", "less than 0.2", "1", "3", "2 of 2, primary"]
    assert row(*cells, "supported", link.format(number)) in text


@pytest.mark.parametrize("claims", [[], [CLAIM]])
def test_claims_of_the_theory_stand_in_their_order(claims: list[dict[str, Any]]) -> None:
    text = page(claims)
    assert text.index("### C2 Exact Jacobians") < text.index("### C10")
    assert "4 of 4 checks hold, in 1 chapters" in text
    assert ("## Claims about training" in text) == bool(claims)


def test_the_overview_says_each_claim_in_words_with_its_scope_and_verdict() -> None:
    overview = page([CLAIM]).partition("(ledger-checks)=")[0]
    name = "{ref}`C2 Exact Jacobians <ledger-C2>`"
    scope = "1 proved for every n and ℓ, 1 by algebra at stated sizes"
    assert row(name, r"$J = 1.5\,A$ in closed form", scope, "2", "holds") in overview
    assert row("{ref}`C10 <ledger-C10>`", "", "1 on numbers", "1", "holds") in overview
    assert row("C16 GRU", "Later", "", "0", "not yet") in overview
    assert row("{ref}`Agreement <ledger-training-agreement>`", "small", "1", "1 supported") in overview


def test_the_rows_are_folded_and_old_addresses_lead_to_them() -> None:
    text = page([CLAIM])
    assert text.count('<details class="fold ledger-rows">') == text.count("</details>") == 4
    for label in ("ledger", "ledger-C2", "c2", "ledger-C10", "c10", "ledger-reproducibility", "ledger-training"):
        assert f"({label})=\n" in text


def test_the_filter_offers_the_verdicts_that_there_are() -> None:
    assert "<option>holds</option><option>supported</option></select>" in page([CLAIM])


def test_a_check_shows_for_what_it_was_made() -> None:
    text = page([])
    link = '<a class="reference internal" href="../../notebooks/agreement.html#check-agreement-{}">{}</a>'
    number = pages.toc.chapters()["agreement"]
    assert row("one is one", "n = 2", "exact", "holds", link.format("other", number)) in text
    assert row("one is one", "one point", "1e-15 ≤ 1e-12", "holds", link.format("identity", number)) in text


def test_a_check_without_a_claim_stands_at_the_end() -> None:
    text = page([])
    assert text.index("### C10") < text.index("### Reproducibility") < text.index("#check-agreement-again")


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
