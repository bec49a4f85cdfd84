"""A reference shows what it points to: under the mouse, under the keyboard's focus, in the dark and on a phone."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from .test_pages import CHAPTERS

HTML = Path(__file__).resolve().parents[2] / "_build" / "html"
RATES, OPTIMISERS, FRONT = "notebooks/bptt-and-rates", "notebooks/gates-as-optimisers", "book/index"
JACOBIANS = f"Theorem {1 + CHAPTERS.index('notebooks/exact-jacobians')}.1"

Look = Callable[[str], Any]

pytestmark = [pytest.mark.xdist_group("book")]


def reference(page: Page, target: str) -> Locator:
    """The first reference of the text to this anchor or page."""
    return page.locator(f".bd-article a.reference[href*='{target}']:not(.headerlink)").first


def preview(page: Page) -> Locator:
    return page.locator(".tippy-box:visible")


@pytest.mark.parametrize(
    ("name", "target", "inside", "says"),
    [
        (RATES, "#thm-jacobian", "div.proof mjx-container", JACOBIANS),
        (OPTIMISERS, "#equation-eq-effective", "mjx-container", ""),
        (RATES, "bibliography.html#", ".citation", "Livi"),
        (RATES, "notation.html", "p", "One set of symbols"),
        (OPTIMISERS, "#ch-bptt", "p", "Backpropagation through time"),
        (FRONT, "#fig-validity-map", "figure img", f"Figure {1 + CHAPTERS.index('notebooks/validity')}."),
        (FRONT, "#tab-verdicts", "table td", f"Table {1 + CHAPTERS.index('notebooks/gates-as-optimisers')}."),
        # A page without mathematics of its own: it comes with the preview.
        ("book/cite", "#claim-c2", "mjx-container", "Exact Jacobians"),
    ],
)
def test_a_reference_shows_what_it_points_to(look: Look, name: str, target: str, inside: str, says: str) -> None:
    page = look(name).page
    link = reference(page, target)
    link.scroll_into_view_if_needed()
    link.hover()
    box = preview(page)
    expect(box).to_have_count(1)
    expect(box).to_contain_text(says)
    expect(box.locator(inside).first).to_be_visible()
    expect(box.locator(".math:not(:has(mjx-container))")).to_have_count(0)
    expect(box.locator("a, button, [id], .headerlink")).to_have_count(0)
    page.mouse.move(0, 0)
    expect(box).to_have_count(0)


def test_the_keyboard_shows_and_hides_it(visit: Callable[..., Page]) -> None:
    page = visit(RATES)
    reference(page, "#thm-jacobian").focus()
    expect(preview(page)).to_contain_text(JACOBIANS)
    page.keyboard.press("Escape")
    expect(preview(page)).to_have_count(0)
    expect(reference(page, "#thm-jacobian")).to_be_focused()


def test_the_mouse_can_move_into_it(visit: Callable[..., Page]) -> None:
    page = visit(FRONT)
    link = reference(page, "#tab-verdicts")
    link.scroll_into_view_if_needed()
    link.hover()
    box = preview(page)
    expect(box).to_be_visible()
    box.locator("caption").hover()
    page.wait_for_timeout(400)  # longer than it takes to go
    expect(box).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_figure_has_the_colours_of_the_page(visit: Callable[..., Page], scheme: str) -> None:
    page = visit(FRONT, scheme=scheme)
    reference(page, "#fig-validity-map").focus()
    shown = preview(page).locator("img:visible")
    expect(shown).to_have_count(1)
    expect(shown).to_have_class(re.compile(f"only-{scheme}"))
    assert shown.evaluate("image => image.decode().then(() => image.naturalWidth)") > 0


def test_a_figure_is_loaded_when_it_is_shown(visit: Callable[..., Page]) -> None:
    page = visit(FRONT)
    loaded = "() => performance.getEntriesByType('resource').map(entry => entry.name).join()"
    assert "validity-map" not in page.evaluate(loaded)
    reference(page, "#fig-validity-map").focus()
    expect(preview(page).locator("img:visible")).to_have_js_property("complete", True)
    assert "validity-map" in page.evaluate(loaded)


def test_on_a_phone_it_stays_on_the_screen(visit: Callable[..., Page]) -> None:
    page = visit(RATES, width=390)
    for target in ("#thm-jacobian", "#fig-rates-by-lag-and-neuron", "notation.html"):
        reference(page, target).focus()
        box = preview(page)
        expect(box).to_be_visible()
        left, right = box.evaluate("box => { const b = box.getBoundingClientRect(); return [b.left, b.right]; }")
        assert left >= 0
        assert right <= 390
        assert page.evaluate("() => document.scrollingElement.scrollWidth") == 390
        page.keyboard.press("Escape")


def test_a_tap_follows_the_link(browser: Browser, book: str) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page = context.new_page()
    page.goto(f"{book}/{RATES}.html", wait_until="networkidle")
    reference(page, "#thm-jacobian").tap()
    page.wait_for_url("**/exact-jacobians.html#thm-jacobian")
    context.close()


@pytest.mark.parametrize("name", [FRONT, RATES])
def test_it_complains_of_nothing_and_asks_no_other_host(look: Look, name: str) -> None:
    opened = look(name)
    for link in opened.page.locator(".bd-article a.reference.internal:visible").all()[:12]:
        link.focus()
    opened.page.keyboard.press("Escape")
    opened.page.evaluate("() => document.activeElement.blur()")
    assert opened.complaints == []


def test_previews_are_light() -> None:
    files = sorted((HTML / "_static" / "tippy").rglob("*.js"))
    assert files
    # as stored: about a tenth travels. The list of all tables previews each of them, and grows with the chapters
    budget = {"tables.previews.js": 14_000 * len(CHAPTERS)}
    heavy = {file.name: file.stat().st_size for file in files if file.stat().st_size > budget.get(file.name, 200_000)}
    assert heavy == {}
