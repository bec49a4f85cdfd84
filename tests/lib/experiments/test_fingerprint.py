"""Code counts, what people read does not, and imports are followed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from gatelr.experiments import fingerprint


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("def f(x):\n    '''Doc.'''\n    return x  # why\n", "def f(x):\n    return x\n", True),
        ("'''Module.'''\nx = 1\n", "'''Other.'''\nx = 1\n", True),
        ("class C:\n    '''Doc.'''\n\n    x = 1\n", "class C:\n    x = 1\n", True),
        ("def f(): '''Doc.'''\n", "def f():\n    '''Longer.\n\n    Doc.\n    '''\n", True),
        ("x = (1 +\n     2)\n", "x = (1 + 2)\n", True),
        ("x = 1\n", "x = 2\n", False),
        ("def half(:\n", "def half(:  # a comment\n", False),  # while it cannot be parsed, every letter counts
    ],
)
def test_comments_docstrings_and_layout_do_not_count(one: str, other: str, same: bool) -> None:
    assert (fingerprint._plain(one) == fingerprint._plain(other)) is same


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """top -> middle -> base, and one that nobody imports."""
    package = tmp_path / "gatelr"
    (package / "room").mkdir(parents=True)
    for name, text in {
        "__init__": "",
        "base": "A = 1",
        "middle": "from gatelr.base import A",
        "lonely": "B = 1",
        "room/__init__": "",
        "room/top": "from gatelr import middle",
    }.items():
        (package / f"{name}.py").write_text(f"{text}\n")
    return tmp_path


def test_imports_are_followed(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "gatelr")  # grimp asks Python where the package lies
    reached = fingerprint.reach(["gatelr.room.top"], library)
    assert reached == ["gatelr", "gatelr.base", "gatelr.middle", "gatelr.room", "gatelr.room.top"]
    before = fingerprint.code(["gatelr.room.top"], library)
    (library / "gatelr" / "lonely.py").write_text("B = 2\n")
    assert fingerprint.code(["gatelr.room.top"], library) == before
    (library / "gatelr" / "base.py").write_text("A = 2\n")
    assert fingerprint.code(["gatelr.room.top"], library) != before


def test_without_grimp_all_of_the_library_counts(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "grimp", None)
    assert "gatelr.lonely" in fingerprint.reach(["gatelr.room.top"], library)


def test_while_a_module_cannot_be_parsed_all_of_the_library_counts(
    library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "gatelr")
    (library / "gatelr" / "lonely.py").write_text("def half(:\n")
    assert "gatelr.lonely" in fingerprint.reach(["gatelr.room.top"], library)
    assert len(fingerprint.code(["gatelr.room.top"], library)) == 16


def test_what_is_compiled_counts(library: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "gatelr")
    seen = [fingerprint.code(["gatelr.room.top"], library)]
    for name in ("room/top.cpp", "room/shared.h"):
        (library / "gatelr" / name).write_text("int one = 1;\n")
        seen.append(fingerprint.code(["gatelr.room.top"], library))
    (library / "gatelr" / "lonely.cpp").write_text("int one = 1;\n")
    assert fingerprint.code(["gatelr.room.top"], library) == seen[-1]
    assert len(set(seen)) == len(seen)
