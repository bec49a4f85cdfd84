"""The names that the library gives to its users, read from its source."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path

LIBRARY = Path(__file__).resolve().parents[1] / "lib" / "gatelr"
MODULES = sorted(
    ".".join(path.relative_to(LIBRARY).with_suffix("").parts).removesuffix(".__init__")
    for path in LIBRARY.rglob("[a-z_]*.py")
    if path.stat().st_size and path not in (LIBRARY / "__init__.py", LIBRARY / "__main__.py")
)


def public(module: str) -> Iterator[str]:
    """A module's names, and those inside its classes: "jacobian.terms", "cells.GatedRNN", "cells.GatedRNN.run"."""
    file = LIBRARY / f"{module.replace('.', '/')}.py"
    for node in ast.parse((file if file.exists() else file.with_suffix("") / "__init__.py").read_text()).body:
        for name in _bound(node):
            yield f"{module}.{name}"
            if isinstance(node, ast.ClassDef):
                # a class's plain assignments are words to its base, such as SymPy's `nargs`; fields are annotated
                parts = (part for part in node.body if not isinstance(part, ast.Assign))
                yield from (f"{module}.{name}.{inner}" for part in parts for inner in _bound(part))


def _bound(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        names = [node.name]
    elif isinstance(node, ast.AnnAssign):
        names = [ast.unparse(node.target)]
    elif isinstance(node, ast.Assign):
        stored = (name for target in node.targets for name in ast.walk(target) if isinstance(name, ast.Name))
        names = [name.id for name in stored if isinstance(name.ctx, ast.Store)]
    else:
        names = []
    return [name for name in names if not name.startswith("_")]


def thing(path: str) -> object:
    """What "cells.GatedRNN.run" names; None for a field, which only an instance has."""
    module = max((each for each in MODULES if path.startswith(f"{each}.")), key=len)
    names = path.removeprefix(f"{module}.").split(".")
    found: object = importlib.import_module(f"gatelr.{module}")
    for name in names:
        found = getattr(found, name, None)
    return found
