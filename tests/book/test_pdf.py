"""The book on paper: the whole as one PDF, and a page that a reader prints."""

from __future__ import annotations

import functools
import os
import re
import subprocess
import sys
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from bs4 import BeautifulSoup, Tag
from playwright.sync_api import Browser, Page
from pypdf import PdfReader

ROOT = Path(__file__).resolve().parents[2]
HTML = ROOT / "_build" / "html"
JOINED = ROOT / "_build" / "paper" / "book.html"
TOC = yaml.safe_load((ROOT / "_toc.yml").read_text())
FILES = [chapter["file"] for part in TOC["parts"] for chapter in part["chapters"]]
PAGES = [TOC["root"], *(file for file in FILES if not file.startswith("book/api/"))]
CHAPTERS = [page for page in PAGES if page.startswith("notebooks/")]
#: What stands between the margins of workflow/paper/book.css on A4, the narrower of the two papers: 152 mm.
WIDTH = 574

pytestmark = [pytest.mark.xdist_group("book")]

# What sticks out of the text block, or is hidden by the edge of something that would scroll on a screen.
BEYOND = """() => [...document.querySelectorAll("body *")].filter(e => {
    const box = e.getBoundingClientRect(), style = getComputedStyle(e);
    const clipped = style.overflowX !== "visible" && !e.closest("mjx-container") && style.display !== "inline";
    return e.checkVisibility() && !e.closest("mjx-assistive-mml")
        && (box.right > innerWidth + 1 || box.left < -1 || (clipped && e.scrollWidth > e.clientWidth + 1));
}).map(e => `${e.tagName} ${e.className} ${e.textContent.slice(0, 60)}`)"""


def plain(text: str) -> str:
    """Letters and digits alone: a PDF has ligatures, and spaces and line breaks where it likes."""
    return re.sub(r"[\W_]", "", unicodedata.normalize("NFKC", text))


@pytest.fixture(scope="session")
def pdf(paper: Path) -> PdfReader:
    return PdfReader(paper)


@pytest.fixture(scope="session")
def texts(pdf: PdfReader) -> list[str]:
    return [page.extract_text() for page in pdf.pages]


@pytest.fixture(scope="session")
def outline(pdf: PdfReader) -> list[tuple[int, str, int]]:
    """Level, title and page, counted from 0, of each line."""

    def walk(items: list[Any], level: int) -> Iterator[tuple[int, str, int]]:
        for item in items:
            if isinstance(item, list):
                yield from walk(item, level + 1)
            else:
                yield level, item.title, pdf.get_destination_page_number(item)

    return list(walk(pdf.outline, 0))


@functools.cache
def article(page: str) -> Tag:
    """A page as it stands online, without what one can press there."""
    found = BeautifulSoup((HTML / f"{page}.html").read_text(), "html.parser").select_one("article.bd-article")
    assert found
    for control in found.select("a.headerlink, .citable"):
        control.decompose()
    return found


def words(tag: Tag | None) -> str:
    """What it says up to its first formula, whose letters a PDF may draw instead of spelling."""
    assert tag
    return plain(re.split(r"\\\(", tag.get_text())[0])


@pytest.fixture(scope="session")
def begins(outline: list[tuple[int, str, int]]) -> dict[str, int]:
    """The page, counted from 0, on which each page of the book begins, and where the appendix does."""
    titles = {words(article(page).h1): page for page in PAGES[1:]} | {"Introduction": PAGES[0], "Codeandsolutions": ""}
    return {titles[plain(title)]: page for level, title, page in outline if level < 2 and plain(title) in titles}


def test_the_outline_names_every_chapter_where_it_begins(texts: list[str], begins: dict[str, int]) -> None:
    assert list(begins) == [*PAGES, ""]
    assert list(begins.values()) == sorted(set(begins.values()))
    for page in PAGES[1:]:
        assert words(article(page).h1) in plain(texts[begins[page]][:400]), page


def test_the_outline_has_the_sections_of_each_chapter(texts: list[str], outline: list[tuple[int, str, int]]) -> None:
    for chapter in CHAPTERS:
        for tag in article(chapter).select("section > h2"):
            places = [page for level, title, page in outline if level == 2 and plain(title).startswith(words(tag))]
            assert len(places) == 1, tag
            assert words(tag) in plain(texts[places[0]])


def test_the_contents_say_the_page_that_a_chapter_begins_on(texts: list[str], begins: dict[str, int]) -> None:
    contents = plain("".join(texts[1 : begins[PAGES[0]]]))
    for page in PAGES[1:]:
        assert f"{words(article(page).h1)}{begins[page] + 1}" in contents
    for number, text in enumerate(texts[1:], 2):
        assert re.search(rf"^{number}$", text, re.MULTILINE), f"page {number} does not bear its number"


