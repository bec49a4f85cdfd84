"""The small networks of the theory chapters, one for each seed, taught to name handwritten digits pixel by pixel."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import NamedTuple

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


class Reading(NamedTuple):
    """Trained networks and what they did while they read some digits that they had not seen.

    Attributes:
        model: one network a seed, without gradients of its own.
        run: along the digits.
        target: what the digits are.
        delta: the gradient of their loss with respect to each state.
    """

    model: GatedRNN
    run: Trajectory
    target: Int[Tensor, " B"]
    delta: Float[Tensor, "T S B n"]


def readings(
    gates: Iterable[str], n_hidden: int, seeds: int, steps: int, probes: int, device: torch.device | str | None = None
) -> dict[str, Reading]:
    """Train networks of each kind, and let them read the first digits of the test set, in float64.

    Constant gates are spread from 0.01 to 0.89 on a logarithmic scale, one for each neuron.
    """
    alpha, dtype = torch.logspace(-2, -0.05, n_hidden), torch.float64
    learn = partial(train, learning_rate=2e-2, batch=48, dtype=dtype, device=device)
    test = tasks.digits(split="test", dtype=dtype, device=device)
    u, target = test.u[:, :probes], test.target[:probes]
    read = {}
    for gate in gates:
        model = learn(gate, n_hidden, seeds, steps, alpha=alpha)
        run = model.requires_grad_(False).run(for_each_seed(u, seeds))
        read[gate] = Reading(model, run, target, delta(model, run, target))
    return read
