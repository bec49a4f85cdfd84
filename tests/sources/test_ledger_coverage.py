"""Every claim of the theory has a check in some chapter, read from the sources without running them."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TREES = {path.stem: ast.parse(path.read_text()) for path in sorted((ROOT / "notebooks").glob("[0-9][0-9]-*.py"))}
#: What the theory chapters owe; C16, GRU and LSTM, belongs to a later part of the book.
OWED = [f"C{number}" for number in range(1, 16)]


def argument(call: ast.Call, position: int, name: str) -> ast.expr | None:
    """What a call passes for a parameter, by position or by name."""
    for keyword in call.keywords:
        if keyword.arg == name:
            return keyword.value
    return call.args[position] if len(call.args) > position else None


def calls(tree: ast.AST, name: str) -> list[ast.Call]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) == name]


def values(tree: ast.Module, expression: ast.expr) -> set[str]:
    """The claims that an expression can name: written there, assigned to its name, or passed to its parameter."""
    found = {
        node.value
        for node in ast.walk(expression)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and re.fullmatch(r"C\d+", node.value)
    }
    for node in ast.walk(expression):
        if isinstance(node, ast.Name):
            found |= _assigned(tree, node.id) | _passed(tree, node.id)
    return found


def _assigned(tree: ast.Module, name: str) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == [name]:
            found |= values(tree, node.value)
    return found


def _passed(tree: ast.Module, name: str) -> set[str]:
    """What callers give a function that hands this parameter on to ``record.check``; its default where they do not."""
    found: set[str] = set()
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef) or not calls(function, "record.check"):
            continue
        positional, named = function.args.args, function.args.kwonlyargs
        if name not in [parameter.arg for parameter in positional + named]:
            continue
        defaults = dict(zip([p.arg for p in reversed(positional)], reversed(function.args.defaults), strict=False))
        defaults |= {p.arg: default for p, default in zip(named, function.args.kw_defaults, strict=True) if default}
        # a parameter that can only be named stands behind every position
        position = next((i for i, p in enumerate(positional) if p.arg == name), 10**6)
        for call in calls(tree, function.name):
            given = argument(call, position, name) or defaults.get(name)
            if given is not None:
                found |= values(tree, given)
    return found


def claims(tree: ast.Module) -> set[str]:
    """All claims that a chapter has a check for."""
    found: set[str] = set()
    for call in calls(tree, "record.check"):
        given = argument(call, 1, "claim")
        assert given is not None, f"`{ast.unparse(call)[:60]}…` names no claim"
        named = values(tree, given)
        assert named, f"`{ast.unparse(call)[:60]}…`: no claim can be read from `{ast.unparse(given)}`"
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
        ('record.check("a", "C3", "s", 0)', {"C3"}),
        ('record.check("a", claim="C3", statement="s", value=0)', {"C3"}),
        ('which = "C3" if leak else "C5"\nrecord.check("a", which, "s", 0)', {"C3", "C5"}),
        (
            'def prove(name, *facts, claim="C1"):\n    record.check(name, claim, "s", all(facts))\n'
            'prove("a", True)\nprove("b", True, claim="C9")',
            {"C1", "C9"},
        ),
        (
            'def prove(name, claim, *facts):\n    record.check(name, claim, "s", all(facts))\nprove("a", "C4", True)',
            {"C4"},
        ),
        ('text = "C7 is proved elsewhere"\nother("a", "C7")', set()),
    ],
)
def test_claims_are_read_from_every_way_of_writing_them(source: str, found: set[str]) -> None:
    assert claims(ast.parse(source)) == found


def test_a_check_whose_claim_cannot_be_read_is_an_error() -> None:
    with pytest.raises(AssertionError, match="no claim can be read"):
        claims(ast.parse('record.check("a", mystery(), "s", 0)'))
