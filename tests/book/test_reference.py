"""The library's reference and the glossary: all is there, and chapters, entries and symbols lead to each other."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import jupytext
import pytest
import yaml
from bs4 import BeautifulSoup, SoupStrainer, Tag
from names import MODULES, public
from playwright.sync_api import Page, expect

ROOT = Path(__file__).resolve().parents[2]
HTML = ROOT / "_build" / "html"
TOC = yaml.safe_load((ROOT / "_toc.yml").read_text())
CHAPTERS = [chapter["file"] for part in TOC["parts"] for chapter in part["chapters"] if "notebooks/" in chapter["file"]]
PAGES = sorted(path.stem for path in (ROOT / "book" / "api").glob("*.md"))
NAMES = [f"gatelr.{name}" for module in MODULES for name in public(module)]

pytestmark = [pytest.mark.xdist_group("book")]


@functools.cache
def read(page: str, only: str | None = None) -> BeautifulSoup:
    """A page, or elements of one kind in it: to read all of a chapter takes a while."""
    return BeautifulSoup((HTML / f"{page}.html").read_text(), "html.parser", parse_only=only and SoupStrainer(only))


@pytest.fixture(scope="session")
def entries(book: str) -> dict[str, Tag]:
    """The reference: each entry's first line by its full name."""
    return {str(dt["id"]): dt for page in PAGES for dt in read(f"book/api/{page}").select("dt.sig[id]")}


@pytest.fixture(scope="session")
def links(book: str) -> dict[str, list[tuple[str, str]]]:
    """For each chapter the links in its code: what each says, and where it leads."""
    return {
        chapter: [(a.get_text(), str(a["href"])) for a in read(chapter, "pre").select("a.sphinx-codeautolink-a")]
        for chapter in CHAPTERS
    }


@pytest.fixture(scope="session")
def uses(links: dict[str, list[tuple[str, str]]]) -> dict[str, set[str]]:
    """For each chapter the names that its code is linked to."""
    return {chapter: {href.partition("#")[2] for _, href in found} for chapter, found in links.items()}


def called(chapter: str) -> set[str]:
    """The library's functions and classes that a chapter names through their module, read from its source."""
    tree = ast.parse((ROOT / f"{chapter}.py").read_text())
    modules = {
        alias.asname or alias.name: f"{node.module}.{alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "gatelr"
        for alias in node.names
        if f"{node.module}.{alias.name}".removeprefix("gatelr.") in MODULES
    }
    found = {
        f"{modules[node.value.id]}.{node.attr}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in modules
    }
    return {defined(name) for name in found} & set(NAMES)


def defined(name: str) -> str:
    """Where a function or a class that a package passes on stands, which is where its entry is."""
    module, _, attribute = name.rpartition(".")
    value = getattr(import_module(module), attribute, None)  # a chapter may call a table as a module is called
    return f"{getattr(value, '__module__', module)}.{attribute}"


def test_every_public_name_has_an_entry_and_every_entry_is_public(entries: dict[str, Tag]) -> None:
    assert sorted(entries) == sorted(NAMES)


def test_every_module_is_on_one_page_and_in_the_table(book: str) -> None:
    found = [str(e["id"]) for page in PAGES for e in read(f"book/api/{page}").select("[id^='module-gatelr.']")]
    assert sorted(found) == [f"module-gatelr.{module}" for module in MODULES]
    table = read("book/api/index").select("table a[href*='#module-gatelr.']")
    assert sorted(str(a["href"]).partition("#module-gatelr.")[2] for a in table) == MODULES


def test_signatures_are_written_as_in_the_source(entries: dict[str, Tag]) -> None:
    lines = {name: " ".join(entry.get_text().split()) for name, entry in entries.items()}
    assert "leak: Float[Tensor, 'T *batch n n']" in lines["gatelr.jacobian.Terms.leak"]
    assert "J: Float[Tensor, 'T *batch n n'], lag: int" in lines["gatelr.transport.products"]
    for name, line in lines.items():
        assert not re.search(r"jaxtyping|torch\.Tensor|ForwardRef|<class|object at 0x", line), (name, line)


