"""What a reader does: search, switch the light off, print, copy code, move by keyboard, follow a citation."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

ROOT = Path(__file__).resolve().parents[2]
FIGURE = "notebooks/01-time-scales"

pytestmark = [pytest.mark.xdist_group("book")]


@pytest.mark.parametrize(
    ("term", "where"),
    [("Jacobian", "Exact Jacobians"), ("alpha", "Notation and claims"), ("citation", "How to cite")],
)
def test_search_finds(visit: Callable[..., Page], term: str, where: str) -> None:
    page = visit("book/index")
    page.get_by_role("button", name="Search").first.click()
    page.locator("dialog input[name=q]").fill(term)
    page.keyboard.press("Enter")
    results = page.locator("#search-results")
    expect(results.get_by_role("link", name=re.compile(where)).first).to_be_visible()


def test_a_figure_changes_its_colours_with_the_page(visit: Callable[..., Page]) -> None:
    page = visit(FIGURE, scheme="dark")
    light, dark = page.locator("figure img.only-light").first, page.locator("figure img.only-dark").first
    expect(dark).to_be_visible()
    expect(light).to_be_hidden()
    expect(page.locator("figure figcaption").first).to_be_visible()
    # The theme dims other images in the dark and puts them on white.
    expect(dark).to_have_css("filter", "none")
    expect(dark).to_have_css("background-color", "rgba(0, 0, 0, 0)")
    assert dark.get_attribute("alt") == light.get_attribute("alt")
    assert dark.evaluate("image => image.decode().then(() => image.naturalWidth)") > 0

    page.emulate_media(color_scheme="light")
    expect(light).to_be_visible()
    expect(dark).to_be_hidden()
    expect(page.locator("figure figcaption").first).to_be_visible()


def test_a_reader_chooses_light_or_dark(visit: Callable[..., Page]) -> None:
    page = visit("book/index")
    switch = page.locator(".theme-switch-button:visible")
    seen = set()
    for _ in range(3):
        switch.click()
        seen.add(page.locator("html").get_attribute("data-theme"))
    assert seen == {"light", "dark"}


def test_paper_is_white(visit: Callable[..., Page]) -> None:
    page = visit(FIGURE, scheme="dark")
    page.evaluate("() => dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print")
    expect(page.locator("figure img.only-light").first).to_be_visible()
    expect(page.locator("figure img.only-dark").first).to_be_hidden()
    expect(page.locator("html")).to_have_attribute("data-theme", "light")
    page.evaluate("() => dispatchEvent(new Event('afterprint'))")
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")


def test_code_can_be_copied(visit: Callable[..., Page]) -> None:
    page = visit("book/reproduce")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    block = page.locator("div.highlight").first
    block.hover()
    block.locator("button.copybtn").click()
    expect(block.locator("button.copybtn")).to_have_class(re.compile("success"))
    assert "make book" in page.evaluate("() => navigator.clipboard.readText()")


def test_the_keyboard_reaches_the_text_at_once(visit: Callable[..., Page]) -> None:
    page = visit("book/index")
    page.keyboard.press("Tab")
    skip = page.locator("#pst-skip-link a")
    expect(skip).to_be_focused()
    expect(skip).to_be_in_viewport()
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("#main-content$"))


def test_a_citation_leads_to_the_bibliography(visit: Callable[..., Page]) -> None:
    page = visit("book/index")
    page.locator("a[href*='bibliography.html#']").first.click()
    expect(page.locator("div.citation:target")).to_contain_text("Livi")


def test_the_front_page_counts_the_checks_that_the_chapters_made(visit: Callable[..., Page]) -> None:
    chapters = sorted((ROOT / "notebooks").glob("[0-9][0-9]-*.py"))
    results = [json.loads((ROOT / "artifacts" / c.stem / "results.json").read_text()) for c in chapters]
    total = sum(len(result["checks"]) for result in results)
    expect(visit("book/index").locator("p:has-text('These chapters rest on') span.result").first).to_have_text(
        str(total)
    )


def test_the_book_opens_at_its_root(visit: Callable[..., Page]) -> None:
    page = visit("index")
    page.wait_for_url("**/book/index.html")
    expect(page.locator("h1:visible")).to_have_text(re.compile("Gates as Learning Rates"))
