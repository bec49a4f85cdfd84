"""After any accident the next build has the same numbers, or says in a sentence what is in its way."""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from pathlib import Path
from types import ModuleType, SimpleNamespace

import psutil
import pytest

from .conftest import REPOSITORY, Project, make, ran

pytestmark = pytest.mark.xdist_group("workflow")

RUNS = "artifacts/gate-corrections/results.json"


def numbers(project: Project) -> dict[str, object]:
    """What runs and chapters of a project found: all that is the same in any two builds."""
    found: dict[str, object] = {}
    for path in sorted((project.root / "artifacts").rglob("*")):
        name = str(path.relative_to(project.root))
        if path.parent.parent.name == "runs" and path.suffix == ".json":
            table = json.loads(path.read_text())["tables"]["values"]
            found[name] = (table["seed"], table["value"])
        elif path.name in ("results.json", "manifest.json") or path.suffix == ".csv":
            found[name] = path.read_bytes()
    return found


@pytest.fixture
def workflow(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """Modules of the workflow by name, imported here."""
    monkeypatch.syspath_prepend(str(REPOSITORY / "workflow"))
    return import_module


# Kills

#: Whom to kill, by what their command line has in it: the build, its Snakemake, papermill, a kernel, a run.
VICTIMS = ("workflow/build.py", "snakemake", "workflow/chapter.py", "ipykernel_launcher", "workflow/run.py")


def victim(build: int, which: str) -> psutil.Process | None:
    """The process of a build that has this in its command line, if it is there now; not the shell that began it."""
    try:
        for process in [psutil.Process(build), *psutil.Process(build).children(recursive=True)]:
            words = process.cmdline()
            if which in words and "python" in words[0]:
                return process
    except psutil.NoSuchProcess:
        pass
    return None


def killed(project: Project, which: str, wait: float) -> bool:
    """Build, and kill one process so many seconds after it began; whether there was one left to kill."""
    build = project.start(RUNS)
    process = None
    while process is None and build.poll() is None:
        time.sleep(0.02)
        process = victim(build.pid, which)
    time.sleep(wait)
    there = process is not None and process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    if process is not None and there:
        family = [] if which != VICTIMS[0] else process.children()
        process.kill()
        psutil.wait_procs(family)  # a Snakemake outlives its build, and the next one is refused as long as it does
    build.wait()
    return there


def kills(project: Project, count: int, seed: int) -> int:
    """Kill at least so many processes at random moments, each in the build that goes on after the kill before.

    After each round of all kinds a build must end well, with the numbers of one in which nothing was killed; then all
    is made anew. How many were killed.
    """
    draw = random.Random(seed)
    assert project.build(RUNS).returncode == 0
    expected = numbers(project)
    assert len(expected) == 5
    hit = 0
    while hit < count:
        shutil.rmtree(project.root / "artifacts")
        for which in draw.sample(VICTIMS, len(VICTIMS)):
            hit += killed(project, which, draw.uniform(0, 4))
        done = project.build(RUNS)
        assert done.returncode == 0, done.stdout + done.stderr
        assert numbers(project) == expected
    return hit


@pytest.mark.weekly
def test_fifty_kills_at_random_moments(project: Project) -> None:
    assert kills(project, 50, seed=2) >= 50


def test_a_dead_kernel_is_named_with_its_cell(project: Project) -> None:
    source = project.source("two")
    before = source.read_text()
    source.write_text(before.replace("# %%\nimport json", "# %%\nimport os\nos.kill(os.getpid(), 9)\nimport json"))
    done = project.build("artifacts/two/results.json")
    assert done.returncode == 1
    assert "two, cell 4 (The end of 2)\n    the kernel died, most likely for want of memory" in done.stderr
    source.write_text(before)
    assert ran(project.build("artifacts/two/results.json")) == {"two"}


# What takes too long


def test_a_cell_that_never_ends_is_stopped_and_named(project: Project) -> None:
    limits = project.root / "workflow" / "limits.yaml"
    limits.write_text(limits.read_text().replace("chapters:\n", "chapters:\n  two: {minutes: 0.1, megabytes: 1}\n"))
    source = project.source("two")
    before = source.read_text()
    source.write_text(before.replace("# %%\nimport json", "# %%\nwhile True: pass\nimport json"))
    done = project.build("artifacts/two/results.json")
    assert done.returncode == 1
    sentence = "the chapter did not end within its 0.1 minutes, of which this cell, which was still running, had "
    assert f"two, cell 4 (The end of 2)\n    {sentence}" in done.stderr
    assert not [p for p in psutil.process_iter(["cwd"]) if p.info["cwd"] == str(project.root / "notebooks")]
    source.write_text(before)
    limits.write_text(limits.read_text().replace("minutes: 0.1", "minutes: 20"))  # a limit is no reason to run again
    assert ran(project.build("artifacts/two/results.json")) == {"two"}
    limits.write_text(limits.read_text().replace("minutes: 20", "minutes: 30"))
    assert ran(project.build("artifacts/two/results.json")) == set()


def test_the_cell_that_is_running_is_named_while_it_runs(
    workflow: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    progress = workflow("progress")
    monkeypatch.setattr(progress, "LONG", 0.1)
    prose = SimpleNamespace(cell_type="markdown", source="## A long one")
    code = SimpleNamespace(cell_type="code", source="")
    cells = progress.Cells("two", SimpleNamespace(cells=[prose, code]))
    for cell in (prose, code):
        cells.start(cell, 0)
    time.sleep(0.5)
    cells.end(code, 0, {"content": {"status": "ok"}})
    time.sleep(0.3)
    said = capsys.readouterr().out.splitlines()
    assert all(line.startswith("two  cell 1/2  A long one ") for line in said)
    assert [line.endswith("and still running") for line in said] == [True] * (len(said) - 1) + [False]
    assert len(said) > 1


@pytest.mark.parametrize("table", ["chapters: {}", "chapters: {default: {minutes: 0, megabytes: 1}}", "chapters: 3"])
def test_a_table_of_limits_that_is_none(project: Project, table: str) -> None:
    (project.root / "workflow/limits.yaml").write_text(f"{table}\nruns: {{default: {{minutes: 1, megabytes: 1}}}}\n")
    done = project.build()
    assert done.returncode == 2
    assert done.stderr.startswith("'chapters' in limits.yaml must have ")
    assert done.stderr.count("\n") == 1


# Two builds at once


def slow(project: Project) -> tuple[str, subprocess.Popen[str]]:
    """A build that waits for long in the last cell of chapter two; and the chapter's source as it was."""
    source = project.source("two")
    before = source.read_text()
    source.write_text(before.replace("# %%\nimport json", "# %%\nimport time; time.sleep(600)\nimport json"))
    build = project.start("artifacts/two/results.json")
    while "cell 3/" not in project.said():
        time.sleep(0.1)
        assert build.poll() is None
    return before, build


def test_a_second_build_names_the_first_and_a_lock_is_lifted_when_its_holders_are_gone(project: Project) -> None:
    before, first = slow(project)
    snakemake = victim(first.pid, "snakemake")
    assert snakemake is not None

    begin = time.monotonic()
    second = project.build()
    assert time.monotonic() - begin < 60
    assert second.returncode == 2
    busy = "another `make book` is at work in this folder"
    assert second.stderr.startswith(f"{busy}: process {first.pid} on ")
    assert second.stderr.endswith(f"wait for it to end, or stop it with `kill {first.pid}`\n")

    first.kill()  # and its Snakemake works on
    first.wait()
    third = project.build()
    assert third.returncode == 2
    assert third.stderr.startswith(f"{busy}, or rather its Snakemake, which outlived it: process {first.pid} on ")
    assert third.stderr.endswith(f"or stop it with `kill -9 {snakemake.pid}`\n")

    snakemake.kill()
    project.source("two").write_text(before)
    done = project.build("artifacts/two/results.json")
    assert done.returncode == 0, done.stderr
    assert ran(done) == {"two"}
    assert f"process {first.pid} on " in done.stderr
    assert "was killed: its lock is lifted" in done.stderr
    assert "lifted" not in project.build("artifacts/two/results.json").stderr


def test_a_build_that_is_told_to_end_names_the_cell_and_leaves_nothing_behind(project: Project) -> None:
    source = project.source("two")
    source.write_text(
        source.read_text().replace("# %%\nimport json", "# %%\nimport time; time.sleep(600)\nimport json")
    )
    build = project.start("artifacts/two/results.json")
    while "cell 3/" not in project.said():
        time.sleep(0.1)
        assert build.poll() is None
    family = psutil.Process(build.pid).children(recursive=True)
    build.terminate()
    assert build.wait(300) == 130
    assert "Stopped. What was done is kept" in project.said()
    assert "two was in cell 4 (The end of 2)" in project.said()
    assert psutil.wait_procs(family, timeout=300)[1] == []


# Disks


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path | None]:
    """A disk of 24 MB; None where this system lends none."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        yield None
        return
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_full_disk_is_named_and_once_there_is_room_the_numbers_are_the_same(
    disk: Path | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = make((disk or tmp_path) / "tiny project")
    assert project.build(RUNS).returncode == 0
    expected = numbers(project)
    for room in (0, 8):  # thousands of bytes
        shutil.rmtree(project.root / "artifacts")
        ballast = project.root / "ballast"
        if disk:
            ballast.write_bytes(bytes(max(0, shutil.disk_usage(disk).free - 1000 * room)))
            done = project.build(RUNS)
        else:  # no file may be larger
            done = subprocess.run(
                [sys.executable, "workflow/build.py", "--cores", "2", "--device", "cpu", RUNS],
                cwd=project.root,
                env=project.environment(),
                capture_output=True,
                text=True,
                preexec_fn=partial(resource.setrlimit, resource.RLIMIT_FSIZE, (100 * room, -1)),
            )
        assert done.returncode != 0
        assert "no space left" in done.stderr.lower() or "larger" in done.stderr.lower(), done.stderr
        ballast.unlink(missing_ok=True)
        after = project.build(RUNS)
        assert after.returncode == 0, after.stderr
        assert numbers(project) == expected


def test_a_folder_that_cannot_be_written_is_named(disk: Path | None, tmp_path: Path) -> None:
    project = make((disk or tmp_path) / "tiny project")
    if disk:
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    else:
        project.root.chmod(0o555)
    done = project.build(RUNS)
    assert done.returncode == 1
    assert done.stderr == "_build cannot be written: make its folder writable\n"

    if disk:
        subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
    else:
        project.root.chmod(0o755)
    assert project.build(RUNS).returncode == 0


# Damage


def test_what_was_damaged_is_found_and_made_again(project: Project) -> None:
    targets = [f"artifacts/{chapter}/results.json" for chapter in ("one", "two", "three")] + [RUNS]
    assert project.build(*targets).returncode == 0
    expected = numbers(project)
    (run, other) = sorted(project.root.glob("artifacts/runs/*/*.json"))
    artefacts = project.root / "artifacts"

    def cut(path: Path) -> None:
        path.write_bytes(path.read_bytes()[:-20])

    def change(path: Path, old: str, new: str) -> None:
        dates = path.stat()
        path.write_text(path.read_text().replace(old, new, 1))
        os.utime(path, ns=(dates.st_atime_ns, dates.st_mtime_ns))  # as a disk changes it

    # at a time what happens to several chapters and runs: what is damaged, who is made again, what is said
    rounds: list[dict[str, tuple[Callable[[], object], set[str], str]]] = [
        {
            "results, cut short": (
                lambda: cut(artefacts / "one/results.json"),
                {"one"},
                "one: results.json is not what its run wrote",
            ),
            "a table, changed": (
                lambda: change(artefacts / "two/figures/sum-2.csv", "1,2", "1,3"),
                {"two"},
                "two: figures/sum-2.csv is not what its run wrote",
            ),
            "a table, lost": (
                (artefacts / "three/figures/sum-3.csv").unlink,
                {"three"},
                "three: figures/sum-3.csv is not what its run wrote",
            ),
            "a run, changed": (
                lambda: change(run, "2.0", "2.5"),
                set(),
                f"{run.name} is not what its run wrote, so it is",
            ),
            "a run, cut short": (lambda: cut(other), set(), f"{other.name} is not what its run wrote, so it is"),
        },
        {
            "a notebook, cut short": (
                lambda: cut(project.notebook("one")),
                {"one"},
                "one: one.ipynb is not what its run wrote",
            ),
            "what a chapter says of itself, cut short": (
                lambda: cut(artefacts / "two/run.json"),
                {"two"},
                "two: run.json is not",
            ),
            "all of a chapter": (lambda: shutil.rmtree(artefacts / "gate-corrections"), {"gate-corrections"}, ""),
            "the plans, cut short": (lambda: cut(project.root / "_build/plans.json"), set(), ""),
        },
    ]
    for accidents in rounds:
        for happen, _, _ in accidents.values():
            happen()
        done = project.build(*targets)
        assert done.returncode == 0, (accidents.keys(), done.stderr)
        assert ran(done) == set().union(*(again for _, again, _ in accidents.values())), accidents.keys()
        assert all(said in done.stdout for _, _, said in accidents.values()), done.stdout
        after = numbers(project)
        assert after.items() <= expected.items(), accidents.keys()
        # a run that nobody reads now stays away, until its chapter is made anew
        assert all("/runs/" in file for file in expected.keys() - after.keys()), accidents.keys()
    assert after == expected


def test_no_quick_number_remains_in_ci(project: Project) -> None:
    chapters = ("one", "gate-corrections")
    targets = [f"artifacts/{chapter}/results.json" for chapter in chapters]
    assert project.build(*targets).returncode == 0
    cold = numbers(project)
    shutil.rmtree(project.root / "artifacts")
    assert project.build("--profile", "quick", *targets).returncode == 0
    assert numbers(project) != cold
    notebooks = {chapter: project.notebook(chapter).read_text() for chapter in chapters}
    assert ran(project.build(*targets)) == set(chapters)
    found = numbers(project)
    assert cold.items() <= found.items()
    assert all("/runs/" in file and "-seeds-1-2-" in file for file in found.keys() - cold.keys())  # which nothing reads
    for chapter in chapters:
        assert "seeds = 3" in project.notebook(chapter).read_text()
        assert "seeds = 3" not in notebooks[chapter]


# The environment

PYTHON = """\
#!/bin/sh
# Stands in for Python: makes an environment with itself in it, and installs by writing a line.
case "$*" in
    *venv*--clear*) rm -rf .venv && mkdir -p .venv/bin && cp "$0" .venv/bin/python ;;
    *pip*install*)
        echo "$*" >>installed.log
        if [ -e interrupt ]; then rm interrupt; kill -9 $$; fi ;;
