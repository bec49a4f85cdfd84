"""Every page of the book, in a real browser: on a desk, on a phone, in the light and in the dark."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import nbformat
import pytest
import yaml
from playwright.sync_api import expect

ROOT = Path(__file__).resolve().parents[2]
HTML = ROOT / "_build" / "html"
TOC = yaml.safe_load((ROOT / "_toc.yml").read_text())
PAGES = [TOC["root"], *(chapter["file"] for part in TOC["parts"] for chapter in part["chapters"])]
CHAPTERS = [page for page in PAGES if page.startswith("notebooks/")]

Look = Callable[[str], Any]

pytestmark = [pytest.mark.xdist_group("book")]

# The contrast of a text with the ground it stands on, after WCAG 2; the canvas turns any colour into numbers.
FAINT = """() => {
  const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const seen = new Map();
  const rgba = colour => {
    if (!seen.has(colour)) {
      canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
      seen.set(colour, canvas.getImageData(0, 0, 1, 1).data);
    }
    return seen.get(colour);
  };
  const luminance = ([r, g, b]) => [r, g, b]
    .map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = e => {
    for (; e; e = e.parentElement) {
      const colour = rgba(getComputedStyle(e).backgroundColor);
      if (colour[3] === 255) return colour;
    }
    return [255, 255, 255];
  };
  const found = [];
  for (const e of document.querySelectorAll(".bd-article *")) {
    const own = [...e.childNodes].some(n => n.nodeType === Node.TEXT_NODE && n.textContent.trim());
    if (!own || e.closest("mjx-container, .headerlink, .copybtn, .visually-hidden") || !e.checkVisibility()) continue;
    const style = getComputedStyle(e);
    const [a, b] = [luminance(rgba(style.color)), luminance(ground(e))];
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
    if (contrast < (large ? 3 : 4.5)) found.push(`${contrast.toFixed(2)} ${e.tagName} ${e.textContent.slice(0, 40)}`);
  }
  return found;
}"""


@pytest.mark.parametrize("name", PAGES)
def test_it_loads_without_a_complaint_and_without_the_internet(look: Look, name: str) -> None:
    opened = look(name)
    expect(opened.page.locator("h1:visible")).to_have_count(1)
    assert opened.complaints == []


@pytest.mark.parametrize("name", PAGES)
def test_mathematics_and_images_are_rendered(look: Look, name: str) -> None:
    page = look(name).page
    expect(page.locator(".math:not(:has(mjx-container))")).to_have_count(0)
    expect(page.locator("mjx-merror, [data-mjx-error]")).to_have_count(0)
    words = page.evaluate(
        """() => {
          const article = document.querySelector(".bd-article").cloneNode(true);
          article.querySelectorAll("pre, code, mjx-container").forEach(e => e.remove());
          return article.textContent;
        }"""
    )
    unread = re.findall(r"\\[(\[]|\$\$|\{[a-z:]+\}`|^:::", words, flags=re.MULTILINE)
    assert not unread, f"left as it was typed: {unread}"

    for image in page.locator(".bd-article img:visible").all():
        image.scroll_into_view_if_needed()  # a lazy one loads when it is near
        assert image.evaluate("image => image.decode().then(() => image.naturalWidth)") > 0
        alternative = image.get_attribute("alt") or ""
        assert len(alternative.split()) >= 3, f"{image.get_attribute('src')} needs words for who cannot see it"


@pytest.mark.parametrize("name", PAGES)
def test_no_code_that_stands_open_scrolls_sideways(look: Look, name: str) -> None:
    cut = look(name).page.evaluate(
        """() => [...document.querySelectorAll(".bd-article div.highlight pre")]
          .filter(e => e.checkVisibility() && e.scrollWidth > e.clientWidth + 1)
          .map(e => [...e.textContent.split("\\n")].sort((a, b) => b.length - a.length)[0])"""
    )
    assert not cut, f"lines wider than the page: {cut}"


@pytest.mark.parametrize("name", PAGES)
def test_nothing_scrolls_sideways_on_a_phone(look: Look, name: str) -> None:
    page = look(name).page
    page.set_viewport_size({"width": 390, "height": 844})
    try:
        wide, phone = page.evaluate(
            "() => [document.scrollingElement.scrollWidth, document.scrollingElement.clientWidth]"
        )
        # What is wider scrolls in its own box: nothing is cut off at the edge of the page.
        cut = page.evaluate(
            """() => {
              const boxed = new Map();
              const inBox = e => {
                if (!boxed.has(e)) boxed.set(e, !e.matches(".bd-article")
                  && (["auto", "scroll"].includes(getComputedStyle(e).overflowX) || inBox(e.parentElement)));
                return boxed.get(e);
              };
              const right = node => {
                if (node.nodeType === Node.ELEMENT_NODE) return node.getBoundingClientRect().right;
                const range = document.createRange();
                range.selectNode(node);
                return range.getBoundingClientRect().right;
              };
              // A formula is as wide as its container: its glyphs are no text, and its text is for screen readers.
              const seen = [...document.querySelectorAll(".bd-article *")]
                .filter(e => e.checkVisibility() && !inBox(e) && !e.closest("mjx-assistive-mml"));
              return seen.flatMap(e => [...e.childNodes])
                .filter(n => n.nodeType === Node.TEXT_NODE || ["IMG", "MJX-CONTAINER"].includes(n.nodeName))
                .filter(n => right(n) > innerWidth + 1).map(n => n.data || n.outerHTML);
            }"""
        )
    finally:
        page.set_viewport_size({"width": 1280, "height": 844})
    assert phone == 390
    assert wide <= phone
    assert cut == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_every_text_can_be_read(look: Look, name: str, scheme: Literal["light", "dark"]) -> None:
    page = look(name).page
    page.emulate_media(color_scheme=scheme)
    expect(page.locator("html")).to_have_attribute("data-theme", scheme)
    faint = page.evaluate(FAINT)
    page.emulate_media(color_scheme="light")
    assert faint == []


@pytest.mark.parametrize("name", CHAPTERS)
def test_no_cell_shows_a_bare_string(name: str) -> None:
    """A word such as 'refuted' under a cell is left over from looking; the record says it in a sentence."""
    cells = nbformat.read(ROOT / f"{name}.ipynb", as_version=4).cells
    outputs = [output for cell in cells if cell.cell_type == "code" for output in cell.outputs]
    plain = [output.data.get("text/plain", "") for output in outputs if output.output_type == "execute_result"]
    assert [text for text in plain if re.match(r"""^['"]""", text)] == []


@pytest.mark.parametrize("name", CHAPTERS)
def test_a_chapter_numbers_and_captions_its_figures_and_tables(look: Look, name: str) -> None:
    page, chapter = look(name).page, CHAPTERS.index(name) + 1
    for kind, selector in (("Figure", ".bd-article figure"), ("Table", "table.gatelr-table")):
        boxes = page.locator(selector).all()
        assert boxes
        for i, box in enumerate(boxes, start=1):
            expect(box.locator(".caption-number")).to_have_text(re.compile(rf"^{kind} {chapter}\.{i}\s*$"))
            expect(box.locator(".caption-text")).to_have_text(re.compile(r"\w+ \w+"))


@pytest.mark.parametrize("name", CHAPTERS)
def test_a_chapter_numbers_its_equations_and_theorems(look: Look, name: str) -> None:
    page, chapter = look(name).page, CHAPTERS.index(name) + 1
    expect(page.locator("h1:visible")).to_have_text(re.compile(rf"^{chapter}\. "))
    equations = [re.sub(r"[^(\d.)]", "", text) for text in page.locator(".bd-article .eqno").all_inner_texts()]
    assert equations == [f"({chapter}.{i})" for i in range(1, len(equations) + 1)]
    for title in page.locator(".bd-article div.proof > .admonition-title").all_inner_texts():
        assert re.match(rf"[A-Z][a-z]+ {chapter}\.\d+\b", title), title


def test_the_book_has_theorems_and_proofs(look: Look) -> None:
    chapter = "notebooks/time-scales"
    first = look(chapter).page
    expect(first.locator("div.proof.theorem .admonition-title").first).to_have_text(
        re.compile(rf"Theorem {1 + CHAPTERS.index(chapter)}\.1\s+\(.+\)")
    )
    expect(first.locator("div.proof:not(:has(> .admonition-title))").first).to_have_text(re.compile(r"^\s*Proof\."))


@pytest.mark.parametrize("page", PAGES)
def test_every_directive_was_understood(page: str) -> None:
    text = (HTML / f"{page}.html").read_text()
    outside = re.sub(r"<(pre|code)\b.*?</\1>", "", text, flags=re.DOTALL)
    assert not re.search(r"```\{|:::\{", outside), "a directive stands on the page as text"


def test_the_committed_tables_are_a_table() -> None:
    known = json.loads((ROOT / "reference" / "manifest.json").read_text())["tables"]
    text = (HTML / "book/generated/execution.html").read_text()
    table = text.partition('id="committed-tables"')[2].partition("</table>")[0]
    assert table.count("<tr") == 1 + len(known)
