"""Jobs on a real SLURM: told of as they go, named when they fail, and carried on when the scheduler kills them.

``tests/workflow/slurm/start`` brings one up on this machine.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from .conftest import Project, make, studied
from .test_blocks import compare, tables

pytestmark = [
    pytest.mark.xdist_group("workflow"),
    pytest.mark.weekly,
    pytest.mark.skipif(sys.platform != "linux", reason="SLURM runs on Linux"),
]

SCRIPTS = Path(__file__).with_name("slurm")


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A SLURM of one node."""
    folder = tmp_path_factory.mktemp("slurm")
    started = subprocess.run([SCRIPTS / "start", folder], capture_output=True, text=True, check=False)
    assert started.returncode == 0, started.stderr
    os.environ["SLURM_CONF"] = started.stdout.strip().partition("=")[2]
    yield
    del os.environ["SLURM_CONF"]
    subprocess.run([SCRIPTS / "stop", folder], check=True)


@pytest.fixture
def study(slurm: None, tmp_path: Path) -> Project:
    """A project for it, with the library itself."""
    return often(studied(tmp_path / "study"))


def often(project: Project) -> Project:
    """The project, with a look at its jobs every five seconds."""
    profile = project.root / "workflow/profiles/slurm/config.yaml"
    profile.write_text(
        profile.read_text().replace("status-checks: 20", "status-checks: 5").replace("wait: 60", "wait: 5")
    )
    return project


def ask(*command: str) -> str:
    """What a command of SLURM's says."""
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def until(what: Callable[[], object], build: subprocess.Popen[str], seconds: float = 900) -> object:
    """Wait for something to be so while a build is running, and return it."""
    end = time.monotonic() + seconds
    while not (it := what()):
        assert time.monotonic() < end
        assert build.poll() is None, f"the build ended with {build.returncode} before"
        time.sleep(0.2)
    return it


def begun(project: Project, than: tuple[str, ...] = ()) -> tuple[psutil.Process, str, str] | None:
    """A run that has been saved once: its process, the number of its job, and its name."""
    for process in psutil.process_iter(["cmdline", "cwd"]):
        words = process.info["cmdline"] or []
        if "workflow/run.py" in words and words[0] == sys.executable and process.info["cwd"] == str(project.root):
            for saved in project.root.glob("artifacts/runs/*/*.checkpoint"):
                name = saved.stem.rpartition("-")[0]
                seeds = [int(seed) for seed in name.rpartition("-")[0].split("-")[-2:]]
                if name not in than and f'"seeds": [{seeds[0]}, ' in " ".join(words):
                    return process, process.environ()["SLURM_JOB_ID"], name
    return None


def test_a_job_killed_and_one_over_its_time_go_on_and_the_table_is_that_of_one_block(study: Project) -> None:
    whole = study.build("--study", "--profile", "whole")  # here, in one block
    assert whole.returncode == 0, whole.stderr
    build = study.start("--study", "--profile", "seven", "--on", "slurm")
    _, job, cancelled = until(lambda: begun(study), build)
    ask("scancel", "--signal=KILL", "--full", job)
    process, job, slow = until(lambda: begun(study, (cancelled,)), build)
    process.suspend()  # it takes for ever
    ask("scontrol", "update", f"JobId={job}", "TimeLimit=1")
    assert build.wait(3000) == 0, study.said()
    said = study.said()
    for name in (cancelled, slow):
        assert f"effective_rates  {name}  goes on from its file" in said
    assert said.count(" s\n") >= 7  # each run, from the node
    assert "14 seeds in 7 blocks" in said
    states = (Path(os.environ["SLURM_CONF"]).parent / "log/jobs.txt").read_text()
    assert "JobState=TIMEOUT" in states
    compare(tables(study, "whole"), tables(study, "seven"))
    assert not list(study.root.glob("artifacts/runs/*/*.checkpoint"))


def test_a_job_that_fails_ends_the_wait_and_is_named(slurm: None, tmp_path: Path) -> None:
    project = often(make(tmp_path / "tiny project"))
    fail = project.root / "fail"
    fail.touch()
    target = "artifacts/gate-corrections/results.json"
    failed = project.build("--on", "slurm", target)
    assert failed.returncode == 1
    assert failed.stderr.count("    ValueError: the gate is stuck\n") == 2
    assert "\n  gate_corrections adding-multi-SGD-seeds-1-3-" in failed.stderr
    assert failed.stdout.count("FAILED") == 2  # once each: what it raised it would raise again
    assert ask("squeue", "--noheader") == ""
    fail.unlink()
    done = project.build("--on", "slurm", target)
    assert done.returncode == 0, done.stderr
    assert "gate-corrections  cell 4/4  The end of 4 " in done.stdout  # from the node


def test_a_build_that_is_stopped_takes_its_jobs_out_of_the_queue(slurm: None, tmp_path: Path) -> None:
    project = often(make(tmp_path / "tiny project"))
    build = project.start("--on", "slurm", "artifacts/one/results.json")
    until(lambda: ask("squeue", "--noheader"), build)
    build.terminate()
    assert build.wait(300) == 130
    assert ask("squeue", "--noheader", "--states=PENDING,RUNNING") == ""


def test_what_cannot_be_submitted_is_refused_at_once(study: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_CONF", "/nowhere/slurm.conf")
    done = study.build("--study", "--profile", "seven", "--on", "slurm")
    assert done.returncode == 2
    assert done.stderr == "ON=slurm, but sinfo gets no answer from the scheduler: is it up?\n"
