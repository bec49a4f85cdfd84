"""A release is rehearsed: what is refused, what is left to people, and that the whole ends well."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import nbformat
import pytest
import yaml

from .conftest import Project
from .test_assemble import URL, archive, book

ROOT = Path(__file__).resolve().parents[2]
TAG = "v0.1.0"
SOURCES = {
    "pyproject.toml": '[project]\nversion = "0.1.0"\n',
    "CITATION.cff": "cff-version: 1.2.0\nmessage: It\ntitle: Tiny\nauthors:\n  - name: A Person\nversion: 0.1.0\n",
    "CHANGELOG.md": "# Changelog\n\n## [0.1.0] - 2026-12-01\n\n## [0.0.9] - 2026-11-01\n",
    "_toc.yml": "parts: [{chapters: [{file: notebooks/one}, {file: book/notation}]}]\n",
    "book/_ext/moved.py": 'CHAPTERS = {"01-one": "one"}\nFIGURES = {"fig-two": ("one", "two")}\n',
    ".gitignore": "workflow/\n_build/\n__pycache__/\n",
}
#: What spoils one of them, and the sentence that it gets.
WRONG = {
    "an edited file": (
        {"_toc.yml": "parts: []\n"},
        "got files that are not committed (_toc.yml), expected a clean working tree: commit them or put them aside",
    ),
    "many new files": (
        {f"{name}.txt": "" for name in "abcd"},
        "got files that are not committed (a.txt, b.txt, c.txt …), expected",
    ),
    "another version": (
        {"CITATION.cff": SOURCES["CITATION.cff"].replace("0.1.0", "0.0.9")},
        "got version 0.0.9 in CITATION.cff, expected 0.1.0 as in pyproject.toml: write one into both",
    ),
    "no version": ({"CITATION.cff": "title: Tiny\n"}, "got version none in CITATION.cff, expected 0.1.0"),
}
UNFILLED = {
    "no date": (
        {"CHANGELOG.md": "## [0.1.0] - Unreleased\n\n## [0.0.9] - 2026-11-01\n"},
        "got '## [0.1.0] - Unreleased' in CHANGELOG.md, expected the day of the release: write '## [0.1.0] - ' and a",
    ),
    "half a date": ({"CHANGELOG.md": "## [0.1.0] - 2026-12\n"}, "got '## [0.1.0] - 2026-12' in CHANGELOG.md, expected"),
    "another's date": ({"CHANGELOG.md": "## [0.1.01] - 2026-12-01\n"}, "got 'no heading' in CHANGELOG.md, expected"),
    "nobody": (
        {"CITATION.cff": SOURCES["CITATION.cff"].replace("A Person", "The Gates as Learning Rates authors")},
        "got the authors 'The Gates as Learning Rates authors' in CITATION.cff, expected the names of people: write",
    ),
}


@pytest.fixture
def release(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """workflow/release.py."""
    monkeypatch.syspath_prepend(str(ROOT / "workflow"))
    return import_module("release")


def git(root: Path, *asked: str) -> None:
    subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", *asked], cwd=root, check=True)


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def commit(root: Path) -> None:
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message", "All of it")


@pytest.fixture
def sources(tmp_path: Path, release: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository that can be released, which the module takes for its own."""
    root = tmp_path / "a clone"
    root.mkdir()
    write(root, SOURCES)
    git(root, "init", "--quiet")
    commit(root)
    monkeypatch.setattr(release, "ROOT", root)
    return root


def ask(release: ModuleType, monkeypatch: pytest.MonkeyPatch, *asked: str) -> int:
    monkeypatch.setattr(sys, "argv", ["release.py", *asked])
    return int(release.main())


def test_sources_that_are_ready_are_refused_nothing(release: ModuleType, sources: Path) -> None:
    assert (release.wrong(sources), release.unfilled(sources)) == ([], [])
    git(sources, "tag", TAG)
    assert release.wrong(sources, TAG) == []


@pytest.mark.parametrize("spoiled", WRONG)
def test_what_no_rehearsal_helps_is_refused(release: ModuleType, sources: Path, spoiled: str) -> None:
    files, said = WRONG[spoiled]
    write(sources, files)
    if "files" not in said:
        commit(sources)
    [sentence] = release.wrong(sources)
    assert sentence.startswith(said)


def test_a_version_that_has_its_tag_is_refused(release: ModuleType, sources: Path) -> None:
    git(sources, "tag", TAG)
    [sentence] = release.wrong(sources)
    assert sentence == "got version 0.1.0, expected one without a tag v0.1.0: give what changed a new version"


@pytest.mark.parametrize("tag", ["v0.2.0", "0.1.0", ""])
def test_a_tag_of_another_version_is_refused(release: ModuleType, sources: Path, tag: str) -> None:
    [sentence] = release.wrong(sources, tag)
    assert sentence.startswith(f"got the tag {tag}, expected v0.1.0 as in pyproject.toml: tag")


