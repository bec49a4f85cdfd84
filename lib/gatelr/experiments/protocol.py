"""What the experiments share: what a run gets, networks of S seeds side by side, and their loss on fresh data.

Networks train in float32; a probe measures copies of them in float64. A probe is made of records, one for each seed
and whatever else it is about, and records of one name are the rows of a table.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from gatelr import checkpoint, tasks, training
from gatelr.cells import GatedRNN, Trajectory

#: What is added to a seed for each of its uses but the weights, which are the training data and the sequences of a
#: probe, both as in the released code, fresh data for the loss, and the order of time in the null.
TRAINING, PROBE, FRESH, NULL = 123, 999, 555, 777

#: Which optimisers a protocol knows.
Optimiser = Literal["SGD", "Adam"]

#: The learning rates of the paper.
RATES: dict[str, float] = {"SGD": 1e-2, "Adam": 1e-3}

#: What a probe finds, lists of records by name.
Records = dict[str, list[dict[str, Any]]]


@dataclass(frozen=True)
class Setup:
    """What every run of an experiment gets; ``measure`` takes it, with what belongs to that experiment alone."""

    task: tasks.Task  #: what to learn
    gate: str  #: of the networks
    optimiser: str  #: which trains them
    seeds: Sequence[int]  #: one replica for each
    steps: int  #: number of updates
    checkpoints: Sequence[int]  #: the steps before which to probe
    rate: float | None = None  #: of the optimiser, the paper's by default
    device: torch.device | str = "cpu"  #: where to compute; every draw is made on the CPU
    save: str | Path | None = None  #: a file from which a run that was killed goes on
    progress: bool | None = None  #: whether to show a bar, as for :func:`gatelr.training.train`

    def network(self, n: int, alpha: float | None = None) -> GatedRNN:
        """The networks, before training."""
        return network(self.task, self.gate, self.seeds, n, alpha=alpha, device=self.device)

    def draw(self, count: int, use: int, dtype: torch.dtype = torch.float32) -> tasks.Batch:
        """So many sequences of each seed, for one use of it; training never sees those that are :data:`FRESH`."""
        return self.task.draw(count, training.generators(self.seeds, use), dtype, held_out=use == FRESH)

    def losses(self, model: GatedRNN, fresh: tasks.Batch) -> list[dict[str, Any]]:
        """A record for each seed: the loss on fresh sequences, and that of the best constant."""
        records = by_seed(self.seeds, {"loss": losses(model, self.task, fresh)})
        return [record | {"constant": self.task.constant_loss} for record in records]

    def train(
        self,
        model: training.Model,
        probe: Callable[[int, training.Model], Records],
        *,
        engine: torch.optim.Optimizer | None = None,
        sources: Sequence[torch.Generator] | None = None,
        **options: Any,
    ) -> training.Run:
        """Train on what this says, with one probe; by default each seed has its own data.

        Args:
            model, probe, options: as for :func:`gatelr.training.train`.
            engine: in place of the optimiser of that name.
            sources: of the training data.
        """
        engine = engine or optimised(model, self.optimiser, self.rate)
        sources = sources or training.generators(self.seeds, TRAINING)
        options = {"checkpoints": self.checkpoints, "save": self.save, "progress": self.progress} | options
        return training.train(model, self.task, engine, self.steps, sources, probe=probe, **options)


def by_seed(seeds: Sequence[int], columns: Mapping[str, Tensor], **labels: Any) -> list[dict[str, Any]]:
    """One record for each seed, of vectors that have a number for each."""
    values = {name: vector.tolist() for name, vector in columns.items()}
    return [
        {"seed": seed} | labels | {name: vector[s] for name, vector in values.items()} for s, seed in enumerate(seeds)
    ]


def in_float64(model: GatedRNN) -> GatedRNN:
    """A copy to be measured; training goes on in float32."""
    return copy.deepcopy(model).double().requires_grad_(False)


def network(
    task: tasks.Task, gate: str, seeds: Sequence[int], n: int, *, alpha: Any = None, **options: Any
) -> GatedRNN:
    """One replica for each seed, drawn from it or its ``generator``, with the sizes of the task.

    Only constant gates take ``alpha``; the ``options`` are the others of :class:`gatelr.cells.GatedRNN`.
    """
    drawn: dict[str, Any] = {"replicas": len(seeds), "generator": training.generators(seeds)}
    options = drawn | {"n_outputs": task.n_outputs, "alpha": alpha if gate == "constant" else None} | options
    return GatedRNN(task.n_inputs, n, gate, **options)


def optimised(model: checkpoint.Trainable, optimiser: str, rate: float | None = None) -> torch.optim.Optimizer:
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


def error(model: GatedRNN, task: tasks.Task, run: Trajectory, target: Tensor) -> Tensor:
    """The gradient of each sequence's own loss at the readout of the last state, ``(B, 1, o)``, for one network."""
    # to the task every sequence is a replica, which has a loss of its own
    out = (run.x[-1] @ model.W_o.mT).unsqueeze(1).requires_grad_()
    (gradient,) = torch.autograd.grad(task.loss(out, target.to(out.device).unsqueeze(1)).sum(), out)
    return gradient
