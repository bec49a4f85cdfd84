"""The committed tables: a changed one stops the build before anything runs, and the maker of each is known."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "workflow"))
import references  # noqa: E402

from .conftest import Project  # noqa: E402


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two tables and their manifest."""
    folder = tmp_path / "reference"
    folder.mkdir()
    tables = {}
    for name in ("one", "two"):
        (folder / f"{name}.csv").write_text("seed,value\n1,2.5\n")
        tables[name] = {"sha256": references.digest(folder / f"{name}.csv"), "chapter": "joint-anisotropy"}
        tables[name] |= {"code": "0" * 16, "rules": "0" * 16, "date": "2026-01-31"}
    (folder / "manifest.json").write_text(json.dumps({"schema": 1, "tables": tables}))
    return folder


def test_what_is_as_committed_is_fine(folder: Path) -> None:
    assert references.problems(folder) == []


def test_a_digit_more_is_named(folder: Path) -> None:
    (folder / "two.csv").write_text("seed,value\n1,2.51\n")
    (said,) = references.problems(folder)
    assert "two.csv is not the table that was committed" in said


def test_a_table_that_is_gone_and_one_that_came_are_named(folder: Path) -> None:
    (folder / "one.csv").rename(folder / "three.csv")
    gone, came = references.problems(folder)
    assert "one.csv is missing" in gone
    assert "three.csv is in no manifest" in came


def test_a_table_of_other_code_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(references, "current", lambda chapter: ("0" * 16, "1" * 16))
    assert references.made_by_other_code(folder) == dict.fromkeys(("one", "two"), "other rules of 2026-01-31")
    monkeypatch.setattr(references, "current", lambda chapter: ("0" * 16, "0" * 16))
    assert references.made_by_other_code(folder) == {}


def artefacts(root: Path, profile: str) -> Path:
    """What a chapter leaves, in a profile."""
    place = root / "artifacts" / "joint-anisotropy"
    (place / "reference").mkdir(parents=True)
    (place / "reference" / "two.csv").write_text("seed,value\n1,2.75\n")
    made = {"parameters": {"profile": profile}, "commit": "c0ffee", "created": "2026-02-01T10:00:00", "machine": {}}
    (place / "manifest.json").write_text(json.dumps(made | {"versions": {}}))
    return root / "artifacts"


def test_adopting_takes_the_table_and_says_who_made_it(folder: Path, tmp_path: Path) -> None:
    assert references.adopt(["joint-anisotropy"], folder, artefacts(tmp_path, "paper")) == ["two"]
    entry = references.manifest(folder)["two"]
    assert (entry["commit"], entry["date"]) == ("c0ffee", "2026-02-01")
    assert (entry["code"], entry["rules"]) == references.current("joint-anisotropy")
    assert references.problems(folder) == []


def test_a_shorter_run_is_not_adopted(folder: Path, tmp_path: Path) -> None:
    before = (folder / "two.csv").read_text()
    with pytest.raises(ValueError, match="in the profile 'ci', expected 'paper'"):
        references.adopt(["joint-anisotropy"], folder, artefacts(tmp_path, "ci"))
    assert (folder / "two.csv").read_text() == before


def stopped(root: Path, profile: str) -> Path:
    """What a chapter leaves that ran to its end and stopped at the comparison."""
    aside = root / "run" / "joint-anisotropy" / "aside"
    aside.mkdir(parents=True)
    (artefacts(root, profile) / "joint-anisotropy").rename(aside / "artifacts")
    return root / "run"


def test_tables_of_a_build_that_stopped_at_the_comparison_are_taken(folder: Path, tmp_path: Path) -> None:
    assert references.take(["joint-anisotropy"], folder, stopped(tmp_path, "paper")) == ["two"]
    assert (folder / "two.csv").read_text() == "seed,value\n1,2.75\n"
    assert references.manifest(folder)["two"]["commit"] == "c0ffee"
    assert references.problems(folder) == []


