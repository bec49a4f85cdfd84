"""The ledger in a browser: what one sees first, and what the filter leaves."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

LEDGER = "book/generated/ledger"

pytestmark = [pytest.mark.xdist_group("book")]


def test_the_page_is_an_overview_with_folds(visit: Callable[..., Page]) -> None:
    page = visit(LEDGER)
    rows = page.locator("details.ledger-rows tbody tr")
    assert rows.count() > 100
    expect(rows.first).to_be_hidden()
    assert page.evaluate("document.documentElement.scrollHeight") < 10_000
    overview = page.locator("#ledger-overview, #overview").first.inner_text()
    for words in ("C2 Exact Jacobians", "proved for every n and ℓ", "holds"):
        assert words in overview


def test_a_word_and_a_verdict_choose_rows(visit: Callable[..., Page]) -> None:
    page = visit(LEDGER)
    rows = page.locator("details.ledger-rows tbody tr")
    page.get_by_label("Words").fill("rank one")
    shown = rows.locator("visible=true")
    expect(shown.first).to_be_visible()
    assert 0 < shown.count() < rows.count() / 4
    assert all("rank" in text.lower() for text in shown.all_inner_texts())
    expect(page.get_by_role("status")).to_have_text(re.compile(rf"^{shown.count()} of {rows.count()} rows"))

    page.get_by_label("Words").fill("")
    page.get_by_label("Verdict").select_option("refuted")
    assert shown.count() > 0
    assert all("refuted" in text for text in shown.all_inner_texts())

    page.get_by_label("Verdict").select_option("")
    expect(rows.first).to_be_hidden()


def test_old_addresses_are_there(visit: Callable[..., Page]) -> None:
    page = visit(LEDGER)
    for name in ("c1", "c15", "ledger-c1", "reproducibility", "ledger-reproducibility", "claims-about-training"):
        expect(page.locator(f"#{name}")).to_be_attached()
