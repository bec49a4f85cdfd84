"""What a reader does: search, switch the light off, print, copy code, move by keyboard, follow a citation."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from playwright.sync_api import Locator, Page, expect

from workflow import toc

ROOT = Path(__file__).resolve().parents[2]
FIGURE = "notebooks/time-scales"

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
    dark.scroll_into_view_if_needed()
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
    results = [json.loads((ROOT / "artifacts" / name / "results.json").read_text()) for name in toc.chapters()]
    total = sum(len(result["checks"]) for result in results)
    expect(visit("book/index").locator("p:has-text('The chapters rest on') span.result").first).to_have_text(str(total))


def test_the_book_opens_at_its_root(visit: Callable[..., Page]) -> None:
    page = visit("index")
    page.wait_for_url("**/book/index.html")
    expect(page.locator("h1:visible")).to_have_text(re.compile("Gates as Learning Rates"))


#: A claim of several settings says in how many it is supported.
WORDS = re.compile(r"Holds|No|Absent|Undecided|((In|Absent in|Undecided, in) (all |none of |\d+ of )?\d+ settings)")


@pytest.mark.parametrize(("width", "height", "screens"), [(1280, 800, 1), (390, 844, 2)])
def test_the_first_page_says_what_was_found(visit: Callable[..., Page], width: int, height: int, screens: int) -> None:
    page = visit("book/index", width=width, height=height)
    cards = page.locator(".verdict")
    expect(cards).to_have_count(6)
    for card in cards.all():
        assert WORDS.fullmatch(card.locator(".verdict-word").inner_text())
        expect(card.locator("a")).to_have_count(1)
        box = card.bounding_box()
        assert box
        assert box["y"] + box["height"] <= screens * height, "the six verdicts stand below the fold"
    figure = page.locator(".opening-figure img:visible")
    expect(figure).to_have_count(1)
    assert "." in page.locator(".opening-figure a").inner_text(), "the caption names the figure by its number"


def test_the_first_page_quotes_the_chapters(visit: Callable[..., Page]) -> None:
    results = json.loads((ROOT / "artifacts/gate-corrections/results.json").read_text())
    (small,) = [claim for claim in results["claims"] if claim["id"] == "small"]
    card = visit("book/index").locator(".verdict").first
    assert card.locator(".result").all_inner_texts() == [f"{small['effect']:.3g}"]
    says, counted = card.locator(".verdict-word").inner_text(), [each["verdict"] for each in small["by setting"]]
    if small["verdict"] == "mixed":
        assert says == f"In {counted.count('supported')} of {len(counted)} settings"
    assert len(counted) == small["settings"] > 1


def test_the_figure_of_the_six_words_has_every_setting(visit: Callable[..., Page]) -> None:
    table = pd.read_csv(ROOT / "book/generated/six-words.csv")
    page = visit("book/index")
    expect(page.locator("#fig-six-words img:visible")).to_have_count(1)
    rows = []
    for chapter, names in {"gate-corrections": 3, "gates-against-optimisers": 3}.items():
        claims = json.loads((ROOT / f"artifacts/{chapter}/results.json").read_text())["claims"]
        main = [claim for claim in claims if claim["primary"]]
        assert len(main) == names
        rows += [(each["effect"], each["verdict"]) for claim in main for each in claim["by setting"]]
    drawn = sorted(zip(table.effect, table.verdict, strict=True))
    assert [verdict for _, verdict in drawn] == [verdict for _, verdict in sorted(rows)]
    assert [effect for effect, _ in drawn] == pytest.approx([effect for effect, _ in sorted(rows)])


CHAPTERS = [f"notebooks/{name}" for name in toc.chapters()]


def makers(page: Page) -> dict[str, Locator]:
    """For each figure of a page, by its number, the cell whose code draws it."""
    found = {}
    for line in page.locator(".citable-figure").all():
        number = line.locator("xpath=preceding-sibling::figure[1]").locator(".caption-number").inner_text().strip()
        code = (line.get_by_text("Code", exact=True).get_attribute("href") or "").lstrip("#")
        found[number] = page.locator(f"[id='{code}']").locator("xpath=ancestor::div[contains(@class, 'cell')][1]")
    return found


@pytest.mark.parametrize("name", CHAPTERS)
def test_a_fold_says_what_is_in_it(look: Callable[[str], Any], name: str) -> None:
    page = look(name).page
    names = page.locator("details.fold > summary").all_inner_texts()
    assert names
    assert not [said for said in names if len(said.split()) < 3 or "cell" in said]
    # A figure's number in the name of the fold that draws it is the one in its caption.
    for number, cell in makers(page).items():
        said = cell.locator("summary").first.inner_text()
        assert number in re.findall(r"Figure \d+\.\d+", said) if "that draws" in said else said


@pytest.mark.parametrize("name", CHAPTERS)
def test_drawing_is_folded_away_and_what_is_open_is_short(look: Callable[[str], Any], name: str) -> None:
    page = look(name).page
    unfolded = {number for number, cell in makers(page).items() if not cell.locator("> details.fold").count()}
    assert unfolded == set()
    opened = page.locator(".cell > .cell_input pre").all_inner_texts()
    assert opened, "a chapter shows the code that is its argument"
    assert not [code.splitlines()[0] for code in opened if len(code.splitlines()) > 75]


@pytest.mark.parametrize("name", ["book/index", FIGURE, "book/cite", "search"])
def test_notation_is_one_step_away(visit: Callable[..., Page], name: str) -> None:
    page = visit(name)
    for width in (1280, 390):
        page.set_viewport_size({"width": width, "height": 844})
        expect(page.locator(".lookup").get_by_role("link", name="Notation")).to_be_in_viewport()
    page.locator(".lookup").get_by_role("link", name="Notation").click()
    expect(page.locator("h1:visible")).to_have_text(re.compile("Notation"))


def test_the_page_is_set_in_the_book_s_own_types(visit: Callable[..., Page]) -> None:
    page = visit(FIGURE)
    loaded = page.evaluate(
        "() => document.fonts.ready.then(f => [...f].filter(t => t.status === 'loaded').map(t => t.family))"
    )
    assert {"Source Serif 4", "Source Sans 3"} <= {family.strip('"') for family in loaded}


def test_a_page_carries_nothing_twice(visit: Callable[..., Page]) -> None:
    page = visit(FIGURE)
    asked = page.evaluate("() => performance.getEntriesByType('resource').map(entry => entry.name)")
    # The theme's icons come from a font; the script that draws them again is larger than all the rest.
    assert not [name for name in asked if "fontawesome.js" in name]
    for icon in page.locator(".bd-header-article .btn :is(i, span)[class*='fa-']:visible").all():
        assert icon.evaluate("icon => getComputedStyle(icon, '::before').content") not in ("none", "normal")
