r"""Alignment (experiment E7): whether transport favours the directions that the loss asks about.

Each model, none, a scalar gate and multi-gates, is trained by SGD and by Adam on three tasks, whose loss reads the last
state alone. At each checkpoint: how much of the error :math:`δ_T` lies in the first r left singular directions of
:math:`M_{T,k}`, and how much of the adjoint :math:`λ_k = M_{T,k}^\top δ_T` in the first r right ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from gatelr import alignment, anisotropy, jacobian, tasks, training
from gatelr.cells import GatedRNN, Trajectory
from gatelr.experiments import pilot, protocol
from gatelr.experiments.protocol import Records
from gatelr.experiments.runs import Run

#: The tasks, each with its options.
TASKS: dict[str, dict[str, Any]] = {
    "adding": {"steps": 30},
    "moving_average": {"steps": 20, "n_inputs": 2},
    "digits": {},
}

#: The learning rate of each optimiser on each task, for all gates; chosen on seeds 1 to 3 by the loss alone.
RATES: dict[tuple[str, str], float] = {
    ("adding", "SGD"): 0.2,
    ("adding", "Adam"): 0.01,
    ("moving_average", "SGD"): 0.3,
    ("moving_average", "Adam"): 0.01,
    ("digits", "SGD"): 0.05,
    ("digits", "Adam"): 0.005,
}

#: The gates, and the optimisers; a model is one of each.
GATES, OPTIMISERS = ("none", "scalar", "multi"), ("SGD", "Adam")

#: The lags ℓ = T - k of the transports to the last step.
LAGS = (1, 2, 4, 8, 16)

#: The steps before which to probe.
CHECKPOINTS = (0, 300, 1000)

#: Directions that count, and neurons.
R, N = 4, 32

#: What tells the rows of a table apart.
KEYS = ["task", "gate", "optimiser", "seed", "step"]

#: What is measured at each lag, means over sequences.
SERIES = ("left", "right", "chance", "CE", "gain", "left of another", "right of another")


# The protocol


def plan(parameters: Mapping[str, Any]) -> list[Run]:
    """The runs of a chapter with these parameters.

    Args:
        parameters: ``seeds``, how many; ``tasks_here``; and ``until``, the last step.
    """
    seeds = pilot.deciding(parameters["seeds"])
    reached = [step for step in CHECKPOINTS if step <= parameters["until"]]
    runs = []
    for task, gate, optimiser in product(parameters["tasks_here"], GATES, OPTIMISERS):
        settings = {"task_options": TASKS[task], "rate": RATES[task, optimiser]}
        settings |= {"steps": reached[-1], "checkpoints": reached}
        labels = dict(zip(KEYS, (task, gate, optimiser), strict=False))
        runs.append(Run("alignment", task, gate, optimiser, seeds, settings, labels))
    return runs


def measure(
    setup: protocol.Setup,
    *,
    lags: Sequence[int] = LAGS,
    probed: int = 16,
    fresh: int = 256,
    r: int = R,
    n: int = N,
    batch: int = 32,
) -> training.Run:
    """Train, and measure at each checkpoint how transport lies to the error.

    Args:
        setup: with a gate that is ``"none"``, ``"scalar"`` or ``"multi"``.
        lags: of transports; those longer than the task are left out.
        probed, fresh: sequences whose transports are taken, and those for the loss; training never sees either.
        r: how many singular directions count.
        n, batch: neurons, and sequences a step.

    Returns:
        The run; each of its probes holds records ``"alignment"``, as :func:`aligned` returns them, each with its seed,
        and ``"training"`` (seed; fresh loss and that of the best constant).
    """
    model, unseen = setup.network(n), setup.draw(fresh, protocol.FRESH)
    # of the same kind as the fresh sequences: of a data set those that training leaves out
    data = setup.task.draw(probed, training.generators(setup.seeds, protocol.PROBE), torch.float64, held_out=True)

    def probe(step: int, model: GatedRNN) -> Records:
        records: Records = {"training": setup.losses(model, unseen), "alignment": []}
        wide = protocol.in_float64(model)
        for s, seed in enumerate(setup.seeds):
            u, target = data.u[:, s].to(setup.device), data.target[s]
            records["alignment"] += [
                {"seed": seed} | row for row in aligned(wide.replica(s), setup.task, u, target, lags, r)
            ]
        return records

    return setup.train(model, probe, batch=batch)


def aligned(
    model: GatedRNN, task: tasks.Task, u: Tensor, target: Tensor, lags: Sequence[int], r: int
) -> list[dict[str, Any]]:
    """How the transports of one network lie to its errors.

    Args:
        model, task: the network, without replicas, and what its loss is.
        u, target: sequences ``(T, B, m)``, and what is to be said of each.
        lags, r: as for :func:`measure`.

    Returns:
        A record for each lag, means over sequences: ``"left"`` and ``"right"`` shares, ``"gain"`` as its log10
        (:func:`gatelr.alignment.overlaps`); ``"chance"``, what a random direction's right share comes to
        (:func:`gatelr.alignment.expected_right`), and ``"CE"``; and both shares again with the error of another
        sequence, ``"left of another"`` and ``"right of another"``.
    """
    run = model.run(u)
    delta = (protocol.error(model, task, run, target)[:, 0] @ model.W_o).cpu()
    both = torch.stack([delta, delta.roll(1, 0)])
    rows = []
    for lag, M in to_the_end(model, run, [lag for lag in lags if lag <= len(u)]).items():
        left, right, gain = alignment.overlaps(M, both, r)
        s = torch.linalg.svdvals(M)
        columns = {
            "left": left[0],
            "right": right[0],
            "chance": alignment.expected_right(s, r),
            "CE": anisotropy.energy_concentration(s, r),
            "gain": gain[0].log10(),
            "left of another": left[1],
            "right of another": right[1],
        }
        rows.append({"lag": lag} | {name: float(values.mean()) for name, values in columns.items()})
    return rows


def to_the_end(model: GatedRNN, run: Trajectory, lags: Sequence[int]) -> dict[int, Tensor]:
    """The transports from T - ℓ to T, ``(B, n, n)`` for each lag, on the CPU."""
    last = Trajectory(*(member[-max(lags) :] for member in run))
    J, products = jacobian.blocks(model, last).cpu(), {}
    M = torch.eye(J.shape[-1], dtype=J.dtype).expand_as(J[0])
    for lag in range(1, len(J) + 1):
        M = M @ J[-lag]
        if lag in lags:
            products[lag] = M
    return products


# A table with a row for each network and checkpoint


def table(measured: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """What is compared with ``reference/e7-alignment.csv``, from the records of the runs."""
    by_lag = measured["alignment"].pivot(index=KEYS, columns="lag", values=list(SERIES))
    by_lag.columns = by_lag.columns.map("{0[0]} @{0[1]}".format)
    return measured["training"][[*KEYS, "loss", "constant"]].merge(by_lag.reset_index(), on=KEYS)
