"""What the README shows runs as it stands, and what it names is there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()


@pytest.mark.slow
def test_its_code_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code = "".join(re.findall(r"^```python\n(.*?)^```", README, flags=re.DOTALL | re.MULTILINE))
    names: dict[str, Any] = {}
    exec(code, names)
    assert names["run"].losses.shape == (50, 20)
    assert (tmp_path / "adding.pt").is_file()
    assert names["leak"].shape == names["recurrent"].shape == names["gate"].shape == (50, 8, 16, 16)


def test_its_targets_and_profiles_exist() -> None:
    makefile, profiles = (ROOT / "Makefile").read_text(), (ROOT / "profiles.yaml").read_text()
    targets, chosen = re.findall(r"\bmake ([a-z]+)\b", README), re.findall(r"PROFILE=([a-z]+)", README)
    assert {"book", "test"} <= set(targets)
    assert {"quick", "ci", "paper"} == set(chosen)
    for target in targets:
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target
    for profile in chosen:
        assert re.search(rf"^{profile}:", profiles, flags=re.MULTILINE), profile


def test_its_files_exist() -> None:
    files = re.findall(r"\]\((?!https?:)([^)#]+)\)", README)
    assert files
    for file in files:
        assert (ROOT / file).is_file(), file
