"""A tiny project that runs the real workflow: four chapters of a second, one with runs, and a library of its own.

one ──> middle ──> base <── three <── data/*.csv        two ──> side        nobody ──> lonely
gate-corrections <── two runs <── experiments.gate_corrections
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
import warm

REPOSITORY = Path(__file__).resolve().parents[2]

EXPERIMENT = """\
import os
import signal
from array import array
from pathlib import Path
from types import SimpleNamespace

from gatelr.experiments.runs import Run

SCALE = 2.0  # of each value


def plan(parameters):
    # one of each gate
    seeds = tuple(range(1, parameters["seeds"] + 1))
    return [Run("gate_corrections", "adding", gate, "SGD", seeds, {}, {"gate": gate}) for gate in ("scalar", "multi")]


def measure(setup):
    save, seeds = setup.save, setup.seeds
    if Path("die").exists():
        Path("die").unlink()
        Path(save).parent.mkdir(parents=True, exist_ok=True)
        Path(save).write_text("half")
        os.kill(os.getpid(), signal.SIGKILL)
    if Path("fail").exists():
        raise ValueError("the gate is stuck")
    went_on = Path(save).exists()
    values = [{"seed": seed, "value": SCALE * seed, "went on": went_on} for seed in seeds]
    none = array("q", [-1] * len(seeds))
    return SimpleNamespace(probes={0: {"values": values}}, diverged=none, redrawn=none)
"""

# What makes and reads runs is the library's own; what it would call of the rest stands in.
OWN = ("files", "experiments/__init__", "experiments/runs", "experiments/plans", "experiments/fingerprint")

LIBRARY = {
    "__init__": '"""A stand-in."""',
    "tasks": "def get(name, **options):\n    return name",
    "training": "import contextlib\n\n\ndef progress_bar(*_, **__):\n    return contextlib.nullcontext()",
    "experiments/protocol": "def Setup(task, gate, optimiser, seeds, **given):\n    "
    "from types import SimpleNamespace\n\n    return SimpleNamespace(seeds=seeds, **given)",
    "experiments/gate_corrections": EXPERIMENT,
    "experiments/other": "E = 1",
    "base": "A = 1",
    "middle": "from gatelr import base\n\nB = base.A",
    "side": "C = 1",
    "lonely": "D = 1",
}

IMPORTS = {
    "one": "from gatelr import middle as used",
    "two": "import gatelr.side\n\nused = gatelr.side",
    "three": "from gatelr.base import A\nimport gatelr as used\n\nREADS = ['data/*.csv']",
    "gate-corrections": "from gatelr.experiments import gate_corrections as used, runs\n\n"
    "table = runs.load(used.plan({'seeds': seeds}), block=block)['values']\nprint(*table.value)",
}

CHAPTER = """# %% [markdown]
# # Chapter {number}

# %% tags=["parameters"]
profile = "ci"
seeds = 1
device = "cpu"
block = 0
out = "../artifacts/draft/{chapter}"

# %%
{imports}

print(used.__file__)

# %% [markdown]
# ## The end of {number}
#
# ```
# :name: fig-sum-{number}
# ```

# %%
import json
from pathlib import Path

Path(out).mkdir(parents=True, exist_ok=True)
check = {{"id": "adds-up", "claim": "C{number}", "statement": "$1 + 1 = 2$ for {number}", "kind": "numeric",
         "scope": "one sum", "value": 1e-16, "tolerance": 1e-12, "passed": True}}
results = {{"schema": 1, "chapter": "{chapter}", "title": "Chapter {number}", "passed": True, "checks": [check],
           "claims": [], "numbers": {{}}, "figures": [], "tables": []}}
manifest = {{"chapter": "{chapter}", "parameters": {{"seeds": seeds, "out": out}}, "commit": None, "dirty": None,
            "device": "cpu", "versions": {{"python": "3"}}}}