@pytest.mark.parametrize("spoiled", UNFILLED)
def test_what_people_fill_in_is_asked_for(release: ModuleType, sources: Path, spoiled: str) -> None:
    files, said = UNFILLED[spoiled]
    write(sources, files)
    [sentence] = release.unfilled(sources)
    assert sentence.startswith(said)


def test_all_that_is_wrong_is_listed_at_once(
    release: ModuleType, sources: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    git(sources, "tag", TAG)
    monkeypatch.setattr(release, "rehearse", lambda *_: pytest.fail("there is nothing to rehearse"))
    write(sources, UNFILLED["no date"][0])
    write(sources, {"CITATION.cff": UNFILLED["nobody"][0]["CITATION.cff"].replace("0.1.0", "0.0.9")})
    assert ask(release, monkeypatch) == 2
    said = capsys.readouterr()
    assert said.out == ""
    begins = ["got files", "got version 0.0.9", "got version 0.1.0", "got '## [0.1.0]", "got the authors"]
    assert [line.startswith(begin) for line, begin in zip(said.err.splitlines(), begins, strict=True)] == [True] * 5


def test_green_means_ready(
    release: ModuleType, sources: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[tuple[str, ...]] = []
    monkeypatch.setattr(release, "rehearse", lambda *how: asked.append(how) or [])
    assert ask(release, monkeypatch, "--profile", "quick", "--cores", "3") == 0
    assert asked == [(TAG, "quick", "3")]
    assert capsys.readouterr().out == "\nv0.1.0 can be released: git tag v0.1.0 && git push origin v0.1.0\n"


def test_what_is_left_to_people_is_rehearsed_and_listed_with_the_rest(
    release: ModuleType, sources: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("no date", "nobody"):
        write(sources, UNFILLED[name][0])
    commit(sources)
    monkeypatch.setattr(release, "rehearse", lambda *_: ["the site has no page"])
    assert ask(release, monkeypatch) == 1
    title, *listed = capsys.readouterr().out.strip().splitlines()
    assert title == "v0.1.0 is not ready to be released. Still to be done:"
    begins = ["- got '## [0.1.0] - Unreleased'", "- got the authors", "- the site has no page"]
    assert [line.startswith(begin) for line, begin in zip(listed, begins, strict=True)] == [True] * 3


def test_a_rehearsal_that_breaks_off_is_listed_too(
    release: ModuleType, sources: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write(sources, UNFILLED["nobody"][0])
    commit(sources)

    def rehearse(*_: str) -> list[str]:
        raise release.Failed("`make book` ended with 1")

    monkeypatch.setattr(release, "rehearse", rehearse)
    assert ask(release, monkeypatch) == 1
    assert [line[:12] for line in capsys.readouterr().out.splitlines()[-2:]] == ["- got the au", "- `make book"]


def test_outside_of_a_repository_there_is_one_sentence(
    release: ModuleType,
    sources: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    shutil.rmtree(sources / ".git")
    assert ask(release, monkeypatch) == 1
    said = capsys.readouterr().out.splitlines()[-1]
    assert said.startswith("- got no answer to `git status --porcelain`, expected a clone of the repository: ")


def test_the_release_workflow_asks_it_with_nothing_but_python(sources: Path) -> None:
    """As its first step does, before anything is installed: `-S` leaves out all packages."""
    [step] = [step for step in workflow("release") if "release.py" in step.get("run", "")]
    [line] = [line for line in step["run"].splitlines() if "release.py" in line]
    assert line == 'python3 workflow/release.py --tag "$TAG"'
    (sources / "workflow").mkdir()
    shutil.copy(ROOT / "workflow" / "release.py", sources / "workflow")

    def ask(tag: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-S", "workflow/release.py", "--tag", tag]
        return subprocess.run(command, cwd=sources, capture_output=True, text=True, check=False)

    git(sources, "tag", TAG)
    done = ask(TAG)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    write(sources, UNFILLED["nobody"][0])
    commit(sources)
    done = ask("v0.2.0")
    assert done.returncode == 2
    assert [line[:12] for line in done.stderr.splitlines()] == ["got the tag ", "got the auth"]


# The rehearsal


def workflow(name: str) -> list[dict[str, str]]:
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / f"{name}.yml").read_text())["jobs"]
    return [step for job in jobs.values() for step in job["steps"]]


def test_its_commands_are_those_of_the_workflows(release: ModuleType) -> None:
    packing = release.script(ROOT, "release.yml", "zip")
    assert packing == 'mv _build/html "_build/$TAG"\n(cd _build && zip -qr "book-$TAG.zip" "$TAG")\n'
    pushing = release.script(ROOT, "notebooks.yml", "commit-tree")
    assert pushing == next(step["run"] for step in workflow("notebooks") if "commit-tree" in step.get("run", ""))


def test_a_command_that_fails_is_named_with_the_last_that_it_said(
    release: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(release, "OUT", tmp_path)
    with release.step("a good one"):
        release.run("sh", "-c", "echo $WORD", at=tmp_path, WORD="hello")
    with pytest.raises(release.Failed, match=r"`sh -c seq 20; exit 3` ended with 3:\n6\n7\n"):
        with release.step("a bad one"):
            release.run("sh", "-c", "seq 20; exit 3", at=tmp_path)
    good, bad = capsys.readouterr().out.splitlines()
    assert good.startswith("a good one ")
    assert good.endswith(" s")
    assert bad.endswith("failed")


@pytest.fixture
def rehearsed(sources: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone with what the rehearsal of a book of two chapters leaves, of which one has its notebook on the branch."""
    build = sources / "_build"
    for version in (TAG, "main"):
        write(sources, {f"_build/branch/{version}/notebooks/one.ipynb": nbformat.writes(nbformat.v4.new_notebook())})
    archive(build, TAG)
    import_module("assemble").assemble(URL, book(build / "html", "main"), [build / f"book-{TAG}.zip"], build / "site")
    old = '<meta http-equiv="refresh" content="1; url=one.html">'
    one = '<p id="fig-one">1</p><script>location.replace("two.html#fig-two")</script>'
    pages = {"01-one.html": old, "one.html": one, "two.html": '<p id="fig-two">2</p>'}
    write(build / "site" / TAG / "notebooks", pages)
    write(build / "site" / TAG / "files", {"01-one/fig-one.svg": "", "01-one/fig-two.svg": "", "one/fig-two.svg": ""})
    return build


def faults(release: ModuleType, rehearsed: Path) -> list[str]:
    return list(release.faults(rehearsed.parent, rehearsed / "site", rehearsed / "branch", TAG))


def test_a_rehearsal_that_went_well_has_no_faults(release: ModuleType, rehearsed: Path) -> None:
    assert faults(release, rehearsed) == []


def test_each_fault_of_what_came_out_is_found(release: ModuleType, rehearsed: Path) -> None:
    site, root = rehearsed / "site", rehearsed.parent
    (site / TAG / "index.html").unlink()
    (site / "versions.json").write_text(json.dumps([{"version": "main"}, {"version": TAG}]))
    (rehearsed / "branch" / TAG / "notebooks" / "one.ipynb").unlink()
    odd = {"cells": [{"cell_type": "odd", "id": "a"}], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    (rehearsed / "branch" / "main" / "notebooks" / "one.ipynb").write_text(json.dumps(odd))
    shutil.make_archive(str(rehearsed / f"book-{TAG}"), "zip", rehearsed, "branch")
    write(root, {".zenodo.json": "{}", "CITATION.cff": "title: Tiny\n"})
    found = faults(release, rehearsed)
    begins = [
        "the site has no v0.1.0/index.html",
        "versions.json lists main first, expected v0.1.0",
        "v0.1.0/notebooks/one.ipynb on the branch is no notebook: [Errno 2]",
        "main/notebooks/one.ipynb on the branch is no notebook: ",
        "book-v0.1.0.zip holds branch, expected one folder v0.1.0",
        "CITATION.cff is not valid: ",
        "there is a .zenodo.json",
        "the build changed CITATION.cff",
    ]
    assert [fault.startswith(begin) for fault, begin in zip(found, begins, strict=True)] == [True] * len(begins), found


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("notebooks/01-one.html", "<p>", ["notebooks/01-one.html does not lead to one.html"]),
        ("notebooks/two.html", "<p>", ["one.html#fig-two does not lead to two.html"]),
        ("files/01-one/fig-lost.svg", "", ["01-one.html#fig-lost leads nowhere"]),
        ("files/one/fig-two.svg", None, ["files/one/fig-two.svg is gone"]),
    ],
)
def test_an_old_address_that_leads_nowhere_is_found(
    release: ModuleType, rehearsed: Path, file: str, text: str | None, said: list[str]
) -> None:
    path = rehearsed / "site" / TAG / file
    path.unlink() if text is None else path.write_text(text)
    assert faults(release, rehearsed) == said


@pytest.mark.weekly
def test_head_is_rehearsed_from_its_clone_to_its_site(release: ModuleType, tmp_path: Path) -> None:
    """In a clone, since the checkout may have edits, and without tags: a version that is out is rehearsed too."""
    root = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", "--no-tags", ROOT, root], check=True)
    (root / ".venv").symlink_to(ROOT / ".venv")
    (root / ".git" / "info" / "exclude").write_text(".venv\n")
    environment = {name: value for name, value in Project.environment().items() if not name.startswith("MAKE")}
    command = [sys.executable, "workflow/release.py", "--profile", "quick", "--cores", str(os.cpu_count())]
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
    missing = release.unfilled(root)
    assert done.stderr == ""
    assert [line for line in done.stdout.splitlines() if line.startswith("- ")] == [f"- {each}" for each in missing]
    assert done.returncode == bool(missing), done.stdout