def test_every_function_leads_to_its_source(entries: dict[str, Tag], book: str) -> None:
    for name, entry in entries.items():
        if link := entry.select_one("a:has(> .viewcode-link)"):
            path, _, fragment = str(link["href"]).partition("#")
            target = (HTML / "book" / "api" / path).resolve()
            assert f'id="{fragment}"' in target.read_text(), name
    linked = [name for name, entry in entries.items() if entry.select_one(".viewcode-link")]
    assert {"gatelr.jacobian.terms", "gatelr.cells.GatedRNN.run", "gatelr.record.chapter.Chapter"} <= set(linked)


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_all_that_a_chapter_names_is_linked(uses: dict[str, set[str]], chapter: str) -> None:
    named = called(chapter)
    assert named
    assert named <= uses[chapter]


def test_an_entry_lists_the_chapters_that_use_it(entries: dict[str, Tag], uses: dict[str, set[str]]) -> None:
    for name, entry in entries.items():
        body = entry.find_next_sibling("dd")
        line = body.find("p", class_="used-in", recursive=False) if isinstance(body, Tag) else None
        listed = [str(a["href"]) for a in line.find_all("a")] if isinstance(line, Tag) else []
        if isinstance(entry.parent, Tag) and "attribute" in entry.parent["class"]:
            assert not listed
            continue
        expected = [chapter for chapter in CHAPTERS if name in uses[chapter]]
        assert [re.sub(r"^\.\./\.\./|\.html.*", "", href) for href in listed] == expected, name


def test_a_link_in_code_says_the_name_it_leads_to(links: dict[str, list[tuple[str, str]]]) -> None:
    for found in links.values():
        for text, href in found:
            assert text.split(".")[-1] == re.split(r"[.#]|module-", href)[-1]


def test_from_a_chapters_code_to_the_entry_and_back(visit: Callable[..., Page]) -> None:
    page = visit("notebooks/exact-jacobians")
    page.locator("pre a", has_text="jacobian.blocks").first.click()
    entry = page.locator("dt:target")
    expect(entry).to_contain_text("blocks")
    expect(entry).to_be_in_viewport()
    back = entry.locator("xpath=following-sibling::dd[1]").locator(
        "p.used-in a", has_text=f"chapter {1 + CHAPTERS.index('notebooks/exact-jacobians')}"
    )
    expect(back).to_have_attribute("title", re.compile("Exact Jacobians"))
    back.click()
    expect(page).to_have_url(re.compile("exact-jacobians.html#"))
    expect(page.locator("h1:visible")).to_contain_text("Exact Jacobians")


def test_a_name_in_code_shows_its_entry_when_one_points_at_it(visit: Callable[..., Page]) -> None:
    page = visit("notebooks/exact-jacobians")
    page.locator("pre a:visible", has_text="jacobian.blocks").first.hover()
    preview = page.locator(".tippy-box")
    expect(preview.locator("dt")).to_contain_text(re.compile(r"blocks\(\s*model: GatedRNN"))
    expect(preview).to_contain_text("The Jacobian of every step")
    expect(preview).not_to_contain_text("[source]")


def test_a_symbol_shows_its_row_when_one_points_at_it(visit: Callable[..., Page]) -> None:
    page = visit("book/glossary")
    page.locator("a[href$='#symbol-lambda-k']").first.hover()
    expect(page.locator(".tippy-box td").last).to_have_text("adjoint")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_links_in_code_are_quiet_until_one_points_at_them(visit: Callable[..., Page], scheme: str) -> None:
    page = visit("notebooks/exact-jacobians", scheme=scheme)
    link = page.locator("pre a:visible", has_text="jacobian.blocks").first
    line = "e => getComputedStyle(e).textDecorationStyle"
    # a line that is there without colour, for who sees none; and the code keeps its colours
    assert link.evaluate(line) == "dotted"
    name = link.locator("span").last
    plain = page.locator("pre span.n:not(a span):visible").first
    assert name.evaluate("e => getComputedStyle(e).color") == plain.evaluate("e => getComputedStyle(e).color")
    link.hover()
    assert link.evaluate(line) == "solid"
    page.mouse.move(0, 0)
    link.focus()
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Tab")
    expect(link).to_be_focused()
    assert link.evaluate("e => getComputedStyle(e).outlineStyle") == "solid"


