"""The protocols measure what they say: beside each probe the same from plain library calls, or from autograd."""

from __future__ import annotations

import pytest
import torch
from gatelr import anisotropy, jacobian, tasks, training, transport
from gatelr.cells import GatedRNN
from networks import relative
from torch import Tensor

from benchmarks import protocols

SEEDS = (3, 5)


def network(task: tasks.Task, gate: str) -> GatedRNN:
    options = {"alpha": 0.3 if gate == "constant" else None, "n_outputs": task.n_outputs, "replicas": len(SEEDS)}
    return GatedRNN(task.n_inputs, 4, gate, generator=training.generators(SEEDS), **options)


@pytest.mark.parametrize("gate", ["none", "constant", "scalar", "multi"])
def test_a_replica_alone_is_the_replica(gate: str) -> None:
    model = network(tasks.get("adding"), gate)
    alone = GatedRNN(4, 4, gate, alpha=model.alpha, generator=torch.Generator().manual_seed(SEEDS[1]))
    found = protocols.replica(model, 1)
    assert found.replicas is None
    for name, weight in alone.named_parameters():
        assert torch.equal(found.get_parameter(name), weight)


def jacobians(model: GatedRNN, u: Tensor) -> Tensor:
    wide = protocols.in_float64(model)
    return jacobian.blocks(wide, wide.run(u))


def test_sensitivities_of_replicas() -> None:
    task = tasks.get("adding", steps=6)
    model = network(task, "multi")
    u = task.draw(3, training.generators(SEEDS), torch.float64).u
    found = protocols.sensitivities(model, u)
    assert found.shape == (7, 7, 2, 3)
    assert relative(found, transport.sensitivities(jacobians(model, u))) <= 1e-6
    assert model.W_r.dtype == torch.float32


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
        alone = protocols.replica(protocols.in_float64(model), s).requires_grad_()
        rows = []
        for b in range(5):
            last = alone.run(data.u[:, s, b : b + 1]).x[-1]
            loss = task.loss(last @ alone.W_o.mT, data.target[s, b : b + 1])
            rows.append(torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(alone.parameters()))]))
        assert relative(found[s], anisotropy.update_spectrum(torch.stack(rows))) <= 1e-10


def test_the_protocols_train_and_probe_when_they_say() -> None:
    task = tasks.get("adding", steps=6)
    small = {"n": 4, "batch": 3, "steps": 3, "checkpoints": (0, 3)}
    first = protocols.effective_rates(task, "constant", SEEDS, probed=2, **small)
    assert first.losses.shape == (3, 2)
    assert {step: probe.shape for step, probe in first.probes.items()} == dict.fromkeys((0, 3), (7, 7, 2, 2))
    assert not torch.equal(first.probes[0], first.probes[3])
    second = protocols.joint_anisotropy(task, "none", "Adam", SEEDS, lags=(1, 2), pairs=4, rows=5, **small)
    assert set(second.probes) == {0, 3}
    assert {lag: s.shape for lag, s in second.probes[3]["propagation"].items()} == dict.fromkeys((1, 2), (2, 4, 4))
    assert second.probes[3]["update"].shape == (2, 5)
