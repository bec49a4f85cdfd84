"""The lock file is written anew from what pip resolves; without a solution it stays."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "workflow"))
import relock  # noqa: E402


@pytest.fixture
def lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "requirements.lock"
    path.write_text("numpy==2.4.6\nPyYAML==6.0.3\ntorch==2.13.0\n")
    monkeypatch.setattr(relock, "LOCK", path)
    monkeypatch.setattr(sys, "argv", ["relock.py"])
    return path


def test_the_committed_lock_has_the_form_in_which_it_is_written() -> None:
    text = (ROOT / "requirements.lock").read_text()
    assert relock.written(relock.read(text)) == text


def test_what_changed_is_written_and_said(
    lock: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        relock, "resolved", lambda torch: {"torch": torch, "scipy": "1.16", "numpy": "2.5", "yaml": "1"}
    )
    assert relock.main() == 0
    assert lock.read_text() == "numpy==2.5\nscipy==1.16\ntorch==2.13.0\nyaml==1\n"
    said = "PyYAML: 6.0.3 -> gone\nnumpy: 2.4.6 -> 2.5\nscipy: new -> 1.16\nyaml: new -> 1\n"
    assert capsys.readouterr().out == said


def test_without_a_solution_the_lock_stays(
    lock: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = lock.read_text()

    def none(torch: str) -> dict[str, str]:
        raise subprocess.CalledProcessError(1, ["pip"])

    monkeypatch.setattr(relock, "resolved", none)
    assert relock.main() == 1
    assert "requirements.lock stays as it is" in capsys.readouterr().err
    assert lock.read_text() == before
