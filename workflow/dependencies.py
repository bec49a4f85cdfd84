"""Which files a chapter's results depend on: its source, the part of the library that it can reach, and its data.

Imports are read, not run. What they cannot show, such as ``importlib.import_module("gatelr.cells")``, is not
seen: a chapter imports what it uses by name. Other files that it reads it declares, as patterns from the root of the
repository, and finds them by the same list: ``READS = ["benchmarks/results/*.json"]``.
"""

from __future__ import annotations

import ast
import hashlib
import sys
from collections.abc import Iterable
from pathlib import Path

import grimp
from grimp.exceptions import SourceSyntaxError

LIBRARY = "gatelr"
#: What a chapter calls the list of the patterns that it reads.
READS = "READS"


def imported(source: str, modules: set[str]) -> set[str]:
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
    found: set[Path] = set()
    for node in body:
        if not (isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == [READS]):
            continue
        try:
            for pattern in ast.literal_eval(node.value):
                found.update(path for path in Path().glob(pattern) if path.is_file())
        except (TypeError, ValueError, NotImplementedError) as error:  # the last for an absolute pattern
            raise ValueError(
                f"got {ast.unparse(node)} in {chapter.name}, expected a list of patterns from the root of the "
                f'repository, written out such as {READS} = ["benchmarks/results/*.json"]'
            ) from error
    return sorted(found)


class Library:
    """The library's files and the imports between them, read once for all chapters.

    Args:
        root: the folder that holds the package, ``lib``.
    """

    def __init__(self, root: Path):
        package = root / LIBRARY
        self.files = sorted(p for p in package.rglob("*") if p.is_file() and "__pycache__" not in p.parts)
        sys.path.insert(0, str(root.resolve()))  # this checkout's library, even when another is installed
        try:
            self._graph: grimp.ImportGraph | None = grimp.build_graph(LIBRARY, cache_dir=None)
        except SourceSyntaxError:
            self._graph = None
        finally:
            sys.path.pop(0)
        self._file = {
            ".".join(p.relative_to(root).with_suffix("").parts).removesuffix(".__init__"): p
            for p in self.files
            if p.suffix == ".py"
        }
        # Anything may read a style sheet or a table that lies beside the code.
        self._data = [p for p in self.files if p.suffix != ".py"]

    def reach(self, chapter: Path) -> list[Path]:
        """The library files that a chapter can reach; all of them while a file cannot be parsed.

        A chapter that cannot be parsed is run all the same, so that its failure is reported like any other.
        """
        if self._graph is None:
            return self.files
        try:
            roots = imported(chapter.read_text(), self._graph.modules)
        except SyntaxError:
            return self.files
        reached = set(roots)
        for module in roots:
            reached |= self._graph.find_upstream_modules(module)
        # Every import of gatelr.x runs gatelr/__init__.py first, and what that imports.
        reached |= {LIBRARY} | self._graph.find_upstream_modules(LIBRARY)
        return sorted([self._file[m] for m in reached] + self._data)


def digest(files: Iterable[str | Path]) -> str:
    """One fingerprint of the names and the contents of files."""
    total = hashlib.sha256()
    for name in sorted(map(str, files)):
        total.update(f"{name}\0{hashlib.sha256(Path(name).read_bytes()).hexdigest()}\n".encode())
    return total.hexdigest()
