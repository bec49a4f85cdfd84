"""What a citer finds under each figure and table: in a book of two pages, and in the browser for all of them."""

from __future__ import annotations

import functools
import io
import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pandas as pd
import pypdf
import pytest
import warm
import yaml
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, expect
from pybtex.database import parse_string

from workflow import toc

ROOT = Path(__file__).resolve().parents[2]
EXTENSION = ROOT / "book" / "_ext"
CHAPTERS = list(toc.chapters())
BOOK = yaml.safe_load((ROOT / "CITATION.cff").read_text())

# ---- A book of two pages

CONF = f"""
import sys
sys.path.insert(0, {str(EXTENSION)!r})
extensions = ["myst_parser", "sphinx.ext.mathjax", "sphinxcontrib.bibtex", "citable"]
myst_enable_extensions = ["dollarmath"]
numfig = True
numfig_secnum_depth = 1
numfig_format = {{"figure": "Figure %s", "table": "Table %s"}}
html_static_path = [{str(ROOT / "book" / "_static")!r}]
bibtex_bibfiles = ["references.bib"]
"""
CHAPTER = """# Rates & gates

```{figure} /artifacts/01-one/figures/a-curve.svg
:name: fig-a-curve
:alt: A falling curve

It falls like $1/x$, see {numref}`tab-counts`. And then no more.
```

```{table} How many.
:name: tab-counts

| x |
|---|
| 1 |
```

```{figure} /elsewhere.svg
:name: fig-elsewhere
:alt: Not an artefact

Drawn by hand.
```
"""
MANIFEST = {
    "chapter": "01-one",
    "source": "f" * 64,
    "commit": "0123456789abcdef",
    "dirty": False,
    "parameters": {"seeds": 3, "width": 0.5, "out": "somewhere"},
    "seeds": 3,
    "versions": {"python": "3.11.7", "unmistakable": "9.8.7"},
    "device": "cpu",
    "machine": {"system": "Linux", "architecture": "x86_64", "cores": 2, "threads": 1},
    "created": "2026-01-02T03:04:05+00:00",
}
BIB = "@misc{other, author = {Other, Ann}, title = {Before}, year = {2020}, eprint = {1.2}, archiveprefix = {arXiv}}"


class Tiny:
    """A book with an index, and one chapter with a figure and a table."""

    def __init__(self, root: Path) -> None:
        self.root = root
        artefacts = root / "artifacts" / "01-one"
        for folder in (root / "notebooks", artefacts / "figures", artefacts / "tables"):
            folder.mkdir(parents=True)
        (root / "conf.py").write_text(CONF)
        (root / "references.bib").write_text(BIB)
        (root / "notebooks" / "01-one.md").write_text(CHAPTER)
        svg = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"/>'
        (root / "elsewhere.svg").write_text(svg)
        for suffix in ("svg", "pdf", "png", "csv"):
            (artefacts / "figures" / f"a-curve.{suffix}").write_text(svg if suffix == "svg" else suffix)
        (artefacts / "tables" / "counts.csv").write_text("x\n1\n")
        (artefacts / "results.json").write_text("{}")
        (artefacts / "manifest.json").write_text(json.dumps(MANIFEST))
        self.index()

    def index(self, text: str = "") -> None:
        (self.root / "index.md").write_text(
            f"# Tiny\n\n{text}\n\n```{{toctree}}\n:numbered:\n:maxdepth: 1\nnotebooks/01-one\n```\n"
        )

    def build(self, builder: str = "html", **more: str) -> subprocess.CompletedProcess[str]:
        own = ("PYTEST", "PYTHON", "COV", "GATELR")
        environment = {k: v for k, v in os.environ.items() if not k.startswith(own)} | more
        command = ["-m", "sphinx", "-W", "-q", "-b", builder, ".", f"_build/{builder}"]
        return warm.run(command, self.root, environment)

    def made(self, path: str) -> str:
        return (self.root / "_build" / path).read_text()


@pytest.fixture
def tiny(tmp_path: Path) -> Tiny:
    return Tiny(tmp_path)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """A book that has been built once, for the tests that only read it."""
    tiny = Tiny(tmp_path_factory.mktemp("citable"))
    tiny.index("```{gallery} figures 01-one\n```\n\n```{gallery} tables 01-one\n```")
    done = tiny.build()
    assert done.returncode == 0, done.stderr
    return tiny