def test_what_is_copied_is_the_code_as_it_stands_in_the_source(visit: Callable[..., Page]) -> None:
    page = visit("notebooks/exact-jacobians")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    link = page.locator("a", has_text="jacobian.blocks")
    block = page.locator("div.cell_input:visible div.highlight", has=link).first
    block.hover()
    block.locator("button.copybtn").click()
    expect(block.locator("button.copybtn")).to_have_class(re.compile("success"))
    copied = page.evaluate("() => navigator.clipboard.readText()").strip()
    sources = [c.source.strip() for c in jupytext.read(ROOT / "notebooks" / "exact-jacobians.py").cells]
    assert copied in sources


def test_an_example_is_copied_without_prompts_and_answers(visit: Callable[..., Page]) -> None:
    page = visit("book/api/transport")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    block = page.locator("div.doctest div.highlight").first
    block.hover()
    block.locator("button.copybtn").click()
    expect(block.locator("button.copybtn")).to_have_class(re.compile("success"))
    copied = page.evaluate("() => navigator.clipboard.readText()")
    assert copied.startswith("import torch\n")
    assert not re.search(r"^(>>>|\.\.\.|torch\.Size|True)", copied, flags=re.MULTILINE)
    exec(copied, {})


def test_the_overviews_code_runs() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "book" / "api" / "index.md").read_text(), flags=re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)
    assert names["M"].shape == (41, 8, 16, 16)
    assert names["orders"].shape == (3, 8, 16, 16)
    assert names["mu"].shape == (40, 8, 16)


def test_a_word_of_the_glossary_has_two_sentences_and_leads_to_where_it_is_defined(book: str) -> None:
    words = read("book/glossary").select("dl.glossary > dt")
    assert len(words) >= 20
    assert [word.get_text() for word in words] == sorted((word.get_text() for word in words), key=str.lower)
    for word in words:
        body = word.find_next_sibling("dd")
        assert isinstance(body, Tag)
        meaning, places = body.find_all("p", recursive=False)
        assert len(re.findall(r"[.:](?= [A-Z]|$)", meaning.get_text().replace("\n", " "))) == 2, word.get_text()
        assert places.find_all("a"), word.get_text()


def test_every_symbol_can_be_pointed_to(book: str) -> None:
    rows = read("book/notation").select("#tab-notation tbody tr, table#tab-notation tbody tr")
    assert len(rows) >= 20
    for row in rows:
        assert row.select("td:first-child [id^=symbol-]"), row.get_text()


@pytest.mark.parametrize(
    ("query", "page", "anchor"),
    [
        ("μ", "notation", "symbol-mu"),
        ("mu", "notation", "symbol-mu"),
        ("lambda", "notation", "symbol-lambda-k"),
        ("λ", "notation", "symbol-lambda-k"),
        ("M_{t,k}", "notation", "symbol-m-t-k"),
        ("W_rg", "notation", "symbol-w-rg"),
        ("alpha", "notation", "symbol-alpha"),
        ("retention", "notation", "symbol-p-t-k"),
        ("retention", "glossary", "term-retention"),
        ("effective learning rate", "glossary", "term-effective-learning-rate"),
        ("placebo", "glossary", "term-placebo"),
        ("GatedRNN", "api/network", "gatelr.cells.GatedRNN"),
        ("remainder_bound", "api/transport", "gatelr.expansion.remainder_bound"),
    ],
)
def test_search_finds_a_symbol_a_word_and_a_function(
    visit: Callable[..., Page], query: str, page: str, anchor: str
) -> None:
    results = visit("book/index")
    results.get_by_role("button", name="Search").first.click()
    results.locator("dialog input[name=q]").fill(query)
    results.keyboard.press("Enter")
    found = results.locator("#search-results li a")
    expect(found.first).to_be_visible()
    # among what one sees without scrolling
    expect(results.locator(f"#search-results li:nth-child(-n+5) a[href$='book/{page}.html#{anchor}']")).to_be_visible()
