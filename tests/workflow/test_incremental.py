"""What has changed runs again, and nothing else does."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nbformat
import pytest

from .conftest import IMPORTS, Project, ran

pytestmark = pytest.mark.xdist_group("workflow")

ALL = set(IMPORTS)


@contextmanager
def edited(path: Path, old_date: bool = False) -> Iterator[None]:
    """The file with one more line, put back afterwards. Putting it back gives it a new date."""
    before = path.read_bytes()
    path.write_bytes(before + b"\n# one more line\n")
    if old_date:
        os.utime(path, (0, 0))
    try:
        yield
    finally:
        path.write_bytes(before)


def test_the_first_build_makes_everything(built: Project) -> None:
    for chapter in ALL:
        record = json.loads(built.artefact(chapter, "run").read_text())
        assert record["chapter"] == chapter
        assert record["parameters"] == {"profile": "ci", "device": "auto", "seeds": 3}
        assert [cell["title"] for cell in record["cells"]][-1] == f"The end of {int(chapter[:2])}"
        assert record["seconds"] >= sum(cell["seconds"] for cell in record["cells"])
        assert not (built.root / "_build" / "run" / chapter).exists()
    assert (built.root / "_build" / "html" / "index.html").exists()
    ledger = (built.root / "book" / "generated" / "ledger.md").read_text()
    assert "3 of 3 checks hold, in 3 chapters" in ledger
    assert ledger.count("1e-16 ≤ 1e-12") == 3
    assert ledger.index("## C1") < ledger.index("## C2") < ledger.index("## C3")
    execution = (built.root / "book" / "generated" / "execution.md").read_text()
    assert all(f"- {{doc}}`/notebooks/{chapter}`: `seeds = 3`\n" in execution for chapter in ALL)


def test_an_executed_notebook_shows_what_it_ran_with_and_not_where(built: Project) -> None:
    notebook = nbformat.read(built.notebook("01-one"), as_version=4)
    (injected,) = (c for c in notebook.cells if "injected-parameters" in c.metadata.get("tags", []))
    assert "seeds = 3" in injected.source
    assert 'out = "../artifacts/01-one"' in injected.source
    assert "hide-input" in injected.metadata.tags
    assert "papermill" not in notebook.metadata
    assert str(built.root) not in json.dumps(notebook.metadata) + injected.source
    assert json.loads(built.artefact("01-one", "manifest").read_text())["parameters"]["out"] == "../artifacts/01-one"
    # The library that ran is the one whose files are watched, not another that is installed.
    (printed,) = (o.text for c in notebook.cells for o in c.get("outputs", []) if o.output_type == "stream")
    assert Path(printed.strip()) == built.module("middle")


def test_nothing_changed_and_nothing_runs(built: Project) -> None:
    for path in [*built.root.glob("notebooks/*.py"), *built.root.glob("lib/**/*.py"), built.root / "requirements.lock"]:
        os.utime(path)  # a new date on the same contents
    begin = time.perf_counter()
    done = built.build()
    assert done.returncode == 0, done.stderr
    assert ran(done) == set()
    assert "typesetting" not in done.stdout
    assert "Chapters run: 0. Unchanged: 3." in done.stdout
    assert f"The book: {built.root / '_build/html/index.html'}" in done.stdout
    assert time.perf_counter() - begin < 15


@pytest.mark.parametrize(
    ("path", "chapters"),
    [
        ("notebooks/02-two.py", {"02-two"}),
        ("lib/gatelr/middle.py", {"01-one"}),
        ("lib/gatelr/base.py", {"01-one", "03-three"}),  # through another module, and by `from gatelr.base import A`
        ("lib/gatelr/side.py", {"02-two"}),  # by `import gatelr.side`
        ("lib/gatelr/lonely.py", set()),
        ("lib/gatelr/__init__.py", ALL),
        ("requirements.lock", ALL),
        ("workflow/chapter.py", ALL),
        ("book/index.md", set()),
        ("data/measured.csv", {"03-three"}),
    ],
)
def test_an_edit_runs_the_chapters_that_it_reaches(built: Project, path: str, chapters: set[str]) -> None:
    with edited(built.root / path):
        assert built.would_run() == chapters


def test_data_that_comes_or_goes_runs_the_chapter_that_reads_it(built: Project) -> None:
    more = built.root / "data" / "more.csv"
    more.write_text("x,y\n3,4\n")
    try:
        assert built.would_run() == {"03-three"}
        more.rename(more.with_suffix(".txt"))  # which it does not read
        assert built.would_run() == set()
    finally:
        more.unlink(missing_ok=True)
        more.with_suffix(".txt").unlink(missing_ok=True)
    only = built.root / "data" / "measured.csv"
    before = only.read_text()
    only.unlink()
    try:
        assert built.would_run() == {"03-three"}
    finally:
        only.write_text(before)
    assert built.would_run() == set()


def test_an_edit_counts_even_when_the_file_looks_old(built: Project) -> None:
    with edited(built.module("side"), old_date=True):
        assert built.would_run() == {"02-two"}


def test_a_parameter_runs_the_chapters_that_get_it(built: Project) -> None:
    profiles = built.root / "profiles.yaml"
    before = profiles.read_text()
    profiles.write_text(before.replace("{seeds: 3}, chapters: {}", "{seeds: 3}, chapters: {03-three: {seeds: 4}}"))
    try:
        assert built.would_run() == {"03-three"}
    finally:
        profiles.write_text(before)
    assert built.would_run("profile=quick", "device=auto") == ALL
    assert built.would_run("profile=ci", "device=cpu") == ALL
