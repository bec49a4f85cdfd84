"""The sources of the chapters, without running them: what papermill, the book and a reader rely on."""

from __future__ import annotations

import ast
import functools
import re
import statistics
from pathlib import Path
from typing import Any

import jupytext
import pytest
import sympy as sp
import torch
from gatelr.record import source

from workflow import toc

FOLDER = Path(__file__).parents[2] / "notebooks"
CHAPTERS = [FOLDER / f"{name}.py" for name in toc.chapters()]

chapters = pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)


@functools.cache
def cells(chapter: Path, kind: str) -> list[Any]:
    return [cell for cell in jupytext.read(chapter).cells if cell.cell_type == kind]


def calls(chapter: Path, name: str) -> list[ast.Call]:
    """All calls in a chapter whose function is written ``name``, such as ``chapter.figure``."""
    tree = ast.parse(chapter.read_text())
    return [node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) == name]


def measured(markdown: str) -> list[str]:
    """Decimals, powers of ten and percentages in prose; mathematics and code hold exact numbers and inputs."""
    prose = re.sub(r"\$\$.*?\$\$|\$[^$]*\$|```.*?```|`[^`]*`", " ", markdown, flags=re.DOTALL)
    prose = re.sub(r"arXiv:\S+|\b95 %", " ", prose)  # the level of every interval is an input
    return re.findall(r"\d+\.\d+|\d+e-?\d+|\d+\s?%", prose)


def test_every_chapter_is_in_the_table_of_contents() -> None:
    assert {path.stem for path in FOLDER.glob("*.py")} == toc.chapters().keys()
    assert list(toc.chapters().values()) == list(range(1, len(CHAPTERS) + 1))


def lines(chapter: Path) -> tuple[int, int, int]:
    """Lines of code, those among them that stand open on the page, and words of prose."""
    code = [(cell.source.splitlines(), " ".join(cell.metadata.get("tags", []))) for cell in cells(chapter, "code")]
    written = [(sum(bool(line.strip()) for line in text), "hide" in tags or "remove" in tags) for text, tags in code]
    words = [word for cell in cells(chapter, "markdown") for word in cell.source.split() if word[0] not in ":$|#"]
    return sum(n for n, _ in written), sum(n for n, folded in written if not folded), len(words)


def test_chapters_read_like_papers() -> None:
    """In the median: at most ten pages of code, and ten words or more for each line of it that stands open."""
    counts = [lines(chapter) for chapter in CHAPTERS]
    assert statistics.median(code for code, _, _ in counts) <= 350
    assert statistics.median(words / open_ for _, open_, words in counts) >= 10


@chapters
def test_code_is_laid_out_for_the_page(chapter: Path) -> None:
    """No formatting is switched off, and prose is not put together by code."""
    for cell in cells(chapter, "code"):
        assert "# fmt:" not in cell.source
        assert not [line for line in cell.source.splitlines() if len(line) > 88]
    assert not calls(chapter, "Markdown")


def parameters(chapter: Path) -> dict[str, Any]:
    """What the cell tagged ``parameters`` assigns."""
    (tagged,) = [cell for cell in cells(chapter, "code") if "parameters" in cell.metadata.get("tags", [])]
    values = {}
    for node in ast.parse(tagged.source).body:
        assert isinstance(node, ast.Assign), "a parameter is one plain assignment"
        (target,) = node.targets
        assert isinstance(target, ast.Name), (
            f"`{ast.unparse(node)}`: papermill can override one name a line, and no tuple"
        )
        values[target.id] = ast.literal_eval(node.value)
    return values


@chapters
def test_one_parameters_cell_declares_what_the_workflow_sets(chapter: Path) -> None:
    values = parameters(chapter)
    assert {"profile", "seeds", "device", "out"} <= values.keys()
    assert values["device"] == "auto"
    assert values["out"] == f"../artifacts/draft/{chapter.stem}", (
        "a run by hand must not overwrite the book's artefacts"
    )


@chapters
def test_every_code_cell_is_complete(chapter: Path) -> None:
    for cell in cells(chapter, "code"):
        ast.parse(cell.source)


