"""What code a result depends on, as one fingerprint that comments, docstrings and layout do not change.

The workflow decides by it what runs again, and a chapter that is opened alone whether a table on disk is still its own.
"""

from __future__ import annotations

import ast
import hashlib
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path

#: The package.
LIBRARY = "gatelr"
#: The folder that holds the package.
ROOT = Path(__file__).resolve().parents[2]


def files(root: Path = ROOT) -> dict[str, Path]:
    """The library's modules by full name."""
    paths = sorted((root / LIBRARY).rglob("*.py"))
    return {".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__"): path for path in paths}


@cache
def graph(root: Path = ROOT) -> object | None:
    """The imports between the library's modules; None without grimp, or while a file cannot be parsed."""
    try:
        import grimp
        from grimp.exceptions import SourceSyntaxError
    except ImportError:
        return None
    sys.path.insert(0, str(root))  # this checkout's library, even when another is installed
    try:
        return grimp.build_graph(LIBRARY, cache_dir=None)
    except SourceSyntaxError:
        return None
    finally:
        sys.path.pop(0)


def reach(modules: Iterable[str], root: Path = ROOT) -> list[str]:
    """The modules that some can reach by import statements, by full name, or all where that cannot be known."""
    known, imports = files(root), graph(root)
    if imports is None:
        return sorted(known)
    # importing a.b.c runs a and a.b first
    parents = {name.rsplit(".", depth)[0] for name in modules for depth in range(name.count(".") + 1)}
    reached = {LIBRARY} | (parents & set(known))
    for name in list(reached):
        reached |= imports.find_upstream_modules(name)  # type: ignore[attr-defined]
    return sorted(reached)


def code(modules: Iterable[str], root: Path = ROOT) -> str:
    """One fingerprint, sixteen hexadecimal digits, of all the code that some modules can reach, by full name."""
    known, total = files(root), hashlib.sha256()
    for name in reach(modules, root):
        total.update(f"{name}\0{_plain(known[name].read_text())}\0".encode())
        for source in _compiled(known[name]):
            total.update(source.read_bytes())
    return total.hexdigest()[:16]


def _compiled(module: Path) -> list[Path]:
    """What a module compiles: the C++ of its name, and for a package the headers in it."""
    beside = module.with_suffix(".cpp")
    return sorted(module.parent.glob("*.h")) if module.stem == "__init__" else [beside] * beside.exists()


@cache
def _plain(source: str) -> str:
    """A module's code without what only people read; as it is while it cannot be parsed."""
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return source
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = node.body[ast.get_docstring(node) is not None :]
    return ast.unparse(tree)