def words(html: str) -> str:
    """What is left of HTML without its tags."""
    return " ".join(re.sub(r"<[^>]*>", "", html).split())


def test_a_figure_a_table_and_a_chapter_have_their_line_and_their_files(built: Tiny) -> None:
    page = built.made("html/notebooks/01-one.html")
    labels = re.findall(r'aria-label="Files, provenance and citation of ([^"]*)" class="citable', page)
    assert labels == ["Figure 1.1", "Table 1.1", "Chapter 1"], "and nothing under what is not an artefact"

    links = re.findall(r'href="\.\./(files/[^"]*)"', page)
    assert links == [
        *(f"files/01-one/fig-a-curve.{suffix}" for suffix in ("svg", "pdf", "png", "csv")),
        "files/01-one/tab-counts.csv",
        "files/01-one/results.json",
        "files/01-one/manifest.json",
    ]
    lies = built.root / "_build" / "html"
    assert sorted(links) == sorted(str(p.relative_to(lies)) for p in (lies / "files").rglob("*") if p.is_file())
    assert built.made("html/files/01-one/fig-a-curve.pdf") == "pdf"


def test_where_it_is_published_is_cited_only_if_it_is_known(built: Tiny, tiny: Tiny) -> None:
    page = built.made("html/notebooks/01-one.html")
    assert "Figure 1.1: a curve. In: Gates as Learning Rates, version 0.1.0, chapter 1, Rates &amp; gates." in page
    assert "Permanent name: fig-a-curve, commit 0123456789." in words(page)
    assert "http" not in page[page.index('class="citable') : page.index("Drawn by hand")]

    known = {"GATELR_URL": "https://example.org/a_book/main", "GATELR_REPOSITORY": "owner/name"}
    assert tiny.build(**known).returncode == 0
    page = tiny.made("html/notebooks/01-one.html")
    assert "https://example.org/a_book/main/notebooks/01-one.html#fig-a-curve" in words(page)
    assert 'href="https://github.com/owner/name/commit/0123456789abcdef"' in page
    assert 'href="https://github.com/owner/name/blob/0123456789abcdef/notebooks/01-one.py"' in page


def test_provenance_is_what_the_manifest_says(built: Tiny) -> None:
    page = words(built.made("html/notebooks/01-one.html").replace("</dt>", " "))
    for said in (
        "Source notebooks/01-one.py, SHA-256 " + "f" * 64,
        "Commit 0123456789abcdef",
        "Parameters seeds = 3, width = 0.5 Seeds 3",
        "Versions python 3.11.7, unmistakable 9.8.7",
        "Device cpu; Linux on x86_64, 2 cores, threads used: 1",
        "Run 2026-01-02 03:04:05 UTC",
    ):
        assert page.count(said) == 3, said


def test_the_search_does_not_find_provenance_everywhere(built: Tiny) -> None:
    index = built.made("html/searchindex.js")
    assert "unmistak" not in index
    assert "fall" in index


def test_the_gallery_shows_a_chapter_with_links_to_the_place(built: Tiny) -> None:
    page = built.made("html/index.html")
    figures = page[page.index('<ul class="citable-figures') : page.index('<ul class="citable-tables')]
    assert 'alt="A falling curve" loading="lazy" src="_images/a-curve.svg"' in figures
    assert figures.count('href="notebooks/01-one.html#fig-a-curve"') == 2
    assert 'href="notebooks/01-one.html#tab-counts"' in figures, "a reference in a caption leads on"
    assert "Figure 1.1 It falls like \\(1/x\\), see Table 1.1." in words(figures)
    assert "And then no more" not in figures
    assert "Table 1.1 How many. CSV" in words(page)
    assert 'href="files/01-one/tab-counts.csv"' in page
    assert "mathjax" in page, "mathematics in a caption is typeset here too"


def test_other_builders_have_the_gallery_but_no_menu(tiny: Tiny) -> None:
    tiny.index("```{gallery} tables 01-one\n```\n\n```{reference} other\n```")
    built = tiny.build("text")
    assert built.returncode == 0, built.stderr
    assert "Table 1.1 How many. CSV" in tiny.made("text/index.txt")
    assert "Ann Other (2020). Before. arXiv:1.2." in tiny.made("text/index.txt")
    assert "Provenance" not in tiny.made("text/notebooks/01-one.txt")


