"""E4 trains what it says and measures what plain library calls give."""

from __future__ import annotations

import math

import pytest
import torch
from gatelr import tasks, training
from gatelr.experiments import against_optimisers, preconditioners, protocol
from networks import relative
from torch.optim import lr_scheduler

SEEDS = (3, 5)
RUN = {"steps": 4, "checkpoints": (0, 2, 4)}


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, size in {"NEURONS": 4, "BATCH": 3, "FRESH": 5, "PROBED": 6}.items():
        monkeypatch.setattr(against_optimisers, name, size)


def run(gate: str, optimiser: str, rate: float | None) -> training.Run:
    task = tasks.get("adding", steps=6)
    return against_optimisers.measure(protocol.Setup(task, gate, optimiser, SEEDS, rate=rate, progress=False, **RUN))


def test_each_method_is_torchs() -> None:
    task = tasks.get("adding", steps=6)
    model = protocol.network(task, "multi", SEEDS, 4)
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
    model = protocol.network(tasks.get("adding", steps=6), "multi", SEEDS, 4)
    with pytest.raises(ValueError, match="check the spelling"):
        against_optimisers.made(model, "adam", 0.1, 10)


def test_a_method_without_a_rate_is_refused() -> None:
    with pytest.raises(ValueError, match="got no rate"):
        run("none", "SGD", None)


@pytest.mark.slow
def test_the_probe_measures_what_the_library_gives() -> None:
    found = run("multi", "SGD", rate=0.1).probes
    assert set(found) == {0, 2, 4}
    assert not found[0]["steps"]
    assert {name: len(records) for name, records in found[2].items()} == {
        "training": 2,
        "lags": 12,
        "steps": 2,
        "rows": 8,
    }
    task = tasks.get("adding", steps=6)
    model = protocol.network(task, "multi", SEEDS, 4)
    data = task.draw(6, training.generators(SEEDS, protocol.PROBE), torch.float64)
    alone = protocol.in_float64(model.replica(1))
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
    along, factor, each = against_optimisers.along(model, task, data, 1)
    measured = preconditioners.gate_steps(factor, each, along.x_prev)
    assert relative(measured.rows, expected.rows) <= 1e-10
    assert relative(measured.size, 6 * expected.size) <= 1e-10


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
    assert not last["rows"]


PARAMETERS = {"seeds": 3, "tasks_here": ["adding"], "training_steps": 3000, "grid_here": False}


def test_the_plan_has_every_method_at_its_best_rate_and_the_interventions_at_that_of_the_gate_that_learns() -> None:
    plan = against_optimisers.plan(PARAMETERS)
    *methods, scalar, multi = plan
    assert [(run.labels["gate"], run.labels["optimiser"]) for run in methods] == [*against_optimisers.METHODS]
    rates = against_optimisers.RATES["adding"]
    assert scalar.experiment == multi.experiment == "interventions"
    assert (scalar.gate, multi.gate) == ("scalar", "multi")
    assert scalar.settings["rate"] == rates["scalar", "SGD"]
    assert "ungated_rate" not in scalar.settings
    assert multi.settings["rate"] == rates["multi", "SGD"]
    assert multi.settings["ungated_rate"] == rates["none", "SGD"]
    assert all(run.seeds == (21, 22, 23) for run in plan)
    assert all(run.settings["checkpoints"] == [0, 750, 1500, 2250, 3000] for run in plan)
    assert not any(run.labels["search"] for run in plan)
    assert len({run.name for run in plan}) == len(plan)


def test_the_search_has_seeds_of_its_own() -> None:
    plan = against_optimisers.plan(PARAMETERS | {"grid_here": True, "tasks_here": list(against_optimisers.TASKS)})
    search = [run for run in plan if run.labels["search"]]
    assert len(search) == len(against_optimisers.TASKS) * (6 * 5 + 2 * 6)
    assert {run.seeds for run in search} == {(101, 102, 103)}
    assert {tuple(run.settings["checkpoints"]) for run in search} == {(3000,)}
    delays = {run.settings["task_options"].get("delays") for run in search if run.task == "delay_sum"}
    assert delays == {(1, 3, 5)}
