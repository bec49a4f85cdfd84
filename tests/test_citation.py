"""How to cite the book is said in several places, and they say the same."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import gatelr
import pytest
import yaml
from pybtex.database import Entry, parse_file, parse_string

ROOT = Path(__file__).resolve().parents[1]
CFF = yaml.safe_load((ROOT / "CITATION.cff").read_text())


def bibtex(page: str) -> dict[str, Entry]:
    """The BibTeX entries that a page offers."""
    blocks = re.findall(r"^```bibtex\n(.*?)^```", (ROOT / page).read_text(), flags=re.DOTALL | re.MULTILINE)
    return dict(parse_string("\n".join(blocks), "bibtex").entries)


def plain(field: str) -> str:
    return field.strip("{}")


def test_the_file_is_a_valid_citation_file() -> None:
    tool = Path(sys.executable).with_name("check-jsonschema")
    command = [str(tool), "--builtin-schema", "vendor.citation-file-format", "CITATION.cff"]
    checked = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize("page", ["README.md", "book/cite.md"])
def test_the_bibtex_of_a_page_is_that_of_the_file(page: str) -> None:
    wanted: dict[str, Any] = CFF["preferred-citation"]
    entry = bibtex(page)["gatelr"]
    assert entry.type == wanted["type"]
    assert [plain(str(a)) for a in entry.persons["author"]] == [a["name"] for a in wanted["authors"]]
    assert {k: plain(v) for k, v in entry.fields.items()} == {
        k: str(wanted[k]) for k in ("title", "version", "year", "license")
    }


def test_the_plain_text_is_that_of_the_file() -> None:
    wanted = CFF["preferred-citation"]
    authors = ", ".join(a["name"] for a in wanted["authors"])
    text = f"> {authors} ({wanted['year']}). *{wanted['title']}*, version {wanted['version']}."
    assert text in (ROOT / "book/cite.md").read_text()


def test_the_file_repeats_itself_without_a_slip() -> None:
    for key, value in CFF["preferred-citation"].items():
        assert key == "year" or CFF[key] == value


def test_version_authors_and_licence_are_those_of_the_package_and_the_book() -> None:
    package = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    book = yaml.safe_load((ROOT / "_config.yml").read_text())
    [author] = [a["name"] for a in CFF["authors"]]
    assert (package["version"], package["license"]) == (CFF["version"], CFF["license"])
    assert [a["name"] for a in package["authors"]] == [author]
    assert (book["title"], book["author"]) == (CFF["title"], author)
    library = (gatelr.__title__, gatelr.__author__, gatelr.__license__, gatelr.__version__)
    assert library == (CFF["title"], author, CFF["license"], CFF["version"])
    year = CFF["preferred-citation"]["year"]
    assert book["copyright"] == str(year)
    assert f"Copyright (c) {year} {author}" in (ROOT / "LICENSE").read_text()
    assert f"[{CFF['version']}]" in (ROOT / "CHANGELOG.md").read_text()


def test_the_paper_is_cited_alike_everywhere() -> None:
    ours = parse_file(ROOT / "book/references.bib").entries["livi2025timescale"]
    offered = bibtex("book/cite.md")["livi2025timescale"]
    assert offered.fields == ours.fields
    assert offered.persons == ours.persons
    [paper] = CFF["references"]
    assert (paper["title"], str(paper["year"])) == (ours.fields["title"], ours.fields["year"])
    assert paper["identifiers"][0]["value"] == f"arXiv:{ours.fields['eprint']}"
