"""Whose words are whose: quotation marks hold the paper's own words, from a version that the paragraph names."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import jupytext
import pytest
import yaml

ROOT = Path(__file__).parents[2]
QUOTATIONS: dict[str, Any] = yaml.safe_load((ROOT / "book" / "quotations.yml").read_text())
PAGES = ["README.md", *(str(path.relative_to(ROOT)) for path in sorted((ROOT / "book").rglob("*.md")))]
PAGES = [page for page in PAGES if not page.startswith("book/generated/")]
CHAPTERS = [str(path.relative_to(ROOT)) for path in sorted((ROOT / "notebooks").glob("*.py"))]
LIBRARY = [str(path.relative_to(ROOT)) for path in sorted((ROOT / "lib").rglob("*.py"))]

#: Code, formulas and options of directives hold quotation marks that quote nobody.
NOT_PROSE = re.compile(
    r"```\{?(?:code|bibtex|console|python|yaml).*?```|``.*?``|`[^`]*`|\$[^$]*\$|^:[a-z-]+:.*$", re.S | re.M
)
QUOTED = re.compile(r'["“]([^"“”]+)["”]')
#: Those who must not be given the words of others.
NAMED = re.compile(r"\b(paper|author|abstract|Livi|livi2025timescale)\b")


def paragraphs(file: str) -> list[str]:
    """The prose of a file: of a chapter its Markdown, of the library its docstrings and comments."""
    text = (ROOT / file).read_text()
    if file.startswith("notebooks/"):
        cells = jupytext.read(ROOT / file).cells
        text = "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    elif file.endswith(".py"):
        owners = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
        docstrings = [ast.get_docstring(node) for node in ast.walk(ast.parse(text)) if isinstance(node, owners)]
        comments = re.findall(r"^\s*#:? (.*)$", text, flags=re.MULTILINE)
        text = "\n\n".join([*(doc for doc in docstrings if doc), *comments])
    return [" ".join(paragraph.split()) for paragraph in re.split(r"\n\s*\n", NOT_PROSE.sub(" ", text))]


def complaint(file: str, paragraph: str, quoted: str) -> str | None:
    """What is wrong with a quotation, or None."""
    sources = [entry for entry in QUOTATIONS["passages"] if re.search(rf"\b{re.escape(quoted)}\b", entry["text"])]
    if not sources:
        return f'{file}: "{quoted}" is not in book/quotations.yml: paraphrase it without quotation marks'
    if file not in {name for entry in sources for name in entry["files"]}:
        return f'{file}: "{quoted}" may not stand here, says book/quotations.yml: add the file'
    names = [name for entry in sources for v in entry["versions"] for name in QUOTATIONS["versions"][v]["names"]]
    if not any(name in paragraph for name in names):
        return f'{file}: "{quoted}" needs its version in the same paragraph, expected one of {", ".join(set(names))}'
    return None


def given_to_the_author(paragraph: str) -> list[str]:
    """The words of others in a paragraph: in quotation marks, or in a sentence that names the paper without a *not*."""
    words = [r"spontaneous", r"small\W+(are )?(and )?persistent\W+(and )?effective", r"persistent and effective"]
    said = [word for word in words for quoted in QUOTED.findall(paragraph) if re.search(word, quoted, re.I)]
    for sentence in re.split(r"(?<=[.?!:;])\s", paragraph):
        if NAMED.search(sentence) and not re.search(r"\bnot\b|\bnever\b|\bnor\b|\bno longer\b", sentence):
            said += [word for word in words if re.search(word, re.sub(r"[*_]", "", sentence), re.I)]
    return said


@pytest.mark.parametrize("file", [*PAGES, *CHAPTERS])
def test_quotation_marks_hold_the_papers_words_and_its_version_is_named(file: str) -> None:
    found = [
        complaint(file, paragraph, quoted) for paragraph in paragraphs(file) for quoted in QUOTED.findall(paragraph)
    ]
    assert [said for said in found if said] == []


@pytest.mark.parametrize("file", [*PAGES, *CHAPTERS, *LIBRARY])
def test_words_of_others_are_not_given_to_the_author(file: str) -> None:
    assert [paragraph for paragraph in paragraphs(file) if given_to_the_author(paragraph)] == []


def test_no_docstring_quotes_the_paper() -> None:
    """The library has formulas and claim numbers; who says what is for the pages."""
    passages = [entry["text"] for entry in QUOTATIONS["passages"]]
    for file in LIBRARY:
        quoted = [words for paragraph in paragraphs(file) for words in QUOTED.findall(paragraph) if " " in words]
        assert not [words for words in quoted for passage in passages if words in passage], file


def test_the_list_is_in_order() -> None:
    for entry in QUOTATIONS["passages"]:
        assert set(entry) == {"text", "versions", "from", "files"}
        assert set(entry["versions"]) <= set(QUOTATIONS["versions"])
        for phrase in QUOTATIONS["not_the_authors"]:
            assert phrase.lower() not in entry["text"].lower()


@pytest.mark.parametrize("phrase", QUOTATIONS["not_the_authors"])
@pytest.mark.parametrize("frame", ['The corrections "{}" change training.', "The paper says that they {} appear."])
def test_a_phrase_of_others_is_noticed(phrase: str, frame: str) -> None:
    assert given_to_the_author(frame.format(phrase))


@pytest.mark.parametrize("phrase", QUOTATIONS["not_the_authors"])
def test_a_phrase_of_others_cannot_be_quoted_at_all(phrase: str) -> None:
    said = complaint("book/index.md", f'The first version says "{phrase}".', phrase)
    assert said
    assert "is not in book/quotations.yml" in said


def test_what_may_be_said_of_these_words() -> None:
    assert not given_to_the_author("*Small*, *persistent* and *effective* hold together in one model.")
    assert not given_to_the_author("Small, persistent and effective are the book's questions, not the author's words.")


def test_a_quotation_needs_its_version_beside_it() -> None:
    words = "complementary but not equivalent mechanisms"
    file = "notebooks/joint-anisotropy.py"
    assert complaint(file, f'From its second version on: "{words}".', words) is None
    assert "needs its version" in str(complaint(file, f'The first version says "{words}".', words))
    assert "may not stand here" in str(complaint("README.md", f'Its second version says "{words}".', words))
