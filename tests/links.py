"""Links within a site of static pages: which of them lead nowhere."""

from __future__ import annotations

import functools
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

ADDRESSES = {
    "a": "href",
    "link": "href",
    "form": "action",
    "img": "src",
    "script": "src",
    "source": "src",
    "iframe": "src",
}


class Page(HTMLParser):
    """A page as it is read from its beginning to its end: a tree of all pages would take minutes to grow.

    Attributes:
        names: what can be pointed to.
        addresses: what it points to or fetches, as it is written.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.names, self.addresses = {""}, list[str]()
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        if "id" in found:
            self.names.add(found["id"])
        if ADDRESSES.get(tag) in found:
            self.addresses.append(found[ADDRESSES[tag]])
        if "srcset" in found:
            self.addresses += [candidate.split()[0] for candidate in found["srcset"].split(",")]
        if tag == "meta" and found.get("http-equiv") == "refresh":
            self.addresses.append(found["content"].partition("url=")[2])


@functools.cache
def page(file: Path) -> Page:
    return Page(file.read_text())


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
        for address in page(file).addresses:
            parts = urlsplit(address)
            if parts.scheme or parts.netloc:
                continue
            path = unquote(parts.path)
            target = site / path.removeprefix(root) if path.startswith("/") else file.parent / path if path else file
            if path.startswith("/") and not path.startswith(root):
                found.append(f"{file.relative_to(site)} -> {address}")
                continue
            target = (target / "index.html" if target.is_dir() else target).resolve()
            if not target.is_file() or (target.suffix == ".html" and unquote(parts.fragment) not in page(target).names):
                found.append(f"{file.relative_to(site)} -> {address}")
    return found
