"""A chapter that is run twice, in two folders, gives the same files, byte for byte; only what a clock says differs."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
import yaml

from .conftest import REPOSITORY, Project

pytestmark = pytest.mark.xdist_group("workflow")

CHAPTERS = sorted(path.stem for path in (REPOSITORY / "notebooks").glob("*.py"))
#: What tells when and where a run was: the same in no two.
CLOCKS = {"run.json", "manifest.json"}
#: What a chapter reads beside its source.
READ = (
    "lib",
    "workflow",
    "reference",
    "benchmarks",
    "book",
    "requirements.lock",
    "profiles.yaml",
    "CITATION.cff",
    "_toc.yml",
)


def checkout(root: Path) -> Path:
    """A checkout in which no chapter has run; what Python has compiled lies there, since it says nothing of numbers."""
    root.mkdir(parents=True)
    for name in READ:
        path, ignore = REPOSITORY / name, shutil.ignore_patterns("generated")
        if path.is_dir():
            shutil.copytree(path, root / name, ignore=ignore)
        elif path.exists():
            shutil.copy(path, root / name)
    (root / "notebooks").mkdir()
    for path in (REPOSITORY / "notebooks").glob("*.py"):
        shutil.copy(path, root / "notebooks")
    return root


def files(root: Path, chapter: str) -> dict[str, bytes]:
    """What the chapter made, by name; what says when it ran is not among it, nor are the costs for the references."""
    folder = root / "artifacts" / chapter
    made = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return {name: text for name, text in made.items() if name not in CLOCKS and not name.endswith("-cost.csv")}


def run(root: Path, chapter: str) -> dict[str, bytes]:
    """Run a chapter as the profile ``quick`` does."""
    profile = yaml.safe_load((REPOSITORY / "profiles.yaml").read_text())["quick"]
    values = {"profile": "quick", "device": "cpu", **profile["shared"], **profile["chapters"].get(chapter, {})}
    command = ["workflow/chapter.py", f"notebooks/{chapter}.py", "--parameters", json.dumps(values)]
    done = subprocess.run(
        [sys.executable, *command], cwd=root, env=Project.environment(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return files(root, chapter)


def same(tmp_path: Path, chapter: str, monkeypatch: pytest.MonkeyPatch) -> None:
    roots = [checkout(tmp_path / name) for name in ("one", "another place")]
    first, second = (run(root, chapter) for root in roots)
    assert {name.partition("/")[0] for name in first} >= {"results.json", "figures"}
    assert sorted(first) == sorted(second)
    assert [name for name in first if first[name] != second[name]] == []
    monkeypatch.syspath_prepend(str(REPOSITORY / "workflow"))
    assert import_module("compare").compare(*roots) == []


def test_a_chapter_run_twice_gives_the_same_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    same(tmp_path, "one-neuron", monkeypatch)


@pytest.mark.weekly
@pytest.mark.parametrize("chapter", CHAPTERS)
def test_every_chapter_run_twice_gives_the_same_files(
    tmp_path: Path, chapter: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    same(tmp_path, chapter, monkeypatch)
