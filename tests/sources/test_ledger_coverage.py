"""Every claim of the theory has a check in some chapter, read from the sources without running them."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from workflow import toc

ROOT = Path(__file__).parents[2]
TREES = {name: ast.parse((ROOT / "notebooks" / f"{name}.py").read_text()) for name in toc.chapters()}
#: What the theory chapters owe; C16, GRU and LSTM, belongs to a later part of the book.
OWED = [f"C{number}" for number in (*range(1, 16), 18, 19, 20)]
#: What writes down a check.
WRITERS = ("chapter.check", "chapter.prove", "chapter.compare")


def values(tree: ast.Module, expression: ast.expr) -> set[str]:
    """The claims that an expression can name: written there, assigned to its name, or gone through by its loop."""
    found: set[str] = set()
    seen: set[str] = set()
    waiting: list[ast.expr] = [expression]
    while waiting:
        for node in ast.walk(waiting.pop()):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and re.fullmatch(r"C\d+", node.value):
                found.add(node.value)
            elif isinstance(node, ast.Name) and node.id not in seen:
                seen.add(node.id)
                waiting += origins(tree, node.id)
    return found


def origins(tree: ast.Module, name: str) -> list[ast.expr]:
    """What is assigned to a name, or gone through by a loop that binds it."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == [name]:
            found.append(node.value)
        elif isinstance(node, ast.For) and name in {n.id for n in ast.walk(node.target) if isinstance(n, ast.Name)}:
            found.append(node.iter)
    return found


def claims(tree: ast.Module) -> set[str]:
    """All claims that a chapter has a check for; a check without one belongs to reproducibility."""
    found: set[str] = set()
    for call in ast.walk(tree):
        # `prove = partial(chapter.prove, claim="C1")` names the claim of all that it proves
        if not (isinstance(call, ast.Call) and {ast.unparse(call.func), *map(ast.unparse, call.args[:1])} & {*WRITERS}):
            continue
        given = [keyword.value for keyword in call.keywords if keyword.arg == "claim"]
        if ast.unparse(call.func) == "chapter.prove":
            assert given, f"`{ast.unparse(call)[:60]}…` names no claim"
        for expression in given:
            named = values(tree, expression)
            assert named, f"`{ast.unparse(call)[:60]}…`: no claim can be read from `{ast.unparse(expression)}`"
            found |= named
    return found


@pytest.mark.parametrize("claim", OWED)
def test_every_claim_is_checked_somewhere(claim: str) -> None:
    assert claim in set().union(*(claims(tree) for tree in TREES.values()))


@pytest.mark.parametrize("chapter", TREES)
def test_every_check_belongs_to_a_claim_of_the_notation_page(chapter: str) -> None:
    listed = re.findall(r"^\(claim-c(\d+)\)=$", (ROOT / "book" / "notation.md").read_text(), flags=re.MULTILINE)
    assert claims(TREES[chapter]) <= {f"C{number}" for number in listed}


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ('chapter.check("a", "s", 0, claim="C3")', {"C3"}),
        ('chapter.check("a", "s", 0)', set()),
        ('chapter.prove("a", "s", True, claim="C9")', {"C9"}),
        ('rows = chapter.compare(table, "e1-fits", keys, {}, claim="C8")', {"C8"}),
        ('which = "C3" if leak else "C5"\nchapter.check("a", "s", 0, claim=which)', {"C3", "C5"}),
        (
            'for name, (gap, which) in {"a": (0, "C1"), "b": (1, "C2")}.items():\n'
            '    chapter.check(name, "s", gap, claim=which)',
            {"C1", "C2"},
        ),
        ('prove = partial(chapter.prove, claim="C4")\nprove("a", "s", True)', {"C4"}),
        ('text = "C7 is proved elsewhere"\nother("a", "C7")', set()),
    ],
)
def test_claims_are_read_from_every_way_of_writing_them(source: str, found: set[str]) -> None:
    assert claims(ast.parse(source)) == found


def test_a_check_whose_claim_cannot_be_read_is_an_error() -> None:
    with pytest.raises(AssertionError, match="no claim can be read"):
        claims(ast.parse('chapter.check("a", "s", 0, claim=mystery())'))
    with pytest.raises(AssertionError, match="names no claim"):
        claims(ast.parse('chapter.prove("a", "s", True)'))
