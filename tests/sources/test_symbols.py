"""Letters with one meaning each: chapters write them as the table of the notation page has them, and not otherwise."""

from __future__ import annotations

import re
from pathlib import Path

import jupytext
import pytest

ROOT = Path(__file__).parents[2]
NOTATION = (ROOT / "book" / "notation.md").read_text()
SOURCES = [*sorted((ROOT / "notebooks").glob("*.py")), ROOT / "book" / "index.md", ROOT / "book" / "glossary.md"]

#: The letters that one is tempted to use twice, in TeX and as the name of a symbol.
LETTERS = [r"\kappa", "R", "B", r"\lambda", r"\rho"]
MATHEMATICS = re.compile(
    r"\$\$.*?\$\$|\$[^$]+\$|\\begin\{(?:aligned|align)\*?\}.*?\\end\{(?:aligned|align)\*?\}", re.DOTALL
)
#: A word in TeX, a command's argument that is text, and commands whose names hold a letter: no symbols.
NO_SYMBOLS = re.compile(r"\\(?:text|operatorname|mathrm|mathsf|mathbb|mathcal|mathbf)\{[^{}]*\}|\\label\{[^{}]*\}")
#: Indices of one kind are written by one of them.
KINDS = {"t": "ijkt", "q": "pqr", "1": "012"}


def forms(text: str, letter: str) -> set[str]:
    """How a letter is written in a piece of mathematics: bare, or with the kinds of its indices."""
    mark = re.escape(letter) + (r"(?![A-Za-z])" if letter.startswith("\\") else "")
    part = r"(?:\{(?:[^{}]|\{[^{}]*\})*\}|\\[A-Za-z]+|\w)"
    found = set()
    for match in re.finditer(rf"(?<![A-Za-z\\{{]){mark}((?:\s*[_^]\s*{part})*)", NO_SYMBOLS.sub(" ", text)):
        indices = dict(re.findall(rf"([_^])\s*({part})", match[1]))
        found.add(letter + "".join(sign + kind(indices[sign]) for sign in "_^" if keeps(sign, indices.get(sign, ""))))
    return found


def keeps(sign: str, index: str) -> bool:
    """Whether an index is part of a symbol: a transposition, a power and a neuron's number above it are not."""
    return bool(index) and (sign == "_" or "(" in index)


def kind(index: str) -> str:
    """The kind of an index: any step as t, any neuron as q, any number as 1."""
    bare = index.strip("{}()").replace(" ", "")
    first = re.split(r"[-+,]", bare)[0]
    for sign, members in KINDS.items():
        if first and all(letter in members for letter in first):
            return f"({sign})" if "(" in index else sign
    return "t" if first == "T" else bare


def allowed() -> dict[str, set[str]]:
    """For each letter of the table, the forms in its third column."""
    table = NOTATION.partition(":name: tab-letters")[2].partition(":::")[0]
    rows = [
        [cell.strip() for cell in line.strip("|").split(" | ")] for line in table.splitlines() if line.startswith("| $")
    ]
    return {
        row[0].strip(" $"): {
            form for each in re.findall(r"\$([^$]+)\$", row[2]) for form in forms(each, row[0].strip(" $"))
        }
        for row in rows
    }


def mathematics(source: Path) -> list[str]:
    """All mathematics of a chapter's prose and of the strings in its code, or of a page."""
    text = source.read_text()
    if source.suffix == ".py":
        text = "\n\n".join(cell.source for cell in jupytext.read(source).cells)
        text = re.sub(r'"\s*\n\s*r?f?"', "", text)  # a string that goes on in the next line
    return MATHEMATICS.findall(text)


def test_the_table_has_every_letter_with_its_meaning() -> None:
    assert list(allowed()) == LETTERS


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_a_letter_is_written_as_the_notation_page_has_it(source: Path) -> None:
    known = allowed()
    strange = {
        (letter, form, piece[:80])
        for piece in mathematics(source)
        for letter in LETTERS
        for form in forms(piece, letter) - known[letter]
    }
    assert strange == set()


@pytest.mark.parametrize(
    ("piece", "letter", "form"),
    [
        (r"\kappa_q^{\ell-i}", r"\kappa", r"\kappa_q"),
        (r"\kappa_\mu(\ell)", r"\kappa", r"\kappa_\mu"),
        (r"R_K(j)", "R", "R_K"),
        (r"\Lambda_i + R_{i-1}^\top", "R", "R_t"),
        (r"\lambda^\ell", r"\lambda", r"\lambda"),
        (r"\lambda_{k-1}^{(0)}", r"\lambda", r"\lambda_t^(1)"),
        (r"\lambda_T^\top", r"\lambda", r"\lambda_t"),
        (r"A_j + \varepsilon B_j", "B", "B_t"),
        (r"B_2A_1", "B", "B_1"),
    ],
)
def test_forms_are_read_from_tex(piece: str, letter: str, form: str) -> None:
    assert forms(piece, letter) == {form}


@pytest.mark.parametrize("piece", [r"\operatorname{RMS}", r"\mathcal{R}", r"\Rightarrow", r"\mathbb{R}^n", r"\rm"])
def test_words_are_no_symbols(piece: str) -> None:
    assert forms(piece, "R") == set()


@pytest.mark.parametrize(("piece", "letter"), [(r"\kappa_1", r"\kappa"), ("R_K", "R"), (r"|\lambda|", r"\lambda")])
def test_a_second_meaning_is_noticed(piece: str, letter: str) -> None:
    assert forms(piece, letter) - allowed()[letter]


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_a_bare_B_stands_where_something_is_split(source: Path) -> None:
    pieces = mathematics(source)
    bare = [piece for piece in pieces if "B" in forms(piece, "B")]
    assert not bare or any(r"A" in forms(piece, "A") for piece in pieces), "B is what a splitting perturbs, beside A"
    assert not [piece for piece in bare if re.search(r"(?<![A-Za-z\\])B\s*u", piece)], "input weights are W_i"
