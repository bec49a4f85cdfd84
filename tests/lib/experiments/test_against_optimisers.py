"""E4 trains what it says and measures what plain library calls give."""

from __future__ import annotations

import math

import pytest
import torch
from gatelr import tasks, training
from gatelr.experiments import against_optimisers, preconditioners, protocols
from networks import relative
from torch.optim import lr_scheduler

SEEDS = (3, 5)
SMALL = {"n": 4, "batch": 3, "steps": 4, "checkpoints": (0, 2, 4), "fresh": 5, "probed": 6}


def run(gate: str, method: str, **options) -> training.Run:  # type: ignore[no-untyped-def]
    task = tasks.get("adding", steps=6)
    return against_optimisers.against_optimisers(task, gate, SEEDS, optimiser=method, progress=False, **SMALL | options)


def test_each_method_is_torchs() -> None:
    task = tasks.get("adding", steps=6)
    model = protocols.network(task, "multi", SEEDS, 4)
    plain, none = against_optimisers.made(model, "SGD", 0.1, 10)
    assert type(plain) is torch.optim.SGD
    assert none is None
    assert {group["lr"] for group in plain.param_groups} == {0.1}
    assert against_optimisers.made(model, "momentum", 0.1, 10)[0].param_groups[0]["momentum"] == 0.9
    assert type(against_optimisers.made(model, "Adam", 0.1, 10)[0]) is torch.optim.Adam
    cooled, schedule = against_optimisers.made(model, "cosine", 0.1, 10)
    assert isinstance(schedule, lr_scheduler.CosineAnnealingLR)
    for _ in range(10):
        cooled.step()
        schedule.step()
    assert cooled.param_groups[0]["lr"] == pytest.approx(0.0, abs=1e-9)


def test_an_unknown_method_is_refused(as_installed: None) -> None:
    model = protocols.network(tasks.get("adding", steps=6), "multi", SEEDS, 4)
    with pytest.raises(ValueError, match="check the spelling"):
        against_optimisers.made(model, "adam", 0.1, 10)  # type: ignore[arg-type]


def test_frozen_gates_stay_and_the_rest_learns() -> None:
    task = tasks.get("adding", steps=6)
    model = protocols.network(task, "multi", SEEDS, 4)
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    optimiser, _ = against_optimisers.made(model, "SGD", 0.1, 10, frozen=True)
    model(task.draw(3, training.generators(SEEDS)).u).square().sum().backward()
    optimiser.step()
    moved = {name for name, weight in model.named_parameters() if not torch.equal(weight, before[name])}
    assert moved == {"W_r", "W_i", "W_o"}


def test_the_probe_measures_what_the_library_gives() -> None:
    found = run("multi", "SGD", rate=0.1).probes
    assert set(found) == {0, 2, 4}
    assert not found[0]["steps"]
    assert {name: len(records) for name, records in found[2].items()} == {"training": 2, "lags": 12, "steps": 2}
    task = tasks.get("adding", steps=6)
    model = protocols.network(task, "multi", SEEDS, 4)
    data = task.draw(6, training.generators(SEEDS, protocols.PROBE), torch.float64)
    alone = protocols.in_float64(model.replica(1))
    trajectory = alone.run(data.u[:, 1])
    f = preconditioners.factors(alone, trajectory)
    (record,) = [r for r in found[0]["lags"] if (r["seed"], r["lag"]) == (SEEDS[1], 2)]
    assert record["factor"] == pytest.approx(float(f[6 - 1 - 2].mean()), rel=1e-9)
    assert math.isnan(record["rows like Adam"])
    # and the gradient at the last state, which weights the lags, is autograd's, up to the mean over sequences
    x = trajectory.x[-1].clone().requires_grad_()
    task.loss(x @ alone.W_o.T, data.target[1]).backward()
    signal = preconditioners.signals(alone, trajectory, x.grad)
    expected = preconditioners.gate_steps(f, signal, trajectory.x_prev)
    measured = against_optimisers.Measured(model, task, data, 1)
    assert relative(measured.steps.rows, expected.rows) <= 1e-10
    assert relative(measured.steps.size, 6 * expected.size) <= 1e-10


def test_adams_own_rates_are_part_of_its_step_and_the_shadow_sees_what_adam_sees() -> None:
    of_adam = run("none", "Adam", rate=1e-3).probes[4]["steps"][0]
    assert of_adam["spread"] == pytest.approx(of_adam["Adam spread"])
    assert of_adam["spread"] > 0.01
    assert of_adam["over sequences"] == 0
    plain = run("none", "SGD", rate=1e-3).probes[4]["steps"][0]
    assert plain["spread"] == 0
    assert plain["Adam spread"] > 0.01
    assert math.isnan(plain["normalised"])
    assert plain["along iterations"] == 0 < run("none", "momentum", rate=1e-3).probes[4]["steps"][0]["along iterations"]


def test_the_schedule_is_in_the_rate() -> None:
    rates = [run("none", "cosine", rate=0.1).probes[step]["steps"][0]["rate now"] for step in (2, 4)]
    assert rates == [pytest.approx(0.05), pytest.approx(0.0, abs=1e-9)]


def test_a_network_that_diverges_is_counted_and_the_others_measured() -> None:
    found = run("none", "SGD", rate=1e30)
    assert (found.diverged >= 0).all()
    last = found.probes[4]
    assert len(last["training"]) == 2
    assert not last["steps"]
    assert not last["lags"]
