"""What two accessibility engines find on every page, axe in the dark and on a phone too; and the way of the Tab key."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest
import yaml
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

ROOT = Path(__file__).resolve().parents[2]
TOC = yaml.safe_load((ROOT / "_toc.yml").read_text())
PAGES = [TOC["root"], *(chapter["file"] for part in TOC["parts"] for chapter in part["chapters"]), "genindex", "search"]
CHAPTER = "notebooks/bptt-and-rates"
DESK, PHONE = {"width": 1280, "height": 844}, {"width": 390, "height": 844}

Look = Callable[[str], Any]

pytestmark = [pytest.mark.xdist_group("book")]


def found(page: Page, **options: Any) -> list[str]:
    """All that axe objects to, except what it calls minor: no rule is switched off for good."""
    # Style sheets are not fetched again to look for locked orientations; there is none in a page without iframes.
    report = Axe().run(page, options={"resultTypes": ["violations"], "preload": False, **options})
    return [
        f"{broken['impact']}: {broken['help']} ({broken['id']}): {node['html'][:160]}"
        for broken in report.response["violations"]
        if broken["impact"] != "minor"
        for node in broken["nodes"]
    ]


#: The second engine asks things that axe leaves out, such as whether an id is used twice or a form can be sent.
SNIFFER = (Path(__file__).parent / "vendor" / "HTMLCS-2.5.1.js").read_text()
SNIFF = """() => new Promise((done, failed) => HTMLCS.process("WCAG2AA", document, () => done(
  HTMLCS.getMessages().filter(said => said.type === HTMLCS.ERROR)
    .map(said => `${said.code}: ${said.msg} ${(said.element.outerHTML ?? "the document").slice(0, 160)}`)
), failed))"""


def sniffed(page: Page) -> list[str]:
    """All that HTML_CodeSniffer calls an error; what it calls a warning or a notice asks for a person's eyes."""
    if not page.evaluate("() => 'HTMLCS' in window"):
        page.evaluate(SNIFFER + "\n;0")
    errors: list[str] = page.evaluate(SNIFF)
    return errors


def narrow(page: Page) -> None:
    """To the width of a phone; the theme looks anew at what scrolls a moment after."""
    page.set_viewport_size(PHONE)
    page.wait_for_timeout(800)


@pytest.mark.parametrize("name", PAGES)
def test_no_violation(look: Look, name: str) -> None:
    assert found(look(name).page) == []


@pytest.mark.parametrize("name", [*PAGES, "404", "py-modindex", "prf-prf"])
def test_no_error_of_the_second_engine(look: Look, name: str) -> None:
    assert sniffed(look(name).page) == []


def test_the_second_engine_finds_what_is_wrong(browser: Browser) -> None:
    """It would pass a page that it could not read."""
    page = browser.new_page()
    page.set_content('<h1></h1><p id="a">one</p><p id="a">two</p><form><input aria-label="Search"></form>')
    found = " ".join(sniffed(page))
    page.close()
    for rule in ("F77", "H42", "H32"):
        assert rule in found


def test_no_violation_among_the_results_of_a_search(visit: Callable[..., Page]) -> None:
    page = visit("search")
    page.goto("/search.html?q=gate", wait_until="networkidle")
    expect(page.locator("#search-results .highlighted").first).to_be_visible()
    assert found(page) == []
    assert sniffed(page) == []


@pytest.mark.parametrize("name", PAGES)
def test_no_violation_in_the_dark(look: Look, name: str) -> None:
    """The structure is that of the light page, so only the rules on colours are asked."""
    page = look(name).page
    page.emulate_media(color_scheme="dark")
    try:
        expect(page.locator("html")).to_have_attribute("data-theme", "dark")
        assert found(page, runOnly={"type": "rule", "values": ["color-contrast", "link-in-text-block"]}) == []
    finally:
        page.emulate_media(color_scheme="light")


