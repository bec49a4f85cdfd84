"""A chapter's page, in a book of two: figures and tables stand where prose shows them, code where it made them."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path

import nbformat
import pytest
import warm
from bs4 import BeautifulSoup, Tag

ROOT = Path(__file__).resolve().parents[2]
EXTENSION = ROOT / "book" / "_ext"

sys.path.append(str(EXTENSION))
import moved  # noqa: E402

CONF = f"""
import sys
sys.path.insert(0, {str(EXTENSION)!r})
extensions = ["myst_nb", "sphinx.ext.mathjax", "sphinxcontrib.bibtex", "gatelr_book", "table_file", "citable",
              "gatelr_reading", "moved", "patches"]
myst_enable_extensions = ["colon_fence", "dollarmath"]
nb_execution_mode = "off"
nb_render_markdown_format = "myst"
nb_mime_priority_overrides = [["html", "text/markdown", 0]]
nb_code_prompt_show = "Show the code"
numfig = True
numfig_secnum_depth = 1
numfig_format = {{"figure": "Figure %s", "table": "Table %s"}}
bibtex_bibfiles = ["references.bib"]
exclude_patterns = ["_build"]
"""
FIGURE = """:::{{figure}} /artifacts/agreement/figures/{name}.svg
:name: fig-{name}
:alt: A line
:  that rises.

It rises by {{result}}`agreement/worst`, see {{numref}}`tab-words` and {{cite}}`other`.
:::"""
TABLE = """:::{table-file} /artifacts/agreement/tables/words.csv
:name: tab-words

Numbers of {result}`agreement/worst`,
in $x$ and `code`.
:::

:::{table-file} /artifacts/agreement/tables/agreement-validation.csv
:name: tab-agreement-validation

All checks.
:::"""
HIDDEN = {"tags": ["hide-input"]}
SVG = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"/>'
RESULTS = {"checks": [], "claims": [], "numbers": {"worst": {"text": "1.2e-14"}}}
MANIFEST = {
    "chapter": "agreement", "source": None, "commit": None, "dirty": None, "parameters": {}, "seeds": 3,
    "versions": {}, "device": "cpu", "created": "2026-01-02T03:04:05+00:00",
    "machine": {"system": "Linux", "architecture": "x86_64", "cores": 2, "threads": 1},
}  # fmt: skip


def code(source: str, shown: str = "", metadata: dict[str, list[str]] | None = None) -> nbformat.NotebookNode:
    """A cell that shows what a chapter's cell does: a comment for the book, HTML for JupyterLab."""
    data = {"text/markdown": shown, "text/html": "<p>for JupyterLab</p>", "text/plain": "text"}
    outputs = [nbformat.v4.new_output("display_data", data)] if shown else []
    return nbformat.v4.new_code_cell(source, outputs=outputs, metadata=metadata or {})