def test_every_link_leads_to_a_place_in_the_document_or_on_the_web(pdf: PdfReader) -> None:
    places, inside = {name.lstrip("/") for name in pdf.named_destinations}, 0
    for page in pdf.pages:
        for note in page.get("/Annots", []):
            link = note.get_object()
            if link["/Subtype"] != "/Link":
                continue
            if "/Dest" in link:
                assert str(link["/Dest"]).lstrip("/") in places
                inside += 1
            else:
                assert str(link["/A"]["/URI"]).startswith(("https://", "http://"))
    assert inside > 500


def test_no_reference_is_left_open(texts: list[str]) -> None:
    for number, text in enumerate(texts, 1):
        assert not re.search(r"\?\?|\[\?\]|\bpage 000\b|\b000$|\\\(", text), f"page {number}"


def test_no_page_is_blank(pdf: PdfReader, texts: list[str]) -> None:
    for number, (page, text) in enumerate(zip(pdf.pages, texts, strict=True), 1):
        body = "".join(text.splitlines()[2:])  # the running head and the number are two lines
        assert len(plain(body)) > 20 or page.images, f"page {number}"


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_numbers_are_those_of_the_page_online(texts: list[str], begins: dict[str, int], chapter: str) -> None:
    end = min(page for page in begins.values() if page > begins[chapter])
    text = plain("".join(texts[begins[chapter] : end]))
    captions = article(chapter).select(":is(figcaption, caption, .admonition-title):has(> .caption-number)")
    assert captions
    at = 0
    for caption in captions:
        start = words(caption)[:40]  # the number and what follows it, in the order of the page
        assert start in text[at:], caption.get_text()
        at = text.index(start, at)
    for number in article(chapter).select(".eqno"):
        assert number.get_text() in "".join(texts[begins[chapter] : end])


def test_the_metadata_are_those_of_the_citation_file(pdf: PdfReader) -> None:
    cff = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    meta = pdf.metadata
    assert meta is not None
    assert meta.title == cff["title"]
    assert meta.author == "; ".join(author["name"] for author in cff["authors"])
    assert meta.subject == " ".join(cff["abstract"].split())
    assert meta.get("/Keywords") == ", ".join(cff["keywords"])
    assert cff["version"] in pdf.pages[0].extract_text()
    assert pdf.trailer["/Root"]["/Lang"] == "en-GB"
    assert pdf.trailer["/Root"]["/MarkInfo"]["/Marked"] == True  # noqa: E712  (a PDF's own kind of truth)


def test_it_can_be_sent_by_mail(paper: Path) -> None:
    assert paper.stat().st_size < 25e6  # what mail servers commonly take


@pytest.fixture(scope="session")
def sheet(paper: Path, browser: Browser) -> Iterator[Page]:
    """The document that was printed, as wide as its text block."""
    page = browser.new_page(viewport={"width": WIDTH, "height": 900})
    page.emulate_media(media="print")
    page.goto(JOINED.as_uri(), wait_until="load")
    page.evaluate("() => MathJax.startup.promise")
    yield page
    page.close()


def test_nothing_is_wider_than_the_paper(sheet: Page) -> None:
    assert sheet.evaluate(BEYOND) == []


def test_formulas_are_typeset_and_figures_are_drawn_in_light_colours(sheet: Page) -> None:
    assert sheet.locator("mjx-container").count() > 1000
    assert sheet.locator("mjx-merror").count() == 0
    assert sheet.locator("span.math:not(:has(mjx-container)), div.math:not(:has(mjx-container))").count() == 0
    images = sheet.evaluate("() => [...document.images].map(i => [i.getAttribute('src'), i.naturalWidth])")
    assert len(images) >= sum(len(article(chapter).select("figure")) for chapter in CHAPTERS)
    assert [src for src, width in images if not width or ".dark." in src] == []


def test_what_is_folded_online_stands_at_the_end(sheet: Page) -> None:
    folded = sum(len(article(chapter).select("details")) for chapter in CHAPTERS)
    assert sheet.locator("details").count() == 0
    assert sheet.locator("article#folded .unfolded").count() == folded
    assert sheet.locator("article:not(#folded) p.pointer").count() == folded


def test_without_a_browser_there_is_a_sentence(book: str) -> None:
    environment = os.environ | {"GATELR_CHROMIUM": "/nowhere/chromium"}
    command = [sys.executable, "workflow/pdf.py"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "install Chromium ('apt install chromium')" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_printed_page_has_nothing_to_press(visit: Callable[..., Page]) -> None:
    page = visit(CHAPTERS[0], scheme="dark")
    page.evaluate("() => dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print")
    page.set_viewport_size({"width": 642, "height": 900})  # A4 less 2 cm at each side
    pressed = page.evaluate(
        """() => [...document.querySelectorAll("button, nav, input, dialog, summary, .headerlink, .bd-sidebar")]
            .filter(e => e.checkVisibility() && e.getBoundingClientRect().width).map(e => e.outerHTML.slice(0, 90))"""
    )
    assert pressed == []
    assert page.evaluate(BEYOND) == []
    assert page.evaluate("() => getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
