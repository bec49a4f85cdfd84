"""The ten largest costs of a build, from what the workflow wrote down."""

import json
import os
from pathlib import Path

import pytest

from benchmarks import costs


def chapter(folder: Path, name: str, seconds: float, profile: str = "ci") -> None:
    (folder / name).mkdir(parents=True)
    said = {"chapter": name, "profile": profile, "seconds": seconds, "started": "2026-01-02T00:00:00+00:00"}
    (folder / name / "run.json").write_text(json.dumps(said))


def run(folder: Path, experiment: str, name: str, seconds: float, code: str = "now", made: float = 2.0) -> None:
    (folder / "runs" / experiment).mkdir(parents=True, exist_ok=True)
    path = folder / "runs" / experiment / f"{name}.json"
    path.write_text(json.dumps({"code": code, "tables": {"cost": {"seconds": [seconds]}}}))
    os.utime(path, (made, made))


def test_the_ten_largest_are_chapters_and_the_runs_of_an_experiment_together(tmp_path: Path) -> None:
    for number in range(11):
        chapter(tmp_path, f"chapter-{number}", 1.0 + number)
    run(tmp_path, "gate_corrections_training", "one", 7.25)
    run(tmp_path, "gate_corrections_training", "two", 4.5)
    run(tmp_path, "gate_corrections_training", "of earlier code", 100.0, code="before", made=1.0)
    found = costs.measure(tmp_path)
    assert (found["profile"], found["date"], found["all"]) == ("ci", "2026-01-02", 77.8)
    first, second, *rest = found["costs"]
    assert (first["what"], first["seconds"]) == ("runs of gate corrections training", 11.8)
    assert first["done"] == costs.DONE["runs of gate corrections training"]
    assert (second["what"], second["seconds"], second["done"]) == ("chapter chapter-10", 11, costs.OTHERWISE)
    assert len(rest) == 8


def test_what_was_not_built_as_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="run `make book` first"):
        costs.measure(tmp_path)
    chapter(tmp_path, "one", 1)
    chapter(tmp_path, "two", 1, "quick")
    with pytest.raises(ValueError, match="got chapters of the profiles ci, quick, expected one"):
        costs.measure(tmp_path)
