"""What a page costs to load, so that it stays small: bytes as they travel, and requests; not seconds, which vary."""

from __future__ import annotations

import functools
import gzip
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from .test_pages import CHAPTERS, PAGES

HTML = Path(__file__).resolve().parents[2] / "_build" / "html"

# The budgets, in kilobytes after compression where a server compresses. Whoever raises one says why.
REQUESTS = 50  # until a page stands there, its pictures aside
ARRIVAL = 900  # the same in bytes; from the second page on most of it is in the browser's cache
PROSE = 100  # the text of a page
PICTURE = 250  # one picture, when it comes into view
# all files on the server, uncompressed: GitHub Pages has room for a gigabyte, versions and all; about 2000 a chapter
# are copies of what could be cited when chapters had numbers in their names
BOOK = 8_800 * len(CHAPTERS)
COMPRESSED = {".html", ".css", ".js", ".svg", ".json"}

pytestmark = [pytest.mark.xdist_group("book")]


@functools.cache
def travels(path: str) -> float:
    """Kilobytes of a file on its way."""
    file = HTML / unquote(path).lstrip("/")
    content = file.read_bytes()
    return len(gzip.compress(content) if file.suffix in COMPRESSED else content) / 1000


@pytest.mark.parametrize("name", PAGES)
def test_a_page_arrives_within_its_budget(look: Callable[[str], Any], name: str) -> None:
    fetched = {urlsplit(url).path for url in look(name).fetched}
    weights = {path: travels(path) for path in (f"/{name}.html", *fetched) if not path.startswith("/_images/")}
    assert len(weights) <= REQUESTS, sorted(weights)
    assert sum(weights.values()) <= ARRIVAL, sorted(weights.items(), key=lambda item: -item[1])[:5]
    assert weights[f"/{name}.html"] <= PROSE


def test_no_picture_is_heavy(book: str) -> None:
    pictures = [f"_images/{file.name}" for file in (HTML / "_images").glob("*.*")]
    assert pictures
    assert {picture: travels(picture) for picture in pictures if travels(picture) > PICTURE} == {}


def test_the_book_takes_little_room(book: str) -> None:
    assert sum(file.stat().st_size for file in HTML.rglob("*") if file.is_file()) / 1000 <= BOOK


@pytest.mark.parametrize("name", CHAPTERS)
def test_a_picture_waits_until_it_is_looked_at(look: Callable[[str], Any], name: str) -> None:
    opened = look(name)
    pictures = opened.page.locator(".bd-article img[src*='_images/']")
    assert pictures.count() > 0
    for picture in pictures.all():
        assert picture.get_attribute("loading") == "lazy"
        # Its place is kept: a reader who follows a link to a figure does not see it move away.
        assert picture.get_attribute("width")
        assert picture.get_attribute("height")
    dark = [url for url in opened.fetched if re.search(r"\.dark\.svg$", url)]
    assert dark == [], "a figure's dark twin was fetched on a light page"
