"""Every claim of the theory has a check in some chapter, read from the sources without running them."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path

import pytest

from workflow import toc

ROOT = Path(__file__).parents[2]
TREES = {name: ast.parse((ROOT / "notebooks" / f"{name}.py").read_text()) for name in toc.chapters()}
#: What the theory chapters owe.
OWED = [f"C{number}" for number in range(1, 22)]
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


@functools.cache
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


def shorthands(tree: ast.Module) -> dict[str, ast.Call]:
    """What a chapter writes checks with beside the record's own methods: ``prove = partial(chapter.prove, …)``."""
    found: dict[str, ast.Call] = {}
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Assign) and isinstance(node.value, ast.Call) and node.value.args):
            continue
        made, of = node.value.func, node.value.args[0]
        if ast.unparse(made) == "partial" and ast.unparse(of) in {*WRITERS, *found}:
            found[ast.unparse(node.targets[0])] = node.value
    return found


def has_scope(tree: ast.Module, call: ast.Call, known: dict[str, ast.Call]) -> bool:
    """Whether a call says for what it checks: itself, by a dictionary that it unpacks, or by its shorthand."""
    for keyword in call.keywords:
        if keyword.arg == "scope":
            return ast.unparse(keyword.value) not in ("''", '""')
        if keyword.arg is None:
            given = [keyword.value, *(origins(tree, keyword.value.id) if isinstance(keyword.value, ast.Name) else [])]
            keys = [key for each in given if isinstance(each, ast.Dict) for key in each.keys if key]
            keys += [ast.Constant(k.arg) for each in given if isinstance(each, ast.Call) for k in each.keywords]
            if "scope" in [key.value for key in keys if isinstance(key, ast.Constant)]:
                return True
    for name in (ast.unparse(call.func), *(ast.unparse(argument) for argument in call.args[:1])):
        if name in known and call is not known[name] and has_scope(tree, known[name], known):
            return True
    return False


def without_scope(tree: ast.Module) -> list[str]:
    """The checks and proofs that do not say for what they were made."""
    known = shorthands(tree)
    names = {"chapter.check", "chapter.prove", *known}
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) in names]
    return [f"line {call.lineno}: {ast.unparse(call)[:60]}" for call in calls if not has_scope(tree, call, known)]


@pytest.mark.parametrize("chapter", TREES)
def test_every_check_says_for_what_it_was_made(chapter: str) -> None:
    assert without_scope(TREES[chapter]) == []


@pytest.mark.parametrize(
    ("source", "missing"),
    [
        ('chapter.check("a", "s", 0, claim="C3")', 1),
        ('chapter.check("a", "s", 0, claim="C3", scope="")', 1),
        ('chapter.check("a", "s", 0, claim="C3", scope="n = 2")', 0),
        ('about = {"claim": "C3", "scope": f"n = {n}"}\nchapter.check("a", "s", 0, **about)', 0),
        ('about = dict(claim="C3", scope=wide)\nchapter.check("a", "s", 0, **about)', 0),
        ('about = {"claim": "C3"}\nchapter.check("a", "s", 0, **about)', 1),
        ('prove = partial(chapter.prove, claim="C4", scope="every n")\nprove("a", "s", True)', 0),
        ('prove = partial(chapter.prove, claim="C4")\nprove("a", "s", True)', 1),
        ('a = partial(chapter.prove, scope="every n")\nb = partial(a, claim="C4")\nb("a", "s", True)', 0),
        ('chapter.prove("a", "s", True, claim="C9")', 1),
    ],
)
def test_a_check_without_a_scope_is_found(source: str, missing: int) -> None:
    assert len(without_scope(ast.parse(source))) == missing


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
