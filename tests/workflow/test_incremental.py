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


COMMENT, CODE = "# one more line", "ONE_MORE = 1"


@contextmanager
def edited(path: Path, line: str = COMMENT, old_date: bool = False) -> Iterator[None]:
    """The file with one more line, put back afterwards. Putting it back gives it a new date."""
    before = path.read_bytes()
    path.write_bytes(before + f"\n{line}\n".encode())
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
        assert record["parameters"] == {"profile": "ci", "device": "cpu", "seeds": 3, "block": 2}
        assert [cell["title"] for cell in record["cells"]][-1] == f"The end of {[*IMPORTS].index(chapter) + 1}"
        assert record["seconds"] >= sum(cell["seconds"] for cell in record["cells"])
        assert not (built.root / "_build" / "run" / chapter).exists()
    assert (built.root / "_build" / "html" / "index.html").exists()
    ledger = (built.root / "book" / "generated" / "ledger.md").read_text()
    assert "4 of 4 checks hold, in 4 chapters" in ledger
    assert ledger.count("1e-16 ≤ 1e-12") == 4
    assert ledger.index("### C1") < ledger.index("### C2") < ledger.index("### C3")
    execution = (built.root / "book" / "generated" / "execution.md").read_text()
    assert all(f"- {{doc}}`/notebooks/{chapter}`: `seeds = 3`\n" in execution for chapter in ALL)


def test_an_executed_notebook_shows_what_it_ran_with_and_not_where(built: Project) -> None:
    notebook = nbformat.read(built.notebook("one"), as_version=4)
    (injected,) = (c for c in notebook.cells if "injected-parameters" in c.metadata.get("tags", []))
    assert "seeds = 3" in injected.source
    assert 'out = "../artifacts/one"' in injected.source
    assert "hide-input" in injected.metadata.tags
    assert "papermill" not in notebook.metadata
    assert str(built.root) not in json.dumps(notebook.metadata) + injected.source
    assert json.loads(built.artefact("one", "manifest").read_text())["parameters"]["out"] == "../artifacts/one"
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
    assert "Chapters run: 0. Unchanged: 4." in done.stdout
    assert f"The book: {built.root / '_build/html/index.html'}" in done.stdout
    assert time.perf_counter() - begin < 15


@pytest.mark.parametrize(
    ("path", "line", "runs"),
    [
        ("notebooks/two.py", COMMENT, {"two"}),
        ("lib/gatelr/middle.py", CODE, {"one"}),
        ("lib/gatelr/base.py", CODE, {"one", "three"}),  # through another module, and by `from gatelr.base import A`
        ("lib/gatelr/side.py", CODE, {"two"}),  # by `import gatelr.side`
        ("lib/gatelr/lonely.py", CODE, set()),
        ("lib/gatelr/__init__.py", CODE, ALL | {"runs"}),
        ("lib/gatelr/experiments/gate_corrections.py", CODE, {"gate-corrections", "runs"}),
        ("lib/gatelr/experiments/other.py", CODE, set()),
        ("requirements.lock", "one-more==1", ALL | {"runs"}),
        ("workflow/chapter.py", COMMENT, ALL),
        ("book/index.md", COMMENT, set()),
        ("data/measured.csv", COMMENT, {"three"}),
        # of the library only the code counts
        ("lib/gatelr/base.py", COMMENT, set()),
        ("lib/gatelr/experiments/gate_corrections.py", COMMENT, set()),
    ],
)
def test_an_edit_runs_what_it_reaches(built: Project, path: str, line: str, runs: set[str]) -> None:
    with edited(built.root / path, line):
        assert built.would_run() == runs


def test_a_docstring_runs_nothing(built: Project) -> None:
    module = built.module("base")
    before = module.read_text()
    module.write_text(f'"""Says more."""\n\n{before}')
    try:
        assert built.would_run() == set()
    finally:
        module.write_text(before)


def test_runs_are_blocks_of_seeds_and_a_chapter_reads_them_all(built: Project) -> None:
    files = sorted(path.stem.rpartition("-")[0] for path in (built.root / "artifacts/runs/gate_corrections").iterdir())
    assert files == ["adding-multi-SGD-seeds-1-3", "adding-scalar-SGD-seeds-1-3"]  # a block of one joins its neighbour
    notebook = nbformat.read(built.notebook("gate-corrections"), as_version=4)
    (printed,) = (o.text for c in notebook.cells for o in c.get("outputs", []) if o.output_type == "stream")
    values, library = printed.splitlines()
    assert values.split() == ["2.0", "4.0", "6.0"] * 2
    assert Path(library) == built.module("experiments/gate_corrections")


def test_data_that_comes_or_goes_runs_the_chapter_that_reads_it(built: Project) -> None:
    more = built.root / "data" / "more.csv"
    more.write_text("x,y\n3,4\n")
    try:
        assert built.would_run() == {"three"}
        more.rename(more.with_suffix(".txt"))  # which it does not read
        assert built.would_run() == set()
    finally:
        more.unlink(missing_ok=True)
        more.with_suffix(".txt").unlink(missing_ok=True)
    only = built.root / "data" / "measured.csv"
    before = only.read_text()
    only.unlink()
    try:
        assert built.would_run() == {"three"}
    finally:
        only.write_text(before)
    assert built.would_run() == set()


def test_an_edit_counts_even_when_the_file_looks_old(built: Project) -> None:
    with edited(built.module("side"), CODE, old_date=True):
        assert built.would_run() == {"two"}


def test_a_parameter_runs_the_chapters_that_get_it(built: Project) -> None:
    profiles = built.root / "profiles.yaml"
    before = profiles.read_text()
    profiles.write_text(before.replace("{seeds: 3}, chapters: {}", "{seeds: 3}, chapters: {three: {seeds: 4}}"))
    try:
        assert built.would_run() == {"three"}
    finally:
        profiles.write_text(before)
    assert built.would_run("profile=quick", "device=cpu") == ALL | {"runs"}
    assert built.would_run("profile=ci", "device=auto") == ALL | {"runs"}


def test_a_figure_is_made_again_and_compared(built: Project) -> None:
    done = built.build("--figure", "sum-2")
    assert done.returncode == 0, done.stderr
    assert ran(done) == {"two"}
    assert done.stdout.splitlines()[-1] == "Figure sum-2 of two: 2 numbers, all equal to those before."


@pytest.mark.parametrize("name", ["sum-22", ""])
def test_a_figure_that_there_is_not(built: Project, name: str) -> None:
    done = built.build("--figure", name)
    assert done.returncode == 2
    assert done.stderr.startswith(f"there is no figure '{name}': ID is what follows #fig- in its address")
    assert ("near it are sum-2, " in done.stderr) is bool(name)
