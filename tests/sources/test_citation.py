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
from pybtex.database import parse_file, parse_string

sys.path.append(str(Path(__file__).resolve().parents[2] / "workflow"))
import citation

ROOT = Path(__file__).resolve().parents[2]
CFF = yaml.safe_load((ROOT / "CITATION.cff").read_text())


@pytest.mark.slow
def test_the_file_is_a_valid_citation_file() -> None:
    tool = Path(sys.executable).with_name("check-jsonschema")
    command = [str(tool), "--builtin-schema", "vendor.citation-file-format", "CITATION.cff"]
    checked = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_what_is_copied_from_the_file_is_in_step_with_it() -> None:
    assert citation.README.read_text() == citation.readme(), "run `python workflow/citation.py --write`"


def test_a_copy_that_is_old_is_found_and_mended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(citation.README.read_text().replace(f"version = {{{CFF['version']}}}", "version = {0.0.9}"))
    monkeypatch.setattr(citation, "README", readme)
    for asked, status in (("--check", 1), ("--write", 0), ("--check", 0)):
        monkeypatch.setattr(sys, "argv", ["citation.py", asked])
        assert citation.main() == status
    assert readme.read_text() == (ROOT / "README.md").read_text()


def test_the_bibtex_says_what_the_file_says() -> None:
    wanted: dict[str, Any] = CFF["preferred-citation"]
    [block] = re.findall(r"^```bibtex\n(.*?)^```", (ROOT / "README.md").read_text(), flags=re.DOTALL | re.MULTILINE)
    entry = parse_string(block, "bibtex").entries["gatelr"]
    assert entry.type == wanted["type"]
    assert [str(a).strip("{}") for a in entry.persons["author"]] == [a["name"] for a in wanted["authors"]]
    assert dict(entry.fields) == {k: str(wanted[k]) for k in ("title", "version", "year", "license")}


FIGURE = citation.Part("fig-a-b", "Figure 1.2", "a b", "chapter 1, Rates & gates – of α")


def test_a_figure_is_cited_with_number_name_chapter_version_commit_and_address() -> None:
    cited = citation.part(FIGURE, "0123456789", "https://example.org/a_book/notebooks/01-one.html#fig-a-b")
    assert citation.text(cited) == (
        "The Gates as Learning Rates authors (2026). Figure 1.2: a b. In: Gates as Learning Rates, version 0.1.0, "
        "chapter 1, Rates & gates – of α. Permanent name: fig-a-b, commit 0123456789. "
        "https://example.org/a_book/notebooks/01-one.html#fig-a-b"
    )
    printed = citation.bibtex("gatelr:fig-a-b", cited)
    parsed = parse_string(printed, "bibtex").entries["gatelr:fig-a-b"]
    assert parsed.fields["url"] == "https://example.org/a_book/notebooks/01-one.html#fig-a-b"
    assert r"Rates \& gates" in parsed.fields["howpublished"]
    assert parsed.persons == cited.persons


def test_what_is_not_known_is_not_cited() -> None:
    cited = citation.part(FIGURE)
    assert set(cited.fields) == {"title", "howpublished", "year", "note"}
    assert citation.text(cited).endswith("Permanent name: fig-a-b.")
    assert set(citation.book().fields) == {"title", "version", "year", "license"}
    assert citation.text(citation.book()) == (
        "The Gates as Learning Rates authors (2026). Gates as Learning Rates, version 0.1.0."
    )


def test_a_commit_is_named_with_a_warning_if_files_were_edited() -> None:
    digest = "0123456789abcdef"
    assert citation.commit(None, None) is None
    assert citation.commit(digest, False) == "0123456789"
    assert citation.commit(digest, True) == "0123456789 with local changes"


def test_zenodo_finds_what_it_asks_for() -> None:
    assert not (ROOT / ".zenodo.json").exists(), "Zenodo would read this file and pass over CITATION.cff"
    for key in ("title", "abstract", "license", "version"):
        assert isinstance(CFF[key], str)
        assert CFF[key].strip()
    assert CFF["type"] == "software"
    assert all(isinstance(keyword, str) for keyword in CFF["keywords"])
    assert CFF["authors"]
    assert all(author.get("name") or author["family-names"] for author in CFF["authors"])
    [arxiv] = [known["value"] for reference in CFF["references"] for known in reference["identifiers"]]
    assert arxiv == "arXiv:2508.12121"


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
    [paper] = CFF["references"]
    assert (paper["title"], str(paper["year"])) == (ours.fields["title"], ours.fields["year"])
    assert paper["identifiers"][0]["value"] == f"arXiv:{ours.fields['eprint']}"
