"""Healthy networks have learned, faults are planted as said, and the trials of a diagnosis go on where they stopped."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import torch
from gatelr.experiments import diagnosis_trials, healthy_networks, planted_faults
from gatelr.experiments.diagnosis_trials import STRENGTHS, Table
from torch import Tensor, nn


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """One task, two kinds, one size; two faults; and a fingerprint that costs nothing."""
    tasks = {name: healthy_networks.TASKS[name] for name in ("sum of the last four",)}
    faults = {name: planted_faults.FAULTS[name] for name in ("dead units", "doubled bias")}
    monkeypatch.setattr(healthy_networks, "TASKS", tasks)
    monkeypatch.setattr(healthy_networks, "KINDS", {"GRU": nn.GRU, "LSTM": nn.LSTM})
    monkeypatch.setattr(healthy_networks, "SIZES", (8,))
    monkeypatch.setattr(planted_faults, "FAULTS", faults)
    monkeypatch.setattr(diagnosis_trials.runs, "code", lambda experiment: "code of " + experiment)


@pytest.mark.parametrize("name", healthy_networks.TASKS)
def test_a_task_has_the_sizes_that_it_says(name: str) -> None:
    task = healthy_networks.TASKS[name]
    u, target = task.draw(12, torch.Generator().manual_seed(3))
    assert u.shape[:2] == (task.steps, 12)
    assert task.symbols or u.shape[2] == task.n_inputs
    model = healthy_networks.seeded(3, lambda: healthy_networks.Learner(task, "GRU", 4))
    said = model(u)
    assert said.shape[-1] == task.n_outputs
    assert float(task.loss(said, target).detach()) > 0
    constant = healthy_networks.constant_loss(task, target)
    if target.is_floating_point():
        assert constant == pytest.approx(float(target.var(correction=0)), rel=1e-5)
    again, same = task.draw(12, torch.Generator().manual_seed(3))
    assert torch.equal(u, again)
    assert torch.equal(target, same)


def test_a_trained_network_is_better_by_what_it_says() -> None:
    model, _, better = healthy_networks.train("sum of the last four", "GRU", 8, 5)
    task = healthy_networks.TASKS["sum of the last four"]
    u, target = task.draw(2000, torch.Generator().manual_seed(77))
    with torch.no_grad():
        loss = float(task.loss(model(u), target))
    assert better > healthy_networks.FACTOR
    assert float(target.var()) / loss == pytest.approx(better, rel=0.3)


def test_weights_are_drawn_from_the_seed_alone() -> None:
    before = torch.get_rng_state()
    models = [healthy_networks.seeded(5, lambda: nn.GRU(2, 3)) for _ in range(2)]
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(models[0].weight_hh_l0, models[1].weight_hh_l0)


def test_planted_numbers_are_those_of_their_strengths() -> None:
    def layer(fault: str, strength: float) -> nn.RNNBase:
        module = planted_faults.FAULTS[fault].plant(17, strength).module
        assert isinstance(module, nn.RNNBase)
        return module

    doubled = layer("doubled bias", 1.0)
    n = doubled.hidden_size
    total: Tensor = doubled.get_parameter("bias_ih_l0") + doubled.get_parameter("bias_hh_l0")
    assert torch.equal(total.detach()[n : 2 * n], torch.full((n,), 2.0))
    dead = layer("dead units", 0.5)
    rows = dead.get_parameter("weight_ih_l0")[: dead.hidden_size]
    assert int((rows == 0).all(1).sum()) == dead.hidden_size // 2
    exploding = layer("explosion", 3.0).get_parameter("weight_hh_l0")
    assert float(exploding.detach().std()) * len(exploding) ** 0.5 == pytest.approx(3.0, rel=0.1)
    clipped = planted_faults.FAULTS["tight clip"].plant(17, 50.0)
    loss = clipped.options["loss"](clipped.module(clipped.u), clipped.options["target"])
    grads = torch.autograd.grad(loss, list(clipped.module.parameters()))
    norm = float(torch.stack([g.square().sum() for g in grads]).sum().sqrt())
    assert norm / clipped.options["clip"] == pytest.approx(50.0)
    nothing = planted_faults.FAULTS["nothing learned"].plant(17, 0.9)
    left = float(nothing.options["loss"](nothing.module(nothing.u), nothing.options["target"]).detach())
    assert left / float(nothing.options["target"].var(correction=0)) == pytest.approx(0.81, rel=1e-3)


@pytest.mark.slow
@pytest.mark.usefixtures("small")
def test_trials_go_on_where_they_were_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, part = tmp_path / "whole", tmp_path / "part"
    for folder in (whole, part):
        diagnosis_trials.planted(folder, first=40, seeds=1)
        diagnosis_trials.false_alarms(folder, first=40, seeds=1)
    for name in ("planted-faults.csv", "false-alarms.csv"):
        lines = (part / name).read_text().splitlines(keepends=True)
        (part / name).write_text("".join(lines[:2]))  # killed after its first row
    made: list[str] = []
    fault_row, healthy_row = diagnosis_trials.fault_row, diagnosis_trials.healthy_row
    monkeypatch.setattr(diagnosis_trials, "fault_row", lambda *key: made.append(key[0]) or fault_row(*key))
    monkeypatch.setattr(diagnosis_trials, "healthy_row", lambda *key: made.append(key[1]) or healthy_row(*key))
    diagnosis_trials.main(["--out", str(part), "--first", "40", "--healthy", "1", "--faults", "1"])
    assert made == ["dead units"] * 2 + ["doubled bias"] * 3 + ["LSTM"]
    for name in ("planted-faults.csv", "false-alarms.csv"):
        assert (part / name).read_text() == (whole / name).read_text()
    told = json.loads((part / "summary.json").read_text())
    assert told["networks"] == 2
    assert told["false alarms"] == 0
    assert told["found"] == {fault: dict.fromkeys(STRENGTHS, 1.0) for fault in planted_faults.FAULTS}
    with (part / "planted-faults.csv").open(newline="") as lines:
        assert {row["code"] for row in csv.DictReader(lines)} == {"code of diagnosis_trials"}


@pytest.mark.usefixtures("small")
def test_a_network_that_has_not_learned_is_replaced_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def row(task: str, kind: str, n: int, seed: int) -> dict[str, object]:
        healthy = seed != 40
        return {"task": task, "kind": kind, "n": n, "seed": seed, "better": 3.0, "healthy": int(healthy)} | {
            "findings": "gates-saturated" if healthy and kind == "LSTM" else ""
        }

    monkeypatch.setattr(diagnosis_trials, "healthy_row", row)
    alarms = diagnosis_trials.false_alarms(tmp_path, first=40, seeds=2)
    assert [line["seed"] for line in alarms.rows] == ["40", "42", "40", "42", "41", "41"]
    told = diagnosis_trials.summary(alarms, Table(tmp_path / "none.csv", ("fault",), ""))
    assert (told["networks"], told["not healthy"], told["false alarms"], told["share"]) == (4, 2, 2, 0.5)
