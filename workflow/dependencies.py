"""What a result depends on: a chapter's source, the code of the library that it can reach, its data and its runs.

Imports are read, not run. What they cannot show, such as ``importlib.import_module("gatelr.cells")``, is not
seen: a chapter imports what it uses by name. Other files that it reads it declares, as patterns from the root of the
repository, and finds them by the same list: ``READS = ["benchmarks/results/*.json"]``. Of the library the code counts:
a comment or a docstring changed there runs nothing again.
"""

from __future__ import annotations

import ast
import hashlib
import json
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

LIB = Path("lib")
sys.path.insert(0, str(LIB.resolve()))  # this checkout's library, even when another is installed

from gatelr.experiments import fingerprint  # noqa: E402

#: What a chapter calls the list of the patterns that it reads.
READS = "READS"
#: Where the plans of an earlier call lie.
PLANS = Path("_build/plans.json")


def imported(source: str, modules: Iterable[str]) -> set[str]:
    """The library modules that a piece of Python names in its import statements.

    Args:
        source: the text of a chapter.
        modules: every module of the library, by its full name.

    Raises:
        SyntaxError: if the text is not Python.
    """
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            # `from gatelr import cells` names a module, `from gatelr.cells import GatedRNN` something in one.
            names.update([node.module, *(f"{node.module}.{alias.name}" for alias in node.names)])
    # Importing a.b.c runs a and a.b first.
    return {m for m in modules if any(name == m or name.startswith(f"{m}.") for name in names)}


def data(chapter: Path) -> list[Path]:
    """The files that a chapter declares to read, as they now are; none if it cannot be parsed.

    Raises:
        ValueError: if the declaration is not a list of patterns, written out.
    """
    try:
        body = ast.parse(chapter.read_text()).body
    except SyntaxError:
        return []
    paths: set[Path] = set()
    for node in body:
        if not (isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == [READS]):
            continue
        try:
            for pattern in ast.literal_eval(node.value):
                paths.update(path for path in Path().glob(pattern) if path.is_file())
        except (TypeError, ValueError, NotImplementedError) as error:  # the last for an absolute pattern
            raise ValueError(
                f"got {ast.unparse(node)} in {chapter.name}, expected a list of patterns from the root of the "
                f'repository, written out such as {READS} = ["benchmarks/results/*.json"]'
            ) from error
    return sorted(paths)


def library() -> list[Path]:
    """All files of the library."""
    return sorted(p for p in (LIB / fingerprint.LIBRARY).rglob("*") if p.is_file() and "__pycache__" not in p.parts)


def reach(chapter: Path) -> list[str]:
    """The library modules that a chapter can reach; all of them while one of the sources cannot be parsed.

    A chapter that cannot be parsed is run all the same, so that its failure is reported like any other.
    """
    known = fingerprint.files(LIB.resolve())
    try:
        roots = imported(chapter.read_text(), known)
    except SyntaxError:
        roots = set(known)
    return fingerprint.reach(roots, LIB.resolve())


def code(chapter: Path) -> str:
    """One fingerprint of the code that a chapter can reach, and of what lies beside it, which anything may read."""
    beside = [path for path in library() if path.suffix != ".py"]
    return f"{fingerprint.code(reach(chapter), LIB.resolve())} {digest(beside)[:16]}"


def digest(files: Iterable[str | Path]) -> str:
    """One fingerprint of the names and the contents of files."""
    total = hashlib.sha256()
    for name in sorted(map(str, files)):
        total.update(f"{name}\0{hashlib.sha256(Path(name).read_bytes()).hexdigest()}\n".encode())
    return total.hexdigest()


def plans(parameters: Mapping[str, Mapping[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """The runs that chapters read: for each its file's name, what it is, its labels, and a fingerprint of its code.

    Plans stand beside the code that measures, which imports torch. So they are made in another process, and again only
    when the code of the experiments or a parameter has changed.

    Args:
        parameters: all parameters by chapter, with their values.
    """
    asked = json.dumps(parameters, sort_keys=True)
    experiments = [name for name in fingerprint.files(LIB.resolve()) if name.startswith("gatelr.experiments")]
    planner = Path(__file__).with_name("run.py")
    code = f"{fingerprint.code(experiments, LIB.resolve())} {digest([planner])}"
    key = hashlib.sha256(f"{asked} {code}".encode()).hexdigest()
    try:
        kept = json.loads(PLANS.read_text())
        if kept["key"] == key:
            return dict(kept["plans"])
    except (OSError, ValueError, KeyError):
        pass  # not there, or cut short
    command = [sys.executable, str(planner), "--plans"]
    made = subprocess.run(command, input=asked, stdout=subprocess.PIPE, text=True, check=True)
    planned: dict[str, list[dict[str, Any]]] = json.loads(made.stdout)
    PLANS.parent.mkdir(exist_ok=True)
    PLANS.write_text(json.dumps({"key": key, "plans": planned}))
    return planned