@chapters
def test_the_header_is_metadata_and_names_the_kernel(chapter: Path) -> None:
    notebook = jupytext.read(chapter)
    assert notebook.metadata["kernelspec"]["name"] == "python3", "the header's keys belong under `jupyter:`"
    assert notebook.cells[0].cell_type == "markdown"


@chapters
def test_title_label_and_record_agree(chapter: Path) -> None:
    heading = re.match(r"\((ch-[a-z0-9-]+)\)=\n# (.+)", cells(chapter, "markdown")[0].source)
    assert heading
    (made,) = calls(chapter, "Chapter")
    assert [ast.literal_eval(argument) for argument in made.args] == [chapter.stem]
    assert source.read(chapter).title == heading[2]
    others = "".join(other.read_text() for other in CHAPTERS if other != chapter)
    assert f"({heading[1]})=" not in others


@chapters
def test_every_parameter_reaches_the_manifest(chapter: Path) -> None:
    assert parameters(chapter).keys() == set(source.read(chapter).parameters)


@chapters
def test_figures_and_tables_have_words_and_a_name_of_their_own(chapter: Path) -> None:
    captions = source.read(chapter).captions
    assert [label for label in captions if label.startswith("fig-")]
    for label, caption in captions.items():
        assert len(caption.text.split()) >= (8 if label.startswith("fig-") else 3), f"{label}: say what one sees"
        if label.startswith("fig-"):
            assert len(caption.alt.split()) >= 8, f"{label}: say what one sees"
            assert not measured(caption.alt), f"{label}: an alternative text is typed before the run"
    others = [label for other in CHAPTERS if other != chapter for label in source.read(other).captions]
    assert not captions.keys() & set(others), "a figure's name is its label in the whole book"


@chapters
def test_no_caption_stands_in_code(chapter: Path) -> None:
    for call in [*calls(chapter, "chapter.figure"), *calls(chapter, "chapter.table")]:
        assert not {keyword.arg for keyword in call.keywords} & {"caption", "alt"}
    assert not calls(chapter, "Markdown"), "prose quotes numbers with {result}; code does not write it"


@chapters
def test_prose_types_no_measured_number(chapter: Path) -> None:
    found = {
        cell.source.splitlines()[0]: numbers
        for cell in cells(chapter, "markdown")
        if (numbers := measured(cell.source))
    }
    assert not found


def shows_a_string(cell: str) -> bool:
    """Whether a cell ends in a bare expression that shows a string: a verdict is said in a sentence, by the record."""
    body = ast.parse(cell).body
    if not body or not isinstance(body[-1], ast.Expr) or cell.rstrip().endswith(";"):
        return False
    shown = body[-1].value
    if isinstance(shown, ast.Call):
        writers = {"str", "repr", "format", "join", "replace", "strip", "lower", "capitalize"}
        return (shown.func.attr if isinstance(shown.func, ast.Attribute) else ast.unparse(shown.func)) in writers
    last = shown.attr if isinstance(shown, ast.Attribute) else ""
    literal = isinstance(shown, ast.JoinedStr) or (isinstance(shown, ast.Constant) and isinstance(shown.value, str))
    return literal or last in {"verdict", "text", "unit", "name"} or isinstance(shown, ast.IfExp | ast.BinOp)


@chapters
def test_no_cell_ends_in_a_string(chapter: Path) -> None:
    assert [cell.source for cell in cells(chapter, "code") if shows_a_string(cell.source)] == []


@pytest.mark.parametrize(
    "cell",
    ['"refuted"', "claim.verdict", 'f"{x:.2f}"', 'x = 1\n", ".join(names)', '"a" if x else "b"', '"%s" % x', "str(x)"],
)
def test_a_bare_string_is_noticed(cell: str) -> None:
    assert shows_a_string(cell)


@pytest.mark.parametrize("cell", ["table", "frame.round(2)", "chapter.close()", "x = 'a'", "chapter.claim(**claim)"])
def test_other_ends_of_a_cell_are_not(cell: str) -> None:
    assert not shows_a_string(cell)


