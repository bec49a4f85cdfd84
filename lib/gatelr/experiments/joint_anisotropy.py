r"""Joint anisotropy (experiment E2): how unequally directions are treated by propagation and by updates.

Each model, none, a scalar gate and multi-gates, is trained by SGD and by Adam: a design of six cells, in which the part
of the gates and the part of the optimiser can be told apart. At each checkpoint, the singular values of transports over
chosen lags, and those of the gradients of many sequences.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from itertools import product
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from gatelr import adjoint, anisotropy, jacobian, tasks, training
from gatelr.cells import GatedRNN, Trajectory
from gatelr.experiments import pilot, protocol
from gatelr.experiments.protocol import Records
from gatelr.experiments.runs import Run

#: The tasks, in the order in which they are drawn, and their names in words.
TASKS = {
    "adding": "adding",
    "ar2": "AR(2)",
    "moving_average": "moving average",
    "delay_sum": "delay-sum",
    "narma10": "NARMA-10",
}

#: The cells of the design, a gate and an optimiser.
MODELS = tuple(product(("none", "scalar", "multi"), ("SGD", "Adam")))

#: Those that the paper compares.
PUBLISHED = (("none", "Adam"), ("scalar", "SGD"), ("multi", "SGD"))

#: The lags of the transports.
LAGS = (1, 2, 4, 8, 12, 16, 24, 32, 40)

#: The steps before which to probe.
CHECKPOINTS = (0, 400, 800, 1200)

#: What tells the rows of a table apart.
KEYS = ["task", "gate", "optimiser", "seed", "step"]


# The protocol


def plan(parameters: Mapping[str, Any]) -> list[Run]:
    """The runs of a chapter with these parameters.

    Args:
        parameters: ``seeds``, how many; ``tasks_here``; and ``until``, the last step.
    """
    seeds = pilot.deciding(parameters["seeds"])
    reached = [step for step in CHECKPOINTS if step <= parameters["until"]]
    settings = {"steps": reached[-1], "checkpoints": reached}
    return [
        Run("joint_anisotropy", task, *model, seeds, settings, dict(zip(KEYS, (task, *model), strict=False)))
        for task, model in product(parameters["tasks_here"], MODELS)
    ]


def measure(
    setup: protocol.Setup,
    *,
    lags: Sequence[int] = LAGS,
    pairs: int = 64,
    rows: int = 256,
    fresh: int = 512,
    r: int = 10,
    n: int = 64,
    batch: int = 64,
) -> training.Run:
    """Train, and measure at each checkpoint the anisotropy of propagation and of updates.

    Args:
        setup: with a gate that is ``"none"``, ``"scalar"`` or ``"multi"``, under plain SGD or Adam.
        lags, pairs: of transports, and how many of each.
        rows, fresh: sequences whose gradients are taken, and those for the loss, which training never sees.
        r: the singular value that the first is compared with, and how many make the top.
        n, batch: neurons, and sequences a step.

    Returns:
        The run; each of its probes holds records ``"propagation"`` (seed, lag; medians over pairs of AI and CE),
        ``"update"`` (seed; AI, CE and effective rank), ``"training"`` (seed; fresh loss and that of the best
        constant); and ``"spectra"`` (seed, lag, index; the median over pairs of log10 of each singular value over the
        first).
    """
    model, unseen = setup.network(n), setup.draw(fresh, protocol.FRESH)
    task, draw = setup.task, training.generators(setup.seeds, protocol.PROBE)
    u, data = task.draw(batch, draw, torch.float64).u.to(setup.device), task.draw(rows, draw, torch.float64)
    ends = windows(task.steps, batch, lags, pairs, torch.Generator().manual_seed(protocol.PROBE))

    def probe(step: int, model: GatedRNN) -> Records:
        sigma, gradients = propagation(model, u, ends), update(model, task, data)
        records: Records = {"propagation": [], "update": [], "training": setup.losses(model, unseen), "spectra": []}
        for s, seed in enumerate(setup.seeds):
            both = _measures(gradients[s], r) | {"effective rank": float(anisotropy.effective_rank(gradients[s]))}
            records["update"].append({"seed": seed} | both)
            for lag, of_lag in sigma.items():
                of_seed = of_lag[s]
                records["propagation"].append({"seed": seed, "lag": lag} | _measures(of_seed, r))
                middle = (of_seed / of_seed[:, :1]).log10().median(0).values.tolist()
                records["spectra"] += [
                    {"seed": seed, "lag": lag, "index": i, "log10": value} for i, value in enumerate(middle, 1)
                ]
        return records

    return setup.train(model, probe, batch=batch)


def _measures(sigma: Tensor, r: int) -> dict[str, float]:
    """AI and CE, of many spectra the median."""
    indices, shares = anisotropy.anisotropy_index(sigma, r), anisotropy.energy_concentration(sigma, r)
    return {"AI": float(indices.median()), "CE": float(shares.median())}


def windows(
    steps: int, batch: int, lags: Sequence[int], pairs: int, generator: torch.Generator
) -> dict[int, tuple[Tensor, Tensor]]:
    """For each lag pairs of a sequence and the step t ≥ lag at which a transport ends, ``(pairs,)`` each."""
    ends = {}
    for lag in lags:
        sequence = torch.randint(batch, (pairs,), generator=generator)
        ends[lag] = sequence, torch.randint(lag, steps + 1, (pairs,), generator=generator)
    return ends


def propagation(model: GatedRNN, u: Tensor, ends: dict[int, tuple[Tensor, Tensor]]) -> dict[int, Tensor]:
    """Singular values of the transports that end there, ``(S, pairs, n)`` for each lag, on the CPU."""
    model = protocol.in_float64(model)
    run = model.run(u)
    # one after the other: the factors of one network stay in a processor's cache
    each = [spectra(model.replica(s), Trajectory(*(v[:, s] for v in run)), ends) for s in range(u.shape[1])]
    return {lag: torch.stack([of_seed[lag] for of_seed in each]) for lag in ends}


def spectra(
    model: GatedRNN,
    run: Trajectory,
    ends: dict[int, tuple[Tensor, Tensor]],
    blocks: Callable[[GatedRNN, Trajectory], Tensor] = jacobian.blocks,
    *,
    reverse: bool = False,
) -> dict[int, Tensor]:
    """The same of one network, ``(pairs, n)`` each, in float64 of products in the run's dtype.

    Args:
        model, run: the network, and what it did on some sequences.
        ends: as :func:`windows` draws them.
        blocks, reverse: the Jacobians of a step, and whether the newest stands on the right.
    """
    sigma = {}
    for lag, (sequence, t) in ends.items():
        sequence, t = sequence.to(run.x.device), t.to(run.x.device)
        # the factors of each window, oldest first: index t - lag holds J_{t-lag+1}
        steps = (Trajectory(*(member[t - lag + i, sequence].unsqueeze(0) for member in run)) for i in range(lag))
        M = reduce(lambda M, J: M @ J if reverse else J @ M, (blocks(model, step)[0] for step in steps))
        sigma[lag] = torch.linalg.svdvals(M.double()).cpu()
    return sigma


def update(model: GatedRNN, task: tasks.Task, data: tasks.Batch) -> Tensor:
    """The spectrum of the gradients of single sequences, ``(S, K)``, on the CPU."""
    model, u = protocol.in_float64(model), data.u.to(model.W_r.device)
    spectra = []
    for s in range(u.shape[1]):  # one after the other: the trajectories of all would take gigabytes
        alone = model.replica(s)
        run = alone.run(u[:, s])
        error = protocol.error(alone, task, run, data.target[s])
        delta = torch.zeros_like(run.x)
        delta[-1] = error[:, 0] @ alone.W_o
        gradients = adjoint.gradients(alone, run, delta, per_sample=True)
        gradients["W_o"] = error.mT @ run.x[-1].unsqueeze(1)
        spectra.append(anisotropy.update_spectrum(anisotropy.sample_matrix(gradients)).cpu())
    return torch.stack(spectra)


# A table with a row for each network and checkpoint


def table(measured: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """What is compared with ``reference/e2-anisotropy.csv``, from the records of the runs."""
    by_lag = measured["propagation"].pivot(index=KEYS, columns="lag", values=["AI", "CE"])
    by_lag.columns = by_lag.columns.map("{0[0]} @{0[1]}".format)
    update = measured["update"].rename(columns={"AI": "update AI", "CE": "update CE"})
    losses = measured["training"][[*KEYS, "loss", "constant"]]
    return losses.merge(update, on=KEYS).merge(by_lag.reset_index(), on=KEYS)
