"""No link within the book leads nowhere: on the pages that were written, and on those that were generated."""

from __future__ import annotations

import re
from pathlib import Path

import links
import pytest

HTML = Path(__file__).resolve().parents[2] / "_build" / "html"

pytestmark = [pytest.mark.xdist_group("book")]


def test_every_link_within_the_book_leads_somewhere(book: str) -> None:
    assert links.dead(HTML) == []


def test_a_doi_is_written_as_one(book: str) -> None:
    pages = [file.read_text() for file in HTML.glob("*/*.html")]
    found = {link for page in pages for link in re.findall(r'href="([^"]*\bdoi\.org[^"]*)"', page)}
    assert found
    assert [link for link in found if not re.fullmatch(r"https://doi\.org/10\.\d{4,9}/[^\s\"<>]+", link)] == []


@pytest.mark.parametrize(
    ("link", "alive"),
    [
        ('<a href="b.html#there">', True),
        ('<a href="#here">', True),
        ('<a href="/in/b.html">', True),
        ('<a href="sub/">', True),
        ('<a href="https://example.org/nothing">', True),
        ('<a href="mailto:a@example.org">', True),
        ('<img src="a%20picture.svg">', True),
        ('<a href="b.html#nowhere">', False),
        ('<a href="#nowhere">', False),
        ('<a href="c.html">', False),
        ('<a href="/out/b.html">', False),
        ('<a href="data.csv" download>', False),
        ('<img src="b.html" srcset="b.html 1x, large.png 2x">', False),
        ('<script src="gone.js"></script>', False),
        ('<link rel="stylesheet" href="gone.css?v=1">', False),
        ('<meta http-equiv="refresh" content="0; url=gone/">', False),
    ],
)
def test_what_is_a_dead_link(tmp_path: Path, link: str, alive: bool) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "index.html").touch()
    (tmp_path / "a picture.svg").touch()
    (tmp_path / "b.html").write_text('<p id="there">')
    (tmp_path / "a.html").write_text(f'<p id="here">{link}')
    assert (links.dead(tmp_path, "/in/") == []) is alive
