"""What moved between two builds: found, named, measured, and nothing else."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from .conftest import REPOSITORY

CHECK = {"id": "adds-up", "statement": "1 + 1 = 2", "scope": "one", "value": 1e-9, "tolerance": 1e-6, "passed": True}
CLAIM = {"id": "faster", "effect": 2.0, "interval": [1.0, 3.0], "p": 0.1, "seeds": 3, "verdict": "supported"}
RESULTS: dict[str, Any] = {"checks": [CHECK], "claims": [CLAIM], "numbers": {"loss": {"value": 0.25, "text": "0.25"}}}


@pytest.fixture
def compare(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """workflow/compare.py."""
    monkeypatch.syspath_prepend(str(REPOSITORY / "workflow"))
    return import_module("compare")


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    """Two equal builds of one chapter."""
    old = tmp_path / "old"
    folder = old / "artifacts" / "one"
    for name, text in {
        "results.json": json.dumps(RESULTS),
        "run.json": json.dumps({"seconds": 3.0}),
        "tables/losses.csv": "gate,loss\nnone,1.0\nmulti,0.5\n",
        "figures/loss.csv": "t,loss\n1,1.0\n2,0.5\n",
        "figures/loss.svg": "<svg/>",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return old, Path(shutil.copytree(old, tmp_path / "new"))


def change(build: Path, name: str, edit: Callable[[str], str]) -> None:
    path = build / "artifacts" / "one" / name
    path.write_text(edit(path.read_text()))


def result(build: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    results = json.loads((build / "artifacts/one/results.json").read_text())
    edit(results)
    (build / "artifacts/one/results.json").write_text(json.dumps(results))


def test_two_equal_builds(compare: ModuleType, two: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    old, new = two
    change(new, "run.json", lambda text: text.replace("3.0", "4.0"))  # what a clock says
    assert compare.main([str(old), "--new", str(new)]) == 0
    assert capsys.readouterr().out.startswith("Nothing moved in 1 chapters")


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda r: r["checks"][0].update(value=2e-9), "check adds-up, value: 1e-09 -> 2e-09  (0.5 of the larger)"),
        (lambda r: r["checks"][0].update(passed=False), "check adds-up, passed: True -> False"),
        (lambda r: r["claims"][0].update(verdict="refuted"), "claim faster, verdict: supported -> refuted"),
        (
            lambda r: r["claims"][0].update(interval=[1.0, 4.0]),
            "claim faster, interval: [1, 3] -> [1, 4]  (0.25 of the larger)",
        ),
        (lambda r: r["claims"].clear(), "claim faster: there -> missing"),
        (lambda r: r["numbers"]["loss"].update(value=0.2), "number loss, value: 0.25 -> 0.2  (0.2 of the larger)"),
        (lambda r: r["numbers"].update(gain={"value": 1}), "number gain: missing -> there"),
    ],
)
def test_a_record_that_moved(
    compare: ModuleType,
    two: tuple[Path, Path],
    capsys: pytest.CaptureFixture[str],
    edit: Callable[[dict[str, Any]], object],
    said: str,
) -> None:
    old, new = two
    result(new, edit)
    assert compare.main([str(old), "--new", str(new)]) == 1
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].startswith("1 things moved in 1 of 1 chapters")
    assert shown[1:] == ["", "one: 1", f"  {said}"]


@pytest.mark.parametrize(
    ("name", "old_text", "new_text", "said"),
    [
        ("tables/losses.csv", "0.5", "0.4", "table losses.csv, column loss, 1 of 2, the farthest: 0.5 -> 0.4  (0.2"),
        (
            "tables/losses.csv",
            "multi",
            "scalar",
            "table losses.csv, column gate, 1 of 2, the farthest: multi -> scalar",
        ),
        ("tables/losses.csv", "multi,0.5\n", "", "table losses.csv, rows: 2 -> 1  (0.5 of the larger)"),
        ("tables/losses.csv", "gate", "kind", "table losses.csv, columns: [gate, loss] -> [kind, loss]"),
        ("tables/losses.csv", "1.0", "1.00", "table losses.csv, as written: other bytes -> the same numbers"),
        ("figures/loss.csv", "0.5", "nan", "figure loss.csv, column loss, 1 of 2, the farthest: 0.5 -> nan"),
        ("figures/loss.svg", "<svg/>", "<svg />", "figure loss.svg, as drawn: 6 bytes -> 7 bytes"),
    ],
)
def test_a_file_that_moved(
    compare: ModuleType,
    two: tuple[Path, Path],
    capsys: pytest.CaptureFixture[str],
    name: str,
    old_text: str,
    new_text: str,
    said: str,
) -> None:
    old, new = two
    change(new, name, lambda text: text.replace(old_text, new_text))
    assert compare.main([str(old), "--new", str(new)]) == 1
    assert f"  {said}" in capsys.readouterr().out


def test_a_long_report_is_cut(compare: ModuleType, two: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    old, new = two
    for build, factor in ((old, 1.0), (new, 1.1)):
        numbers = {f"n-{i}": {"value": factor if i else 2 * factor**2, "text": "", "unit": ""} for i in range(40)}
        result(build, lambda r, numbers=numbers: r.update(numbers=numbers))
    assert compare.main([str(old), "--new", str(new)]) == 1
    shown = capsys.readouterr().out.splitlines()
    assert shown[3] == "  number n-0, value: 2 -> 2.42  (0.17 of the larger)"
    assert shown[-1] == "  and 15 more, none farther than 0.091 of the larger: workflow/compare.py --all shows them"
    compare.main([str(old), "--new", str(new), "--all"])
    assert len(capsys.readouterr().out.splitlines()) == 3 + 40


def test_what_is_missing_on_either_side(
    compare: ModuleType, two: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = two
    (new / "artifacts/one/tables/losses.csv").unlink()
    (old / "artifacts/one/figures/loss.svg").unlink()
    shutil.copytree(new / "artifacts/one", new / "artifacts/two")
    assert compare.main([str(old / "artifacts"), "--new", str(new)]) == 1
    shown = capsys.readouterr().out
    for line in (
        "  table losses.csv: there -> missing",
        "  figure loss.svg: missing -> there",
        "two: 1",
        "  the chapter: missing -> there",
    ):
        assert f"{line}\n" in shown, shown


def test_a_path_without_a_build(compare: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert compare.main([str(tmp_path / "nowhere")]) == 2
    assert compare.main([""]) == 2
    refused = capsys.readouterr().err.splitlines()
    assert refused[1].startswith("there is nothing to compare with: say WITH=path")
    assert refused[0].startswith(f"there is no build in {tmp_path / 'nowhere'}: WITH is the path of")
