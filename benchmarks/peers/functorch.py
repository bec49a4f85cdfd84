"""``torch.func``: the network of :mod:`.autograd` written for one sequence or one replica, then transformed."""

from __future__ import annotations

from collections.abc import Callable

import torch
from gatelr.cells import GatedRNN
from torch import Tensor
from torch.func import grad, grad_and_value, jacrev, vmap

from . import Step, Weights, fixed_gate, named, single, stacked
from .autograd import forward, update


def training_step(model: GatedRNN, u: Tensor, target: Tensor, lr: float) -> Step:
    """One step of SGD; replicas by ``vmap``."""
    W, W_in, W_o = stacked(model)
    optimiser = torch.optim.SGD([W, W_in, W_o], lr=lr)
    alpha = fixed_gate(model)

    def loss(weights: Weights, u: Tensor, target: Tensor) -> Tensor:
        return (forward(weights, u, alpha) - target).square().mean()

    gradient = grad_and_value(loss)
    if model.replicas is not None:
        gradient = vmap(gradient, in_dims=(0, 1, 0))

    def run() -> Tensor:
        (W.grad, W_in.grad, W_o.grad), losses = gradient((W, W_in, W_o), u, target)
        optimiser.step()
        return losses

    return Step(run, lambda: named(model, (W, W_in, W_o)))


def per_sample(model: GatedRNN, u: Tensor, target: Tensor, *, chunk_size: int | None = None) -> Callable[[], Tensor]:
    """Every gradient, ``(B, P)``, by ``vmap(grad)``; chunks only save memory, and cost time."""
    weights, alpha = stacked(single(model)), fixed_gate(model)

    def loss(weights: Weights, u: Tensor, target: Tensor) -> Tensor:
        return (forward(weights, u.unsqueeze(1), alpha) - target).square().mean()

    every = vmap(grad(loss), in_dims=(None, 1, 0), chunk_size=chunk_size)
    return lambda: torch.cat([g.flatten(1) for g in every(weights, u, target)], 1)


def jacobian_blocks(model: GatedRNN, u: Tensor) -> Callable[[], Tensor]:
    """All step Jacobians, ``(T, B, n, n)``, by ``vmap(jacrev)`` over the steps of all sequences."""
    (W, W_in, _), alpha, n = stacked(single(model)), fixed_gate(model), model.n_hidden
    with torch.no_grad():
        x, z = model.run(u).x_prev.reshape(-1, n), (u @ W_in).flatten(0, 1)
    # On a CPU chunks that stay in the cache take less than half the time; a GPU is better filled by all at once.
    every = vmap(jacrev(lambda x, z: update(z + x @ W, x, alpha)), chunk_size=None if u.is_cuda else 256)
    return lambda: every(x, z).unflatten(0, u.shape[:2])
