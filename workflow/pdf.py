"""Bind the built pages into one PDF: what `make pdf` does once the book is there.

The pages are the book's own, so that every number, label and citation is the one that stands online. They are joined
into one document, in which each anchor bears the name of its page, and Chromium prints it twice: a browser cannot say
in a text on which page something else stands, so the first printing is read for that, and the second says it.
"""

from __future__ import annotations

import argparse
import io
import os
import posixpath
import re
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

import address
import browser
import citation
import failures
import jinja2
import matplotlib
from bs4 import BeautifulSoup, Tag
from parameters import BadInput
from playwright.sync_api import Page, sync_playwright
from pypdf import PdfReader, PdfWriter
from pypdf.generic import Fit, IndirectObject
from sphinx_external_toc.api import SiteMap
from sphinx_external_toc.parsing import parse_toc_yaml

HTML = Path("_build/html")
JOINED = Path("_build/paper/book.html")
OUT = Path("_build/gates-as-learning-rates.pdf")
TEMPLATES = Path(__file__).parent / "paper"

#: Pages that are no part of the book on paper, by the beginning of their names: one looks a function up online.
LEFT_OUT = ("book/api/",)
#: What one presses on a screen, pictures for dark pages, and what turns a gallery of figures into a list of them.
ONLINE = (
    "a.headerlink, button, script, style, img.only-dark, .citable > :not(.citable-address), "
    ".citable-figures p:has(img), .citable-tables a[href$='.csv'], .ledger-filter"
)
#: Marks around words that look no different for them. A tagged PDF has an object for each: they made it twice as large.
IDLE = "span.pre, .highlight span:is(.n, .nn, .o, .p, .w)"
#: Characters of a table's cell that stay on one line: a number such as 1e-12 would else be broken at its sign.
SHORT = 18

#: The page, counted from 1, and the height on it at which each anchor stands.
Places = dict[str, tuple[int, float]]


class Unbound(Exception):
    """The pages could not be made into one document; says why in one sentence."""


@dataclass(frozen=True)
class Entry:
    """A line of the contents, and of the outline."""

    level: int
    anchor: str
    number: str
    html: str

    @property
    def text(self) -> str:
        """As plain text, for where there is no markup."""
        words = re.sub(r"\\[()]", "", _soup(self.html).get_text())  # the marks around mathematics
        return " ".join([self.number, *words.split()]).strip()


@dataclass(frozen=True)
class Chapter:
    """A page of the book as a chapter on paper, and the part that it opens, if it opens one."""

    part: str
    article: Tag
    entries: list[Entry]


def _soup(text: str) -> BeautifulSoup:
    return BeautifulSoup(text, "html.parser")


def _first(tag: Tag, selector: str) -> Tag:
    """What every page of the theme has."""
    element = tag.select_one(selector)
    if element is None:
        raise Unbound(
            f"got a page without {selector}, expected one of the book's theme: {tag.get_text()[:60].strip()!r}"
        )
    return element


def pages(contents: SiteMap) -> Iterator[tuple[str, str]]:
    """The pages in the order of the contents, each after the part that it opens, or nothing."""

    def below(name: str) -> Iterator[tuple[str, str]]:
        for tree in contents[name].subtrees if name in contents else ():
            part = tree.caption or ""
            for child in tree.files():
                if not child.startswith(LEFT_OUT):
                    yield part, child
                    part = ""
                    yield from below(child)

    yield "", contents.root.docname
    yield from below(contents.root.docname)


def anchor(name: str, fragment: str = "") -> str:
    """What an anchor of a page is called in the joined document, such as ``time-scales.eq-ode``."""
    return ".".join(filter(None, [posixpath.basename(name), fragment]))


class Join:
    """Pages of the book on their way into one document.

    Args:
        names: the pages, without ``.html``.
        url: where the book is published, if it is: what is not on paper is there.
    """

    def __init__(self, names: list[str], url: str | None):
        self.names, self.url = names, url
        self.head: dict[str, None] = {}  # the styles and scripts of all pages, each once and in order

    def article(self, name: str) -> Tag:
        """The text of a page, its anchors, links and pictures as they are in the joined document."""
        page = _soup((HTML / f"{name}.html").read_text())
        self._note(name, page)
        article = _first(page, "article.bd-article")
        for control in article.select(ONLINE):
            control.decompose()
        for span in article.select(IDLE):
            span.unwrap()

        article["id"] = anchor(name)
        for tag in article.find_all(id=True):
            tag["id"] = anchor(name, str(tag["id"]))
        for key in ("aria-describedby", "aria-labelledby"):
            for tag in article.select(f"[{key}]"):
                tag[key] = anchor(name, str(tag[key]))
        for image in article.find_all("img", src=True):
            image["src"] = _file(name, str(image["src"]))
            del image["loading"]  # a picture that waits until it is scrolled to would wait for ever
        for link in article.find_all("a", href=True):
            self._redirect(name, link)

        for cell in article.select("td, th"):
            if len(cell.get_text()) <= SHORT:
                cell["class"] = f"{' '.join(cell.get('class') or [])} short"
        for link in article.select(":is(.citable-figures, .citable-tables) li a:first-of-type"):
            link.append(_page(str(link["href"]).removeprefix("#"), before=", page "))
            link.append(".")
        article.smooth()
        return article

    def _note(self, name: str, page: Tag) -> None:
        for sheet in page.select("head link[rel=stylesheet]"):
            self.head[f'<link rel="stylesheet" href="{_file(name, str(sheet["href"]))}">'] = None
        for script in page.select("head script"):
            if "mathjax" in str(script).lower() or "print.js" in str(script.get("src")):
                if script.get("src"):
                    script["src"] = _file(name, str(script["src"]))
                self.head[str(script)] = None

    def _redirect(self, name: str, link: Tag) -> None:
        target = urlsplit(str(link["href"]))
        if target.scheme or target.netloc:
            return
        path = posixpath.normpath(
            posixpath.join(posixpath.dirname(name), target.path or f"{posixpath.basename(name)}.html")
        )
        if path.removesuffix(".html") in self.names:
            link["href"] = f"#{anchor(path.removesuffix('.html'), unquote(target.fragment))}"
        elif self.url:
            link["href"] = urljoin(self.url, target._replace(path=path).geturl())
        else:
            link.unwrap()


