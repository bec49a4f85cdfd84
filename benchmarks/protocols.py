"""The two protocols of the paper, training and probes together, as the chapters run them and ``make bench`` times them.

E1, effective rates: the norms of all transports of twelve sequences along training by plain SGD. E2, joint anisotropy:
the singular values of transports over chosen lags, and those of the gradients of many sequences. Networks of all seeds
train side by side in float32; a probe measures copies of them in float64.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal

import torch
from gatelr import adjoint, anisotropy, jacobian, tasks, training, transport
from gatelr.cells import GatedRNN, Trajectory
from torch import Tensor

#: The seeds of a run's three sources, as in the released code: weights, training data, probes.
TRAINING, PROBE = 123, 999


def in_float64(model: GatedRNN) -> GatedRNN:
    """A copy to be measured; training goes on in float32."""
    return copy.deepcopy(model).double().requires_grad_(False)


def replica(model: GatedRNN, s: int) -> GatedRNN:
    """Network s of a replicated model, alone, without gradients."""
    options: dict[str, Any] = {"alpha": model.alpha, "n_outputs": model.n_outputs, "bias": model.b is not None}
    options |= {"dtype": model.W_r.dtype, "device": model.W_r.device}
    options |= {"generator": torch.Generator()}  # what it draws is thrown away: not from the caller's
    alone = GatedRNN(model.n_inputs, model.n_hidden, model.gate, **options)
    alone.load_state_dict({name: weight[s] for name, weight in model.state_dict().items()})
    return alone.requires_grad_(False)


# E1


def effective_rates(
    task: tasks.Task,
    gate: str,
    seeds: Sequence[int],
    *,
    steps: int = 800,
    checkpoints: Sequence[int] = (0, 50, 200, 400, 600, 800),
    n: int = 64,
    batch: int = 64,
    probed: int = 12,
    rate: float = 1e-2,
    alpha: float = 0.8,
    device: torch.device | str = "cpu",
    progress: bool | None = None,
) -> training.Run:
    """Train by plain SGD; each probe is the sensitivities of the same sequences, ``(T+1, T+1, S, probed)``.

    Args:
        task: what to learn.
        gate: ``"constant"``, ``"scalar"`` or ``"multi"``.
        seeds: one replica for each.
        steps: number of updates.
        checkpoints: the steps before which to probe.
        n: neurons.
        batch: sequences a step.
        probed: sequences of a probe, drawn once for each replica.
        rate: of SGD.
        alpha: the constant gate.
        device: where to compute; every draw is made on the CPU.
        progress: whether to show a bar, as for ``training.train``.
    """
    model = _network(task, gate, seeds, n, alpha if gate == "constant" else None, device)
    u = task.draw(probed, training.generators(seeds, PROBE), torch.float64).u.to(device)
    optimiser = torch.optim.SGD(model.parameters(), lr=rate)
    options: dict[str, Any] = {"batch": batch, "checkpoints": checkpoints, "progress": progress}
    return training.train(
        model,
        task,
        optimiser,
        steps,
        training.generators(seeds, TRAINING),
        probe=lambda step, model: sensitivities(model, u),
        **options,
    )


def sensitivities(model: GatedRNN, u: Tensor) -> Tensor:
    """Of every transport along the sequences ``u (T, S, B, m)``: ``(T+1, T+1, S, B)``, on the CPU."""
    model = in_float64(model)
    run = model.run(u)
    found = []
    for s in range(u.shape[1]):  # one after the other: the products of all would take gigabytes
        J = jacobian.blocks(replica(model, s), Trajectory(*(member[:, s] for member in run)))
        found.append(transport.sensitivities(J).cpu())
    return torch.stack(found, 2)


# E2


def joint_anisotropy(
    task: tasks.Task,
    gate: str,
    optimiser: Literal["SGD", "Adam"],
    seeds: Sequence[int],
    *,
    steps: int = 1200,
    checkpoints: Sequence[int] = (0, 400, 800, 1200),
    lags: Sequence[int] = (1, 2, 4, 8, 12, 16, 24, 32, 40),
    pairs: int = 64,
    rows: int = 256,
    n: int = 64,
    batch: int = 64,
    device: torch.device | str = "cpu",
    progress: bool | None = None,
) -> training.Run:
    """Train by SGD at 1e-2 or Adam at 1e-3; each probe is ``{"propagation": {lag: (S, pairs, n)}, "update": (S, K)}``.

    Args:
        task: what to learn.
        gate: ``"none"``, ``"scalar"`` or ``"multi"``.
        optimiser: which.
        seeds: one replica for each.
        steps: number of updates.
        checkpoints: the steps before which to probe.
        lags: of the transports.
        pairs: transports of a lag, each along one of ``batch`` sequences to a step drawn at random.
        rows: sequences whose gradients are taken.
        n: neurons.
        batch: sequences a step.
        device: where to compute; every draw is made on the CPU.
        progress: whether to show a bar, as for ``training.train``.
    """
    model = _network(task, gate, seeds, n, None, device)
    draw = training.generators(seeds, PROBE)
    u = task.draw(batch, draw, torch.float64).u.to(device)
    data = task.draw(rows, draw, torch.float64)
    ends = windows(task.steps, batch, lags, pairs, draw[0])

    def probe(step: int, model: GatedRNN) -> dict[str, Any]:
        return {"propagation": propagation(model, u, ends), "update": update(model, task, data)}

    made = getattr(torch.optim, optimiser)(model.parameters(), lr={"SGD": 1e-2, "Adam": 1e-3}[optimiser])
    options: dict[str, Any] = {"batch": batch, "checkpoints": checkpoints, "progress": progress}
    return training.train(model, task, made, steps, training.generators(seeds, TRAINING), probe=probe, **options)


def windows(
    steps: int, batch: int, lags: Sequence[int], pairs: int, generator: torch.Generator
) -> dict[int, tuple[Tensor, Tensor]]:
    """For each lag pairs of a sequence and the step t ≥ lag at which a transport ends, ``(pairs,)`` each."""
    found = {}
    for lag in lags:
        sequence = torch.randint(batch, (pairs,), generator=generator)
        found[lag] = sequence, torch.randint(lag, steps + 1, (pairs,), generator=generator)
    return found


def propagation(model: GatedRNN, u: Tensor, ends: dict[int, tuple[Tensor, Tensor]]) -> dict[int, Tensor]:
    """Singular values of the transports that end there, ``(S, pairs, n)`` for each lag, on the CPU."""
    model = in_float64(model)
    run = model.run(u)
    found = {}
    for lag, (sequence, t) in ends.items():
        sequence, t = sequence.to(u.device), t.to(u.device)
        M: Tensor | None = None
        for step in range(lag):  # the factors of each window, oldest first: index t - lag holds J_{t-lag+1}
            here = Trajectory(*(member[t - lag + step, :, sequence].transpose(0, 1) for member in run))
            J = jacobian.blocks(model, Trajectory(*(member.unsqueeze(0) for member in here)))[0]
            M = J if M is None else J @ M
        assert M is not None
        found[lag] = torch.linalg.svdvals(M).cpu()
    return found


def update(model: GatedRNN, task: tasks.Task, data: tasks.Batch) -> Tensor:
    """The spectrum of the gradients of single sequences, ``(S, K)``, on the CPU."""
    model, device = in_float64(model), model.W_r.device
    spectra = []
    for s in range(data.u.shape[1]):  # one after the other: the trajectories of all would take gigabytes
        alone, target = replica(model, s), data.target[s].to(device)
        run = alone.run(data.u[:, s].to(device))
        # to the task every sequence is a replica: a loss of its own, and so its gradient at the readout
        out = (run.x[-1] @ alone.W_o.mT).unsqueeze(1).requires_grad_()
        (error,) = torch.autograd.grad(task.loss(out, target.unsqueeze(1)).sum(), out)
        delta = torch.zeros_like(run.x)
        delta[-1] = error[:, 0] @ alone.W_o
        gradients = adjoint.gradients(alone, run, delta, per_sample=True)
        gradients["W_o"] = error.mT @ run.x[-1].unsqueeze(1)
        spectra.append(anisotropy.update_spectrum(anisotropy.sample_matrix(gradients)).cpu())
    return torch.stack(spectra)


def _network(
    task: tasks.Task, gate: str, seeds: Sequence[int], n: int, alpha: float | None, device: torch.device | str
) -> GatedRNN:
    options: dict[str, Any] = {"alpha": alpha, "n_outputs": task.n_outputs}
    options |= {"replicas": len(seeds), "generator": training.generators(seeds), "device": device}
    return GatedRNN(task.n_inputs, n, gate, **options)


# What `make bench PROTOCOLS=1` times


def run(quick: bool, say: Callable[[str], object]) -> list[dict[str, Any]]:
    """Both protocols with twenty seeds, once, on the CPU and on CUDA where there is one."""
    seeds = range(2 if quick else 20)
    tiny: dict[str, Any] = {"n": 4, "batch": 3, "checkpoints": (0, 2), "steps": 2, "progress": False}
    rates_tiny, anisotropy_tiny = tiny | {"probed": 2}, tiny | {"lags": (1, 3), "pairs": 4, "rows": 5}
    first, second = (tasks.get("adding", steps=6 if quick else steps) for steps in (80, 120))

    def e1(gate: str, device: str) -> training.Run:
        return effective_rates(first, gate, seeds, device=device, **(rates_tiny if quick else {}))

    def e2(gate: str, optimiser: Literal["SGD", "Adam"], device: str) -> training.Run:
        sizes = anisotropy_tiny if quick else {}
        return joint_anisotropy(second, gate, optimiser, seeds, device=device, **sizes)

    protocols: dict[str, dict[str, Callable[[str], training.Run]]] = {
        "E1": {gate: partial(e1, gate) for gate in ("constant", "scalar", "multi")},
        "E2": {
            "none by Adam": partial(e2, "none", "Adam"),
            "scalar by SGD": partial(e2, "scalar", "SGD"),
            "multi by SGD": partial(e2, "multi", "SGD"),
        },
    }
    rows = []
    for device in ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",):
        parameters = {"seeds": len(seeds), "device": device}
        parameters |= {"gpu": torch.cuda.get_device_name()} if device == "cuda" else {}
        for protocol, models in protocols.items():
            seconds = {}
            for model, train in models.items():
                begin = time.perf_counter()
                train(device)
                seconds[model] = time.perf_counter() - begin
                say(f"protocol {protocol}, {model}, {device}: {seconds[model]:.1f} s")
            total = sum(seconds.values())
            rows.append(
                {
                    "group": "protocol",
                    "peer": "ours",
                    "parameters": {"protocol": protocol, **parameters},
                    "seconds": {"median": total, "quartiles": [total, total], "rounds": 1},
                    "values": {"seconds_of_each": seconds},
                }
            )
    return rows
