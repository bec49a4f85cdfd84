"""What the package's own README shows works as it is written there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from gatelr import command
from torch import nn

README = (Path(__file__).resolve().parents[2] / "lib" / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.DOTALL | re.MULTILINE)


def test_its_five_lines_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (code,) = blocks("python")
    assert len([line for line in code.splitlines() if line.strip()]) == 5
    exec(code, {})
    assert (tmp_path / "report.html").is_file()


def test_its_command_lines_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    model = nn.ModuleDict({"rnn": nn.GRU(3, 8), "head": nn.Linear(8, 1)})
    torch.save(model.state_dict(), "model.pt")
    np.save("data.npy", np.random.default_rng(0).normal(size=(50, 4, 3)))
    np.save("y.npy", np.ones(4))
    lines = [line.removeprefix("$ gatelr ") for line in "".join(blocks("console")).splitlines() if "$ gatelr " in line]
    assert len(lines) == 2
    for line in lines:
        assert command.main(shlex.split(line)) == 0
    assert {"report.html", "report.json"} <= {path.name for path in tmp_path.iterdir()}


def test_the_options_that_it_names_exist(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main(["diagnose", "--help"])
    options = set(re.findall(r"--[a-z-]+", capsys.readouterr().out))
    assert set(re.findall(r"(?<=[ `])--[a-z-]+", README)) <= options
