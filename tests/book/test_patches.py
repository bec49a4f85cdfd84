"""What reaches into the insides of others was written for the versions that are installed, and stands in one place."""

from __future__ import annotations

import ast
import re
import sys
from importlib import metadata
from pathlib import Path

import pandas as pd
import pydata_sphinx_theme
import pytest
from docutils import nodes
from docutils.utils import new_document

EXTENSIONS = Path(__file__).resolve().parents[2] / "book" / "_ext"

sys.path.append(str(EXTENSIONS))
import patches  # noqa: E402


@pytest.mark.parametrize("package", patches.VERSIONS)
def test_a_patch_is_for_the_version_that_is_installed(package: str) -> None:
    assert metadata.version(package) == patches.VERSIONS[package], (
        f"another {package} is installed than the patches of book/_ext/patches.py were written for: look whether "
        "their reasons are gone or they still fit, then write the new version down"
    )


def test_every_patch_says_of_which_package_it_is_and_why() -> None:
    assert {each.package for each in patches.PATCHES} == set(patches.VERSIONS)
    for each in patches.PATCHES:
        assert len(each.why.split()) >= 8, each.does.__name__
        assert each.does.__doc__


def test_the_locked_versions_are_those() -> None:
    lines = (EXTENSIONS.parents[1] / "requirements.lock").read_text().lower().replace("_", "-").split()
    locked = dict(line.split("==") for line in lines if "==" in line)
    for package, version in patches.VERSIONS.items():
        assert locked[package.lower().replace("_", "-")] == version


@pytest.mark.parametrize("file", sorted(EXTENSIONS.glob("*.py")), ids=lambda file: file.stem)
def test_elsewhere_nobody_reaches_in(file: Path) -> None:
    if file.stem == "patches":
        return
    text = file.read_text()
    assert 'context["body"]' not in text, "rendered HTML is rewritten in patches.py alone"
    assert not re.search(r"tippy_data|codeautolink_transforms|_viewcode_modules|header_buttons", text)
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom):
            assert (node.module or "").partition(".")[0] not in ("myst_nb", "sphinx_tippy", "sphinx_codeautolink")
        if isinstance(node, ast.keyword):
            assert node.arg != "override", "another's node is overridden in patches.py alone"


@pytest.mark.parametrize(
    ("tex", "text"),
    [(r"M_{t,k} = \prod_j A_j", "M_t,k = ∏_j A_j"), (r"\varepsilon \to \infty", "ε → ∞")],
)
def test_a_formula_reads_as_text(tex: str, text: str) -> None:
    assert patches.readable(tex) == text


def test_a_preview_is_cut_down_to_what_is_read_in_it() -> None:
    rows = "".join(f"<tr><td>{i}</td></tr>" for i in range(20))
    tidied = patches.tidy(
        f'<figure id="fig-x"><a class="headerlink" href="#">#</a><img src="a.svg"/><a href="b">b</a></figure>'
        f"<table><tbody>{rows}</tbody></table>"
    )
    assert tidied.count("<tr>") == patches.ROWS
    assert '<img loading="lazy" src="a.svg"/>' in tidied or '<img src="a.svg" loading="lazy"/>' in tidied
    assert "<span>b</span>" in tidied
    assert "href" not in tidied
    assert "id=" not in tidied


def test_a_frame_has_one_row_of_headers_and_each_says_of_what_it_is() -> None:
    frame = pd.DataFrame({"error": [0.5]}, index=pd.Index([3], name="lag"))
    html = patches.one_header(frame.to_html())
    assert html.count("<tr") == 2
    assert re.findall(r'<th scope="(\w+)">(\w+)</th>', html) == [("col", "lag"), ("col", "error"), ("row", "3")]
    assert patches.one_header(pd.DataFrame({"error": [0.5]}).to_html()).count("<tr") == 2


def test_what_a_theorem_and_a_proof_hold_has_a_name_of_its_own() -> None:
    document = new_document("a page")
    for label in ("thm-one", "thm-two"):
        document += nodes.container("", nodes.section(ids=["proof-content"]), label=label)
        document += nodes.container("", nodes.admonition(ids=["proof"]))
    patches.name_proofs(None, document)  # type: ignore[arg-type]
    named = [node["ids"] for node in document.findall(lambda node: isinstance(node, nodes.section | nodes.admonition))]
    assert named == [["thm-one-content"], ["proof-1"], ["thm-two-content"], ["proof-2"]]


def test_the_themes_search_form_has_the_magnifier_that_becomes_its_button() -> None:
    (form,) = Path(pydata_sphinx_theme.__file__).parent.rglob("components/search-field.html")
    assert form.read_text().count(patches.MAGNIFIER) == 1