@pytest.mark.parametrize("profile", ["ci", None])
def test_nothing_is_taken_of_a_shorter_build_or_of_none(folder: Path, tmp_path: Path, profile: str | None) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    builds = tmp_path / "run" if profile is None else stopped(tmp_path, profile)
    with pytest.raises(ValueError, match="expected one: run" if profile is None else "in the profile 'ci'"):
        references.take(["joint-anisotropy"], folder, builds)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_code_that_moves_no_digit_is_noted(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(references, "current", lambda chapter: ("1" * 16, "0" * 16))
    artifacts = artefacts(tmp_path, "ci")
    (folder / "two.csv").write_text("seed,value\n0,2.5\n1,2.75\n")
    (folder / "one.csv").rename(folder / "one-cost.csv")
    seconds = artifacts / "joint-anisotropy" / "reference" / "one-cost.csv"
    seconds.write_text("seed,value\n1,9.5\n")  # never the same
    known = references.manifest(folder)
    tables = {"one-cost": known["one"], "searched": known["two"], "two": known["two"]}
    (folder / "manifest.json").write_text(json.dumps({"tables": tables}))
    assert references.made_by_other_code(folder) == dict.fromkeys(tables, "other code of 2026-01-31")
    said = ["left searched", "confirmed two: 1 rows"]
    assert references.confirm(["joint-anisotropy"], folder, artifacts) == said
    assert references.made_by_other_code(folder) == {"searched": "other code of 2026-01-31"}
    assert references.manifest(folder)["two"]["code"] == "0" * 16  # who made it stays


def test_a_digit_that_moves_is_not_confirmed(folder: Path, tmp_path: Path) -> None:
    artifacts, before = artefacts(tmp_path, "ci"), references.manifest(folder)
    with pytest.raises(ValueError, match=r"\(two: 0 of 1 are equal\)"):
        references.confirm(["joint-anisotropy"], folder, artifacts)
    assert references.manifest(folder) == before


def test_a_table_that_no_chapter_wrote_has_its_maker(folder: Path) -> None:
    (folder / "more").mkdir()
    (folder / "more" / "three.csv").write_text("seed,value\n1,2.5\n")
    (folder / "more" / "sum.json").write_text("{}\n")
    assert [said.split(" is in no")[0] for said in references.problems(folder)] == [
        str(folder / "more" / name) for name in ("sum.json", "three.csv")
    ]
    by = "gatelr.experiments.remedy_trials"
    references.adopt_table("more/three", by, f"python -m {by}", folder=folder)
    references.adopt_table("more/sum.json", "example.org/released", "python theirs.py", "c0ffee", folder=folder)
    assert references.problems(folder) == []
    entry = references.manifest(folder)["more/three"]
    assert (entry["by"], entry["code"], entry["rules"]) == (by, *references.maker(by))
    assert entry["command"] == f"python -m {by}"
    assert set(entry["versions"]) >= {"torch", "numpy"}
    assert references.manifest(folder)["more/sum.json"]["code"] == "c0ffee"
    other = references.made_by_other_code(folder)
    assert not {"more/three", "more/sum.json"} & other.keys(), "both were taken in just now"


def test_a_maker_is_here_or_has_a_commit(folder: Path) -> None:
    for by, code in (("gatelr.experiments.remedy_trials", "c0ffee"), ("example.org/released", None)):
        with pytest.raises(ValueError, match="expected a module or a script that is here"):
            references.adopt_table("one", by, "make it", code, folder=folder)
    with pytest.raises(ValueError, match="got no table 'four', expected one of one, two"):
        references.adopt_table("four", "gatelr.experiments.remedy_trials", "make it", folder=folder)


def test_the_build_stops_at_a_changed_table_before_anything_runs(project: Project) -> None:
    folder = project.root / "reference"
    folder.mkdir()
    (folder / "one.csv").write_text("seed,value\n1,2.5\n")
    entry = {"sha256": references.digest(folder / "one.csv"), "by": "elsewhere", "code": "c0ffee", "rules": ""}
    entry |= {"commit": None, "date": "2026-01-31"}
    (folder / "manifest.json").write_text(json.dumps({"schema": 1, "tables": {"one": entry}}))
    (folder / "one.csv").write_text("seed,value\n1,2.6\n")
    stopped = project.build()
    assert stopped.returncode == 2
    assert "one.csv is not the table that was committed: its sum is not the one in manifest.json" in stopped.stderr
    assert not list(project.root.glob("artifacts/*/run.json"))
