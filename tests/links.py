"""Links within a site of static pages: which of them lead nowhere."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

from bs4 import BeautifulSoup

ADDRESSES = {
    "a": "href",
    "link": "href",
    "form": "action",
    "img": "src",
    "script": "src",
    "source": "src",
    "iframe": "src",
}


@functools.cache
def page(file: Path) -> BeautifulSoup:
    return BeautifulSoup(file.read_text(), "html.parser")


@functools.cache
def names(file: Path) -> frozenset[str]:
    """What can be pointed to in a page."""
    return frozenset(str(e["id"]) for e in page(file).find_all(id=True)) | {""}


def addresses(file: Path) -> Iterator[str]:
    """What a page points to or fetches, as it is written."""
    for tag, attribute in ADDRESSES.items():
        yield from (str(e[attribute]) for e in page(file).find_all(tag, attrs={attribute: True}))
    for element in page(file).find_all(srcset=True):
        yield from (candidate.split()[0] for candidate in str(element["srcset"]).split(","))
    for element in page(file).find_all("meta", attrs={"http-equiv": "refresh"}):
        yield str(element["content"]).partition("url=")[2]


def dead(site: Path, root: str = "/") -> list[str]:
    """Every link of every page to a file or an anchor that is not there, as "page -> link".

    Args:
        site: the folder that is served.
        root: the path under which it is, with a slash at its end.
    """
    found = []
    for file in sorted(site.rglob("*.html")):
        if "_static" in file.parts:
            continue
        for address in addresses(file):
            parts = urlsplit(address)
            if parts.scheme or parts.netloc:
                continue
            path = unquote(parts.path)
            target = site / path.removeprefix(root) if path.startswith("/") else file.parent / path if path else file
            if path.startswith("/") and not path.startswith(root):
                found.append(f"{file.relative_to(site)} -> {address}")
                continue
            target = (target / "index.html" if target.is_dir() else target).resolve()
            if not target.is_file() or (target.suffix == ".html" and unquote(parts.fragment) not in names(target)):
                found.append(f"{file.relative_to(site)} -> {address}")
    return found
