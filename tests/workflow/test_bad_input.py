"""One clear sentence for each thing that cannot be had."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import types
from importlib import import_module

import pytest

from .conftest import REPOSITORY, Project

pytestmark = pytest.mark.xdist_group("workflow")

MAKE = shutil.which("make")


@pytest.fixture
def chapter(project: Project, monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """workflow/chapter.py, at work in the tiny project."""
    monkeypatch.syspath_prepend(str(REPOSITORY / "workflow"))
    module = import_module("chapter")
    monkeypatch.setattr(module, "ROOT", project.root)
    monkeypatch.setattr(module.failures, "RUN", project.root / "_build" / "run")
    monkeypatch.setattr(os, "environ", os.environ.copy())  # the driver sets what its kernel is to see
    return module


def failure(project: Project, name: str) -> str:
    return str(json.loads((project.root / "_build" / "run" / name / "failure.json").read_text())["error"])


def run(chapter: types.ModuleType, project: Project, name: str, **parameters: object) -> int:
    return int(chapter.main([str(project.source(name)), "--parameters", json.dumps(parameters)]))


def test_a_parameter_that_the_chapter_does_not_declare(chapter: types.ModuleType, project: Project) -> None:
    assert run(chapter, project, "one", seeds=1, seed=2) == 1
    assert failure(project, "one") == (
        "parameter 'seed' is not declared by one.py, which declares profile, seeds, device, block, out: add it to the "
        "cell tagged 'parameters', or take it out of profiles.yaml"
    )


def test_a_parameter_of_another_type(chapter: types.ModuleType, project: Project) -> None:
    assert run(chapter, project, "one", seeds=[0, 1]) == 1
    assert failure(project, "one") == (
        "parameter 'seeds' is [0, 1], but one.py declares 1: give it the same type in profiles.yaml and in the cell "
        "tagged 'parameters'"
    )


def test_a_chapter_without_a_cell_of_parameters(chapter: types.ModuleType, project: Project) -> None:
    project.source("one").write_text("# %%\n1 + 1\n")
    assert run(chapter, project, "one", seeds=1) == 1
    assert "parameter 'seeds' is not declared by one.py, which declares none" in failure(project, "one")


def test_a_missing_kernel(chapter: types.ModuleType, project: Project) -> None:
    source = project.source("one")
    kernel = "{name: fortran, display_name: Fortran, language: python}"
    header = f"# ---\n# jupyter:\n#   kernelspec: {kernel}\n# ---\n\n"
    source.write_text(header + source.read_text())
    assert run(chapter, project, "one", seeds=1) == 1
    said = failure(project, "one")
    assert said.startswith("kernel 'fortran' of one.py is not installed (there is: ")
    assert "python3" in said.split("write")[0]


@pytest.mark.parametrize("step", ["prepare", "finish", "publish"])
def test_a_full_disk(step: str, chapter: types.ModuleType, project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "results.json")

    monkeypatch.setattr(chapter, "execute", lambda *given: (given[3] / "artifacts").mkdir() or [])
    monkeypatch.setattr(chapter.integrity, "digests", lambda *_: {})
    monkeypatch.setattr(chapter, "finish", lambda *_: None)
    monkeypatch.setattr(chapter, "execute" if step == "prepare" else step, full)
    assert run(chapter, project, "one", seeds=1) == 1
    assert failure(project, "one") == "no space left on the disk while writing results.json: free some"
    assert not project.notebook("one").exists()
    assert not (project.root / "artifacts/one").exists()


def test_a_full_disk_inside_a_cell(project: Project) -> None:
    source = project.source("one")
    source.write_text(source.read_text() + '\nraise OSError(28, "No space left on device", "figure.svg")\n')
    done = project.python("workflow/chapter.py", "notebooks/one.py", "--parameters", '{"seeds": 1}')
    assert done.returncode == 1
    assert failure(project, "one") == "OSError: [Errno 28] No space left on device: 'figure.svg'"


def test_a_chapter_that_writes_no_results(project: Project) -> None:
    project.source("one").write_text('# %% tags=["parameters"]\nseeds = 1\nout = "nowhere"\n')
    done = project.python("workflow/chapter.py", "notebooks/one.py", "--parameters", '{"seeds": 1}')
    assert done.returncode == 1
    assert "wrote no results.json and no manifest.json into the folder `out`" in failure(project, "one")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--profile", "papr"], "unknown profile 'papr': PROFILE is one of quick, ci (profiles.yaml)"),
        (["--device", "gpu"], "unknown device 'gpu': DEVICE is one of auto, cpu, cuda"),
        (["--cores", "none"], "got CORES=none, expected a whole number of at least 1"),
    ],
)
def test_an_option_that_there_is_not(project: Project, arguments: list[str], sentence: str) -> None:
    done = project.build(*arguments)
    assert done.returncode == 2
    assert done.stderr.strip() == sentence
    assert not (project.root / "artifacts").exists()


def test_cuda_without_cuda(project: Project) -> None:
    import torch

    done = project.python(
        "-c", "import sys; sys.path.insert(0, 'workflow'); import build; build.check('ci', 'cuda', True, False, False)"
    )
    if torch.cuda.is_available():
        assert done.returncode == 0
    else:
        assert "DEVICE=cuda, but PyTorch sees no CUDA device here" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("ci: {shared: {}}", "profile 'ci' in profiles.yaml must have the two keys 'shared' and 'chapters'"),
        (
            "ci: {shared: {}, chapters: {one: {seed: 2}}}",
            "parameter 'seed' is not declared by one.py, which declares profile, seeds, device, block, out",
        ),
        (
            "ci: {shared: {seeds: 3}, chapters: {}}\nother: {shared: {seeds: many}, chapters: {}}",
            "parameter 'seeds' is 'many', but one.py declares 1",
        ),
        (
            "ci: {shared: {}, chapters: {nine: {}}}",
            "sets parameters of chapter 'nine', which is not in notebooks/",
        ),
        ("ci: {shared: [}", "profiles.yaml is not YAML"),
    ],
)
def test_a_file_of_profiles_that_is_not_one(project: Project, text: str, sentence: str) -> None:
    (project.root / "profiles.yaml").write_text(text)
    done = project.build()
    assert done.returncode == 2
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_contents_and_sources_that_part(project: Project) -> None:
    project.source("four").write_text("# %%\n")
    assert project.build().stderr.strip() == "notebooks/four.py stands in no part of _toc.yml: add it there"
    project.source("four").unlink()
    project.source("three").unlink()
    assert project.build().stderr.strip() == "_toc.yml names three, but there is no notebooks/three.py: write it"
    assert not (project.root / "artifacts").exists()


def test_a_module_that_does_not_parse_runs_every_chapter(project: Project) -> None:
    project.module("lonely").write_text("def half(:\n")
    sys_path = str(REPOSITORY / "workflow")
    code = (
        f"import sys; sys.path.insert(0, {sys_path!r}); from pathlib import Path; import dependencies\n"
        "print(*dependencies.reach(Path('notebooks/two.py')), sep='\\n')"
    )
    modules = ["base", "lonely", "middle", "side", "experiments.other", "experiments.runs"]
    assert {f"gatelr.{module}" for module in modules} <= set(project.python("-c", code).stdout.split())


@pytest.mark.parametrize("written", ["READS = sorted(names)", "READS = 3", 'READS = ["/data/*.csv"]'])
def test_data_declared_in_a_way_that_cannot_be_told(project: Project, written: str) -> None:
    source = project.source("two")
    source.write_text(f"{source.read_text()}\n{written}\n")
    done = project.build()
    assert done.returncode != 0
    assert f"got {written} in two.py, expected a list of patterns" in done.stderr.replace("'", '"')


# The Makefile speaks before there is a Python of ours: these run it with stand-ins for Python.


def command(project: Project, *arguments: str) -> subprocess.CompletedProcess[str]:
    assert MAKE, "make is needed to test the Makefile"
    environment = {k: v for k, v in project.environment().items() if not k.startswith("MAKE")}
    return subprocess.run(
        [MAKE, "--no-print-directory", *arguments], cwd=project.root, env=environment, capture_output=True, text=True
    )


def stand_in(project: Project, body: str) -> str:
    path = project.root / "python-stand-in"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return f"PYTHON={path}"


def test_make_lists_its_targets(project: Project) -> None:
    done = command(project)
    assert done.returncode == 0, done.stderr
    for target in ("book", "test", "lab", "bench", "clean"):
        assert f"  make {target} " in done.stdout
    assert "Profiles: quick ci" in done.stdout


def test_make_clean_leaves_what_is_not_made(project: Project) -> None:
    before = {p for p in project.root.rglob("*") if p.is_file()}
    for made in (
        "_build/html/index.html",
        "artifacts/one/run.json",
        "book/generated/ledger.md",
        "lib/__pycache__/a",
    ):
        path = project.root / made
        path.parent.mkdir(parents=True)
        path.write_text("")
    project.notebook("one").write_text("")
    (project.root / ".venv").mkdir()
    assert command(project, "clean").returncode == 0
    assert {p for p in project.root.rglob("*") if p.is_file()} == before
    assert (project.root / ".venv").exists()


@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        ("PROFILE=papr", "unknown profile 'papr': PROFILE is one of quick ci (profiles.yaml)"),
        ("DEVICE=gpu", "unknown device 'gpu': DEVICE is one of auto, cpu, cuda"),
    ],
)
def test_make_refuses_before_it_installs(project: Project, option: str, sentence: str) -> None:
    done = command(project, "book", option)
    assert done.returncode != 0
    assert done.stderr.splitlines()[0] == sentence
    assert not (project.root / ".venv").exists()


def test_make_names_what_it_lacks(project: Project) -> None:
    absent = command(project, "env", "PYTHON=python-that-is-not-there")
    assert "there is no 'python-that-is-not-there' here" in absent.stderr.splitlines()[0]
    old = command(project, "env", stand_in(project, '[ "$1" = --version ] && echo Python 3.9.6; [ "$1" != -c ]'))
    assert "is Python 3.9.6, expected 3.11 or newer" in old.stderr.splitlines()[0]
    bare = command(project, "env", stand_in(project, 'case "$2" in *ensurepip*) exit 1;; esac'))
    assert "apt install python3-venv" in bare.stderr.splitlines()[0]


def test_an_environment_that_was_interrupted_is_made_again(project: Project) -> None:
    pip = "mkdir -p .venv/bin && printf '#!/bin/sh\\nexit %s\\n' \"$(cat pip-status)\" > .venv/bin/python"
    python = stand_in(project, f'[ "$1" = -c ] && exit 0\n{pip} && chmod +x .venv/bin/python && echo made >> made')
    (project.root / "pip-status").write_text("1")
    assert command(project, "env", python).returncode != 0
    assert not (project.root / ".venv/.ready").exists()
    (project.root / "pip-status").write_text("0")
    assert command(project, "env", python).returncode == 0
    assert (project.root / ".venv/.ready").exists()
    assert command(project, "env", python).returncode == 0
    assert (project.root / "made").read_text() == "made\nmade\n"

    lock = project.root / "requirements.lock"
    lock.write_text(lock.read_text() + "one-more==1.0\n")
    os.utime(lock, (2**31, 2**31))
    assert command(project, "env", python).returncode == 0
    assert (project.root / "made").read_text() == "made\nmade\nmade\n"
