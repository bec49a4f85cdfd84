"""A tiny project that runs the real workflow: three chapters of a second, and a library of five modules.

01-one ──> middle ──> base <── 03-three <── data/*.csv        02-two ──> side        nobody ──> lonely
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]

LIBRARY = {
    "__init__": '"""A stand-in."""',
    "base": "A = 1",
    "middle": "from gatelr import base\n\nB = base.A",
    "side": "C = 1",
    "lonely": "D = 1",
}

IMPORTS = {
    "01-one": "from gatelr import middle as used",
    "02-two": "import gatelr.side\n\nused = gatelr.side",
    "03-three": "from gatelr.base import A\nimport gatelr as used\n\nREADS = ['data/*.csv']",
}

CHAPTER = """# %% [markdown]
# # Chapter {number}

# %% tags=["parameters"]
profile = "ci"
seeds = 1
device = "auto"
out = "../artifacts/draft/{chapter}"

# %%
{imports}

print(used.__file__)

# %% [markdown]
# ## The end of {number}

# %%
import json
from pathlib import Path

Path(out).mkdir(parents=True, exist_ok=True)
check = {{"id": "adds-up", "claim": "C{number}", "statement": "$1 + 1 = 2$ for {number}", "kind": "numeric",
         "value": 1e-16, "tolerance": 1e-12, "passed": True}}
results = {{"schema": 1, "chapter": "{chapter}", "title": "Chapter {number}", "passed": True, "checks": [check],
           "claims": [], "numbers": {{}}, "figures": [], "tables": []}}
manifest = {{"chapter": "{chapter}", "parameters": {{"seeds": seeds, "out": out}}, "commit": None, "dirty": None,
            "device": "cpu", "versions": {{"python": "3"}}}}
(Path(out) / "results.json").write_text(json.dumps(results))
(Path(out) / "manifest.json").write_text(json.dumps(manifest))
"""

PROFILES = """\
quick: {shared: {seeds: 1}, chapters: {}}
ci: {shared: {seeds: 3}, chapters: {}}
"""

CONFIG = """\
title: Tiny
author: Nobody
execute: {execute_notebooks: "off"}
only_build_toc_files: true
"""

TOC = """\
format: jb-book
root: book/index
chapters:
- file: notebooks/01-one
- file: notebooks/02-two
- file: notebooks/03-three
- file: book/generated/execution
- file: book/generated/ledger
"""


@dataclass
class Project:
    """The project's folder, and what its tests do with it."""

    root: Path

    def source(self, chapter: str) -> Path:
        return self.root / "notebooks" / f"{chapter}.py"

    def module(self, name: str) -> Path:
        return self.root / "lib" / "gatelr" / f"{name}.py"

    def notebook(self, chapter: str) -> Path:
        return self.root / "notebooks" / f"{chapter}.ipynb"

    def artefact(self, chapter: str, name: str) -> Path:
        return self.root / "artifacts" / chapter / f"{name}.json"

    def python(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *arguments], cwd=self.root, env=self.environment(), capture_output=True, text=True
        )

    @staticmethod
    def environment() -> dict[str, str]:
        # What the outer test run set for itself, such as its warnings, is not what a reader's shell has.
        return {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "PYTHON", "COV"))}

    def build(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """What `make book` calls."""
        return self.python("workflow/build.py", "--cores", "2", *arguments)

    def would_run(self, *config: str) -> set[str]:
        """The chapters that the next build would run."""
        config = config or ("profile=ci", "device=auto")
        how = ("--workflow-profile", "workflow/profiles/default", "--quiet", "host", "--dry-run", "--cores", "1")
        done = self.python("-m", "snakemake", *how, "--config", *config)
        assert done.returncode == 0, done.stdout + done.stderr
        return set(re.findall(r"wildcards: chapter=(\S+)", done.stdout + done.stderr))


def ran(done: subprocess.CompletedProcess[str]) -> set[str]:
    """The chapters that a build ran to their end."""
    return set(re.findall(r"^(\d\d-\w+)  done", done.stdout, flags=re.MULTILINE))


def make(root: Path) -> Project:
    """Write the project into an empty folder."""
    for folder in ("notebooks", "lib/gatelr", "book", "data"):
        (root / folder).mkdir(parents=True)
    shutil.copytree(REPOSITORY / "workflow", root / "workflow", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("Snakefile", "Makefile", "requirements.lock", "pyproject.toml", "CITATION.cff"):
        shutil.copy(REPOSITORY / name, root / name)
    for name, text in LIBRARY.items():
        (root / "lib" / "gatelr" / f"{name}.py").write_text(f"{text}\n")
    for chapter, imports in IMPORTS.items():
        text = CHAPTER.format(chapter=chapter, number=chapter.split("-")[0].lstrip("0"), imports=imports)
        (root / "notebooks" / f"{chapter}.py").write_text(text)
    for name, text in {
        "profiles.yaml": PROFILES,
        "_config.yml": CONFIG,
        "_toc.yml": TOC,
        "data/measured.csv": "x,y\n1,2\n",
        "book/index.md": "(notation)=\n# Tiny\n\nSee {ref}`ledger` and {ref}`execution`.\n",
    }.items():
        (root / name).write_text(text)
    return Project(root)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project in which nothing has run."""
    return make(tmp_path / "tiny project")


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project that has been built once, for the tests that leave it as they found it."""
    project = make(tmp_path_factory.mktemp("workflow") / "tiny project")
    done = project.build()
    assert done.returncode == 0, done.stdout + done.stderr
    assert ran(done) == set(IMPORTS)
    return project
