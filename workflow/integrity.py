"""What was made is still what was made: a file that was changed, cut short or lost is found, and made again.

A chapter's ``run.json`` has the digests of its files, and a run's file has its own. Snakemake would not see it: it
compares what a job reads, and trusts what one has written.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

import environment

sys.path.insert(0, str(environment.LIBRARY))  # this checkout's library, even when another is installed

from gatelr import files
from gatelr.experiments import runs

ARTEFACTS = Path("artifacts")
RUNS = ARTEFACTS / "runs"


def digests(folder: Path, notebook: Path) -> dict[str, str | None]:
    """Of a chapter's files by name, the notebook's among them."""
    inside = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "run.json")
    return {notebook.name: files.digest(notebook), **{str(p.relative_to(folder)): files.digest(p) for p in inside}}


def mend(chapters: Iterable[str]) -> list[str]:
    """Take away what is damaged, so that the workflow makes it again; a sentence for each.

    Args:
        chapters: their names.
    """
    said = []
    for chapter in chapters:
        record, notebook = ARTEFACTS / chapter / "run.json", Path("notebooks") / f"{chapter}.ipynb"
        if not record.exists():
            continue
        try:
            made = dict(json.loads(record.read_text())["files"])
        except (ValueError, KeyError, TypeError):
            made = {"run.json": ""}
        now = digests(record.parent, notebook)
        if other := [name for name in made if now.get(name) != made[name]]:
            said.append(f"{chapter}: {other[0]} is not what its run wrote, so the chapter runs again")
            shutil.rmtree(record.parent)
            notebook.unlink(missing_ok=True)
    for path in sorted(RUNS.glob("*/*.json")):
        if runs.kept(path) is None:
            said.append(f"{path} is not what its run wrote, so it is taken away, and made again when it is read")
            path.unlink()
    return said
