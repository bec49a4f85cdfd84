"""E4 trains what it says and measures what plain library calls give."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from gatelr import tasks, training
from gatelr.experiments import against_optimisers, against_optimisers_claims, preconditioners, protocol, runs
from networks import relative
from scipy import stats
from torch.optim import lr_scheduler

REFERENCE = Path(__file__).parents[3] / "reference"

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


def test_frozen_gates_stay_and_the_rest_learns() -> None:
    task = tasks.get("adding", steps=6)
    model = protocol.network(task, "multi", SEEDS, 4)
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


def test_the_plan_has_every_method_at_its_best_rate_and_the_frozen_gate_at_that_of_the_learning_one() -> None:
    plan = against_optimisers.plan(PARAMETERS)
    labels = [(run.labels["gate"], run.labels["optimiser"]) for run in plan]
    assert labels == [*against_optimisers.METHODS, against_optimisers.FROZEN]
    assert plan[-1].gate == "multi"
    assert plan[-1].settings["frozen"]
    assert plan[-1].settings["rate"] == plan[6].settings["rate"] == 0.3
    assert all(run.settings["checkpoints"] == [0, 750, 1500, 2250, 3000] for run in plan)
    assert not any(run.labels["search"] for run in plan)
    assert len({run.name for run in plan}) == len(plan)


def test_the_search_has_seeds_of_its_own() -> None:
    plan = against_optimisers.plan(PARAMETERS | {"grid_here": True, "tasks_here": ["adding", "moving_average"]})
    search = [run for run in plan if run.labels["search"]]
    assert len(search) == 2 * (6 * 5 + 2 * 6)
    assert {run.seeds for run in search} == {(101, 102, 103)}
    assert {tuple(run.settings["checkpoints"]) for run in search} == {(3000,)}


def test_the_rates_are_the_best_of_the_committed_search(monkeypatch: pytest.MonkeyPatch) -> None:
    search = pd.read_csv(REFERENCE / "e4-grid.csv")
    assert len(against_optimisers_claims.best_rates(search)) == 16
    assert against_optimisers_claims.not_best(search) == 0
    monkeypatch.setitem(against_optimisers.RATES["adding"], against_optimisers.MULTI, 3.0)
    assert against_optimisers_claims.not_best(search) == 1


def test_a_run_that_diverged_scores_a_hundred_times_worse_than_the_constant() -> None:
    table = pd.DataFrame({"loss": [0.01, 1.0, math.inf, math.nan, 1e9], "constant": 0.1})
    assert against_optimisers_claims.score(table).tolist() == pytest.approx([-1.0, 1.0, 2.0, 2.0, 2.0])


@pytest.fixture
def records(tmp_path: Path) -> runs.Tables:
    plan = against_optimisers.plan(PARAMETERS | {"training_steps": 4})
    return runs.load([each for each in plan if each.gate == "multi"], folder=tmp_path)


def test_tables_have_one_row_for_each_network_and_step(records: runs.Tables) -> None:
    tables = against_optimisers_claims.tables(records)
    methods = 3  # multi under SGD, under Adam, and frozen
    assert {name: len(table) for name, table in tables.items()} == {
        "training": methods * 3 * 5,
        "steps": methods * 3 * 4,
        "lags": methods * 3 * 5,
    }
    for name, table in tables.items():
        assert not table.duplicated(against_optimisers_claims.KEYS).any(), name
        assert set(against_optimisers_claims.TOLERANCES[name]) <= set(table), name
    whole = records["lags"].query("gate == 'multi' and optimiser == 'SGD' and seed == 2 and step == 3 and lag == 8")
    wide = tables["lags"].query("gate == 'multi' and optimiser == 'SGD' and seed == 2 and step == 3")
    assert wide["factor @8"].tolist() == pytest.approx(np.log10(whole.factor).tolist())


def test_foreign_gates_are_those_of_the_seed_before(records: runs.Tables) -> None:
    rows = records["rows"].query("gate == 'multi' and optimiser == 'SGD' and step == 4")
    ranks = against_optimisers_claims.foreign(rows).set_index("seed")["rows like Adam, foreign"]
    for seed, before in {1: 3, 2: 1, 3: 2}.items():
        gate, adam = rows[rows.seed == before]["by gate"], rows[rows.seed == seed]["by Adam"]
        assert ranks[seed] == pytest.approx(stats.spearmanr(gate, adam).statistic)


def by_hand(column: str, **values: list[float]) -> pd.DataFrame:
    """Of the multi-gate under SGD, one value for each seed and step 0 or 8, by task."""
    keys = {"gate": "multi", "optimiser": "SGD", "seed": [1, 1, 2, 2], "step": [0, 8, 0, 8]}
    return pd.concat([pd.DataFrame(keys | {"task": task, column: each}) for task, each in values.items()])


def test_means_over_tasks_are_of_seeds_that_have_all() -> None:
    rows = by_hand("spread", adding=[0.0, 1.0, 0.0, 2.0], moving_average=[0.0, 3.0, 0.0, math.nan])
    wide = against_optimisers_claims.by_seed(rows[rows.step == 8], "spread")
    assert wide.loc[1].to_dict() == {"adding": 1.0, "moving_average": 3.0}
    assert against_optimisers_claims.over_tasks(wide).to_dict() == {1: 2.0}


def test_quarters_are_those_of_the_longest_run() -> None:
    table = pd.DataFrame({"step": [0, 2, 4, 750, 3000], "loss": 0.01, "constant": 0.1})
    quarters = against_optimisers_claims.at_quarters({"training": table, "steps": table})
    assert quarters["steps"].step.tolist() == [0, 750, 3000]
    assert quarters["training"].ratio.tolist() == pytest.approx([10.0] * 3)


def test_claims_are_of_the_mean_and_of_each_task() -> None:
    values = pd.DataFrame({"adding": [1.0, 2.0], "moving_average": [3.0, math.nan]}, index=[1, 2])
    claims = against_optimisers_claims.by_claim("schedule", values)
    assert list(claims) == ["schedule", "schedule-adding", "schedule-moving-average"]
    assert claims["schedule"][1].to_dict() == {1: 2.0}
    assert claims["schedule-moving-average"][0] == "moving average: "
    assert claims["schedule-adding"][1].tolist() == [1.0, 2.0]
    assert "schedule" not in against_optimisers_claims.by_claim("schedule", values, mean=False)


def test_changes_are_the_end_less_the_start() -> None:
    rows = by_hand("factor @0", adding=[-0.5, -0.2, -0.5, -0.9])
    for lag in against_optimisers.LAGS:
        rows[f"factor @{lag}"] = rows["factor @0"] * (1 + lag)
        rows[f"rows like Adam @{lag}"] = 0.1
    changes = against_optimisers_claims.changes(pd.concat([rows, rows.assign(gate="multi, frozen")]))
    learn = changes[changes.gates == "learn"].set_index(["lag", "seed"]).change
    assert [learn[0, 1], learn[0, 2], learn[4, 1]] == pytest.approx([0.3, -0.4, 1.5])
    assert len(changes) == 2 * 2 * len(against_optimisers.LAGS)


def test_the_table_of_rates_marks_those_at_an_edge(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(against_optimisers.RATES["adding"], against_optimisers.MULTI, 3.0)
    table = against_optimisers_claims.rates_table().set_index("method")
    assert table.loc["multi + SGD", "adding"] == "3 (edge)"
    assert table.loc["none + SGD"].tolist() == ["0.1", "0.3", "0.03, 0.1, 0.3, 1, 3"]


def test_the_course_has_a_row_for_each_step(records: runs.Tables) -> None:
    steps = against_optimisers_claims.tables(records)["steps"]
    course = against_optimisers_claims.course(steps)
    assert course["training step"].tolist() == [1, 2, 3, 4]
    last = steps.query("gate == 'multi' and optimiser == 'SGD' and step == 4")
    assert course["Adam: spread"].iloc[-1].startswith(f"{last['Adam spread'].mean():.2f} (")


def test_the_page_has_each_property_of_each_method(records: runs.Tables) -> None:
    tables = against_optimisers_claims.tables(records)
    page = against_optimisers_claims.one_page(tables["steps"], tables["lags"]).set_index(["method", "property"])
    assert len(page) == 9 * 6
    assert page.loc["Adam", "mean"].isna().all()  # no run without a gate among these
    multi = page.loc["multi"]
    last = tables["steps"].query("gate == 'multi' and optimiser == 'SGD' and step == 4")
    assert multi.loc["differs over coordinates: sd of log₁₀", "mean"] == pytest.approx(last.spread.mean())
    steps = tables["steps"].query("gate == 'multi' and optimiser == 'SGD'").groupby("step")["log step"].mean()
    assert multi.loc["drifts over training: decades, ¼ to ¾", "mean"] == pytest.approx(steps[3] - steps[1])
    assert (multi.low <= multi["mean"]).all()
    text = against_optimisers_claims.page_text(page.reset_index())
    assert text.shape == (9, 6)
    assert (text["Adam"] == "all alike").all()
    assert text.loc["memory along iterations: share of the step", "multi"] == "0.00"
