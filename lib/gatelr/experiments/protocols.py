"""The two protocols of the paper, training and probes together: S seeds side by side.

E1, effective rates: the norms of all transports of twelve sequences along training, and what predicts them. E2, joint
anisotropy: the singular values of transports over chosen lags, and those of the gradients of many sequences. Networks
train in float32; a probe measures copies of them in float64, and their loss on fresh data beside that of the best
constant. A probe is made of records, one for each seed and whatever else it is about.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from gatelr import adjoint, anisotropy, jacobian, tasks, training, transport
from gatelr.cells import GatedRNN, Trajectory
from gatelr.experiments import profiles

#: What is added to a seed for each of its uses but the weights, which are the training data and the sequences of a
#: probe, both as in the released code, fresh data for the loss, and the order of time in the null.
TRAINING, PROBE, FRESH, NULL = 123, 999, 555, 777

#: Which optimisers a protocol knows.
Optimiser = Literal["SGD", "Adam"]

#: The learning rates of the paper.
RATES: dict[str, float] = {"SGD": 1e-2, "Adam": 1e-3}

#: What a probe finds, lists of records by name.
Records = dict[str, list[dict[str, Any]]]


def in_float64(model: GatedRNN) -> GatedRNN:
    """A copy to be measured; training goes on in float32."""
    return copy.deepcopy(model).double().requires_grad_(False)


def network(task: tasks.Task, gate: str, seeds: Sequence[int], n: int, **options: Any) -> GatedRNN:
    """One replica for each seed, drawn from it, with the sizes of the task."""
    options |= {"replicas": len(seeds), "generator": training.generators(seeds), "n_outputs": task.n_outputs}
    return GatedRNN(task.n_inputs, n, gate, **options)


def optimised(model: GatedRNN, optimiser: Optimiser, rate: float | None = None) -> torch.optim.Optimizer:
    """One of torch's optimisers of all weights, at the paper's rate by default."""
    made: torch.optim.Optimizer = getattr(torch.optim, optimiser)(
        model.parameters(), lr=RATES[optimiser] if rate is None else rate
    )
    return made


def losses(model: GatedRNN, task: tasks.Task, data: tasks.Batch) -> Tensor:
    """The loss of every replica on its part of the data, (S,), on the CPU."""
    found = []
    with torch.no_grad():
        for s in range(data.u.shape[1]):  # one after the other: the states of all would take gigabytes
            out = model.replica(s)(data.u[:, s].to(model.W_r.device))
            found.append(task.loss(out, data.target[s].to(out.device)).cpu())
    return torch.stack(found)


# E1


def effective_rates(
    task: tasks.Task,
    gate: str,
    seeds: Sequence[int],
    *,
    optimiser: Optimiser = "SGD",
    rate: float | None = None,
    steps: int = 800,
    checkpoints: Sequence[int] = (0, 50, 200, 400, 600, 800),
    n: int = 64,
    batch: int = 64,
    probed: int = 12,
    fresh: int = 512,
    alpha: float = 0.8,
    device: torch.device | str = "cpu",
    progress: bool | None = None,
) -> training.Run:
    """Train, and measure at each checkpoint how sensitivity falls with the lag and what predicts it.

    Args:
        task: what to learn.
        gate: ``"constant"``, ``"scalar"`` or ``"multi"``.
        seeds: one replica for each.
        optimiser: plain SGD as published, or Adam.
        rate: of the optimiser; as published by default.
        steps: number of updates.
        checkpoints: the steps before which to probe.
        n: neurons.
        batch: sequences a step.
        probed: sequences of a probe, drawn once for each replica.
        fresh: sequences for the loss, which training never sees.
        alpha: the constant gate.
        device: where to compute; every draw is made on the CPU.
        progress: whether to show a bar, as for ``training.train``.

    Returns:
        The run; each of its probes holds records ``"profiles"``, ``"fits"`` and ``"spread"`` as
        :func:`gatelr.experiments.profiles.measure` returns them, each with its seed; ``"training"``: the fresh
        loss, that of the best constant, and mean and standard deviation of the gate; and ``"map"``, the sensitivities
        S of t to k of the first seed along its first sequence.
    """
    model = network(task, gate, seeds, n, alpha=alpha if gate == "constant" else None, device=device)
    u = task.draw(probed, training.generators(seeds, PROBE), torch.float64).u.to(device)
    unseen = task.draw(fresh, training.generators(seeds, FRESH), held_out=True)

    def probe(step: int, model: GatedRNN) -> Records:
        S, run, wide = sensitivities(model, u)
        loss = losses(model, task, unseen)
        found: Records = {"training": []}
        found["map"] = [{"t": t, "k": k, "S": float(S[t, k, 0, 0])} for t in range(1, len(S)) for k in range(t)]
        for s, seed in enumerate(seeds):
            g = run.g[:, s]
            found["training"].append(
                {"seed": seed, "loss": float(loss[s]), "constant": task.constant_loss}
                | {"mean gate": float(g.mean()), "gate spread": float(g.std(correction=0))}
            )
            part = Trajectory(*(member[:, s] for member in run))
            null = torch.Generator().manual_seed(seed + NULL)
            for name, records in profiles.measure(S[:, :, s], wide.replica(s), part, null).items():
                found.setdefault(name, []).extend({"seed": seed} | record for record in records)
        return found

    return training.train(
        model,
        task,
        optimised(model, optimiser, rate),
        steps,
        training.generators(seeds, TRAINING),
        batch=batch,
        probe=probe,
        checkpoints=checkpoints,
        progress=progress,
    )


def sensitivities(model: GatedRNN, u: Tensor) -> tuple[Tensor, Trajectory, GatedRNN]:
    """Of every transport along ``u (T, S, B, m)``: ``(T+1, T+1, S, B)``; the run, and the model in its dtype."""
    model = in_float64(model)
    run = model.run(u)
    found = []
    for s in range(u.shape[1]):  # one after the other: the products of all would take gigabytes
        J = jacobian.blocks(model.replica(s), Trajectory(*(member[:, s] for member in run)))
        found.append(transport.sensitivities(J).cpu())
    return torch.stack(found, 2), run, model


# E2


def joint_anisotropy(
    task: tasks.Task,
    gate: str,
    optimiser: Optimiser,
    seeds: Sequence[int],
    *,
    rate: float | None = None,
    steps: int = 1200,
    checkpoints: Sequence[int] = (0, 400, 800, 1200),
    lags: Sequence[int] = (1, 2, 4, 8, 12, 16, 24, 32, 40),
    pairs: int = 64,
    rows: int = 256,
    fresh: int = 512,
    r: int = 10,
    n: int = 64,
    batch: int = 64,
    device: torch.device | str = "cpu",
    progress: bool | None = None,
) -> training.Run:
    """Train, and measure at each checkpoint the anisotropy of propagation and of updates.

    Args:
        task: what to learn.
        gate: ``"none"``, ``"scalar"`` or ``"multi"``.
        optimiser: which.
        seeds: one replica for each.
        rate: of the optimiser; as published by default.
        steps: number of updates.
        checkpoints: the steps before which to probe.
        lags: of the transports.
        pairs: transports of a lag, each along one of ``batch`` sequences to a step drawn at random.
        rows: sequences whose gradients are taken.
        fresh: sequences for the loss, which training never sees.
        r: the singular value that the first is compared with, and how many make the top.
        n: neurons.
        batch: sequences a step.
        device: where to compute; every draw is made on the CPU.
        progress: whether to show a bar, as for ``training.train``.

    Returns:
        The run; each of its probes holds records ``"propagation"`` (seed, lag; medians over pairs of AI and CE),
        ``"update"`` (seed; AI, CE and effective rank), ``"training"`` (seed; fresh loss and that of the best
        constant); and ``"spectra"``, by lag and index, the median over seeds and pairs of log10 of each singular value
        over the first.
    """
    model = network(task, gate, seeds, n, device=device)
    draw = training.generators(seeds, PROBE)
    u = task.draw(batch, draw, torch.float64).u.to(device)
    data = task.draw(rows, draw, torch.float64)
    unseen = task.draw(fresh, training.generators(seeds, FRESH), held_out=True)
    ends = windows(task.steps, batch, lags, pairs, torch.Generator().manual_seed(PROBE))

    def probe(step: int, model: GatedRNN) -> Records:
        transports, gradients, loss = (
            propagation(model, u, ends),
            update(model, task, data),
            losses(model, task, unseen),
        )
        found: Records = {"propagation": [], "update": [], "training": [], "spectra": []}
        for s, seed in enumerate(seeds):
            found["training"].append({"seed": seed, "loss": float(loss[s]), "constant": task.constant_loss})
            found["update"].append(
                {"seed": seed, "AI": float(anisotropy.anisotropy_index(gradients[s], r))}
                | {"CE": float(anisotropy.energy_concentration(gradients[s], r))}
                | {"effective rank": float(anisotropy.effective_rank(gradients[s]))}
            )
            for lag, sigma in transports.items():
                found["propagation"].append(
                    {"seed": seed, "lag": lag, "AI": float(anisotropy.anisotropy_index(sigma[s], r).median())}
                    | {"CE": float(anisotropy.energy_concentration(sigma[s], r).median())}
                )
        for lag, sigma in transports.items():
            middle = (sigma / sigma[..., :1]).log10().flatten(0, 1).median(0).values.tolist()
            found["spectra"] += [{"lag": lag, "index": i, "log10": value} for i, value in enumerate(middle, 1)]
        return found

    return training.train(
        model,
        task,
        optimised(model, optimiser, rate),
        steps,
        training.generators(seeds, TRAINING),
        batch=batch,
        probe=probe,
        checkpoints=checkpoints,
        progress=progress,
    )


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
    found: dict[int, list[Tensor]] = {lag: [] for lag in ends}
    for s in range(u.shape[1]):  # one after the other: the factors of one network stay in a processor's cache
        alone = model.replica(s)
        for lag, (sequence, t) in ends.items():
            sequence, t = sequence.to(u.device), t.to(u.device)
            M: Tensor | None = None
            for step in range(lag):  # the factors of each window, oldest first: index t - lag holds J_{t-lag+1}
                here = Trajectory(*(member[t - lag + step, s, sequence].unsqueeze(0) for member in run))
                J = jacobian.blocks(alone, here)[0]
                M = J if M is None else J @ M
            assert M is not None
            found[lag].append(torch.linalg.svdvals(M).cpu())
    return {lag: torch.stack(sigma) for lag, sigma in found.items()}


def update(model: GatedRNN, task: tasks.Task, data: tasks.Batch) -> Tensor:
    """The spectrum of the gradients of single sequences, ``(S, K)``, on the CPU."""
    model, device = in_float64(model), model.W_r.device
    spectra = []
    for s in range(data.u.shape[1]):  # one after the other: the trajectories of all would take gigabytes
        alone, target = model.replica(s), data.target[s].to(device)
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