def _file(name: str, target: str) -> str:
    """The way from the joined document to a file that a page names."""
    if urlsplit(target).scheme:
        return target
    return posixpath.relpath(posixpath.join(HTML.as_posix(), posixpath.dirname(name), target), JOINED.parent.as_posix())


def _page(target: str, before: str) -> Tag:
    """A place for the number of the page on which an anchor stands."""
    place = _soup(f'<span>{before}<span data-page-of="{target}">000</span></span>').span
    assert place is not None
    return place


def entries(article: Tag) -> list[Entry]:
    """The title of a chapter and those of its sections."""
    _first(article, "section > h1")
    entries = []
    for heading in article.select("section > h1, section > h2"):
        words = _soup(heading.decode_contents())
        number = words.select_one(".section-number")
        digits = number.extract().get_text().strip() if number else ""
        entries.append(Entry(int(heading.name[1]), str(_parent(heading)["id"]), digits, words.decode()))
    return entries


def _parent(tag: Tag) -> Tag:
    assert tag.parent is not None
    return tag.parent


def unfold(chapters: list[Chapter]) -> Chapter | None:
    """Move what is folded on the screen to the end of the book, and say in its place on which page it is.

    A fold keeps from the eye what would interrupt it. Paper has no folds, but it has appendices.
    """
    book = _soup(
        '<article class="bd-article" id="folded"><section id="folded.all"><h1>Code and solutions</h1><p>What the pages '
        "fold away online, chapter by chapter. Each piece says where it belongs.</p></section></article>"
    )
    section = _first(book, "section")
    for chapter in chapters:
        for rows in chapter.article.select("details.ledger-rows"):  # the ledger is read in its place
            _first(rows, "summary").name = "p"
            rows.unwrap()
        folds = chapter.article.select("details:has(> summary)")
        if not folds:
            continue
        name = str(chapter.article["id"])
        part = book.new_tag("section", id=f"folded.{name}")
        part.append(_soup(f"<h2>{_first(chapter.article, 'h1').decode_contents()}</h2>"))
        section.append(part)
        for number, fold in enumerate(folds, 1):
            here, there = f"{name}.fold-{number}", f"folded.{name}.{number}"
            words = " ".join(_first(fold, "summary").extract().get_text().split()).removeprefix("Show ")
            words = words[:1].upper() + words[1:]
            piece = book.new_tag("div", id=there, attrs={"class": "unfolded"})
            piece.append(_pointer(words, here, ", from page "))
            piece.extend(list(fold.children))
            part.append(piece)
            fold.replace_with(_pointer(words, there, ": page ", id=here))
    return Chapter("Appendix", _first(book, "article"), entries(book)) if section.section else None


def _pointer(words: str, target: str, before: str, **attributes: str) -> Tag:
    line = _soup("").new_tag("p", attrs={"class": "pointer", **attributes})
    link = _soup("").new_tag("a", href=f"#{target}", string=words)
    link.append(_page(target, before))
    line.append(link)
    return line


