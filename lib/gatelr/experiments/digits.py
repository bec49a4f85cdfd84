"""The small networks of the theory chapters, one for each seed, taught to name handwritten digits pixel by pixel."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import cross_entropy

from gatelr import tasks, training
from gatelr.cells import GatedRNN, Trajectory
from gatelr.experiments import protocol


def train(
    gate: str,
    n_hidden: int,
    seeds: int,
    steps: int,
    *,
    alpha: float | Tensor | None = None,
    learning_rate: float = 1e-2,
    batch: int = 64,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str | None = None,
) -> GatedRNN:
    """Networks with one kind of gate after some steps of Adam; replica i has weights from seed i, digits from 123 + i.

    Only the constant gate takes ``alpha``.
    """
    task = tasks.get("digits")
    alpha = alpha if gate == "constant" else None
    options = {"alpha": alpha, "bias": True, "dtype": dtype, "device": device}
    model = protocol.network(task, gate, range(seeds), n_hidden, **options)
    optimiser = protocol.optimised(model, "Adam", learning_rate)
    training.train(model, task, optimiser, steps, training.generators(range(seeds), protocol.TRAINING), batch=batch)
    return model


def for_each_seed(u: Float[Tensor, "T B m"], seeds: int) -> Float[Tensor, "T S B m"]:
    """The same sequences for every replica, as a view."""
    return u.unsqueeze(1).expand(-1, seeds, -1, -1)


@torch.no_grad()
def accuracy(model: GatedRNN, u: Float[Tensor, "T B m"], target: Int[Tensor, " B"]) -> Float[Tensor, " S"]:
    """The share of digits that each replica names correctly."""
    assert model.replicas is not None
    guessed = model(for_each_seed(u, model.replicas)).argmax(-1)
    return (guessed == target).to(u.dtype).mean(-1)


def delta(model: GatedRNN, run: Trajectory, target: Int[Tensor, " B"]) -> Float[Tensor, "T S B n"]:
    """The gradient with respect to each state of the cross entropy at the last step, for each digit."""
    last, delta = run.x[-1].clone().requires_grad_(), torch.zeros_like(run.x)
    assert model.b_o is not None
    answer = torch.einsum("sbn,son->sbo", last, model.W_o) + model.b_o.unsqueeze(1)
    loss = cross_entropy(answer.flatten(0, 1), target.repeat(len(last)), reduction="sum")
    (delta[-1],) = torch.autograd.grad(loss, last)
    return delta
