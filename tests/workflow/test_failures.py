"""A chapter that fails stops no other, is named with its reason, and leaves nothing that could pass for a result."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import nbformat
import pytest

from .conftest import Project, ran

pytestmark = pytest.mark.xdist_group("workflow")


def test_a_failing_cell(built: Project) -> None:
    source = built.source("two")
    before = source.read_text()
    source.write_text(
        before.replace("# %%\nimport json", '# %%\nprint("so far")\nraise ValueError("two is odd")\nimport json')
    )
    first = built.source("one")
    untouched = first.read_text()
    first.write_text(untouched + "# one more line\n")
    try:
        done = built.build()
    finally:
        source.write_text(before)
        first.write_text(untouched)

    assert done.returncode != 0
    assert ran(done) == {"one"}  # the others still run
    assert "two  FAILED" in done.stdout
    assert "two, cell 4 (The end of 2)" in done.stderr
    assert "ValueError: two is odd" in done.stderr
    assert "_build/run/two/two.ipynb" in done.stderr
    assert "The book:" not in done.stdout

    partly = nbformat.read(built.root / "_build/run/two/two.ipynb", as_version=4)
    outputs = [o for c in partly.cells for o in c.get("outputs", [])]
    assert any(o.output_type == "error" and o.ename == "ValueError" for o in outputs)
    assert any(o.get("text") == "so far\n" for o in outputs)
    failure = json.loads((built.root / "_build/run/two/failure.json").read_text())
    assert failure["cell"] == 4
    assert failure["error"] == "ValueError: two is odd"

    # The results of the run before are gone, so nothing can take them for this one's.
    assert not built.notebook("two").exists()
    assert not (built.root / "artifacts" / "two").exists()

    repaired = built.build()
    assert repaired.returncode == 0, repaired.stderr
    assert ran(repaired) == {"one", "two"}
    assert "book  done" in repaired.stdout
    assert built.would_run() == set()


RUNS = "artifacts/gate-corrections/results.json"


def test_a_run_that_fails_is_named_and_its_chapter_waits(project: Project) -> None:
    (project.root / "fail").touch()
    done = project.build(RUNS)
    assert done.returncode != 0
    assert ran(done) == set()
    assert "gate_corrections adding-multi-SGD-seeds-1-3-" in done.stderr
    assert "ValueError: the gate is stuck" in done.stderr
    assert "Traceback" not in done.stderr
    (project.root / "fail").unlink()
    assert ran(project.build(RUNS)) == {"gate-corrections"}


def test_a_run_that_is_killed_goes_on(project: Project) -> None:
    (project.root / "die").touch()
    killed = project.build(RUNS, "--cores", "1")
    assert killed.returncode == 1
    assert killed.stderr.count("\n    it ended without a word: it died with SIGKILL\n") == 1
    assert "\n  gate_corrections adding-" in killed.stderr
    done = project.build(RUNS)
    assert ran(done) == {"gate-corrections"}
    assert done.stdout.count("goes on from its file") == 1
    files = sorted((project.root / "artifacts/runs/gate_corrections").iterdir())
    assert [file.suffix for file in files] == [".json", ".json"]
    went_on = [set(json.loads(file.read_text())["tables"]["values"]["went on"]) for file in files]
    assert sorted(map(list, went_on)) == [[False], [True]]


def test_a_red_check_stops_the_pages(project: Project) -> None:
    for chapter in ("one", "two"):
        folder = project.root / "artifacts" / chapter
        folder.mkdir(parents=True)
        passed = chapter == "one"
        check = {"id": "small", "claim": "C2", "statement": "it is small", "kind": "numeric"}
        check |= {"scope": "one number", "value": 1e-3}
        checks = [check | {"tolerance": 1e-2 if passed else 1e-12, "passed": passed}]
        for name, content in {
            "results": {"title": chapter, "checks": checks, "claims": [], "passed": passed},
            "manifest": {"versions": {}, "parameters": {}, "commit": None, "dirty": None, "device": "cpu"},
            "run": {"seconds": 1.0, "profile": "ci", "parameters": {}},
        }.items():
            (folder / f"{name}.json").write_text(json.dumps(content))
    done = project.python("workflow/pages.py", "one", "two")
    assert done.returncode == 1
    assert "two: check 'small' of C2 does not hold: got 0.001, tolerance 1e-12" in done.stderr
    assert not (project.root / "book/generated").exists()
    assert project.python("workflow/pages.py", "one").returncode == 0


def test_a_killed_build_blocks_nothing(project: Project) -> None:
    source = project.source("two")
    before = source.read_text()
    source.write_text(before.replace("# %%\nimport json", "# %%\nimport time; time.sleep(600)\nimport json"))
    command = [sys.executable, "workflow/build.py", "--cores", "1", "artifacts/two/results.json"]
    process = subprocess.Popen(
        command, cwd=project.root, env=project.environment(), stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    try:
        while "cell 3/" not in process.stdout.readline():
            assert process.poll() is None
        meanwhile = project.build()
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
    assert meanwhile.returncode == 2
    assert "another `make book` is at work in this folder" in meanwhile.stderr

    source.write_text(before)
    done = project.build("artifacts/two/results.json")
    assert done.returncode == 0, done.stderr
    assert ran(done) == {"two"}


def test_a_warning_in_a_chapter_or_in_the_library_is_an_error(project: Project) -> None:
    module = project.module("base")
    module.write_text("import warnings\n\nA = 1\nwarnings.warn('mind the step')\n")
    done = project.python("workflow/chapter.py", "notebooks/three.py", "--parameters", '{"seeds": 1}')
    assert done.returncode == 1
    failure = json.loads((project.root / "_build/run/three/failure.json").read_text())
    assert failure["error"] == "UserWarning: mind the step"

    source = project.source("two")
    source.write_text(source.read_text().replace("used = ", "import warnings\nwarnings.warn('and the gap')\nused = "))
    done = project.python("workflow/chapter.py", "notebooks/two.py", "--parameters", '{"seeds": 1}')
    assert done.returncode == 1
    failure = json.loads((project.root / "_build/run/two/failure.json").read_text())
    assert failure["error"] == "UserWarning: and the gap"