def bind(url: str | None, paper: str) -> tuple[str, list[Chapter]]:
    """The joined document, and its chapters.

    Raises:
        Unbound: if two pages have one name, a page has no title, or a link leads nowhere.
    """
    in_order = list(pages(parse_toc_yaml("_toc.yml")))
    names = [name for _, name in in_order]
    if len({anchor(name) for name in names}) < len(names):
        raise Unbound(f"got two pages of one name in different folders, expected different names: {', '.join(names)}")
    join = Join(names, url)
    chapters: list[Chapter] = []
    for part, name in in_order:
        article = join.article(name)
        if not chapters:  # the first page bears the title of the book, which stands on the cover
            _first(article, "h1").string = "Introduction"
        chapters.append(Chapter(part, article, entries(article)))
    if appendix := unfold(chapters):
        chapters.append(appendix)

    anchors = {f"#{tag['id']}" for chapter in chapters for tag in _parent(chapter.article).find_all(id=True)}
    lost = {str(a["href"]) for c in chapters for a in c.article.select('a[href^="#"]')} - anchors
    if lost:
        raise Unbound(f"these links lead nowhere in the joined document: {', '.join(sorted(lost))}")

    templates = jinja2.Environment(loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True)
    book, commit = citation.read(), citation.head()
    document = templates.get_template("book.html.j2").render(
        book=book,
        authors=authors(),
        commit=commit,
        reference=citation.text(citation.book(commit, url)),
        url=url,
        head=join.head,
        sheet=Path(os.path.relpath(TEMPLATES / "book.css", JOINED.parent)).as_posix(),
        fonts=(Path(matplotlib.get_data_path()) / "fonts" / "ttf").as_uri(),
        chapters=chapters,
        titles={chapter.entries[0].html for chapter in chapters},
        paper=paper,
    )
    return document, chapters


def authors() -> list[str]:
    """The names in CITATION.cff."""
    people = citation.read()["authors"]
    return [person.get("name") or f"{person['given-names']} {person['family-names']}" for person in people]


def typeset(page: Page) -> None:
    """Open the joined document as it will stand on paper, and wait until every formula and picture is there."""
    page.emulate_media(media="print", color_scheme="light")
    page.goto(JOINED.resolve().as_uri(), wait_until="load", timeout=120_000)
    page.evaluate("() => MathJax.startup.promise")
    page.evaluate("() => Promise.all([document.fonts.ready, ...[...document.images].map(image => image.decode())])")


def printing(page: Page) -> tuple[bytes, Places]:
    """The document as PDF, and where its anchors are."""
    data = page.pdf(prefer_css_page_size=True, print_background=True, tagged=True)
    reader = PdfReader(io.BytesIO(data))
    places = {}
    for name, place in reader.named_destinations.items():
        number = reader.get_destination_page_number(place)
        if number is not None:
            places[name.removeprefix("/")] = (number + 1, float(place.top or 0))
    return data, places


def print_twice(page: Page) -> tuple[bytes, Places]:
    """Print, write the numbers of the pages into the text, print again.

    Raises:
        Unbound: if the numbers are no longer true once they are written down.
    """
    data, places = printing(page)
    for _ in range(3):
        numbers = {name: number for name, (number, _) in places.items()}
        page.evaluate(
            """pages => document.querySelectorAll("[data-page-of]").forEach(
                   place => { place.textContent = pages[place.dataset.pageOf]; })""",
            numbers,
        )
        data, places = printing(page)
        if numbers == {name: number for name, (number, _) in places.items()}:
            return data, places
    raise Unbound(f"the page numbers in the text do not settle: see what moves in {JOINED}")


def finish(data: bytes, chapters: list[Chapter], places: Places) -> PdfWriter:
    """Add the outline, and say what the document is."""
    writer = PdfWriter(clone_from=io.BytesIO(data))

    def line(title: str, target: str, parent: IndirectObject | None, is_open: bool = False) -> IndirectObject:
        number, top = places[target]
        fit = Fit.xyz(top=top)
        return writer.add_outline_item(title=title, page_number=number - 1, parent=parent, fit=fit, is_open=is_open)

    line("Contents", "contents", None)
    part = None
    for chapter in chapters:
        title, *sections = chapter.entries
        if chapter.part:
            part = line(chapter.part, title.anchor, None, is_open=True)
        top = line(title.text, title.anchor, part)
        for section in sections:
            line(section.text, section.anchor, top)

    book = citation.read()
    writer.add_metadata(
        {
            "/Title": book["title"],
            "/Author": "; ".join(authors()),
            "/Subject": " ".join(book["abstract"].split()),
            "/Keywords": ", ".join(book["keywords"]),
            "/Creator": citation.text(citation.book(citation.head(), address.url())),
        }
    )
    writer.page_mode = "/UseOutlines"
    return writer


def main() -> int:
    """Join, print, and put the PDF in its place once it is whole."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--paper", default="A4", help="a page size of CSS, such as A4 or Letter")
    asked = parser.parse_args()
    print("pdf   printing", flush=True)
    begin = time.perf_counter()
    try:
        with sync_playwright() as playwright, browser.launch(playwright, why="print the book with") as chromium:
            document, chapters = bind(address.url(), asked.paper)
            JOINED.parent.mkdir(parents=True, exist_ok=True)
            JOINED.write_text(document)
            page = chromium.new_page()
            typeset(page)
            data, places = print_twice(page)
    except (Unbound, browser.NoBrowser, BadInput) as error:
        failures.record("pdf", str(error))
        return 1
    whole = OUT.with_suffix(".part")
    with whole.open("wb") as file:
        finish(data, chapters, places).write(file)
    whole.replace(OUT)
    print(f"pdf   done in {time.perf_counter() - begin:.1f} s, {OUT.stat().st_size / 1e6:.1f} MB", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