@pytest.fixture(scope="module")
def html(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built book."""
    root = tmp_path_factory.mktemp("pages")
    artefacts = root / "artifacts" / "agreement"
    for folder in (root / "notebooks", root / "downloads", artefacts / "figures", artefacts / "tables"):
        folder.mkdir(parents=True)
    for name in ("one", "other"):
        for suffix in ("svg", "csv", "png", "pdf"):
            (artefacts / "figures" / f"{name}.{suffix}").write_text(SVG if suffix == "svg" else "x\n1\n")
    (artefacts / "tables" / "words.csv").write_text("$x$,share,word\n1,0.3333333333333333,a|b\n2,0.500,`c`\n")
    (artefacts / "tables" / "agreement-validation.csv").write_text("claim,verdict\nC1,holds\n")
    (artefacts / "results.json").write_text(json.dumps(RESULTS))
    (artefacts / "manifest.json").write_text(json.dumps(MANIFEST))
    check = ":::{container} gatelr-check\n:name: check-agreement-near\n\n✓ near\n:::\n"
    cells = [
        nbformat.v4.new_markdown_cell("# Agreement"),
        code('chapter.figure("one", fig, data)\nchapter.figure("other", fig, data)', "% fig-one\n", HIDDEN),
        code('text = "another cell"'),
        nbformat.v4.new_markdown_cell(f"{FIGURE.format(name='one')}\n\n{FIGURE.format(name='other')}"),
        code('chapter.table("words", data)\nchapter.validation()', "% tab-words\n", HIDDEN),
        nbformat.v4.new_markdown_cell(TABLE),
        code("chapter.check('near', 'near', 0.0)", check),
    ]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), root / "notebooks" / "agreement.ipynb")
    (root / "index.md").write_text(
        "# Tiny\n\n```{toctree}\n:numbered:\nnotebooks/agreement\n```\n\n```{bibliography}\n```\n"
    )
    (root / "references.bib").write_text("@misc{other, author = {Other, Ann}, title = {Before}, year = {2020}}")
    (root / "conf.py").write_text(CONF)
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "PYTHON", "COV", "GATELR"))}
    built = warm.run(["-m", "sphinx", "-W", "-q", ".", "_build"], root, environment)
    assert built.returncode == 0, built.stderr
    return root / "_build"


@pytest.fixture(scope="module")
def page(html: Path) -> BeautifulSoup:
    return BeautifulSoup((html / "notebooks" / "agreement.html").read_text(), "html.parser")


def one(page: BeautifulSoup | Tag, selector: str) -> Tag:
    (found,) = page.select(selector)
    return found


def words(tag: Tag) -> str:
    return " ".join(tag.get_text().split())


def test_a_figure_is_shown_once_where_the_prose_has_it(page: BeautifulSoup) -> None:
    assert [figure["id"] for figure in page.select("figure")] == ["fig-one", "fig-other"]
    assert "for JupyterLab" not in page.get_text()
    figure = one(page, "#fig-one")
    assert one(figure, "img.only-light")["alt"] == "A line that rises."
    assert words(one(figure, "figcaption")).startswith("Figure 1.1 It rises by 1.2e-14, see Table 1.1 and [")
    assert one(figure, "figcaption a[href='#tab-words']")


def test_a_table_is_read_from_its_file(page: BeautifulSoup) -> None:
    table = one(page, "#tab-words")
    assert words(one(table, "caption")).startswith("Table 1.1 Numbers of 1.2e-14, in \\(x\\) and code.")
    cells = [[words(cell) for cell in row.select("th, td")] for row in table.select("tr")]
    assert cells == [["\\(x\\)", "share", "word"], ["1", "0.333333", "a|b"], ["2", "0.500", "c"]]
    assert "gatelr-table" in table["class"]


def test_no_empty_box_is_left_below_a_cell(page: BeautifulSoup) -> None:
    outputs = page.select(".cell_output")
    assert [words(output) for output in outputs] == ["✓ near"]


def test_a_fold_says_what_its_code_makes(page: BeautifulSoup) -> None:
    assert [words(fold) for fold in page.select("details.fold > summary")] == [
        "Show the code that draws Figure 1.1 and Figure 1.2",
        "Show the code that makes Table 1.1 and Table 1.2",
    ]


@pytest.mark.parametrize(
    ("label", "said"),
    [
        ("fig-one", 'chapter.figure("one"'),
        ("fig-other", 'chapter.figure("other"'),
        ("tab-words", 'chapter.table("words"'),
        ("tab-agreement-validation", "chapter.validation()"),
    ],
)
def test_the_line_below_leads_to_the_cell_that_made_it(page: BeautifulSoup, label: str, said: str) -> None:
    line = one(page, f"#{label}").find_next(class_="citable")
    assert isinstance(line, Tag)
    (link,) = [link for link in line.select("a") if link.get_text() == "Code"]
    assert said in one(page, f"[id='{str(link['href']).lstrip('#')}']").get_text()


def test_old_addresses_lead_on_and_keep_the_fragment(html: Path) -> None:
    text = (html / "notebooks" / "03-agreement.html").read_text()
    assert 'location.hash.replace("03-agreement", "agreement")' in text
    assert '<meta http-equiv="refresh" content="1; url=agreement.html">' in text
    assert '<a href="agreement.html">Agreement</a>' in text
    assert [page.name for page in (html / "notebooks").glob("*.html") if re.match(r"\d", page.name)] == [
        "03-agreement.html"
    ], "no address leads to a chapter that there is not"


def test_files_lie_at_their_old_addresses_too(html: Path) -> None:
    old = {file.name: file.read_bytes() for file in (html / "files" / "03-agreement").iterdir()}
    new = {file.name: file.read_bytes() for file in (html / "files" / "agreement").iterdir()}
    assert old.pop("tab-03-agreement-validation.csv") == new.pop("tab-agreement-validation.csv")
    assert old == new


def test_every_chapter_that_was_renamed_is_in_the_book() -> None:
    from workflow import toc

    assert set(moved.CHAPTERS.values()) <= set(toc.chapters())
    assert len(moved.CHAPTERS) == 14


def test_a_table_that_is_not_there_stops_the_book(tmp_path: Path) -> None:
    (tmp_path / "conf.py").write_text(
        f"import sys\nsys.path.insert(0, {str(EXTENSION)!r})\nextensions = ['myst_parser', 'table_file']\n"
    )
    (tmp_path / "index.md").write_text("# Tiny\n\n```{table-file} /artifacts/x/tables/lost.csv\n\nLost.\n```\n")
    built = warm.run(["-m", "sphinx", "-W", "-q", ".", "_build"], tmp_path, os.environ)
    assert built.returncode != 0
    assert "there is no artifacts/x/tables/lost.csv: run the chapter" in built.stderr
