"""Experiment E7 measures what it says: beside each probe the same from plain library calls, or from autograd."""

from __future__ import annotations

import pandas as pd
import pytest
import torch
from gatelr import anisotropy, jacobian, tasks, training, transport
from gatelr.experiments import alignment, pilot, protocol
from networks import relative

SEEDS = (3, 5)
SMALL = {"n": 4, "batch": 3, "fresh": 5, "lags": (1, 3, 9), "r": 2}
WHEN = {"steps": 3, "checkpoints": (0, 3)}


@pytest.mark.parametrize("gate", ["none", "scalar", "multi"])
def test_transports_to_the_end_are_products_of_jacobians(gate: str) -> None:
    task = tasks.get("adding", steps=9)
    model = protocol.in_float64(protocol.network(task, gate, SEEDS, 4)).replica(1)
    run = model.run(task.draw(5, torch.Generator().manual_seed(0), torch.float64).u)
    products = alignment.to_the_end(model, run, (1, 3, 9))
    for lag, M in products.items():
        assert relative(M, transport.products(jacobian.blocks(model, run), lag)[-1]) <= 1e-12
    assert set(products) == {1, 3, 9}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["adding", "mnist1d"])
def test_shares_are_those_of_gradients_by_autograd(name: str) -> None:
    """The error is the loss's gradient by the last state, the adjoint that by the state some steps before."""
    task = tasks.get(name) if name == "mnist1d" else tasks.get(name, steps=9)
    model = protocol.in_float64(protocol.network(task, "multi", SEEDS, 4)).replica(0)
    u, target = task.draw(3, torch.Generator().manual_seed(1), torch.float64)
    rows = alignment.aligned(model, task, u, target, (2,), 2)
    left, right, chance, CE = [], [], [], []
    for b in range(3):
        early = model.run(u[:-2, b : b + 1]).x[-1].clone().requires_grad_()
        last = model.run(u[-2:, b : b + 1], early).x[-1]
        loss = task.loss(last @ model.W_o.mT, target[b : b + 1])
        delta, adjoint = (g[0] for g in torch.autograd.grad(loss, [last, early], retain_graph=True))
        M = torch.stack([torch.autograd.grad(last[0, i], early, retain_graph=True)[0][0] for i in range(4)])
        U, s, Vh = torch.linalg.svd(M)
        left.append(float((U[:, :2].T @ delta).square().sum() / delta.square().sum()))
        right.append(float((Vh[:2] @ adjoint).square().sum() / adjoint.square().sum()))
        z = torch.randn(20_000, 4, generator=torch.Generator().manual_seed(b), dtype=torch.float64) * s
        chance.append(float((z[:, :2].square().sum(1) / z.square().sum(1)).mean()))
        CE.append(float(anisotropy.energy_concentration(s, 2)))
    (row,) = rows
    for column, expected, off in (
        ("left", left, 1e-9),
        ("right", right, 1e-9),
        ("chance", chance, 0.01),
        ("CE", CE, 1e-9),
    ):
        assert row[column] == pytest.approx(sum(expected) / 3, abs=off)


def test_another_sequence_is_another_direction_only_where_there_are_several_outputs() -> None:
    for name, alike in (("adding", True), ("mnist1d", False)):
        task = tasks.get(name)
        model = protocol.in_float64(protocol.network(task, "scalar", SEEDS, 6)).replica(0)
        u, target = task.draw(4, torch.Generator().manual_seed(1), torch.float64)
        for row in alignment.aligned(model, task, u, target, (1, 4), 2):
            for side in ("left", "right"):
                assert (row[side] == pytest.approx(row[f"{side} of another"], rel=1e-9)) == alike


def test_alignment_trains_and_probes_when_it_says() -> None:
    task = tasks.get("adding", steps=6)
    run = alignment.measure(protocol.Setup(task, "none", "Adam", SEEDS, **WHEN), probed=4, **SMALL)
    assert {name: len(records) for name, records in run.probes[3].items()} == {"training": 2, "alignment": 2 * 2}
    other = alignment.measure(protocol.Setup(task, "none", "SGD", SEEDS, **WHEN), probed=4, **SMALL)
    assert other.probes[0] == run.probes[0]
    assert other.probes[3] != run.probes[3]
    data = task.draw(4, training.generators(SEEDS, protocol.PROBE), torch.float64)
    model = protocol.in_float64(protocol.network(task, "none", SEEDS, 4)).replica(1)
    rows = alignment.aligned(model, task, data.u[:, 1], data.target[1], (1, 3), 2)
    assert [r for r in run.probes[0]["alignment"] if r["seed"] == SEEDS[1]] == [
        {"seed": SEEDS[1]} | row for row in rows
    ]


def test_the_table_has_a_row_for_each_network_and_checkpoint() -> None:
    keys = {"task": "adding", "gate": "none", "optimiser": "SGD", "seed": 1, "step": 0}
    records = [keys | {"lag": lag} | dict.fromkeys(alignment.SERIES, 0.1 * lag) for lag in (1, 2)]
    measured = {
        "alignment": pd.DataFrame(records),
        "training": pd.DataFrame([keys | {"loss": 1.0, "constant": 2.0, "other": 0.0}]),
    }
    (row,) = alignment.table(measured).to_dict("records")
    expected = {f"{name} @{lag}": 0.1 * lag for name in alignment.SERIES for lag in (1, 2)}
    assert row == keys | {"loss": 1.0, "constant": 2.0} | expected


def test_the_plan_has_every_model_on_each_task_and_seeds_that_decide() -> None:
    plan = alignment.plan({"seeds": 2, "tasks_here": ["digits", "adding"], "until": 300})
    assert len(plan) == 2 * 3 * 2
    assert all(run.seeds == (pilot.FIRST_SEED, pilot.FIRST_SEED + 1) for run in plan)
    assert plan[1].labels == {"task": "digits", "gate": "none", "optimiser": "Adam"}
    assert plan[1].settings == {"task_options": {}, "rate": 0.005, "steps": 300, "checkpoints": [0, 300]}