@pytest.mark.parametrize(
    ("asked", "answer"),
    [
        ("{gallery} pictures 01-one", "got a gallery of 'pictures', expected 'figures' or 'tables'"),
        ("{gallery} figures 02-two", "got a gallery of chapter '02-two', which is not in notebooks/"),
        ("{reference} nothing", "got a reference to 'nothing', expected 'gatelr' or a key of the bibliography"),
    ],
)
def test_what_there_is_not_stops_the_book(tiny: Tiny, asked: str, answer: str) -> None:
    tiny.index(f"```{asked}\n```")
    built = tiny.build()
    assert built.returncode != 0
    assert answer in built.stderr
    assert "index.md:3" in built.stderr


# ---- All of them, in the browser

Look = Callable[[str], Any]
browsed = pytest.mark.xdist_group("book")


@functools.cache
def artefact(chapter: str, name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((ROOT / "artifacts" / chapter / f"{name}.json").read_text())
    return content


def labels(chapter: str) -> list[tuple[str, str]]:
    """The permanent names of what a chapter shows, each with the kind of thing."""
    results = artefact(chapter, "results")
    return [(f"{kind[:3]}-{each['id']}", kind) for kind in ("figure", "table") for each in results[f"{kind}s"]]


def lines(page: Page) -> dict[str, Locator]:
    """The line of each figure and table on a page, by its permanent name."""
    all_lines = page.locator(".citable:not(.citable-chapter)")
    names = all_lines.evaluate_all(
        """all => all.map(({ previousElementSibling: above }) => above.id || above.querySelector("[id]")?.id || "")"""
    )
    return {name: all_lines.nth(i) for i, name in enumerate(names)}


@browsed
@pytest.mark.parametrize("chapter", CHAPTERS)
def test_every_figure_and_table_has_its_line(look: Look, chapter: str) -> None:
    page = look(f"notebooks/{chapter}").page
    assert set(lines(page)) == {label for label, _ in labels(chapter)}
    assert page.locator(".bd-article figure:not(:has(+ .citable-figure))").count() == 0
    captioned = ".bd-article .pst-scrollable-table-container:has(caption):not(:has(+ .citable-table))"
    assert page.locator(captioned).count() == 0
    assert page.locator(".citable-chapter").count() == 1


@browsed
@pytest.mark.parametrize("chapter", CHAPTERS)
def test_every_file_opens_and_is_what_it_says(look: Look, book: str, chapter: str) -> None:
    page = look(f"notebooks/{chapter}").page
    for label, line in lines(page).items():
        hrefs = {(a.text_content() or "").strip(): a.get_attribute("href") or "" for a in line.locator("> a").all()}
        suffixes = {"SVG": "svg", "PDF": "pdf", "PNG": "png"} if label.startswith("fig-") else {}
        assert set(hrefs) == {*suffixes, "Data (CSV)", "Code"}
        for text, suffix in (suffixes | {"Data (CSV)": "csv"}).items():
            assert hrefs[text] == f"../files/{chapter}/{label}.{suffix}"
            got = page.request.get(f"{book}/files/{chapter}/{label}.{suffix}")
            assert got.status == 200
            types = {"svg": "image/svg+xml", "pdf": "application/pdf", "png": "image/png", "csv": "text/csv"}
            assert got.headers["content-type"].startswith(types[suffix])
            check_file(suffix, got.body(), chapter, label)
    for record in ("results", "manifest"):
        link = page.locator(f".citable-chapter a[href='../files/{chapter}/{record}.json']")
        expect(link).to_have_count(1)
        assert page.request.get(f"{book}/files/{chapter}/{record}.json").json() == artefact(chapter, record)


def check_file(suffix: str, content: bytes, chapter: str, label: str) -> None:
    """It can be read, and a figure says within what it is, what one sees and which source drew it."""
    if suffix == "csv":
        assert len(pd.read_csv(io.BytesIO(content))) >= 1
        return
    if suffix == "png":
        with Image.open(io.BytesIO(content)) as image:
            image.load()
            assert min(image.size) > 100
            said = [image.info[key] for key in ("Title", "Description", "Author", "Copyright", "Source", "Comment")]
    elif suffix == "pdf":
        reader = pypdf.PdfReader(io.BytesIO(content))
        assert len(reader.pages) == 1
        assert reader.metadata is not None
        said = [reader.metadata[f"/{key}"] for key in ("Title", "Subject", "Author", "Keywords")]
    else:
        work = ElementTree.fromstring(content).find(".//{http://creativecommons.org/ns#}Work")
        assert work is not None
        said = ["".join(element.itertext()) for element in work]
    text = " ".join(" ".join(said).split())
    for expected in (
        f"{BOOK['title']}: {chapter}/{label}",
        f"version {BOOK['version']}",
        f"{BOOK['license']} licence",
        artefact(chapter, "manifest")["source"],
    ):
        assert expected in text
    assert max(len(each.split()) for each in said) >= 10, "the alternative text"


@browsed
@pytest.mark.parametrize("chapter", CHAPTERS)
def test_every_provenance_is_complete(look: Look, chapter: str) -> None:
    page, manifest = look(f"notebooks/{chapter}").page, artefact(chapter, "manifest")
    for line in page.locator(".citable").all():
        texts = line.locator("dl").evaluate(
            "dl => Object.fromEntries([...dl.querySelectorAll('dt')]"
            ".map(dt => [dt.textContent, dt.nextElementSibling.textContent.trim()]))"
        )
        assert manifest["source"] in texts["Source"]
        assert manifest["commit"] in texts["Commit"]
        assert texts["Seeds"] == str(manifest["seeds"])
        parameters = {k: v for k, v in manifest["parameters"].items() if k != "out"}
        assert texts["Parameters"] == ", ".join(f"{k} = {v}" for k, v in parameters.items())
        assert texts["Versions"] == ", ".join(f"{k} {v}" for k, v in manifest["versions"].items())
        assert texts["Device"].startswith(manifest["device"])


@browsed
@pytest.mark.parametrize("chapter", CHAPTERS)
def test_every_reference_names_what_is_displayed(look: Look, chapter: str) -> None:
    page, manifest = look(f"notebooks/{chapter}").page, artefact(chapter, "manifest")
    title = page.locator("h1:visible").evaluate("h1 => h1.firstChild.textContent + h1.childNodes[1].textContent")
    digits, name = re.fullmatch(r"(\d+)\.\s+(.*)", " ".join(title.split())).groups()  # type: ignore[union-attr]
    for label, line in lines(page).items():
        [number] = page.locator(f"[id='{label}'] .caption-number").all_text_contents()
        text, block = line.locator(".citable-reference pre").all_text_contents()
        [(key, entry)] = parse_string(block, "bibtex").entries.items()
        assert key == f"gatelr:{label}"
        assert entry.fields["title"].startswith(f"{number.strip()}: ")
        assert entry.fields["howpublished"].endswith(f"chapter {digits}, {name}")
        assert f"version {BOOK['version']}" in entry.fields["howpublished"]
        assert entry.fields["year"] == str(BOOK["preferred-citation"]["year"])
        assert f"{label}, commit {manifest['commit'][:10]}" in entry.fields["note"]
        for field in ("title", "howpublished", "note"):
            assert entry.fields[field] in text


@browsed
@pytest.mark.parametrize("chapter", CHAPTERS)
def test_every_link_to_the_code_leads_to_the_cell_that_names_it(look: Look, chapter: str) -> None:
    page = look(f"notebooks/{chapter}").page
    for label, line in lines(page).items():
        target = line.get_by_text("Code", exact=True).get_attribute("href") or ""
        source = page.locator(f"[id='{target.removeprefix('#')}'] pre").text_content() or ""
        own = label.partition("-")[2]
        if own == f"{chapter}-validation":
            assert ".validation(" in source, label
        else:
            assert f'"{own}"' in source, label


@browsed
def test_the_galleries_show_all_there_is(look: Look, book: str) -> None:
    every = [(chapter, label, kind) for chapter in CHAPTERS for label, kind in labels(chapter)]
    for kind in ("figure", "table"):
        page = look(f"book/generated/{kind}s").page
        items = page.locator(f".citable-{kind}s > li")
        shown = [item.locator("a").last.get_attribute("href") for item in items.all()]
        if kind == "table":
            shown = [item.locator("a").first.get_attribute("href") for item in items.all()]
            for link in page.locator(".citable-tables a", has_text="CSV").all():
                assert page.request.get(f"{book}/book/generated/{link.get_attribute('href')}").status == 200
        wanted = {f"../../notebooks/{chapter}.html#{label}" for chapter, label, kind_ in every if kind_ == kind}
        assert set(shown) == wanted
        assert len(shown) == len(wanted)
    # whether each can be loaded, not how it looks: to paint them all takes minutes
    broken = look("book/generated/figures").page.evaluate(
        """() => Promise.all([...document.querySelectorAll(".citable-figures img.only-light")].map(shown => {
          const image = new Image();
          return new Promise(loaded => {
            image.onload = () => loaded(image.naturalWidth > 0 ? null : shown.src);
            image.onerror = () => loaded(shown.src);
            image.src = shown.src;
          });
        })).then(all => all.length ? all.filter(Boolean) : ["no image at all"])"""
    )
    assert broken == []


PAGE = f"notebooks/{CHAPTERS[0]}"


@browsed
def test_a_reference_is_copied_as_it_stands(visit: Callable[..., Page]) -> None:
    page = visit(PAGE)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    line = page.locator(".citable-figure").first
    line.get_by_text("Cite this figure").click()
    for block in line.locator(".citable-reference").all():
        expect(block.locator(".copybtn")).to_have_css("opacity", "1")
        block.locator(".copybtn").click()
        expect(block.locator(".copybtn")).to_have_class(re.compile("success"))
        copied = page.evaluate("() => navigator.clipboard.readText()")
        assert copied.strip() == (block.locator("pre").text_content() or "").strip()


@browsed
@pytest.mark.parametrize("width", [1280, 390])
def test_what_opens_stands_below_the_line_and_a_second_click_closes_it(visit: Callable[..., Page], width: int) -> None:
    page = visit(PAGE, width=width)
    line = page.locator(".citable-figure").first
    provenance, cite = line.locator("summary").all()
    first, second = line.locator(".citable-body").all()
    # Where the words are when the pointer goes down on them: until then Playwright may scroll to reach them.
    cite.evaluate("e => e.addEventListener('pointerdown', () => { window.place = e.getBoundingClientRect().toJSON() })")
    cite.click()
    expect(second).to_be_visible()
    place, now, opened = page.evaluate("() => window.place"), cite.bounding_box(), second.bounding_box()
    assert now is not None
    # The browser places text on fractions of a pixel.
    assert abs(now["x"] - place["x"]) + abs(now["y"] - place["y"]) < 1, "the words that open it stay under the pointer"
    assert opened is not None
    assert opened["y"] >= place["y"] + place["height"] - 1
    assert opened["x"] + opened["width"] <= width
    provenance.click()
    expect(first).to_be_visible()
    expect(second).to_be_hidden()  # one at a time
    provenance.click()
    expect(first).to_be_hidden()


@browsed
def test_the_keyboard_opens_it(visit: Callable[..., Page]) -> None:
    page = visit(PAGE)
    line = page.locator(".citable-figure").first
    line.get_by_text("Code", exact=True).focus()
    page.keyboard.press("Tab")
    expect(line.locator("summary").first).to_be_focused()
    page.keyboard.press("Enter")
    expect(line.locator("dl")).to_be_visible()


@browsed
def test_the_code_is_shown_even_where_it_is_folded(visit: Callable[..., Page]) -> None:
    page = visit(PAGE)
    links = page.locator(".citable-figure").get_by_text("Code", exact=True).all()
    sources = [page.locator(f"[id='{(link.get_attribute('href') or '').lstrip('#')}']") for link in links]
    link, source = next((each, code) for each, code in zip(links, sources, strict=True) if code.is_hidden())
    link.click()
    expect(source).to_be_visible()
    expect(source).to_be_in_viewport()


@browsed
def test_all_but_the_copying_works_without_scripts(browser: Browser, book: str) -> None:
    context = browser.new_context(java_script_enabled=False, base_url=book)
    page = context.new_page()
    page.goto(f"/{PAGE}.html")
    line = page.locator(".citable-figure").first
    line.get_by_text("Cite this figure").click()
    expect(line.locator(".citable-reference").first).to_be_visible()
    line.get_by_text("SVG", exact=True).click()
    expect(page).to_have_url(re.compile(rf"/files/{CHAPTERS[0]}/fig-[a-z-]+\.svg$"))
    context.close()


@browsed
def test_on_paper_only_the_name_is_left(visit: Callable[..., Page]) -> None:
    page = visit(PAGE)
    label, line = next(iter(lines(page).items()))
    expect(line.locator(".citable-address")).to_be_hidden()
    page.emulate_media(media="print")
    expect(line.locator(".citable-address")).to_be_visible()
    expect(line.locator(".citable-address")).to_contain_text(label)
    expect(line.get_by_text("Cite this figure")).to_be_hidden()
    expect(line.get_by_text("SVG", exact=True)).to_be_hidden()