(Path(out) / "figures").mkdir()
(Path(out) / "figures" / "sum-{number}.csv").write_text("x,y\\n1,{number}\\n")
(Path(out) / "results.json").write_text(json.dumps(results))
(Path(out) / "manifest.json").write_text(json.dumps(manifest))
"""

PROFILES = """\
quick: {shared: {seeds: 1}, chapters: {gate-corrections: {seeds: 2}}}
ci: {block: 2, shared: {seeds: 3}, chapters: {}}
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
parts:
- caption: All
  numbered: true
  chapters:
  - file: notebooks/one
  - file: notebooks/two
  - file: notebooks/three
  - file: notebooks/gate-corrections
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
        return warm.run(arguments, self.root, self.environment())

    @staticmethod
    def environment() -> dict[str, str]:
        # What the outer test run set for itself, such as its warnings, is not what a reader's shell has.
        return {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "PYTHON", "COV"))}

    def build(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """What `make book` calls."""
        return self.python("workflow/build.py", "--cores", "2", "--device", "cpu", *arguments)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """The same, without waiting for its end; what it says goes to a file."""
        command = [sys.executable, "workflow/build.py", "--cores", "2", "--device", "cpu", *arguments]
        with (self.root / "said.log").open("w") as said:
            return subprocess.Popen(
                command, cwd=self.root, env=self.environment(), stdout=said, stderr=subprocess.STDOUT, text=True
            )

    def said(self) -> str:
        """What the build said that was started."""
        return (self.root / "said.log").read_text()

    def would_run(self, *config: str) -> set[str]:
        """The chapters that the next build would run, and "runs" if it would make any."""
        config = config or ("profile=ci", "device=cpu")
        how = ("--workflow-profile", "workflow/profiles/default", "--quiet", "host", "--dry-run", "--cores", "1")
        done = self.python("-m", "snakemake", *how, "--config", *config)
        assert done.returncode == 0, done.stdout + done.stderr
        said = done.stdout + done.stderr
        return set(re.findall(r"wildcards: chapter=(\S+)", said)) | (
            {"runs"} if "wildcards: experiment=" in said else set()
        )


def ran(done: subprocess.CompletedProcess[str]) -> set[str]:
    """The chapters that a build ran to their end."""
    return set(re.findall(r"^([a-z-]+)  done", done.stdout, flags=re.MULTILINE)) & set(IMPORTS)


def make(root: Path) -> Project:
    """Write the project into an empty folder."""
    for folder in ("notebooks", "lib/gatelr/experiments", "book", "data"):
        (root / folder).mkdir(parents=True)
    shutil.copytree(REPOSITORY / "workflow", root / "workflow", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("Snakefile", "Makefile", "requirements.lock", "pyproject.toml", "CITATION.cff"):
        shutil.copy(REPOSITORY / name, root / name)
    for name in OWN:
        shutil.copy(REPOSITORY / "lib" / "gatelr" / f"{name}.py", root / "lib" / "gatelr" / f"{name}.py")
    for name, text in LIBRARY.items():
        (root / "lib" / "gatelr" / f"{name}.py").write_text(f"{text}\n")
    for number, (chapter, imports) in enumerate(IMPORTS.items(), 1):
        text = CHAPTER.format(chapter=chapter, number=number, imports=imports)
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


STUDY = """# %% tags=["parameters"]
profile = "ci"
seeds = 1
device = "cpu"
block = 0
tasks_here = ["adding"]
paper_until = 0
trained_until = 0
out = "../artifacts/draft/effective-rate-profiles"

# %%
import gatelr
"""

CELL = "{seeds: 14, tasks_here: [], trained_until: 1000}"
ONLY = '{chapter: effective-rate-profiles, setting: "adding, 30 steps, Adam", gate: constant}'


def studied(root: Path) -> Project:
    """A project with the library itself, and studies of one cell of a grid: `whole`, and in seven blocks `seven`."""
    project = make(root)
    shutil.rmtree(root / "lib" / "gatelr")
    shutil.copytree(REPOSITORY / "lib" / "gatelr", root / "lib" / "gatelr")
    (root / "notebooks" / "effective-rate-profiles.py").write_text(STUDY)
    for chapter in IMPORTS:
        project.source(chapter).unlink()
    (root / "_toc.yml").write_text(
        "format: jb-book\nroot: book/index\nparts:\n- chapters: [{file: notebooks/effective-rate-profiles}]\n"
    )
    study = f"shared: {{}}, chapters: {{effective-rate-profiles: {CELL}}}, only: {ONLY}"
    (root / "profiles.yaml").write_text(f"whole: {{{study}}}\nseven: {{block: 2, {study}}}\n")
    return project


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