@chapters
def test_the_ledger_is_closed_last(chapter: Path) -> None:
    assert cells(chapter, "code")[-1].source.rstrip().endswith("chapter.close()")
    assert len(calls(chapter, "chapter.close")) == 1


@chapters
def test_randomness_comes_from_a_generator_that_is_passed_in(chapter: Path) -> None:
    for name in ("torch.manual_seed", "np.random.seed", "random.seed"):
        assert not calls(chapter, name)


def declared(chapter: Path) -> list[str]:
    """The patterns of the files that a chapter says it reads."""
    assigned = [node for node in ast.parse(chapter.read_text()).body if isinstance(node, ast.Assign)]
    values = [node.value for node in assigned if ast.unparse(node.targets[0]) == "READS"]
    return [pattern for value in values for pattern in ast.literal_eval(value)]


@chapters
def test_no_point_of_a_figure_lies_where_chance_puts_it(chapter: Path) -> None:
    """Seaborn's strips jitter by numpy's global state, unless they are told not to."""
    strips, still = (re.findall(words, chapter.read_text()) for words in (r'"strip"|stripplot', r'jitter"?(: |=)False'))
    assert len(strips) == len(still)


@chapters
def test_what_a_chapter_reads_is_written_out_and_lies_in_the_repository(chapter: Path) -> None:
    for pattern in declared(chapter):
        assert not pattern.startswith(("/", "..")), "patterns start at the root of the repository"
        assert pattern.split("/")[0] not in ("artifacts", "_build"), "a chapter does not read another's results"


@chapters
def test_a_chapter_declares_the_references_that_it_reads(chapter: Path) -> None:
    """Or a new table would not run it again."""
    text, root = chapter.read_text(), FOLDER.parent
    experiments = {name for name in re.findall(r'"(e\d)-', text) if calls(chapter, "chapter.compare")}
    needed = {root / "reference" / name for name in re.findall(r'"\.\./reference/([\w./-]+\.csv)"', text)}
    needed |= {path for name in experiments for path in (root / "reference").glob(f"{name}-*.csv")}
    needed |= {root / "reference" / "spread.csv"} if experiments else set()
    assert needed <= {path for pattern in declared(chapter) for path in root.glob(pattern)}


@chapters
def test_no_path_of_one_machine(chapter: Path) -> None:
    assert not re.findall(r"(?<![\w.])/(?:home|root|tmp|work|usr|Users)/\S*", chapter.read_text())


@pytest.mark.parametrize("prose", ["an error of 0.23 h", "down to 1e-12", "about 27 % of it", "27% of it"])
def test_measured_finds_typed_measurements(prose: str) -> None:
    assert measured(prose)


@pytest.mark.parametrize(
    "prose",
    [
        "one of 3 gates",
        "a bar is a 95 % interval",
        r"the value is $0.5$ exactly",
        "add `2.5` to `steps`",
        "see arXiv:2508.12121",
        "section 2",
    ],
)
def test_measured_leaves_exact_numbers(prose: str) -> None:
    assert not measured(prose)


def test_adams_moments_are_those_of_torch() -> None:
    """The chapter writes them for SymPy."""
    tree = ast.parse((FOLDER / "gates-as-optimisers.py").read_text())
    (written,) = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "adam_moments"]
    names: dict[str, Any] = {"sp": sp}
    exec(ast.unparse(written), names)
    beta_1, beta_2 = sp.symbols("beta_1 beta_2")
    gradients = [0.5, -2.0, 1.5]
    weight = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    adam = torch.optim.Adam([weight], lr=1.0, betas=(0.8, 0.9), eps=0.0)
    for gradient in gradients:
        before = weight.detach().clone()
        weight.grad = torch.tensor([gradient], dtype=torch.float64)
        adam.step()
    m, v = (part.subs({beta_1: 0.8, beta_2: 0.9}) for part in names["adam_moments"](gradients, beta_1, beta_2))
    assert float(before - weight.detach()) == pytest.approx(float(m / sp.sqrt(v)), rel=1e-12)