esac
"""


def test_an_installation_that_was_interrupted_is_begun_again(tmp_path: Path) -> None:
    for name in ("Makefile", "requirements.lock", "pyproject.toml", "profiles.yaml"):
        shutil.copy(REPOSITORY / name, tmp_path)
    python = tmp_path / "python"
    python.write_text(PYTHON)
    python.chmod(0o755)

    def env() -> tuple[int, int]:
        """Make it; the exit status, and how often pip has been called."""
        log = tmp_path / "installed.log"
        log.unlink(missing_ok=True)
        command = ["make", "env", f"PYTHON={python}"]
        status = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False).returncode
        return status, len(log.read_text().splitlines()) if log.exists() else 0

    interrupt = tmp_path / "interrupt"
    interrupt.touch()
    assert env() == (2, 1)  # in the midst of the locked packages
    assert not (tmp_path / ".venv/.locked").exists()
    assert env() == (0, 2)
    assert env() == (0, 0)
    (tmp_path / ".venv/.ready").unlink()
    interrupt.touch()
    assert env() == (2, 1)  # in the midst of the library
    assert env() == (0, 1)


def test_a_package_that_is_not_the_locked_one_is_named(project: Project) -> None:
    lock = project.root / "requirements.lock"
    before = lock.read_text()
    (line,) = (line for line in before.splitlines() if line.startswith("numpy=="))
    lock.write_text(before.replace(line, "numpy==1.0").replace("tabulate==", "tabulate-2=="))
    version = line.partition("==")[2]
    done = project.build("artifacts/one/results.json")
    assert done.returncode == 2
    assert f"numpy is {version} (locked: 1.0), tabulate-2 is missing (locked: " in done.stderr
    assert done.stderr.startswith("what is installed is not what requirements.lock says: ")
    assert ran(project.build("--unlocked", "artifacts/one/results.json")) == {"one"}


def test_the_comparison_with_the_lock_takes_less_than_a_second(workflow: Callable[[str], ModuleType]) -> None:
    environment = workflow("environment")
    begin = time.process_time()
    assert environment.changed(REPOSITORY / "requirements.lock") == []
    assert time.process_time() - begin < 1


def test_limits_are_ten_times_what_was_measured(workflow: Callable[[str], ModuleType]) -> None:
    table = workflow("limits").load()
    costs = json.loads((REPOSITORY / "benchmarks/results/costs/ci.json").read_text())["costs"]
    for cost in costs:
        kind, _, name = cost["what"].replace("runs of ", "runs ").partition(" ")
        limit = workflow("limits").of(table, {"chapter": "chapters"}.get(kind, kind), name.replace(" ", "_"))
        assert 60 * limit.minutes >= 10 * cost["seconds"], cost["what"]
