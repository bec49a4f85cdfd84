"""The workflows of GitHub: well-formed, alike in what they use, and no more powerful than they must be."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from .test_assemble import URL, archive, book

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def load(file: Path) -> dict[str, Any]:
    return dict(yaml.safe_load(file.read_text()))


def steps(file: Path) -> list[dict[str, Any]]:
    return [step for job in load(file)["jobs"].values() for step in job["steps"]]


def test_they_are_valid() -> None:
    tool = Path(sys.executable).with_name("check-jsonschema")
    command = [tool, "--builtin-schema", "vendor.github-workflows", *FILES]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_one_says_what_it_does_and_when(file: Path) -> None:
    assert re.match(r"# [A-Z].*\n(# .*\n)*name: ", file.read_text())


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_one_may_read_unless_a_job_says_more_and_ends_in_time(file: Path) -> None:
    workflow = load(file)
    assert workflow["permissions"] == {"contents": "read"}
    assert [name for name, job in workflow["jobs"].items() if "timeout-minutes" not in job] == []


def test_an_action_is_one_commit_everywhere_with_its_version_beside_it() -> None:
    """A tag can be moved to other code; a commit's hash cannot."""
    used = {line.split("uses: ")[1] for file in FILES for line in file.read_text().splitlines() if "uses: " in line}
    assert used
    assert [use for use in used if not re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", use)] == []
    names = [use.partition("@")[0] for use in used]
    assert len(names) == len(set(names)), sorted(used)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_what_a_stranger_can_write_is_no_part_of_a_command(file: Path) -> None:
    """The name of a branch or the title of a pull request goes through the environment, which no shell runs."""
    assert [step["run"] for step in steps(file) if "${{" in step.get("run", "")] == []


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_commands_are_shell(file: Path, tmp_path: Path) -> None:
    for step in steps(file):
        if "run" in step:
            checked = subprocess.run(["bash", "-n", "-c", step["run"]], capture_output=True, text=True, check=False)
            assert checked.returncode == 0, checked.stderr


def test_the_weekly_run_has_no_cache_and_what_the_others_have() -> None:
    cold = load(ROOT / ".github" / "workflows" / "weekly.yml")["jobs"]["cold"]
    assert [step for step in cold["steps"] if "cache" in step.get("with", {})] == []
    assert [step["run"] for step in cold["steps"] if "run" in step] == [".ci/run test-all"]
    usual = load(ROOT / ".github" / "workflows" / "ci.yml")["jobs"]["run"]
    assert cold["strategy"]["matrix"]["python"] == usual["strategy"]["matrix"]["python"]
    assert set(cold["strategy"]["matrix"]["os"]) == {"ubuntu-latest", "macos-latest"}


# What the step needs of the tools that GitHub has: they answer from files.
GH = """#!/bin/bash
case "$1 $2" in
    "release list") cat tags ;;
    "release download") cp "archives/$5" "$7/" ;;
esac
"""
CURL = """#!/bin/bash
[ -f published.json ] && cp published.json live.json && printf 200 || cat answer
"""


@pytest.fixture
def deployment(tmp_path: Path) -> Path:
    """A folder in which the step of pages.yml that puts the site together can run, with one release."""
    for name, text in {"gh": GH, "curl": CURL}.items():
        (tmp_path / "bin").mkdir(exist_ok=True)
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "python").write_text(f'#!/bin/bash\nexec "{sys.executable}" "$@"\n')
    (tmp_path / ".venv" / "bin" / "python").chmod(0o755)
    (tmp_path / "workflow").symlink_to(ROOT / "workflow")
    book(tmp_path / "_build" / "html", "main")
    archive(tmp_path / "archives", "v0.1.0")
    (tmp_path / "tags").write_text("v0.1.0\n")
    (tmp_path / "answer").write_text("404")
    return tmp_path


def deploy(folder: Path) -> subprocess.CompletedProcess[str]:
    [script] = [
        step["run"] for step in steps(ROOT / ".github/workflows/pages.yml") if "assemble" in step.get("run", "")
    ]
    environment = os.environ | {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "SITE": URL.rstrip("/")}
    command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_a_deployment_has_every_release(deployment: Path) -> None:
    done = deploy(deployment)
    assert (done.returncode, done.stdout, done.stderr) == (0, "_build/site: v0.1.0, main\n", "")
    (deployment / "published.json").write_bytes((deployment / "_build" / "site" / "versions.json").read_bytes())
    (deployment / "releases" / "book-v0.1.0.zip").unlink()
    (deployment / "releases").rmdir()
    assert deploy(deployment).returncode == 0
    assert (deployment / "_build" / "site" / "v0.1.0" / "index.html").is_file()


def test_a_deployment_that_would_lose_a_release_fails(deployment: Path) -> None:
    (deployment / "published.json").write_text('[{"version": "v0.1.0"}, {"version": "v0.0.1"}]')
    done = deploy(deployment)
    assert done.returncode != 0
    assert done.stderr.startswith("v0.0.1 is published now")


def test_a_deployment_without_an_archive_fails(deployment: Path) -> None:
    (deployment / "tags").write_text("v0.1.0\nv0.2.0\n")
    assert deploy(deployment).returncode != 0
    assert not (deployment / "_build" / "site").exists()


def test_a_deployment_fails_when_it_cannot_know_what_is_published(deployment: Path) -> None:
    (deployment / "answer").write_text("503")
    done = deploy(deployment)
    assert done.returncode != 0
    assert "versions.json answers 503" in done.stdout