@pytest.mark.parametrize("name", PAGES)
def test_no_violation_on_a_phone(look: Look, name: str) -> None:
    """The colours are those of the wide page."""
    page = look(name).page
    narrow(page)
    try:
        assert found(page, rules={"color-contrast": {"enabled": False}}) == []
    finally:
        page.set_viewport_size(DESK)


# Where the focus is: in which part of the page, whether it is seen, and a name for the report.
FOCUS = """() => {
  const e = document.activeElement;
  if (!e || e === document.body) return null;
  const parts = {
    skip: "#pst-skip-link", sidebar: "#pst-primary-sidebar", header: ".bd-header-article", article: ".bd-article",
    pager: ".prev-next-footer", contents: "#pst-secondary-sidebar", footer: "footer",
  };
  const part = Object.keys(parts).find(name => e.closest(parts[name])) ?? "elsewhere";
  const style = getComputedStyle(e), box = e.getBoundingClientRect();
  const ring = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
  const within = box.bottom > 0 && box.top < innerHeight && box.width > 0 && box.height > 0;
  e.dataset.visited = Number(e.dataset.visited ?? 0) + 1;
  const name = (e.ariaLabel || e.textContent || e.tagName).trim().slice(0, 50);
  return { part, ring, within, name, visits: Number(e.dataset.visited) };
}"""


def walk(page: Page, most: int = 600) -> list[dict[str, Any]]:
    """Hold Tab until the focus leaves the page or comes round."""
    steps: list[dict[str, Any]] = []
    for _ in range(most):
        page.keyboard.down("Tab")
        at = page.evaluate(FOCUS)
        if at is None or at["visits"] > 1:
            page.keyboard.up("Tab")
            return steps
        steps.append(at)
    raise AssertionError(f"after {most} steps the Tab key has not come round: {[s['name'] for s in steps[-5:]]}")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_tab_key_goes_through_a_chapter_as_one_reads(
    visit: Callable[..., Page], scheme: Literal["light", "dark"]
) -> None:
    steps = walk(visit(CHAPTER, scheme=scheme))
    order = [part for part, _ in itertools.groupby(step["part"] for step in steps)]
    assert order[:4] == ["skip", "sidebar", "header", "article"]
    assert order.count("article") == 1, "the article is read in one go"
    assert {"pager", "contents"} <= set(order)
    unseen = [s["name"] for s in steps if not (s["ring"] and s["within"])]
    assert unseen == []
    # A formula is text: only one that scrolls is a stop. The sidebar has as many stops as the book has pages.
    assert sum(step["part"] != "sidebar" for step in steps) < 220


def test_a_fold_opens_from_the_keyboard(visit: Callable[..., Page]) -> None:
    page = visit(CHAPTER)
    fold = page.locator("details.fold").first
    fold.locator("summary").focus()
    expect(fold.locator("pre")).to_be_hidden()
    page.keyboard.press("Enter")
    expect(fold.locator("pre")).to_be_visible()


def test_what_scrolls_on_a_phone_is_a_stop_for_the_tab_key(visit: Callable[..., Page]) -> None:
    page = visit(CHAPTER)
    narrow(page)
    wide = page.locator("mjx-container[display][tabindex='0']")
    expect(wide.first).to_be_attached()
    stuck = page.evaluate(
        """() => [...document.querySelectorAll(".bd-article *")].filter(e => e.checkVisibility()
          && ["auto", "scroll"].includes(getComputedStyle(e).overflowX) && e.scrollWidth > e.clientWidth + 1
          && e.tabIndex < 0 && !e.querySelector("a, button, [tabindex='0']")).map(e => e.outerHTML.slice(0, 120))"""
    )
    assert stuck == []


def test_every_page_has_one_name_for_each_landmark(look: Look) -> None:
    names = look(CHAPTER).page.locator("nav").evaluate_all("all => all.map(nav => nav.ariaLabel || nav.id)")
    assert len(set(names)) == len(names), names
    assert not [name for name in names if not re.search(r"\w", name)]
