"""What the experiments share: networks of S seeds side by side, their optimisers, and their loss on fresh data.

Networks train in float32; a probe measures copies of them in float64. A probe is made of records, one for each seed
and whatever else it is about, and records of one name are the rows of a table.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from gatelr import tasks, training
from gatelr.cells import GatedRNN

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
    by_replica = []
    with torch.no_grad():
        for s in range(data.u.shape[1]):  # one after the other: the states of all would take gigabytes
            out = model.replica(s)(data.u[:, s].to(model.W_r.device))
            by_replica.append(task.loss(out, data.target[s].to(out.device)).cpu())
    return torch.stack(by_replica)
