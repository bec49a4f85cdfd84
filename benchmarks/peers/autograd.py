"""Plain PyTorch and its autograd, written with care; no backward of one's own."""

from __future__ import annotations

from collections.abc import Callable

import torch
from gatelr.cells import GatedRNN
from torch import Tensor

from . import Step, Weights, backward, fixed_gate, named, single, stacked

Alpha = float | Tensor | None
Update = Callable[[Tensor, Tensor, Alpha], Tensor]


def update(z: Tensor, x: Tensor, alpha: Alpha) -> Tensor:
    """The next state from the pre-activations ``z (..., k)`` and the state ``x (..., n)``."""
    if alpha is None:
        # split, whose backward is one concatenation; a slice's would fill with zeros and add
        a, a_g = z.split([x.shape[-1], z.shape[-1] - x.shape[-1]], -1)
        return torch.lerp(x, torch.tanh(a), torch.sigmoid(a_g))
    phi = torch.tanh(z)
    return phi if isinstance(alpha, float) and alpha == 1 else torch.lerp(x, phi, alpha)


def forward(weights: Weights, u: Tensor, alpha: Alpha, update: Update = update) -> Tensor:
    """The readout of the last state, ``(*S, B, o)``."""
    W, W_in, W_o = weights
    product = torch.addmm if W.ndim == 2 else torch.baddbmm
    x = u.new_zeros(*u.shape[1:-1], W.shape[-2])
    # all inputs in one product; unbind, because indexing inside the loop would cost a dispatch forwards and a
    # whole (T, ...) tensor of zeros backwards
    for z in torch.einsum("t...bm,...mk->t...bk", u, W_in).unbind():
        x = update(product(z, x, W), x, alpha)
    return x @ W_o


def training_step(model: GatedRNN, u: Tensor, target: Tensor, lr: float, *, update: Update = update) -> Step:
    """One step of SGD; replicas are the leading axis of every product."""
    W, W_in, W_o = (w.requires_grad_() for w in stacked(model))
    optimiser = torch.optim.SGD([W, W_in, W_o], lr=lr)
    alpha = fixed_gate(model)

    def run() -> Tensor:
        optimiser.zero_grad()
        losses = backward(forward((W, W_in, W_o), u, alpha, update), target)
        optimiser.step()
        return losses

    return Step(run, lambda: named(model, (W, W_in, W_o)))


def per_sample(model: GatedRNN, u: Tensor, target: Tensor) -> Callable[[], Tensor]:
    """Every gradient, ``(B, P)``, in one backward: each sequence is a replica with weights of its own."""
    shared, alpha, B = stacked(single(model)), fixed_gate(model), u.shape[1]

    def run() -> Tensor:
        W, W_in, W_o = (w.expand(B, -1, -1).requires_grad_() for w in shared)
        out = forward((W, W_in, W_o), u.unsqueeze(2), alpha)
        loss = (out - target.unsqueeze(1)).square().mean((-2, -1)).sum()
        return torch.cat([g.flatten(1) for g in torch.autograd.grad(loss, [W, W_in, W_o])], 1)

    return run


def jacobian_blocks(model: GatedRNN, u: Tensor) -> Callable[[], Tensor]:
    """All step Jacobians, ``(T, B, n, n)``, row by row: one backward gives a row at every step of every sequence."""
    (W, W_in, _), alpha, n = stacked(single(model)), fixed_gate(model), model.n_hidden
    with torch.no_grad():
        states, z = model.run(u).x_prev, u @ W_in

    def run() -> Tensor:
        x = states.detach().requires_grad_()
        out = update(z + x @ W, x, alpha)
        J = x.new_empty(n, *x.shape)
        for i, unit in enumerate(torch.eye(n, dtype=x.dtype, device=x.device)):
            J[i] = torch.autograd.grad(out, x, unit.expand_as(out), retain_graph=True)[0]
        return J.movedim(0, -2)

    return run
