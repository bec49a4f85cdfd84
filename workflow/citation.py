"""How to cite the book, or one chapter, figure or table of it. `CITATION.cff` is the source of all that is said.

python workflow/citation.py --write    brings the BibTeX of the README into step with it
python workflow/citation.py --check    says whether it is
"""

from __future__ import annotations

import argparse
import functools
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import yaml
from pybtex.backends.plaintext import Backend
from pybtex.database import BibliographyData, Entry, Person
from pybtex.database.output import bibtex as output
from pybtex.style.formatting import toplevel, unsrt
from pybtex.style.template import field, join, names, optional, sentence, words

ROOT = Path(__file__).resolve().parents[1]
SOURCE, README = ROOT / "CITATION.cff", ROOT / "README.md"
#: The book's key in BibTeX; those of its parts begin with it.
KEY = "gatelr"


@dataclass(frozen=True)
class Part:
    """A part of the book that can be cited alone.

    Args:
        id: its permanent name, such as ``fig-impulse-responses`` or ``time-scales``.
        label: what the page calls it, such as ``Figure 1.2`` or ``Chapter 1``.
        title: a figure's name in words or a chapter's title.
        within: the chapter that holds it, such as ``chapter 1, Time-scales``; empty for a chapter.
    """

    id: str
    label: str
    title: str
    within: str = ""


def read() -> dict[str, Any]:
    """`CITATION.cff` as it stands."""
    source: dict[str, Any] = yaml.safe_load(SOURCE.read_text())
    return source


def book(commit: str | None = None, url: str | None = None) -> Entry:
    """The reference to the book.

    Args:
        commit: the commit it was built from; a version that is not released is not known without it.
        url: where this version of it is published.
    """
    wanted = read()["preferred-citation"]
    fields = {key: str(wanted[key]) for key in ("title", "version", "year", "license")}
    return _entry(wanted["type"], fields, {"note": commit and f"Commit {commit}", "url": url})


def part(which: Part, commit: str | None = None, url: str | None = None) -> Entry:
    """The reference to a part of the book, as an entry of a type that every BibTeX style prints in full."""
    wanted = read()["preferred-citation"]
    place = ", ".join(filter(None, [f"{wanted['title']}, version {wanted['version']}", which.within]))
    fields = {
        "title": f"{which.label}: {which.title}",
        "howpublished": f"In: {place}",
        "year": str(wanted["year"]),
        "note": ", commit ".join(filter(None, [f"Permanent name: {which.id}", commit])),
    }
    return _entry("misc", fields, {"url": url})


def bibtex(key: str, entry: Entry) -> str:
    """The entry as BibTeX."""
    return _Writer().to_string(BibliographyData({key: entry})).strip()


def text(entry: Entry) -> str:
    """The entry in words."""
    return str(_style().format_entry("", entry).text.render(Backend())).replace("\n", " ")


def commit(digest: str | None, edited: bool | None) -> str | None:
    """A commit as a reference names it: short, and with a word of warning if files had been edited since."""
    return digest and digest[:10] + (" with local changes" if edited else "")


def head() -> str | None:
    """The commit of the repository as it stands, or None outside of one."""
    try:
        digest, edited = (
            subprocess.run(["git", *asked], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
            for asked in (["rev-parse", "HEAD"], ["status", "--porcelain"])
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit(digest, bool(edited))


def readme() -> str:
    """The README with the BibTeX that `CITATION.cff` gives."""
    block = f"```bibtex\n{bibtex(KEY, book())}\n```"
    return re.sub(r"```bibtex\n.*?\n```", lambda _: block, README.read_text(), flags=re.DOTALL)


def main() -> int:
    """Check or write the copy."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--check", action="store_true")
    what.add_argument("--write", action="store_true")
    args = parser.parse_args()
    if README.read_text() == (wanted := readme()):
        return 0
    if args.check:
        print(f"{README.name} does not say what CITATION.cff says: run `python workflow/citation.py --write`")
        return 1
    README.write_text(wanted)
    return 0


class _Writer(output.Writer):
    """BibTeX with braces, which need no care within, and with addresses as they are."""

    def _write_field(self, stream: TextIO, type: str, value: str) -> None:
        stream.write(f",\n  {type} = {{{value if type == 'url' else self._encode(value)}}}")


@functools.cache
def _style() -> _Style:
    """Made once: pybtex asks every installed package for plugins each time."""
    return _Style()


class _Style(unsrt.Style):
    """A reference in words: who (when). What, and where to find it."""

    def _who(self) -> Any:
        return words[names("author", sep=", ", sep2=" and ", last_sep=" and "), join["(", field("year"), ")."]]

    def _where(self) -> list[Any]:
        return [optional[sentence[field("note", raw=True)]], optional[field("url", raw=True)]]

    def get_software_template(self, entry: Entry) -> Any:
        what = sentence(sep=", ")[field("title", raw=True), words["version", field("version")]]
        return toplevel[(self._who(), what, *self._where())]

    def get_misc_template(self, entry: Entry) -> Any:
        if "eprint" in entry.fields:
            where = [sentence[join[field("archiveprefix"), ":", field("eprint")]]]
        else:
            where = [optional[sentence[field("howpublished", raw=True)]], *self._where()]
        return toplevel[(self._who(), sentence[field("title", raw=True)], *where)]


def _entry(kind: str, fields: dict[str, str], more: dict[str, str | None]) -> Entry:
    authors = [Person(f"{{{a['name']}}}" if "name" in a else _name(a)) for a in read()["preferred-citation"]["authors"]]
    return Entry(kind, fields=fields | {k: v for k, v in more.items() if v}, persons={"author": authors})


def _name(author: dict[str, str]) -> str:
    return author.get("name") or f"{author['family-names']}, {author['given-names']}"


if __name__ == "__main__":
    sys.exit(main())
