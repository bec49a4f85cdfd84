"""E3 plans what it says, and measures what plain library calls give."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from gatelr import adjoint, tasks, training
from gatelr.cells import GatedRNN
from gatelr.experiments import corrections, foreign_corrections, gate_corrections, protocol

SEEDS = (3, 5)
TASK = tasks.get("adding", steps=6)
#: Of the networks, and of what is measured.
SMALL: dict[str, Any] = {"n": 4, "batch": 3, "fresh": 5, "probed": 4, "traced": 2, "lags": (1, 6)}
SMALL |= {"window": 4, "distances": (1, 3)}


def network(gate: str, dtype: torch.dtype = torch.float64) -> GatedRNN:
    weights = training.generators(SEEDS)
    return GatedRNN(TASK.n_inputs, 4, gate, replicas=len(SEEDS), generator=weights, dtype=dtype)


def setup(gate: str, rate: float) -> protocol.Setup:
    return protocol.Setup(TASK, gate, "SGD", SEEDS, steps=6, checkpoints=(0, 6), rate=rate)


@pytest.mark.parametrize("gate", gate_corrections.GATES)
def test_the_protocol_measures_what_it_says(gate: str) -> None:
    run = gate_corrections.measure(setup(gate, 0.1), sizes=(0, 6), windows=(1,), every=2, **SMALL)
    counts = {step: {name: len(records) for name, records in probe.items()} for step, probe in run.probes.items()}
    assert counts[0] == {"training": 2, "size": 2}
    assert counts[6] == counts[0] | {"displacement": 2}
    assert counts[4] == {"persistence": 2}
    assert counts[2] == counts[3] == {}
    assert {"share", "cosine", "W_r", "G", "M @1", "M @6"} <= set(run.probes[6]["size"][0])

    # beside it the plain loop, its gradients split batch by batch
    model = network(gate, torch.float32)
    optimiser, sources = torch.optim.SGD(model.parameters(), lr=0.1), training.generators(SEEDS, protocol.TRAINING)
    fresh = TASK.draw(6, training.generators(SEEDS, protocol.PROBE))
    splits, on_fresh = [], []
    for step in range(6):
        if step == 1:
            halves = [tasks.Batch(fresh.u[:, :, part], fresh.target[:, part]) for part in (slice(3), slice(3, 6))]
            on_fresh = [corrections.flat(corrections.split(model, TASK, half).correction) for half in halves]
        data = TASK.draw(3, sources)
        splits.append(corrections.split(model, TASK, data))
        optimiser.zero_grad()
        losses = TASK.loss(model(data.u), data.target)
        assert torch.equal(losses.detach(), run.losses[step])
        losses.sum().backward()
        optimiser.step()
    kinds = {
        kind: torch.stack([corrections.flat(getattr(each, kind)) for each in splits])
        for kind in ("gradient", "correction")
    }
    records = run.probes[4]["persistence"]
    for kind, vectors in kinds.items():
        expected = corrections.persistence(vectors[1:5], (1, 2, 3))
        columns = {"@1": expected.cosine[1], "@3": expected.cosine[3]}
        columns["mean"] = torch.stack(list(expected.cosine.values())).mean(0)  # over each distance up to the largest
        columns |= {name: getattr(expected, name) for name in ("shuffled", "resultant", "random")}
        columns["foreign"] = foreign_corrections.cosine(vectors[1:5])
        for s, record in enumerate(records):
            assert (record["seed"], record["window"]) == (SEEDS[s], 1)
            for name, column in columns.items():
                assert record[f"{kind[0]} {name}"] == pytest.approx(float(column[s]), rel=1e-4), name
    alike = torch.cosine_similarity(*on_fresh, dim=1).tolist()
    assert [record["c fresh"] for record in records] == pytest.approx(alike, rel=1e-5)
    summed = {kind: vectors[::2].double().sum(0).norm(dim=1) for kind, vectors in kinds.items()}
    lengths = [record["length"] for record in run.probes[6]["displacement"]]
    assert lengths == pytest.approx((summed["correction"] / summed["gradient"]).tolist(), rel=1e-5)

    # and the size on the fresh batch, in float64, after the last step
    wide = protocol.in_float64(model).requires_grad_()
    probed = TASK.draw(4, training.generators(SEEDS, protocol.PROBE), torch.float64)
    for column, without in {"share": "gate dropped", "beyond order 0": "order 0"}.items():
        expected_size = corrections.size(corrections.split(wide, TASK, probed, without=without))
        assert [r[column] for r in run.probes[6]["size"]] == pytest.approx(expected_size["share"].tolist(), rel=1e-5)


def test_backward_passes_and_data_are_those_asked_for() -> None:
    passes = gate_corrections.PASSES | {"again": {}}
    run = {name: gate_corrections.measure(setup("multi", 0.5), **options, **SMALL) for name, options in passes.items()}
    first = {name: each.probes[0]["training"] for name, each in run.items()}
    last = {name: tuple(record["loss"] for record in each.probes[6]["training"]) for name, each in run.items()}
    assert all(losses == first["full"] for losses in first.values())
    assert last["again"] == last["full"]
    assert len(set(last.values())) == len(gate_corrections.PASSES)
    same_data = {name: torch.equal(each.losses[0], run["full"].losses[0]) for name, each in run.items()}
    assert [name for name, same in same_data.items() if not same] == ["other data"]


def test_a_foreign_correction_is_part_of_the_full_gradient() -> None:
    with pytest.raises(ValueError, match="got foreign corrections and backward='order 0', expected 'full'"):
        gate_corrections.measure(setup("multi", 0.1), foreign=True, backward="order 0")


def test_dropping_the_gate_term_is_giving_it_no_weight() -> None:
    model = network("multi").requires_grad_(False)
    run = model.run(TASK.draw(5, training.generators(SEEDS), torch.float64).u)
    dropped = adjoint.gradients(model, run, run.x, backward="gate dropped")
    for name, gradient in adjoint.gradients(model, run, run.x, gate_sensitivity=0.0).items():
        assert torch.equal(gradient, dropped[name]), name


PARAMETERS: dict[str, Any] = {
    "seeds": 2,
    "settings_here": ["moving average", "adding, 50"],
    "passes_here": ["full", "foreign", "other data"],
    "search_here": False,
    "until": 4000,
}


def test_the_plan_has_every_pass_at_its_own_rate_and_measures_along_the_full_one() -> None:
    plan = gate_corrections.plan(PARAMETERS)
    assert len(plan) == 2 * 2 * 3
    assert len({run.name for run in plan}) == len(plan)
    assert all(run.seeds == (21, 22) and run.settings["checkpoints"][-1] == 1000 for run in plan)
    for run in plan:
        json.dumps(run.settings)
        assert ("sizes" in run.settings) is (run.labels["run"] == "full")
        name = "full" if run.labels["run"] == "other data" else run.labels["run"]
        rates = gate_corrections.RATES[run.labels["task"], run.gate]
        assert run.settings["rate"] == rates[gate_corrections.SEARCHED.index(name)]
    (sgd, adam) = (run for run in plan if run.labels["run"] == "full" and run.gate == "multi")
    assert (sgd.settings["every"], adam.settings["every"]) == (7, 0)
    assert sgd.settings["windows"] == [0, 250, 500, 750, 936]
    assert sgd.settings["sizes"] == [0, 250, 500, 750, 1000]


def test_the_search_tries_every_rate_of_the_grid_with_other_seeds() -> None:
    plan = gate_corrections.plan(PARAMETERS | {"search_here": True, "settings_here": ["adding, 50"]})
    search = [run for run in plan if run.labels["search"]]
    rates = gate_corrections.SETTINGS["adding, 50"].grid
    tried = [(run.gate, run.labels["run"], run.settings["rate"]) for run in search]
    assert len(tried) == len(set(tried)) == 2 * len(gate_corrections.SEARCHED) * len(rates)
    assert {rate for *_, rate in tried} == set(rates)
    assert all(run.seeds == (101, 102, 103) and run.settings["checkpoints"] == [1000] for run in search)


def test_a_short_plan_stops_where_it_is_told_to() -> None:
    plan = gate_corrections.plan(PARAMETERS | {"settings_here": ["moving average"], "until": 125})
    assert {run.settings["steps"] for run in plan} == {125}
    assert plan[0].settings["sizes"] == [0, 125]
    assert plan[0].settings["windows"] == [0]


def test_every_model_has_a_rate_of_its_grid_for_every_pass() -> None:
    assert list(gate_corrections.RATES) == list(gate_corrections.MODELS)
    for (setting, gate), rates in gate_corrections.RATES.items():
        assert len(rates) == len(gate_corrections.SEARCHED)
        assert set(rates) <= set(gate_corrections.SETTINGS[setting].grid), (setting, gate)
        assert gate_corrections.rate_of(setting, gate, "other data") == rates[0]
