"""Pairs share their seed and differ by the remedy alone; scores mean what they say; trials go on where they ended."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from gatelr.experiments import remedy_trials
from gatelr.experiments.remedy_trials import CASES, Reader
from torch import Tensor, nn


@pytest.mark.parametrize("name", CASES)
def test_a_pair_has_the_same_weights_but_for_the_remedy(name: str) -> None:
    default, mended = (dict(CASES[name].make(3, arm).named_parameters()) for arm in (False, True))
    differ = {key.split("_")[0] for key in default if not torch.equal(default[key], mended[key])}
    assert differ <= ({"tau"} if name == "own time constants" else {"layer.bias"})


@pytest.mark.parametrize("name", CASES)
def test_the_finding_is_there_and_the_remedy_ends_it(name: str) -> None:
    before, after = (
        {finding.code for finding in remedy_trials.examine(name, 50, arm).findings} for arm in (False, True)
    )
    assert CASES[name].code in before
    # a bias of 1 holds a few steps: it does not reach the lag
    assert (CASES[name].code in after) == (name == "pixels, bias 1")


def test_a_window_ends_gradients_and_leaves_outputs() -> None:
    u = torch.randn(16, 4, 1, generator=torch.Generator().manual_seed(0), requires_grad=True)
    model = CASES["window, sum"].make(0, False)
    assert isinstance(model, Reader)
    cut = model(u)
    [gradient] = torch.autograd.grad(cut.sum(), u)
    assert not gradient[:8].any()
    assert gradient[8:].any()
    model.window = None
    torch.testing.assert_close(model(u), cut)


class Says(nn.Module):
    """Always the same output."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def forward(self, u: Tensor) -> Tensor:
        return u.new_full((u.shape[1], 1), self.value)


def test_scores_are_beside_the_best_constant() -> None:
    adding = CASES["adding"]
    assert remedy_trials.score(adding, Says(0.5), 0) == pytest.approx(0.0, abs=0.05)
    assert remedy_trials.score(adding, Says(float("nan")), 0) == 0.0

    class Last(nn.Module):
        def forward(self, u: Tensor) -> Tensor:
            return u[-1, :, :1]

    assert remedy_trials.score(CASES["own time constants"], Last(), 0) == pytest.approx(1.0)


def test_trials_go_on_where_they_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CASES, "own time constants", replace(CASES["own time constants"], steps=2))
    monkeypatch.setattr(remedy_trials.runs, "code", lambda experiment: "code of " + experiment)
    remedy_trials.pairs(tmp_path, ["own time constants"], 1)
    first = (tmp_path / "remedies.csv").read_text()
    table = remedy_trials.pairs(tmp_path, ["own time constants"], 2)
    assert (tmp_path / "remedies.csv").read_text().startswith(first)
    assert [row["seed"] for row in table.rows] == ["0", "1"]
    with (tmp_path / "remedies.csv").open(newline="") as lines:
        assert {row["code"] for row in csv.DictReader(lines)} == {"code of remedy_trials"}
