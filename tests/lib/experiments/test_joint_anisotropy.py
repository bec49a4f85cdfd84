"""Experiment E2 measures what it says: beside each probe the same from plain library calls, or from autograd."""

from __future__ import annotations

import pandas as pd
import pytest
import torch
from gatelr import anisotropy, jacobian, tasks, training, transport
from gatelr.cells import GatedRNN
from gatelr.experiments import joint_anisotropy, protocol, runs
from networks import relative
from torch import Tensor

SEEDS = (3, 5)
SMALL = {"n": 4, "batch": 3, "fresh": 5}
WHEN = {"steps": 3, "checkpoints": (0, 3)}


def jacobians(model: GatedRNN, u: Tensor) -> Tensor:
    wide = protocol.in_float64(model)
    return jacobian.blocks(wide, wide.run(u))


@pytest.mark.parametrize("gate", ["none", "scalar", "multi"])
def test_propagation_is_that_of_the_windows_drawn(gate: str) -> None:
    task = tasks.get("adding", steps=9)
    model = protocol.network(task, gate, SEEDS, 4)
    u = task.draw(4, training.generators(SEEDS), torch.float64).u
    ends = joint_anisotropy.windows(9, 4, (1, 3, 9), 5, torch.Generator().manual_seed(0))
    spectra = joint_anisotropy.propagation(model, u, ends)
    J = jacobians(model, u)
    for lag, (sequence, t) in ends.items():
        assert ((t >= lag) & (t <= 9)).all()
        M = torch.stack([transport.products(J, lag)[end - lag, :, b] for b, end in zip(sequence, t, strict=True)], 1)
        assert spectra[lag].shape == (2, 5, 4)
        assert relative(spectra[lag], torch.linalg.svdvals(M)) <= 1e-12


@pytest.mark.parametrize("name", ["adding", "mnist1d"])
def test_update_is_the_spectrum_of_the_gradients_of_single_sequences(name: str) -> None:
    task = tasks.get(name) if name == "mnist1d" else tasks.get(name, steps=6)
    model = protocol.network(task, "multi", SEEDS, 4)
    data = task.draw(5, training.generators(SEEDS), torch.float64)
    spectra = joint_anisotropy.update(model, task, data)
    for s in range(len(SEEDS)):
        alone = protocol.in_float64(model).replica(s).requires_grad_()
        rows = []
        for b in range(5):
            last = alone.run(data.u[:, s, b : b + 1]).x[-1]
            loss = task.loss(last @ alone.W_o.mT, data.target[s, b : b + 1])
            rows.append(torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(alone.parameters()))]))
        assert relative(spectra[s], anisotropy.update_spectrum(torch.stack(rows))) <= 1e-10


def test_joint_anisotropy_trains_and_probes_when_it_says() -> None:
    task = tasks.get("adding", steps=6)
    options = {"lags": (1, 2), "pairs": 4, "rows": 5, "r": 3}
    run = joint_anisotropy.measure(protocol.Setup(task, "none", "Adam", SEEDS, **WHEN), **options, **SMALL)
    sizes = {name: len(records) for name, records in run.probes[3].items()}
    assert sizes == {"training": 2, "update": 2, "propagation": 2 * 2, "spectra": 2 * 2 * 4}
    other = joint_anisotropy.measure(protocol.Setup(task, "none", "SGD", SEEDS, **WHEN), **options, **SMALL)
    assert other.probes[0] == run.probes[0]
    assert other.probes[3] != run.probes[3]

    model = protocol.network(task, "none", SEEDS, 4)
    draw = training.generators(SEEDS, protocol.PROBE)
    u = task.draw(3, draw, torch.float64).u
    ends = joint_anisotropy.windows(6, 3, (1, 2), 4, torch.Generator().manual_seed(protocol.PROBE))
    sigma = joint_anisotropy.propagation(model, u, ends)[2]
    expected = float(anisotropy.anisotropy_index(sigma[1], 3).median())
    (median,) = [r["AI"] for r in run.probes[0]["propagation"] if (r["seed"], r["lag"]) == (SEEDS[1], 2)]
    assert median == pytest.approx(expected, rel=1e-9)


def test_a_rate_of_its_own_reaches_the_optimiser() -> None:
    task = tasks.get("adding", steps=6)
    options = {"lags": (1,), "pairs": 2, "rows": 5, "r": 2}
    still = joint_anisotropy.measure(protocol.Setup(task, "scalar", "SGD", SEEDS, rate=0.0, **WHEN), **options, **SMALL)
    assert still.probes[0]["update"] == still.probes[3]["update"]


def test_the_table_has_a_row_for_each_network_and_checkpoint() -> None:
    keys = {"task": "adding", "gate": "none", "optimiser": "SGD", "seed": 1, "step": 0}
    measured = {
        "propagation": pd.DataFrame([keys | {"lag": lag, "AI": 10.0 * lag, "CE": 0.1 * lag} for lag in (1, 2)]),
        "update": pd.DataFrame([keys | {"AI": 3.0, "CE": 0.9, "effective rank": 7.0}]),
        "training": pd.DataFrame([keys | {"loss": 1.0, "constant": 2.0, "other": 0.0}]),
    }
    (row,) = joint_anisotropy.table(measured).to_dict("records")
    expected = {"loss": 1.0, "constant": 2.0, "update AI": 3.0, "update CE": 0.9, "effective rank": 7.0}
    assert row == keys | expected | {"AI @1": 10.0, "AI @2": 20.0, "CE @1": 0.1, "CE @2": 0.2}


def test_the_plan_is_the_whole_design_on_each_task() -> None:
    plan = joint_anisotropy.plan({"seeds": 2, "tasks_here": ["ar2", "adding"], "until": 400})
    assert all(isinstance(run, runs.Run) and run.seeds == (21, 22) for run in plan)
    assert len(plan) == 2 * 6
    assert plan[1].labels == {"task": "ar2", "gate": "none", "optimiser": "Adam"}
    assert plan[1].settings == {"steps": 400, "checkpoints": [0, 400]}
