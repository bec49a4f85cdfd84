r"""The forward and the adjoint sweep on plain tensors, in place: the only hot loop of the library.

Axis legend: ``T`` time, ``S`` replicas (1 if there are none), ``B`` batch (1 if there is none), ``n`` hidden units,
``m`` inputs, ``h`` gate units: 0 (no learned gate), 1 (scalar) or ``n`` (multi), and ``k = n + h``. The weights of the
candidate and of the gate are stacked, ``W = [W_r; W_rg]`` and ``W_in = [W_i; W_ig]``: a step is one matrix product.

Every function here trusts its caller; :mod:`gatelr.cells` is where input is checked.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor


class Sweep(NamedTuple):
    """What the forward sweep leaves behind for the adjoint sweep; ``x[0]`` is the state before the first step."""

    x: Float[Tensor, "T+1 S B n"]
    phi: Float[Tensor, "T S B n"]
    g: Float[Tensor, "T S B h"]


class Gradients(NamedTuple):
    """The gradient of a loss with respect to all that enters the sweep; None where it was not asked for."""

    u: Float[Tensor, "T S B m"] | None
    x0: Float[Tensor, "S B n"]
    W: Float[Tensor, "S k n"]
    W_in: Float[Tensor, "S k m"]
    bias: Float[Tensor, "S 1 k"]


class Coefficients(NamedTuple):
    r"""The Jacobian's row scalings: :math:`J = diag(leak) + diag(recurrent) W_r + diag(gate) W_{rg}`."""

    leak: Tensor
    recurrent: Tensor
    gate: Tensor


def coefficients(phi: Tensor, g: Tensor, x_prev: Tensor) -> Coefficients:
    r"""Row scalings of the step Jacobian, for any gate (claim C2).

    .. math:: 1 - g, \qquad g φ'(a) = g (1 - φ^2), \qquad g (1 - g) (φ - x_{t-1})

    Args:
        phi: candidate, (..., n).
        g: gate, the fraction written, (..., n) or (..., 1).
        x_prev: state before the update, (..., n).

    Returns:
        Three tensors that broadcast to (..., n).
    """
    leak = 1 - g
    return Coefficients(leak, g * (1 - phi * phi), g * leak * (phi - x_prev))


def forward(
    u: Float[Tensor, "T S B m"],
    x0: Float[Tensor, "S B n"],
    W: Float[Tensor, "S k n"],
    W_in: Float[Tensor, "S k m"],
    bias: Float[Tensor, "S 1 k"] | None,
    alpha: Float[Tensor, " h"] | None,
) -> Sweep:
    r"""Run the update rule :math:`x_t = (1 - g_t) x_{t-1} + g_t φ_t` over a whole sequence.

    Args:
        u: inputs.
        x0: state before the first step.
        W: recurrent weights of the candidate over those of the gate.
        W_in: input weights, stacked in the same way.
        bias: biases, stacked in the same way, or None.
        alpha: the fixed gate, one number or one per neuron; None if the gate is learned.

    Returns:
        The states and the quantities from which the adjoint sweep can be run.
    """
    T, n = u.shape[0], x0.shape[-1]
    x = x0.new_empty(T + 1, *x0.shape)
    x[0] = x0
    phi = torch.empty_like(x[1:])
    # All input products at once: they do not depend on the state, and one large product beats T small ones.
    z = torch.einsum("tsbm,skm->tsbk", u, W_in)
    if bias is not None:
        z += bias
    h = z.shape[-1] - n
    lead = phi.shape[:-1]
    g = x0.new_empty(*lead, h) if alpha is None else alpha.expand(*lead, -1)
    W_T = W.mT
    # unbind once: indexing a (T, ...) tensor costs a dispatch at every step
    steps = zip(*(series.unbind() for series in (x[:-1], x[1:], phi, z, g)), strict=True)
    for x_t, x_next, phi_t, z_t, g_t in steps:
        z_t.baddbmm_(x_t, W_T)
        torch.tanh(z_t[..., :n], out=phi_t)
        if alpha is None:
            torch.sigmoid(z_t[..., n:], out=g_t)
        torch.lerp(x_t, phi_t, g_t.expand_as(x_t), out=x_next)
    return Sweep(x, phi, g)


def adjoint(
    sweep: Sweep,
    u: Float[Tensor, "T S B m"],
    W: Float[Tensor, "S k n"],
    W_in: Float[Tensor, "S k m"],
    delta: Sequence[Tensor | None],
    *,
    input_gradient: bool = False,
) -> Gradients:
    r"""Backpropagation through time in closed form, with the weight gradients accumulated on the way (claim C7).

    .. math::
        λ_{k-1} = J_k^T λ_k + δ_{k-1}, \qquad
        ∇_{W_r} L = \sum_k (g_k ⊙ φ'(a_k) ⊙ λ_k) x_{k-1}^T, \qquad
        ∇_{W_{rg}} L = \sum_k ((φ_k - x_{k-1}) ⊙ g_k (1 - g_k) ⊙ λ_k) x_{k-1}^T

    The Jacobian is never formed: :math:`J^T λ = (1 - g) ⊙ λ + W_r^T (g φ' ⊙ λ) + W_{rg}^T (\dots ⊙ λ)`.

    Args:
        sweep: what :func:`forward` returned.
        u: the inputs it was given.
        W: the recurrent weights it was given.
        W_in: the input weights it was given.
        delta: direct loss gradient of each state, δ_1 … δ_T, each (S, B, n); None stands for zero.
        input_gradient: whether to compute the gradient with respect to ``u``.

    Returns:
        The gradients, summed over the batch.
    """
    S, rows, n = W.shape
    h = rows - n
    adj = torch.zeros_like(sweep.x[0])
    d = adj.new_empty(*adj.shape[:-1], rows)
    grad_W, grad_W_in = torch.zeros_like(W), torch.zeros_like(W_in)
    grad_bias = W.new_zeros(S, 1, rows)
    grad_u = torch.empty_like(u) if input_gradient else None
    x, phi, g, inputs = (series.unbind() for series in (sweep.x[:-1], sweep.phi, sweep.g, u))
    for k in range(len(phi) - 1, -1, -1):
        delta_k = delta[k]
        if delta_k is not None:
            adj += delta_k
        leak, recurrent, gate = coefficients(phi[k], g[k], x[k])
        torch.mul(recurrent, adj, out=d[..., :n])
        if h == 1:
            torch.sum(gate * adj, -1, keepdim=True, out=d[..., n:])
        elif h:
            torch.mul(gate, adj, out=d[..., n:])
        d_T = d.mT
        grad_W.baddbmm_(d_T, x[k])
        grad_W_in.baddbmm_(d_T, inputs[k])
        grad_bias += d.sum(-2, keepdim=True)
        if grad_u is not None:
            torch.bmm(d, W_in, out=grad_u[k])
        adj.mul_(leak).baddbmm_(d, W)
    return Gradients(grad_u, adj, grad_W, grad_W_in, grad_bias)
