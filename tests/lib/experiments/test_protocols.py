"""The protocols measure what they say: beside each probe the same from plain library calls, or from autograd."""

from __future__ import annotations

import pytest
import torch
from gatelr import anisotropy, jacobian, tasks, training, transport
from gatelr.cells import GatedRNN
from gatelr.experiments import profiles, protocols
from networks import relative
from torch import Tensor

SEEDS = (3, 5)


def network(task: tasks.Task, gate: str) -> GatedRNN:
    options = {"alpha": 0.3 if gate == "constant" else None, "n_outputs": task.n_outputs, "replicas": len(SEEDS)}
    return GatedRNN(task.n_inputs, 4, gate, generator=training.generators(SEEDS), **options)


def jacobians(model: GatedRNN, u: Tensor) -> Tensor:
    wide = protocols.in_float64(model)
    return jacobian.blocks(wide, wide.run(u))


def test_sensitivities_of_replicas() -> None:
    task = tasks.get("adding", steps=6)
    model = network(task, "multi")
    u = task.draw(3, training.generators(SEEDS), torch.float64).u
    found, run, wide = protocols.sensitivities(model, u)
    assert found.shape == (7, 7, 2, 3)
    assert relative(found, transport.sensitivities(jacobians(model, u))) <= 1e-6
    assert model.W_r.dtype == torch.float32
    assert wide.W_r.dtype == run.x.dtype == torch.float64


@pytest.mark.parametrize("gate", ["none", "scalar", "multi"])
def test_propagation_is_that_of_the_windows_drawn(gate: str) -> None:
    task = tasks.get("adding", steps=9)
    model = network(task, gate)
    u = task.draw(4, training.generators(SEEDS), torch.float64).u
    ends = protocols.windows(9, 4, (1, 3, 9), 5, torch.Generator().manual_seed(0))
    found = protocols.propagation(model, u, ends)
    J = jacobians(model, u)
    for lag, (sequence, t) in ends.items():
        assert ((t >= lag) & (t <= 9)).all()
        M = torch.stack([transport.products(J, lag)[end - lag, :, b] for b, end in zip(sequence, t, strict=True)], 1)
        assert found[lag].shape == (2, 5, 4)
        assert relative(found[lag], torch.linalg.svdvals(M)) <= 1e-12


@pytest.mark.parametrize("name", ["adding", "mnist1d"])
def test_update_is_the_spectrum_of_the_gradients_of_single_sequences(name: str) -> None:
    task = tasks.get(name) if name == "mnist1d" else tasks.get(name, steps=6)
    model = network(task, "multi")
    data = task.draw(5, training.generators(SEEDS), torch.float64)
    found = protocols.update(model, task, data)
    for s in range(len(SEEDS)):
        alone = protocols.in_float64(model).replica(s).requires_grad_()
        rows = []
        for b in range(5):
            last = alone.run(data.u[:, s, b : b + 1]).x[-1]
            loss = task.loss(last @ alone.W_o.mT, data.target[s, b : b + 1])
            rows.append(torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(alone.parameters()))]))
        assert relative(found[s], anisotropy.update_spectrum(torch.stack(rows))) <= 1e-10


@pytest.mark.parametrize("name", ["adding", "mnist1d"])
def test_losses_are_those_of_each_network_on_its_data(name: str) -> None:
    task = tasks.get(name) if name == "mnist1d" else tasks.get(name, steps=6)
    model = network(task, "scalar")
    data = task.draw(5, training.generators(SEEDS), held_out=True)
    with torch.no_grad():
        expected = task.loss(model(data.u), data.target)
    assert relative(protocols.losses(model, task, data), expected) <= 1e-6


SMALL = {"n": 4, "batch": 3, "steps": 3, "checkpoints": (0, 3), "fresh": 5}


def test_effective_rates_trains_and_probes_when_it_says() -> None:
    task = tasks.get("adding", steps=6)
    run = protocols.effective_rates(task, "multi", SEEDS, optimiser="Adam", rate=1e-3, probed=2, **SMALL)
    assert run.losses.shape == (3, 2)
    assert set(run.probes) == {0, 3}
    sizes = {name: len(records) for name, records in run.probes[3].items()}
    predictors = 1 + (len(profiles.PREDICTORS) - 1) * (1 + len(profiles.NULLS))
    assert sizes == {"training": 2, "map": 21, "profiles": 2 * 6, "fits": 2 * predictors, "spread": 2}
    assert run.probes[0]["training"] != run.probes[3]["training"]
    assert {record["seed"] for record in run.probes[3]["fits"]} == set(SEEDS)

    # the same from plain library calls, before the first step
    model = network(task, "multi")
    u = task.draw(2, training.generators(SEEDS, protocols.PROBE), torch.float64).u
    S = transport.sensitivities(jacobians(model, u))
    medians = {(r["seed"], r["lag"]): r["S"] for r in run.probes[0]["profiles"]}
    assert medians[SEEDS[1], 2] == pytest.approx(float(S.diagonal(-2)[1].median()), rel=1e-6)
    assert run.probes[0]["map"][-1] == {"t": 6, "k": 5, "S": pytest.approx(float(S[6, 5, 0, 0]), rel=1e-6)}


def test_joint_anisotropy_trains_and_probes_when_it_says() -> None:
    task = tasks.get("adding", steps=6)
    options = {"lags": (1, 2), "pairs": 4, "rows": 5, "r": 3}
    run = protocols.joint_anisotropy(task, "none", "Adam", SEEDS, **options, **SMALL)
    sizes = {name: len(records) for name, records in run.probes[3].items()}
    assert sizes == {"training": 2, "update": 2, "propagation": 2 * 2, "spectra": 2 * 4}
    other = protocols.joint_anisotropy(task, "none", "SGD", SEEDS, **options, **SMALL)
    assert other.probes[0] == run.probes[0]
    assert other.probes[3] != run.probes[3]

    model = network(task, "none")
    draw = training.generators(SEEDS, protocols.PROBE)
    u = task.draw(3, draw, torch.float64).u
    ends = protocols.windows(6, 3, (1, 2), 4, torch.Generator().manual_seed(protocols.PROBE))
    sigma = protocols.propagation(model, u, ends)[2]
    expected = float(anisotropy.anisotropy_index(sigma[1], 3).median())
    (found,) = [r["AI"] for r in run.probes[0]["propagation"] if (r["seed"], r["lag"]) == (SEEDS[1], 2)]
    assert found == pytest.approx(expected, rel=1e-9)


def test_a_rate_of_its_own_reaches_the_optimiser() -> None:
    task = tasks.get("adding", steps=6)
    still = protocols.effective_rates(task, "scalar", SEEDS, rate=0.0, probed=2, **SMALL)
    assert still.probes[0]["training"] == still.probes[3]["training"]
    still = protocols.joint_anisotropy(task, "scalar", "SGD", SEEDS, rate=0.0, lags=(1,), pairs=2, rows=5, r=2, **SMALL)
    assert still.probes[0]["update"] == still.probes[3]["update"]
